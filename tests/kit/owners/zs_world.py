"""A small machine with a zsmalloc pool on it, and moves that stop at every step."""

import numpy as np

from mm.state.frames import FrameState
from owners.zsmalloc.pool import ZsPool
from pinpage.migrate import move_many, move_steps
from pinpage.owner import Mode, Reason
from tests.kit.mm.machines import small_machine

__all__ = ["Spare", "ZsWorld", "noise"]


def noise(number, nr_bytes):
    """Bytes that nobody else has."""
    return np.random.default_rng(number).bytes(nr_bytes)


class Spare:
    """Targets from the top of free memory; what is not used goes back."""

    def __init__(self, buddy, frames, limit=None):
        self._buddy, self._frames, self._limit = buddy, frames, limit

    def take(self, count):
        free = np.flatnonzero(self._frames.state == FrameState.FREE)[::-1]
        pfns = free[: count if self._limit is None else min(count, self._limit)].copy()
        self._buddy.take(pfns)
        return pfns

    def give_back(self, pfns):
        self._buddy.put_taken(pfns)


class ZsWorld:
    """A machine of a few blocks of eight frames, a registry, and one pool."""

    def __init__(self, nr_blocks=4, **kwargs):
        self.machine = small_machine(nr_blocks, arena=True)
        self.registry = self.machine.use_registry()
        self.pool = ZsPool(self.machine, registry=self.registry, **kwargs)
        self.nr_frames = self.machine.frames.nr_frames

    def new(self, data):
        """An object with these bytes; its handle."""
        handle = self.pool.alloc(len(data))
        assert handle > 0
        assert self.pool.write(handle, data) == 0
        return handle

    def zspage_of(self, handle):
        return self.pool.handles.decode(handle)[0]

    def pfns_of(self, *handles):
        """Frames of the zspages of these objects, in order."""
        zspages = dict.fromkeys(self.zspage_of(handle) for handle in handles)
        pages = [self.pool.zspages.pfns(zspage) for zspage in zspages]
        return np.array([pfn for each in pages for pfn in each], dtype=np.int64)

    def targets(self, limit=None):
        return Spare(self.machine.buddy, self.machine.frames, limit)

    def move(self, pfns, mode=Mode.SYNC, limit=None):
        """Move frames at once; one `Reason` each."""
        pfns = np.asarray(pfns)
        report = move_many(self.registry, self.machine.mover, pfns, self.targets(limit), mode)
        return [Reason(int(reason)) for reason in report.reasons]

    def steps(self, pfns, mode=Mode.SYNC):
        """The same move, step by step."""
        pfns = np.asarray(pfns)
        return move_steps(self.registry, self.machine.mover, pfns, self.targets(), mode)

    @property
    def nr_free(self):
        frames = self.machine.frames
        return int(np.isin(frames.state, (FrameState.FREE, FrameState.PCP)).sum())

    def check(self):
        """Everything that can be checked at rest; nothing is lost between pool and machine."""
        self.pool.check()
        self.machine.check()
        assert len(self.registry) == self.pool.pages_nr
        assert self.nr_free == self.nr_frames - self.pool.pages_nr
