"""The pages of a zbud or z3fold pool, as columns: what the kernel keeps in the page's header.

A page has an id within its pool, which never changes while the pool has the page.  One
column says where it is now.  Handles, lists and pins name the id; only that column names
the frame.  So moving a page, its objects and its places in the lists is one store.

The header's chunks of the frame stay reserved but are not written: the columns are the header.

Kernel counterpart: struct zbud_header of mm/zbud.c, struct z3fold_header of mm/z3fold.c.
"""

import threading
from abc import ABC, abstractmethod
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from pinpage.errors import require
from pinpage.owner import Verdict, Verdicts
from pinpage.units import Mask, Pfns

__all__ = ["CHUNK_NR_BYTES", "CHUNK_SHIFT", "NO_PAGE", "PageIds", "PoolPages"]

CHUNK_SHIFT: Final = 6
"""log2 of the bytes in a chunk."""
CHUNK_NR_BYTES: Final = 1 << CHUNK_SHIFT
"""Bytes in a chunk."""
NO_PAGE = -1
"""The id of no page."""
PageIds = NDArray[np.int64]
"""A column of page ids."""

_FIRST_CAPACITY = 64
_LIFE_MASK = 0x7FFFFFFF
_ID_BITS = 32


class PoolPages(ABC):
    """Columns by page id, and the way from a pfn back to an id.  What both kinds of page have.

    Attributes:
        pfn: int64, shape (capacity,); -1 where the id is not in use.
        chunks: uint8, shape (capacity, slots); chunks of the object in each slot, 0 none.
        nr_maps: int32, shape (capacity, slots); mappings of each object that are open now.
        nr_reclaims: int32; users of the page that are not its objects: a reclaim in flight,
            an allocation that is not through.
        moving: bool; isolated by a mover.
        mover: int64; thread that isolated the page last, 0 if none has yet.
        life: int32; of the id, raised when a page dies: a pin that outlived it is known by it.
        nr_pages: pages in use.
    """

    _EMPTY: ClassVar[dict[str, int]] = {
        "pfn": -1, "chunks": 0, "nr_maps": 0, "nr_reclaims": 0, "moving": 0, "mover": 0, "life": 0,
    }  # fmt: skip
    """Columns, and what each says of an id that was never used; a subclass has more."""

    def __init__(self, nr_frames: int, nr_slots: int) -> None:
        """No pages yet.

        Args:
            nr_frames: of the machine.
            nr_slots: objects that a page holds at most.
        """
        n = _FIRST_CAPACITY
        self._id_at = np.zeros(nr_frames, dtype=np.int32)  # id + 1: zeros cost no memory
        self._free_ids: list[int] = []
        self._nr_ids = 0
        self.nr_pages = 0
        self.pfn: NDArray[np.int64] = np.full(n, -1, dtype=np.int64)
        self.chunks: NDArray[np.uint8] = np.zeros((n, nr_slots), dtype=np.uint8)
        self.nr_maps: NDArray[np.int32] = np.zeros((n, nr_slots), dtype=np.int32)
        self.nr_reclaims: NDArray[np.int32] = np.zeros(n, dtype=np.int32)
        self.moving: Mask = np.zeros(n, dtype=np.bool_)
        self.mover: NDArray[np.int64] = np.zeros(n, dtype=np.int64)
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

    def is_quiet(self, page_ids: PageIds) -> Mask:
        """Which pages are neither mapped nor under reclaim, shape (n,)."""
        quiet: Mask = (self.nr_reclaims[page_ids] == 0) & ~self.nr_maps[page_ids].any(axis=1)
        return quiet

    @abstractmethod
    def nr_free_chunks(self, page_id: int) -> int:
        """The largest gap on a page that has a free slot, else 0."""

    @abstractmethod
    def nr_free_chunks_many(self, page_ids: PageIds) -> NDArray[np.int64]:
        """`nr_free_chunks` for many pages, shape (n,)."""

    @abstractmethod
    def offset(self, page_id: int, slot: int) -> int:
        """Byte in the page at which an object starts.

        Args:
            page_id, slot: the object's page, and its place there.
        """

    @abstractmethod
    def offsets(self, page_ids: PageIds, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """`offset` for many objects, shape (n,).

        Args:
            page_ids, slots: page, and place there, of each; shape (n,).
        """

    # What `owners.pool.owner` asks and does.

    def from_privates(self, privates: NDArray[np.int64]) -> tuple[PageIds, Mask]:
        """Ids that the privates name, and whether those pages are still the same ones."""
        page_ids = privates & ((1 << _ID_BITS) - 1)
        return page_ids, (self.life[page_ids] == privates >> _ID_BITS) & (self.pfn[page_ids] >= 0)

    def may_move(self, page_ids: PageIds) -> Verdicts:
        """What to answer a mover, shape (n,): AGAIN for a page with a user."""
        return np.where(self.is_quiet(page_ids), Verdict.YES, Verdict.AGAIN).astype(np.uint8)

    def set_moving(self, page_ids: PageIds, moving: bool) -> None:
        """A mover, this thread, has the pages, or has them no more.

        Args:
            page_ids: which pages.
            moving: whether it has them.
        """
        self.moving[page_ids] = moving
        if moving:
            self.mover[page_ids] = threading.get_ident()

    def repoint(self, page_ids: PageIds, targets: Pfns) -> None:
        """The pages are at `targets` now.  Sources and targets may overlap.

        Args:
            page_ids, targets: page, and its new frame; shape (n,).
        """
        self._id_at[self.pfn[page_ids]] = 0
        self.pfn[page_ids] = targets
        self._id_at[targets] = page_ids + 1

    def check_ids(self, of_frames: str, of_count: str) -> None:
        """Hold ids, frames and `nr_pages` against each other.

        Args:
            of_frames: label of the pool's invariant that page and frame know each other.
            of_count: of the one about the number of pages.

        Raises:
            InvariantError: it does not hold.
        """
        ids = self.in_use()
        require(len(ids) == self.nr_pages, f"{of_count} nr_pages is not the number of pages")
        back = self.ids_at(self.pfn[ids]) == ids
        require(bool(back.all()), f"{of_frames} a frame does not lead back to its page")
        require(np.count_nonzero(self._id_at) == len(ids), f"{of_frames} a frame leads to no page")

    def has_no_page(self) -> Mask:
        """Which ids are not in use, shape (capacity,)."""
        unused: Mask = self.pfn < 0
        return unused

    def _reserve(self, nr_ids: int) -> None:
        capacity = len(self.pfn)
        if nr_ids <= capacity:
            return
        more = max(nr_ids, 2 * capacity) - capacity
        for name, empty in self._EMPTY.items():
            column = getattr(self, name)
            rest = np.full((more, *column.shape[1:]), empty, dtype=column.dtype)
            setattr(self, name, np.concatenate((column, rest)))
