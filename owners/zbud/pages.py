"""The pages of a zbud pool, as columns: what the kernel keeps in the page's own header.

A page has an id within its pool, which never changes while the pool has the page.  One
column says where it is now.  Handles, lists and pins name the id; only that column names
the frame.  So moving a page, its two objects and its places in the lists is one store.

The header's chunk of the frame stays reserved but is not written: the columns are the header.
Cost: 43 bytes per page, and 4 bytes per frame of the machine once a frame was used.
"""

import numpy as np
from numpy.typing import NDArray

from pinpage.errors import require
from pinpage.units import Mask, Pfns

__all__ = ["NO_PAGE", "PageIds", "ZbudPages"]

NO_PAGE = -1
"""The id of no page."""
PageIds = NDArray[np.int64]
"""A column of page ids."""

_FIRST_CAPACITY = 64
_LIFE_MASK = 0x7FFFFFFF
_ID_BITS = 32


class ZbudPages:
    """Columns by page id, and the way from a pfn back to an id.

    Attributes:
        pfn: int64, shape (capacity,); -1 where the id is not in use.
        chunks: uint8, shape (capacity, 2); chunks of the first and last object, 0 none.
        generation: int32, shape (capacity, 2); of the slot, raised whenever an object in
            it dies: a handle (or a snapshot of one) that outlived its object is known by it.
        life: int32; of the id, raised whenever a page dies, for the same reason.
        nr_maps: int32, shape (capacity, 2); mappings of each object that are open now.
        nr_reclaims: int32; reclaims of the page in flight.
        nr_deferred: int32; references of dead objects that could not be dropped yet, for
            the frame's count was frozen by a mover.
        moving: bool; isolated by a mover.
        nr_pages: pages in use.
    """

    __slots__ = (
        "_free_ids",
        "_id_at",
        "_nr_ids",
        "chunks",
        "generation",
        "life",
        "moving",
        "nr_deferred",
        "nr_maps",
        "nr_pages",
        "nr_reclaims",
        "pfn",
    )

    def __init__(self, nr_frames: int) -> None:
        """No pages yet, on a machine of `nr_frames` frames."""
        self._id_at = np.zeros(nr_frames, dtype=np.int32)  # id + 1: zeros cost no memory
        self._free_ids: list[int] = []
        self._nr_ids = 0
        self.nr_pages = 0
        self.pfn: NDArray[np.int64] = np.full(_FIRST_CAPACITY, -1, dtype=np.int64)
        self.chunks: NDArray[np.uint8] = np.zeros((_FIRST_CAPACITY, 2), dtype=np.uint8)
        self.generation: NDArray[np.int32] = np.ones((_FIRST_CAPACITY, 2), dtype=np.int32)
        self.life: NDArray[np.int32] = np.zeros(_FIRST_CAPACITY, dtype=np.int32)
        self.nr_maps: NDArray[np.int32] = np.zeros((_FIRST_CAPACITY, 2), dtype=np.int32)
        self.nr_reclaims: NDArray[np.int32] = np.zeros(_FIRST_CAPACITY, dtype=np.int32)
        self.nr_deferred: NDArray[np.int32] = np.zeros(_FIRST_CAPACITY, dtype=np.int32)
        self.moving: Mask = np.zeros(_FIRST_CAPACITY, dtype=np.bool_)

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
        nr_users = self.nr_maps[page_ids].sum(axis=1) + self.nr_reclaims[page_ids]
        quiet: Mask = nr_users == 0
        return quiet

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
        """Run Z1, Z5 and Z6 of `ZbudPool`.

        Raises:
            InvariantError: one does not hold.
        """
        ids = self.in_use()
        require(
            len(ids) == self.nr_pages,
            "Z6 pages_nr is not the number of pages",
            pages_nr=self.nr_pages,
        )
        require(
            bool((self.ids_at(self.pfn[ids]) == ids).all()),
            "Z1 a frame does not lead back to its page",
        )
        require(np.count_nonzero(self._id_at) == len(ids), "Z1 a frame leads to no page")
        require(bool((self.chunks[ids].sum(axis=1) < 64).all()), "Z5 two objects overlap")
        unused = np.ones(len(self.pfn), dtype=np.bool_)
        unused[ids] = False
        require(not self.chunks[unused].any(), "Z5 an object without a page")

    def _reserve(self, nr_ids: int) -> None:
        capacity = len(self.pfn)
        if nr_ids <= capacity:
            return
        more = max(nr_ids, 2 * capacity) - capacity
        self.pfn = np.concatenate((self.pfn, np.full(more, -1, dtype=np.int64)))
        self.chunks = np.concatenate((self.chunks, np.zeros((more, 2), dtype=np.uint8)))
        self.generation = np.concatenate((self.generation, np.ones((more, 2), dtype=np.int32)))
        self.life = np.concatenate((self.life, np.zeros(more, dtype=np.int32)))
        self.nr_maps = np.concatenate((self.nr_maps, np.zeros((more, 2), dtype=np.int32)))
        self.nr_reclaims = np.concatenate((self.nr_reclaims, np.zeros(more, dtype=np.int32)))
        self.nr_deferred = np.concatenate((self.nr_deferred, np.zeros(more, dtype=np.int32)))
        self.moving = np.concatenate((self.moving, np.zeros(more, dtype=np.bool_)))
