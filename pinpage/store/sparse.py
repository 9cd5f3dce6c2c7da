"""Few pins to a pageblock: one hash table of (pfn -> tag, value) for a whole node.

An open-addressed table in one numpy array.  A slot is two words side by side: pfn and tag in
one (what a probe needs), the value in the other, so that a record costs one cache miss.  A
*place* is the index of a slot's first word.  Where the home slot is taken, the next free one
is used (linear probing).

The home slot of a frame is random by its block, xor random by its offset in the block: simple
tabulation hashing.  It costs two loads, and keeps probes short for *every* set of frames,
however regular (Patrascu and Thorup, "The power of simple tabulation hashing", 2012): runs,
strides and grids of pins make no pattern in the table.

Columns go through the table in rounds, each round all that are not settled yet, so the number
of rounds is the longest probe; the last few are settled one by one.

Owns:    the record of each frame that is not in a dense block; one record per frame.
Ignores: which blocks are dense, second pins of a frame, locks.
Cost:    point operations about 1.2 slots, each one cache line; columns 20..60 ns per pfn;
         16 bytes per slot and 3 to 6 slots per record, and 4 bytes per block of the node.
Kernel counterpart: none.  The 2013 patch hashed pfns into 1024 chains, which had to be
         walked in full; the xarray pays a node of 64 slots for a lone entry.
"""

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from pinpage.errors import require
from pinpage.units import PAGEBLOCK_NR_PAGES, PAGEBLOCK_ORDER, Mask, Pfns, Span

__all__ = [
    "DEAD",
    "EMPTY",
    "MAX_NR_FRAMES",
    "NO_TAG",
    "NR_TAG_BITS",
    "Located",
    "SparseTable",
]

NO_TAG = -1
"""The tag of no pin."""
NR_TAG_BITS = 24
"""Bits of a slot's first word that hold the tag; the pfn has the other 39 below the sign."""
MAX_NR_FRAMES = 1 << (63 - NR_TAG_BITS)
"""Frames that a table can tell apart (2 PiB of them)."""

EMPTY = -1
"""The first word of a slot in which no record ever was: a probe ends.  Its pfn is -1."""
DEAD = -2
"""The first word of a slot in which a record was: a probe goes on.  Its pfn is -1."""
_TAG_MASK = (1 << NR_TAG_BITS) - 1
_SEED = 2013  # of the random numbers below: any would do, and the same each time repeats runs
_NR_SINGLES = 24  # rows, below which one by one is quicker than another round
_KEPT_BITS = 14  # a table of this size is not worth shrinking: coming and going would thrash


def _random_places(first: int, count: int) -> NDArray[np.uint32]:
    """Random first words of slots, one for each number from `first` on."""
    rng = np.random.Generator(np.random.PCG64([_SEED, first]))
    return rng.integers(0, 1 << 32, count, dtype=np.uint32) & np.uint32(~1 & 0xFFFFFFFF)


_BY_OFFSET = _random_places(1 << 40, PAGEBLOCK_NR_PAGES)  # a number that no block has
_AT_OFFSET: list[int] = _BY_OFFSET.tolist()


@frozen(eq=False)
class Located:
    """Where the records of some frames are, or would go; true until the next change.

    Attributes:
        places: the frame's record, or else an empty slot, int64[n].
        is_there: whether the slot holds the frame's record, bool[n].
    """

    places: NDArray[np.int64]
    is_there: Mask


class SparseTable:
    """An open-addressed table of (pfn, tag, value).

    `view` bundles what a reader without the lock needs, so that it sees one table and not
    halves of two: the words of all slots, the random word of each block, and the mask that
    makes a place of two of them.  Whether that is still true is for the node's sequence count
    to say.

    Attributes:
        nr_probes: slots passed over because another frame's record was there.
        nr_rebuilds: times that it was copied into a larger or smaller one.
        nr_used, nr_dead: slots that are not empty; those among them without a record.

    Invariants, run by `check`:
        S1 a record is found by probing from its home slot.
        S2 `nr_used` and `nr_dead` count the slots that are not empty, and those without record.
        S3 some slot is empty, so that every probe ends.
    """

    def __init__(self, span: Span, *, min_bits: int = 9) -> None:
        """An empty table.

        Args:
            span: the frames that it may be given.
            min_bits: log2 of the slots of the smallest table.
        """
        first = span.start >> PAGEBLOCK_ORDER
        count = -(-span.stop >> PAGEBLOCK_ORDER) - first
        # What lies before the span is never touched, and takes no memory.
        self._by_block: NDArray[np.uint32] = np.zeros(first + count, dtype=np.uint32)
        self._by_block[first:] = _random_places(first, count)
        self._min_bits = min_bits
        self.nr_probes = 0
        self.nr_rebuilds = 0
        self._allocate(min_bits)

    def _allocate(self, bits: int) -> None:
        words: NDArray[np.int64] = np.full(2 << bits, EMPTY, dtype=np.int64)
        self._bits = bits
        self._limit = (1 << bits) * 3 // 8
        self.nr_used = 0
        self.nr_dead = 0
        self._words = words
        self.view: tuple[memoryview[int], memoryview[int], int] = (
            memoryview(words.data),
            memoryview(self._by_block.data),
            (2 << bits) - 2,
        )

    @property
    def nr_live(self) -> int:
        """Records."""
        return self.nr_used - self.nr_dead

    @property
    def nr_slots(self) -> int:
        """Slots, empty ones included: what reading the whole table costs."""
        return 1 << self._bits

    def live(self) -> NDArray[np.int64]:
        """The places of all records, ascending."""
        return 2 * (self._words[0::2] >= 0).nonzero()[0]

    # One frame.

    def find(self, pfn: int) -> int:
        """The place of the frame's record, or -1.  Safe without the lock."""
        words, by_block, mask = self.view
        at = (by_block[pfn >> 9] ^ _AT_OFFSET[pfn & 511]) & mask
        while (key := words[at]) != -1:
            if key >> 24 == pfn:
                return at
            self.nr_probes += 1
            at = at + 2 & mask
        return -1

    def find_record(self, pfn: int, tag: int) -> tuple[int, int, int] | None:
        """The place of a frame's record, the place behind, and the word of one with this tag.

        None where the frame has no record, or the table is to shrink, which needs the lock.

        Args:
            pfn: the frame.
            tag: of the record.
        """
        at, mask = self.find(pfn), self.view[2]
        if at < 0 or self._is_too_large:
            return None
        return at, at + 2 & mask, pfn << NR_TAG_BITS | tag

    def get(self, pfn: int) -> tuple[int, int] | None:
        """(tag, value) of the frame's record, or None.  Safe without the lock."""
        words, by_block, mask = self.view
        at = (by_block[pfn >> 9] ^ _AT_OFFSET[pfn & 511]) & mask
        while (key := words[at]) >> 24 != pfn:
            if key == -1:
                return None
            at = at + 2 & mask
        return key & _TAG_MASK, words[at + 1]

    def put(self, pfn: int, tag: int, value: int) -> bool:
        """Store a record; False (and nothing stored) when the frame has one.

        Args:
            pfn: the frame.
            tag, value: the pin.
        """
        words, by_block, mask = self.view
        at, free = (by_block[pfn >> 9] ^ _AT_OFFSET[pfn & 511]) & mask, -1
        while (key := words[at]) != -1:
            if key >> 24 == pfn:
                return False
            if key == DEAD and free < 0:
                free = at
            at = at + 2 & mask
        if free >= 0:
            self.nr_dead -= 1
        elif self.nr_used < self._limit:
            self.nr_used += 1
            free = at
        else:
            self._rebuild(1)
            return self.put(pfn, tag, value)
        words[free + 1] = value
        words[free] = pfn << 24 | tag
        return True

    def replace(self, pfn: int, tag: int, value: int) -> None:
        """Write another record over that of a frame which has one.

        Args:
            pfn: the frame.
            tag, value: the pin.
        """
        at, words = self.find(pfn), self._words
        words[at] = pfn << NR_TAG_BITS | tag
        words[at + 1] = value

    def discard(self, pfn: int, tag: int, value: int) -> bool:
        """Drop the frame's record; False (and nothing dropped) when it is another or none.

        Args:
            pfn: the frame.
            tag, value: the pin.
        """
        at = self.find(pfn)
        words, _, mask = self.view
        if at < 0 or words[at] & _TAG_MASK != tag or words[at + 1] != value:
            return False
        if words[at + 2 & mask] == EMPTY:
            words[at] = EMPTY  # no probe has to pass here
            self.nr_used -= 1
        else:
            words[at] = DEAD
            self.nr_dead += 1
        self._shrink()
        return True

    # Many frames.

    def pfns_at(self, places: NDArray[np.int64]) -> Pfns:
        """The frames of the records at these places."""
        return self._words[places] >> NR_TAG_BITS

    def tags_at(self, places: NDArray[np.int64]) -> NDArray[np.int32]:
        """The tags of the records at these places; NO_TAG where there is none."""
        keys = self._words.take(places)
        return np.where(keys < 0, NO_TAG, keys & _TAG_MASK).astype(np.int32)

    def values_at(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The values of the records at these places; anything where there is none."""
        return self._words.take(places + 1)

    def locate(self, pfns: Pfns) -> Located:
        """Where the record of each frame is, or would go.

        Args:
            pfns: any order, repetitions allowed.
        """
        places = self._homes(pfns)
        seen = self._words.take(places)
        is_there: Mask = seen >> NR_TAG_BITS == pfns
        todo = ((seen != EMPTY) ^ is_there).nonzero()[0]
        mask = self.view[2]
        while todo.size > _NR_SINGLES:
            self.nr_probes += todo.size
            further = places[todo] + 2 & mask
            seen = self._words.take(further)
            hits = seen >> NR_TAG_BITS == pfns[todo]
            places[todo], is_there[todo] = further, hits
            todo = todo[(seen != EMPTY) ^ hits]
        for row in todo.tolist():
            at = self._find_from(int(places[row]), int(pfns[row]))
            places[row], is_there[row] = at, self._words[at] >= 0
        return Located(places, is_there)

    def _find_from(self, at: int, pfn: int) -> int:
        """The place of a frame's record, or of the empty slot that ends its chain."""
        words, _, mask = self.view
        while (key := words[at]) != -1 and key >> 24 != pfn:
            self.nr_probes += 1
            at = at + 2 & mask
        return at

    def find_many(self, pfns: Pfns) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The record of each frame: tags (NO_TAG where none) and values, shape (n,) each."""
        found = self.locate(pfns)
        keys = self._words.take(found.places)
        return np.where(found.is_there, keys & _TAG_MASK, NO_TAG), self.values_at(found.places)

    def put_many(self, pfns: Pfns, tags: NDArray[np.int32], values: NDArray[np.int64]) -> None:
        """Store a record for each of several distinct frames that have none.

        Dead slots on the way are not used again here: looking for them costs more.

        Args:
            pfns, tags, values: shape (n,) each.
        """
        if self.nr_used + len(pfns) > self._limit:
            self._rebuild(len(pfns))
        words, (slots, _, mask) = self._words, self.view
        self.nr_used += len(pfns)
        keys, places = pfns << NR_TAG_BITS | tags, self._homes(pfns)
        while len(keys) > _NR_SINGLES:
            free = (words.take(places) == EMPTY).nonzero()[0]
            mine = places.take(free)
            words[mine] = keys.take(free)
            words[mine + 1] = values.take(free)
            # Of several that want one slot, the last one has it now, with key and value.
            left = (words.take(places) != keys).nonzero()[0]
            self.nr_probes += len(left)
            keys, values, places = keys.take(left), values.take(left), places.take(left) + 2 & mask
        for key, value, place in zip(keys.tolist(), values.tolist(), places.tolist(), strict=True):
            at = self._empty_from(place)
            slots[at + 1] = value
            slots[at] = key

    def _empty_from(self, at: int) -> int:
        """The first empty slot from a place on."""
        words, _, mask = self.view
        while words[at] != EMPTY:
            self.nr_probes += 1
            at = at + 2 & mask
        return at

    def remove_many(self, places: NDArray[np.int64]) -> None:
        """Drop the records at distinct places."""
        words, mask = self._words, self.view[2]
        words[places] = DEAD
        self.nr_dead += len(places)
        while places.size:  # what lies before an empty slot need not be passed: empty it, too
            is_last = words.take(places + 2 & mask) == EMPTY
            places = places[is_last & (words.take(places) == DEAD)]
            words[places] = EMPTY
            self.nr_used -= len(places)
            self.nr_dead -= len(places)
            places = places - 2 & mask
        self._shrink()

    # Growth.

    def _homes(self, pfns: Pfns) -> NDArray[np.int64]:
        homes = self._by_block.take(pfns >> PAGEBLOCK_ORDER)
        homes ^= _BY_OFFSET.take(pfns & (PAGEBLOCK_NR_PAGES - 1))
        homes &= np.uint32(self.view[2])
        return homes.astype(np.int64)

    @property
    def _is_too_large(self) -> bool:
        return self._bits > _KEPT_BITS and self.nr_live < 1 << (self._bits - 6)

    def _shrink(self) -> None:
        if self._is_too_large:
            self._rebuild(0)

    def _rebuild(self, nr_more: int) -> None:
        """Into a fresh table that is at most a quarter full with `nr_more` further records."""
        live, words = self.live(), self._words
        bits = max(self._min_bits, (4 * (len(live) + nr_more) - 1).bit_length())
        keys, values = words[live], words[live + 1]
        fresh = SparseTable.__new__(SparseTable)
        fresh.__dict__.update(self.__dict__)
        fresh.nr_rebuilds += 1
        fresh._allocate(bits)
        fresh.put_many(keys >> NR_TAG_BITS, (keys & _TAG_MASK).astype(np.int32), values)
        # One call: nobody, interrupted or not, ever sees a table that is half the old one.
        self.__dict__.update(fresh.__dict__)

    def check(self) -> None:
        """Run S1..S3.

        Raises:
            InvariantError: one does not hold.
        """
        live = self.live()
        found = self.locate(self.pfns_at(live))
        is_found = found.is_there.all() and np.array_equal(found.places, live)
        require(is_found, "S1 a record that probing does not find")
        keys = self._words[0::2]
        nr_dead = int(np.count_nonzero(keys == DEAD))
        require(nr_dead == self.nr_dead, "S2 dead slots", counted=nr_dead, kept=self.nr_dead)
        nr_used = int(np.count_nonzero(keys != EMPTY))
        require(nr_used == self.nr_used, "S2 used slots", counted=nr_used, kept=self.nr_used)
        require(self.nr_used < self.nr_slots, "S3 no slot is empty", nr_slots=self.nr_slots)
