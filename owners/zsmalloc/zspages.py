"""The zspages of a zsmalloc pool, as columns: which frames each has, and what lies where.

A zspage has an id within its pool for as long as it lives.  Its page table, four columns of
pfns, is the only place that names frames; handles, lists and pins name the id.  So moving a
page is one store, however many objects start on it or straddle its border.

Objects are cells of one flat column; a zspage has as many in a row as its class says.  A cell
in use holds the slot of its handle; the free ones are chained through themselves.  The kernel
keeps both in the page.  Here they are beside it, so that objects can be freed while a mover
copies the page, and the reserved word at the start of each object is never written.

Cost: 70 bytes per zspage and 8 per object that fits.  An id, with its cells, stays with its
class for reuse.
"""

import threading

import numpy as np
from numpy.typing import NDArray

from owners.zsmalloc.classes import MAX_ZSPAGE_NR_PAGES, SizeClass
from pinpage.errors import require
from pinpage.owner import Verdict, Verdicts
from pinpage.units import Mask, Pfns

__all__ = ["NO_PFN", "ZsPageIds", "Zspages"]

ZsPageIds = NDArray[np.int64]
"""A column of page ids: id of the zspage * 4 + place of the page in it."""
NO_PFN = -1
"""No frame: beyond the pages of a short zspage, or of one that is gone."""

_FIRST_CAPACITY = 64
_FIRST_NR_CELLS = 1024
_PLACE_BITS = 2
_PLACE_MASK = (1 << _PLACE_BITS) - 1
_ID_BITS = 32
_LIFE_MASK = 0x7FFFFFFF
_GROWING = ("moving", "mover", "class_index", "base", "inuse", "first_free", "nr_maps", "life")


class Zspages:
    """Columns by id of the zspage.

    Attributes:
        pfn: int64, shape (capacity, 4); the page table, NO_PFN where there is no page.
        class_index: int16; its class.
        inuse: int32; objects in it.
        first_free: int32; index of the first free object, or how many fit when it is full.
        nr_maps: int32; mappings of its objects that are open, and one while it is half made.
        moving: bool, shape (capacity, 4); pages isolated by a mover.
        mover: int64; thread that isolated a page of it last, 0 if none has yet.
        life: int32; raised when a zspage dies, so that a pin that outlived it is known.
        cell: int64, flat; slot of the handle, or ~(index of the next free one).
        nr_pages: pages of all zspages.
    """

    __slots__ = (
        "_free_ids",
        "_nr_cells",
        "_nr_ids",
        "base",
        "cell",
        "class_index",
        "first_free",
        "inuse",
        "life",
        "mover",
        "moving",
        "nr_maps",
        "nr_pages",
        "pfn",
    )

    def __init__(self) -> None:
        """No zspages."""
        n, width = _FIRST_CAPACITY, MAX_ZSPAGE_NR_PAGES
        self._free_ids: dict[int, list[int]] = {}
        self._nr_ids = 0
        self._nr_cells = 0
        self.nr_pages = 0
        self.pfn: NDArray[np.int64] = np.full((n, width), NO_PFN, dtype=np.int64)
        self.moving: Mask = np.zeros((n, width), dtype=np.bool_)
        self.mover: NDArray[np.int64] = np.zeros(n, dtype=np.int64)
        self.class_index: NDArray[np.int16] = np.zeros(n, dtype=np.int16)
        self.base: NDArray[np.int64] = np.zeros(n, dtype=np.int64)
        self.inuse: NDArray[np.int32] = np.zeros(n, dtype=np.int32)
        self.first_free: NDArray[np.int32] = np.zeros(n, dtype=np.int32)
        self.nr_maps: NDArray[np.int32] = np.zeros(n, dtype=np.int32)
        self.life: NDArray[np.int32] = np.zeros(n, dtype=np.int32)
        self.cell: NDArray[np.int64] = np.zeros(_FIRST_NR_CELLS, dtype=np.int64)

    # Zspages.

    def add(self, size_class: SizeClass, pfns: Pfns) -> int:
        """A zspage of the class on these frames, all its objects free; its id.

        Args:
            size_class: of its objects.
            pfns: its frames, in order.
        """
        free_ids = self._free_ids.setdefault(size_class.index, [])
        zspage = free_ids.pop() if free_ids else self._new_id(size_class)
        base = self.base.item(zspage)
        nr_objects = size_class.nr_objects
        self.cell[base : base + nr_objects] = ~np.arange(1, nr_objects + 1)
        self.pfn[zspage, : size_class.nr_pages] = pfns
        self.inuse[zspage] = 0
        self.first_free[zspage] = 0
        self.nr_pages += size_class.nr_pages
        return zspage

    def remove(self, zspage: int) -> None:
        """Give the id of a zspage without objects back."""
        self.nr_pages -= int(np.count_nonzero(self.pfn[zspage] != NO_PFN))
        self.pfn[zspage] = NO_PFN
        self.moving[zspage] = False
        self.life[zspage] = (self.life.item(zspage) + 1) & _LIFE_MASK
        self._free_ids[self.class_index.item(zspage)].append(zspage)

    def in_use(self) -> NDArray[np.int64]:
        """Ids of all zspages, ascending."""
        return np.flatnonzero(self.pfn[: self._nr_ids, 0] != NO_PFN)

    def pfns(self, zspage: int) -> list[int]:
        """Frames of one zspage, in order."""
        return [pfn for pfn in self.pfn[zspage].tolist() if pfn != NO_PFN]

    # Objects.

    def take_cell(self, zspage: int, slot: int) -> int:
        """The first free object of a zspage that has one, for the handle in `slot`; its index."""
        index = self.first_free.item(zspage)
        at = self.base.item(zspage) + index
        self.first_free[zspage] = ~self.cell.item(at)
        self.cell[at] = slot
        self.inuse[zspage] += 1
        return index

    def free_cell(self, zspage: int, index: int) -> None:
        """The object is free: the first to be used again.

        Args:
            zspage, index: the object's zspage, and its place there.
        """
        self.cell[self.base.item(zspage) + index] = ~self.first_free.item(zspage)
        self.first_free[zspage] = index
        self.inuse[zspage] -= 1

    def cells(self, zspage: int, nr_objects: int) -> NDArray[np.int64]:
        """The cells of one zspage, a view, shape (nr_objects,)."""
        base = self.base.item(zspage)
        cells: NDArray[np.int64] = self.cell[base : base + nr_objects]
        return cells

    # Pages.

    def page_ids(self, zspage: int) -> ZsPageIds:
        """Ids of the pages of one zspage, in order."""
        return (zspage << _PLACE_BITS) + np.arange(len(self.pfns(zspage)), dtype=np.int64)

    def all_page_ids(self) -> ZsPageIds:
        """Ids of all pages, ascending."""
        return np.flatnonzero(self.pfn[: self._nr_ids].reshape(-1) != NO_PFN)

    def pfns_of(self, page_ids: ZsPageIds) -> Pfns:
        """Where pages are, shape (n,)."""
        pfns: Pfns = self.pfn.reshape(-1)[page_ids]
        return pfns

    def privates(self, page_ids: ZsPageIds) -> NDArray[np.int64]:
        """What the pool pins pages with: id, and the life of the zspage, in one int each."""
        lives: NDArray[np.int64] = self.life[page_ids >> _PLACE_BITS].astype(np.int64)
        return lives << _ID_BITS | page_ids

    def from_privates(self, privates: NDArray[np.int64]) -> tuple[ZsPageIds, Mask]:
        """Page ids that the privates name, and whether those are still the same pages."""
        page_ids = privates & ((1 << _ID_BITS) - 1)
        same_life = self.life[page_ids >> _PLACE_BITS] == privates >> _ID_BITS
        return page_ids, same_life & (self.pfns_of(page_ids) != NO_PFN)

    def is_quiet(self, page_ids: ZsPageIds) -> Mask:
        """Which pages are of a zspage without mapped objects, shape (n,).

        An object may straddle two pages, so a mapping anywhere in the zspage counts.
        """
        quiet: Mask = self.nr_maps[page_ids >> _PLACE_BITS] == 0
        return quiet

    def may_move(self, page_ids: ZsPageIds) -> Verdicts:
        """What to answer a mover, shape (n,): AGAIN while an object of the zspage is mapped."""
        return np.where(self.is_quiet(page_ids), Verdict.YES, Verdict.AGAIN).astype(np.uint8)

    def set_moving(self, page_ids: ZsPageIds, moving: bool) -> None:
        """A mover, this thread, has the pages, or has them no more.

        Args:
            page_ids: which pages.
            moving: whether it has them.
        """
        self.moving.reshape(-1)[page_ids] = moving
        if moving:
            self.mover[page_ids >> _PLACE_BITS] = threading.get_ident()

    def repoint(self, page_ids: ZsPageIds, targets: Pfns) -> None:
        """The pages are at `targets` now; pages of one zspage may go in one batch.

        Args:
            page_ids, targets: page, and its new frame; shape (n,).
        """
        self.pfn.reshape(-1)[page_ids] = targets

    def check(self, classes: tuple[SizeClass, ...]) -> None:
        """Run ZS1, ZS4 and ZS5 of `ZsPool`.

        Raises:
            InvariantError: one does not hold.
        """
        ids = self.in_use()
        used = self.pfn[ids]
        pfns = used[used != NO_PFN]
        require(len(np.unique(pfns)) == len(pfns), "ZS1 a frame is in two pages")
        require(len(pfns) == self.nr_pages, "ZS1 nr_pages", kept=self.nr_pages, found=len(pfns))
        require(self.nr_pages == np.count_nonzero(self.pfn != NO_PFN), "ZS1 a page without zspage")
        for zspage in ids.tolist():
            size_class = classes[self.class_index.item(zspage)]
            require(
                len(self.pfns(zspage)) == size_class.nr_pages,
                "ZS1 a zspage has not the pages of its class",
                zspage=zspage,
            )
            self._check_cells(zspage, size_class.nr_objects)

    def _check_cells(self, zspage: int, nr_objects: int) -> None:
        cells = self.cells(zspage, nr_objects)
        nr_used, inuse = int(np.count_nonzero(cells >= 0)), self.inuse.item(zspage)
        require(nr_used == inuse, "ZS5 inuse is not the number of objects", zspage=zspage)
        require(
            inuse > 0 or self.nr_maps.item(zspage) > 0,
            "ZS5 a zspage without objects was kept",
            zspage=zspage,
        )
        index, nr_free = self.first_free.item(zspage), 0
        while index < nr_objects and nr_free <= nr_objects:
            require(cells[index] < 0, "ZS4 an object in use is chained as free", zspage=zspage)
            index, nr_free = ~int(cells[index]), nr_free + 1
        require(nr_free == nr_objects - nr_used, "ZS4 a free object is not chained", zspage=zspage)

    # Growing.

    def _new_id(self, size_class: SizeClass) -> int:
        zspage = self._nr_ids
        self._nr_ids += 1
        while self._nr_ids > len(self.pfn):
            self._double()
        self.class_index[zspage] = size_class.index
        self.base[zspage] = self._nr_cells
        self._nr_cells += size_class.nr_objects
        while self._nr_cells > len(self.cell):
            self.cell = np.concatenate((self.cell, np.zeros_like(self.cell)))
        return zspage

    def _double(self) -> None:
        self.pfn = np.concatenate((self.pfn, np.full_like(self.pfn, NO_PFN)))
        for name in _GROWING:
            column = getattr(self, name)
            setattr(self, name, np.concatenate((column, np.zeros_like(column))))
