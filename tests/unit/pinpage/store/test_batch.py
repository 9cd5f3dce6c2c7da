"""Batches: what takes the lock, what does not, and what a drain hands back."""

import threading
from contextlib import ExitStack, contextmanager, nullcontext

import numpy as np
import pytest

from pinpage import (
    AlreadyPinnedError,
    InvariantError,
    NotPinnedError,
    OwnerError,
    PinOwner,
    PinRegistry,
    Topology,
    Verdict,
)
from pinpage.store.shard import Watcher


@pytest.fixture
def reg():
    return PinRegistry(Topology.uniform(nr_frames=1 << 16, nr_nodes=2))


@pytest.fixture
def owner(reg):
    found = PinOwner()
    reg.register(found)
    reg.pin(0, found)  # this thread's batches exist from now on
    reg.unpin(0, found)
    return found


def acquired(reg, work):
    before = reg.statistics().lock_acquisitions
    work()
    return reg.statistics().lock_acquisitions - before


@pytest.mark.parametrize("step", [1, 7, 509], ids=["run", "dense", "scattered"])
def test_node_locks_per_pin(reg, owner, step):
    """At most one acquisition per 31 pins, on whatever frames."""
    pfns = range(0, 64 * 63 * step % (1 << 16) or 1 << 16, step)

    def work():
        for pfn in pfns:
            reg.pin(pfn, owner, pfn)

    assert acquired(reg, work) <= len(pfns) / 31


def test_a_pin_undone_in_its_batch_takes_no_lock(reg, owner):
    def work():
        for pfn in range(1000):
            reg.pin(pfn, owner, pfn)
            reg.unpin(pfn, owner, pfn)

    assert acquired(reg, work) == 0
    assert reg.statistics().nr_annihilated == 1001


def test_without_batching_every_pin_takes_the_lock():
    reg, owner = PinRegistry(Topology.uniform(nr_frames=512), batch_nr_pins=0), PinOwner()
    reg.register(owner)
    assert acquired(reg, lambda: [reg.pin(pfn, owner) for pfn in range(10)]) == 10


def test_lookups_take_no_lock_while_nobody_writes(reg, owner):
    reg.pin_range(100, 200, owner, 3)
    reg.pin(300, owner)
    assert acquired(reg, lambda: [reg.is_pinned(pfn) for pfn in range(400)]) == 0
    assert acquired(reg, lambda: [reg.pins(pfn) for pfn in range(200)]) == 0


def test_an_acquisition_is_local_or_remote(reg, owner):
    reg.run_on(1)
    before = reg.statistics()
    reg.pin_many([5, 6], owner)
    reg.pin_many([40000], owner)
    after = reg.statistics()
    assert (after.nr_remote - before.nr_remote, after.nr_local - before.nr_local) == (1, 1)


def test_a_scanner_drains_and_bypasses(reg, owner):
    reg.pin(5, owner)
    assert reg.statistics().nr_pending == 1
    with reg.scanning():
        assert reg.statistics().nr_pending == 0
        reg.pin(6, owner)
        assert reg.statistics().nr_pending == 0
        with reg.scanning():
            pass
        reg.pin(7, owner)
        assert reg.statistics().nr_pending == 0
    reg.pin(8, owner)
    assert reg.statistics().nr_pending == 1


def test_the_batch_of_a_thread_that_ended_is_drained_too(reg, owner):
    thread = threading.Thread(target=lambda: reg.pin(9, owner, 4))
    thread.start()
    thread.join()
    assert [pin.private for pin in reg.pins(9)] == [4]
    assert reg.pinned_mask(9, 10).all()
    reg.check()


def test_another_thread_undoes_a_batched_pin(reg, owner):
    thread = threading.Thread(target=lambda: reg.pin(9, owner, 4))
    thread.start()
    thread.join()
    reg.unpin(9, owner, 4)
    assert not reg.is_pinned(9)
    reg.check()


def test_a_drain_hands_back_what_lost_a_race(reg, owner):
    """An entry whose frame got the same pin or a mover, or whose owner left, meanwhile."""
    shard, batch = reg._nodes.local.batches[0]
    for pfn, tag, spoil in (
        (3, 0, lambda: shard.radix.add(3, 0, 1)),
        (5, 8, lambda: None),
        (4, 0, lambda: shard.begin_move([4], 1)),
    ):
        entry = (tag, 1, batch)
        shard.claims[pfn] = entry
        spoil()
        batch.pending[pfn] = entry
        shard.run(batch.thread, shard.drain, batch)
        assert batch.refused == [entry]
        assert shard.withdraw(pfn, entry)
        assert batch.refused == []
    assert reg.statistics().nr_refused == 3
    assert len(reg) == 1


class Meanwhile(dict):
    """A batch in which, at the first write, another thread gets its turn."""

    def __init__(self, turn) -> None:
        super().__init__()
        self.turn = turn

    def meanwhile(self):
        turn, self.turn = self.turn, None
        if turn:
            thread = threading.Thread(target=turn)
            thread.start()
            thread.join()

    def __setitem__(self, pfn, entry):
        self.meanwhile()
        super().__setitem__(pfn, entry)

    def setdefault(self, pfn, entry):
        self.meanwhile()
        return super().setdefault(pfn, entry)

    def __delitem__(self, pfn):
        self.meanwhile()
        super().__delitem__(pfn)


@contextmanager
def another_thread(reg):
    """A thread that has used the registry, and lives until the end."""
    came, stop = threading.Event(), threading.Event()
    other = threading.Thread(target=lambda: (reg.run_on(0), came.set(), stop.wait(30)))
    other.start()
    came.wait(30)
    try:
        yield
    finally:
        stop.set()
        other.join()


@pytest.fixture(params=["alone", "one of several"])
def meanwhile(request, reg, owner):
    """Let another thread act in the middle of the next write of this one to its batch."""
    others = ExitStack()
    if request.param == "one of several":
        others.enter_context(another_thread(reg))

    def prepare(turn):
        shard, batch = entry_of(reg)
        assert (shard.claims is batch.pending) == (request.param == "alone")
        pending = Meanwhile(turn)
        pending.update(batch.pending)
        if shard.claims is batch.pending:
            shard.claims = pending
        batch.pending = pending

    with others:
        yield prepare


def test_a_pin_notices_a_move_that_began_meanwhile(reg, owner, meanwhile):
    """R-29: the mover looked before the entry was in the batch; so the pin may not stand."""
    meanwhile(lambda: reg.marks.begin_move(np.array([5])))
    assert reg.pin(5, owner, wait=False) is Verdict.AGAIN
    assert not reg.is_pinned(5)
    assert reg.statistics().nr_pending == 0
    reg.check()


def test_a_pin_notices_a_scanner_that_came_meanwhile(reg, owner, meanwhile):
    scan = reg.scanning()
    meanwhile(scan.__enter__)
    assert reg.pin(5, owner) is Verdict.YES
    assert reg.statistics().nr_pending == 0
    assert len(reg) == 1


def test_a_pin_notices_that_its_owner_left_meanwhile(reg, owner, meanwhile):
    meanwhile(lambda: reg.unregister(owner))
    with pytest.raises(OwnerError, match="meanwhile"):
        reg.pin(5, owner)
    assert len(reg) == 0
    reg.check()


def test_a_pin_notices_the_same_pin_of_another_thread(reg, owner, meanwhile):
    meanwhile(lambda: reg.pin(5, owner, 1))
    with pytest.raises(AlreadyPinnedError):
        reg.pin(5, owner, 1)
    assert len(reg) == 1
    reg.check()


def test_a_pin_stands_beside_one_of_another_thread(reg, owner, meanwhile):
    meanwhile(lambda: reg.pin(5, owner, 1))
    assert reg.pin(5, owner, 2) is Verdict.YES
    assert {pin.private for pin in reg.pins(5)} == {1, 2}
    reg.check()


def test_an_unpin_in_the_batch_leaves_the_pin_of_another_thread(reg, owner, meanwhile):
    """The frame was free for a moment, and somebody else claimed it."""
    reg.pin(5, owner, 1)
    meanwhile(lambda: reg.pin(5, owner, 2))
    reg.unpin(5, owner, 1)
    assert [pin.private for pin in reg.pins(5)] == [2]
    reg.check()


def test_two_threads_undo_one_batched_pin_once(reg, owner, meanwhile):
    reg.pin(5, owner, 1)
    meanwhile(lambda: reg.unpin(5, owner, 1))
    with pytest.raises(NotPinnedError):
        reg.unpin(5, owner, 1)
    assert len(reg) == 0
    reg.check()


def test_a_pin_undone_in_its_batch_leaves_no_claim(reg, owner):
    with another_thread(reg):
        reg.pin(5, owner)
        reg.unpin(5, owner)
        reg.check()
        assert reg.pin(5, owner) is Verdict.YES
        assert reg.statistics().nr_pending == 1


def test_a_thread_alone_again_has_one_table_again():
    reg, owner = PinRegistry(Topology.uniform(nr_frames=1 << 12), batch_nr_pins=4), PinOwner()
    reg.register(owner)
    reg.pin(1, owner)
    shard, batch = entry_of(reg)
    assert shard.claims is batch.pending
    other = threading.Thread(target=lambda: reg.pin(2, owner))
    other.start()
    other.join()
    assert shard.claims is not batch.pending
    for pfn in range(100, 104):
        reg.pin(pfn, owner)
    reg.check()
    assert shard.claims is not batch.pending  # the other one's pin waits in its batch
    assert reg.pinned_mask(0, 1 << 12).sum() == 6  # and was stored by this question
    for pfn in range(200, 204):
        reg.pin(pfn, owner)
    assert shard.claims is batch.pending
    reg.pin(300, owner)
    reg.check()
    assert len(reg) == 11


def test_a_lookup_sees_a_batched_pin(reg, owner):
    reg.pin(5, owner)
    assert reg.is_pinned(5)
    assert reg.statistics().nr_pending == 1


def entry_of(reg):
    return reg._nodes.local.batches[0]


WATCHER = Watcher(0)
BREAKS = {
    "H1 claims": lambda reg: setattr(entry_of(reg)[0], "claims", {}),
    "H2": lambda reg: entry_of(reg)[0].radix.add(5, 1, 0),
    "H3 a frame": lambda reg: entry_of(reg)[0].moving.__setitem__(5, 1),
    "H3 a pin in": lambda reg: entry_of(reg)[0].watchers.add(WATCHER),
    "H4": lambda reg: setattr(entry_of(reg)[0], "_step", 2),
}


@pytest.mark.parametrize("name", BREAKS)
def test_check_notices(reg, owner, name):
    reg.pin(5, owner)
    reg.check()
    BREAKS[name](reg)
    with pytest.raises(InvariantError, match=name):
        reg.check()


def test_a_move_stores_what_is_in_batches(reg, owner):
    reg.pin(5, owner, 1)
    reg.marks.begin_move(np.array([5]))
    assert reg.statistics().nr_pending == 0
    assert reg.owner_counts(np.array([5])).tolist() == [1]


def test_a_mask_of_many_blocks_sees_what_is_in_a_batch(reg, owner):
    reg.pin(700, owner)
    assert reg.pinned_mask(0, 2048).nonzero()[0].tolist() == [700]


def test_a_full_batch_leaves_the_claims_of_other_threads_alone():
    reg, owner = PinRegistry(Topology.uniform(nr_frames=1 << 12), batch_nr_pins=2), PinOwner()
    reg.register(owner)
    reg.pin(1, owner)
    other = threading.Thread(target=lambda: [reg.pin(pfn, owner) for pfn in (2, 3)])
    other.start()
    other.join()
    reg.check()
    assert reg.is_pinned(1)
    assert len(reg) == 3


@pytest.mark.parametrize("step", [1, 13], ids=["run", "columns"])
@pytest.mark.parametrize("is_alone", [True, False], ids=["alone", "one of several"])
def test_a_full_batch_leaves_no_claim_behind(step, is_alone):
    reg, owner = PinRegistry(Topology.uniform(nr_frames=1 << 14), batch_nr_pins=255), PinOwner()
    reg.register(owner)
    with nullcontext() if is_alone else another_thread(reg):
        for pfn in range(0, 300 * step, step):
            reg.pin(pfn, owner)
        shard, batch = entry_of(reg)
        assert (shard.claims is batch.pending) == is_alone
        reg.check()
        assert reg.statistics().nr_pending == 300 - 255


def test_a_drain_is_counted_exactly(reg, owner):
    before = reg.statistics()
    for pfn in (1, 2, 3, 40000):
        reg.pin(pfn, owner)
    reg.unpin(2, owner)
    reg.flush()
    reg.flush()
    reg.pin_many([10, 11], owner)
    reg.pin(5, owner)
    reg.pin(5, owner, "beside")  # under the lock, and the one in the batch is stored first
    after = reg.statistics()
    counted = {
        name: getattr(after, name) - getattr(before, name)
        for name in ("nr_drains", "nr_drained", "nr_direct", "nr_annihilated", "nr_refused")
    }
    assert counted == {
        "nr_drains": 2,  # a batch each of two nodes
        "nr_drained": 4,
        "nr_direct": 3,
        "nr_annihilated": 1,
        "nr_refused": 0,
    }
    assert after.nr_pending == 0
    assert after.nr_pins == 7


@pytest.mark.parametrize("nr_pins", [30, 1023])
def test_a_batch_that_is_full_is_one_drain(nr_pins):
    reg = PinRegistry(Topology.uniform(nr_frames=1 << 21), batch_nr_pins=nr_pins)
    owner = PinOwner()
    reg.register(owner)
    for pfn in range(0, 521 * (2 * nr_pins + 3), 521):  # no block turns dense
        reg.pin(pfn, owner, pfn)
    found = reg.statistics()
    assert (found.nr_drains, found.nr_drained, found.nr_pending) == (2, 2 * nr_pins, 3)
    assert (found.nr_direct, found.nr_refused) == (0, 0)
