"""What an owner can do follows from what it overrides; batch forms loop by default."""

import numpy as np
import pytest

from pinpage import CallbackOwner, Mode, Pin, PinOwner, Reason, Verdict


class Mover(PinOwner):
    """Refuses odd privates; writes down what it is told."""

    def __init__(self) -> None:
        self.told = []

    def isolate(self, pin, mode):
        return Verdict.BUSY if pin.private % 2 else Verdict.YES

    def migrate(self, pin, target):
        self.told.append((pin, target))

    def putback(self, pin):
        self.told.append(pin)


class BatchMover(PinOwner):
    """Has only the batch form."""

    def migrate_many(self, pfns, privates, targets):
        """Nothing to do."""


def test_an_owner_can_do_what_it_overrides():
    assert [o.can_migrate for o in (PinOwner(), Mover(), BatchMover())] == [False, True, True]
    assert [o.can_release for o in (Mover(), CallbackOwner("c", lambda pfn, private: 0))] == [
        False,
        True,
    ]


def test_a_mode_is_the_more_patient_the_later_it_comes():
    assert Mode.ASYNC < Mode.SYNC_LIGHT < Mode.SYNC


def test_a_plain_owner_refuses():
    pin = Pin(1, PinOwner(), None)
    assert pin.owner.isolate(pin, Mode.SYNC) is Verdict.BUSY
    assert pin.owner.release(pin, Mode.SYNC) is Verdict.BUSY
    with pytest.raises(NotImplementedError, match="no migrate callback"):
        pin.owner.migrate(pin, 2)


@pytest.mark.parametrize("privates", [np.array([4, 5]), [4, 5]], ids=["array", "list"])
def test_batch_forms_are_the_loop(privates):
    owner, pfns = Mover(), np.array([7, 8])
    assert owner.isolate_many(pfns, privates, Mode.ASYNC).tolist() == [Verdict.YES, Verdict.BUSY]
    owner.migrate_many(pfns, privates, np.array([17, 18]))
    owner.putback_many(pfns, privates)
    pins = [Pin(7, owner, 4), Pin(8, owner, 5)]
    assert owner.told == [(pins[0], 17), (pins[1], 18), *pins]
    assert owner.references(pfns, privates).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("returned", "verdict"), [(0, Verdict.YES), (-16, Verdict.BUSY), (1, Verdict.BUSY)]
)
def test_the_callback_of_2013_succeeds_with_zero(returned, verdict):
    owner = CallbackOwner("old", lambda pfn, private: returned)
    assert owner.release(Pin(1, owner, "page"), Mode.SYNC) is verdict


def test_three_endings_leave_the_source_free():
    assert [reason for reason in Reason if reason.is_success] == [
        Reason.MOVED,
        Reason.FREED,
        Reason.RELEASED,
    ]
