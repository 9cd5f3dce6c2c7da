"""Compaction until a free block of some order is there: direct compaction and kcompactd.

Two scanners as ever, but with the economy of 6.1: the sources come a block at a time from
wherever the last scan left off, the targets from a quick search of the free lists, and both
pass over blocks that yielded nothing before.  `mm.compaction.compaction` empties whole zones; the
two share the mover, the hints and the report.

Kernel counterpart: compact_zone and compact_finished (mm/compaction.c of v6.1) for an order.
The captured page is not modelled: nobody else allocates between the merge and the look.
"""

from mm.buddy.buddy import Buddy
from mm.buddy.fallback import FALLBACKS, may_claim
from mm.compaction.compact_control import CompactControl, CompactReport, CompactResult
from mm.compaction.free_scanner_for_order import FreeSearcher
from mm.compaction.migrate_scan import Isolated, MigrateScanner, SearchEffort
from mm.compaction.scan_hints import ZoneHints
from mm.move.design import Design
from mm.move.move import Mover
from mm.state.pageblock import MigrateType
from pinpage.owner import Mode, Reason

__all__ = ["OrderScan"]


class OrderScan:
    """One scan of one zone for one order."""

    def __init__(
        self,
        buddy: Buddy,
        mover: Mover,
        control: CompactControl,
        design: Design,
        hints: ZoneHints,
        report: CompactReport,
    ) -> None:
        """Both scanners where the hints put them.

        Args:
            buddy: the free lists.
            mover: moves pages.
            control: what is asked for.
            design: what is done with frames that mm cannot move by itself.
            hints: what earlier scans of the zone left behind.
            report: what is done is counted here.
        """
        effort = SearchEffort()
        self._buddy = buddy
        self._mover = mover
        self._control = control
        self._design = design
        self._hints = hints
        self._report = report
        self._sources = MigrateScanner(buddy, mover, control, design, hints, effort, report)
        self._targets = FreeSearcher(buddy, control, hints, effort, lambda: self._sources.position)
        self._is_whole = control.whole_zone or self._sources.position <= hints.init_migrate
        # While nothing was isolated, what an asynchronous scan passes over a synchronous one
        # would pass over too.
        self._keeps_in_step = (
            control.mode == Mode.ASYNC and hints.migrate_async == hints.migrate_sync
        )

    def run(self) -> CompactResult:
        """Scan until they meet, the order is there, or nothing more can be had."""
        try:
            result = self._scan()
        finally:
            self._targets.release()
        self._report.pages_scanned_free = self._targets.nr_scanned
        return result

    def _scan(self) -> CompactResult:
        last: int | None = None
        while (result := self._finished()) is None:
            began_at = self._sources.position
            rescan = last is not None and self._is_same_block(last, began_at)
            batch = self._sources.isolate(self._targets.position, rescan=rescan)
            if not len(batch.pfns):
                if self._keeps_in_step:
                    self._hints.migrate_sync = self._hints.migrate_async
                continue
            self._keeps_in_step = False
            last, result = self._migrate(batch, began_at)
            if result is not None:
                break
        return result

    def _is_same_block(self, pfn: int, other: int) -> bool:
        size = self._buddy.pageblocks.nr_pages_per_block
        return pfn // size == other // size

    def _migrate(self, batch: Isolated, began_at: int) -> tuple[int | None, CompactResult | None]:
        """Move a batch.

        Returns:
            Where it began, or None if the rest of its block is given up; and the result, if
            that is the end.
        """
        control = self._control
        self._targets.nr_wanted = len(batch.pfns)
        moved = self._mover.migrate(
            batch.pfns, batch.alone, self._targets, self._design, control.mode
        )
        self._report.absorb(batch.pfns, moved.reasons)
        if (moved.reasons <= Reason.RELEASED).all():
            return began_at, None
        if (moved.reasons == Reason.NO_TARGET).any() and not self._have_met():
            return None, CompactResult.CONTENDED
        if control.is_async_direct:  # one page stays, so that block of the order is lost
            mask = (1 << control.order) - 1
            self._sources.position = (self._sources.position + mask) & ~mask
            return None, None
        return began_at, None

    def _have_met(self) -> bool:
        return self._targets.block <= self._sources.block

    def _finished(self) -> CompactResult | None:
        """Whether to stop, asked between batches; None to go on."""
        if self._have_met():
            self._hints.rewind()
            if self._control.is_direct:
                self._hints.is_stale = True
            return CompactResult.COMPLETE if self._is_whole else CompactResult.PARTIAL_SKIPPED
        if self._sources.position % self._buddy.pageblocks.nr_pages_per_block:
            return None  # a block that was begun is finished
        if self._order_is_there():
            return CompactResult.SUCCESS
        return CompactResult.CONTENDED if self._control.stop() else None

    def _order_is_there(self) -> bool:
        """A free block that the request may have: its own, CMA's, or one that it may steal."""
        zone, order, wanted = (
            self._control.zone.index,
            self._control.order,
            self._control.migratetype,
        )
        has = self._buddy.has_free_block
        if has(zone, wanted, order):
            return True
        if wanted == MigrateType.MOVABLE and has(zone, MigrateType.CMA, order):
            return True
        while not may_claim(order, wanted, self._buddy.pageblock_order):
            order += 1
        return any(has(zone, other, order) for other in FALLBACKS[wanted])
