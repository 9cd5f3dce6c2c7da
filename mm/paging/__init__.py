"""Processes and reclaim: faults, unmapping, pages that go to swap and come back.

    clean_pages  Clean page cache: which pages are, how many, the oldest of them, and giving them up
    memory       Processes: map, touch, write, read, drop, fork, exit
    paging       What faults, reclaim and swapoff share: the state they work on, and its smallest
                 steps
    shmem        Memory that belongs to a file in no filesystem on disk: tmpfs, as far as swap knows
                 it
    swap_core    The swap core as a compressed cache sees it: two ways out for a page that it holds
    swap_state   Pages into and out of the swap cache: one page per slot, made by whoever comes
                 first
    swapfile     Bringing swapped pages back: one entry, a number of frontswap pages, a whole area
    vmscan       Reclaim: the oldest anonymous and shmem pages go to swap, their frames become free

Kernel counterpart: mm/memory.c, mm/vmscan.c, mm/swap_state.c, mm/swapfile.c, mm/shmem.c.
May be imported by: contig, the machine and pinlab. Owners see `mm.paging.swapfile` alone, the way
out for what they hold.
"""
