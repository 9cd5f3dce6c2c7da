"""Moves and releases, interrupted once, twice and three times, wherever that can be."""

import contextlib
import os
import random
import signal
import threading

import pytest

from tests.fuzz.seeds import for_a_while
from tests.kit.pinpage.interrupted import interrupted
from tests.kit.pinpage.move_lab import MoveLab

NR_TRIES = 20
_ERRORS = (KeyboardInterrupt, SystemExit, GeneratorExit, ValueError, StopIteration, MemoryError)

pytestmark = pytest.mark.fuzz


def at_points(seed):
    """At the n-th point, and again shortly after, and again."""
    draw = random.Random(seed)
    nr_points = interrupted(seed).nr_points
    for _ in range(NR_TRIES):
        due = [draw.randrange(1, nr_points + 1)]
        for _ in range(draw.choice([0, 1, 1, 2])):
            due.append(due[-1] + draw.randrange(1, draw.choice([4, 60, 300])))
        interrupted(seed, *due)


def between_steps(seed):
    """Closed, or thrown into, where a generator stands."""
    draw, lab = random.Random(seed), MoveLab(seed)
    steps = lab.steps()
    for _ in range(draw.randrange(12)):
        if next(steps, None) is None:
            break
    else:
        if draw.random() < 0.5:
            steps.close()
        else:
            with contextlib.suppress(*_ERRORS, RuntimeError):
                steps.throw(draw.choice(_ERRORS)("x"))
    steps.close()
    lab.check()


def by_signal(seed):
    """At any instant whatever, once or twice, the registry's own code not excepted."""
    draw, lab = random.Random(seed), MoveLab(seed)
    nr_left = draw.choice([1, 2])

    def strike(_, frame):
        nonlocal nr_left
        while frame is not None and frame.f_code is not MoveLab.run.__code__:
            frame = frame.f_back
        if nr_left and frame is not None:
            nr_left -= 1
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, strike)
    try:
        longest = draw.choice([5e-5, 2e-4, 6e-4, 2e-3])
        signal.setitimer(signal.ITIMER_REAL, draw.random() * longest + 1e-6, 1e-4)
        with contextlib.suppress(KeyboardInterrupt):
            lab.run()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    lab.check()


@pytest.mark.parametrize("attack", [at_points, between_steps], ids=lambda attack: attack.__name__)
def test_an_interrupt_leaves_nothing_behind(attack):
    for_a_while(attack)


@pytest.mark.skipif(
    threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"),
    reason="signals come to the main thread",
)
def test_a_signal_leaves_nothing_behind():
    """In a child, one per seed: what a held lock would do is wait for ever."""

    def in_a_child(seed):
        child = os.fork()
        if not child:
            status = 1
            try:
                signal.alarm(0)
                by_signal(seed)
                status = 0
            finally:
                os._exit(status)
        ended = threading.Event()
        killer = threading.Timer(5, lambda: ended.is_set() or os.kill(child, signal.SIGKILL))
        killer.start()
        _, status = os.waitpid(child, 0)
        ended.set()
        killer.cancel()
        assert status == 0, f"it hangs or leaves something behind: {status}"

    for_a_while(in_a_child)
