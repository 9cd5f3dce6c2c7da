"""A small machine with a z3fold pool on it, and moves that stop at every step."""

import numpy as np

from mm.state.frames import FrameState
from owners.z3fold.pool import Z3foldPool
from pinpage.migrate import move_many, move_steps
from pinpage.owner import Mode, Reason
from tests.kit.mm.machines import small_machine

__all__ = ["Targets", "Z3World", "noise"]


def noise(number, nr_bytes):
    """Bytes that nobody else has."""
    return np.random.default_rng(number).bytes(nr_bytes)


class Targets:
    """Targets from the top of free memory; what is not used goes back."""

    def __init__(self, machine):
        self._buddy, self._frames = machine.buddy, machine.frames

    def take(self, count):
        pfns = np.flatnonzero(self._frames.state == FrameState.FREE)[::-1][:count].copy()
        self._buddy.take(pfns)
        return pfns

    def give_back(self, pfns):
        self._buddy.put_taken(pfns)


class Z3World:
    """A machine of a few blocks of eight frames, a registry, and one pool."""

    def __init__(self, nr_blocks=4, **kwargs):
        self.machine = small_machine(nr_blocks, arena=True)
        self.registry = self.machine.use_registry()
        self.pool = Z3foldPool(self.machine, registry=self.registry, **kwargs)
        self.nr_frames = self.machine.frames.nr_frames

    def new(self, data):
        """An object with these bytes; its handle."""
        handle = self.pool.alloc(len(data))
        assert handle > 0
        assert self.pool.write(handle, data) == 0
        return handle

    def place(self, handle):
        """Page id, slot and byte offset of an object."""
        page_id, buddy = self.pool.handles.decode(handle)
        return page_id, buddy, int(self.pool.extents_of(np.array([handle])).head[0]) % 4096

    def pfn(self, handle):
        return int(self.pool.pages.pfn[self.place(handle)[0]])

    def move(self, *pfns, mode=Mode.SYNC):
        """Move frames at once; one `Reason` each."""
        sources = np.array(pfns, dtype=np.int64)
        targets = Targets(self.machine)
        report = move_many(self.registry, self.machine.mover, sources, targets, mode)
        return [Reason(int(reason)) for reason in report.reasons]

    def steps(self, *pfns, mode=Mode.SYNC):
        """The same move, step by step."""
        sources = np.array(pfns, dtype=np.int64)
        return move_steps(self.registry, self.machine.mover, sources, Targets(self.machine), mode)

    @property
    def nr_free(self):
        states = (FrameState.FREE, FrameState.PCP)
        return int(np.isin(self.machine.frames.state, states).sum())

    def check(self):
        """Everything that can be checked at rest; nothing is lost between pool and machine."""
        self.pool.check()
        self.machine.check()
        assert len(self.registry) == self.pool.pages_nr
        assert self.nr_free == self.nr_frames - self.pool.pages_nr
