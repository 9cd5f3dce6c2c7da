"""The lists of a zbud pool: who gets the next object, who is reclaimed next.

    lru            every page with an object; newest allocation at the head
    buddied        pages with two objects
    unbuddied[k]   pages with one object and k free chunks

The lists hold page ids, which survive a move, and so a page that moves keeps its place in
every list without anybody touching one.

Kernel counterpart: the list heads of struct zbud_pool in mm/zbud.c of v3.11, as patch 1 of
the 2013 series left them (a page under reclaim stays on its lists).
Cost: O(1) each; finding room scans at most 62 list heads.
"""

from collections import OrderedDict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from owners.zbud.layout import NCHUNKS, nr_free_chunks
from pinpage.errors import require

__all__ = ["PageList", "ZbudLists"]

PageList = OrderedDict[int, None]
"""Page ids, the tail of the list first, its head last; both ends and removal are O(1).
A plain dict would do but for its front, where each removal leaves a hole to step over."""


class ZbudLists:
    """The three kinds of lists.  A page knows from its chunk counts where it is filed.

    Attributes:
        lru: oldest first.
        buddied: pages with two objects.
        unbuddied: index k holds pages with one object and k free chunks.  Index 63 is
            never used, for an object takes at least one chunk beside the header's.
    """

    __slots__ = ("buddied", "lru", "unbuddied")

    def __init__(self) -> None:
        """All lists empty."""
        self.lru: PageList = OrderedDict()
        self.buddied: PageList = OrderedDict()
        self.unbuddied: tuple[PageList, ...] = tuple(OrderedDict() for _ in range(NCHUNKS))

    def buddy_list(self, first: int, last: int) -> PageList:
        """The list of pages whose objects take `first` and `last` chunks (0 none)."""
        return self.buddied if first and last else self.unbuddied[nr_free_chunks(first, last)]

    def file(self, page_id: int, first: int, last: int) -> None:
        """Add a page at the head of its buddy list."""
        self.buddy_list(first, last)[page_id] = None

    def unfile(self, page_id: int, first: int, last: int) -> None:
        """Take a page off the buddy list that its chunk counts name."""
        del self.buddy_list(first, last)[page_id]

    def touch(self, page_id: int) -> None:
        """Put a page at the head of the LRU, whether it was on it or not."""
        self.lru[page_id] = None
        self.lru.move_to_end(page_id)

    def with_room(self, chunks: int) -> Iterator[int]:
        """Pages that can take another object, best fit first, newest first within a list."""
        for pages in self.unbuddied[chunks:]:
            if pages:
                yield from reversed(pages)

    def adopt(self, page_ids: NDArray[np.int64], chunks: NDArray[np.uint8]) -> None:
        """Append many new pages at the heads of their lists, in the order given.

        Args:
            page_ids: shape (n,); the last one ends up newest.
            chunks: uint8, shape (n, 2), first and last.

        Cost: about 0.2 us per page.
        """
        self.lru.update(OrderedDict.fromkeys(page_ids.tolist()))
        both = (chunks != 0).all(axis=1)
        self.buddied.update(OrderedDict.fromkeys(page_ids[both].tolist()))
        single_ids = page_ids[~both]
        free = NCHUNKS - 1 - chunks[~both].sum(axis=1, dtype=np.int64)
        for k in np.unique(free).tolist():
            self.unbuddied[k].update(OrderedDict.fromkeys(single_ids[free == k].tolist()))

    def check(self, page_ids: NDArray[np.int64], chunks: NDArray[np.uint8]) -> None:
        """Hold the lists against the pages that have objects (arguments as for `adopt`).

        Raises:
            InvariantError: Z3 or Z4 of `ZbudPool`.
        """
        require(set(self.lru) == set(page_ids.tolist()), "Z3 the LRU is not the pages with objects")
        where: dict[int, int] = {}
        for k, pages in enumerate((*self.unbuddied, self.buddied)):
            for page_id in pages:
                require(page_id not in where, "Z4 a page on two buddy lists", page_id=page_id)
                where[page_id] = k
        both = (chunks != 0).all(axis=1)
        right = np.where(both, NCHUNKS, NCHUNKS - 1 - chunks.sum(axis=1, dtype=np.int64))
        expected = dict(zip(page_ids.tolist(), right.tolist(), strict=True))
        require(where == expected, "Z4 a page on the wrong buddy list")
