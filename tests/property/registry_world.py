"""A small registry with pins in every form, and every operation on it: for interrupts."""

import threading
from collections.abc import Callable
from functools import cache, partial

import numpy as np

from pinpage import PinOwner, PinpageError, PinRegistry, Span, Topology
from tests.kit import inside
from tests.property.interrupting import places

__all__ = [
    "CHANGES",
    "NODE_1",
    "NR_FRAMES",
    "ONE",
    "OPERATIONS",
    "OTHER",
    "READS",
    "STARTS",
    "STUCK_S",
    "Named",
    "World",
    "differences",
    "outcome",
    "plan",
    "points_of",
    "require_no_lock_held",
    "world_at",
]

NR_FRAMES = 3 * 512
NODE_1 = 1024  # the last block
STUCK_S = 20.0
ONE, OTHER = ("an", "object"), ("another", "object")


class Named(PinOwner):
    """An owner with a name to tell it by."""

    def __init__(self, name: str) -> None:
        self.name = name


class World:
    """Two nodes with pins in every form: batched, scattered, dense, several to a frame."""

    def __init__(self) -> None:
        topology = Topology((Span(0, NODE_1), Span(NODE_1, NR_FRAMES)))
        self.reg = PinRegistry(topology, batch_nr_pins=4, sparse_below=2, dense_above=3)
        self.one, self.two = Named("one"), Named("two")
        self.reg.register(self.one)
        self.reg.register(self.two)
        self.reg.pin_many([10, 20, 30], self.one, [1, ONE, 3])  # three: scattered
        self.reg.pin_range(512, 520, self.one, 7)  # dense
        self.reg.pin_many([10, 10, 10, 514], self.two, [3, 2, ONE, 5])  # several to a frame
        self.reg.pin_many([1030, 1040], self.two, [ONE, OTHER])
        self.reg.flush()
        self.reg.pin(40, self.one, 4)  # in a batch, which two more leave short of full
        self.reg.pin(41, self.two, ONE)

    def contents(self):
        """What the registry says, by other ways than `check` goes."""
        pins = {}
        for pin in self.reg.iter_pins():
            pins.setdefault(pin.pfn, []).append((pin.owner.name, pin.private))
        assert len(self.reg) == sum(map(len, pins.values()))
        marked = {p for shard in inside.shards(self.reg) for p in shard.moving}
        owners = tuple(owner.name for owner in self.reg.owners)
        return pins, marked, owners


def scan(world):
    with world.reg.scanning():
        world.reg.pin(45, world.one, 1)


def rekey(world):
    """The pins of a scattered, a dense and a shared frame go to another node, or stay on theirs."""
    sources, targets = np.array([10, 514, 1030]), np.array([1035, 50, 20])
    world.reg.marks.rekey_many(sources, targets)


def join(world):
    if len(world.reg.owners) < 3:
        world.reg.register(Named("three"))


def marked(world):
    world.reg.marks.begin_move(np.array([10, 514, 1030]))


def end(world):
    world.reg.marks.end_move(np.array([10, 514, 1030]))


CHANGES: dict[str, Callable[[World], object]] = {
    "pin into the batch": lambda w: w.reg.pin(42, w.one, 1),
    "pin an object into the batch": lambda w: w.reg.pin(42, w.one, ("new",)),
    "pin at once": lambda w: w.reg.pin(600, w.one, 1),
    "pin under the lock": lambda w: w.reg.pin(10, w.one, OTHER),
    "pin beside one in the batch": lambda w: w.reg.pin(40, w.two, ("new",)),
    "pin twice": lambda w: w.reg.pin(20, w.one, ONE),
    "unpin in the batch": lambda w: w.reg.unpin(41, w.two, ONE),
    "unpin a scattered pin": lambda w: w.reg.unpin(20, w.one, ONE),
    "unpin at once": lambda w: w.reg.unpin(513, w.one, 7),
    "unpin the first of several": lambda w: w.reg.unpin(10, w.one, 1),
    "unpin the second of several": lambda w: w.reg.unpin(10, w.two, 3),
    "unpin the last of several": lambda w: w.reg.unpin(10, w.two, ONE),
    "unpin what is not there": lambda w: w.reg.unpin(11, w.one, 1),
    "pin a range": lambda w: w.reg.pin_range(700, 1100, w.two, 9),
    "pin a range with objects": lambda w: w.reg.pin_range(1020, 1028, w.one, frozenset("n")),
    "pin a range over others": lambda w: w.reg.pin_range(508, 524, w.two, 9),
    "pin a range twice": lambda w: w.reg.pin_range(508, 524, w.one, 7),
    "unpin a range": lambda w: w.reg.unpin_range(512, 514, w.one, 7),
    "unpin a range below others": lambda w: w.reg.unpin_range(512, 520, w.one, 7),
    "pin a column": lambda w: w.reg.pin_many([9, 35, 700, 1033, 1100], w.two, [1, ONE, 2, "x", 3]),
    "pin a column that crowds": lambda w: w.reg.pin_many([1, 2, 3, 1034, 1036], w.two, 5),
    "pin a column over others": lambda w: w.reg.pin_many([40, 10, 10, 514], w.two, [9, 8, 1, ONE]),
    "unpin a column": lambda w: w.reg.unpin_many([10, 1040, 41, 10], w.two, [ONE, OTHER, ONE, 3]),
    "unpin a column of one": lambda w: w.reg.unpin_many([30, 20, 513], w.one, [3, ONE, 7]),
    "leave": lambda w: w.reg.unregister(w.two, force=True),
    "leave with pins": lambda w: w.reg.unregister(w.two),
    "join": join,
    "mark": marked,
    "end": end,
    "rekey": rekey,
    "scan": scan,
}
READS: dict[str, Callable[[World], object]] = {
    "flush": lambda w: w.reg.flush(),
    "mask": lambda w: w.reg.pinned_mask(0, NR_FRAMES),
    "mask of a block": lambda w: w.reg.pinned_mask(512, 600),
    "columns": lambda w: w.reg.pin_columns(0, NR_FRAMES),
    "single": lambda w: w.reg.single_pins(np.array([1030, 10, 20, 514])),
    "abilities": lambda w: w.reg.abilities(np.array([1030, 10, 20, 514])),
    "pins": lambda w: (w.reg.pins(10), w.reg.is_pinned(41), w.reg.next_pinned(600)),
    "books": lambda w: (w.reg.statistics().nr_pins, len(w.reg), w.reg.owners),
}
OPERATIONS = CHANGES | READS
STARTS: dict[str, Callable[[World], object]] = {
    "as it is": lambda w: None,
    "one before full": lambda w: w.reg.pin(43, w.one, ("new", 1)),
    "under move": marked,
}


def outcome(world, operation):
    """What an operation answers, or which mistake it is."""
    try:
        return repr(operation(world))
    except PinpageError as error:
        return type(error).__name__


def world_at(start):
    world = World()
    STARTS[start](world)
    return world


def differences(found, *allowed):
    """What there is instead of what there may be: pins by frame, marks, owners."""
    return [
        [
            {key: (f.get(key), a.get(key)) for key in f | a if f.get(key) != a.get(key)}
            if isinstance(f, dict)
            else (f, a)
            for f, a in zip(found, one, strict=True)
            if f != a
        ]
        for one in allowed
    ]


def require_no_lock_held(reg):
    """Nobody in a section; another thread gets its answers."""
    for shard in inside.shards(reg):
        assert not shard.lock.locked()
    seen = []

    def ask():
        visitor = Named("visitor")
        reg.register(visitor)
        for pfn in (100, 1500):
            reg.pin_many([pfn], visitor, ("visitor",))
        reg.unregister(visitor, force=True)
        seen.append(True)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(STUCK_S)
    assert seen, "another thread does not get its answer"


def points_of(start, name, make=world_at):
    """The places that an operation passes, in order; `make` makes the world."""
    return places(partial(outcome, make(start), OPERATIONS[name]))


@cache
def plan(make=world_at):
    """By operation: (start, number of a point) for each place where no earlier one has been."""
    seen, found = set(), {name: [] for name in OPERATIONS}
    for start in STARTS:
        for name in OPERATIONS:
            for at, place in enumerate(points_of(start, name, make), start=1):
                if place not in seen:
                    seen.add(place)
                    found[name].append((start, at))
    return found
