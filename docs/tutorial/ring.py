"""A ring of receive buffers: an owner whose pages can move, and how to try it."""

from pinpage.owner import Mode, Pin, PinOwner, Verdict
from pinpage.testing.conformance.lab import PageSubject, WorldLab


class Ring(PinOwner):
    name = "ring"

    def __init__(self) -> None:
        self.pfn_of: dict[int, int] = {}  # buffer number -> what the device was told
        self.stopped: set[int] = set()  # buffers that the device leaves alone

    def isolate(self, pin: Pin, mode: Mode) -> Verdict:
        self.stopped.add(pin.private)
        return Verdict.YES

    def migrate(self, pin: Pin, target: int) -> None:
        self.pfn_of[pin.private] = target
        self.stopped.discard(pin.private)

    def putback(self, pin: Pin) -> None:
        self.stopped.discard(pin.private)


def ring(lab: WorldLab) -> PageSubject:
    owner = Ring()
    return PageSubject(lab, owner, owner.pfn_of, owner.stopped)
