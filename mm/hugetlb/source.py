"""Where huge pages come from: the page allocator, one pageblock each.

Kernel counterpart: alloc_buddy_huge_page and update_and_free_page of mm/hugetlb.c (v6.1).
Gigantic pages come from `mm.hugetlb.gigantic`.
"""

from typing import Protocol

from mm.allocator.page_alloc import PageAllocator
from mm.buddy.buddy import Buddy
from mm.state.gfp import Gfp
from pinpage.units import Pfns

__all__ = ["BuddySource", "HugeSource"]


class HugeSource(Protocol):
    """Where the pages of a pool come from, and go back to."""

    @property
    def nr_pages(self) -> int:
        """Frames of one huge page."""

    def alloc(self, node: int, *, hard: bool) -> int:
        """A page on this very node: its head, or -1.  `hard`: compact and reclaim for it."""

    def free(self, pfns: Pfns) -> None:
        """Frames of a page back to the free lists."""


class BuddySource:
    """Pages of one pageblock from the page allocator; its watermarks hold.

    Attributes:
        nr_pages: frames of one.
    """

    def __init__(self, buddy: Buddy, allocator: PageAllocator) -> None:
        """Borrow the free lists and who decides about them."""
        self.nr_pages = buddy.pageblocks.nr_pages_per_block
        self._buddy = buddy
        self._allocator = allocator

    def alloc(self, node: int, *, hard: bool) -> int:
        """See `HugeSource`; not `hard` means neither compaction nor reclaim."""
        gfp = Gfp.HIGHUSER_MOVABLE | Gfp.COMP | Gfp.NOWARN | Gfp.THISNODE
        gfp = gfp | Gfp.RETRY_MAYFAIL if hard else (gfp | Gfp.NORETRY) & ~Gfp.RECLAIM
        return self._allocator.alloc_pages(self._buddy.pageblock_order, gfp, node)

    def free(self, pfns: Pfns) -> None:
        """See `HugeSource`."""
        self._buddy.free_many(pfns)
