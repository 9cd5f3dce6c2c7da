"""The rows of a batch: which pin is which, and what a look costs."""

import sys

import numpy as np
import pytest

from pinpage.migrate import move_many
from pinpage.move.pins import PinsOfBatch, PinState
from pinpage.move.release import release_many
from pinpage.owner import Mode, PinOwner, Verdict
from pinpage.registry import PinRegistry
from pinpage.testing.world import World, WorldTargets, column
from pinpage.topology import Topology
from tests.kit import inside

NR_FRAMES = 16


class Plain(PinOwner):
    """Says yes, and remembers nothing."""

    def isolate(self, pin, mode):
        return Verdict.YES

    def migrate(self, pin, target):
        pass


class Hostile:
    """Equal to everything, or to nothing, or raises, or talks nonsense."""

    def __init__(self, answer, code):
        self.answer, self.code = answer, code

    def __hash__(self):
        return self.code

    def __eq__(self, other):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def pins_of(privates, nr_owners=1):
    """One frame with a pin for each private, owners in turn; marked as under move."""
    registry = PinRegistry(Topology.uniform(nr_frames=NR_FRAMES))
    owners = [Plain() for _ in range(nr_owners)]
    for owner in owners:
        registry.register(owner)
    for nth, private in enumerate(privates):
        registry.pin(3, owners[nth % nr_owners], private)
    registry.marks.begin_move(column(3))
    return registry, owners, PinsOfBatch(registry, column(3))


PRIVATES = {
    "ints": [1, 2, np.int64(3), 1 << 70],
    "one and true": [0, "0", (0,), None],
    "not a number": [float("nan"), float("nan"), 1.5],
    "raise": [Hostile(RuntimeError(), 1), Hostile(RuntimeError(), 2), 7],
    "equal to all": [Hostile(True, 1), Hostile(True, 2), Hostile(True, 3)],
    "equal to none": [Hostile(False, 1), Hostile(False, 1), 7],
    "arrays": [Hostile(np.array([True, False]), 1), Hostile(np.array([1, 2]), 2)],
}


@pytest.mark.parametrize("nr_owners", [1, 2])
@pytest.mark.parametrize("kind", PRIVATES)
def test_the_pin_that_went_is_the_one_that_is_dead(kind, nr_owners):
    """Whatever `==` says of privates: no other row is taken for it."""
    privates = PRIVATES[kind]
    for gone in range(len(privates)):
        registry, owners, pins = pins_of(privates, nr_owners)
        owner = owners[gone % nr_owners]
        kept = pins.privates(np.arange(len(privates)))
        (row,) = [
            row
            for row in range(len(privates))
            if pins.owner_of(row) is owner and is_same(kept[row], privates[gone])
        ]
        registry.unpin(3, owner, privates[gone])
        assert not len(pins.refresh(np.array([0]))), "none joined"
        assert np.flatnonzero(pins.state == PinState.UNPINNED).tolist() == [row]
        assert pins.nr_live.tolist() == [len(privates) - 1]


def is_same(one, other):
    return one is other or (
        isinstance(other, (int, np.integer)) and type(one) is int and one == other
    )


@pytest.mark.parametrize("kind", PRIVATES)
def test_a_frame_moves_with_whatever_privates(kind):
    world, registry = World(NR_FRAMES), PinRegistry(Topology.uniform(nr_frames=NR_FRAMES))
    owner = Plain()
    registry.register(owner)
    pfn = world.alloc_page()
    for private in PRIVATES[kind]:
        world.get_page(pfn)
        registry.pin(pfn, owner, private)
    world.put_page(pfn)
    report = move_many(registry, world, column(pfn), WorldTargets(world), Mode.SYNC)
    assert report.nr_moved == 1
    assert len(registry.pins(int(report.targets[0]))) == len(PRIVATES[kind])
    world.check()


def test_an_owner_that_was_forced_out_has_no_rows(monkeypatch):
    """Its pins were read, and then it was gone: nobody is asked for it, nothing is raised."""
    for privates in ([1], [1, 2]):
        registry, (owner, other), _ = pins_of(privates, 2)
        registry.marks.end_move(column(3))
        registry.pin(4, other, 9)
        registry.marks.begin_move(column(3, 4))
        read = registry.single_pins

        def read_and_leave(pfns, registry=registry, owner=owner, read=read):
            found = read(pfns)
            registry.unregister(owner, force=True)
            return found

        monkeypatch.setattr(registry, "single_pins", read_and_leave)
        pins = PinsOfBatch(registry, column(3, 4))
        assert [group.owner for group in pins.owners] == [other]
        assert pins.nr_live.tolist() == [len(privates) - 1, 1]


def test_an_owner_that_is_leaving_comes_last():
    registry, (first, second), _ = pins_of([1, 2], 2)
    inside.owner_table(registry).start_leaving(first)
    pins = PinsOfBatch(registry, column(3))
    assert [group.owner for group in pins.owners] == [second, first]


# What it costs: the lines that run and the elements that are looked at, not the time.


class Counting(np.ndarray):
    """Counts the elements that comparisons of it go through."""

    nr_elements = 0
    __hash__ = None

    def __eq__(self, other):
        Counting.nr_elements += self.size
        return np.asarray(self) == other

    def __lt__(self, other):
        Counting.nr_elements += self.size
        return np.asarray(self) < other


def nr_elements_of_refreshes(nr_frames):
    """Two pins a frame; half of them go, one frame after the other, with a look each time."""
    registry = PinRegistry(Topology.uniform(nr_frames=nr_frames))
    owner = Plain()
    registry.register(owner)
    frames = np.arange(nr_frames)
    for private in (1, 2):
        registry.pin_many(frames, owner, np.full(nr_frames, private))
    registry.marks.begin_move(frames)
    pins = PinsOfBatch(registry, frames)
    pins.frame, pins.state = pins.frame.view(Counting), pins.state.view(Counting)
    Counting.nr_elements = 0
    for frame in range(nr_frames):
        registry.unpin(frame, owner, 1)
        pins.refresh(frames[frame : frame + 1])
    assert pins.nr_live.tolist() == [1] * nr_frames
    return Counting.nr_elements


def test_a_look_at_one_frame_looks_at_its_rows_alone():
    few, many = nr_elements_of_refreshes(32), nr_elements_of_refreshes(256)
    assert 0 < many <= 8 * few


class GivesUp(PinOwner):
    """Unpins whatever it is asked for."""

    def __init__(self, registry, world):
        self.registry, self.world = registry, world

    def release(self, pin, mode):
        self.registry.unpin(pin.pfn, self, pin.private)
        self.world.put_page(pin.pfn)
        return Verdict.YES


def nr_lines_of_release(nr_frames, nr_owners):
    world, registry = World(nr_frames), PinRegistry(Topology.uniform(nr_frames=nr_frames))
    for _ in range(nr_owners):
        registry.register(GivesUp(registry, world))
    for frame in range(nr_frames):
        world.alloc_page(pfn=frame)
        world.get_page(frame)
        for nth in (0, 1):
            registry.pin(frame, registry.owners[(frame + nth) % nr_owners], ("x", nth))
    nr_lines = 0

    def count(frame, event, arg):
        nonlocal nr_lines
        nr_lines += event == "line" and "testing" not in frame.f_code.co_filename
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        reasons = release_many(registry, world, np.arange(nr_frames), Mode.SYNC)
    finally:
        sys.settrace(before)
    assert len(reasons) == nr_frames
    return nr_lines


@pytest.mark.parametrize("is_each_its_own", [False, True])
def test_a_batch_whose_pins_go_runs_lines_in_proportion(is_each_its_own):
    few, many = (nr_lines_of_release(n, n if is_each_its_own else 2) for n in (32, 256))
    assert many < 8 * 1.5 * few
