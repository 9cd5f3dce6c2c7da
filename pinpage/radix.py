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

from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinpage.leaf import DenseLeaf
from pinpage.radix_reads import OFFSET_MASK, RadixReads, Record, pieces
from pinpage.sparse import Located
from pinpage.units import PAGEBLOCK_ORDER, Pfns

__all__ = ["Radix"]

_Entry = tuple[int, int, Any]
"""A pin of a batch: (tag, value, whatever the caller keeps there)."""

_MIN_COLUMN_NR_PINS = 100  # a shorter batch is as fast pin by pin
_NR_SAMPLES = 64  # of a batch: enough to tell a few leaves from many
_MIN_RUN_NR_PAGES = 16  # a shorter run is as fast pin by pin


class Radix(RadixReads):
    """The pins of one node's frames: `RadixReads`, and the writes that keep X1..X6."""

    # One frame.

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

    def add_batch(self, pfns: list[int], entries: list[_Entry]) -> list[tuple[int, _Entry]]:
        """Add the pins of a batch, (tag, value, ...) each; returns those that are there."""
        refused = []
        dense, sparse_put, count_at, first = (
            self.dense.get,
            self.sparse.put,
            self.count_at,
            self.first_block,
        )
        nr_frames, dense_above = len(pfns), self.dense_above
        for pfn, entry in zip(pfns, entries, strict=True):
            tag, value, _ = entry
            block = pfn >> 9
            leaf = dense(block)
            if leaf is None:
                is_first = sparse_put(pfn, tag, value)
            else:  # as `DenseLeaf.put`; a call is a quarter of what this costs
                offset = pfn & 511
                values = leaf.values
                if type(values) is array and leaf.tags == tag and not leaf.present[offset]:
                    values[offset] = value
                    leaf.present[offset] = 1
                    is_first = True
                else:
                    is_first = leaf.put(offset, tag, value)
            if is_first:
                count_at[block - first] = count = count_at[block - first] + 1
                if count > dense_above and leaf is None:
                    self._densify(block)
            else:
                nr_frames -= 1
                if not self._add_extra(pfn, tag, value):
                    refused.append((pfn, entry))
        self.nr_frames += nr_frames
        return refused

    def add_bulk(self, pfns: list[int], entries: list[_Entry]) -> bool:
        """Add the pins of a batch of distinct frames as a run or as columns.

        Args:
            entries: (tag, value, ...) of each.

        Returns:
            False, and nothing added: the batch is neither, or a frame has a pin already.
        """
        start, stop = pfns[0], pfns[-1] + 1
        if stop - start == len(pfns) >= _MIN_RUN_NR_PAGES and pfns == list(range(start, stop)):
            tags, values, _ = zip(*entries, strict=True)
            return self._add_run(start, stop, tags, values)
        if len(pfns) < _MIN_COLUMN_NR_PINS or not self._suits_columns(pfns):
            return False
        tags, values, _ = zip(*entries, strict=True)
        return self._add_columns(pfns, tags, values)

    def _add_run(self, start: int, stop: int, tags: Sequence[int], values: Sequence[int]) -> bool:
        """A run by one owner, as drivers make them."""
        if tags.count(tags[0]) < len(tags) or not self.is_clear(start, stop):
            return False
        self.add_range(start, stop, tags[0], np.array(values, dtype=np.int64))
        return True

    def _suits_columns(self, pfns: list[int]) -> bool:
        """Whether a batch touches few dense leaves: columns pay for each of them."""
        if not self.dense:
            return True
        some = {pfn >> PAGEBLOCK_ORDER for pfn in pfns[:: len(pfns) // _NR_SAMPLES]}
        return len(some & self.dense.keys()) * _MIN_RUN_NR_PAGES <= _NR_SAMPLES

    def _add_columns(self, pfns: list[int], tags: Sequence[int], values: Sequence[int]) -> bool:
        column = np.array(pfns, dtype=np.int64)
        pinned, found = self.look(column)
        if pinned.any():
            return False
        tag_column = np.array(tags, dtype=np.int32)
        self.add_many(column, tag_column, np.array(values, dtype=np.int64), found)
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
            leaf.replace(pfn & OFFSET_MASK, *record)
        else:
            self.sparse.replace(pfn, *record)

    # Columns of distinct frames.

    def add_many(
        self,
        pfns: Pfns,
        tags: NDArray[np.int32],
        values: NDArray[np.int64],
        found: Located | None = None,
    ) -> None:
        """Add the first pin of frames that have none.

        Args:
            found: what `look` has just said of all of them.
        """
        if found is not None:
            self.sparse.put_many(pfns, tags, values, found)
        else:
            in_table = np.ones(len(pfns), dtype=np.bool_)
            for leaf, rows, offsets in self._by_leaf(pfns):
                leaf.put_many(offsets, tags[rows], values[rows])
                in_table[rows] = False
            self.sparse.put_many(pfns[in_table], tags[in_table], values[in_table])
        blocks = self._count(pfns, 1)
        counts = self.counts[blocks]
        if counts.max(initial=0) > self.dense_above:
            crowded = blocks[counts > self.dense_above]
            for block in (np.unique(crowded) + self.first_block).tolist():
                if block not in self.dense:
                    self._densify(block)

    def remove_many(self, pfns: Pfns) -> None:
        """Remove the only pin of each of these frames."""
        found = self.sparse.locate(pfns)
        self.sparse.remove_many(found.places[found.is_there])
        for leaf, _, offsets in self._by_leaf(pfns):
            leaf.remove_many(offsets)
        blocks = self._count(pfns, -1)
        if self.dense:
            thin = blocks[self.counts[blocks] < self.sparse_below]
            for block in (np.unique(thin) + self.first_block).tolist():
                if block in self.dense:
                    self._sparsify(block)

    def _count(self, pfns: Pfns, change: int) -> NDArray[np.int64]:
        """Count frames in or out; returns their blocks (0 the first), one per frame."""
        blocks: NDArray[np.int64] = (pfns >> PAGEBLOCK_ORDER) - self.first_block
        np.add.at(self.counts, blocks, np.int16(change))
        self.nr_frames += len(pfns) * change
        return blocks

    # Ranges.

    def add_range(self, start: int, stop: int, tag: int, values: int | NDArray[np.int64]) -> None:
        """Pin every frame of [start, stop), none of which is pinned, with one tag.

        Args:
            values: one for all, or an array of shape (stop - start,).
        """
        for lo, hi in pieces(start, stop):
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
            leaf.put_run(lo & OFFSET_MASK, (lo & OFFSET_MASK) + hi - lo, tag, piece)
            self.count_at[block - self.first_block] += hi - lo
            self.nr_frames += hi - lo

    def remove_range(self, start: int, stop: int) -> None:
        """Remove the only pin of every frame of [start, stop)."""
        for lo, hi in pieces(start, stop):
            block = lo >> PAGEBLOCK_ORDER
            leaf = self.dense.get(block)
            if leaf is None:
                self.remove_many(np.arange(lo, hi))
                continue
            count = self.count_at[block - self.first_block] - (hi - lo)
            self.count_at[block - self.first_block] = count
            self.nr_frames -= hi - lo
            leaf.remove_run(lo & OFFSET_MASK, (lo & OFFSET_MASK) + hi - lo)
            if count < self.sparse_below:
                self._sparsify(block)

    # Scans, over [start, stop) within the node.

    # Adapting.

    def _densify(self, block: int, expected: Record | None = None) -> DenseLeaf:
        """Give a block a leaf of its own; `expected` is the record that most frames will have."""
        places = self.sparse.in_block(block) if self.count_at[block - self.first_block] else None
        self.nr_conversions += 1
        if places is None or not places.size:
            leaf = self.dense[block] = DenseLeaf(*(expected or (0, 0)))
            return leaf
        tags, values = self.sparse.tags_at(places), self.sparse.values_at(places)
        leaf = DenseLeaf(int(tags[0]), int(values[0]))
        leaf.put_many(self.sparse.pfns_at(places) & OFFSET_MASK, tags, values)
        self.sparse.remove_many(places)
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
