"""The first pin of each frame, in two forms: a block has few pins, or many.

==========  ==================================  =========================================
frames      form                                where
==========  ==================================  =========================================
few         a record in a hash table            `pinpage.store.sparse`, one table per node
many        two words per frame of the block    a column of the whole node, mapped and
                                                touched only where a block is dense
==========  ==================================  =========================================

The column is addressed by pfn, as page_ext is, so no pattern of pins makes it slower than
another.  A block turns dense when its pins would take as much memory as the column does, and
is given back when few are left; its memory is, where some blocks in a row are.

Every change writes before it wipes: a record that changes its form is in both for a moment,
and only that counts which `is_dense` says.

Owns:    one record per frame, and the form of each block.
Ignores: owners, further pins of a frame, locks: the caller holds the node's lock for every
         write.  Reads named "safe without the lock" never fail, but may be untrue while a
         writer works; the node's sequence count tells.
Cost:    point operations O(1); columns 5..600 ns per frame; ranges 2..8 us per whole block; 16
         bytes per frame of a dense block, 45..85 per scattered pin, 3 per block of the node.
Kernel counterpart: page_ext for the dense form; the xarray (one size of node, one entry per
         index) for the rest.
"""

import mmap
from collections.abc import Container, Iterator
from struct import pack

import numpy as np
from numpy.typing import NDArray

from pinpage.errors import PinpageError, require
from pinpage.store.rows import PinRows, Record, as_run, joined, pieces, runs
from pinpage.store.sparse import NO_TAG, SparseTable
from pinpage.units import MAP_NORESERVE, PAGEBLOCK_NR_PAGES, PAGEBLOCK_ORDER, Mask, Pfns, Span

__all__ = ["DENSE_ABOVE", "SPARSE_BELOW", "Blocks"]

DENSE_ABOVE = 64
"""Pinned frames of a block above which it turns dense: 126 bytes for each of 65."""
SPARSE_BELOW = 16
"""Pinned frames of a dense block below which it is given back: far enough from the other."""

_NR_BYTES = 16  # of a frame in the column: a word for the tag, one for the value
_NR_BLOCKS_AT_A_TIME = 256  # turned dense: each is looked for frame by frame
_NR_FRAMES_AT_A_TIME = 1 << 12  # written as bytes, which stay in a cache
_MIN_NR_BLOCKS_BACK = 4  # returned at a time: a system call for each block costs too much
_NR_BLOCKS_AHEAD = 1 << 16
_MOST_READINGS = 16  # of the table, by whoever goes over all pins part by part
_NR_SLOTS_A_PROBE = 6  # that can be read in order in the time of one look-up


class _Column:
    """Two words for each frame of a node: 1 + the tag of its first pin (0: none), the value.

    Private memory of which only what was written takes any.
    """

    def __init__(self, span: Span) -> None:
        """All zero."""
        self._memory = mmap.mmap(
            -1,
            max(span.stop * _NR_BYTES, 1),
            flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE,
        )
        # A huge page would be 256 blocks' worth of memory for the first block in it.
        self._memory.madvise(mmap.MADV_NOHUGEPAGE)
        self.words = memoryview(self._memory).cast("q")
        self.rows: NDArray[np.int64] = np.frombuffer(self.words, dtype=np.int64).reshape(-1, 2)

    # As bytes: memory is passed over once, and no array is made on the way.

    def fill(self, run: slice, *words: int) -> None:
        """Write the same two words for each frame of a run."""
        for part, records in _repeated(run, words):
            self._memory[part] = records

    def is_filled(self, run: slice, *words: int) -> bool:
        """Whether each frame of a run has these two words."""
        return all(self._memory[part] == records for part, records in _repeated(run, words))

    def give_back(self, block: int, nr_blocks: int) -> None:
        """Make a run of whole blocks zero and return their memory."""
        nr_bytes = _NR_BYTES << PAGEBLOCK_ORDER
        start = block * nr_bytes
        stop = min(start + nr_blocks * nr_bytes, len(self._memory))
        self._memory.madvise(mmap.MADV_DONTNEED, start, stop - start)


class Blocks:
    """The first pins of one node's frames.

    Attributes:
        counts: int16, by block: frames pinned in it; `count_at` are the same as plain ints.
        crowded: frames with further pins, which are kept elsewhere.
        words: of the column: of each frame 1 + the tag of its first pin (0: none), the value.
        is_dense: one byte per block: whether the column has its records.
        sparse: the records of all other blocks.
        thin: dense blocks that were left with few pins, one by one, since the last `trim`.
        nr_conversions: changes of a block's form.

    Invariants, run by `check`:
        X1 `counts` says how many frames of each block have a record.
        X2 a block has records in the column or in the table, never in both.
        X5 every record lies within the node and has a tag.
        X6 dense blocks hold at least `sparse_below` frames or are `thin`, others at most
           `dense_above`.
    """

    def __init__(
        self, span: Span, crowded: Container[int], *, dense_above: int, sparse_below: int
    ) -> None:
        """No pins.

        Args:
            span: the frames; starts on a pageblock.
            crowded: see the attribute.
            dense_above, sparse_below: pinned frames at which a block changes its form.

        Raises:
            PinpageError: the thresholds cross, or a full block would not be dense.
        """
        if not 1 <= sparse_below <= dense_above < PAGEBLOCK_NR_PAGES:
            raise PinpageError(
                f"sparse_below={sparse_below}, dense_above={dense_above}: "
                f"want 1 <= sparse_below <= dense_above < {PAGEBLOCK_NR_PAGES}"
            )
        self.span = span
        self.dense_above, self.sparse_below = dense_above, sparse_below
        self.crowded = crowded
        # Addressed by pfn, so with room for the nodes before: never touched, it takes no memory.
        nr_blocks = -(-span.stop >> PAGEBLOCK_ORDER)
        self.counts: NDArray[np.int16] = np.zeros(nr_blocks, dtype=np.int16)
        self.count_at = memoryview(self.counts.data)
        self._dense: Mask = np.zeros(nr_blocks, dtype=np.bool_)
        self.is_dense = memoryview(self._dense.view(np.uint8).data)
        self._column = _Column(span)
        self.words, self._rows = self._column.words, self._column.rows
        self.sparse = SparseTable(span)
        self.thin: dict[int, bool] = {}
        self.nr_conversions = 0

    # One frame.

    def get(self, pfn: int) -> Record | None:
        """The first pin of a frame, or None.  Safe without the lock."""
        if not self.is_dense[pfn >> PAGEBLOCK_ORDER]:
            return self.sparse.get(pfn)
        tag = self.words[2 * pfn]
        return (tag - 1, self.words[2 * pfn + 1]) if tag else None

    def is_dense_at(self, pfn: int) -> bool:
        """Whether the block of a frame is dense."""
        return bool(self.is_dense[pfn >> PAGEBLOCK_ORDER])

    def holds(self, pfn: int) -> bool:
        """Whether the frame has a pin.  Safe without the lock."""
        if self.is_dense[pfn >> PAGEBLOCK_ORDER]:
            return self.words[2 * pfn] != 0
        return self.sparse.find(pfn) >= 0

    def put(self, pfn: int, tag: int, value: int) -> bool:
        """Store a record; False (and nothing stored) when the frame has one.

        Args:
            pfn: the frame.
            tag, value: the pin.
        """
        block = pfn >> PAGEBLOCK_ORDER
        if self.is_dense[block]:
            if self.words[2 * pfn]:
                return False
            self.words[2 * pfn + 1] = value
            self.words[2 * pfn] = tag + 1
        elif not self.sparse.put(pfn, tag, value):
            return False
        self.count_at[block] = count = self.count_at[block] + 1
        if count > self.dense_above and not self.is_dense[block]:
            self._densify(np.array([block]), np.array([count]))
        return True

    def discard(self, pfn: int, tag: int, value: int) -> bool:
        """Drop a record; False (and nothing dropped) when it is another or none.

        Args:
            pfn: the frame.
            tag, value: the pin.
        """
        block = pfn >> PAGEBLOCK_ORDER
        if self.is_dense[block]:
            words = self.words
            if words[2 * pfn] != tag + 1 or words[2 * pfn + 1] != value:
                return False
            words[2 * pfn] = 0
        elif not self.sparse.discard(pfn, tag, value):
            return False
        self.count_at[block] = count = self.count_at[block] - 1
        if count < self.sparse_below and self.is_dense[block]:
            self.thin[block] = True
        return True

    def replace(self, pfn: int, record: Record) -> None:
        """Write another record over that of a frame which has one.

        Args:
            pfn: the frame.
            record: tag and value of the pin.
        """
        if self.is_dense[pfn >> PAGEBLOCK_ORDER]:
            self._rows[pfn] = record[0] + 1, record[1]
        else:
            self.sparse.replace(pfn, *record)

    # Columns of frames.

    def find_many(self, pfns: Pfns) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The first pin of each frame: tags (`NO_TAG` where none) and values, shape (n,) each.

        Args:
            pfns: any order, repetitions allowed.
        """
        run = as_run(pfns)
        if run is not None:
            blocks = self._blocks_in(run)
            if np.count_nonzero(self.counts[blocks]) == 0:
                return np.full(len(pfns), NO_TAG, np.int32), np.zeros(len(pfns), np.int64)
            if np.all(self._dense[blocks]):
                rows = self._rows[run]
                return (rows[:, 0] - 1).astype(np.int32), rows[:, 1].copy()
        tags = np.empty(len(pfns), dtype=np.int32)
        values = np.empty(len(pfns), dtype=np.int64)
        for piece in pieces(len(pfns)):
            tags[piece], values[piece] = self._find_piece(pfns[piece])
        return tags, values

    def _find_piece(self, pfns: Pfns) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        dense = self._dense[pfns >> PAGEBLOCK_ORDER]
        nr_dense = np.count_nonzero(dense)
        if nr_dense == 0:
            return self.sparse.find_many(pfns)
        rows = self._rows.take(pfns, axis=0)
        tags, values = rows[:, 0] - 1, rows[:, 1]
        if nr_dense < len(pfns):
            tags[~dense], values[~dense] = self.sparse.find_many(pfns[~dense])
        return tags, values

    def add_many(self, pins: PinRows) -> None:
        """Add the first pin of distinct frames that have none, in any order."""
        run = as_run(pins.pfns)
        if run is None:
            for piece in pieces(len(pins)):
                self._add_piece(pins.at(piece))
            return
        blocks = self._blocks_of(run)
        few = [
            not self.is_dense[block] and self.count_at[block] + nr_frames <= self.dense_above
            for block, nr_frames in (blocks[0], blocks[-1])
        ]
        before, middle, after = self._cut(run, *few)
        for end in (before, after):
            if end.start < end.stop:
                self._add_piece(pins.at(end))
        if middle.start < middle.stop:
            run = slice(run.start + middle.start, run.start + middle.stop)
            self._make_dense(run)
            self._write(run, pins.at(middle))

    def takes_run(self, run: slice) -> bool:
        """Whether `add_run` may add a run: its blocks are empty, and all will be dense."""
        blocks = self._blocks_of(run)
        if min(blocks[0][1], blocks[-1][1]) <= self.dense_above:
            return False
        return not any(self.count_at[block] for block, _ in blocks)

    def add_run(self, run: slice, tag: int, value: int) -> None:
        """Add the first pin of each frame of a run that `takes_run`.

        Args:
            run: of frames.
            tag, value: the pin.
        """
        self._make_dense(run)
        self._column.fill(run, tag + 1, value)

    def _make_dense(self, run: slice) -> None:
        """Count one pin more of each frame of a run, and have all its blocks dense."""
        blocks = self._blocks_of(run)
        some = [at for at, _ in blocks if self.count_at[at] and not self.is_dense[at]]
        if some:
            self._densify(np.array(some), self.counts[some])
        for block, nr_frames in blocks:
            self.nr_conversions += not self.is_dense[block]
            self.is_dense[block] = True
            self.count_at[block] += nr_frames

    def _add_piece(self, pins: PinRows) -> None:
        blocks = pins.pfns >> PAGEBLOCK_ORDER
        before = self.counts[blocks]
        np.add.at(self.counts, blocks, np.int16(1))
        dense = self._dense[blocks]
        crowded = ~dense & (self.counts[blocks] > self.dense_above)
        if np.count_nonzero(crowded):
            new, first = np.unique(blocks[crowded], return_index=True)
            self._densify(new, before[crowded][first])
            dense = self._dense[blocks]
        nr_dense = np.count_nonzero(dense)
        if nr_dense:
            self._write(pins.pfns[dense], pins.at(dense))
            if nr_dense == len(pins):
                return
            pins = pins.at(~dense)
        self.sparse.put_many(pins.pfns, pins.tags, pins.values)

    def _write(self, frames: Pfns | slice, pins: PinRows) -> None:
        """Write records of frames into the column; what makes them count comes last."""
        self._rows[frames, 1] = pins.values
        self._rows[frames, 0] = pins.tags + 1

    def remove_many(self, pfns: Pfns) -> None:
        """Remove the only pin of each of these distinct frames."""
        run = as_run(pfns)
        if run is None:
            for piece in pieces(len(pfns)):
                self._remove_piece(pfns[piece])
            return
        blocks = self._blocks_of(run)
        few = [not self.is_dense[block] for block, _ in (blocks[0], blocks[-1])]
        before, middle, after = self._cut(run, *few)
        for end in (before, after):
            if end.start < end.stop:
                self._remove_piece(pfns[end])
        if middle.start < middle.stop:
            self.remove_run(slice(run.start + middle.start, run.start + middle.stop))

    def holds_run(self, run: slice, tag: int, value: int) -> bool:
        """Whether each frame of a run has this first pin, and all its blocks are dense.

        Where a block is not, the column has no tag.

        Args:
            run: of frames.
            tag, value: the pin.
        """
        return self._column.is_filled(run, tag + 1, value)

    def remove_run(self, run: slice) -> None:
        """Remove the only pins of a run of frames in dense blocks."""
        self._rows[run, 0] = 0
        thin = []
        for block, nr_frames in self._blocks_of(run):
            self.count_at[block] = count = self.count_at[block] - nr_frames
            if count < self.sparse_below:
                thin.append(block)
        if thin:
            self._sparsify(np.array(thin))

    def _remove_piece(self, pfns: Pfns) -> None:
        blocks = pfns >> PAGEBLOCK_ORDER
        dense = self._dense[blocks]
        if np.count_nonzero(dense):
            self._rows[pfns[dense], 0] = 0
        if np.count_nonzero(dense) < len(dense):
            self.sparse.remove_many(self.sparse.locate(pfns[~dense]).places)
        np.add.at(self.counts, blocks, np.int16(-1))
        thin = dense & (self.counts[blocks] < self.sparse_below)
        if np.count_nonzero(thin):
            self._sparsify(np.unique(blocks[thin]))

    # Runs, not empty.

    def _blocks_in(self, run: slice) -> slice:
        """The blocks that a run touches."""
        return slice(run.start >> PAGEBLOCK_ORDER, (run.stop - 1 >> PAGEBLOCK_ORDER) + 1)

    @staticmethod
    def _blocks_of(run: slice) -> list[tuple[int, int]]:
        """The blocks that a run touches, and how many of its frames are in each."""
        first, last = run.start >> PAGEBLOCK_ORDER, run.stop - 1 >> PAGEBLOCK_ORDER
        if first == last:
            return [(first, run.stop - run.start)]
        blocks = [(block, PAGEBLOCK_NR_PAGES) for block in range(first, last + 1)]
        blocks[0] = first, (first + 1 << PAGEBLOCK_ORDER) - run.start
        blocks[-1] = last, run.stop - (last << PAGEBLOCK_ORDER)
        return blocks

    @staticmethod
    def _cut(run: slice, is_first: bool, is_last: bool) -> tuple[slice, slice, slice]:
        """The rows of a run in its first block, if asked for, in its last, and between."""
        start, stop = run.start, run.stop
        if is_first:
            start = min(stop, (start | PAGEBLOCK_NR_PAGES - 1) + 1)
        if is_last:
            stop = max(start, stop - 1 & -PAGEBLOCK_NR_PAGES)
        first, last, count = start - run.start, stop - run.start, run.stop - run.start
        return slice(0, first), slice(first, last), slice(last, count)

    # Scans, over [start, stop) within the node.

    def fill_mask(self, start: int, stop: int, mask: Mask) -> None:
        """Mark pinned frames.

        Args:
            start, stop: the range, not empty.
            mask: shape (stop - start,), all False: its frames.
        """
        for lo, hi in self._dense_runs(start, stop):
            rows = self._rows[lo:hi, 0]
            np.not_equal(rows, 0, out=mask[lo - start : hi - start])
        pfns = self.sparse.pfns_at(self._places_in(start, stop))
        mask[pfns - start] = True

    def mask_of_dense(self, start: int, stop: int) -> Mask | None:
        """`fill_mask` of a part of one block that is dense, else None.  Safe without the lock.

        Args:
            start, stop: the range of frames, half open.
        """
        if not self.is_dense[start >> PAGEBLOCK_ORDER]:
            return None
        return self._rows[start:stop, 0].astype(np.bool_)

    def first_pins(self, start: int, stop: int) -> PinRows:
        """The first pin of each pinned frame of [start, stop), ascending.

        Args:
            start, stop: the range of frames, half open.
        """
        if start >= stop:
            return PinRows.of([])
        places, parts = self._places_in(start, stop), self._in_column(start, stop)
        if not len(places):
            return joined(parts)
        found = joined([self._at_places(places), *parts])
        return found.ascending()

    def _in_column(self, start: int, stop: int) -> list[PinRows]:
        """`first_pins` of the dense blocks, a part for each run of them."""
        parts = []
        for lo, hi in self._dense_runs(start, stop):
            rows = self._rows[lo:hi]
            at = rows[:, 0].nonzero()[0]
            if len(at) < len(rows):
                rows = rows.take(at, axis=0)
            tags = rows[:, 0].astype(np.int32)
            tags -= 1
            parts.append(PinRows(at + lo, tags, rows[:, 1].copy()))
        return parts

    def next_pinned(self, start: int, stop: int) -> int | None:
        """The first pinned frame of [start, stop), or None.

        Args:
            start, stop: the range of frames, half open.
        """
        while start < stop:
            border = (start | PAGEBLOCK_NR_PAGES - 1) + 1
            if self.count_at[start >> PAGEBLOCK_ORDER]:
                found = self.first_pins(start, min(border, stop)).pfns
                if found.size:
                    return int(found[0])
                start = border
            else:
                start = self._next_block(start)
        return None

    def _next_block(self, pfn: int) -> int:
        """The start of the first block from that of `pfn` on with a pin, or what is behind all."""
        at, step = pfn >> PAGEBLOCK_ORDER, 64
        while at < len(self.counts):
            ahead = np.flatnonzero(self.counts[at : at + step])
            if ahead.size:
                return at + int(ahead[0]) << PAGEBLOCK_ORDER
            at, step = at + step, step * 8
        return self.span.stop

    def _dense_runs(self, start: int, stop: int) -> list[tuple[int, int]]:
        """The parts of a range that lie in dense blocks, neighbours together."""
        blocks = self._blocks_in(slice(start, stop))
        first = blocks.start
        return [
            (max(start, first + lo << PAGEBLOCK_ORDER), min(stop, first + hi << PAGEBLOCK_ORDER))
            for lo, hi in runs(self._dense[blocks].nonzero()[0])
        ]

    def _places_in(self, start: int, stop: int) -> NDArray[np.int64]:
        """The places in the table of the records of a range, in no particular order."""
        if stop - start < PAGEBLOCK_NR_PAGES:  # no more frames than were asked for
            pfns = np.arange(start, stop)
            found = self.sparse.locate(pfns[~self._dense[pfns >> PAGEBLOCK_ORDER]])
            return found.places[found.is_there]
        blocks = self._blocks_in(slice(start, stop))
        few = (self.counts[blocks] > 0) & ~self._dense[blocks]
        places = self._places_of(blocks.start + few.nonzero()[0])
        if start & PAGEBLOCK_NR_PAGES - 1 or stop & PAGEBLOCK_NR_PAGES - 1:
            pfns = self.sparse.pfns_at(places)
            places = places[(pfns >= start) & (pfns < stop)]
        return places

    def _places_of(self, blocks: NDArray[np.int64]) -> NDArray[np.int64]:
        """The places in the table of the records of some blocks: frame by frame, or all records."""
        if not len(blocks):
            return np.empty(0, dtype=np.int64)
        if len(blocks) * PAGEBLOCK_NR_PAGES * _NR_SLOTS_A_PROBE < self.sparse.nr_slots:
            found = [
                self._places_among(blocks[at : at + _NR_BLOCKS_AT_A_TIME])
                for at in range(0, len(blocks), _NR_BLOCKS_AT_A_TIME)
            ]
            return np.concatenate(found)
        wanted = np.zeros(len(self.counts), dtype=np.bool_)
        wanted[blocks] = True
        live = self.sparse.live()
        places: NDArray[np.int64] = live[wanted[self.sparse.pfns_at(live) >> PAGEBLOCK_ORDER]]
        return places

    def _places_among(self, blocks: NDArray[np.int64]) -> NDArray[np.int64]:
        found = self.sparse.locate(_frames_of(blocks))
        return found.places[found.is_there]

    def _at_places(self, places: NDArray[np.int64]) -> PinRows:
        table = self.sparse
        return PinRows(table.pfns_at(places), table.tags_at(places), table.values_at(places))

    # Changes of form.

    def _densify(self, blocks: NDArray[np.int64], counts: NDArray[np.int16]) -> None:
        """Move the records of some sparse blocks into the column.

        Args:
            blocks: ascending.
            counts: how many records each has.
        """
        self.nr_conversions += len(blocks)
        places = self._places_of(blocks[counts > 0])
        if len(places):
            pins = self._at_places(places)
            self._write(pins.pfns, pins)
        self._dense[blocks] = True
        self.sparse.remove_many(places)

    def trim(self) -> None:
        """Give the thin blocks back."""
        blocks = np.array(sorted(self.thin), dtype=np.int64)
        self._sparsify(blocks[self._dense[blocks] & (self.counts[blocks] < self.sparse_below)])
        self.thin = {}

    def _sparsify(self, blocks: NDArray[np.int64]) -> None:
        """Move the few records of some dense blocks, ascending, into the table."""
        self.nr_conversions += len(blocks)
        some = blocks[self.counts[blocks] > 0]
        if some.size:
            frames = _frames_of(some)
            frames = frames[frames < len(self._rows)]
            held = frames[self._rows[frames, 0] > 0]
            rows = self._rows[held]
            self.sparse.put_many(held, (rows[:, 0] - 1).astype(np.int32), rows[:, 1])
        self._dense[blocks] = False
        if some.size:
            self._rows[held, 0] = 0
        for start, stop in runs(blocks) if len(blocks) >= _MIN_NR_BLOCKS_BACK else ():
            if stop - start >= _MIN_NR_BLOCKS_BACK:
                self._column.give_back(start, stop - start)

    # Whole.

    def border_after(self, start: int, nr_pins: int) -> int:
        """Where to stop so that [start, stop) has about so many pinned frames, and not few.

        Not few of the table's either: each range may cost a reading of all of it.

        Args:
            start: where the range begins, on a pageblock.
            nr_pins: frames that it should have, about; more where the table is large.
        """
        first, nr_ahead = start >> PAGEBLOCK_ORDER, _NR_BLOCKS_AHEAD
        nr_pins = max(nr_pins, self.sparse.nr_slots // _MOST_READINGS)
        sums = np.cumsum(self.counts[first : first + nr_ahead], dtype=np.int64)
        while sums[-1] < nr_pins and first + nr_ahead < len(self.counts):
            nr_ahead *= 4
            sums = np.cumsum(self.counts[first : first + nr_ahead], dtype=np.int64)
        nr_blocks = int(np.searchsorted(sums, nr_pins)) + 1
        return first + nr_blocks << PAGEBLOCK_ORDER

    @property
    def nr_frames(self) -> int:
        """Frames that have a pin; costs a look at each block's count."""
        return int(self.counts.sum(dtype=np.int64))

    @property
    def nr_full_blocks(self) -> int:
        """Blocks all of whose frames are pinned."""
        return int(np.count_nonzero(self.counts == PAGEBLOCK_NR_PAGES))

    def firsts_by_form(self) -> PinRows:
        """First pins, by what says where a block's records are and by nothing else."""
        table = self._at_places(self.sparse.live())
        parts = [table.at(~self._dense[table.pfns >> PAGEBLOCK_ORDER])]
        parts += self._in_column(self.span.start, self.span.stop)
        return joined(parts)

    def check(self) -> None:
        """Run X1, X2, X5, X6 and the invariants of the table.

        Raises:
            InvariantError: one does not hold.
        """
        self.sparse.check()
        table = self._at_places(self.sparse.live()).pfns
        in_node = (table >= self.span.start) & (table < self.span.stop)
        require(in_node.all(), "X5 a record outside the node")
        blocks = np.arange(len(self.counts))
        counts = np.bincount(table >> PAGEBLOCK_ORDER, minlength=len(blocks))
        require(not counts[self._dense].any(), "X2 a block in the table and in the column")
        for lo, hi in self._dense_runs(self.span.start, self.span.stop):
            at = self._rows[lo:hi, 0].nonzero()[0] + lo
            counts += np.bincount(at >> PAGEBLOCK_ORDER, minlength=len(blocks))
            require((self._rows[at, 0] > 0).all(), "X5 a record without a tag", start=lo)
        require(np.array_equal(counts, self.counts), "X1 frames per block")
        crowded = self._dense.copy()
        crowded[list(self.thin)] = False
        least, most = counts[crowded], counts[~self._dense]
        require(least.size == 0 or least.min() >= self.sparse_below, "X6 a dense block of too few")
        require(most.max(initial=0) <= self.dense_above, "X6 a crowded block that is not dense")


def _repeated(run: slice, words: tuple[int, ...]) -> Iterator[tuple[slice, bytes]]:
    """Two words for each frame of a run: where in memory, and how they lie there, in parts."""
    record = pack("2q", *words)
    for start in range(run.start, run.stop, _NR_FRAMES_AT_A_TIME):
        stop = min(start + _NR_FRAMES_AT_A_TIME, run.stop)
        yield slice(start * _NR_BYTES, stop * _NR_BYTES), record * (stop - start)


def _frames_of(blocks: NDArray[np.int64]) -> Pfns:
    """All frames of some blocks."""
    return ((blocks << PAGEBLOCK_ORDER)[:, None] + np.arange(PAGEBLOCK_NR_PAGES)).ravel()
