"""The lists of a zbud or z3fold pool: who gets the next object, who is reclaimed next.

    lru            every page with an object; newest allocation at the head
    unbuddied[k]   pages with a free slot whose largest gap is k chunks
    unbuddied[0]   pages that take no more objects (zbud's `buddied`)

The lists hold page ids, which survive a move, and so a page that moves keeps its place in
every list; none is touched.

Kernel counterpart: the list heads of struct zbud_pool in mm/zbud.c of v3.11, as patch 1 of
the 2013 series left them (a page under reclaim stays on its lists), and of struct z3fold_pool
in mm/z3fold.c of v6.1.  The latter has a set of unbuddied lists per CPU; here there is one.
Cost: O(1) each; finding a gap scans at most 62 list heads.
"""

from collections import OrderedDict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from owners.pool.pages import PageIds
from pinpage.errors import require

__all__ = ["BuddyLists", "PageList"]

PageList = OrderedDict[int, None]
"""Page ids, the tail of the list first, its head last; both ends and removal are O(1).
A plain dict would do but for its front, where each removal leaves a hole to step over."""


class BuddyLists:
    """Where each page is filed.  `lru`: oldest first; `unbuddied`: by free chunks."""

    __slots__ = ("_filed", "lru", "unbuddied")

    def __init__(self, most_free_chunks: int) -> None:
        """All lists empty; no page has a larger gap than `most_free_chunks`."""
        self._filed: dict[int, int] = {}
        self.lru: PageList = OrderedDict()
        self.unbuddied: tuple[PageList, ...] = tuple(
            OrderedDict() for _ in range(most_free_chunks + 1)
        )

    def file(self, page_id: int, nr_free_chunks: int) -> None:
        """Put a page at the head of the list that its gap names, off the one it was on.

        Args:
            page_id: of a page with an object.
            nr_free_chunks: of its largest gap; 0 if it takes no more objects.
        """
        self.unfile(page_id)
        self.unbuddied[nr_free_chunks][page_id] = None
        self._filed[page_id] = nr_free_chunks

    def unfile(self, page_id: int) -> None:
        """Take a page off its unbuddied list, if it is on one."""
        filed = self._filed.pop(page_id, None)
        if filed is not None:
            del self.unbuddied[filed][page_id]

    def touch(self, page_id: int) -> None:
        """Put a page at the head of the LRU, whether it was on it or not."""
        self.lru[page_id] = None
        self.lru.move_to_end(page_id)

    def forget(self, page_id: int) -> None:
        """Take a page off every list."""
        self.unfile(page_id)
        self.lru.pop(page_id, None)

    def with_gap(self, chunks: int) -> Iterator[int]:
        """Pages that can take an object of so many chunks, at least one.

        Best fit first, newest first within a list.
        """
        for pages in self.unbuddied[chunks:]:
            if pages:
                yield from reversed(pages)

    def adopt(self, page_ids: PageIds, nr_free_chunks: NDArray[np.int64]) -> None:
        """Append many new pages at the heads of their lists, in the order given.

        Args:
            page_ids: shape (n,); the last one ends up newest.
            nr_free_chunks: as for `file`, shape (n,).

        Cost: about 0.3 us per page.
        """
        self.lru.update(OrderedDict.fromkeys(page_ids.tolist()))
        self._filed.update(zip(page_ids.tolist(), nr_free_chunks.tolist(), strict=True))
        for k in np.unique(nr_free_chunks).tolist():
            here = page_ids[nr_free_chunks == k].tolist()
            self.unbuddied[k].update(OrderedDict.fromkeys(here))

    def check(
        self, page_ids: PageIds, nr_free_chunks: NDArray[np.int64], labels: tuple[str, str]
    ) -> None:
        """Hold the lists against the pages that have objects.

        Args:
            page_ids, nr_free_chunks: as for `adopt`.
            labels: of the pool's invariants about the LRU and about the other lists.

        Raises:
            InvariantError: one of the two does not hold.
        """
        of_lru, of_lists = labels
        require(
            set(self.lru) == set(page_ids.tolist()),
            f"{of_lru} the LRU is not the pages with objects",
        )
        where = {page_id: k for k, pages in enumerate(self.unbuddied) for page_id in pages}
        require(where == self._filed, f"{of_lists} a page is not where it was filed")
        nr_listed = sum(map(len, self.unbuddied))
        require(nr_listed == len(where), f"{of_lists} a page on two buddy lists")
        expected = dict(zip(page_ids.tolist(), nr_free_chunks.tolist(), strict=True))
        require(where == expected, f"{of_lists} a page on the wrong buddy list")
