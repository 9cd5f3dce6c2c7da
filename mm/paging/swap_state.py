"""Pages into and out of the swap cache: one page per slot, made by whoever comes first.

Kernel counterpart: mm/swap_state.c (__read_swap_cache_async, read_swap_cache_async) and
swap_writepage of mm/page_io.c.  Reads and writes complete at once.
"""

from mm.paging.paging import ANON_BITS, Paging, bit
from mm.state.errno import Errno
from mm.state.frames import PageFlag
from mm.swap.swapops import SWAP_HAS_CACHE, SwapEntry

__all__ = ["get_swap_cache_page", "read_swap_cache_async", "swap_writepage"]

_LOCKED = bit(PageFlag.LOCKED)


def get_swap_cache_page(paging: Paging, entry: SwapEntry) -> tuple[int, bool]:
    """The slot's page with a reference for the caller: the cached one, or a new one.

    Args:
        paging: the state that faults, reclaim and swapoff share.
        entry: names the slot.

    Returns:
        (pfn, is_new).  A new page is locked, in the swap cache and on the LRU, and its
        contents are undefined: the caller fills it and unlocks it.  pfn is -1 when the slot
        is free or no page could be allocated; the slot's byte tells which.
    """
    area, offset = paging.swap.locate(entry)
    new_pfn = -1
    while True:
        pfn = paging.swap.cache.lookup(entry)
        if pfn >= 0:
            paging.get_page(pfn)
            break
        if new_pfn < 0:
            new_pfn = paging.alloc_page()
            if new_pfn < 0:
                break
        error = area.duplicate(offset, SWAP_HAS_CACHE)
        if not error:
            paging.set_bits(new_pfn, ANON_BITS | _LOCKED)
            paging.swap.cache.add(entry, new_pfn)
            paging.lru.add_page(new_pfn)
            return new_pfn, True
        if error != Errno.EEXIST:
            break
        # Somebody has claimed the slot and not yet added, or not yet removed, its page.
        paging.wait(-1, PageFlag.LOCKED)
    if new_pfn >= 0:
        paging.source.free_page(new_pfn)
    return pfn, False


def read_swap_cache_async(paging: Paging, entry: SwapEntry) -> int:
    """The slot's page, read if need be, with a reference for the caller.

    Args:
        paging: the state that faults, reclaim and swapoff share.
        entry: names the slot.

    Returns:
        Its pfn; -1 when the slot is free or no page could be allocated.
    """
    pfn, is_new = get_swap_cache_page(paging, entry)
    if is_new:
        area, offset = paging.swap.locate(entry)
        paging.restore(pfn, area.read_page(offset))
        paging.nr_swapped_in += 1
        paging.unlock_page(pfn)
    return pfn


def swap_writepage(paging: Paging, pfn: int) -> bool:
    """Write a locked cached page to its slot and unlock it.

    A slot that nobody names is given up instead: there is nothing to keep.

    Args:
        paging: the state that faults, reclaim and swapoff share.
        pfn: the frame.

    Returns:
        Whether frontswap took it (False: it went to the disk, or nowhere).
    """
    in_frontswap = False
    if not paging.try_to_free_swap(pfn):
        area, offset = paging.swap.locate(paging.swap.cache.entry_of.item(pfn))
        in_frontswap = area.write_page(offset, paging.save(pfn))
        paging.nr_swapped_out += 1
    paging.unlock_page(pfn)
    return in_frontswap
