"""Contents of a machine of which only the layout counts, where pages are swapped out all the same.

A frame has a tag, the serial of its page.  A page that goes to a compressed pool takes as much
room there as its page of the corpus does, so pools grow as they would with bytes; what is written
into them is not kept, and whoever reads it back is told so.

Ignores: what is in an object.
Kernel counterpart: none.
Cost: 8 bytes per frame.
"""

import numpy as np

from mm.state.contents import TagContents
from owners.compress import Compressor, compressor
from owners.zram.swap import ZramSwap
from pinlab.replay.corpus import Corpus
from pinpage.units import PAGE_SIZE

__all__ = ["LayoutContents", "TagZramSwap", "sizes_of"]


class LayoutContents(TagContents):
    """Tags, and room for objects of which nothing but their place counts."""

    def write(self, pfn: int, data: bytes, offset: int = 0) -> None:
        """Nothing is kept: only that there was room.

        Args:
            pfn: the frame.
            data: the bytes.
            offset: byte in the frame at which they begin.
        """


def sizes_of(corpus: Corpus) -> Compressor:
    """A compressor of tags: as many bytes as the page of that serial compresses to, all zero.

    Args:
        corpus: where the pages would come from.
    """
    real = compressor("zlib")

    def compress(tag: bytes) -> bytes:
        serial = int.from_bytes(tag[: np.dtype(np.int64).itemsize], "little", signed=True)
        return bytes(len(real.compress(corpus.page(serial))))

    return Compressor("layout only", compress, bytes)


class TagZramSwap(ZramSwap):
    """A zram device to swap to whose pages are tags, each taken for a whole page."""

    def store(self, swap_type: int, offset: int, page: bytes) -> bool:
        """As `ZramSwap`.

        Args:
            swap_type, offset: the slot.
            page: its tag.
        """
        return super().store(swap_type, offset, page.ljust(PAGE_SIZE, b"\xff"))
