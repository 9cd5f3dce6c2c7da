"""The registry under real threads, and under random interleavings of two of them."""

import random
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from pinpage import AlreadyPinnedError, NotPinnedError, PinOwner, PinRegistry, Topology, Verdict

NR_THREADS = 4
NR_FRAMES = 2048


@pytest.fixture(autouse=True)
def switch_often():
    """Let threads switch between almost any two bytecodes."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def run(*bodies):
    """Run each body in its own thread; re-raise what any of them raised."""
    failures = []

    def guarded(body):
        try:
            body()
        except BaseException as error:  # noqa: BLE001  # whatever it is, `run` raises it again
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(body,), daemon=True) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive(), "deadlock"
    if failures:
        raise failures[0]


def registry(**options):
    reg = PinRegistry(Topology.uniform(nr_frames=NR_FRAMES, nr_nodes=2), **options)
    owner = PinOwner()
    reg.register(owner)
    return reg, owner


@pytest.mark.parametrize("batch", [0, 2, 255])
def test_what_threads_pin_and_unpin_is_what_is_there(batch):
    """Each thread has privates of its own; at the end the sum of their views is the registry."""
    reg, owner = registry(batch_nr_pins=batch, sparse_below=2, dense_above=6)
    held = [set() for _ in range(NR_THREADS)]

    def body(me):
        rng = random.Random(me)
        mine = held[me]
        for _ in range(400):
            pfn = rng.choice((rng.randrange(40), 1020 + rng.randrange(8), rng.randrange(NR_FRAMES)))
            if pfn in mine:
                reg.unpin(pfn, owner, me)
            else:
                assert reg.pin(pfn, owner, me) is Verdict.YES
            mine ^= {pfn}
            assert (me in [pin.private for pin in reg.pins(pfn)]) == (pfn in mine)
            if pfn in mine:
                assert reg.is_pinned(pfn)
                assert reg.pinned_mask(pfn, pfn + 1)[0]

    run(*(lambda me=me: body(me) for me in range(NR_THREADS)))
    reg.check()
    wanted = sorted((pfn, me) for me in range(NR_THREADS) for pfn in held[me])
    assert sorted((pin.pfn, pin.private) for pin in reg.iter_pins()) == wanted


@pytest.mark.parametrize("batch", [0, 255])
def test_one_pin_of_many_equal_ones_wins(batch):
    """The same pin from several threads: one YES, all others AlreadyPinnedError, at once."""
    reg, owner = registry(batch_nr_pins=batch)
    won = []

    def body():
        for pfn in range(300):
            try:
                reg.pin(pfn, owner, 7)
            except AlreadyPinnedError:
                continue
            won.append(pfn)

    run(*(body for _ in range(NR_THREADS)))
    reg.check()
    assert sorted(won) == list(range(300))


def test_one_unpin_of_many_equal_ones_wins():
    reg, owner = registry()
    gone = []

    def body():
        for pfn in range(200):
            try:
                reg.unpin(pfn, owner)
            except NotPinnedError:
                continue
            gone.append(pfn)

    def first():
        for pfn in range(200):
            reg.pin(pfn, owner)
        body()

    run(first, body, body)
    body()
    reg.check()
    assert sorted(gone) == list(range(200))
    assert len(reg) == 0


def test_a_mover_sees_every_pin_that_returned_and_none_joins():
    """R-20, R-29: between begin_move and end_move the pins of a frame do not grow."""
    reg, owner = registry()
    returned = set()
    stop = threading.Event()

    def pinner(me):
        for private in range(me, 100_000, NR_THREADS):
            if stop.is_set():
                return
            if reg.pin(private % 8, owner, private, wait=bool(private % 3)) is Verdict.YES:
                returned.add(private)

    def mover():
        frames = np.arange(8)
        for _ in range(150):
            before = set(returned)
            assert reg.marks.begin_move(frames).all()
            seen = {pin.private for pin in reg.iter_pins(0, 8)}
            assert before <= seen
            assert int(reg.owner_counts(frames).sum()) == len(seen)
            assert {pin.private for pin in reg.iter_pins(0, 8)} == seen
            reg.marks.end_move(frames)
        stop.set()

    run(mover, *(lambda me=me: pinner(me) for me in range(2)))
    reg.check()
    assert {pin.private for pin in reg.iter_pins()} == returned


def test_batching_stays_off_while_somebody_scans():
    """R-21: what a scanner drained does not refill."""
    reg, owner = registry()
    inside = threading.Event()
    done = threading.Event()

    def pinner():
        inside.wait(30)
        for pfn in range(100):
            reg.pin(pfn, owner)
        done.set()

    def scanner():
        with reg.scanning():
            inside.set()
            done.wait(30)
            assert reg.statistics().nr_pending == 0

    run(scanner, pinner)
    reg.pin(600, owner)  # the block of the others is dense by now
    assert reg.statistics().nr_pending == 1


def test_a_pin_waits_for_the_move_of_another_thread():
    reg, owner = registry()
    reg.marks.begin_move(np.array([5]))
    order = []

    def pinner():
        assert reg.pin(5, owner, wait=False) is Verdict.AGAIN
        assert reg.pin(5, owner) is Verdict.YES
        order.append("pinned")

    def many():
        assert reg.pin_many([4, 5, 1500], owner, [1, 1, 1], wait=False) is Verdict.AGAIN
        assert reg.pin_many([4, 5, 1500], owner, [1, 1, 1]) is Verdict.YES

    threads = [threading.Thread(target=body, daemon=True) for body in (pinner, many)]
    for thread in threads:
        thread.start()
    while reg.statistics().nr_waits < 2:
        pass
    order.append("ended")
    reg.marks.end_move(np.array([5]))
    for thread in threads:
        thread.join(5)
    assert order == ["ended", "pinned"]
    assert len(reg) == 4
    reg.check()


def test_unregister_waits_for_callbacks_in_flight():
    """R-9; from inside the callback itself it does not wait."""
    reg, owner = registry()
    inside, leave, left = threading.Event(), threading.Event(), []

    def caller():
        with reg.calling(owner):
            inside.set()
            leave.wait(30)
            left.append("callback")

    def unregisterer():
        inside.wait(30)
        reg.unregister(owner)
        left.append("unregistered")

    def releaser():
        inside.wait(30)
        while owner in reg.owners:
            pass
        leave.set()

    run(caller, unregisterer, releaser)
    assert left == ["callback", "unregistered"]
    reg.register(owner)
    with reg.calling(owner):
        reg.unregister(owner)
    assert reg.owners == ()


@pytest.mark.parametrize("scenario", ["equal-pins", "pin-against-move", "unpin-against-drain"])
def test_random_interleavings(scenario):
    """frontrun replaces locks process-wide, so each scenario runs in a process of its own."""
    pytest.importorskip("frontrun")
    script = Path(__file__).with_name("interleavings.py")
    found = subprocess.run(
        [sys.executable, "-m", "frontrun.cli", sys.executable, str(script), scenario],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
