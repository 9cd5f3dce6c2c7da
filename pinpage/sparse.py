"""Leaves of few pins: the rows of a radix tree, laid over one another in one table.

A leaf with one slot per frame of its pageblock wastes all but a few of 512 slots when its
pins are scattered.  So sparse leaves share one table: the row of a block starts at a place
computed from the block's number, rows overlap, and a slot says whose it is.  Where two rows
want the same slot, the later one takes the next (linear probing).  This is the row
displacement of Tarjan and Yao ("Storing a sparse table", 1979), found by hashing
instead of by search.  A block stays one contiguous window, so scanning it reads 512 slots
and a bit; a whole column of scattered pfns is looked up and stored by a handful of numpy
calls.

Inside its row a frame's slot is its offset times an odd number: neighbours in memory are
not neighbours in the row, or runs would pile up on runs.

Owns:    (pfn -> tag, value) for the frames of sparse blocks; one record per frame.
Ignores: which blocks are sparse, second pins of a frame, locks.
Cost:    point operations about 1.5 slots; batches 20..40 ns per pfn; 20 bytes per slot and
         1.6 to 5 slots per record.
Kernel counterpart: none.  The 2013 patch hashed pfns into 1024 chains, which had to be
         walked in full; the xarray pays a node of 64 slots for a lone entry.
"""

import numpy as np
from numpy.typing import NDArray

from pinpage.errors import require
from pinpage.units import PAGEBLOCK_NR_PAGES, PAGEBLOCK_ORDER, Mask, Pfns

__all__ = ["NO_TAG", "SparseTable"]

NO_TAG = -1
"""The tag of no pin."""

_EMPTY = -1
_FIRST_WIDTH = 4
_ROW_MULTIPLIER = 0x9E3779B1  # 2**32 / golden ratio: spreads consecutive blocks evenly
_SLOT_MULTIPLIER = 181  # odd, near 512 / golden ratio**2.2: spreads neighbours in a row
_ROW_MASK = PAGEBLOCK_NR_PAGES - 1
_KEPT_BITS = 14  # a table of this size is not worth shrinking: coming and going would thrash
_TAIL_NR_SLOTS = 256  # room for the last rows to spill into; a full tail grows the table

_View = tuple["memoryview[int]", "memoryview[int]", "memoryview[int]", int]


class SparseTable:
    """An open-addressed table of (pfn, tag, value) in which a pageblock is a window.

    A removed record keeps its pfn and loses its tag; its slot serves the next record that
    passes by.  `view` bundles the columns, so that a reader without the lock sees columns
    that belong together; whether they are still true is for its sequence count to say.

    Invariants, run by `check`:
        S1 a live record is found by probing from its home slot.
        S2 `nr_live` and `nr_used` count the live and the not-empty slots.
        S3 no live record is further than `reach` from its home slot.
        S4 the last slot is empty, so that every probe ends.
    """

    def __init__(self, *, min_bits: int = 9) -> None:
        """`min_bits`: log2 of the slots (rows' ends not counted) of the smallest table."""
        self._min_bits = min_bits
        self.nr_probes = 0
        self.nr_rebuilds = 0
        self._allocate(min_bits)

    def _allocate(self, bits: int) -> None:
        nr_slots = (1 << bits) + PAGEBLOCK_NR_PAGES + _TAIL_NR_SLOTS
        self._bits = bits
        self._limit = (1 << bits) * 5 // 8
        self.keys: Pfns = np.full(nr_slots, _EMPTY, dtype=np.int64)
        self.tags: NDArray[np.int32] = np.full(nr_slots, NO_TAG, dtype=np.int32)
        self.values: NDArray[np.int64] = np.zeros(nr_slots, dtype=np.int64)
        self.nr_live = 0
        self.nr_used = 0
        self.reach = 0
        columns = memoryview(self.keys), memoryview(self.tags), memoryview(self.values)
        self.view: _View = (*columns, 32 - bits)

    # One frame.

    def find(self, pfn: int) -> int:
        """The slot of the frame's record, or -1.  Safe without the lock."""
        keys, tags, _, shift = self.view
        slot = ((pfn >> 9) * 0x9E3779B1 & 0xFFFFFFFF) >> shift
        slot += pfn * 181 & 511
        while (key := keys[slot]) != pfn:
            if key == -1:
                return -1
            self.nr_probes += 1
            slot += 1
        return slot if tags[slot] >= 0 else -1

    def get(self, pfn: int) -> tuple[int, int] | None:
        """(tag, value) of the frame's record, or None.  Safe without the lock."""
        _, tags, values, _ = view = self.view
        slot = self.find(pfn)
        if slot < 0 or view is not self.view:
            return None  # a table that was replaced meanwhile fails the reader's sequence check
        return tags[slot], values[slot]

    def put(self, pfn: int, tag: int, value: int) -> bool:
        """Store a record; False (and nothing stored) when the frame has one."""
        keys, tags, values, shift = self.view
        slot = home = (((pfn >> 9) * 0x9E3779B1 & 0xFFFFFFFF) >> shift) + (pfn * 181 & 511)
        free = -1
        while (key := keys[slot]) != -1:
            if tags[slot] < 0:
                if free < 0:
                    free = slot
            elif key == pfn:
                return False
            slot += 1
        if free < 0:
            if self.nr_used >= self._limit or slot + 1 >= len(keys):
                self._rebuild(slot + 1 if slot + 1 >= len(keys) else 1)
                return self.put(pfn, tag, value)
            self.nr_used += 1
            free = slot
        keys[free] = pfn
        values[free] = value
        tags[free] = tag
        self.nr_live += 1
        if free - home > self.reach:
            self.reach = free - home
        return True

    def discard(self, pfn: int, tag: int, value: int) -> bool:
        """Drop the frame's record; False (and nothing dropped) when it is another or none."""
        slot = self.find(pfn)
        _, tags, values, _ = self.view
        if slot < 0 or tags[slot] != tag or values[slot] != value:
            return False
        tags[slot] = NO_TAG
        self.nr_live -= 1
        if self._bits > _KEPT_BITS and self.nr_live < 1 << (self._bits - 6):
            self._rebuild(0)
        return True

    # Many frames.

    def find_many(self, pfns: Pfns) -> NDArray[np.int64]:
        """The slot of each frame's record or -1, shape (n,)."""
        keys = self.keys
        slots = self._homes(pfns)
        seen = keys[slots]
        todo = ((seen != pfns) & (seen != _EMPTY)).nonzero()[0]
        width = _FIRST_WIDTH
        slots[todo] += 1
        while todo.size:  # ever wider windows: few rounds, though some chains are long
            window = keys[self._windows(slots[todo], width)]
            ends = (window == pfns[todo, None]) | (window == _EMPTY)
            todo = self._advance(slots, todo, ends)
            width *= 4
        live = (keys[slots] == pfns) & (self.tags[slots] >= 0)
        return np.where(live, slots, -1)

    def put_many(self, pfns: Pfns, tags: NDArray[np.int32], values: NDArray[np.int64]) -> None:
        """Store a record for each of several distinct frames that have none."""
        if self.nr_used + len(pfns) > self._limit:
            self._rebuild(len(pfns))
        homes = self._homes(pfns)
        slots = homes.copy()
        todo = self._settle(np.arange(len(pfns)), slots, pfns, tags, values)
        width = _FIRST_WIDTH
        while todo.size:
            taken = todo
            while taken.size:  # find each a free slot; which of several gets it, `_settle` says
                ends = self.tags[self._windows(slots[taken], width)] < 0
                taken = self._advance(slots, taken, ends)
                width *= 4
            if int(slots[todo].max()) + 1 >= len(self.keys):
                self._rebuild(len(self.keys))
                self.put_many(pfns[todo], tags[todo], values[todo])
                return
            todo = self._settle(todo, slots, pfns, tags, values)
            width = _FIRST_WIDTH
        self.reach = max(self.reach, int((slots - homes).max(initial=0)))

    def _windows(self, slots: NDArray[np.int64], width: int) -> NDArray[np.int64]:
        """The slots from each of `slots` on, shape (n, width); past the end, the last (empty) one."""
        windows: NDArray[np.int64] = slots[:, None] + np.arange(width)
        return np.minimum(windows, len(self.keys) - 1, out=windows)

    def _advance(
        self, slots: NDArray[np.int64], todo: NDArray[np.int64], ends: Mask
    ) -> NDArray[np.int64]:
        """Move `slots[todo]` to the first end in their windows, or past them; returns the latter."""
        steps = ends.argmax(axis=1)
        found = ends[np.arange(len(todo)), steps]
        steps[~found] = ends.shape[1]
        self.nr_probes += int(steps.sum())
        slots[todo] = np.minimum(slots[todo] + steps, len(self.keys) - 1)
        return todo[~found]

    def _settle(
        self,
        todo: NDArray[np.int64],
        slots: NDArray[np.int64],
        pfns: Pfns,
        tags: NDArray[np.int32],
        values: NDArray[np.int64],
    ) -> NDArray[np.int64]:
        """Store what finds its slot free; returns the rest.

        Where several want one slot, the last write stays, and reading back tells who.
        """
        at = slots[todo]
        free = self.tags[at] < 0
        who, where = todo[free], at[free]
        was_empty = self.keys[where] == _EMPTY
        self.keys[where] = pfns[who]
        won = self.keys[where] == pfns[who]
        self.nr_used += int(np.count_nonzero(was_empty & won))
        if not won.all():
            who, where = who[won], where[won]
        self.values[where] = values[who]
        self.tags[where] = tags[who]
        self.nr_live += len(who)
        free[free] = won
        return todo[~free]

    def remove_many(self, slots: NDArray[np.int64]) -> None:
        """Drop the records in distinct slots that `find_many` returned."""
        self.tags[slots] = NO_TAG
        self.nr_live -= len(slots)
        if self._bits > _KEPT_BITS and self.nr_live < 1 << (self._bits - 6):
            self._rebuild(0)

    # Scans.

    def in_block(self, block: int) -> NDArray[np.int64]:
        """The slots of a block's records, in no particular order."""
        start = (block * _ROW_MULTIPLIER & 0xFFFFFFFF) >> (32 - self._bits)
        window = slice(start, start + PAGEBLOCK_NR_PAGES + self.reach)
        mine = (self.keys[window] >> PAGEBLOCK_ORDER == block) & (self.tags[window] >= 0)
        slots: NDArray[np.int64] = mine.nonzero()[0]
        slots += start
        return slots

    def in_span(self, start: int, stop: int) -> NDArray[np.int64]:
        """The slots of all records of frames in [start, stop), by reading the whole table."""
        return np.flatnonzero((self.tags >= 0) & (self.keys >= start) & (self.keys < stop))

    # Growth.

    def _homes(self, pfns: Pfns) -> NDArray[np.int64]:
        rows = ((pfns >> PAGEBLOCK_ORDER) * _ROW_MULTIPLIER & 0xFFFFFFFF) >> (32 - self._bits)
        return rows + (pfns * _SLOT_MULTIPLIER & _ROW_MASK)

    def _rebuild(self, nr_more: int) -> None:
        """Into a fresh table that is at most 2/5 full with `nr_more` further records."""
        live = np.flatnonzero(self.tags >= 0)
        keys, tags, values = self.keys[live], self.tags[live], self.values[live]
        bits = self._min_bits
        while (len(live) + nr_more) * 5 > (1 << bits) * 2:
            bits += 1
        self.nr_rebuilds += 1
        self._allocate(bits)
        self.put_many(keys, tags, values)

    def check(self) -> None:
        """Run S1..S4.

        Raises:
            InvariantError: one does not hold.
        """
        live = np.flatnonzero(self.tags >= 0)
        found = self.find_many(self.keys[live])
        require(np.array_equal(found, live), "S1 a live record that probing does not find")
        require(len(live) == self.nr_live, "S2 live records", counted=len(live), kept=self.nr_live)
        nr_used = int(np.count_nonzero(self.keys != _EMPTY))
        require(nr_used == self.nr_used, "S2 used slots", counted=nr_used, kept=self.nr_used)
        reach = int((live - self._homes(self.keys[live])).max(initial=0))
        require(reach <= self.reach, "S3 a record out of reach", farthest=reach, reach=self.reach)
        require(self.keys[-1] == _EMPTY, "S4 the last slot is taken")
