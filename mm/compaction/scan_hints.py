"""What compaction of a zone remembers from one call to the next.

Where the scanners left off (the migrate scanner twice, for an asynchronous scan passes over
what a synchronous one would move), where the last reset put them, and whether the skip
hints of the pageblocks are stale: once the scanners have met on behalf of an allocation,
every block has been looked at.

Kernel counterpart: compact_cached_*, compact_init_* and compact_blockskip_flush of struct
zone, update_cached_migrate, update_pageblock_skip, reset_cached_positions and
__reset_isolation_suitable (mm/compaction.c of v6.1).
"""

import numpy as np
from attrs import define, field

from mm.buddy.buddy import Buddy
from mm.compaction.listed_heads import ListedHeads
from mm.state.frames import FrameState, PageFlag
from mm.state.nodes import Zone
from pinpage.errors import InvariantError
from pinpage.owner import Mode
from pinpage.units import Mask, Pfns

__all__ = ["FreeListOrder", "ZoneHints", "reset_isolation_suitable"]

_ALL = 1 << 62
"""More blocks, and a place further on, than there are."""


@define(eq=False)
class FreeListOrder:
    """In which order a search meets the blocks of a free list, and where it goes on.

    The kernel keeps lists, moves what a search has looked at to the far end, and puts a block
    on the near end when it is freed beside a free block of the next order, for it will
    probably merge soon.  Our lists are columns.  So a search goes round: first those that stood
    beside such a block when the zone was first searched, the highest first, then the others
    upward, as they stand after memory was freed in ascending order.  No recording holds the
    order of its lists; of several that were tried this one follows a traced run closest.

    Attributes:
        cursors: order -> the place from which the next search starts.
        looked_to: order -> the place below which the next look from the other end starts.
        is_near: bool (nr_frames,), by head: whether it stands at the near end; None before the
            first search.
    """

    cursors: dict[int, int] = field(factory=dict)
    looked_to: dict[int, int] = field(factory=dict)
    is_near: Mask | None = None
    _pictures: dict[tuple[str, int], ListedHeads] = field(factory=dict, init=False)

    def look(self, buddy: Buddy) -> None:
        """Find out which blocks stand at the near end, the first time; one pass over the orders."""
        if self.is_near is not None:
            return
        orders = buddy.frames.order
        self.is_near = np.zeros(len(orders), dtype=np.bool_)
        for order in range(buddy.max_order):
            heads = np.flatnonzero(orders == order)
            beside = ((heads >> order) & ~1) << order ^ (2 << order)  # the next order's buddy
            known = (beside < heads) & (orders[np.minimum(beside, len(orders) - 1)] == order + 1)
            self.is_near[heads[known]] = True

    def _picture(self, which: str, zone: int, order: int) -> ListedHeads:
        """A search and a look from the other end each have their own: one lasts, one is of now."""
        found = self._pictures.get((which, order))
        if found is None:
            if self.is_near is None:
                raise InvariantError("a free list is searched before it was looked at")
            found = self._pictures[which, order] = ListedHeads(zone, order, self.is_near)
        return found

    def begin(self, buddy: Buddy, zone: int, order: int) -> int:
        """A search begins: the blocks that it goes through are those that are there now.

        Args:
            buddy: the free lists.
            zone: the zone's row in `Frames.zone`.
            order: log2 of the pages wanted.

        Returns:
            How many there are.
        """
        picture = self._picture("search", zone, order)
        picture.look(buddy)
        return picture.nr_heads

    def entries(self, zone: int, order: int, count: int) -> Pfns:
        """Up to `count` blocks of the list as the search began, from its cursor on.

        Args:
            zone: the zone's row in `Frames.zone`.
            order: log2 of the pages wanted.
            count: how many, at most.
        """
        return self._picture("search", zone, order).after(self.cursors.get(order, 0), count)

    def place(self, head: int) -> int:
        """Where a free block stands on its list, ascending in the order of a search."""
        if self.is_near is None:
            return head
        far = len(self.is_near)
        return far - head if self.is_near[head] else far + head

    def heads(self, buddy: Buddy, zone: int, order: int) -> Pfns:
        """The whole list now, in the order of a search; costs its length.

        Args:
            buddy: the free lists.
            zone: the zone's row in `Frames.zone`.
            order: log2 of the pages wanted.
        """
        return self._looked_through(buddy, zone, order).after(0, _ALL)

    def newest(self, buddy: Buddy, zone: int, order: int, count: int = _ALL) -> Pfns:
        """Up to `count` from the other end, from where the last such look stopped.

        Args:
            buddy: the free lists.
            zone: the zone's row in `Frames.zone`.
            order: log2 of the pages wanted.
            count: how many, at most.
        """
        picture = self._looked_through(buddy, zone, order)
        return picture.before(self.looked_to.get(order, _ALL), count)

    def _looked_through(self, buddy: Buddy, zone: int, order: int) -> ListedHeads:
        picture = self._picture("look", zone, order)
        picture.look(buddy)
        return picture

    @property
    def nr_seen(self) -> int:
        """List entries, and frames that could be some, looked at so far: the work of searches."""
        return sum(picture.nr_seen for picture in self._pictures.values())

    def looked_at(self, head: int, order: int) -> None:
        """The next look from the other end begins after this block (move_freelist_tail).

        Args:
            head: pfn of the block's first frame.
            order: log2 of the pages wanted.
        """
        self.looked_to[order] = self.place(head)


@define(eq=False)
class ZoneHints:
    """One zone's memory of past scans.  Positions are pfns.

    Attributes:
        start: first pfn of the zone.
        top: first pfn of its last pageblock, where the free scanner starts.
        migrate_async, migrate_sync: where a scan of either kind goes on.
        free: where the free scanner goes on.
        init_free: at or above this the free scanner counts as starting anew.
        is_stale: the scanners have met on behalf of an allocation since the last reset.
        lists: the order in which a quick search meets free blocks.
    """

    start: int
    top: int
    migrate_async: int = field(init=False)
    migrate_sync: int = field(init=False)
    free: int = field(init=False)
    init_free: int = 0
    init_migrate: int = field(init=False)
    is_stale: bool = False
    lists: FreeListOrder = field(factory=FreeListOrder)

    def __attrs_post_init__(self) -> None:
        """Both scanners at their ends."""
        self.init_migrate = self.start
        self.rewind()

    def rewind(self) -> None:
        """Both scanners back to their ends (reset_cached_positions)."""
        self.migrate_async = self.migrate_sync = self.start
        self.free = self.top

    def migrate_from(self, mode: Mode) -> int:
        """Where a scan of this mode goes on; from the start where that lies outside."""
        at = self.migrate_async if mode == Mode.ASYNC else self.migrate_sync
        if not self.start <= at < self.top + 1:
            self.migrate_async = self.migrate_sync = at = self.start
        return at

    def free_from(self) -> int:
        """Where the free scanner goes on; from the top where that lies outside."""
        if not self.start <= self.free <= self.top:
            self.free = self.top
        return self.free

    def scanned_up_to(self, pfn: int, mode: Mode, nr_pages_per_block: int) -> None:
        """The migrate scanner is done with what lies below `pfn` (update_cached_migrate).

        As in 6.1 the next scan starts one pageblock further: the position, already the first
        of the next pageblock, is rounded up to the end of that.

        Args:
            pfn: where it stands now.
            mode: of the scan: an asynchronous one does not move the others' start.
            nr_pages_per_block: pages in a pageblock.
        """
        after = (pfn // nr_pages_per_block + 1) * nr_pages_per_block
        self.migrate_async = max(self.migrate_async, after)
        if mode != Mode.ASYNC:
            self.migrate_sync = max(self.migrate_sync, after)


def reset_isolation_suitable(hints: ZoneHints, zone: Zone, buddy: Buddy) -> None:
    """Forget the skip hints where there is anything to scan, and start from the outermost of these.

    A pageblock with neither a page on the LRU nor a free one keeps its hint.  The kernel
    samples every eighth page; here all are looked at.  Cost: one pass over the zone's frames.

    Args:
        hints: what earlier scans of the zone left behind.
        zone: the zone.
        buddy: the free lists.
    """
    hints.is_stale = False
    pageblocks = buddy.pageblocks
    blocks = _blocks_of(zone, buddy)
    targets = _has_free(buddy, blocks)
    sources = targets | _has_lru(buddy, blocks)
    pageblocks.skip[blocks[sources]] = False
    hints.rewind()
    hints.init_migrate, hints.init_free = hints.start, hints.top
    if sources.any() and targets.any():
        lowest, highest = int(blocks[sources][0]), int(blocks[targets][-1])
        if lowest < highest:
            first = max(hints.start, lowest << pageblocks.order)
            hints.migrate_async = hints.migrate_sync = hints.init_migrate = first
            hints.free = hints.init_free = highest << pageblocks.order


def _blocks_of(zone: Zone, buddy: Buddy) -> Pfns:
    shift = buddy.pageblocks.order
    first, last = zone.span.start >> shift, (zone.span.stop - 1) >> shift
    return np.arange(first, last + 1)


def _has_free(buddy: Buddy, blocks: Pfns) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.asarray(buddy.nr_free_in_block[blocks] > 0)


def _has_lru(buddy: Buddy, blocks: Pfns) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    frames, size = buddy.frames, buddy.pageblocks.nr_pages_per_block
    start, stop = int(blocks[0]) * size, (int(blocks[-1]) + 1) * size
    used = frames.state[start:stop] == FrameState.USED
    on_lru = used & ((frames.flags[start:stop] & PageFlag.LRU.mask) != 0)
    padded = np.zeros(len(blocks) * size, dtype=np.bool_)
    padded[: len(on_lru)] = on_lru
    return np.asarray(padded.reshape(-1, size).any(axis=1))
