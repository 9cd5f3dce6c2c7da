"""Memory that belongs to a file in no filesystem on disk: tmpfs, as far as swap knows it.

A shmem page's home is its file (an address space of kind "file").  Swapped out, the file's
slot holds the entry, and the slot's byte in swap_map is SWAP_MAP_SHMEM: unuse must ask the
file, not the processes.

Kernel counterpart: mm/shmem.c (shmem_unuse, shmem_getpage).
"""

from mm.paging.paging import SHMEM_BITS, Paging, bit
from mm.paging.swap_state import read_swap_cache_async
from mm.state.address_space import PTE_NONE, AddressSpace, pte_entry, pte_pfn, swap_pte
from mm.state.errno import Errno
from mm.state.frames import PageFlag
from mm.swap.swap_area import SwapArea
from mm.swap.swapops import SwapEntry, swp_offset
from pinpage.errors import PinpageError

__all__ = ["shmem_create", "shmem_getpage", "shmem_unuse"]

_ANON, _DIRTY = bit(PageFlag.ANON), bit(PageFlag.DIRTY)


def shmem_create(paging: Paging, name: str, nr_pages: int) -> AddressSpace:
    """An empty tmpfs file of `nr_pages` pages.

    Args:
        paging: the state that faults, reclaim and swapoff share.
        name: of the file.
        nr_pages: of the file.
    """
    return paging.rmap.create(name, nr_pages, kind="file")


def shmem_getpage(paging: Paging, file: AddressSpace, index: int) -> int:
    """The file's page at `index`: there already, swapped in, or new and zero.

    A swapped-in page leaves the swap cache at once: its home is the file again.

    Args:
        paging: the state that faults, reclaim and swapoff share.
        file: the file's page cache.
        index: page of the file.

    Returns:
        Its pfn, or ENOMEM.

    Raises:
        PinpageError: not a file, or `index` is beyond its end.
    """
    if file.kind != "file" or not 0 <= index < file.nr_vpns:
        raise PinpageError(f"shmem: {file.name!r} is no file with a page {index:#x}")
    while (pte := file.pte.item(index)) <= 0:
        if pte == PTE_NONE:
            return _new_page(paging, file, index)
        entry = pte_entry(pte)
        pfn = read_swap_cache_async(paging, entry)
        if pfn < 0:
            if file.pte.item(index) != pte:
                continue  # somebody was quicker
            return Errno.ENOMEM
        paging.lock_page(pfn)
        if file.pte.item(index) == pte and paging.swap.cache.entry_of.item(pfn) == entry:
            _move_to_page_cache(paging, file, index, pfn)
        paging.unlock_page(pfn)
        paging.put_page(pfn)
    return pte_pfn(pte)


def _new_page(paging: Paging, file: AddressSpace, index: int) -> int:
    pfn = paging.alloc_page()
    if pfn < 0:
        return Errno.ENOMEM
    paging.clear_page(pfn)
    paging.set_bits(pfn, SHMEM_BITS | _DIRTY)
    paging.rmap.map_page(file, index, pfn)
    paging.lru.add_page(pfn)
    return pfn


def shmem_unuse(paging: Paging, area: SwapArea, entry: SwapEntry, pfn: int) -> Errno:
    """Give a swapped-in page back to the file whose slot names it.

    Args:
        pfn: the slot's page: locked, in the swap cache, a reference held by the caller.
            Whatever the answer, it comes back unlocked and that reference is gone.

    Returns:
        OK, also when no file wants it any more (truncated meanwhile); else what `charge`
        refused with, and the page stays in the swap cache.
    """
    error = Errno.OK
    for mm_id, index in area.users(swp_offset(entry)):
        file = paging.rmap.space(mm_id)
        error = paging.charge(file)
        if not error and file.pte.item(index) == swap_pte(entry):
            _move_to_page_cache(paging, file, index, pfn)
    paging.unlock_page(pfn)
    paging.put_page(pfn)
    return error


def _move_to_page_cache(paging: Paging, file: AddressSpace, index: int, pfn: int) -> None:
    paging.swap.clear_pte(file, index)
    paging.get_page(pfn)  # the file's
    paging.rmap.map_page(file, index, pfn)
    paging.swap.cache_delete(pfn)
    paging.clear_bits(pfn, _ANON)
    paging.set_bits(pfn, _DIRTY)
