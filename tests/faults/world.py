"""A machine with everybody in it who can be in the way, and what must be true after a fault.

A world is drawn as in tests/unit/mm/machines, eight frames to a pageblock:

    .  free          a  anonymous              c d  clean, dirty page cache
    p  per-CPU list  #  nobody registered it   h    of a huge page (a whole pageblock) in use
    x  of a keeper that is called in batches   y    of one that is called pin by pin
    X  of both       A  anonymous and pinned by y
    P  anonymous, with a reference that nobody registered: it stays
    g  of one that gives up its pages instead of moving them
"""

from functools import partial

import numpy as np

from mm.hotplug.notify import MemoryAction
from mm.state.errno import Errno
from mm.state.frames import FrameState, PageFlag
from mm.state.pageblock import MigrateType
from pinpage.errors import require
from pinpage.owner import PinOwner, Verdict
from tests.faults.harness import Fault
from tests.kit.mm.machines import SIZE, small_machine

__all__ = ["SIZE", "UNIT", "World"]

UNIT = 2 * SIZE
"""Frames of a memory block, of a power region, and of what stands in for a 1 GiB page."""

_ANON = PageFlag.ANON.mask | PageFlag.SWAPBACKED.mask | PageFlag.UPTODATE.mask
_VERDICTS = {"again": Verdict.AGAIN, "busy": Verdict.BUSY}
_NONSENSE = 9


class _FaultError(RuntimeError):
    """What an owner raises where it is to."""


class Keeper(PinOwner):
    """Holds frames; called pin by pin.

    A lie is: an answer that is no verdict; a reference too many; or a migrate after which it
    stays where it was and keeps a reference there.
    """

    def __init__(self, name, world):
        self.name = name
        self.world = world
        self.place = {}
        self.quiet = set()
        world.registry.register(self)

    def adopt(self, pfns):
        self.place.update({pfn: pfn for pfn in pfns.tolist()})
        self.world.registry.pin_many(pfns, self, pfns)

    @property
    def can_migrate(self):
        return True

    def _enter(self):
        if self.world.fault.is_due("raise"):
            raise _FaultError("as told")
        self.world.fault.interrupts("interrupt a callback")

    def _verdict(self, private):
        for kind, verdict in _VERDICTS.items():
            if self.world.fault.is_due(kind):
                return verdict
        require(private not in self.quiet, "isolated twice", private=private)
        self.quiet.add(private)
        return Verdict.YES

    def _move(self, private, pfn, target):
        require(private in self.quiet, "migrated while not quiet", private=private)
        self.quiet.discard(private)
        if self.world.fault.is_due("lie"):
            self.world.lie(self, private, pfn)
        else:
            self.place[private] = target

    def isolate(self, pin, mode):
        self._enter()
        lies = self.world.fault.is_due("lie")
        return _NONSENSE if lies else self._verdict(pin.private)

    def migrate(self, pin, target):
        self._enter()
        self._move(pin.private, pin.pfn, target)

    def putback(self, pin):
        self.quiet.discard(pin.private)  # at once: whoever broke down is not called again
        self._enter()

    def references(self, pfns, privates):
        self._enter()
        counts = np.ones(len(pfns), dtype=np.int64)
        counts[0] += self.world.fault.is_due("lie")
        return counts


class BatchKeeper(Keeper):
    """The same, called in batches: it raises before it has done anything, or not at all."""

    def isolate_many(self, pfns, privates, mode):
        self._enter()
        if self.world.fault.is_due("lie"):
            return np.full(len(pfns), _NONSENSE)
        return np.array([self._verdict(p) for p in _ints(privates)], dtype=np.uint8)

    def migrate_many(self, pfns, privates, targets):
        self._enter()
        for pfn, private, target in zip(
            pfns.tolist(), _ints(privates), targets.tolist(), strict=True
        ):
            self._move(private, pfn, target)

    def putback_many(self, pfns, privates):
        self.quiet.difference_update(_ints(privates))
        self._enter()


class Giver(PinOwner):
    """Gives up what it holds: nobody needs it that could not make it again.

    A lie is to say yes and keep the page, or an answer that is no verdict.
    """

    name = "giver"

    def __init__(self, world):
        self.world = world
        self.place = {}
        world.registry.register(self)

    adopt = Keeper.adopt
    quiet = frozenset()
    _enter = Keeper._enter

    @property
    def can_release(self):
        return True

    def release(self, pin, mode):
        self._enter()
        for kind, verdict in _VERDICTS.items():
            if self.world.fault.is_due(kind):
                return verdict
        if self.world.fault.is_due("lie"):
            return Verdict.YES
        self.world.registry.unpin(pin.pfn, self, pin.private)
        self.world.machine.put_page(self.place.pop(pin.private))
        return Verdict.YES


def _ints(privates):
    return [int(private) for private in privates]


class World:
    """One machine, everybody who has something in it, and what was obtained of it so far."""

    def __init__(self, *blocks, cma_blocks=0):
        self.fault = Fault()
        self.machine = machine = small_machine(len(blocks))
        self.registry = machine.use_registry()
        self.obtained = []
        self.lied = set()
        self.messages = []
        self.has_huge_page = any("h" in picture for picture in blocks)
        self.signs = signs = np.array(list("".join(blocks)))
        for block in range(cma_blocks):
            machine.buddy.set_migratetype(block, MigrateType.CMA)
        for block, picture in enumerate(blocks):
            if picture[0] == "h":
                machine.hugetlb.adopt(machine.buddy.claim_block(block))
                machine.hugetlb.use(block * SIZE)
        used = np.flatnonzero(~np.isin(signs, [".", "h"]))
        machine.buddy.take(used)
        machine.buddy.taken_to_used(used)
        born = np.flatnonzero(signs != ".")
        machine.contents.set_tags(born, 1000 + born.astype(np.uint64))
        machine.pcp.adopt(np.flatnonzero(signs == "p"))
        self.anon = self._map("anon", "anon", "aAP", _ANON)
        self.cache = self._map("cache", "file", "c", PageFlag.UPTODATE.mask)
        dirty = PageFlag.UPTODATE.mask | PageFlag.DIRTY.mask
        self.dirty = self._map("dirty", "file", "d", dirty)
        x, y, giver = BatchKeeper("x", self), Keeper("y", self), Giver(self)
        self.owners = (x, y, giver)
        machine.frames.refcount[np.isin(signs, ["X", "A", "P"])] = 2
        for owner, held in ((x, "xX"), (y, "yXA"), (giver, "g")):
            owner.adopt(np.flatnonzero(np.isin(signs, list(held))))
        machine.hotplug.blocks.nr_pages = UNIT
        for name in ("first", "second"):
            machine.hotplug.notifiers.add(partial(self._told, name))
        machine.power.configure(UNIT)
        if cma_blocks:
            machine.cma.adopt()
        machine.pcp.drain_all()
        self.types = machine.pageblocks.migratetype.copy()
        self.pcp_limits = (machine.pcp.batches[:], machine.pcp.highs[:])
        self.check()

    def _map(self, name, kind, signs, flags):
        pfns = np.flatnonzero(np.isin(self.signs, list(signs)))
        space = self.machine.rmap.create(name, len(self.signs), kind=kind)
        self.machine.frames.flags[pfns] = flags
        self.machine.rmap.map_many(space, pfns, pfns)
        self.machine.lru.add_many(pfns)
        return space

    def _told(self, name, action, block):
        self.messages.append((name, block, action))
        if action is MemoryAction.GOING_OFFLINE:
            self.fault.interrupts("interrupt a question")
            if self.fault.is_due("veto"):
                return Errno.EBUSY
        return Errno.OK

    def lie(self, owner, private, pfn):
        """A reference of a frozen frame that nobody accounts for; it goes with the contents.

        What this owner believes from here on is its own affair.
        """
        self.machine.frames.refcount[pfn] -= 1
        self.lied.add((owner, private))

    def signal_pending(self):
        return self.fault.is_due("signal")

    # The question.

    def check(self):
        """Nothing is lost, nothing left over, everything put back."""
        self.machine.check()
        self.registry.check()
        self._require_contents()
        self._require_known_frames()
        self._require_put_back()

    def _require_contents(self):
        machine, signs = self.machine, self.signs
        for space, must in ((self.anon, "aAP"), (self.cache, ""), (self.dirty, "d")):
            vpns = space.present()
            self._require_tags(vpns, space.pte[vpns] - 1)
            assert set(np.flatnonzero(np.isin(signs, list(must))).tolist()) <= set(vpns.tolist())
        for owner in self.owners:
            true = [p for p in owner.place if (owner, p) not in self.lied]
            self._require_tags(true, [owner.place[p] for p in true])
            pins = {(owner.place[p], p) for p in true}
            stored = {(pin.pfn, pin.private) for pin in self._pins(owner)}
            assert pins <= stored
            assert len(stored - pins) <= len(self.lied)
        unknown = np.flatnonzero(signs == "#")
        self._require_tags(unknown, unknown)
        self._require_huge_page(machine.hugetlb)

    def _require_huge_page(self, pool):
        born = np.flatnonzero(self.signs == "h")
        used = [head for head in pool.heads if pool.nr_users(head)]
        assert len(used) * SIZE == len(born)
        if used:
            self._require_tags(born, np.concatenate([pool.frames_of(head) for head in used]))

    def _require_tags(self, born, pfns):
        born, pfns = np.asarray(born, dtype=np.int64), np.asarray(pfns, dtype=np.int64)
        assert self.machine.contents.tags(pfns).tolist() == (1000 + born).tolist()

    def _pins(self, owner):
        frames = range(self.machine.frames.nr_frames)
        return [pin for pfn in frames for pin in self.registry.pins(pfn) if pin.owner is owner]

    def _require_known_frames(self):
        """Each frame is free, gone, out of circulation for a fault, or somebody's, once."""
        frames, pool = self.machine.frames, self.machine.hugetlb
        count = np.maximum(frames.mapcount, -1) + 1
        for pfn in np.flatnonzero(self.machine.registry.pinned_mask(0, frames.nr_frames)).tolist():
            pins = self.registry.pins(pfn)
            count[pfn] += len(pins) + sum((pin.owner, pin.private) in self.lied for pin in pins)
        count[np.isin(self.signs, ["#", "P"])] += 1
        for span in self.obtained:
            count[span.start : span.stop] += 1
        huge = frames.has_flag(np.arange(frames.nr_frames), PageFlag.HUGE)
        assert huge.sum() == len(pool.heads) * SIZE
        used = (frames.state == FrameState.USED) & ~huge
        assert (count > 0)[~huge].tolist() == used[~huge].tolist(), "a frame is nobody's"
        assert frames.refcount[used].tolist() == count[used].tolist(), "a reference is nobody's"
        aside = int((frames.state == FrameState.QUARANTINED).sum())
        assert aside <= (len(self.signs) if self.fault.kind in ("raise", "lie") else 0)
        assert not (frames.state == FrameState.TAKEN).any()

    def _require_put_back(self):
        machine = self.machine
        assert not any(owner.quiet for owner in self.owners), "somebody still waits for the mover"
        off = np.repeat(machine.power.is_off, UNIT // SIZE)
        types = np.where(off, MigrateType.ISOLATE, self.types)
        assert machine.pageblocks.migratetype.tolist() == types.tolist()
        for area in machine.cma.areas:
            bits = np.zeros(area.span.nr_pages, dtype=bool)
            for span in self.obtained:
                bits[span.start - area.span.start : span.stop - area.span.start] = True
            assert area.bitmap.tolist() == bits.tolist()
        assert (machine.pcp.batches[:], machine.pcp.highs[:]) == self.pcp_limits
        last = {(name, block): action for name, block, action in self.messages}
        assert MemoryAction.GOING_OFFLINE not in last.values(), "somebody is left in suspense"

    def nr_obtained(self):
        """What all requests so far have come to."""
        machine = self.machine
        return (
            len(self.obtained)
            + machine.hugetlb.nr_huge_pages
            + int((machine.frames.state == FrameState.HOLE).sum())
            + machine.power.nr_regions_off
            + int(machine.buddy.wholly_free().sum()) * (not self.obtained)
        )
