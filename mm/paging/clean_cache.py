"""Clean page cache is dropped, not moved: its bytes are on disk already.

Giving such a page up costs a twentieth of moving it, and needs no destination.  The next
reader brings it back from the disk.

Kernel counterpart: reclaim_clean_pages_from_list() in mm/vmscan.c.  There a page that
processes map as well is unmapped from them first; here it is moved instead, for there are no
VMAs that would remember which file it came from.
"""

import numpy as np

from mm.state.frames import Frames, PageFlag
from mm.state.refs import Refs
from mm.state.rmap import Rmap
from pinpage.units import Mask, Pfns

__all__ = ["is_clean_cache", "reclaim_clean_pages"]

_KEEPS = np.bitwise_or.reduce(
    [
        flag.mask
        for flag in (
            PageFlag.DIRTY, PageFlag.WRITEBACK, PageFlag.SWAPBACKED, PageFlag.ANON,
            PageFlag.SWAPCACHE, PageFlag.UNEVICTABLE, PageFlag.MLOCKED, PageFlag.LOCKED,
            PageFlag.HUGE,
        )
    ]
)  # fmt: skip
"""Flags of pages that have no second copy, or are in use at this moment."""


def is_clean_cache(frames: Frames, rmap: Rmap, pfns: Pfns) -> Mask:
    """Which pages the page cache alone holds, with their bytes on disk, bool[n].

    Args:
        frames: the columns.
        rmap: says whose pages they are.
        pfns: used frames that nobody registered.
    """
    flags = frames.flags[pfns]
    clean: Mask = ((flags & PageFlag.LRU.mask) != 0) & ((flags & _KEEPS) == 0)
    # One mapping, the cache's, and one reference, that mapping's: a mover would have another.
    clean &= (frames.mapcount[pfns] == 0) & (frames.refcount[pfns] == 1)
    if clean.any():
        spaces = [space.mm_id for space in rmap.spaces if space.kind == "file"]
        clean &= np.isin(rmap.first_mm[pfns], spaces)
    return clean


def reclaim_clean_pages(frames: Frames, rmap: Rmap, refs: Refs, pfns: Pfns) -> Mask:
    """Drop those that are clean page cache; which that were, bool[n].

    A frame of an isolated pageblock is free for good then: it goes past the per-CPU lists.

    Args:
        frames, rmap, refs: the state.
        pfns: used frames without duplicates that nobody registered.
    """
    clean = is_clean_cache(frames, rmap, pfns)
    if clean.any():
        dropped = pfns[clean]
        rmap.unmap_many(dropped)
        refs.put_many(dropped)  # that of the mapping
    return clean
