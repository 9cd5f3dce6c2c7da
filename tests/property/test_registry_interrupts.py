"""An operation of the registry that is interrupted has happened wholly or not at all.

Operations are interrupted at every place where a signal can come (`interrupting`).  Afterwards
no lock is held, nothing hangs, `check` holds, the pins are those before or those after, in their
order, and the operation can be done (or refused) as if nothing had been.

In the default run each place of the code is tried once, on the first operation that comes there
(`slow`: at every point of every operation).
"""

import random
import signal
import threading
import time
from functools import partial

import numpy as np
import pytest

from tests.kit import inside
from tests.property.interrupting import interrupted, places
from tests.property.registry_world import (
    CHANGES,
    NODE_1,
    NR_FRAMES,
    OPERATIONS,
    STARTS,
    STUCK_S,
    World,
    differences,
    outcome,
    plan,
    points_of,
    require_no_lock_held,
    world_at,
)


@pytest.fixture(autouse=True)
def _in_time():
    """A lock that was left held ends as an error, not as a run that never ends."""

    def ring(*_):
        raise TimeoutError(f"stuck for {STUCK_S} s")

    before = signal.signal(signal.SIGALRM, ring)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


class Expected:
    """What is there before and after an operation that nobody interrupts."""

    def __init__(self, start, operation):
        self.operation = operation
        self.before = world_at(start).contents()
        world = world_at(start)  # `contents` has drained the other one
        self.answer = outcome(world, operation)
        self.after = world.contents()

    def require(self, world):
        """All is in order, and the operation does now what it does in such a world."""
        signal.setitimer(signal.ITIMER_REAL, STUCK_S)
        require_no_lock_held(world.reg)
        world.reg.check()
        found = world.contents()
        self.require_marks(world, found)
        found = world.contents()
        # An owner that is forced out may be left without its pins, and still be registered.
        left = self.after[0], self.after[1], self.before[2]
        allowed = self.before, self.after, left if self.operation is CHANGES["leave"] else None
        assert found in allowed, differences(found, self.before, self.after)
        world.reg.check()
        answer = outcome(world, self.operation)
        if found == self.before:
            assert answer == self.answer
            assert world.contents() == self.after
        world.reg.check()
        signal.setitimer(signal.ITIMER_REAL, 0)

    def require_marks(self, world, found):
        """Marks are before or after node by node; whose they are can be found out, and ended."""
        before, after = self.before[1], self.after[1]
        for nodes in (range(NODE_1), range(NODE_1, NR_FRAMES)):
            assert found[1].intersection(nodes) in (
                before.intersection(nodes),
                after.intersection(nodes),
            )
        if found[1] not in (before, after):
            frames = np.array(sorted(before | after))
            ours = world.reg.marks.marked_by(frames, threading.get_ident())
            assert set(frames[ours].tolist()) == found[1]
            world.reg.marks.end_move(frames[ours])
            assert not any(shard.moving for shard in inside.shards(world.reg))


def interrupt_at(name, points):
    """Interrupt an operation at each of these (start, number of a point)."""
    expected = {start: Expected(start, OPERATIONS[name]) for start in dict(points)}
    for start, at in points:
        world = world_at(start)
        where = interrupted(partial(outcome, world, OPERATIONS[name]), at)
        assert where, f"{name}, {start}: there is no point {at}"
        try:
            expected[start].require(world)
        except BaseException as error:
            error.add_note(f"{name}, {start}: point {at}, {where}")
            raise


@pytest.mark.parametrize("name", OPERATIONS)
def test_interrupted_at_each_place(name):
    interrupt_at(name, plan()[name])


def test_places_are_found():
    assert sum(map(len, plan().values())) > 500


@pytest.mark.slow
@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("name", OPERATIONS)
def test_interrupted_at_each_point(name, start):
    interrupt_at(name, [(start, at + 1) for at in range(len(points_of(start, name)))])


@pytest.mark.parametrize("start", STARTS)
def test_interrupted_again_while_it_is_mended(start):
    """The next call finds what was left, and is interrupted as well, and the one after that."""
    rng = random.Random(start)
    for name, operation in CHANGES.items():
        expected, nr = Expected(start, operation), len(points_of(start, name))
        for _ in range(2):
            world, where = world_at(start), []
            try:
                where.append(interrupted(partial(outcome, world, operation), rng.randint(1, nr)))
                where += [interrupted(world.reg.flush, rng.randint(1, 60)) for _ in range(2)]
                expected.require(world)
            except BaseException as error:
                error.add_note(f"{name}, {start}: {where}")
                raise


def test_who_waits_for_a_move_is_woken_whatever_interrupts_its_end():
    """At each point of `end_move`; what is left to do, the next call does."""
    frames = np.array([10, 514])
    world = World()
    world.reg.marks.begin_move(frames)
    nr = len(places(lambda: world.reg.marks.end_move(frames)))
    for at in range(1, nr + 1):
        world = World()
        end = partial(world.reg.marks.end_move, frames)
        world.reg.marks.begin_move(frames)
        pin = partial(world.reg.pin_many, [10, 11, 514], world.one, ("w",) * 3)
        threads = [
            threading.Thread(target=pin, daemon=True),
            threading.Thread(target=world.reg.pin, args=(514, world.two, ("v",)), daemon=True),
        ]
        for thread in threads:
            thread.start()
        while world.reg.statistics().nr_waits < 2:
            time.sleep(0)
        where = interrupted(end, at)
        ours = world.reg.marks.marked_by(frames, threading.get_ident())
        world.reg.marks.end_move(frames[ours])
        world.reg.pinned_mask(0, NR_FRAMES)
        for thread in threads:
            thread.join(STUCK_S)
            assert not thread.is_alive(), f"nobody wakes who waits: point {at}, {where}"
        assert [len(world.reg.pins(pfn)) for pfn in (10, 11, 514)] == [5, 1, 4]
        world.reg.check()
