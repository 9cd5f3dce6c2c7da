"""Which pageblocks the kernel's compaction would empty, without replaying it.

Two scanners walk each zone: one takes whatever moves, pageblock by pageblock from the bottom;
the other gives out the free frames of MOVABLE and CMA pageblocks from the top, except of those
wholly free.  They stop where they meet.  So a pageblock is emptied if nobody stays in it and
what moves out of it and of all below it fits into the targets above it: two running sums.

    obtained    blocks wholly free then, while what is left stays above the zone's min watermark
    certain     of those emptied, the ones that a refilled per-CPU list leaves targets for

A large folio that fills its pageblock is passed over: it is what compaction is after.

Owns: the prediction.
Ignores: skip hints, isolation that fails, pages that an owner frees meanwhile, reclaim; a replay
(`pinlab.requests`) has those.
Kernel counterpart: compact_zone of mm/compaction.c with whole_zone, as compact_memory calls it;
nr_pcp_alloc of mm/page_alloc.c.
Cost: O(pageblocks).
"""

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from mm.state.frames import PageFlag
from mm.state.pageblock import MigrateType
from pinlab.snapshot.classes import FrameClass
from pinlab.snapshot.facts import ZoneFacts
from pinlab.snapshot.holdings import LINUX_MOVES, Holdings
from pinlab.snapshot.image import Snapshot
from pinpage.units import Mask

__all__ = ["Swept", "most_listed", "sweep"]

_RELEASE: Final = re.compile(r"([0-9]{1,4})\.([0-9]{1,4})")
_FIRST_TO_DOUBLE: Final = (6, 7)
"""The release from which a refill doubles while nobody frees."""
_MOST_DOUBLINGS: Final = 5
"""CONFIG_PCP_BATCH_SCALE_MAX, unless it was changed."""
_OF_PROCESSES: Final = (FrameClass.ANON, FrameClass.FILE, FrameClass.GUP)


@frozen(eq=False)
class Swept:
    """What two scanners would make of memory.

    Attributes:
        emptied: int64 (n,), pageblocks that become free, ascending.
        certain: int64 (n,), those of them that do so even if a per-CPU list of each zone takes
            in meanwhile as much as one refill can.
        wholly_free: bool (nr_pageblocks,), free in the end.
        nr_moves: frames moved.
        obtained: pageblocks that an allocator would then hand out.
        obtained_least: the same of what is certain.
    """

    emptied: NDArray[np.int64]
    certain: NDArray[np.int64]
    wholly_free: Mask = field(repr=False)
    nr_moves: int
    obtained: int
    obtained_least: int


def most_listed(facts: ZoneFacts, kernel_release: str) -> int:
    """Frames that one refill of a per-CPU list can take off a zone's free lists.

    What is on such a list is no target: the free scanner sees the buddy's lists alone.  How
    often a refill has doubled no file of the kernel says, so this is a bound.

    Args:
        facts: the zone.
        kernel_release: such as "6.12.117"; one that is not known may double.
    """
    batch = facts.pcp_batch or 0
    said = _RELEASE.match(kernel_release)
    if said and (int(said[1]), int(said[2])) < _FIRST_TO_DOUBLE:
        return batch
    refill = batch << _MOST_DOUBLINGS
    return refill if facts.pcp_high is None else min(refill, max(facts.pcp_high, batch))


def sweep(snapshot: Snapshot, holdings: Holdings, moved: Sequence[str] = LINUX_MOVES) -> Swept:
    """Compact all memory as the kernel does.

    Args:
        snapshot: the recording; its migratetypes and watermarks are used.
        holdings: its pageblocks, counted.
        moved: owners whose frames move.
    """
    moving = holdings.nr_frames[:, holdings.columns_of(moved)].sum(axis=1)
    moving[_one_folio(snapshot)] = 0
    stays = holdings.nr_pages - moving - holdings.nr_free > 0
    free_before = holdings.wholly_free
    types = snapshot.block_migratetype
    fillable = np.isin(types, (MigrateType.MOVABLE, MigrateType.CMA))
    is_target = fillable & ~free_before
    emptied, certain = (np.zeros(holdings.nr_blocks, dtype=np.bool_) for _ in range(2))
    nr_moves = obtained = obtained_least = 0
    for zone in np.unique(holdings.highest_zone).tolist():
        mine = np.flatnonzero(holdings.highest_zone == zone)
        leaving = np.where(free_before[mine], 0, moving[mine]).cumsum()
        targets = np.where(is_target[mine], holdings.nr_free[mine], 0)
        fits = _fits(leaving, targets)
        nr_moves += int(leaving[fits][-1]) if fits.any() else 0
        can = ~stays[mine] & (moving[mine] > 0)
        emptied[mine] = fits & can
        left, nr_split = _without_listed(
            targets, (fillable & free_before)[mine], _listed(snapshot, zone), holdings.nr_pages
        )
        certain[mine] = can & _fits(leaving, left)
        most = _above_watermark(snapshot, holdings, zone, mine)
        nr_free_blocks = int(np.count_nonzero(free_before[mine]))
        nr_certain = nr_free_blocks + int(np.count_nonzero(certain[mine])) - nr_split
        obtained += min(nr_free_blocks + int(np.count_nonzero(emptied[mine])), most)
        obtained_least += min(nr_certain, most)
    return Swept(
        np.flatnonzero(emptied), np.flatnonzero(certain), emptied | free_before,
        nr_moves, obtained, obtained_least,
    )  # fmt: skip


def _one_folio(snapshot: Snapshot) -> NDArray[np.int64]:
    """Pageblocks that one large page of processes fills."""
    size = snapshot.nr_pages_per_block
    nr_whole = snapshot.nr_frames // size
    tail, head = PageFlag.COMPOUND_TAIL.mask, PageFlag.COMPOUND_HEAD.mask
    flags = snapshot.flags[: nr_whole * size].reshape(-1, size)
    starts = np.arange(nr_whole) * size
    maybe = ((flags[:, 0] & (head | tail)) == head) & np.isin(snapshot.klass[starts], _OF_PROCESSES)
    rows = np.flatnonzero(maybe)
    found: NDArray[np.int64] = rows[((flags[rows, 1:] & tail) != 0).all(axis=1)]
    return found


def _fits(leaving: NDArray[np.int64], targets: NDArray[np.int64]) -> Mask:
    """Which pageblocks are emptied into targets above them; true, then false, from the bottom."""
    above = targets[::-1].cumsum()[::-1] - targets
    fits: Mask = leaving <= above
    return fits


def _listed(snapshot: Snapshot, zone: int) -> int:
    if zone >= len(snapshot.zones):
        return 0
    return most_listed(snapshot.zones[zone], snapshot.provenance.kernel_release)


def _without_listed(
    targets: NDArray[np.int64], free: Mask, nr_listed: int, nr_pages: int
) -> tuple[NDArray[np.int64], int]:
    """Targets that are left when a per-CPU list has taken its share, topmost first.

    The allocator splits the smallest blocks first.  Where there are too few, it splits a free
    pageblock, and the rest of that one is a target.

    Returns:
        Frames per pageblock, and free pageblocks split.
    """
    higher = targets[::-1].cumsum()[::-1] - targets
    left = targets - np.clip(nr_listed - higher, 0, targets)
    nr_more = nr_listed - int(targets.sum())
    split = np.flatnonzero(free)[::-1][: max(-(-nr_more // nr_pages), 0)]
    if len(split):
        left[split[-1]] = max(len(split) * nr_pages - nr_more, 0)
    return left, len(split)


def _above_watermark(
    snapshot: Snapshot, holdings: Holdings, zone: int, mine: NDArray[np.int64]
) -> int:
    """Pageblocks that the zone's free frames make before an allocation meets the min watermark."""
    nr_free = int(holdings.nr_free[mine].sum())
    reserve = snapshot.zones[zone].min if zone < len(snapshot.zones) else 0
    return max((nr_free - reserve + holdings.nr_pages - 1) // holdings.nr_pages, 0)
