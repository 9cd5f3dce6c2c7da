"""Scripted owners notice when the core breaks the contract."""

import pytest

from pinpage.errors import InvariantError, PinpageError
from pinpage.owner import Mode, Pin, Verdict
from pinpage.registry import PinRegistry
from pinpage.testing.scripted import ScriptedError, ScriptedOwner
from pinpage.testing.world import POISON, World
from pinpage.topology import Topology


@pytest.fixture
def world():
    return World(6)


@pytest.fixture
def make(world):
    registry = PinRegistry(Topology.uniform(nr_frames=6))
    return lambda **script: ScriptedOwner("zbud", world, registry, **script)


def pin_of(owner, private):
    return Pin(owner.place[private], owner, private)


def test_entries_are_used_up_and_the_last_one_repeats(make):
    owner = make(isolate=["again", "busy", "busy"])
    owner.keep("h")
    answers = [owner.isolate(pin_of(owner, "h"), Mode.SYNC) for _ in range(4)]
    assert answers == [Verdict.AGAIN, Verdict.BUSY, Verdict.BUSY, Verdict.BUSY]


def test_a_callable_runs_and_may_choose_the_entry(make):
    owner = make(isolate=[lambda pin: "busy", lambda pin: None])
    owner.keep("h")
    assert owner.isolate(pin_of(owner, "h"), Mode.SYNC) is Verdict.BUSY
    assert owner.isolate(pin_of(owner, "h"), Mode.SYNC) is Verdict.YES


@pytest.mark.parametrize(
    "script", [{"isolate": ["maybe"]}, {"migrate": ["busy"]}, {"move": ["yes"]}]
)
def test_a_script_that_means_nothing_is_refused(make, script):
    with pytest.raises(PinpageError, match="script of zbud"):
        make(**script)


def test_a_callback_after_letting_go_is_found(make):
    owner = make()
    owner.keep("h")
    stale = pin_of(owner, "h")
    owner.let_go("h")
    with pytest.raises(InvariantError, match="K1"):
        owner.isolate(stale, Mode.SYNC)


def test_a_callback_about_another_frame_is_found(make):
    owner = make()
    owner.keep("h")
    with pytest.raises(InvariantError, match="K2"):
        owner.isolate(Pin(5, owner, "h"), Mode.SYNC)


def test_migrate_without_isolate_is_found(make):
    owner = make()
    owner.keep("h")
    with pytest.raises(InvariantError, match="K3"):
        owner.migrate(pin_of(owner, "h"), 5)


def test_putback_without_isolate_is_found(make):
    owner = make()
    owner.keep("h")
    with pytest.raises(InvariantError, match="K3"):
        owner.putback(pin_of(owner, "h"))


def test_isolating_twice_is_found(make):
    owner = make()
    owner.keep("h")
    owner.isolate(pin_of(owner, "h"), Mode.SYNC)
    with pytest.raises(InvariantError, match="K3"):
        owner.isolate(pin_of(owner, "h"), Mode.SYNC)


def test_a_write_while_quiet_is_found(make):
    owner = make()
    owner.keep("h")
    owner.isolate(pin_of(owner, "h"), Mode.SYNC)
    with pytest.raises(InvariantError, match="K3"):
        owner.write("h", 1)


def test_raising_is_what_a_script_can_ask_for(make):
    owner = make(migrate=["raise"])
    owner.keep("h")
    with pytest.raises(ScriptedError, match="migrate of 'h'"):
        owner.migrate(pin_of(owner, "h"), 5)


class TestWorld:
    """The world is strict, so that the tests on it mean something."""

    def test_a_freed_frame_is_poisoned(self, world):
        pfn = world.alloc_page(contents=3)
        assert world.put_page(pfn)
        assert world.read(pfn) == POISON

    def test_dropping_a_reference_that_nobody_holds_is_found(self, world):
        pfn = world.alloc_page()
        world.put_page(pfn)
        with pytest.raises(InvariantError, match="W2"):
            world.put_page(pfn)

    def test_a_write_to_a_free_frame_is_found(self, world):
        with pytest.raises(InvariantError, match="W1"):
            world.write(3, 1)

    def test_no_reference_is_had_of_a_free_frame(self, world):
        assert not world.get_page(3)

    def test_a_used_frame_that_nobody_references_is_found(self, world):
        world.refcount[world.alloc_page()] = 0
        with pytest.raises(InvariantError, match="W2"):
            world.check()
