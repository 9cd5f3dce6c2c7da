"""Where the objects of a z3fold pool lie: alloc, free, map, read, write, and tidying up.

A freed object may leave two gaps on its page.  Then the middle object moves, inside the page,
to make one of them: at once where nobody uses the page, else when the last user is gone.  Its
handle stays, for handles name slots.

Between a mover's isolate and the end of its move the bytes may not be touched: map, read and
write answer EAGAIN.  Objects may be freed meanwhile; with the last one the page is unpinned
and put, and the mover finds it gone.

Context: thread-safe; one pool lock, held briefly and never over an allocation.
Kernel counterpart: the API half of mm/z3fold.c of v6.1.  `owners.z3fold.pool` adds the rest.
"""

import numpy as np
from numpy.typing import NDArray

from mm.state.api import PageSource
from mm.state.errno import Errno
from mm.state.frames import FrameState
from mm.state.gfp import Gfp
from owners.forced_out import is_registered, unpin
from owners.pool.extents import Extents
from owners.z3fold.layout import (
    CHUNK_SHIFT,
    FIRST,
    HEADLESS,
    MIDDLE,
    free_slot,
    nr_chunks,
    settled_middle,
    slot_chunk,
)
from owners.z3fold.lists import Z3foldLists
from owners.z3fold.owner import Z3foldCoverage, Z3foldOwner
from owners.z3fold.pages import NO_SLOT, Z3foldPages
from owners.z3fold.slots import Z3foldSlots
from owners.zbud.handles import Handles, NoObjectError
from owners.zbud.objects import PoolLock
from pinpage.errors import PinpageError
from pinpage.owner import Verdict
from pinpage.registry import PinRegistry
from pinpage.units import PAGE_SHIFT, PAGE_SIZE, Mask, Pfns

__all__ = ["Z3foldObjects"]

_USED = int(FrameState.USED)


class Z3foldObjects:
    """Objects on pages, handles to objects, one reference and one pin per page.

    Attributes:
        source: where pages come from and go to.
        pages, lists, slots: the columns, the lists and the handle table (read only).
        lock: the pool's lock.
        owner: answers the VM for the pages.
        nr_compactions: middle objects that moved inside their page.
    """

    def __init__(
        self,
        source: PageSource,
        *,
        registry: PinRegistry | None = None,
        coverage: Z3foldCoverage = "migrate",
        name: str = "z3fold",
    ) -> None:
        """No objects; with a registry, the owner is registered there.

        Args:
            source: where pages come from.
            registry: where pages are pinned; None pins nothing.
            coverage: `migrate`, or `none`: its pages are known but do not move.
            name: of the owner.
        """
        self.source = source
        self.pages = Z3foldPages(source.frames.nr_frames)
        self.lists = Z3foldLists(self.pages)
        self.slots = Z3foldSlots()
        self.lock = PoolLock()
        self.owner = Z3foldOwner(name, self.pages, coverage, self.lock, self._settle)
        self.nr_compactions = 0
        self._registry = registry
        self._needs_compacting: dict[int, None] = {}
        if registry is not None:
            registry.register(self.owner)

    @property
    def pages_nr(self) -> int:
        """Pages of the pool, headless ones included."""
        return self.pages.nr_pages

    def alloc(self, nr_bytes: int, gfp: Gfp = Gfp.ZSWAP) -> int:
        """Place an object of `nr_bytes`; its handle, or a negative `Errno`.

        Returns:
            EINVAL for a size below 1 or a highmem request, ENOSPC for more than a page,
            ENOMEM when there is no page.
        """
        if nr_bytes <= 0 or gfp & Gfp.HIGHMEM:
            return Errno.EINVAL
        if nr_bytes > PAGE_SIZE:
            return Errno.ENOSPC
        chunks = nr_chunks(nr_bytes)
        with self.lock:
            self._settle()
            page_id = None
            if chunks != HEADLESS:
                page_id = next(filter(self._is_open, self.lists.with_room(chunks)), None)
            if page_id is not None:
                return self._place(page_id, chunks)
        page_id = self._new_page(gfp)
        if page_id is None:
            return Errno.ENOMEM
        with self.lock:
            self.pages.nr_reclaims[page_id] = 0
            return self._place(page_id, chunks)

    def free(self, handle: int) -> None:
        """Forget an object; the page goes with its last one, unless it is under reclaim.

        Raises:
            NoObjectError: the handle names no object.
            PinpageError: it is mapped.
        """
        with self.lock:
            page_id, buddy = self.slots.decode(handle)
            if self.pages.nr_maps.item(page_id, buddy):
                raise PinpageError(
                    f"z3fold: free of handle {handle:#x}, which is mapped: unmap first"
                )
            self.slots.drop(self.pages.slot.item(page_id, buddy))
            self._clear(page_id, buddy)
            if not self.pages.chunks[page_id].any():
                self.lists.forget(page_id)
                self._release_if_unused(page_id)
                return
            self.lists.refile(page_id)
            self._needs_compacting[page_id] = None
            self._settle()

    def map(self, handle: int) -> tuple[int, int] | Errno:
        """Where an object is: pfn, and byte offset in the page.  Until `unmap` it stays there.

        Returns:
            EAGAIN while the page is under move.

        Raises:
            NoObjectError: the handle names no object.
        """
        with self.lock:
            self._settle()
            page_id, buddy = self.slots.decode(handle)
            if not self._in_place(page_id):
                return Errno.EAGAIN
            self.pages.nr_maps[page_id, buddy] += 1
            return self.pages.pfn.item(page_id), self._offset(page_id, buddy)

    def unmap(self, handle: int) -> None:
        """End a `map`.

        Raises:
            PinpageError: the handle names no object, or that is not mapped.
        """
        with self.lock:
            page_id, buddy = self.slots.decode(handle)
            if not self.pages.nr_maps.item(page_id, buddy):
                raise PinpageError(f"z3fold: unmap of handle {handle:#x}, which is not mapped")
            self.pages.nr_maps[page_id, buddy] -= 1
            self._settle()

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
        """Whether the handle names an object now."""
        try:
            self.slots.decode(handle)
        except NoObjectError:
            return False
        return True

    def extents_of(self, handles: Handles) -> Extents:
        """Where the bytes of many objects are.

        Raises:
            NoObjectError: one handle names no object.
        """
        page_ids, buddies = self.slots.decode_many(handles)
        room = self.pages.chunks[page_ids, buddies].astype(np.int64) << CHUNK_SHIFT
        in_page = self.pages.starts(page_ids, buddies) << CHUNK_SHIFT
        return Extents.whole((self.pages.pfn[page_ids] << PAGE_SHIFT) + in_page, room)

    def holds(self, pfns: Pfns) -> Mask:
        """Which frames are this pool's, shape (n,)."""
        return self.pages.ids_at(pfns) >= 0

    def settle(self) -> None:
        """Do the work that had to wait for users of pages to go."""
        with self.lock:
            self._settle()

    # Under the lock.

    def _place(self, page_id: int, chunks: int) -> int:
        pages = self.pages
        here = pages.chunks[page_id].tolist()
        if chunks == HEADLESS:
            buddy = FIRST
        else:
            buddy = free_slot(here, pages.start_middle.item(page_id), chunks)
        if buddy == MIDDLE:
            pages.start_middle[page_id] = slot_chunk(FIRST, here[FIRST], 0) + here[FIRST]
        pages.chunks[page_id, buddy] = chunks
        slot = self.slots.add(page_id, buddy)
        pages.slot[page_id, buddy] = slot
        self.lists.refile(page_id)
        self.lists.touch(page_id)
        return self.slots.encode(slot)

    def _clear(self, page_id: int, buddy: int) -> None:
        self.pages.chunks[page_id, buddy] = 0
        self.pages.slot[page_id, buddy] = NO_SLOT
        if buddy == MIDDLE:
            self.pages.start_middle[page_id] = 0

    def _release_if_unused(self, page_id: int) -> None:
        """Let go of a page without objects that nobody uses: unpin it and put it.

        A mover that has it finds that out: for him that is a success.
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

    @property
    def is_forced_out(self) -> bool:
        """Whether the pool's owner is not asked any more, nor told that a move is over."""
        return self._registry is not None and not is_registered(self._registry, self.owner)

    def _settle(self) -> None:
        for page_id in list(self._needs_compacting):
            if not self.pages.is_quiet(_ids(page_id))[0] or not self._in_place(page_id):
                continue
            del self._needs_compacting[page_id]
            self._compact(page_id)

    def _compact(self, page_id: int) -> None:
        """Move the middle object so that two gaps become one (z3fold_compact_page)."""
        pages = self.pages
        chunks, start = pages.chunks[page_id].tolist(), pages.start_middle.item(page_id)
        better = settled_middle(chunks, start)
        if better is None:
            return
        buddy, new_start = better
        contents, pfn = self.source.contents, pages.pfn.item(page_id)
        data = contents.read(pfn, start << CHUNK_SHIFT, chunks[MIDDLE] << CHUNK_SHIFT)
        contents.write(pfn, data, new_start << CHUNK_SHIFT)
        slot = pages.slot.item(page_id, MIDDLE)
        self._clear(page_id, MIDDLE)
        pages.chunks[page_id, buddy] = chunks[MIDDLE]
        pages.slot[page_id, buddy] = slot
        if buddy == MIDDLE:
            pages.start_middle[page_id] = new_start
        self.slots.record(slot, page_id, buddy)
        self.lists.refile(page_id)
        self.nr_compactions += 1

    def _require_place(self, handle: int, offset: int, nr_bytes: int) -> tuple[int, int] | Errno:
        self._settle()
        page_id, buddy = self.slots.decode(handle)
        room = self.pages.chunks.item(page_id, buddy) << CHUNK_SHIFT
        if offset < 0 or nr_bytes < 0 or offset + nr_bytes > room:
            raise PinpageError(
                f"z3fold: bytes {offset}..{offset + nr_bytes} of handle {handle:#x}, "
                f"an object of {room}"
            )
        if not self._in_place(page_id):
            return Errno.EAGAIN
        return self.pages.pfn.item(page_id), self._offset(page_id, buddy) + offset

    def _offset(self, page_id: int, buddy: int) -> int:
        pages = self.pages
        start = pages.start_middle.item(page_id)
        return slot_chunk(buddy, pages.chunks.item(page_id, buddy), start) << CHUNK_SHIFT

    def _new_page(self, gfp: Gfp) -> int | None:
        """A page from the allocator, pinned, that no mover and no user finds yet; its id.

        Context: without the lock, for allocation may reclaim.
        """
        pfn = self.source.alloc_page(gfp)
        if pfn < 0:
            return None
        with self.lock:
            page_id = self.pages.add(pfn)
            self.pages.nr_reclaims[page_id] = 1  # a mover that finds it half made hears Again
            private = self.pages.private(page_id)
        registry, verdict = self._registry, Verdict.AGAIN
        try:
            verdict = Verdict.YES if registry is None else registry.pin(pfn, self.owner, private)
        finally:  # within a move that has marked this frame, or forced out
            if verdict is not Verdict.YES:
                with self.lock:
                    self.pages.nr_reclaims[page_id] = 0
                    self.pages.remove(page_id)
                self.source.put_page(pfn)
        return page_id if verdict is Verdict.YES else None

    def _in_place(self, page_id: int) -> bool:
        """Whether the page is under no move: neither isolated, nor at a target not whole yet."""
        if self.pages.moving.item(page_id) and not self.is_forced_out:
            return False
        frames, pfn = self.source.frames, self.pages.pfn.item(page_id)
        return frames.refcount.item(pfn) > 0 and frames.state.item(pfn) == _USED

    def _is_open(self, page_id: int) -> bool:
        """Whether the page may take an object or be reclaimed."""
        return self._in_place(page_id) and not self.pages.nr_reclaims.item(page_id)


def _ids(page_id: int) -> NDArray[np.int64]:
    return np.array([page_id], dtype=np.int64)
