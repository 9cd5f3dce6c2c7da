"""The page allocator: which zone may serve a request, and what to do when none can.

    fast path   a zone above its low watermark; order 0 through the per-CPU lists
    slow path   above min: as it is; after asynchronous compaction; after reclaim and
                compaction by turns, as long as `Retries` sees a point; fail

The free lists themselves are `mm.buddy.buddy`; this module decides and owns no frames.

Kernel counterpart: get_page_from_freelist, __alloc_pages_slowpath, should_compact_retry and
should_reclaim_retry (mm/page_alloc.c) and try_to_compact_pages (mm/compaction.c) of v6.1.  Where
no background reclaim runs (`mm.allocator.kswapd`), the one thing of kswapd's that later requests
depend on, forgetting stale skip hints, is done when a slow path begins.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, Self

from attrs import define, frozen

from mm.buddy.buddy import Buddy
from mm.buddy.pcp import PerCpuPages
from mm.compaction.compact_control import COSTLY_ORDER, CompactPriority, CompactResult
from mm.compaction.compaction import Compaction
from mm.compaction.suitable import Deferral, compaction_ready, compaction_suitable
from mm.move.design import Design
from mm.state.costs import Counters, Meter
from mm.state.gfp import AllocFlags, Gfp, gfp_migratetype, gfp_zone_kind
from mm.state.nodes import Zone, ZoneKind, watermark_ok
from mm.state.pageblock import MigrateType
from pinpage.errors import PinpageError, one_of, whole

__all__ = ["MAX_COMPACT_RETRIES", "MAX_RECLAIM_RETRIES", "Background", "PageAllocator", "Retries"]

MAX_COMPACT_RETRIES = 16
"""Attempts that made progress and yet came away with nothing, before trying harder."""
MAX_RECLAIM_RETRIES = 16
"""Rounds of reclaim without progress before giving up."""
_SWAP_CLUSTER_MAX = 32


@define
class Retries:
    """What an allocation has behind it, and how hard it compacts next.

    Attributes:
        order: log2 of the pages wanted.
        priority: of the next compaction.
        nr_compactions: attempts at this priority that made progress.
        nr_in_vain: rounds of reclaim without progress (all of them, for costly orders).
    """

    order: int
    priority: CompactPriority = CompactPriority.SYNC_LIGHT
    nr_compactions: int = 0
    nr_in_vain: int = 0

    @property
    def hardest(self) -> CompactPriority:
        """Costly orders stop short of the highest priority."""
        costly = self.order > COSTLY_ORDER
        return CompactPriority.SYNC_LIGHT if costly else CompactPriority.SYNC_FULL

    def compact_again(self, result: CompactResult, *, reclaim_may_help: bool) -> bool:
        """Whether to compact once more; may raise the priority.

        Args:
            result: of the last attempt.
            reclaim_may_help: whether compaction would have room if all that can be reclaimed
                were.
        """
        if self.order == 0:
            return False
        if result is CompactResult.SUCCESS:
            self.nr_compactions += 1
            most = MAX_COMPACT_RETRIES // (4 if self.order > COSTLY_ORDER else 1)
            if self.nr_compactions <= most:
                return True
        elif result is CompactResult.SKIPPED:
            return reclaim_may_help
        return self._try_harder()

    def _try_harder(self) -> bool:
        if self.priority <= self.hardest:
            return False
        self.priority = CompactPriority(self.priority - 1)
        self.nr_compactions = 0
        return True

    def reclaim_again(self, *, progress: bool, would_suffice: bool) -> bool:
        """Whether to reclaim once more.

        Args:
            progress: whether the last round freed anything.
            would_suffice: whether the request would pass if all that can be reclaimed were.
        """
        if progress and self.order <= COSTLY_ORDER:
            self.nr_in_vain = 0
        else:
            self.nr_in_vain += 1
        return self.nr_in_vain <= MAX_RECLAIM_RETRIES and would_suffice


class Background(Protocol):
    """What runs beside the allocations on CPUs of its own (`mm.allocator.kswapd`)."""

    def wake(self, order: int, zones: Sequence[Zone]) -> None:
        """An allocation of this order was short of memory in these zones.

        Args:
            order: log2 of the pages wanted.
            zones: the zones that may serve it, nearest first.
        """

    def catch_up(self) -> None:
        """Time has passed: do what it would have done meanwhile."""


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
        """Borrow the state; `design` is asked for the design in force at each compaction.

        Args:
            zones: the zones that may serve it, nearest first.
            buddy: the free lists.
            pcp: the per-CPU lists.
            compaction: compacts a zone.
            counters: what is done is counted here.
            design: gives the design in force, asked at each compaction.
        """
        self._zones = tuple(zones)
        self._buddy = buddy
        self._pcp = pcp
        self._compaction = compaction
        self._counters = counters
        self._design = design
        self._deferrals = {zone.index: Deferral() for zone in zones}
        self._zonelists = _zonelists(self._zones)
        self._nodes = {zone.node for zone in zones}
        self._requests: dict[tuple[Gfp, AllocFlags], _Request] = {}
        self._busy = self._lets_run = False
        self.meter: Meter | None = None
        """Charged between two rounds, where others are let run; None: no time passes."""
        self.reclaim: Callable[[int], int] | None = None
        """Direct reclaim: asked for so many pages, says how many it freed.  None: there is none."""
        self.reclaimable: Callable[[], int] | None = None
        """How many pages reclaim could free at most.  None: none."""
        self.background: Background | None = None
        """Background reclaim, where it runs."""

    def add_zone(self, zone: Zone) -> None:
        """One zone more to serve requests from (build_all_zonelists).

        Raises:
            PinpageError: its index is not the next one.
        """
        if zone.index != len(self._zones):
            raise PinpageError(f"add_zone: index={zone.index}: the next one is {len(self._zones)}")
        self._zones = (*self._zones, zone)
        self._deferrals[zone.index] = Deferral()
        self._zonelists = _zonelists(self._zones)
        self._nodes.add(zone.node)

    def alloc_pages(
        self, order: int, gfp: Gfp, node: int | None = None, *, lets_run: bool = False
    ) -> int:
        """One block of 2^order frames: its head, or -1 (-ENOMEM).

        Args:
            order: log2 of the pages wanted.
            gfp: what the caller allows.
            node: the only node that may serve it (__GFP_THISNODE); None for any, nearest first.
            lets_run: the caller is in the middle of nothing, so others go on between two rounds
                of reclaim and compaction.

        Raises:
            PinpageError: an order that nobody may ask for, or no such node.

        Context: may compact and reclaim if `gfp` has DIRECT_RECLAIM and no allocation of
            this allocator is doing so already (PF_MEMALLOC): the recursion ends there.
        """
        if type(order) is not int:
            (order,) = whole("alloc_pages", order=order)
        if not 0 <= order < self._buddy.area.nr_orders:
            most = self._buddy.area.nr_orders - 1
            raise PinpageError(f"alloc_pages: order={order}: give 0..{most}")
        zones = self._zonelists[gfp_zone_kind(gfp)]
        if node is not None:
            (node,) = one_of(self._nodes, "alloc_pages", node=node)
            zones = [zone for zone in zones if zone.node == node]
        pfn = self._from_freelists(order, gfp, zones, lambda zone: zone.low, AllocFlags.NOFRAGMENT)
        if pfn < 0:
            pfn = self._from_freelists(order, gfp, zones, lambda zone: zone.min, AllocFlags.NONE)
        if pfn < 0 and gfp & Gfp.DIRECT_RECLAIM and not self._busy:
            self._busy, self._lets_run = True, lets_run
            if lets_run and self.meter is not None:
                self.meter.start()
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
        """The block after compaction and reclaim by turns, or -1."""
        self._wake(order, gfp, zones)
        costly, tries = order > COSTLY_ORDER, Retries(order)
        if costly or (order and gfp_migratetype(gfp) != MigrateType.MOVABLE):
            pfn, result = self._compact_for(order, gfp, zones, CompactPriority.ASYNC)
            if pfn >= 0:
                return pfn
            if costly and gfp & Gfp.NORETRY:
                if result in (CompactResult.SKIPPED, CompactResult.DEFERRED):
                    return -1
                tries.priority = CompactPriority.ASYNC  # what has cost that much, costs no more
        while True:
            freed = self._direct_reclaim(order, gfp, zones)
            pfn = self._from_freelists(order, gfp, zones, lambda zone: zone.min, AllocFlags.NONE)
            if pfn >= 0:
                return pfn
            pfn, result = self._compact_for(order, gfp, zones, tries.priority)
            if pfn >= 0:
                return pfn
            self._let_others_run()
            if gfp & Gfp.NORETRY or (costly and not gfp & Gfp.RETRY_MAYFAIL):
                return -1
            would_pass = self._would_pass(order, gfp, zones)
            if tries.reclaim_again(progress=freed > 0, would_suffice=would_pass):
                continue
            may_help = self._nr_reclaimable() > 0
            if not freed or not tries.compact_again(result, reclaim_may_help=may_help):
                return -1

    def _let_others_run(self) -> None:
        """Between two rounds; what others allocate meanwhile may reclaim and compact."""
        if self._lets_run and self.meter is not None:
            self._busy = False
            try:
                self.meter.cond_resched()
            finally:
                self._busy, self._lets_run = True, True

    def _wake(self, order: int, gfp: Gfp, zones: Sequence[Zone]) -> None:
        """Somebody is short of memory: kswapd's turn, where there is one."""
        if self.background is None:
            for zone in zones:
                self._compaction.reset_isolation_suitable(zone, only_stale=True)
        elif gfp & Gfp.KSWAPD_RECLAIM:
            self.background.wake(order, zones)

    def _direct_reclaim(self, order: int, gfp: Gfp, zones: Sequence[Zone]) -> int:
        """Pages freed; progress without any where compaction has all that it needs."""
        if self.reclaim is None:
            return 0
        highest = gfp_zone_kind(gfp)
        if order > COSTLY_ORDER and all(
            compaction_ready(self._buddy, zone, order, highest=highest) for zone in zones
        ):
            return 1
        freed = self.reclaim(max(1 << order, _SWAP_CLUSTER_MAX))
        if freed:
            self._pcp.drain_all()
        return freed

    def _nr_reclaimable(self) -> int:
        return self.reclaimable() if self.reclaimable else 0

    def _would_pass(self, order: int, gfp: Gfp, zones: Sequence[Zone]) -> bool:
        """Whether the request would be met if everything that can be reclaimed were.

        Not where a block of its order is missing: reclaim makes pages, not blocks.
        """
        if order:
            return False
        nr_reclaimable, highest = self._nr_reclaimable(), gfp_zone_kind(gfp)
        return nr_reclaimable > 0 and any(
            watermark_ok(self._buddy, zone, 0, zone.min - nr_reclaimable, highest=highest)
            for zone in zones
        )

    def _compact_for(
        self, order: int, gfp: Gfp, zones: Sequence[Zone], priority: CompactPriority
    ) -> tuple[int, CompactResult]:
        """Direct compaction, zone by zone, and another look at the free lists after each.

        Returns:
            The block or -1, and the most that came of any zone.
        """
        most = CompactResult.SKIPPED
        for zone in zones if order else ():
            result = self._compact_zone(order, gfp, zone, priority)
            most = max(most, result)
            if result <= CompactResult.DEFERRED:
                continue
            pfn = self._from_freelists(order, gfp, zones, lambda zone: zone.min, AllocFlags.NONE)
            if self.background is not None:
                self.background.catch_up()
            if pfn >= 0:
                self.deferral(self._zone_of(pfn)).succeed(order)
                return pfn, CompactResult.SUCCESS
            if result is CompactResult.SUCCESS:
                self.deferral(zone).expect(order)
            elif priority is not CompactPriority.ASYNC and result is not CompactResult.CONTENDED:
                self.deferral(zone).fail(order)
        return -1, most

    def _compact_zone(
        self, order: int, gfp: Gfp, zone: Zone, priority: CompactPriority
    ) -> CompactResult:
        deferral = self.deferral(zone)
        if priority > CompactPriority.SYNC_FULL and deferral.defers(order):
            return CompactResult.DEFERRED
        found = compaction_suitable(
            self._buddy, zone, order, mark=zone.min, highest=gfp_zone_kind(gfp)
        )
        if found is not None:
            return found
        if deferral.is_restarting(order):
            self._compaction.reset_isolation_suitable(zone)
        self._pcp.drain_all()
        control = priority.control(zone, order, gfp_migratetype(gfp))
        return self._compaction.compact_zone(control, self._design()).result

    def deferral(self, zone: Zone) -> Deferral:
        """How often compaction of a zone is left out now; kcompactd counts there too."""
        return self._deferrals[zone.index]

    def _zone_of(self, pfn: int) -> Zone:
        index = int(self._buddy.area.zone_of_block[pfn >> self._buddy.pageblock_order])
        return next(zone for zone in self._zones if zone.index == index)


def _zonelists(zones: Sequence[Zone]) -> dict[ZoneKind, list[Zone]]:
    """By the highest kind that a request may use: the zones to try, in order."""
    nearest = sorted(zones, key=lambda zone: (zone.node, -zone.kind))
    return {kind: [zone for zone in nearest if zone.kind <= kind] for kind in ZoneKind}
