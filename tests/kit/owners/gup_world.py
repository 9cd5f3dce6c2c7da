"""A machine small enough to look at, with processes and somebody who pins their pages."""

import numpy as np

from mm.machine import Machine
from mm.state.contents import ArenaContents
from mm.state.frames import Frames, FrameState
from mm.state.nodes import Zone, place_frames
from mm.state.pageblock import Pageblocks
from owners.gup.gup import Gup
from owners.gup.pin_references import Pinner
from pinpage.owner import Mode, Verdict
from pinpage.units import Span

__all__ = ["AnyFree", "GupWorld", "Stubborn"]


class GupWorld:
    """64 frames in pageblocks of 8, a registry, get_user_pages; the top may be ZONE_MOVABLE."""

    def __init__(self, nr_pages=64, registry=True, nr_movable=0, contents=ArenaContents):
        frames = Frames(nr_pages)
        frames.state[:] = FrameState.FREE
        border = nr_pages - nr_movable
        zones = [Zone(0, "Normal", 0, Span(0, border))]
        if nr_movable:
            zones.append(Zone(1, "Movable", 0, Span(border, nr_pages)))
        place_frames(frames, zones)
        blocks = Pageblocks(nr_pages, nr_pages_per_block=8)
        self.machine = Machine(frames, blocks, zones, contents(nr_pages), nr_cpus=1)
        self.registry = self.machine.use_registry() if registry else None
        self.memory = self.machine.memory
        self.gup = Gup(self.machine)
        self.pinners = []

    def pinner(self, name="driver", handler=None, *, registered=True):
        made = Pinner(name, registry=self.registry if registered else None, handler=handler)
        self.pinners.append(made)
        return made

    def process(self, nr_pages, name="p"):
        """A process whose page i holds the byte i + 1 all over."""
        space = self.memory.mmap(name, nr_pages)
        for vpn in range(nr_pages):
            self.memory.write(space, vpn, bytes([vpn + 1]) * 4096)
        return space

    def pfn(self, space, vpn=0):
        return int(space.pte[vpn]) - 1

    def move(self, *pfns, mode=Mode.SYNC):
        """Move used frames anywhere else, as compaction does; the report."""
        mover, design = self.machine.mover, self.machine.design
        column = np.array(sorted(pfns))
        found = mover.classify(column, design, mode)
        return mover.migrate(column, found.alone, AnyFree(self.machine), design, mode)

    def check(self):
        """Every invariant, and every reference accounted for."""
        self.machine.check()
        self.gup.check(self.pinners)
        held = {}
        for pinner in self.pinners:
            for pfn, nr_references in pinner.holdings():
                held[pfn] = held.get(pfn, 0) + nr_references
        self.machine.paging.check(held)


class AnyFree:
    """Targets: the highest free frames, or those of a random generator's choice."""

    def __init__(self, machine, rng=None):
        self._machine = machine
        self._rng = rng

    def take(self, count):
        free = np.flatnonzero(self._machine.frames.state == FrameState.FREE)[::-1]
        if self._rng is not None:
            free = self._rng.permutation(free)
        chosen = np.sort(free[:count])
        self._machine.buddy.take(chosen)
        return chosen

    def give_back(self, pfns):
        if len(pfns):
            self._machine.buddy.put_taken(pfns)


class Stubborn:
    """A handler that answers as told, and notes what it was told in turn."""

    def __init__(self, *verdicts):
        self.verdicts = list(verdicts) or [Verdict.YES]
        self.log = []

    def quiesce(self, pin_id, mode):
        self.log.append(("quiesce", pin_id))
        verdict = self.verdicts[0]
        if len(self.verdicts) > 1:
            self.verdicts.pop(0)
        return verdict

    def resume(self, pin_id):
        self.log.append(("resume", pin_id))
