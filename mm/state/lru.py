"""Pages in the order of their last addition: what reclaim takes first.

Two lists, active and inactive.  A list is a column of pfns in order of addition; a page
that leaves is not searched for, its stamp just stops matching its place, and the stale
place is skipped later.  So no frame has an object of its own, and a batch is added or
isolated in a handful of numpy calls.

A page on a list has PG_lru; one that somebody isolated has not, and comes back through
`putback_many`.  PG_active stays set while a page is isolated, as in the kernel.

Kernel counterpart: struct lruvec, mm/swap.c; there are no per-CPU batches here and one
pair of lists for all pages.
Cost: O(1) amortised per page; add_many of 1,000,000 pages about 30 ms.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mm.state.frames import Frames, FrameState, PageFlag
from pinpage.errors import PfnError, PinpageError, at_least, require, whole
from pinpage.store.rows import as_pfns
from pinpage.units import Pfns

__all__ = ["Lru"]

_MIN_PLACES = 1024
_STRETCH = 64
_LRU, _ACTIVE = PageFlag.LRU.mask, PageFlag.ACTIVE.mask
_LRU_BIT, _ACTIVE_BIT = int(_LRU), int(_ACTIVE)


class _List:
    """Places `start`..`stop` of one list; place p holds `pfns[p]`.

    32 bits each are enough: 8 TiB of frames, and places are numbered anew whenever stale
    ones are dropped, so that there are never more than a few times the frames.
    """

    def __init__(self) -> None:
        self.pfns: NDArray[np.int32] = np.empty(_MIN_PLACES, dtype=np.int32)
        self.start = 0
        self.stop = 0
        self.nr_pages = 0
        self.numbering = 0

    def places(self, start: int, stop: int) -> NDArray[np.int32]:
        """The pfns at places `start`..`stop`, stale ones included (a view)."""
        return self.pfns[start:stop]


class Lru:
    """The active and the inactive list.

    Invariants, run by `check`:
        L1 a frame has PG_lru exactly if it has one live place.
        L2 a page on a list is used, and its PG_active says which list.
        L3 nr_pages counts the live places of a list.
    """

    def __init__(self, frames: Frames) -> None:
        """Both lists empty."""
        self.frames = frames
        # Place of each frame, times two, plus one on the active list; -1 on none.
        self._stamp: NDArray[np.int32] = np.full(frames.nr_frames, -1, dtype=np.int32)
        self._lists = (_List(), _List())

    def nr_pages(self, *, active: bool) -> int:
        """Pages on a list."""
        return self._lists[active].nr_pages

    def add_many(self, pfns: Pfns, active: bool = False) -> None:
        """Append pages as the youngest, in the given order; sets PG_lru and PG_active.

        Args:
            pfns: used frames without duplicates.
            active: which list.

        Raises:
            PinpageError: one is on a list already, is not used, or is named twice.  Nothing has
                changed.
        """
        pfns = as_pfns(pfns)
        self._require_addable(pfns)
        places = self._lists[active]
        self._ensure_places(places, len(pfns), active)
        start = places.stop
        places.stop += len(pfns)
        places.places(start, places.stop)[:] = pfns
        places.nr_pages += len(pfns)
        self._stamp[pfns] = np.arange(start, places.stop) * 2 + active
        flags = self.frames.flags[pfns]
        self.frames.flags[pfns] = (
            (flags | _LRU | _ACTIVE) if active else ((flags | _LRU) & ~_ACTIVE)
        )
        self.frames.note_many(pfns)

    def add_page(self, pfn: int, *, active: bool = False) -> None:
        """`add_many` for one page.

        Args:
            pfn: the frame.
            active: whether of the active list, or of the inactive one.
        """
        if type(pfn) is not int:
            (pfn,) = whole("lru", pfn=pfn)
        if self.frames.state.item(pfn) != FrameState.USED:
            raise PinpageError(f"lru: pfn {pfn:#x} is not used")
        if self._stamp.item(pfn) >= 0:
            raise PinpageError(f"lru: pfn {pfn:#x} is on a list already")
        places = self._lists[active]
        if places.stop == len(places.pfns):
            self._ensure_places(places, 1, active=active)
        places.pfns[places.stop] = pfn
        self._stamp[pfn] = places.stop * 2 + active
        places.stop += 1
        places.nr_pages += 1
        others = self.frames.flags.item(pfn) & ~_ACTIVE_BIT
        self.frames.flags[pfn] = others | (_LRU_BIT | _ACTIVE_BIT if active else _LRU_BIT)
        self.frames.note_page(pfn)

    def del_many(self, pfns: Pfns) -> None:
        """Isolate pages: off their lists, PG_lru cleared, PG_active kept.

        Raises:
            PinpageError: one is on no list, or is named twice.  Nothing has changed.
        """
        pfns = as_pfns(pfns)
        if len(pfns) == 0:
            return
        stamps = self._stamp[pfns]
        if int(stamps.min()) < 0:
            raise PinpageError(f"lru: pfn {int(pfns[stamps.argmin()]):#x} is on no list")
        self._require_distinct(pfns)
        nr_active = int((stamps & 1).sum())
        self._lists[True].nr_pages -= nr_active
        self._lists[False].nr_pages -= len(pfns) - nr_active
        self._stamp[pfns] = -1
        self.frames.flags[pfns] &= ~_LRU
        self.frames.note_many(pfns)

    def del_page(self, pfn: int) -> None:
        """`del_many` for one page."""
        if type(pfn) is not int:
            (pfn,) = whole("lru", pfn=pfn)
        stamp = self._stamp.item(pfn)
        if stamp < 0:
            raise PinpageError(f"lru: pfn {pfn:#x} is on no list")
        self._lists[stamp & 1].nr_pages -= 1
        self._stamp[pfn] = -1
        self.frames.flags[pfn] = self.frames.flags.item(pfn) & ~_LRU_BIT
        self.frames.note_page(pfn)

    def putback_many(self, pfns: Pfns) -> None:
        """Isolated pages back, as the youngest of the list that their PG_active names."""
        pfns = as_pfns(pfns)
        active = self.frames.has_flag(pfns, PageFlag.ACTIVE)
        if not active.any():
            self.add_many(pfns)
            return
        for which in (False, True):
            chosen = pfns[active == which]
            if len(chosen):
                self.add_many(chosen, which)

    def putback_page(self, pfn: int) -> None:
        """`putback_many` for one page."""
        if type(pfn) is not int:
            (pfn,) = whole("lru", pfn=pfn)
        self.add_page(pfn, active=bool(self.frames.flags.item(pfn) & _ACTIVE_BIT))

    def activate(self, pfns: Pfns) -> None:
        """Pages of either list to the young end of the active one."""
        self.del_many(pfns)
        self.add_many(pfns, active=True)

    def oldest(self, count: int, active: bool = False) -> Pfns:
        """Up to `count` pages, the oldest first; they stay on the list.

        Args:
            count: how many, at most.
            active: whether of the active list, or of the inactive one.

        Raises:
            PinpageError: a negative count.

        Cost: O(count) amortised; stale places are skipped once or compacted away.
        """
        (count,) = at_least(0, "lru: oldest", count=count)
        places = self._lists[active]
        if places.stop - places.start > 2 * places.nr_pages + _MIN_PLACES:
            self._compact(places, len(places.pfns), active)
        found: list[Pfns] = []
        nr_found, place = 0, places.start
        while nr_found < count and place < places.stop:
            stop = min(places.stop, place + max(64, 2 * (count - nr_found)))
            live = self._live(places, place, stop, active)
            if not nr_found and len(live):
                places.start = self._stamp.item(live.item(0)) >> 1
            found.append(live[: count - nr_found])
            nr_found += len(found[-1])
            place = stop
        if not nr_found:
            places.start = place
        return np.concatenate(found) if found else np.empty(0, dtype=np.int64)

    def members(self, *, active: bool) -> Pfns:
        """All pages of a list, the oldest first.

        Cost: one pass over its places, stale ones included.
        """
        places = self._lists[active]
        return self._live(places, places.start, places.stop, active)

    # Places, for whoever walks a list by them.

    def stamps(self, pfns: Pfns) -> NDArray[np.int32]:
        """Twice the place on its list, plus one if that is the active one; -1 on none."""
        stamps: NDArray[np.int32] = self._stamp[pfns]
        return stamps

    def numbering(self, *, active: bool) -> int:
        """How often the places of a list were numbered anew."""
        return self._lists[active].numbering

    def end(self, *, active: bool) -> int:
        """The place that the next page of a list gets."""
        return self._lists[active].stop

    def stretches(self, place: int, *, active: bool) -> Iterator[Pfns]:
        """The pages of a list from a place on, the oldest first, some at a time.

        Args:
            place: where to begin.
            active: whether of the active list, or of the inactive one.
        """
        places, length = self._lists[active], _STRETCH
        place = max(place, places.start)
        while place < places.stop:
            stop = min(places.stop, place + length)
            yield self._live(places, place, stop, active)
            place, length = stop, 2 * length

    # Inside.

    def _require_addable(self, pfns: Pfns) -> None:
        if len(pfns) == 0:
            return
        if int(pfns.min()) < 0 or int(pfns.max()) >= self.frames.nr_frames:
            raise PfnError(f"lru: a pfn is outside the machine (0..{self.frames.nr_frames - 1:#x})")
        listed = self._stamp[pfns] >= 0
        if listed.any():
            raise PinpageError(f"lru: pfn {int(pfns[listed.argmax()]):#x} is on a list already")
        other = self.frames.state[pfns] != FrameState.USED
        if other.any():
            raise PinpageError(f"lru: pfn {int(pfns[other.argmax()]):#x} is not used")
        self._require_distinct(pfns)

    def _require_distinct(self, pfns: Pfns) -> None:
        """Each frame keeps the last row that names it: a row that it has not kept is a double."""
        if len(pfns) == 1 or (pfns[1:] > pfns[:-1]).all():  # the usual case
            return
        rows = np.arange(len(pfns), dtype=np.int32)
        kept, self._stamp[pfns] = self._stamp[pfns], rows
        twice = self._stamp[pfns] != rows
        self._stamp[pfns] = kept
        if twice.any():
            raise PinpageError(f"lru: pfn {int(pfns[twice.argmax()]):#x} is named twice")

    def _live(self, places: _List, start: int, stop: int, active: bool) -> Pfns:
        pfns = places.places(start, stop)
        live: Pfns = pfns[self._stamp[pfns] == np.arange(start, stop) * 2 + active].astype(np.int64)
        return live

    def _ensure_places(self, places: _List, nr_pages: int, active: bool) -> None:
        if places.stop + nr_pages > len(places.pfns):
            self._compact(places, 2 * (places.nr_pages + nr_pages), active)

    def _compact(self, places: _List, nr_places: int, active: bool) -> None:
        """Drop stale places; at least half of `nr_places` stay free, so this is O(1) amortised."""
        live = self._live(places, places.start, places.stop, active)
        places.pfns = np.empty(max(nr_places, _MIN_PLACES), dtype=np.int32)
        places.pfns[: len(live)] = live
        places.start, places.stop = 0, len(live)
        self._stamp[live] = np.arange(places.stop) * 2 + active
        places.numbering += 1

    def check(self) -> None:
        """Run L1..L3.

        Raises:
            InvariantError: one does not hold.
        """
        on_list = (self.frames.flags & _LRU) != 0
        marked = np.flatnonzero(on_list != (self._stamp >= 0))
        require(not len(marked), "L1 PG_lru and the lists disagree", pfns=marked[:4].tolist())
        used = self.frames.state[on_list] == FrameState.USED
        require(used.all(), "L2 a page on a list is not used")
        for active, places in enumerate(self._lists):
            live = self._live(places, places.start, places.stop, bool(active))
            require(len(live) == places.nr_pages, "L3 nr_pages", counted=len(live))
            flagged = self.frames.has_flag(live, PageFlag.ACTIVE)
            require((flagged == bool(active)).all(), "L2 PG_active names the other list")
        require(
            int(on_list.sum()) == sum(places.nr_pages for places in self._lists), "L1 a live place"
        )
