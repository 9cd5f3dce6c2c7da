"""The loop of offlining: empty the block, look, and begin again until it is empty or enough.

    round      every page that could move is tried once; what fails is put back
    no more    nothing left that could move: is every frame free in an isolated pageblock?
    else       the next round, however many there have been

Where nothing happens between two rounds, one that changed nothing and called nobody back will
be repeated to the letter, until what is planned next is due.  Such rounds are counted and
charged, not made, up to there or to the limit of tries or time; a signal is looked for before
each round that is made.

Kernel counterpart: the two nested loops of offline_pages() in mm/memory_hotplug.c of v6.1,
where only a signal ends either.
"""

from attrs import asdict

from mm.contig.evacuate import MIGRATION_GFP, AllocatedTargets
from mm.contig.page_isolation import first_not_isolated
from mm.contig.retry import EvacuationReport, RetryPolicy
from mm.hotplug.host import HotplugHost
from mm.move.design import Design
from mm.state.costs import Counters
from mm.state.errno import Errno
from mm.state.gfp import Gfp
from mm.state.nodes import ZoneKind
from mm.state.reasons import Refusals
from pinpage.owner import Mode
from pinpage.units import Span

__all__ = ["OfflineLoop"]

_CHANGES = (
    "pages_copied", "ptes_rewritten", "callbacks", "flushes", "pages_compressed",
    "pages_decompressed", "pages_allocated", "pages_freed",
)  # fmt: skip
"""Counters that grow in a round that changes something, or asks somebody who may."""


class OfflineLoop:
    """Empties one isolated memory block.

    Attributes:
        span, design, mode: what, and how.
        report: what was done so far; its refusals are those of the last round.
        nr_rounds: rounds begun, those that were only counted included.
    """

    def __init__(
        self, host: HotplugHost, span: Span, design: Design, retry: RetryPolicy, mode: Mode
    ) -> None:
        """Nothing happens before `run`; the time allowed counts from here.

        Args:
            host: the machine.
            span: the range of frames.
            design: what is done with frames that mm cannot move by itself.
            retry: when to give up.
            mode: how long to wait for one frame.
        """
        self.span = span
        self.design = design
        self.mode = mode
        self.report = EvacuationReport()
        self.nr_rounds = 0
        self._host = host
        self._retry = retry
        self._started_ns = host.clock.now_ns
        self._ends: Errno | None = None
        self._uncharged_ns = 0
        self._nr_happened = host.clock.nr_happened
        self._seen: Counters | None = None  # when the round under way began
        nodes = {zone.node for zone in host.zones if zone.managed_nr_pages}
        self._other_nodes = sorted(nodes - {int(host.frames.node[span.start])})

    def run(self) -> Errno:
        """Go on until the block is empty (OK), or the policy says stop.

        Returns:
            EINTR: a signal, or the time is over (which is what `timeout` does to the writer);
            EBUSY: the rounds allowed are used up.
        """
        host, span = self._host, self.span
        inner = RetryPolicy(
            nr_tries=None,
            signal_pending=lambda: self._why() is not None,
            between_tries=self._retry.between_tries,
        )
        targets = AllocatedTargets(
            self._alloc, host.frames, host.pcp, span, MIGRATION_GFP | self._zone_gfp()
        )
        while True:
            once = host.evacuator.evacuate(
                span, self.design, retry=inner, mode=self.mode, targets=targets, drop_clean=False
            )
            self._add(once)
            if self._ends is not None:
                return self._ends
            if once.errno is Errno.OK and first_not_isolated(host.buddy, span, offline=True) < 0:
                return Errno.OK
            if once.errno is not Errno.OK and (ends := self._after_huge_pages()) is not None:
                return ends
            self._retry.between_tries()

    def _after_huge_pages(self) -> Errno | None:
        """Huge pages that stay cost a round like any other: the block was looked at in vain."""
        meter = self._host.evacuator.parts.meter
        meter.start()
        self._host.counters.pages_scanned_migrate += self.span.nr_pages
        meter.lap()
        ends = self._why()
        meter.lap()
        return ends

    def _why(self) -> Errno | None:
        """Asked before each round: why it is not to begin."""
        if self._retry.signal_pending():
            self._ends = Errno.EINTR
            return self._ends
        self._count_repeats()
        timeout_ns = self._retry.timeout_ns
        if timeout_ns is not None and self._elapsed_ns() >= timeout_ns:
            self._ends = Errno.EINTR
            self.report.timed_out = True
        elif self.nr_rounds == self._retry.nr_tries:
            self._ends = Errno.EBUSY
        else:
            self.nr_rounds += 1
        return self._ends

    def _elapsed_ns(self) -> int:
        """Time since the beginning, with what is counted but not on the clock yet."""
        return self._host.clock.now_ns - self._started_ns + self._uncharged_ns

    def _count_repeats(self) -> None:
        """If the last round would only be repeated until the end, count that and leave it out."""
        began, self._seen = self._seen, self._host.counted()
        clock, self._uncharged_ns = self._host.clock, 0  # a round has charged it since
        nr_happened, self._nr_happened = self._nr_happened, clock.nr_happened
        retry = self._retry
        if began is None or not retry.is_alone or nr_happened != clock.nr_happened:
            return
        done = self._seen.since(began)
        round_ns = self._host.costs.cost_of(done)
        if any(getattr(done, name) for name in _CHANGES) or not round_ns:
            return
        limits = []
        if retry.nr_tries is not None:
            limits.append(retry.nr_tries - self.nr_rounds)
        if retry.timeout_ns is not None:
            limits.append(-(-(retry.timeout_ns - self._elapsed_ns()) // round_ns))
        if (due_ns := clock.next_ns()) is not None:
            limits.append((due_ns - clock.now_ns) // round_ns)
        nr_repeats = max(0, min(limits, default=0))
        self.nr_rounds += nr_repeats
        self._uncharged_ns = nr_repeats * round_ns  # on the clock with the next lap
        self._host.counters.add(
            Counters(**{name: count * nr_repeats for name, count in asdict(done).items()})
        )

    def _add(self, once: EvacuationReport) -> None:
        """Sum up what was done; why frames stayed is known from the last time they were tried."""
        report, timed_out = self.report, self.report.timed_out
        before, report.refusals = report.refusals, Refusals()
        report.add(once)
        if not once.nr_tries and before.total:
            report.refusals = before
        report.timed_out = timed_out

    # Destinations.

    def _zone_gfp(self) -> Gfp:
        """What leaves ZONE_MOVABLE may go there again."""
        zone = self._host.zones[self._host.frames.zone.item(self.span.start)]
        return Gfp.HIGHMEM if zone.kind is ZoneKind.MOVABLE else Gfp.NONE

    def _alloc(self, gfp: Gfp) -> int:
        """From another node if there is one, else from this: memory may all be about to go."""
        alloc_pages = self._host.allocator.alloc_pages
        for node in self._other_nodes:
            if (pfn := alloc_pages(0, gfp & ~Gfp.RECLAIM, node)) >= 0:
                return pfn
        return alloc_pages(0, gfp)
