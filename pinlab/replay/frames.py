"""The bare memory of a recording: frames, zones and pageblocks, before anybody holds them."""

import numpy as np

from mm.state.frames import MAPCOUNT_NONE, Frames, FrameState, PageFlag
from mm.state.nodes import Zone, setup_lowmem_reserve
from mm.state.pageblock import NR_MIGRATETYPES, Pageblocks
from pinlab.snapshot.image import Snapshot
from pinpage.errors import PinpageError
from pinpage.units import Span

__all__ = ["frames_of", "largest_order", "nr_frames_padded", "pageblocks_of", "zones_of"]

_KEPT_FLAGS = np.bitwise_or.reduce(
    [
        flag.mask
        for flag in (
            PageFlag.UPTODATE, PageFlag.DIRTY, PageFlag.ACTIVE,
            PageFlag.SLAB, PageFlag.ANON, PageFlag.SWAPBACKED, PageFlag.PGTABLE,
        )
    ]
)  # fmt: skip
"""Flags that a replay takes over; the rest are those of moments (locks, LRU batches).

REFERENCED is none: to reclaim it stands for the accessed bit of page tables, which a
recording does not hold; the recorded PG_referenced alone keeps no anonymous page.
"""


def nr_frames_padded(snapshot: Snapshot) -> int:
    """Frames of the machine: whole pageblocks, the last one filled up with holes."""
    size = snapshot.nr_pages_per_block
    return -(-snapshot.nr_frames // size) * size


def largest_order(snapshot: Snapshot) -> int:
    """Order of the largest free block: a pageblock's at least, whatever buddyinfo said."""
    return max(snapshot.geometry.max_order, snapshot.nr_pages_per_block.bit_length() - 1)


def pageblocks_of(snapshot: Snapshot, nr_frames: int) -> Pageblocks:
    """Pageblocks with their recorded types; MOVABLE, as at boot, where none is known.

    Args:
        snapshot: the recording.
        nr_frames: frames in all, whole pageblocks.
    """
    pageblocks = Pageblocks(nr_frames, snapshot.nr_pages_per_block, largest_order(snapshot))
    known = snapshot.block_migratetype < NR_MIGRATETYPES
    pageblocks.migratetype[: snapshot.nr_blocks][known] = snapshot.block_migratetype[known]
    return pageblocks


def frames_of(snapshot: Snapshot, nr_frames: int) -> Frames:
    """The columns as recorded, padded with holes to whole pageblocks.

    Args:
        snapshot: the recording.
        nr_frames: frames in all, whole pageblocks.
    """
    frames = Frames(nr_frames, snapshot.geometry.page_nr_bytes)
    n = snapshot.nr_frames
    frames.state[:n] = snapshot.state
    frames.order[:n] = snapshot.order
    used = np.flatnonzero(snapshot.state == FrameState.USED)
    frames.flags[used] = snapshot.flags[used] & _KEPT_FLAGS
    frames.refcount[used] = 1
    frames.mapcount[:] = MAPCOUNT_NONE
    return frames


def zones_of(snapshot: Snapshot, nr_frames: int) -> list[Zone]:
    """The recorded zones that have memory, with their watermarks and lowmem reserves.

    Reserves are by the kernel's own ratios, as memory hotplug makes them anew.

    Args:
        snapshot: the recording.
        nr_frames: frames in all, whole pageblocks.
    """
    zones: list[Zone] = []
    size = snapshot.nr_pages_per_block
    for facts in snapshot.zones:
        if not facts.nr_pages_of_buddy:
            continue
        start = facts.start_pfn // size * size
        stop = -(-(facts.start_pfn + facts.spanned) // size) * size
        zone = Zone(
            len(zones),
            facts.name,
            facts.node,
            Span(start, min(stop, nr_frames)),
            facts.nr_pages_of_buddy,
        )
        zone.min, zone.low, zone.high = facts.min, facts.low, facts.high
        zones.append(zone)
    if not zones:
        raise PinpageError(f"{snapshot.name}: no zone has memory; record it with zoneinfo")
    setup_lowmem_reserve(zones)
    return zones
