"""Where the objects of a zbud pool lie: alloc, free, map, and the references behind them.

The lists follow the objects, the page follows its references.  A mover may have frozen the
count of a page (at the source, or not yet at the target); then an object can still be freed,
and the drop of its reference waits until the pool is used again.

Kernel counterpart: the API half of mm/zbud.c of v3.11 with patches 1 and 3 of the 2013
series.  `owners.zbud.pool` adds reclaim, adoption and the checks.
Context: thread-safe; the pool lock is held briefly and never over an allocation.
"""

import threading
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mm.state.api import PageSource
from mm.state.errno import Errno
from mm.state.frames import MAPCOUNT_NONE, MAPCOUNT_ZBUD, FrameState
from mm.state.gfp import Gfp
from owners.forced_out import is_registered, unpin
from owners.pool.extents import Extents
from owners.zbud.handles import HandleForm, HandleName, Handles, NoObjectError, handle_form
from owners.zbud.layout import CHUNK_SHIFT, FIRST, LAST, MAX_OBJECT_NR_BYTES, nr_chunks, slot_offset
from owners.zbud.lists import ZbudLists
from owners.zbud.owner import Coverage, ZbudOwner
from owners.zbud.pages import ZbudPages
from pinpage.errors import PinpageError, require
from pinpage.owner import Verdict
from pinpage.registry import PinRegistry
from pinpage.units import PAGE_SHIFT, Mask, Pfns

__all__ = ["PoolLock", "ZbudObjects"]

_USED = int(FrameState.USED)
_MAX_GENERATION = 0x3FFFFFFF


class PoolLock:
    """The pool's spinlock, and how often it was taken."""

    __slots__ = ("_lock", "acquisitions")

    def __init__(self) -> None:
        """Free, never taken."""
        self._lock = threading.Lock()
        self.acquisitions = 0

    def __enter__(self) -> Self:
        """Take it."""
        self._lock.acquire()
        self.acquisitions += 1
        return self

    def __exit__(self, *exc: object) -> None:
        """Release it."""
        self._lock.release()


class ZbudObjects:
    """Objects on pages, handles to objects, references to pages.

    Attributes:
        source: where pages come from and go to.
        pages, lists, handles: the columns, the lists and the form of handle (read only).
        lock: the pool's lock.
        owner: answers the VM for the pages; one pin per page, under the page's own key.
        exclusive: a page under reclaim takes no objects and no second reclaimer.
    """

    def __init__(
        self,
        source: PageSource,
        *,
        registry: PinRegistry | None = None,
        handles: HandleName = "indirect",
        coverage: Coverage | None = None,
        exclusive: bool = False,
        name: str = "zbud",
    ) -> None:
        """No objects; with a registry, the owner is registered there.

        Args:
            source: where pages come from.
            registry: where pages are pinned; None pins nothing.
            handles: `indirect`, whose pages can move, or `address`, as v3.11.
            coverage: what the owner offers; default `migrate` or, for address handles, `none`.
            exclusive: False as patch 1: a page under reclaim takes new objects and may be
                picked by a second reclaimer.  True: it is left alone by both.
            name: of the owner.

        Raises:
            PinpageError: coverage `migrate` with handles that embed the frame.
        """
        self.source = source
        self.pages = ZbudPages(source.frames.nr_frames)
        self.lists = ZbudLists()
        self.handles: HandleForm = handle_form(handles, self.pages)
        if coverage is None:
            coverage = "migrate" if self.handles.movable else "none"
        if coverage == "migrate" and not self.handles.movable:
            raise PinpageError(
                f"zbud: coverage='migrate' needs handles='indirect', not {handles!r}"
            )
        self.lock = PoolLock()
        self.owner = ZbudOwner(name, self.pages, coverage, self.lock, self.unuse_page)
        self.exclusive = exclusive
        self._registry = registry
        self._deferred: list[int] = []
        if registry is not None:
            registry.register(self.owner)

    @property
    def pages_nr(self) -> int:
        """Pages that the pool holds a reference to (zbud_get_pool_size)."""
        return self.pages.nr_pages

    def unuse_page(self, page_id: int) -> bool:
        """Empty a page; False, for nobody here knows what the objects are."""
        return False

    def alloc(self, nr_bytes: int, gfp: Gfp = Gfp.ZSWAP) -> int:
        """Place an object of `nr_bytes`; its handle, or a negative `Errno`.

        Returns:
            EINVAL for a size below 1 or a highmem request, ENOSPC for more than 3968 bytes,
            ENOMEM when there is no page, or only one that the move we are called from holds.
        """
        if nr_bytes <= 0 or gfp & Gfp.HIGHMEM:
            return Errno.EINVAL
        if nr_bytes > MAX_OBJECT_NR_BYTES:
            return Errno.ENOSPC
        chunks = nr_chunks(nr_bytes)
        with self.lock:
            self._settle()
            for page_id in self.lists.with_room(chunks):
                if self._is_open(page_id):
                    self.source.get_page(self.pages.pfn.item(page_id))
                    return self._place(page_id, chunks)
        pfn = self.source.alloc_page(gfp)
        if pfn < 0:
            return Errno.ENOMEM
        fresh = self._new_page(pfn)
        if fresh is None:
            return Errno.ENOMEM
        with self.lock:
            self.pages.nr_maps[fresh, FIRST] = 0
            return self._place(fresh, chunks)

    def free(self, handle: int) -> None:
        """Forget an object; the page goes with its last reference.

        Raises:
            PinpageError: the handle names no object, or a mapped one.
        """
        with self.lock:
            self._settle()
            page_id, slot = self.handles.decode(handle)
            if self.pages.nr_maps.item(page_id, slot):
                raise PinpageError(
                    f"zbud: free of handle {handle:#x}, which is mapped: unmap first"
                )
            first, last = self.pages.chunks[page_id].tolist()
            self.lists.unfile(page_id, first, last)
            self.pages.chunks[page_id, slot] = 0
            self.pages.generation[page_id, slot] = (
                self.pages.generation.item(page_id, slot) % _MAX_GENERATION + 1
            )
            left = last if slot == FIRST else first
            if not left:
                del self.lists.lru[page_id]
            elif slot == FIRST:
                self.lists.file(page_id, 0, left)
            else:
                self.lists.file(page_id, left, 0)
            self._put_or_defer(page_id)

    def map(self, handle: int) -> tuple[int, int] | Errno:
        """Where an object is: pfn, and byte offset in the page.  Until `unmap` it stays there.

        Returns:
            EAGAIN while the page is under move.

        Raises:
            NoObjectError: the handle names no object.
        """
        with self.lock:
            self._settle()
            page_id, slot = self.handles.decode(handle)
            if not self._in_place(page_id):
                return Errno.EAGAIN
            self.pages.nr_maps[page_id, slot] += 1
            return self.pages.pfn.item(page_id), slot_offset(
                slot, self.pages.chunks.item(page_id, slot)
            )

    def unmap(self, handle: int) -> None:
        """End a `map`.

        Raises:
            PinpageError: the handle names no object, or the page is not mapped.
        """
        with self.lock:
            page_id, slot = self.handles.decode(handle)
            if not self.pages.nr_maps[page_id, slot]:
                raise PinpageError(f"zbud: unmap of handle {handle:#x}, which is not mapped")
            self.pages.nr_maps[page_id, slot] -= 1

    def read(self, handle: int, nr_bytes: int, offset: int = 0) -> bytes | Errno:
        """Bytes of an object, for a caller who does not keep it from being freed.

        Returns:
            EAGAIN while the page is under move.

        Raises:
            NoObjectError: the handle names no object.
            PinpageError: bytes beyond its end.
        """
        with self.lock:
            place = self._require_place(handle, offset, nr_bytes)
            if isinstance(place, Errno):
                return place
            return self.source.contents.read(*place, nr_bytes)

    def write(self, handle: int, data: bytes, offset: int = 0) -> Errno:
        """Write bytes into an object; returns and raises as `read`."""
        with self.lock:
            place = self._require_place(handle, offset, len(data))
            if isinstance(place, Errno):
                return place
            pfn, in_page = place
            self.source.contents.write(pfn, data, in_page)
            return Errno.OK

    def is_live(self, handle: int) -> bool:
        """Whether the handle names an object now (an address may name a later one)."""
        try:
            self.handles.decode(handle)
        except NoObjectError:
            return False
        return True

    def locate_many(self, handles: Handles) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Byte addresses (pfn * 4096 + offset) and room in bytes of many objects, shape (n,).

        Raises:
            NoObjectError: one handle names no object.
        """
        page_ids, slots = self.handles.decode_many(handles)
        room = self.pages.chunks[page_ids, slots].astype(np.int64) << CHUNK_SHIFT
        in_page = np.where(slots == FIRST, slot_offset(FIRST, 0), slot_offset(LAST, 0) - room)
        return (self.pages.pfn[page_ids] << PAGE_SHIFT) + in_page, room

    def extents_of(self, handles: Handles) -> Extents:
        """`locate_many` in the words of every pool."""
        return Extents.whole(*self.locate_many(handles))

    def holds(self, pfns: Pfns) -> Mask:
        """Which frames are this pool's, shape (n,)."""
        return self.pages.ids_at(pfns) >= 0

    def settle(self) -> None:
        """Drop references that had to wait for a mover to end."""
        with self.lock:
            self._settle()

    @property
    def is_forced_out(self) -> bool:
        """Whether the pool's owner is not asked any more, nor told that a move is over."""
        return self._registry is not None and not is_registered(self._registry, self.owner)

    # Under the lock.

    def _new_page(self, pfn: int) -> int | None:
        """Take a page from the allocator into the pool, typed and pinned; its id.

        None, and the page is given back, where our own caller has it under move.
        Context: without the lock, for pinning may wait for another thread's move.
        """
        frames = self.source.frames
        require(
            frames.mapcount[pfn] == MAPCOUNT_NONE, "Z2 a fresh page is mapped or typed", pfn=pfn
        )
        with self.lock:
            page_id = self.pages.add(pfn)
            self.pages.nr_maps[page_id, FIRST] = 1  # a mover that finds it half-made hears Again
            frames.mapcount[pfn] = MAPCOUNT_ZBUD
            private = self.pages.private(page_id)
        registry, verdict = self._registry, Verdict.AGAIN
        try:
            verdict = Verdict.YES if registry is None else registry.pin(pfn, self.owner, private)
        finally:  # under a mover of our own, or forced out
            if verdict is not Verdict.YES:
                with self.lock:
                    self.pages.nr_maps[page_id, FIRST] = 0
                    self.pages.remove(page_id)
                    frames.mapcount[pfn] = MAPCOUNT_NONE
                self.source.put_page(pfn)
        return page_id if verdict is Verdict.YES else None

    def _place(self, page_id: int, chunks: int) -> int:
        first, last = self.pages.chunks[page_id].tolist()
        if first or last:
            self.lists.unfile(page_id, first, last)
        slot = LAST if first else FIRST
        self.pages.chunks[page_id, slot] = chunks
        self.lists.file(page_id, *((first, chunks) if first else (chunks, last)))
        self.lists.touch(page_id)
        return self.handles.encode(page_id, slot)

    def _put_or_defer(self, page_id: int) -> None:
        pfn = self.pages.pfn.item(page_id)
        if self._is_frozen(pfn):
            self.pages.nr_deferred[page_id] += 1
            self._deferred.append(page_id)
        else:
            self._put(page_id)

    def _put(self, page_id: int) -> bool:
        """Drop one of the pool's references; with the last one, let go of the page."""
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

    def _is_frozen(self, pfn: int) -> bool:
        """Whether a mover holds the count, at the source or not yet at the target."""
        frames = self.source.frames
        return frames.refcount.item(pfn) <= 0 or frames.state.item(pfn) != _USED

    def _require_place(self, handle: int, offset: int, nr_bytes: int) -> tuple[int, int] | Errno:
        self._settle()
        page_id, slot = self.handles.decode(handle)
        chunks = self.pages.chunks.item(page_id, slot)
        if offset < 0 or nr_bytes < 0 or offset + nr_bytes > chunks << CHUNK_SHIFT:
            raise PinpageError(
                f"zbud: bytes {offset}..{offset + nr_bytes} of handle {handle:#x}, "
                f"an object of {chunks << CHUNK_SHIFT}"
            )
        if not self._in_place(page_id):
            return Errno.EAGAIN
        return self.pages.pfn.item(page_id), slot_offset(slot, chunks) + offset

    def _in_place(self, page_id: int) -> bool:
        if self.pages.moving.item(page_id) and not self.is_forced_out:
            return False
        return not self._is_frozen(self.pages.pfn.item(page_id))

    def _is_open(self, page_id: int) -> bool:
        """Whether the page may take an object or be reclaimed."""
        return self._in_place(page_id) and not (self.exclusive and self.pages.nr_reclaims[page_id])
