"""Compaction as the kernel does it: two scanners that walk towards each other.

The migrate scanner goes up from the bottom of the zone, pageblock by pageblock, and
collects what can move; the free scanner comes down from the top and collects free frames
of MOVABLE and CMA pageblocks as targets.  Where they meet, compaction is complete.  There
is no foresight: a block that can never be emptied is emptied as far as it goes, and its
contents fill targets that another block could have used.  `mm.planned` is the other
strategy.

Kernel counterpart: mm/compaction.c.  Differences: one pageblock is one batch (the kernel
takes 32 frames at a time and drops the lock in between; nothing runs in between here),
and the fast search of the free lists for a starting block is left out.
"""

import enum
from collections import Counter

import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray

from mm.buddy import Buddy
from mm.costs import Counters
from mm.design import Answer, Design
from mm.frames import Frames, FrameState
from mm.freescan import FreeScanner
from mm.move import Mover
from mm.nodes import Zone
from mm.pageblock import MigrateType, Pageblocks
from pinpage.owner import Mode, Reason
from pinpage.units import Pfns

__all__ = [
    "WHOLE_ZONE",
    "CompactControl",
    "CompactReport",
    "CompactResult",
    "Compaction",
]

WHOLE_ZONE = -1
"""The order that means: compact everything, whatever comes free (echo 1 > compact_memory)."""


class CompactResult(enum.Enum):
    """Why compaction of one zone ended (enum compact_result)."""

    COMPLETE = "complete"
    """The scanners met after a scan of the whole zone."""
    PARTIAL_SKIPPED = "partial skipped"
    """They met, but the scan had not begun at the ends of the zone."""
    SUCCESS = "success"
    """A free block of the order asked for exists."""


@frozen
class CompactControl:
    """One request (struct compact_control).

    Attributes:
        zone: where.
        mode: how long to wait.
        order: the order wanted, or `WHOLE_ZONE`.
        migratetype: on whose behalf, where an order is wanted.
        ignore_skip_hint: scan blocks that yielded nothing before.
        any_target: also take targets in pageblocks that are not MOVABLE (only the highest
            priority of direct compaction does so).
    """

    zone: Zone
    mode: Mode = Mode.SYNC
    order: int = WHOLE_ZONE
    migratetype: MigrateType = MigrateType.MOVABLE
    ignore_skip_hint: bool = True
    any_target: bool = False

    @property
    def is_async_direct(self) -> bool:
        """Asynchronous on behalf of an allocation: the pickiest form."""
        return self.mode == Mode.ASYNC and self.order != WHOLE_ZONE


@define
class CompactReport:
    """What compacting did.  Counts are pages unless the name says otherwise."""

    result: CompactResult = CompactResult.COMPLETE
    pages_scanned_migrate: int = 0
    pages_scanned_free: int = 0
    pages_moved: int = 0
    pages_released: int = 0
    pageblocks_emptied: int = 0
    refused: Counter[Reason] = field(factory=Counter)

    def absorb(self, reasons: NDArray[np.uint8]) -> None:
        """Count how the attempts on some frames ended (a frame left alone is no attempt)."""
        counts = np.bincount(reasons, minlength=len(Reason))
        for reason in Reason:
            if not reason.is_success and counts[reason]:
                self.refused[reason] += int(counts[reason])
        self.pages_moved += int(counts[Reason.MOVED] + counts[Reason.FREED])
        self.pages_released += int(counts[Reason.RELEASED])

    def add(self, other: "CompactReport") -> None:
        """Add what was done in another zone; the result stays that of the last one."""
        self.result = other.result
        self.pages_scanned_migrate += other.pages_scanned_migrate
        self.pages_scanned_free += other.pages_scanned_free
        self.pages_moved += other.pages_moved
        self.pages_released += other.pages_released
        self.pageblocks_emptied += other.pageblocks_emptied
        self.refused.update(other.refused)


@define
class _Cached:
    """Where the scanners of a zone left off, as block numbers."""

    migrate_block: int
    free_block: int


class Compaction:
    """Compacts zones.  Holds the scanner positions that survive from one call to the next."""

    def __init__(
        self,
        frames: Frames,
        pageblocks: Pageblocks,
        buddy: Buddy,
        mover: Mover,
        counters: Counters,
    ) -> None:
        """Borrow the state; nothing is copied."""
        self._frames = frames
        self._pageblocks = pageblocks
        self._buddy = buddy
        self._mover = mover
        self._counters = counters
        self._cached: dict[int, _Cached] = {}

    def compact_zone(self, control: CompactControl, design: Design) -> CompactReport:
        """Run both scanners until they meet or the order wanted is there.

        Context: per-CPU lists should be drained first, or their frames count as in transit.
        Cost: numpy work per pageblock, O(frames of the zone) in all.
        """
        report = CompactReport()
        first, last = self._block_range(control.zone)
        start = self._cached.get(control.zone.index, _Cached(first, last))
        whole = control.order == WHOLE_ZONE
        if whole or start.migrate_block >= start.free_block:
            start = _Cached(first, last)
        free_before = self._buddy.wholly_free().sum()
        targets = FreeScanner(
            self._buddy, self._pageblocks, control.zone, start.free_block, control.any_target
        )
        block = start.migrate_block
        report.result = CompactResult.COMPLETE
        while True:
            if block >= targets.block:
                began_whole = start == _Cached(first, last)
                if not (whole or began_whole):
                    report.result = CompactResult.PARTIAL_SKIPPED
                break
            targets.floor = block
            if self._is_source(block, control):
                self._empty_block(block, control, design, targets, report)
            block += 1
            if not whole and self._order_is_there(control):
                report.result = CompactResult.SUCCESS
                break
        targets.release()
        met = block >= targets.block
        self._cached[control.zone.index] = _Cached(
            first if met else block, last if met else targets.block
        )
        report.pages_scanned_free += targets.nr_scanned
        report.pageblocks_emptied = int(self._buddy.wholly_free().sum() - free_before)
        self._counters.pages_scanned_migrate += report.pages_scanned_migrate
        self._counters.pages_scanned_free += targets.nr_scanned
        return report

    def _block_range(self, zone: Zone) -> tuple[int, int]:
        size = self._pageblocks.nr_pages_per_block
        return zone.span.start // size, (zone.span.stop - 1) // size

    def _is_source(self, block: int, control: CompactControl) -> bool:
        if not control.ignore_skip_hint and self._pageblocks.skip[block]:
            return False
        if not control.is_async_direct:
            return True
        has = MigrateType(int(self._pageblocks.migratetype[block]))
        if control.migratetype == MigrateType.MOVABLE:
            return has in (MigrateType.MOVABLE, MigrateType.CMA)
        return has == control.migratetype

    def _order_is_there(self, control: CompactControl) -> bool:
        free = self._buddy.nr_free_by_order(control.zone.index)
        own = free[control.migratetype, control.order :].any()
        cma = control.migratetype == MigrateType.MOVABLE and (
            free[MigrateType.CMA, control.order :].any()
        )
        # A block of another type serves if it may be stolen: from pageblock order upward.
        stealable = free[:3, max(control.order, self._buddy.pageblock_order) :].any()
        return bool(own or cma or stealable)

    def _empty_block(
        self,
        block: int,
        control: CompactControl,
        design: Design,
        targets: FreeScanner,
        report: CompactReport,
    ) -> None:
        span = self._pageblocks.span(block)
        state = self._frames.state[span.start : span.stop]
        used = np.flatnonzero(state == FrameState.USED) + span.start
        report.pages_scanned_migrate += span.nr_pages
        if not len(used):
            return
        found = self._mover.classify(used, design, control.mode)
        report.absorb(found.reasons[found.answers == Answer.NO])
        answers = found.answers
        if control.is_async_direct:
            answers = _all_or_none_of_each_run(used, answers, control.order)
        released = used[answers == Answer.RELEASE]
        if len(released):
            # The put-aside list is reclaimed before anything is migrated (patch 4, compaction).
            report.absorb(design.release(released, control.mode))
        chosen = np.flatnonzero(answers == Answer.MOVE)
        nr_before = report.pages_moved
        if len(chosen):
            alone = found.alone[chosen]
            moved = self._mover.migrate(used[chosen], alone, targets, design, control.mode)
            report.absorb(moved.reasons)
        nothing = report.pages_moved == nr_before and not len(released)
        if nothing and not control.ignore_skip_hint:
            self._pageblocks.skip[block] = True


def _all_or_none_of_each_run(
    used: Pfns, answers: NDArray[np.uint8], order: int
) -> NDArray[np.uint8]:
    """One frame that stays spoils its run of 2^order: leave the whole run alone."""
    runs = used >> order
    spoiled = np.isin(runs, runs[answers == Answer.NO])
    return np.where(spoiled, np.uint8(Answer.NO), answers)
