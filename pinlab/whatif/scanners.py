"""Which pageblocks the kernel's compaction would empty, without replaying it.

Two scanners walk each zone: one takes whatever moves, pageblock by pageblock from the bottom;
the other gives out the free frames of MOVABLE and CMA pageblocks from the top, except of those
wholly free.  They stop where they meet.  So a pageblock is emptied if nobody stays in it and
what moves out of it and of all below it fits into the targets above it: two running sums.

    obtained    blocks wholly free then, while what is left stays above the zone's min watermark

Owns: the prediction.
Ignores: skip hints, isolation that fails, pages that an owner frees meanwhile, reclaim; a replay
(`pinlab.requests`) has those.
Kernel counterpart: compact_zone of mm/compaction.c with whole_zone, as compact_memory calls it.
Cost: O(pageblocks).
"""

from collections.abc import Sequence

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from mm.state.pageblock import MigrateType
from pinlab.snapshot.holdings import LINUX_MOVES, Holdings
from pinlab.snapshot.image import Snapshot
from pinpage.units import Mask

__all__ = ["Swept", "sweep"]


@frozen(eq=False)
class Swept:
    """What two scanners would make of memory.

    Attributes:
        emptied: int64 (n,), pageblocks that become free, ascending.
        wholly_free: bool (nr_pageblocks,), free in the end.
        nr_moves: frames moved.
        obtained: pageblocks that an allocator would then hand out.
    """

    emptied: NDArray[np.int64]
    wholly_free: Mask = field(repr=False)
    nr_moves: int
    obtained: int


def sweep(snapshot: Snapshot, holdings: Holdings, moved: Sequence[str] = LINUX_MOVES) -> Swept:
    """Compact all memory as the kernel does.

    Args:
        snapshot: the recording; its migratetypes and watermarks are used.
        holdings: its pageblocks, counted.
        moved: owners whose frames move.
    """
    moving = holdings.nr_frames[:, holdings.columns_of(moved)].sum(axis=1)
    stays = holdings.nr_pages - moving - holdings.nr_free > 0
    free_before = holdings.wholly_free
    types = snapshot.block_migratetype
    is_target = np.isin(types, (MigrateType.MOVABLE, MigrateType.CMA)) & ~free_before
    emptied = np.zeros(holdings.nr_blocks, dtype=np.bool_)
    nr_moves = obtained = 0
    for zone in np.unique(holdings.highest_zone).tolist():
        mine = np.flatnonzero(holdings.highest_zone == zone)
        leaving = np.cumsum(np.where(free_before[mine], 0, moving[mine]))
        targets = np.where(is_target[mine], holdings.nr_free[mine], 0)
        above = targets[::-1].cumsum()[::-1] - targets
        fits = leaving <= above  # falls from true to false once, from the bottom
        nr_moves += int(leaving[fits][-1]) if fits.any() else 0
        emptied[mine] = fits & ~stays[mine] & (moving[mine] > 0)
        nr_free_blocks = int(np.count_nonzero((emptied | free_before)[mine]))
        obtained += min(nr_free_blocks, _above_watermark(snapshot, holdings, zone, mine))
    return Swept(np.flatnonzero(emptied), emptied | free_before, nr_moves, obtained)


def _above_watermark(
    snapshot: Snapshot, holdings: Holdings, zone: int, mine: NDArray[np.int64]
) -> int:
    """Pageblocks that the zone's free frames make before an allocation meets the min watermark."""
    nr_free = int(holdings.nr_free[mine].sum())
    reserve = snapshot.zones[zone].min if zone < len(snapshot.zones) else 0
    return max((nr_free - reserve + holdings.nr_pages - 1) // holdings.nr_pages, 0)
