"""One page with several holders, and something that happens at one callback of a move of it.

The same happens once outside of any move; whatever the callback, the state afterwards must be
the same: flags, counts, lists, bytes, and who holds what.
"""

import numpy as np

from mm.machine import Machine
from mm.move.design import Answer
from mm.state.frames import FrameState, PageFlag
from mm.state.gfp import Gfp
from owners.gup.flags import Foll
from owners.gup.gup import Gup
from owners.gup.pin_references import Pinner
from pinpage.move.steps import GivenTargets
from pinpage.owner import Mode, PinOwner, Verdict

__all__ = ["ENDINGS", "Bench", "events_of"]

NR_PAGES = 512
TARGET = np.array([500])
ENDINGS = ("moves", "partner is busy", "partner raises", "partner is interrupted", "no target")
"""How a move of the page ends: done, or undone before or after the copy."""


RAISES = {"partner raises": RuntimeError, "partner is interrupted": KeyboardInterrupt}


class Partner(PinOwner):
    """An owner with a reference and a pin, which notices every callback."""

    def __init__(self, bench, ending, name="partner"):
        self.name = name
        self.bench, self.ending = bench, ending
        self.pfn = None
        bench.registry.register(self)

    def hold(self, pfn):
        """A page that the caller has a reference to."""
        self.pfn = pfn
        self.bench.registry.pin(pfn, self, 0)

    def drop(self):
        """Lets go, by the name that it knows."""
        if self.pfn is not None:
            pfn, self.pfn = self.pfn, None
            self.bench.registry.unpin(pfn, self, 0)
            self.bench.machine.put_page(pfn)

    def isolate(self, pin, mode):
        self.bench.reach("isolate")
        return Verdict.BUSY if self.ending == "partner is busy" else Verdict.YES

    def references(self, pfns, privates):
        self.bench.reach("references")
        return np.full(len(pfns), int(self.pfn is not None))

    def migrate(self, pin, target):
        if self.pfn is not None:
            self.pfn = target
        self.bench.reach("migrate")
        if self.pfn == target and self.ending in RAISES:
            self.pfn = pin.pfn
            raise RAISES[self.ending]

    def putback(self, pin):
        self.bench.reach("putback")


class Releasing(Partner):
    """A partner that can only give its page up; asked to, it does, or is busy."""

    @property
    def can_migrate(self):
        return False

    def release(self, pin, mode):
        self.bench.reach("release")
        if self.ending == "partner is busy" and self.pfn is not None:
            return Verdict.BUSY
        self.drop()
        return Verdict.YES


class Bench:
    """A page, its holders, and what happens when.

    Args:
        kind: "mapped": a process maps the page; "lru": and a device has pinned it; "cached": and
            it is in the swap cache; "plain": only the partner and a second owner hold it.
        ending: see `ENDINGS`.
        partner_first: who registers first, and so is asked first.
        releasing: the partner can only release.
    """

    def __init__(
        self, kind, ending="moves", *, partner_first=False, releasing=False, flags=Foll.PIN
    ):
        self.kind, self.ending = kind, ending
        self.machine = machine = Machine.build(nr_pages=NR_PAGES)
        self.registry = machine.use_registry()
        make = Releasing if releasing else Partner
        self.partner = make(self, ending) if partner_first else None
        self.pinner = Pinner("device", registry=self.registry, handler=self)
        self.second = make(self, "moves", "second") if kind == "plain" else None
        self.partner = self.partner or make(self, ending)
        self.gup = Gup(machine)
        self.log, self.when, self.event = [], -1, None
        self.space = machine.memory.mmap("process", 4)
        self.spaces = [self.space]
        self.pins = []
        self._make_page(kind, flags)

    def _make_page(self, kind, flags):
        machine = self.machine
        if kind == "plain":
            pfn = machine.alloc_page(Gfp.HIGHUSER_MOVABLE)
            machine.contents.write(pfn, b"plain")
            self.second.hold(pfn)
        else:
            assert machine.memory.write(self.space, 0, b"mapped") == 0
            if kind != "mapped":
                got = self.gup.get_user_pages(self.space, 0, 1, self.pinner, flags | Foll.WRITE)
                self.pins = list(got.pins)
            pfn = int(self.space.pte[0]) - 1
            machine.frames.clear_flag(np.array([pfn]), PageFlag.DIRTY)  # as after writeback
        if kind == "cached":
            machine.swap.swapon(8)
            machine.swap.cache.add(machine.swap.get_swap_page(), pfn)
        machine.get_page(pfn)
        self.partner.hold(pfn)
        self.pfn = pfn

    # Callbacks.

    def reach(self, where):
        """A callback; the event happens at one of them, by number."""
        self.log.append(where)
        if len(self.log) - 1 == self.when:
            self.event(self)

    def quiesce(self, pin_id, mode):
        self.reach("quiesce")
        return Verdict.YES

    def resume(self, pin_id):
        self.reach("resume")

    # The move.

    def move(self):
        """As compaction moves it: to a given target, or to none."""
        machine, pfns = self.machine, np.array([self.pfn])
        machine.buddy.take(TARGET)
        found = machine.mover.classify(pfns, machine.design, Mode.SYNC)
        targets = GivenTargets(TARGET[:0] if self.ending == "no target" else TARGET)
        try:
            if found.answers[0] == Answer.RELEASE:
                machine.design.release(pfns, Mode.SYNC)
            else:
                machine.design.move(pfns, targets, Mode.SYNC)
        except KeyboardInterrupt:
            assert self.ending == "partner is interrupted"
        machine.buddy.put_taken(TARGET if self.ending == "no target" else targets.remaining)
        machine.check()

    # What came of it.

    def state(self):
        """Everything that must be the same with and without a move; no pfn in it."""
        machine = self.machine
        frames = machine.frames
        seen = [self._page(int(s.pte[0]) - 1) if s.nr_vpns else None for s in self.spaces]
        seen += [self._page(self.pinner.pfn_of(pin)) for pin in self.pins]
        seen += [self._page(o.pfn) for o in (self.partner, self.second) if o]
        return (
            seen,
            [
                np.count_nonzero(frames.state == state)
                for state in FrameState
                if state not in (FrameState.FREE, FrameState.PCP)
            ],
            [machine.lru.nr_pages(active=active) for active in (False, True)],
            len(machine.swap.cache),
            len(self.registry),
        )

    def _page(self, pfn):
        if pfn is None or pfn < 0:
            return None
        frames = self.machine.frames
        flags = [flag.name for flag in PageFlag if frames.flags[pfn] & flag.mask]
        pins = sorted(pin.owner.name for pin in self.registry.pins(pfn))
        return (
            flags,
            frames.refcount.item(pfn),
            frames.mapcount.item(pfn),
            self.machine.contents.read(pfn)[:8],
            pins,
        )

    def give_up(self):
        """What being released comes to."""
        for owner in (self.partner, self.second):
            if owner is not None and owner.ending == "moves":
                owner.drop()

    def finish(self):
        """Everybody lets go: not a frame stays behind."""
        for space in self.spaces:
            if space.mm_users:
                self.machine.memory.exit(space)
        self.gup.put_user_pages(self.pinner, self.pins)
        for owner in (self.partner, self.second):
            if owner is not None:
                owner.drop()
        self.machine.check()
        assert not (self.machine.frames.state == FrameState.USED).any()
        assert not len(self.registry)


# Events.


def _dontneed(bench):
    bench.machine.memory.dontneed(bench.space, np.array([0]))


def _exit(bench):
    bench.machine.memory.exit(bench.space)


def _fork(bench):
    bench.spaces.append(bench.machine.memory.fork(bench.space, "child"))


def _fork_and_exit(bench):
    _fork(bench)
    _exit(bench)


def _fork_and_child_exits(bench):
    _fork(bench)
    bench.machine.memory.exit(bench.spaces.pop())


def _write(bench):
    assert bench.machine.memory.write(bench.space, 0, b"stored") == 0


def _unpin(bench):
    bench.gup.put_user_pages(bench.pinner, bench.pins, dirty=True)
    bench.pins = []


def _exit_and_unpin(bench):
    _exit(bench)
    _unpin(bench)


def _partner_drops(bench):
    bench.partner.drop()


def _all_drop(bench):
    if bench.kind != "plain":
        _exit_and_unpin(bench)
    else:
        bench.second.drop()
    bench.partner.drop()


def _second_drops(bench):
    bench.second.drop()


def _nothing(bench):
    """A move alone changes nothing either."""


def events_of(kind):
    """What may happen to a page of that kind."""
    if kind == "plain":
        return (_nothing, _partner_drops, _second_drops, _all_drop)
    mapped = (_nothing, _dontneed, _exit, _fork, _fork_and_exit, _fork_and_child_exits, _write)
    pinned = () if kind == "mapped" else (_unpin, _exit_and_unpin)
    return (*mapped, *pinned, _partner_drops, _all_drop)
