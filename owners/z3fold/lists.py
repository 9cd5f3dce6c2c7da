"""The lists of a z3fold pool: who gets the next object, who is reclaimed next.

    lru            every page with an object, headless ones too; newest allocation at the head
    unbuddied[k]   pages with a free slot whose largest gap is k chunks

Full and headless pages are on no unbuddied list.  The kernel has a set of unbuddied lists per
CPU; here there is one.  Lists hold page ids, which survive a move.

Kernel counterpart: struct z3fold_pool in mm/z3fold.c of v6.1.
Cost: O(1) each; finding room scans at most 62 list heads.
"""

from collections import OrderedDict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from owners.z3fold.layout import LAST, MIDDLE, NCHUNKS, nr_free_chunks
from owners.z3fold.pages import Z3foldPages
from owners.zbud.lists import PageList
from owners.zbud.pages import PageIds
from pinpage.errors import require

__all__ = ["Z3foldLists"]


class Z3foldLists:
    """Where each page is filed.  `lru`: oldest first; `unbuddied`: by free chunks, 0 unused."""

    __slots__ = ("_filed", "_pages", "lru", "unbuddied")

    def __init__(self, pages: Z3foldPages) -> None:
        """All lists empty; `pages` tells what is free on a page."""
        self._pages = pages
        self._filed: dict[int, int] = {}
        self.lru: PageList = OrderedDict()
        self.unbuddied: tuple[PageList, ...] = tuple(OrderedDict() for _ in range(NCHUNKS + 1))

    def nr_free_chunks(self, page_id: int) -> int:
        """The largest gap on a page that has a free slot, else 0."""
        pages = self._pages
        return nr_free_chunks(pages.chunks[page_id].tolist(), pages.start_middle.item(page_id))

    def refile(self, page_id: int) -> None:
        """What is on the page has changed: put it at the head of the list it belongs to."""
        self.unfile(page_id)
        free = self.nr_free_chunks(page_id)
        if free:
            self.unbuddied[free][page_id] = None
            self._filed[page_id] = free

    def unfile(self, page_id: int) -> None:
        """Take a page off its unbuddied list, if it is on one."""
        free = self._filed.pop(page_id, 0)
        if free:
            del self.unbuddied[free][page_id]

    def touch(self, page_id: int) -> None:
        """Put a page at the head of the LRU, whether it was on it or not."""
        self.lru[page_id] = None
        self.lru.move_to_end(page_id)

    def forget(self, page_id: int) -> None:
        """Take a page off every list."""
        self.unfile(page_id)
        self.lru.pop(page_id, None)

    def with_room(self, chunks: int) -> Iterator[int]:
        """Pages that can take another object, best fit first, newest first within a list."""
        for pages in self.unbuddied[chunks:]:
            if pages:
                yield from reversed(pages)

    def adopt(self, page_ids: PageIds) -> None:
        """Append many new pages at the heads of their lists, in the order given.

        Cost: about 0.4 us per page.
        """
        self.lru.update(OrderedDict.fromkeys(page_ids.tolist()))
        free = self._free_chunks_many(page_ids)
        self._filed.update(zip(page_ids[free > 0].tolist(), free[free > 0].tolist(), strict=True))
        for k in np.unique(free[free > 0]).tolist():
            self.unbuddied[k].update(OrderedDict.fromkeys(page_ids[free == k].tolist()))

    def check(self, page_ids: PageIds) -> None:
        """Hold the lists against the pages that have objects.

        Raises:
            InvariantError: T3 of `Z3foldPool`.
        """
        require(set(self.lru) == set(page_ids.tolist()), "T3 the LRU is not the pages with objects")
        where = {page_id: k for k, pages in enumerate(self.unbuddied) for page_id in pages}
        require(where == self._filed, "T3 a page is not where it was filed")
        nr_listed = sum(map(len, self.unbuddied))
        require(nr_listed == len(where), "T3 a page on two unbuddied lists")
        free = [self.nr_free_chunks(page_id) for page_id in page_ids.tolist()]
        expected = {p: k for p, k in zip(page_ids.tolist(), free, strict=True) if k}
        require(where == expected, "T3 a page on the wrong unbuddied list")

    def _free_chunks_many(self, page_ids: PageIds) -> NDArray[np.int64]:
        """`nr_free_chunks` for pages as adopted: the middle object right behind the first."""
        chunks = self._pages.chunks[page_ids].astype(np.int64)
        full = (chunks[:, MIDDLE] != 0) & (chunks[:, LAST] != 0)
        return np.where(full | self._pages.is_headless(page_ids), 0, NCHUNKS - chunks.sum(axis=1))
