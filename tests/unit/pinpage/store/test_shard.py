"""A node by itself: what a drain stores and refuses, tickets, marks, late unpins, a fork."""

import threading

import numpy as np
import pytest

from pinpage import (
    AlreadyPinnedError,
    NotPinnedError,
    OwnerError,
    PinOwner,
    PinRegistry,
    Topology,
    Verdict,
)
from pinpage.store.batch import Batch, Thread
from pinpage.store.keys import Keys
from pinpage.store.privates import Privates
from pinpage.store.radix import Radix
from pinpage.store.rows import PinRows
from pinpage.store.shard import Change, Shard, Watcher
from pinpage.units import Span

A, B, GONE = 0, 2, 8  # tags: two owners, and one that left
ME, OTHER = 11, 12


class Node:
    """A shard of one block and a bit, with the batch of this thread."""

    def __init__(self) -> None:
        self.thread = Thread()
        self.thread.ident = ME
        radix = Radix(Span(0, 1024), dense_above=20, sparse_below=2)
        self.shard = Shard(0, radix, {A >> 1: True, B >> 1: True})
        self.batch = Batch(self.thread)
        self.run(self.shard.adopt, self.batch)

    def run(self, work, *args):
        return self.shard.run(self.thread, work, *args)

    def batched(self, pins):
        """Put pins into the batch, as `pin` does."""
        for pfn, tag, value in pins:
            self.shard.claims[pfn] = self.batch.pending[pfn] = (tag, value, self.batch)

    def drained(self):
        """Refused pins, after a drain."""
        self.run(self.shard.drain, self.batch)
        assert not self.batch.pending
        assert not self.shard.claims
        refused, self.batch.refused = self.batch.refused, []
        return [entry[:2] for entry in refused]

    @property
    def pins(self):
        return list(self.shard.radix.pins_in(0, 1024).each())


@pytest.fixture
def node():
    return Node()


LONG = [(pfn, (A, B)[pfn % 3 == 0], pfn * pfn) for pfn in range(100, 130)]


def test_a_long_batch_keeps_each_pin_together(node):
    node.batched(reversed(LONG))
    assert node.drained() == []
    assert node.pins == LONG
    assert node.shard.nr_drained == 30
    node.run(node.shard.check)


def test_a_long_batch_beside_other_pins_of_its_frames(node):
    stored = [(110, A, -1), (111, B, -1), (112, *LONG[12][1:])]
    for row in stored:
        node.shard.radix.add(*row)
    node.batched(LONG)
    assert node.drained() == [LONG[12][1:]]  # it was there already
    assert sorted(node.pins) == sorted({*LONG, *stored})
    assert [pin[2] for pin in node.pins if pin[0] == 110] == [-1, 110 * 110]
    assert (node.shard.nr_drained, node.shard.nr_refused) == (29, 1)
    node.run(node.shard.check)


@pytest.mark.parametrize("nr_others", [0, 30], ids=["short", "long"])
def test_a_drain_refuses_the_pins_of_who_left_and_what_is_under_move(node, nr_others):
    others = [(500 + pfn, A, 1) for pfn in range(nr_others)]
    node.batched([(3, GONE, 1), (4, A, 2), (5, B, 3), *others])
    node.shard.moving = {}
    assert node.drained() == [(GONE, 1)]
    assert node.pins == [(4, A, 2), (5, B, 3), *others]
    node.batched([(6, A, 4), (7, A, 5), *((pfn + 100, A, 1) for pfn, _, _ in others)])
    node.shard.moving = {7: OTHER}
    assert node.drained() == [(A, 5)]
    assert len(node.pins) == 3 + 2 * nr_others


def test_what_came_into_a_batch_while_it_was_drained_stays_there(node):
    """Another thread drains it; its own adds to it without the lock."""
    node.batched([(5, A, 1), (6, A, 1)])
    change = Change()
    change.drained = {5: node.batch.pending[5]}
    node.run(node.shard.finish, change)
    assert list(node.batch.pending) == [6]
    assert node.shard.claims is node.batch.pending


def test_a_refused_pin_starts_over():
    """What its thread finds in `refused` it takes out, and does not count as pinned."""
    reg, owner = PinRegistry(Topology.uniform(nr_frames=512)), PinOwner()
    reg.register(owner)
    reg.pin(1, owner)
    shard, batch = reg._nodes.local.batches[0]
    entry = (A, 1, batch)
    batch.refused.append(entry)
    shard.moving = {5: OTHER}
    assert reg._settle(shard, 5, entry, wait=False) is Verdict.AGAIN
    assert batch.refused == []


# Marks.


@pytest.mark.parametrize(("thread", "wait"), [(ME, True), (OTHER, False)])
def test_whoever_must_not_wait_gets_a_ticket_that_says_so(node, thread, wait):
    node.run(node.shard.begin_move, [5], ME)
    waiter = Thread()
    waiter.ident = thread
    ticket = node.run(node.shard.pin, 5, A, 1, waiter, wait)
    assert ticket.ended is None
    assert not ticket.wait()
    assert node.shard.nr_waits == 0


def test_the_end_of_a_move_releases_every_ticket(node):
    node.run(node.shard.begin_move, [5, 6], OTHER)
    tickets = [node.run(node.shard.pin, pfn, A, 1, node.thread, True) for pfn in (5, 5, 6)]
    assert all(ticket.ended.locked() for ticket in tickets)
    node.run(node.shard.end_move, [5])
    assert not any(ticket.ended.locked() for ticket in tickets)
    assert node.shard.moving == {6: OTHER}
    assert node.shard.seq & 1  # one frame is still under move
    node.run(node.shard.end_move, [6])
    assert not node.shard.seq & 1
    node.run(node.shard.check)


def test_tickets_that_an_interrupt_left_are_released_by_the_next_section(node, monkeypatch):
    node.run(node.shard.begin_move, [5], OTHER)
    ticket = node.run(node.shard.pin, 5, A, 1, node.thread, True)
    with monkeypatch.context() as patch:
        patch.setattr(Shard, "_wake", lambda shard: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            node.run(node.shard.end_move, [5])
    assert ticket.ended.locked()
    assert node.shard.seq & 1  # so that nobody goes by
    node.run(lambda: None)
    assert not ticket.ended.locked()
    assert not node.shard.seq & 1


def test_a_frame_has_one_mover(node):
    assert node.run(node.shard.begin_move, [5, 6, 5], ME) == [True, True, False]
    assert node.run(node.shard.begin_move, [6, 7], OTHER) == [False, True]
    assert node.shard.moving == {5: ME, 6: ME, 7: OTHER}
    frames = np.array([4, 5])
    assert node.shard.is_any_moving(frames)
    assert not node.shard.is_any_moving(frames[:1])
    assert node.shard.is_any_moved_by(ME, frames)
    assert not node.shard.is_any_moved_by(OTHER, frames)
    assert node.shard.seq & 1
    node.run(node.shard.check)


def test_a_pin_that_dies_under_move_is_counted(node):
    for pfn in (5, 6):
        node.shard.radix.add(pfn, A, 1)
    node.run(node.shard.begin_move, [5], ME)
    assert node.run(node.shard.discard, 6, A, 1)
    assert node.shard.nr_died == 0
    assert node.run(node.shard.discard, 5, A, 1)
    assert node.shard.nr_died == 1


# Pins of an owner that is not welcome.


def test_nobody_pins_for_an_owner_that_left(node):
    with pytest.raises(OwnerError):
        node.run(node.shard.pin, 5, GONE, 1, node.thread, True)
    assert node.pins == []


@pytest.mark.parametrize("frames", [range(5, 9), (5, 7)], ids=["range", "column"])
def test_nobody_pins_many_frames_for_an_owner_that_left(frames):
    reg = PinRegistry(Topology.uniform(nr_frames=512))
    with pytest.raises(OwnerError, match="meanwhile"):
        reg._writes.add(np.array(frames), Keys(GONE, None, 1), wait=True)
    assert len(reg) == 0


def test_a_pin_in_a_batch_is_not_pinned_twice(node):
    node.batched([(5, A, 1)])
    with pytest.raises(AlreadyPinnedError):
        node.run(node.shard.pin, 5, A, 1, node.thread, True)
    assert node.run(node.shard.pin, 5, B, 1, node.thread, True) is None
    assert node.pins == [(5, A, 1), (5, B, 1)]
    node.run(node.shard.check)


def test_another_pin_of_a_batched_frame_is_not_there(node):
    node.batched([(5, A, 1)])
    assert not node.run(node.shard.discard, 5, A, 2)
    assert node.pins == [(5, A, 1)]
    node.run(node.shard.check)


def test_another_pin_of_a_frame_in_the_own_batch_is_not_there():
    reg, owner = PinRegistry(Topology.uniform(nr_frames=512)), PinOwner()
    reg.register(owner)
    for private, other in ((1, 2), (1, None), (None, 1), ("x", 1)):
        reg.pin(5, owner, private)
        with pytest.raises(NotPinnedError):
            reg.unpin(5, owner, other)
        assert [pin.private for pin in reg.pins(5)] == [private]
        reg.unpin(5, owner, private)


# Late unpins.


def test_what_is_to_be_unpinned_late_is_when_the_section_ends(node):
    done = []
    node.run(node.shard.unpin_late, lambda: done.append(1))
    assert done == [1]
    assert not node.shard.late


def test_what_is_to_be_unpinned_late_is_before_the_next_section_looks(node):
    done = []
    node.shard.unpin_late(lambda: done.append(1))
    assert node.shard.seq & 1
    assert node.run(done.copy) == [1]
    assert done == [1]
    assert not node.shard.seq & 1


def test_what_was_to_be_unpinned_late_is_not_lost_by_an_interrupt(node):
    todo, done = [ZeroDivisionError, None], []

    def unpin():
        error = todo.pop(0)
        if error:
            raise error
        done.append(1)

    with pytest.raises(ZeroDivisionError):
        node.run(node.shard.unpin_late, unpin)
    assert node.shard.seq & 1
    node.run(lambda: None)
    assert done == [1]


# A fork.


def test_a_child_has_what_its_only_thread_had(node):
    shard = node.shard
    node.batched([(5, A, 1), (6, A, 1)])
    mine, theirs = Watcher(ME), Watcher(OTHER)
    for token in (mine, theirs):
        shard.watchers.add(token)
    shard.moving = {7: ME, 8: OTHER}
    lock = shard.lock
    lock.acquire()
    ticket = shard.ticket(waits=True)
    shard.after_fork(node.thread)
    assert shard.lock is not lock
    assert not shard.lock.locked()
    assert shard.moving == {7: ME}
    assert list(shard.watchers) == [mine]
    assert shard.claims is node.batch.pending
    assert shard.seq & 1
    shard.watchers.discard(mine)
    node.run(shard.end_move, [7])
    assert ticket.ended.locked()  # whoever had it is not here
    assert not shard.seq & 1
    node.run(shard.check)


def test_a_child_forgets_what_others_had_only_claimed(node):
    """And nothing of what was in their batches; and what they watched no longer counts."""
    shard, other = node.shard, Thread()
    other.ident = OTHER
    batch = Batch(other)
    node.run(shard.adopt, batch)
    entry = (A, 1, batch)
    shard.claims[5] = batch.pending[5] = entry
    shard.claims[6] = (A, 1, batch)  # on its way in
    token = Watcher(OTHER)
    node.run(shard.watch, token)
    shard.after_fork(node.thread)
    assert shard.claims == {5: entry}
    assert not shard.seq & 1
    node.run(shard.check)


def test_a_child_takes_back_what_another_thread_had_half_done(node):
    shard = node.shard
    shard.change = (5, [])
    shard.radix.add(5, A, 1)
    shard.seq |= 1
    shard.after_fork(node.thread)
    assert shard.seq & 1
    node.run(lambda: None)
    assert node.pins == []
    assert not shard.seq & 1


def test_every_part_of_a_registry_is_told_of_a_fork():
    reg = PinRegistry(Topology.uniform(nr_frames=1024, nr_nodes=2))
    table = Privates()
    for lock in (*(shard.lock for shard in reg._shards), table._lock):
        lock.acquire()
    reg._nodes.after_fork()
    table.after_fork()
    assert not any(shard.lock.locked() for shard in reg._shards)
    assert not table._lock.locked()
    reg.check()


def test_a_change_back_has_what_was_before(node):
    """`before` is what the frames have again; all others stay."""
    radix = node.shard.radix
    for row in ((5, A, 1), (5, B, 2), (5, A, 3), (6, A, 1), (7, A, 1), (7, B, 1)):
        radix.add(*row)
    fresh = radix.rebuilt(np.array([5, 6]), PinRows.of([(5, B, 9), (5, A, 8)]))
    assert list(fresh.pins_in(0, 1024).each()) == [(5, B, 9), (5, A, 8), (7, A, 1), (7, B, 1)]
    fresh.check()


def test_readers_wait_for_no_lock_of_a_thread_that_only_pins():
    """The second thread that comes sends whoever is on the way in to settle."""
    reg, owner = PinRegistry(Topology.uniform(nr_frames=1024)), PinOwner()
    reg.register(owner)
    reg.pin(1, owner)
    before = reg._shards[0].seq
    thread = threading.Thread(target=lambda: reg.run_on(0))
    thread.start()
    thread.join()
    assert reg._shards[0].seq != before
    reg.check()
