"""The pages of a zbud pool, as columns: what `owners.pool.pages` has, and what only zbud needs.

Kernel counterpart: struct zbud_header of mm/zbud.c, v3.11.
Cost: 51 bytes per page, and 4 bytes per frame of the machine once a frame was used.
"""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from owners.pool.pages import CHUNK_SHIFT, PageIds, PoolPages
from owners.zbud.layout import FIRST, HEADER_NR_BYTES, NCHUNKS, nr_free_chunks, slot_offset
from pinpage.errors import require
from pinpage.units import PAGE_SIZE

__all__ = ["ZbudPages"]


class ZbudPages(PoolPages):
    """Columns by page id, two slots to a page.

    Attributes:
        generation: int32, shape (capacity, 2); of the slot, raised whenever an object in
            it dies: a handle (or a snapshot of one) that outlived its object is known by it.
        nr_deferred: int32; references of dead objects that could not be dropped yet, for
            the frame's count was frozen by a mover.
    """

    _EMPTY: ClassVar[dict[str, int]] = {**PoolPages._EMPTY, "generation": 1, "nr_deferred": 0}

    def __init__(self, nr_frames: int) -> None:
        """No pages yet, on a machine of `nr_frames` frames."""
        super().__init__(nr_frames, 2)
        self.generation: NDArray[np.int32] = np.ones(self.chunks.shape, dtype=np.int32)
        self.nr_deferred: NDArray[np.int32] = np.zeros(len(self.pfn), dtype=np.int32)

    def nr_free_chunks(self, page_id: int) -> int:
        """Chunks that another object could take on a page, 0 if it has two."""
        return nr_free_chunks(*self.chunks[page_id].tolist())

    def nr_free_chunks_many(self, page_ids: PageIds) -> NDArray[np.int64]:
        """`nr_free_chunks` for many pages, shape (n,)."""
        chunks = self.chunks[page_ids]
        free = NCHUNKS - 1 - chunks.sum(axis=1, dtype=np.int64)
        return np.where((chunks != 0).all(axis=1), 0, free)

    def offset(self, page_id: int, slot: int) -> int:
        """Byte in the page at which an object starts."""
        return slot_offset(slot, self.chunks.item(page_id, slot))

    def offsets(self, page_ids: PageIds, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Bytes at which objects start in their pages, shape (n,)."""
        nr_bytes = self.chunks[page_ids, slots].astype(np.int64) << CHUNK_SHIFT
        return np.where(slots == FIRST, HEADER_NR_BYTES, PAGE_SIZE - nr_bytes)

    def nr_own_references(self, page_ids: PageIds) -> NDArray[np.int64]:
        """References that the pool accounts for: live objects, and reclaims in flight.

        A reference whose drop had to wait for a mover still counts.
        """
        nr_references: NDArray[np.int64] = (self.chunks[page_ids] != 0).sum(axis=1, dtype=np.int64)
        nr_references += self.nr_reclaims[page_ids]
        nr_references += self.nr_deferred[page_ids]
        return nr_references

    def is_ours(self, page_id: int) -> bool:
        """Whether the pool accounts for any reference of the page: its life in the pool."""
        return bool(
            self.chunks.item(page_id, 0)
            or self.chunks.item(page_id, 1)
            or self.nr_reclaims.item(page_id)
            or self.nr_deferred.item(page_id)
        )

    def check(self) -> None:
        """Run Z1, Z5 and the number of pages of Z6 of `ZbudPool`.

        Raises:
            InvariantError: one does not hold.
        """
        self.check_ids("Z1", "Z6")
        overlapping = self.chunks.sum(axis=1) >= NCHUNKS
        require(not overlapping[self.in_use()].any(), "Z5 two objects overlap")
        require(not self.chunks[self.has_no_page()].any(), "Z5 an object without a page")
