"""A move or a release is interrupted, wherever that can be, and once more in its undo."""

import random

import pytest

from tests.kit.pinpage.interrupted import interrupted

NR_SEEDS, NR_POINTS, NR_PAIRS = 12, 40, 25
SMALL = (362, 377, 104)
"""Few pages: a move that is undone, a release, a move that goes through."""


@pytest.mark.parametrize("seed", SMALL)
def test_an_interrupt_at_every_point_leaves_nothing_behind(seed):
    at = nr_struck = 1
    while nr_struck:
        nr_struck = interrupted(seed, at).nr_struck
        at += 1
    assert at > 250


@pytest.mark.parametrize("seed", range(NR_SEEDS))
def test_an_interrupt_at_any_point_leaves_nothing_behind(seed):
    nr_points = interrupted(seed).nr_points
    assert nr_points > 50
    first = random.Random(seed).randrange(1, 1 + nr_points // NR_POINTS)
    for at in range(first, nr_points + 1, max(1, nr_points // NR_POINTS)):
        assert interrupted(seed, at).nr_struck == 1


@pytest.mark.parametrize("seed", range(NR_SEEDS))
def test_nor_does_a_second_one_that_strikes_the_undo(seed):
    draw = random.Random(seed)
    nr_points = interrupted(seed).nr_points
    nr_twice = 0
    for _ in range(NR_PAIRS):
        at = draw.randrange(1, nr_points)
        nr_twice += interrupted(seed, at, at + draw.randrange(1, 300)).nr_struck == 2
    assert nr_twice
