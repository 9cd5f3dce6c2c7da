"""Owners that lie in every way, beside honest ones, in a small world, by a seed.

Whatever a liar does, the honest lose nothing: their contents, their pins, their good name; and
nothing is left under move, taken, frozen, in flight or lost.
"""

import contextlib
import random

import numpy as np

from pinpage.errors import InvariantError, PinpageError
from pinpage.migrate import move_many, move_steps
from pinpage.move.release import release_many
from pinpage.owner import Mode, PinOwner, Verdict
from pinpage.registry import PinRegistry
from pinpage.testing.world import FrameIs, World, WorldTargets
from pinpage.topology import Topology

__all__ = ["LIES", "LiarLab"]

NR_FRAMES = 24
_ERRORS = (ValueError, RuntimeError, StopIteration, MemoryError, RecursionError)
_INTERRUPTS = (SystemExit, GeneratorExit, KeyboardInterrupt)


class _NoArray:
    """What raises when it is made an array of."""

    def __array__(self, *args, **kwargs):
        raise RuntimeError("array")


def _answers(draw, nr_pins=None):
    """Answers that are verdicts, nearly so, or nonsense."""
    one = (None, "yes", True, False, 3, -1, 255, 256, 2.0, [0], _NoArray(), float("nan"), 2**70)
    if nr_pins is None:
        return draw.choice(
            (*one, *Verdict, np.int64(1), np.uint8(2), np.array([0]), np.bool_(True))
        )
    n = nr_pins
    many = (None, [0] * n, (0,) * n, [0] * (n + 1), np.zeros((n, 1)), np.zeros(n), "0" * n)
    return draw.choice((*many, np.full(n, 3), np.full(n, -1), np.zeros(n, bool), _NoArray(), {}))


class Honest(PinOwner):
    """Keeps to the contract, and notes where others do not."""

    def __init__(self, name):
        self.name, self.place, self.quiet, self.moved, self.broken = name, {}, {}, set(), []

    def isolate(self, pin, mode):
        if self.place.get(pin.private) != pin.pfn:
            self.broken.append("isolated under a wrong name")
        self.quiet[pin.private] = True
        return Verdict.YES

    def migrate(self, pin, target):
        if not self.quiet.get(pin.private):
            self.broken.append("migrated and not isolated")
        if self.place[pin.private] == target:
            self.broken.append("migrated to where it is")
        self.place[pin.private], self.quiet[pin.private] = target, False
        self.moved.add(pin.private)

    def putback(self, pin):
        if not self.quiet.get(pin.private) and pin.private not in self.moved:
            self.broken.append("put back and not isolated")
        self.quiet[pin.private] = False


class Liar(PinOwner):
    """Tells one lie, wherever it applies; equal to this owner or that, as it likes."""

    def __init__(self, name, lie, lab):
        self.name, self.lie, self.lab, self.place, self.nr_calls = name, lie, lab, {}, 0

    def __eq__(self, other):
        return self.lab.random.random() < 0.5

    def __hash__(self):
        return self.lab.random.randrange(3)

    def _maybe(self, share=0.6):
        return self.lab.random.random() < share

    def _let_go(self, pin, *, drop=True, by=None):
        with contextlib.suppress(PinpageError):
            self.lab.registry.unpin(pin.pfn if by is None else by, self, pin.private)
            self.place.pop(pin.private, None)
            if drop:
                self.lab.world.put_page(pin.pfn if by is None else by)

    def _drop(self, pfn):
        with contextlib.suppress(InvariantError):  # it was not there to be dropped
            self.lab.world.put_page(pfn)

    def _does(self, when, pin, target=None):
        """What it does in one callback: its lie, if this is the place for it."""
        self.nr_calls += 1
        what, _, where = self.lie.partition(" in ")
        if where == when:
            getattr(self, "_" + what.replace(" ", "_"))(pin, target)

    def _raises(self, pin, target):
        if self._maybe():
            raise self.lab.random.choice(_ERRORS)("x")

    def _is_interrupted(self, pin, target):
        if self._maybe(0.5):
            raise self.lab.random.choice(_INTERRUPTS)("x")

    def _unregisters(self, pin, target):
        with contextlib.suppress(PinpageError):
            self.lab.registry.unregister(self, force=True)

    def _drops_its_reference_only(self, pin, target):
        if self._maybe():
            self._drop(self.lab.random.choice([pin.pfn, pin.pfn if target is None else target]))

    def _lets_go(self, pin, target):
        if self._maybe():
            self._let_go(pin, by=self.lab.random.choice([None, target]))

    def _unpins_and_keeps_the_reference(self, pin, target):
        if self._maybe():
            self._let_go(pin, drop=False)

    def _keeps_a_reference(self, pin, target):
        self.lab.world.sneak_reference(pin.pfn)

    def _keeps_a_reference_of_the_target(self, pin, target):
        if target is not None:
            self.lab.world.sneak_reference(target)

    def _moves_others(self, pin, target):
        if self.nr_calls < 4:
            self.lab.move_again(pin.pfn if self._maybe(0.3) else None)

    def _pins(self, pin, target):
        with contextlib.suppress(PinpageError):
            where = [pfn for pfn in (pin.pfn, target) if pfn is not None]
            pfn = self.lab.random.choice([*where, self.lab.random.randrange(NR_FRAMES)])
            self.lab.registry.pin(pfn, self, ("more", self.nr_calls), wait=False)

    def _throws_others_out(self, pin, target):
        with contextlib.suppress(PinpageError):
            self.lab.registry.unregister(self.lab.random.choice(self.lab.owners), force=True)

    def _changes_its_name(self, pin, target):
        self.name = self.lab.random.choice([None, 5, b"x", ["u"]])

    def isolate(self, pin, mode):
        self._does("isolate", pin)
        return _answers(self.lab.random) if self.lie == "answers nonsense" else Verdict.YES

    def isolate_many(self, pfns, privates, mode):
        if self.lie == "answers nonsense for all":
            return _answers(self.lab.random, len(pfns))
        return super().isolate_many(pfns, privates, mode)

    def migrate(self, pin, target):
        self._does("migrate", pin, target)
        self.place[pin.private] = target

    def putback(self, pin):
        self._does("putback", pin)

    def references(self, pfns, privates):
        n = len(pfns)
        if self.lie != "miscounts":
            return np.ones(n, dtype=np.int64)
        many = (None, [1] * n, np.full(n, -1), np.full(n, 2**64 - 1, np.uint64), np.zeros(n))
        return self.lab.random.choice((*many, np.full(n, 2**62), np.full(n, 5), "a", [2**70] * n))

    def release(self, pin, mode):
        self._does("release", pin)
        if self.lie == "answers nonsense":
            return _answers(self.lab.random)
        if self.lie.startswith("drops"):  # and what it does not have it cannot drop again
            return self.lab.random.choice([Verdict.YES, Verdict.BUSY])
        if self.lie != "says yes and keeps the page" and self._maybe():
            self._let_go(pin)
        return Verdict.YES


class SingleLiar(Liar):
    """The same without a batch form: it is called pin by pin."""

    isolate_many = PinOwner.isolate_many


_WHEN = ("isolate", "migrate", "putback", "release")
_WHAT = (
    "raises",
    "is interrupted",
    "unregisters",
    "drops its reference only",
    "lets go",
    "unpins and keeps the reference",
    "keeps a reference",
    "keeps a reference of the target",
    "moves others",
    "pins",
    "throws others out",
    "changes its name",
)
LIES = (
    *(f"{what} in {when}" for what in _WHAT for when in _WHEN),
    "answers nonsense",
    "answers nonsense for all",
    "miscounts",
    "says yes and keeps the page",
)


class LiarLab:
    """One move or release, or two at a time, the same for the same seed."""

    def __init__(self, seed, lie=None):
        self.random = draw = random.Random(seed)
        self.world = World(NR_FRAMES)
        topology = Topology.uniform(nr_frames=NR_FRAMES)
        self.registry = PinRegistry(topology, batch_nr_pins=draw.choice([0, 3, 1023]))
        self.lie = lie or draw.choice(LIES)
        self.honest = [Honest("one"), Honest("two")]
        self.liar = draw.choice([Liar, SingleLiar])("liar", self.lie, self)
        self.owners = [*self.honest, self.liar]
        draw.shuffle(self.owners)
        for owner in self.owners:
            self.registry.register(owner)
        self.value, self.frames = {}, []
        for page in range(draw.randrange(1, 6)):
            self._populate(page)

    def _populate(self, page):
        draw, world = self.random, self.world
        pfn = world.alloc_page(1000 + page, draw.choice(world.free_pfns().tolist()))
        for owner in draw.sample(self.owners, draw.randrange(1, 4)):
            for nth in range(draw.choice([1, 1, 1, 2])):
                key = (page, nth) if draw.random() < 0.5 else 100 * page + nth
                self.registry.pin(pfn, owner, key)
                world.get_page(pfn)
                owner.place[key], self.value[id(owner), key] = pfn, 1000 + page
        if draw.random() < 0.3:
            world.map_page(pfn)
        world.put_page(pfn)
        self.frames.append(pfn)

    def some_frames(self):
        return np.array(self.random.sample(self.frames, self.random.randint(1, len(self.frames))))

    def move_again(self, pfn):
        used = (
            [p for p in self.frames if self.world.state[p] is FrameIs.USED] if pfn is None else []
        )
        frames = np.array(used[:2] if pfn is None else [pfn], dtype=np.int64)
        move_many(self.registry, self.world, frames, WorldTargets(self.world), Mode.SYNC)

    def run(self):
        """The move; returns what interrupted it, or None."""
        how = self.random.random()
        args = self.registry, self.world
        try:
            if how < 0.2:
                release_many(*args, self.some_frames(), Mode.SYNC)
            elif how < 0.4:
                self._run_two()
            else:
                move_many(*args, self.some_frames(), WorldTargets(self.world), Mode.SYNC)
        except _INTERRUPTS as interrupt:
            return interrupt
        return None

    def _run_two(self):
        args = self.registry, self.world
        moves = [
            move_steps(*args, self.some_frames(), WorldTargets(self.world), Mode.SYNC)
            for _ in range(2)
        ]
        live = list(moves)
        try:
            while live:
                steps = self.random.choice(live)
                if next(steps, None) is None:
                    live.remove(steps)
        finally:
            for steps in moves:
                with contextlib.suppress(*_INTERRUPTS):
                    steps.close()

    # The question.

    def check(self):
        """The honest have lost nothing, and nothing is left over."""
        world, registry = self.world, self.registry
        registry.check()
        assert not registry.statistics().nr_moving, "a frame is under move"
        assert not registry.marks.source_of, "a target stands for its source"
        assert not world.taken, "a frame is taken"
        assert not world.frozen, "a frame is frozen"
        assert not world.in_flight, "a target is in flight"
        assert not {FrameIs.TARGET, FrameIs.EMPTY} & set(world.state), "a frame is lost"
        free = [p for p in range(NR_FRAMES) if world.state[p] is FrameIs.FREE]
        assert not any(world.refcount[p] for p in free), "a free frame is referenced"
        for pfn in free:
            owners = [pin.owner for pin in registry.pins(pfn)]
            assert not any(isinstance(owner, Honest) for owner in owners), "a free frame is pinned"
        registered = {id(owner) for owner in registry.owners}
        for owner in self.honest:
            assert not owner.broken, owner.broken[0]
            if id(owner) in registered:
                self._check_honest(owner)

    def _check_honest(self, owner):
        assert not self.registry.is_faulty(owner), self.registry.why_faulty(owner)
        for key, pfn in owner.place.items():
            assert not owner.quiet.get(key), "an honest owner still waits for the mover"
            assert self.world.contents[pfn] == self.value[id(owner), key], "contents are wrong"
            pins = self.registry.pins(pfn)
            assert any(p.owner is owner and p.private == key for p in pins), "a pin is lost"
