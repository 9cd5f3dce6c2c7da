"""The swap core as a compressed cache sees it: two ways out for a page that it holds.

    to disk     a new swap-cache page, filled by the cache, written to the device
    to memory   try_to_unuse_swp_entry: every page table that names the slot gets the page

Satisfies `owners.zswap_host.SwapHost`; mm knows nothing of who asks.

Kernel counterpart: zswap_get_swap_cache_page and __swap_writepage on one side, and
try_to_unuse_swp_entry (patch 2 of the 2013 series) on the other.
"""

from mm.errno import Errno
from mm.paging import Paging
from mm.swap import SwapEntry
from mm.swap_state import get_swap_cache_page
from mm.swapfile import Pending, no_signal, try_to_unuse_swp_entry

__all__ = ["SwapCore"]


class SwapCore:
    """What `Paging` offers to whoever keeps swapped-out pages in memory."""

    def __init__(self, paging: Paging, *, pending: Pending = no_signal) -> None:
        """Work on `paging`; `pending` says whether the caller's task has a signal."""
        self._paging = paging
        self._pending = pending

    def get_cache_page(self, entry: SwapEntry) -> int:
        """A new, locked swap-cache page for the slot; ENOMEM, or EEXIST if it has one."""
        pfn, is_new = get_swap_cache_page(self._paging, entry)
        if pfn < 0:
            return Errno.ENOMEM
        if not is_new:
            self._paging.put_page(pfn)
            return Errno.EEXIST
        return pfn

    def write_page(self, entry: SwapEntry, pfn: int, page: bytes) -> None:
        """Fill the new page and write it to the device itself, past the compressed cache."""
        paging = self._paging
        area, offset = paging.swap.locate(entry)
        paging.restore(pfn, page)
        area.disk[offset] = page
        area.frontswap_map[offset] = False
        paging.nr_swapped_out += 1
        paging.unlock_page(pfn)
        paging.put_page(pfn)

    def drop_cache_page(self, entry: SwapEntry, pfn: int) -> None:
        """Give the new page up unwritten."""
        paging = self._paging
        paging.swap.cache_delete(pfn)
        paging.unlock_page(pfn)
        paging.put_page(pfn)

    def get_device(self, swap_type: int) -> bool:
        """Keep the area from being torn down; False once swapoff has begun."""
        area = self._paging.swap.areas.get(swap_type)
        return area is not None and area.get_device()

    def put_device(self, swap_type: int) -> None:
        """Undo one `get_device`."""
        self._paging.swap.areas[swap_type].put_device()

    def unuse(self, entry: SwapEntry) -> Errno:
        """Bring the slot's page back and repoint all of its users, init_mm as start."""
        paging = self._paging
        area, _ = paging.swap.locate(entry)
        init_mm = paging.swap.mmlist.init_mm
        init_mm.mm_users += 1
        error, start_mm = try_to_unuse_swp_entry(
            paging, init_mm, area, entry, pending=self._pending
        )
        start_mm.mm_users -= 1
        return error
