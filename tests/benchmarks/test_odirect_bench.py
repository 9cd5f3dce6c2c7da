"""What registering the pages of direct I/O costs: locks counted, time reported.

Counted first: of the page pins of simulated direct I/O, how many never took a node lock.  A
pin that is dropped while it is still in its thread's batch annihilates there; so what counts
is how many pages are in flight at a time, against the size of a batch, and how often somebody
looks (a scanner and a mover drain the batches).
"""

import numpy as np
import pytest

from mm.machine import Machine
from owners.gup.flags import Foll
from owners.gup.gup import Gup
from owners.gup.pin_references import Pinner
from owners.odirect.device import Op, cost_since
from owners.odirect.events import EventQueue, Lognormal
from owners.odirect.model import DeviceModel
from owners.odirect.simulated import SimulatedDevice
from pinpage.registry import DEFAULT_BATCH_NR_PINS

NR_BUFFERS = 1024


def simulated_io(
    nr_pins,
    *,
    queue_depth=32,
    nr_pages=1,
    batch_nr_pins=DEFAULT_BATCH_NR_PINS,
    compact_every=0,
):
    """Random reads and writes until that many pages were pinned; the cost of registering."""
    machine = Machine.build(nr_pages=4096, contents="tags")
    registry = machine.use_registry(batch_nr_pins=batch_nr_pins)
    events, rng = EventQueue(machine.clock), np.random.default_rng(7)
    disk = type(machine.contents)(4096)
    device = SimulatedDevice(
        "disk", Gup(machine), disk, events,
        model=DeviceModel(Lognormal(80_000), queue_depth=queue_depth), rng=rng, registry=registry,
    )  # fmt: skip
    space = machine.memory.mmap("io", NR_BUFFERS)
    for vpn in range(NR_BUFFERS):
        machine.memory.touch(space, vpn, write=True)
    before, nr_requests = registry.statistics(), nr_pins // nr_pages
    vpns = (rng.integers(0, NR_BUFFERS // nr_pages, nr_requests) * nr_pages).tolist()
    for n, vpn in enumerate(vpns):
        while device.nr_in_flight >= queue_depth:
            events.step()
        device.submit(Op.READ if n & 1 else Op.WRITE, space, vpn, nr_pages, vpn)
        if compact_every and n % compact_every == 0:
            machine.compact()
    device.drain()
    device.check()
    machine.check()
    assert len(registry) == 0
    return cost_since(registry, before, device.counters.nr_pins)


def report(title, cost):
    return (
        f"{title}: {cost.nr_pins} pins, {cost.lock_free_share:.1%} without a lock; "
        f"{cost.nr_locks} locks, {cost.nr_drains} drains of {cost.nr_drained} pins"
    )


@pytest.mark.slow
def test_a_million_page_pins_at_queue_depth_32(capsys):
    """At least nine in ten never take a node lock, also while memory is compacted."""
    cost = simulated_io(1_000_000, compact_every=1000)
    with capsys.disabled():
        print("\n" + report("queue depth 32, compaction every 1000 requests", cost))
    assert cost.nr_pins == 1_000_000
    assert cost.lock_free_share >= 0.90


@pytest.mark.benchmark
@pytest.mark.parametrize(
    ("title", "load", "least", "most"),
    [
        ("queue depth 32", {}, 0.9, 0.99),
        ("queue depth 32, compaction every 100 requests", {"compact_every": 100}, 0.5, 0.99),
        ("queue depth 128", {"queue_depth": 128}, 0.7, 0.9),
        ("queue depth 32 of 4 pages", {"nr_pages": 4}, 0.7, 0.9),
        ("the same, batch of 63", {"nr_pages": 4, "batch_nr_pins": 63}, 0.0, 0.2),
        ("queue depth 32, batch of 8", {"batch_nr_pins": 8}, 0.0, 0.5),
        ("queue depth 32, no batch", {"batch_nr_pins": 1}, 0.0, 0.0),
    ],
)
def test_share_of_pins_without_a_lock(title, load, least, most, capsys):
    cost = simulated_io(20_000, **load)
    with capsys.disabled():
        print("\n" + report(title, cost))
    assert least <= cost.lock_free_share <= most


@pytest.mark.benchmark
@pytest.mark.parametrize("flags", [Foll.GET, Foll.PIN], ids=str)
@pytest.mark.parametrize("is_registered", [True, False], ids=["registered", "unregistered"])
def test_time_of_a_pin_and_its_end(benchmark, flags, is_registered):
    machine = Machine.build(nr_pages=512, contents="tags")
    registry = machine.use_registry()
    gup, space = Gup(machine), machine.memory.mmap("p", 64)
    driver = Pinner("driver", registry=registry if is_registered else None)
    for vpn in range(64):
        machine.memory.touch(space, vpn, write=True)

    def pin_and_put():
        got = gup.get_user_pages(space, 0, 32, driver, flags)
        gup.put_user_pages(driver, got.pins)

    benchmark(pin_and_put)
    assert len(driver) == len(registry) == 0
