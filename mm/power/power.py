"""Memory power management: emptying regions so that they can be switched off.

Nobody has to have the memory; it is a gain if it is idle.  So nothing is retried and nothing
is forced: a region that cannot be emptied stays on.  Where that was not foreseen, a plan is
made again without it, for another may take its place.

    opportunistic     empty whatever can be emptied
    cost and benefit  only where the energy saved over the time that the memory is expected to
                      be idle is more than what moving costs

A region that is off stays isolated, so that every allocation is served from those that are on;
only when these have no more, `relieve` switches one on again, and the allocator goes on.

Kernel counterpart: the power management patches of 2011 to 2013 (a region evacuator over a
page allocator that prefers low regions), never merged.
"""

from collections.abc import Callable, Sequence

import numpy as np
from attrs import define, evolve, field
from numpy.typing import NDArray

from mm.contig.evacuate import Evacuator
from mm.contig.page_isolation import first_not_isolated
from mm.contig.range_walk import Parts
from mm.contig.retry import EvacuationReport, RetryPolicy
from mm.move.design import Design, Strategy
from mm.move.obstacles import find_obstacles
from mm.planning.execute import (
    NR_PLAN_ROUNDS,
    PlannedCompaction,
    planned_targets,
)
from mm.planning.fill import evacuation_ns
from mm.planning.range_plan import RangeOutcome, RangePlan
from mm.planning.ranges import cheapest_ranges
from mm.power.energy import EnergyAccount, EnergyModel
from mm.power.regions import PowerMap
from mm.power.report import Consolidation, GroupAttempt, GroupWatch
from mm.state.costs import CostModel
from mm.state.errno import Errno
from mm.state.frames import FrameState
from mm.state.nodes import Zone
from pinpage.errors import PinpageError, at_least, one_of, require
from pinpage.move.steps import TargetSource
from pinpage.owner import Mode
from pinpage.units import Mask, Pfns, Span, in_words

__all__ = ["PowerManagement"]


@define
class _Round:
    """One consolidation under way."""

    design: Design
    mode: Mode
    retry: RetryPolicy
    watch: GroupWatch
    expected_idle_ns: int | None
    want: int | None
    reserve: int
    done: Consolidation = field(factory=Consolidation)


class PowerManagement:
    """Switches power regions off and on, and keeps the energy account.

    Attributes:
        energy: what is saved and spent; may be replaced while everything is on.

    Invariants, run by `check`:
        PW1 every frame of a group that is off is free in an isolated pageblock.
        PW2 nothing was switched off in the future.
    """

    def __init__(
        self,
        parts: Parts,
        evacuator: Evacuator,
        planned: PlannedCompaction,
        zones: Callable[[], Sequence[Zone]],
        costs: CostModel,
    ) -> None:
        """All memory is one region until `configure`; nothing is off.

        Args:
            parts: the state that is worked on.
            evacuator: empties ranges.
            planned: compacts by plan.
            zones: gives the zones that there are now.
            costs: what things cost in simulated time.
        """
        self._parts = parts
        self._evacuator = evacuator
        self._planned = planned
        self._zones = zones
        self._costs = costs
        self._account = EnergyAccount()
        self._is_consolidating = False
        self.energy = EnergyModel()
        nr_frames, pageblocks = parts.buddy.frames.nr_frames, parts.buddy.pageblocks
        self._map = PowerMap(nr_frames, pageblocks.nr_blocks * pageblocks.nr_pages_per_block)
        self._off_since_ns = np.full(1, -1, dtype=np.int64)

    @property
    def map(self) -> PowerMap:
        """Which memory is in which region."""
        return self._map

    def configure(self, region_nr_pages: int, *, nr_interleaved: int = 1) -> None:
        """Say what the hardware is.

        Args:
            region_nr_pages: pages of a region that can be switched off by itself.
            nr_interleaved: regions that addresses alternate between.

        Raises:
            PinpageError: a region is not whole pageblocks, there are fewer regions than are
                interleaved, or a region is off.
        """
        size = self._parts.buddy.pageblocks.nr_pages_per_block
        region_nr_pages, nr_interleaved = at_least(
            1, "power", region_nr_pages=region_nr_pages, nr_interleaved=nr_interleaved
        )
        if region_nr_pages % size:
            nr_bytes = size * self._parts.buddy.frames.page_nr_bytes
            raise PinpageError(
                f"power: region_nr_pages={region_nr_pages}: give whole pageblocks, a multiple of "
                f"{size} pages ({in_words(nr_bytes)})"
            )
        if self.is_off.any():
            raise PinpageError("power: configure: switch every region on first")
        nr_frames = self._parts.buddy.frames.nr_frames
        self._map = PowerMap(nr_frames, region_nr_pages, nr_interleaved)
        self._off_since_ns = np.full(self._map.nr_groups, -1, dtype=np.int64)

    @property
    def is_off(self) -> Mask:
        """Which groups are off, shape (nr_groups,)."""
        off: Mask = self._off_since_ns >= 0
        return off

    @property
    def nr_regions_off(self) -> int:
        """Regions that are off now."""
        groups = np.flatnonzero(self.is_off).tolist()
        return sum(self._map.nr_regions_of(group) for group in groups)

    @property
    def nr_pages_off(self) -> int:
        """Pages in them."""
        return sum(self._map.span(group).nr_pages for group in np.flatnonzero(self.is_off).tolist())

    def account(self) -> EnergyAccount:
        """Energy saved and spent up to now, regions that are still off included."""
        total = EnergyAccount()
        for name in ("region_ns_off", "page_ns_off", "pages_moved", "moving_ns"):
            setattr(total, name, getattr(self._account, name))
        for group in np.flatnonzero(self.is_off).tolist():
            self._add_time_off(total, group)
        size = self._parts.buddy.frames.page_nr_bytes
        total.saved_pj = self.energy.saved_pj(size, total.page_ns_off)
        total.spent_pj = self.energy.moving_pj(total.pages_moved * size, total.moving_ns)
        return total

    # Switching off.

    def consolidate(
        self,
        design: Design,
        *,
        strategy: Strategy = "plan",
        want: int | None = None,
        expected_idle_ns: int | None = None,
        reserve: int | None = None,
        mode: Mode = Mode.SYNC,
        retry: RetryPolicy | None = None,
        watch: GroupWatch | None = None,
    ) -> Consolidation:
        """Empty regions and switch them off.

        Args:
            design: asked about frames that mm cannot move by itself.
            strategy: "scan": group by group from the top, each as far as it gets; "plan": the
                set of groups that costs the fewest moves, and nothing out of any other; one
                that stays on all the same is planned around, up to four times.
            want: groups to switch off at most.
            expected_idle_ns: how long memory is expected to stay idle: the cost and benefit
                rule; None: opportunistic.
            reserve: free frames to keep on under `plan`; None: the zones' high watermarks, so
                that nobody has to reclaim at once.
            mode: how long to wait for one frame.
            retry: one try by default: a region that resists stays on.
            watch: told of each group before and after it is tried.

        Raises:
            PinpageError: no such strategy, or a negative number.
        """
        one_of(("scan", "plan"), "power", strategy=strategy)
        if want is not None:
            (want,) = at_least(0, "power", want=want)
        if expected_idle_ns is not None:
            (expected_idle_ns,) = at_least(0, "power", expected_idle_ns=expected_idle_ns)
        if reserve is None:
            reserve = sum(zone.high for zone in self._zones())
        (reserve,) = at_least(0, "power", reserve=reserve)
        retry = retry or RetryPolicy(nr_tries=1)
        now = _Round(design, mode, retry, watch or GroupWatch(), expected_idle_ns, want, reserve)
        meter, off_before = self._parts.meter, self.nr_regions_off
        started_ns = meter.start()
        self._parts.pcp.drain_all()
        self._is_consolidating = True
        try:
            candidates = self._candidates()
            most = self._choose(now, candidates, as_reclaimed=True).bound
            now.done.bound = off_before + most * self._map.nr_interleaved
            if strategy == "plan":
                self._by_plan(now, candidates, self._with_space(now, candidates, most))
                candidates = self._last_resort(now, candidates, most)
            self._by_scan(now, candidates)
        finally:
            self._is_consolidating = False
        now.done.nr_regions_off = self.nr_regions_off
        now.done.elapsed_ns = meter.lap() - started_ns
        self._account.pages_moved += now.done.pages_moved
        self._account.moving_ns += now.done.elapsed_ns
        return now.done

    @property
    def nr_regions(self) -> int:
        """Regions with memory: a range of holes is none."""
        groups = np.flatnonzero(self._nr_present() > 0).tolist()
        return sum(self._map.nr_regions_of(group) for group in groups)

    def _nr_present(self) -> NDArray[np.int64]:
        """Frames of each group that are no holes, int64 (nr_groups,)."""
        present = np.flatnonzero(self._parts.buddy.frames.state != FrameState.HOLE)
        groups = present // self._map.group_nr_pages
        counts: NDArray[np.int64] = np.bincount(groups, minlength=self._map.nr_groups).astype(int)
        return counts

    def _candidates(self) -> Pfns:
        """Groups that are on and whole: with holes, or cut short by the end of memory, none is."""
        whole = self._nr_present() == self._map.group_nr_pages
        candidates: Pfns = self._map.starts[whole & ~self.is_off]
        return candidates

    def _choose(self, now: _Round, candidates: Pfns, *, as_reclaimed: bool = False) -> RangePlan:
        census, _ = self._planned.census(
            now.design,
            now.mode,
            with_released=True,
            with_huge=True,
            for_ranges=True,
            as_reclaimed=as_reclaimed,
        )
        census = evolve(census, zone=np.zeros_like(census.zone))  # hardware knows of no zones
        return cheapest_ranges(
            census,
            self._map.group_nr_pages,
            candidates=candidates,
            want=None,
            reserve=now.reserve,
            costs=self._costs,
        )

    def _is_worth_it(self, now: _Round, nr_moves: int, moving_ns: int) -> bool:
        """The cost and benefit rule."""
        if now.expected_idle_ns is None:
            return True
        size = self._parts.buddy.frames.page_nr_bytes
        saved = self.energy.saved_pj(self._map.group_nr_pages * size, now.expected_idle_ns)
        return saved > self.energy.moving_pj(nr_moves * size, moving_ns)

    def _by_plan(self, now: _Round, candidates: Pfns, best: RangePlan) -> None:
        """Empty the chosen set; name what is in the way of the others; plan around what resists."""
        for _ in range(NR_PLAN_ROUNDS):
            self._parts.counters.pages_scanned_migrate += self._map.nr_frames
            self._parts.meter.lap()
            made, passed_over = self._worthwhile(now, best)
            if now.done.plan is None:
                now.done.plan = made
                self._name_the_stuck(now, best)
            self._execute(now, made)
            stays_on = [span.start for span in made.spans if not self._is_off(span)]
            if not stays_on or now.retry.signal_pending():
                return
            candidates = np.setdiff1d(candidates, [*stays_on, *passed_over])
            best = self._choose(now, candidates[~self.is_off[candidates // made.nr_pages]])

    def _worthwhile(self, now: _Round, best: RangePlan) -> tuple[RangePlan, list[int]]:
        """Of the groups that can be emptied those that pay, as many as are wanted.

        Returns:
            The plan for these, and the first pfns of those that do not pay.
        """
        starts = [span.start for span in best.spans]
        worth = [s for s in starts if self._is_worth_it(now, best.moves_of(s), best.ns_of(s))]
        now.done.nr_not_worth_it += len(starts) - len(worth)
        nr_off = now.done.nr_off
        chosen = worth if now.want is None else worth[: now.want - nr_off]
        made = best
        if len(chosen) < len(starts):  # what stays on is free to take what leaves
            made = self._choose(now, np.sort(np.array(chosen, dtype=np.int64)))
        return made, sorted({*starts} - {*worth})

    def _execute(self, now: _Round, made: RangePlan) -> None:
        """Isolate every group of a plan, then empty one after the other."""
        isolated: list[Span] = []
        try:
            isolated.extend(span for span in made.spans if self._isolate(now, span))
            with planned_targets(self._parts.buddy, made.targets) as targets:
                errno = Errno.OK
                while isolated and errno is not Errno.EINTR:
                    errno = self._empty(now, isolated[0], targets)
                    del isolated[0]
        finally:
            for span in isolated:
                self._open_unless_off(span)

    def _name_the_stuck(self, now: _Round, made: RangePlan) -> None:
        """An attempt without a single move for each group that something is stuck in."""
        stuck = made.starts[made.outcome == RangeOutcome.STUCK]
        for start in stuck.tolist():
            span = self._map.span(start // self._map.group_nr_pages)
            self._refuse(now, span, made.in_the_way(span).pfns)

    def _with_space(self, now: _Round, candidates: Pfns, most: int) -> RangePlan:
        """The plan for as many groups as can be had; nothing is given up where that has to pay."""
        best = self._choose(now, candidates)
        target = most if now.want is None else min(most, now.want)
        for _ in range(NR_PLAN_ROUNDS if now.expected_idle_ns is None else 0):
            short = target * self._map.group_nr_pages + now.reserve - self._parts.buddy.nr_free()
            if len(best.spans) >= target or not self._planned.reclaim(max(short, 0)):
                break
            best = self._choose(now, candidates)
        return best

    def _last_resort(self, now: _Round, candidates: Pfns, most: int) -> Pfns:
        """Groups that are still on though nothing is stuck in them, and more could be off."""
        pays_anyway = now.expected_idle_ns is None and not now.retry.signal_pending()
        candidates = candidates[~self.is_off[candidates // self._map.group_nr_pages]]
        if not pays_anyway or now.done.nr_off >= most:
            return candidates[:0]
        last: Pfns = candidates[self._choose(now, candidates).is_clear]
        return last

    def _by_scan(self, now: _Round, candidates: Pfns) -> None:
        """From the top down, so that what is left gathers at the bottom."""
        frames, nr_off = self._parts.buddy.frames, now.done.nr_off
        for start in candidates[::-1].tolist():
            if nr_off == now.want:
                return
            span = self._map.span(start // self._map.group_nr_pages)
            nr_used = int(np.count_nonzero(frames.state[start : span.stop] == FrameState.USED))
            moving_ns = evacuation_ns(self._costs, np.array([nr_used]), np.zeros(1, np.int64))
            if not self._is_worth_it(now, nr_used, int(moving_ns[0])):
                now.done.nr_not_worth_it += 1
            elif self._isolate(now, span):
                nr_off += self._empty(now, span, None) is Errno.OK
            self._parts.meter.cond_resched()
            if now.retry.signal_pending():
                return

    def _isolate(self, now: _Round, span: Span) -> bool:
        found = self._evacuator.isolate(span, now.design, mode=now.mode)
        if not found:
            self._refuse(now, span, np.array([found.pfn], dtype=np.int64))
        return bool(found)

    def _refuse(self, now: _Round, span: Span, pfns: Pfns) -> None:
        frames, mover = self._parts.buddy.frames, self._parts.mover
        group = span.start // self._map.group_nr_pages
        now.watch.begin(group, self._map.nr_groups)
        refusals = find_obstacles(frames, mover, now.design, pfns, now.mode).refusals()
        report = EvacuationReport(errno=Errno.EBUSY, refusals=refusals, left=pfns)
        self._note(now, GroupAttempt(group, span, Errno.EBUSY, report))

    def _note(self, now: _Round, attempt: GroupAttempt) -> None:
        now.done.attempts.append(attempt)
        now.watch.end(attempt)

    def _empty(self, now: _Round, span: Span, targets: TargetSource | None) -> Errno:
        """Evacuate an isolated group; off if it is empty, else open to allocations again."""
        group = span.start // self._map.group_nr_pages
        try:
            now.watch.begin(group, self._map.nr_groups)
            report = self._evacuator.evacuate(
                span, now.design, retry=now.retry, mode=now.mode, targets=targets
            )
            errno = report.errno
            if targets is None and not self._leaves_reserve(now, span):
                errno = Errno.ENOMEM
            elif first_not_isolated(self._parts.buddy, span) < 0:
                errno = Errno.OK
                self._off_since_ns[group] = self._parts.meter.now_ns
            elif errno is Errno.OK:
                errno = Errno.EBUSY
        finally:
            self._open_unless_off(span)
        self._note(now, GroupAttempt(group, span, errno, report))
        return errno

    def _leaves_reserve(self, now: _Round, span: Span) -> bool:
        """Whether so much is free outside of a group, and of those that are off."""
        frames = self._parts.buddy.frames
        nr_free = int(np.count_nonzero(frames.state == FrameState.FREE)) - self.nr_pages_off
        nr_free -= int(np.count_nonzero(frames.state[span.start : span.stop] == FrameState.FREE))
        return nr_free >= now.reserve

    def _open_unless_off(self, span: Span) -> None:
        """Whatever was thrown: nothing stays isolated that is not off."""
        if not self._is_off(span):
            self._evacuator.undo(span)

    def _is_off(self, span: Span) -> bool:
        return bool(self._off_since_ns[span.start // self._map.group_nr_pages] >= 0)

    # Switching on.

    def power_on(self, group: int) -> int:
        """Switch a group on and let allocations into it; pages gained, 0 if it was on.

        Raises:
            PinpageError: no such group.
        """
        span = self._map.span(group)
        if self._off_since_ns[group] < 0:
            return 0
        self._add_time_off(self._account, group)
        self._off_since_ns[group] = -1
        self._evacuator.undo(span)
        self._parts.meter.clock.advance(self.energy.wake_ns)
        return span.nr_pages

    def relieve(self, nr_pages: int) -> int:
        """Memory is short: switch on as many groups as give that many pages, lowest first.

        Returns:
            Pages gained.  None while regions are being emptied: what was gained would be lost.

        Raises:
            PinpageError: a negative number of pages.
        """
        (nr_pages,) = at_least(0, "power: relieve", nr_pages=nr_pages)
        gained = 0
        for group in [] if self._is_consolidating else np.flatnonzero(self.is_off).tolist():
            if gained >= nr_pages:
                break
            gained += self.power_on(group)
        return gained

    def _add_time_off(self, account: EnergyAccount, group: int) -> None:
        off_ns = self._parts.meter.clock.now_ns - int(self._off_since_ns[group])
        account.region_ns_off += off_ns * self._map.nr_regions_of(group)
        account.page_ns_off += off_ns * self._map.span(group).nr_pages

    def check(self) -> None:
        """Run PW1 and PW2.

        Raises:
            InvariantError: one does not hold.
        """
        now_ns = self._parts.meter.clock.now_ns
        require(bool((self._off_since_ns <= now_ns).all()), "PW2 switched off in the future")
        for group in np.flatnonzero(self.is_off).tolist():
            pfn = first_not_isolated(self._parts.buddy, self._map.span(group))
            require(pfn < 0, "PW1 memory that is off is in use", pfn=pfn, group=group)
