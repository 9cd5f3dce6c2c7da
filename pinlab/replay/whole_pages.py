"""Frames of a recording that make up one page: large folios, and huge pages of hugetlb pools.

/proc/kpageflags marks the first frame of a compound page and those behind it.  What is marked so
from an aligned first frame on, as many frames as a power of two, all of one kind, is one page in
a replay as well.  What is not (a page that went while the recording was taken) is replayed frame
by frame.  Compound pages of the kernel's own, slab among them, are no business of this module.

Ignores: how many page tables map a huge page, and huge pages smaller than a pageblock.
Cost: a few passes over the frames.
"""

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from mm.state.frames import PageFlag
from pinlab.snapshot.classes import FrameClass
from pinlab.snapshot.image import Snapshot
from pinpage.units import Mask, Pfns

__all__ = ["WholePages", "huge_pages", "large_folios"]

_OF_PROCESSES = (FrameClass.ANON, FrameClass.FILE, FrameClass.GUP)


@frozen(eq=False)
class WholePages:
    """Pages of several frames.

    Attributes:
        heads: int64 (n,), first frames, ascending.
        orders: int64 (n,), log2 of the frames of each.
        used: bool (n,), whether somebody maps or holds it.
    """

    heads: Pfns = field(repr=False)
    orders: NDArray[np.int64] = field(repr=False)
    used: Mask = field(repr=False)

    def frames(self) -> Pfns:
        """All frames, page by page."""
        pages = zip(self.heads.tolist(), self.orders.tolist(), strict=True)
        nothing: Pfns = np.zeros(0, dtype=np.int64)
        return np.concatenate([nothing, *(np.arange(h, h + (1 << order)) for h, order in pages)])


def large_folios(snapshot: Snapshot) -> WholePages:
    """Large pages of processes and of the page cache."""
    return _compounds(snapshot, np.isin(snapshot.klass, _OF_PROCESSES))


def huge_pages(snapshot: Snapshot) -> WholePages:
    """Pages of hugetlb pools, of a pageblock or more."""
    found = _compounds(snapshot, snapshot.klass == FrameClass.HUGETLB)
    fits = (1 << found.orders) >= snapshot.nr_pages_per_block
    return WholePages(found.heads[fits], found.orders[fits], found.used[fits])


def _compounds(snapshot: Snapshot, ours: Mask) -> WholePages:
    """Compound pages of which every frame is one of these."""
    flags = snapshot.flags
    is_tail = (flags & PageFlag.COMPOUND_TAIL.mask) != 0
    heads = np.flatnonzero(ours & ((flags & PageFlag.COMPOUND_HEAD.mask) != 0) & ~is_tail)
    walls = np.append(np.flatnonzero(~is_tail), snapshot.nr_frames)
    stops = walls[np.searchsorted(walls, heads, side="right")]
    nr_pages = stops - heads
    orders = np.round(np.log2(np.maximum(nr_pages, 1))).astype(np.int64)
    whole = (nr_pages > 1) & (nr_pages == 1 << orders) & (heads % np.maximum(nr_pages, 1) == 0)
    whole &= _sums(ours, heads, stops) == nr_pages
    heads, stops, orders = heads[whole], stops[whole], orders[whole]
    held = (snapshot.mapcount > 0) | (snapshot.refcount > 0)
    return WholePages(heads, orders, _sums(held, heads, stops) > 0)


def _sums(column: Mask, start: Pfns, stop: Pfns) -> NDArray[np.int64]:
    before = np.concatenate(([0], np.cumsum(column, dtype=np.int64)))
    sums: NDArray[np.int64] = before[stop] - before[start]
    return sums
