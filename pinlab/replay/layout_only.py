"""Contents of a machine of which only the layout counts, where pages are swapped out all the same.

A frame has a tag, the serial of its page.  A page that goes to a compressed pool takes as much
room there as its page of the corpus does, so pools grow as they would with bytes; of an object
the header and the tag are kept, so that it can be brought back.

Ignores: what is in a page.
Kernel counterpart: none.
Cost: 8 bytes per frame; about 2 us and 0.2 KiB per compressed object.
"""

import numpy as np
from numpy.typing import NDArray

from mm.state.contents import TagContents
from owners.compress import Compressor, compressor
from owners.zram.swap import ZramSwap
from pinlab.replay.corpus import Corpus
from pinpage.units import PAGE_SIZE, Pfns

__all__ = ["LayoutContents", "TagZramSwap", "blobs_of", "sizes_of"]

_TAG_NR_BYTES = 8


class LayoutContents(TagContents):
    """Tags, and for frames of compressed pools the few bytes of an object that say whose it is."""

    def __init__(self, nr_frames: int, page_nr_bytes: int = PAGE_SIZE) -> None:
        """All tags zero, no objects.

        Args:
            nr_frames: frames covered.
            page_nr_bytes: bytes of a frame.
        """
        super().__init__(nr_frames, page_nr_bytes)
        self._objects: dict[int, dict[int, tuple[int, bytes]]] = {}

    def write(self, pfn: int, data: bytes, offset: int = 0) -> None:
        """Keep an object; zeros at its end cost nothing.

        Args:
            pfn: the frame.
            data: the bytes.
            offset: byte in the frame at which they begin.
        """
        of_frame = self._objects.setdefault(pfn, {})
        of_frame.pop(offset, None)  # what is written last covers what was there
        of_frame[offset] = len(data), bytes(data).rstrip(b"\0")

    def read(self, pfn: int, offset: int = 0, nr_bytes: int | None = None) -> bytes:
        """What objects of the frame have there; zeros elsewhere.

        Args:
            pfn: the frame.
            offset: byte in the frame at which they begin.
            nr_bytes: how many bytes; None: all from there on.
        """
        found = bytearray(self.page_nr_bytes)
        for start, (length, data) in self._objects.get(pfn, {}).items():
            found[start : start + length] = data.ljust(length, b"\0")
        stop = self.page_nr_bytes if nr_bytes is None else offset + nr_bytes
        return bytes(found[offset:stop])

    def copy(self, sources: Pfns, targets: Pfns) -> None:
        """Copy tags, and objects where there are some.

        Args:
            sources: int64 (n,), the frames that move.
            targets: int64 (n,), the frames that they are copied to.
        """
        super().copy(sources, targets)
        if self._objects:
            for source, target in zip(sources.tolist(), targets.tolist(), strict=True):
                self._objects.pop(target, None)
                if source in self._objects:
                    self._objects[target] = dict(self._objects[source])

    def forget(self, pfns: Pfns) -> None:
        """Tags of zero, and no objects."""
        super().forget(pfns)
        for pfn in pfns.tolist() if self._objects else ():
            self._objects.pop(pfn, None)


def blobs_of(corpus: Corpus, serials: NDArray[np.int64]) -> list[bytes]:
    """Recorded objects: as many bytes as each compresses to, its tag first.

    Args:
        corpus: where the pages would come from.
        serials: int64 (n,).
    """
    sizes = corpus.blob_nr_bytes(serials).tolist()
    return [_tagged(serial, size) for serial, size in zip(serials.tolist(), sizes, strict=True)]


def sizes_of(corpus: Corpus) -> Compressor:
    """A compressor of tags: as many bytes as the page of that serial compresses to, its tag first.

    Args:
        corpus: where the pages would come from.
    """
    real = compressor("zlib")

    def compress(tag: bytes) -> bytes:
        serial = int.from_bytes(tag[:_TAG_NR_BYTES], "little", signed=True)
        return _tagged(serial, len(real.compress(corpus.page(serial))))

    return Compressor("layout only", compress, lambda blob: blob[:_TAG_NR_BYTES])


def _tagged(serial: int, nr_bytes: int) -> bytes:
    return serial.to_bytes(_TAG_NR_BYTES, "little", signed=True).ljust(nr_bytes, b"\0")


class TagZramSwap(ZramSwap):
    """A zram device to swap to whose pages are tags, each taken for a whole page."""

    def store(self, swap_type: int, offset: int, page: bytes) -> bool:
        """As `ZramSwap`.

        Args:
            swap_type, offset: the slot.
            page: its tag.
        """
        return super().store(swap_type, offset, page.ljust(PAGE_SIZE, b"\xff"))
