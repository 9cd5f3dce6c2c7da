"""Calls whose answer is not lost, and undoing to the end."""

import contextlib

import pytest

from pinpage.errors import InvariantError
from pinpage.move.interrupts import Receipt, see_through
from tests.kit.pinpage.interrupts import Interrupts


def test_a_call_that_was_made_is_noted_whatever_strikes():
    """At every point of `do`: the call was made and is noted after `settle`, or neither."""
    at = nr_made = 0
    while True:
        at += 1
        made, noted, receipt = [], [], Receipt()

        def call(argument, made=made):
            made.append(argument)
            return argument + 1

        def note(answer, noted=noted):
            noted[:] = [answer]

        points = Interrupts(at, files={see_through.__code__.co_filename})
        with points, contextlib.suppress(KeyboardInterrupt):
            receipt.do(note, call, 1)
        receipt.settle()
        assert (made, noted) in (([], []), ([1], [2]))
        nr_made += bool(made) and bool(points.nr_struck)
        if not points.nr_struck:
            break
    assert nr_made > 1


def test_a_call_that_raises_is_not_noted():
    receipt = Receipt()
    for error in (ValueError, StopIteration):

        def call(argument, error=error):
            raise error

        with pytest.raises((ValueError, RuntimeError)):
            receipt.do(pytest.fail, call, 1)
        receipt.settle()


class Attempt:
    """Raises one after the other, then succeeds."""

    def __init__(self, *errors):
        self.errors, self.nr_calls = list(errors), 0

    def __call__(self):
        self.nr_calls += 1
        if self.errors:
            raise self.errors.pop(0)


FIRST, SECOND = KeyboardInterrupt("first"), KeyboardInterrupt("second")


@pytest.mark.parametrize(
    ("error", "errors", "raised"),
    [
        (FIRST, [], FIRST),
        (FIRST, [SECOND], SECOND),
        (GeneratorExit(), [SECOND], SECOND),
        (FIRST, [MemoryError(), MemoryError()], FIRST),
        (FIRST, [KeyboardInterrupt()] * 50 + [SECOND], SECOND),
    ],
)
def test_it_is_tried_until_it_is_through_and_the_last_interrupt_is_raised(error, errors, raised):
    attempt = Attempt(*errors)
    assert see_through(attempt, error) is raised
    assert attempt.nr_calls == len(errors) + 1


def test_an_error_is_not_lost_when_nobody_would_see_what_it_interrupted():
    error = ValueError()
    assert see_through(Attempt(error), GeneratorExit()) is error


def test_what_fails_by_itself_ends_it():
    for errors, nr_calls in (([MemoryError()] * 9, 3), ([InvariantError()], 1)):
        attempt = Attempt(*errors)
        with pytest.raises(type(errors[0])):
            see_through(attempt, FIRST)
        assert attempt.nr_calls == nr_calls
    with pytest.raises(KeyboardInterrupt):
        see_through(Attempt(*[SECOND] * 9), FIRST, nr_tries=5)
