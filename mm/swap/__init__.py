"""Swap as data: areas, slots and their users, the swap cache.

    swap        All swap areas, the swap cache, and the PTEs that name slots
    swap_area   One swap area: its slots, how often each is used and by whom, and where the bytes
                are
    swap_cache  The swap cache: which frame holds the contents of which slot, both ways
    swapops     The words of swap: entries, the bytes of swap_map, and what sits before the disk

Kernel counterpart: struct swap_info_struct, the swap cache's tree, include/linux/swapops.h.
May be imported by: everybody above `mm.state`, and owners that are swap themselves (zswap, zram).
What goes to swap is decided in `mm.paging`.
"""
