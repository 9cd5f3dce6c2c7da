"""A node by itself: how a batch is stored, tickets, marks, late unpins, a fork."""

import gc
import threading
import weakref

import numpy as np
import pytest

from pinpage import (
    AlreadyPinnedError,
    NotPinnedError,
    OwnerError,
    PinOwner,
    PinRegistry,
    Topology,
)
from pinpage.store.privates import Privates
from pinpage.store.radix import Radix
from pinpage.store.rows import PinRows
from pinpage.store.shard import Shard, Watcher
from pinpage.store.threads import Threads
from pinpage.units import Span
from tests.kit import inside

A, B, GONE = 0, 2, 8  # tags: two owners, and one that left
ME, OTHER = 11, 12


class Node:
    """A shard of one block and a bit, used by a thread with the ident ME."""

    def __init__(self) -> None:
        self.threads = Threads()
        self.threads.current.ident = ME
        radix = Radix(Span(0, 1024), dense_above=20, sparse_below=2)
        welcome = {A >> 1: True, B >> 1: True}
        self.shard = Shard(0, radix, welcome, self.threads, batch_nr_pins=100)
        self.run = self.shard.run

    def batched(self, pins):
        """Put pins into the batch, as `pin` does."""
        self.shard.batch |= {pfn: (tag, value) for pfn, tag, value in pins}

    @property
    def pins(self):
        return list(self.shard.radix.pins_in(0, 1024).each())


@pytest.fixture
def node():
    return Node()


LONG = [(pfn, (A, B)[pfn % 3 == 0], pfn * pfn) for pfn in range(100, 130)]


STRIDED = [(2 * pfn, tag, value) for pfn, tag, value in LONG]


@pytest.mark.parametrize("pins", [LONG, LONG[:5], STRIDED], ids=["run", "short", "strided"])
def test_a_batch_that_is_stored_keeps_each_pin_together(node, pins):
    node.batched(pins[::-1])
    node.run(node.shard.drain)
    assert node.pins == pins
    assert node.shard.batch == {}
    assert (node.shard.nr_drains, node.shard.nr_drained) == (1, len(pins))
    node.run(node.shard.check)


def test_a_batch_is_stored_beside_what_is_pinned(node):
    stored = [(99, A, -1), (130, B, -1), (700, A, -1)]
    for row in stored:
        node.shard.radix.add(*row)
    node.batched(LONG)
    node.run(node.shard.drain)
    assert node.pins == sorted([*stored, *LONG])


@pytest.mark.parametrize("pins", [LONG, LONG[:5]], ids=["long", "short"])
def test_a_batch_of_second_pins_is_stored_behind_the_first(node, pins):
    firsts = [(pfn, A, -1) for pfn, _, _ in pins[::2]]
    for row in firsts:
        node.shard.radix.add(*row)
    node.batched(pins)
    node.shard.has_further = True
    assert node.shard.nr_pins == len(firsts) + len(pins)
    node.run(node.shard.drain)
    assert node.pins == sorted(firsts + pins, key=lambda row: (row[0], row not in firsts))
    assert node.shard.nr_pins == len(firsts) + len(pins)
    assert (node.shard.batch, node.shard.has_further) == ({}, False)
    node.run(node.shard.check)


def test_a_second_pin_in_the_batch_is_found_and_removed_under_the_lock(node):
    for removed, left in (((B, 7), (A, -1)), ((A, -1), (B, 7))):
        node.shard.radix.add(5, A, -1)
        node.batched([(5, B, 7)])
        node.shard.has_further = True
        assert node.shard.had(5, (A, -1))
        assert node.shard.had(5, (B, 7))
        with pytest.raises(AlreadyPinnedError):
            node.run(node.shard.pin, 5, B, 7, False)
        node.batched([(6, B, 7)])
        assert node.run(node.shard.discard, 5, *removed)
        assert node.shard.records_of(5) == [left]
        assert node.run(node.shard.discard, 5, *left)
        assert node.run(node.shard.discard, 6, B, 7)
        node.run(node.shard.check)


@pytest.mark.parametrize("is_done", [False, True])
def test_a_second_pin_that_is_cut_off_as_it_is_stored_is_in_the_batch(node, monkeypatch, is_done):
    add = Radix.add

    def cut_off(radix, *row):
        add(radix, *row) if is_done else None
        raise MemoryError

    node.shard.radix.add(5, A, -1)
    node.batched([(5, B, 7)])
    node.shard.has_further = True
    with monkeypatch.context() as patch:
        patch.setattr(Radix, "add", cut_off)
        with pytest.raises(MemoryError):
            node.run(node.shard.drain)
    assert node.shard.records_of(5) == [(A, -1), (B, 7)]
    assert node.shard.had(5, (A, -1))
    assert node.shard.had(5, (B, 7))
    node.run(lambda: None)  # takes it back
    assert node.shard.radix.records_of(5) == [(A, -1)]
    assert node.shard.records_of(5) == [(A, -1), (B, 7)]
    node.run(node.shard.check)


def test_an_empty_batch_is_no_drain(node):
    node.run(node.shard.drain)
    assert (node.shard.nr_drains, node.shard.seq) == (0, 2)


# Marks.


@pytest.mark.parametrize(("thread", "wait"), [(ME, True), (OTHER, False)])
def test_whoever_must_not_wait_gets_a_ticket_that_says_so(node, thread, wait):
    node.run(node.shard.begin_move, [5], ME)
    node.threads.current.ident = thread
    ticket = node.run(node.shard.pin, 5, A, 1, wait)
    assert ticket.ended is None
    assert not ticket.wait()
    assert node.shard.nr_waits == 0


def test_the_end_of_a_move_releases_every_ticket(node):
    node.run(node.shard.begin_move, [5, 6], OTHER)
    tickets = [node.run(node.shard.pin, pfn, A, 1, True) for pfn in (5, 5, 6)]
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
    ticket = node.run(node.shard.pin, 5, A, 1, True)
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
    assert node.shard.is_any_moving(frames, ME)
    assert not node.shard.is_any_moving(frames, OTHER)
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
        node.run(node.shard.pin, 5, GONE, 1, True)
    assert node.pins == []


@pytest.mark.parametrize("frames", [range(5, 9), (5, 7)], ids=["range", "column"])
def test_nobody_pins_many_frames_for_an_owner_that_left(frames):
    reg = PinRegistry(Topology.uniform(nr_frames=512))
    with pytest.raises(OwnerError, match="meanwhile"):
        inside.writes(reg).add(PinRows.of((pfn, GONE, 1) for pfn in frames), wait=True)
    assert len(reg) == 0


def test_a_pin_in_a_batch_is_not_pinned_twice(node):
    node.batched([(5, A, 1)])
    with pytest.raises(AlreadyPinnedError):
        node.run(node.shard.pin, 5, A, 1, True)
    assert node.run(node.shard.pin, 5, B, 1, True) is None
    assert node.pins == [(5, A, 1), (5, B, 1)]
    node.run(node.shard.check)


def test_a_full_batch_is_stored_by_the_next_pin_that_comes(node):
    node.batched([(pfn, A, pfn) for pfn in range(300, 400)])
    node.run(node.shard.pin, 5, B, 1, True)
    assert node.shard.batch == {}
    assert node.pins == [(5, B, 1), *((pfn, A, pfn) for pfn in range(300, 400))]


def test_the_pin_of_one_frame_is_stored_and_the_rest_of_the_batch_stays(node):
    node.batched([(5, A, 1), (6, A, 1)])
    assert node.run(node.shard.discard, 5, A, 1)
    assert node.shard.batch == {6: (A, 1)}
    assert (node.shard.nr_drained, node.shard.nr_direct) == (1, 0)
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


def test_a_scanner_that_is_gone_does_not_count_though_its_removal_was_interrupted(node):
    """An interrupt in the collector's callback is swallowed, and what it was to take out stays."""
    shard, token = node.shard, Watcher(OTHER)
    node.run(shard.watch, token)
    assert shard.seq & 1
    shard.watchers.data = {weakref.ref(token)}  # one that calls nobody back
    del token
    gc.collect()
    node.run(shard.unwatch, Watcher(ME))
    assert not shard.seq & 1
    node.run(shard.check)


# A fork.


def test_a_child_has_what_its_only_thread_had(node, monkeypatch):
    shard = node.shard
    node.batched([(5, A, 1), (6, A, 1)])
    mine, theirs = Watcher(ME), Watcher(OTHER)
    for token in (mine, theirs):
        shard.watchers.add(token)
    shard.moving = {7: ME, 8: OTHER}
    lock = shard.lock
    lock.acquire()
    ticket = shard.ticket(waits=True)
    monkeypatch.setattr(threading, "get_ident", lambda: ME)
    shard.after_fork()
    assert shard.lock is not lock
    assert not shard.lock.locked()
    assert shard.moving == {7: ME}
    assert list(shard.watchers) == [mine]
    assert list(shard.batch) == [5, 6]  # whoever put them there: their owners count on it
    assert shard.seq & 1
    shard.watchers.discard(mine)
    node.run(shard.end_move, [7])
    assert ticket.ended.locked()  # whoever had it is not here
    assert not shard.seq & 1
    node.run(shard.check)


def test_what_another_thread_watched_no_longer_counts_in_a_child(node):
    shard = node.shard
    token = Watcher(OTHER)
    node.run(shard.watch, token)
    assert shard.seq & 1
    shard.after_fork()
    assert not shard.seq & 1
    node.run(shard.check)


def test_a_child_takes_back_what_another_thread_had_half_done(node):
    shard = node.shard
    shard.change = (5, [])
    shard.radix.add(5, A, 1)
    shard.seq |= 1
    shard.after_fork()
    assert shard.seq & 1
    node.run(lambda: None)
    assert node.pins == []
    assert not shard.seq & 1


def test_every_part_of_a_registry_is_told_of_a_fork():
    reg = PinRegistry(Topology.uniform(nr_frames=1024, nr_nodes=2))
    table = Privates(inside.nodes(reg).threads)
    for lock in (*(shard.lock for shard in inside.shards(reg)), table._lock):
        lock.acquire()
    inside.nodes(reg).after_fork()
    table.after_fork()
    assert not any(shard.lock.locked() for shard in inside.shards(reg))
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
