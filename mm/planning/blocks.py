"""From what is known about memory to the fewest moves that empty the most pageblocks.

`plan` is a pure function from a census to a plan; it holds nothing, asks nobody and moves
nothing.  Whoever executes the plan takes `targets` off the free lists and moves
`sources[i]` to `targets[i]`, in order, as far as it gets: targets lie outside every
block that is emptied, so each prefix of a plan is a plan.

    how many, and which    `mm.planning.frontier`: exact, with the proof
    where to               blocks that cannot be emptied, then the fullest that are not
    and why not the rest   one `Outcome` per block, with the owners in its way

Kernel counterpart: none; compaction.c has two scanners and no foresight.
Cost: about 12 ns per frame, nearly all of it counting (`tests/benchmarks`).
"""

import enum

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from mm.planning.census import Census, Targets
from mm.planning.frontier import Frontier, frontier
from mm.state.reasons import most_first
from pinpage.errors import PinpageError, require
from pinpage.units import Mask, Pfns

__all__ = ["Outcome", "Plan", "plan"]

_Rows = NDArray[np.int64]


class Outcome(enum.IntEnum):
    """What a plan makes of a pageblock, and why it gives one up."""

    EMPTIED = 0
    """Its frames move out; wholly free in the end."""
    ALREADY_FREE = 1
    """Wholly free before and after: a success that costs nothing."""
    STUCK = 2
    """Something in it cannot move; `Plan.obstacles` says whose and how many frames."""
    NO_FREE_FRAMES = 3
    """The zone's free memory makes no more wholly free blocks, wherever things go."""
    TARGETS_RESTRICTED = 4
    """There would be memory for more, but not in blocks that may be filled."""
    NOT_WANTED = 5
    """As many as were asked for are free without it."""


@frozen(eq=False)
class Plan:
    """Which pageblocks to empty, by which moves, and why not the others.

    Attributes:
        blocks: int64 (n,), numbers of the pageblocks to empty, emptiest first, then by
            number.  Those already free are not among them.
        sources: int64 (nr_moves,), pfns to move, block by block as in `blocks`,
            ascending in each.
        targets: int64 (nr_moves,), free pfns, sources[i] goes to targets[i].
        outcome: uint8 (nr_blocks,), an `Outcome` per pageblock of the census.
        obstacles: int64 (nr_blocks, len(owner_names)), stuck frames by owner.
        owner_names: names of the columns of `obstacles`.
        nr_wholly_free: wholly free pageblocks once every move succeeded.
        bound: the most that any sequence of moves to the allowed targets can reach;
            `nr_wholly_free` reaches it unless fewer were wanted.
        first_block: number of the pageblock of row 0.

    Invariants, run by `check`:
        PL1 sources are movable, targets free, neither occurs twice.
        PL2 a move stays in its zone, and its target may be filled.
        PL3 no target lies in a block that is emptied, or counted as already free.
        PL4 after all moves exactly `nr_wholly_free` blocks are wholly free.
    """

    blocks: NDArray[np.int64]
    sources: Pfns = field(repr=False)
    targets: Pfns = field(repr=False)
    outcome: NDArray[np.uint8] = field(repr=False)
    obstacles: NDArray[np.int64] = field(repr=False)
    owner_names: tuple[str, ...]
    nr_wholly_free: int
    bound: int
    first_block: int

    @property
    def nr_moves(self) -> int:
        """Frames that move, the fewest for this many wholly free blocks."""
        return len(self.sources)

    def outcome_of(self, block: int) -> Outcome:
        """What becomes of a pageblock.

        Raises:
            PinpageError: no such block in the census.
        """
        return Outcome(int(self.outcome[self._row(block)]))

    def in_the_way(self, block: int) -> dict[str, int]:
        """Owners of stuck frames in a pageblock and how many each, most frames first.

        Empty for a block that nothing is stuck in.

        Raises:
            PinpageError: no such block in the census.
        """
        return most_first(self.owner_names, self.obstacles[self._row(block)])

    def counts(self) -> dict[Outcome, int]:
        """How many pageblocks have each outcome, zeros left out."""
        numbers = np.bincount(self.outcome, minlength=len(Outcome))
        return {outcome: int(numbers[outcome]) for outcome in Outcome if numbers[outcome]}

    def _row(self, block: int) -> int:
        row = block - self.first_block
        if not 0 <= row < len(self.outcome):
            raise PinpageError(f"pageblock {block} is not in the census this plan was made from")
        return row

    def check(self, census: Census, targets: Targets) -> None:
        """Run PL1..PL4 against the census (and variant) that the plan was made from.

        Args:
            census: what is known about memory.
            targets: which free frames might be filled.

        Raises:
            InvariantError: one does not hold.
        """
        size = census.nr_pages_per_block
        source, target = self.sources - census.start, self.targets - census.start
        require(len(source) == len(target), "PL1 sources and targets differ in length")
        require(census.movable[source].all() and census.free[target].all(), "PL1 unfit for a move")
        nr_free = np.count_nonzero(census.free)
        after = census.free.copy()
        after[source] = True
        require(np.count_nonzero(after) == nr_free + len(source), "PL1 a source occurs twice")
        after[target] = False
        require(np.count_nonzero(after) == nr_free, "PL1 a target occurs twice")
        zone = census.zone
        require((zone[source // size] == zone[target // size]).all(), "PL2 a move leaves its zone")
        require(census.target_blocks(targets)[target // size].all(), "PL2 a target is not allowed")
        kept = np.isin(self.outcome, (Outcome.EMPTIED, Outcome.ALREADY_FREE))
        require(not kept[target // size].any(), "PL3 a target in a block that is to be free")
        wholly: Mask = np.equal(np.count_nonzero(census.by_block(after), axis=1), size)
        require(wholly[kept].all(), "PL4 a block that should be free is not")
        require(int(wholly.sum()) == self.nr_wholly_free, "PL4 wrong number of wholly free blocks")


def plan(census: Census, *, targets: Targets = "all", want: int | None = None) -> Plan:
    """Plan the fewest moves that make the most pageblocks wholly free.

    Deterministic: ties go to the lower block number; between zones, to the plan that
    takes fewer blocks from the earlier zone.

    Args:
        census: what is free, movable and stuck.
        targets: "all" fills free frames anywhere; "movable" those of MOVABLE and CMA
            pageblocks only, as the kernel's free scanner does.
        want: enough once this many blocks are wholly free, those already free counted.

    Raises:
        PinpageError: unknown `targets`, negative `want`.
    """
    if targets not in ("all", "movable"):
        raise PinpageError(f"plan: targets={targets!r} is neither 'all' nor 'movable'")
    if want is not None and want < 0:
        raise PinpageError(f"plan: want={want} pageblocks; ask for 0 or more")
    zones, zone_row = np.unique(census.zone, return_inverse=True)
    is_open = census.target_blocks(targets)
    nr_zones = len(zones)

    candidates = np.flatnonzero(census.clearable)
    order = np.lexsort((census.nr_movable[candidates], zone_row[candidates]))
    candidates = candidates[order]
    available = np.bincount(
        zone_row, weights=np.where(is_open, census.nr_free, 0), minlength=nr_zones
    )
    limits = frontier(
        zone_row[candidates],
        census.nr_movable[candidates],
        is_open[candidates],
        available.astype(np.int64),
        census.nr_pages_per_block,
    )
    take = limits.most if want is None else _share(limits, want)
    chosen = np.zeros(census.nr_blocks, dtype=np.bool_)
    chosen[_pick(limits, take, candidates, zone_row, is_open)] = True

    emptied = np.flatnonzero(chosen & (census.nr_movable > 0))
    emptied = emptied[np.argsort(census.nr_movable[emptied], kind="stable")]
    sources = _frames_in(census, emptied, census.movable)
    target = _targets(census, sources, is_open & ~chosen, zone_row)
    outcome = _outcomes(census, chosen, target, take, limits.most, zone_row)
    return Plan(
        blocks=emptied + census.first_block,
        sources=sources + census.start,
        targets=target + census.start,
        outcome=outcome,
        obstacles=census.obstacles(),
        owner_names=census.owner_names,
        nr_wholly_free=int(np.isin(outcome, (Outcome.EMPTIED, Outcome.ALREADY_FREE)).sum()),
        bound=int(limits.most.sum()),
        first_block=census.first_block,
    )


def _pick(
    limits: Frontier, take: _Rows, candidates: _Rows, zone_row: _Rows, is_open: Mask
) -> _Rows:
    """The `take` best blocks of each zone, from candidates that are emptiest first.

    As many closed blocks as the frontier says and open ones for the rest, each kind
    from its emptiest on.
    """
    zone = zone_row[candidates]
    nr_closed = limits.nr_closed[limits.first_row[:-1] + take]
    picked = []
    for kind_is_open, quota in ((False, nr_closed), (True, take - nr_closed)):
        of_kind = candidates[is_open[candidates] == kind_is_open]
        kind_zone = zone[is_open[candidates] == kind_is_open]
        first = np.searchsorted(kind_zone, np.arange(len(take)))
        rank = np.arange(len(of_kind)) - first[kind_zone]
        picked.append(of_kind[rank < quota[kind_zone]])
    return np.concatenate(picked)


def _share(limits: Frontier, want: int) -> _Rows:
    """How many blocks each zone contributes so that `want` cost the fewest moves.

    Exact, by joining one zone after the other.  Where targets are restricted the cost of
    one zone need not be convex, so taking the next cheapest block would not do.
    """
    take = limits.most.copy()
    if want >= int(take.sum()):
        return take
    best = limits.cost(0)[: want + 1]
    splits: list[_Rows] = []
    for zone in range(1, len(take)):
        cost = limits.cost(zone)
        joined = np.full(min(want, len(best) + len(cost) - 2) + 1, np.iinfo(np.int64).max)
        split = np.zeros(len(joined), dtype=np.int64)
        for earlier, moves in enumerate(best.tolist()):
            reach = slice(earlier, min(earlier + len(cost), len(joined)))
            offer = moves + cost[: reach.stop - earlier]
            better = offer < joined[reach]
            joined[reach][better] = offer[better]
            split[reach][better] = earlier
        best = joined
        splits.append(split)
    left = want
    for zone in range(len(take) - 1, 0, -1):
        earlier = int(splits[zone - 1][left])
        take[zone] = left - earlier
        left = earlier
    take[0] = left
    return take


def _frames_in(census: Census, rows: _Rows, column: Mask) -> Pfns:
    """Frames of `column` in these blocks, block by block in order, ascending in each."""
    within, offset = np.nonzero(census.by_block(column)[rows])
    return rows[within] * census.nr_pages_per_block + offset


def _targets(census: Census, sources: Pfns, may_fill: Mask, zone_row: _Rows) -> Pfns:
    """A free frame for each source, in its zone, from blocks in the order of filling."""
    fillable = np.flatnonzero(may_fill & (census.nr_free > 0))
    keys = (fillable, -census.nr_movable[fillable], census.clearable[fillable], zone_row[fillable])
    fillable = fillable[np.lexsort(keys)]
    source_zone = zone_row[sources // census.nr_pages_per_block]
    needed = np.bincount(source_zone, minlength=int(zone_row.max(initial=0)) + 1)
    zone = zone_row[fillable]
    before = np.cumsum(census.nr_free[fillable]) - census.nr_free[fillable]
    first = np.searchsorted(zone, np.arange(len(needed)))
    before_zone = np.append(before, 0)[first][zone]
    fillable = fillable[before - before_zone < needed[zone]]

    free = _frames_in(census, fillable, census.free)
    free_zone = zone_row[free // census.nr_pages_per_block]
    free_first = np.searchsorted(free_zone, np.arange(len(needed)))
    by_zone = np.argsort(source_zone, kind="stable")
    rank = np.arange(len(sources)) - (np.cumsum(needed) - needed)[source_zone[by_zone]]
    target = np.empty(len(sources), dtype=np.int64)
    target[by_zone] = free[free_first[source_zone[by_zone]] + rank]
    return target


def _outcomes(
    census: Census, chosen: Mask, target: Pfns, take: _Rows, most: _Rows, zone_row: _Rows
) -> NDArray[np.uint8]:
    """One `Outcome` per block; the reason for giving up is the same all over a zone."""
    size = census.nr_pages_per_block
    nr_zones = len(take)
    nr_clearable = np.bincount(zone_row, weights=census.clearable, minlength=nr_zones)
    nr_free = np.bincount(zone_row, weights=census.nr_free, minlength=nr_zones)
    anywhere = np.minimum(nr_clearable, nr_free // size)
    reason = np.full(nr_zones, Outcome.NO_FREE_FRAMES, dtype=np.uint8)
    reason[most < anywhere] = Outcome.TARGETS_RESTRICTED
    reason[take < most] = Outcome.NOT_WANTED

    wholly = census.nr_free == size
    wholly[target // size] = False
    outcome = reason[zone_row]
    outcome[~census.clearable] = Outcome.STUCK
    outcome[chosen] = Outcome.EMPTIED
    outcome[wholly] = Outcome.ALREADY_FREE
    return outcome
