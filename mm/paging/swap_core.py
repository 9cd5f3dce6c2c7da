"""The swap core as a compressed cache sees it: two ways out for a page that it holds.

    to disk     a new swap-cache page, filled by the cache, written to the device
    to memory   try_to_unuse_swp_entry: every page table that names the slot gets the page

Satisfies `owners.zswap.host.SwapHost`; mm knows nothing of who asks.

Kernel counterpart: zswap_get_swap_cache_page and __swap_writepage on one side, and
try_to_unuse_swp_entry (patch 2 of the 2013 series) on the other.
"""

from mm.paging.memory import mmput
from mm.paging.paging import Paging
from mm.paging.swapfile import Pending, no_signal, try_to_unuse_swp_entry
from mm.state.errno import Errno
from mm.swap.swapops import SWAP_HAS_CACHE, SwapEntry, swp_offset

__all__ = ["SwapCore"]


class SwapCore:
    """What `Paging` offers to whoever keeps swapped-out pages in memory.

    A page written back is reclaimed at once.  The kernel marks it PG_reclaim, so that the
    end of its writeback puts it where reclaim looks first; here writing takes no time.
    """

    def __init__(self, paging: Paging, *, pending: Pending = no_signal) -> None:
        """Work on `paging`; `pending` says whether the caller's task has a signal."""
        self._paging = paging
        self._pending = pending

    def get_cache_page(self, entry: SwapEntry) -> int:
        """A new swap-cache page for the slot, locked, not filled yet.

        Takes the slot's SWAP_HAS_CACHE, which is exclusive.  Whoever frees the slot meanwhile
        leaves a page that it cannot lock to us.

        Returns:
            Its pfn; ENOMEM without memory; EEXIST if the slot has one already.
        """
        swap = self._paging.swap
        if entry in swap.cache:
            return Errno.EEXIST
        pfn = self._paging.alloc_page()
        if pfn < 0:
            return Errno.ENOMEM
        error = swap.area_of(entry).duplicate(swp_offset(entry), SWAP_HAS_CACHE)
        if error != Errno.OK:
            self._paging.source.free_page(pfn)
            return Errno.EEXIST if error == Errno.EEXIST else Errno.ENOMEM
        swap.cache.add(entry, pfn)
        self._paging.lock_page(pfn)
        return pfn

    def write_page(self, entry: SwapEntry, pfn: int, page: bytes) -> None:
        """Fill the new cache page, write it to the device, and let it be reclaimed.

        Args:
            entry: names the slot.
            pfn: the frame.
            page: the page's bytes.
        """
        self._paging.restore(pfn, page)
        self._paging.swap.area_of(entry).write_disk(swp_offset(entry), page)
        self.drop_cache_page(entry, pfn)

    def drop_cache_page(self, entry: SwapEntry, pfn: int) -> None:
        """Give the new cache page up unwritten: the slot changed hands meanwhile.

        Args:
            entry: names the slot.
            pfn: the frame.
        """
        self._paging.swap.cache_delete(pfn)
        self._paging.unlock_page(pfn)
        self._paging.put_page(pfn)

    def get_device(self, swap_type: int) -> bool:
        """Keep the area from being torn down; False once swapoff has begun (no WRITEOK)."""
        area = self._paging.swap.areas.get(swap_type)
        return area is not None and area.get_device()

    def put_device(self, swap_type: int) -> None:
        """Undo one `get_device`."""
        self._paging.swap.areas[swap_type].put_device()

    def unuse(self, entry: SwapEntry) -> Errno:
        """Bring the slot's page back to ordinary memory and repoint all of its users.

        Starts from init_mm, as patch 4 does: no locality is known.
        """
        paging = self._paging
        area, init_mm = paging.swap.area_of(entry), paging.swap.mmlist.init_mm
        init_mm.mm_users += 1
        error, start_mm = try_to_unuse_swp_entry(
            paging, init_mm, area, entry, pending=self._pending
        )
        mmput(paging, start_mm)
        return error
