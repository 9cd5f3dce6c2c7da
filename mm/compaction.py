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
from mm.design import Answer, Answers, Design
from mm.fallback import FALLBACKS, may_claim
from mm.frames import Frames, FrameState
from mm.freescan import FreeScanner
from mm.move import Mover
from mm.nodes import Zone
from mm.pageblock import MigrateType, Pageblocks
from pinpage.owner import Mode, Reason
from pinpage.units import Mask, Pfns

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
    """A free block of the order asked for came up before they met."""


@frozen
class CompactControl:
    """One request (struct compact_control).

    Attributes:
        zone: where.
        mode: how long to wait.
        order: the order wanted, or `WHOLE_ZONE`.
        migratetype: on whose behalf, where an order is wanted.
        ignore_skip_hint: scan blocks that yielded nothing before.  Whoever scans sets hints.
        whole_zone: start at the ends of the zone, not where the last scan left off.
        any_target: also take targets in pageblocks that are not MOVABLE (only the highest
            priority of direct compaction does so).
    """

    zone: Zone
    mode: Mode = Mode.SYNC
    order: int = WHOLE_ZONE
    migratetype: MigrateType = MigrateType.MOVABLE
    ignore_skip_hint: bool = True
    whole_zone: bool = False
    any_target: bool = False

    @property
    def is_direct(self) -> bool:
        """On behalf of an allocation, which wants one block of some order."""
        return self.order != WHOLE_ZONE

    @property
    def is_async_direct(self) -> bool:
        """Asynchronous on behalf of an allocation: the pickiest form."""
        return self.mode == Mode.ASYNC and self.is_direct


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
        self.pages_moved += int(counts[Reason.MOVED] + counts[Reason.FREED])
        self.pages_released += int(counts[Reason.RELEASED])
        for code in np.flatnonzero(counts).tolist():
            reason = Reason(code)
            if not reason.is_success:
                self.refused[reason] += int(counts[code])

    def add(self, other: "CompactReport") -> None:
        """Add what was done in another zone; the result stays that of the last one."""
        self.result = other.result
        self.pages_scanned_migrate += other.pages_scanned_migrate
        self.pages_scanned_free += other.pages_scanned_free
        self.pages_moved += other.pages_moved
        self.pages_released += other.pages_released
        self.pageblocks_emptied += other.pageblocks_emptied
        self.refused.update(other.refused)


@frozen
class _Positions:
    """Where the scanners of a zone are, as block numbers."""

    migrate_block: int
    free_block: int


class Compaction:
    """Compacts zones; keeps what survives from one call to the next.

    Per zone that is where the scanners left off, and whether the skip hints are stale: once
    the scanners have met on behalf of an allocation, every block has been looked at.
    """

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
        self._cached: dict[int, _Positions] = {}
        self._stale_hints: set[int] = set()

    def compact_zone(self, control: CompactControl, design: Design) -> CompactReport:
        """Run both scanners until they meet or the order wanted is there.

        Context: per-CPU lists should be drained first, or their frames count as in transit.
        Cost: numpy work per pageblock, O(frames of the zone) in all; about 1.1 us of CPU
            per page moved (`tests/benchmarks`).
        """
        report = CompactReport()
        free_before = int(self._buddy.wholly_free().sum())
        start = self._start(control)
        targets = FreeScanner(
            self._buddy, self._pageblocks, control.zone, start.free_block,
            any_target=control.any_target, ignore_skip_hint=control.ignore_skip_hint,
        )  # fmt: skip
        block, found = start.migrate_block, False
        while block < targets.position and not found:
            targets.floor = block
            if self._is_source(block, control):
                self._empty_block(block, control, design, targets, report)
            block += 1
            found = control.is_direct and self._order_is_there(control)
        report.result = self._finish(control, start, block, targets)
        report.pages_scanned_free = targets.nr_scanned
        report.pageblocks_emptied = int(self._buddy.wholly_free().sum()) - free_before
        self._counters.pages_scanned_migrate += report.pages_scanned_migrate
        self._counters.pages_scanned_free += targets.nr_scanned
        return report

    def reset_isolation_suitable(self, zone: Zone, *, only_stale: bool = False) -> None:
        """Forget the skip hints of a zone and where its scanners left off.

        Args:
            zone: where.
            only_stale: not unless the scanners have met on behalf of an allocation since
                (compact_blockskip_flush, which kswapd honours before it sleeps).
        """
        if only_stale and zone.index not in self._stale_hints:
            return
        self._stale_hints.discard(zone.index)
        self._cached.pop(zone.index, None)
        ends = self._ends(zone)
        self._pageblocks.skip[ends.migrate_block : ends.free_block + 1] = False

    def _start(self, control: CompactControl) -> _Positions:
        ends = self._ends(control.zone)
        cached = self._cached.get(control.zone.index, ends)
        return ends if control.whole_zone or not control.is_direct else cached

    def _finish(
        self, control: CompactControl, start: _Positions, block: int, targets: FreeScanner
    ) -> CompactResult:
        """Remember where to go on, and say why it ended."""
        zone, ends = control.zone, self._ends(control.zone)
        met = block >= targets.position
        targets.release()
        self._cached[zone.index] = ends if met else _Positions(block, targets.block)
        if not met:
            return CompactResult.SUCCESS
        if control.is_direct:
            self._stale_hints.add(zone.index)
        return CompactResult.COMPLETE if start == ends else CompactResult.PARTIAL_SKIPPED

    def _ends(self, zone: Zone) -> _Positions:
        size = self._pageblocks.nr_pages_per_block
        return _Positions(zone.span.start // size, (zone.span.stop - 1) // size)

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
        """A free block that the request may have: its own, CMA's, or one that it may steal."""
        zone, order, wanted = control.zone.index, control.order, control.migratetype
        has = self._buddy.has_free_block
        if has(zone, wanted, order):
            return True
        if wanted == MigrateType.MOVABLE and has(zone, MigrateType.CMA, order):
            return True
        while not may_claim(order, wanted, self._buddy.pageblock_order):
            order += 1
        return any(has(zone, other, order) for other in FALLBACKS[wanted])

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
            self._pageblocks.skip[block] = True
            return
        found = self._mover.classify(used, design, control.mode)
        answers = found.answers
        report.absorb(found.reasons[answers == Answer.NO])
        if control.is_async_direct:
            stuck = np.flatnonzero(~_PASSABLE[state]) + span.start
            answers = _all_or_none_of_each_run(used, answers, stuck, control.order)
        released = used[answers == Answer.RELEASE]
        if len(released):
            # The put-aside list is reclaimed before anything is migrated (patch 4, compaction).
            report.absorb(design.release(released, control.mode))
        chosen = np.flatnonzero(answers == Answer.MOVE)
        if len(chosen):
            alone = found.alone[chosen]
            moved = self._mover.migrate(used[chosen], alone, targets, design, control.mode)
            report.absorb(moved.reasons)
        else:  # frames put aside do not count as isolated, as in patch 4
            self._pageblocks.skip[block] = True


_PASSABLE: Mask = np.isin(np.arange(len(FrameState)), (FrameState.FREE, FrameState.USED))
"""By `FrameState`: whether a frame spoils no run by itself; one on a per-CPU list does."""


def _all_or_none_of_each_run(used: Pfns, answers: Answers, stuck: Pfns, order: int) -> Answers:
    """One frame that stays spoils its run of 2^order: leave the whole run alone."""
    runs = used >> order
    spoiled = np.concatenate((runs[answers == Answer.NO], stuck >> order))
    return np.where(np.isin(runs, spoiled), np.uint8(Answer.NO), answers)
