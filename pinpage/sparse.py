"""Leaves of few pins: the rows of a radix tree, laid over one another in one table.

A leaf with one slot per frame of its pageblock wastes all but a few of 512 slots when its
pins are scattered.  So sparse leaves share one table: the row of a block starts at a place
computed from the block's number, rows overlap, and a slot says whose it is.  Where two rows
want the same slot, the later one takes the next (linear probing).  This is the row
displacement of Tarjan and Yao ("Storing a sparse table", 1979), found by hashing
instead of by search.  A block stays one contiguous window, so scanning it reads 512 slots
and a bit; a whole column of scattered pfns is looked up and stored by a handful of numpy
calls.

A slot is two words side by side: pfn and tag in one (what a probe needs), the value in the
other, so that a record costs one cache miss.  A *place* is the index of a slot's first word.

Inside its row a frame's slot is its offset times an odd number: neighbours in memory are
not neighbours in the row, or runs would pile up on runs.

Where each row starts is written down, once per size of the table: half the time that
computing it takes.  For most frames without a record the rest is one look at an empty slot.

Owns:    (pfn -> tag, value) for the frames of sparse blocks; one record per frame.
Ignores: which blocks are sparse, second pins of a frame, locks.
Cost:    point operations about 1.2 slots, each one cache line; columns 20..60 ns per pfn;
         16 bytes per slot and 3 to 6 slots per record (emptiness keeps probes short), and
         4 bytes per block of the node.
Kernel counterpart: none.  The 2013 patch hashed pfns into 1024 chains, which had to be
         walked in full; the xarray pays a node of 64 slots for a lone entry.
"""

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from pinpage.errors import require
from pinpage.units import PAGEBLOCK_NR_PAGES, PAGEBLOCK_ORDER, Mask, Pfns, Span

__all__ = ["MAX_NR_FRAMES", "NO_TAG", "NR_TAG_BITS", "Located", "SparseTable"]

NO_TAG = -1
"""The tag of no pin."""
NR_TAG_BITS = 24
"""Bits of a slot's first word that hold the tag; the pfn has the other 39 below the sign."""
MAX_NR_FRAMES = 1 << (63 - NR_TAG_BITS)
"""Frames that a table can tell apart (2 PiB of them)."""

_EMPTY = -1  # no record was ever here: a probe ends
_DEAD = -2  # a record was here: a probe goes on.  Both have pfn -1.
_TAG_MASK = (1 << NR_TAG_BITS) - 1
_BLOCK_SHIFT = NR_TAG_BITS + PAGEBLOCK_ORDER
_ROW_MULTIPLIER = 0x9E3779B1  # 2**32 / golden ratio: spreads consecutive blocks evenly
_SLOT_MULTIPLIER = 181  # odd: spreads neighbours over their row
_ROW_MASK = PAGEBLOCK_NR_PAGES - 1
_NR_SINGLE_STEPS = 3  # of a hundred frames two need more
_FIRST_WIDTH = 8
_MOST_NR_SINGLES = 32  # rows, below which one by one is quicker than columns
_REBUILD_NR_PINS = 1 << 16  # at a time: what such a piece needs fits a cache
_KEPT_BITS = 14  # a table of this size is not worth shrinking: coming and going would thrash
_TAIL_NR_SLOTS = 256  # room for the last rows to spill into; a full tail grows the table


@frozen(eq=False)
class Located:
    """Where the records of some frames are, or would go; true until the next change.

    Attributes:
        homes: the places where probing started, int64[n].
        places: where it ended: at the frame's record, or else at an empty slot.
        is_there: whether the slot holds the frame's record, bool[n].
    """

    homes: NDArray[np.int64]
    places: NDArray[np.int64]
    is_there: Mask


class SparseTable:
    """An open-addressed table of (pfn, tag, value) in which a pageblock is a window.

    `view` bundles what a reader without the lock needs, so that it sees one table and not
    halves of two: the words of all slots, and by block the word at which its row starts.
    Whether that is still true is for the node's sequence count to say.

    Invariants, run by `check`:
        S1 a record is found by probing from its home slot.
        S2 `nr_used` and `nr_dead` count the slots that are not empty, and those without record.
        S3 no record is further than `reach` from its home slot.
        S4 the last slot is empty, so that every probe ends.
        S5 each block's row starts where its number says.
    """

    def __init__(self, span: Span, *, min_bits: int = 9) -> None:
        """An empty table for the frames of `span`.

        Args:
            min_bits: log2 of the slots (rows' ends not counted) of the smallest table.
        """
        self._span = span
        self._min_bits = min_bits
        self.nr_probes = 0
        self.nr_rebuilds = 0
        self._allocate(min_bits)

    def _allocate(self, bits: int) -> None:
        nr_slots = (1 << bits) + PAGEBLOCK_NR_PAGES + _TAIL_NR_SLOTS
        self._bits = bits
        self._limit = (1 << bits) * 3 // 8
        # The last slot has no value, for it never has a record: clipped, a place too far is it.
        self._words: NDArray[np.int64] = np.full(2 * nr_slots - 1, _EMPTY, dtype=np.int64)
        self._keys: NDArray[np.int64] = self._words[0::2]
        self.nr_used = 0
        self.nr_dead = 0
        self.reach = 0
        starts = self._starts(bits)
        first = self._span.start >> PAGEBLOCK_ORDER
        # What lies before the span is never touched, and takes no memory.
        self._rows: NDArray[np.uint32] = np.zeros(first + len(starts), dtype=np.uint32)
        self._rows[first:] = starts
        self.view: tuple[memoryview[int], memoryview[int]] = (
            memoryview(self._words.data),
            memoryview(self._rows.data),
        )

    def _starts(self, bits: int) -> NDArray[np.int64]:
        """For each block of the span, the place where its row starts in a table of this size."""
        first, stop = self._span.start >> PAGEBLOCK_ORDER, -(-self._span.stop >> PAGEBLOCK_ORDER)
        hashes = np.arange(first, stop) * _ROW_MULTIPLIER & 0xFFFFFFFF
        return 2 * (hashes >> (32 - bits))

    @property
    def nr_live(self) -> int:
        """Records."""
        return self.nr_used - self.nr_dead

    def live(self) -> NDArray[np.int64]:
        """The places of all records, ascending."""
        return 2 * (self._keys >= 0).nonzero()[0]

    # One frame.

    def find(self, pfn: int) -> int:
        """The place of the frame's record, or -1.  Safe without the lock."""
        words, rows = self.view
        at = rows[pfn >> 9] + (pfn * 362 & 1022)
        key = words[at]
        while key != -1:
            if key >> 24 == pfn:
                return at
            self.nr_probes += 1
            at += 2
            key = words[at]
        return -1

    def get(self, pfn: int) -> tuple[int, int] | None:
        """(tag, value) of the frame's record, or None.  Safe without the lock."""
        words, rows = self.view
        at = rows[pfn >> 9] + (pfn * 362 & 1022)
        while (key := words[at]) >> 24 != pfn:
            if key == -1:
                return None
            at += 2
        return key & 0xFFFFFF, words[at + 1]

    def put(self, pfn: int, tag: int, value: int) -> bool:
        """Store a record; False (and nothing stored) when the frame has one."""
        words, rows = self.view
        at = rows[pfn >> 9] + (pfn * 362 & 1022)
        if words[at] == -1 and self.nr_used < self._limit:  # three times out of four
            self.nr_used += 1
            words[at + 1] = value
            words[at] = pfn << 24 | tag
            return True
        return self._put_beyond(pfn, tag, value, at)

    def _put_beyond(self, pfn: int, tag: int, value: int, home: int) -> bool:
        """`put` when the home slot (at word `home`) is not empty, or the table is full."""
        words, at, free = self.view[0], home, -1
        while (key := words[at]) != -1:
            if key >> 24 == pfn:
                return False
            if key < 0 and free < 0:
                free = at
            at += 2
        if free < 0:
            is_tail_full = at + 1 == len(words)
            if self.nr_used >= self._limit or is_tail_full:
                self._rebuild(len(self._keys) if is_tail_full else 1)
                return self.put(pfn, tag, value)
            self.nr_used += 1
            free = at
        else:
            self.nr_dead -= 1
        words[free + 1] = value
        words[free] = pfn << 24 | tag
        if free - home > 2 * self.reach:
            self.reach = (free - home) // 2
        return True

    def replace(self, pfn: int, tag: int, value: int) -> None:
        """Write another record over that of a frame which has one."""
        at, words = self.find(pfn), self._words
        words[at] = pfn << NR_TAG_BITS | tag
        words[at + 1] = value

    def discard(self, pfn: int, tag: int, value: int) -> bool:
        """Drop the frame's record; False (and nothing dropped) when it is another or none."""
        at = self.find(pfn)
        words, _ = self.view
        if at < 0 or words[at] & 0xFFFFFF != tag or words[at + 1] != value:
            return False
        if words[at + 2] == _EMPTY:
            words[at] = _EMPTY  # no probe has to pass here
            self.nr_used -= 1
        else:
            words[at] = _DEAD
            self.nr_dead += 1
        self._shrink()
        return True

    # Many frames.

    def pfns_at(self, places: NDArray[np.int64]) -> Pfns:
        """The frames of the records at these places."""
        return self._words[places] >> NR_TAG_BITS

    def tags_at(self, places: NDArray[np.int64]) -> NDArray[np.int32]:
        """The tags of the records at these places; NO_TAG where there is none."""
        keys = self._words[places]
        return np.where(keys < 0, NO_TAG, keys & _TAG_MASK).astype(np.int32)

    def values_at(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The values of the records at these places; anything where there is none."""
        values: NDArray[np.int64] = self._words.take(places + 1, mode="clip")
        return values

    def locate(self, pfns: Pfns) -> Located:
        """Where the record of each frame is, or would go."""
        homes = self._homes(pfns)
        # `take` is the quicker way to read a column, and quicker still without its check.
        seen = self._words.take(homes, mode="clip")
        is_there: Mask = seen >> NR_TAG_BITS == pfns
        found = Located(homes, homes.copy(), is_there)
        todo = ((seen != _EMPTY) ^ is_there).nonzero()[0]
        if todo.size:
            todo = self._step_on(found, todo, pfns[todo])
        width = _FIRST_WIDTH
        while todo.size:  # ever wider windows: few rounds, though some chains are long
            todo = self._look_on(found, todo, pfns[todo], width)
            width *= 4
        return found

    def _step_on(self, found: Located, todo: NDArray[np.int64], pfns: Pfns) -> NDArray[np.int64]:
        """Look at the next slots for some frames, one by one; returns those that need more."""
        places = found.places[todo]
        for _ in range(_NR_SINGLE_STEPS):
            self.nr_probes += todo.size
            places += 2
            seen = self._words.take(places, mode="clip")
            hits = seen >> NR_TAG_BITS == pfns
            found.places[todo] = places
            found.is_there[todo] = hits
            further = ((seen != _EMPTY) ^ hits).nonzero()[0]
            todo, pfns, places = todo[further], pfns[further], places[further]
        return todo

    def _look_on(
        self, found: Located, todo: NDArray[np.int64], pfns: Pfns, width: int
    ) -> NDArray[np.int64]:
        """Look at `width` more slots for some frames; returns those that need still more."""
        self.nr_probes += width * todo.size
        start = found.places[todo] + 2
        window = start[:, None] + np.arange(0, 2 * width, 2)
        seen = self._words.take(window, mode="clip")
        is_end = (seen == _EMPTY) | (seen >> NR_TAG_BITS == pfns[:, None])
        places = start + 2 * is_end.argmax(axis=1)
        seen = self._words.take(places, mode="clip")
        hits = seen >> NR_TAG_BITS == pfns
        has_ended = hits | (seen == _EMPTY)
        found.places[todo] = np.where(has_ended, places, window[:, -1])
        found.is_there[todo] = hits
        further: NDArray[np.int64] = todo[~has_ended]
        return further

    def put_many(
        self,
        pfns: Pfns,
        tags: NDArray[np.int32],
        values: NDArray[np.int64],
        found: Located | None = None,
    ) -> None:
        """Store a record for each of several distinct frames that have none.

        Dead slots on the way are not used again here: looking for them costs more.

        Args:
            found: what `locate` has just said of them.
        """
        if not len(pfns):
            return
        if self.nr_used + len(pfns) > self._limit:
            self._rebuild(len(pfns))
            found = None
        found = found or self.locate(pfns)
        places = found.places
        if int(places.max()) + 1 == len(self._words):
            self._rebuild(len(self._keys))
            self.put_many(pfns, tags, values)
            return
        self.reach = max(self.reach, int((places - found.homes).max()) >> 1)
        keys = pfns << NR_TAG_BITS
        keys |= tags
        self._words[places] = keys
        self._words[places + 1] = values
        # Of several that want one slot, the last one has it now, with key and value.
        lost = (self._words.take(places, mode="clip") != keys).nonzero()[0]
        self.nr_used += len(pfns) - len(lost)
        if len(lost) > _MOST_NR_SINGLES:
            self.put_many(pfns[lost], tags[lost], values[lost])
        else:
            for row in lost.tolist():
                self.put(int(pfns[row]), int(tags[row]), int(values[row]))

    def remove_many(self, places: NDArray[np.int64]) -> None:
        """Drop the records at distinct places."""
        words = self._words
        words[places] = _DEAD
        self.nr_dead += len(places)
        while places.size:  # what lies before an empty slot need not be passed: empty it, too
            is_last = words.take(places + 2, mode="clip") == _EMPTY
            places = places[is_last & (words.take(places) == _DEAD)]
            words[places] = _EMPTY
            self.nr_used -= len(places)
            self.nr_dead -= len(places)
            places = places[places > 0] - 2
        self._shrink()

    # Scans.

    def in_block(self, block: int) -> NDArray[np.int64]:
        """The places of a block's records, in no particular order."""
        start = self.view[1][block] >> 1
        window = self._keys[start : start + PAGEBLOCK_NR_PAGES + self.reach]
        slots: NDArray[np.int64] = (window >> _BLOCK_SHIFT == block).nonzero()[0]
        slots += start
        slots *= 2
        return slots

    def in_span(self, start: int, stop: int) -> NDArray[np.int64]:
        """The places of all records of frames in [start, stop), by reading the whole table."""
        low, high = start << NR_TAG_BITS, stop << NR_TAG_BITS
        slots: NDArray[np.int64] = ((self._keys >= low) & (self._keys < high)).nonzero()[0]
        slots *= 2
        return slots

    # Growth.

    def _homes(self, pfns: Pfns) -> NDArray[np.int64]:
        homes = pfns * (2 * _SLOT_MULTIPLIER)
        homes &= 2 * _ROW_MASK
        homes += self._rows.take(pfns >> PAGEBLOCK_ORDER, mode="clip")
        return homes

    def _shrink(self) -> None:
        if self._bits > _KEPT_BITS and self.nr_live < 1 << (self._bits - 6):
            self._rebuild(0)

    def _rebuild(self, nr_more: int) -> None:
        """Into a fresh table that is at most a quarter full with `nr_more` further records."""
        words = self._words
        live = self.live()
        bits = self._min_bits
        while (len(live) + nr_more) * 4 > 1 << bits:
            bits += 1
        self.nr_rebuilds += 1
        self._allocate(bits)
        for start in range(0, len(live), _REBUILD_NR_PINS):
            some = live[start : start + _REBUILD_NR_PINS]
            keys, values = words[some], words[some + 1]
            self.put_many(keys >> NR_TAG_BITS, (keys & _TAG_MASK).astype(np.int32), values)

    def check(self) -> None:
        """Run S1..S5.

        Raises:
            InvariantError: one does not hold.
        """
        live = self.live()
        pfns = self.pfns_at(live)
        found = self.locate(pfns)
        is_found = found.is_there.all() and np.array_equal(found.places, live)
        require(is_found, "S1 a record that probing does not find")
        nr_dead = int(np.count_nonzero(self._keys == _DEAD))
        require(nr_dead == self.nr_dead, "S2 dead slots", counted=nr_dead, kept=self.nr_dead)
        nr_used = int(np.count_nonzero(self._keys != _EMPTY))
        require(nr_used == self.nr_used, "S2 used slots", counted=nr_used, kept=self.nr_used)
        reach = int((live - found.homes).max(initial=0)) >> 1
        require(reach <= self.reach, "S3 a record out of reach", farthest=reach, reach=self.reach)
        require(self._keys[-1] == _EMPTY, "S4 the last slot is taken")
        rows = self._rows[self._span.start >> PAGEBLOCK_ORDER :]
        is_true = np.array_equal(rows, self._starts(self._bits))
        require(is_true, "S5 a row that starts elsewhere")
