"""The free blocks of one order, by place in a search: what a look at a free list finds.

A search of a list wants a few blocks from where the last one stopped, not the list.  So a
picture of it is kept, a row for each pageblock, and brought up to date from the pageblocks
that have changed since (`FreeArea.changed_since`).  Between two such looks the picture stays
as it is, whatever happens to the list: a search goes through the blocks that were there
when it began.

Cost: `look` O(pageblocks that changed); `after` and `before` O(blocks that are found), and a
byte for each pageblock that is passed over on the way to them.  The first look, and one that
the record of changes does not reach back to, cost O(frames of the pageblocks on the list).
"""

from collections.abc import Iterator

import numpy as np
from attrs import frozen

from mm.buddy.buddy import Buddy
from mm.state.pageblock import MigrateType
from pinpage.units import Mask, Pfns

__all__ = ["ListedHeads"]

_FIRST_STRETCH = 64
_BLOCKS_AT_ONCE = 16
_DRAWN_AT_ONCE = 1024
_NONE: Pfns = np.zeros(0, dtype=np.int64)


@frozen
class _Part:
    """Blocks that are met one after the other: the near ones or the far ones in [low, high).

    Attributes:
        near: which.
        low, high: pfns.
        downward: whether the highest pfn is met first.
    """

    near: bool
    low: int
    high: int
    downward: bool


class ListedHeads:
    """A picture of the MOVABLE list of one zone and order.

    Blocks of which `is_near` says so are met first, the highest first; then the others upward.
    The place of a near block is `far` less its pfn, that of another `far` plus its pfn.

    Attributes:
        nr_heads: free blocks on the list when it was looked at.
        nr_seen: list entries, and frames that could be some, looked at so far: the work done.
    """

    def __init__(self, zone: int, order: int, is_near: Mask) -> None:
        """Nothing is known yet.

        Args:
            zone: index of the zone.
            order: of the blocks.
            is_near: bool (nr_frames,), by head; does not change.
        """
        self.nr_heads = 0
        self.nr_seen = 0
        self._zone = zone
        self._order = order
        self._is_near = is_near
        self._far = len(is_near)
        self._mark = -1
        self._first = 0
        self._rows: Mask = np.zeros((0, 1), dtype=np.bool_)
        self._has: tuple[Mask, Mask] = (self._rows[:, 0], self._rows[:, 0])  # far ones, near ones

    def look(self, buddy: Buddy) -> None:
        """Bring the picture up to date."""
        area = buddy.area
        changed = area.changed_since(self._mark)
        self._mark = area.nr_changes
        self._size = buddy.pageblocks.nr_pages_per_block
        self._step = min(1 << self._order, self._size)
        if changed is not None:
            blocks = np.array(changed, dtype=np.int64) - self._first
            if not len(blocks) or (blocks.min() >= 0 and blocks.max() < len(self._rows)):
                self._redraw(buddy, blocks)
                return
        self._draw_anew(buddy)

    def _draw_anew(self, buddy: Buddy) -> None:
        mine = buddy.area.blocks_of_zone(self._zone)
        self._first = int(mine[0]) if len(mine) else 0
        nr_blocks = int(mine[-1]) + 1 - self._first if len(mine) else 0
        self._rows = np.zeros((nr_blocks, self._size // self._step), dtype=np.bool_)
        self._has = (np.zeros(nr_blocks, dtype=np.bool_), np.zeros(nr_blocks, dtype=np.bool_))
        self.nr_heads = 0
        listed = buddy.area.blocks_on(self._zone, MigrateType.MOVABLE, self._order)
        for at in range(0, len(listed), _DRAWN_AT_ONCE):
            few = np.array(listed[at : at + _DRAWN_AT_ONCE], dtype=np.int64)
            self._redraw(buddy, few - self._first)

    def _redraw(self, buddy: Buddy, blocks: Pfns) -> None:
        """Look at these pageblocks, given from the first of the zone on."""
        if not len(blocks):
            return
        orders = buddy.frames.order
        pfns = self._heads_of(blocks)
        self.nr_seen += pfns.size
        inside = np.minimum(pfns, len(orders) - 1)
        rows = (orders[inside] == self._order) & (pfns < len(orders))
        on = buddy.area.are_on(blocks + self._first, self._zone, MigrateType.MOVABLE)
        rows &= on[:, None]
        near = self._is_near[inside]
        self.nr_heads += int(np.count_nonzero(rows)) - int(np.count_nonzero(self._rows[blocks]))
        self._rows[blocks] = rows
        for which, has in enumerate(self._has):
            has[blocks] = (rows & (near == bool(which))).any(axis=1)

    def _heads_of(self, blocks: Pfns) -> Pfns:
        starts = (blocks + self._first) * self._size
        heads: Pfns = starts[:, None] + np.arange(0, self._size, self._step)
        return heads

    def place(self, heads: Pfns) -> Pfns:
        """Where free blocks stand on the list."""
        return np.where(self._is_near[heads], self._far - heads, self._far + heads)

    def after(self, place: int, count: int) -> Pfns:
        """Up to `count` blocks from this place on, and once round.

        Args:
            place: place in the search's order.
            count: how many, at most.
        """
        return self._walk(self._round_from(place), count)

    def before(self, place: int, count: int) -> Pfns:
        """Up to `count` blocks from before this place on towards the front, and once round.

        Args:
            place: place in the search's order.
            count: how many, at most.
        """
        parts = self._round_from(place)
        back = [_Part(part.near, part.low, part.high, not part.downward) for part in parts]
        return self._walk(back[::-1], count)

    def _round_from(self, place: int) -> list[_Part]:
        """The parts of the list from a place on, and once round."""
        far = self._far
        if place <= far:  # among the near ones, of which those up to here are met first
            border = far - place + 1
            return [
                _Part(True, 0, border, True), _Part(False, 0, far, False),
                _Part(True, border, far, True),
            ]  # fmt: skip
        border = min(place - far, far)
        return [
            _Part(False, border, far, False), _Part(True, 0, far, True),
            _Part(False, 0, border, False),
        ]  # fmt: skip

    def _walk(self, parts: list[_Part], count: int) -> Pfns:
        found: list[Pfns] = []
        count = min(count, self.nr_heads)
        for part in parts:
            for heads in self._met_in(part) if count > 0 else ():
                found.append(heads[:count])
                count -= len(found[-1])
                if count <= 0:
                    break
        return np.concatenate(found) if found else _NONE

    def _met_in(self, part: _Part) -> Iterator[Pfns]:
        """The blocks of a part as they are met, some at a time."""
        for blocks in self._holders(part):
            pfns = self._heads_of(blocks)
            chosen = self._rows[blocks] & (pfns >= part.low) & (pfns < part.high)
            heads = pfns[chosen]
            heads = heads[self._is_near[heads] == part.near]
            self.nr_seen += len(heads)
            yield heads[::-1] if part.downward else heads

    def _holders(self, part: _Part) -> Iterator[Pfns]:
        """The pageblocks that have some of a part, ascending within each few."""
        has = self._has[part.near]
        low = max(part.low // self._size - self._first, 0)
        high = min(-(-part.high // self._size) - self._first, len(has))
        length = _FIRST_STRETCH
        while low < high:
            if part.downward:
                start, stop = max(high - length, low), high
                high = start
            else:
                start, stop = low, min(low + length, high)
                low = stop
            blocks = np.flatnonzero(has[start:stop]) + start
            for at in range(0, len(blocks), _BLOCKS_AT_ONCE):
                if part.downward:
                    yield blocks[max(len(blocks) - at - _BLOCKS_AT_ONCE, 0) : len(blocks) - at]
                else:
                    yield blocks[at : at + _BLOCKS_AT_ONCE]
            length *= 2
