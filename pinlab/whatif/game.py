"""What each set of owners would be worth: clean blocks, as a function of who can move.

A block is clean if nobody has a frame in it who cannot move.  What counts of a block is only
who of the players is in its way, its signature, so that all blocks of one signature are one row,
and a set of players cleans exactly the rows whose signature lies inside of it:

    alone(o)              blocks with the signature {o}
    last(o)               blocks with o in their signature: lost, if all but o can move
    shapley(o)            each block shares itself evenly among its signature: sum of 1/size
    together(o, p)        blocks with the signature {o, p}: in neither's gain alone

Obtained is less than clean: with F free frames nobody has more than F // n blocks of n
frames.  Blocks up to a pageblock are made by compaction, inside a zone; larger ones are
emptied into any zone.  A player that releases its frames adds them to F.  With that bound
the four above have no closed form, and all sets are tried, for as many players as
`MOST_TABLED`.

Owns: the function, its values over all sets, and what each player adds.
Ignores: in which order a kernel would go about it (`pinlab.whatif.scanners`).
Cost: O(blocks) once; 2^players for a table.
"""

from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import combinations
from math import factorial
from typing import Final

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from pinlab.snapshot.holdings import Holdings
from pinpage.errors import PinpageError

__all__ = ["MOST_PLAYERS", "MOST_TABLED", "BlockGame", "Shares", "game_of", "shapley_of_table"]

MOST_PLAYERS: Final = 62
"""Bits of a signature."""
MOST_TABLED: Final = 20
"""Players of which every set is tried; beyond, only what has a closed form is known."""

_Rows = NDArray[np.int64]


@frozen
class Shares:
    """What one player is worth, in blocks.

    Attributes:
        owner: its name.
        alone: gained if nobody else joins.
        shapley: its fair share of what all gain together.
        last: lost if it is the only one that stays away.
    """

    owner: str
    alone: int
    shapley: float
    last: int


@frozen(eq=False)
class BlockGame:
    """Clean and obtainable blocks of one order, for every set of players.

    A set is an integer, bit i for `players[i]`.

    Attributes:
        players: owners that may or may not be able to move.
        nr_pages: frames of a block.
        signatures: int64 (n,), distinct sets of players that are in the way of blocks.
        nr_blocks: int64 (nr_pools, n), blocks of each signature; a pool is a zone, or all.
        nr_free: int64 (nr_pools,), free frames.
        nr_given: int64 (nr_pools, len(players)), frames that a player releases if it joins.
    """

    players: tuple[str, ...]
    nr_pages: int
    signatures: _Rows = field(repr=False)
    nr_blocks: _Rows = field(repr=False)
    nr_free: _Rows = field(repr=False)
    nr_given: _Rows = field(repr=False)

    @property
    def everybody(self) -> int:
        """The set of all players."""
        return (1 << len(self.players)) - 1

    def set_of(self, names: Iterable[str]) -> int:
        """The set of these players."""
        wanted = set(names)
        return sum(1 << i for i, name in enumerate(self.players) if name in wanted)

    def names_in(self, members: int) -> tuple[str, ...]:
        """The players of a set."""
        return tuple(name for i, name in enumerate(self.players) if members >> i & 1)

    def clean(self, members: int) -> int:
        """Blocks in which nobody is who cannot move."""
        return int(self._clean_by_pool(members).sum())

    def obtained(self, members: int) -> int:
        """Of these, as many as the free frames make."""
        given = [i for i in range(len(self.players)) if members >> i & 1]
        nr_free = self.nr_free + self.nr_given[:, given].sum(axis=1)
        return int(np.minimum(self._clean_by_pool(members), nr_free // self.nr_pages).sum())

    def _clean_by_pool(self, members: int) -> _Rows:
        inside = (self.signatures & ~np.int64(members)) == 0
        found: _Rows = self.nr_blocks[:, inside].sum(axis=1)
        return found

    @cached_property
    def is_tabled(self) -> bool:
        """Whether there are few enough players to try every set."""
        return len(self.players) <= MOST_TABLED

    @cached_property
    def obtained_table(self) -> _Rows:
        """`obtained` of every set, int64 (2^players,).

        Raises:
            PinpageError: too many players.
        """
        if not self.is_tabled:
            raise PinpageError(f"what-if: {len(self.players)} owners are too many to try all sets")
        total = np.zeros(1 << len(self.players), dtype=np.int64)
        for pool in range(len(self.nr_free)):
            clean = np.zeros(len(total), dtype=np.int64)
            np.add.at(clean, self.signatures, self.nr_blocks[pool])
            free = np.full(1, self.nr_free[pool])
            for i in range(len(self.players)):
                halves = clean.reshape(-1, 2, 1 << i)
                halves[:, 1, :] += halves[:, 0, :]  # sums over subsets, one player after another
                free = np.concatenate([free, free + self.nr_given[pool, i]])
            total += np.minimum(clean, free // self.nr_pages)
        return total

    def clean_shares(self) -> tuple[Shares, ...]:
        """What each player adds to the clean blocks, by the closed forms."""
        nr_blocks = self.nr_blocks.sum(axis=0)
        has = (self.signatures >> np.arange(len(self.players))[:, None] & 1) == 1
        share = nr_blocks / np.maximum(has.sum(axis=0), 1)
        return tuple(
            Shares(
                name,
                int(nr_blocks[self.signatures == 1 << i].sum()),
                float(share[has[i]].sum()),
                int(nr_blocks[has[i]].sum()),
            )
            for i, name in enumerate(self.players)
        )

    def obtained_shares(self) -> tuple[Shares, ...]:
        """What each player adds to the obtainable blocks, from the table.

        Raises:
            PinpageError: too many players.
        """
        table, everybody = self.obtained_table, self.everybody
        shapley = shapley_of_table(table)
        return tuple(
            Shares(
                name,
                int(table[1 << i] - table[0]),
                float(shapley[i]),
                int(table[everybody] - table[everybody ^ 1 << i]),
            )
            for i, name in enumerate(self.players)
        )

    def pairs(self) -> tuple[tuple[str, str, int, int], ...]:
        """(owner, owner, gained by both together, of that in neither's gain alone), most first.

        Clean blocks; pairs that gain nothing by being two are left out.
        """
        nr_blocks = dict(zip(self.signatures.tolist(), self.nr_blocks.sum(axis=0), strict=True))
        found = []
        for (i, one), (j, other) in combinations(enumerate(self.players), 2):
            shared = int(nr_blocks.get(1 << i | 1 << j, 0))
            if shared:
                each = int(nr_blocks.get(1 << i, 0) + nr_blocks.get(1 << j, 0))
                found.append((one, other, each + shared, shared))
        return tuple(sorted(found, key=lambda pair: (-pair[3], pair)))


def shapley_of_table(table: _Rows) -> NDArray[np.float64]:
    """The Shapley value of each player, from the values of all sets: float64 (players,).

    A player's average gain over all orders in which the players may join.

    >>> shapley_of_table(np.array([0, 0, 0, 6])).tolist()
    [3.0, 3.0]
    """
    nr_players = len(table).bit_length() - 1
    weights = np.array(
        [
            factorial(size) * factorial(nr_players - size - 1) / factorial(nr_players)
            for size in range(nr_players)
        ]
    )
    sizes = np.zeros(1, dtype=np.int64)
    for _ in range(nr_players):
        sizes = np.concatenate([sizes, sizes + 1])
    shares = np.zeros(nr_players)
    for i in range(nr_players):
        halves = table.reshape(-1, 2, 1 << i)
        without = sizes.reshape(-1, 2, 1 << i)[:, 0, :]
        shares[i] = ((halves[:, 1, :] - halves[:, 0, :]) * weights[without]).sum()
    return shares


def game_of(
    holdings: Holdings,
    *,
    players: Sequence[str],
    moved: Sequence[str] | None = None,
    released: Sequence[str] = (),
    unknown_moves: bool = False,
    nr_free_more: int = 0,
) -> BlockGame:
    """The game of these players on the blocks of a recording.

    Blocks in which anybody else is who cannot move are nobody's to gain and left out.

    Args:
        holdings: the blocks of one order.
        players: who may become able to move.
        moved: who moves anyhow; None: whom Linux moves.
        released: the players that give their frames up instead of moving them.
        unknown_moves: whether frames of unknown use move; if not, they stay.
        nr_free_more: free frames that lie nobody knows where.

    Raises:
        PinpageError: more players than a signature has bits.
    """
    if len(players) > MOST_PLAYERS:
        raise PinpageError(f"what-if: {len(players)} owners; at most {MOST_PLAYERS} can be told")
    moves = holdings.moved_by_linux() if moved is None else tuple(moved)
    names = holdings.owner_names
    staying = [name for name in names if name not in moves and name not in players]
    fixed = holdings.nr_never + holdings.nr_frames[:, holdings.columns_of(staying)].sum(axis=1)
    if not unknown_moves:
        fixed = fixed + holdings.nr_unknown
    candidates = holdings.whole & (fixed == 0)
    mask = np.zeros(holdings.nr_blocks, dtype=np.int64)
    for i, name in enumerate(players):
        for column in holdings.columns_of([name] if name not in moves else ()):
            mask |= (holdings.nr_frames[:, column] > 0).astype(np.int64) << i
    pool, nr_pools = _pools(holdings)
    signatures, row = np.unique(mask[candidates], return_inverse=True)
    counts = np.zeros((nr_pools, len(signatures)), dtype=np.int64)
    np.add.at(counts, (pool[candidates], row), 1)
    given = np.zeros((nr_pools, len(players)), dtype=np.int64)
    for i, name in enumerate(players):
        if name in released:
            frames = holdings.nr_frames[:, holdings.columns_of([name])].sum(axis=1)
            np.add.at(given[:, i], pool, frames)
    nr_free = np.bincount(pool, weights=holdings.nr_free, minlength=nr_pools).astype(np.int64)
    if nr_free_more and nr_pools:
        nr_free[int(nr_free.argmax())] += nr_free_more
    return BlockGame(tuple(players), holdings.nr_pages, signatures, counts, nr_free, given)


def _pools(holdings: Holdings) -> tuple[_Rows, int]:
    """Where what leaves a block may go: its zone, or anywhere if it is emptied as a range."""
    if holdings.order > holdings.pageblock_order:
        return np.zeros(holdings.nr_blocks, dtype=np.int64), 1
    zones, row = np.unique(holdings.highest_zone, return_inverse=True)
    return row.astype(np.int64), len(zones)
