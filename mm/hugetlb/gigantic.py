"""Gigantic pages: a walk over memory for an aligned range that can be emptied.

The kernel has no free lists of this size.  It goes from zone to zone, in steps of the page's
size, looks at every frame of a range for what rules it out, and tries to empty the first
range that nothing rules out; the first success wins, and after a failure the walk goes on.
What it looks for is little: no frame offline, of another zone, reserved or of hugetlb.  Of a
pinned page, or of slab, it learns by trying.

Two ways to look, and both count what they look at (`probes`):

    frames   as the kernel does, frame after frame
    blocks   counters per pageblock for the same question, and what is registered there: a
             pin whose owner would neither move nor release it rules the range out.  One
             probe per pageblock, and one per pin that is asked about

A range that `blocks` skips is one that trying could not obtain, so the answer is the same;
and nothing is moved out of it in vain, which may leave room that the other walk wasted.

The third way is a plan: all ranges at once, the cheapest first (`alloc_planned`).

Kernel counterpart: alloc_contig_pages, pfn_range_valid_contig and alloc_gigantic_page
(mm/page_alloc.c, mm/hugetlb.c of v6.1); hugetlb_cma is not modelled.  The counters per
pageblock are ours; they are worked out from the columns when a walk needs them.
"""

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Literal, TypeAlias, get_args

import numpy as np
from attrs import define, field, frozen

from mm.contig.contig import Contig
from mm.contig.retry import EvacuationReport, RetryPolicy
from mm.move.design import Answer, Design
from mm.move.obstacles import find_obstacles
from mm.planning.execute import NR_PLAN_ROUNDS, PlannedCompaction, planned_targets
from mm.planning.range_plan import RangePlan
from mm.planning.ranges import cheapest_ranges
from mm.state.errno import Errno
from mm.state.frames import FrameState, PageFlag
from mm.state.nodes import Zone, ZoneKind
from mm.state.reasons import Refusals
from pinpage.errors import PinpageError, at_least, one_of, whole
from pinpage.owner import Mode
from pinpage.units import PAGE_SHIFT, Mask, Pfns, Span

__all__ = ["NR_PAGES_1_GIB", "Candidate", "GiganticPages", "GiganticWalk", "Knowledge"]

NR_PAGES_1_GIB = 1 << 30 - PAGE_SHIFT
"""Frames of a 1 GiB page (PUD_SIZE on x86-64), where pages are of 4 KiB."""

Knowledge: TypeAlias = Literal["frames", "blocks"]
"""How a walk looks at a range."""

_RULED_OUT = np.isin(np.arange(len(FrameState)), (FrameState.HOLE, FrameState.RESERVED))
"""By `FrameState`: frames that no contiguous range may have."""


@frozen
class Candidate:
    """One range that a walk came to.

    Attributes:
        span: its frames.
        probes: frames, or pageblocks and pins, looked at before it was tried or skipped.
        errno: OK: obtained; EBUSY, ENOMEM, EINTR: tried in vain; EBUSY also if skipped.
        report: what trying did; None: it was skipped, nothing moved.
        pfn: the pinned frame for which it was skipped; -1 if that was not why.
    """

    span: Span
    probes: int
    errno: Errno
    report: EvacuationReport | None = None
    pfn: int = -1


@frozen
class _Seen:
    """What looking at a range came to: see `Candidate`."""

    fits: bool
    probes: int
    pfn: int = -1


@define
class GiganticWalk:
    """One allocation.

    Attributes:
        head: the first frame; -1 if there was no page.
        errno: OK, ENOMEM, or EINTR.
        candidates: the ranges that it came to, in order.
        refusals: frames that were in the way of those that failed: of a range that was skipped
            or could not be isolated, one.
    """

    head: int = -1
    errno: Errno = Errno.ENOMEM
    candidates: list[Candidate] = field(factory=list)
    refusals: Refusals = field(factory=Refusals)

    @property
    def probes(self) -> int:
        """What was looked at, in all."""
        return sum(candidate.probes for candidate in self.candidates)

    @property
    def report(self) -> EvacuationReport:
        """What was done, over all candidates."""
        done = EvacuationReport()
        for candidate in self.candidates:
            if candidate.report is not None:
                done.add(candidate.report)
        return done


class GiganticPages:
    """Allocates gigantic pages; a `mm.hugetlb.hugetlb.HugeSource`.

    Attributes:
        nr_pages: frames of one page.
        knowledge: how `alloc` looks.
        retry: for each range that is tried; the kernel's five tries by default.
    """

    def __init__(
        self,
        contig: Contig,
        planned: PlannedCompaction,
        zones: Callable[[], Sequence[Zone]],
        design: Callable[[], Design],
        nr_pages: int | None = None,
    ) -> None:
        """Allocate through `contig`, from `zones`, asking `design`.

        Args:
            contig: takes ranges.
            planned: compacts by plan.
            zones: gives the zones that there are now.
            design: gives the design in force.
            nr_pages: frames of one page; None: of 1 GiB.

        Raises:
            PinpageError: a page is not a power of two of pageblocks.
        """
        parts = contig.evacuator.parts
        self._buddy, self._counters = parts.buddy, parts.counters
        size = self._buddy.pageblocks.nr_pages_per_block
        if nr_pages is None:
            nr_pages = (1 << 30) // self._buddy.frames.page_nr_bytes
        (nr_pages,) = whole("hugepagesz", nr_pages=nr_pages)
        if nr_pages < size or nr_pages & (nr_pages - 1):
            raise PinpageError(
                f"hugepagesz: {nr_pages} pages: give a power of two, {size} (a pageblock) or more"
            )
        self.nr_pages = nr_pages
        self.knowledge: Knowledge = "frames"
        self.retry: RetryPolicy | None = None
        self._contig = contig
        self._planned = planned
        self._zones = zones
        self._design = design

    # The page source.

    def alloc(self, node: int, *, hard: bool) -> int:
        """A page on this node, or -1; `hard` or not, it is always tried.

        Args:
            node: the node.
            hard: whether to compact and reclaim for it.
        """
        return self.walk(node, self.knowledge).head

    def free(self, pfns: Pfns) -> None:
        """Frames back to the free lists."""
        self._buddy.free_many(pfns)

    # Walking.

    def ranges(self, node: int | None = None) -> Iterator[tuple[Zone, Span]]:
        """The aligned ranges of each zone, in the order of the walk.

        The request is neither movable nor bound to low memory: NORMAL first, then what lies
        below; never ZONE_MOVABLE, for gigantic pages hardly ever move again.

        Args:
            node: the only node; None for all, each in turn.

        Raises:
            PinpageError: no such node.
        """
        if node is not None:
            (node,) = one_of({zone.node for zone in self._zones()}, "gigantic pages", node=node)
        return self._ranges(node)

    def _ranges(self, node: int | None) -> Iterator[tuple[Zone, Span]]:
        zones = [z for z in self._zones() if z.kind < ZoneKind.MOVABLE and node in (None, z.node)]
        for zone in sorted(zones, key=lambda zone: (zone.node, -zone.kind)):
            first = -(-zone.span.start // self.nr_pages) * self.nr_pages
            for start in range(first, zone.span.stop - self.nr_pages + 1, self.nr_pages):
                yield zone, Span(start, start + self.nr_pages)

    def walk(
        self,
        node: int | None = None,
        knowledge: Knowledge = "frames",
        *,
        mode: Mode = Mode.SYNC,
        retry: RetryPolicy | None = None,
    ) -> GiganticWalk:
        """Allocate one page by the walk.

        Args:
            node: the only node; None for all.
            knowledge: how to look at a range before trying it.
            mode: how long to wait for one frame.
            retry: for each range; None: this object's own.

        Returns:
            The walk; its page is used, one reference on each frame.

        Raises:
            PinpageError: no such node, or no such way to look.
        """
        one_of(get_args(Knowledge), "gigantic pages", knowledge=knowledge)
        done, design = GiganticWalk(), self._design()
        for zone, span in self.ranges(node):
            seen = self._look(zone, span, knowledge, mode)
            self._counters.pages_scanned_migrate += seen.probes
            if seen.fits:
                got = self._contig.alloc_contig_range(
                    span.start, span.stop, design, mode=mode, retry=retry or self.retry
                )
                done.candidates.append(Candidate(span, seen.probes, got.errno, got.report))
                if got.errno in (Errno.OK, Errno.EINTR):
                    done.head, done.errno = got.pfn, got.errno
                    return done
                self._contig.evacuator.parts.meter.cond_resched()
                done.refusals.update(got.report.refusals)
            else:
                done.candidates.append(Candidate(span, seen.probes, Errno.EBUSY, pfn=seen.pfn))
        self._add_skipped(done, mode)
        return done

    def survey(self, node: int | None = None, knowledge: Knowledge = "frames") -> int:
        """What there is to look at until every range is judged; tries and changes nothing.

        Args:
            node: the node; None: any.
            knowledge: what is looked at: see `Knowledge`.

        Raises:
            PinpageError: no such node, or no such way to look.
        """
        one_of(get_args(Knowledge), "gigantic pages", knowledge=knowledge)
        ranges = self.ranges(node)
        return sum(self._look(zone, span, knowledge, Mode.SYNC).probes for zone, span in ranges)

    def _add_skipped(self, done: GiganticWalk, mode: Mode) -> None:
        """The frames that ranges were skipped for, each under its reason."""
        pfns = np.array(sorted(c.pfn for c in done.candidates if c.pfn >= 0), dtype=np.int64)
        if len(pfns):
            done.refusals.update(self._refusals(pfns, mode))

    def _refusals(self, pfns: Pfns, mode: Mode) -> Refusals:
        mover = self._contig.evacuator.parts.mover
        return find_obstacles(self._buddy.frames, mover, self._design(), pfns, mode).refusals()

    def _look(self, zone: Zone, span: Span, knowledge: Knowledge, mode: Mode) -> _Seen:
        if knowledge == "frames":
            return self._look_at_frames(zone, span)
        return self._look_at_blocks(zone, span, self._design(), mode)

    def _rules_out(self, zone: Zone, span: Span) -> Mask:
        """Which frames rule the range out, whoever looks."""
        frames, rows = self._buddy.frames, slice(span.start, span.stop)
        bad = _RULED_OUT[frames.state[rows]]
        bad |= frames.zone[rows] != zone.index
        bad |= (frames.flags[rows] & PageFlag.HUGE.mask) != 0
        return bad

    def _look_at_frames(self, zone: Zone, span: Span) -> _Seen:
        """Frame after frame, up to the first that rules the range out."""
        bad = self._rules_out(zone, span)
        first = int(bad.argmax())
        return _Seen(False, first + 1) if bad[first] else _Seen(True, len(bad))

    def _look_at_blocks(self, zone: Zone, span: Span, design: Design, mode: Mode) -> _Seen:
        """Pageblock after pageblock, and the pins in each, up to the first that stays."""
        size = self._buddy.pageblocks.nr_pages_per_block
        bad: Mask = np.logical_or.reduce(self._rules_out(zone, span).reshape(-1, size), axis=1)
        probes = 0
        for row, start in enumerate(range(span.start, span.stop, size)):
            probes += 1
            if bad[row]:
                return _Seen(False, probes)
            pinned = np.flatnonzero(design.claims(start, start + size)) + start
            if not len(pinned):
                continue
            refused: Mask = np.equal(design.ask(pinned, mode)[0], Answer.NO)
            first = int(refused.argmax())
            if refused[first]:
                return _Seen(False, probes + first + 1, int(pinned[first]))
            probes += len(pinned)
        return _Seen(True, probes)

    # Planning.

    def plan(
        self,
        want: int | None = 1,
        node: int | None = None,
        *,
        mode: Mode = Mode.SYNC,
        without: AbstractSet[int] = frozenset(),
        reserve: int | None = None,
        as_reclaimed: bool = False,
    ) -> RangePlan:
        """The cheapest ranges to empty, without regard to the order of the walk.

        What its owner would give up counts as able to go.

        Args:
            want: pages; None for as many as there can be.
            node: the only node; None for all.
            mode: handed to the design.
            without: first pfns of ranges that are out of the question.
            reserve: free frames that are left over; None: the min watermarks, as the allocator
                keeps them where a walk takes its targets from it.
            as_reclaimed: as if all had been given up that can be: for a bound.

        Raises:
            PinpageError: a negative `want`, or no such node.
        """
        if want is not None:
            (want,) = at_least(0, "gigantic pages", want=want)
        ours = {span.start for _, span in self.ranges(node)} - without
        census, _ = self._planned.census(
            self._design(), mode, with_released=True, for_ranges=True, as_reclaimed=as_reclaimed
        )
        return cheapest_ranges(
            census,
            self.nr_pages,
            candidates=np.array(sorted(ours), dtype=np.int64),
            want=want,
            reserve=sum(zone.min for zone in self._zones()) if reserve is None else reserve,
        )

    def bound(self, node: int | None = None, *, mode: Mode = Mode.SYNC) -> int:
        """The most pages that any strategy can have, with what can be moved or given up.

        Args:
            node: the only node; None for all.
            mode: handed to the design.

        Raises:
            PinpageError: no such node.
        """
        return self.plan(None, node, mode=mode, reserve=0, as_reclaimed=True).bound

    def alloc_planned(
        self,
        node: int | None = None,
        *,
        mode: Mode = Mode.SYNC,
        retry: RetryPolicy | None = None,
    ) -> tuple[GiganticWalk, RangePlan]:
        """Allocate one page by plan: the cheapest range, or nothing moved at all.

        A frame that refuses when its turn comes costs its range; the others are planned again.
        Where there is no room the watermarks are not kept, then reclaim makes some, and last
        each range that nothing is stuck in is tried, as a walk does.

        Args:
            node: the node; None: any.
            mode: how long to wait for one frame.
            retry: when to give up.

        Returns:
            What was done, and the first plan: where it has no range, `nearest` and
            `in_the_way` say what would have to move first, and the refusals are those frames.
        """
        done, failed = GiganticWalk(), set[int]()
        next(iter(self.ranges(node)), None)  # a node that is not there is refused before anything
        self._contig.evacuator.parts.pcp.drain_all()
        first = self.plan(None, node, mode=mode)
        made, span = self._with_space(first, node, mode, failed)
        while span is not None:
            got = self._execute(made, span, mode, retry)
            done.candidates.append(got)
            if got.errno in (Errno.OK, Errno.EINTR):
                done.errno = got.errno
                done.head = span.start if got.errno is Errno.OK else -1
                return done, first
            if got.report is not None:
                done.refusals.update(got.report.refusals)
            failed.add(span.start)
            self._contig.evacuator.parts.meter.cond_resched()
            again = self.plan(None, node, mode=mode, without=failed)
            made, span = self._with_space(again, node, mode, failed)
        if not failed and first.nearest is not None:
            done.candidates.append(Candidate(first.nearest, 0, Errno.EBUSY))
            done.refusals = self._refusals(first.in_the_way(first.nearest).pfns, mode)
        return done, first

    def _with_space(
        self, made: RangePlan, node: int | None, mode: Mode, failed: set[int]
    ) -> tuple[RangePlan, Span | None]:
        """The plan's range; where it lacks room alone, one of a plan that does without a reserve.

        None where there would be no room if everything was given up that can be.
        """
        for _ in range(NR_PLAN_ROUNDS):
            lacking = made.starts[made.lacks_targets]
            if made.span is not None or not len(lacking):
                return made, made.span
            made = self.plan(None, node, mode=mode, without=failed, reserve=0)
            lacking = made.starts[made.lacks_targets]
            spans = [Span(start, start + self.nr_pages) for start in lacking.tolist()]
            if made.span is not None or not spans or not self.bound(node, mode=mode):
                return made, made.span
            if not self._planned.reclaim(max(1, min(map(made.shortage_of, spans)))):
                break
        return made, made.span or Span(int(lacking[0]), int(lacking[0]) + self.nr_pages)

    def _execute(
        self, made: RangePlan, span: Span, mode: Mode, retry: RetryPolicy | None
    ) -> Candidate:
        """Empty one range into the targets that the plan has for it, or whatever there is."""
        ours = (made.sources >= span.start) & (made.sources < span.stop)
        if span not in made.spans:
            got = self._contig.alloc_contig_range(
                span.start, span.stop, self._design(), mode=mode, retry=retry or self.retry
            )
            return Candidate(span, 0, got.errno, got.report)
        with planned_targets(self._buddy, made.targets[ours]) as targets:
            got = self._contig.alloc_contig_range(
                span.start, span.stop, self._design(), mode=mode,
                retry=retry or self.retry, targets=targets,
            )  # fmt: skip
        return Candidate(span, 0, got.errno, got.report)
