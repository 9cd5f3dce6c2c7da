"""What zswap asks of the swap core when an object must leave the pool.

Kernel counterparts: zswap_get_swap_cache_page and __swap_writepage on the way to disk,
try_to_unuse_swp_entry (patch 2 of the 2013 series) on the way back to memory.
`mm.paging.swap_core.SwapCore` satisfies this.
"""

from typing import Protocol

from mm.state.errno import Errno
from mm.swap.swapops import SwapEntry

__all__ = ["SwapHost"]


class SwapHost(Protocol):
    """The swap core, as far as zswap needs it."""

    def get_cache_page(self, entry: SwapEntry) -> int:
        """A new swap-cache page for the slot, not filled yet.

        Returns:
            Its pfn; ENOMEM without memory; EEXIST if the slot has one already.
        """

    def write_page(self, entry: SwapEntry, pfn: int, page: bytes) -> None:
        """Fill the new cache page, write it to the device, and let it be reclaimed.

        Args:
            entry: the slot.
            pfn: from `get_cache_page`.
            page: its 4096 bytes.
        """

    def drop_cache_page(self, entry: SwapEntry, pfn: int) -> None:
        """Give the new cache page up unwritten: the slot changed hands meanwhile.

        Args:
            entry: the slot.
            pfn: from `get_cache_page`.
        """

    def get_device(self, swap_type: int) -> bool:
        """Keep the area from being torn down; False once swapoff has begun (no WRITEOK)."""

    def put_device(self, swap_type: int) -> None:
        """Undo one `get_device`."""

    def unuse(self, entry: SwapEntry) -> Errno:
        """Bring the slot's page back to ordinary memory and repoint all of its users."""
