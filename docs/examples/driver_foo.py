"""A driver pins a page with a migrate callback, and the VM moves the page.

This is driver/foo.c of the mail that proposed a pin-page control subsystem in August 2013:
a driver allocates a page, registers it with a callback, and compaction may then ask.

Shows:  the three callbacks of an owner; a pin with the driver's own key; one move.
Expect: the driver's data is found at the new pfn; the old frame is free.
"""

import numpy as np

from pinpage.migrate import move_many
from pinpage.owner import Mode, Pin, PinOwner, Verdict
from pinpage.registry import PinRegistry
from pinpage.testing.world import World, WorldTargets
from pinpage.topology import Topology

NR_FRAMES = 16
RING = 7
"""The driver's own name for what it keeps in the page: its `private`."""


class Foo(PinOwner):
    """A driver with one buffer, known to its hardware by pfn."""

    name = "foo"

    def __init__(self) -> None:
        self.pfn_of: dict[int, int] = {}
        self.device_runs = True

    def isolate(self, pin: Pin, mode: Mode) -> Verdict:
        """Stop the device, or say that it is in the middle of something."""
        self.device_runs = False
        return Verdict.YES

    def migrate(self, pin: Pin, target: int) -> None:
        """The bytes are there already: point the hardware at them and let it run."""
        print(f"foo: ring {pin.private} moves from {pin.pfn:#x} to {target:#x}")
        self.pfn_of[pin.private] = target
        self.device_runs = True

    def putback(self, pin: Pin) -> None:
        """It did not happen."""
        self.device_runs = True


memory = World(NR_FRAMES)
registry = PinRegistry(Topology.uniform(nr_frames=NR_FRAMES))
foo = Foo()
registry.register(foo)

# In the driver: allocate, and say so.
page = memory.alloc_page(contents=2013)
registry.pin(page, foo, RING)
foo.pfn_of[RING] = page

# In mm/compaction.c: ask.
report = move_many(registry, memory, np.array([page]), WorldTargets(memory), Mode.SYNC)

print("moved:          ", report.nr_moved)
print("pins at source: ", len(registry.pins(page)))
print("pins at target: ", [(hex(p.pfn), p.private) for p in registry.iter_pins(0, NR_FRAMES)])
print("foo reads:      ", memory.read(foo.pfn_of[RING]))
print("source is free: ", page in memory.free_pfns())
print("device runs:    ", foo.device_runs)
