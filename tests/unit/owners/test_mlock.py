"""Locked memory moves if the policy says so, and stays in memory either way."""

import numpy as np
import pytest

from mm.paging.vmscan import shrink_active, shrink_inactive
from mm.state.frames import PageFlag
from owners.mlock import Mlock
from pinpage.errors import InvariantError, PinpageError
from pinpage.owner import Mode, Reason, Verdict
from pinpage.testing.world import column
from tests.kit.owners.driver_world import DriverWorld, FreeFrames


class Locked(DriverWorld):
    def __init__(self, **kwargs):
        super().__init__()
        self.mlock = Mlock(self.machine.frames, self.registry, **kwargs)
        self.space = self.process("p")

    def process(self, name, nr_pages=8):
        space = self.machine.memory.mmap(name, nr_pages)
        for vpn in range(nr_pages):
            self.machine.memory.write(space, vpn, bytes([vpn + 1]) * 4096)
        return space

    def pfns(self, *vpns):
        return self.space.pte[list(vpns)] - 1

    def migrate(self, *pfns):
        """As compaction does: classify, then move each kind its own way."""
        mover, design = self.machine.mover, self.machine.design
        pfns = np.array(sorted(pfns))
        found = mover.classify(pfns, design, Mode.SYNC)
        may = found.answers == 1
        report = mover.migrate(
            pfns[may], found.alone[may], FreeFrames(self.machine), design, Mode.SYNC
        )
        return {Reason(int(r)) for r in (*found.reasons[~may], *report.reasons)}

    def read_all(self):
        for vpn in range(8):
            assert self.machine.memory.read(self.space, vpn) == bytes([vpn + 1]) * 4096

    def check_all(self):
        self.machine.check()
        self.mlock.check()
        self.read_all()


def test_locked_pages_carry_the_flags_and_a_pin_that_holds_nothing():
    world = Locked()
    before = world.machine.frames.refcount[world.pfns(2, 3)].tolist()
    assert world.mlock.lock(world.space, column(2, 3, 2)) is Verdict.YES
    assert world.pinned().tolist() == sorted(world.pfns(2, 3))
    assert world.machine.frames.refcount[world.pfns(2, 3)].tolist() == before
    for flag in (PageFlag.MLOCKED, PageFlag.UNEVICTABLE):
        assert world.machine.frames.has_flag(world.pfns(2, 3, 4), flag).tolist() == [1, 1, 0]
    world.mlock.lock(world.space, column(3, 4))
    assert world.mlock.nr_locked == 3
    world.check_all()
    world.mlock.unlock(world.space, column(2, 3, 4, 5))
    assert (world.mlock.nr_locked, len(world.registry)) == (0, 0)
    world.check_all()


def test_the_policy_decides_whether_they_move():
    world = Locked()
    world.mlock.lock(world.space, column(0, 1))
    locked = world.pfns(0, 1)
    assert world.migrate(*locked) == {Reason.MOVED}
    assert not set(world.pfns(0, 1)) & set(locked)
    assert world.pinned().tolist() == sorted(world.pfns(0, 1))
    world.check_all()
    world.mlock.may_move = False
    stays = world.pfns(0, 1)
    assert world.migrate(*stays) == {Reason.NO_CALLBACK}
    assert world.pfns(0, 1).tolist() == stays.tolist()
    free_to_go = world.pfns(5)
    assert world.migrate(*free_to_go) == {Reason.MOVED}
    world.check_all()


def test_a_policy_that_changes_under_the_mover_is_busy():
    world = Locked()
    world.mlock.lock(world.space, column(0))
    mover = world.steps(*world.pfns(0))
    next(mover)
    world.mlock.may_move = False
    for _ in mover:
        pass
    assert world.reasons["mover"] == [Reason.OWNER_BUSY]
    world.check_all()


@pytest.mark.parametrize("may_move", [True, False])
@pytest.mark.parametrize("strategy", ["scan", "plan"])
def test_compaction_asks_like_for_any_other_owner(may_move, strategy):
    world = Locked(may_move=may_move)
    others = [world.process(f"q{n}", 7) for n in range(8)]
    for other in others:
        world.mlock.lock(other, column(0))
    world.mlock.lock(world.space, column(7))
    for other in others:
        world.machine.memory.dontneed(other, np.arange(1, 7))
    world.machine.pcp.drain_all()
    before = [int(other.pte[0]) - 1 for other in others]
    world.machine.compact(strategy)
    after = [int(other.pte[0]) - 1 for other in others]
    assert (after == before) != may_move
    assert all(world.machine.memory.read(other, 0) == b"\1" * 4096 for other in others)
    world.check_all()


def test_a_frame_that_two_processes_lock_stays_locked_until_both_let_go():
    world = Locked()
    child = world.machine.memory.fork(world.space, "child")
    world.mlock.lock(world.space, column(1))
    world.mlock.lock(child, column(1))
    pfn = int(world.pfns(1)[0])
    assert len(world.registry.pins(pfn)) == 2
    assert world.migrate(pfn) == {Reason.MOVED}
    pfn = int(world.pfns(1)[0])
    world.mlock.unlock(world.space, column(1))
    assert world.machine.frames.has_flag(column(pfn), PageFlag.MLOCKED).all()
    world.check_all()
    world.mlock.unlock(child, column(1))
    assert not world.machine.frames.has_flag(column(pfn), PageFlag.MLOCKED).any()
    world.check_all()


def test_what_is_not_present_cannot_be_locked():
    world = Locked()
    empty = world.machine.memory.mmap("empty", 4)
    with pytest.raises(PinpageError, match="fault it in"):
        world.mlock.lock(empty, column(0, 1))
    assert world.mlock.nr_locked == 0


def test_locking_under_the_own_mover_is_again_and_locks_nothing():
    world = Locked()
    world.mlock.lock(world.space, column(0))
    mover = world.steps(*world.pfns(0, 3))
    next(mover)
    assert world.mlock.lock(world.space, column(2, 3)) is Verdict.AGAIN
    for _ in mover:
        pass
    assert world.mlock.nr_locked == 1
    world.check_all()


def test_reclaim_leaves_locked_pages_in_memory():
    world = Locked()
    world.machine.swap.swapon(64)
    world.mlock.lock(world.space, column(0, 1))
    for _ in range(4):
        shrink_active(world.machine.paging, 64)
        shrink_inactive(world.machine.paging, 64)
    assert (world.space.pte > 0).tolist() == [True, True] + [False] * 6
    world.mlock.check()


def test_invariants_notice_what_is_wrong():
    world = Locked()
    world.mlock.lock(world.space, column(0))
    pfn = world.pfns(0)
    world.machine.frames.clear_flag(pfn, PageFlag.MLOCKED)
    with pytest.raises(InvariantError, match="ML2"):
        world.mlock.check()
    world.machine.frames.set_flag(pfn, PageFlag.MLOCKED)
    world.registry.unpin(int(pfn[0]), world.mlock, next(iter(world.mlock._locked)))
    with pytest.raises(InvariantError, match="ML1"):
        world.mlock.check()


def test_a_page_that_moves_while_its_lock_waits_is_pinned_where_it_is_then(monkeypatch):
    world = Locked()
    pin, old = world.registry.pin, int(world.pfns(2)[0])

    def pin_late(pfn, owner, private=None, *, wait=True):
        monkeypatch.setattr(world.registry, "pin", pin)
        assert world.migrate(old) == {Reason.MOVED}
        return pin(pfn, owner, private, wait=wait)

    monkeypatch.setattr(world.registry, "pin", pin_late)
    assert world.mlock.lock(world.space, column(2)) is Verdict.YES
    assert world.pinned().tolist() == world.pfns(2).tolist() != [old]
    world.check_all()


def test_single_and_batch_form_answer_alike():
    world = Locked()
    world.mlock.lock(world.space, column(2))
    (pin,) = world.registry.pins(int(world.pfns(2)[0]))
    for may_move in (True, False):
        world.mlock.may_move = may_move
        verdict = world.mlock.isolate(pin, Mode.SYNC)
        assert [verdict] == world.mlock.isolate_many(world.pfns(2), [pin.private], 0).tolist()
    world.mlock.migrate(pin, pin.pfn)
