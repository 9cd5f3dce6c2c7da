"""The life of a device, and what may end it or cut it short: under real threads.

Actors: the machine's thread; the device's threads, held at the file where a test wants that;
        whoever forces an owner out; a mover; an interrupt, at every line.
Bad:    a request that never ends, a thread or a descriptor that stays, a reference that is
        left, a page that moves or is free while the device may write to it.
Rule:   a request is in flight from one operation to one operation; what an interrupt left
        half done the next call makes good; nothing that the threads have keeps the device.
"""

import contextlib
import errno
import gc
import itertools
import os
import signal
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest

from mm.machine import Machine
from mm.state.costs import SimClock
from owners.gup.gup import Gup
from owners.odirect.device import Op, Policy
from owners.odirect.real import RealDevice
from owners.zram.backing import FileBacking
from pinpage.errors import InvariantError, OwnerError, PinpageError
from pinpage.owner import Mode
from tests.kit import inside
from tests.kit.owners.gup_world import AnyFree
from tests.kit.owners.io_world import IoWorld, block_bytes
from tests.races.interrupts import interrupted_at

PAGE = 4096
NR_BLOCKS = 32
FILES = "owners/odirect/"
CLOCK_FILES = ("mm/state/due.py", "mm/state/costs.py")
MOST_S = 20.0
"""A wait that takes longer never ends."""


def page_of(block):
    return bytes([0x40 + block]) * PAGE


class World:
    """A machine, a file, a device with 16 registered pages; a gate before every transfer."""

    def __init__(self, path, monkeypatch, **options):
        path.write_bytes(b"".join(map(page_of, range(NR_BLOCKS))))
        self.path = path
        self.others = set(threading.enumerate())  # of tests before this one, if any linger
        self.machine = Machine.build(nr_pages=512)
        self.registry = self.machine.use_registry()
        self.gate, self.arrived = threading.Event(), threading.Semaphore(0)
        self.gate.set()
        for name in ("preadv", "pwritev"):
            monkeypatch.setattr(os, name, self._gated(getattr(os, name)))
        self.options = {"registry": self.registry, "nr_threads": 2} | options
        self.device = self.open()
        self.space = self.machine.memory.mmap("p", 16)
        for vpn in range(16):
            self.machine.memory.write(self.space, vpn, bytes([vpn + 1]) * PAGE)
        assert self.device.register(self.space, 0, 16) == 0

    def open(self):
        try:
            return RealDevice("disk", Gup(self.machine), self.path, **self.options)
        except PinpageError as error:
            if "Invalid argument" in str(error):
                pytest.skip(str(error))
            raise

    def _gated(self, call):
        def at_the_file(*args):
            self.arrived.release()
            self.gate.wait()
            return call(*args)

        return at_the_file

    def hold(self, op=Op.READ, count=6):
        """That many requests, of which the first two are at the file and stay there."""
        self.gate.clear()
        ids = [self.device.submit(op, self.space, n, 1, n) for n in range(count)]
        self.arrived.acquire()
        self.arrived.acquire()
        return ids

    def threads(self):
        mine = set(threading.enumerate()) - self.others
        return [t for t in mine if t.name.startswith("disk-")]

    def fds(self):
        """Descriptors of the file that this process has."""
        found = 0
        for link in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):  # of this very listing
                found += link.readlink() == self.path
        return found

    def move_all(self):
        """How many pages of the buffers a move gets anywhere else."""
        pfns = np.sort(self.space.pte - 1)
        found = self.machine.mover.classify(pfns, self.machine.design, Mode.SYNC_LIGHT)
        able = found.answers > 0
        if not able.any():
            return 0
        report = self.machine.mover.migrate(
            pfns[able], found.alone[able], AnyFree(self.machine), self.machine.design,
            Mode.SYNC_LIGHT,
        )  # fmt: skip
        return report.nr_moved

    def end(self):
        """Nothing is left: no thread, descriptor, pin, reference."""
        self.gate.set()
        ends(self.device.drain)
        self.device.close()
        self.device.check()
        self.device.unregister(self.space, 0)
        assert (len(self.registry), self.threads(), self.fds()) == (0, [], 0)
        self.machine.memory.exit(self.space)
        self.machine.check()
        self.machine.pcp.drain_all()
        assert int(self.machine.buddy.nr_free()) == 512


@pytest.fixture
def world(tmp_path, monkeypatch):
    made = World(tmp_path / "disk", monkeypatch)
    yield made
    made.gate.set()
    made.device.close()


# Closed, dropped, never begun.


def test_closing_ends_what_is_in_flight_first(world):
    ids = world.hold()
    closing = threading.Thread(target=world.device.close)
    closing.start()
    while not world.device.is_closed:
        pass
    with pytest.raises(PinpageError, match="it is closed"):
        world.device.submit(Op.READ, world.space, 0, 1, 0)
    with pytest.raises(PinpageError, match="it is closed"):
        world.device.register(world.space, 0, 1)
    world.gate.set()
    closing.join()
    assert sorted(done.request for done in world.device.reap()) == ids
    assert (world.device.nr_in_flight, world.threads(), world.fds()) == (0, [], 0)
    for vpn in range(6):
        assert world.machine.memory.read(world.space, vpn) == page_of(vpn)
    world.device.drain()
    world.device.close()
    world.end()


def test_a_closed_device_leaves_nobody_in_the_registry(world):
    owners = len(world.registry.owners)
    other = world.open()
    assert len(world.registry.owners) == owners + 2
    other.close()
    assert len(world.registry.owners) == owners
    world.end()
    assert len(world.registry.owners) == owners - 2


def test_a_device_that_is_dropped_ends_by_itself_and_says_so(world):
    world.options["registry"] = None
    dropped = world.open()
    assert dropped.register(world.space, 0, 4) == 0
    threads, gone = set(world.threads()), weakref.ref(dropped)
    world.gate.clear()
    for n in range(4):
        dropped.submit(Op.WRITE, world.space, n, 1, n)
    held = [dropped]
    del dropped
    with pytest.warns(ResourceWarning, match="unclosed device 'disk'"):
        held.clear()
    assert gone() is None
    world.gate.set()
    world.device.close()
    for thread in threads:
        thread.join(MOST_S)
    assert not world.threads()
    assert world.fds() == 0
    written = world.path.read_bytes()
    assert all(written[n * PAGE] == n + 1 for n in range(4)), "what was in flight was dropped"


def test_a_device_that_was_closed_is_dropped_without_a_word(world):
    other = world.open()
    other.close()
    del other
    gc.collect()


def open_descriptors():
    return [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]


def opens(fd, path):
    """Whether this descriptor is one of that file; the listing's own is gone by now."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/self/fd/{fd}").samefile(path)
    return False


def test_a_backing_file_that_is_dropped_closes_and_says_so(tmp_path):
    path = tmp_path / "backing"
    path.write_bytes(bytes(4 * PAGE))
    backing = FileBacking(path)
    (fd,) = [n for n in open_descriptors() if opens(n, path)]
    held = [backing]
    del backing
    with pytest.warns(ResourceWarning, match="unclosed backing file"):
        held.clear()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


@pytest.mark.parametrize("which", range(3))
def test_a_device_whose_threads_cannot_start_was_never_there(world, monkeypatch, which):
    before = set(world.threads()), world.fds(), world.registry.owners
    start, count = threading.Thread.start, itertools.count()

    def fail(thread):
        if next(count) == which:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", fail)
    world.options["nr_threads"] = 3
    with pytest.raises(RuntimeError, match="can't start"):
        world.open()
    monkeypatch.undo()
    assert (set(world.threads()), world.fds(), world.registry.owners) == before


def test_two_devices_of_one_name_are_two(world):
    other = world.open()
    assert other.register(world.space, 0, 2) == 0
    other.submit(Op.READ, world.space, 0, 1, 9)
    other.drain()
    other.unregister(world.space, 0)
    other.close()
    assert world.machine.memory.read(world.space, 0) == page_of(9)
    world.device.submit(Op.READ, world.space, 0, 1, 8)
    world.device.drain()
    assert [done.error for done in world.device.reap()] == [0]
    world.end()


# Forced out with requests in flight.


@pytest.mark.parametrize("op", list(Op))
@pytest.mark.parametrize("who", ["flights", "buffers", "both"])
def test_forced_out_it_ends_what_is_at_the_file_and_keeps_its_pages_still(world, who, op):
    device = world.device
    ids = world.hold(op)
    owners = {"flights": [device.flights], "buffers": [device.pinner]}
    owners["both"] = owners["flights"] + owners["buffers"]
    where = world.space.pte.copy()
    for owner in owners[who]:
        world.registry.unregister(owner, force=True)
    for _ in range(3):
        world.move_all()
        assert world.space.pte[:2].tolist() == where[:2].tolist(), "moved under the device"
        world.machine.compact()
    assert world.space.pte[:2].tolist() == where[:2].tolist(), "moved under the device"
    if who != "buffers":
        with pytest.raises(OwnerError):
            device.submit(op, world.space, 0, 1, 0)
    world.gate.set()
    device.drain()
    errors = {done.request: done.error for done in device.reap()}
    assert sorted(errors) == ids
    assert [errors[n] for n in ids[:2]] == [0, 0]
    expected = 0 if who == "buffers" else -errno.ENODEV
    assert {errors[n] for n in ids[2:]} == {expected}
    for n in ids[:2]:
        here = world.machine.memory.read(world.space, n)
        on_disk = world.path.read_bytes()[n * PAGE : (n + 1) * PAGE]
        assert here == on_disk == (page_of(n) if op is Op.READ else bytes([n + 1]) * PAGE)
    if who == "flights":
        assert world.move_all() == 16, "nothing is in flight, and the buffers can be asked"
    world.end()


def test_forced_out_while_a_thread_waits_for_a_mover(world):
    marked = np.array([int(world.space.pte[0]) - 1])
    world.registry.marks.begin_move(marked)
    world.device.submit(Op.READ, world.space, 0, 2, 0)
    while not world.registry.statistics().nr_waits:
        pass
    world.registry.unregister(world.device.flights, force=True)
    world.registry.marks.end_move(marked)
    world.device.drain()
    assert [done.error for done in world.device.reap()] == [-errno.ENODEV]
    assert len(world.device.flights) == 0
    world.end()


def test_a_process_that_exits_takes_nothing_from_under_the_device(world):
    world.hold(Op.READ)
    pfns = world.space.pte.copy() - 1
    world.machine.memory.exit(world.space)
    world.machine.compact()
    assert (world.machine.frames.refcount[pfns] > 0).all()
    world.gate.set()
    world.device.drain()
    assert {done.error for done in world.device.reap()} == {0}
    world.device.unregister(world.space, 0)
    world.machine.check()
    world.machine.pcp.drain_all()
    assert int(world.machine.buddy.nr_free()) == 512


# What goes wrong at the file.


def test_a_descriptor_closed_underneath_is_an_errno_of_each_request(world):
    os.close(inside.threads(world.device).file.fd)
    for n in range(4):
        world.device.submit(Op.READ, world.space, n, 1, n)
    world.device.drain()
    assert [done.error for done in world.device.reap()] == [-errno.EBADF] * 4
    world.end()


def test_a_request_larger_than_a_call_arrives_whole(tmp_path):
    count = os.sysconf("SC_IOV_MAX") + 10
    path = tmp_path / "large"
    path.write_bytes(b"".join(n.to_bytes(4, "little") * 1024 for n in range(count)))
    machine = Machine.build(nr_pages=4096)
    try:
        device = RealDevice("large", Gup(machine), path, registry=machine.use_registry())
    except PinpageError as error:
        pytest.skip(str(error))
    with device:
        space = machine.memory.mmap("p", count)
        assert device.register(space, 0, count) == 0
        device.submit(Op.READ, space, 0, count, 0)
        device.drain()
        assert [done.error for done in device.reap()] == [0]
    assert all(machine.memory.read(space, n)[:4] == n.to_bytes(4, "little") for n in range(count))


def test_what_a_thread_runs_into_is_raised_where_somebody_sees_it(world, monkeypatch):
    transfer = inside.threads(world.device).file.transfer

    def broken(*_args):
        raise InvariantError("I9 something is wrong")

    monkeypatch.setattr(inside.threads(world.device).file, "transfer", broken)
    for n in range(3):
        world.device.submit(Op.READ, world.space, n, 1, n)
    for look in (world.device.drain, world.device.check, world.device.drain):
        with pytest.raises(InvariantError, match="I9"):
            look()
    assert [done.error for done in world.device.reap()] == [-errno.EIO] * 3
    monkeypatch.setattr(inside.threads(world.device).file, "transfer", transfer)
    world.device.submit(Op.READ, world.space, 0, 1, 0)
    world.device.drain()
    assert [done.error for done in world.device.reap()] == [0]
    world.end()


def test_a_buffer_that_somebody_else_let_go_of_is_an_errno(world):
    device = world.device
    world.gate.clear()
    blocked = [device.submit(Op.READ, world.space, n, 1, n) for n in range(2)]
    world.arrived.acquire()
    world.arrived.acquire()
    late = device.submit(Op.READ, world.space, 5, 1, 5)
    (pin,) = inside.buffers(device).find(world.space, 5, 1)
    Gup(world.machine).put_user_pages(device.pinner, [pin])
    world.gate.set()
    device.drain()
    errors = {done.request: done.error for done in device.reap()}
    assert errors == {blocked[0]: 0, blocked[1]: 0, late: -errno.EFAULT}
    world.end()


# Interrupts.


def every_line(run):
    """`run(line)` for each line, until it was not interrupted any more."""
    for line in itertools.count():
        if not run(line):
            assert line > 3
            return


def ends(call):
    """Run `call`, which may not hang."""
    failed = []

    def run():
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is told
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(MOST_S)
    assert not thread.is_alive(), "it never ends"
    assert not failed, failed


def completed(device):
    """Ids of what has ended, each once."""
    ends(device.drain)
    found = [done.request for done in device.reap()]
    assert len(set(found)) == len(found)
    return set(found)


def test_submit_may_be_interrupted_anywhere(world):
    def run(line):
        device = world.device
        known = {device.submit(Op.READ, world.space, 0, 1, 0)}
        was_cut, request = interrupted_at(
            lambda: device.submit(Op.READ, world.space, 1, 1, 1), line, FILES
        )
        known |= {request} if not was_cut else set()
        known.add(device.submit(Op.READ, world.space, 2, 1, 2))
        done = completed(device)
        assert known <= done
        assert len(done) <= 3
        device.check()
        return was_cut

    every_line(run)
    world.end()


@pytest.mark.parametrize("second", [0, 2, 5])
@pytest.mark.parametrize("what", ["drain", "reap"])
def test_waiting_and_reaping_may_be_interrupted_anywhere_and_again(world, what, second):
    lost = []

    def run(line):
        device = world.device
        known = {device.submit(Op.READ, world.space, n, 1, n) for n in range(4)}
        seen = []
        if what == "reap":
            device.drain()
        call = getattr(device, what)
        was_cut, first = interrupted_at(call, line, FILES)
        _, again = interrupted_at(call, second, FILES)
        for found in (first, again):
            seen += [done.request for done in found or ()]
        if what == "drain" and not was_cut:
            assert device.nr_in_flight == 0
        left = completed(device)
        assert not left & set(seen)
        if left | set(seen) != known:
            lost.append(line)
        device.check()
        return was_cut

    every_line(run)
    # Between the last two lines of `reap` no call lets a real interrupt in; a tracer gets there.
    assert len(lost) <= (what == "reap"), lost
    world.end()


@pytest.mark.parametrize("second", [0, 3, 7, 12, 17])
def test_closing_may_be_interrupted_anywhere_and_again(tmp_path, monkeypatch, second):
    def run(line):
        world = World(tmp_path / "disk", monkeypatch)
        known = {world.device.submit(Op.READ, world.space, n, 1, n) for n in range(4)}
        was_cut, _ = interrupted_at(world.device.close, line, FILES)
        interrupted_at(world.device.close, second, FILES)
        world.device.close()
        assert (world.threads(), world.fds()) == ([], 0)
        assert completed(world.device) == known
        world.end()
        return was_cut

    every_line(run)


@pytest.mark.parametrize("what", ["drain", "close"])
def test_a_wait_is_interrupted_and_nothing_is_lost(world, what):
    ids = world.hold()
    here = threading.get_ident()
    interrupt = threading.Timer(0.05, signal.pthread_kill, (here, signal.SIGINT))
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        getattr(world.device, what)()
    interrupt.join()
    assert world.device.nr_in_flight >= 4
    world.gate.set()
    assert completed(world.device) == set(ids)
    world.end()


@pytest.mark.parametrize("policy", list(Policy))
def test_the_simulated_disk_may_be_interrupted_anywhere(policy):
    def run(line, what):
        world = IoWorld(policy, queue_depth=2)
        space, device = world.process(4), world.device
        if policy is Policy.RESTART:
            assert device.register(space, 0, 4) == 0
        known = {device.submit(Op.READ, space, 0, 1, 4)}
        if what == "submit":
            was_cut, request = interrupted_at(
                lambda: device.submit(Op.READ, space, 1, 1, 5), line, FILES
            )
            known |= {request} if not was_cut else set()
        known |= {device.submit(Op.READ, space, n, 1, 4 + n) for n in (2, 3)}
        if what == "drain":
            was_cut, _ = interrupted_at(device.drain, line, FILES)
            interrupted_at(device.drain, line // 2, FILES)
        done = completed(device)
        assert known <= done
        assert len(done) <= 4
        if policy is Policy.RESTART:
            device.unregister(space, 0)
        world.check()
        assert len(world.registry) == len(device.pinner) == 0
        for vpn in (0, 2, 3):
            assert world.memory.read(space, vpn) == block_bytes(4 + vpn)
        return was_cut

    every_line(lambda line: run(line, "submit"))
    every_line(lambda line: run(line, "drain"))


def test_an_interrupt_at_any_line_of_the_clock_loses_no_event():
    def run(line):
        clock, seen = SimClock(), []
        clock.plan(10, lambda: seen.append(10))
        clock.plan(20, lambda: seen.append(20))
        was_cut, _ = interrupted_at(lambda: clock.run_until(30), line, CLOCK_FILES)
        clock.run_until(30)
        assert seen == [10, 20]
        assert clock.now_ns == 30
        return was_cut

    every_line(run)
