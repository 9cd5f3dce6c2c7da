"""Which range to empty: contiguous allocation, hot-remove and 1 GiB pages, by plan.

A range can be emptied if nothing stuck lies in it, each of its pageblocks may be isolated, and
there is room elsewhere for what has to leave.  `cheapest_ranges` looks at every candidate at
once, through sums over pageblocks, and chooses those with the fewest frames to move; a pure
function from a census to a choice.  Whoever executes it isolates `spans`, takes `targets` off
the free lists and moves `sources[i]` to `targets[i]`, in any order and as far as it gets.

Why it is exact.  Let a range have n frames, its zones F free ones beyond a reserve.

1. A range that is obtained is filled or switched off: it takes n free frames for good, and
   moving keeps the number of free ones.  So nobody gets more than F // n ranges, nor one with
   a stuck frame or a pageblock that isolation refuses in it, nor two that overlap.
2. Take any k ranges of whole pageblocks without those, k n <= F.  They hold u frames to
   move and k n - u free ones, so outside them there are F - (k n - u) >= u free frames: room
   for all, and none of it inside another chosen range.  So min(ranges, F // n) is reached,
   each frame moves once, and the emptiest first are the fewest moves.
3. A range that ends inside a pageblock isolates all of it, and lends none of its free frames:
   one such range may fail where the count in 2 would let it pass.

Taking one range after the other, each the cheapest of its day and with targets anywhere,
costs more: what leaves the first may be put into the second.

Kernel counterpart: none.  alloc_contig_pages and cma_alloc try one range after the other,
offline_pages tries the one that it is told to.
Cost: one pass over the census' columns, then O(pageblocks + candidates).
"""

from collections.abc import Callable

import numpy as np
from attrs import evolve, frozen
from numpy.typing import NDArray

from mm.planning.census import Census
from mm.planning.fill import evacuation_ns, fill, needs_callback
from mm.planning.range_plan import RangeOutcome, RangePlan, blocks_of
from mm.state.costs import CostModel
from pinpage.errors import PinpageError
from pinpage.units import Mask, Pfns, Span

__all__ = ["Candidates", "RangeChoice", "RangeCounts", "Ranked", "cheapest_ranges"]

_Rows = NDArray[np.int64]


@frozen(eq=False)
class RangeCounts:
    """What was counted in each candidate; one row each.

    Attributes:
        clear: nothing in it is stuck, each of its pageblocks may be isolated, and it is of one
            zone.
        nr_movable: frames to move.
        nr_callbacks: those of them that somebody besides page tables holds.
    """

    clear: Mask
    nr_movable: _Rows
    nr_callbacks: _Rows


@frozen(eq=False)
class RangeChoice:
    """Which candidates to empty.

    Attributes:
        chosen: rows, in the order in which they go.
        not_wanted: rows that could go, too.
        bound: the most that any strategy can have at once.
        above: bool (nr_blocks,), pageblocks that nothing may enter that does not come from one
            of them; None: there are none.
    """

    chosen: _Rows
    not_wanted: _Rows
    bound: int
    above: Mask | None = None


@frozen(eq=False)
class Ranked:
    """Ranges of which one is wanted, and what is thought of each before its moves are counted.

    Attributes:
        starts: int64 (n,), first pfns, ascending.
        waste: int64 (n,), what is lost with each: less goes first, whatever the moves.
        whole: bool, frames of the census for which no targets are planned: they go otherwise.
        choose: who decides, of those in which nothing is stuck, where what they need of each
            other's room is more than free frames; None: as described above.
    """

    starts: Pfns
    waste: NDArray[np.int64] | None = None
    whole: Mask | None = None
    choose: "Callable[[RangeCounts], RangeChoice] | None" = None


_UNRANKED = Ranked(np.empty(0, dtype=np.int64))

Candidates = Span | Pfns | Ranked | None
"""Ranges inside a span, ranges that start at these pfns (ascending, or ranked), or any range."""


def cheapest_ranges(
    census: Census,
    nr_pages: int,
    align: int = 1,
    *,
    candidates: Candidates = None,
    want: int | None = 1,
    reserve: int = 0,
    across_zones: bool = True,
    costs: CostModel | None = None,
) -> RangePlan:
    """Choose the ranges that cost the fewest moves to empty.

    Deterministic: ties go to the range with fewer callbacks, then to the lower pfn.

    Args:
        census: what is free, movable and stuck.
        nr_pages: pages in a range.
        align: a range starts at a multiple of this (ignored where starts are given).
        candidates: which ranges come into question.
        want: how many at once; None for as many as there are.  More than one only of whole
            pageblocks that do not overlap.
        reserve: free frames that must be left over (per zone unless `across_zones`).
        across_zones: whether what leaves may go to another zone, as in the kernel; if not,
            each zone is on its own.
        costs: for `modelled_ns`.

    Raises:
        PinpageError: sizes that make no sense; starts that are not ascending or leave the
            census; several ranges wanted of candidates that share a pageblock.
    """
    _refuse_nonsense(nr_pages, align, want, reserve)
    ranked = candidates if isinstance(candidates, Ranked) else _UNRANKED
    starts = _starts(census, nr_pages, align, candidates)
    if want != 1:
        _refuse_shared_pageblocks(census, starts, nr_pages)
    found = _look(census, starts, nr_pages, across_zones=across_zones)
    if ranked.choose is None:
        choice = _choose(starts, found, ranked.waste, want, reserve)
    else:
        choice = ranked.choose(RangeCounts(found.clear, found.nr_movable, found.nr_callbacks))
    chosen = choice.chosen
    outcome = np.full(len(starts), RangeOutcome.NO_FREE_FRAMES, dtype=np.uint8)
    outcome[choice.not_wanted] = RangeOutcome.NOT_WANTED
    outcome[chosen] = RangeOutcome.CHOSEN
    outcome[~found.clear] = RangeOutcome.TWO_ZONES
    outcome[found.nr_stuck > 0] = RangeOutcome.STUCK
    goes_alone = census.movable if ranked.whole is None else census.movable & ~ranked.whole
    sources, targets = _moves(
        census, goes_alone, starts[chosen], found, choice.above, across_zones=across_zones
    )
    costs_ns = evacuation_ns(costs or CostModel(), found.nr_movable, found.nr_callbacks)
    return RangePlan(
        spans=tuple(Span(start, start + nr_pages) for start in starts[chosen].tolist()),
        sources=sources + census.start,
        targets=targets + census.start,
        nr_callbacks=int(found.nr_callbacks[chosen].sum()),
        modelled_ns=int(costs_ns[chosen].sum()),
        bound=choice.bound,
        nr_pages=nr_pages,
        starts=starts,
        costs_nr_moves=found.nr_movable,
        costs_ns=costs_ns,
        nr_stuck=found.nr_stuck,
        outcome=outcome,
        census=census,
        whole=ranked.whole,
    )


@frozen(eq=False)
class _Found:
    """What is known of each candidate; pools are the zones, or one for all of them."""

    nr_pages: int
    nr_movable: _Rows
    nr_callbacks: _Rows
    nr_stuck: _Rows
    clear: Mask
    pool: _Rows
    free_isolated: _Rows
    taken: _Rows
    free_in_pool: _Rows
    first_block: _Rows
    stop_block: _Rows


def _look(census: Census, starts: Pfns, nr_pages: int, *, across_zones: bool) -> _Found:
    """Count what is in each candidate."""
    size = census.nr_pages_per_block
    first = starts - census.start
    stop = first + nr_pages
    first_block, stop_block = first // size, -(-stop // size)
    callbacks = needs_callback(census)
    callbacks_in_block = np.count_nonzero(census.by_block(callbacks), axis=1).astype(np.int64)
    nr_movable = _count(census, census.movable, census.nr_movable, first, stop)
    nr_free = _count(census, census.free, census.nr_free, first, stop)
    shut = (~census.isolable).astype(np.int64)
    nr_usable = census.nr_free * census.usable
    nr_stuck = nr_pages - nr_free - nr_movable + _between(shut, first_block, stop_block)
    zone_rows: _Rows = np.unique(census.zone, return_inverse=True)[1]
    pool_of_block = np.zeros(census.nr_blocks, dtype=np.int64) if across_zones else zone_rows
    one_zone = np.equal(_changes(zone_rows, first_block), _changes(zone_rows, stop_block - 1))
    free_isolated = _between(nr_usable, first_block, stop_block)
    is_shut = census.nr_free * ~census.usable
    return _Found(
        nr_pages=nr_pages,
        nr_movable=nr_movable,
        nr_callbacks=_count(census, callbacks, callbacks_in_block, first, stop),
        nr_stuck=nr_stuck,
        clear=np.equal(nr_stuck, 0) & one_zone,
        pool=pool_of_block[first_block],
        free_isolated=free_isolated,
        taken=nr_pages - _between(is_shut, first_block, stop_block),
        free_in_pool=_sum_by(pool_of_block, nr_usable),
        first_block=first_block,
        stop_block=stop_block,
    )


def _choose(
    starts: Pfns, found: _Found, waste: _Rows | None, want: int | None, reserve: int
) -> RangeChoice:
    """Those that cost the fewest moves, as many as free frames make."""
    capacity = np.maximum(found.free_in_pool - reserve, 0)
    fits = found.clear & (found.nr_movable <= capacity[found.pool] - found.free_isolated)
    order = _cheapest_first(found, fits, waste, just_one=want == 1)
    if want != 1:
        order = order[_taken_up_to(found, order) <= capacity[found.pool[order]]]
    return RangeChoice(
        chosen=order if want is None else order[:want],
        not_wanted=np.flatnonzero(fits) if want == 1 else order,
        bound=_bound(starts, found, capacity, fits),
    )


def _sum_by(group: _Rows, values: _Rows) -> _Rows:
    """Sum of the values of each group, shape (nr_groups,)."""
    return np.bincount(group, weights=values, minlength=1).astype(np.int64)


def _changes(zone_rows: _Rows, blocks: _Rows) -> _Rows:
    """How often the zone changes up to each of these blocks."""
    return np.concatenate(([0], np.cumsum(np.diff(zone_rows) != 0)))[blocks]


def _between(per_block: _Rows, first: _Rows, stop: _Rows) -> _Rows:
    """Sums over the blocks [first, stop)."""
    before = np.concatenate(([0], np.cumsum(per_block)))
    sums: _Rows = before[stop] - before[first]
    return sums


def _count(census: Census, column: Mask, per_block: _Rows, first: _Rows, stop: _Rows) -> _Rows:
    """Frames of a column in each of [first, stop).

    By sums over pageblocks where all of them begin and end with one, else over the frames
    that lie in any of them.
    """
    size = census.nr_pages_per_block
    if not ((first % size).any() or (stop % size).any()):
        return _between(per_block, first // size, stop // size)
    lowest, highest = int(first.min(initial=0)), int(stop.max(initial=0))
    return _between(column[lowest:highest].astype(np.int64), first - lowest, stop - lowest)


def _cheapest_first(found: _Found, fits: Mask, waste: _Rows | None, *, just_one: bool) -> _Rows:
    """Candidates by what they take for good, moves, callbacks, pfn; of one, the first alone."""
    rows = np.flatnonzero(fits)
    if just_one and len(rows):
        first = () if waste is None else (waste,)
        for column in (*first, found.nr_movable, found.nr_callbacks):
            rows = rows[column[rows] == column[rows].min()]
        return rows[:1]
    by = (found.nr_callbacks[rows], found.nr_movable[rows], found.taken[rows])
    return rows[np.lexsort(by)]


def _taken_up_to(found: _Found, order: _Rows) -> _Rows:
    """Free frames that each range and those of its pool before it take for good."""
    taken = np.empty(len(order), dtype=np.int64)
    for pool in np.unique(found.pool[order]).tolist():
        rows = found.pool[order] == pool
        taken[rows] = np.cumsum(found.taken[order[rows]])
    return taken


def _bound(starts: Pfns, found: _Found, capacity: _Rows, fits: Mask) -> int:
    """The most ranges at once: those that do not overlap, as far as free frames go."""
    if not fits.any():
        return 0
    most = 0
    for pool in range(len(capacity)):
        clear = found.clear & (found.pool == pool)
        least_first = np.cumsum(np.sort(found.taken[clear]))
        nr_paid = int(np.count_nonzero(least_first <= capacity[pool]))
        most += min(_nr_disjoint(starts[clear], found.nr_pages), nr_paid)
    return max(most, 1)


def _nr_disjoint(starts: Pfns, nr_pages: int) -> int:
    """The most of these ranges that do not overlap: whichever ends first goes first."""
    if not len(starts) or (np.diff(starts) >= nr_pages).all():
        return len(starts)
    count, row = 0, 0
    while row < len(starts):
        count += 1
        row = int(np.searchsorted(starts, starts[row] + nr_pages))
    return count


def _moves(
    census: Census,
    movable: Mask,
    chosen: Pfns,
    found: _Found,
    above: Mask | None,
    *,
    across_zones: bool,
) -> tuple[Pfns, Pfns]:
    """Every movable frame of the chosen ranges, and a free frame elsewhere for each."""
    isolated = np.zeros(census.nr_blocks, dtype=np.bool_)
    pieces = []
    for start in (chosen - census.start).tolist():
        stop = start + found.nr_pages
        isolated[blocks_of(census, start, stop)] = True
        pieces.append(start + np.flatnonzero(movable[start:stop]))
    sources = np.concatenate(pieces) if pieces else np.empty(0, dtype=np.int64)
    spare = _covered(
        census.nr_blocks, found.first_block[found.clear], found.stop_block[found.clear]
    )
    if above is None:
        targets = fill(census, sources, census.usable & ~isolated, spare, across_zones=across_zones)
        return sources, targets
    targets = np.empty_like(sources)
    from_above = above[sources // census.nr_pages_per_block]
    rows = np.flatnonzero(~from_above)  # these first: the others may go anywhere
    targets[rows] = fill(census, sources[rows], census.usable & ~isolated & ~above, spare)
    free = census.free.copy()
    free[targets[rows]] = False
    left, rows = evolve(census, free=free), np.flatnonzero(from_above)
    targets[rows] = fill(left, sources[rows], census.usable & ~isolated, spare)
    return sources, targets


def _covered(nr_blocks: int, first: _Rows, stop: _Rows) -> Mask:
    """Which pageblocks any of [first, stop) covers."""
    steps = np.bincount(first, minlength=nr_blocks + 1) - np.bincount(stop, minlength=nr_blocks + 1)
    covered: Mask = np.cumsum(steps)[:nr_blocks] > 0
    return covered


def _starts(census: Census, nr_pages: int, align: int, candidates: Candidates) -> Pfns:
    """First pfns of the candidates, ascending."""
    whole = Span(census.start, census.start + len(census.free))
    given = candidates.starts if isinstance(candidates, Ranked) else candidates
    if isinstance(given, np.ndarray):
        starts = given.astype(np.int64)
        if len(starts) and ((np.diff(starts) <= 0).any() or starts[0] < whole.start):
            raise PinpageError("plan: candidates must be ascending pfns of the census")
        if len(starts) and int(starts[-1]) + nr_pages > whole.stop:
            raise PinpageError(f"plan: a range at {int(starts[-1]):#x} leaves the census")
        return starts
    area = given or whole
    first, stop = max(area.start, whole.start), min(area.stop, whole.stop)
    return np.arange(-(-first // align) * align, stop - nr_pages + 1, align, dtype=np.int64)


def _refuse_nonsense(nr_pages: int, align: int, want: int | None, reserve: int) -> None:
    for name, value, least in (
        ("nr_pages", nr_pages, 1),
        ("align", align, 1),
        ("want", 0 if want is None else want, 0),
        ("reserve", reserve, 0),
    ):
        if value < least:
            raise PinpageError(f"plan: {name}={value}; give {least} or more")


def _refuse_shared_pageblocks(census: Census, starts: Pfns, nr_pages: int) -> None:
    size = census.nr_pages_per_block
    if nr_pages % size or (starts % size).any() or (np.diff(starts) < nr_pages).any():
        raise PinpageError(
            "plan: several ranges at once must be whole pageblocks and not overlap: "
            f"nr_pages and align must be multiples of {size}, align at least nr_pages"
        )
