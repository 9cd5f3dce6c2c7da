"""Where zram writes back to: a file, or bytes of the caller.

Kernel counterpart: backing_dev of drivers/block/zram, v6.1, with a bitmap of its blocks.
"""

import os
from typing import Protocol, Self

from pinpage.errors import PinpageError, require
from pinpage.units import PAGE_SIZE

__all__ = ["BackingStore", "Blocks", "BytesBacking", "FileBacking"]


class BackingStore(Protocol):
    """Blocks of a page each.  Called without the device's lock, from any thread."""

    @property
    def nr_blocks(self) -> int:
        """How many there are."""

    def read(self, block: int) -> bytes:
        """One block, 4096 bytes.  May raise OSError."""

    def write(self, block: int, page: bytes) -> None:
        """Write one block.  May raise OSError."""


class BytesBacking:
    """Blocks in a bytearray, which the caller may look at."""

    def __init__(self, data: bytearray) -> None:
        """As many blocks as `data` has room for.

        Raises:
            PinpageError: not even one.
        """
        _require_blocks(len(data))
        self.data = data
        self.nr_blocks = len(data) // PAGE_SIZE

    def read(self, block: int) -> bytes:
        """One block."""
        return bytes(self.data[block * PAGE_SIZE : (block + 1) * PAGE_SIZE])

    def write(self, block: int, page: bytes) -> None:
        """Write one block."""
        self.data[block * PAGE_SIZE : (block + 1) * PAGE_SIZE] = page


class FileBacking:
    """Blocks in a file, whose size says how many; a context manager.

    Context: thread-safe (pread, pwrite).
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open a file that exists and has its size.

        Raises:
            PinpageError: it has no room for a block.
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
            OSError: the file gives less.
        """
        page = os.pread(self._fd, PAGE_SIZE, block * PAGE_SIZE)
        if len(page) != PAGE_SIZE:
            raise OSError(f"backing file: block {block} has {len(page)} bytes left")
        return page

    def write(self, block: int, page: bytes) -> None:
        """Write one block.

        Raises:
            OSError: the file takes less.
        """
        if os.pwrite(self._fd, page, block * PAGE_SIZE) != PAGE_SIZE:
            raise OSError(f"backing file: block {block} was not written whole")

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close."""
        self.close()


class Blocks:
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
        require(block > 0 and self._used[block], "D4 a block is freed that is not in use")
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
