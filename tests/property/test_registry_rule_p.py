"""Rule P: an unpin may come from a finalizer or signal handler, at any moment, and is done.

At each place of the code where a signal is let in, a handler unpins several pins: scattered,
dense, with an object private, on either node.  The operation that it interrupts answers as if
the handler had not come, and afterwards the pins are gone.  No lock is taken out of order on
the way.  What else a handler asks for is done, or refused with a ContextError.
"""

import gc
import signal
import threading
from functools import partial

import numpy as np
import pytest

from pinpage import ContextError, NotPinnedError, PinpageError, Verdict
from pinpage.registry import PinRegistry
from pinpage.topology import Topology
from tests.kit import inside
from tests.property.interrupting import signalled
from tests.property.registry_world import (
    NR_FRAMES,
    OPERATIONS,
    READS,
    STUCK_S,
    Named,
    differences,
    outcome,
    plan,
    require_no_lock_held,
    world_at,
)

VICTIM = ("victim",)
VICTIMS = ((60, VICTIM), (61, 6), (70, VICTIM), (521, 70), (1050, VICTIM), (1051, 6))
"""Owned by `one`, and of no concern to any operation."""


class OrderedLock:
    """A lock that may be taken only while none of its rank or a higher one is held."""

    held = threading.local()

    def __init__(self, rank, faults):
        self.rank, self.faults, self._lock = rank, faults, threading.Lock()

    def __enter__(self):
        mine = self.held.__dict__.setdefault("ranks", [])
        if mine and mine[-1] >= self.rank:
            self.faults.append(f"lock {self.rank} is taken while {mine} are held")
        if not self._lock.acquire(timeout=STUCK_S):
            raise TimeoutError("stuck")
        mine.append(self.rank)

    def __exit__(self, *_):
        self.held.ranks.remove(self.rank)
        self._lock.release()

    def locked(self):
        return self._lock.locked()


def watched(start):
    """A world with victims, and what is wrong with the order of its locks."""
    world, faults = world_at(start), []
    pfns, privates = zip(*VICTIMS, strict=True)
    world.reg.pin_many(pfns, world.one, list(privates))
    for rank, shard in enumerate(inside.shards(world.reg)):
        shard.lock = OrderedLock(rank, faults)
    inside.privates(world.reg)._lock = OrderedLock(99, faults)
    return world, faults


def with_victims(start):
    return watched(start)[0]


def without(contents, victims):
    pins = {pfn: list(records) for pfn, records in contents[0].items()}
    for pfn, private in victims:
        pins[pfn].remove(("one", private))
    return {pfn: records for pfn, records in pins.items() if records}, *contents[1:]


def handle_at(name, points, handler, check):
    """Run a handler at each of these (start, number of a point) of an operation.

    Args:
        name: of the operation.
        points: (start, number of a point) each.
        handler: called with the world.
        check: called with the world, and what an operation without a handler leaves.
    """
    expected = {}
    for start in dict(points):
        world, _ = watched(start)
        expected[start] = outcome(world, OPERATIONS[name]), world.contents()
    for start, at in points:
        world, faults = watched(start)
        answers, raised = [], []

        def work(world=world, answers=answers):
            answers.append(outcome(world, OPERATIONS[name]))

        def handle(world=world, raised=raised):
            try:
                handler(world)
            except BaseException as error:  # noqa: BLE001  # the handler's, not the operation's
                raised.append(error)

        where = signalled(work, at, handle)
        try:
            assert where, "there is no such point"
            assert not raised, raised
            assert not faults
            assert name in READS or answers == [expected[start][0]]
            check(world, expected[start][1])
            world.reg.check()
        except BaseException as error:
            error.add_note(f"{name}, {start}: point {at}, {where}")
            raise


def unpin_victims(world):
    for pfn, private in VICTIMS:
        world.reg.unpin(pfn, world.one, private)
        with pytest.raises(NotPinnedError):
            world.reg.unpin(pfn + 100, world.one, private)


def require_victims_gone(world, expected):
    gone = [world.reg.is_pinned(pfn) for pfn, _ in VICTIMS]
    assert gone == [pfn in without(expected, VICTIMS)[0] for pfn, _ in VICTIMS]
    found, wanted = world.contents(), without(expected, VICTIMS)
    assert found == wanted, differences(found, wanted)


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_unpin_from_a_handler_at_some_places(name):
    handle_at(name, plan(with_victims)[name][::4], unpin_victims, require_victims_gone)


@pytest.mark.slow
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_unpin_from_a_handler_at_each_place(name):
    handle_at(name, plan(with_victims)[name], unpin_victims, require_victims_gone)


def ask_for_more(world):
    """Each is done or refused; a refusal changes nothing."""
    world.said = []
    for act, pfns in (
        (lambda: world.reg.pin(90, world.one, VICTIM), {90}),
        (lambda: world.reg.pin_many([91, 1290], world.one, 3), {91, 1290}),
        (lambda: world.reg.pin_range(1292, 1295, world.one, frozenset("x")), {1292, 1293, 1294}),
        (lambda: world.reg.pinned_mask(0, NR_FRAMES), set()),
        (lambda: world.reg.marks.begin_move(np.array([95])), set()),
        (lambda: world.reg.marks.end_move(np.array([95])), set()),
    ):
        try:
            if act() is not Verdict.AGAIN:
                world.said.append(pfns)
        except ContextError:
            continue
        except PinpageError:  # an end of no move
            assert not pfns


def require_what_was_said(world, expected):
    found = world.contents()
    new = set().union(*world.said)
    marks = {95} & found[1]
    found = without_frames(found[0], {90, 91, 1290, 1292, 1293, 1294}), found[1] - marks, found[2]
    assert found == expected, differences(found, expected)
    wanted = [pfn in new for pfn in (90, 91, 1290, 1292, 1293, 1294)]
    assert [world.reg.is_pinned(p) for p in (90, 91, 1290, 1292, 1293, 1294)] == wanted


def without_frames(pins, pfns):
    return {pfn: records for pfn, records in pins.items() if pfn not in pfns}


@pytest.mark.slow
@pytest.mark.parametrize("name", OPERATIONS)
def test_what_else_a_handler_asks_for_at_each_place(name):
    handle_at(name, plan(with_victims)[name], ask_for_more, require_what_was_said)


def in_section(world, node, work):
    """Call `work` in the locked section of a node."""
    return inside.nodes(world.reg).run([inside.shards(world.reg)[node]], work)


@pytest.mark.parametrize("node", [0, 1])
def test_in_a_section_a_handler_can_only_unpin(node):
    world, faults = watched("as it is")
    before = world.contents()
    reg, one = world.reg, world.one
    refused = {
        "pin": lambda: reg.pin(90, one, 1),
        "pin an object": lambda: reg.pin(90, one, VICTIM),
        "pin a column": lambda: reg.pin_many([90, 1090], one, 1),
        "pin a range": lambda: reg.pin_range(90, 1090, one, frozenset("x")),
        "unpin a column": lambda: reg.unpin_many([60, 1050], one, [VICTIM, VICTIM]),
        "mask": lambda: reg.pinned_mask(0, NR_FRAMES),
        "move": lambda: reg.marks.begin_move(np.array([5])),
        "leave": lambda: reg.unregister(one, force=True),
        "scan": lambda: reg.scanning().__enter__(),
    }

    def handler():
        for name, act in refused.items():
            if node == 1 and name in ("pin", "pin an object"):
                continue  # need no lock of a node: the batch of node 0 is open
            with pytest.raises(ContextError):
                pytest.fail(f"{name}: {act()}")
        unpin_victims(world)

    in_section(world, node, handler)
    assert not faults
    require_victims_gone(world, before)
    reg.check()


def test_a_handler_in_the_side_table_can_only_unpin():
    """The `__eq__` of a private stands for whatever comes while the table is held."""
    world, faults = watched("as it is")
    before = world.contents()

    class Curious:
        calls = 0

        def __hash__(self):
            return hash(VICTIM)

        def __eq__(self, other):
            Curious.calls += 1
            with pytest.raises(ContextError):
                world.reg.pin(95, world.one, ("new",))
            with pytest.raises(ContextError):
                world.reg.pin_many([95], world.one, 1)
            unpin_victims(world) if Curious.calls == 1 else None
            return False

    world.reg.pin(80, world.one, Curious())
    assert Curious.calls == 1
    assert not faults
    assert world.reg.pins(80)
    found = world.contents()
    del found[0][80]
    assert found == without(before, VICTIMS)
    world.reg.check()


class Pinner:
    """Rubbish in a cycle, whose finalizer unpins one frame."""

    def __init__(self, reg, owner, pfn, private):
        self.me, self.unpin = self, partial(reg.unpin, pfn, owner, private)

    def __del__(self):
        self.unpin()


@pytest.mark.parametrize("private", [7, VICTIM], ids=["int", "object"])
def test_finalizers_that_run_wherever_the_collector_does(private):
    reg, owner = PinRegistry(Topology.uniform(nr_frames=NR_FRAMES, nr_nodes=2)), Named("one")
    reg.register(owner)
    before = gc.get_threshold()
    gc.collect()
    try:
        for round_ in range(3):
            frames = range(round_, NR_FRAMES, 5)
            reg.pin_many(frames, owner, [private] * len(frames))
            gc.set_threshold(0)
            for pfn in frames:
                Pinner(reg, owner, pfn, private)
            gc.set_threshold(5, 1, 1)  # from now on they go, a few at a time or all at once
            for pfn in range(round_ + 1, NR_FRAMES, 35):
                reg.pin(pfn, owner, ("mine", pfn))
                reg.pin_many([pfn + 1], owner, [[pfn], ("a", pfn)][1:])
                reg.unpin(pfn, owner, ("mine", pfn))
                reg.unpin_many([pfn + 1], owner, [("a", pfn)])
            gc.collect()
            assert len(reg) == 0
            reg.check()
            assert reg.statistics().nr_privates == 0
    finally:
        gc.set_threshold(*before)


def test_signals_that_unpin_whenever_they_come():
    reg, owner = PinRegistry(Topology.uniform(nr_frames=NR_FRAMES, nr_nodes=2)), Named("one")
    reg.register(owner)
    frames = list(range(0, NR_FRAMES, 4))
    reg.pin_many(frames, owner, [VICTIM] * len(frames))
    left = frames[::-1]

    def ring(*_):
        if left:
            reg.unpin(left.pop(), owner, VICTIM)

    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 1e-4, 1e-4)
        for number in range(100_000):
            if not left:
                break
            pfn = number * 4 % NR_FRAMES
            reg.pin(pfn + 1, owner, ("mine",))
            reg.pin_many([pfn + 2, pfn + 3], owner, [VICTIM, 1])
            reg.unpin_many([pfn + 2, pfn + 3], owner, [VICTIM, 1])
            reg.unpin(pfn + 1, owner, ("mine",))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not left
    assert len(reg) == 0
    require_no_lock_held(reg)
    reg.check()
    assert reg.statistics().nr_privates == 0
