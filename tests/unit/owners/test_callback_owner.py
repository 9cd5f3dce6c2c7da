"""The one-callback form of 2013, end to end: `migrate(page, private)` with no destination.

The driver makes its subsystem stop using the page, by moving or by reclaiming as it likes.
Its defects of then are here as tests: an owner that does not unregister is not asked forever,
a failure is not reported as a success, and a page that is still held is not given away.
"""

from collections import Counter

import numpy as np
import pytest

from mm.state.frames import FrameState
from mm.state.gfp import Gfp
from pinpage.move.release import release_steps
from pinpage.owner import CallbackOwner, Mode, PinOwner, Reason, Verdict
from pinpage.testing.explore import explore
from pinpage.testing.world import column
from tests.kit.owners.driver_world import DriverWorld


class Driver2013(DriverWorld):
    """A driver of the proposal: pages by key, registered with one callback."""

    def __init__(self, nr_pages=64, behave="reclaims"):
        super().__init__(nr_pages)
        self.behave = behave
        self.asked = Counter()
        self.pfn_of = {}
        self.owner = CallbackOwner("foo", self.callback)
        self.registry.register(self.owner)

    def add(self, key):
        pfn = self.machine.alloc_page(Gfp.HIGHUSER_MOVABLE)
        if pfn < 0:
            return False
        self.contents.write(pfn, bytes([key % 251]) * 4096)
        assert self.registry.pin(pfn, self.owner, key) is Verdict.YES
        self.pfn_of[key] = pfn
        return True

    def fill(self):
        keys = iter(range(1, 1000))
        self.scatter(lambda: self.add(next(keys)))

    def let_go(self, pfn, key):
        del self.pfn_of[key]
        self.registry.unpin(pfn, self.owner, key)
        self.machine.put_page(pfn)

    def callback(self, pfn, key):
        assert self.pfn_of[key] == pfn
        self.asked[key] += 1
        return getattr(self, f"_{self.behave.replace(' ', '_')}")(pfn, key)

    def _reclaims(self, pfn, key):
        self.let_go(pfn, key)
        return 0

    def _moves_by_itself(self, pfn, key):
        data = self.contents.read(pfn)
        target = self.machine.alloc_page(Gfp.HIGHUSER_MOVABLE)
        if target < 0 or self.registry.pin(target, self.owner, key) is not Verdict.YES:
            return -12
        self.contents.write(target, data)
        self.let_go(pfn, key)
        self.pfn_of[key] = target
        return 0

    def _refuses(self, pfn, key):
        return -16

    def _lies(self, pfn, key):
        return 0

    def _raises(self, pfn, key):
        raise RuntimeError("no such ioctl")

    def _keeps_its_reference(self, pfn, key):
        self.registry.unpin(pfn, self.owner, key)
        return 0

    def _frees_a_page_that_it_keeps_pinned(self, pfn, key):
        self.machine.put_page(pfn)
        return 0

    def _lets_go_and_refuses(self, pfn, key):
        self.let_go(pfn, key)
        return -16

    def read_all(self):
        for key, pfn in self.pfn_of.items():
            assert self.contents.read(pfn) == bytes([key % 251]) * 4096


def test_a_driver_that_reclaims_gives_its_pages_to_compaction():
    world = Driver2013()
    world.fill()
    nr_pages = len(world.pfn_of)
    assert world.machine.buddy.wholly_free().sum() == 0
    done = world.machine.compact("scan")
    assert done.report.pages_released == nr_pages - len(world.pfn_of) > 0
    assert set(world.asked.values()) == {1}
    assert done.report.pageblocks_emptied >= 5
    world.read_all()
    world.check()


def test_a_plan_promises_moves_and_asks_nobody_to_give_up():
    world = Driver2013()
    world.fill()
    world.machine.compact("plan")
    assert world.asked == {}
    world.read_all()
    world.check()


def test_a_driver_that_moves_by_itself_keeps_its_data():
    world = Driver2013(behave="moves by itself")
    for key in range(1, 9):
        world.add(key)
    before = dict(world.pfn_of)
    assert world.release(*before.values()) == [Reason.RELEASED] * 8
    assert set(world.pfn_of) == set(before)
    assert set(world.pfn_of.values()).isdisjoint(before.values())
    world.read_all()
    world.check()


def test_compaction_ends_although_such_a_driver_may_move_into_its_way():
    world = Driver2013(behave="moves by itself")
    world.fill()
    world.machine.compact("scan")
    assert max(world.asked.values()) <= 9, "a page chased from block to block"
    world.read_all()
    world.check()


def test_a_refusal_is_busy_and_may_be_asked_again():
    world = Driver2013(behave="refuses")
    world.add(1)
    for n in (1, 2):
        assert world.release(world.pfn_of[1]) == [Reason.OWNER_BUSY]
        assert world.asked[1] == n
    done = world.machine.compact()
    assert (done.report.pages_released, done.report.refused[Reason.OWNER_BUSY]) == (0, 1)
    world.behave = "reclaims"
    assert world.release(world.pfn_of[1]) == [Reason.RELEASED]
    world.check()


@pytest.mark.parametrize("behave", ["lies", "raises"])
def test_one_that_breaks_its_word_is_found_out_and_not_asked_again(behave):
    """It said 0 and kept the page: nobody else gets the page, and nobody asks it any more."""
    world = Driver2013(behave=behave)
    world.add(1)
    world.add(2)
    assert world.release(world.pfn_of[1]) == [Reason.OWNER_FAULTY]
    assert world.registry.is_faulty(world.owner)
    assert ("kept its pin" if behave == "lies" else "no such ioctl") in world.registry.why_faulty(
        world.owner
    )
    assert world.release(*world.pfn_of.values()) == [Reason.OWNER_FAULTY] * 2
    world.machine.compact("scan")
    world.machine.compact("plan")
    assert world.asked == {1: 1}
    world.read_all()
    world.check()
    for key, pfn in list(world.pfn_of.items()):  # what it holds is still its own to give back
        world.let_go(pfn, key)
    assert world.nr_free == 64


def test_a_page_freed_with_its_pin_left_is_found_out():
    """The other half of a lie: the reference is gone, the registration is not."""
    world = Driver2013(behave="frees a page that it keeps pinned")
    world.add(1)
    pfn = world.pfn_of[1]
    assert world.release(pfn) == [Reason.OWNER_FAULTY]
    assert world.registry.is_faulty(world.owner)
    del world.pfn_of[1]
    world.fill()
    assert pfn not in world.pfn_of.values(), "a frame with a pin on it was reused"
    world.registry.unpin(pfn, world.owner, 1)
    assert world.registry.is_faulty(world.owner), "letting go late does not mend it"
    assert world.machine.frames.state[pfn] == FrameState.QUARANTINED
    world.check()


def test_a_reference_kept_without_a_pin_keeps_the_page():
    world = Driver2013(behave="keeps its reference")
    world.add(1)
    pfn = world.pfn_of[1]
    assert world.release(pfn) == [Reason.UNACCOUNTED]
    assert world.machine.frames.refcount[pfn] == 1
    assert world.release(pfn) == [Reason.NO_OWNER]
    assert not world.registry.is_faulty(world.owner)
    world.read_all()
    world.machine.check()


def test_what_is_free_is_a_success_whatever_it_said():
    world = Driver2013(behave="lets go and refuses")
    world.add(1)
    assert world.release(world.pfn_of[1]) == [Reason.FREED]
    assert world.nr_free == 64
    world.check()


def test_it_has_no_way_to_move():
    world = Driver2013()
    world.add(1)
    assert world.move(world.pfn_of[1]) == [Reason.NO_CALLBACK]
    assert world.asked == {}
    world.check()


def test_a_partner_that_can_only_move_makes_the_frame_stay():
    """One owner can only give it up, the other can only move it: nobody is asked."""

    class Mover(PinOwner):
        name = "mover"

        def isolate(self, pin, mode):
            raise AssertionError("asked although the frame cannot move")

        def migrate(self, pin, target): ...

    world = Driver2013()
    world.add(1)
    pfn = world.pfn_of[1]
    partner = Mover()
    world.registry.register(partner)
    world.machine.get_page(pfn)
    world.registry.pin(pfn, partner, 0)
    world.machine.compact()
    assert world.move(pfn) == world.release(pfn) == [Reason.NO_CALLBACK]
    assert world.asked == {}
    world.check()


def test_two_such_drivers_on_a_page_are_asked_in_order_and_one_no_keeps_it():
    """There is nothing to undo in this form: who let go has let go, as in 2013."""
    world = Driver2013()
    world.add(1)
    pfn = world.pfn_of[1]
    answers = iter((-16, 0))

    def second(pfn, private):
        answer = next(answers)
        if not answer:
            world.registry.unpin(pfn, other, private)
            world.machine.put_page(pfn)
        return answer

    other = CallbackOwner("bar", second)
    world.registry.register(other)
    world.machine.get_page(pfn)
    world.registry.pin(pfn, other, "b")
    assert world.release(pfn) == [Reason.OWNER_BUSY]
    assert (world.pfn_of, [p.owner for p in world.registry.pins(pfn)]) == ({}, [other])
    world.check()
    assert world.release(pfn) == [Reason.RELEASED]
    assert world.nr_free == 64


def giving_up_while_it_is_asked():
    world = Driver2013(16)
    world.add(1)
    world.add(2)
    pages = dict(world.pfn_of)

    def asking():
        reasons = yield from release_steps(
            world.registry, world.machine.mover, column(*pages.values()), Mode.SYNC
        )
        world.reasons["asker"] = {Reason(int(reason)) for reason in reasons}

    def driver():
        if 1 in world.pfn_of:
            world.let_go(pages[1], 1)
        yield "lets go of one"
        world.add(3)
        yield "takes another"

    def finish():
        world.check()
        world.read_all()
        assert set(world.pfn_of) <= {3}
        assert world.reasons["asker"] <= {
            Reason.RELEASED, Reason.FREED, Reason.RACED_FREE, Reason.NO_OWNER,
        }  # fmt: skip

    world.add = lambda key: _add_unless_marked(world, key)
    nothing = type("Nothing", (), {"check": lambda self: None})()
    return world.scenario(nothing, finish, asker=asking(), driver=driver())


def _add_unless_marked(world, key):
    """As a driver must: a page that a mover of its own thread still has is not to be had."""
    pfn = world.machine.alloc_page(Gfp.HIGHUSER_MOVABLE)
    if world.registry.pin(pfn, world.owner, key) is not Verdict.YES:
        world.machine.put_page(pfn)
        return
    world.contents.write(pfn, bytes([key]) * 4096)
    world.pfn_of[key] = pfn


def test_giving_up_by_itself_while_it_is_asked():
    explore(giving_up_while_it_is_asked).require_none()


def test_every_page_of_a_driver_is_asked_once_per_attempt():
    """The loop of 2013 asked the same record again and again until it was gone."""
    world = Driver2013(behave="refuses")
    for key in range(1, 6):
        world.add(key)
    world.release(*world.pfn_of.values())
    assert world.asked == dict.fromkeys(range(1, 6), 1)
    assert np.all(world.machine.frames.refcount[list(world.pfn_of.values())] == 1)
