"""The kit's lab over a whole machine: 32 frames of real bytes, buddy lists, page tables."""

import numpy as np

from mm.state.frames import FrameState
from tests.kit.mm.machines import small_machine

__all__ = ["MachineLab"]


class WatchedContents:
    """Contents that tell before they let an owner at them."""

    def __init__(self, contents, observe):
        self._contents = contents
        self._observe = observe

    def __getattr__(self, name):
        return getattr(self._contents, name)

    def read(self, pfn, *args, **kwargs):
        self._observe([pfn], "reads")
        return self._contents.read(pfn, *args, **kwargs)

    def write(self, pfn, *args, **kwargs):
        self._observe([pfn], "writes")
        self._contents.write(pfn, *args, **kwargs)

    def read_many(self, pfns, *args):
        self._observe(pfns.tolist(), "reads")
        return self._contents.read_many(pfns, *args)

    def write_many(self, pfns, *args):
        self._observe(pfns.tolist(), "writes")
        self._contents.write_many(pfns, *args)


class Pages:
    """The machine as an owner sees it: all of it, with watched contents."""

    def __init__(self, machine, observe):
        self._machine = machine
        self.contents = WatchedContents(machine.contents, observe)
        self._observe = observe

    def __getattr__(self, name):
        return getattr(self._machine, name)

    def alloc_page(self, gfp):
        return self.alloc_pages(0, gfp)

    def alloc_pages(self, order, gfp):
        pfn = self._machine.alloc_pages(order, gfp)
        if pfn >= 0:
            self._observe(range(pfn, pfn + (1 << order)), "allocates")
        return pfn

    def get_page(self, pfn):
        self._observe([pfn], "references")
        return self._machine.get_page(pfn)


class MachineLab:
    """`pinpage.testing.conformance.check.Lab`; owners get `pages`, users whatever they like."""

    def __init__(self):
        self.machine = small_machine(4, arena=True)
        self.registry = self.machine.use_registry()
        self.memory = self.machine.mover
        self.observer = lambda pfn, does: None
        self.pages = Pages(self.machine, self._observe)

    def _observe(self, pfns, does):
        for pfn in pfns:
            self.observer(int(pfn), does)

    def targets(self, limit=None):
        return FreeFrames(self.machine, limit)

    def get(self, pfn):
        return self.machine.refs.get_page(pfn)

    def put(self, pfn):
        self.machine.put_page(pfn)

    def sneak(self, pfn):
        refcount = self.machine.frames.refcount
        refcount[pfn] += -1 if refcount[pfn] < 0 else 1  # a frozen count is kept negated

    def references(self, pfn):
        if not self.machine.frames.refcount[pfn]:
            return 0
        column = np.array([pfn])
        home = int(self.machine.mover.home_references(column)[0])
        return abs(int(self.machine.frames.refcount[pfn])) - home

    def snapshot(self, pfn):
        return self.machine.contents.read(pfn)

    def is_under_move(self, pfn):
        """What the page lock would say: for owners of whose inside nothing is known."""
        frames = self.machine.frames
        return bool(frames.isolated[pfn]) or frames.state[pfn] != FrameState.USED

    def check(self):
        self.machine.check()  # and its registry's


class FreeFrames:
    """Targets: free frames, the highest first, at most `limit` at any time."""

    def __init__(self, machine, limit):
        self._machine = machine
        self._left = machine.frames.nr_frames if limit is None else limit

    def take(self, count):
        self._machine.pcp.drain_all()
        free = np.flatnonzero(self._machine.frames.state == FrameState.FREE)[::-1]
        chosen = np.sort(free[: min(count, self._left)])
        self._left -= len(chosen)
        self._machine.buddy.take(chosen)
        return chosen

    def give_back(self, pfns):
        self._left += len(pfns)
        if len(pfns):
            self._machine.buddy.put_taken(pfns)
