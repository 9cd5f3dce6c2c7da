"""The cheapest set of owners to make movable so that so many blocks can be had.

For as many owners as every set of them can be tried the answer is exact.  Beyond, whole
signatures are added, the one with the most blocks for its cost first, and then whoever turns
out not to be needed is dropped; how far that may be from the cheapest is stated:

    at least    each of the k blocks that are clean in the end costs what its own signature
                costs, so no set is cheaper than the k-th cheapest block

Owns: the choice.
Ignores: what it takes to write a callback: costs are the caller's.
Cost: 2^owners up to `MOST_TABLED` of them; then signatures^2.
"""

from collections.abc import Mapping
from math import isfinite

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from pinlab.whatif.game import BlockGame
from pinpage.errors import PinpageError

__all__ = ["OwnerSet", "cheapest", "cheapest_by_greed"]


@frozen
class OwnerSet:
    """A set of owners that is enough.

    Attributes:
        owners: who would have to move.
        cost: of all of them.
        obtained: blocks that can then be had.
        at_least: no set that is enough costs less than this; `cost`, where the choice is exact.
    """

    owners: tuple[str, ...]
    cost: float
    obtained: int
    at_least: float

    @property
    def is_exact(self) -> bool:
        """Whether no other set is cheaper."""
        return self.at_least >= self.cost


def cheapest(
    game: BlockGame, want: int, costs: Mapping[str, float] | None = None
) -> OwnerSet | None:
    """The cheapest set that obtains `want` blocks; None if not even all owners do.

    Ties go to the fewer owners, then to those that come first.

    Args:
        game: the blocks, and who is in their way.
        want: blocks.
        costs: of making an owner movable, each 1 if left out; they must be positive.

    Raises:
        PinpageError: fewer than no block wanted, or a cost that is none, or of nobody.
    """
    each = _costs_of(game, want, costs)
    if not game.is_tabled:
        return cheapest_by_greed(game, want, costs)
    enough = np.flatnonzero(game.obtained_table >= want)
    if not len(enough):
        return None
    cost = np.zeros(1)
    for one in each:
        cost = np.concatenate([cost, cost + one])
    sizes = np.zeros(len(enough), dtype=np.int64)
    for i in range(len(game.players)):
        sizes += enough >> i & 1
    best = int(enough[np.lexsort((enough, sizes, np.round(cost[enough], 9)))[0]])
    return OwnerSet(game.names_in(best), float(cost[best]), game.obtained(best), float(cost[best]))


def cheapest_by_greed(
    game: BlockGame, want: int, costs: Mapping[str, float] | None = None
) -> OwnerSet | None:
    """A set that obtains `want` blocks, and what none can cost less than; None if there is none.

    Args:
        game: the blocks, and who is in their way.
        want: blocks.
        costs: of making an owner movable, each 1 if left out; they must be positive.

    Raises:
        PinpageError: see `cheapest`.
    """
    each = _costs_of(game, want, costs)
    if game.obtained(game.everybody) < want:
        return None
    members = 0
    while game.obtained(members) < want:
        members = _one_more(game, members, each)
    for i in np.argsort(-each, kind="stable").tolist():
        without = members & ~(1 << i)
        if without != members and game.obtained(without) >= want:
            members = without
    cost = _cost(members, each)
    at_least = min(_least(game, want, each), cost)
    return OwnerSet(game.names_in(members), cost, game.obtained(members), at_least)


def _costs_of(game: BlockGame, want: int, costs: Mapping[str, float] | None) -> NDArray[np.float64]:
    if want < 0:
        raise PinpageError(f"what-if: want={want} blocks; ask for 0 or more")
    costs = costs or {}
    for name, cost in costs.items():
        if name not in game.players:
            raise PinpageError(
                f"what-if: costs name {name[:40]!r}, which is in nobody's way here; "
                f"leave it out, or give one of {', '.join(game.players) or 'nobody'}"
            )
        if not (isfinite(cost) and cost > 0):
            raise PinpageError(f"what-if: the cost of {name} is {cost}; give more than 0")
    return np.array([float(costs.get(name, 1)) for name in game.players])


def _one_more(game: BlockGame, members: int, each: NDArray[np.float64]) -> int:
    """The set with one more signature in it, or one more owner that releases: most for its cost."""
    whole = [int(mask) for mask in game.signatures] + [1 << i for i in range(len(game.players))]
    best, best_rate = members | game.everybody, -1.0
    now_got, now_clean = game.obtained(members), game.clean(members)
    for mask in dict.fromkeys(whole):
        more = mask & ~members
        if not more:
            continue
        gained = game.obtained(members | more) - now_got
        clean = game.clean(members | more) - now_clean
        rate = (gained + 1e-6 * clean) / _cost(more, each)
        if rate > best_rate:
            best, best_rate = members | more, rate
    return best


def _cost(members: int, each: NDArray[np.float64]) -> float:
    return float(sum(one for i, one in enumerate(each.tolist()) if members >> i & 1))


def _least(game: BlockGame, want: int, each: NDArray[np.float64]) -> float:
    """The cost of the want-th cheapest block."""
    nr_blocks = game.nr_blocks.sum(axis=0)
    cost = np.array([_cost(int(mask), each) for mask in game.signatures])
    order = np.argsort(cost, kind="stable")
    reached = np.cumsum(nr_blocks[order])
    row = int(np.searchsorted(reached, want))
    return float(cost[order][min(row, len(order) - 1)]) if want and len(order) else 0.0
