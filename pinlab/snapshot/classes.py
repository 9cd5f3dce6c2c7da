"""Whom a frame belongs to, as far as a recording can tell.

A class is finer than a `FrameState`: every class but `UNKNOWN` implies one state, while a
frame of unknown class may still be known to be in use.
"""

import enum
from typing import Final

import numpy as np

from mm.state.frames import FrameState

__all__ = [
    "ALL",
    "KERNEL",
    "MOVABLE_CLASSES",
    "NR_CLASSES",
    "STATE_OF_CLASS",
    "FrameClass",
]


class FrameClass(enum.IntEnum):
    """The owner of a frame; part of the file format, so values are never reused."""

    UNKNOWN = 0
    """Nothing says whose it is.  Never treated as free, never as movable."""
    HOLE = 1
    """No memory at this pfn, or memory that is offline."""
    FREE = 2
    """In the buddy lists."""
    PCP = 3
    """Free, on a per-CPU list or on its way to or from one."""
    RESERVED = 4
    """PG_reserved: the kernel image, firmware, boot-time allocations."""
    ANON = 5
    """Anonymous memory, swap cache included."""
    FILE = 6
    """Page cache, shared memory included."""
    ZBUD = 7
    """Compressed pages, two to a frame."""
    Z3FOLD = 8
    """Compressed pages, three to a frame; has movable_operations."""
    ZSMALLOC = 9
    """Compressed pages of zswap over zsmalloc; has movable_operations."""
    ZRAM = 10
    """Compressed pages of a zram device (zsmalloc too); has movable_operations."""
    GUP = 11
    """User memory that somebody pinned through get_user_pages or vmsplice."""
    SLAB = 12
    """Kernel objects."""
    PAGETABLE = 13
    """Page tables of user space."""
    KERNELSTACK = 14
    """Kernel stacks taken from the page allocator directly."""
    VMALLOC = 15
    """vmalloc areas (kernel stacks too, when they are mapped through vmalloc)."""
    HUGETLB = 16
    """The hugetlb pool."""
    OTHER = 17
    """In use by the kernel for something not named here."""
    CMA = 18
    """Handed out by a contiguous allocation."""
    UNMANAGED = 19
    """Memory that the page allocator was never given, or not yet: initialised late, not accepted.

    Its state is unknown too: nobody can say that it would move."""
    LABELLED = 20
    """In use by an owner that the recording's `labels` name."""


NR_CLASSES: Final = len(FrameClass)
"""Classes there are; the width of a per-pageblock count table."""

ALL: Final = "all"
"""The row of a table that has the sum of its owners."""
KERNEL: Final = "kernel"
"""The owner of what the kernel holds without a class that moves or gives up by itself."""

MOVABLE_CLASSES: Final = frozenset(
    {
        FrameClass.ANON,
        FrameClass.FILE,
        FrameClass.Z3FOLD,
        FrameClass.ZSMALLOC,
        FrameClass.ZRAM,
        FrameClass.HUGETLB,
    }
)
"""What Linux 6.1 can migrate: the LRU, movable_operations, and whole huge pages."""


def _states() -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    table = np.full(NR_CLASSES, FrameState.USED, dtype=np.uint8)
    table[FrameClass.UNKNOWN] = FrameState.UNKNOWN
    table[FrameClass.UNMANAGED] = FrameState.UNKNOWN
    table[FrameClass.HOLE] = FrameState.HOLE
    table[FrameClass.FREE] = FrameState.FREE
    table[FrameClass.PCP] = FrameState.PCP
    table[FrameClass.RESERVED] = FrameState.RESERVED
    table.flags.writeable = False
    return table


STATE_OF_CLASS: Final = _states()
"""uint8[NR_CLASSES]: the `FrameState` that a class implies (UNKNOWN may also be USED)."""
