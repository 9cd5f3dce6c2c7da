"""Which memory blocks go, alone and together: for certain, and at most.

For certain   free frames are enough, and huge pages in use have free ones to go to, or wholly
              free pageblocks that nobody else can have taken by then
at most       as if all had been given up that can be, and compaction made a huge page of every
              pageblock in which nothing is stuck

Why blocks chosen for certain all go, in their order.  Where pages of one rest meanwhile does
not matter: in the end each is outside of all of them, and what has come to lie in one that
goes later was paid for by it.  So all that they need together must be there outside of them
together, at each step for those up to it, and each sum only grows.  What leaves a kernel zone
stays in kernel zones; what leaves ZONE_MOVABLE may fill these, so it goes after.  Marks of
zones that stay grow as memory goes, by no more than memory shrinks.

Why no more than the bound go: one of them goes first, as marks are now; each sum over k blocks
is at least that of its k least ones, and marks shrink by no more than what they follow: a
zone's reserve against those above it shrinks as these do, so a block may go after another that
does not go before it.  For certain nothing is counted of that.  Attempts that fail leave pages
elsewhere than they were; `_may_go` says what that can come to.

Up to `MOST_TRIED` blocks, where huge pages in use make it a knapsack, every set of blocks is
looked at instead, so the choice is a largest one.

Kernel counterpart: none.
Cost: O(blocks log blocks), and O(kernel blocks x movable blocks) for the bound.
"""

import numpy as np
from attrs import evolve, fields, frozen
from numpy.typing import NDArray

from mm.hotplug.needs import BlockNeeds, ZoneSpace
from mm.planning.ranges import RangeCounts
from pinpage.units import Mask

__all__ = ["MOST_TRIED", "Alone", "alone", "bound_of", "choose_certain", "may_go_later"]

MOST_TRIED = 12
"""Blocks of which every set is tried where huge pages in use are in them."""

_Rows = NDArray[np.int64]


@frozen(eq=False)
class Alone:
    """Whether each block goes by itself; one row each, right where nothing is stuck in it.

    Attributes:
        has_space: what leaves it has a free frame for each, and it needs a huge page or not.
        has_huge_pages: each huge page in use has one to go to.
    """

    has_space: Mask
    has_huge_pages: Mask

    @property
    def goes(self) -> Mask:
        """Both."""
        return self.may_go(with_swap=False)

    def may_go(self, *, with_swap: bool) -> Mask:
        """Both, or there is room for as long as swap lasts."""
        both: Mask = self.has_huge_pages & (self.has_space | with_swap)
        return both


def alone(needs: BlockNeeds, *, for_certain: bool) -> Alone:
    """Whether each block goes by itself.

    Args:
        needs: what blocks need and what there is.
        for_certain: without compaction, frames of per-CPU lists, or a zone that a huge page
            happens to come from.
    """
    if not for_certain:
        return _at_most(needs, nr_beside=needs.nr_beside, space=_space_alone(needs))
    zones, size = needs.zones, needs.nr_pages_per_block
    nr_fresh, is_there = _huge_alone(needs)
    nr_small = needs.nr_moves + nr_fresh * size + _listed(needs)
    spare = (zones.nr_free - zones.movable_mark)[:, None] - _of_zones(needs, needs.nr_lent)
    nr_empty = zones.nr_empty[:, None] - _of_zones(needs, needs.nr_empty)
    nr_to_have = np.minimum(nr_empty, np.maximum(spare, 0) // size).sum(axis=0)
    has_space = (nr_small <= _space_alone(needs)) | (needs.nr_moves == 0)
    return Alone(has_space, is_there & (nr_fresh <= nr_to_have))


def _at_most(needs: BlockNeeds, *, nr_beside: int, space: _Rows, nr_dissolved: int = 0) -> Alone:
    """Whether each block goes by itself, if compaction makes every huge page that it may.

    Args:
        needs: what blocks need and what there is.
        nr_beside: fresh huge pages that ZONE_MOVABLE may have room for.
        space: free frames that what leaves each block may have.
        nr_dissolved: free huge pages that are small ones by then.
    """
    size = needs.nr_pages_per_block
    nr_fresh, is_there = _huge_alone(needs)
    nr_elsewhere = np.where(needs.in_movable, 0, nr_beside) + nr_dissolved
    nr_small = needs.nr_moves + np.maximum(nr_fresh - nr_elsewhere, 0) * size
    nr_to_have = int(needs.zones.nr_clearable.sum()) - needs.nr_clearable + nr_dissolved
    space = space + _within_gigantic(needs) + nr_dissolved * size
    return Alone(nr_small <= space, is_there & (nr_fresh <= nr_to_have))


def _huge_alone(needs: BlockNeeds) -> tuple[_Rows, Mask]:
    """Fresh huge pages that each block needs, and whether gigantic ones have one to go to."""
    nr_fresh = np.zeros(len(needs.zone), dtype=np.int64)
    is_there = np.ones(len(needs.zone), dtype=np.bool_)
    for huge in needs.huge:
        short = huge.used - (huge.nr_free - huge.free)
        if huge.is_gigantic:
            is_there &= short <= 0
        else:
            nr_fresh += np.maximum(short, 0)
    return nr_fresh, is_there


def _of_zones(needs: BlockNeeds, column: _Rows) -> _Rows:
    """What each block has, in the row of its zone: shape (nr_zones, nr_blocks)."""
    found = np.zeros((len(needs.zones.nr_free), len(column)), dtype=np.int64)
    found[needs.zone, np.arange(len(column))] = column
    return found


def _space_alone(needs: BlockNeeds, *, stands_in: bool = False) -> _Rows:
    """Free frames outside of each block that what leaves it may have, marks kept.

    Args:
        needs: what blocks need and what there is.
        stands_in: the block's own free frames may stand for its zone's mark.
    """
    zones = needs.zones
    outside = zones.nr_free[:, None] - _of_zones(needs, needs.nr_lent)

    def above(mark: _Rows) -> _Rows:
        free = zones.nr_free[:, None] if stands_in else outside
        found: _Rows = np.maximum(np.minimum(outside, free - mark[:, None]), 0)
        return found

    for_kernel = above(zones.kernel_mark)[~zones.is_movable].sum(axis=0)
    for_movable = above(zones.movable_mark).sum(axis=0)
    found: _Rows = np.where(needs.in_movable, for_movable, for_kernel)
    return found


def _listed(needs: BlockNeeds) -> _Rows:
    """Frames that lists of other zones than its own may keep back from what leaves each block."""
    listed, is_movable = needs.zones.nr_listed, needs.zones.is_movable
    found: _Rows = np.where(needs.in_movable, listed.sum(), listed[~is_movable].sum())
    return found - listed[needs.zone]


def _within_gigantic(needs: BlockNeeds) -> int:
    """Frames that gigantic pages give back outside of a block, at most."""
    larger = [huge for huge in needs.huge if huge.nr_pages > needs.nr_pages]
    return sum((huge.nr_free + huge.nr_in_use) * huge.nr_pages for huge in larger)


# Together.


@frozen(eq=False)
class _Sums:
    """What sets of blocks need together, or at least; every column of one shape.

    Attributes:
        nr_kernel, nr_blocks: blocks of kernel zones, and all.
        moves: small pages to move.
        taken_kernel, taken: these and free frames of their own.
        huge_kernel, huge: huge pages of a pageblock, used or free.
        moved_kernel, moved, moved_huge_kernel, moved_huge: the same four of blocks that
            something has to leave: of the others no watermark is asked.
        nr_clearable, nr_empty: their pageblocks.
        gigantic: by larger size: those in use, then those in use or free.
    """

    nr_kernel: _Rows
    nr_blocks: _Rows
    moves: _Rows
    taken_kernel: _Rows
    taken: _Rows
    huge_kernel: _Rows
    huge: _Rows
    moved_kernel: _Rows
    moved: _Rows
    moved_huge_kernel: _Rows
    moved_huge: _Rows
    nr_clearable: _Rows
    nr_empty: _Rows
    gigantic: tuple[tuple[_Rows, _Rows], ...]


_PLAIN = tuple(each.name for each in fields(_Sums))[:-1]
_NR_PLAIN = len(_PLAIN)
"""Columns of the sums before those by size."""


def _columns(needs: BlockNeeds) -> _Rows:
    """What each block adds to the sums, shape (nr_columns, nr_blocks)."""
    of_kernel = (~needs.in_movable).astype(np.int64)
    taken, huge = needs.nr_moves + needs.nr_lent, np.zeros_like(needs.nr_moves)
    leaves, gigantic = needs.nr_moves > 0, []
    for one in needs.huge:
        leaves = leaves | (one.used > 0)
        if one.is_gigantic:
            gigantic += [one.used, one.used + one.free]
        else:
            huge = huge + one.used + one.free
    of_space = [taken * of_kernel, taken, huge * of_kernel, huge]
    of_each = [
        of_kernel, np.ones_like(taken), needs.nr_moves,
        *of_space, *(column * leaves for column in of_space),
        needs.nr_clearable, needs.nr_empty,
    ]  # fmt: skip
    return np.array([*of_each, *gigantic])


def _sums(columns: _Rows) -> _Sums:
    plain, larger = iter(columns[:_NR_PLAIN]), columns[_NR_PLAIN:]
    pairs = tuple(zip(larger[::2], larger[1::2], strict=True))
    return _Sums(**dict(zip(_PLAIN, plain, strict=True)), gigantic=pairs)


def choose_certain(needs: BlockNeeds, found: RangeCounts, want: int | None) -> tuple[_Rows, _Rows]:
    """The blocks that go together for certain, those that take least first.

    Args:
        needs: what blocks need and what there is now.
        found: what was counted in each.
        want: how many at once; None: as many as can go.

    Returns:
        Rows: the chosen, of kernel zones first; and those that could go, too.
    """
    goes = np.flatnonzero(found.clear & alone(needs, for_certain=True).goes)
    if want == 1:
        first = np.lexsort((found.nr_callbacks[goes], found.nr_movable[goes]))[:1]
        return goes[first], goes
    taken = needs.nr_moves + needs.nr_lent
    by_cost = goes[np.lexsort((found.nr_callbacks[goes], found.nr_movable[goes], taken[goes]))]
    if _is_knapsack(needs, goes):
        chosen = _best_of_all(needs, by_cost, want)
    else:
        scarce = sum((huge.used + huge.free for huge in needs.huge), np.zeros_like(taken))
        orders = (by_cost, by_cost[np.argsort(scarce[by_cost], kind="stable")])
        chosen = max((_greedily(needs, order) for order in orders), key=len)
    wanted = chosen if want is None else chosen[:want]
    return wanted[np.argsort(needs.in_movable[wanted], kind="stable")], chosen


def _is_knapsack(needs: BlockNeeds, rows: _Rows) -> bool:
    """Whether every set of these blocks is to be tried."""
    return len(rows) <= MOST_TRIED and any(huge.used[rows].any() for huge in needs.huge)


def _greedily(needs: BlockNeeds, order: _Rows) -> _Rows:
    """One after the other, each that goes beside those before it."""
    columns = _columns(needs)
    chosen, total = order[:1], columns[:, order[:1]].sum(axis=1, keepdims=True)
    left = order[1:]
    while len(left):  # what does not go now will not go beside more
        left = left[_is_certain(needs, _sums(total + columns[:, left]))]
        goes = _is_certain(needs, _sums(total + np.cumsum(columns[:, left], axis=1)))
        count = int(np.argmin(goes)) if not goes.all() else len(left)
        chosen, total = (
            np.concatenate([chosen, left[:count]]),
            total + columns[:, left[:count]].sum(axis=1, keepdims=True),
        )
        left = left[count + 1 :]
    return chosen


def _best_of_all(needs: BlockNeeds, by_cost: _Rows, want: int | None) -> _Rows:
    """Of all sets a largest one, up to `want`: that of which the dearest block is cheapest."""
    sets = _all_sets(len(by_cost))
    sizes = sets.sum(axis=1)
    certain = _is_certain(needs, _sums(_columns(needs)[:, by_cost] @ sets.T)) | (sizes <= 1)
    most = int(sizes[certain].max())
    most = most if want is None else min(want, most)
    first = np.flatnonzero(certain & (sizes == most))[0]  # ascending by the last block in it
    best: _Rows = by_cost[sets[first]]
    return best


def _all_sets(count: int) -> Mask:
    """Every set of `count` things, shape (2^count, count); the last thing counts most."""
    found: Mask = (np.arange(1 << count)[:, None] >> np.arange(count) & 1).astype(np.bool_)
    return found


def _is_certain(needs: BlockNeeds, sums: _Sums) -> Mask:
    """Which sets of blocks go together for certain."""
    zones, size = needs.zones, needs.nr_pages_per_block
    nr_fresh = np.maximum(sums.huge - _nr_free_huge(needs), 0)
    nr_managed = int(zones.nr_managed.sum())
    nr_left = np.maximum(nr_managed - (sums.nr_blocks - 1) * needs.nr_pages, 1)

    def spare(reserve: _Rows) -> _Rows:
        """Beside the watermark: the zone's share, at most, once there are fewer pages in all."""
        share = np.minimum(zones.nr_managed[:, None] / nr_left, 1)
        share = share * nr_managed / np.maximum(zones.nr_managed, 1)[:, None]
        grown = np.floor(zones.shared[:, None] * share).astype(np.int64)
        least = np.where(
            sums.nr_blocks > 1, np.maximum(grown, zones.min[:, None]), zones.min[:, None]
        )
        left: _Rows = np.maximum(zones.nr_free[:, None] - least - reserve[:, None], 0)
        return left

    for_kernel = spare(zones.kernel_reserve)[~zones.is_movable].sum(axis=0)
    for_movable = spare(zones.movable_reserve).sum(axis=0)
    listed_kernel, listed = zones.nr_listed[~zones.is_movable].sum(), zones.nr_listed.sum()
    certain: Mask = sums.nr_kernel == 0
    certain |= sums.taken_kernel + nr_fresh * size + listed_kernel <= for_kernel
    only_kernel = sums.nr_kernel == sums.nr_blocks
    certain &= only_kernel | (sums.taken + nr_fresh * size + listed <= for_movable)
    certain &= (nr_fresh == 0) | (nr_fresh <= _nr_empty_left(needs, sums))
    larger = (huge for huge in needs.huge if huge.is_gigantic)
    for huge, (used, either) in zip(larger, sums.gigantic, strict=True):
        certain &= (used == 0) | (either <= huge.nr_free)
    return certain


def _nr_free_huge(needs: BlockNeeds) -> int:
    """Free huge pages of a pageblock."""
    return sum(huge.nr_free for huge in needs.huge if not huge.is_gigantic)


def _nr_empty_left(needs: BlockNeeds, sums: _Sums) -> _Rows:
    """Wholly free pageblocks that small pages will not have begun to fill.

    They fill one after the other, in each zone and of each of two sources (the lists of their
    own type, and those of others); marks may keep a zone's last ones from being had.
    """
    zones, size = needs.zones, needs.nr_pages_per_block
    kept = -(-zones.movable_mark // size) + (zones.movable_mark > 0)
    nr_begun = -(-sums.moves // size) + 2 * int(np.count_nonzero(zones.is_populated))
    nr_left: _Rows = np.maximum(zones.nr_empty - kept, 0).sum() - sums.nr_empty - nr_begun
    return nr_left


# At most.


def may_go_later(needs: BlockNeeds, clear: Mask, *, with_swap: bool, come_back: bool) -> Mask:
    """Which blocks may go at some time, whatever was done with others before, at most.

    Args:
        needs: what blocks need and what there is, as if all had been given up that can be.
        clear: blocks in which nothing is stuck.
        with_swap: whether there is room for as long as swap lasts.
        come_back: others that went are back, as free memory.
    """
    eased = evolve(needs, zones=_lowest_marks(needs, clear))
    return _may_go(eased, clear, with_swap=with_swap, come_back=come_back)


def _may_go(needs: BlockNeeds, clear: Mask, *, with_swap: bool, come_back: bool) -> Mask:
    """`may_go_later`, with marks as they are in `needs`.

    After an attempt that fails, what has moved stays where it is.  So pages may have used up what
    is above the marks while a block's own free frames stood for those, and huge pages may have
    left kernel zones for ZONE_MOVABLE, which others had left before.

    Args:
        needs, clear, with_swap, come_back: as there.
    """
    up = np.where(needs.in_movable, 0, _nr_go_up(needs) * needs.nr_pages_per_block)
    one = _at_most(
        needs,
        nr_beside=_nr_in_movable(needs),
        space=_space_alone(needs, stands_in=True) + up,
        nr_dissolved=_nr_free_huge(needs) if come_back else 0,
    )
    return clear & one.may_go(with_swap=with_swap)


def _nr_go_up(needs: BlockNeeds) -> int:
    """Huge pages of a pageblock that may leave kernel zones for ZONE_MOVABLE, at most."""
    nr_in_use = sum(huge.nr_in_use for huge in needs.huge if not huge.is_gigantic)
    return min(nr_in_use, _nr_in_movable(needs))


def _nr_in_movable(needs: BlockNeeds) -> int:
    """Pageblocks of ZONE_MOVABLE that a fresh huge page may have, small pages gone elsewhere."""
    return int(needs.zones.nr_clearable[needs.zones.is_movable].sum())


def bound_of(needs: BlockNeeds, clear: Mask, *, with_swap: bool) -> int:
    """The most blocks that any strategy can have away at once.

    Args:
        needs: what blocks need and what there is, as if all had been given up that can be.
        clear: blocks in which nothing is stuck.
        with_swap: whether there is room for as long as swap lasts.
    """
    if not _may_go(needs, clear, with_swap=with_swap, come_back=False).any():
        return 0  # there is no first one
    rows = np.flatnonzero(may_go_later(needs, clear, with_swap=with_swap, come_back=False))
    if _is_knapsack(needs, rows):
        least = _exactly(needs, _sums(_columns(needs)[:, rows] @ _all_sets(len(rows)).T))
    else:
        least = _at_least(needs, rows)
    could = _could(needs, rows, least, with_swap=with_swap)
    return max(1, int(least.nr_blocks[could].max(initial=0)))


@frozen(eq=False)
class _Least:
    """What sets of blocks need at least, each sum by itself; all of one shape.

    Attributes:
        nr_kernel, nr_blocks: blocks of kernel zones, and all.
        spaces: frames taken from kernel zones, and from all; then with huge pages, likewise.
        moved_spaces: the same of blocks that something has to leave.
        pageblocks: huge pages, and pageblocks that a fresh one could have had.
        gigantic: of each larger size.
    """

    nr_kernel: _Rows
    nr_blocks: _Rows
    spaces: tuple[_Rows, ...]
    moved_spaces: tuple[_Rows, ...]
    pageblocks: _Rows
    gigantic: tuple[_Rows, ...]


def _exactly(needs: BlockNeeds, sums: _Sums) -> _Least:
    """What these sets need."""
    size = needs.nr_pages_per_block

    def spaces(kernel: _Rows, both: _Rows, huge_kernel: _Rows, huge: _Rows) -> tuple[_Rows, ...]:
        return kernel, both, kernel + huge_kernel * size, both + huge * size

    return _Least(
        sums.nr_kernel,
        sums.nr_blocks,
        spaces(sums.taken_kernel, sums.taken, sums.huge_kernel, sums.huge),
        spaces(sums.moved_kernel, sums.moved, sums.moved_huge_kernel, sums.moved_huge),
        sums.huge + sums.nr_clearable,
        tuple(either for _, either in sums.gigantic),
    )


def _at_least(needs: BlockNeeds, rows: _Rows) -> _Least:
    """What so many blocks of kernel zones and so many of ZONE_MOVABLE need, whichever they are."""
    in_movable = needs.in_movable[rows]
    each = _exactly(needs, _sums(_columns(needs)[:, rows]))

    def least(column: _Rows) -> _Rows:
        kernel, movable = (
            np.concatenate(([0], np.cumsum(np.sort(column[which]))))
            for which in (~in_movable, in_movable)
        )
        sums: _Rows = (kernel[:, None] + movable[None, :]).reshape(-1)
        return sums

    ones = np.ones(len(rows), dtype=np.int64)
    return _Least(
        least(ones * ~in_movable),
        least(ones),
        tuple(least(column) for column in each.spaces),
        tuple(least(column) for column in each.moved_spaces),
        least(each.pageblocks),
        tuple(least(column) for column in each.gigantic),
    )


def _could(needs: BlockNeeds, rows: _Rows, least: _Least, *, with_swap: bool) -> Mask:
    """Which sets nothing that is known keeps from being away."""
    zones = needs.zones
    could: Mask = least.pageblocks <= _nr_free_huge(needs) + zones.nr_clearable.sum()
    larger = (huge for huge in needs.huge if huge.is_gigantic)
    for huge, either in zip(larger, least.gigantic, strict=True):
        could &= (either <= huge.nr_free) | (huge.nr_pages > needs.nr_pages)
    if with_swap:
        return could
    # In the end all that has left is outside; while it leaves marks are kept, too.
    back, of_kernel = _within_gigantic(needs), zones.nr_free[~zones.is_movable].sum()
    up = back + _nr_go_up(needs) * needs.nr_pages_per_block
    space = of_kernel + up, zones.nr_free.sum() + back
    could &= _fits(needs, least, least.spaces, space)
    kernel, both = _most_space(needs, rows, least)
    space = kernel + up, both + back
    return could & _fits(needs, least, least.moved_spaces, space)


def _fits(
    needs: BlockNeeds, least: _Least, taken: tuple[_Rows, ...], space: tuple[_Rows, _Rows]
) -> Mask:
    """Whether kernel zones have room for their own blocks, and all zones for all.

    Args:
        needs: what there is.
        least: the sets of blocks.
        taken: what they take: a `spaces` of `least`.
        space: frames that kernel zones have for them, and all zones.
    """
    size, nr_free = needs.nr_pages_per_block, _nr_free_huge(needs)
    kernel, both, huge_kernel, huge = taken
    of_kernel, of_all = space
    elsewhere = (nr_free + _nr_in_movable(needs)) * size
    fits: Mask = (kernel <= of_kernel) & (huge_kernel - elsewhere <= of_kernel)
    fits |= least.nr_kernel == 0
    fits &= (least.nr_kernel == least.nr_blocks) | (
        (both <= of_all) & (huge - nr_free * size <= of_all)
    )
    return fits


def _most_space(needs: BlockNeeds, rows: _Rows, least: _Least) -> tuple[_Rows, _Rows]:
    """What kernel zones, and all zones, have for sets of blocks, marks kept, at most."""
    zones = needs.zones
    kernel = _space_in(needs, rows, ~zones.is_movable, zones.kernel_reserve, least)
    below = _space_in(needs, rows, ~zones.is_movable, zones.movable_reserve, least)
    above = _space_in(needs, rows, zones.is_movable, zones.movable_reserve, least)
    return kernel, np.where(least.nr_kernel > 0, kernel, below) + above


def _space_in(needs: BlockNeeds, rows: _Rows, which: Mask, reserve: _Rows, sets: _Least) -> _Rows:
    """Frames of these zones that sets of blocks can take, their own included, at most.

    A zone that is left entirely keeps nothing back, and what one keeps shrinks with it.

    Args:
        needs: what there is.
        rows: the blocks that may go.
        which: the zones: kernel zones, or ZONE_MOVABLE.
        reserve: what is kept beside the watermark, by zone.
        sets: how many blocks each has.
    """
    zones, nr_kernel, nr_blocks = needs.zones, sets.nr_kernel, sets.nr_blocks
    nr_before = np.maximum(nr_blocks - 1, 0)  # when the last one goes
    most = np.zeros_like(nr_blocks)
    for zone in np.flatnonzero(which & zones.is_populated).tolist():
        mine = np.sort(needs.nr_lent[rows[needs.zone[rows] == zone]])[::-1]
        nr_mine = nr_blocks - nr_kernel if zones.is_movable[zone] else nr_kernel
        nr_gone = np.minimum(np.minimum(nr_mine, nr_before), len(mine)) * needs.nr_pages
        least = _least_min(needs, zone, nr_gone, np.minimum(nr_kernel, nr_before), nr_before)
        least += _least_reserve(needs, zone, reserve, nr_before)
        spare = zones.nr_free[zone] - least
        lent = np.concatenate(([0], np.cumsum(mine)))[np.minimum(nr_mine, len(mine))]
        most += np.maximum(spare, 0) + np.clip(lent - spare, 0, least)
    return most


def _lowest_marks(needs: BlockNeeds, clear: Mask) -> ZoneSpace:
    """The zones, with marks as what leaves one of these blocks finds them when it goes last."""
    zones = needs.zones
    nr_before = max(int(np.count_nonzero(clear)) - 1, 0)
    nr_kernel = min(int(np.count_nonzero(clear & ~needs.in_movable)), nr_before)
    nr_mine = np.bincount(needs.zone[clear], minlength=len(zones.nr_free))
    nr_gone = np.minimum(nr_mine, nr_before) * needs.nr_pages
    rows = range(len(zones.nr_free))
    return evolve(
        zones,
        min=np.array([_least_min(needs, row, nr_gone[row], nr_kernel, 0) for row in rows]),
        kernel_reserve=_least_reserve(needs, slice(None), zones.kernel_reserve, nr_before),
        movable_reserve=_least_reserve(needs, slice(None), zones.movable_reserve, nr_before),
    )


def _least_reserve(
    needs: BlockNeeds, zone: int | slice, reserve: _Rows, nr_blocks: _Rows | int
) -> _Rows:
    """What a zone reserves, at least, once memory has lost these blocks.

    Args:
        needs: what there is.
        zone: its row, or those of several.
        reserve: what each zone reserves now.
        nr_blocks: blocks gone, of any zones: those above it may be among them.
    """
    ratio = np.maximum(needs.zones.reserve_ratio[zone], 1)
    least: _Rows = np.maximum(reserve[zone] - -(-nr_blocks * needs.nr_pages // ratio), 0)
    return least


def _least_min(
    needs: BlockNeeds, zone: int, nr_gone: _Rows, nr_kernel: _Rows | int, nr_blocks: _Rows | int
) -> _Rows:
    """A zone's min watermark, at least, once it has lost these pages, and memory these blocks.

    It is the zone's share of all memory in what is kept in all: that follows the square root
    of kernel memory, or stays.  Two pages for rounding.
    """
    zones = needs.zones
    in_all = int(zones.nr_managed.sum())
    in_kernel = max(int(zones.nr_managed[~zones.is_movable].sum()), 1)
    kept = np.sqrt(np.maximum(in_kernel - nr_kernel * needs.nr_pages, 0) / in_kernel)
    share = np.maximum(zones.nr_managed[zone] - nr_gone, 0) / max(int(zones.nr_managed[zone]), 1)
    grown = in_all / np.maximum(in_all - nr_blocks * needs.nr_pages, 1)
    least = np.minimum(zones.shared[zone] * kept * share * grown, zones.min[zone])
    found: _Rows = np.maximum(least.astype(np.int64) - 2, 0)
    return found
