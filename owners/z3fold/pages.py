"""The pages of a z3fold pool, as columns: what the kernel keeps in the page's own header.

A page has an id for as long as the pool has the page; one column says where it is now, and
nothing else names its frame.  The header's chunks stay reserved but are not written.

Cost: 49 bytes per page, and 4 bytes per frame of the machine once a frame was used.
"""

import numpy as np
from numpy.typing import NDArray

from owners.z3fold.layout import (
    FIRST,
    HEADER_NR_CHUNKS,
    HEADLESS,
    LAST,
    MIDDLE,
    NR_SLOTS,
    TOTAL_NR_CHUNKS,
)
from owners.zbud.pages import NO_PAGE, PageIds
from pinpage.errors import require
from pinpage.units import Mask, Pfns

__all__ = ["NO_SLOT", "Z3foldPages"]

NO_SLOT = -1
"""The slot of no object."""

_FIRST_CAPACITY = 64
_ID_BITS = 32
_LIFE_MASK = 0x7FFFFFFF
_COLUMNS = ("pfn", "chunks", "start_middle", "slot", "nr_maps", "nr_reclaims", "moving", "life")


class Z3foldPages:
    """Columns by page id, and the way from a pfn back to an id.

    Attributes:
        pfn: int64; -1 where the id is not in use.
        chunks: uint8, shape (capacity, 3); of first, middle and last, 0 where there is none.
        start_middle: uint8; chunk at which the middle object starts, 0 where there is none.
        slot: int64, shape (capacity, 3); of each object's handle, NO_SLOT where there is none.
        nr_maps: int16, shape (capacity, 3); mappings of each object that are open now.
        nr_reclaims: int16; users of the page that are not its objects: a reclaim in flight,
            an allocation that is not through.
        moving: bool; isolated by a mover.
        life: int32; of the id, raised when a page dies: a pin that outlived it is known by it.
        nr_pages: pages in use.
    """

    __slots__ = ("_free_ids", "_id_at", "_nr_ids", "nr_pages", *_COLUMNS)

    def __init__(self, nr_frames: int) -> None:
        """No pages yet, on a machine of `nr_frames` frames."""
        n = _FIRST_CAPACITY
        self._id_at = np.zeros(nr_frames, dtype=np.int32)  # id + 1: zeros cost no memory
        self._free_ids: list[int] = []
        self._nr_ids = 0
        self.nr_pages = 0
        self.pfn: NDArray[np.int64] = np.full(n, -1, dtype=np.int64)
        self.chunks: NDArray[np.uint8] = np.zeros((n, NR_SLOTS), dtype=np.uint8)
        self.start_middle: NDArray[np.uint8] = np.zeros(n, dtype=np.uint8)
        self.slot: NDArray[np.int64] = np.full((n, NR_SLOTS), NO_SLOT, dtype=np.int64)
        self.nr_maps: NDArray[np.int16] = np.zeros((n, NR_SLOTS), dtype=np.int16)
        self.nr_reclaims: NDArray[np.int16] = np.zeros(n, dtype=np.int16)
        self.moving: Mask = np.zeros(n, dtype=np.bool_)
        self.life: NDArray[np.int32] = np.zeros(n, dtype=np.int32)

    def add(self, pfn: int) -> int:
        """Take an id for the page at `pfn`; most recently freed ids first."""
        if self._free_ids:
            page_id = self._free_ids.pop()
        else:
            page_id = self._nr_ids
            self._reserve(page_id + 1)
            self._nr_ids += 1
        self.pfn[page_id] = pfn
        self._id_at[pfn] = page_id + 1
        self.nr_pages += 1
        return page_id

    def add_many(self, pfns: Pfns) -> PageIds:
        """Take fresh ids for many pages, ascending in the order given, shape (n,)."""
        page_ids = np.arange(self._nr_ids, self._nr_ids + len(pfns), dtype=np.int64)
        self._reserve(self._nr_ids + len(pfns))
        self._nr_ids += len(pfns)
        self.pfn[page_ids] = pfns
        self._id_at[pfns] = page_ids + 1
        self.nr_pages += len(pfns)
        return page_ids

    def remove(self, page_id: int) -> None:
        """Give the id of a page without objects back."""
        self._id_at[self.pfn.item(page_id)] = 0
        self.pfn[page_id] = -1
        self.moving[page_id] = False
        self.life[page_id] = (self.life.item(page_id) + 1) & _LIFE_MASK
        self._free_ids.append(page_id)
        self.nr_pages -= 1

    def repoint(self, page_ids: PageIds, targets: Pfns) -> None:
        """The pages are at `targets` now.  Sources and targets may overlap."""
        self._id_at[self.pfn[page_ids]] = 0
        self.pfn[page_ids] = targets
        self._id_at[targets] = page_ids + 1

    def id_at(self, pfn: int) -> int:
        """Id of the page at `pfn`, or NO_PAGE; a pfn outside the machine has none."""
        return self._id_at.item(pfn) - 1 if 0 <= pfn < len(self._id_at) else NO_PAGE

    def ids_at(self, pfns: Pfns) -> PageIds:
        """Ids of the pages at `pfns`, NO_PAGE where there is none, shape (n,)."""
        return self._id_at[pfns].astype(np.int64) - 1

    def in_use(self) -> PageIds:
        """Ids of all pages, ascending."""
        return np.flatnonzero(self.pfn[: self._nr_ids] >= 0)

    def private(self, page_id: int) -> int:
        """What the pool pins the page with: its id and the id's life, in one int."""
        return self.life.item(page_id) << _ID_BITS | page_id

    def privates(self, page_ids: PageIds) -> NDArray[np.int64]:
        """`private` for many pages, shape (n,)."""
        return self.life[page_ids].astype(np.int64) << _ID_BITS | page_ids

    def from_privates(self, privates: NDArray[np.int64]) -> tuple[PageIds, Mask]:
        """Ids that the privates name, and whether those pages are still the same ones."""
        page_ids = privates & ((1 << _ID_BITS) - 1)
        return page_ids, (self.life[page_ids] == privates >> _ID_BITS) & (self.pfn[page_ids] >= 0)

    def is_quiet(self, page_ids: PageIds) -> Mask:
        """Which pages are neither mapped nor under reclaim, shape (n,)."""
        quiet: Mask = (self.nr_reclaims[page_ids] == 0) & ~self.nr_maps[page_ids].any(axis=1)
        return quiet

    def is_headless(self, page_ids: PageIds) -> Mask:
        """Which pages are one object, shape (n,)."""
        headless: Mask = self.chunks[page_ids, FIRST] == HEADLESS
        return headless

    def starts(self, page_ids: PageIds, buddies: NDArray[np.int64]) -> NDArray[np.int64]:
        """Chunks at which objects start in their pages, shape (n,)."""
        chunks = self.chunks[page_ids, buddies].astype(np.int64)
        start = np.where(buddies == LAST, TOTAL_NR_CHUNKS - chunks, self.start_middle[page_ids])
        first = np.where(chunks == HEADLESS, 0, HEADER_NR_CHUNKS)
        return np.where(buddies == FIRST, first, start)

    def check(self) -> None:
        """Run T1 and T5 of `Z3foldPool`, and that T4's slots are where objects are.

        Raises:
            InvariantError: one does not hold.
        """
        ids = self.in_use()
        require(len(ids) == self.nr_pages, "T1 nr_pages is not the number of pages")
        require(
            bool((self.ids_at(self.pfn[ids]) == ids).all()),
            "T1 a frame does not lead back to its page",
        )
        require(np.count_nonzero(self._id_at) == len(ids), "T1 a frame leads to no page")
        there = self.chunks != 0
        require(bool((there == (self.slot != NO_SLOT)).all()), "T4 an object without a slot")
        unused = np.ones(len(self.pfn), dtype=np.bool_)
        unused[ids] = False
        require(not there[unused].any(), "T5 an object without a page")
        self._check_layout(ids)

    def _check_layout(self, ids: PageIds) -> None:
        chunks, start = self.chunks[ids].astype(np.int64), self.start_middle[ids]
        headless = self.is_headless(ids)
        alone = chunks[headless][:, (MIDDLE, LAST)]
        require(not alone.any(), "T5 a headless page has another object")
        end_first = HEADER_NR_CHUNKS + chunks[:, FIRST]
        start_last = TOTAL_NR_CHUNKS - chunks[:, LAST]
        has_middle = chunks[:, MIDDLE] != 0
        good = np.where(
            has_middle,
            (end_first <= start) & (start + chunks[:, MIDDLE] <= start_last),
            (end_first <= start_last) & (start == 0),
        )
        require(bool((good | headless).all()), "T5 two objects overlap")

    def _reserve(self, nr_ids: int) -> None:
        capacity = len(self.pfn)
        if nr_ids <= capacity:
            return
        more = max(nr_ids, 2 * capacity) - capacity
        for name in _COLUMNS:
            column = getattr(self, name)
            empty = -1 if name in {"pfn", "slot"} else 0
            rest = np.full((more, *column.shape[1:]), empty, dtype=column.dtype)
            setattr(self, name, np.concatenate((column, rest)))
