"""Real direct I/O by real threads while pages move: every byte, and what registration costs."""

import itertools
import os
import threading
import time

import numpy as np
import pytest

from mm.machine import Machine
from owners.gup.flags import Foll
from owners.gup.gup import Gup
from owners.gup.pin_references import IgnoresMoves, Pinner
from owners.odirect.device import Op, Policy
from owners.odirect.in_flight import InFlight
from owners.odirect.real import RealDevice
from pinpage.errors import PinpageError
from pinpage.owner import Mode, Verdict
from tests.kit import inside
from tests.kit.owners.real_io import Churn, RealLoad, write_file

NR_THREADS = 8
MOST_TIMES_THE_TIME = 1.3
MOST_TIMES_THE_TIME_MOVING = 1.5  # half of the pins wait for the node's lock, as the mover does


def pins_at(load, vpn, count):
    """The pins of these pages of the load's buffer."""
    return inside.buffers(load.device).find(load.space, vpn, count)


@pytest.fixture
def path(tmp_path):
    """A file on a file system with direct I/O, or a skip that says why."""
    made = write_file(tmp_path / "disk")
    try:
        os.close(os.open(made, os.O_RDWR | os.O_DIRECT))
    except OSError as error:
        pytest.skip(f"no direct I/O in {tmp_path}: {error.strerror}")
    return made


class Bench:
    """One machine with a registered load, an unregistered one, and pages of somebody else."""

    def __init__(self, path, seed=1):
        self.machine = Machine.build(nr_pages=2048)
        registry = self.machine.use_registry()
        rng = np.random.default_rng(seed)
        self.paths = {True: path, False: write_file(path.with_name("other"))}
        self.loads = {
            is_with: RealLoad(self.machine, file, rng, registered=is_with, nr_threads=NR_THREADS)
            for is_with, file in self.paths.items()
        }
        self.others = self.machine.memory.mmap("others", 256)
        idle = Pinner("others", registry=registry, handler=IgnoresMoves())
        Gup(self.machine).get_user_pages(self.others, 0, 256, idle, Foll.PIN)
        self.churn = Churn(self.machine, rng)
        self.churn.is_active = lambda: self.loads[True].is_active

    def round(self, nr_requests, *, moving, is_first=True):
        """As many requests with registration as without; wall and CPU time, with / without.

        `is_first`: whether those with registration come first.
        """
        took = {}
        for is_with in (is_first, not is_first):
            load = self.loads[is_with]
            space = load.space if is_with else self.others
            move = (lambda space=space: self.churn.step(space)) if moving else _rest
            worked_s = time.process_time()
            wall_s = load.run(nr_requests, move)
            took[is_with] = np.array([wall_s, time.process_time() - worked_s])
        return took[True] / took[False]

    def ratios(self, nr_rounds, *, moving):
        """Of the times with and without registration, wall and CPU: the median of the rounds."""
        rounds = [self.round(250, moving=moving, is_first=n % 2 == 0) for n in range(nr_rounds)]
        return np.median(rounds, axis=0)

    def close(self):
        for is_with, load in self.loads.items():
            load.close(self.paths[is_with])
        self.machine.check()
        assert len(self.machine.registry) == 512, "a pin of a request is left"


def _rest():
    time.sleep(0)


def test_every_byte_is_right_while_pages_move(path):
    """The short form of the long one below."""
    bench = Bench(path)
    for _ in range(20):
        bench.round(64, moving=True)
        if bench.churn.nr_moved_during_io >= 100:
            break
    bench.close()
    assert bench.churn.nr_moved_during_io >= 100


@pytest.mark.slow
def test_ten_thousand_reads_and_writes_while_compaction_never_stops(path, capsys):
    """8 threads, at least 10 s, at least 10,000 reads and 10,000 writes, every byte compared."""
    bench, began = Bench(path), time.monotonic()
    load = bench.loads[True]
    while time.monotonic() - began < 10 or min(load.nr_done.values()) < 10_000:
        load.run(500, lambda: bench.churn.step(load.space))
    moving_s, nr_done = time.monotonic() - began, dict(load.nr_done)
    flights = load.device.flights
    still, moving = bench.ratios(40, moving=False), bench.ratios(60, moving=True)
    bench.close()
    with capsys.disabled():
        print(
            f"\n{nr_done[Op.READ]} reads and {nr_done[Op.WRITE]} writes in {moving_s:.1f} s; "
            f"{bench.churn.nr_moved_during_io} of {bench.churn.nr_moved} frames moved during I/O; "
            f"waited {flights.nr_waited}, refused {flights.nr_refused}, "
            f"looked up again {load.device.nr_retried}; "
            f"time with registration {still[0]:.2f} times that without (CPU {still[1]:.2f}); "
            f"while compaction never stops {moving[0]:.2f} (CPU {moving[1]:.2f})"
        )
    assert bench.churn.nr_moved_during_io >= 1_000
    # Wall time is what counts, and CPU time says it where somebody else uses the machine.
    assert min(still) <= MOST_TIMES_THE_TIME
    assert min(moving) <= MOST_TIMES_THE_TIME_MOVING


# Deterministic: what a thread does when a page moves between its steps.


@pytest.fixture
def bench(path):
    made = Bench(path)
    yield made
    made.close()


def test_a_page_that_moves_between_the_look_up_and_the_pin_is_looked_up_again(bench, monkeypatch):
    load, registry = bench.loads[True], bench.machine.registry
    device, moves = load.device, itertools.count()
    (pin_id,) = inside.buffers(device).find(load.space, 3, 1)
    pin = registry.pin

    def pin_late(pfn, owner, private=None, *, wait=True):
        if owner is device.flights and next(moves) == 0:
            bench.churn.step(load.space)
            while device.pinner.pfn_of(pin_id) == pfn:
                bench.churn.step(load.space)
        return pin(pfn, owner, private, wait=wait)

    monkeypatch.setattr(registry, "pin", pin_late)
    held = inside.threads(device).hold(registry, [pin_id])
    assert [pfn for pfn, _ in held] == [int(load.space.pte[3]) - 1]
    assert device.nr_retried == 1
    assert len(device.flights) == 1
    inside.threads(device).unpin(registry, held)


def test_a_page_in_flight_is_refused_or_waited_for_with_a_bound(path):
    for policy, nr_waited in ((Policy.REFUSE, 0), (Policy.WAIT, 10)):
        machine = Machine.build(nr_pages=2048)
        registry = machine.use_registry()
        load = RealLoad(
            machine, path, np.random.default_rng(1), policy=policy, nr_buffers=64, wait_bound_s=0.01
        )
        held = inside.threads(load.device).hold(registry, pins_at(load, 0, 2))
        before = load.space.pte[:2].tolist()
        churn = Churn(machine, np.random.default_rng(1))
        churn.step(load.space)
        assert load.space.pte[:2].tolist() == before
        assert load.device.flights.nr_waited >= nr_waited
        assert load.device.flights.nr_refused >= 20
        inside.threads(load.device).unpin(registry, held)
        churn.step(load.space)
        assert load.space.pte[:2].tolist() != before
        load.close(path)


def test_a_thread_that_holds_a_page_does_not_wait_for_another(path):
    """It lets go of all of them first, or mover and thread would wait for each other."""
    machine = Machine.build(nr_pages=2048)
    registry = machine.use_registry()
    load = RealLoad(machine, path, np.random.default_rng(1), nr_buffers=64)
    marked = np.array([load.device.pinner.pfn_of(pins_at(load, 1, 1)[0])])
    registry.marks.begin_move(marked)
    load.device.submit(Op.READ, load.space, 0, 2, 0)
    deadline = time.monotonic() + 10
    while not registry.statistics().nr_waits and time.monotonic() < deadline:
        time.sleep(0.001)
    first = np.array([int(load.space.pte[0]) - 1])
    assert registry.owner_counts(first).tolist() == [1], "the thread waits while it holds a page"
    registry.marks.end_move(marked)
    load.device.drain()
    assert [done.error for done in load.device.reap()] == [0]
    load.device.close()


# Mistakes.


def test_what_a_real_device_cannot_do_is_said_in_one_line(path, tmp_path):
    machine = Machine.build(nr_pages=512)
    tags = Machine.build(nr_pages=512, contents="tags")
    gup = Gup(machine)
    short = tmp_path / "short"
    short.write_bytes(b"x" * 100)
    for make, message in (
        (lambda: RealDevice("d", Gup(tags), path), 'build with contents="arena"'),
        (lambda: RealDevice("d", gup, path, policy=Policy.CANCEL), "takes no request back"),
        (lambda: RealDevice("d", gup, path, policy=Policy.RESTART), "takes no request back"),
        (lambda: RealDevice("d", gup, tmp_path / "none"), "cannot be opened for direct I/O"),
        (lambda: RealDevice("d", gup, short), "has 100 bytes: give it a multiple of 4096"),
    ):
        with pytest.raises(PinpageError, match=message) as caught:
            make()
        assert "\n" not in str(caught.value)


def test_a_file_system_without_direct_io_is_named_with_the_way_out(monkeypatch, path):
    def refuse(*_args):
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PinpageError, match=r"\(Invalid argument\): give a file on ext4"):
        RealDevice("d", Gup(Machine.build(nr_pages=512)), path)


def test_an_error_of_the_disk_is_an_errno_of_the_request(path):
    machine = Machine.build(nr_pages=512)
    machine.use_registry()
    load = RealLoad(machine, path, np.random.default_rng(1), nr_buffers=8)
    os.truncate(path, 4096)  # behind the device's back: what it reads is not there
    load.device.submit(Op.READ, load.space, 0, 1, 7)
    load.device.drain()
    assert [done.error for done in load.device.reap()] == [-5]
    with pytest.raises(PinpageError, match="in no registered buffer"):
        load.device.submit(Op.READ, load.space, 7, 2, 0)
    with pytest.raises(PinpageError, match="no buffer is registered"):
        load.device.unregister(load.space, 1)
    load.device.unregister(load.space, 0)
    assert len(machine.registry) == 0
    load.device.close()
    load.device.close()


# The owner of pages in flight, without a disk.


def test_whoever_waits_for_a_page_in_flight_is_woken_when_it_lands():
    flights = InFlight("disk", Policy.WAIT, wait_bound_s=4.0)
    number = flights.begin()
    lands = threading.Timer(0.05, flights.end, (number,))
    began = time.monotonic()
    lands.start()
    verdict = flights.isolate_many(np.array([1]), [number], Mode.SYNC)
    lands.join()
    assert verdict.tolist() == [Verdict.YES]
    assert time.monotonic() - began < 3.5


def test_a_mover_is_woken_by_the_page_that_it_waits_for_and_by_no_other(monkeypatch):
    flights, looks = InFlight("disk", Policy.WAIT, wait_bound_s=4.0), []
    awaited, *others = (flights.begin() for _ in range(9))
    wait_for = threading.Condition.wait_for

    def counted(condition, gone, left_s=None):
        return wait_for(condition, lambda: looks.append(1) or gone(), left_s)

    monkeypatch.setattr(threading.Condition, "wait_for", counted)
    mover = threading.Thread(
        target=flights.isolate_many, args=(np.array([1]), [awaited], Mode.SYNC)
    )
    mover.start()
    while not looks:
        time.sleep(0.001)
    for number in others:
        flights.end(number)
        time.sleep(0.001)
    flights.end(awaited)
    mover.join()
    assert len(looks) == 2


def test_the_bound_is_for_all_pages_of_one_question():
    flights = InFlight("disk", Policy.WAIT, wait_bound_s=0.05)
    numbers = [flights.begin() for _ in range(40)]
    began = time.monotonic()
    verdicts = flights.isolate_many(np.arange(40), numbers, Mode.SYNC)
    assert set(verdicts.tolist()) == {Verdict.AGAIN}
    assert time.monotonic() - began < 1.0


@pytest.mark.parametrize(
    ("policy", "mode"), [(Policy.REFUSE, Mode.SYNC), (Policy.WAIT, Mode.SYNC_LIGHT)]
)
def test_nobody_waits_unasked(policy, mode):
    flights = InFlight("disk", policy, wait_bound_s=0.5)
    verdicts = flights.isolate_many(np.array([1]), [flights.begin()], mode)
    assert verdicts.tolist() == [Verdict.AGAIN]
    assert flights.nr_waited == 0


def test_a_page_lands_only_when_its_pin_is_gone(bench, monkeypatch):
    """D1: a mover that finds the number gone must not find the pin any more."""
    load, registry = bench.loads[True], bench.machine.registry
    flights, unpin, seen = load.device.flights, registry.unpin, []

    def unpin_and_look(pfn, owner, private=None):
        seen.append(owner is not flights or len(flights) > 0)
        unpin(pfn, owner, private)

    monkeypatch.setattr(registry, "unpin", unpin_and_look)
    held = inside.threads(load.device).hold(registry, pins_at(load, 0, 2))
    inside.threads(load.device).unpin(registry, held)
    assert seen == [True, True]
    assert len(flights) == 0
