"""Batches: what takes the lock and what does not, and what is seen of them."""

import threading

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
from pinpage.store.at_once import add
from pinpage.store.shard import Watcher
from tests.kit import inside


@pytest.fixture
def reg():
    return PinRegistry(Topology.uniform(nr_frames=1 << 16, nr_nodes=2))


@pytest.fixture
def owner(reg):
    found = PinOwner()
    reg.register(found)
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
    assert reg.statistics().nr_annihilated == 1000


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


def test_threads_share_the_batch_of_a_node(reg, owner):
    reg.pin(5, owner, 1)
    thread = threading.Thread(target=lambda: [reg.pin(6, owner, 2), reg.unpin(5, owner, 1)])
    thread.start()
    thread.join()
    assert reg.statistics().nr_pending == 1
    reg.unpin(6, owner, 2)
    with pytest.raises(NotPinnedError):
        reg.unpin(5, owner, 1)
    assert reg.statistics().lock_acquisitions == 1  # of that last question
    assert len(reg) == 0
    reg.check()


def test_a_second_pin_of_a_frame_stands_beside_the_one_in_the_batch(reg, owner):
    reg.pin(5, owner, 1)
    assert reg.pin(5, owner, 2) is Verdict.YES
    assert [pin.private for pin in reg.pins(5)] == [1, 2]
    with pytest.raises(AlreadyPinnedError):
        reg.pin(5, owner, 1)
    reg.check()


def test_an_owner_that_left_pins_no_more_by_the_batch(reg, owner):
    """Its tag was looked up before it left."""
    shard = inside.shards(reg)[0]
    seq, tag = shard.seq, inside.owner_table(reg).tag_of[id(owner)]
    reg.unregister(owner)
    assert not add(shard, 5, tag, 1, seq)
    with pytest.raises(OwnerError, match="meanwhile"):
        shard.run(shard.pin, 5, tag, 1, True)
    assert len(reg) == 0
    reg.check()


def test_a_lookup_sees_a_batched_pin(reg, owner):
    reg.pin(5, owner)
    assert reg.is_pinned(5)
    assert reg.statistics().nr_pending == 1


WATCHER = Watcher(0)
BREAKS = {
    "H1 a pin in the batch and stored": lambda shard: shard.radix.add(5, *shard.batch[5]),
    "H1 a pin in the batch beside": lambda shard: shard.radix.add(5, 2, 0),
    "H2 a frame": lambda shard: shard.moving.__setitem__(5, 1),
    "H2 a pin in": lambda shard: shard.watchers.add(WATCHER),
    "H3": lambda shard: setattr(shard, "_step", 2),
}


@pytest.mark.parametrize("name", BREAKS)
def test_check_notices(reg, owner, name):
    reg.pin(5, owner)
    reg.check()
    BREAKS[name](inside.shards(reg)[0])
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
        for name in ("nr_drains", "nr_drained", "nr_direct", "nr_annihilated")
    }
    assert counted == {
        "nr_drains": 2,  # a batch each of two nodes
        "nr_drained": 4,
        "nr_direct": 3,
        "nr_annihilated": 1,
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
    assert (found.nr_drains, found.nr_drained, found.nr_pending) == (2, 2 * nr_pins, 1)
    assert found.nr_direct == 2  # whoever finds the batch full has the lock anyway
