"""What the two designs of mm itself know, answer and do."""

import numpy as np
import pytest

from mm.move.design import Answer, RegistryDesign, Unmovable
from owners.opaque import OpaqueOwner
from pinpage.move.steps import GivenTargets
from pinpage.owner import CallbackOwner, Mode, PinOwner, Reason
from pinpage.testing.world import column
from tests.kit.mm.machines import Drawn


def test_unmovable_knows_nobody_and_does_nothing():
    design, targets = Unmovable(), GivenTargets(column(4))
    answers, reasons = design.ask(column(0, 1), Mode.SYNC)
    assert (answers == Answer.NO).all()
    assert (reasons == Reason.NO_OWNER).all()
    assert not design.claims(3, 9).any()
    assert len(design.claims(3, 9)) == 6
    report = design.move(column(0), targets, Mode.SYNC)
    assert (report.counts(), report.targets.tolist()) == ({Reason.NO_OWNER: 1}, [-1])
    assert design.release(column(0), Mode.SYNC).tolist() == [Reason.NO_OWNER]
    assert targets.remaining.tolist() == [4]
    codes, names = design.holders(3)
    assert [names[code] for code in codes] == ["unknown"] * 3


@pytest.fixture
def drawn():
    """Frame 0 is movable, 1 pinned without callback, 2 can be released, 3 is unknown.

    Frame 4 has a movable and an immovable owner, 5 a movable and a releasing one.
    """
    drawn = Drawn("x#####..", "........", movable=True)
    registry = drawn.machine.registry
    silent, giving = PinOwner(), CallbackOwner("giving", lambda pfn, private: 0)
    silent.name = "silent"
    for owner, pfns in ((silent, (1, 4)), (giving, (2, 5))):
        registry.register(owner)
        registry.pin_many(column(*pfns), owner)
    drawn.machine.frames.refcount[4:6] += 1
    drawn.owner.adopt(column(4, 5))
    return drawn


def test_every_owner_of_a_frame_has_a_say(drawn):
    answers, reasons = drawn.machine.design.ask(np.arange(6), Mode.SYNC)
    assert [Answer(answer).name for answer in answers] == [
        "MOVE", "NO", "RELEASE", "NO", "NO", "NO",
    ]  # fmt: skip
    assert [Reason(r) for r in reasons[[1, 3, 4, 5]]] == [
        Reason.NO_CALLBACK, Reason.NO_OWNER, Reason.NO_CALLBACK, Reason.NO_CALLBACK,
    ]  # fmt: skip


def test_asking_has_no_side_effects(drawn):
    before = drawn.machine.digest(), list(drawn.machine.registry.iter_pins(0, 16))
    drawn.machine.design.ask(np.arange(6), Mode.SYNC)
    assert (drawn.machine.digest(), list(drawn.machine.registry.iter_pins(0, 16))) == before


def test_a_pin_that_another_thread_drops_meanwhile_is_nobodys(drawn, monkeypatch):
    registry = drawn.machine.registry
    (pin,) = registry.pins(1)
    single_pins = registry.single_pins

    def after_the_drop(pfns):
        registry.unpin(pin.pfn, pin.owner, pin.private)
        return single_pins(pfns)

    monkeypatch.setattr(registry, "single_pins", after_the_drop)
    codes, names = drawn.machine.design.holders(8)
    assert [names[code] for code in codes[:3]] == ["opaque", "unknown", "giving"]


def test_pinned_frames_are_claimed_and_their_holders_named(drawn):
    design = drawn.machine.design
    assert design.claims(1, 8).tolist() == [True, True, False, True, True, False, False]
    codes, names = design.holders(8)
    assert [names[code] for code in codes] == [
        "opaque", "silent", "giving", "unknown", "opaque", "opaque", "unknown", "unknown",
    ]  # fmt: skip


def test_a_frame_that_nobody_knows_never_moves(drawn):
    drawn.machine.buddy.take(column(8))
    targets = GivenTargets(column(8))
    report = drawn.machine.design.move(column(3), targets, Mode.SYNC)
    assert report.counts() == {Reason.NO_OWNER: 1}
    assert targets.remaining.tolist() == [8]


def test_a_faulty_owner_is_not_asked_again(drawn):
    drawn.machine.registry.fault(drawn.owner, "lied")
    answers, _ = drawn.machine.design.ask(column(0), Mode.SYNC)
    assert answers.tolist() == [Answer.NO]


def test_the_registry_design_counts_the_registrys_locks():
    drawn = Drawn("........", movable=True)
    registry, design = drawn.machine.registry, drawn.machine.design
    assert isinstance(design, RegistryDesign)
    before = design.lock_acquisitions
    OpaqueOwner("more", movable=True, registry=registry)
    registry.flush()
    design.ask(column(0), Mode.SYNC)
    assert design.lock_acquisitions == registry.statistics().lock_acquisitions > before
