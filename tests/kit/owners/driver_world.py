"""A machine of 64 frames in pageblocks of 8 for owners that hold pages of their own."""

import numpy as np

from mm.machine import Machine
from mm.state.contents import ArenaContents
from mm.state.frames import Frames, FrameState
from mm.state.gfp import Gfp
from mm.state.nodes import Zone, place_frames
from mm.state.pageblock import Pageblocks
from pinpage.migrate import move_steps
from pinpage.move.release import release_many
from pinpage.owner import Mode, Reason
from pinpage.testing.explore import Scenario
from pinpage.testing.world import column
from pinpage.units import Span

__all__ = ["DriverWorld", "FreeFrames"]


class FreeFrames:
    """Targets: free frames, the highest first."""

    def __init__(self, machine):
        self._machine = machine

    def take(self, count):
        self._machine.pcp.drain_all()
        free = np.flatnonzero(self._machine.frames.state == FrameState.FREE)[::-1]
        chosen = np.sort(free[:count])
        self._machine.buddy.take(chosen)
        return chosen

    def give_back(self, pfns):
        if len(pfns):
            self._machine.buddy.put_taken(pfns)


class DriverWorld:
    """The machine (also the page source), its registry, moves by hand or under the explorer."""

    def __init__(self, nr_pages=64):
        frames = Frames(nr_pages)
        frames.state[:] = FrameState.FREE
        zones = [Zone(0, "Normal", 0, Span(0, nr_pages))]
        place_frames(frames, zones)
        blocks = Pageblocks(nr_pages, nr_pages_per_block=8)
        self.machine = Machine(frames, blocks, zones, ArenaContents(nr_pages), nr_cpus=1)
        self.registry = self.machine.use_registry()
        self.contents = self.machine.contents
        self.reasons = {}

    @property
    def nr_free(self):
        self.machine.pcp.drain_all()
        return int(self.machine.buddy.nr_free())

    def pinned(self):
        """Every pinned pfn, ascending."""
        return np.flatnonzero(self.registry.pinned_mask(0, self.machine.frames.nr_frames))

    def scatter(self, make, keep_every=4):
        """Call `make` until memory is full of it and of filler pages, then free the filler."""
        filler = []
        while True:
            if len(filler) % keep_every == 0 and not make():
                break
            pfn = self.machine.alloc_page(Gfp.HIGHUSER_MOVABLE)
            if pfn < 0:
                break
            filler.append(pfn)
        for pfn in filler:
            self.machine.put_page(pfn)
        self.machine.pcp.drain_all()

    # Moving.

    def steps(self, *pfns, name="mover", mode=Mode.SYNC):
        """A move as an actor; what became of it is in `reasons[name]`."""
        report = yield from move_steps(
            self.registry, self.machine.mover, column(*pfns), FreeFrames(self.machine), mode
        )
        self.reasons[name] = [Reason(int(reason)) for reason in report.reasons]

    def move(self, *pfns, mode=Mode.SYNC):
        """A move at once; one `Reason` per frame."""
        for _ in self.steps(*pfns, mode=mode):
            pass
        return self.reasons["mover"]

    def release(self, *pfns, mode=Mode.SYNC):
        """Ask for frames to be given up; one `Reason` per frame."""
        reasons = release_many(self.registry, self.machine.mover, column(*pfns), mode)
        return [Reason(int(reason)) for reason in reasons]

    def check(self):
        """Every invariant, and no reference that no pin accounts for."""
        self.machine.check()
        frames = self.machine.frames
        used = np.flatnonzero(frames.state == FrameState.USED)
        assert (self.machine.mover.home_references(used) == 0).all()
        assert used.tolist() == self.pinned().tolist(), "a used frame that nobody pinned"
        owners = self.registry.owner_counts(used)
        assert (frames.refcount[used] == owners).all(), "references do not add up"

    def scenario(self, owner, finish=lambda: None, **actors):
        """For the explorer: at the end everything is checked."""

        def at_rest():
            owner.check()
            self.check()
            finish()

        return Scenario(actors, finish=at_rest)
