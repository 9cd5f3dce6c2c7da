"""Which frames of one NUMA node are pinned: block -> leaf, in block order.

The upper level is a column of counts, one per pageblock; the lower level adapts to what a
block holds.

==========  ============================  ===========================================
frames      leaf                          where
==========  ============================  ===========================================
0           none
few         a row among others            `pinpage.sparse`, one table per node
many        512 slots                     `pinpage.leaf`, one object per block
a run       512 slots, constant columns   the same
==========  ============================  ===========================================

A leaf holds the *first* pin of each frame.  Further pins (a GUP pin on a page that zram
holds) are rare and live in a dict of lists, in order of arrival; when the first pin goes,
the next moves up.  So all that is written for columns deals with one record per frame.

A record is a (tag, value) pair of ints, made by the registry: to this module, opaque.

Owns:    the pins of one node.
Ignores: owners, batches, moves, locks: the caller holds the node's lock for every write.
         Reads named "safe without the lock" never fail, but may be untrue while a writer
         works; the node's sequence count tells.
Cost:    point operations O(1); columns O(n), plus about 3 us per dense block touched;
         ranges 2 us per whole block; 2 bytes per block of the node, pinned or not.
Kernel counterpart: the xarray (one size of node, one entry per index).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinpage.errors import require
from pinpage.leaf import DenseLeaf
from pinpage.sparse import NO_TAG, SparseTable
from pinpage.units import PAGEBLOCK_NR_PAGES, PAGEBLOCK_ORDER, Mask, Pfns, Span

__all__ = ["DENSE_ABOVE", "SPARSE_BELOW", "Radix", "Record"]

DENSE_ABOVE = 64
"""A block with more pinned frames than this gets a leaf of its own (20..50 bytes per
record in the sparse table against 6.6 KiB at most for a leaf)."""
SPARSE_BELOW = 16
"""A leaf with fewer pinned frames goes back to the table; far from `DENSE_ABOVE`, so that
pinning and unpinning around one of them does not convert each time."""

Record = tuple[int, int]
"""(tag, value) of one pin."""

Batched = list[tuple[int, tuple[int, int, Any]]]
"""Pins of a batch: (pfn, (tag, value, whatever the caller keeps there))."""

_MIN_RUN_NR_PAGES = 16  # a shorter run is as fast pin by pin
_OFFSET_MASK = PAGEBLOCK_NR_PAGES - 1


class Radix:
    """The pins of one node's frames.

    Attributes:
        counts: int16, shape (nr_blocks,), frames pinned in each block of the node.
        dense: leaves by block number.
        extras: pins of a frame beyond its first, by pfn.
        nr_frames: frames that have a pin; `nr_extra`: pins beyond the first of a frame.

    Invariants, run by `check`:
        X1 `counts` says how many frames of each block have a record, and `nr_frames` adds up.
        X2 a block has records in its dense leaf or in the table, never in both.
        X3 a frame with extras has a first pin, and all its pins differ.
        X4 `nr_extra` counts the extras, and no list of extras is empty.
        X5 every record lies within the node and has a tag.
        X6 leaves hold at least `sparse_below` frames, blocks in the table at most `dense_above`.
    """

    def __init__(
        self, span: Span, *, dense_above: int = DENSE_ABOVE, sparse_below: int = SPARSE_BELOW
    ) -> None:
        """An empty radix for the frames in `span`, which starts on a pageblock."""
        require(
            1 <= sparse_below <= dense_above,
            "thresholds cross",
            below=sparse_below,
            above=dense_above,
        )
        self.span = span
        self.dense_above = dense_above
        self.sparse_below = sparse_below
        self.first_block = span.start >> PAGEBLOCK_ORDER
        nr_blocks = (span.stop - 1 >> PAGEBLOCK_ORDER) - self.first_block + 1
        self.counts: NDArray[np.int16] = np.zeros(nr_blocks, dtype=np.int16)
        self.count_at = memoryview(self.counts)
        self.dense: dict[int, DenseLeaf] = {}
        self.sparse = SparseTable()
        self.extras: dict[int, list[Record]] = {}
        self.nr_frames = 0
        self.nr_extra = 0
        self.nr_conversions = 0

    # One frame.

    def get(self, pfn: int) -> Record | None:
        """The first pin of a frame, or None.  Safe without the lock."""
        leaf = self.dense.get(pfn >> 9)
        return self.sparse.get(pfn) if leaf is None else leaf.get(pfn & 511)

    def holds(self, pfn: int) -> bool:
        """Whether the frame has a pin.  Safe without the lock."""
        leaf = self.dense.get(pfn >> 9)
        return self.sparse.find(pfn) >= 0 if leaf is None else leaf.present[pfn & 511] == 1

    def records_of(self, pfn: int) -> list[Record]:
        """All pins of a frame in order of arrival.  Safe without the lock."""
        first = self.get(pfn)
        if first is None:
            return []
        return [first, *self.extras.get(pfn, ())]

    def add(self, pfn: int, tag: int, value: int) -> bool:
        """Add one pin; False when the frame has exactly this one already."""
        block = pfn >> 9
        leaf = self.dense.get(block)
        at = block - self.first_block
        if leaf is not None:
            if not leaf.put(pfn & 511, tag, value):
                return self._add_extra(pfn, tag, value)
            self.count_at[at] += 1
        else:
            if not self.sparse.put(pfn, tag, value):
                return self._add_extra(pfn, tag, value)
            self.count_at[at] = count = self.count_at[at] + 1
            if count > self.dense_above:
                self._densify(block)
        self.nr_frames += 1
        return True

    def add_batch(self, rows: Batched) -> Batched:
        """Add the pins of a batch, given as (pfn, (tag, value, ...)); returns those there already."""
        if not rows:
            return []
        start, stop = rows[0][0], rows[-1][0] + 1
        if len(rows) >= _MIN_RUN_NR_PAGES and stop - start == len(rows) and self._add_run(rows):
            return []
        refused = []
        dense, sparse_put, count_at, first = (
            self.dense.get,
            self.sparse.put,
            self.count_at,
            self.first_block,
        )
        nr_frames = len(rows)
        for row in rows:
            pfn, (tag, value, _) = row
            block = pfn >> 9
            leaf = dense(block)
            if leaf.put(pfn & 511, tag, value) if leaf is not None else sparse_put(pfn, tag, value):
                count_at[block - first] = count = count_at[block - first] + 1
                if leaf is None and count > self.dense_above:
                    self._densify(block)
            else:
                nr_frames -= 1
                if not self._add_extra(pfn, tag, value):
                    refused.append(row)
        self.nr_frames += nr_frames
        return refused

    def _add_run(self, rows: Batched) -> bool:
        """Add a batch that is one run by one owner, as drivers make them; False if it is not."""
        start, stop = rows[0][0], rows[-1][0] + 1
        tag = rows[0][1][0]
        if [row[0] for row in rows] != list(range(start, stop)) or any(
            row[1][0] != tag for row in rows
        ):
            return False
        if not self.is_clear(start, stop):
            return False
        self.add_range(start, stop, tag, np.array([row[1][1] for row in rows], dtype=np.int64))
        return True

    def discard(self, pfn: int, tag: int, value: int) -> bool:
        """Remove one pin; False when the frame does not have it."""
        if self.extras and pfn in self.extras:
            return self._discard_among(pfn, (tag, value))
        block = pfn >> 9
        leaf = self.dense.get(block)
        at = block - self.first_block
        if leaf is not None:
            if not leaf.discard(pfn & 511, tag, value):
                return False
            self.count_at[at] = count = self.count_at[at] - 1
            if count < self.sparse_below:
                self._sparsify(block)
        else:
            if not self.sparse.discard(pfn, tag, value):
                return False
            self.count_at[at] -= 1
        self.nr_frames -= 1
        return True

    def _add_extra(self, pfn: int, tag: int, value: int) -> bool:
        if (tag, value) in self.records_of(pfn):
            return False
        self.extras.setdefault(pfn, []).append((tag, value))
        self.nr_extra += 1
        return True

    def _discard_among(self, pfn: int, record: Record) -> bool:
        """Remove one of several pins of a frame; the frame stays pinned."""
        extras = self.extras[pfn]
        if record == self.get(pfn):
            self._replace_first(pfn, extras.pop(0))
        elif record in extras:
            extras.remove(record)
        else:
            return False
        self.nr_extra -= 1
        if not extras:
            del self.extras[pfn]
        return True

    def _replace_first(self, pfn: int, record: Record) -> None:
        leaf = self.dense.get(pfn >> PAGEBLOCK_ORDER)
        if leaf is not None:
            leaf.replace(pfn & _OFFSET_MASK, *record)
        else:
            slot = self.sparse.find(pfn)
            self.sparse.tags[slot], self.sparse.values[slot] = record

    # Columns of distinct frames in ascending order.

    def find_many(self, pfns: Pfns) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The first pin of each frame: tags (`NO_TAG` where none) and values, shape (n,) each.

        Safe with any pfns of the node, also unsorted ones and repeated ones (slower).
        """
        slots = self.sparse.find_many(pfns)  # -1, the last slot, is empty: no tag
        tags, values = self.sparse.tags[slots], self.sparse.values[slots]
        for leaf, rows, offsets in self._by_leaf(pfns):
            there = leaf.mask()[offsets]
            tags[rows[there]] = leaf.tags_at(offsets[there])
            values[rows[there]] = leaf.values_at(offsets[there])
        return tags, values

    def add_many(self, pfns: Pfns, tags: NDArray[np.int32], values: NDArray[np.int64]) -> None:
        """Add the first pin of frames that have none."""
        in_table = np.ones(len(pfns), dtype=np.bool_)
        for leaf, rows, offsets in self._by_leaf(pfns):
            leaf.put_many(offsets, tags[rows], values[rows])
            in_table[rows] = False
        if in_table.all():
            self.sparse.put_many(pfns, tags, values)
        elif in_table.any():
            self.sparse.put_many(pfns[in_table], tags[in_table], values[in_table])
        blocks = self._count(pfns, 1)
        for block in blocks[self.counts[blocks] > self.dense_above].tolist():
            if block + self.first_block not in self.dense:
                self._densify(block + self.first_block)

    def remove_many(self, pfns: Pfns) -> None:
        """Remove the only pin of each of these frames."""
        slots = self.sparse.find_many(pfns)
        self.sparse.remove_many(slots[slots >= 0])
        for leaf, _, offsets in self._by_leaf(pfns):
            leaf.remove_many(offsets)
        blocks = self._count(pfns, -1)
        if self.dense:
            for block in blocks[self.counts[blocks] < self.sparse_below].tolist():
                if block + self.first_block in self.dense:
                    self._sparsify(block + self.first_block)

    def _count(self, pfns: Pfns, change: int) -> NDArray[np.int64]:
        """Count ascending frames in or out; returns their blocks, from the node's first, once each."""
        blocks = (pfns >> PAGEBLOCK_ORDER) - self.first_block
        is_first = np.ones(len(blocks), dtype=np.bool_)
        np.not_equal(blocks[1:], blocks[:-1], out=is_first[1:])
        starts = is_first.nonzero()[0]
        blocks = blocks[starts]
        self.counts[blocks] += (np.diff(starts, append=len(pfns)) * change).astype(np.int16)
        self.nr_frames += len(pfns) * change
        return blocks

    def _by_leaf(
        self, pfns: Pfns
    ) -> Iterator[tuple[DenseLeaf, NDArray[np.int64], NDArray[np.int64]]]:
        """For each dense leaf among these frames: the leaf, which rows it has, their offsets."""
        if not self.dense or not len(pfns):
            return
        blocks = pfns >> PAGEBLOCK_ORDER
        if len(pfns) > 1 and (blocks[1:] < blocks[:-1]).any():
            order = np.argsort(blocks, kind="stable")
        else:
            order = np.arange(len(pfns))
        ordered = blocks[order]
        starts = np.flatnonzero(np.diff(ordered, prepend=-1)).tolist()
        for start, stop in zip(starts, [*starts[1:], len(pfns)], strict=True):
            leaf = self.dense.get(int(ordered[start]))
            if leaf is not None:
                rows = order[start:stop]
                yield leaf, rows, pfns[rows] & _OFFSET_MASK

    # Ranges.

    def is_clear(self, start: int, stop: int) -> bool:
        """Whether no frame in [start, stop) is pinned."""
        return all(
            not self.count_at[(lo >> PAGEBLOCK_ORDER) - self.first_block]
            or self.next_pinned(lo, hi) is None
            for lo, hi in _pieces(start, stop)
        )

    def add_range(self, start: int, stop: int, tag: int, values: int | NDArray[np.int64]) -> None:
        """Pin every frame of [start, stop), none of which is pinned, with one tag.

        Args:
            values: one for all, or an array of shape (stop - start,).
        """
        for lo, hi in _pieces(start, stop):
            block = lo >> PAGEBLOCK_ORDER
            piece = values if isinstance(values, int) else values[lo - start : hi - start]
            leaf = self.dense.get(block)
            if leaf is None:
                if self.count_at[block - self.first_block] + hi - lo <= self.dense_above:
                    column = np.broadcast_to(np.asarray(piece, dtype=np.int64), hi - lo)
                    self.add_many(np.arange(lo, hi), np.full(hi - lo, tag, dtype=np.int32), column)
                    continue
                leaf = self._densify(
                    block, (tag, piece if isinstance(piece, int) else int(piece[0]))
                )
            leaf.put_run(lo & _OFFSET_MASK, (lo & _OFFSET_MASK) + hi - lo, tag, piece)
            self.count_at[block - self.first_block] += hi - lo
            self.nr_frames += hi - lo

    def holds_range(self, start: int, stop: int, tag: int, values: int | NDArray[np.int64]) -> bool:
        """Whether every frame of [start, stop) has exactly this as its first pin."""
        for lo, hi in _pieces(start, stop):
            piece = values if isinstance(values, int) else values[lo - start : hi - start]
            leaf = self.dense.get(lo >> PAGEBLOCK_ORDER)
            if leaf is not None:
                if not leaf.holds_run(lo & _OFFSET_MASK, (lo & _OFFSET_MASK) + hi - lo, tag, piece):
                    return False
                continue
            slots = self.sparse.find_many(np.arange(lo, hi))
            if (slots < 0).any() or (self.sparse.tags[slots] != tag).any():
                return False
            if (self.sparse.values[slots] != piece).any():
                return False
        return True

    def remove_range(self, start: int, stop: int) -> None:
        """Remove the only pin of every frame of [start, stop)."""
        for lo, hi in _pieces(start, stop):
            block = lo >> PAGEBLOCK_ORDER
            leaf = self.dense.get(block)
            if leaf is None:
                self.remove_many(np.arange(lo, hi))
                continue
            count = self.count_at[block - self.first_block] - (hi - lo)
            self.count_at[block - self.first_block] = count
            self.nr_frames -= hi - lo
            leaf.remove_run(lo & _OFFSET_MASK, (lo & _OFFSET_MASK) + hi - lo)
            if count < self.sparse_below:
                self._sparsify(block)

    # Scans, over [start, stop) within the node.

    def fill_mask(self, start: int, stop: int, mask: Mask) -> None:
        """Write which frames of [start, stop) are pinned to `mask`, shape (stop - start,), all False."""
        if stop - start > PAGEBLOCK_NR_PAGES:
            pfns = self.sparse.keys[self.sparse.in_span(start, stop)]
            mask[pfns - start] = True
            blocks = self._dense_blocks(start, stop)
        else:
            blocks = list(range(start >> PAGEBLOCK_ORDER, (stop - 1 >> PAGEBLOCK_ORDER) + 1))
        for block in blocks:
            base = block << PAGEBLOCK_ORDER
            lo, hi = max(base, start), min(base + PAGEBLOCK_NR_PAGES, stop)
            leaf = self.dense.get(block)
            if leaf is not None:
                mask[lo - start : hi - start] = leaf.mask()[lo - base : hi - base]
            elif self.count_at[block - self.first_block]:
                pfns = self.sparse.keys[self.sparse.in_block(block)]
                mask[pfns[(pfns >= lo) & (pfns < hi)] - start] = True

    def first_pins(
        self, start: int, stop: int
    ) -> tuple[Pfns, NDArray[np.int32], NDArray[np.int64]]:
        """The first pin of every pinned frame of [start, stop): pfns ascending, tags, values."""
        parts = [self._in_table(start, stop)] if self.nr_frames else []
        for block in self._dense_blocks(start, stop):
            base = block << PAGEBLOCK_ORDER
            leaf = self.dense[block]
            offsets = leaf.mask().nonzero()[0]
            if base < start or base + PAGEBLOCK_NR_PAGES > stop:
                offsets = offsets[(offsets >= start - base) & (offsets < stop - base)]
            parts.append((offsets + base, leaf.tags_at(offsets), leaf.values_at(offsets)))
        parts = [part for part in parts if len(part[0])]
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.int64)
        pfns, tags, values = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.argsort(pfns, kind="stable")
        return pfns[order], tags[order], values[order]

    def _in_table(self, start: int, stop: int) -> tuple[Pfns, NDArray[np.int32], NDArray[np.int64]]:
        """`first_pins` of the sparse blocks."""
        table = self.sparse
        block = start >> PAGEBLOCK_ORDER
        if stop - start > PAGEBLOCK_NR_PAGES or block != stop - 1 >> PAGEBLOCK_ORDER:
            slots = table.in_span(start, stop)
        elif block in self.dense or not self.count_at[block - self.first_block]:
            slots = np.empty(0, dtype=np.int64)
        else:
            slots = table.in_block(block)
        pfns = table.keys[slots]
        order = np.argsort(pfns)
        order = order[(pfns[order] >= start) & (pfns[order] < stop)]
        return pfns[order], table.tags[slots[order]], table.values[slots[order]]

    def next_pinned(self, start: int, stop: int) -> int | None:
        """The first pinned frame of [start, stop), or None."""
        block = start >> PAGEBLOCK_ORDER
        while (start := max(start, block << PAGEBLOCK_ORDER)) < stop:
            if not self.count_at[block - self.first_block]:
                block = self._next_block(block)
                continue
            leaf = self.dense.get(block)
            base = block << PAGEBLOCK_ORDER
            if leaf is not None:
                offset = leaf.present.find(1, start - base)
                if offset >= 0:
                    return base + offset if base + offset < stop else None
            else:
                pfns = self.sparse.keys[self.sparse.in_block(block)]
                pfns = pfns[pfns >= start]
                if pfns.size:
                    found = int(pfns.min())
                    return found if found < stop else None
            block += 1
        return None

    def _next_block(self, block: int) -> int:
        """The first block from `block` on that has a pin, or the one past the node."""
        at, step = block - self.first_block, 64
        while at < len(self.counts):
            ahead = np.flatnonzero(self.counts[at : at + step])
            if ahead.size:
                return self.first_block + at + int(ahead[0])
            at, step = at + step, step * 8
        return self.first_block + len(self.counts)

    def _dense_blocks(self, start: int, stop: int) -> list[int]:
        first, last = start >> PAGEBLOCK_ORDER, stop - 1 >> PAGEBLOCK_ORDER
        if first == last:
            return [first] if first in self.dense else []
        return sorted(block for block in self.dense if first <= block <= last)

    # Adapting.

    def _densify(self, block: int, expected: Record | None = None) -> DenseLeaf:
        """Give a block a leaf of its own; `expected` is the record that most frames will have."""
        slots = self.sparse.in_block(block) if self.count_at[block - self.first_block] else None
        self.nr_conversions += 1
        if slots is None or not slots.size:
            leaf = self.dense[block] = DenseLeaf(*(expected or (0, 0)))
            return leaf
        tags, values = self.sparse.tags[slots], self.sparse.values[slots]
        leaf = DenseLeaf(int(tags[0]), int(values[0]))
        leaf.put_many(self.sparse.keys[slots] & _OFFSET_MASK, tags, values)
        self.sparse.remove_many(slots)
        self.dense[block] = leaf
        return leaf

    def _sparsify(self, block: int) -> None:
        """Give a block's few records back to the table."""
        leaf = self.dense.pop(block)
        self.nr_conversions += 1
        offsets = leaf.mask().nonzero()[0]
        if offsets.size:
            pfns = offsets + (block << PAGEBLOCK_ORDER)
            self.sparse.put_many(pfns, leaf.tags_at(offsets), leaf.values_at(offsets))

    def nr_in_runs(self) -> int:
        """Frames in leaves that one owner holds."""
        first = self.first_block
        return sum(
            self.count_at[block - first] for block, leaf in list(self.dense.items()) if leaf.is_run
        )

    def check(self) -> None:
        """Run X1..X6, and the invariants of the table and the leaves.

        Raises:
            InvariantError: one does not hold.
        """
        self.sparse.check()
        live = self.sparse.keys[self.sparse.tags >= 0]
        require(
            ((live >= self.span.start) & (live < self.span.stop)).all(),
            "X5 a record outside the node",
        )
        counts = np.bincount(
            (live >> PAGEBLOCK_ORDER) - self.first_block, minlength=len(self.counts)
        )
        require(
            counts.max() <= self.dense_above,
            "X6 a crowded block without a leaf",
            nr_frames=int(counts.max()),
        )
        for block, leaf in self.dense.items():
            leaf.check()
            require(
                counts[block - self.first_block] == 0,
                "X2 a block in the table and in a leaf",
                block=block,
            )
            offsets = leaf.mask().nonzero()[0]
            require(
                len(offsets) >= self.sparse_below,
                "X6 a leaf of too few",
                block=block,
                nr_frames=len(offsets),
            )
            require((leaf.tags_at(offsets) >= 0).all(), "X5 a record without a tag", block=block)
            require(
                (block << PAGEBLOCK_ORDER) + int(offsets[-1]) < self.span.stop,
                "X5 a leaf outside",
                block=block,
            )
            counts[block - self.first_block] = len(offsets)
        require(np.array_equal(counts, self.counts), "X1 frames per block")
        require(
            int(counts.sum()) == self.nr_frames,
            "X1 frames",
            counted=int(counts.sum()),
            kept=self.nr_frames,
        )
        self._check_extras()

    def _check_extras(self) -> None:
        for pfn, extras in self.extras.items():
            records = self.records_of(pfn)
            require(extras, "X4 an empty list of extras", pfn=pfn)
            require(records, "X3 extras without a first pin", pfn=pfn)
            require(len(set(records)) == len(records), "X3 a pin twice", pfn=pfn)
        counted = sum(map(len, self.extras.values()))
        require(counted == self.nr_extra, "X4 extras", counted=counted, kept=self.nr_extra)


def _pieces(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """[start, stop) cut at the borders of pageblocks."""
    while start < stop:
        border = min((start | _OFFSET_MASK) + 1, stop)
        yield start, border
        start = border
