"""A device's `drain` is interrupted, and so is the next one: the third leaves nothing half done."""

from contextlib import suppress

import numpy as np

from mm.state.contents import ArenaContents
from owners.gup.gup import Gup
from owners.odirect import simulated
from owners.odirect.device import Op
from owners.odirect.events import Constant, EventQueue
from owners.odirect.model import DeviceModel
from owners.odirect.simulated import SimulatedDevice
from tests.kit.mm.machines import small_machine
from tests.kit.pinpage.interrupts import Interrupts

LEAST_PAIRS = 50


def nr_struck(device, point):
    """Drain; how many interrupts there were."""
    with Interrupts(point, files={simulated.__file__}) as points, suppress(KeyboardInterrupt):
        device.drain()
    return points.nr_struck


def drained_after(*points):
    """How many interrupts struck before a request had ended; everything is checked."""
    machine = small_machine(1, arena=True)
    space = machine.memory.mmap("process", 1)
    machine.memory.write(space, 0, b"a page")
    device = SimulatedDevice(
        "disk", Gup(machine), ArenaContents(1), EventQueue(machine.clock),
        model=DeviceModel(Constant(1000), queue_depth=1), rng=np.random.default_rng(0),
    )  # fmt: skip
    device.submit(Op.READ, space, 0, 1, 0)
    struck = [nr_struck(device, point) for point in points]
    device.drain()
    device.check()
    machine.check()
    assert len(device.reap()) == 1, points
    return sum(struck)


def test_every_pair_of_interrupts():
    nr_pairs = first = 0
    while drained_after(first := first + 3):  # each line has several points
        second = 0
        while drained_after(first, second := second + 1) > 1:
            nr_pairs += 1
    assert nr_pairs > LEAST_PAIRS
