"""Taking address spaces apart: ranges dropped, and whole spaces when their last user goes.

Kernel counterpart: zap_page_range (mm/memory.c), exit_mmap (mm/mmap.c), mmput (kernel/fork.c).
"""

import numpy as np

from mm.paging.paging import Paging
from mm.state.address_space import AddressSpace, Vpns
from pinpage.errors import require

__all__ = ["mmput", "zap_page_range"]


def mmput(paging: Paging, space: AddressSpace) -> None:
    """One user less; the last one tears the space down.

    Raises:
        InvariantError: it had no user.
    """
    nr_users = space.mm_users - 1
    require(nr_users >= 0, "mmput of a space without users")
    space.mm_users = nr_users
    if nr_users == 0 and space is not paging.swap.mmlist.init_mm:
        _exit_mmap(paging, space)


def zap_page_range(paging: Paging, space: AddressSpace, vpns: Vpns) -> int:
    """Empty PTEs, present or swapped; pages and slots that nobody else uses are freed.

    Returns:
        How many PTEs there were.
    Cost: a loop, about 3 us per page.
    """
    ptes = space.pte[vpns]
    for vpn in vpns[ptes > 0].tolist():
        pfn, was_last = paging.rmap.unmap_page(space, vpn)
        if was_last:
            paging.drop_unmapped(pfn)
    for vpn in vpns[ptes < 0].tolist():
        paging.free_swap_and_cache(space, vpn)
    return int(np.count_nonzero(ptes))


def _exit_mmap(paging: Paging, space: AddressSpace) -> None:
    zap_page_range(paging, space, np.flatnonzero(space.pte))
    paging.swap.mmlist.remove(space)
    paging.rmap.destroy(space)
