"""Contiguous memory out of a range that others use: isolate it, empty it, take it.

    isolate -> evacuate -> test that every frame is free -> take exactly the range -> undo

-EBUSY from emptying is not the last word: what refused may have been freed since, so the test
decides.  Whatever happens, the pageblocks get the given type and let allocations in again.

Kernel counterpart: alloc_contig_range() and free_contig_range() in mm/page_alloc.c.  There the
range is extended downward to the free block that its start lies in, and the surplus at head
and tail is freed again; here the buddy lists split such a block where the range begins, which
leaves the same frames free and merged.
"""

import numpy as np
from attrs import define, frozen

from mm.contig.evacuate import Evacuator
from mm.contig.page_isolation import Isolation, first_not_isolated
from mm.contig.retry import EvacuationReport, RetryPolicy
from mm.move.design import Design
from mm.move.obstacles import find_obstacles
from mm.state.errno import Errno
from mm.state.frames import FrameState
from mm.state.pageblock import MigrateType
from mm.state.reasons import Refusals
from pinpage.errors import PinpageError, at_least, one_of, whole, within
from pinpage.move.steps import TargetSource
from pinpage.owner import Mode, Reason
from pinpage.units import Pfns, Span

__all__ = ["Contig", "ContigResult"]

_AT_REST = tuple(kind for kind in MigrateType if kind is not MigrateType.ISOLATE)


@frozen
class ContigResult:
    """What came of one range.

    Attributes:
        errno: OK; EBUSY: something in it stayed; ENOMEM: no destination; EINTR: signalled.
        pfn: the first frame of the range; -1 if it was not obtained.
        report: what was moved, and who stood in the way: of a range that could not even be
            isolated, the first such frame only, as in the kernel's log.
    """

    errno: Errno
    pfn: int
    report: EvacuationReport


@define
class Contig:
    """Allocates ranges of pages.

    Attributes:
        evacuator: isolates and empties.
    """

    evacuator: Evacuator

    def alloc_contig_range(
        self,
        start: int,
        stop: int,
        design: Design,
        *,
        migratetype: MigrateType = MigrateType.MOVABLE,
        mode: Mode = Mode.SYNC,
        retry: RetryPolicy | None = None,
        targets: TargetSource | None = None,
    ) -> ContigResult:
        """Make [start, stop) the caller's: used frames, one reference each.

        Args:
            start, stop: pfns of one zone; need not be aligned.
            design: asked about frames that mm cannot move by itself.
            migratetype: what the pageblocks become afterwards, whatever they were; CMA means
                that they are all CMA's.
            mode: how long to wait for one frame.
            retry: ten passes by five tries by default.
            targets: destinations; the page allocator by default.

        Raises:
            PinpageError: the range is empty, leaves the machine, crosses zones or is offline, or
                no pageblock can be of that type at rest.
        """
        (migratetype,) = one_of(_AT_REST, "alloc_contig_range", migratetype=migratetype)
        span = Span(start, stop)
        self._require_one_zone(span)
        evacuator, meter = self.evacuator, self.evacuator.parts.meter
        for_cma = migratetype == MigrateType.CMA
        started_ns = meter.start()
        found = evacuator.isolate(span, design, mode=mode, for_cma=for_cma)
        if not found:
            report = EvacuationReport(errno=found.errno, elapsed_ns=meter.now_ns - started_ns)
            report.refusals = self._why_not_isolated(found, design, mode)
            return ContigResult(found.errno, -1, report)
        try:
            report = evacuator.evacuate(span, design, retry=retry, mode=mode, targets=targets)
            errno = report.errno
            if errno in (Errno.OK, Errno.EBUSY):
                errno = self._take(span)
        finally:
            evacuator.undo(span, migratetype)
        report.elapsed_ns = meter.lap() - started_ns
        return ContigResult(errno, span.start if errno is Errno.OK else -1, report)

    def free_contig_range(self, pfn: int, nr_pages: int) -> int:
        """Drop one reference of each page.

        Args:
            pfn: the first of them.
            nr_pages: pages from there on.

        Returns:
            How many of them somebody else still uses: those are not free, and a driver that
            gives such a page up too early has a bug (the kernel warns).

        Raises:
            PinpageError: no pages, or one that is not in use; nothing has changed.
        """
        (nr_pages,) = at_least(1, "free_contig_range", nr_pages=nr_pages)
        (pfn,) = whole("free_contig_range", pfn=pfn)
        self._require_used(Span(pfn, pfn + nr_pages))
        freed = self.evacuator.parts.mover.refs.put_many(np.arange(pfn, pfn + nr_pages))
        return nr_pages - int(np.count_nonzero(freed))

    def _take(self, span: Span) -> Errno:
        """Test that everything is free and nobody else's, and take it."""
        buddy = self.evacuator.parts.buddy
        if first_not_isolated(buddy, span) >= 0:
            return Errno.EBUSY
        pfns: Pfns = np.arange(span.start, span.stop)
        buddy.take(pfns)
        self.evacuator.parts.counters.pages_isolated += len(pfns)
        buddy.taken_to_used(pfns)
        return Errno.OK

    def _require_used(self, span: Span) -> None:
        frames = self.evacuator.parts.buddy.frames
        within(frames.nr_frames - span.nr_pages + 1, "free_contig_range", pfn=span.start)
        other = frames.state[span.start : span.stop] != FrameState.USED
        if other.any():
            pfn = span.start + int(other.argmax())
            raise PinpageError(f"free_contig_range: pfn {pfn:#x} is not in use: freed twice?")

    def _require_one_zone(self, span: Span) -> None:
        buddy = self.evacuator.parts.buddy
        blocks = buddy.pageblocks.blocks_of_span(span)
        if not span.nr_pages or span.stop > buddy.frames.nr_frames:
            raise PinpageError(
                f"alloc_contig_range: [{span.start:#x}, {span.stop:#x}) is empty or outside memory"
            )
        zones = set(buddy.area.zone_of_block[blocks.start : blocks.stop].tolist())
        if len(zones) != 1:
            raise PinpageError(
                f"alloc_contig_range: [{span.start:#x}, {span.stop:#x}) crosses zones"
            )
        if zones == {-1}:
            raise PinpageError(f"alloc_contig_range: [{span.start:#x}, {span.stop:#x}) is offline")

    def _why_not_isolated(self, found: Isolation, design: Design, mode: Mode) -> Refusals:
        parts, pfn = self.evacuator.parts, np.array([found.pfn])
        frames, pageblocks = parts.buddy.frames, parts.buddy.pageblocks
        if pageblocks.types_of(pfn)[0] != MigrateType.ISOLATE:
            return find_obstacles(frames, parts.mover, design, pfn, mode).refusals()
        refusals = Refusals()
        reasons = np.array([Reason.ALREADY_ISOLATED], dtype=np.uint8)
        refusals.add(pfn, reasons, design.holders(frames.nr_frames, Span(found.pfn, found.pfn + 1)))
        return refusals
