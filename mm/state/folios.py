"""Large pages of the page tables and the page cache: which frames make up one page.

A large folio is 2^order frames, aligned to its own size, that are one page: a transparent huge
page (THP) is one of order 9.  Every frame of it is used, mapped and counted like any other;
what makes it one page is that it stays one: compaction passes over it, and whoever empties a
range moves it to a free block of its order.  Where that is not done it is split, and each split
is counted.

    adopt       frames that are used are one page from here on
    on_moved    all of them went to an aligned block, in order: it is there now; else it is split
    on_gone     all of them were freed at once: it is gone; else it is split
    split       its frames are pages of their own from here on

Owns: the order of the page that each frame is part of.
Ignores: huge pages of hugetlb pools (`mm.hugetlb`) and compound pages of the kernel's own.  A page
of which one frame is freed is split at once; the kernel puts that off until memory is short.
Cost: nothing while there are none; else a byte per frame, and a step per large page touched.
Kernel counterpart: struct folio and split_huge_page_to_list() of mm/huge_memory.c (v6.1).
"""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from mm.state.frames import Frames, FrameState, PageFlag
from pinpage.errors import PinpageError, require, whole
from pinpage.units import Mask, Pfns

__all__ = ["Folios"]


class Folios:
    """The large folios of a machine.

    Attributes:
        nr_split: order -> folios of that order that were split so far.

    Invariants, run by `check`:
        FO1 a large folio is aligned to its own size, and its frames all say so.
        FO2 its frames are used, and of no hugetlb pool.
        FO3 as many frames are part of one as the folios that there are have.
    """

    def __init__(self, frames: Frames) -> None:
        """None yet.

        Args:
            frames: the columns.
        """
        self._frames = frames
        # No memory until there is one: a column that repeats one byte, and is copied then.
        self._orders: NDArray[np.int8] = np.broadcast_to(np.int8(0), frames.nr_frames)
        self._nr_of_order: Counter[int] = Counter()
        self.nr_split: Counter[int] = Counter()

    def __len__(self) -> int:
        """How many there are."""
        return self._nr_of_order.total()

    def adopt(self, heads: Pfns, orders: NDArray[np.int64]) -> None:
        """Used frames become large pages.

        Args:
            heads: int64 (n,), first frames, each aligned to its own page.
            orders: int64 (n,), log2 of the frames of each, 1 or more.

        Raises:
            PinpageError: one is misaligned, leaves the machine, has a frame that is not used or
                of a hugetlb pool, or is part of another; nothing has changed.
        """
        column = self._orders.copy()
        for head, order in zip(heads.tolist(), orders.tolist(), strict=True):
            rows = slice(head, head + (1 << order))
            if order < 1 or head < 0 or head % (1 << order) or rows.stop > len(column):
                raise PinpageError(f"folios: order {order} at pfn {head:#x}: no large page fits")
            if column[rows].any() or not self._may_be_part(rows).all():
                raise PinpageError(f"folios: a frame of pfn {head:#x} is free, or another page's")
            column[rows] = order
        self._orders = column
        self._nr_of_order.update(orders.tolist())

    # Looking.

    def orders_of(self, pfns: Pfns) -> NDArray[np.int64]:
        """Order of the page that each frame is part of, int64[n]; 0 where it is one by itself."""
        return self._orders[pfns].astype(np.int64)

    def covers(self, pfns: Pfns, least_order: int = 1) -> Mask:
        """Which frames are part of a large page of at least that order, bool[n].

        Args:
            pfns: int64 (n,), the frames.
            least_order: the smallest order that counts.
        """
        mask: Mask = self.orders_of(pfns) >= least_order
        return mask

    def heads_of(self, pfns: Pfns) -> Pfns:
        """First frame of each frame's page, int64[n]: itself where it is one by itself."""
        orders = self.orders_of(pfns)
        heads: Pfns = pfns >> orders << orders
        return heads

    def heads_in(self, pfns: Pfns) -> list[int]:
        """First frames of the large pages that these frames are part of, ascending, each once."""
        large = pfns[self.covers(pfns)]
        return [int(head) for head in np.unique(self.heads_of(large))]

    def order_of(self, head: int) -> int:
        """Order of the page that a frame is part of."""
        return int(self._orders[head])

    def frames_of(self, head: int) -> Pfns:
        """The frames of a page, ascending."""
        (head,) = whole("folios", head=head)
        return np.arange(head, head + (1 << self.order_of(head)))

    # Changing.

    def split(self, head: int) -> None:
        """Its frames are pages of their own from here on; counted.

        Raises:
            PinpageError: no large page starts there.
        """
        (head,) = whole("folios: split", head=head)
        order = self.order_of(head)
        if not order or head % (1 << order):
            raise PinpageError(f"folios: split: no large page starts at pfn {head:#x}")
        self.nr_split[order] += 1
        self._forget(head, order)

    def on_gone(self, pfns: Pfns) -> None:
        """These frames were freed at once: pages that lost some of their frames are split."""
        for head, rows in self._rows_by_head(pfns):
            if len(rows) == 1 << self.order_of(head):
                self._forget(head, self.order_of(head))
            else:
                self.split(head)

    def on_moved(self, sources: Pfns, targets: Pfns) -> None:
        """These frames were moved: a page of which all went to one block in order is there now.

        Args:
            sources: int64 (n,), where they were.
            targets: int64 (n,), where they are, row by row.
        """
        for head, rows in self._rows_by_head(sources):
            order = self.order_of(head)
            offsets, block = sources[rows] - head, targets[rows]
            target = int(block[0] - offsets[0])
            stays_one = len(rows) == 1 << order and target % (1 << order) == 0
            if not stays_one or not np.array_equal(block - target, offsets):
                self.split(head)
                continue
            self._forget(head, order)
            self._orders[target : target + (1 << order)] = order
            self._nr_of_order[order] += 1

    def _forget(self, head: int, order: int) -> None:
        self._orders[head : head + (1 << order)] = 0
        self._nr_of_order[order] -= 1

    def _rows_by_head(self, pfns: Pfns) -> list[tuple[int, NDArray[np.int64]]]:
        """Large page -> positions of its frames in the column."""
        if not len(self):
            return []
        rows = np.flatnonzero(self.covers(pfns))
        heads = self.heads_of(pfns[rows])
        return [(int(head), rows[heads == head]) for head in np.unique(heads)]

    def _may_be_part(self, rows: slice) -> Mask:
        fits: Mask = self._frames.state[rows] == FrameState.USED
        fits &= (self._frames.flags[rows] & PageFlag.HUGE.mask) == 0
        return fits

    def check(self) -> None:
        """Run FO1..FO3.

        Raises:
            InvariantError: one does not hold.
        """
        pfns = np.flatnonzero(self._orders)
        fits = self._may_be_part(slice(0, len(self._orders)))[pfns]
        require(fits.all(), "FO2 a frame of a large page is not used", pfns=pfns[~fits].tolist())
        expected = sum(count << order for order, count in self._nr_of_order.items())
        require(len(pfns) == expected, "FO3 frames of no large page", expected=expected)
        orders = self.orders_of(pfns)
        at, counts = np.unique(self.heads_of(pfns), return_counts=True)
        whole = np.array_equal(counts, 1 << self.orders_of(at))
        whole &= bool((self.orders_of(self.heads_of(pfns)) == orders).all())
        require(whole, "FO1 a large page is in pieces")
