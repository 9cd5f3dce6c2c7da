"""Two or three threads in the registry, and schedules that hypothesis draws and shrinks.

Whatever the threads answer and leave behind must be what their operations give one after the
other, in some order that keeps each thread's own.
"""

from functools import cache
from pathlib import Path

import pytest
from hypothesis import Phase, example, find, given, note, settings
from hypothesis import strategies as st

import pinpage
import pinpage.store.owner_table
import pinpage.store.privates
import pinpage.store.shard
from tests.kit.pinpage.scheduled import run_scheduled
from tests.property.shared_registry import NR_FRAMES, OPERATIONS, World, answer_of

PACKAGE = Path(pinpage.__file__).parent
LOCKING = (pinpage.store.owner_table, pinpage.store.privates, pinpage.store.shard)
# Who leaves waits for callbacks, and who finds it gone half way says so; see the other tests.
NAMES = sorted(OPERATIONS.keys() - {"leave"})
PROGRAMS = st.lists(
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=2).map(tuple), min_size=2, max_size=3
).map(tuple)
SCHEDULES = st.lists(st.tuples(st.integers(0, 150), st.integers(0, 1)), max_size=6)


def is_of_the_registry(path):
    return path == str(PACKAGE / "registry.py") or path.startswith(str(PACKAGE / "store"))


def do(world, name):
    return answer_of(OPERATIONS[name], world)


def after(world, results):
    """What the threads were answered, and what is pinned now."""
    world.reg.check()
    return tuple(map(tuple, results)), world.pins(0, NR_FRAMES)


@cache
def orders(lengths):
    """Every order of the threads' steps, as the numbers of threads."""
    if not any(lengths):
        return [()]
    found = []
    for number, length in enumerate(lengths):
        if length:
            rest = (*lengths[:number], length - 1, *lengths[number + 1 :])
            found += [(number, *order) for order in orders(rest)]
    return found


@cache
def one_by_one(program):
    """What the orders give in which one operation ends before the next begins."""
    allowed = set()
    for order in orders(tuple(map(len, program))):
        world, results = World(), [[] for _ in program]
        for number in order:
            results[number].append(do(world, program[number][len(results[number])]))
        allowed.add(after(world, results))
    return allowed


def together(program, schedule):
    """What the schedule gives, and what was done."""
    worlds, results = [], [[] for _ in program]

    def body(number):
        for name in program[number]:
            results[number].append(do(worlds[0], name))

    def threads():
        worlds.append(World())
        return [lambda number=number: body(number) for number in range(len(program))]

    log = run_scheduled(threads, schedule, is_of_the_registry, LOCKING)
    return after(worlds[0], results), log


@given(PROGRAMS, SCHEDULES)
@example((("pin", "unpin"), ("pin", "ask")), [(20, 0), (20, 0), (20, 0)])
@example((("pin a column",), ("move",), ("unpin",)), [(30, 0), (10, 1), (40, 0)])
@settings(max_examples=60)
def test_any_schedule_is_some_order(program, schedule):
    require_some_order(program, schedule)


@pytest.mark.slow
@given(PROGRAMS, SCHEDULES)
@settings(max_examples=5_000)
def test_any_of_many_schedules_is_some_order(program, schedule):
    require_some_order(program, schedule)


def require_some_order(program, schedule):
    found, log = together(program, schedule)
    note("\n".join(log))
    assert found in one_by_one(program)


def test_a_private_that_goes_while_it_is_read():
    """Stopped at each place of the reading in turn, for somebody who takes the pin away."""
    before, after_it = (
        sum(line.startswith("0:") for line in together((names, ("look",)), [])[1])
        for names in (("pin", "scan"), ("pin", "scan", "ask"))
    )
    assert after_it - before > 10
    program = (("pin", "scan", "ask"), ("unpin",))
    for nr_places in range(before - 2, after_it):
        found, log = together(program, [(nr_places, 0), (10_000, 0)])
        assert found in one_by_one(program), log


# The scheduler finds a bug, and shows it with one switch.


SHRINKING = settings(max_examples=4000, derandomize=True, phases=tuple(Phase))


class Counter:
    """What two threads read, and then write."""

    def __init__(self):
        self.value = 0

    def add(self):
        value = self.read()
        self.value = value + 1

    def read(self):
        return self.value


def is_lost(schedule):
    counter = Counter()
    run_scheduled(lambda: [counter.add, counter.add], schedule, lambda path: path == __file__, ())
    return counter.value < 2


def test_a_lost_update_shrinks_to_one_switch():
    assert not is_lost([])
    found = find(SCHEDULES, is_lost, settings=SHRINKING)
    assert len(found) == 1


def test_who_waits_is_not_scheduled():
    """A thread that is stopped in its locked section keeps the other one out, and nobody hangs."""
    program = (("pin a column",), ("pin a column",))
    nr_all = sum(line.startswith("0:") for line in together(program, [])[1])
    assert nr_all > 200
    for nr_places in range(0, nr_all, 8):
        found, _ = together(program, [(nr_places, 0), (10_000, 0)])
        assert found in one_by_one(program)
