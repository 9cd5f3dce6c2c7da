"""What an allocation asks for: gfp flags, and what they imply.

Only the flags that mm's policies look at are here.  Bit values are ours.

Kernel counterpart: include/linux/gfp.h, and the ALLOC_ flags of mm/internal.h.
"""

import enum
import functools

from mm.state.nodes import ZoneKind
from mm.state.pageblock import MigrateType
from pinpage.errors import PinpageError

__all__ = ["AllocFlags", "Gfp", "gfp_migratetype", "gfp_zone_kind"]


class Gfp(enum.IntFlag):
    """Context and mobility of a request."""

    NONE = 0
    DMA = 1 << 0
    HIGHMEM = 1 << 1
    DMA32 = 1 << 2
    MOVABLE = 1 << 3
    """The page can be migrated; with HIGHMEM it may live in the MOVABLE zone."""
    RECLAIMABLE = 1 << 4
    HIGH = 1 << 5
    """May dip into the reserves."""
    IO = 1 << 6
    FS = 1 << 7
    ATOMIC_BIT = 1 << 8
    DIRECT_RECLAIM = 1 << 9
    """May stall: reclaim and compact on its own behalf."""
    KSWAPD_RECLAIM = 1 << 10
    NOWARN = 1 << 11
    RETRY_MAYFAIL = 1 << 12
    NORETRY = 1 << 13
    THISNODE = 1 << 14
    HARDWALL = 1 << 15
    COMP = 1 << 16

    RECLAIM = DIRECT_RECLAIM | KSWAPD_RECLAIM
    ATOMIC = HIGH | ATOMIC_BIT | KSWAPD_RECLAIM
    NOWAIT = KSWAPD_RECLAIM
    KERNEL = RECLAIM | IO | FS
    NOIO = RECLAIM
    USER = RECLAIM | IO | FS | HARDWALL
    HIGHUSER = USER | HIGHMEM
    HIGHUSER_MOVABLE = HIGHUSER | MOVABLE
    ZSWAP = NORETRY | NOWARN | KSWAPD_RECLAIM
    """What zswap asks its pool to allocate with (6.1), before HIGHMEM and MOVABLE."""


class AllocFlags(enum.IntFlag):
    """How one attempt of the allocator may go about it (ALLOC_*)."""

    NONE = 0
    CMA = 1 << 0
    """A movable request may use CMA pageblocks; clear it for pages that will be pinned for long."""
    NOFRAGMENT = 1 << 1
    """Do not steal less than a pageblock from another type."""
    HARDER = 1 << 2
    """Atomic: may take a quarter more of the reserves, and HIGHATOMIC blocks."""

    DEFAULT = CMA


@functools.cache
def gfp_migratetype(gfp: Gfp) -> MigrateType:
    """The type of pageblock that a request belongs in.

    Raises:
        PinpageError: both MOVABLE and RECLAIMABLE; the kernel warns, for the two bits
            together would read as HIGHATOMIC.
    """
    if gfp & Gfp.MOVABLE:
        if gfp & Gfp.RECLAIMABLE:
            raise PinpageError("gfp: MOVABLE and RECLAIMABLE exclude each other: drop one")
        return MigrateType.MOVABLE
    return MigrateType.RECLAIMABLE if gfp & Gfp.RECLAIMABLE else MigrateType.UNMOVABLE


@functools.cache
def gfp_zone_kind(gfp: Gfp) -> ZoneKind:
    """The highest kind of zone that may serve the request; fallback goes downward from it.

    The MOVABLE zone admits requests with both MOVABLE and HIGHMEM only.
    """
    if gfp & Gfp.DMA:
        return ZoneKind.DMA
    if gfp & Gfp.DMA32:
        return ZoneKind.DMA32
    if gfp & Gfp.MOVABLE and gfp & Gfp.HIGHMEM:
        return ZoneKind.MOVABLE
    return ZoneKind.NORMAL
