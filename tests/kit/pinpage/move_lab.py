"""A small world, honest owners and a move or a release of some of its frames, by a seed.

What must hold afterwards, whatever interrupted it: no frame is under move, taken or frozen, no
target is lost, nobody is out of circulation, nobody still waits for the mover, and each owner
finds what it keeps where it believes that to be, under a pin of its own.
"""

import random

import numpy as np

import pinpage.migrate
import pinpage.move.batch
import pinpage.move.callbacks
import pinpage.move.interrupts
import pinpage.move.pins
import pinpage.move.release
import pinpage.move.steps
import pinpage.move.undoing
import pinpage.store.marks
import pinpage.store.owner_table
import pinpage.testing.world
from pinpage.migrate import move_many, move_steps
from pinpage.move.release import release_many, release_steps
from pinpage.owner import Mode, PinOwner, Verdict
from pinpage.registry import PinRegistry
from pinpage.testing.world import FrameIs, World, WorldTargets
from pinpage.topology import Topology
from tests.kit import inside

__all__ = ["MOVE_FILES", "MoveLab"]

MOVE_FILES = {
    module.__file__
    for module in (
        pinpage.move.callbacks,
        pinpage.move.pins,
        pinpage.move.interrupts,
        pinpage.store.owner_table,
        pinpage.migrate,
        pinpage.move.batch,
        pinpage.move.release,
        pinpage.store.marks,
        pinpage.move.steps,
        pinpage.testing.world,
        pinpage.move.undoing,
    )
}
"""Where an interrupt of a move can strike; the registry has tests of its own."""
NR_FRAMES = 24


class Honest(PinOwner):
    """Knows its pages by private; each callback happens at once, or not at all."""

    def __init__(self, name, lab):
        self.name, self.lab = name, lab
        self.place, self.quiet, self.broken = {}, {}, []

    def isolate(self, pin, mode):
        if self.place.get(pin.private) != pin.pfn:
            self.broken.append(f"isolate of {pin.private} at {pin.pfn}")
        answer = self.lab.says(self, pin.private)
        if answer == "freed":
            self.lab.let_go(self, pin)
            return Verdict.YES
        if answer is Verdict.YES:
            self.quiet[pin.private] = True
        return answer

    def migrate(self, pin, target):
        if pin.private not in self.quiet:
            self.broken.append(f"migrate of {pin.private}, which is not isolated")
        if self.lab.raises(self, pin.private):
            raise RuntimeError("not now")
        self.place[pin.private] = target

    def putback(self, pin):
        self.quiet[pin.private] = False

    def release(self, pin, mode):
        if self.lab.says(self, pin.private) is not Verdict.YES:
            return Verdict.BUSY
        self.lab.let_go(self, pin)
        return Verdict.YES


class Batchwise(Honest):
    """The same, all pins in one callback."""

    def isolate_many(self, pfns, privates, mode):
        return np.array([self.isolate(pin, mode) for pin in _pins(self, pfns, privates)], np.uint8)

    def migrate_many(self, pfns, privates, targets):
        keys = [pin.private for pin in _pins(self, pfns, privates)]
        if any(key not in self.quiet for key in keys):
            self.broken.append(f"migrate of {keys}, not all isolated")
        if any(self.lab.raises(self, key) for key in keys):
            raise RuntimeError("not now")
        self.place |= dict(zip(keys, targets.tolist(), strict=True))

    def putback_many(self, pfns, privates):
        self.quiet |= {pin.private: False for pin in _pins(self, pfns, privates)}


def _pins(owner, pfns, privates):
    privates = privates.tolist() if isinstance(privates, np.ndarray) else privates
    return list(map(pinpage.owner.Pin, pfns.tolist(), [owner] * len(pfns), privates))


class MoveLab:
    """One move, the same for the same seed."""

    def __init__(self, seed):
        self.random = draw = random.Random(seed)
        self.world = World(NR_FRAMES)
        topology = Topology.uniform(nr_frames=NR_FRAMES)
        self.registry = PinRegistry(topology, batch_nr_pins=draw.choice([0, 3, 1023]))
        self.owners = [Honest("a", self), Batchwise("b", self), Honest("c", self)]
        for owner in self.owners:
            self.registry.register(owner)
        self.answers, self.value, self.faulty, self.leaving = {}, {}, set(), set()
        frames = [self._populate(page) for page in range(draw.randrange(1, 5))]
        self.sources = np.array(draw.sample(frames, draw.randrange(1, len(frames) + 1)))
        self.is_release = draw.random() < 0.25
        self.targets = WorldTargets(self.world, limit=draw.choice([None, None, None, 1, 2]))

    def _populate(self, page):
        draw, world = self.random, self.world
        pfn = world.alloc_page(1000 + page, draw.choice(world.free_pfns().tolist()))
        is_known = False
        for owner in draw.sample(self.owners, draw.randrange(4)):
            for nth in range(draw.choice([1, 1, 2])):
                key = (page, nth) if draw.random() < 0.5 else 100 * page + nth
                self.registry.pin(pfn, owner, key)
                world.get_page(pfn)
                owner.place[key], self.value[owner, key] = pfn, 1000 + page
                answers = [Verdict.YES] * 8 + [Verdict.BUSY, Verdict.AGAIN, "freed", "raises"]
                self.answers[owner, key] = draw.choice(answers)
                is_known = True
        if draw.random() < 0.3:
            world.map_page(pfn)
            is_known = True
        if is_known and draw.random() < 0.9:  # else somebody has a reference of its own
            world.put_page(pfn)
        return pfn

    # What the owners ask.

    def says(self, owner, key):
        answer = self.answers[owner, key]
        return Verdict.YES if answer == "raises" else answer

    def raises(self, owner, key):
        due = self.answers[owner, key] == "raises" and not self.registry.is_faulty(owner)
        if due:
            self.faulty.add(owner)
        return due

    def let_go(self, owner, pin):
        self.leaving.add((owner, pin.private))  # its own affair if that is interrupted
        self.registry.unpin(pin.pfn, owner, pin.private)
        del owner.place[pin.private]
        self.world.put_page(pin.pfn)

    # The move.

    def run(self):
        """All of it."""
        args = self.registry, self.world, self.sources
        if self.is_release:
            return release_many(*args, Mode.SYNC)
        return move_many(*args, self.targets, Mode.SYNC)

    def steps(self):
        """Its generator."""
        args = self.registry, self.world, self.sources
        if self.is_release:
            return release_steps(*args, Mode.SYNC)
        return move_steps(*args, self.targets, Mode.SYNC)

    def check(self):
        """Everything is as if nobody had asked, or as if all had gone well."""
        world, registry = self.world, self.registry
        world.check()
        registry.check()
        assert not registry.statistics().nr_moving, "a frame is under move"
        assert not registry.marks.source_of, "a target stands for its source"
        assert not world.taken, "a frame is taken"
        assert not world.frozen, "a frame is frozen"
        assert not world.in_flight, "a target is in flight"
        states = set(world.state)
        assert not states & {FrameIs.TARGET, FrameIs.EMPTY}, "a frame is lost"
        assert FrameIs.QUARANTINED not in states, "a frame of honest owners was set aside"
        for owner in self.owners:
            self._check_owner(owner)
        calls = inside.calls_in_flight(registry)
        assert not any(held._is_owned() for held in calls), "a callback is in flight for ever"
        stranger = PinOwner()  # no lock is held: whoever comes and goes gets through
        registry.register(stranger)
        registry.unregister(stranger)

    def _check_owner(self, owner):
        assert not owner.broken, owner.broken
        assert owner in self.faulty or not self.registry.is_faulty(owner), "honest, and faulty"
        for key, pfn in owner.place.items():
            if (owner, key) in self.leaving:
                continue
            assert self.world.contents[pfn] == self.value[owner, key], "contents are wrong"
            pins = [(pin.owner, pin.private) for pin in self.registry.pins(pfn)]
            assert (owner, key) in pins, "a pin is lost"
