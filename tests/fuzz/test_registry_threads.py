"""The registry under eight real threads, each with a ledger of what it has pinned.

Six workers call everything, one kind of thread dies with a batch, one moves frames.  A thread
knows at any moment which of the pins are there for certain: its own.
"""

import contextlib
import random
import sys
import threading
import time

import numpy as np
import pytest

from pinpage.errors import AlreadyPinnedError, NotPinnedError, OwnerError, PinpageError
from pinpage.owner import PinOwner, Verdict
from pinpage.registry import PinRegistry
from pinpage.topology import Topology
from tests.fuzz.budget import rounds

pytestmark = pytest.mark.fuzz

ROUND_S = 2.0
NR_WORKERS = 6
NR_HOT = 40
STUCK_S = 60.0
"""Threads that have not ended so long after the round never will."""


@pytest.fixture(autouse=True)
def _switch_often():
    """Let threads switch between almost any two bytecodes."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class Arena:
    """One registry, what its threads found wrong, and when they stop."""

    def __init__(self, rng):
        nr_nodes = rng.choice((1, 2, 3))
        sparse_below, dense_above = rng.choice(((16, 64), (1, 1), (2, 5)))
        self.nr_frames = 1024 * nr_nodes
        self.registry = PinRegistry(
            Topology.uniform(nr_frames=self.nr_frames, nr_nodes=nr_nodes),
            batch_nr_pins=rng.choice((0, 1, 7, 1023)),
            sparse_below=sparse_below,
            dense_above=dense_above,
        )
        self.shared = [PinOwner() for _ in range(3)]
        for owner in self.shared:
            self.registry.register(owner)
        self.failures, self.ledgers = [], []
        self.ends = time.monotonic() + ROUND_S

    @property
    def goes_on(self):
        return time.monotonic() < self.ends and not self.failures

    def guarded(self, body, *arguments):
        try:
            body(*arguments)
        except BaseException as error:  # noqa: BLE001  # whatever it is, the test raises it again
            self.failures.append(error)

    def pins_of(self, pins):
        return {(pin.pfn, id(pin.owner), pin.private) for pin in pins}

    def run(self, *bodies):
        """Each body in a thread; all have ended, or it is a deadlock."""
        threads = [threading.Thread(target=self.guarded, args=body, daemon=True) for body in bodies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(ROUND_S + STUCK_S)
            assert not thread.is_alive(), f"deadlock; found so far: {self.failures}"

    def settle(self):
        """Nobody runs: the ledgers together are the registry."""
        if self.failures:
            raise self.failures[0]
        expected = {key for ledger in self.ledgers for key in ledger}
        pins = list(self.registry.iter_pins())
        assert self.pins_of(pins) == expected
        assert len(pins) == len(self.registry) == len(expected)
        self.registry.check()


class Worker:
    """One thread's calls, and its ledger: (pfn, id of the owner, private) -> the owner."""

    def __init__(self, arena, me, name):
        self.arena, self.me, self.rng = arena, me, random.Random(f"{name} worker {me}")
        self.registry, self.ledger = arena.registry, {}
        self.mine = PinOwner()
        self.registry.register(self.mine)
        arena.ledgers.append(self.ledger)
        self.calls = (
            *[self.pin] * 40,
            *[self.unpin] * 30,
            *[self.unpin_what_may_be_there] * 5,
            *[self.pin_many] * 7,
            *[self.unpin_many] * 5,
            *[self.pin_range] * 3,
            *[self.unpin_range] * 2,
            *[self.mask] * 3,
            *[self.pins] * 2,
            *[self.ask] * 3,
            self.scan,
        )

    def run(self):
        while self.arena.goes_on:
            for _ in range(50):
                self.rng.choice(self.calls)()
            if self.rng.random() < 0.1:
                self.leave_and_return()

    def owner(self):
        return self.rng.choice((*self.arena.shared, self.mine))

    def private(self, owner):
        """Of its own: only the owner that is nobody else's may have any."""
        number = self.rng.randrange(3)
        if owner is self.mine:
            return self.rng.choice((None, 1, "s"))
        return self.rng.choice((self.me * 1000 + number, f"{self.me}-{number}"))

    def pfn(self):
        return self.rng.randrange(self.arena.nr_frames if self.rng.random() < 0.3 else NR_HOT)

    def has(self, keys):
        return any(key in self.ledger for key in keys)

    def pin(self):
        pfn, owner = self.pfn(), self.owner()
        private = self.private(owner)
        key = pfn, id(owner), private
        try:
            assert self.registry.pin(pfn, owner, private) == Verdict.YES
        except AlreadyPinnedError:
            assert key in self.ledger, ("refused, and is not there", key)
        else:
            assert key not in self.ledger, ("taken twice", key)
            self.ledger[key] = owner
        assert self.registry.is_pinned(pfn), "a pin that was made cannot be seen"

    def unpin(self):
        if not self.ledger:
            return
        first = len(self.ledger) > 200 and self.rng.random() > 0.05
        key = next(iter(self.ledger)) if first else self.rng.choice(list(self.ledger))
        self.registry.unpin(key[0], self.ledger[key], key[2])
        del self.ledger[key]

    def unpin_what_may_be_there(self):
        pfn, owner = self.pfn(), self.owner()
        private = self.private(owner)
        key = pfn, id(owner), private
        try:
            self.registry.unpin(pfn, owner, private)
        except NotPinnedError:
            assert key not in self.ledger, ("a pin was lost", key)
        else:
            assert key in self.ledger, ("unpinned, and was not there", key)
            del self.ledger[key]

    def pin_many(self):
        owner = self.owner()
        pfns = [self.rng.randrange(self.arena.nr_frames) for _ in range(self.rng.randrange(30))]
        privates = [self.private(owner) for _ in pfns]
        keys = [(p, id(owner), private) for p, private in zip(pfns, privates, strict=True)]
        is_wrong = len(set(keys)) < len(keys) or self.has(keys)
        try:
            self.registry.pin_many(pfns, owner, privates)
        except AlreadyPinnedError:
            assert is_wrong
        else:
            assert not is_wrong
            self.ledger.update(dict.fromkeys(keys, owner))

    def unpin_many(self):
        owner = self.owner()
        keys = [key for key in list(self.ledger)[:60] if self.ledger[key] is owner]
        self.registry.unpin_many([key[0] for key in keys], owner, [key[2] for key in keys])
        for key in keys:
            del self.ledger[key]

    def pin_range(self):
        owner, start = self.owner(), self.rng.randrange(self.arena.nr_frames)
        stop = min(self.arena.nr_frames, start + self.rng.randrange(80))
        private = self.private(owner)
        keys = [(pfn, id(owner), private) for pfn in range(start, stop)]
        given = self.rng.choice((private, [private] * len(keys)))  # in one step, or as a column
        try:
            self.registry.pin_range(start, stop, owner, given)
        except AlreadyPinnedError:
            assert self.has(keys)
        else:
            assert not self.has(keys)
            self.ledger.update(dict.fromkeys(keys, owner))

    def unpin_range(self):
        if not self.ledger:
            return
        pfn, number, private = self.rng.choice(list(self.ledger))
        owner, start, stop = self.ledger[pfn, number, private], pfn, pfn + 1
        while (start - 1, number, private) in self.ledger:
            start -= 1
        while (stop, number, private) in self.ledger:
            stop += 1
        given = self.rng.choice((private, [private] * (stop - start)))
        self.registry.unpin_range(start, stop, owner, given)
        for frame in range(start, stop):
            del self.ledger[frame, number, private]

    def mask(self):
        start = self.rng.randrange(self.arena.nr_frames)
        stop = min(self.arena.nr_frames, start + self.rng.randrange(600))
        mask = self.registry.pinned_mask(start, stop)
        assert all(mask[key[0] - start] for key in self.ledger if start <= key[0] < stop)

    def pins(self):
        pfn = self.rng.randrange(NR_HOT)
        found = self.arena.pins_of(self.registry.pins(pfn))
        assert {key for key in self.ledger if key[0] == pfn} <= found

    def scan(self):
        with self.registry.scanning():
            assert set(self.ledger) <= self.arena.pins_of(self.registry.iter_pins())

    def ask(self):
        registry, nr_frames = self.registry, self.arena.nr_frames
        registry.flush()
        registry.statistics()
        assert len(registry) >= 0
        registry.next_pinned(self.rng.randrange(nr_frames))
        pfns = np.array([self.rng.randrange(nr_frames) for _ in range(40)])
        registry.owner_counts(pfns)
        registry.single_pins(pfns)

    def leave_and_return(self):
        left = [key for key in self.ledger if self.ledger[key] is self.mine]
        try:
            self.registry.unregister(self.mine)
        except PinpageError:
            assert left, "refused for pins that it does not have"
            self.registry.unregister(self.mine, force=True)
        else:
            assert not left, "left with pins"
        for key in left:
            del self.ledger[key]
        with pytest.raises(OwnerError):
            self.registry.pin(1, self.mine, 1)
        self.registry.register(self.mine)


def die_with_a_batch(arena, name):
    """Threads that end with pins in their batches; another one takes these back."""
    rng, owner = random.Random(f"{name} mortal"), arena.shared[0]
    while arena.goes_on:
        made = []

        def pin_some(pfns, private, made=made):
            for pfn in pfns:
                with contextlib.suppress(AlreadyPinnedError):
                    arena.registry.pin(pfn, owner, private)
                    made.append((pfn, private))

        threads = [
            threading.Thread(
                target=arena.guarded,
                args=(pin_some, [rng.randrange(arena.nr_frames) for _ in range(20)], ("dead", at)),
            )
            for at in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for pfn, private in made:
            arena.registry.unpin(pfn, owner, private)


def move(arena, name):
    """No pin joins a frame between `begin_move` and `end_move`."""
    rng, registry = random.Random(f"{name} mover"), arena.registry
    while arena.goes_on:
        pfns = np.unique([rng.randrange(arena.nr_frames) for _ in range(3)])
        pfns = pfns[registry.marks.begin_move(pfns)]
        looks = []
        for _ in range(2):
            time.sleep(0)
            looks.append(arena.pins_of(pin for pfn in pfns.tolist() for pin in registry.pins(pfn)))
        assert looks[1] <= looks[0], "a pin joined a frame under move"
        registry.marks.end_move(pfns)


def test_each_thread_finds_what_it_pinned_and_the_sum_is_the_registry():
    for name in rounds():
        arena = Arena(random.Random(name))
        workers = [Worker(arena, me, name) for me in range(NR_WORKERS)]
        bodies = [(worker.run,) for worker in workers]
        try:
            arena.run(*bodies, (die_with_a_batch, arena, name), (move, arena, name))
            arena.settle()
        except BaseException as error:
            error.add_note(f"round {name}")
            raise
