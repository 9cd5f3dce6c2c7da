"""The choice of ranges against searches and against integer programming.

1. In worlds of a dozen frames: every sequence of single moves and of taking what is empty,
   detours included, gets no more ranges, nor as many with fewer moves.
2. On machines of dozens of ranges: an integer program over the same counts.
3. Sums over pageblocks and over frames against plain loops, ranges that overlap included.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm.planning.census import Census
from mm.planning.range_plan import RangeOutcome
from mm.planning.ranges import cheapest_ranges

optimize = pytest.importorskip("scipy.optimize", reason="needs the extra pinpage[test]")

FREE, MOVABLE, STUCK = range(3)


def census_of(frames, size, zone=None, owner=None):
    frames = np.array(frames)
    return Census(
        frames == FREE,
        frames == MOVABLE,
        nr_pages_per_block=size,
        zone=np.zeros(-(-len(frames) // size), dtype=np.int64) if zone is None else zone,
        owner=owner,
        owner_names=("stuck",) if owner is None else ("home", "other"),
    )


def frames_of(draw, count, weights=(0, 0, 1, 1, 1, 2)):
    return draw(st.lists(st.sampled_from(weights), min_size=count, max_size=count))


def search(frames, nr_pages):
    """Ranges taken -> fewest moves, over all sequences; breadth first by moves.

    A state is (used frames, taken frames) as bits; taking a range that is empty costs nothing.
    """
    bits = [1 << pfn for pfn in range(len(frames))]
    ranges = [((1 << nr_pages) - 1) << at for at in range(0, len(frames), nr_pages)]
    used = sum(bit for bit, kind in zip(bits, frames, strict=True) if kind != FREE)
    sources = [bit for bit, kind in zip(bits, frames, strict=True) if kind == MOVABLE]
    moving = frozenset(sources)
    start = (used, moving)
    level, seen, found, nr_moves = {start}, {start}, {}, 0
    while level:
        following = set()
        for used, places in level:
            found.setdefault(sum(not used & r for r in ranges), nr_moves)
            for source in places:
                for target in bits:
                    if not used & target:
                        following.add((used ^ source | target, places - {source} | {target}))
        level = following - seen
        seen |= level
        nr_moves += 1
    return found


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_no_sequence_of_moves_gets_more_ranges(data):
    """What is empty at one moment can be taken then, and the rest goes on without it.

    Ranges that are all empty at the end were never needed in between, so it is enough to
    look at the last state.
    """
    frames = frames_of(data.draw, 9)
    found = search(frames, 3)
    planned = cheapest_ranges(census_of([*frames, *[STUCK] * 3], 1), 3, 3, want=None)
    planned.check()
    assert len(planned.spans) == planned.bound == max(found)
    assert planned.nr_moves == found[max(found)]
    for want in range(max(found) + 1):
        wanted = cheapest_ranges(census_of(frames, 1), 3, 3, want=want)
        wanted.check()
        assert wanted.nr_moves == min(moves for count, moves in found.items() if count >= want)


def best_by_program(movable, free, stuck, pool, room, want=None):
    """(most ranges, fewest moves for them): two integer programs, one after the other."""
    nr = len(movable)
    pools = np.unique(pool)
    outgoing = np.array([np.where(pool == p, movable + free, 0) for p in pools])
    capacity = optimize.LinearConstraint(outgoing, ub=[room[p] for p in pools])
    bounds = optimize.Bounds(0, np.where(stuck > 0, 0, 1))
    integers = {"integrality": np.ones(nr), "bounds": bounds}
    most = optimize.milp(-np.ones(nr), constraints=[capacity], **integers)
    count = round(-most.fun) if want is None else min(want, round(-most.fun))
    exactly = optimize.LinearConstraint(np.ones((1, nr)), lb=count, ub=count)
    least = optimize.milp(movable, constraints=[capacity, exactly], **integers)
    return round(-most.fun), round(least.fun)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(2, 40),
    st.booleans(),
    st.integers(0, 40),
    st.integers(0, 12),
)
def test_as_good_as_the_integer_program(seed, nr_ranges, across_zones, reserve, want):
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet((2, 2, 0.05), nr_ranges)
    frames = np.concatenate([rng.choice(3, 16, p=share) for share in shares])
    zone_of_range = np.sort(rng.integers(0, 3, nr_ranges))
    census = census_of(frames, 8, zone=np.repeat(zone_of_range, 2))
    by_range = frames.reshape(-1, 16)
    movable, free, stuck = ((by_range == kind).sum(axis=1) for kind in (MOVABLE, FREE, STUCK))
    pool = np.zeros(nr_ranges, dtype=int) if across_zones else zone_of_range
    room = [max(0, int(free[pool == p].sum()) - reserve) for p in range(3)]
    options = {"reserve": reserve, "across_zones": across_zones}

    most, fewest = best_by_program(movable, free, stuck, pool, room)
    planned = cheapest_ranges(census, 16, 16, want=None, **options)
    planned.check()
    assert (len(planned.spans), planned.bound, planned.nr_moves) == (most, most, fewest)

    _, fewest = best_by_program(movable, free, stuck, pool, room, want)
    some = cheapest_ranges(census, 16, 16, want=want, **options)
    some.check()
    assert (len(some.spans), some.nr_moves) == (min(want, most), fewest)
    zone_of_move = census.zone[np.array([planned.sources, planned.targets]) // 8]
    assert across_zones or (zone_of_move[0] == zone_of_move[1]).all()


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_one_range_anywhere_against_plain_loops(data):
    size = data.draw(st.sampled_from((1, 4, 8)))
    frames = frames_of(data.draw, data.draw(st.integers(1, 40)))
    nr_blocks = -(-len(frames) // size)
    zone = np.array(
        sorted(data.draw(st.lists(st.integers(0, 1), min_size=nr_blocks, max_size=nr_blocks)))
    )
    owner = np.array(
        data.draw(st.lists(st.integers(0, 1), min_size=len(frames), max_size=len(frames)))
    )
    nr_pages, align = data.draw(st.integers(1, 12)), data.draw(st.sampled_from((1, 2, 4, 8)))
    reserve = data.draw(st.integers(0, 3))
    census = census_of(frames, size, zone, owner.astype(np.uint8))
    planned = cheapest_ranges(census, nr_pages, align, reserve=reserve)
    planned.check()
    best = None
    clear = []
    for start in range(0, len(frames) - nr_pages + 1, align):
        inside = frames[start : start + nr_pages]
        first, last = start // size, (start + nr_pages - 1) // size
        outside = frames[: first * size] + frames[(last + 1) * size :]
        if STUCK in inside:
            assert planned.outcome_of(start) is RangeOutcome.STUCK
            continue
        if zone[first] != zone[last]:
            assert planned.outcome_of(start) is RangeOutcome.TWO_ZONES
            continue
        clear.append(start)
        if outside.count(FREE) - reserve < inside.count(MOVABLE):
            assert planned.outcome_of(start) is RangeOutcome.NO_FREE_FRAMES
            continue
        callbacks = sum(
            owner[pfn] for pfn in range(start, start + nr_pages) if frames[pfn] == MOVABLE
        )
        cost = (inside.count(MOVABLE), callbacks, start)
        best = cost if best is None else min(best, cost)
    if best is None:
        assert (planned.spans, planned.bound) == ((), 0)
        return
    assert (planned.nr_moves, planned.nr_callbacks, planned.span.start) == best
    together = most_disjoint(clear, nr_pages)
    most = min(together, max(0, frames.count(FREE) - reserve) // nr_pages)
    assert planned.bound == max(1, most)


def most_disjoint(starts, nr_pages):
    """By trying: with the first range, or without it."""
    if not starts:
        return 0
    best = {}
    for at in range(len(starts) - 1, -1, -1):
        after = next(
            (j for j in range(at, len(starts)) if starts[j] >= starts[at] + nr_pages), None
        )
        best[at] = max(1 + best.get(after, 0), best.get(at + 1, 0))
    return best[0]
