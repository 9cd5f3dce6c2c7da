"""Reclaim: the oldest anonymous and shmem pages go to swap, their frames become free.

One batch: isolate the oldest inactive pages, and for each that nobody uses right now

    swap slot -> unmap (every PTE names the slot) -> write (frontswap, else disk) -> free

Reclaim never runs inside reclaim: storing a page may allocate (zswap does), that allocation
may be short of memory, and would start reclaim again.  `Paging.in_reclaim` stops it there.

Kernel counterpart: mm/vmscan.c (shrink_inactive_list, shrink_active_list, pageout).  Writes
complete at once, so a page is freed in the pass that writes it.  Clean page cache is dropped
by `Reclaimer`; without swap it is all that can be reclaimed.
"""

import numpy as np
from attrs import define

from mm.paging.clean_pages import CleanPages, is_clean_cache, reclaim_clean_pages
from mm.paging.paging import Paging, bit
from mm.paging.swap_state import swap_writepage
from mm.state.address_space import AddressSpace
from mm.state.errno import Errno
from mm.state.frames import PageFlag
from pinpage.errors import at_least, require, whole
from pinpage.units import Mask, Pfns

__all__ = ["SWAP_CLUSTER_MAX", "Reclaimed", "Reclaimer", "shrink_active", "shrink_inactive"]

SWAP_CLUSTER_MAX = 32
"""Pages per batch (include/linux/swap.h)."""

_NR_IDLE_SCANS = 2
"""Scans that free nothing before there is nothing to free: the first may only age pages."""

_DIRTY, _REFERENCED = bit(PageFlag.DIRTY), bit(PageFlag.REFERENCED)
_SWAPCACHE, _SWAPBACKED = bit(PageFlag.SWAPCACHE), bit(PageFlag.SWAPBACKED)
_STAYS = bit(PageFlag.LOCKED, PageFlag.UNEVICTABLE, PageFlag.MLOCKED, PageFlag.WRITEBACK)


@define
class Reclaimed:
    """What one call of `shrink_inactive` did, in pages.

    Attributes:
        nr_scanned: isolated and looked at.
        nr_reclaimed: freed.
        nr_frontswap: written to frontswap.
        nr_disk: written to the disk.
        nr_activated: used since the last look: to the active list.
        nr_busy: locked, referenced by somebody else, or not reclaimable.
        nr_no_slot: swap is full.
    """

    nr_scanned: int = 0
    nr_reclaimed: int = 0
    nr_frontswap: int = 0
    nr_disk: int = 0
    nr_activated: int = 0
    nr_busy: int = 0
    nr_no_slot: int = 0


class Reclaimer:
    """Reclaim for whoever is short of memory: swap where there is some, else page cache.

    Attributes:
        nr_dropped: pages of clean page cache given up so far.
        clean: what there is of it, counted, once somebody was short of memory without swap.
    """

    def __init__(self, paging: Paging) -> None:
        """Work on `paging`."""
        self._paging = paging
        self.nr_dropped = 0
        self.clean: CleanPages | None = None

    @property
    def may_swap(self) -> bool:
        """Whether there is swap to write to."""
        return bool(self._paging.swap.areas)

    def nr_reclaimable(self) -> int:
        """Pages that could be freed: all that swap could take, or what of the cache is clean.

        Cost: one pass over the LRU where there is no swap and nobody counts (`count`).
        """
        lru = self._paging.lru
        if self.may_swap:
            return lru.nr_pages(active=False) + lru.nr_pages(active=True)
        if self.clean is not None:
            return self.clean.nr_pages(active=False) + self.clean.nr_pages(active=True)
        return len(self._clean(active=False)) + len(self._clean(active=True))

    def could_free(self) -> Mask:
        """Which frames reclaim or an evacuation could free, bool (nr_frames,).

        Clean page cache, and as many of the oldest pages as swap has slots for.

        Cost: one pass over the LRU.
        """
        paging = self._paging
        frames, lru = paging.frames, paging.lru
        pfns = np.concatenate([lru.members(active=False), lru.members(active=True)])
        goes = is_clean_cache(frames, paging.rmap, pfns)
        areas = [area for area in paging.swap.areas.values() if area.writeok]
        nr_slots = sum(area.nr_slots - 1 - area.inuse_pages for area in areas)
        if nr_slots > 0:
            flags = frames.flags[pfns]
            home = frames.mapcount[pfns] + 1 + ((flags & _SWAPCACHE) != 0)
            anon = (flags & (_STAYS | _SWAPBACKED)) == _SWAPBACKED
            anon &= (frames.refcount[pfns] == home) & ~frames.isolated[pfns]
            goes |= anon & (np.cumsum(anon) <= nr_slots)
        found = np.zeros(frames.nr_frames, dtype=np.bool_)
        found[pfns[goes]] = True
        return found

    def count(self) -> CleanPages | None:
        """Know from here on what clean page cache there is; None where there is swap.

        Cost: one pass over the LRU the first time, then O(frames changed since).
        """
        paging = self._paging
        if self.may_swap:
            paging.frames.touched = self.clean = None
        elif self.clean is None:
            self.clean = CleanPages(paging.frames, paging.rmap, paging.lru, self._on_full)
        else:
            self.clean.settle()
        return self.clean

    def _on_full(self) -> None:
        self.count()

    def shrink(self, nr_to_scan: int) -> int:
        """Scan so many of the oldest pages; how many were freed.

        Nothing inside a reclaim that is running already.

        Raises:
            PinpageError: a negative number of pages.
        """
        (nr_to_scan,) = at_least(0, "shrink", nr_to_scan=nr_to_scan)
        if self._paging.in_reclaim:
            return 0
        if not self.may_swap:
            return self._drop(nr_to_scan)
        shrink_active(self._paging, nr_to_scan)
        return shrink_inactive(self._paging, nr_to_scan).nr_reclaimed

    def give_up(self, where: Mask, count: int) -> int:
        """Free up to `count` of these frames: clean page cache, the oldest first, else to swap.

        What goes to swap is what is oldest, wherever it is.

        Args:
            where: bool (nr_frames,), frames that may go.
            count: how many.

        Returns:
            How many were freed; nothing inside a reclaim that is running already.

        Raises:
            PinpageError: a count that is no whole number.
        """
        (count,) = whole("give_up", count=count)
        paging, nr_freed = self._paging, 0
        if paging.in_reclaim:
            return 0
        for active in (False, True):
            clean = self._clean(active=active)
            clean = clean[where[clean]][: count - nr_freed]
            dropped = reclaim_clean_pages(paging.frames, paging.rmap, paging.refs, clean)
            nr_freed += int(dropped.sum())
        self.nr_dropped += nr_freed
        nr_idle = 0
        while self.may_swap and nr_freed < count and nr_idle < _NR_IDLE_SCANS:
            more = self.shrink(max(count - nr_freed, SWAP_CLUSTER_MAX))
            nr_freed += more
            nr_idle = 0 if more else nr_idle + 1
        return nr_freed

    def _clean(self, *, active: bool) -> Pfns:
        paging, lru = self._paging, self._paging.lru
        pfns = lru.members(active=active)
        clean: Pfns = pfns[is_clean_cache(paging.frames, paging.rmap, pfns)]
        return clean

    def _drop(self, count: int) -> int:
        paging, clean = self._paging, self.count()
        if clean is None:
            return 0
        oldest = clean.oldest(count, active=False)
        if not len(oldest):
            oldest = clean.oldest(count, active=True)
        dropped = reclaim_clean_pages(paging.frames, paging.rmap, paging.refs, oldest)
        nr_dropped = int(dropped.sum())
        self.nr_dropped += nr_dropped
        return nr_dropped

    def check(self) -> None:
        """Run CP1 and CP2 of `mm.paging.clean_pages`, where somebody counts.

        Raises:
            InvariantError: one does not hold.
        """
        if self.clean is not None:
            self.clean.check()


def shrink_inactive(paging: Paging, nr_to_scan: int = SWAP_CLUSTER_MAX) -> Reclaimed:
    """Try to free up to `nr_to_scan` of the oldest inactive pages.

    Args:
        paging: the state that faults, reclaim and swapoff share.
        nr_to_scan: pages to look at.

    Returns:
        The counts; all zero when reclaim is running already.

    Raises:
        PinpageError: a negative number of pages.

    Context: may call frontswap, which may allocate; never recurses.
    """
    (nr_to_scan,) = at_least(0, "shrink_inactive", nr_to_scan=nr_to_scan)
    done = Reclaimed()
    if paging.in_reclaim:
        return done
    paging.in_reclaim = True
    try:
        pfns = paging.lru.oldest(nr_to_scan)
        pfns = pfns[paging.refs.get_many(pfns)]
        paging.lru.del_many(pfns)
        done.nr_scanned = len(pfns)
        going = _keep_some(paging, pfns, done)
        for at, pfn in enumerate(going.tolist()):
            # What was done for the page before may have changed this one: look again.
            if not at or len(_keep_some(paging, going[at : at + 1], done)):
                _shrink_page(paging, pfn, done)
    finally:
        paging.in_reclaim = False
    return done


def shrink_active(paging: Paging, nr_to_scan: int = SWAP_CLUSTER_MAX) -> int:
    """Move the oldest active pages to the inactive list.

    Args:
        paging: the state that faults, reclaim and swapoff share.
        nr_to_scan: pages to look at.

    Returns:
        How many.

    Raises:
        PinpageError: a negative number of pages.
    """
    (nr_to_scan,) = at_least(0, "shrink_active", nr_to_scan=nr_to_scan)
    pfns: Pfns = paging.lru.oldest(nr_to_scan, active=True)
    paging.lru.del_many(pfns)
    paging.frames.clear_flag(pfns, PageFlag.REFERENCED)
    paging.lru.add_many(pfns)
    return len(pfns)


def _shrink_page(paging: Paging, pfn: int, done: Reclaimed) -> None:
    """One isolated page with our reference that may go: freed, or back on the LRU."""
    paging.lock_page(pfn)
    if not _add_to_swap(paging, pfn):
        done.nr_no_slot += 1
        paging.unlock_page(pfn)
    else:
        _try_to_unmap(paging, pfn)
        _pageout(paging, pfn, done)
        if _free_if_clean(paging, pfn):
            done.nr_reclaimed += 1
            return
    _putback(paging, np.array([pfn]))


def _keep_some(paging: Paging, pfns: Pfns, done: Reclaimed) -> Pfns:
    """Put back isolated pages that are busy or were used; the others, in their order.

    Cost: a dozen column operations, for memory without swap space is scanned over and over.
    """
    frames = paging.frames
    may_go = _may_reclaim(paging, pfns)
    used = may_go & ((frames.flags[pfns] & _REFERENCED) != 0)
    going = may_go & ~used
    done.nr_busy += len(pfns) - int(np.count_nonzero(may_go))
    if used.any():
        done.nr_activated += int(np.count_nonzero(used))
        frames.clear_flag(pfns[used], PageFlag.REFERENCED)
        frames.set_flag(pfns[used], PageFlag.ACTIVE)
    if not going.all():
        _putback(paging, pfns[~going])
    gone: Pfns = pfns[going]
    return gone


def _may_reclaim(paging: Paging, pfns: Pfns) -> Mask:
    """Nobody works on them, swap can take them, and nobody but their home and us holds them.

    A page of a file that processes map as well keeps its place: our shmem has no shared
    mappings.
    """
    frames, flags = paging.frames, paging.frames.flags[pfns]
    nr_mappings = frames.mapcount[pfns] + 1
    home = nr_mappings + ((flags & _SWAPCACHE) != 0)
    may_go: Mask = (flags & (_STAYS | _SWAPBACKED)) == _SWAPBACKED
    may_go &= (frames.refcount[pfns] == home + 1) & ~frames.isolated[pfns]
    for at in np.flatnonzero(may_go & (nr_mappings > 1)).tolist():
        mappers = paging.rmap.mappers(int(pfns[at]))
        may_go[at] = all(space.kind == "process" for space, _ in mappers)
    return may_go


def _add_to_swap(paging: Paging, pfn: int) -> bool:
    """A slot for the page and a place in the swap cache, if it has none yet."""
    if paging.has(pfn, _SWAPCACHE):
        return True
    entry = paging.swap.get_swap_page()
    if entry < 0:
        return False
    paging.swap.cache.add(entry, pfn)
    paging.set_bits(pfn, _DIRTY)  # the slot holds nothing yet
    return True


def _try_to_unmap(paging: Paging, pfn: int) -> None:
    """Every PTE of the page names its slot now."""
    entry = paging.swap.cache.entry_of.item(pfn)
    mappings: list[tuple[AddressSpace, int]] = paging.rmap.mappers(pfn)
    for space, vpn in mappings:
        paging.rmap.unmap_page(space, vpn)
        error = paging.swap.set_pte(space, vpn, entry)
        require(error == Errno.OK, "a slot in the swap cache refuses a user", pfn=pfn, entry=entry)
    if mappings:
        paging.put_page(pfn)  # the last unmapping's


def _pageout(paging: Paging, pfn: int, done: Reclaimed) -> None:
    """Write the page if its slot does not hold its contents; leaves it unlocked."""
    if not paging.has(pfn, _DIRTY):
        paging.unlock_page(pfn)
        return
    paging.clear_bits(pfn, _DIRTY)
    nr_written = paging.nr_swapped_out
    if swap_writepage(paging, pfn):
        done.nr_frontswap += 1
    elif paging.nr_swapped_out > nr_written:
        done.nr_disk += 1


def _free_if_clean(paging: Paging, pfn: int) -> bool:
    """Free the page if it is written, unmapped and held by nobody else (__remove_mapping)."""
    is_cached = paging.has(pfn, _SWAPCACHE)
    if paging.frames.refcount.item(pfn) != 1 + is_cached:
        return False
    if is_cached:
        if paging.has(pfn, _DIRTY):
            return False
        paging.swap.cache_delete(pfn)
    return paging.put_page(pfn)


def _putback(paging: Paging, pfns: Pfns) -> None:
    """Back to the LRU, our references dropped; what nobody else holds is freed."""
    held = paging.refs.counts(pfns) > 1
    paging.lru.putback_many(pfns[held])
    paging.refs.put_many(pfns)
