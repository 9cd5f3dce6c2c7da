"""Owners that come, are called, and leave."""

import threading

import pytest

from pinpage.errors import OwnerError
from pinpage.owner import PinOwner
from pinpage.store.owner_table import OwnerTable
from tests.kit.pinpage.interrupts import Interrupts

FILES = {OwnerTable.add.__code__.co_filename}


def in_flight(table, owner):
    """A thread that is inside a callback of the owner; returns what ends it."""
    inside, leave = threading.Event(), threading.Event()

    def call():
        with table.calling(owner):
            inside.set()
            leave.wait(30)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    assert inside.wait(10)

    def end():
        leave.set()
        thread.join(10)

    return end


def test_whoever_is_inside_is_given_the_same_again():
    table, owner = OwnerTable(), PinOwner()
    table.add(owner)
    held = table.calling(owner)
    with held, held:  # nested callbacks of one thread
        assert table.calling(owner) is held
    table.finish_leaving(table.start_leaving(owner))
    with pytest.raises(OwnerError):
        table.calling(owner)
    table.add(owner)
    assert table.calling(owner) is not held
    table.check()


@pytest.mark.parametrize("what", ["add", "leave", "call"])
def test_an_interrupt_leaves_no_half_of_an_owner_and_no_lock(what):
    at = 0
    while True:
        at += 1
        table, owner = OwnerTable(), PinOwner()
        if what != "add":
            table.add(owner)
        points = Interrupts(at, files=FILES)
        with points:
            try:
                if what == "add":
                    table.add(owner)
                elif what == "leave":
                    table.finish_leaving(table.start_leaving(owner))
                else:
                    with table.calling(owner):
                        pass
            except KeyboardInterrupt:
                pass
        table.check()
        assert (owner in table.owners) == (id(owner) in table.tag_of)
        others = []
        thread = threading.Thread(target=lambda t=table, o=others: o.append(t.add(PinOwner())))
        thread.start()
        thread.join(10)
        assert others, "a lock is held"
        if owner in table.owners:
            number = table.start_leaving(owner)
            thread = threading.Thread(target=table.finish_leaving, args=(number,), daemon=True)
            thread.start()
            thread.join(10)
            assert not thread.is_alive(), "it waits for a callback that is over"
        if not points.nr_struck:
            break
    assert at > 2


def test_after_a_fork_nobody_waits_for_the_threads_of_the_parent():
    table, owner = OwnerTable(), PinOwner()
    table.add(owner)
    end = in_flight(table, owner)
    number = table.start_leaving(owner)
    table.after_fork()
    waiter = threading.Thread(target=table.finish_leaving, args=(number,), daemon=True)
    waiter.start()
    waiter.join(10)
    assert not waiter.is_alive()
    end()


def test_an_owner_that_is_gone_leaves_nothing_behind():
    table = OwnerTable()
    for _ in range(100):
        owner = PinOwner()
        table.add(owner)
        with table.calling(owner):
            table.fault(owner, "why not")
        table.finish_leaving(table.start_leaving(owner))
    kept = [table._owners, table._leaving, table._faults, table._in_flight]
    assert not any(kept)
    assert not table.number_of
    assert not table.tag_of


def test_a_child_of_fork_waits_for_its_own_callbacks_alone():
    """The threads of the others are not there any more; the one that forked is inside its own."""
    table, mine, others = OwnerTable(), PinOwner(), PinOwner()
    for owner in (mine, others):
        table.add(owner)
    end = in_flight(table, others)
    with table.calling(mine) as _:
        held = table.calling(mine)
        table.after_fork()
        assert table.calling(mine) is held, "the very same"
        table.finish_leaving(table.start_leaving(others))  # else: waits for good
    end()
