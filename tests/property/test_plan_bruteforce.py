"""The planner against every machine that is small enough to enumerate.

Three steps, each on the shoulders of the one before:

1. a search over all sequences of single moves, detours included, in worlds of a few
   frames: no sequence ends with more wholly free blocks than the planner plans, nor gets
   there with fewer moves;
2. where in its block a frame lies makes no difference to how many and how many moves;
3. so a pageblock of 8 frames is one of a few kinds, and every multiset of kinds is
   planned and compared with the best of all subsets of blocks.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm.planning.blocks import plan
from mm.planning.census import Census
from mm.planning.frontier import frontier

SIZE = 8
CHUNK = 50_000


class Kinds(NamedTuple):
    """What a pageblock can be, one row per kind."""

    used: np.ndarray
    free: np.ndarray
    clearable: np.ndarray
    is_open: np.ndarray


def kinds_of_blocks(*, restricted: bool) -> Kinds:
    """Clearable with 0..8 used frames, or stuck with 0..7 free ones; open, or both ways."""
    rows = [(u, SIZE - u, True) for u in range(SIZE + 1)] + [(0, f, False) for f in range(SIZE)]
    flags = (True, False) if restricted else (True,)
    table = [(u, f, c, o) for (u, f, c) in rows for o in flags if o or c or f]
    used, free, clearable, is_open = (np.array(column) for column in zip(*table, strict=True))
    return Kinds(used, free, clearable, is_open)


def multisets(nr_kinds: int, size: int) -> np.ndarray:
    """Every multiset of `size` kinds, one row each; smaller machines pad with dead blocks."""
    return np.array(list(itertools.combinations_with_replacement(range(nr_kinds), size)))


def census_of(machines: np.ndarray, kinds: Kinds) -> Census:
    """All machines side by side, each its own zone: one census, one plan."""
    block = machines.reshape(-1)
    place = np.arange(SIZE)
    free = place < kinds.free[block][:, None]
    movable = ~free & kinds.clearable[block][:, None]
    return Census(
        free.reshape(-1),
        movable.reshape(-1),
        nr_pages_per_block=SIZE,
        zone=np.repeat(np.arange(len(machines)), machines.shape[1]),
        in_movable=kinds.is_open[block],
    )


def best_of_all_subsets(machines: np.ndarray, kinds: Kinds) -> np.ndarray:
    """Fewest moves for each number of emptied blocks, -1 for impossible: (n, size + 1)."""
    size = machines.shape[1]
    lent = np.where(kinds.is_open, kinds.free, 0)
    best = np.full((len(machines), size + 1), np.iinfo(np.int64).max)
    for subset in itertools.product((False, True), repeat=size):
        inside, outside = machines[:, subset], machines[:, np.logical_not(subset)]
        moves = kinds.used[inside].sum(axis=1)
        possible = kinds.clearable[inside].all(axis=1) & (moves <= lent[outside].sum(axis=1))
        column = best[:, sum(subset)]
        column[possible] = np.minimum(column, moves)[possible]
    return np.where(best == np.iinfo(np.int64).max, -1, best)


def frontier_of(machines: np.ndarray, kinds: Kinds) -> np.ndarray:
    """The frontier of every machine in the shape of `best_of_all_subsets`."""
    zone, place = np.nonzero(kinds.clearable[machines])
    used = kinds.used[machines[zone, place]]
    order = np.lexsort((used, zone))
    is_open = kinds.is_open[machines[zone, place]][order]
    lent = np.where(kinds.is_open, kinds.free, 0)[machines].sum(axis=1)
    limits = frontier(zone[order], used[order], is_open, lent, SIZE)
    answer = np.full((len(machines), machines.shape[1] + 1), -1)
    rows = np.diff(limits.first_row)
    of_zone = np.repeat(np.arange(len(machines)), rows)
    answer[of_zone, np.arange(len(of_zone)) - limits.first_row[of_zone]] = limits.nr_moves
    return answer


def compare(machines: np.ndarray, kinds: Kinds, variant: str) -> None:
    """Counts, moves for every number wanted, and the moves themselves."""
    best = best_of_all_subsets(machines, kinds)
    np.testing.assert_array_equal(frontier_of(machines, kinds), best)
    most = (best >= 0).sum(axis=1) - 1
    census = census_of(machines, kinds)
    planned = plan(census, targets=variant)
    planned.check(census, variant)
    assert planned.nr_wholly_free == planned.bound == most.sum()
    if variant == "all":
        assert census.bound() == planned.bound
    zone_of_move = planned.sources // (SIZE * machines.shape[1])
    nr_moves = np.bincount(zone_of_move, minlength=len(machines))
    np.testing.assert_array_equal(nr_moves, best[np.arange(len(machines)), most])


@pytest.mark.parametrize("nr_blocks", range(1, 7))
def test_every_machine_of_up_to_six_pageblocks(nr_blocks):
    kinds = kinds_of_blocks(restricted=False)
    machines = multisets(len(kinds.used), nr_blocks)
    for first in range(0, len(machines), CHUNK):
        compare(machines[first : first + CHUNK], kinds, "all")


@pytest.mark.parametrize("nr_blocks", range(1, 6))
def test_every_machine_of_up_to_five_pageblocks_with_restricted_targets(nr_blocks):
    kinds = kinds_of_blocks(restricted=True)
    machines = multisets(len(kinds.used), nr_blocks)
    for first in range(0, len(machines), CHUNK):
        compare(machines[first : first + CHUNK], kinds, "movable")


def test_the_enumeration_leaves_no_machine_out():
    nr_kinds = len(kinds_of_blocks(restricted=False).used)
    assert nr_kinds == 17
    assert sum(len(multisets(nr_kinds, n)) for n in range(7)) == math.comb(17 + 6, 6)


FREE, MOVABLE, STUCK = range(3)


def census_of_layout(layout, size, is_open, zone=None) -> Census:
    """Frames as drawn."""
    frames = np.array(layout)
    return Census(
        frames == FREE,
        frames == MOVABLE,
        nr_pages_per_block=size,
        zone=np.zeros(len(is_open), dtype=np.int64) if zone is None else np.array(zone),
        in_movable=np.array(is_open),
    )


@st.composite
def tiny_worlds(draw, nr_blocks=3, size=4):
    frames = draw(
        st.lists(
            st.sampled_from((0, 0, 1, 1, 1, 2)),
            min_size=nr_blocks * size,
            max_size=nr_blocks * size,
        )
    )
    is_open = draw(st.lists(st.booleans(), min_size=nr_blocks, max_size=nr_blocks))
    return frames, size, is_open


def search(frames, size, is_open) -> dict[int, int]:
    """Breadth first over all sequences of moves: wholly free blocks -> fewest moves.

    A state is the set of used frames, as the bits of an int.
    """
    bits = [1 << pfn for pfn in range(len(frames))]
    start = sum(bit for bit, kind in zip(bits, frames, strict=True) if kind != FREE)
    sources = [bit for bit, kind in zip(bits, frames, strict=True) if kind != STUCK]
    targets = [bit for pfn, bit in enumerate(bits) if is_open[pfn // size]]
    blocks = [((1 << size) - 1) << first for first in range(0, len(frames), size)]
    level, seen, found, nr_moves = {start}, {start}, {}, 0
    while level:
        following = set()
        for state in level:
            found.setdefault(sum(not state & block for block in blocks), nr_moves)
            open_now = [bit for bit in targets if not state & bit]
            for source in sources:
                if state & source:
                    following.update(state ^ source | target for target in open_now)
        level = following - seen
        seen |= level
        nr_moves += 1
    return found


@settings(max_examples=40, deadline=None)
@given(tiny_worlds())
def test_no_sequence_of_moves_does_better(world):
    frames, size, is_open = world
    found = search(frames, size, is_open)
    census = census_of_layout(frames, size, is_open)
    planned = plan(census, targets="movable")
    planned.check(census, "movable")
    assert planned.nr_wholly_free == max(found)
    assert planned.nr_moves == found[max(found)]
    for want in range(max(found) + 1):
        wanted = plan(census, targets="movable", want=want)
        assert wanted.nr_moves == min(moves for wholly, moves in found.items() if wholly >= want)


@settings(max_examples=60, deadline=None)
@given(tiny_worlds(nr_blocks=6, size=8), st.randoms(use_true_random=False))
def test_where_in_its_block_a_frame_lies_makes_no_difference(world, random):
    frames, size, is_open = world
    drawn = plan(census_of_layout(frames, size, is_open), targets="movable")
    shuffled = []
    blocks = [frames[b * size : (b + 1) * size] for b in range(6)]
    order = random.sample(range(6), 6)
    for block in order:
        shuffled += random.sample(blocks[block], size)
    again = plan(census_of_layout(shuffled, size, [is_open[b] for b in order]), targets="movable")
    assert (drawn.nr_wholly_free, drawn.nr_moves) == (again.nr_wholly_free, again.nr_moves)


BLOCKS_OF_FOUR = ("....", "m...", "mm..", "mmm.", "mmmm", "#...", "##mm")


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(BLOCKS_OF_FOUR), st.booleans(), st.integers(0, 2)),
        min_size=4,
        max_size=8,
    ),
    st.integers(1, 6),
)
def test_wanted_blocks_come_from_the_zones_where_they_cost_least(blocks, want):
    texts, is_open, zone = zip(*blocks, strict=True)
    layout = [".m#".index(letter) for letter in "".join(texts)]
    census = census_of_layout(layout, 4, is_open, zone)
    planned = plan(census, targets="movable", want=want)
    planned.check(census, "movable")
    used, lent = census.nr_movable, np.where(census.in_movable, census.nr_free, 0)
    costs = []
    for subset in itertools.product((False, True), repeat=len(blocks)):
        chosen = np.array(subset)
        room = np.bincount(zone, np.where(chosen, -used, lent))
        if (room >= 0).all() and census.clearable[chosen].all():
            costs.append((int(chosen.sum()), int(used[chosen].sum())))
    enough = min(want, max(count for count, _ in costs))
    assert planned.nr_wholly_free >= enough
    assert planned.nr_moves == min(moves for count, moves in costs if count >= enough)
