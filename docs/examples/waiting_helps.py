"""Does waiting help?  Direct reads are under way in a contiguous area that a device asks for.

Shows:  the clock and what is planned on it; a disk with a latency law; a CMA request; a pause.
Expect: reads that end while the walk is under way do not matter; those that outlast it cost the
        request, unless one pauses and asks again; a pin that never ends costs it every time.
"""

import numpy as np

from mm.machine import Machine
from mm.state.contents import TagContents
from owners.gup.gup import Gup
from owners.odirect.device import Op
from owners.odirect.events import Constant, EventQueue, Latency, Lognormal
from owners.odirect.model import DeviceModel
from owners.odirect.simulated import SimulatedDevice
from pinpage.units import Span

NR_RUNS, NR_READS, NR_PAGES = 10, 8, 4096
LAWS: dict[str, Latency] = {
    "always 0.1 ms": Constant(100_000),
    "median 0.1 ms": Lognormal(100_000, 1.0),
    "always 1 ms": Constant(1_000_000),
    "median 1 ms": Lognormal(1_000_000, 1.0),
    "always 5 ms": Constant(5_000_000),
    "median 5 ms": Lognormal(5_000_000, 1.0),
    "never ends": Constant(10**18),
}


def busy_area(law: Latency, seed: int) -> Machine:
    """A machine whose upper half is an area, with reads under way into pages that are in it."""
    machine = Machine.build(nr_pages=NR_PAGES, contents="tags")
    machine.cma.create(Span(NR_PAGES // 2, NR_PAGES))
    process = machine.memory.mmap("database", NR_PAGES // 4)
    for vpn in range(NR_PAGES // 4):
        machine.memory.touch(process, vpn, write=True)
    rng = np.random.default_rng(seed)
    inside = np.flatnonzero(process.pte - 1 >= NR_PAGES // 2)
    disk = SimulatedDevice(
        "disk", Gup(machine), TagContents(64), EventQueue(machine.clock),
        model=DeviceModel(law), rng=rng,
    )  # fmt: skip
    for block, vpn in enumerate(rng.choice(inside, NR_READS, replace=False).tolist()):
        disk.submit(Op.READ, process, vpn, 1, block)
    return machine


def asks(law: Latency, seed: int, pauses_ms: tuple[int, ...] = (0, 1, 10, 100)) -> list[bool]:
    """Whether the request has succeeded by the end of each pause."""
    machine, had = busy_area(law, seed), [False]
    for pause_ms in pauses_ms:
        machine.sleep(pause_ms * 1_000_000)
        had.append(had[-1] or machine.cma.alloc(2000) >= 0)
    machine.check()
    return had[1:]


print(f"of {NR_RUNS} requests for 2000 pages, {NR_READS} reads under way, succeed")
print(f"{'reads take':16}{'at once':>10}{'1 ms later':>12}{'10 ms later':>13}{'100 ms later':>14}")
for name, law in LAWS.items():
    at_once, *later = np.sum([asks(law, seed) for seed in range(NR_RUNS)], axis=0)
    print(f"{name:16}{at_once:>10}{later[0]:>12}{later[1]:>13}{later[2]:>14}")
