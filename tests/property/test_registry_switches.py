"""Two threads in the registry, and every place where one can be stopped for the other.

One operation is stopped at each place of the registry in turn where CPython lets another thread
in, the other runs as far as it can, and both go on to their ends.  Whatever they answer and leave
behind must be what one after the other gives, in one order or the other.

By default one place a line is tried, in `slow` each.
"""

import os
import sys
import threading
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
import pytest

import pinpage
from tests.kit.pinpage.places import at_places
from tests.property.shared_registry import NR_FRAMES, ONE, OPERATIONS, World, answer_of

PACKAGE = str(Path(pinpage.__file__).parent)
STEP = 1 if os.environ.get("PINPAGE_POINT_STEP") == "1" else 2
BLOCKED_S = 0.003  # who has not ended by then waits for the other one's lock


def nothing(world):
    world.reg.run_on(0)


def in_batch(world):
    world.pin(5, ONE)


def nearly_full(world):
    world.pin(7, 7)
    world.pin(900, 7)


def stored(world):
    world.pin(5, ONE)
    world.scan()


def behind_a_stored_one(world):
    world.pin(5, 7)
    world.scan()
    world.pin(5, ONE)


def stored_plainly(world):
    world.pin(5, 7)
    world.scan()


def stored_in_a_dense_block(world):
    world.reg.pin_many([5, 6, 7, 8], world.owner, 7)


# What the first thread has done before, and the second (None: it comes for the first time).
STARTS = {
    "alone": (nothing, None),
    "alone, in its batch": (in_batch, None),
    "alone, nearly full": (nearly_full, None),
    "two, in the second one's batch": (nothing, in_batch),
    "two, stored": (stored, nothing),
    "two, behind a stored one": (behind_a_stored_one, nothing),
}


def told(world):
    """A move of 5 to 700 whose owner knows its new place already."""
    world.pin(5, ONE)
    world.pin(5, 7)
    world.reg.marks.begin_move(np.array([5, 700]))
    world.reg.marks.forward_many(np.array([5]), np.array([700]))


def finish(world):
    world.reg.marks.rekey_many(np.array([5]), np.array([700]))
    world.reg.marks.end_move(np.array([5, 700]))


PLAIN = {
    "few": (stored_plainly, nothing),
    "dense": (stored_in_a_dense_block, nothing),
}
LOOKS = {
    "look": World.look,
    "mask": World.mask,
    "ask": lambda world: bool(world.ask()),
    "single": lambda world: world.single()[0] >= 0,
    "take over": World.take_over,
}
TOLD = {"told": (nothing, told)}
BY_NEW_NAMES = {
    "finish": finish,
    "unpin": lambda world: world.unpin(700, ONE),
    "unpin a plain one": lambda world: world.unpin(700, 7),
    "unpin a column": lambda world: world.reg.unpin_many([700], world.owner, 7),
    "unpin a range": lambda world: world.reg.unpin_range(700, 701, world.owner, 7),
}


def operations_from(start):
    return BY_NEW_NAMES if start in TOLD else LOOKS if start in PLAIN else OPERATIONS


def is_of_the_package(path):
    return path.startswith(PACKAGE)


class Worker:
    """A thread that does one thing after the other, and may be stopped once on the way."""

    def __init__(self, world, events):
        self.world, self.events = world, events
        self.result, self.nr_seen = None, 0
        self.stop_at, self.stopped, self.go_on = 0, threading.Event(), threading.Event()
        self._todo = None
        self._start, self.done = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def begin(self, operation, stop_at=0):
        self.stop_at, self._todo = stop_at, operation
        self.done.clear()
        self.stopped.clear()
        self._start.set()

    def do(self, operation):
        self.begin(operation)
        assert self.done.wait(30)
        return self.result

    def end(self):
        assert self.done.wait(30), "deadlock"
        self._todo = None
        self._start.set()
        self._thread.join(30)

    def _run(self):
        while self._start.wait(30):
            self._start.clear()
            if self._todo is None:
                return
            before = sys.gettrace()
            if self.stop_at:
                every = self.events == "opcode"
                sys.settrace(at_places(is_of_the_package, self._at_a_place, every=every))
            self.result = answer_of(self._todo, self.world)
            sys.settrace(before)
            self.done.set()
            self.stopped.set()

    def _at_a_place(self, frame):
        self.nr_seen += 1
        if self.nr_seen == self.stop_at:
            self.stopped.set()
            self.go_on.wait(30)


def together(start, first, second, events, stop_at):
    """Stop `first` once, run `second`; None if `first` ended before that."""
    world = World()
    one, two = Worker(world, events), Worker(world, events)
    before, before_two = (STARTS | TOLD | PLAIN)[start]
    operations = operations_from(start)
    one.do(before)
    if before_two:
        two.do(before_two)
    one.begin(operations[first], stop_at)
    assert one.stopped.wait(30)
    has_ended = one.done.is_set()
    two.begin(operations[second])
    two.done.wait(BLOCKED_S)
    one.go_on.set()
    assert one.done.wait(30), "deadlock"
    two.end()
    one.end()
    world.reg.check()
    found = one.result, two.result, world.pins(0, NR_FRAMES)
    world.reg.check()
    return None if has_ended else found


def one_by_one(start, first, second):
    """What each order gives."""
    found = []
    operations = operations_from(start)
    for order in ((0, 1), (1, 0)):
        world = World()
        workers = [Worker(world, "") for _ in order]
        for worker, before in zip(workers, (STARTS | TOLD | PLAIN)[start], strict=True):
            if before:
                worker.do(before)
        results = [None, None]
        for number in order:
            results[number] = workers[number].do(operations[(first, second)[number]])
        for worker in workers:
            worker.end()
        found.append((*results, world.pins(0, NR_FRAMES)))
    return found


def switch_everywhere(start, first, second, events, step=1):
    allowed = one_by_one(start, first, second)
    for stop_at in count(1, step):
        found = together(start, first, second, events, stop_at)
        if found is None:
            return stop_at
        assert found in allowed, f"{first} stopped at {events} {stop_at} for {second}"
    return 0


@pytest.mark.parametrize("first", ["pin", "unpin"])
@pytest.mark.parametrize("start", STARTS)
def test_every_line(start, first):
    """By default every second one; all with PINPAGE_POINT_STEP=1, as in `make slow`."""
    run = partial(switch_everywhere, start, first, events="line", step=STEP)
    assert min(run(second) for second in OPERATIONS) > 3


@pytest.mark.parametrize("look", sorted(LOOKS.keys() - {"take over"}))
@pytest.mark.parametrize("start", PLAIN)
def test_a_frame_that_is_pinned_at_all_times_is_seen_to_be(start, look):
    """Its second pin comes and its first one goes, both without the lock, at any one place."""
    allowed = one_by_one(start, look, "take over")
    assert [answer for answer, *_ in allowed] == [True, True]
    assert switch_everywhere(start, look, "take over", events="opcode") > 5


@pytest.mark.parametrize("first", sorted(BY_NEW_NAMES.keys() - {"finish"}))
def test_an_unpin_by_its_new_name_while_the_move_ends(first):
    """The owner was told its new place: whichever name holds when it lets go, the pin goes.

    By default at every second line.
    """
    allowed = one_by_one("told", first, "finish")
    assert all(len(pins) == 1 for _, _, pins in allowed)
    assert switch_everywhere("told", first, "finish", events="line", step=STEP) > 3


@pytest.mark.parametrize("second", sorted(BY_NEW_NAMES.keys() - {"finish"}))
def test_the_end_of_a_move_while_its_pin_goes_by_its_new_name(second):
    """The same with the mover stopped: pins and names change in one moment.

    By default at every fourth line.
    """
    assert switch_everywhere("told", "finish", second, events="line", step=STEP * STEP) > 20


@pytest.mark.slow
@pytest.mark.parametrize("first", sorted(OPERATIONS.keys() - {"pin", "unpin"}))
@pytest.mark.parametrize("start", STARTS)
def test_every_line_of_the_rest(start, first):
    test_every_line(start, first)


@pytest.mark.slow
@pytest.mark.parametrize("first", ["pin", "unpin", "ask"])
@pytest.mark.parametrize("start", STARTS)
def test_every_bytecode(start, first):
    run = partial(switch_everywhere, start, first, events="opcode")
    assert min(run(second) for second in OPERATIONS) > 20
