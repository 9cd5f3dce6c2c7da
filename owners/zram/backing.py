"""Where zram writes back to: a file, or bytes of the caller.

Kernel counterpart: backing_dev of drivers/block/zram, v6.1, with a bitmap of its blocks.
"""

import errno
import os
import warnings
from typing import Protocol, Self

from owners.arguments import instance, integer, octets
from pinpage.errors import PinpageError, require
from pinpage.units import PAGE_SIZE

__all__ = ["BackingBlocks", "BackingStore", "BytesBacking", "FileBacking"]


class BackingStore(Protocol):
    """Blocks of a page each.  Called without the device's lock, from any thread."""

    @property
    def nr_blocks(self) -> int:
        """How many there are."""

    def read(self, block: int) -> bytes:
        """One block, 4096 bytes.  May raise OSError."""

    def write(self, block: int, page: bytes) -> None:
        """Write one block.  May raise OSError.

        Args:
            block: which.
            page: its 4096 bytes.
        """


class BytesBacking:
    """Blocks in a bytearray, which the caller may look at."""

    def __init__(self, data: bytearray) -> None:
        """As many blocks as fit `data`.

        Raises:
            PinpageError: not even one, or bytes that cannot be written to.
        """
        _require_blocks(len(instance("zram backing", "data", data, bytearray)))
        self.data = data
        self.nr_blocks = len(data) // PAGE_SIZE

    def read(self, block: int) -> bytes:
        """One block.

        Raises:
            PinpageError: there is no such block.
        """
        _require_block(self, block)
        return bytes(self.data[block * PAGE_SIZE : (block + 1) * PAGE_SIZE])

    def write(self, block: int, page: bytes) -> None:
        """Write one block.

        Raises:
            PinpageError: there is no such block, or it is not a page (which would move every
                block behind it).
        """
        _require_block(self, block)
        page = _require_page(page)
        self.data[block * PAGE_SIZE : (block + 1) * PAGE_SIZE] = page


class FileBacking:
    """Blocks in a file, whose size says how many; a context manager.

    Dropped without `close` it closes the file, and says so with a ResourceWarning.

    Context: thread-safe (pread, pwrite).
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open a file that exists and has its size.

        Raises:
            PinpageError: it is smaller than a block.
            OSError: it cannot be opened for reading and writing.
        """
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        nr_bytes = os.fstat(self._fd).st_size
        try:
            _require_blocks(nr_bytes)
        except PinpageError:
            self.close()
            raise
        self.nr_blocks = nr_bytes // PAGE_SIZE

    def read(self, block: int) -> bytes:
        """One block.

        Raises:
            PinpageError: there is no such block, or the file is closed.
            OSError: the file gives less (EIO), or the host says why not.
        """
        self._require_open()
        _require_block(self, block)
        page = os.pread(self._fd, PAGE_SIZE, block * PAGE_SIZE)
        if len(page) != PAGE_SIZE:
            raise OSError(errno.EIO, f"backing file: block {block} has {len(page)} bytes left")
        return page

    def write(self, block: int, page: bytes) -> None:
        """Write one block.

        Raises:
            PinpageError: there is no such block, it is not a page, or the file is closed.
            OSError: the host says why not: ENOSPC, EFBIG and the like.
        """
        self._require_open()
        _require_block(self, block)
        page = _require_page(page)
        done = 0
        while done < PAGE_SIZE:  # what was not written of it, until that is none, or refused
            nr = os.pwrite(self._fd, page[done:], block * PAGE_SIZE + done)
            if not nr:
                raise OSError(errno.EIO, f"backing file: block {block} was not written whole")
            done += nr

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _require_open(self) -> None:
        if self._fd < 0:
            raise PinpageError("zram backing: the file is closed")

    def __del__(self) -> None:
        """Dropped: as a file of Python's does, warn if it was not closed, and close."""
        if getattr(self, "_fd", -1) >= 0:
            self.close()
            warnings.warn("unclosed backing file of zram", ResourceWarning, 2, source=self)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close."""
        self.close()


class BackingBlocks:
    """Which blocks are in use.  Block 0 never is: the kernel's 0 means none.

    Attributes:
        nr_used: blocks in use.
    """

    __slots__ = ("_used", "nr_used")

    def __init__(self, nr_blocks: int) -> None:
        """All free but the first."""
        self._used = bytearray(nr_blocks)
        self._used[:1] = b"\x01"
        self.nr_used = 0

    def alloc(self) -> int:
        """The lowest free block, or -1."""
        block = self._used.find(0)
        if block >= 0:
            self._used[block] = 1
            self.nr_used += 1
        return block

    def free(self, block: int) -> None:
        """Give a block back."""
        require(block > 0 and self._used[block], "ZR4 a block is freed that is not in use")
        self._used[block] = 0
        self.nr_used -= 1

    def in_use(self) -> list[int]:
        """Blocks in use, ascending, without the first."""
        return [block for block, used in enumerate(self._used) if used and block]


def _require_blocks(nr_bytes: int) -> None:
    if nr_bytes < 2 * PAGE_SIZE:
        raise PinpageError(
            f"zram backing: {nr_bytes} bytes: give at least two pages, the first is not used"
        )


def _require_block(store: BackingStore, block: int) -> None:
    if not 0 <= integer("zram backing", "block", block) < store.nr_blocks:
        raise PinpageError(f"zram backing: block {block} is not within 0..{store.nr_blocks - 1}")


def _require_page(page: bytes) -> bytes:
    data = octets("zram backing", "page", page)
    if len(data) != PAGE_SIZE:
        raise PinpageError(f"zram backing: {len(data)} bytes: a page has {PAGE_SIZE}")
    return data
