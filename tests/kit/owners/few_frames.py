"""A page source of a few frames, strict where real memory would only suffer later."""

import numpy as np

from mm.state.contents import ArenaContents
from mm.state.frames import MAPCOUNT_NONE, Frames, FrameState
from mm.state.gfp import Gfp
from owners.zbud.pool import ZbudPool
from pinpage.owner import Mode, PinOwner, Verdict
from pinpage.testing.world import column

__all__ = ["PAGE", "FewFrames", "fill", "live_handles"]

PAGE = 4096


class FewFrames:
    """A `PageSource` over a free list; the lowest pfn goes first, 0 is never used."""

    def __init__(self, nr_frames):
        self.frames = Frames(nr_frames)
        self.frames.state[1:] = FrameState.FREE
        self.contents = ArenaContents(nr_frames)

    @property
    def nr_free(self):
        return int(np.count_nonzero(self.frames.state == FrameState.FREE))

    def alloc_page(self, gfp=Gfp.NONE):
        free = np.flatnonzero(self.frames.state == FrameState.FREE)
        if not len(free):
            return -1
        pfn = int(free[0])
        self.frames.state[pfn] = FrameState.USED
        self.frames.refcount[pfn] = 1
        return pfn

    def get_page(self, pfn):
        assert self.frames.refcount[pfn] > 0, "a reference from nothing, or to a frozen frame"
        self.frames.refcount[pfn] += 1

    def put_page(self, pfn):
        assert self.frames.refcount[pfn] > 0, "a reference that nobody held, or a frozen frame"
        self.frames.refcount[pfn] -= 1
        if self.frames.refcount[pfn]:
            return False
        self._free(pfn)
        return True

    def free_page(self, pfn):
        assert self.put_page(pfn)

    def _free(self, pfn):
        assert self.frames.mapcount[pfn] == MAPCOUNT_NONE, "a typed page reached the allocator"
        self.frames.state[pfn] = FrameState.FREE
        self.contents.write(pfn, b"\xde" * PAGE)  # poison: whoever reads it now is wrong

    # One move, in the steps that an owner can tell apart.

    def take(self, pfn):
        self.get_page(pfn)

    def freeze(self, pfn):
        self.frames.refcount[pfn] = -self.frames.refcount[pfn]

    def rekey(self, source, target):
        """References, type and contents live at `target`; the source is freed."""
        frames = self.frames
        frames.state[target] = FrameState.USED
        frames.refcount[target] = -frames.refcount[source] - 1
        frames.mapcount[target] = frames.mapcount[source]
        frames.mapcount[source] = MAPCOUNT_NONE
        frames.refcount[source] = 1
        self.put_page(source)

    def new_target(self):
        pfn = self.alloc_page()
        if pfn >= 0:
            self.frames.state[pfn] = FrameState.TAKEN
        return pfn

    def move(self, owner: PinOwner, pfn, private, target):
        """The whole move of one frame with one pin; whether it happened."""
        pfns, privates, targets = column(pfn), column(private), column(target)
        self.take(pfn)
        if owner.isolate_many(pfns, privates, Mode.SYNC)[0] != Verdict.YES:
            self.put_page(pfn)
            return False
        if self.frames.refcount[pfn] != 1 + owner.references(pfns, privates)[0]:
            owner.putback_many(pfns, privates)
            self.put_page(pfn)
            return False
        self.freeze(pfn)
        self.contents.copy(pfns, targets)
        owner.migrate_many(pfns, privates, targets)
        self.rekey(pfn, target)
        return True


def fill(pool: ZbudPool, handle: int, data: bytes) -> None:
    """Write an object's bytes, as its user would."""
    pfn, offset = pool.map(handle)
    pool.source.contents.write(pfn, data, offset)
    pool.unmap(handle)


def live_handles(pool: ZbudPool) -> set[int]:
    """Handles of every object, from the pool's columns."""
    ids = pool.pages.in_use()
    return {
        pool.handles.encode(int(i), slot)
        for i in ids
        for slot in (0, 1)
        if pool.pages.chunks[i, slot]
    }
