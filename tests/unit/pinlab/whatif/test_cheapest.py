"""The cheapest set of owners: against all sets, and how far greed may be off."""

from itertools import combinations

import numpy as np
import pytest

from pinlab.snapshot.holdings import holdings_of
from pinlab.whatif.cheapest import cheapest, cheapest_by_greed
from pinlab.whatif.game import game_of
from pinpage.errors import PinpageError
from tests.kit.pinlab.blocks import machine_of

NAMES = ("slab", "zbud", "gup", "pagetable", "vmalloc", "other", "cma", "a", "b", "c")


def game_with(blocks, nr_free=400):
    units = holdings_of(machine_of(blocks, nr_free=nr_free))
    return game_of(units, players=units.in_the_way())


def by_hand(game, want, costs):
    """The least cost of a set that is enough; None if none is."""
    sets = (
        members
        for size in range(len(game.players) + 1)
        for members in combinations(game.players, size)
        if game.obtained(game.set_of(members)) >= want
    )
    return min((sum(costs.get(name, 1) for name in members) for members in sets), default=None)


def drawn(number):
    rng = np.random.default_rng(number)
    names = rng.permutation(NAMES)[: rng.integers(1, 9)].tolist()
    blocks = [[n for n in names if rng.random() < 0.35] for _ in range(rng.integers(2, 12))]
    game = game_with(blocks)
    costs = {name: float(rng.integers(1, 9)) for name in game.players if rng.random() < 0.7}
    return game, int(rng.integers(0, len(blocks) + 1)), costs


def test_it_is_the_cheapest_and_greed_is_within_what_it_states():
    nr_none = nr_gaps = 0
    for number in range(200):
        game, want, costs = drawn(number)
        least = by_hand(game, want, costs)
        exact, greedy = cheapest(game, want, costs), cheapest_by_greed(game, want, costs)
        if least is None:
            assert exact is greedy is None
            nr_none += 1
            continue
        assert exact.is_exact
        assert exact.cost == pytest.approx(least)
        for choice in (exact, greedy):
            assert choice.obtained == game.obtained(game.set_of(choice.owners)) >= want
            assert sum(costs.get(name, 1) for name in choice.owners) == choice.cost
        assert greedy.at_least <= least + 1e-9
        assert greedy.cost >= least - 1e-9
        nr_gaps += greedy.at_least < least
    assert nr_none
    assert nr_gaps  # what greed states is a bound, not the answer


def test_of_two_sets_of_one_cost_the_smaller_is_chosen():
    game = game_with([["slab", "zbud"], ["gup"]])
    choice = cheapest(game, 1, {"gup": 2.0})
    assert (choice.owners, choice.cost, choice.obtained) == (("gup",), 2.0, 1)


def test_more_owners_than_can_be_tried_are_chosen_by_greed():
    names = [f"x{i}" for i in range(25)]
    game = game_with([[names[0], names[1]], *([name] for name in names)])
    choice = cheapest(game, 20)
    assert len(choice.owners) == 19  # two of them clear three blocks
    assert choice.at_least == 1.0
    assert not choice.is_exact


def test_nobody_is_needed_for_what_is_there():
    choice = cheapest(game_with([[], ["slab"]]), 1)
    assert (choice.owners, choice.cost, choice.is_exact) == ((), 0.0, True)


@pytest.mark.parametrize(
    ("want", "costs", "words"),
    [
        (-1, {}, "want=-1 blocks"),
        (1, {"gup": 1.0}, "'gup', which is in nobody's way here"),
        (1, {"slab": 0.0}, "cost of slab is 0.0"),
        (1, {"slab": float("nan")}, "cost of slab is nan"),
    ],
)
def test_nonsense_is_refused_in_words(want, costs, words):
    game = game_with([["slab"]])
    for choose in (cheapest, cheapest_by_greed):
        with pytest.raises(PinpageError, match=words):
            choose(game, want, costs)
