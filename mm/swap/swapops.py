"""The words of swap: entries, the bytes of swap_map, and what sits before the disk.

A slot is named by its offset in its area, and across areas by an entry, a plain int:
`(type << 40) | offset`.

The byte of a slot (include/linux/swap.h, v6.1):

    0x00  free                         0x40  flag: the swap cache has a page for it
    0x01..0x3e  PTEs that name it      0x80  flag: the count goes on beyond 0x3e
    0x3f  bad, never used              0xbf  a shmem page's (one user)

Kernel counterpart: include/linux/swapops.h and swap.h, frontswap.h (v3.5 to v6.5).
"""

from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "COUNT_CONTINUED",
    "SWAP_HAS_CACHE",
    "SWAP_MAP_BAD",
    "SWAP_MAP_MAX",
    "SWAP_MAP_SHMEM",
    "FrontSwap",
    "Offsets",
    "SwapEntry",
    "swap_count",
    "swp_entry",
    "swp_offset",
    "swp_type",
]

SWAP_MAP_MAX = 0x3E
"""The highest count that fits the byte."""
SWAP_MAP_BAD = 0x3F
"""A slot that must not be used."""
SWAP_HAS_CACHE = 0x40
"""Flag: the swap cache holds a page for this slot."""
COUNT_CONTINUED = 0x80
"""Flag: the count is larger than the byte shows."""
SWAP_MAP_SHMEM = 0xBF
"""The slot belongs to a shmem (tmpfs) page."""

_OFFSET_BITS = 40
_OFFSET_MASK = (1 << _OFFSET_BITS) - 1

SwapEntry: TypeAlias = int
"""(type << 40) | offset."""
Offsets: TypeAlias = NDArray[np.int64]
"""A column of slot offsets, shape (n,)."""


def swp_entry(swap_type: int, offset: int) -> SwapEntry:
    """The entry that names a slot of an area.

    Args:
        swap_type: number of the area.
        offset: number of the slot.
    """
    return (swap_type << _OFFSET_BITS) | offset


def swp_type(entry: SwapEntry) -> int:
    """Which area."""
    return entry >> _OFFSET_BITS


def swp_offset(entry: SwapEntry) -> int:
    """Which slot of it."""
    return entry & _OFFSET_MASK


def swap_count(byte: int) -> int:
    """The byte without the cache flag: 0 means that no page table names the slot.

    COUNT_CONTINUED and SHMEM stay in, as in the kernel: nonzero is what callers ask for.
    """
    return byte & ~SWAP_HAS_CACHE


class FrontSwap(Protocol):
    """What sits before the disk (zswap).  The page is keyed by (type, offset)."""

    def store(self, swap_type: int, offset: int, page: bytes) -> bool:
        """Keep the page; False means that it goes to the disk.

        Args:
            swap_type: number of the area.
            offset: number of the slot.
            page: the page's bytes.
        """
        ...

    def load(self, swap_type: int, offset: int) -> bytes | None:
        """The page, or None: it was written back and is on the disk.

        Args:
            swap_type: number of the area.
            offset: number of the slot.
        """
        ...

    def invalidate_page(self, swap_type: int, offset: int) -> None:
        """Nobody will ask for this page again.

        Args:
            swap_type: number of the area.
            offset: number of the slot.
        """
        ...

    def invalidate_area(self, swap_type: int) -> None:
        """The whole area is gone (swapoff)."""
        ...
