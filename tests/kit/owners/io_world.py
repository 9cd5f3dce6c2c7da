"""A small machine with a simulated disk."""

import numpy as np

from mm.state.contents import ArenaContents
from owners.gup.pin_references import IgnoresMoves
from owners.odirect.device import Policy
from owners.odirect.events import Constant, EventQueue
from owners.odirect.model import DeviceModel
from owners.odirect.simulated import SimulatedDevice
from tests.kit.owners.gup_world import GupWorld

__all__ = ["IoWorld", "block_bytes"]


def block_bytes(block):
    """What block `block` of a fresh disk holds."""
    return bytes([0x80 + block]) * 4096


class IoWorld(GupWorld):
    """`GupWorld` with a disk of 16 blocks; every request takes 1000 ns.

    Args:
        policy: of the disk.
        first: names of pinners that register before the disk does.
        model: see `DeviceModel`.
    """

    def __init__(
        self, policy=Policy.REFUSE, *, registered=True, contents=ArenaContents, first=(), **model
    ):
        super().__init__(contents=contents)
        for name in first:
            self.pinner(name, IgnoresMoves())
        self.disk = contents(16)
        if contents is ArenaContents:
            for block in range(16):
                self.disk.write(block, block_bytes(block))
        self.events = EventQueue(self.machine.clock)
        model.setdefault("latency", Constant(1000))
        self.device = SimulatedDevice(
            "disk", self.gup, self.disk, self.events,
            model=DeviceModel(**model), rng=np.random.default_rng(0),
            registry=self.registry if registered else None, policy=policy,
        )  # fmt: skip
        self.pinners.append(self.device.pinner)

    def check(self):
        super().check()
        self.device.check()
