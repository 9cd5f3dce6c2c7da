"""Actors that stop before each call: what happens inside a step is explored, too."""

import pytest

from owners.pool import lock as module
from pinpage.testing.explore import Scenario, explore
from pinpage.testing.stepping import (
    SteppedLock,
    by_calls,
    in_steps,
    stop_here,
    with_stepped_locks,
)


class Counter:
    """Reads and writes, one call each."""

    def __init__(self):
        self.value = 0

    def read(self):
        return self.value

    def write(self, value):
        self.value = value


def count(counter):
    counter.write(counter.read() + 1)


def scenario(names):
    counter = Counter()

    def finish():
        assert counter.value == 2, "an increment was lost"

    actors = {name: by_calls(count, counter, names=names) for name in ("one", "two")}
    return Scenario(actors, finish=finish)


def test_an_actor_stops_before_each_call_that_is_named():
    steps = by_calls(count, Counter(), names={"read", "write"})
    assert list(steps) == ["comes to read", "comes to write"]


def test_a_part_of_what_is_lent_is_lent_too():
    class Whole:
        part = Counter()

    steps = by_calls(lambda whole: count(whole.part), Whole(), names={"part.write"})
    assert list(steps) == ["comes to write"]
    assert Whole.part.value == 1


def test_what_is_not_named_happens_at_once():
    explore(lambda: scenario({"read"})).require_none()


def test_an_increment_that_others_get_in_between_of_is_found():
    found = explore(lambda: scenario({"read", "write"}))
    assert found.violation is not None
    assert "comes to write" in str(found.violation)


def test_what_it_returns_and_what_it_raises_comes_out():
    def outcome(steps):
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value

    assert outcome(by_calls(Counter.read, Counter(), names={"read"})) == 0
    with pytest.raises(TypeError):
        outcome(by_calls(len, Counter(), names={"read"}))


def test_an_actor_that_is_closed_ends_its_thread():
    ended = []

    def work(counter):
        try:
            counter.read()
        finally:
            counter.write(7)  # an undo is not stopped again
            ended.append(True)

    counter = Counter()
    steps = by_calls(work, counter, names={"read", "write"})
    next(steps)
    steps.close()
    assert ended
    assert counter.value == 7


def test_a_function_stops_wherever_it_says_so():
    def function():
        assert stop_here("here")
        return 7

    steps = in_steps(function)
    assert next(steps) == "here"
    with pytest.raises(StopIteration) as end:
        next(steps)
    assert end.value.value == 7


def test_outside_of_such_a_thread_nothing_stops():
    assert not stop_here("nowhere")


def takes_two(first, second):
    with first:
        stop_here("has one")
        with second:
            pass


@pytest.mark.parametrize(("order", "breaks"), [("ab", False), ("ba", True)])
def test_two_who_wait_for_each_other_are_found_and_do_not_hang(order, breaks):
    def scenario():
        locks = {"a": SteppedLock(), "b": SteppedLock()}
        one = in_steps(lambda: takes_two(locks["a"], locks["b"]))
        two = in_steps(lambda: takes_two(*(locks[name] for name in order)))
        return Scenario({"one": one, "two": two})

    found = explore(scenario)
    assert (found.violation is not None) is breaks
    assert not breaks or "deadlock" in str(found.violation)


def test_a_lock_with_places_lets_others_in_before_it_is_taken():
    lock = SteppedLock(is_place=True)
    assert list(in_steps(lambda: lock.acquire() and lock.release())) == ["comes to a lock"]


def test_a_plain_lock_is_not_taken_twice_and_a_reentrant_one_is():
    plain, reentrant = SteppedLock(), SteppedLock(reentrant=True)
    with plain, reentrant, reentrant:
        assert plain.locked()
        assert not plain.acquire(blocking=False)
        with pytest.raises(AssertionError, match="nobody here who could wait"):
            plain.acquire()
    assert not plain.locked()
    assert not reentrant.locked()


def test_locks_of_a_module_are_stepped_only_inside():
    with with_stepped_locks(module):
        assert isinstance(module.threading.Lock(), SteppedLock)
    assert not isinstance(module.threading.Lock(), SteppedLock)
