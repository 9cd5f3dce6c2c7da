"""Compaction as the kernel does it: two scanners that walk towards each other.

The migrate scanner goes up from the bottom of the zone, pageblock by pageblock, and
collects what can move; the free scanner comes down from the top and collects free frames
of MOVABLE and CMA pageblocks as targets.  Where they meet, compaction is complete.  There
is no foresight: a block that can never be emptied is emptied as far as it goes, and its
contents fill targets that another block could have used.  `mm.planning.execute` is the other
strategy.

Here is compaction of whole zones (compact_memory, proactive), where every block is looked
at once; `mm.compaction.compact_for_order` stops as soon as a free block of some order is there.

Kernel counterpart: mm/compaction.c.  Difference: one pageblock is one batch (the kernel
takes 32 frames of it first and drops the lock in between; nothing runs in between here).
"""

import numpy as np

from mm.buddy.buddy import Buddy
from mm.compaction.compact_control import (
    WHOLE_ZONE,
    CompactControl,
    CompactReport,
    CompactResult,
)
from mm.compaction.compact_for_order import OrderScan
from mm.compaction.free_scanner import FreeScanner
from mm.compaction.scan_hints import ZoneHints, reset_isolation_suitable
from mm.move.design import Answer, Design
from mm.move.move import Mover
from mm.state.costs import Counters
from mm.state.frames import Frames, FrameState
from mm.state.nodes import Zone
from mm.state.pageblock import Pageblocks

__all__ = ["Compaction"]


class Compaction:
    """Compacts zones; what survives from one call to the next is in `mm.compaction.scan_hints`."""

    def __init__(
        self,
        frames: Frames,
        pageblocks: Pageblocks,
        buddy: Buddy,
        mover: Mover,
        counters: Counters,
    ) -> None:
        """Borrow the state; nothing is copied.

        Args:
            frames: the columns, one row per frame.
            pageblocks: the types of the pageblocks.
            buddy: the free lists.
            mover: moves pages.
            counters: what is done is counted here.
        """
        self._frames = frames
        self._pageblocks = pageblocks
        self._buddy = buddy
        self._mover = mover
        self._counters = counters
        self._hints: dict[int, ZoneHints] = {}

    def compact_zone(self, control: CompactControl, design: Design) -> CompactReport:
        """Run both scanners until they meet or the order wanted is there.

        Args:
            control: what is asked for.
            design: what is done with frames that mm cannot move by itself.

        Context: per-CPU lists should be drained first, or their frames count as in transit.
        Cost: numpy work per pageblock, O(frames of the zone) in all; about 1.1 us of CPU
            per page moved (`tests/benchmarks`).
        """
        report = CompactReport()
        free_before = int(self._buddy.wholly_free().sum())
        if control.order == WHOLE_ZONE:
            report.result = self._scan_whole(control, design, report)
        else:
            hints = self.hints(control.zone)
            scan = OrderScan(self._buddy, self._mover, control, design, hints, report)
            report.result = scan.run()
        report.pageblocks_emptied = int(self._buddy.wholly_free().sum()) - free_before
        self._counters.pages_scanned_migrate += report.pages_scanned_migrate
        self._counters.pages_scanned_free += report.pages_scanned_free
        return report

    def hints(self, zone: Zone) -> ZoneHints:
        """What is remembered of a zone; a zone that has changed its span is forgotten."""
        size = self._pageblocks.nr_pages_per_block
        start, top = zone.span.start, (zone.span.stop - 1) // size * size
        known = self._hints.get(zone.index)
        if known is None or (known.start, known.top) != (start, top):
            known = self._hints[zone.index] = ZoneHints(start, top)
        return known

    def reset_isolation_suitable(self, zone: Zone, *, only_stale: bool = False) -> None:
        """Forget the skip hints of a zone and where its scanners left off.

        Args:
            zone: where.
            only_stale: not unless the scanners have met on behalf of an allocation since
                (compact_blockskip_flush, which kswapd honours before it sleeps).
        """
        hints = self.hints(zone)
        if hints.is_stale or not only_stale:
            reset_isolation_suitable(hints, zone, self._buddy)

    # Whole zones.

    def _scan_whole(
        self, control: CompactControl, design: Design, report: CompactReport
    ) -> CompactResult:
        size, span = self._pageblocks.nr_pages_per_block, control.zone.span
        targets = FreeScanner(
            self._buddy, self._pageblocks, control.zone, (span.stop - 1) // size,
            any_target=control.any_target, ignore_skip_hint=control.ignore_skip_hint,
        )  # fmt: skip
        block, stopped = span.start // size, False
        try:
            while block < targets.position and not stopped:
                targets.floor = block
                if control.ignore_skip_hint or not self._pageblocks.skip[block]:
                    self._empty_block(block, control, design, targets, report)
                block += 1
                stopped = control.stop()
            met = block >= targets.position
        finally:
            targets.release()
        report.pages_scanned_free = targets.nr_scanned
        if met:
            self.hints(control.zone).rewind()
        return CompactResult.COMPLETE if met else CompactResult.SUCCESS

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
        found = self._mover.classify(used, design, control.mode, passes_over=True)
        answers = found.answers
        report.absorb(used[answers == Answer.NO], found.reasons[answers == Answer.NO])
        released = used[answers == Answer.RELEASE]
        if len(released):
            # The put-aside list is reclaimed before anything is migrated (patch 4, compaction).
            report.absorb(released, design.release(released, control.mode))
        chosen = np.flatnonzero(answers == Answer.MOVE)
        if len(chosen):
            alone = found.alone[chosen]
            moved = self._mover.migrate(used[chosen], alone, targets, design, control.mode)
            report.absorb(used[chosen], moved.reasons)
        else:  # frames put aside do not count as isolated, as in patch 4
            self._pageblocks.skip[block] = True
