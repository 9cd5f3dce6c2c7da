"""zbud: at most two compressed objects per page, and a page that goes when both are gone.

As of patch 1 of the 2013 series: the page's reference count says how long it lives, and
the header's under_reclaim flag is gone.

    references of a page = live objects + reclaims in flight + outsiders (a mover, a walker)

The allocation's own reference is the first object's; the second adds one.  The lists
follow the objects, the page follows the references: an emptied page that an outsider still
holds is on no list but alive.

Kernel counterpart: mm/zbud.c of v3.11 with patches 1, 3 and 4 of that series.  Kept as
posted: list order, handle arithmetic, return codes, the page staying on its lists while it
is reclaimed.  Not kept: the early success of reclaim that left the pool lock held; acting
on a handle snapshot after the object died (we look again, under the lock); `pages_nr` and
the page type staying on a page that only an outsider still holds, where the outsider's
plain put would hand a typed page to the allocator (the author's later series moved that too).

A mover may have frozen the count of a page (at the source, or not yet at the target); then an
object can still be freed, and the drop of its reference waits until the pool is used again.

Owns:  the objects' places.  The bytes are in the frames (`owners.pool.extents`).
Cost:  alloc and free 3 to 5 us; `adopt` about 1 us per page.
"""

from collections.abc import Callable, Iterator

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from mm.buddy.page_source import PageSource
from mm.state.errno import Errno
from mm.state.frames import MAPCOUNT_NONE, MAPCOUNT_ZBUD, FrameState
from owners.forced_out import require_registered, unpin
from owners.pool.handles import HandleName, Handles
from owners.pool.lists import BuddyLists
from owners.pool.lock import PoolLock
from owners.pool.objects import BuddyPool
from owners.pool.owner import Coverage
from owners.pool.pages import CHUNK_NR_BYTES, CHUNK_SHIFT, NO_PAGE
from owners.zbud.handles import HandleForm, handle_form
from owners.zbud.layout import FIRST, LAST, MAX_OBJECT_NR_BYTES, NCHUNKS, nr_chunks
from owners.zbud.owner import ZbudOwner
from owners.zbud.pages import ZbudPages
from pinpage.errors import PinpageError, require
from pinpage.registry import PinRegistry
from pinpage.units import Mask, Pfns

__all__ = ["ObjectCallback", "ZbudOps", "ZbudPool"]

_MAX_GENERATION = 0x3FFFFFFF


class ZbudPool(BuddyPool):
    """A pool of zbud pages: objects, reclaim, and adoption of pages that exist already.

    Attributes:
        handles: the form of handle (read only).
        ops: what the pool's user does with objects that must go.
        nr_callback_failures: evict and unuse calls that failed.  The kernel forgets them.

    Invariants, run by `check`:
        Z1 each page knows its frame and the frame its page.
        Z2 a frame is typed zbud, used, and referenced at least as often as accounted for.
        Z3 the LRU holds exactly the pages with objects.
        Z4 a page with objects is on one buddy list, the one that its chunk counts name.
        Z5 objects on a page do not overlap.
        Z6 pages_nr is the number of pages, each with a reference of the pool.
        Z7 each page has one pin of this owner, under its own key.
        Z8 a page under move is neither mapped nor under reclaim.
    """

    kind = "zbud"
    _MOST_NR_BYTES = MAX_OBJECT_NR_BYTES
    _PAGE_TYPE = MAPCOUNT_ZBUD
    _PAGE_LABEL = "Z2"

    def __init__(
        self,
        source: PageSource,
        *,
        registry: PinRegistry | None = None,
        handles: HandleName = "indirect",
        ops: "ZbudOps | None" = None,
        coverage: Coverage | None = None,
        exclusive: bool = False,
        name: str = "zbud",
    ) -> None:
        """An empty pool; with a registry, the owner is registered there.

        Args:
            source: where pages come from.
            registry: where pages are pinned; None pins nothing.
            handles: `indirect`, whose pages can move, or `address`, as v3.11.
            ops: what to do with objects that must go; may come later.
            coverage: what the owner offers; default `migrate` or, for address handles, `none`.
            exclusive: False as patch 1: a page under reclaim takes new objects and may be
                picked by a second reclaimer.  True: it is left alone by both.
            name: of the owner.

        Raises:
            PinpageError: coverage `migrate` with handles that embed the frame.
        """
        self.pages = ZbudPages(source.frames.nr_frames)
        self.handles: HandleForm = handle_form(handles, self.pages)
        if coverage is None:
            coverage = "migrate" if self.handles.movable else "none"
        if coverage == "migrate" and not self.handles.movable:
            raise PinpageError(
                f"zbud: coverage='migrate' needs handles='indirect', not {handles!r}"
            )
        lock = PoolLock()
        owner = ZbudOwner(name, self.pages, coverage, lock, self.unuse_page)
        super().__init__(source, self.pages, BuddyLists(NCHUNKS - 1), owner, lock, registry)
        self.exclusive = exclusive
        self.ops = ops if ops is not None else ZbudOps()
        self.nr_callback_failures = 0
        self._deferred: list[int] = []

    def free(self, handle: int) -> None:
        """Forget an object; the page goes with its last reference.

        Raises:
            PinpageError: the handle names no object, or a mapped one.
        """
        with self.lock:
            self._settle()
            page_id, slot = self.handles.decode(handle)
            self._require_unmapped(handle, self.pages.nr_maps.item(page_id, slot))
            self.pages.chunks[page_id, slot] = 0
            self.pages.generation[page_id, slot] = (
                self.pages.generation.item(page_id, slot) % _MAX_GENERATION + 1
            )
            if self.pages.chunks[page_id].any():
                self.lists.file(page_id, self.pages.nr_free_chunks(page_id))
            else:
                self.lists.forget(page_id)
            self._put_or_defer(page_id)

    # Reclaim.

    def reclaim_lru_page(self, retries: int) -> Errno:
        """Evict objects, oldest page first, until a page is freed.

        Returns:
            EINVAL without evict callback, with an empty LRU or with retries == 0;
            OK if a page was freed, or if from the second try on the LRU is empty (the
            objects are gone, an outsider keeps the page); EAGAIN after `retries` pages.
        """
        evict = self.ops.evict
        if evict is None or not self.lists.lru or retries == 0:
            return Errno.EINVAL
        for _ in range(retries):
            with self.lock:
                self._settle()
                page_id = next(filter(self._is_open, self.lists.lru), None)
                if page_id is None:
                    return Errno.EAGAIN if self.lists.lru else Errno.OK
                snapshot = self._hold(page_id)
            if _exhaust(self._call_back(page_id, snapshot, evict)):
                return Errno.OK
        return Errno.EAGAIN

    def unuse_page(self, page_id: int) -> bool:
        """Have both objects of a page brought back to ordinary memory (patch 4's do_reclaim).

        Returns:
            Whether the page is gone.  Failures are counted and not returned, as posted.
        """
        life = self.pages.life.item(page_id)
        self._unuse(page_id)
        return self.pages.life.item(page_id) != life

    def _unuse(self, page_id: int) -> bool:
        """Unuse the objects of a page, if that may be tried; whether our put freed it."""
        unuse = self.ops.unuse
        if unuse is None:
            return False
        with self.lock:
            self._settle()
            if not self.pages.chunks[page_id].any() or not self._is_open(page_id):
                return False
            snapshot = self._hold(page_id)
        return _exhaust(self._call_back(page_id, snapshot, unuse))

    def reclaim_steps(self, page_id: int, callback: "ObjectCallback") -> Iterator[bool]:
        """Call back for first, then last; a failure on first skips last.

        The page moves to the LRU head first and stays on its lists: unless the pool is
        `exclusive`, it may gain an object, or a second reclaimer, meanwhile.

        Args:
            page_id: of a page of this pool.
            callback: evicts or unuses one object.

        Yields:
            At each point where the pool lock is free and others may run; the last value
            says whether our own put freed the frame.

        Raises:
            PinpageError: the pool has no such page.
        """
        if not 0 <= page_id < len(self.pages.pfn) or self.pages.pfn.item(page_id) < 0:
            raise PinpageError(f"zbud: reclaim: page {page_id} is none of this pool's")
        with self.lock:
            self._settle()
            snapshot = self._hold(page_id)
        yield False
        yield from self._call_back(page_id, snapshot, callback)

    def _hold(self, page_id: int) -> list[tuple[int, int, int]]:
        """Hold a page over its callbacks; slot, generation and handle of its objects.

        All three are read now, for a free may change them once the lock is dropped.
        Context: under the lock under which the page was chosen.
        """
        pages = self.pages
        self.lists.touch(page_id)
        self.source.get_page(pages.pfn.item(page_id))
        pages.nr_reclaims[page_id] += 1
        return [
            (slot, pages.generation.item(page_id, slot), self.handles.encode(page_id, slot))
            for slot in (FIRST, LAST)
            if pages.chunks.item(page_id, slot)
        ]

    def _call_back(
        self, page_id: int, snapshot: list[tuple[int, int, int]], callback: "ObjectCallback"
    ) -> Iterator[bool]:
        for slot, generation, handle in snapshot:
            if self._is_same_object(page_id, slot, generation) and callback(self, handle):
                self.nr_callback_failures += 1
                break
            yield False
        with self.lock:
            self.pages.nr_reclaims[page_id] -= 1
            freed = self._put(page_id)
        yield freed

    def _is_same_object(self, page_id: int, slot: int, generation: int) -> bool:
        """Whether the slot still holds the object of the snapshot.

        It may hold the next one by now, which an address would name as well.
        """
        with self.lock:
            pages = self.pages
            return (
                bool(pages.chunks.item(page_id, slot))
                and pages.generation.item(page_id, slot) == generation
            )

    def reclaim_pages(self, pfns: Pfns) -> Mask:
        """Unuse what lies in frames to which the caller holds one reference each.

        That reference is dropped here, before the callbacks, as posted; a frame that is not
        this pool's any more is only put.  Errors are counted and not returned, as posted.

        Returns:
            Which frames were freed by it, shape (n,).
        """
        freed = np.zeros(len(pfns), dtype=np.bool_)
        for index, pfn in enumerate(pfns.tolist()):
            page_id = self.pages.id_at(pfn)
            freed[index] = self.source.put_page(pfn) or (
                page_id != NO_PAGE and self._unuse(page_id)
            )
        return freed

    # Bulk, and checks.

    def adopt(
        self, pfns: Pfns, first_nr_bytes: NDArray[np.int32], last_nr_bytes: NDArray[np.int32]
    ) -> tuple[Handles, Handles]:
        """Make frames that are used already this pool's, with objects of these sizes.

        Args:
            pfns: used frames with one reference of their own, oldest first; int64, shape (n,).
            first_nr_bytes, last_nr_bytes: 0 for no object, at least one per page; shape (n,).

        Returns:
            Handles of the first and the last objects, 0 where there is none, shape (n,) each.

        Raises:
            PinpageError: a frame that is not used, mapped, or owned; a size that does
                not fit.  Nothing has changed then.

        Cost: about 1 us per page, pins included.
        """
        chunks = self._require_adoptable(pfns, first_nr_bytes, last_nr_bytes)
        require_registered(self._registry, self.owner)
        frames = self.source.frames
        with self.lock:
            page_ids = self.pages.add_many(pfns)
            self.pages.chunks[page_ids] = chunks
            self.lists.adopt(page_ids, self.pages.nr_free_chunks_many(page_ids))
            frames.mapcount[pfns] = MAPCOUNT_ZBUD
            frames.add_references(pfns, np.count_nonzero(chunks, axis=1) - 1)
        if self._registry is not None:
            self._registry.pin_many(pfns, self.owner, self.pages.privates(page_ids))
        first, last = (
            np.where(
                chunks[:, slot] != 0,
                self.handles.encode_many(page_ids, np.full(len(pfns), slot)),
                0,
            )
            for slot in (FIRST, LAST)
        )
        return first, last

    def check(self) -> None:
        """Run Z1..Z8.

        Raises:
            InvariantError: one does not hold.
        """
        self.settle()
        pages, frames = self.pages, self.source.frames
        pages.check()
        ids = pages.in_use()
        pfns, own = pages.pfn[ids], pages.nr_own_references(ids)
        require(bool((frames.state[pfns] == FrameState.USED).all()), "Z2 a zbud frame is not used")
        require(
            bool((frames.mapcount[pfns] == MAPCOUNT_ZBUD).all()), "Z2 a zbud frame is not typed so"
        )
        require(bool((np.abs(frames.refcount[pfns]) >= own).all()), "Z2 a reference is missing")
        require(bool((own > 0).all()), "Z6 a page without references of the pool")
        with_objects = ids[pages.chunks[ids].any(axis=1)]
        free = pages.nr_free_chunks_many(with_objects)
        self.lists.check(with_objects, free, ("Z3", "Z4"))
        self._check_pins("Z7", pfns, pages.privates(ids))
        require(
            self.is_forced_out or bool((pages.is_quiet(ids) | ~pages.moving[ids]).all()),
            "Z8 a page under move is mapped or under reclaim",
        )

    def _require_adoptable(
        self, pfns: Pfns, first_nr_bytes: NDArray[np.int32], last_nr_bytes: NDArray[np.int32]
    ) -> NDArray[np.uint8]:
        sizes = np.stack((first_nr_bytes, last_nr_bytes), axis=1)
        chunks = (sizes + CHUNK_NR_BYTES - 1) >> CHUNK_SHIFT
        total = chunks.sum(axis=1)
        if (
            (sizes < 0).any()
            or (sizes > MAX_OBJECT_NR_BYTES).any()
            or (total < 1).any()
            or (total >= NCHUNKS).any()
        ):
            raise PinpageError(
                "zbud: adopt: object sizes do not fit a page (1 to 63 chunks of 64 bytes in all)"
            )
        frames = self.source.frames
        plain = (frames.mapcount[pfns] == MAPCOUNT_NONE) | (frames.mapcount[pfns] == MAPCOUNT_ZBUD)
        self._require_plain(pfns, plain & (frames.refcount[pfns] >= 1))
        return chunks.astype(np.uint8)

    # Under the lock.

    def _nr_chunks(self, nr_bytes: int) -> int:
        return nr_chunks(nr_bytes)

    def _decode(self, handle: int) -> tuple[int, int]:
        return self.handles.decode(handle)

    def _decode_many(self, handles: Handles) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return self.handles.decode_many(handles)

    def _place(self, page_id: int, chunks: int) -> int:
        first, last = self.pages.chunks[page_id].tolist()
        if first or last:  # the allocation's own reference is the first object's
            self.source.get_page(self.pages.pfn.item(page_id))
        slot = LAST if first else FIRST
        self.pages.chunks[page_id, slot] = chunks
        self.lists.file(page_id, self.pages.nr_free_chunks(page_id))
        self.lists.touch(page_id)
        return self.handles.encode(page_id, slot)

    def _put_or_defer(self, page_id: int) -> None:
        if self._is_whole(self.pages.pfn.item(page_id)):
            self._put(page_id)
        else:
            self.pages.nr_deferred[page_id] += 1
            self._deferred.append(page_id)

    def _put(self, page_id: int) -> bool:
        """Drop one of the pool's references; after the last one the page is not the pool's."""
        pfn = self.pages.pfn.item(page_id)
        if not self.pages.is_ours(page_id):
            self.source.frames.mapcount[pfn] = MAPCOUNT_NONE
            private = self.pages.private(page_id)
            self.pages.remove(page_id)
            if self._registry is not None:
                unpin(self._registry, pfn, self.owner, private)
        return self.source.put_page(pfn)

    def _settle(self) -> None:
        for _ in range(len(self._deferred)):
            page_id = self._deferred.pop(0)
            self.pages.nr_deferred[page_id] -= 1
            self._put_or_defer(page_id)


ObjectCallback = Callable[[ZbudPool, int], int]
"""Called with pool and handle, without the pool lock; 0 for success."""


@frozen
class ZbudOps:
    """What the pool's user does with an object that must go.

    Attributes:
        evict: write it back to disk and free it (struct zbud_ops).
        unuse: bring it back to ordinary memory and free it (patch 4).
    """

    evict: ObjectCallback | None = None
    unuse: ObjectCallback | None = None


def _exhaust(steps: Iterator[bool]) -> bool:
    freed = False
    for step in steps:
        freed = step
    return freed
