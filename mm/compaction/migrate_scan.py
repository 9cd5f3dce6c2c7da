"""The migrate scanner of an allocation's compaction: which frames to move next.

It goes up pageblock by pageblock, takes 32 frames of a block, and, once those have moved, the
rest of the block in one go; so a block is emptied before the next is begun.  Blocks whose
skip hint is set are passed over.

Three habits of 6.1 decide what an allocation gets, all to be seen in its tracepoints, and
are kept:

    an asynchronous scan that finds one frame which must stay drops what it has taken of the
        same 2^order frames, and leaves the rest alone
    the next scan starts one pageblock beyond the last one scanned
    the quick search of the free lists for a block that is nearly empty sets that block's skip
        hint, upon which the scan itself passes the block over

Kernel counterpart: isolate_migratepages, isolate_migratepages_block and
fast_find_migrateblock (mm/compaction.c of v6.1).
"""

import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray

from mm.buddy.buddy import Buddy
from mm.compaction.compact_control import COSTLY_ORDER, CompactControl, CompactReport
from mm.compaction.scan_hints import ZoneHints
from mm.move.design import Answer, Design
from mm.move.move import COMPACT_CLUSTER_MAX, Mover
from mm.state.frames import Frames, FrameState, PageFlag
from mm.state.pageblock import MigrateType
from pinpage.units import Mask, Pfns

__all__ = ["Isolated", "MigrateScanner", "SearchEffort"]

_PASSABLE: Mask = np.isin(np.arange(len(FrameState)), (FrameState.FREE, FrameState.USED))
"""By `FrameState`: whether a frame spoils no run by itself; one on a per-CPU list does."""
_NONE: Pfns = np.zeros(0, dtype=np.int64)
_MOST_FAILURES = 15


@define
class SearchEffort:
    """How much the quick searches of one scan may still look at; both scanners share it.

    Attributes:
        nr_failures: searches in a row that found nothing; each halves the effort.
    """

    nr_failures: int = 0

    @property
    def limit(self) -> int:
        """Free blocks that a search may look at (freelist_scan_limit)."""
        return (COMPACT_CLUSTER_MAX >> min(_MOST_FAILURES, self.nr_failures)) + 1


@frozen(eq=False)
class Isolated:
    """Frames to move, ascending, and which of them only page tables hold."""

    pfns: Pfns = _NONE
    alone: Mask = field(factory=lambda: np.zeros(0, dtype=np.bool_))


@frozen(eq=False)
class _Stretch:
    """What a look at [start, stop) found, by offset from its start.

    Attributes:
        used: pfns of the used frames; `answers`, `reasons` and `alone` are about these.
        stays: offsets of frames that are neither free nor to be moved.
    """

    start: int
    stop: int
    used: Pfns
    answers: NDArray[np.uint8]
    reasons: NDArray[np.uint8]
    alone: Mask
    stays: Pfns

    def wanted(self, start: int, stop: int) -> Pfns:
        """Positions among `used` of frames in [start, stop) that would move."""
        first, last = np.searchsorted(self.used, (start, stop))
        wanted: Pfns = np.flatnonzero(self.answers[first:last] == Answer.MOVE) + first
        return wanted


class MigrateScanner:
    """Yields frames to move; `position` is the pfn that it looks at next."""

    def __init__(
        self,
        buddy: Buddy,
        mover: Mover,
        control: CompactControl,
        design: Design,
        hints: ZoneHints,
        effort: SearchEffort,
        report: CompactReport,
    ) -> None:
        """Start where the hints say, or at the bottom where the whole zone is wanted.

        Args:
            buddy: the free lists.
            mover: moves pages.
            control: what is asked for.
            design: what is done with frames that mm cannot move by itself.
            hints: what earlier scans of the zone left behind.
            effort: how much the scanners have looked at, counted together.
            report: what is done is counted here.
        """
        self._frames: Frames = buddy.frames
        self._buddy = buddy
        self._pageblocks = buddy.pageblocks
        self._size = buddy.pageblocks.nr_pages_per_block
        self._mover = mover
        self._control = control
        self._design = design
        self._hints = hints
        self._effort = effort
        self._report = report
        self._fast_start: int | None = None
        self._has_linear_start = True
        whole = control.whole_zone
        self.position = hints.start if whole else hints.migrate_from(control.mode)

    @property
    def block(self) -> int:
        """The pageblock in which it stands."""
        return self.position // self._size

    def isolate(self, free_position: int, *, rescan: bool) -> Isolated:
        """The next frames to move, all of one pageblock; none is no end.

        Args:
            free_position: where the free scanner stands: no block beyond it is begun.
            rescan: take all of the block, not just 32 frames: it was begun before.
        """
        if self._jump_to_nearly_empty(free_position):
            return Isolated()
        low = self.position
        while True:
            stop = (low // self._size + 1) * self._size
            if stop > free_position:
                self.position = low
                return Isolated()
            if self._is_in_zone(low // self._size) and self._may_scan(low):
                if self._is_source(low // self._size):
                    return self._isolate_block(low, stop, rescan=rescan)
                self._hints.scanned_up_to(stop, self._control.mode, self._size)
            low = self.position = stop

    # Which block.

    def _is_in_zone(self, block: int) -> bool:
        return bool(self._buddy.area.zone_of_block[block] == self._control.zone.index)

    def _may_scan(self, low: int) -> bool:
        """The hint counts where a block is begun, not where it is gone on with."""
        if self._control.ignore_skip_hint or low % self._size:
            return True
        return not self._pageblocks.skip[low // self._size]

    def _is_source(self, block: int) -> bool:
        if not self._control.is_async_direct:
            return True
        has = MigrateType(int(self._pageblocks.migratetype[block]))
        if self._control.migratetype == MigrateType.MOVABLE:
            return has in (MigrateType.MOVABLE, MigrateType.CMA)
        return has == self._control.migratetype

    def _jump_to_nearly_empty(self, free_position: int) -> bool:
        """Look for a block with a large free part; found, it is hinted at and passed over.

        Only where a block is begun, and for costly orders: there are few enough free blocks
        of some size.  Where nothing is found for the first time, go on linearly from the
        lowest block that earlier searches came across.
        """
        control = self._control
        at_start = self.position == self._hints.start
        if control.ignore_skip_hint or control.order <= COSTLY_ORDER:
            return False
        if self.position % self._size and not at_start:
            return False
        if control.direct and control.migratetype != MigrateType.MOVABLE:
            return False
        distance = (free_position - self.position) >> (1 if at_start else 3)
        found = self._nearly_empty_below((self.position + distance) // self._size * self._size)
        if found < 0:
            self._effort.nr_failures += 1
            if self._has_linear_start and self._fast_start is not None:
                self.position, self._has_linear_start = self._fast_start, False
            return False
        if self._has_linear_start:
            self._fast_start = found if self._fast_start is None else min(found, self._fast_start)
        self._effort.nr_failures = 0
        block = found // self._size
        self._pageblocks.skip[block] = True
        self.position = (block + 1) * self._size
        self._report.pages_scanned_migrate += 1
        self._hints.scanned_up_to(self.position, control.mode, self._size)
        return True

    def _nearly_empty_below(self, high: int) -> int:
        """A free block of order 3 or more, the largest first, below `high`; its pfn or -1."""
        area, zone, lists = self._buddy.area, self._control.zone.index, self._hints.lists
        lists.look(self._buddy)
        nr_left = self._effort.limit
        for order in range(min(self._control.order - 1, area.max_order), COSTLY_ORDER - 1, -1):
            seen = lists.newest(self._buddy, zone, order, nr_left)
            nr_left -= len(seen)
            fits = (seen < high) & ~self._pageblocks.skip[seen // self._size]
            if fits.any():
                found = int(seen[fits.argmax()])
                lists.looked_at(found, order)
                self._report.pages_scanned_migrate += int(fits.argmax()) + 1
                return found
            self._report.pages_scanned_migrate += len(seen)
            if not nr_left:
                if len(seen):
                    lists.looked_at(int(seen[-1]), order)
                break
        return -1

    # What of it.

    def _isolate_block(self, low: int, stop: int, *, rescan: bool) -> Isolated:
        found = self._look(low, stop)
        if self._control.is_async_direct:
            chosen, self.position = self._chosen_by_runs(found, rescan=rescan)
        else:
            chosen, self.position = self._first_cluster(found, low, stop, rescan=rescan)
        self._report.absorb(*self._left_behind(found))
        self._count_scanned(low)
        self._release(found, chosen)
        self._set_hints(found, chosen, low, stop, rescan=rescan)
        return Isolated(found.used[chosen], found.alone[chosen])

    def _look(self, low: int, stop: int) -> _Stretch:
        state = self._frames.state[low : min(stop, self._frames.nr_frames)]
        used = np.flatnonzero(state == FrameState.USED) + low
        stuck = np.flatnonzero(~_PASSABLE[state]) + low
        if not len(used):
            none, no = np.zeros(0, dtype=np.uint8), np.zeros(0, dtype=np.bool_)
            return _Stretch(low, stop, used, none, none, no, stuck)
        found = self._mover.classify(used, self._design, self._control.mode, passes_over=True)
        stays = np.concatenate((stuck, used[found.answers == Answer.NO]))
        return _Stretch(low, stop, used, found.answers, found.reasons, found.alone, np.sort(stays))

    def _first_cluster(
        self, found: _Stretch, low: int, stop: int, *, rescan: bool
    ) -> tuple[Pfns, int]:
        """The first 32 that would move, or all; and where the next look starts."""
        wanted = found.wanted(low, stop)
        if rescan or len(wanted) < COMPACT_CLUSTER_MAX:
            return wanted, stop
        wanted = wanted[:COMPACT_CLUSTER_MAX]
        return wanted, int(found.used[wanted[-1]]) + 1

    def _chosen_by_runs(self, found: _Stretch, *, rescan: bool) -> tuple[Pfns, int]:
        """The same of the first 2^order frames of which nothing must stay.

        Frames are taken in order, so 32 of them are on their way before one further up is
        seen to stay.
        """
        order, start = self._control.order, found.start
        while start < found.stop:
            end = min(((start >> order) + 1) << order, found.stop)
            first, last = np.searchsorted(found.stays, (start, end))
            clean = end if first == last else int(found.stays[first])
            chosen, after = self._first_cluster(found, start, clean, rescan=rescan)
            on_their_way = not rescan and len(chosen) == COMPACT_CLUSTER_MAX
            if len(chosen) and (clean == end or on_their_way):
                return chosen, after
            start = end
        return _NONE, found.stop

    def _left_behind(self, found: _Stretch) -> tuple[Pfns, NDArray[np.uint8]]:
        """Frames that were passed over in this look and stay, and why."""
        stay = (found.used < self.position) & (found.answers == Answer.NO)
        return found.used[stay], found.reasons[stay]

    def _count_scanned(self, low: int) -> None:
        """Frames looked at: those not free, and the heads of free blocks."""
        seen = slice(low, self.position)
        nr_seen = np.count_nonzero(self._frames.state[seen] != FrameState.FREE)
        nr_seen += np.count_nonzero(self._frames.order[seen] >= 0)
        self._report.pages_scanned_migrate += int(nr_seen)

    def _release(self, found: _Stretch, chosen: Pfns) -> None:
        """The put-aside list is reclaimed before anything is migrated (patch 4, compaction)."""
        aside = (found.answers == Answer.RELEASE) & (found.used < self.position)
        if self._control.is_async_direct and not len(chosen):
            return
        if aside.any():
            reasons = self._design.release(found.used[aside], self._control.mode)
            self._report.absorb(found.used[aside], reasons)

    def _set_hints(
        self, found: _Stretch, chosen: Pfns, low: int, stop: int, *, rescan: bool
    ) -> None:
        """As 6.1 does: the hint is set by whoever takes a block's first frame, or finds nothing.

        A block in which a page of the LRU was taken, but not its first, gets none.
        """
        is_begun_here = low % self._size == 0
        seen = found.wanted(low, self.position)
        on_lru = self._frames.has_flag(found.used[seen], PageFlag.LRU)
        block = low // self._size
        takes_first = is_begun_here and len(seen) and on_lru[0] and found.used[seen[0]] == low
        if takes_first and not self._control.ignore_skip_hint:
            self._pageblocks.skip[block] = True
        if self.position == stop and (not len(chosen) or rescan):
            if is_begun_here and not on_lru.any():
                self._pageblocks.skip[block] = True
            self._hints.scanned_up_to(stop, self._control.mode, self._size)
