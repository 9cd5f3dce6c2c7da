"""R-7, R-17, R-18: three movers, owners and a process, each in a thread of its own.

Actors: three movers, whose batches overlap; owners that take frames, write to them and let go;
        a process that writes, is pinned by a device, drops pages, forks and exits.
Bad:    a mover, an owner or the allocator meets a frame that another has half given back.
Rule:   what a move gives back (target, mark, reference, frame) is whole before it can be met.

mm belongs to one thread at a time, as under the kernel's page table and zone locks: here one
lock around each thing that is asked of it.  Between two of them anything may happen.
"""

import threading

import numpy as np
import pytest

from mm.machine import Machine
from mm.move.design import Answer, RegistryDesign
from mm.move.home_move import move_home
from mm.state.frames import FrameState
from mm.state.pageblock import MigrateType
from owners.gup.flags import Foll
from owners.gup.gup import Gup
from owners.gup.pin_references import IgnoresMoves, Pinner
from pinpage.owner import Mode, PinOwner, Reason, Verdict
from tests.kit.together import run_together

NR_PAGES = 512
MOST_OBJECTS = 24
NR_VPNS = 12


class Locked:
    """One lock around each method of another object."""

    def __init__(self, inner, lock):
        self._inner, self._lock = inner, lock

    def __getattr__(self, name):
        method = getattr(self._inner, name)

        def locked(*args):
            with self._lock:
                return method(*args)

        return locked


class Targets:
    """Any free frames."""

    def __init__(self, machine):
        self._machine = machine

    def take(self, count):
        found = self._machine.buddy.alloc_many(count, MigrateType.MOVABLE)
        self._machine.frames.state[found] = FrameState.TAKEN
        return found

    def give_back(self, pfns):
        self._machine.buddy.put_taken(pfns)


class Table(PinOwner):
    """Objects of one page each, written and freed at any time but while held still."""

    def __init__(self, bench, name):
        self.name, self.bench = name, bench
        self.pfn_of, self.quiet = {}, set()
        self.lock = threading.Lock()
        self.nr_made = 0
        bench.registry.register(self)

    def isolate(self, pin, mode):
        with self.lock:
            if self.pfn_of.get(pin.private) != pin.pfn:
                return Verdict.AGAIN  # made, but not written down yet; or being freed
            self.quiet.add(pin.private)
            return Verdict.YES

    def migrate(self, pin, target):
        with self.lock:
            if pin.private in self.pfn_of:
                self.pfn_of[pin.private] = target
            self.quiet.discard(pin.private)

    def putback(self, pin):
        with self.lock:
            self.quiet.discard(pin.private)

    def step(self, rng):
        """Make, free or rewrite an object."""
        with self.lock:
            known = [key for key in self.pfn_of if key not in self.quiet]
        what = rng.random()
        if what < 0.4 and len(known) < MOST_OBJECTS:
            self.make()
        elif known and what < 0.7:
            self.free(rng.choice(known))
        elif known:
            with self.lock:
                if (key := rng.choice(known)) not in self.quiet and key in self.pfn_of:
                    self.look(key)
                    self.bench.machine.contents.write(self.pfn_of[key], self.bytes_of(key))

    def make(self):
        machine, key = self.bench.machine, self.nr_made
        self.nr_made += 1
        with self.bench.lock:
            pfn = machine.buddy.alloc(0, MigrateType.MOVABLE)
        if pfn < 0:
            return
        machine.contents.write(pfn, self.bytes_of(key))
        if self.bench.registry.pin(pfn, self, key) is not Verdict.YES:
            self.bench.put(pfn)
            return
        with self.lock:
            self.pfn_of[key] = pfn

    def free(self, key):
        """Legal at any time, also while a move has the page; by the name that is true now."""
        with self.lock:
            pfn = self.pfn_of.pop(key, None)
            if pfn is None:
                return
            self.quiet.discard(key)  # nobody calls about it any more
            self.bench.registry.unpin(pfn, self, key)
        self.bench.put(pfn)

    def bytes_of(self, key):
        return f"{self.name} {key}".encode().ljust(16, b".")

    def look(self, key):
        found = self.bench.machine.contents.read(self.pfn_of[key])[:16]
        assert found == self.bytes_of(key), f"{found} is not {self.bytes_of(key)}"


class Process:
    """A process whose pages a device pins and lets go again."""

    def __init__(self, bench):
        self.bench, self.machine = bench, bench.machine
        self.gup = Gup(self.machine)
        self.pinner = Pinner("device", registry=bench.registry, handler=IgnoresMoves())
        self.space = self.machine.memory.mmap("process", NR_VPNS)
        self.texts, self.pins = {}, {}

    def step(self, rng):
        """One thing, the machine's lock held: what a processor does with preemption off."""
        vpn, what = rng.randrange(NR_VPNS), rng.random()
        with self.bench.lock:
            if what < 0.35:
                self.texts[vpn] = f"text {rng.random()}".encode()
                assert self.machine.memory.write(self.space, vpn, self.texts[vpn]) == 0
            elif what < 0.5 and vpn in self.texts:
                got = self.gup.get_user_pages(
                    self.space, vpn, 1, self.pinner, Foll.GET | Foll.WRITE
                )
                self.pins.setdefault(vpn, []).extend(got.pins)
            elif what < 0.75 and self.pins.get(vpn):
                self.gup.put_user_pages(self.pinner, [self.pins[vpn].pop()], dirty=True)
            elif what < 0.9:
                self.machine.memory.dontneed(self.space, np.array([vpn]))
                self.texts.pop(vpn, None)
            else:
                child = self.machine.memory.fork(self.space, "child")
                self.machine.memory.exit(child)

    def look(self):
        for vpn, text in self.texts.items():
            assert self.machine.memory.read(self.space, vpn)[: len(text)] == text

    def finish(self):
        self.look()
        for pins in self.pins.values():
            self.gup.put_user_pages(self.pinner, pins)
        self.machine.memory.exit(self.space)


class Bench:
    """The machine, its lock, and whoever uses it."""

    def __init__(self, seed):
        self.seed, self.lock = seed, threading.RLock()
        self.machine = Machine.build(nr_pages=NR_PAGES)
        self.registry = self.machine.use_registry(batch_nr_pins=(0, 3, 1023)[seed % 3])
        self.mover = Locked(self.machine.mover, self.lock)
        self.design = RegistryDesign(self.registry, self.mover)
        self.tables = [Table(self, name) for name in ("zbud", "slab", "ring")]
        self.process = Process(self)
        self.nr_moved = 0

    def put(self, pfn):
        with self.lock:
            self.machine.put_page(pfn)

    def move(self, rng):
        """One batch of whatever is used now."""
        with self.lock:
            used = np.flatnonzero(self.machine.frames.state == FrameState.USED)
            if not len(used):
                return
            pfns = np.sort(rng.sample(used.tolist(), min(len(used), rng.randrange(1, 9))))
            found = self.machine.mover.classify(pfns, self.design, Mode.SYNC)
        targets = Locked(Targets(self.machine), self.lock)
        chosen = found.answers == Answer.MOVE
        alone, asked = pfns[chosen & found.alone], pfns[chosen & ~found.alone]
        for report in (
            move_home(self.mover, alone, targets),
            self.design.move(asked, targets, Mode.SYNC),
        ):
            self.nr_moved += int(np.count_nonzero(report.reasons == Reason.MOVED))

    def run(self, seconds):
        """Everybody at once, for so long."""
        steps = [self.move] * 3 + [table.step for table in self.tables] + [self.process.step]
        seeds = [self.seed * 100 + number for number in range(len(steps))]
        run_together(steps, seeds, seconds, switch_interval_s=1e-6)

    def finish(self):
        """Everything is where its holder believes; and when all let go, all is free."""
        assert not any(self.registry.is_faulty(owner) for owner in self.registry.owners)
        self.machine.check()
        for table in self.tables:
            assert not table.quiet
            for key in list(table.pfn_of):
                table.look(key)
                table.free(key)
        self.process.finish()
        self.machine.check()
        assert not len(self.registry)
        left = [FrameState.USED, FrameState.QUARANTINED, FrameState.TAKEN]
        assert not np.isin(self.machine.frames.state, left).any()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_three_movers_for_a_moment(seed):
    bench = Bench(seed)
    bench.run(1.0)
    bench.finish()
    assert bench.nr_moved


@pytest.mark.slow
@pytest.mark.parametrize("seed", [3])
def test_three_movers_for_a_minute(seed):
    bench = Bench(seed)
    bench.run(60.0)
    bench.finish()
    assert bench.nr_moved > 1_000
