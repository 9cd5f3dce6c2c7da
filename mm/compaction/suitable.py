"""Whether compaction can help, and how often it is left out after it has failed.

It helps where there are free frames to move things to, and scattered ones.  Each failure
doubles the attempts that are skipped, up to 63 of 64; an allocation that succeeds forgets
them all.

Kernel counterpart: compaction_suitable, defer_compaction, compaction_deferred,
compaction_defer_reset and compaction_restarting (mm/compaction.c), compaction_ready
(mm/vmscan.c) of v6.1.
"""

from attrs import define

from mm.buddy.buddy import Buddy
from mm.buddy.fragindex import fragmentation_index
from mm.compaction.compact_control import COSTLY_ORDER, WHOLE_ZONE, CompactResult
from mm.state.nodes import Zone, ZoneKind, watermark_ok
from mm.state.pageblock import MOST_NR_ORDERS, MigrateType
from pinpage.errors import whole

__all__ = [
    "EXTFRAG_THRESHOLD",
    "MAX_DEFER_SHIFT",
    "Deferral",
    "compact_gap",
    "compaction_ready",
    "compaction_suitable",
]

EXTFRAG_THRESHOLD = 500
"""A fragmentation index up to this means too little memory rather than too scattered."""
MAX_DEFER_SHIFT = 6
"""Compaction that keeps failing is tried once in 2^6 times, not less often."""


def compact_gap(order: int) -> int:
    """Free pages that compaction for an order may need for itself: sources and targets."""
    (order,) = whole("compaction", order=order)
    return 2 << order


def compaction_suitable(
    buddy: Buddy, zone: Zone, order: int, *, mark: int, highest: ZoneKind = ZoneKind.NORMAL
) -> CompactResult | None:
    """Whether to compact a zone for an order.

    It takes more than 2 * 2^order pages above a watermark, low for costly orders and min
    else; and for costly orders a fragmentation index that does not put the blame on too
    little memory.

    Args:
        buddy: the free lists.
        zone: where.
        order: log2 of the pages wanted, or `WHOLE_ZONE`.
        mark: the watermark that the allocation itself would have to keep.
        highest: the highest zone that it may use.

    Returns:
        None to go ahead; SUCCESS if the block is there; SKIPPED if reclaim is to come first.
    """
    (order,) = whole("compaction", order=order)
    if order == WHOLE_ZONE:
        return None
    if watermark_ok(buddy, zone, order, mark, highest=highest):
        return CompactResult.SUCCESS
    needs = (zone.low if order > COSTLY_ORDER else zone.min) + compact_gap(order)
    if not watermark_ok(buddy, zone, 0, needs, highest=highest):
        return CompactResult.SKIPPED
    if order <= COSTLY_ORDER:
        return None
    by_order = buddy.nr_free_by_order(zone.index)[: MigrateType.ISOLATE].sum(axis=0)
    index = fragmentation_index(by_order, order)
    return CompactResult.SKIPPED if 0 <= index <= EXTFRAG_THRESHOLD else None


def compaction_ready(
    buddy: Buddy, zone: Zone, order: int, *, highest: ZoneKind = ZoneKind.NORMAL
) -> bool:
    """Whether reclaim for a costly order would be in vain: compaction has all that it needs.

    That is so from the high watermark and the gap upward.

    Args:
        buddy: the free lists.
        zone: the zone.
        order: log2 of the pages wanted.
        highest: the highest zone that the request may use.
    """
    suitable = compaction_suitable(buddy, zone, order, mark=zone.min, highest=highest)
    if suitable is not None:
        return suitable is CompactResult.SUCCESS
    return watermark_ok(buddy, zone, 0, zone.high + compact_gap(order), highest=highest)


@define
class Deferral:
    """One zone's account.

    Attributes:
        shift: of 2^shift attempts one runs.
        considered: attempts since the last failure.
        failed_order: the lowest order that failed; attempts below it always run.
    """

    shift: int = 0
    considered: int = 0
    failed_order: int = MOST_NR_ORDERS

    def defers(self, order: int) -> bool:
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
