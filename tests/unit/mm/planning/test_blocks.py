"""The plan itself: order, targets, reasons, refusals.  Optimality: tests/property."""

import numpy as np
import pytest

from mm.planning.blocks import Outcome, plan
from mm.planning.census import Census
from pinpage.errors import InvariantError, PinpageError


def census_of(text, **columns):
    """'.' free, 'm' movable, '#' stuck; blanks separate blocks of eight."""
    frames = np.array(list(text.replace(" ", "")))
    return Census(frames == ".", frames == "m", nr_pages_per_block=8, **columns)


def test_emptiest_first_into_blocks_that_cannot_be_emptied():
    census = census_of("mmm..... m....... #....... #.......")
    planned = plan(census)
    assert planned.blocks.tolist() == [1, 0]
    assert planned.sources.tolist() == [8, 0, 1, 2]
    assert planned.targets.tolist() == [17, 18, 19, 20]
    assert planned.nr_wholly_free == planned.bound == census.bound() == 2
    planned.check(census, "all")


def test_then_into_the_fullest_blocks_that_are_not_emptied():
    #                   0        1        2        3
    census = census_of("mmmm.... m....... mmmmmm.. mmmmm...")
    planned = plan(census)
    assert planned.blocks.tolist() == [1, 0]
    assert planned.targets.tolist() == [22, 23, 29, 30, 31]
    assert planned.outcome_of(3) is Outcome.NO_FREE_FRAMES


def test_blocks_that_cannot_be_emptied_are_filled_before_fuller_ones_that_could_be():
    planned = plan(census_of("m....... mmmmmmm. ######.m"))
    assert planned.targets.tolist() == [22]


def test_ties_go_to_the_lower_block():
    planned = plan(census_of("mm...... mm...... mm...... mmmmmmm."), want=1)
    assert planned.blocks.tolist() == [0]


def test_a_block_already_free_is_a_success_that_costs_nothing():
    planned = plan(census_of("........ mmmmmmmm ####...."))
    assert planned.counts() == {
        Outcome.ALREADY_FREE: 1,
        Outcome.STUCK: 1,
        Outcome.NO_FREE_FRAMES: 1,
    }
    assert (planned.nr_moves, planned.nr_wholly_free) == (0, 1)


def test_a_stuck_block_names_the_owners_in_its_way():
    owner = np.array([0] * 8 + [0, 0, 1, 1, 1, 0, 0, 0], dtype=np.uint8)
    census = census_of("mm...... ##oooo..", owner=owner, owner_names=("slab", "gup"))
    planned = plan(census)
    assert planned.outcome_of(1) is Outcome.STUCK
    assert list(planned.in_the_way(1).items()) == [("slab", 3), ("gup", 3)]
    assert planned.in_the_way(0) == {}


def test_most_frames_in_the_way_come_first():
    owner = np.array([0, 1, 1, 0, 0, 0, 0, 0], dtype=np.uint8)
    planned = plan(census_of("###.....", owner=owner, owner_names=("slab", "gup")))
    assert list(planned.in_the_way(0).items()) == [("gup", 2), ("slab", 1)]


class TestRestrictedTargets:
    """Free frames of UNMOVABLE blocks are no targets for the kernel's compaction."""

    def test_free_memory_in_the_wrong_blocks_is_of_no_use(self):
        census = census_of("m....... #.......", in_movable=np.array([True, False]))
        assert plan(census, targets="all").nr_wholly_free == 1
        planned = plan(census, targets="movable")
        assert planned.nr_wholly_free == 0
        assert planned.outcome_of(0) is Outcome.TARGETS_RESTRICTED

    def test_an_empty_block_may_be_worth_more_as_a_reservoir(self):
        # Emptiest first would keep block 0 and stop there.
        census = census_of("........ m....... m.......", in_movable=np.array([True, False, False]))
        planned = plan(census, targets="movable")
        assert planned.blocks.tolist() == [1, 2]
        assert planned.targets.tolist() == [0, 1]
        assert planned.outcome_of(0) is Outcome.NO_FREE_FRAMES
        planned.check(census, "movable")

    def test_a_closed_block_can_still_be_emptied(self):
        census = census_of("m....... #.......", in_movable=np.array([False, True]))
        planned = plan(census, targets="movable")
        assert planned.blocks.tolist() == [0]
        assert planned.targets.tolist() == [9]


class TestWant:
    """Enough is enough."""

    census = census_of("........ m....... mm...... mmm..... ##......")

    def test_blocks_already_free_count(self):
        planned = plan(self.census, want=2)
        assert planned.blocks.tolist() == [1]
        assert planned.nr_wholly_free == 2
        assert planned.bound == 4
        assert planned.outcome_of(3) is Outcome.NOT_WANTED

    def test_fewer_than_are_free_already_moves_nothing(self):
        planned = plan(self.census, want=0)
        assert planned.nr_moves == 0
        assert planned.nr_wholly_free == 1

    def test_more_than_the_bound_is_the_bound(self):
        assert plan(self.census, want=9).nr_wholly_free == 4


class TestZones:
    """Pages do not leave their zone."""

    def test_targets_are_found_per_zone(self):
        zone = np.array([0, 1, 0, 1])
        census = census_of("mm...... m....... #....... #.......", zone=zone)
        planned = plan(census)
        assert planned.blocks.tolist() == [1, 0]
        assert planned.targets.tolist() == [25, 17, 18]

    def test_the_reason_is_the_zones_own(self):
        zone = np.array([0, 1, 1])
        census = census_of("mmmmmmm. m....... mmm.....", zone=zone)
        planned = plan(census, want=1)
        assert planned.blocks.tolist() == [1]
        assert planned.outcome_of(0) is Outcome.NO_FREE_FRAMES


def test_a_span_that_does_not_start_at_zero():
    census = census_of("mm...... #.......", start=64)
    planned = plan(census)
    assert planned.blocks.tolist() == [8]
    assert planned.sources.tolist() == [64, 65]
    assert planned.targets.tolist() == [73, 74]
    assert planned.outcome_of(9) is Outcome.STUCK
    planned.check(census, "all")
    with pytest.raises(PinpageError, match="pageblock 7 is not in the census"):
        planned.outcome_of(7)


@pytest.mark.parametrize("text", ["########", "mmmmmmmm mmmmmmmm", "........", "mmm", "..."])
def test_memory_with_nothing_to_gain(text):
    census = census_of(text)
    planned = plan(census)
    planned.check(census, "all")
    assert planned.nr_moves == 0
    assert planned.nr_wholly_free == census.bound()


def test_the_callers_mistakes_name_the_argument():
    census = census_of("........")
    with pytest.raises(PinpageError, match="targets='cma'"):
        plan(census, targets="cma")
    with pytest.raises(PinpageError, match="want=-1"):
        plan(census, want=-1)


def test_each_prefix_of_a_plan_is_a_plan():
    random = np.random.default_rng(7)
    frames = random.choice(3, size=8 * 40, p=(0.5, 0.49, 0.01))
    census = Census(frames == 0, frames == 1, nr_pages_per_block=8)
    planned = plan(census)
    free, wholly_free_before = census.free.copy(), 0
    for source, target in zip(planned.sources.tolist(), planned.targets.tolist(), strict=True):
        free[[source, target]] = True, False
        wholly_free = int(census.by_block(free).all(axis=1).sum())
        assert wholly_free >= wholly_free_before
        wholly_free_before = wholly_free
    assert wholly_free_before == planned.nr_wholly_free > 0


@pytest.mark.parametrize(
    ("invariant", "wrong"),
    [
        ("PL1", {"sources": [1, 0, 2]}),
        ("PL1", {"sources": [0, 0], "targets": [9, 9]}),
        ("PL1", {"targets": [9, 9]}),
        ("PL1", {"sources": [0, 4]}),
        ("PL2", {"targets": [9, 25]}),
        ("PL2", {"targets": [9, 17]}),
        ("PL3", {"targets": [9, 7]}),
        ("PL4", {"nr_wholly_free": 2}),
    ],
)
def test_check_notices_a_plan_that_is_wrong(invariant, wrong):
    zone, in_movable = np.array([0, 0, 0, 1]), np.array([True, True, False, True])
    census = census_of("mm...... #....... #....... #.......", zone=zone, in_movable=in_movable)
    planned = plan(census, targets="movable")
    planned.check(census, "movable")
    for name, value in wrong.items():
        object.__setattr__(planned, name, np.array(value) if isinstance(value, list) else value)
    with pytest.raises(InvariantError, match=invariant):
        planned.check(census, "movable")


@pytest.mark.benchmark
@pytest.mark.parametrize(("nr_frames", "limit_seconds"), [(1 << 18, 0.03), (1 << 24, 2.0)])
def test_planning_a_large_machine(benchmark, nr_frames, limit_seconds):
    draw = np.random.default_rng(1).random(nr_frames)
    census = Census(draw < 0.5, (draw >= 0.5) & (draw < 0.9995))
    planned = benchmark.pedantic(plan, args=(census,), rounds=3, warmup_rounds=1)
    assert planned.nr_wholly_free == census.bound()
    assert benchmark.stats["median"] <= limit_seconds
