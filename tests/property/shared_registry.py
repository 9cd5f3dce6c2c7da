"""A registry that several threads use, and the operations that may meet there."""

import numpy as np

from pinpage import NotPinnedError, OwnerError, PinOwner, PinpageError, PinRegistry, Topology

__all__ = ["NR_FRAMES", "ONE", "OPERATIONS", "World", "answer_of"]

NR_FRAMES = 2048
ONE = ("an", "object")  # a private that lives in the side table


class World:
    """A registry, its owner, and a batch that is full after a few pins."""

    def __init__(self) -> None:
        topology = Topology.uniform(nr_frames=NR_FRAMES)
        self.reg = PinRegistry(topology, batch_nr_pins=3, sparse_below=1, dense_above=2)
        self.owner = PinOwner()
        self.reg.register(self.owner)

    def pin(self, pfn, private):
        return self.reg.pin(pfn, self.owner, private)

    def unpin(self, pfn, private):
        try:
            return self.reg.unpin(pfn, self.owner, private)
        except (NotPinnedError, OwnerError):  # which of the two, if the owner leaves meanwhile,
            return "gone"  # depends on how far this has come

    def pin_column(self):
        return self.reg.pin_many([5, 600], self.owner, [ONE, 1])

    def unpin_column(self):
        return self.reg.unpin_many([5, 600], self.owner, [ONE, 1])

    def move(self):
        """While a frame is under move, none of its pins is new (R-29)."""
        if not self.reg.marks.begin_move(np.array([5])).all():
            return True  # the other one moves it
        before = self.ask()
        after = self.ask()
        self.reg.marks.end_move(np.array([5]))
        return after <= before

    def scan(self):
        with self.reg.scanning():
            return self.columns()

    def look(self):
        return self.reg.is_pinned(5)

    def mask(self):
        return bool(self.reg.pinned_mask(0, 512)[5])

    def take_over(self):
        """Another pin comes before the one goes: the frame is pinned at all times."""
        self.pin(5, 2)
        return self.unpin(5, 7)

    def ask(self):
        return frozenset(pin.private for pin in self.reg.pins(5))

    def columns(self):
        found = self.reg.pin_columns(0, 1024)
        return frozenset(zip(found.pfns.tolist(), list(found.privates), strict=True))

    def single(self):
        owner_ids, privates = self.reg.single_pins(np.array([5]))
        return int(owner_ids[0]), privates[0] if owner_ids[0] >= 0 else None

    def leave(self):
        self.reg.unregister(self.owner, force=True)

    def pins(self, start, stop):
        return frozenset((pin.pfn, pin.private) for pin in self.reg.iter_pins(start, stop))


OPERATIONS = {
    "pin": lambda world: world.pin(5, ONE),
    "pin another": lambda world: world.pin(5, 2),
    "pin a neighbour": lambda world: world.pin(6, ONE),
    "unpin": lambda world: world.unpin(5, ONE),
    "pin a column": World.pin_column,
    "unpin a column": World.unpin_column,
    "move": World.move,
    "scan": World.scan,
    "look": World.look,
    "ask": World.ask,
    "columns": World.columns,
    "single": World.single,
    "leave": World.leave,
}


def answer_of(operation, world):
    """What an operation returns, or the class of its refusal."""
    try:
        return operation(world)
    except PinpageError as error:
        return type(error)
