"""A small machine with a pool of compressed pages on it, whatever its kind."""

import numpy as np

from mm.state.frames import FrameState
from pinpage.migrate import move_many, move_steps
from pinpage.owner import Mode, Reason
from tests.kit.mm.machines import small_machine

__all__ = ["PoolWorld", "Spare", "noise"]


def noise(number, nr_bytes):
    """Bytes that nobody else has."""
    return np.random.default_rng(number).bytes(nr_bytes)


class Spare:
    """Targets from the top of free memory; what is not used goes back."""

    def __init__(self, machine, limit=None):
        self._buddy, self._frames, self._limit = machine.buddy, machine.frames, limit

    def take(self, count):
        free = np.flatnonzero(self._frames.state == FrameState.FREE)[::-1]
        pfns = free[: count if self._limit is None else min(count, self._limit)].copy()
        self._buddy.take(pfns)
        return pfns

    def give_back(self, pfns):
        self._buddy.put_taken(pfns)


class PoolWorld:
    """A machine of a few blocks of eight frames, a registry, and one pool."""

    def __init__(self, make_pool, nr_blocks=4, **kwargs):
        self.machine = small_machine(nr_blocks, arena=True)
        self.registry = self.machine.use_registry()
        self.pool = make_pool(self.machine, registry=self.registry, **kwargs)
        self.nr_frames = self.machine.frames.nr_frames

    def new(self, data):
        """An object with these bytes; its handle."""
        handle = self.pool.alloc(len(data))
        assert handle > 0
        assert self.pool.write(handle, data) == 0
        return handle

    def targets(self, limit=None):
        return Spare(self.machine, limit)

    def move_pages(self, pfns, mode=Mode.SYNC, limit=None):
        """Move frames at once; one `Reason` each."""
        pfns = np.asarray(pfns, dtype=np.int64)
        report = move_many(self.registry, self.machine.mover, pfns, self.targets(limit), mode)
        return [Reason(int(reason)) for reason in report.reasons]

    def steps_of(self, pfns, mode=Mode.SYNC):
        """The same move, step by step."""
        pfns = np.asarray(pfns, dtype=np.int64)
        return move_steps(self.registry, self.machine.mover, pfns, self.targets(), mode)

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
