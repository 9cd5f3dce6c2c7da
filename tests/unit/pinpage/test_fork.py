"""fork() while threads work leaves a child that can go on; the parent does not notice."""

import os
import signal
import threading
import time
import traceback
import warnings

import numpy as np
import pytest

from pinpage import PinOwner, PinRegistry, Topology, Verdict
from tests.kit import inside

NR_FRAMES = 4096
STUCK_S = 20


def registry(**options):
    reg = PinRegistry(Topology.uniform(nr_frames=NR_FRAMES, nr_nodes=2), **options)
    owner = PinOwner()
    reg.register(owner)
    return reg, owner


def in_child(work):
    """What goes wrong when `work` is done in a child of this very moment; empty: nothing."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads beside: that is the test
        pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(STUCK_S)  # whoever is stuck dies of it
        try:
            work()
        except BaseException:  # noqa: BLE001  # it is told, and the child ends here
            os.write(writer, traceback.format_exc().encode()[-4000:])
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as told:
        wrong = told.read()
    status = os.waitpid(pid, 0)[1]
    return wrong or (f"stuck: status {status}" if status else "")


def goes_on(reg, owner, nr_lost=0):
    """Everything works, and nothing is left of other threads.

    Args:
        reg, owner: which.
        nr_lost: privates that they were about to pin, and that nobody will give back.
    """

    def work():
        found = reg.statistics()
        assert (found.nr_moving, len(reg)) == (0, len(list(reg.iter_pins())))
        reg.check()
        new = PinOwner()
        reg.register(new)
        for pfn in range(3000, 3098):
            assert reg.pin(pfn, new, ("child", pfn)) is Verdict.YES
        assert reg.statistics().nr_pending > 0, "nobody watches, nobody moves: batches are open"
        assert reg.pin_many(np.arange(100, NR_FRAMES, 50), new, ("all",) * 80) is Verdict.YES
        reg.unpin(3000, new, ("child", 3000))
        reg.pin_many([9, 3100], new, 5)
        reg.unpin_many([3100], new, 5)
        assert [pin.private for pin in reg.pins(9) if pin.owner is new] == [5]
        assert reg.pinned_mask(0, NR_FRAMES).sum() >= 99
        reg.unregister(new, force=True)
        reg.unregister(owner, force=True)
        assert len(reg) == 0
        assert reg.statistics().nr_privates <= nr_lost
        reg.check()

    return work


class Beside:
    """A thread that does something, says so, and goes on when it is told."""

    def __init__(self, work):
        self.inside, self.leave = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=work, args=(self,), daemon=True)

    def __enter__(self):
        self.thread.start()
        assert self.inside.wait(STUCK_S)
        return self

    def __exit__(self, *_):
        self.leave.set()
        self.thread.join(STUCK_S)

    def stay(self):
        self.inside.set()
        self.leave.wait(STUCK_S)


class Slow:
    """A private that says when it is compared, and takes its time."""

    def __init__(self, beside):
        self.beside = beside

    def __hash__(self):
        return hash(("slow",))

    def __eq__(self, other):
        self.beside.stay()
        return False


def hold_the_lock(reg, owner, beside):
    inside.nodes(reg).run(inside.shards(reg)[:1], beside.stay)


def hold_all_locks(reg, owner, beside):
    inside.nodes(reg).run(inside.shards(reg), beside.stay)


def hold_the_side_table(reg, owner, beside):
    reg.pin(1, owner, Slow(beside))


def move(reg, owner, beside):
    reg.marks.begin_move(np.array([5, 2500]))
    beside.stay()
    reg.marks.end_move(np.array([5, 2500]))


def move_to_a_place_that_is_told(reg, owner, beside):
    """The names of the other thread's move: 3100 is a frame like any other in the child."""
    reg.marks.begin_move(np.array([9, 3100]))
    reg.marks.forward_many(np.array([9]), np.array([3100]))
    beside.stay()
    reg.marks.end_move(np.array([9, 3100]))


def wait_for_a_move(reg, owner, beside):
    reg.marks.begin_move(np.array([5]))
    waiter = threading.Thread(target=reg.pin, args=(5, owner, "late"), daemon=True)
    waiter.start()
    while not reg.statistics().nr_waits:
        time.sleep(0.001)
    beside.stay()
    reg.marks.end_move(np.array([5]))
    waiter.join(STUCK_S)


def scan(reg, owner, beside):
    with reg.scanning():
        beside.stay()


def call_back(reg, owner, beside):
    with reg.calling(owner):
        beside.stay()


def batch(reg, owner, beside):
    for pfn in (700, 701, 2900):
        reg.pin(pfn, owner, ("in", "a batch"))
    beside.stay()


BUSY = (
    hold_the_lock,
    hold_all_locks,
    hold_the_side_table,
    move,
    move_to_a_place_that_is_told,
    wait_for_a_move,
    scan,
    call_back,
    batch,
)


@pytest.mark.parametrize("busy", BUSY, ids=lambda busy: busy.__name__)
def test_a_child_goes_on_whatever_other_threads_are_at(busy):
    reg, owner = registry()
    reg.pin_many([9, 2048], owner, [("slow",), 3])
    with Beside(lambda beside: busy(reg, owner, beside)):
        assert in_child(goes_on(reg, owner, nr_lost=busy is wait_for_a_move)) == ""
    reg.check()
    reg.unregister(owner, force=True)
    assert reg.statistics().nr_privates == 0


def test_a_child_of_a_handler_inside_a_section_is_inside_it_still():
    """Its thread goes on there: until it has come out nobody goes without the lock."""
    reg, _ = registry()
    shard, found = inside.shards(reg)[0], []

    def work():
        assert shard.seq & 1
        assert not reg.statistics().nr_pending

    shard.run(lambda: found.append(in_child(work)))
    assert found == [""]
    assert not shard.seq & 1
    reg.check()


def test_the_forking_thread_keeps_what_is_its_own():
    """Its marks, its watch, its batch, its callback."""
    reg, owner = registry()
    reg.marks.begin_move(np.array([5]))

    def work():
        assert reg.pin(5, owner) is Verdict.AGAIN
        assert reg.marks.marked_by(np.array([4, 5]), threading.get_ident()).tolist() == [0, 1]
        reg.marks.end_move(np.array([5]))
        assert reg.pin(5, owner) is Verdict.YES
        reg.check()

    assert in_child(work) == ""
    reg.marks.end_move(np.array([5]))
    with reg.scanning():

        def watched():
            reg.pin(6, owner)
            assert reg.statistics().nr_pending == 0

        assert in_child(watched) == ""
    reg.pin(7, owner, 7)

    def batched():
        assert [pin.private for pin in reg.pins(7)] == [7]
        reg.unpin(7, owner, 7)
        reg.check()

    assert in_child(batched) == ""
    assert reg.is_pinned(7)


def test_children_of_a_busy_moment():
    """Threads pin, unpin, scan and move; whatever they are at, each child goes on."""
    reg, owner = registry(batch_nr_pins=5)
    stop = threading.Event()

    def work(me):
        frames = range(me * 100, me * 100 + 60)
        while not stop.is_set():
            for pfn in frames:
                reg.pin(pfn, owner, ("thread", me))
            reg.pin_many([2500 + me, 3500 + me], owner, [("thread", me), 1])
            reg.pinned_mask(0, NR_FRAMES)
            reg.marks.begin_move(np.array([600 + me]))
            reg.marks.end_move(np.array([600 + me]))
            reg.unpin_many([2500 + me, 3500 + me], owner, [("thread", me), 1])
            for pfn in frames:
                reg.unpin(pfn, owner, ("thread", me))

    threads = [threading.Thread(target=work, args=(me,), daemon=True) for me in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(15):
            time.sleep(0.002)
            assert in_child(goes_on(reg, owner, nr_lost=3)) == ""
    finally:
        stop.set()
        for thread in threads:
            thread.join(STUCK_S)
    reg.check()
    assert len(reg) == 0
