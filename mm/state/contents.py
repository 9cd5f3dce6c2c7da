"""What the frames hold: real bytes, or one 64-bit tag each where memory is too large for bytes.

`ArenaContents` is an anonymous private mapping that the host fills in page by page as it is
touched: a machine of 4 GiB costs nothing until its frames are written, and what is forgotten
goes back to the host.  A forked child has the same contents and pays for what it changes.
"""

import mmap
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pinpage.errors import PfnError, PinpageError
from pinpage.units import MAP_NORESERVE, PAGE_SIZE, Pfns, require_page_size

__all__ = ["ArenaContents", "Contents", "TagContents"]

_COPY_NR_BYTES = 256 << 10
"""Per step of a batch copy: so much stays in cache, a third faster than all at once."""


class Contents(Protocol):
    """What mm needs of the frames' contents."""

    @property
    def nr_frames(self) -> int:
        """Frames covered; valid pfns are 0..nr_frames-1."""

    @property
    def page_nr_bytes(self) -> int:
        """Bytes of a frame."""

    def copy(self, sources: Pfns, targets: Pfns) -> None:
        """Copy whole frames; no frame may be both source and target.

        Args:
            sources: int64 (n,), the frames that move.
            targets: int64 (n,), the frames that they are copied to.
        """

    def forget(self, pfns: Pfns) -> None:
        """Nobody holds these frames any more: they hold zeros from here on."""

    def write(self, pfn: int, data: bytes, offset: int = 0) -> None:
        """Write bytes into one frame.

        Args:
            pfn: the frame.
            data: the bytes.
            offset: byte in the frame at which they begin.
        """

    def read(self, pfn: int, offset: int = 0, nr_bytes: int | None = None) -> bytes:
        """Read bytes of one frame.

        Args:
            pfn: the frame.
            offset: byte in the frame at which they begin.
            nr_bytes: how many; None: all up to the end of the frame.
        """

    def write_many(self, pfns: Pfns, pages: NDArray[np.uint8]) -> None:
        """Write whole frames from uint8[n, page_nr_bytes].

        Args:
            pfns: int64 (n,), the frames.
            pages: uint8 (n, page_nr_bytes), their bytes.
        """

    def read_many(self, pfns: Pfns) -> NDArray[np.uint8]:
        """Read whole frames into a new uint8[n, page_nr_bytes]."""

    def tags(self, pfns: Pfns) -> NDArray[np.uint64]:
        """One 64-bit word per frame, shape (n,)."""

    def set_tags(self, pfns: Pfns, tags: NDArray[np.uint64]) -> None:
        """Write one 64-bit word per frame.

        Args:
            pfns: int64 (n,), the frames.
            tags: uint64 (n,), one for each frame.
        """


class ArenaContents:
    """Real bytes.

    Attributes:
        nr_frames: frames covered.
        page_nr_bytes: bytes of a frame.
        pages: uint8[nr_frames, page_nr_bytes], a view of the arena itself.
    """

    def __init__(self, nr_frames: int, page_nr_bytes: int = PAGE_SIZE) -> None:
        """An anonymous private arena, all zero, nothing of it resident.

        Args:
            nr_frames: frames covered.
            page_nr_bytes: bytes of a frame.

        Raises:
            PinpageError: no frames, or a size that no page has.
            OSError: the host refuses to reserve the address space.
        """
        _require_frames(nr_frames, page_nr_bytes)
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE
        self._mapping = mmap.mmap(-1, nr_frames * page_nr_bytes, flags=flags)
        self.nr_frames = nr_frames
        self.page_nr_bytes = page_nr_bytes
        self._shift = page_nr_bytes.bit_length() - 1
        self._copied_at_once = _COPY_NR_BYTES >> self._shift
        self.pages: NDArray[np.uint8] = np.frombuffer(self._mapping, dtype=np.uint8).reshape(
            nr_frames, page_nr_bytes
        )
        # The first word of each frame: a strided view, not a column of its own.
        self._words: NDArray[np.uint64] = np.frombuffer(self._mapping, dtype="<u8").reshape(
            nr_frames, -1
        )[:, 0]

    def copy(self, sources: Pfns, targets: Pfns) -> None:
        """Copy whole frames; costs about 0.5 us each.

        Args:
            sources: int64 (n,), the frames that move.
            targets: int64 (n,), the frames that they are copied to.

        Raises:
            PinpageError: the columns differ in length.
        """
        _require_parallel(sources, targets)
        for at in range(0, len(sources), self._copied_at_once):
            some = slice(at, at + self._copied_at_once)
            self.pages[targets[some]] = self.pages[sources[some]]

    def forget(self, pfns: Pfns) -> None:
        """Give the host's memory back; costs about 1 us for each run of ascending frames."""
        if not len(pfns):
            return
        ends = np.flatnonzero(np.diff(pfns) != 1)
        starts = pfns[np.concatenate(([0], ends + 1))]
        stops = pfns[np.concatenate((ends, [len(pfns) - 1]))] + 1
        for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
            length = stop - start << self._shift
            self._mapping.madvise(mmap.MADV_DONTNEED, start << self._shift, length)

    def write(self, pfn: int, data: bytes, offset: int = 0) -> None:
        """Write bytes into one frame.

        Args:
            pfn: the frame.
            data: the bytes.
            offset: byte in the frame at which they begin.

        Raises:
            PinpageError: they reach beyond the frame.
            PfnError: no such frame.
        """
        _require_inside(offset, len(data), self.page_nr_bytes)
        self._require_frame(pfn)
        at = (pfn << self._shift) + offset
        self._mapping[at : at + len(data)] = data

    def read(self, pfn: int, offset: int = 0, nr_bytes: int | None = None) -> bytes:
        """Read bytes of one frame.

        Args:
            pfn: the frame.
            offset: byte in the frame at which they begin.
            nr_bytes: how many; None: all up to the end of the frame.

        Raises:
            PinpageError: they reach beyond the frame.
            PfnError: no such frame.
        """
        nr_bytes = self.page_nr_bytes - offset if nr_bytes is None else nr_bytes
        _require_inside(offset, nr_bytes, self.page_nr_bytes)
        self._require_frame(pfn)
        at = (pfn << self._shift) + offset
        return self._mapping[at : at + nr_bytes]

    def _require_frame(self, pfn: int) -> None:
        if not 0 <= pfn < self.nr_frames:
            raise PfnError(f"contents: pfn {pfn:#x} of {self.nr_frames} frames")

    def write_many(self, pfns: Pfns, pages: NDArray[np.uint8]) -> None:
        """Write whole frames from uint8[n, page_nr_bytes].

        Args:
            pfns: int64 (n,), the frames.
            pages: uint8 (n, page_nr_bytes), their bytes.
        """
        self.pages[pfns] = pages

    def read_many(self, pfns: Pfns) -> NDArray[np.uint8]:
        """Read whole frames into a new uint8[n, page_nr_bytes]."""
        return self.pages[pfns]

    def tags(self, pfns: Pfns) -> NDArray[np.uint64]:
        """The first eight bytes of each frame as a little-endian word, shape (n,)."""
        return self._words[pfns]

    def set_tags(self, pfns: Pfns, tags: NDArray[np.uint64]) -> None:
        """Write the first eight bytes of each frame.

        Args:
            pfns: int64 (n,), the frames.
            tags: uint64 (n,), one for each frame.
        """
        self._words[pfns] = tags


class TagContents:
    """One 64-bit word per frame in place of bytes: enough to prove that a move kept the data.

    Attributes:
        nr_frames: frames covered.
        page_nr_bytes: bytes of a frame, of which nothing is kept.
        words: uint64[nr_frames], the tags themselves.
    """

    def __init__(self, nr_frames: int, page_nr_bytes: int = PAGE_SIZE) -> None:
        """All tags zero.

        Args:
            nr_frames: frames covered.
            page_nr_bytes: bytes of a frame.

        Raises:
            PinpageError: no frames, or a size that no page has.
        """
        _require_frames(nr_frames, page_nr_bytes)
        self.nr_frames = nr_frames
        self.page_nr_bytes = page_nr_bytes
        self.words: NDArray[np.uint64] = np.zeros(nr_frames, dtype=np.uint64)

    def copy(self, sources: Pfns, targets: Pfns) -> None:
        """Copy tags; costs about 5 ns each.

        Args:
            sources: int64 (n,), the frames that move.
            targets: int64 (n,), the frames that they are copied to.

        Raises:
            PinpageError: the columns differ in length.
        """
        _require_parallel(sources, targets)
        self.words[targets] = self.words[sources]

    def forget(self, pfns: Pfns) -> None:
        """Tags of zero."""
        self.words[pfns] = 0

    def tags(self, pfns: Pfns) -> NDArray[np.uint64]:
        """The tag of each frame, shape (n,)."""
        return self.words[pfns]

    def set_tags(self, pfns: Pfns, tags: NDArray[np.uint64]) -> None:
        """Write the tag of each frame.

        Args:
            pfns: int64 (n,), the frames.
            tags: uint64 (n,), one for each frame.
        """
        self.words[pfns] = tags

    def write(self, pfn: int, data: bytes, offset: int = 0) -> None:
        """Not here.

        Args:
            pfn: the frame.
            data: the bytes.
            offset: byte in the frame at which they begin.

        Raises:
            PinpageError: always; there are no bytes.
        """
        raise _no_bytes("write")

    def read(self, pfn: int, offset: int = 0, nr_bytes: int | None = None) -> bytes:
        """Not here.

        Args:
            pfn: the frame.
            offset: byte in the frame at which they begin.
            nr_bytes: how many; None: all up to the end of the frame.

        Raises:
            PinpageError: always; there are no bytes.
        """
        raise _no_bytes("read")

    def write_many(self, pfns: Pfns, pages: NDArray[np.uint8]) -> None:
        """Not here.

        Args:
            pfns: int64 (n,), the frames.
            pages: uint8 (n, page_nr_bytes), their bytes.

        Raises:
            PinpageError: always; there are no bytes.
        """
        raise _no_bytes("write_many")

    def read_many(self, pfns: Pfns) -> NDArray[np.uint8]:
        """Not here.

        Raises:
            PinpageError: always; there are no bytes.
        """
        raise _no_bytes("read_many")


def _no_bytes(what: str) -> PinpageError:
    return PinpageError(
        f'contents: {what} needs bytes, this machine has tags: build it with contents="arena"'
    )


def _require_frames(nr_frames: int, page_nr_bytes: int) -> None:
    if nr_frames < 1:
        raise PinpageError(f"contents: nr_frames={nr_frames}: must be at least 1")
    require_page_size(page_nr_bytes, "contents")


def _require_parallel(sources: Pfns, targets: Pfns) -> None:
    if len(sources) != len(targets):
        raise PinpageError(f"contents: {len(sources)} sources but {len(targets)} targets")


def _require_inside(offset: int, nr_bytes: int, most: int) -> None:
    if offset < 0 or nr_bytes < 0 or offset + nr_bytes > most:
        raise PinpageError(
            f"contents: bytes {offset}..{offset + nr_bytes} are not within a frame of {most}"
        )
