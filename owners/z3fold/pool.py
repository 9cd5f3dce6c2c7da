"""z3fold: up to three compressed objects per page, and pages of one object that fills them.

    alloc     a page with a gap that fits best; or a new one; headless if it takes a whole page
    free      the middle object closes up, and the page goes with its last object
    map       an object stays where it is until unmap; reads and writes need no mapping
    reclaim   oldest page first: middle, first, last object, until one page is free
    (moves)   `owners.z3fold.owner`: the page changes its frame, and no handle changes

Kernel counterpart: mm/z3fold.c of v6.1.  Kept: arithmetic, best fit, order of callbacks,
return codes, who refuses a move.  Not kept: one set of lists per CPU; merging pages of one
object each (and with it handles that belong to another page's header, which made those pages
unmovable too); compaction by a worker, for which isolation answered -EAGAIN while it waited.

Owns:  the objects' places.  The bytes are in the frames.
Cost:  alloc and free about 10 us, read and write 5 us; `adopt` about 2 us per page; a move
       well under 1 us per page.
"""

from collections.abc import Callable

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from mm.state.api import PageSource
from mm.state.errno import Errno
from mm.state.frames import MAPCOUNT_NONE, FrameState
from owners.forced_out import require_registered
from owners.z3fold.layout import (
    CHUNK_NR_BYTES,
    CHUNK_SHIFT,
    FIRST,
    HEADER_NR_CHUNKS,
    HEADLESS,
    LAST,
    MAX_SHARED_NR_BYTES,
    MIDDLE,
    NCHUNKS,
    NR_SLOTS,
)
from owners.z3fold.objects import Z3foldObjects
from owners.z3fold.owner import Z3foldCoverage
from owners.z3fold.pages import NO_SLOT
from owners.zbud.handles import Handles
from owners.zbud.pages import PageIds
from pinpage.errors import PinpageError, require
from pinpage.registry import PinRegistry
from pinpage.units import PAGE_SIZE, Pfns

__all__ = ["Z3foldEvict", "Z3foldPool", "Z3foldStats"]

_EVICTION_ORDER = (MIDDLE, FIRST, LAST)


@frozen
class Z3foldStats:
    """What is on the pages of a pool.

    Attributes:
        nr_pages: all of them.
        nr_headless: of one object each, which never move.
        nr_objects: on all pages.
        nr_compactions: middle objects that moved inside their page so far.
    """

    nr_pages: int
    nr_headless: int
    nr_objects: int
    nr_compactions: int


class Z3foldPool(Z3foldObjects):
    """A pool: objects, reclaim, adoption of pages that exist already.

    Attributes:
        evict: writes an object back and frees it; None: nothing is reclaimed.

    Invariants, run by `check`:
        T1 each page knows its frame and the frame its page.
        T2 a frame of the pool is used, not mapped, and referenced.
        T3 the LRU holds the pages with objects, and each is on the list that its gap names.
        T4 each handle leads to one object, and that object names its slot.
        T5 objects on a page do not overlap, and a headless page has one.
        T6 a page without objects is gone, unless it has another user.
        T7 each page has one pin of this owner, under its own key.
        T8 a page under move is neither mapped nor under reclaim, nor headless.
    """

    def __init__(
        self,
        source: PageSource,
        *,
        registry: PinRegistry | None = None,
        coverage: Z3foldCoverage = "migrate",
        evict: "Z3foldEvict | None" = None,
        name: str = "z3fold",
    ) -> None:
        """An empty pool; `evict` may come later.  The rest as for `Z3foldObjects`."""
        super().__init__(source, registry=registry, coverage=coverage, name=name)
        self.evict = evict

    def reclaim_lru_page(self, retries: int) -> Errno:
        """Evict objects, oldest page first, until a page is free.

        A page under reclaim takes no objects and no second reclaimer, and does not move.

        Returns:
            OK if a page was freed; EINVAL without evict callback, with retries == 0 or an
            empty LRU; EAGAIN after `retries` pages, or if every page is in use.
        """
        evict = self.evict
        if evict is None or retries == 0:
            return Errno.EINVAL
        for _ in range(retries):
            with self.lock:
                self._settle()
                if not self.lists.lru:
                    return Errno.EINVAL
                page_id = next(filter(self._is_open, self.lists.lru), None)
                if page_id is None:
                    return Errno.EAGAIN
                life = self.pages.life.item(page_id)
                handles = self._hold(page_id)
            for handle in handles:
                if self.is_live(handle) and evict(self, handle):
                    break
            with self.lock:
                self.pages.nr_reclaims[page_id] = 0
                self._release_if_unused(page_id)
                if self.pages.life.item(page_id) != life:
                    return Errno.OK
        return Errno.EAGAIN

    def _hold(self, page_id: int) -> list[int]:
        """Hold a page over its callbacks, at the head of the LRU; its objects' handles."""
        self.pages.nr_reclaims[page_id] = 1
        self.lists.touch(page_id)
        slots = [self.pages.slot.item(page_id, buddy) for buddy in _EVICTION_ORDER]
        return [self.slots.encode(slot) for slot in slots if slot != NO_SLOT]

    # Bulk, statistics, checks.

    def adopt(self, pfns: Pfns, nr_bytes: NDArray[np.int32]) -> Handles:
        """Make frames that are used already this pool's, with objects of these sizes.

        Args:
            pfns: used frames with one reference of their own, oldest first; int64, shape (n,).
            nr_bytes: of first, middle and last object, 0 for none; shape (n, 3).  A middle
                one comes right behind a first one, and needs it.

        Returns:
            Handles, 0 where there is no object, shape (n, 3).

        Raises:
            PinpageError: a frame that is not used, or somebody's; sizes that do not fit.
                Nothing has changed then.
        """
        chunks = self._require_adoptable(pfns, nr_bytes)
        require_registered(self._registry, self.owner)
        pages = self.pages
        with self.lock:
            page_ids = pages.add_many(pfns)
            pages.chunks[page_ids] = chunks
            behind = HEADER_NR_CHUNKS + chunks[:, FIRST]
            pages.start_middle[page_ids] = np.where(chunks[:, MIDDLE] != 0, behind, 0)
            rows, buddies = np.nonzero(chunks)
            slots = self.slots.add_many(page_ids[rows], buddies)
            pages.slot[page_ids[rows], buddies] = slots
            self.lists.adopt(page_ids)
        if self._registry is not None:
            self._registry.pin_many(pfns, self.owner, pages.privates(page_ids))
        handles = np.zeros((len(pfns), NR_SLOTS), dtype=np.int64)
        handles[rows, buddies] = self.slots.encode_many(slots)
        return handles

    def stats(self) -> Z3foldStats:
        """What is on the pages now."""
        with self.lock:
            ids = self.pages.in_use()
            return Z3foldStats(
                nr_pages=len(ids),
                nr_headless=int(np.count_nonzero(self.pages.is_headless(ids))),
                nr_objects=self.slots.nr_handles,
                nr_compactions=self.nr_compactions,
            )

    def check(self) -> None:
        """Run T1..T8; T2 at rest, for under a move the references are the mover's.

        Raises:
            InvariantError: one does not hold.
        """
        with self.lock:
            pages, frames = self.pages, self.source.frames
            pages.check()
            ids = pages.in_use()
            pfns = pages.pfn[ids]
            require(bool((frames.state[pfns] == FrameState.USED).all()), "T2 a page is not used")
            require(bool((frames.refcount[pfns] != 0).all()), "T2 a page has no reference")
            require(bool((frames.mapcount[pfns] == MAPCOUNT_NONE).all()), "T2 a page is mapped")
            has_objects = pages.chunks[ids].any(axis=1)
            self.lists.check(ids[has_objects])
            rows, buddies = np.nonzero(pages.slot[ids] != NO_SLOT)
            self.slots.check(pages.slot[ids[rows], buddies], ids[rows], buddies)
            kept = has_objects | (pages.nr_reclaims[ids] != 0)
            require(bool(kept.all()), "T6 a page without objects was kept")
            self._check_pins(ids)
            free_to_move = pages.is_quiet(ids) & ~pages.is_headless(ids)
            require(
                self.is_forced_out or bool((free_to_move | ~pages.moving[ids]).all()),
                "T8 a page under move is mapped, headless or under reclaim",
            )

    def _check_pins(self, page_ids: PageIds) -> None:
        if self._registry is None or self.is_forced_out:
            return
        privates = self.pages.privates(page_ids).tolist()
        for pfn, private in zip(self.pages.pfn[page_ids].tolist(), privates, strict=True):
            mine = [pin.private for pin in self._registry.pins(pfn) if pin.owner is self.owner]
            require(mine == [private], "T7 a page is not pinned once, under its own key", pfn=pfn)

    def _require_adoptable(self, pfns: Pfns, nr_bytes: NDArray[np.int32]) -> NDArray[np.uint8]:
        if nr_bytes.shape != (len(pfns), NR_SLOTS):
            raise PinpageError(f"z3fold: adopt: sizes {nr_bytes.shape} for {len(pfns)} pages")
        if (nr_bytes < 0).any() or (nr_bytes > PAGE_SIZE).any():
            raise PinpageError("z3fold: adopt: object sizes must be 0 to 4096 bytes")
        headless = nr_bytes > MAX_SHARED_NR_BYTES
        chunks = (nr_bytes + CHUNK_NR_BYTES - 1) >> CHUNK_SHIFT
        chunks[headless] = HEADLESS
        total = chunks.sum(axis=1)
        alone = headless[:, FIRST] & (total == HEADLESS)
        good = ((total >= 1) & (total <= NCHUNKS)) | alone
        good &= (chunks[:, MIDDLE] == 0) | (chunks[:, FIRST] != 0)
        if not good.all():
            raise PinpageError(
                f"z3fold: adopt: the objects of page {int(good.argmin())} do not fit: one of a "
                "whole page in the first slot, or up to 62 chunks of 64 bytes, no middle "
                "without a first"
            )
        frames = self.source.frames
        plain = (frames.state[pfns] == FrameState.USED) & (frames.mapcount[pfns] == MAPCOUNT_NONE)
        plain &= (frames.refcount[pfns] == 1) & ~self.holds(pfns)
        if not plain.all():
            raise PinpageError(
                f"z3fold: adopt: pfn {int(pfns[plain.argmin()]):#x} is not a plain used frame"
            )
        if len(np.unique(pfns)) != len(pfns):
            raise PinpageError("z3fold: adopt: pfns must be without duplicates")
        return chunks.astype(np.uint8)


Z3foldEvict = Callable[[Z3foldPool, int], int]
"""Called with pool and handle, without the pool lock; 0 for success."""
