"""What was objected to in 2013, as figures: collisions, the one lock, nodes, direct I/O.

    probes    of the hash against the closed form 1 + (n - 1) / 2B, beside the registry's
    locks     acquisitions per pin and look-up, and what c CPUs make of one lock
    nodes     acquisitions by threads of another node
    I/O       what pinning the pages of one request costs

Nothing here takes the time of this machine: probes and acquisitions are counted, and the
contention is the exact solution of a closed queue beside a simulation of it.
"""

import heapq
from collections.abc import Sequence

import numpy as np
from attrs import frozen

from pinpage.errors import PinpageError
from pinpage.owner import PinOwner
from pinpage.registry import PinRegistry
from pinpage.rfc2013 import PPAGE_HASH_BITS, PinPageOwner, Rfc2013, hash_long
from pinpage.rfc2013_defects import WITH_A_FLAG
from pinpage.topology import Topology
from pinpage.units import Pfns, Span

__all__ = [
    "LockUse",
    "Probes",
    "closed_queue",
    "drawn_pfns",
    "hash_probes",
    "lock_use",
    "probes",
    "simulated_queue",
]

_NR_FRAMES = 1 << 24
"""64 GiB."""
_NR_LOOKED_UP = 4096


@frozen
class Probes:
    """Records looked at to find the pins of one page that has some.

    Attributes:
        nr_pins: in the table.
        patch: the mean over all pins, in 1024 buckets.
        expected: the closed form.
        registry: the mean over a sample, in the registry.
    """

    nr_pins: int
    patch: float
    expected: float
    registry: float


def drawn_pfns(nr_pins: int, seed: int = 0) -> Pfns:
    """Distinct pfns of a machine of 64 GiB.

    Args:
        nr_pins: how many.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    found = np.unique(rng.integers(_NR_FRAMES, size=nr_pins + nr_pins // 4 + 64))
    return rng.permutation(found)[:nr_pins]


def hash_probes(pfns: Pfns) -> float:
    """Mean records looked at over all of them, by the chains that they form in the patch's hash."""
    lengths = np.bincount(hash_long(pfns, PPAGE_HASH_BITS), minlength=1 << PPAGE_HASH_BITS)
    return float((lengths * (lengths + 1)).sum() / 2 / len(pfns))


def probes(nr_pins: int, seed: int = 0) -> Probes:
    """Fill both with the same pins, and look.

    Args:
        nr_pins: pins of distinct pages.
        seed: of which pages.

    Raises:
        PinpageError: fewer than one pin, or more than half of the machine.
    """
    if not 1 <= nr_pins <= _NR_FRAMES // 2:
        raise PinpageError(f"probes: nr_pins={nr_pins}: give 1..{_NR_FRAMES // 2}")
    pfns = drawn_pfns(nr_pins, seed)
    registry, owner = PinRegistry(Topology((Span(0, _NR_FRAMES),))), PinOwner()
    registry.register(owner)
    registry.pin_many(pfns, owner, np.arange(nr_pins))
    registry.flush()
    sample = pfns[:_NR_LOOKED_UP]
    before = registry.statistics().nr_probes
    for pfn in sample.tolist():
        registry.pins(pfn)
    passed = registry.statistics().nr_probes - before
    expected = 1 + (nr_pins - 1) / (2 << PPAGE_HASH_BITS)
    return Probes(nr_pins, hash_probes(pfns), expected, 1 + passed / len(sample))


def closed_queue(nr_cpus: int, hold_ns: float, think_ns: float) -> float:
    """Acquisitions per microsecond of one lock, exactly, by mean value analysis.

    Args:
        nr_cpus: that do nothing but take it, and think in between.
        hold_ns: mean time that it is held, exponential.
        think_ns: mean time between, exponential.

    >>> round(closed_queue(1, 100, 900), 3), round(closed_queue(256, 100, 900), 3)
    (1.0, 10.0)
    """
    waiting, rate = 0.0, 0.0
    for nr_there in range(1, nr_cpus + 1):
        in_queue_ns = hold_ns * (1 + waiting)
        rate = nr_there / (in_queue_ns + think_ns)
        waiting = rate * in_queue_ns
    return rate * 1000


def simulated_queue(
    nr_cpus: int, hold_ns: float, think_ns: float, *, nr_turns: int = 20_000, seed: int = 0
) -> float:
    """The same, by letting the CPUs come and wait in order.

    The times are drawn and then scaled to their means, so that no sample of them is faster than
    the lock can be; what is left of the sampling error is in the waiting alone.

    Args:
        nr_cpus, hold_ns, think_ns: as of `closed_queue`.
        nr_turns: acquisitions to simulate.
        seed: of the times.
    """
    rng = np.random.default_rng(seed)
    holds, thinks = (rng.exponential(mean, nr_turns + nr_cpus) for mean in (hold_ns, think_ns))
    holds *= hold_ns / holds[:nr_turns].mean()
    thinks *= think_ns / thinks[:nr_turns].mean()
    arrivals = thinks[:nr_cpus].tolist()
    heapq.heapify(arrivals)
    free_ns = 0.0
    for turn in range(nr_turns):
        arrived_ns = heapq.heappop(arrivals)
        free_ns = max(free_ns, arrived_ns) + holds.item(turn)
        heapq.heappush(arrivals, free_ns + thinks.item(nr_cpus + turn))
    return nr_turns / free_ns * 1000


@frozen
class LockUse:
    """Locks taken for pinning and unpinning the pages of direct I/O requests.

    Attributes:
        name: of the design.
        per_request: acquisitions for one request.
        remote_share: of acquisitions, those by a CPU of another node than the lock's data.
        records_left: that nobody takes back.
    """

    name: str
    per_request: float
    remote_share: float
    records_left: int


def lock_use(*, nr_nodes: int = 4, nr_requests: int = 64, nr_pages: int = 64) -> Sequence[LockUse]:
    """Requests of `nr_pages`, each by a CPU of the node where its buffer is.

    Args:
        nr_nodes: of the machine, alike in size.
        nr_requests: in turn, node after node.
        nr_pages: of one request.
    """
    size = nr_requests * nr_pages
    spans = tuple(Span(node * size, (node + 1) * size) for node in range(nr_nodes))
    table, driver = Rfc2013(WITH_A_FLAG), PinPageOwner("dio", lambda _pfn, _private: 1)
    registry, owner = PinRegistry(Topology(spans)), PinOwner()
    registry.register(owner)
    remote = 0
    for request in range(nr_requests):
        node = request % nr_nodes
        registry.run_on(node)
        start = spans[node].start + request * nr_pages
        before = table.nr_lock_acquisitions
        for pfn in range(start, start + nr_pages):
            table.set_pinned_page(driver, pfn, request)
            registry.pin(pfn, owner, request)
        remote += (table.nr_lock_acquisitions - before) * (node != 0)  # the one lock's node is 0
        for pfn in range(start, start + nr_pages):
            table.unset_pinned_page(driver, pfn, request)  # there is no such call: nothing
            registry.unpin(pfn, owner, request)
    ours = registry.statistics()
    taken, taken_here = table.nr_lock_acquisitions, max(ours.lock_acquisitions, 1)
    return (
        LockUse("rfc2013", taken / nr_requests, remote / taken, len(table)),
        LockUse(
            "registry",
            ours.lock_acquisitions / nr_requests,
            ours.nr_remote / taken_here,
            len(registry),
        ),
    )
