"""A change that is cut off by an exception has happened wholly or not at all, for every change."""

from contextlib import suppress
from itertools import product

import numpy as np
import pytest

from pinpage import PinOwner, PinpageError, PinRegistry, Topology
from pinpage.store.blocks import Blocks
from pinpage.store.privates import Privates
from pinpage.store.radix import Radix
from pinpage.store.rows import NO_PINS
from pinpage.store.shard import Change, apply
from pinpage.store.sparse import SparseTable
from tests.kit import inside

NR_FRAMES = 8192
BORDER = 4096  # of the nodes


class World:
    """Pins of every kind on two nodes: scattered, dense, several of a frame, under move."""

    def __init__(self, batch_nr_pins: int = 0) -> None:
        topology = Topology.uniform(nr_frames=NR_FRAMES, nr_nodes=2)
        self.reg = PinRegistry(topology, batch_nr_pins=batch_nr_pins, sparse_below=4, dense_above=8)
        self.owner, self.other = PinOwner(), PinOwner()
        for owner in (self.owner, self.other):
            self.reg.register(owner)
        reg, owner = self.reg, self.owner
        reg.pin_range(512, 1024, owner, 1)
        reg.pin_many([3, 5000], owner, [1, 1])
        reg.pin_many([3, 5, 5000, 600], self.other, [2, "x", 2, 2])
        reg.pin_many([3], owner, [4])
        reg.pin_many([1030, 1031, 1032, 1033, 1034, 1035], owner, 1)

    def now(self):
        return [(pin.pfn, pin.owner, pin.private) for pin in self.reg.iter_pins()]

    def pin(self, pfn):
        self.reg.pin(pfn, self.owner, 7)

    def unpin(self, pfn):
        self.reg.unpin(pfn, self.owner, 1)

    def scanning(self, work, pfn):
        with self.reg.scanning():
            work(pfn)

    def move(self):
        self.reg.marks.begin_move(np.array([3, 5, 600]))
        self.reg.marks.rekey_many(np.array([3, 5, 600]), np.array([5001, 5002, 1500]))


OPERATIONS = {
    "pin": lambda w: w.pin(20),
    "pin beside others": lambda w: w.pin(3),
    "pin in a dense block": lambda w: w.pin(600),
    "pin one by one until a block is dense": lambda w: [w.pin(pfn) for pfn in range(1040, 1044)],
    "pin while somebody scans": lambda w: w.scanning(w.pin, 20),
    "pin beside others while somebody scans": lambda w: w.scanning(w.pin, 3),
    "pin one by one until a block is dense, while somebody scans": lambda w: [
        w.scanning(w.pin, pfn) for pfn in range(1040, 1044)
    ],
    "unpin while somebody scans": lambda w: w.scanning(w.unpin, 1030),
    "unpin one of several": lambda w: w.unpin(3),
    "unpin in a dense block": lambda w: w.unpin(600),
    "pin a column": lambda w: w.reg.pin_many([10, 20, 3, 5000, 600], w.owner, 7),
    "pin a column that makes a block dense": lambda w: w.reg.pin_many(
        range(1040, 1060, 2), w.owner, 7
    ),
    "unpin a column": lambda w: w.reg.unpin_many([3, 1031, 5000, 700], w.owner, 1),
    "unpin a column of plain pins": lambda w: w.reg.unpin_many([1031, 1033, 700], w.owner, 1),
    "pin a range": lambda w: w.reg.pin_range(BORDER - 3, BORDER + 40, w.owner, 7),
    "pin a range of one node": lambda w: w.reg.pin_range(1540, 2560, w.owner, 7),
    "unpin a range": lambda w: w.reg.unpin_range(610, 1024, w.owner, 1),
    "unpin a range with several": lambda w: w.reg.unpin_range(590, 610, w.owner, 1),
    "move": World.move,
    "leave": lambda w: w.reg.unregister(w.owner, force=True),
}
STEPS = {
    "put": (Blocks, "put"),
    "discard": (Blocks, "discard"),
    "replace": (Blocks, "replace"),
    "add": (Radix, "add"),
    "add further": (Radix, "add_further"),
    "store": (Radix, "store"),
    "remove": (Radix, "remove"),
    "add many": (Blocks, "add_many"),
    "remove many": (Blocks, "remove_many"),
    "add run": (Blocks, "add_run"),
    "remove run": (Blocks, "remove_run"),
    "make dense": (Blocks, "_make_dense"),
    "densify": (Blocks, "_densify"),
    "sparsify": (Blocks, "_sparsify"),
    "write": (Blocks, "_write"),
    "put in table": (SparseTable, "put_many"),
    "remove from table": (SparseTable, "remove_many"),
}


class Cut:
    """Raise in the n-th call of a method, before or after it has done its work."""

    def __init__(self, patch, where, name, nth, *, after):
        self.struck, self._left = False, nth
        real = getattr(where, name)

        def call(obj, *args):
            self._left -= 1
            if self._left == 0 and not after:
                self.struck = True
                raise MemoryError
            found = real(obj, *args)
            if self._left == 0:
                self.struck = True
                raise MemoryError
            return found

        patch.setattr(where, name, call)

    @staticmethod
    def always(*_):
        raise MemoryError


def found_in(world):
    """What is pinned, in terms that are the same in every world."""
    return {(pfn, owner is world.owner, private) for pfn, owner, private in world.now()}


def cut_off(monkeypatch, operation, step, nth, *, after):
    """A world in which an operation was cut off; None if it was through before that."""
    world = World()
    with monkeypatch.context() as patch:
        cut = Cut(patch, *STEPS[step], nth, after=after)
        with suppress(MemoryError):
            OPERATIONS[operation](world)
    return world if cut.struck else None


@pytest.mark.parametrize("operation", OPERATIONS)
def test_whatever_is_cut_off(operation, monkeypatch):
    world = World()
    before = found_in(world)
    OPERATIONS[operation](world)
    after, is_one = found_in(world), not operation.startswith("pin one by one")
    through = ""
    nr_cuts = 0
    for step, nth, behind in product(STEPS, range(1, 5), (False, True)):
        if step == through:
            continue
        world = cut_off(monkeypatch, operation, step, nth, after=behind)
        if world is None:
            through = step  # it was done before the n-th time
            continue
        nr_cuts += 1
        nr_pins = len(world.reg)
        world.reg.check()
        found = found_in(world)
        assert len(found) == nr_pins
        assert found in (before, after) or not is_one
        assert before <= found <= after or after <= found <= before or is_one
        if is_one:
            assert found == before
        assert all(not shard.seq & 1 or shard.moving for shard in inside.shards(world.reg))
    assert nr_cuts > 1


def looks(world):
    """A few frames, as everybody sees them."""
    reg, pfns = world.reg, (3, 10, 20, 1030, 1600, 5000)
    return {
        "is_pinned": lambda: [reg.is_pinned(pfn) for pfn in pfns],
        "pins": lambda: [len(reg.pins(pfn)) for pfn in pfns],
        "counts": lambda: reg.owner_counts(np.array(pfns)).tolist(),
        "mask": lambda: reg.pinned_mask(0, 512).tolist(),
        "mask of a dense block": lambda: reg.pinned_mask(512, 1024).tolist(),
        "length": lambda: len(reg),
    }


@pytest.mark.parametrize("look", looks(World()))
@pytest.mark.parametrize(
    ("operation", "step"),
    [
        ("pin beside others", "add further"),
        ("pin while somebody scans", "put"),
        ("unpin while somebody scans", "discard"),
        ("unpin one of several", "replace"),
        ("pin a column", "add many"),
        ("pin a range of one node", "make dense"),
        ("pin a range of one node", "add run"),
        ("unpin a range", "remove run"),
    ],
)
def test_what_was_half_done_is_taken_back_before_anybody_looks(operation, step, look, monkeypatch):
    """Readers without the lock as well."""
    worlds = [World(), World()]
    OPERATIONS[operation](worlds[1])
    seen = {frozenset(found_in(world)): looks(world)[look]() for world in worlds}
    world = cut_off(monkeypatch, operation, step, 1, after=True)
    found = looks(world)[look]()
    assert found == seen[frozenset(found_in(world))]


def test_a_change_of_two_nodes_counts_on_both_or_on_none():
    """Cut between the two, when the first one's note is gone and the other's is not."""
    world = World()
    first, second = inside.shards(world.reg)
    changes = [(s, Change(np.array([pfn]), NO_PINS)) for s, pfn in ((first, 20), (second, 6000))]
    first.seq |= 1
    second.seq |= 1
    apply(changes, lambda: [s.radix.add(c.frames[0], 2, 7) for s, c in changes])
    second.change = changes[1][1]  # as if it had been cut here
    assert world.reg.is_pinned(20)
    assert world.reg.is_pinned(6000)
    world.reg.check()


@pytest.mark.parametrize("step", ["add many", "put in table"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_full_batch_that_cannot_be_stored_loses_nothing(step, after, monkeypatch):
    world = World(batch_nr_pins=30)
    frames = range(2000, 2060, 2)
    for pfn in frames:
        world.pin(pfn)
    with monkeypatch.context() as patch:
        cut = Cut(patch, *STEPS[step], 1, after=after)
        with pytest.raises(MemoryError):
            world.pin(3000)
        assert cut.struck
    assert all(world.reg.is_pinned(pfn) for pfn in frames)
    assert not world.reg.is_pinned(3000)
    world.reg.check()
    for pfn in frames:
        world.reg.unpin(pfn, world.owner, 7)
    assert found_in(world) == found_in(World())
    world.reg.check()


@pytest.mark.parametrize("frames", [range(3, 60, 7), range(512, 1024), range(520, 1000, 3)])
def test_an_unpin_that_is_cut_off_where_each_frame_has_one_pin(frames, monkeypatch):
    reg, owner = PinRegistry(Topology.uniform(nr_frames=NR_FRAMES)), PinOwner()
    reg.register(owner)
    reg.pin_many(frames, owner, 7)
    with monkeypatch.context() as patch:
        Cut(patch, *STEPS["remove many"], 1, after=True)
        with pytest.raises(MemoryError):
            reg.unpin_many(frames, owner, 7)
    assert [(pin.pfn, pin.private) for pin in reg.iter_pins()] == [(pfn, 7) for pfn in frames]
    reg.check()


@pytest.mark.parametrize("form", ["pin_many", "unpin_many"])
def test_what_is_taken_back_is_what_was_given_whatever_becomes_of_the_columns(form, monkeypatch):
    """The caller may use its arrays again as soon as the call has ended, whichever way."""
    world = World()
    pfns, privates = np.arange(2000, 2400, 4), np.arange(100)
    if form == "unpin_many":
        world.reg.pin_many(pfns, world.owner, privates)
    before = found_in(world)
    with monkeypatch.context() as patch:
        Cut(patch, *STEPS["add many" if form == "pin_many" else "remove many"], 1, after=True)
        with pytest.raises(MemoryError):
            getattr(world.reg, form)(pfns, world.owner, privates)
    pfns += 4096
    privates[:] = -1
    assert found_in(world) == before
    world.reg.check()


def test_a_rekey_that_is_cut_off_before_equal_objects_are_one(monkeypatch):
    """Their pins are one already, and both are still counted: that is a doubt."""
    reg, owner = PinRegistry(Topology.uniform(nr_frames=NR_FRAMES)), PinOwner()
    reg.register(owner)
    reg.pin_many([1, 2], owner, ["x", "x"])
    reg.marks.begin_move(np.array([1]))
    with monkeypatch.context() as patch:
        patch.setattr(Privates, "drop", Cut.always)
        with pytest.raises(MemoryError):
            reg.marks.rekey_many(np.array([1]), np.array([2]))
    assert [pin.pfn for pin in reg.iter_pins()] == [2]
    assert inside.privates(reg).nr_doubts == 1
    reg.check()
    reg.marks.end_move(np.array([1]))
    with pytest.raises(PinpageError, match="not under move"):
        reg.marks.rekey_many(np.array([1]), np.array([2]))
    assert inside.privates(reg).nr_doubts == 1


@pytest.mark.parametrize("step", ["sparsify", "put in table"])
def test_a_trim_that_is_cut_off_changes_no_pin(step, monkeypatch):
    world = World()
    for pfn in range(512, 1022):
        world.unpin(pfn)
    assert inside.shards(world.reg)[0].radix.blocks.thin
    with monkeypatch.context() as patch:
        Cut(patch, *STEPS[step], 1, after=True)
        with pytest.raises(MemoryError):
            world.reg.pinned_mask(0, NR_FRAMES)
    world.reg.check()
    whole = World()
    for pfn in range(512, 1022):
        whole.unpin(pfn)
    assert found_in(world) == found_in(whole)
