"""The upper level of the radix and everything that only reads it.

Owns:    the state of a node's radix (its forms are told in `pinpage.radix`, which writes it).
Ignores: how pins come and go; locks: the caller holds the node's lock, except for what is
         named "safe without the lock".  That never fails, but may be untrue while a writer
         works; the node's sequence count tells.
Cost:    point reads O(1); columns O(n), plus about 3 us per dense block touched; scans 1 us
         per pageblock; 2 bytes per block of the node, pinned or not.
Kernel counterpart: xa_load, xas_for_each.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pinpage.errors import require
from pinpage.leaf import DenseLeaf
from pinpage.sparse import Located, SparseTable
from pinpage.units import PAGEBLOCK_NR_PAGES, PAGEBLOCK_ORDER, Mask, Pfns, Span

__all__ = ["DENSE_ABOVE", "OFFSET_MASK", "SPARSE_BELOW", "RadixReads", "Record", "pieces"]

DENSE_ABOVE = 64
"""A block with more pinned frames than this gets a leaf of its own (20..50 bytes per
record in the sparse table against 6.6 KiB at most for a leaf)."""
SPARSE_BELOW = 16
"""A leaf with fewer pinned frames goes back to the table; far from `DENSE_ABOVE`, so that
pinning and unpinning around one of them does not convert each time."""

Record = tuple[int, int]
"""(tag, value) of one pin."""

OFFSET_MASK = PAGEBLOCK_NR_PAGES - 1
"""The bits of a pfn that say which frame of its pageblock it is."""


class RadixReads:
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
        self.count_at = memoryview(self.counts.data)
        self.dense: dict[int, DenseLeaf] = {}
        self.sparse = SparseTable(span)
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

    # Columns of frames.

    def find_many(self, pfns: Pfns) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The first pin of each frame: tags (`NO_TAG` where none) and values, shape (n,) each.

        Safe with any pfns of the node, also unsorted ones and repeated ones (slower).
        """
        places = self.sparse.locate(pfns).places  # of a frame without record, an empty slot
        tags, values = self.sparse.tags_at(places), self.sparse.values_at(places)
        for leaf, rows, offsets in self._by_leaf(pfns):
            there = leaf.mask()[offsets]
            tags[rows[there]] = leaf.tags_at(offsets[there])
            values[rows[there]] = leaf.values_at(offsets[there])
        return tags, values

    def look(self, pfns: Pfns) -> tuple[Mask, Located | None]:
        """Which frames are pinned, bool[n]; and, for `add_many`, where the table would put them."""
        found = self.sparse.locate(pfns)
        if not self.dense:
            return found.is_there, found
        pinned = found.is_there.copy()
        in_table = True
        for leaf, rows, offsets in self._by_leaf(pfns):
            pinned[rows] = leaf.mask()[offsets]
            in_table = False
        return pinned, found if in_table else None

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
                yield leaf, rows, pfns[rows] & OFFSET_MASK

    # Ranges.

    def is_clear(self, start: int, stop: int) -> bool:
        """Whether no frame in [start, stop) is pinned."""
        return all(
            not self.count_at[(lo >> PAGEBLOCK_ORDER) - self.first_block]
            or self.next_pinned(lo, hi) is None
            for lo, hi in pieces(start, stop)
        )

    def holds_range(self, start: int, stop: int, tag: int, values: int | NDArray[np.int64]) -> bool:
        """Whether every frame of [start, stop) has exactly this as its first pin."""
        for lo, hi in pieces(start, stop):
            piece = values if isinstance(values, int) else values[lo - start : hi - start]
            leaf = self.dense.get(lo >> PAGEBLOCK_ORDER)
            if leaf is not None:
                if not leaf.holds_run(lo & OFFSET_MASK, (lo & OFFSET_MASK) + hi - lo, tag, piece):
                    return False
                continue
            places = self.sparse.locate(np.arange(lo, hi)).places
            if (self.sparse.tags_at(places) != tag).any():
                return False
            if (self.sparse.values_at(places) != piece).any():
                return False
        return True

    # Scans, over [start, stop) within the node.

    def fill_mask(self, start: int, stop: int, mask: Mask) -> None:
        """Mark the pinned frames of [start, stop) in `mask`, shape (stop - start,), all False."""
        if stop - start > PAGEBLOCK_NR_PAGES:
            pfns = self.sparse.pfns_at(self.sparse.in_span(start, stop))
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
                pfns = self.sparse.pfns_at(self.sparse.in_block(block))
                mask[pfns[(pfns >= lo) & (pfns < hi)] - start] = True

    def first_pins(
        self, start: int, stop: int
    ) -> tuple[Pfns, NDArray[np.int32], NDArray[np.int64]]:
        """The first pin of each pinned frame of [start, stop): pfns ascending, tags, values."""
        blocks = self._dense_blocks(start, stop)
        if len(blocks) == 1 and blocks[0] << 9 <= start and stop <= blocks[0] + 1 << 9:
            return self._in_leaf(blocks[0], start, stop)
        parts = [self._in_leaf(block, start, stop) for block in blocks]
        parts.append(self._in_table(start, stop))
        if len(parts) == 1:
            return parts[0]
        pfns, tags, values = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.argsort(pfns, kind="stable")
        return pfns[order], tags[order], values[order]

    def _in_leaf(
        self, block: int, start: int, stop: int
    ) -> tuple[Pfns, NDArray[np.int32], NDArray[np.int64]]:
        """`first_pins` of a dense block."""
        base = block << PAGEBLOCK_ORDER
        leaf = self.dense[block]
        lo, hi = max(start - base, 0), min(stop - base, PAGEBLOCK_NR_PAGES)
        offsets = leaf.mask()[lo:hi].nonzero()[0]
        if lo:
            offsets += lo
        tags, values = leaf.tags_at(offsets), leaf.values_at(offsets)
        offsets += base
        return offsets, tags, values

    def _in_table(self, start: int, stop: int) -> tuple[Pfns, NDArray[np.int32], NDArray[np.int64]]:
        """`first_pins` of the sparse blocks."""
        table = self.sparse
        block = start >> PAGEBLOCK_ORDER
        if stop - start > PAGEBLOCK_NR_PAGES or block != stop - 1 >> PAGEBLOCK_ORDER:
            places = table.in_span(start, stop)
        elif block in self.dense or not self.count_at[block - self.first_block]:
            places = np.empty(0, dtype=np.int64)
        else:
            places = table.in_block(block)
        pfns = table.pfns_at(places)
        order = np.argsort(pfns)
        order = order[(pfns[order] >= start) & (pfns[order] < stop)]
        return pfns[order], table.tags_at(places[order]), table.values_at(places[order])

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
                pfns = self.sparse.pfns_at(self.sparse.in_block(block))
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
        live = self.sparse.pfns_at(self.sparse.live())
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


def pieces(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """[start, stop) cut at the borders of pageblocks."""
    while start < stop:
        border = min((start | OFFSET_MASK) + 1, stop)
        yield start, border
        start = border
