"""The pages of a z3fold pool, as columns: what `owners.pool.pages` has, and what z3fold adds.

Kernel counterpart: struct z3fold_header of mm/z3fold.c, v6.1.
Cost: 69 bytes per page, and 4 bytes per frame of the machine once a frame was used.
"""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from owners.pool.pages import CHUNK_SHIFT, PageIds, PoolPages
from owners.z3fold.layout import (
    FIRST,
    HEADER_NR_CHUNKS,
    HEADLESS,
    LAST,
    MIDDLE,
    NCHUNKS,
    NR_SLOTS,
    TOTAL_NR_CHUNKS,
    nr_free_chunks,
    slot_chunk,
)
from pinpage.errors import require
from pinpage.owner import Verdict, Verdicts
from pinpage.units import Mask

__all__ = ["NO_HANDLE_SLOT", "Z3foldPages"]

NO_HANDLE_SLOT = -1
"""The slot in the handle table of no object."""


class Z3foldPages(PoolPages):
    """Columns by page id, three slots to a page.

    Attributes:
        start_middle: uint8; chunk at which the middle object starts, 0 where there is none.
        handle_slot: int64, shape (capacity, 3); of each object in the handle table,
            NO_HANDLE_SLOT where there is no object.
    """

    _EMPTY: ClassVar[dict[str, int]] = {
        **PoolPages._EMPTY,
        "start_middle": 0,
        "handle_slot": NO_HANDLE_SLOT,
    }

    def __init__(self, nr_frames: int) -> None:
        """No pages yet, on a machine of `nr_frames` frames."""
        super().__init__(nr_frames, NR_SLOTS)
        self.start_middle: NDArray[np.uint8] = np.zeros(len(self.pfn), dtype=np.uint8)
        self.handle_slot: NDArray[np.int64] = np.full(self.chunks.shape, NO_HANDLE_SLOT, np.int64)

    def may_move(self, page_ids: PageIds) -> Verdicts:
        """What to answer a mover, shape (n,): BUSY for headless pages, AGAIN for a user."""
        verdicts = super().may_move(page_ids)
        return np.where(self.is_headless(page_ids), Verdict.BUSY, verdicts).astype(np.uint8)

    def nr_free_chunks(self, page_id: int) -> int:
        """The largest gap on a page that has a free slot, else 0."""
        return nr_free_chunks(self.chunks[page_id].tolist(), self.start_middle.item(page_id))

    def nr_free_chunks_many(self, page_ids: PageIds) -> NDArray[np.int64]:
        """`nr_free_chunks` for many pages, shape (n,)."""
        free = map(self.nr_free_chunks, page_ids.tolist())
        return np.fromiter(free, dtype=np.int64, count=len(page_ids))

    def nr_free_chunks_as_adopted(self, page_ids: PageIds) -> NDArray[np.int64]:
        """`nr_free_chunks` where the middle object is right behind the first, shape (n,)."""
        chunks = self.chunks[page_ids].astype(np.int64)
        full = (chunks[:, MIDDLE] != 0) & (chunks[:, LAST] != 0)
        return np.where(full | self.is_headless(page_ids), 0, NCHUNKS - chunks.sum(axis=1))

    def is_headless(self, page_ids: PageIds) -> Mask:
        """Which pages are one object, shape (n,)."""
        headless: Mask = self.chunks[page_ids, FIRST] == HEADLESS
        return headless

    def offset(self, page_id: int, slot: int) -> int:
        """Byte in the page at which an object starts."""
        start = self.start_middle.item(page_id)
        return slot_chunk(slot, self.chunks.item(page_id, slot), start) << CHUNK_SHIFT

    def offsets(self, page_ids: PageIds, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Bytes at which objects start in their pages, shape (n,)."""
        chunks = self.chunks[page_ids, slots].astype(np.int64)
        start = np.where(slots == LAST, TOTAL_NR_CHUNKS - chunks, self.start_middle[page_ids])
        first = np.where(chunks == HEADLESS, 0, HEADER_NR_CHUNKS)
        return np.where(slots == FIRST, first, start) << CHUNK_SHIFT

    def check(self) -> None:
        """Run T1 and T5 of `Z3foldPool`, and that T4's slots are where objects are.

        Raises:
            InvariantError: one does not hold.
        """
        self.check_ids("T1", "T1")
        has_object = self.chunks != 0
        is_named = self.handle_slot != NO_HANDLE_SLOT
        require(bool((has_object == is_named).all()), "T4 an object without a slot")
        require(not has_object[self.has_no_page()].any(), "T5 an object without a page")
        self._check_layout(self.in_use())

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
