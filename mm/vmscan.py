"""Reclaim: the oldest anonymous and shmem pages go to swap, their frames become free.

One batch: isolate the oldest inactive pages, and for each that nobody uses right now

    swap slot -> unmap (every PTE names the slot) -> write (frontswap, else disk) -> free

Reclaim never runs inside reclaim: storing a page may allocate (zswap does), that allocation
may be short of memory, and would start reclaim again.  `Paging.in_reclaim` stops it there.

Kernel counterpart: mm/vmscan.c (shrink_inactive_list, shrink_active_list, pageout).  Writes
complete at once, so a page is freed in the pass that writes it.  Clean page cache is left
alone: there is no filesystem to read it from again.
"""

from attrs import define

from mm.address_space import AddressSpace
from mm.errno import Errno
from mm.frames import PageFlag
from mm.paging import Paging, bit
from mm.swap_state import swap_writepage
from pinpage.errors import require
from pinpage.units import Pfns

__all__ = ["SWAP_CLUSTER_MAX", "Reclaimed", "shrink_active", "shrink_inactive"]

SWAP_CLUSTER_MAX = 32
"""Pages per batch (include/linux/swap.h)."""

_DIRTY, _REFERENCED = bit(PageFlag.DIRTY), bit(PageFlag.REFERENCED)
_SWAPCACHE, _SWAPBACKED = bit(PageFlag.SWAPCACHE), bit(PageFlag.SWAPBACKED)
_ACTIVE = bit(PageFlag.ACTIVE)
_STAYS = bit(PageFlag.UNEVICTABLE, PageFlag.MLOCKED, PageFlag.WRITEBACK)


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


def shrink_inactive(paging: Paging, nr_to_scan: int = SWAP_CLUSTER_MAX) -> Reclaimed:
    """Try to free up to `nr_to_scan` of the oldest inactive pages.

    Returns:
        The counts; all zero when reclaim is running already.

    Context: may call frontswap, which may allocate; never recurses.
    """
    done = Reclaimed()
    if paging.in_reclaim:
        return done
    paging.in_reclaim = True
    try:
        pfns = paging.lru.oldest(nr_to_scan)
        paging.lru.del_many(pfns)
        paging.frames.refcount[pfns] += 1
        done.nr_scanned = len(pfns)
        for pfn in pfns.tolist():
            _shrink_page(paging, pfn, done)
    finally:
        paging.in_reclaim = False
    return done


def shrink_active(paging: Paging, nr_to_scan: int = SWAP_CLUSTER_MAX) -> int:
    """Move the oldest active pages to the inactive list.

    Returns:
        How many.
    """
    pfns: Pfns = paging.lru.oldest(nr_to_scan, active=True)
    paging.lru.del_many(pfns)
    paging.frames.clear_flag(pfns, PageFlag.REFERENCED)
    paging.lru.add_many(pfns)
    return len(pfns)


def _shrink_page(paging: Paging, pfn: int, done: Reclaimed) -> None:
    """One isolated page with our reference: freed, or back on the LRU."""
    if not paging.trylock_page(pfn):
        done.nr_busy += 1
    elif not _may_reclaim(paging, pfn):
        done.nr_busy += 1
        paging.unlock_page(pfn)
    elif paging.has(pfn, _REFERENCED):
        paging.clear_bits(pfn, _REFERENCED)
        paging.set_bits(pfn, _ACTIVE)
        done.nr_activated += 1
        paging.unlock_page(pfn)
    elif not _add_to_swap(paging, pfn):
        done.nr_no_slot += 1
        paging.unlock_page(pfn)
    else:
        _try_to_unmap(paging, pfn)
        _pageout(paging, pfn, done)
        if _free_if_clean(paging, pfn):
            done.nr_reclaimed += 1
            return
    _putback(paging, pfn)


def _may_reclaim(paging: Paging, pfn: int) -> bool:
    """Swap can take it, and nobody but its home and us holds it.

    A page of a file that processes map as well keeps its place: our shmem has no shared
    mappings.
    """
    frames = paging.frames
    if not paging.has(pfn, _SWAPBACKED) or paging.has(pfn, _STAYS) or frames.isolated.item(pfn):
        return False
    nr_mappings = frames.mapcount.item(pfn) + 1
    home = nr_mappings + paging.has(pfn, _SWAPCACHE)
    if frames.refcount.item(pfn) != home + 1:
        return False
    return nr_mappings < 2 or all(space.kind == "process" for space, _ in paging.rmap.mappers(pfn))


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


def _putback(paging: Paging, pfn: int) -> None:
    """Back to the LRU, our reference dropped."""
    if paging.frames.refcount.item(pfn) > 1:
        paging.lru.putback_page(pfn)
    paging.put_page(pfn)
