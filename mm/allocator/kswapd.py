"""Background reclaim: one daemon that frees memory beside the allocations that lack it.

An allocation that enters the slow path wakes it.  A run asks for a free block of the order
wanted with the high watermark kept; having freed twice that order's pages without one it
leaves the block to compaction and sees to single pages only.  Each round scans a larger
share of the LRU, from one page in 4096 on.  Before it sleeps it forgets stale skip hints and
hands the order on to kcompactd.  After 16 runs that freed nothing it is not woken any more.

It has a CPU of its own.  Simulated time is what work costs: the daemon works while the others
do, no faster than the cost model lets it, and what it does is not charged to them.

Kernel counterpart: kswapd, balance_pgdat, kswapd_try_to_sleep and wakeup_kswapd
(mm/vmscan.c of v6.1).  The watermark boost and memory cgroups are left out.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from attrs import define, field

from mm.buddy.buddy import Buddy
from mm.compaction.compaction import Compaction
from mm.compaction.kcompactd import Kcompactd
from mm.compaction.suitable import compact_gap
from mm.state.costs import CostModel, Counters
from mm.state.nodes import Zone, watermark_ok
from pinpage.errors import within

__all__ = ["DEF_PRIORITY", "MAX_FAILURES", "Kswapd", "Shrinker"]

DEF_PRIORITY = 12
"""The first round scans one page in 2^12."""
MAX_FAILURES = 16
"""Runs in vain after which a node counts as immovable (MAX_RECLAIM_RETRIES)."""
_CLUSTER = 32
_SWAP_OUT_NS = 4_000
"""What swapping a page out takes beyond what is counted (slot, rmap walk, tree, entry).

Recorded 6.1 kernels reclaimed a page in 10 to 14 us of modelled time, compression included, of
which this is a part.  The value was chosen by trying 2 to 7 us on recorded requests for huge
pages: it is fitted to them as a whole.  What such a request obtains is sensitive to it: at
4.5 us two of the 17 miss by a fifth and a third.
"""


class Shrinker(Protocol):
    """Reclaim as kswapd uses it (`mm.paging.vmscan.Reclaimer`)."""

    def nr_reclaimable(self) -> int:
        """Pages on the LRU that reclaim could free."""

    def shrink(self, nr_to_scan: int) -> int:
        """Scan so many of the oldest; how many were freed."""


@define(eq=False)
class Kswapd:
    """The daemon of a machine; satisfies `mm.allocator.page_alloc.Background`.

    Attributes:
        nr_runs: how often it woke up (pageoutrun).
        nr_reclaimed: pages that it freed (pgsteal_kswapd).
        nr_failures: runs in a row that freed nothing.
        done: what it and kcompactd have counted.
    """

    _zones: Callable[[], Sequence[Zone]]
    _buddy: Buddy
    _shrinker: Shrinker
    _compaction: Compaction
    _kcompactds: Sequence[Kcompactd]
    _counted: Callable[[], Counters]
    _costs: CostModel
    nr_runs: int = field(default=0, init=False)
    nr_reclaimed: int = field(default=0, init=False)
    nr_failures: int = field(default=0, init=False)
    done: Counters = field(factory=Counters, init=False)
    _run: Iterator[None] | None = field(default=None, init=False)
    _own_ns: int = field(default=0, init=False)
    _asked: int = field(default=0, init=False)

    @property
    def is_running(self) -> bool:
        """Whether it is awake."""
        return self._run is not None

    def wake(self, order: int, zones: Sequence[Zone]) -> None:
        """Somebody lacks a block of this order.

        Args:
            order: log2 of the pages wanted.
            zones: the zones that may serve it, nearest first.

        Raises:
            PinpageError: an order that there is none of.
        """
        (order,) = within(self._buddy.area.nr_orders, "kswapd", order=order)
        self._asked = max(self._asked, order)
        if self._run is not None or self.nr_failures >= MAX_FAILURES:
            return
        if any(self._is_balanced(zone, order) for zone in zones):
            return
        self._own_ns = max(self._own_ns, self._others_ns(self._counted()))
        self._asked = 0
        self._run = self._balance(order)
        self.nr_runs += 1
        self.catch_up()

    def catch_up(self) -> None:
        """Work until it has used as much time as the others have."""
        if self._run is None:
            return
        before = self._counted()
        while self._run is not None and self._own_ns <= self._others_ns(before):
            try:
                next(self._run)
            except StopIteration:
                self._run = None
            counted = self._counted()
            spent = counted.since(before)
            self.done.add(spent)
            cost_ns = self._costs.cost_of(spent) + spent.pages_compressed * _SWAP_OUT_NS
            self._own_ns += max(cost_ns, 1)
            before = counted

    def _others_ns(self, counted: Counters) -> int:
        return self._costs.cost_of(counted.since(self.done))

    def _is_balanced(self, zone: Zone, order: int) -> bool:
        return watermark_ok(self._buddy, zone, order, zone.high, highest=zone.kind)

    def _balance(self, order: int) -> Iterator[None]:
        """One run; each step is one batch of reclaim, or one compaction."""
        wanted, nr_reclaimed, zones = order, 0, self._zones()
        for priority in range(DEF_PRIORITY, 0, -1):
            if any(self._is_balanced(zone, wanted) for zone in zones):
                break
            left = self._shrinker.nr_reclaimable() >> priority
            while left > 0:
                freed = self._shrinker.shrink(min(left, _CLUSTER))
                nr_reclaimed += freed
                self.nr_reclaimed += freed
                left -= _CLUSTER
                yield
            if wanted and nr_reclaimed >= compact_gap(wanted):
                wanted = 0
        self.nr_failures = 0 if nr_reclaimed else self.nr_failures + 1
        for zone in zones:
            self._compaction.reset_isolation_suitable(zone, only_stale=True)
        if self._asked and any(self._is_balanced(zone, 0) for zone in zones):
            for kcompactd in self._kcompactds:
                yield
                kcompactd.run(self._asked)
