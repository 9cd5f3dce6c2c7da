"""Compaction by plan: use what is known about every block, then move.

A pageblock that holds anything unmovable is never emptied, so nothing is moved out of it;
its free frames are where the others go.  The planner decides (`mm.planning.blocks`), the same mover
executes, and a frame that refuses when its turn comes is taken as unmovable and the rest
is planned again.

A plan names its targets; they are taken off the free lists before anything moves
(`planned_targets`), so that no allocation in between can spoil it, and what is not used goes
back at the end.  A plan that finds nothing moves nothing, and its answer is the frames in the
way, each under its reason (`mm.move.obstacles`).

Kernel counterpart: none.  A plan takes its targets as contiguous allocation takes its
range, off the free lists and without asking a watermark: the number of free frames is the
same after each move as before.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from attrs import evolve
from numpy.typing import NDArray

from mm.buddy.buddy import Buddy
from mm.compaction.compact_control import CompactReport
from mm.move.design import Answer, Design
from mm.move.move import Mover
from mm.planning.blocks import Plan, plan
from mm.planning.census import Census, Targets
from mm.state.costs import Counters
from mm.state.frames import Frames, FrameState
from mm.state.pageblock import Pageblocks
from pinpage.move.steps import GivenTargets
from pinpage.owner import Mode, Reason
from pinpage.units import Mask, Pfns

__all__ = ["NR_PLAN_ROUNDS", "PlannedCompaction", "planned_targets"]

NR_PLAN_ROUNDS = 4
"""Plans made in one request: a frame that refuses costs a round, an honest world needs one."""


class PlannedCompaction:
    """Empties as many pageblocks as memory allows, with the fewest moves.

    Attributes:
        could_free: which frames reclaim could free, bool (nr_frames,); none until somebody who
            reclaims says so.
        give_up: frees up to so many of the frames that a mask names, and says how many.
        reclaim: frees about so many pages and says how many.
        could_leave: frames of huge pages that can leave a range as a whole, bool (nr_frames,).
    """

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
            counters: scanned frames are counted here.
        """
        self._frames = frames
        self._pageblocks = pageblocks
        self._buddy = buddy
        self._mover = mover
        self._counters = counters
        self.could_free: Callable[[], Mask] = self._nothing_more
        self.give_up: Callable[[Mask, int], int] = _give_up_nothing
        self.reclaim: Callable[[int], int] = _reclaim_nothing
        self.could_leave: Callable[[Mode], Mask] = self._no_huge_pages

    def census(
        self,
        design: Design,
        mode: Mode = Mode.SYNC,
        *,
        with_released: bool = False,
        with_huge: bool = False,
        for_ranges: bool = False,
        as_reclaimed: bool = False,
        given_up: Mask | None = None,
    ) -> tuple[Census, CompactReport]:
        """What is free, movable and stuck now, and the refusals found on the way.

        Changes nothing.  A frame that could only be released counts as stuck, for
        releasing may cost more memory than it frees and a plan promises what it moves;
        for a bound on what scanning may reach, count such frames as movable
        (`with_released`): a release leaves no more free memory than a move would, unless
        what is released is also somewhere in memory.

        Args:
            design: what is done with frames that mm cannot move by itself.
            mode: how long to wait for one frame.
            with_released: count frames that would be released as movable.
            with_huge: count frames of huge pages that a range's evacuation takes away as a
                whole as movable.
            for_ranges: count frames of large pages of a pageblock and more as movable, for the
                evacuation of a range moves or splits them.  Nobody gains a huge page by breaking
                one up, so otherwise they stay, but for those that reclaim could free.
            as_reclaimed: count every frame that could be given up as free: what any strategy
                may come to, for a bound.  Others are as `with_released` and `with_huge` say.
            given_up: frames to be counted as free, bool (nr_frames,); None: none.

        Cost: one pass over the columns and one batched lookup of all used frames.
        """
        report = CompactReport(pages_scanned_migrate=self._frames.nr_frames)
        movable = np.zeros(self._frames.nr_frames, dtype=np.bool_)
        used = np.flatnonzero(self._frames.state == FrameState.USED)
        if len(used):
            found = self._mover.classify(used, design, mode)
            released = found.answers == Answer.RELEASE
            movable[used] = (found.answers == Answer.MOVE) | (released & with_released)
            no = found.answers == Answer.NO
            report.absorb(used[no], found.reasons[no])
        if with_huge:
            movable |= self.could_leave(mode)
        owner, names = design.holders(self._frames.nr_frames)
        census = Census.of_frames(
            self._frames,
            self._pageblocks.migratetype,
            movable,
            nr_pages_per_block=self._pageblocks.nr_pages_per_block,
            owner=owner,
            owner_names=names,
        )
        if as_reclaimed:
            census = self._as_reclaimed(census, design, used[released] if len(used) else used)
        if given_up is not None:
            gone = census.free | given_up
            census = evolve(census, free=gone, movable=census.movable & ~gone)
        if not for_ranges and len(self._mover.refs.folios):
            unbroken = self._unbroken(self._huge_folios() & census.movable, census)
            census = evolve(census, movable=census.movable & ~unbroken)
            large = np.flatnonzero(unbroken)
            report.absorb(large, np.full(len(large), Reason.LARGE_PAGE, dtype=np.uint8))
        return census, report

    def _huge_folios(self) -> Mask:
        """Frames of large pages of a pageblock and more, bool (nr_frames,)."""
        every = np.arange(self._frames.nr_frames)
        return self._mover.refs.folios.covers(every, self._pageblocks.order)

    def _unbroken(self, stays: Mask, census: Census) -> Mask:
        """Those of large pages that no frame is free of: reclaim splits what it takes a part of."""
        folios = self._mover.refs.folios
        goes = np.flatnonzero(self._huge_folios() & census.free)
        pfns = np.flatnonzero(stays)
        kept = pfns[~np.isin(folios.heads_of(pfns), folios.heads_of(goes))]
        unbroken = np.zeros(len(stays), dtype=np.bool_)
        unbroken[kept] = True
        return unbroken

    def _as_reclaimed(self, census: Census, design: Design, released: Pfns) -> Census:
        """All free that could be: what reclaim frees, owners give up, or a per-CPU list has."""
        goes = self.could_free() & ~design.claims(0, self._frames.nr_frames)
        goes[released] = True
        goes &= census.movable
        listed = self._frames.state == FrameState.PCP
        return evolve(
            census, free=census.free | goes | listed, movable=census.movable & ~(goes | listed)
        )

    def _nothing_more(self) -> Mask:
        return np.zeros(self._frames.nr_frames, dtype=np.bool_)

    def _no_huge_pages(self, _mode: Mode) -> Mask:
        return self._nothing_more()

    def compact(
        self,
        design: Design,
        *,
        mode: Mode = Mode.SYNC,
        targets: Targets = "all",
        want: int | None = None,
        between_blocks: Callable[[], None] | None = None,
    ) -> tuple[CompactReport, Plan]:
        """Plan, move, and plan again around frames that refused.

        Args:
            design: asked about frames that mm cannot move by itself.
            mode: how long to wait.
            targets: which free frames may be filled.
            want: stop once this many pageblocks are wholly free.
            between_blocks: called after each pageblock: others may go on.

        Returns:
            What was done, and the plan that was made first: its bound is the request's.
        """
        free_before = int(self._buddy.wholly_free().sum())
        census, report = self.census(design, mode)
        first = made = plan(census, targets=targets, want=want)
        stuck = np.zeros(self._frames.nr_frames, dtype=np.bool_)
        for _ in range(NR_PLAN_ROUNDS):
            refused = self._execute(made, design, mode, report, between_blocks)
            if not refused.any():
                break
            stuck |= refused
            census, _ = self.census(design, mode)
            census = evolve(census, movable=census.movable & ~stuck)
            made = plan(census, targets=targets, want=want)
        report.pageblocks_emptied = int(self._buddy.wholly_free().sum()) - free_before
        self._counters.pages_scanned_migrate += report.pages_scanned_migrate
        return report, first

    def make_space(
        self, design: Design, mode: Mode, want: int, zones: Sequence[int]
    ) -> CompactReport:
        """Give up what keeps these zones from having `want` blocks wholly free, and no more.

        A zone gets as many blocks more as it can have once everything is given up that can be:
        owners release what stands in the emptiest of them, reclaim frees what is short.  Then
        it is for a plan to move the rest.

        Args:
            design: asked about frames that mm cannot move by itself.
            mode: how long to wait.
            want: wholly free pageblocks, in all of these zones.
            zones: by number.
        """
        done = CompactReport(pages_scanned_migrate=2 * self._frames.nr_frames)
        could, _ = self.census(design, mode, with_released=True, as_reclaimed=True)
        now, _ = self.census(design, mode)
        missing = want - now.bound(zones)
        for zone in zones:
            more = min(missing, could.bound([zone]) - now.bound([zone]))
            if more > 0:
                missing -= more
                self._give_up_in(zone, more, could, now, design, mode, done)
        return done

    def _give_up_in(
        self, zone: int, more: int, could: Census, now: Census, design: Design, mode: Mode,
        done: CompactReport,
    ) -> None:  # fmt: skip
        here, size = now.zone == zone, now.nr_pages_per_block
        want = now.bound([zone]) + more
        goes = could.free & ~now.free & np.repeat(here, size)[: len(now.free)]
        large = goes & self._huge_folios()
        releases = goes & ~now.movable & ~large
        nr_to_release = _count_by_block(could, releases)
        blocks = np.flatnonzero(here & could.clearable & ~now.clearable)
        blocks = blocks[np.argsort(nr_to_release[blocks], kind="stable")]
        blocks = blocks[: max(want - int(np.count_nonzero(here & now.clearable)), 0)]
        chosen = np.zeros(now.nr_blocks, dtype=np.bool_)
        chosen[blocks] = True
        in_chosen = np.repeat(chosen, size)[: len(goes)]
        released = np.flatnonzero(releases & in_chosen)
        done.absorb(released, design.release(released, mode))
        short = want * size - int(now.nr_free[here].sum()) - done.pages_released
        in_the_way = int(np.count_nonzero(large & in_chosen))  # of large pages: all of these go
        done.pages_dropped += self.give_up((goes & now.movable) | large, max(short, in_the_way))
        short -= done.pages_dropped
        if short > 0:
            others = np.flatnonzero(releases & ~in_chosen)
            done.absorb(others[:short], design.release(others[:short], mode))

    def _execute(
        self,
        made: Plan,
        design: Design,
        mode: Mode,
        report: CompactReport,
        between_blocks: Callable[[], None] | None,
    ) -> Mask:
        """Make the moves of a plan; returns which frames refused, shape (nr_frames,)."""
        return self.move(made.sources, made.targets, design, mode, report, between_blocks)

    def move_aside(
        self, sources: Pfns, targets: Pfns, design: Design, mode: Mode
    ) -> tuple[Mask, int]:
        """As `move`, for who has no report: which frames refused, and how many went.

        Args:
            sources: int64 (n,), movable frames, ascending in each pageblock.
            targets: int64 (n,), free frames.
            design: asked about frames that mm cannot move by itself.
            mode: how long to wait for one frame.
        """
        report = CompactReport()
        return self.move(sources, targets, design, mode, report), report.pages_moved

    def move(
        self,
        sources: Pfns,
        targets: Pfns,
        design: Design,
        mode: Mode,
        report: CompactReport,
        between_blocks: Callable[[], None] | None = None,
    ) -> Mask:
        """Move each frame to the free one that it is given, a pageblock at a time.

        Args:
            sources: int64 (n,), movable frames, ascending in each pageblock.
            targets: int64 (n,), free frames, taken off the lists before anything moves.
            design: asked about frames that mm cannot move by itself.
            mode: how long to wait for one frame.
            report: what was done is added here.
            between_blocks: called after each pageblock: what is due happens there.

        Returns:
            Which frames refused, bool (nr_frames,).
        """
        refused = np.zeros(self._frames.nr_frames, dtype=np.bool_)
        if not len(sources):
            return refused
        borders = np.flatnonzero(np.diff(sources // self._pageblocks.nr_pages_per_block)) + 1
        given = [GivenTargets(each) for each in np.split(targets, borders)]
        batches = np.split(sources, borders)
        self._buddy.take(targets)
        try:
            for batch, its_targets in zip(batches, given, strict=True):
                left = batch[self._frames.state[batch] == FrameState.USED]
                alone = self._mover.classify(left, design, mode).alone
                moved = self._mover.migrate(left, alone, its_targets, design, mode)
                report.absorb(left, moved.reasons)
                refused[left[moved.reasons > Reason.RELEASED]] = True
                if between_blocks is not None:
                    between_blocks()
        finally:
            unused = np.concatenate([each.remaining for each in given])
            if len(unused):
                self._buddy.put_taken(unused)
        return refused


def _count_by_block(census: Census, column: Mask) -> NDArray[np.int64]:
    counts: NDArray[np.int64] = np.count_nonzero(census.by_block(column), axis=1).astype(np.int64)
    return counts


def _give_up_nothing(_where: Mask, _count: int) -> int:
    return 0


def _reclaim_nothing(_nr_pages: int) -> int:
    return 0


@contextmanager
def planned_targets(buddy: Buddy, targets: Pfns) -> Iterator[GivenTargets]:
    """The targets of a plan, off the free lists while the block runs; the rest goes back.

    Args:
        buddy: the allocator; no watermark is asked, for what moves frees as much as it takes.
        targets: free pfns, without duplicates; given out in this order.

    Raises:
        PinpageError: one is not free: the plan is not of this moment.
    """
    if len(targets):
        buddy.take(targets)
    given = GivenTargets(targets)
    try:
        yield given
    finally:
        if len(given.remaining):
            buddy.put_taken(given.remaining)
