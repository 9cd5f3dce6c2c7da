"""The free lists: an index over `frames.order`, without an object per free block.

A free block is its head's entry in the order column.  To find one, the index knows for each
(zone, type, order) which pageblocks hold such a block, and for each pageblock how many.  The
block itself is then found by searching the pageblock's part of the order column.

The kernel's lists are last in, first out by *block*; these are so by *pageblock*: the
pageblock that last got a block of the order is served first, and within it the lowest pfn.
Where a free page stands therefore depends on its pageblock's type alone, while the kernel may
leave pages on the list of a type that their pageblock does not have (after a steal that did
not claim it).  A block larger than a pageblock counts in that of its head.

Kernel counterpart: struct free_area.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mm.buddy.decompose import scatter_orders
from mm.state.frames import Frames
from mm.state.nodes import Zone
from mm.state.pageblock import NR_MIGRATETYPES, NR_PCPTYPES, USUAL_MAX_ORDER, Pageblocks
from pinpage.errors import PinpageError
from pinpage.units import Mask

__all__ = ["FreeArea"]

_NR_ORDERS = USUAL_MAX_ORDER + 1
"""Orders that lists are kept for, where there are no larger blocks than usual."""
_NR_KEPT_CHANGES = 16
"""Entries of the record of changes, for each pageblock."""


class FreeArea:
    """Which pageblocks hold free blocks, by zone, type and order.

    It moves blocks on and off lists; who owns a frame (state, references) is the buddy's.

    Attributes:
        nr_orders: orders that can be asked for, 0 and up: 11, or more where blocks are larger.
        nr_free_blocks: int16[nr_blocks, nr_orders], free blocks by order with their head in the
            pageblock.
        nr_free_in_block: int32[nr_blocks], free frames that lie in the pageblock.
        nr_blocks_on: int64[nr_zones, 6, nr_orders], free blocks on each list.
        zone_of_block: int16[nr_blocks], -1 outside of every zone.
        orders: `frames.order` as a memoryview, for scalar access.
        max_order: largest order that blocks merge to, `Pageblocks.max_order`.
    """

    def __init__(self, frames: Frames, pageblocks: Pageblocks, zones: Sequence[Zone]) -> None:
        """Empty lists over these frames.

        Args:
            frames: the columns, one row per frame.
            pageblocks: the types of the pageblocks.
            zones: the zones, by `Frames.zone`.

        Raises:
            PinpageError: a zone's border lies inside a pageblock, zones overlap, or the
                columns disagree on the number of frames.
        """
        if frames.nr_frames != pageblocks.nr_frames:
            raise PinpageError(
                f"buddy: {frames.nr_frames} frames but pageblocks for {pageblocks.nr_frames}"
            )
        self.frames = frames
        self.pageblocks = pageblocks
        self.zones = tuple(zones)
        self.max_order = pageblocks.max_order
        self.nr_orders = self._nr_orders = max(_NR_ORDERS, self.max_order + 1)
        self.zone_of_block = self._place(zones)
        nr_blocks = pageblocks.nr_blocks
        self.nr_free_blocks: NDArray[np.int16] = np.zeros(
            (nr_blocks, self.nr_orders), dtype=np.int16
        )
        self.nr_free_in_block: NDArray[np.int32] = np.zeros(nr_blocks, dtype=np.int32)
        self.nr_blocks_on: NDArray[np.int64] = np.zeros(
            (len(zones), NR_MIGRATETYPES, self.nr_orders), dtype=np.int64
        )
        self._nr_forgotten = 0
        self._changed: list[int] = []
        self.reset()

    def _place(self, zones: Sequence[Zone]) -> NDArray[np.int16]:
        size, nr_frames = self.pageblocks.nr_pages_per_block, self.pageblocks.nr_frames
        owner = np.full(self.pageblocks.nr_blocks, -1, dtype=np.int16)
        for index, zone in enumerate(zones):
            start, stop = zone.span.start, zone.span.stop
            if zone.index != index:
                raise PinpageError(
                    f"zones: {zone.name!r} has index {zone.index} but stands at position {index}"
                )
            if start % size or (stop % size and stop != nr_frames) or stop > nr_frames:
                raise PinpageError(
                    f"zones: the borders of {zone.name!r} [{start:#x}, {stop:#x}) must lie on "
                    f"pageblocks ({size} pages) within {nr_frames} frames"
                )
            blocks = owner[start // size : -(-stop // size)]
            if (blocks >= 0).any():
                raise PinpageError(f"zones: {zone.name!r} overlaps another zone")
            blocks[:] = index
        return owner

    def reset(self) -> None:
        """Empty all lists and take fresh views of the columns, which may have been replaced."""
        self.nr_free_blocks[:] = 0
        self.nr_free_in_block[:] = 0
        self.nr_blocks_on[:] = 0
        nr_keys = len(self.zones) * NR_MIGRATETYPES
        self._lists: list[dict[int, None]] = [{} for _ in range(nr_keys * self._nr_orders)]
        self._nr_pages = [0] * nr_keys
        # Scalar access through memoryviews costs a third of numpy's.
        self.orders = self.frames.order.data
        self._counts = self.nr_free_blocks.reshape(-1).data
        self._in_block = self.nr_free_in_block.data
        self._on = self.nr_blocks_on.reshape(-1).data
        self._shift = self.pageblocks.order
        keys = self.zone_of_block.astype(np.int64) * NR_MIGRATETYPES + self.pageblocks.migratetype
        self._key: list[int] = keys.tolist()
        self._nr_forgotten += len(self._changed)
        self._changed = [-1]

    # What is there.

    def nr_pages(self, zone: int, migratetype: int) -> int:
        """Free pages on the lists of one type of one zone.  Costs 0.1 us.

        Args:
            zone: the zone's row in `Frames.zone`.
            migratetype: a `MigrateType`.
        """
        return self._nr_pages[zone * NR_MIGRATETYPES + migratetype]

    def nr_pages_but_isolated(self, zone: int) -> int:
        """Free pages on the lists of every type but ISOLATE, the last one.  Costs 0.2 us."""
        first = zone * NR_MIGRATETYPES
        return sum(self._nr_pages[first : first + NR_MIGRATETYPES - 1])

    def has_blocks(self, zone: int, migratetype: int, order: int) -> bool:
        """Whether one list is not empty.

        Args:
            zone: the zone's row in `Frames.zone`.
            migratetype: a `MigrateType`.
            order: log2 of the block's pages.
        """
        return bool(self._lists[(zone * NR_MIGRATETYPES + migratetype) * self._nr_orders + order])

    def smallest_order(self, zone: int, migratetype: int, order: int) -> int:
        """The lowest order >= `order` with a free block of the type, or -1.

        Args:
            zone: the zone's row in `Frames.zone`.
            migratetype: a `MigrateType`.
            order: log2 of the block's pages.
        """
        base = (zone * NR_MIGRATETYPES + migratetype) * self._nr_orders
        lists = self._lists
        for current in range(order, self._nr_orders):
            if lists[base + current]:
                return current
        return -1

    def last_block(self, zone: int, migratetype: int, order: int) -> int:
        """The pageblock that a non-empty list serves next.

        Args:
            zone: the zone's row in `Frames.zone`.
            migratetype: a `MigrateType`.
            order: log2 of the block's pages.
        """
        blocks = self._lists[(zone * NR_MIGRATETYPES + migratetype) * self._nr_orders + order]
        # popitem, not reversed(): it also trims what deletions left behind at the end.
        block, _ = blocks.popitem()
        blocks[block] = None
        return block

    def blocks_on(self, zone: int, migratetype: int, order: int) -> list[int]:
        """The pageblocks on one list, in the order in which they would be served.

        Args:
            zone: the zone's row in `Frames.zone`.
            migratetype: a `MigrateType`.
            order: log2 of the block's pages.
        """
        return list(
            reversed(self._lists[(zone * NR_MIGRATETYPES + migratetype) * self._nr_orders + order])
        )

    def are_on(self, blocks: NDArray[np.int64], zone: int, migratetype: int) -> Mask:
        """Which pageblocks keep their free blocks on the lists of this zone and type, bool[n].

        Args:
            blocks: int64 (n,), numbers of pageblocks.
            zone: the zone's row in `Frames.zone`.
            migratetype: a `MigrateType`.
        """
        wanted, keys = zone * NR_MIGRATETYPES + migratetype, self._key
        return np.array([keys[block] == wanted for block in blocks.tolist()], dtype=np.bool_)

    @property
    def nr_changes(self) -> int:
        """How often the free blocks of a pageblock have changed so far; a mark for later."""
        return self._nr_forgotten + len(self._changed)

    def changed_since(self, mark: int) -> list[int] | None:
        """The pageblocks whose free blocks have changed since `nr_changes` was `mark`.

        Returns:
            Each once, ascending; None where that is too long ago for the record.

        Cost: O(changes since then).
        """
        first = mark - self._nr_forgotten
        # The last pageblock before the mark may have changed again without a new entry.
        return sorted(set(self._changed[first - 1 :]) - {-1}) if first > 0 else None

    def _note_change(self, block: int) -> None:
        """Record it; after so many a look at all of them costs no more for each."""
        if len(self._changed) > _NR_KEPT_CHANGES * (len(self._key) + 64):
            self._nr_forgotten += len(self._changed)
            self._changed = [-1]
        self._changed.append(block)

    def find(self, block: int, order: int) -> int:
        """The lowest free block of exactly this order in a pageblock that has one; its pfn.

        Args:
            block: number of a pageblock.
            order: log2 of the block's pages.
        """
        start = block << self._shift
        return start + self.orders[start : start + (1 << self._shift)].tobytes().index(order)

    def covering(self, block: int) -> int:
        """The head of the free block that covers this pageblock and its buddy, or -1."""
        shift, orders = self._shift, self.orders
        for order in range(shift + 1, self.max_order + 1):
            head = block >> order - shift << order
            if orders[head] >= order:
                return head
        return -1

    def may_merge(self, block: int, other: int) -> bool:
        """Whether two pageblocks may form one free block.

        They must share the zone, and either the type or being of one of the first three.

        Args:
            block: number of a pageblock.
            other: number of another pageblock.
        """
        mine, its = self._key[block], self._key[other]
        if mine == its:
            return True
        same_zone = mine // NR_MIGRATETYPES == its // NR_MIGRATETYPES
        return (
            same_zone
            and mine % NR_MIGRATETYPES < NR_PCPTYPES
            and its % NR_MIGRATETYPES < NR_PCPTYPES
        )

    def mergeable(self, order: int) -> Mask:
        """Which pairs of free blocks of an order may form one, by the pageblocks they begin in.

        Args:
            order: of the blocks, at least a pageblock's.

        Returns:
            A mask of the pairs, shape (nr_pairs,), as many as make up blocks of `max_order`.
        """
        nr_largest = -(-self.frames.nr_frames >> self.max_order)
        step = 1 << order - self._shift
        keys = np.full(nr_largest << self.max_order - self._shift, -1, dtype=np.int64)
        keys[: len(self._key)] = self._key
        (zones, types), firsts = np.divmod(keys, NR_MIGRATETYPES), slice(None, None, 2 * step)
        seconds = slice(step, None, 2 * step)
        both_pcp = (types[firsts] < NR_PCPTYPES) & (types[seconds] < NR_PCPTYPES)
        alike: Mask = both_pcp | (types[firsts] == types[seconds])
        alike &= zones[firsts] == zones[seconds]
        return alike

    # One block on, one block off.

    def link(self, pfn: int, order: int) -> None:
        """Put a free block on its list.  Costs 0.5 us.

        Args:
            pfn: the block's first frame.
            order: log2 of the block's pages.
        """
        block = pfn >> self._shift
        self.orders[pfn] = order
        self._account(block, order, 1)
        key = self._key[block]
        blocks = self._lists[key * self._nr_orders + order]
        if block in blocks:
            del blocks[block]
        blocks[block] = None

    def unlink(self, pfn: int, order: int) -> None:
        """Take a free block off its list.  Costs 0.5 us.

        Args:
            pfn: the block's first frame.
            order: log2 of the block's pages.
        """
        block = pfn >> self._shift
        self.orders[pfn] = -1
        self._account(block, order, -1)
        if not self._counts[block * self._nr_orders + order]:
            del self._lists[self._key[block] * self._nr_orders + order][block]

    def _account(self, block: int, order: int, count: int) -> None:
        """`count` more free blocks of the order with their head in the pageblock."""
        if self._changed[-1] != block:
            self._note_change(block)
        self._counts[block * self._nr_orders + order] += count
        key = self._key[block]
        self._on[key * self._nr_orders + order] += count
        nr_pages = count << order
        self._nr_pages[key] += nr_pages
        if order > self._shift:
            nr_pages = count << self._shift
            for other in range(block + 1, block + (1 << order - self._shift)):
                self._in_block[other] += nr_pages
        self._in_block[block] += nr_pages

    def unlink_heads(self, block: int, order: int, heads: NDArray[np.int64]) -> None:
        """Take several blocks of one order in one pageblock off their list.

        Args:
            block: number of a pageblock.
            order: log2 of the block's pages.
            heads: int64 (n,), pfns of the blocks' first frames.
        """
        self.frames.order[heads] = -1
        self._account(block, order, -len(heads))
        if not self._counts[block * self._nr_orders + order]:
            del self._lists[self._key[block] * self._nr_orders + order][block]

    # A whole pageblock at once; nothing may cross its border.

    def unlink_pageblock(self, block: int) -> None:
        """Take everything in the pageblock off the lists; leaves its order column stale.

        The caller writes the column next, by `link_pageblock` or as a whole.
        """
        at, key = block * self._nr_orders, self._key[block]
        base = key * self._nr_orders
        for order, count in enumerate(self._counts[at : at + self._nr_orders]):
            if count:
                self._account(block, order, -count)
                del self._lists[base + order][block]

    def link_pageblock(self, block: int, heads: list[int]) -> None:
        """Put the blocks of a pageblock on the lists: `heads` as `decompose_block` returns them.

        Args:
            block: number of a pageblock.
            heads: as `decompose_block` returns them.
        """
        span = self.pageblocks.span(block)
        scatter_orders(heads, self.frames.order[span.start : span.stop])
        base = self._key[block] * self._nr_orders
        for order, bits in enumerate(heads):
            if bits:
                self._account(block, order, bits.bit_count())
                blocks = self._lists[base + order]
                blocks[block] = None

    def link_all(self, orders: NDArray[np.int8]) -> None:
        """Fill empty lists from an order column; the lowest pageblock is served first."""
        self.frames.order[:] = orders
        size, nr_blocks = self.pageblocks.nr_pages_per_block, self.pageblocks.nr_blocks
        padded = np.full(nr_blocks * size, -1, dtype=np.int8)
        padded[: len(orders)] = orders
        keys = np.asarray(self._key, dtype=np.int64)
        for order in range(self.max_order + 1):
            # Heads of an order stand at its multiples only.
            heads = (
                padded[:: 1 << order] == order if order <= self._shift else padded[::size] == order
            )
            per_block = heads.reshape(nr_blocks, -1).sum(axis=1)
            self.nr_free_blocks[:, order] = per_block
            holders = np.flatnonzero(per_block)[::-1]
            for block, key in zip(holders.tolist(), keys[holders].tolist(), strict=True):
                self._lists[key * self._nr_orders + order][block] = None
            self._count_order(order, per_block, keys)

    def _count_order(
        self, order: int, per_block: NDArray[np.int64], keys: NDArray[np.int64]
    ) -> None:
        inside = per_block << min(order, self._shift)
        nr_blocks = len(per_block)
        for after in range(min(1 << max(order - self._shift, 0), nr_blocks)):
            self.nr_free_in_block[after:] += inside[: nr_blocks - after].astype(np.int32)
        holding = per_block > 0
        np.add.at(
            self.nr_blocks_on.reshape(-1),
            keys[holding] * self._nr_orders + order,
            per_block[holding],
        )
        for key in range(len(self._nr_pages)):
            self._nr_pages[key] += int(self._on[key * self._nr_orders + order]) << order

    def set_type(self, block: int, migratetype: int) -> None:
        """Give a pageblock another type.  Nothing in it may stand on a list.

        Args:
            block: number of a pageblock.
            migratetype: its new type.
        """
        self.pageblocks.migratetype[block] = migratetype
        self._key[block] = int(self.zone_of_block[block]) * NR_MIGRATETYPES + migratetype

    # Zones that change.

    def add_zone(self, zone: Zone) -> None:
        """One zone more, at the end, with empty lists and no pageblock.

        Raises:
            PinpageError: its index is not the next one.
        """
        if zone.index != len(self.zones):
            raise PinpageError(
                f"zones: {zone.name!r} has index {zone.index} but would be number {len(self.zones)}"
            )
        self.zones = (*self.zones, zone)
        fresh = np.zeros((1, NR_MIGRATETYPES, self._nr_orders), dtype=np.int64)
        self.nr_blocks_on = np.concatenate((self.nr_blocks_on, fresh))
        self._on = self.nr_blocks_on.reshape(-1).data
        self._lists += [{} for _ in range(NR_MIGRATETYPES * self._nr_orders)]
        self._nr_pages += [0] * NR_MIGRATETYPES

    def set_zone(self, blocks: range, zone: int) -> None:
        """Give pageblocks to a zone, or to none (-1).

        Args:
            blocks: numbers of pageblocks.
            zone: the zone's row in `Frames.zone`, or -1.

        Raises:
            PinpageError: one of them still has a free block on a list.
        """
        rows = slice(blocks.start, blocks.stop)
        if self.nr_free_in_block[rows].any():
            raise PinpageError(f"set_zone: pageblocks {blocks} have free frames: take them first")
        self.zone_of_block[rows] = zone
        types = self.pageblocks.migratetype[rows].astype(np.int64)
        self._key[rows] = (zone * NR_MIGRATETYPES + types).tolist()

    def blocks_of_zone(self, zone: int) -> NDArray[np.int64]:
        """The pageblocks of a zone, ascending.  One pass over the pageblocks."""
        return np.flatnonzero(self.zone_of_block == zone)

    def serve_last(self, blocks: range, migratetype: int) -> None:
        """Put what free blocks of one type pageblocks have at the far end of their lists.

        As the kernel does with memory that comes online: what was there before is used first.

        Args:
            blocks: numbers of pageblocks.
            migratetype: a `MigrateType`.
        """
        for zone in np.unique(self.zone_of_block[blocks.start : blocks.stop]).tolist():
            base = (zone * NR_MIGRATETYPES + migratetype) * self._nr_orders
            for at in range(base, base + self._nr_orders):
                listed = self._lists[at]
                last = {block: None for block in reversed(blocks) if block in listed}
                self._lists[at] = last | {b: None for b in listed if b not in last}
