"""What each set of owners is worth: brute force over frames, closed forms, and where they end."""

import math
from itertools import combinations, permutations

import numpy as np
import pytest

from pinlab.snapshot.classes import FrameClass
from pinlab.snapshot.holdings import holdings_of
from pinlab.whatif.game import BlockGame, game_of, shapley_of_table
from pinpage.errors import PinpageError
from tests.kit.pinlab.blocks import BLOCK, machine_of, snapshot_of

NAMES = ("slab", "zbud", "gup", "pagetable", "vmalloc", "other", "cma", *"abcde")
"""Classes that Linux does not move, and labels."""


def drawn(number):
    """A small machine: up to twelve owners, up to ten blocks, little or much free memory."""
    rng = np.random.default_rng(number)
    names = rng.permutation(NAMES)[: rng.integers(1, 13)].tolist()
    share = rng.choice([0.05, 0.2, 0.5])
    blocks = [[n for n in names if rng.random() < share] for _ in range(rng.integers(1, 11))]
    nr_free = int(rng.choice([16, 128, 400]))
    return machine_of(blocks, nr_free=nr_free), blocks, nr_free


def game_on(snapshot, **changes):
    blocks = holdings_of(snapshot)
    options = {"players": blocks.in_the_way()} | changes
    return game_of(blocks, **options)


def values_by_hand(blocks, players, nr_free):
    """(clean, obtained) of every set, one block and one owner at a time."""
    most = len(blocks) * nr_free // BLOCK
    values = {}
    for size in range(len(players) + 1):
        for members in combinations(players, size):
            clean = sum(set(owners) <= set(members) for owners in blocks)
            values[frozenset(members)] = (clean, min(clean, most))
    return values


def shares_by_hand(values, players, which):
    """(alone, Shapley value, last) of each player by the definition."""
    nobody, everybody, found = frozenset(), frozenset(players), []
    for player in players:
        total = 0.0
        for members, value in values.items():
            if player not in members:
                ways = math.factorial(len(members))
                ways *= math.factorial(len(players) - len(members) - 1)
                total += ways * (values[members | {player}][which] - value[which])
        alone = values[frozenset({player})][which] - values[nobody][which]
        last = values[everybody][which] - values[everybody - {player}][which]
        found.append((player, alone, total / math.factorial(len(players)), last))
    return found


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_every_set_of_owners_is_worth_what_brute_force_says(first):
    for number in range(first, first + 50):
        snapshot, blocks, nr_free = drawn(number)
        game = game_on(snapshot)
        values = values_by_hand(blocks, game.players, nr_free)
        table = game.obtained_table
        for members, (clean, obtained) in values.items():
            which = game.set_of(members)
            assert (game.clean(which), game.obtained(which)) == (clean, obtained), number
            assert table[which] == obtained
        for which, shares in ((0, game.clean_shares()), (1, game.obtained_shares())):
            told = [(one.owner, one.alone, one.shapley, one.last) for one in shares]
            by_hand = shares_by_hand(values, game.players, which)
            for (owner, alone, fair, last), mine in zip(by_hand, told, strict=True):
                assert (owner, alone, last) == (mine[0], mine[1], mine[3])
                assert mine[2] == pytest.approx(fair)
        for one, other, both, beyond in game.pairs():
            gains = [values[frozenset(s)][0] for s in ((), (one,), (other,), (one, other))]
            assert both == gains[3] - gains[0]
            assert beyond == gains[3] - gains[1] - gains[2] + gains[0] > 0


def test_what_nobody_gains_alone_a_pair_does():
    game = game_on(machine_of([["slab", "zbud"]] * 40 + [["slab", "zbud", "gup"]]))
    assert [one.alone for one in game.clean_shares()] == [0, 0, 0]
    assert game.pairs() == (("zbud", "slab", 40, 40),)
    shares = {one.owner: one.shapley for one in game.clean_shares()}
    assert shares == pytest.approx({"zbud": 20 + 1 / 3, "slab": 20 + 1 / 3, "gup": 1 / 3})


def test_shares_add_up_to_what_all_gain_together():
    for number in range(20):
        game = game_on(drawn(number)[0])
        for shares, worth in (
            (game.clean_shares(), game.clean),
            (game.obtained_shares(), game.obtained),
        ):
            gained = worth(game.everybody) - worth(0)
            assert sum(one.shapley for one in shares) == pytest.approx(gained)


def test_the_fair_share_is_the_mean_over_every_order_of_joining():
    table = np.array([0, 1, 0, 4, 2, 2, 3, 9])
    gains = np.zeros(3)
    for order in permutations(range(3)):
        members = 0
        for player in order:
            gains[player] += table[members | 1 << player] - table[members]
            members |= 1 << player
    assert shapley_of_table(table).tolist() == pytest.approx((gains / 6).tolist())


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9, 0.99])
def test_scattered_evenly_it_is_the_closed_form(share):
    """Clean if the owner with that share of all pins moves: (1 - p (1 - share))^n of all blocks."""
    rng = np.random.default_rng(int(100 * share))
    density, nr_blocks = 1e-3, 4096
    klass = np.full(nr_blocks * BLOCK, FrameClass.ANON, dtype=np.uint8)
    pinned = rng.random(len(klass)) < density
    moves = rng.random(len(klass)) < share
    klass[pinned & moves] = FrameClass.ZBUD
    klass[pinned & ~moves] = FrameClass.SLAB
    game = game_on(snapshot_of(klass))
    expected = (1 - density * (1 - share)) ** BLOCK
    sigma = math.sqrt(nr_blocks * expected * (1 - expected))
    assert abs(game.clean(game.set_of(["zbud"])) - nr_blocks * expected) <= 3 * sigma


def test_unknown_frames_stay_or_move():
    snapshot = machine_of([["unknown"], ["unknown", "slab"], []], nr_free=400)
    low, high = game_on(snapshot), game_on(snapshot, unknown_moves=True, nr_free_more=BLOCK)
    assert (low.clean(0), low.clean(low.everybody)) == (1, 1)
    assert (high.clean(0), high.clean(high.everybody)) == (2, 3)
    assert (low.obtained(1), high.obtained(1)) == (1, 3)


def test_who_releases_makes_free_memory():
    blocks = [["slab"] * 200, ["slab"] * 200]
    snapshot = machine_of(blocks, nr_free=200)
    assert game_on(snapshot).obtained(1) == 0
    assert game_on(snapshot, released=("slab",)).obtained(1) == 1


def test_who_is_moved_anyhow_is_in_nobodys_way_but_may_release():
    snapshot = machine_of([[], []], nr_free=200)
    game = game_on(snapshot, players=("anon",), released=("anon",))
    assert (game.clean(0), game.obtained(0), game.obtained(1)) == (2, 0, 2)


def test_reserved_and_missing_frames_are_nobodys_to_move():
    game = game_on(machine_of([["reserved"], ["hole"], ["unmanaged"], ["slab"]]))
    assert game.clean(game.everybody) == 1


def test_room_is_counted_zone_by_zone_up_to_a_pageblock_and_together_beyond():
    klass = np.full(8 * BLOCK, FrameClass.ANON, dtype=np.uint8)
    klass[[*range(300), *range(4 * BLOCK, 4 * BLOCK + 300)]] = FrameClass.FREE
    zone = np.repeat([0, 1], 4 * BLOCK).astype(np.uint8)
    units = holdings_of(snapshot_of(klass, zone=zone))
    assert game_of(units, players=()).obtained(0) == 0
    assert game_of(units, players=()).nr_free.tolist() == [300, 300]
    assert game_of(units.at(10), players=()).nr_free.tolist() == [600]


def test_a_block_over_a_border_of_zones_is_nobodys():
    zone = np.repeat([0, 1], BLOCK).astype(np.uint8)
    units = holdings_of(snapshot_of(np.full(2 * BLOCK, FrameClass.FREE), zone=zone))
    assert game_of(units, players=()).clean(0) == 2
    assert game_of(units.at(10), players=()).clean(0) == 0


def test_too_many_owners_are_refused_in_words():
    names = tuple(f"x{i}" for i in range(63))
    with pytest.raises(PinpageError, match="63 owners; at most 62"):
        game_on(machine_of([[]]), players=names)
    many = game_on(machine_of([[]]), players=names[:21])
    assert not many.is_tabled
    with pytest.raises(PinpageError, match="21 owners are too many to try all sets"):
        many.obtained_shares()


def test_twenty_owners_are_tried_in_every_set():
    signatures = np.array([(1 << 20) - 1], dtype=np.int64)
    ones = np.ones((1, 1), dtype=np.int64)
    given = np.zeros((1, 20), dtype=np.int64)
    names = tuple(f"x{i}" for i in range(20))
    game = BlockGame(names, BLOCK, signatures, 7 * ones, np.array([BLOCK * 5]), given)
    assert [one.shapley for one in game.obtained_shares()] == pytest.approx([5 / 20] * 20)
