"""Which range of an area to take, and how much of the area anybody could have.

Best fit first, cost second: of the ranges that can be emptied the one that leaves the largest
ranges whole (`mm.contig.runs`), and of several such the one that moves the fewest frames.  A
cheap range in the middle of an empty area would leave no room for the next device.

What is given up by its owner, or dropped, or leaves with its huge page counts as able to go,
for the walk makes it go too.

Kernel counterpart: none.
"""

from collections.abc import Callable, Iterable

import numpy as np
from attrs import evolve, frozen
from numpy.typing import NDArray

from mm.contig.cma_area import CmaArea
from mm.contig.range_walk import Parts
from mm.contig.retry import EvacuationReport
from mm.contig.runs import Runs, most_pages
from mm.move.design import Answer, Design
from mm.planning.census import Census
from mm.planning.execute import PlannedCompaction
from mm.planning.range_plan import RangePlan
from mm.planning.ranges import Ranked, cheapest_ranges
from mm.state.frames import FrameState
from pinpage.owner import Mode
from pinpage.units import Mask, Pfns, Span

__all__ = ["Choice", "CmaPlanner"]


_USED = FrameState.USED


@frozen(eq=False)
class Choice:
    """A plan for one range of an area.

    Attributes:
        plan: the range, and why not the others.
        waste: int64 (n,), what is lost with each candidate, as `Runs.waste` says.
    """

    plan: RangePlan
    waste: NDArray[np.int64]


class CmaPlanner:
    """Looks at all ranges of an area at once."""

    def __init__(
        self, parts: Parts, planned: PlannedCompaction, design: Callable[[], Design]
    ) -> None:
        """Look at these columns.

        Args:
            parts: the state.
            planned: takes the census of all memory.
            design: gives the design in force.
        """
        self._parts = parts
        self._planned = planned
        self._design = design

    def choose(
        self, area: CmaArea, count: int, align_order: int, mode: Mode, failed: Mask
    ) -> "Choice":
        """The range to take; its plan has none where none can be emptied as memory is.

        Args:
            area: where.
            count: pages.
            align_order: the first pfn is a multiple of 2^align_order.
            mode: how long to wait for one frame.
            failed: bool (nr_frames,), frames that are known to stay.

        Context: drains per-CPU lists.
        """
        self._parts.pcp.drain_all()
        census = self._census(mode)
        self._parts.counters.pages_scanned_migrate += len(census.free)
        census = evolve(census, movable=census.movable & ~failed)
        nr_bits = area.bits_for(count)
        bits = area.clear_runs(nr_bits, align_order)
        starts: Pfns = area.span.start + (bits << area.order_per_bit)
        waste = _runs(area, census, align_order).waste(bits, nr_bits)
        made = cheapest_ranges(census, count, candidates=Ranked(starts, waste))
        return Choice(made, waste)

    def make_space(
        self, choice: "Choice", mode: Mode, failed: Mask, report: EvacuationReport
    ) -> bool:
        """Help the best range that nothing is stuck in, but that has no room for what leaves it.

        First what can go into the rest of its own pageblocks, which isolation would shut; then
        reclaim.

        Args:
            choice: what found no room.
            mode: how long to wait for one frame.
            failed: bool (nr_frames,), frames that are known to stay; those that refuse are added.
            report: pages moved are added.

        Returns:
            Whether anything changed.
        """
        made = choice.plan
        lacks = np.flatnonzero(made.lacks_targets)
        if not len(lacks):
            return False
        row = lacks[np.lexsort((made.costs_nr_moves[lacks], choice.waste[lacks]))[0]]
        start = int(made.starts[row])
        span, design = Span(start, start + made.nr_pages), self._design()
        used = start + np.flatnonzero(self._parts.buddy.frames.state[start : span.stop] == _USED)
        moves = used[self._parts.mover.classify(used, design, mode).answers == Answer.MOVE]
        moves = moves[~failed[moves]]
        beside, shortage = made.free_beside(span), made.shortage_of(span)
        count = min(shortage, len(beside), len(moves))
        if count:
            self._parts.meter.start()
            stay, nr_moved = self._planned.move_aside(moves[:count], beside[:count], design, mode)
            self._parts.meter.lap()
            failed |= stay
            report.pages_moved += nr_moved
            return True
        return self._planned.reclaim(shortage) > 0

    def bound(
        self, area: CmaArea, sizes: Iterable[tuple[int, int]], align_order: int, mode: Mode
    ) -> int:
        """The most pages that devices can have of the area, asking for these sizes.

        What reclaim could free counts as free.  Where bits stand for several pages and a size
        is no multiple of that, it may be more than can be had.

        Args:
            area: where.
            sizes: (pages of one allocation, how many of them).
            align_order: the first pfn of each is a multiple of 2^align_order.
            mode: how long to wait for one frame.
        """
        sizes, per_bit = list(sizes), 1 << area.order_per_bit
        census = self._census(mode, as_reclaimed=True)
        whole_bits = all(nr_pages % per_bit == 0 for nr_pages, _ in sizes)
        runs = _runs(area, census, align_order, whole_bits=whole_bits)
        nr_free = int(np.count_nonzero(census.free))
        return most_pages(runs, sizes, nr_free, nr_pages_per_bit=per_bit)

    def _census(self, mode: Mode, *, as_reclaimed: bool = False) -> Census:
        census, _ = self._planned.census(
            self._design(), mode, with_released=True, with_huge=True, for_ranges=True,
            as_reclaimed=as_reclaimed,
        )  # fmt: skip
        # The area's pageblocks are CMA's to isolate.
        return evolve(census, isolable=np.ones_like(census.isolable))


def _runs(area: CmaArea, census: Census, align_order: int, *, whole_bits: bool = True) -> Runs:
    """Clear bits without a stuck page; by their first page alone where a bit may be cut short."""
    rows = slice(area.span.start - census.start, area.span.stop - census.start)
    goes = (census.free[rows] | census.movable[rows]).reshape(area.nr_bits, -1)
    usable = ~area.bitmap & (goes.all(axis=1) if whole_bits else goes[:, 0])
    step = area.align_mask(align_order) + 1
    return Runs.of(usable, step, -(area.span.start >> area.order_per_bit) % step)
