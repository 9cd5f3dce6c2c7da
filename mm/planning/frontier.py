"""How many pageblocks a zone can empty, and the fewest moves for each number of them.

The arithmetic behind the planner, on counts alone; `mm.planning.blocks` turns its answer into
frames.  All zones at once, no Python loop over blocks or zones.

Why it is exact.  Take one zone with B frames per block.  Let S be the blocks that are
wholly free in the end; a block with a stuck frame is never among them.  Call a block a
*reservoir* if its free frames may be filled (`open`), and let A be the free frames of
all open blocks.

1. A move fills a free frame of an open block.  It frees one of an open block too if its
   source lay there.  So over any sequence of moves, with any detours, A never grows, and
   shrinks for each frame that leaves a closed block.  In the end the open blocks of S
   hold B free frames each, so

       sum over S of weight(b) <= A,   weight(b) = B if b is open, else used(b).      (1)

2. Conversely, any S that satisfies (1) is reached by moving each used frame of S once:
   the free frames of open blocks outside S number A minus those of open blocks in S, and
   by (1) that is at least the number of used frames in S.  Fewer moves cannot do, for
   each used frame of S must leave.  Hence the cost of S is exactly the sum of used(b).

3. Closed blocks differ by used(b) alone, for which less is better in weight and in cost;
   open blocks weigh the same, and less used(b) is better in cost.  So among sets with i
   closed and j open blocks the emptiest i and the emptiest j are best in both.

4. That leaves, for k = i + j blocks, the choice of i.  By weight, i must free enough:
   i*B - used(emptiest i) >= k*B - A; the left side never falls with i, so this says
   i >= lowest(k).  By cost, used(emptiest i) + used(emptiest k - i) is convex in i and
   least where the k emptiest blocks of both kinds together put it, merged(k).  A convex
   function over a half-line is least at max(merged(k), lowest(k)).

Where every block is open, (1) reads k*B <= F, the free frames: the most blocks are
min(clearable, F // B), whichever they are, and the emptiest first are the fewest moves.
Where targets are restricted, emptiest first is not always right: an open block may be
worth more as a reservoir than emptied.
"""

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

__all__ = ["Frontier", "frontier"]

_Counts = NDArray[np.int64]


@frozen(eq=False)
class Frontier:
    """For each zone and each number k of wholly free blocks, the fewest moves.

    Columns over (zone, k), k = 0 .. clearable blocks of the zone, zone after zone; zone
    z owns rows `first_row[z]` up to `first_row[z + 1]`.

    Attributes:
        first_row: int64 (nr_zones + 1,).
        nr_moves: int64 (nr_rows,), fewest moves; -1 where k blocks cannot be had.
        nr_closed: int64 (nr_rows,), how many of the k are blocks that lend no frames.
        most: int64 (nr_zones,), the largest k that can be had.
    """

    first_row: _Counts
    nr_moves: _Counts
    nr_closed: _Counts
    most: _Counts

    def cost(self, zone: int) -> _Counts:
        """Fewest moves for k = 0 .. most[zone]; never falls with k."""
        first = int(self.first_row[zone])
        return self.nr_moves[first : first + int(self.most[zone]) + 1]


def frontier(
    zone: _Counts,
    used: _Counts,
    is_open: NDArray[np.bool_],
    available: _Counts,
    nr_pages_per_block: int,
) -> Frontier:
    """Work out the frontier of every zone.

    Args:
        zone: int64 (n,), zone row of each clearable block, ascending.
        used: int64 (n,), frames to move out of it, ascending within each zone.
        is_open: bool (n,), whether its free frames may be filled.
        available: int64 (nr_zones,), free frames of open blocks, clearable or not.
        nr_pages_per_block: B.

    Cost: O(n log n), about 30 array passes.
    """
    size = nr_pages_per_block
    nr_zones = len(available)
    nr_blocks = np.bincount(zone, minlength=nr_zones)
    first_block = _starts(nr_blocks)
    first_row = first_block + np.arange(nr_zones + 1)
    row_zone = np.repeat(np.arange(nr_zones), nr_blocks + 1)
    k = np.arange(len(row_zone)) - first_row[row_zone]
    at = first_block[row_zone]

    closed_used, closed_first = _prefix(zone[~is_open], used[~is_open], nr_zones)
    open_used, open_first = _prefix(zone[is_open], used[is_open], nr_zones)
    nr_closed = np.diff(closed_first) - 1

    closed_before = np.concatenate(([0], np.cumsum(~is_open)))
    merged = closed_before[at + k] - closed_before[at]
    lowest = _lowest(closed_used, closed_first, k * size - available[row_zone], row_zone, size)
    i = np.maximum(merged, lowest)
    possible = i <= np.minimum(k, nr_closed[row_zone])
    i_safe = np.where(possible, i, 0)
    j_safe = np.where(possible, k - i, 0)
    cost = closed_used[closed_first[row_zone] + i_safe] + open_used[open_first[row_zone] + j_safe]
    most = np.bincount(row_zone, weights=possible, minlength=nr_zones).astype(np.int64) - 1
    return Frontier(
        first_row=first_row,
        nr_moves=np.where(possible, cost, -1),
        nr_closed=i_safe,
        most=most,
    )


def _starts(lengths: _Counts) -> _Counts:
    """Where each segment starts, and the end of the last: shape (n + 1,)."""
    return np.concatenate(([0], np.cumsum(lengths)))


def _prefix(zone: _Counts, used: _Counts, nr_zones: int) -> tuple[_Counts, _Counts]:
    """Per zone the sums of the first 0, 1, 2 ... of `used`, and where each zone starts."""
    nr_blocks = np.bincount(zone, minlength=nr_zones)
    first_block = _starts(nr_blocks)
    first_row = first_block + np.arange(nr_zones + 1)
    row_zone = np.repeat(np.arange(nr_zones), nr_blocks + 1)
    before = np.concatenate(([0], np.cumsum(used)))
    at = np.arange(len(row_zone)) - row_zone
    return before[at] - before[first_block[row_zone]], first_row


def _lowest(
    closed_used: _Counts, closed_first: _Counts, need: _Counts, row_zone: _Counts, size: int
) -> _Counts:
    """The fewest closed blocks whose emptying frees `need` frames, one per row.

    Beyond the closed blocks of the zone where all of them together do not; 0 or less where
    none is needed.  One binary search for all zones: each zone's rising column is lifted
    above the one before it.
    """
    nr_zones = len(closed_first) - 1
    closed_zone = np.repeat(np.arange(nr_zones), np.diff(closed_first))
    i = np.arange(len(closed_zone)) - closed_first[closed_zone]
    gain = i * size - closed_used
    lift = int(gain.max(initial=0)) + 1
    found = np.searchsorted(gain + closed_zone * lift, need + row_zone * lift)
    return found - closed_first[row_zone]
