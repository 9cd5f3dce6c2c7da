"""Ctrl-C at any moment inside a call of the registry: all of the call or nothing, and no lock held.

A timer signal comes after a random time, often before the call has ended.  Then another thread
asks, which would wait for a lock that was left held; then everything is compared.
"""

import random
import signal
import threading
from collections import Counter

import pytest

from pinpage.errors import PinpageError
from pinpage.owner import PinOwner
from pinpage.registry import PinRegistry
from pinpage.topology import Topology
from tests.fuzz.budget import rounds

pytestmark = pytest.mark.fuzz

NR_FRAMES = 2048
NR_CALLS = 400
MOST_PINS = 600
DELAYS_S = (2e-6, 4e-6, 8e-6, 1.5e-5, 3e-5, 8e-5, 2e-4, 4e-4)
STUCK_S = 30.0


class Interrupt(KeyboardInterrupt):
    """Nobody else raises this one."""


@pytest.fixture
def alarm():
    """A function that calls another one under the timer: whether it was interrupted."""
    armed = False

    def ring(*_):
        if armed:
            raise Interrupt

    def call(act, delay_s):
        nonlocal armed
        try:
            try:
                armed = True
                signal.setitimer(signal.ITIMER_REAL, delay_s)
                act()
            finally:
                armed = False
        except Interrupt:
            return True
        except PinpageError:
            return False
        finally:
            armed = False
            signal.setitimer(signal.ITIMER_REAL, 0)
        return False

    before = signal.signal(signal.SIGALRM, ring)
    yield call
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


class World:
    """A registry with one owner, and one call after the other."""

    def __init__(self, rng):
        self.rng = rng
        self.registry = PinRegistry(
            Topology.uniform(nr_frames=NR_FRAMES, nr_nodes=rng.choice((1, 2))),
            batch_nr_pins=rng.choice((0, 7, 1023)),
            sparse_below=2,
            dense_above=5,
        )
        self.owner = PinOwner()
        self.registry.register(self.owner)
        self.now = set()

    def held(self):
        return {(pin.pfn, pin.private) for pin in self.registry.iter_pins()}

    def private(self):
        return self.rng.choice((None, self.rng.randrange(4), f"x{self.rng.randrange(3)}"))

    def pfn(self):
        return self.rng.randrange(NR_FRAMES if self.rng.random() < 0.3 else 30)

    def some(self):
        """Pins that are there."""
        return self.rng.sample(sorted(self.now, key=repr), min(len(self.now), 11))

    def run_at(self, one):
        """The first and the last frame of the run of pins like this one."""
        first = last = one[0]
        while (first - 1, one[1]) in self.now:
            first -= 1
        while (last + 1, one[1]) in self.now:
            last += 1
        return first, last

    def draw(self):
        """A call, and what is there if it is carried out."""
        registry, owner, rng = self.registry, self.owner, self.rng
        pfn, private, some = self.pfn(), self.private(), self.some()
        stop = min(NR_FRAMES, pfn + rng.randrange(1, 40))
        given = rng.choice((private, [private] * (stop - pfn)))  # in one step, or as a column
        pfns = rng.sample(range(NR_FRAMES), rng.randrange(1, 12))
        gone, mine = [key[0] for key in some], [key[1] for key in some]

        def unregister():
            registry.unregister(owner, force=True)
            registry.register(owner)

        one = some[0] if some and rng.random() < 0.9 else (pfn, private)
        more = (
            (lambda: registry.pin(pfn, owner, private), self.now | {(pfn, private)}),
            (
                lambda: registry.pin_many(pfns, owner, [private] * len(pfns)),
                self.now | {(p, private) for p in pfns},
            ),
            (
                lambda: registry.pin_range(pfn, stop, owner, given),
                self.now | {(p, private) for p in range(pfn, stop)},
            ),
        )
        first, last = self.run_at(one)
        less = (
            (lambda: registry.unpin(one[0], owner, one[1]), self.now - {one}),
            (lambda: registry.unpin_many(gone, owner, mine), self.now - set(some)),
            (
                lambda: registry.unpin_range(first, last + 1, owner, one[1]),
                self.now - {(p, one[1]) for p in range(first, last + 1)},
            ),
        )
        asking = (
            (lambda: registry.pinned_mask(0, NR_FRAMES), self.now),
            (lambda: (registry.pins(pfn), registry.is_pinned(pfn)), self.now),
            (lambda: (registry.statistics(), len(registry), registry.flush()), self.now),
        )
        names = ("pin", "pin_many", "pin_range", "unpin", "unpin_many", "unpin_range")
        names += ("mask", "pins", "count")
        calls = dict(zip(names, more + less + asking, strict=True))
        calls["unregister"] = unregister, set()
        name = rng.choices((*calls, "pin", "unpin"), (*[4] * 9, 1, 8, 8))[0]
        return name, *calls[name]

    def require_no_lock_held(self):
        """Another thread gets its answer."""
        thread = threading.Thread(
            target=self.registry.pinned_mask, args=(0, NR_FRAMES), daemon=True
        )
        thread.start()
        thread.join(STUCK_S)
        assert not thread.is_alive(), "a lock was left held"

    def settle(self, after, *, was_interrupted):
        """All of it or nothing; a call that came to its end did all of it, or refused."""
        if was_interrupted:
            self.require_no_lock_held()
        self.registry.check()
        now = self.held()
        assert now in (self.now, after), f"missing {self.now & after - now}, extra {now - after}"
        self.now = now
        if self.owner not in self.registry.owners:
            assert not now
            self.registry.register(self.owner)
        assert len(self.registry) == len(now)


# An interrupt in a callback of the collector is swallowed by it, which is nobody's fault here.
@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <function WeakSet:pytest.PytestUnraisableExceptionWarning"
)
def test_an_interrupted_call_is_done_or_not_done_and_holds_no_lock(alarm):
    seen = Counter()
    for name in rounds():
        rng = random.Random(name)
        world = World(rng)
        for _ in range(NR_CALLS):
            call, act, after = world.draw()
            was_interrupted = alarm(act, rng.choice(DELAYS_S) * rng.random() + 1e-6)
            seen[call] += was_interrupted
            try:
                world.settle(after, was_interrupted=was_interrupted)
            except BaseException as error:
                error.add_note(f"round {name}: after {call}; interrupts so far: {dict(seen)}")
                raise
            if len(world.now) > MOST_PINS:
                world = World(rng)
    print(f"{seen.total()} interrupts: {dict(seen)}")  # (shown with -s)
    assert seen.total(), "no call was ever interrupted"
