"""The contiguous memory allocator: areas that are lent to movable pages until a device asks.

    set the bits -> alloc_contig_range -> OK: the device's
                                       -> EBUSY: clear the bits, go on one alignment step later
                                       -> anything else: clear the bits, stop

One walk over the area, from its start; there is no second round.  Between two ranges others go
on, so a page that was pinned a moment ago may be free of pins at the next.  `strategy="plan"`
looks at all ranges first and takes the one that keeps the largest ranges whole, and of these the
cheapest; or it says with no move at all which frames are in the way.

Movable requests fall into CMA pageblocks by the rules of `mm.buddy.rmqueue`; pages that are to be
pinned for long leave them first (migrate before pin).

Kernel counterpart: cma_alloc(), cma_release() and cma_init_reserved_mem() in mm/cma.c.
"""

from collections.abc import Callable, Iterable

import numpy as np

from mm.contig.cma_area import CmaArea
from mm.contig.cma_plan import CmaPlanner
from mm.contig.cma_result import CmaResult
from mm.contig.contig import Contig
from mm.contig.range_walk import nr_steps
from mm.contig.retry import RetryPolicy
from mm.move.design import Design, Strategy
from mm.move.obstacles import find_obstacles
from mm.planning.execute import NR_PLAN_ROUNDS, PlannedCompaction, planned_targets
from mm.planning.range_plan import RangePlan
from mm.state.costs import Counters
from mm.state.errno import Errno
from mm.state.frames import FrameState
from mm.state.pageblock import MigrateType
from pinpage.errors import PinpageError, at_least, one_of, require, whole
from pinpage.move.steps import TargetSource
from pinpage.owner import Mode
from pinpage.units import Pfns, Span

__all__ = ["MAX_CMA_AREAS", "Cma"]

MAX_CMA_AREAS = 8
"""Areas that Linux 6.1 has room for unless built otherwise: one, and CONFIG_CMA_AREAS more, which
is 7 where the kernel is built without NUMA (with it, 19)."""
_NR_ALIGN_ORDERS = 63
"""An alignment has to fit a pfn."""


class Cma:
    """All areas of a machine.

    Attributes:
        areas: in order of creation.
        most_areas: that there may be; a recorded kernel was built for those that it has.
        nr_alloc_success, nr_alloc_fail: requests (cma_alloc_success, cma_alloc_fail).

    Invariants, run by `check` after those of each area (`mm.contig.cma_area`):
        CM3 areas do not overlap, and their pageblocks are CMA's at rest.
        CM4 a device's pages are used and have references.
        CM5 a bit is set exactly if a device has one of its pages.
    """

    def __init__(
        self, contig: Contig, design: Callable[[], Design], planned: PlannedCompaction
    ) -> None:
        """No areas yet; `design` is asked for the design in force at each request.

        Args:
            contig: takes ranges.
            design: gives the design in force, asked at each request.
            planned: takes the census of all memory.
        """
        self._contig = contig
        self._parts = contig.evacuator.parts
        self._design = design
        self._planner = CmaPlanner(self._parts, planned, design)
        self.areas: list[CmaArea] = []
        self.most_areas = MAX_CMA_AREAS
        self.nr_alloc_success = 0
        self.nr_alloc_fail = 0

    def create(self, span: Span, order_per_bit: int = 0, *, name: str = "") -> CmaArea:
        """An area of whole pageblocks of one zone, lent to movable pages from here on.

        The pageblocks are free as at boot, or CMA already, as in a recording.

        Args:
            span: the area: whole pageblocks of one zone.
            order_per_bit: log2 of the pages that one bit stands for.
            name: of the area, for whoever asks one of several.

        Raises:
            PinpageError: it is not whole pageblocks of one zone, overlaps another area, is
                offline or isolated (emptied by somebody, or off), holds pages that are not
                CMA's, or there are too many areas.  Nothing changed.
        """
        area = CmaArea(span, order_per_bit, name)
        self._refuse_unfit(area, len(self.areas))
        self._refuse_occupied(span)
        buddy = self._parts.buddy
        self._parts.pcp.drain_all()
        for block in buddy.pageblocks.blocks_of_span(span):
            buddy.set_migratetype(block, MigrateType.CMA)
        self.areas.append(area)
        return area

    def _refuse_unfit(self, area: CmaArea, nr_areas: int) -> None:
        span, buddy = area.span, self._parts.buddy
        size, where = buddy.pageblocks.nr_pages_per_block, f"[{span.start:#x}, {span.stop:#x})"
        if span.start % size or span.stop % size or span.stop > buddy.pageblocks.nr_frames:
            raise PinpageError(f"cma: {where} is not whole pageblocks: align it to {size} pages")
        blocks = buddy.pageblocks.blocks_of_span(span)
        zones = set(buddy.area.zone_of_block[blocks.start : blocks.stop].tolist())
        if len(zones) != 1:
            raise PinpageError(f"cma: {where} crosses zones: an area lies in one")
        if zones == {-1}:
            raise PinpageError(f"cma: {where} is offline: bring it online first")
        if any(span.start < other.span.stop and other.span.start < span.stop
               for other in self.areas):  # fmt: skip
            raise PinpageError(f"cma: {where} overlaps an area")
        if nr_areas >= self.most_areas:
            raise PinpageError(f"cma: there are {nr_areas} areas already (MAX_CMA_AREAS)")

    def _refuse_occupied(self, span: Span) -> None:
        """What stands on a per-CPU list counts as free: it is drained before the blocks change."""
        pageblocks, state = self._parts.buddy.pageblocks, self._parts.buddy.frames.state
        for block in pageblocks.blocks_of_span(span):
            if pageblocks.migratetype[block] == MigrateType.ISOLATE:
                raise PinpageError(
                    f"cma: pageblock {block} is isolated: somebody empties it, or has it off"
                )
            rows = pageblocks.span(block)
            free = np.isin(state[rows.start : rows.stop], (FrameState.FREE, FrameState.PCP))
            if pageblocks.migratetype[block] != MigrateType.CMA and not free.all():
                raise PinpageError(f"cma: pageblock {block} is in use: create areas at boot")

    def adopt(self, order_per_bit: int = 0) -> list[CmaArea]:
        """An area for every run of CMA pageblocks that has none, as a recording shows them.

        Raises:
            PinpageError: as `create`, for one of the runs.  Nothing changed.
        """
        pageblocks = self._parts.buddy.pageblocks
        is_cma = pageblocks.migratetype == MigrateType.CMA
        for area in self.areas:
            blocks = pageblocks.blocks_of_span(area.span)
            is_cma[blocks.start : blocks.stop] = False
        edges = np.flatnonzero(np.diff(np.concatenate(([0], is_cma, [0])).astype(np.int8)))
        spans = [
            Span(pageblocks.span(first).start, pageblocks.span(stop - 1).stop)
            for first, stop in edges.reshape(-1, 2).tolist()
        ]
        for already, span in enumerate(spans, len(self.areas)):
            self._refuse_unfit(CmaArea(span, order_per_bit), already)
        return [self.create(span, order_per_bit) for span in spans]

    def alloc(self, count: int, align_order: int = 0) -> int:
        """`count` contiguous pages of the first area: the first pfn, or -1 (cma_alloc).

        Args:
            count: pages.
            align_order: log2 of the pages that the first pfn is a multiple of.
        """
        return self.request(count, align_order).pfn

    def request(
        self,
        count: int,
        align_order: int = 0,
        *,
        area: CmaArea | None = None,
        strategy: Strategy = "scan",
        mode: Mode = Mode.SYNC,
        retry: RetryPolicy | None = None,
    ) -> CmaResult:
        """`alloc`, with everything that there is to tell.

        Args:
            count: pages.
            align_order: the first pfn is a multiple of 2^align_order.
            area: where; the first by default.
            strategy: "scan", the kernel's walk; or "plan".
            mode: how long to wait for one frame.
            retry: for each range.

        Raises:
            PinpageError: no pages are asked for, an alignment or strategy that there is not, or
                the area is none of ours.
        """
        count, align_order = whole("cma", count=count, align_order=align_order)
        is_ours = any(area in (None, ours) for ours in self.areas)
        if count < 1 or not 0 <= align_order < _NR_ALIGN_ORDERS or not is_ours:
            raise PinpageError(
                f"cma: count={count}, align_order={align_order}, {len(self.areas)} areas:"
                " ask for a page or more of an area that exists"
            )
        one_of(("scan", "plan"), "cma", strategy=strategy)
        area, retry = area or self.areas[0], retry or RetryPolicy()
        ask = self._walk if strategy == "scan" else self._by_plan
        result = ask(area, count, align_order, mode, retry)
        if result.pfn >= 0:
            self.nr_alloc_success += 1
        else:
            self.nr_alloc_fail += 1
        return result

    def bound(
        self,
        area: CmaArea,
        sizes: Iterable[tuple[int, int]],
        align_order: int = 0,
        mode: Mode = Mode.SYNC,
    ) -> int:
        """The most pages that requests of these sizes can have together, whoever serves them.

        Args:
            area: where.
            sizes: (pages of one request, how many of them).
            align_order: the first pfn of each is a multiple of 2^align_order.
            mode: how long to wait for one frame.
        """
        return self._planner.bound(area, sizes, align_order, mode)

    def release(self, pfn: int, count: int) -> bool:
        """Give pages back (cma_release); False where they are no area's.

        Pages that somebody else still references stay used until that ends.

        Args:
            pfn: the first of them.
            count: pages.

        Raises:
            PinpageError: a count below 1, or pages of an area that no device has (any more).
        """
        (count,) = at_least(1, "cma: release", count=count)
        (pfn,) = whole("cma: release", pfn=pfn)
        area = next((a for a in self.areas if pfn in a.span), None)
        if area is None or pfn + count > area.span.stop:
            return False
        area.take_back(Span(pfn, pfn + count))
        self._contig.free_contig_range(pfn, count)
        return True

    # The walk.

    def _walk(
        self, area: CmaArea, count: int, align_order: int, mode: Mode, retry: RetryPolicy
    ) -> CmaResult:
        result, nr_bits = CmaResult(), area.bits_for(count)
        step = area.align_mask(align_order) + 1
        bit, clock = area.find(nr_bits, 0, align_order), self._parts.meter.clock
        while bit >= 0:
            span = Span(area.pfn_of(bit), area.pfn_of(bit) + count)
            nr_happened = clock.nr_happened
            errno = self._try(area, span, mode, retry, result)
            if errno is not Errno.EBUSY:
                result.errno = errno
                break
            self._parts.meter.cond_resched()
            is_same = retry.is_alone and clock.nr_happened == nr_happened
            immovable = result.report.immovable if is_same else result.report.immovable[:0]
            bit = self._next(area, bit + step, nr_bits, align_order, immovable, result)
        return result

    def _next(
        self,
        area: CmaArea,
        start: int,
        nr_bits: int,
        align_order: int,
        immovable: Pfns,
        result: CmaResult,
    ) -> int:
        """Where to go on after a range failed: the next one, or -1.

        Ranges that still hold a frame that is `immovable` fail like the last one.  The kernel
        tries each; here only the last of them is tried, which empties what the others would;
        or the first that it comes to after something else was due.
        """
        if not len(immovable):
            return area.find(nr_bits, start, align_order)
        same = area.clear_runs(nr_bits, align_order, start, area.bit_of(int(immovable[-1])))
        if not len(same):
            return area.find(nr_bits, start, align_order)
        last, meter = int(same[-1]), self._parts.meter
        span = Span(area.pfn_of(last), area.pfn_of(last + nr_bits))
        each = Counters(pages_scanned_migrate=nr_steps(self._parts.buddy.frames, span))
        nr_skipped = meter.nr_before_due(each, len(same) - 1)
        last = int(same[nr_skipped])
        meter.start()
        self._parts.counters.pages_scanned_migrate += nr_skipped * each.pages_scanned_migrate
        meter.lap()
        result.nr_skipped += nr_skipped
        return last

    def _try(
        self,
        area: CmaArea,
        span: Span,
        mode: Mode,
        retry: RetryPolicy,
        result: CmaResult,
        targets: TargetSource | None = None,
    ) -> Errno:
        """The bits first, so that nobody else walks into the range meanwhile."""
        area.mark(span, on=True)
        obtained = False
        try:
            found = self._contig.alloc_contig_range(
                span.start, span.stop, self._design(),
                migratetype=MigrateType.CMA, mode=mode, retry=retry, targets=targets,
            )  # fmt: skip
            obtained = found.errno is Errno.OK
        finally:
            if not obtained:
                area.mark(span, on=False)
        if obtained:
            area.hand_out(span)
        result.add(span, found)
        return found.errno

    # The plan.

    def _by_plan(
        self, area: CmaArea, count: int, align_order: int, mode: Mode, retry: RetryPolicy
    ) -> CmaResult:
        """Best fit, then the cheapest; one that fails all the same is planned around.

        Where there is no room, reclaim makes some; where that is not enough, or what was
        foreseen did not come true, each range that nothing is stuck in is tried in turn.
        """
        result = CmaResult()
        failed = np.zeros(self._parts.buddy.frames.nr_frames, dtype=np.bool_)
        for _ in range(2 * NR_PLAN_ROUNDS):  # to make room, and around what refuses
            choice = self._planner.choose(area, count, align_order, mode, failed)
            made = choice.plan
            if made.span is None:
                if self._planner.make_space(choice, mode, failed, result.report):
                    continue
                break
            with planned_targets(self._parts.buddy, made.targets) as targets:
                result.errno = self._try(area, made.span, mode, retry, result, targets)
            if result.errno not in (Errno.EBUSY, Errno.ENOMEM):
                return result
            self._parts.meter.cond_resched()
            failed[result.report.left] = True
        made = self._planner.choose(area, count, align_order, mode, failed).plan
        starts = made.starts[made.is_clear]
        if not len(starts):
            self._refuse(made, mode, result)
        for start in starts.tolist():
            span = Span(start, start + count)
            if not failed[start : span.stop].any():
                result.errno = self._try(area, span, mode, retry, result)
                failed[result.report.left] = True
                if result.errno is not Errno.EBUSY:
                    return result
        result.errno = Errno.ENOMEM
        return result

    def _refuse(self, made: RangePlan, mode: Mode, result: CmaResult) -> None:
        """No range can be had: say what is in the way where that is least."""
        result.errno = Errno.ENOMEM
        nearest = made.nearest
        if nearest is not None:
            pfns = made.in_the_way(nearest).pfns
            parts = self._parts
            result.span = nearest
            result.report.immovable = result.report.left = pfns
            result.report.refusals = find_obstacles(
                parts.buddy.frames, parts.mover, self._design(), pfns, mode
            ).refusals()

    def check(self) -> None:
        """Run CM1..CM5.

        Raises:
            InvariantError: one does not hold.
        """
        frames, pageblocks = self._parts.buddy.frames, self._parts.buddy.pageblocks
        stop = 0
        for area in sorted(self.areas, key=lambda area: area.span):
            area.check()
            require(area.span.start >= stop, "CM3 areas overlap", pfn=area.span.start)
            stop = area.span.stop
            blocks = pageblocks.blocks_of_span(area.span)
            types = pageblocks.migratetype[blocks.start : blocks.stop]
            require((types == MigrateType.CMA).all(), "CM3 a pageblock of an area is not CMA's")
            taken = area.span.start + np.flatnonzero(area.bitmap) * (1 << area.order_per_bit)
            taken = np.union1d(taken, area.span.start + np.flatnonzero(area.handed))
            used = frames.state[taken] == FrameState.USED
            require(used.all(), "CM4 a device's page is not used", nr_pages=int((~used).sum()))
            same = np.array_equal(area.has_handed(), area.bitmap)
            require(same, "CM5 the bits are not those of the pages that devices have")
