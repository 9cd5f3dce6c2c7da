"""Unmovable allocations in a region of their own, which grows and shrinks.

Instead of asking for a page that does not move, put it where it is in nobody's way.

    alloc   movable: as ever.  Unmovable: from the region; if that is full it grows by the
            pageblock behind it, or before it, which is emptied first; where neither can be,
            the page comes from anywhere, and is counted
    free    back to the region; a pageblock at its end that is free leaves it

So U unmovable pages cost ceil(U / 512) pageblocks and not up to U.  The effect is on growth:
memory that was recorded without a region has its unmovable pages where they are, and there,
as a design, this is `unmovable`.

Kernel counterpart: the two regions of Contiguitas (ISCA 2023, software part), and the
proposals of superpageblocks on linux-mm; neither is merged.
"""

from typing import Protocol

import numpy as np
from sortedcontainers import SortedList

from mm.buddy.buddy import Buddy
from mm.buddy.page_source import PageSource
from mm.contig.contig import Contig
from mm.move.design import Design, Unmovable
from mm.state.contents import Contents
from mm.state.errno import Errno
from mm.state.frames import Frames
from mm.state.gfp import Gfp
from mm.state.pageblock import MigrateType, Pageblocks
from pinpage.errors import PinpageError, require

__all__ = ["ConfinedPages", "Confinement", "ConfinementHost"]


class Confinement(Unmovable):
    """Implements `mm.move.design.Design`; what it does it does when pages are allocated."""

    name = "confinement"


class ConfinementHost(PageSource, Protocol):
    """The machine, as far as a region needs one."""

    design: Design

    @property
    def pageblocks(self) -> Pageblocks:
        """Types of pageblocks."""

    @property
    def buddy(self) -> Buddy:
        """The free lists; a pageblock that is given back is MOVABLE again."""

    @property
    def contig(self) -> Contig:
        """Takes whole pageblocks."""


class ConfinedPages:
    """A `PageSource` that keeps unmovable pages together.

    Attributes:
        first_block, nr_blocks: the region, in pageblocks.
        nr_outside: unmovable pages that found no place in it and could not make it grow.

    Invariants, run by `check`:
        CF1 a free page of the region has one reference, the region's.
        CF2 every free page lies within the region.
    """

    def __init__(self, host: ConfinementHost, first_block: int) -> None:
        """An empty region; it begins at a pageblock and grows from there.

        Args:
            host: where pageblocks come from, and whatever may move.
            first_block: number of the pageblock to begin with.

        Raises:
            PinpageError: there is no such pageblock.
        """
        if not 0 <= first_block < host.pageblocks.nr_blocks:
            raise PinpageError(
                f"confinement: first_block={first_block}: "
                f"give one of 0..{host.pageblocks.nr_blocks - 1}"
            )
        self._host = host
        self._size = host.pageblocks.nr_pages_per_block
        self.first_block = first_block
        self.nr_blocks = 0
        self.nr_outside = 0
        self._free: SortedList = SortedList()

    @property
    def frames(self) -> Frames:
        """The columns."""
        return self._host.frames

    @property
    def contents(self) -> Contents:
        """The bytes."""
        return self._host.contents

    @property
    def nr_pages_used(self) -> int:
        """Pages of the region that somebody has."""
        return self.nr_blocks * self._size - len(self._free)

    def alloc_page(self, gfp: Gfp) -> int:
        """One frame, from the region unless it is movable; the lowest, so that the end empties.

        Returns:
            The frame with one reference, or -1.
        """
        if gfp & Gfp.MOVABLE:
            return self._host.alloc_page(gfp)
        if not self._free and not self._grow():
            self.nr_outside += 1
            return self._host.alloc_page(gfp)
        pfn: int = self._free.pop(0)
        return pfn

    def free_page(self, pfn: int) -> None:
        """Drop the last reference and free.

        Raises:
            PinpageError: it is not allocated, or others hold references too.
        """
        if pfn in self._free:
            raise PinpageError(f"free_page: pfn {pfn:#x} is free")
        if not self._has(pfn):
            self._host.free_page(pfn)
            return
        count = self.frames.refcount.item(pfn)
        if count != 1:
            raise PinpageError(f"free_page: pfn {pfn:#x} has {count} references, not 1")
        self.put_page(pfn)

    def get_page(self, pfn: int) -> None:
        """One reference more.

        Raises:
            PinpageError: nobody holds the frame; a reference cannot start from nothing.
        """
        if pfn in self._free:
            raise PinpageError(f"get_page: pfn {pfn:#x} is free")
        self._host.get_page(pfn)

    def put_page(self, pfn: int) -> bool:
        """One reference less; True when that was the last one and the frame is free now."""
        if not self._has(pfn) or self.frames.refcount.item(pfn) > 1:
            return self._host.put_page(pfn)
        self._free.add(pfn)
        self._shrink()
        return True

    def check(self) -> None:
        """Run CF1 and CF2.

        Raises:
            InvariantError: one does not hold.
        """
        free = np.array(self._free, dtype=np.int64)
        require((self.frames.refcount[free] == 1).all(), "CF1 somebody has a free page")
        require(all(map(self._has, self._free)), "CF2 a free page is outside of the region")

    def _has(self, pfn: int) -> bool:
        return 0 <= pfn // self._size - self.first_block < self.nr_blocks

    def _grow(self) -> bool:
        """The pageblock behind the region, or the one before it; whether one could be had."""
        behind, before = self.first_block + self.nr_blocks, self.first_block - 1
        for block in (behind, before) if self.nr_blocks else (behind,):
            if 0 <= block < self._host.pageblocks.nr_blocks and self._take(block):
                self.first_block = min(self.first_block, block)
                self.nr_blocks += 1
                return True
        return False

    def _take(self, block: int) -> bool:
        start = block * self._size
        found = self._host.contig.alloc_contig_range(
            start, start + self._size, self._host.design, migratetype=MigrateType.UNMOVABLE
        )
        if found.errno is Errno.OK:
            self._free.update(range(start, start + self._size))
        return found.errno is Errno.OK

    def _shrink(self) -> None:
        """Give back pageblocks at either end that are free."""
        while self.nr_blocks:
            last = self.first_block + self.nr_blocks - 1
            ends = [block for block in (last, self.first_block) if self._is_free(block)]
            if not ends:
                return
            start = ends[0] * self._size
            for pfn in range(start, start + self._size):
                self._free.remove(pfn)
            self._host.contig.free_contig_range(start, self._size)
            self._host.buddy.set_migratetype(ends[0], MigrateType.MOVABLE)
            self.first_block += ends[0] == self.first_block and self.nr_blocks > 1
            self.nr_blocks -= 1

    def _is_free(self, block: int) -> bool:
        start = block * self._size
        in_block = self._free.bisect_left(start + self._size) - self._free.bisect_left(start)
        return bool(in_block == self._size)
