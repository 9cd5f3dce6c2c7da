"""Calling an owner: how far it got, whatever ended the call."""

import numpy as np
import pytest

from pinpage.errors import InvariantError
from pinpage.move.callbacks import Call
from pinpage.owner import Mode, PinOwner, Reason, Verdict
from pinpage.registry import PinRegistry
from pinpage.topology import Topology


class Answers(PinOwner):
    """Answers what it is given; an exception is raised."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def isolate(self, pin, mode):
        self.asked.append(pin and pin.private)
        answer = self.answers[len(self.asked) - 1]
        if isinstance(answer, BaseException):
            raise answer
        return answer


class InOne(Answers):
    """The same for all pins at once."""

    def isolate_many(self, pfns, privates, mode):
        return np.array([self.isolate(None, mode) for _ in pfns])


@pytest.fixture
def registry():
    return PinRegistry(Topology.uniform(nr_frames=16))


def call_of(registry, owner):
    registry.register(owner)
    return Call("isolate", owner, np.arange(3), [None, "b", 7], Mode.SYNC)


def test_pin_by_pin_it_is_known_who_was_told(registry):
    owner = Answers(Verdict.YES, ValueError(), Verdict.YES)
    owner.isolate = lambda pin, mode: Answers.isolate(owner, pin, mode)
    call = call_of(registry, owner)
    assert not call.make(registry)
    assert (call.nr_returned, call.unfinished, call.failure) == (
        1,
        slice(1, 2),
        Reason.OWNER_FAULTY,
    )
    assert owner.asked == [None, "b"]
    assert registry.is_faulty(owner)


def test_an_interrupt_is_nobodys_fault_and_loses_no_answer(registry):
    owner = Answers(Verdict.YES, Verdict.AGAIN, KeyboardInterrupt())
    call = call_of(registry, owner)
    with pytest.raises(KeyboardInterrupt):
        call.make(registry)
    assert (call.nr_returned, call.unfinished) == (2, slice(2, 3))
    assert call.answers(registry).tolist() == [Verdict.YES, Verdict.AGAIN]
    assert not registry.is_faulty(owner)


def test_a_batch_form_tells_all_or_none(registry):
    told = call_of(registry, InOne(0, 1, 2))
    assert told.make(registry)
    assert (told.nr_returned, told.unfinished) == (3, slice(3, 3))
    assert told.answers(registry).tolist() == [0, 1, 2]
    failed = call_of(registry, InOne(0, ValueError()))
    assert not failed.make(registry)
    assert (failed.nr_returned, failed.unfinished) == (0, slice(0, 3))


@pytest.mark.parametrize("kind", [Answers, InOne])
def test_the_end_of_an_iteration_is_an_error_like_any_other(registry, kind):
    owner = kind(Verdict.YES, StopIteration(), Verdict.YES)
    call = call_of(registry, owner)
    assert not call.make(registry)
    assert registry.is_faulty(owner)


@pytest.mark.parametrize("nonsense", [2.0, None, 3, -1, "0", [0]])
def test_both_forms_take_the_same_for_a_verdict(registry, nonsense):
    for kind in (Answers, InOne):
        owner = kind(nonsense, nonsense, nonsense)
        call = call_of(registry, owner)
        call.make(registry)
        if call.failure is Reason.MOVED:
            assert call.answers(registry) is None
        assert registry.is_faulty(owner)


def test_a_bug_of_ours_passes(registry):
    with pytest.raises(InvariantError):
        call_of(registry, Answers(InvariantError("ours"))).make(registry)


def test_an_owner_that_is_not_registered_is_not_called(registry, monkeypatch):
    owner = Answers(0, 0, 0)
    call = call_of(registry, owner)
    calling = registry.calling

    def leave_at_the_door(who):
        held = calling(who)
        registry.unregister(who)
        return held

    monkeypatch.setattr(registry, "calling", leave_at_the_door)
    assert not call.make(registry)
    assert call.failure is Reason.OWNER_AGAIN
    assert owner.asked == []
    asked = Call("references", owner, np.arange(1), [1])
    assert not asked.make(registry)
    assert asked.failure is Reason.OWNER_AGAIN
