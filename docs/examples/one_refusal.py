"""Two owners share a page, one refuses, and nothing moves until it lets go.

Shows:  a page of zram under a device's I/O; a vote; the undo; a second try.
Expect: while the device is busy zram is asked and put back, and the report names the
        device; once the I/O has ended the same request moves the page.
"""

import numpy as np

from pinpage.migrate import move_many
from pinpage.owner import Mode, Pin, PinOwner, Verdict
from pinpage.registry import PinRegistry
from pinpage.testing.world import World, WorldTargets
from pinpage.topology import Topology

NR_FRAMES = 16


class Talkative(PinOwner):
    """An owner that says aloud what it is asked."""

    def __init__(self, name: str, verdict: Verdict) -> None:
        self.name = name
        self.verdict = verdict

    def isolate(self, pin: Pin, mode: Mode) -> Verdict:
        """Answer as told."""
        print(f"  {self.name}: isolate -> {self.verdict.name}")
        return self.verdict

    def migrate(self, pin: Pin, target: int) -> None:
        """Follow the page."""
        print(f"  {self.name}: migrate")

    def putback(self, pin: Pin) -> None:
        """Carry on."""
        print(f"  {self.name}: putback")


memory = World(NR_FRAMES)
registry = PinRegistry(Topology.uniform(nr_frames=NR_FRAMES))
zram = Talkative("zram", Verdict.YES)
gup = Talkative("gup", Verdict.BUSY)
registry.register(zram)
registry.register(gup)

page = memory.alloc_page()
registry.pin(page, zram, "slot 5")
memory.get_page(page)  # each pin stands for one reference
registry.pin(page, gup, "request 1")


def ask_to_move() -> None:
    """What compaction does with one frame."""
    report = move_many(registry, memory, np.array([page]), WorldTargets(memory), Mode.SYNC)
    for reason, count in report.counts().items():
        print(f"  => {reason.name}: {count}")
    for refusal in report.refusals.values():
        print(f"  => {refusal.owner} said {refusal.reason.name}")


print("with gup:")
ask_to_move()

print("without gup:")
registry.unpin(page, gup, "request 1")
memory.put_page(page)
ask_to_move()

print("now at:", [hex(pin.pfn) for pin in registry.iter_pins(0, NR_FRAMES)])
