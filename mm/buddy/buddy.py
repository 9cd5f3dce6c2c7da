"""The buddy allocator: free frames in blocks of 2^order, grouped by mobility.

Data and mechanics only: which request may use which zone, and what to do when there is no
memory, is decided above.  Made for batches: emptying a pageblock's free lists, or freeing
hundreds of its frames, costs about as much as a dozen single calls.

Kernel counterpart: __free_one_page, __rmqueue, expand, move_freepages_block and
isolate_freepages_block (mm/page_alloc.c and mm/compaction.c of v6.1).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mm.buddy.bulk import (
    FREEABLE,
    group_by_block,
    mark_free,
    plain_request,
    sorted_frames,
    strip,
)
from mm.buddy.check import check_buddy
from mm.buddy.decompose import decompose_all, decompose_block, free_bits
from mm.buddy.free_area import FreeArea
from mm.buddy.merge import detach, merge, rebuild, retype
from mm.buddy.rmqueue import rmqueue, take_whole_blocks
from mm.state.frames import MAPCOUNT_NONE, Frames, FrameState
from mm.state.gfp import AllocFlags
from mm.state.nodes import Zone
from mm.state.pageblock import MIGRATETYPE_FORMS, NR_MIGRATETYPES, MigrateType, Pageblocks
from pinpage.errors import PfnError, PinpageError, at_least, whole, within
from pinpage.units import Mask, Pfns

__all__ = ["Buddy"]

_FREE, _TAKEN = (np.arange(len(FREEABLE)) == state for state in (FrameState.FREE, FrameState.TAKEN))
_SCALAR_FREES = 6
"""Up to so many frames of one pageblock, merging them one by one beats rebuilding it."""


class Buddy:
    """Free lists of all zones over `frames`.

    A free frame has state FREE, no references, no mapping and no flags.  Freeing and
    allocating keep it so; an allocated frame starts as USED with one reference, each frame
    of a larger block alike.

    Attributes:
        frames, pageblocks, zones: the columns it works on.
        area: the index (`mm.buddy.free_area.FreeArea`); policies read it, only the buddy writes it.
        lock_acquisitions: how often a zone lock would have been taken: once per call and zone.

    Invariants, run by `check`:
        B1 a free block is aligned, and all of its frames are FREE.
        B2 every FREE frame lies in exactly one free block.
        B3 two free buddies are one block, unless their types keep them apart.
        B4 counts per pageblock, per list and per type agree with the order column.
        B5 a list holds the pageblocks that have such a block, under their own zone and type.
        B6 a FREE frame has no references, no mapping and no flags.
    """

    def __init__(self, frames: Frames, pageblocks: Pageblocks, zones: Sequence[Zone]) -> None:
        """An empty allocator; `build` fills it from the state column.

        Args:
            frames: the columns, one row per frame.
            pageblocks: the types of the pageblocks.
            zones: the zones, by `Frames.zone`.

        Raises:
            PinpageError: the zones do not fit the pageblocks.
        """
        self.frames = frames
        self.pageblocks = pageblocks
        self.zones = tuple(zones)
        self.area = FreeArea(frames, pageblocks, zones)
        self.nr_free_in_block: NDArray[np.int32] = self.area.nr_free_in_block
        self.nr_free_blocks: NDArray[np.int16] = self.area.nr_free_blocks
        self.max_order = self.area.max_order
        self.lock_acquisitions = 0
        self._shift = pageblocks.order
        self._view_columns()

    def _view_columns(self) -> None:
        self._state = self.frames.state.data
        self._refcount = self.frames.refcount.data
        self._mapcount = self.frames.mapcount.data
        self._flags = self.frames.flags.data

    def build(self) -> None:
        """Make the free lists from every frame whose state is FREE; lowest pageblocks served first.

        Blocks are as large as they can be.  That is what the order column of a recording says
        too, for the kernel merges on every free; the column is rewritten.
        Costs about 20 ns per frame.

        Raises:
            PinpageError: a free frame lies outside of every zone, or a pageblock has no
                known type.
        """
        odd = np.flatnonzero(self.pageblocks.migratetype >= NR_MIGRATETYPES)
        if len(odd):
            value = int(self.pageblocks.migratetype[odd[0]])
            raise PinpageError(
                f"buddy: pageblock {int(odd[0])} has migratetype {value}: "
                f"give it one (0..{NR_MIGRATETYPES - 1})"
            )
        free = self.frames.state == FrameState.FREE
        self.area.reset()
        self._view_columns()
        without_zone = np.flatnonzero(self.area.zone_of_block < 0)
        for block in without_zone.tolist():
            span = self.pageblocks.span(block)
            if free[span.start : span.stop].any():
                raise PinpageError(
                    f"buddy: free frames of pageblock {block} lie in no zone: extend a zone's span"
                )
        strip(self.frames, free)
        self.area.link_all(decompose_all(free, self.max_order, self.area.mergeable, self._shift))

    @property
    def pageblock_order(self) -> int:
        """log2 of the pages in a pageblock."""
        return self.pageblocks.order

    # Counts.

    def nr_free(self, zone: int | None = None) -> int:
        """Free pages of a zone, or of all; without those of isolated pageblocks (NR_FREE_PAGES)."""
        if zone is not None:
            if type(zone) is not int:
                (zone,) = whole("free pages", zone=zone)
            return self.area.nr_pages_but_isolated(zone)
        return sum(map(self.area.nr_pages_but_isolated, range(len(self.zones))))

    def nr_free_of(self, zone: int, migratetype: int) -> int:
        """Free pages of one type of a zone, ISOLATE included.

        Args:
            zone: the zone's row in `Frames.zone`.
            migratetype: a `MigrateType`.
        """
        if type(zone) is not int or type(migratetype) not in MIGRATETYPE_FORMS:
            zone, migratetype = whole("free pages", zone=zone, migratetype=migratetype)
        return self.area.nr_pages(zone, migratetype)

    def nr_free_by_order(self, zone: int | None = None) -> NDArray[np.int64]:
        """Free blocks by type and order, int64[6, nr_orders] (/proc/pagetypeinfo); a copy."""
        on = self.area.nr_blocks_on
        by_order: NDArray[np.int64] = on.sum(axis=0) if zone is None else on[zone].copy()
        return by_order

    def has_free_block(self, zone: int, migratetype: int, order: int) -> bool:
        """Whether a free block of at least this order stands on a list of the type.

        Args:
            zone: the zone's row in `Frames.zone`.
            migratetype: a `MigrateType`.
            order: log2 of the pages that it has at least.

        Raises:
            PinpageError: one is no whole number.
        """
        is_known = type(migratetype) in MIGRATETYPE_FORMS
        if not is_known or type(zone) is not int or type(order) is not int:
            zone, migratetype, order = whole(
                "free blocks", zone=zone, migratetype=migratetype, order=order
            )
        return self.area.smallest_order(zone, migratetype, order) >= 0

    def wholly_free(self) -> Mask:
        """Which pageblocks are free from end to end, shape (nr_blocks,); a partial one never is."""
        whole: Mask = self.nr_free_in_block == self.pageblocks.nr_pages_per_block
        return whole

    # Single blocks.

    def alloc(
        self,
        order: int,
        migratetype: int,
        *,
        zone: int = 0,
        alloc_flags: AllocFlags = AllocFlags.DEFAULT,
    ) -> int:
        """One block of 2^order frames: its head, or -1.

        Its own lists first, smallest sufficient order; then CMA if movable; then another
        type's blocks (`mm.buddy.fallback`).  Never from ISOLATE, nor HIGHATOMIC unless HARDER.
        Watermarks are the caller's to check.  Costs about 2 us.

        Args:
            order: log2 of the pages wanted.
            migratetype: a `MigrateType`.
            zone: the zone's row in `Frames.zone`.
            alloc_flags: which watermarks and lists it may use.

        Raises:
            PinpageError: an order or type that nobody may ask for, or no such zone.
        """
        order, migratetype, zone = plain_request(self.area, order, migratetype, zone)
        self.lock_acquisitions += 1
        pfn = rmqueue(self.area, order, migratetype, zone, alloc_flags)
        if pfn >= 0:
            self._mark_used(pfn, order)
        return pfn

    def free(self, pfn: int, order: int = 0) -> None:
        """Give one block back and merge it with its buddies.  Costs about 2 us.

        Args:
            pfn: the block's first frame.
            order: log2 of its pages.

        Raises:
            PinpageError: misaligned, or one of its frames is not allocated (a double free).
        """
        if type(pfn) is not int or type(order) is not int:
            pfn, order = whole("free", pfn=pfn, order=order)
        most = self.area.nr_orders
        if not 0 <= order < most or not 0 <= pfn <= self.frames.nr_frames - (1 << order):
            raise PfnError(f"free: pfn {pfn:#x} of order {order} is outside the machine")
        if order:
            self._free_block(pfn, order)
            return
        if not FREEABLE[self._state[pfn]]:
            raise PinpageError(
                f"free: pfn {pfn:#x} is {FrameState(self._state[pfn]).name}, not allocated"
            )
        self.lock_acquisitions += 1
        self._state[pfn] = FrameState.FREE
        self._refcount[pfn] = 0
        self._mapcount[pfn] = MAPCOUNT_NONE
        self._flags[pfn] = 0
        merge(self.area, pfn, 0)

    def _free_block(self, pfn: int, order: int) -> None:
        if pfn & ((1 << order) - 1):
            raise PinpageError(f"free: pfn {pfn:#x} is not aligned to order {order}")
        stop = pfn + (1 << order)
        fits = FREEABLE[self.frames.state[pfn:stop]]
        if not fits.all():
            wrong = pfn + int(fits.argmin())
            state = FrameState(self._state[wrong]).name
            raise PinpageError(f"free: pfn {wrong:#x} is {state}, not allocated")
        self.lock_acquisitions += 1
        mark_free(self.frames, slice(pfn, stop))
        # One by one where it covers several pageblocks: their types may have parted since.
        step = min(order, self._shift)
        for start in range(pfn, stop, 1 << step):
            merge(self.area, start, step)

    # Batches.

    def alloc_many(
        self,
        count: int,
        migratetype: int,
        *,
        zone: int = 0,
        alloc_flags: AllocFlags = AllocFlags.DEFAULT,
    ) -> Pfns:
        """Up to `count` single frames, as `count` calls of `alloc` would choose them; one lock.

        Args:
            count: how many, at most.
            migratetype: a `MigrateType`.
            zone: the zone's row in `Frames.zone`.
            alloc_flags: which watermarks and lists it may use.

        Raises:
            PinpageError: a negative count, a type that nobody may ask for, or no such zone.

        Costs about 0.1 us per frame where free blocks are many or large.
        """
        (count,) = at_least(0, "alloc_many", count=count)
        _, migratetype, zone = plain_request(self.area, 0, migratetype, zone)
        self.lock_acquisitions += 1
        parts: list[Pfns] = []
        while count > 0:
            part = take_whole_blocks(self.area, count, migratetype, zone, alloc_flags)
            if not len(part):
                # Nothing whole: let one single allocation split or steal, then go on.
                pfn = rmqueue(self.area, 0, migratetype, zone, alloc_flags)
                if pfn < 0:
                    break
                part = np.array([pfn], dtype=np.int64)
            parts.append(part)
            count -= len(part)
        pfns = np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
        self.frames.state[pfns] = FrameState.USED
        self.frames.refcount[pfns] = 1
        return pfns

    def free_many(self, pfns: Pfns) -> None:
        """Give single frames back, in any order and from any pageblock; one lock per zone.

        Many frames of one pageblock cost about 25 us together, however many.

        Raises:
            PinpageError: a frame is not allocated or named twice; nothing was freed.
        """
        self._free_sorted(sorted_frames(self.frames, pfns, FREEABLE, "free"))

    def put_taken(self, pfns: Pfns) -> None:
        """TAKEN frames back to the lists: targets that were not needed.

        Raises:
            PinpageError: a frame is not TAKEN or named twice; nothing was freed.
        """
        self._free_sorted(sorted_frames(self.frames, pfns, _TAKEN, "put_taken"))

    def _free_sorted(self, pfns: Pfns) -> None:
        if not len(pfns):
            return
        mark_free(self.frames, pfns)
        groups = group_by_block(pfns, self._shift)
        self._count_locks([block for block, _ in groups])
        for block, group in groups:
            if len(group) <= _SCALAR_FREES:
                for pfn in group.tolist():
                    merge(self.area, pfn, 0)
            else:
                rebuild(self.area, block)

    def take_free_in(self, block: int, *, limit: int | None = None) -> Pfns:
        """The free frames of a pageblock, lowest first, off the lists: TAKEN, one reference.

        A free block that reaches beyond the pageblock, or beyond `limit`, is split.
        ISOLATE blocks are not exempt: contiguous allocation collects its range this way.
        Costs about 12 us, 30 us with a limit that bites.

        Args:
            block: number of a pageblock.
            limit: at most so many.

        Raises:
            PinpageError: no such pageblock, or a limit that is no whole number.
        """
        (block,) = within(self.pageblocks.nr_blocks, "take_free_in", block=block)
        if limit is not None:
            (limit,) = whole("take_free_in", limit=limit)
        self.lock_acquisitions += 1
        nr_free = int(self.nr_free_in_block[block])
        if nr_free == 0 or (limit is not None and limit <= 0):
            return np.empty(0, dtype=np.int64)
        detach(self.area, block)
        span = self.pageblocks.span(block)
        free = self.frames.state[span.start : span.stop] == FrameState.FREE
        pfns = np.flatnonzero(free) + span.start
        if limit is not None and limit < nr_free:
            pfns = pfns[:limit]
        self.frames.state[pfns] = FrameState.TAKEN
        self.frames.refcount[pfns] = 1
        if len(pfns) < nr_free:
            free[pfns - span.start] = False
            self.area.link_pageblock(block, decompose_block(free_bits(free), self._shift))
        else:
            self.frames.order[span.start : span.stop] = -1
        return pfns

    def take(self, pfns: Pfns) -> None:
        """Take exactly these free frames off the lists: TAKEN, one reference.

        Raises:
            PinpageError: a frame is not FREE or named twice; nothing was taken.
        """
        pfns = sorted_frames(self.frames, pfns, _FREE, "take")
        groups = group_by_block(pfns, self._shift) if len(pfns) else []
        self._count_locks([block for block, _ in groups])
        self.frames.state[pfns] = FrameState.TAKEN
        self.frames.refcount[pfns] = 1
        for block, _ in groups:
            rebuild(self.area, block)

    def taken_to_used(self, pfns: Pfns) -> None:
        """TAKEN frames become allocated, with the reference they have.

        Raises:
            PinpageError: a frame is not TAKEN or named twice; nothing changed.
        """
        pfns = sorted_frames(self.frames, pfns, _TAKEN, "taken_to_used")
        self.frames.state[pfns] = FrameState.USED

    def claim_block(self, block: int) -> int:
        """Allocate one wholly free pageblock: its first pfn, or -1 if it is not, or is isolated.

        Raises:
            PfnError: no such pageblock.
        """
        (block,) = within(self.pageblocks.nr_blocks, "claim_block", block=block)
        self.lock_acquisitions += 1
        isolated = self.pageblocks.migratetype[block] == MigrateType.ISOLATE
        if isolated or self.nr_free_in_block[block] != self.pageblocks.nr_pages_per_block:
            return -1
        detach(self.area, block)
        pfn = block << self._shift
        self.area.orders[pfn] = -1
        self._mark_used(pfn, self._shift)
        return pfn

    # Types.

    def set_migratetype(self, block: int, migratetype: int) -> None:
        """Change a pageblock's type; its free pages move to the lists of the new one.  Costs 10 us.

        Args:
            block: number of a pageblock.
            migratetype: its new type.

        Raises:
            PinpageError: no such type, or no such pageblock.
        """
        (block,) = within(self.pageblocks.nr_blocks, "set_migratetype", block=block)
        (migratetype,) = whole("set_migratetype", migratetype=migratetype)
        if not 0 <= migratetype < NR_MIGRATETYPES:
            raise PinpageError(
                f"set_migratetype: {migratetype} is no migratetype (0..{NR_MIGRATETYPES - 1})"
            )
        if self.pageblocks.migratetype[block] == migratetype:
            return
        retype(self.area, block, migratetype)

    def add_zone(self, zone: Zone) -> None:
        """One zone more, without memory.

        Raises:
            PinpageError: its index is not the next one.
        """
        self.area.add_zone(zone)
        self.zones = self.area.zones

    def check(self) -> None:
        """Run B1..B6.  Costs about 100 ns per frame.

        Raises:
            InvariantError: one does not hold.
        """
        check_buddy(self.area)

    # Inside.

    def _mark_used(self, pfn: int, order: int) -> None:
        if order:
            self.frames.state[pfn : pfn + (1 << order)] = FrameState.USED
            self.frames.refcount[pfn : pfn + (1 << order)] = 1
        else:
            self._state[pfn] = FrameState.USED
            self._refcount[pfn] = 1

    def _count_locks(self, blocks: Sequence[int]) -> None:
        zones = self.area.zone_of_block
        self.lock_acquisitions += len({int(zones[block]) for block in blocks}) if len(zones) else 0
