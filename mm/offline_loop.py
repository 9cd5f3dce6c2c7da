"""The loop of offlining: empty the block, look, and begin again until it is empty or enough.

    round      every page that could move is tried once; what fails is put back
    no more    nothing left that could move: is every frame free in an isolated pageblock?
    else       the next round, however many there have been

Kernel counterpart: the two nested loops of offline_pages() in mm/memory_hotplug.c of v6.1,
where only a signal ends either.
"""

from mm.design import Design
from mm.errno import Errno
from mm.gfp import Gfp
from mm.hotplug_host import HotplugHost
from mm.nodes import ZoneKind
from mm.page_isolation import first_not_isolated
from mm.patience import EvacuationReport, Patience
from mm.targets import MIGRATION_GFP, AllocatedTargets
from pinpage.owner import Mode
from pinpage.units import Span

__all__ = ["OfflineLoop"]


class OfflineLoop:
    """Empties one isolated memory block.

    Attributes:
        span, design, mode: what, and how.
        report: what was done so far; its refusals are those of the last round.
        nr_rounds: rounds begun.
    """

    def __init__(
        self, host: HotplugHost, span: Span, design: Design, patience: Patience, mode: Mode
    ) -> None:
        """Nothing happens before `run`; the time allowed counts from here."""
        self.span = span
        self.design = design
        self.mode = mode
        self.report = EvacuationReport()
        self.nr_rounds = 0
        self._host = host
        self._patience = patience
        self._started_ns = host.clock.now_ns
        self._ends: Errno | None = None
        nodes = {zone.node for zone in host.zones if zone.managed_nr_pages}
        self._other_nodes = sorted(nodes - {int(host.frames.node[span.start])})

    def run(self) -> Errno:
        """Go on until the block is empty (OK), or patience ends.

        Returns:
            EINTR: a signal, or the time is over (which is what `timeout` does to the writer);
            EBUSY: the rounds allowed are used up.
        """
        host, span = self._host, self.span
        inner = Patience(
            nr_tries=None,
            signal_pending=lambda: self._why() is not None,
            between_tries=self._patience.between_tries,
        )
        targets = AllocatedTargets(
            self._alloc, host.frames, host.pcp, span, MIGRATION_GFP | self._zone_gfp()
        )
        while True:
            once = host.evacuator.evacuate(
                span, self.design, patience=inner, mode=self.mode, targets=targets, drop_clean=False
            )
            self._add(once)
            if self._ends is not None:
                return self._ends
            if once.errno is Errno.OK and first_not_isolated(host.buddy, span, offline=True) < 0:
                return Errno.OK
            if once.errno is not Errno.OK and (ends := self._why()) is not None:
                return ends  # (huge pages that stay)
            self._patience.between_tries()

    def _why(self) -> Errno | None:
        """Asked before each round: why it is not to begin."""
        patience = self._patience
        timeout_ns, elapsed_ns = patience.timeout_ns, self._host.clock.now_ns - self._started_ns
        if patience.signal_pending():
            self._ends = Errno.EINTR
        elif timeout_ns is not None and elapsed_ns >= timeout_ns:
            self._ends = Errno.EINTR
            self.report.timed_out = True
        elif self.nr_rounds == patience.nr_tries:
            self._ends = Errno.EBUSY
        else:
            self.nr_rounds += 1
        return self._ends

    def _add(self, once: EvacuationReport) -> None:
        """Sum up what was done; who stayed is known from the last time only."""
        timed_out = self.report.timed_out
        self.report.add(once)
        self.report.refusals = once.refusals
        self.report.timed_out = timed_out

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
