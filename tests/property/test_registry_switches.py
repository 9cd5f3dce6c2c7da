"""Two threads in the registry, and every place where one can be stopped for the other.

One operation is stopped at each place of the registry in turn where CPython lets another thread
in, the other runs as far as it can, and both go on to their ends.  Whatever they answer and leave
behind must be what one after the other gives, in one order or the other.

Such a place is behind an instruction that looks for signals and for threads that want to run: a
call, the entry of a function, a jump back.  By default one place a line is tried, in `slow` each.
"""

import dis
import sys
import threading
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
import pytest

import pinpage
from pinpage import NotPinnedError, OwnerError, PinOwner, PinpageError, PinRegistry, Topology

PACKAGE = str(Path(pinpage.__file__).parent)
NR_FRAMES = 2048
ONE = ("an", "object")  # a private that lives in the side table
BLOCKED_S = 0.003  # who has not ended by then waits for the other one's lock


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


# What the first thread has done before, and the second (None: it comes for the first time).
STARTS = {
    "alone": (nothing, None),
    "alone, in its batch": (in_batch, None),
    "alone, nearly full": (nearly_full, None),
    "two, in the second one's batch": (nothing, in_batch),
    "two, stored": (stored, nothing),
}


LETS_OTHERS_IN = ("CALL", "RESUME", "JUMP_BACKWARD")
"""Parts of the names of instructions that end by a look at the eval breaker."""


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
                sys.settrace(self._trace)
            try:
                self.result = self._todo(self.world)
            except PinpageError as error:
                self.result = type(error)
            sys.settrace(before)
            self.done.set()
            self.stopped.set()

    def _trace(self, frame, event, argument):
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        frame.f_trace_opcodes = True
        place = [-1, 0]  # the last instruction of this frame, and the last line that was tried

        def trace(frame, event, argument):
            if event == "opcode":
                last, place[0] = place[0], frame.f_lasti
                lets_in = last < 0 or any(
                    part in dis.opname[frame.f_code.co_code[last]] for part in LETS_OTHERS_IN
                )
                if lets_in and (self.events == "opcode" or place[1] != frame.f_lineno):
                    place[1] = frame.f_lineno
                    self._at_a_place()
            return trace

        return trace

    def _at_a_place(self):
        self.nr_seen += 1
        if self.nr_seen == self.stop_at:
            self.stopped.set()
            self.go_on.wait(30)


def together(start, first, second, events, stop_at):
    """Stop `first` once, run `second`; None if `first` ended before that."""
    world = World()
    one, two = Worker(world, events), Worker(world, events)
    before, before_two = STARTS[start]
    one.do(before)
    if before_two:
        two.do(before_two)
    one.begin(OPERATIONS[first], stop_at)
    assert one.stopped.wait(30)
    has_ended = one.done.is_set()
    two.begin(OPERATIONS[second])
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
    for order in ((0, 1), (1, 0)):
        world = World()
        workers = [Worker(world, "") for _ in order]
        for worker, before in zip(workers, STARTS[start], strict=True):
            if before:
                worker.do(before)
        results = [None, None]
        for number in order:
            results[number] = workers[number].do(OPERATIONS[(first, second)[number]])
        for worker in workers:
            worker.end()
        found.append((*results, world.pins(0, NR_FRAMES)))
    return found


def switch_everywhere(start, first, second, events):
    allowed = one_by_one(start, first, second)
    for stop_at in count(1):
        found = together(start, first, second, events, stop_at)
        if found is None:
            return stop_at
        assert found in allowed, f"{first} stopped at {events} {stop_at} for {second}"
    return 0


@pytest.mark.parametrize("first", ["pin", "unpin"])
@pytest.mark.parametrize("start", STARTS)
def test_every_line(start, first):
    run = partial(switch_everywhere, start, first, events="line")
    assert min(run(second) for second in OPERATIONS) > 3


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
