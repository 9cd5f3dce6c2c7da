"""Clean page cache: which pages are, how many, the oldest of them, and giving them up.

A clean page is dropped, not moved: its bytes are on disk already, and the next reader brings
them back.  That costs a twentieth of moving it, and needs no destination.

What makes a page clean cache is spread over columns that many write.  Whoever changes flags,
references or mappings of a frame that may be on the LRU notes it (`Frames.touched`); here
those are looked at again when somebody asks, and nothing else is.

A list is walked once, from its old end.  Clean pages that lie before the cursor, because they
were met there or have become clean since, are kept apart, the oldest first.

Invariants, run by `check`:
    CP1 the pages counted on each list are its clean ones, but for touched frames.
    CP2 a clean page stands at or behind its list's cursor, or is kept apart.

Cost: O(frames touched) for each question, O(pages handed out) amortised for the oldest.
Kernel counterpart: reclaim_clean_pages_from_list() in mm/vmscan.c.  There a page that processes
map as well is unmapped from them first; here it is moved instead, for there are no VMAs that
would remember which file it came from.  The counts have none: there reclaim finds out page by
page.
"""

import heapq
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mm.state.frames import Frames, PageFlag, Touched
from mm.state.lru import Lru
from mm.state.page_ref import Refs
from mm.state.rmap import Rmap
from pinpage.errors import require
from pinpage.units import Mask, Pfns

__all__ = ["CleanPages", "is_clean_cache", "reclaim_clean_pages"]

_KEEPS = np.bitwise_or.reduce(
    [
        flag.mask
        for flag in (
            PageFlag.DIRTY, PageFlag.WRITEBACK, PageFlag.SWAPBACKED, PageFlag.ANON,
            PageFlag.SWAPCACHE, PageFlag.UNEVICTABLE, PageFlag.MLOCKED, PageFlag.LOCKED,
            PageFlag.HUGE,
        )
    ]
)  # fmt: skip
"""Flags of pages that have no second copy, or are in use at this moment."""


def is_clean_cache(frames: Frames, rmap: Rmap, pfns: Pfns) -> Mask:
    """Which pages the page cache alone holds, with their bytes on disk, bool[n].

    Args:
        frames: the columns.
        rmap: says whose pages they are.
        pfns: used frames that nobody registered.
    """
    flags = frames.flags[pfns]
    clean: Mask = ((flags & PageFlag.LRU.mask) != 0) & ((flags & _KEEPS) == 0)
    # One mapping, the cache's, and one reference, that mapping's: a mover would have another.
    clean &= (frames.mapcount[pfns] == 0) & (frames.refcount[pfns] == 1)
    if clean.any():
        spaces = [space.mm_id for space in rmap.spaces if space.kind == "file"]
        clean &= np.isin(rmap.first_mm[pfns], spaces)
    return clean


def reclaim_clean_pages(frames: Frames, rmap: Rmap, refs: Refs, pfns: Pfns) -> Mask:
    """Drop those that are clean page cache; which that were, bool[n].

    A frame of an isolated pageblock is free for good then: it goes past the per-CPU lists.

    Args:
        frames, rmap, refs: the state.
        pfns: used frames without duplicates that nobody registered.
    """
    clean = is_clean_cache(frames, rmap, pfns)
    if clean.any():
        dropped = pfns[clean]
        rmap.unmap_many(dropped)
        refs.put_many(dropped)  # that of the mapping
    return clean


_NR_TOUCHED = 16384
"""Touched frames after which they are looked at though nobody asks."""
_NONE: Pfns = np.zeros(0, dtype=np.int64)
_Kinds = NDArray[np.int8]


class _Walk:
    """How far one list has been looked through.

    Attributes:
        place: the cursor.
        numbering: `Lru.numbering` when it was valid.
        met: heap of (place, pfn) of clean pages before the cursor; stale ones included.
    """

    def __init__(self) -> None:
        """Not looked at yet."""
        self.place = 0
        self.numbering = 0
        self.met: list[tuple[int, int]] = []

    def restart(self, numbering: int) -> None:
        """The places have other numbers now."""
        self.place, self.numbering, self.met = 0, numbering, []


class CleanPages:
    """The clean page cache of a machine, counted.

    Attributes:
        nr_looked_at: frames and places looked at so far: the work done.
    """

    def __init__(self, frames: Frames, rmap: Rmap, lru: Lru, on_full: Callable[[], None]) -> None:
        """Count once, and be told of changes from now on.

        Args:
            frames, rmap, lru: the state.
            on_full: called when many frames have been touched.
        """
        self.nr_looked_at = 0
        self._frames = frames
        self._rmap = rmap
        self._lru = lru
        self._walks = (_Walk(), _Walk())
        self._nr_pages = [0, 0]
        # Per frame: 0 not clean, 1 clean on the inactive list, 2 on the active one.
        self._kind: _Kinds = np.zeros(frames.nr_frames, dtype=np.int8)
        frames.touched = Touched(_NR_TOUCHED, on_full)
        for active in (False, True):
            self._look_at(lru.members(active=active))

    def nr_pages(self, *, active: bool) -> int:
        """Clean pages on a list."""
        pfns = self._touched()
        kind, counted = self._kind_of(pfns), self._kind[pfns]
        gained = np.count_nonzero(kind == 1 + active) - np.count_nonzero(counted == 1 + active)
        return self._nr_pages[active] + int(gained)

    def settle(self) -> None:
        """Look at the touched frames; they are known from here on."""
        pfns = self._touched()
        if self._frames.touched is not None:
            self._frames.touched.forget()
        self._look_at(pfns)

    def oldest(self, count: int, *, active: bool) -> Pfns:
        """Up to `count` clean pages of a list, the oldest first; they stay where they are.

        Args:
            count: how many, at most.
            active: whether of the active list, or of the inactive one.
        """
        self.settle()
        walk = self._walk(active)
        count = min(count, self._nr_pages[active])
        found = self._met(walk, count, active)
        if len(found) < count:
            found += self._go_on(walk, count - len(found), active)
        for entry in found:
            heapq.heappush(walk.met, entry)
        return np.array([pfn for _, pfn in found], dtype=np.int64)

    # Inside.

    def _touched(self) -> Pfns:
        touched = self._frames.touched
        return touched.pfns() if touched is not None else _NONE

    def _kind_of(self, pfns: Pfns) -> _Kinds:
        clean = is_clean_cache(self._frames, self._rmap, pfns)
        kinds: _Kinds = np.where(clean, 1 + (self._lru.stamps(pfns) & 1), 0).astype(np.int8)
        return kinds

    def _look_at(self, pfns: Pfns) -> None:
        self.nr_looked_at += len(pfns)
        kinds, counted = self._kind_of(pfns), self._kind[pfns]
        self._kind[pfns] = kinds
        for active in (False, True):
            now = kinds == 1 + active
            self._nr_pages[active] += int(np.count_nonzero(now))
            self._nr_pages[active] -= int(np.count_nonzero(counted == 1 + active))
            walk = self._walk(active)
            if walk.place and now.any():
                self._keep_apart(walk, pfns[now])

    def _keep_apart(self, walk: _Walk, pfns: Pfns) -> None:
        places = self._lru.stamps(pfns) >> 1
        before = places < walk.place
        for place, pfn in zip(places[before].tolist(), pfns[before].tolist(), strict=True):
            heapq.heappush(walk.met, (place, pfn))

    def _walk(self, active: bool) -> _Walk:
        walk, numbering = self._walks[active], self._lru.numbering(active=active)
        if walk.numbering != numbering:
            walk.restart(numbering)
        return walk

    def _met(self, walk: _Walk, count: int, active: bool) -> list[tuple[int, int]]:
        """The oldest before the cursor, taken out; entries that hold no more are dropped."""
        found: list[tuple[int, int]] = []
        while walk.met and len(found) < count:
            nr_taken = min(count - len(found), len(walk.met))
            few = sorted({heapq.heappop(walk.met) for _ in range(nr_taken)} - set(found))
            self.nr_looked_at += nr_taken
            places, pfns = np.array(few, dtype=np.int64).reshape(-1, 2).T
            holds = self._lru.stamps(pfns) == places * 2 + active
            holds &= self._kind[pfns] == 1 + active
            found += [few[row] for row in np.flatnonzero(holds).tolist()]
        return found

    def _go_on(self, walk: _Walk, count: int, active: bool) -> list[tuple[int, int]]:
        """The next from the cursor on, which goes to behind the last of them."""
        found: list[tuple[int, int]] = []
        for pfns in self._lru.stretches(walk.place, active=active):
            clean = pfns[self._kind[pfns] == 1 + active][: count - len(found)]
            self.nr_looked_at += len(pfns)
            places = self._lru.stamps(clean) >> 1
            found += zip(places.tolist(), clean.tolist(), strict=True)
            if len(found) == count:
                break
        walk.place = found[-1][0] + 1 if found else walk.place
        return found

    def check(self) -> None:
        """Run CP1 and CP2.

        Raises:
            InvariantError: one does not hold.
        """
        known = np.ones(self._frames.nr_frames, dtype=np.bool_)
        known[self._touched()] = False
        everywhere = np.arange(self._frames.nr_frames)
        kinds = self._kind_of(everywhere)
        wrong = np.flatnonzero(known & (kinds != self._kind))
        require(not len(wrong), "CP1 a frame changed and nobody noted it", pfns=wrong[:4].tolist())
        for active, walk in enumerate(self._walks):
            clean = np.flatnonzero(self._kind == 1 + active)
            require(len(clean) == self._nr_pages[active], "CP1 clean pages", counted=len(clean))
            if walk.numbering == self._lru.numbering(active=bool(active)):
                clean = clean[known[clean]]
                passed = clean[self._lru.stamps(clean) >> 1 < walk.place]
                met = {pfn for _, pfn in walk.met}
                require(met.issuperset(passed.tolist()), "CP2 a clean page was passed over")
