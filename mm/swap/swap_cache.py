"""The swap cache: which frame holds the contents of which slot, both ways.

A slot has at most one page in memory, and everybody who wants the slot's contents goes
through it and its lock; that is what keeps a fault and an unuse from making two (rule K).

Kernel counterpart: mm/swap_state.c, where page_private names the entry and an xarray per
64 MiB names the page.
"""

import numpy as np
from numpy.typing import NDArray

from mm.state.frames import Frames, PageFlag
from mm.swap.swapops import SwapEntry
from pinpage.errors import require
from pinpage.units import Pfns

__all__ = ["SwapCache"]

_SWAPCACHE_BIT = int(PageFlag.SWAPCACHE.mask)


class SwapCache:
    """entry -> pfn as a dict, pfn -> entry as a column; each page has a reference.

    Attributes:
        entry_of: int64, shape (nr_frames,): the entry of a cached frame, -1 for others.  Read
            only; a view of one number until a page is cached, for a machine that never swaps
            need not pay for it.

    Invariants, run by `check`:
        SC1 the two directions agree.
        SC2 PG_swapcache is set exactly on the cached frames.
    """

    def __init__(self, frames: Frames) -> None:
        self.frames = frames
        self._pfn_of: dict[SwapEntry, int] = {}
        self._has_column = False
        self.entry_of: NDArray[np.int64] = np.broadcast_to(np.int64(-1), frames.nr_frames)

    def __len__(self) -> int:
        return len(self._pfn_of)

    def __contains__(self, entry: SwapEntry) -> bool:
        return entry in self._pfn_of

    def lookup(self, entry: SwapEntry) -> int:
        """The frame that holds the slot's contents, -1 for none.  Takes no reference."""
        return self._pfn_of.get(entry, -1)

    def add(self, entry: SwapEntry, pfn: int) -> None:
        """Cache a frame under an entry; takes a reference and sets PG_swapcache.

        Args:
            entry: names the slot.
            pfn: the frame.

        Raises:
            InvariantError: the entry or the frame is cached already (the slot's
                SWAP_HAS_CACHE is what callers take first, and it is exclusive).
        """
        alone = entry not in self._pfn_of and self.entry_of.item(pfn) < 0
        require(alone, "SC1 cached twice", entry=entry, pfn=pfn)
        if not self._has_column:
            self.entry_of, self._has_column = self.entry_of.copy(), True
        self._pfn_of[entry] = pfn
        self.entry_of[pfn] = entry
        frames = self.frames
        frames.add_reference(pfn, 1)
        frames.flags[pfn] = frames.flags.item(pfn) | _SWAPCACHE_BIT

    def delete(self, pfn: int) -> SwapEntry:
        """Take a frame out; drops the cache's reference (the caller holds another).

        Returns:
            The entry, whose SWAP_HAS_CACHE is the caller's to clear (`Swap.cache_delete`).
        """
        entry = self.entry_of.item(pfn)
        require(entry >= 0, "SC1 not in the swap cache", pfn=pfn)
        del self._pfn_of[entry]
        self.entry_of[pfn] = -1
        frames = self.frames
        frames.add_reference(pfn, -1)
        frames.flags[pfn] = frames.flags.item(pfn) & ~_SWAPCACHE_BIT
        return entry

    def move_many(self, sources: Pfns, targets: Pfns) -> None:
        """What was cached at `sources[i]` is at `targets[i]` now.

        Flags and references are the mover's to carry over.  Sources that are not cached
        are fine.

        Args:
            sources: int64 (n,), the frames that move.
            targets: int64 (n,), where they are now.

        Cost: a dict store per cached frame.
        """
        entries = self.entry_of[sources]
        self.entry_of[sources] = -1
        self.entry_of[targets] = entries
        cached = entries >= 0
        self._pfn_of.update(zip(entries[cached].tolist(), targets[cached].tolist(), strict=True))

    def check(self) -> None:
        """Run SC1 and SC2.

        Raises:
            InvariantError: one does not hold.
        """
        cached = np.flatnonzero(self.entry_of >= 0)
        there = dict(zip(self.entry_of[cached].tolist(), cached.tolist(), strict=True))
        require(there == self._pfn_of, "SC1 the swap cache disagrees with itself")
        flagged = np.flatnonzero(self.frames.flags & PageFlag.SWAPCACHE.mask)
        require(np.array_equal(flagged, cached), "SC2 PG_swapcache and the cache disagree")
