"""The compaction daemon of a node: what allocations could not wait for, and before anybody asks.

    woken        for an order, by kswapd when it goes to sleep; SYNC_LIGHT, hints respected
    proactive    every 500 ms: while a node scores above 90, its zones are compacted until each
                 scores 80 or less; if that gained nothing, the next look is 32 s away

A zone's score is the share of its free memory, in percent, that is of no use to a huge page.
sysctl compaction_proactiveness moves both marks; at 0 nobody looks.

Kernel counterpart: kcompactd, kcompactd_do_work, proactive_compact_node and
compaction_proactiveness (mm/compaction.c of v6.1).
"""

from collections.abc import Callable, Sequence

from attrs import define, field

from mm.buddy.buddy import Buddy
from mm.buddy.fragindex import fragmentation_score_node, fragmentation_score_zone
from mm.buddy.pcp import PerCpuPages
from mm.compaction.compact_control import CompactControl, CompactReport, CompactResult
from mm.compaction.compaction import Compaction
from mm.compaction.suitable import MAX_DEFER_SHIFT, Deferral, compaction_suitable
from mm.move.design import Design
from mm.state.nodes import Zone
from pinpage.errors import PinpageError, at_least, within

__all__ = ["CHECK_INTERVAL_NS", "DEFAULT_PROACTIVENESS", "Kcompactd", "score_marks"]

CHECK_INTERVAL_NS = 500_000_000
"""Between two looks at the score (HPAGE_FRAG_CHECK_INTERVAL_MSEC)."""
DEFAULT_PROACTIVENESS = 20
"""sysctl compaction_proactiveness."""


def score_marks(proactiveness: int) -> tuple[int, int]:
    """The scores to come down to, and above which to begin.

    Raises:
        PinpageError: not a percentage.

    >>> score_marks(20)
    (80, 90)
    """
    if not 0 <= proactiveness <= 100:
        raise PinpageError(f"kcompactd: proactiveness={proactiveness}: give a percentage, 0..100")
    low = max(100 - proactiveness, 5)
    return low, min(low + 10, 100)


@define(eq=False)
class Kcompactd:
    """One node's daemon.

    Attributes:
        node: whose zones it compacts.
        proactiveness: 0 (never) .. 100; may be changed at any time.
        nr_wakes: runs for an order (compact_daemon_wake).
        nr_proactive: runs for the score.
        next_look_ns: simulated time of the next look at the score.
    """

    node: int
    _zones: Callable[[], Sequence[Zone]]
    _buddy: Buddy
    _pcp: PerCpuPages
    _compaction: Compaction
    _deferral: Callable[[Zone], Deferral]
    _design: Callable[[], Design]
    proactiveness: int = DEFAULT_PROACTIVENESS
    nr_wakes: int = field(default=0, init=False)
    nr_proactive: int = field(default=0, init=False)
    next_look_ns: int = field(default=CHECK_INTERVAL_NS, init=False)

    @property
    def zones(self) -> list[Zone]:
        """Its node's zones that have memory, the lowest kind first."""
        mine = (zone for zone in self._zones() if zone.node == self.node)
        return sorted((z for z in mine if z.managed_nr_pages), key=lambda zone: zone.kind)

    # For an order.

    def run(self, order: int) -> CompactReport:
        """Compact each zone that lacks a block of this order, unless that failed lately.

        Raises:
            PinpageError: an order that there is none of.
        """
        (order,) = within(self._buddy.area.nr_orders, "kcompactd", order=order)
        self.nr_wakes += 1
        total = CompactReport(CompactResult.SKIPPED)
        for zone in self.zones:
            deferral = self._deferral(zone)
            if deferral.defers(order):
                total.result = max(total.result, CompactResult.DEFERRED)
                continue
            if compaction_suitable(self._buddy, zone, order, mark=zone.min, highest=zone.kind):
                continue
            if deferral.is_restarting(order):
                self._compaction.reset_isolation_suitable(zone)
            control = CompactControl.of_kcompactd(zone, order)
            report = self._compaction.compact_zone(control, self._design())
            total.add(report)
            if report.result is CompactResult.SUCCESS:
                deferral.expect(order)
            elif report.result in (CompactResult.COMPLETE, CompactResult.PARTIAL_SKIPPED):
                self._pcp.drain_all()  # what could merge now may spare the next attempt
                deferral.fail(order)
        return total

    # For the score.

    def score(self) -> int:
        """The node's score, 0..100."""
        zones = self.zones
        scores = [self._score_of(zone) for zone in zones]
        return fragmentation_score_node(scores, [zone.managed_nr_pages for zone in zones])

    def look(self, now_ns: int) -> CompactReport | None:
        """Time has passed: compact if a look is due and the score is too high.

        Returns:
            What was done, or None if nothing was.

        Raises:
            PinpageError: `proactiveness` was set to no percentage.
        """
        _, high = score_marks(self.proactiveness)
        (now_ns,) = at_least(0, "kcompactd", now_ns=now_ns)
        if not self.proactiveness or now_ns < self.next_look_ns:
            return None
        self.next_look_ns = now_ns + CHECK_INTERVAL_NS
        before = self.score()
        if before <= high:
            return None
        report = self._compact_for_score()
        if self.score() >= before:
            self.next_look_ns = now_ns + (CHECK_INTERVAL_NS << MAX_DEFER_SHIFT)
        return report

    def _compact_for_score(self) -> CompactReport:
        self.nr_proactive += 1
        low, _ = score_marks(self.proactiveness)
        self._pcp.drain_all()
        total = CompactReport()
        for zone in self.zones:
            control = CompactControl.proactive(zone, self._until(zone, low))
            total.add(self._compaction.compact_zone(control, self._design()))
        return total

    def _until(self, zone: Zone, low: int) -> Callable[[], bool]:
        return lambda: self._score_of(zone) <= low

    def _score_of(self, zone: Zone) -> int:
        nr_blocks = self._buddy.nr_free_by_order(zone.index).sum(axis=0)
        return fragmentation_score_zone(nr_blocks, self._buddy.pageblock_order)
