"""Wherever memory runs out inside a call of the registry, it is done or nothing has changed."""

import gc
from collections import Counter
from itertools import count

import pytest

from pinpage import PinOwner, PinRegistry, Topology
from pinpage.store.threads import RUNS_IN_PARALLEL
from tests.kit import inside

_testcapi = pytest.importorskip("_testcapi", reason="no way to let CPython run out of memory")

pytestmark = pytest.mark.skipif(
    RUNS_IN_PARALLEL, reason="CPython 3.13t itself cannot run out of memory here"
)

BIG = 123_456_789_012  # an int that is made anew whenever it is needed
NR_FRAMES = 4096
NR_QUIET = 60
"""Allocations that a call may make after the last one that is tried."""


class World:
    """A registry with one owner."""

    def __init__(self, *, is_dense=False, nr_nodes=1):
        topology = Topology.uniform(nr_frames=NR_FRAMES, nr_nodes=nr_nodes)
        self.reg, self.owner = PinRegistry(topology), PinOwner()
        self.reg.register(self.owner)
        self.has_unpinned = False
        self.shards = inside.shards(self.reg)
        for shard in self.shards:
            shard.seq += 1000  # from now on a number that needs memory
        if is_dense:
            self.reg.pin_range(0, 400, self.owner, BIG)

    def pins(self):
        return [(pin.pfn, pin.private) for pin in self.reg.iter_pins()]

    def pin(self, pfn, private):
        self.reg.pin(pfn, self.owner, private)

    def unpin(self, pfn, private):
        self.reg.unpin(pfn, self.owner, private)
        self.has_unpinned = True


def dense():
    return World(is_dense=True)


def barely_dense():
    world = dense()
    world.reg.unpin_many(range(16, 400), world.owner, BIG)
    world.reg.flush()
    return world


def sparse():
    world = World()
    world.pin(450, BIG)
    world.pin(451, "held")
    world.reg.flush()
    return world


def many():
    """More records in the table than there are ints that CPython keeps ready."""
    world = World()
    world.reg.pin_many(range(0, NR_FRAMES, 9), world.owner, BIG)
    return world


def two_nodes():
    world = World(nr_nodes=2)
    world.pin(450, "held")  # which no step without a lock removes
    world.reg.flush()
    return world


def with_objects():
    """Five, as many as a dict takes before it grows."""
    world = World()
    world.reg.pin_many(range(5), world.owner, ["a", "b", "c", "d", "e"])
    return world


def batched():
    world = World()
    world.pin(450, BIG)
    return world


CALLS = {
    "pin in a dense block": (dense, lambda w: w.pin(450, BIG)),
    "unpin in a dense block": (dense, lambda w: w.unpin(399, BIG)),
    "unpin in a block that has few left": (barely_dense, lambda w: w.unpin(3, BIG)),
    "pin into the batch": (sparse, lambda w: w.pin(700, BIG)),
    "unpin out of the batch": (batched, lambda w: w.unpin(450, BIG)),
    "unpin out of the table": (sparse, lambda w: w.unpin(450, BIG)),
    "pin a second time": (sparse, lambda w: w.pin(450, BIG + 1)),
    "pin with an object": (sparse, lambda w: w.pin(700, ("an", "object"))),
    "pin with an object that is held": (sparse, lambda w: w.pin(700, "held")),
    "unpin out of a long table": (many, lambda w: w.unpin(450, BIG)),
    "pin with an object for which the tables grow": (with_objects, lambda w: w.pin(700, "f")),
    "unpin an object": (sparse, lambda w: w.unpin(451, "held")),
    "pin a range": (sparse, lambda w: w.reg.pin_range(1024, 2300, w.owner, 3)),
    "unpin a range": (dense, lambda w: w.reg.unpin_range(0, 400, w.owner, BIG)),
    "pin a column": (sparse, lambda w: w.reg.pin_many([*range(10, 4000, 9)], w.owner, BIG)),
    "pin a column with objects": (
        sparse,
        lambda w: w.reg.pin_many([1, 2, 3], w.owner, ["a", "b", "held"]),
    ),
    "unpin inside a section": (sparse, lambda w: w.shards[0].run(w.unpin, 450, BIG)),
    "unpin inside a section of another node": (
        two_nodes,
        lambda w: w.shards[1].run(w.unpin, 450, "held"),
    ),
    "store the batch": (batched, lambda w: w.reg.flush()),
}


def run_out(call, nth):
    """Let one allocation of a call fail, the nth; whether it was refused."""
    gc.disable()
    _testcapi.set_nomemory(nth, nth + 1)
    try:
        call()
    except (MemoryError, SystemError):  # numpy turns some into the second
        return True
    finally:
        _testcapi.remove_mem_hooks()
        gc.enable()
    return False


# (A generator that cannot be closed for want of memory is ignored by CPython, as it should be.)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_runs_out_of_memory_is_done_or_not_done(name):
    make, act = CALLS[name]
    world = make()
    before = world.pins()
    act(world)
    after, seen, nr_quiet = world.pins(), Counter(), 0
    for nth in count(1):
        world = make()
        is_refused = run_out(lambda world=world: act(world), nth)
        pins = world.pins()
        assert pins in ((before, after) if is_refused else (after,)), f"at allocation {nth}"
        assert world.pins() == pins, f"done later, at allocation {nth}"
        if "section" in name and not world.has_unpinned:
            assert pins == before, f"refused and done, at allocation {nth}"
        world.reg.check()
        seen[is_refused] += 1
        nr_quiet = 0 if is_refused else nr_quiet + 1
        if nr_quiet == NR_QUIET:
            break
    assert seen[True], "memory never ran out"
