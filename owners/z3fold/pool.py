"""z3fold: up to three compressed objects per page, and pages of one object that fills them.

    alloc     a page with a gap that fits best; or a new one; headless if it takes a whole page
    free      the middle object closes up, and the page goes with its last object
    map       an object stays where it is until unmap; reads and writes need no mapping
    reclaim   oldest page first: middle, first, last object, until one page is free
    (moves)   `owners.pool.owner`: the page changes its frame, and no handle changes

A freed object may leave two gaps on its page.  Then the middle object moves, inside the page,
to make one of them: at once where the page has no user, else when the last user is gone.  Its
handle stays, for handles name slots of a table.

With its last object a page is unpinned and put; a mover that has it finds it gone.

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

from mm.buddy.page_source import PageSource
from mm.state.errno import Errno
from mm.state.frames import MAPCOUNT_NONE, FrameState
from owners.forced_out import require_registered, unpin
from owners.pool.handles import Handles, HandleTable
from owners.pool.lists import BuddyLists
from owners.pool.lock import PoolLock
from owners.pool.objects import BuddyPool
from owners.pool.owner import MoveCoverage, PoolOwner
from owners.pool.pages import CHUNK_NR_BYTES, CHUNK_SHIFT
from owners.z3fold.layout import (
    FIRST,
    HEADER_NR_CHUNKS,
    HEADLESS,
    LAST,
    MAX_SHARED_NR_BYTES,
    MIDDLE,
    NCHUNKS,
    NR_SLOTS,
    free_slot,
    nr_chunks,
    settled_middle,
    slot_chunk,
)
from owners.z3fold.pages import NO_HANDLE_SLOT, Z3foldPages
from pinpage.errors import PinpageError, require
from pinpage.registry import PinRegistry
from pinpage.units import PAGE_SIZE, Pfns

__all__ = ["Z3foldEvict", "Z3foldPool", "Z3foldStats"]

_EVICTION_ORDER = (MIDDLE, FIRST, LAST)
_INDEX_BITS = 2


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


class Z3foldPool(BuddyPool):
    """A pool: objects, reclaim, adoption of pages that exist already.

    Attributes:
        handles: the handle table (read only).
        nr_compactions: middle objects that moved inside their page.
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

    kind = "z3fold"
    _MOST_NR_BYTES = PAGE_SIZE
    _PAGE_LABEL = "T2"

    def __init__(
        self,
        source: PageSource,
        *,
        registry: PinRegistry | None = None,
        coverage: MoveCoverage = "migrate",
        evict: "Z3foldEvict | None" = None,
        name: str = "z3fold",
    ) -> None:
        """An empty pool; with a registry, the owner is registered there.

        Args:
            source: where pages come from.
            registry: where pages are pinned; None pins nothing.
            coverage: `migrate`, or `none`: its pages are known but do not move.
            evict: writes an object back and frees it; may come later.
            name: of the owner.
        """
        self.pages = Z3foldPages(source.frames.nr_frames)
        self.handles = HandleTable(self.kind, _INDEX_BITS)
        lock = PoolLock()
        owner = PoolOwner(name, self.pages, coverage, lock, self._settle)
        super().__init__(source, self.pages, BuddyLists(NCHUNKS), owner, lock, registry)
        self.evict = evict
        self.nr_compactions = 0
        self._needs_compacting: dict[int, None] = {}

    def free(self, handle: int) -> None:
        """Forget an object; the page goes with its last one, unless it is under reclaim.

        Raises:
            NoObjectError: the handle names no object.
            PinpageError: it is mapped.
        """
        with self.lock:
            page_id, slot = self.handles.decode(handle)
            self._require_unmapped(handle, self.pages.nr_maps.item(page_id, slot))
            self.handles.drop(self.handles.slot_of(handle))
            self._clear(page_id, slot)
            if not self.pages.chunks[page_id].any():
                self.lists.forget(page_id)
                self._release_if_unused(page_id)
                return
            self.lists.file(page_id, self.pages.nr_free_chunks(page_id))
            self._needs_compacting[page_id] = None
            self._settle()

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
        slots = [self.pages.handle_slot.item(page_id, slot) for slot in _EVICTION_ORDER]
        return [self.handles.encode(slot) for slot in slots if slot != NO_HANDLE_SLOT]

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
            PinpageError: a frame that is not used, or has an owner; sizes that do not fit.
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
            rows, places = np.nonzero(chunks)
            slots = self.handles.add_many(page_ids[rows], places)
            pages.handle_slot[page_ids[rows], places] = slots
            self.lists.adopt(page_ids, pages.nr_free_chunks_as_adopted(page_ids))
        if self._registry is not None:
            self._registry.pin_many(pfns, self.owner, pages.privates(page_ids))
        handles = np.zeros((len(pfns), NR_SLOTS), dtype=np.int64)
        handles[rows, places] = self.handles.encode_many(slots)
        return handles

    def stats(self) -> Z3foldStats:
        """What is on the pages now."""
        with self.lock:
            ids = self.pages.in_use()
            return Z3foldStats(
                nr_pages=len(ids),
                nr_headless=int(np.count_nonzero(self.pages.is_headless(ids))),
                nr_objects=self.handles.nr_handles,
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
            with_objects = ids[has_objects]
            free = pages.nr_free_chunks_many(with_objects)
            self.lists.check(with_objects, free, ("T3", "T3"))
            rows, places = np.nonzero(pages.handle_slot[ids] != NO_HANDLE_SLOT)
            slots = pages.handle_slot[ids[rows], places]
            self.handles.check("T4", slots, ids[rows], places)
            kept = has_objects | (pages.nr_reclaims[ids] != 0)
            require(bool(kept.all()), "T6 a page without objects was kept")
            self._check_pins("T7", pfns, pages.privates(ids))
            free_to_move = pages.is_quiet(ids) & ~pages.is_headless(ids)
            require(
                self.is_forced_out or bool((free_to_move | ~pages.moving[ids]).all()),
                "T8 a page under move is mapped, headless or under reclaim",
            )

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
        plain = (frames.mapcount[pfns] == MAPCOUNT_NONE) & (frames.refcount[pfns] == 1)
        self._require_plain(pfns, plain)
        return chunks.astype(np.uint8)

    # Under the lock.

    def _nr_chunks(self, nr_bytes: int) -> int:
        return nr_chunks(nr_bytes)

    def _decode(self, handle: int) -> tuple[int, int]:
        return self.handles.decode(handle)

    def _decode_many(self, handles: Handles) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return self.handles.decode_many(handles)

    def _place(self, page_id: int, chunks: int) -> int:
        pages = self.pages
        here, slot = pages.chunks[page_id].tolist(), FIRST
        if chunks != HEADLESS:
            slot = free_slot(here, pages.start_middle.item(page_id), chunks)
        start = slot_chunk(FIRST, here[FIRST], 0) + here[FIRST]
        handle_slot = self.handles.add()
        self._put_object(page_id, slot, chunks, start, handle_slot)
        self.lists.touch(page_id)
        return self.handles.encode(handle_slot)

    def _put_object(
        self, page_id: int, slot: int, chunks: int, start_middle: int, handle_slot: int
    ) -> None:
        """The object with that handle is in `slot` from now on."""
        pages = self.pages
        pages.chunks[page_id, slot] = chunks
        pages.handle_slot[page_id, slot] = handle_slot
        if slot == MIDDLE:
            pages.start_middle[page_id] = start_middle
        self.handles.record(handle_slot, page_id, slot)
        self.lists.file(page_id, pages.nr_free_chunks(page_id))

    def _clear(self, page_id: int, slot: int) -> None:
        self.pages.chunks[page_id, slot] = 0
        self.pages.handle_slot[page_id, slot] = NO_HANDLE_SLOT
        if slot == MIDDLE:
            self.pages.start_middle[page_id] = 0

    def _release_if_unused(self, page_id: int) -> None:
        """Unpin and put a page without objects that nothing uses.

        A mover that has it finds that out: to the mover that is a success.
        """
        pages = self.pages
        if pages.chunks[page_id].any() or pages.nr_reclaims.item(page_id):
            return
        pfn, private = pages.pfn.item(page_id), pages.private(page_id)
        pages.remove(page_id)
        self._needs_compacting.pop(page_id, None)
        if self._registry is not None:
            unpin(self._registry, pfn, self.owner, private)
        self.source.put_page(pfn)

    def _settle(self) -> None:
        for page_id in list(self._needs_compacting):
            is_quiet = self.pages.is_quiet(np.array([page_id]))[0]
            if is_quiet and self._in_place(page_id):
                del self._needs_compacting[page_id]
                self._compact(page_id)

    def _compact(self, page_id: int) -> None:
        """Move the middle object so that two gaps become one (z3fold_compact_page)."""
        pages = self.pages
        chunks, start = pages.chunks[page_id].tolist(), pages.start_middle.item(page_id)
        better = settled_middle(chunks, start)
        if better is None:
            return
        slot, new_start = better
        contents, pfn = self.source.contents, pages.pfn.item(page_id)
        data = contents.read(pfn, start << CHUNK_SHIFT, chunks[MIDDLE] << CHUNK_SHIFT)
        contents.write(pfn, data, new_start << CHUNK_SHIFT)
        handle_slot = pages.handle_slot.item(page_id, MIDDLE)
        self._clear(page_id, MIDDLE)
        self._put_object(page_id, slot, chunks[MIDDLE], new_start, handle_slot)
        self.nr_compactions += 1


Z3foldEvict = Callable[[Z3foldPool, int], int]
"""Called with pool and handle, without the pool lock; 0 for success."""
