"""The pool of 2 MiB pages, grown at run time.

Two ways to get one.  `grow` asks the page allocator, as a write to nr_hugepages does, and
stops at the first failure; the min watermark holds.  `claim` takes pageblocks that a plan
has emptied, as contiguous allocation takes its range: no watermark is asked.

Kernel counterpart: mm/hugetlb.c (alloc_pool_huge_page) and alloc_contig_range.
"""

import numpy as np

from mm.buddy import Buddy
from mm.frames import Frames, FrameState, PageFlag
from mm.gfp import Gfp
from mm.page_alloc import PageAllocator
from mm.pageblock import MigrateType, Pageblocks
from pinpage.errors import NotPinnedError, require
from pinpage.units import Pfns

__all__ = ["HugePool"]


class HugePool:
    """Huge pages of one pageblock each.

    Attributes:
        heads: pfns of the head frames, in the order in which they were obtained.

    Invariants, run by `check`:
        H1 every huge page is aligned to its size.
        H2 its frames are used, carry the HUGE flag, and no other page's.
    """

    def __init__(
        self, frames: Frames, pageblocks: Pageblocks, buddy: Buddy, allocator: PageAllocator
    ) -> None:
        """An empty pool."""
        self._frames = frames
        self._pageblocks = pageblocks
        self._buddy = buddy
        self._allocator = allocator
        self.heads: list[int] = []

    @property
    def nr_huge_pages(self) -> int:
        """Pages in the pool."""
        return len(self.heads)

    def grow(self, count: int) -> int:
        """Allocate up to `count` pages from the allocator; how many there were.

        Compaction is not started from here: the request that the recordings hold compacted
        all memory first, and what it then obtained were the wholly free blocks.
        """
        gfp = Gfp.HIGHUSER_MOVABLE | Gfp.COMP | Gfp.NORETRY | Gfp.NOWARN
        for obtained in range(count):
            head = self._allocator.alloc_pages(self._pageblocks.order, gfp & ~Gfp.RECLAIM)
            if head < 0:
                return obtained
            self._adopt(head)
        return count

    def claim(self, count: int) -> int:
        """Take up to `count` wholly free pageblocks, lowest first; how many there were."""
        isolated = self._pageblocks.migratetype == MigrateType.ISOLATE  # somebody else's range
        blocks = np.flatnonzero(self._buddy.wholly_free() & ~isolated)[:count]
        for block in blocks.tolist():
            self._adopt(self._buddy.claim_block(block))
        return len(blocks)

    def shrink(self, count: int) -> int:
        """Give up to `count` pages back, newest first; how many."""
        for given in range(count):
            if not self.heads:
                return given
            head = self.heads.pop()
            frames = self._frames_of(head)
            self._frames.refcount[frames] = 0
            self._frames.refcount[head] = 1
            self._frames.flags[frames] = 0
            self._buddy.free(head, self._pageblocks.order)
        return count

    def free_page(self, head: int) -> None:
        """Give back the page with this head.

        Raises:
            NotPinnedError: the pool has no such page.
        """
        if head not in self.heads:
            raise NotPinnedError(f"hugetlb: no huge page starts at pfn {head:#x}")
        self.heads.remove(head)
        self.heads.append(head)
        self.shrink(1)

    def _frames_of(self, head: int) -> Pfns:
        return np.arange(head, head + self._pageblocks.nr_pages_per_block)

    def _adopt(self, head: int) -> None:
        frames = self._frames_of(head)
        self._frames.set_flag(frames, PageFlag.HUGE)
        self._frames.set_flag(frames[:1], PageFlag.COMPOUND_HEAD)
        self._frames.set_flag(frames[1:], PageFlag.COMPOUND_TAIL)
        self.heads.append(head)

    def check(self) -> None:
        """Run H1 and H2.

        Raises:
            InvariantError: one does not hold.
        """
        size = self._pageblocks.nr_pages_per_block
        for head in self.heads:
            require(head % size == 0, "H1 a huge page is not aligned", pfn=head)
            frames = self._frames_of(head)
            used = self._frames.state[frames] == FrameState.USED
            flagged = self._frames.has_flag(frames, PageFlag.HUGE)
            require((used & flagged).all(), "H2 a frame of a huge page is something else", pfn=head)
        nr_huge = int(np.count_nonzero(self._frames.flags & PageFlag.HUGE.mask))
        require(
            nr_huge == size * len(self.heads),
            "H2 the HUGE flag on a strange frame",
            nr_huge=nr_huge,
        )
