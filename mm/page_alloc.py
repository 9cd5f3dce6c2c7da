"""The page allocator: which zone may serve a request, and what to do when none can.

    fast path   a zone above its low watermark; order 0 through the per-CPU lists
    slow path   above min: as it is; after asynchronous compaction; after reclaim and
                compaction by turns, as long as reclaim makes progress; fail

The free lists themselves are `mm.buddy`; this module decides and owns no frames.

Kernel counterpart: get_page_from_freelist and __alloc_pages_slowpath (mm/page_alloc.c),
try_to_compact_pages and its deferral (mm/compaction.c).  kswapd is not modelled: there is
no time between an allocation and the next in which it could run.  The one thing of its that
later requests depend on, forgetting stale skip hints, is done when a slow path begins.
"""

import enum
from collections.abc import Callable, Sequence
from typing import Self

from attrs import define, frozen

from mm.buddy import Buddy
from mm.compaction import CompactControl, Compaction, CompactResult
from mm.costs import Counters
from mm.design import Design
from mm.fragindex import fragmentation_index
from mm.gfp import AllocFlags, Gfp, gfp_migratetype, gfp_zone_kind
from mm.nodes import Zone, ZoneKind, watermark_ok
from mm.pageblock import MigrateType
from mm.pcp import PerCpuPages
from pinpage.owner import Mode

__all__ = ["COSTLY_ORDER", "EXTFRAG_THRESHOLD", "MAX_DEFER_SHIFT", "PageAllocator"]

COSTLY_ORDER = 3
"""Above this order the allocator gives up early rather than reclaim for long."""
EXTFRAG_THRESHOLD = 500
"""A fragmentation index up to this means too little memory rather than too scattered."""
MAX_DEFER_SHIFT = 6
"""Compaction that keeps failing is tried once in 2^6 times, not less often."""
_NR_TRIES = 16
_NR_COSTLY_TRIES = 4
_SWAP_CLUSTER_MAX = 32


class _Priority(enum.Enum):
    """How hard direct compaction tries (enum compact_priority), low to high."""

    ASYNC = Mode.ASYNC
    SYNC_LIGHT = Mode.SYNC_LIGHT
    SYNC_FULL = "the whole zone, hints and types ignored; not for costly orders"

    def control(self, zone: Zone, order: int, migratetype: MigrateType) -> CompactControl:
        """What it asks of one zone; even the highest priority does not wait for I/O."""
        full = self is _Priority.SYNC_FULL
        mode = Mode.ASYNC if self is _Priority.ASYNC else Mode.SYNC_LIGHT
        return CompactControl(
            zone, mode, order, migratetype,
            ignore_skip_hint=full, whole_zone=full, any_target=full,
        )  # fmt: skip


@define
class _Deferral:
    """How often compaction of a zone is skipped after it failed."""

    shift: int = 0
    considered: int = 0
    failed_order: int = 11

    def is_deferred(self, order: int) -> bool:
        """Count an attempt; whether it is to be skipped."""
        if order < self.failed_order:
            return False
        self.considered += 1
        if self.considered >= 1 << self.shift:
            self.considered = 1 << self.shift
            return False
        return True

    def fail(self, order: int) -> None:
        """A synchronous attempt failed: skip twice as many."""
        self.considered = 0
        self.shift = min(self.shift + 1, MAX_DEFER_SHIFT)
        self.failed_order = min(self.failed_order, order)

    def succeed(self, order: int) -> None:
        """An allocation of this order went well."""
        self.shift = self.considered = 0
        self.expect(order)

    def expect(self, order: int) -> None:
        """Compaction made a block of this order, whoever gets it."""
        self.failed_order = max(self.failed_order, order + 1)

    def is_restarting(self, order: int) -> bool:
        """Whether this attempt follows as many skipped ones as there can be."""
        longest = self.shift == MAX_DEFER_SHIFT and self.considered >= 1 << self.shift
        return longest and order >= self.failed_order


@frozen
class _Request:
    """What gfp flags imply for one attempt, worked out once for each combination."""

    migratetype: MigrateType
    highest: ZoneKind
    cma: bool
    harder: bool
    high: bool
    flags: AllocFlags

    @classmethod
    def of(cls, gfp: Gfp, extra: AllocFlags) -> Self:
        migratetype = gfp_migratetype(gfp)
        movable = migratetype == MigrateType.MOVABLE
        return cls(
            migratetype=migratetype,
            highest=gfp_zone_kind(gfp),
            cma=movable,
            harder=bool(gfp & Gfp.ATOMIC_BIT),
            high=bool(gfp & Gfp.HIGH),
            flags=(AllocFlags.CMA if movable else AllocFlags.NONE) | extra,
        )


class PageAllocator:
    """Allocates from zones; compacts and reclaims on the caller's behalf if it may."""

    def __init__(
        self,
        zones: Sequence[Zone],
        buddy: Buddy,
        pcp: PerCpuPages,
        compaction: Compaction,
        counters: Counters,
        design: Callable[[], Design],
    ) -> None:
        """Borrow the state; `design` is asked for the design in force at each compaction."""
        self._zones = tuple(zones)
        self._buddy = buddy
        self._pcp = pcp
        self._compaction = compaction
        self._counters = counters
        self._design = design
        self._deferrals = {zone.index: _Deferral() for zone in zones}
        self._zonelists = _zonelists(self._zones)
        self._requests: dict[tuple[Gfp, AllocFlags], _Request] = {}
        self._busy = False
        self.reclaim: Callable[[int], int] | None = None
        """Direct reclaim: asked for so many pages, says how many it freed.  None: there is none."""

    def add_zone(self, zone: Zone) -> None:
        """One zone more to serve requests from (build_all_zonelists)."""
        self._zones = (*self._zones, zone)
        self._deferrals[zone.index] = _Deferral()
        self._zonelists = _zonelists(self._zones)

    def alloc_pages(self, order: int, gfp: Gfp, node: int | None = None) -> int:
        """One block of 2^order frames: its head, or -1 (-ENOMEM).

        Args:
            order: log2 of the pages wanted.
            gfp: what the caller allows.
            node: the only node that may serve it (__GFP_THISNODE); None for any, nearest first.

        Context: may compact and reclaim if `gfp` has DIRECT_RECLAIM and no allocation of
            this allocator is doing so already (PF_MEMALLOC): the recursion ends there.
        """
        zones = self._zonelists[gfp_zone_kind(gfp)]
        if node is not None:
            zones = [zone for zone in zones if zone.node == node]
        pfn = self._from_freelists(order, gfp, zones, lambda zone: zone.low, AllocFlags.NOFRAGMENT)
        if pfn < 0:
            pfn = self._from_freelists(order, gfp, zones, lambda zone: zone.min, AllocFlags.NONE)
        if pfn < 0 and gfp & Gfp.DIRECT_RECLAIM and not self._busy:
            self._busy = True
            try:
                pfn = self._slow_path(order, gfp, zones)
            finally:
                self._busy = False
        if pfn >= 0:
            self._counters.pages_allocated += 1 << order
        return pfn

    def _from_freelists(
        self,
        order: int,
        gfp: Gfp,
        zones: Sequence[Zone],
        mark: Callable[[Zone], int],
        extra: AllocFlags,
    ) -> int:
        request = self._requests.get((gfp, extra))
        if request is None:
            request = self._requests[gfp, extra] = _Request.of(gfp, extra)
        for zone in zones:
            if not watermark_ok(
                self._buddy, zone, order, mark(zone), highest=request.highest,
                cma=request.cma, harder=request.harder, high=request.high,
            ):  # fmt: skip
                continue
            pfn = self._rmqueue(order, request.migratetype, zone, request.flags)
            if pfn >= 0:
                return pfn
        return -1

    def _rmqueue(self, order: int, migratetype: MigrateType, zone: Zone, flags: AllocFlags) -> int:
        if order == 0:
            return self._pcp.alloc(migratetype, zone=zone.index, alloc_flags=flags)
        return self._buddy.alloc(order, migratetype, zone=zone.index, alloc_flags=flags)

    def _slow_path(self, order: int, gfp: Gfp, zones: Sequence[Zone]) -> int:
        for zone in zones:
            self._compaction.reset_isolation_suitable(zone, only_stale=True)
        pfn = self._compact_for(order, gfp, zones, _Priority.ASYNC)
        if pfn >= 0:
            return pfn
        priorities, nr_tries = [_Priority.SYNC_LIGHT, _Priority.SYNC_FULL], _NR_TRIES
        if order == 0 or order > COSTLY_ORDER:
            priorities.pop()
        if order > COSTLY_ORDER:
            nr_tries = _NR_COSTLY_TRIES
        for priority in priorities:
            for _ in range(nr_tries):
                freed, pfn = self._reclaim_and_compact(order, gfp, zones, priority)
                if pfn >= 0 or not freed or gfp & Gfp.NORETRY:
                    return pfn
        return -1

    def _reclaim_and_compact(
        self, order: int, gfp: Gfp, zones: Sequence[Zone], priority: _Priority
    ) -> tuple[int, int]:
        """One try: pages that reclaim freed, and the block or -1."""
        freed = self.reclaim(max(1 << order, _SWAP_CLUSTER_MAX)) if self.reclaim else 0
        if freed:
            self._pcp.drain_all()
        pfn = self._from_freelists(order, gfp, zones, lambda zone: zone.min, AllocFlags.NONE)
        return freed, pfn if pfn >= 0 else self._compact_for(order, gfp, zones, priority)

    def _compact_for(self, order: int, gfp: Gfp, zones: Sequence[Zone], priority: _Priority) -> int:
        """Direct compaction, zone by zone, and another look at the free lists after each."""
        if order == 0:
            return -1
        highest = gfp_zone_kind(gfp)
        for zone in zones:
            deferral = self._deferrals[zone.index]
            if priority is not _Priority.SYNC_FULL and deferral.is_deferred(order):
                continue
            if not self._is_suitable(zone, order, highest):
                continue
            if deferral.is_restarting(order):
                self._compaction.reset_isolation_suitable(zone)
            self._pcp.drain_all()
            control = priority.control(zone, order, gfp_migratetype(gfp))
            report = self._compaction.compact_zone(control, self._design())
            pfn = self._from_freelists(order, gfp, zones, lambda zone: zone.min, AllocFlags.NONE)
            if pfn >= 0:
                self._deferrals[self._zone_of(pfn)].succeed(order)
                return pfn
            if report.result is CompactResult.SUCCESS:
                deferral.expect(order)
            elif priority is not _Priority.ASYNC:
                deferral.fail(order)
        return -1

    def _zone_of(self, pfn: int) -> int:
        return int(self._buddy.area.zone_of_block[pfn >> self._buddy.pageblock_order])

    def _is_suitable(self, zone: Zone, order: int, highest: ZoneKind) -> bool:
        """Whether compaction can help: free frames to move things to, and scattered ones.

        It takes more than 2 * 2^order pages above a watermark; and for costly orders a
        fragmentation index that does not put the blame on too little memory
        (compaction_suitable).
        """
        mark = (zone.low if order > COSTLY_ORDER else zone.min) + (2 << order)
        if not watermark_ok(self._buddy, zone, 0, mark, highest=highest):
            return False
        if order <= COSTLY_ORDER:
            return True
        by_order = self._buddy.nr_free_by_order(zone.index)[: MigrateType.ISOLATE].sum(axis=0)
        index = fragmentation_index(by_order, order)
        return not 0 <= index <= EXTFRAG_THRESHOLD


def _zonelists(zones: Sequence[Zone]) -> dict[ZoneKind, list[Zone]]:
    """By the highest kind that a request may use: the zones to try, in order."""
    nearest = sorted(zones, key=lambda zone: (zone.node, -zone.kind))
    return {kind: [zone for zone in nearest if zone.kind <= kind] for kind in ZoneKind}
