"""What pools of objects have in common: all of them, and those whose pages hold two or three.

Between a mover's isolate and the end of its move the bytes may not be touched: map, read and
write answer EAGAIN, where the kernel's map would wait for the mover.  Objects may be freed
meanwhile.

Context: thread-safe; one pool lock (as zsmalloc had in 6.2 and for some versions after it), held
briefly, and over neither an allocation nor a callback.
Kernel counterpart: the API that zbud, z3fold and zsmalloc offer, one beside the other.
"""

import threading
from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mm.buddy.page_source import PageSource
from mm.state.errno import Errno
from mm.state.frames import MAPCOUNT_NONE, FrameState
from mm.state.gfp import Gfp
from owners.arguments import require_usual_pages
from owners.forced_out import is_registered
from owners.pool.extents import Extents
from owners.pool.handles import Handles, NoObjectError
from owners.pool.lists import BuddyLists
from owners.pool.lock import PoolLock
from owners.pool.owner import MovablePages, PoolOwner
from owners.pool.pages import CHUNK_SHIFT, PoolPages
from owners.pool.pieces import Piece, read_pieces, write_pieces
from pinpage.errors import PinpageError, require
from pinpage.owner import Verdict
from pinpage.registry import PinRegistry
from pinpage.units import PAGE_SHIFT, Mask, Pfns

__all__ = ["BuddyPool", "ObjectPool"]

_USED = int(FrameState.USED)


class ObjectPool(ABC):
    """Objects, handles to objects, one pin per page.

    Attributes:
        kind: of pool; begins messages.
        source: where pages come from and go to.
        lock: the pool's lock.
        owner: answers the VM for the pages, each under its own key.
    """

    kind: str

    def __init__(
        self,
        source: PageSource,
        pages: MovablePages,
        owner: PoolOwner,
        lock: PoolLock,
        registry: PinRegistry | None,
    ) -> None:
        """No objects; with a registry, the owner is registered there.

        Args:
            source: where pages come from.
            pages: the pool's, which `owner` answers for and `lock` protects.
            owner: of the pages.
            lock: the pool's.
            registry: where pages are pinned; None pins nothing.

        Raises:
            PinpageError: the machine's pages are not of 4 KiB.
        """
        require_usual_pages(owner.name, source.frames)
        self.source = source
        self.lock = lock
        self.owner = owner
        self._movable = pages
        self._registry = registry
        if registry is not None:
            registry.register(owner)

    @property
    @abstractmethod
    def nr_objects(self) -> int:
        """Objects in the pool."""

    @abstractmethod
    def holds(self, pfns: Pfns) -> Mask:
        """Which frames are this pool's, shape (n,)."""

    def read(self, handle: int, nr_bytes: int, offset: int = 0) -> bytes | Errno:
        """Bytes of an object, for a caller who does not keep it from being freed.

        Args:
            handle: of the object.
            nr_bytes, offset: how many bytes, from which one on.

        Returns:
            EAGAIN while the page is under move.

        Raises:
            NoObjectError: the handle names no object.
            PinpageError: bytes beyond its end.
        """
        with self.lock:
            pieces = self._require_pieces(handle, offset, nr_bytes)
            if isinstance(pieces, Errno):
                return pieces
            return read_pieces(self.source.contents, pieces)

    def write(self, handle: int, data: bytes, offset: int = 0) -> Errno:
        """Write bytes into an object; returns and raises as `read`.

        Args:
            handle: of the object.
            data: the bytes.
            offset: byte of the object that the first goes to.
        """
        with self.lock:
            pieces = self._require_pieces(handle, offset, len(data))
            if isinstance(pieces, Errno):
                return pieces
            write_pieces(self.source.contents, pieces, data)
            return Errno.OK

    def is_live(self, handle: int) -> bool:
        """Whether the handle names an object now (an address may name a later one)."""
        try:
            self._decode(handle)
        except NoObjectError:
            return False
        return True

    def is_under_own_move(self, handle: int) -> bool:
        """Whether this very thread has the object's page under move: then it must not wait.

        Without the lock: only this thread could change a yes, or make one of a no.

        Raises:
            NoObjectError: the handle names no object.
        """
        page_id, _ = self._decode(handle)
        is_ours = self._movable.mover.item(page_id) == threading.get_ident()
        return is_ours and not self._in_place(page_id)

    @property
    def is_forced_out(self) -> bool:
        """Whether the pool's owner gets no callbacks any more, not even that a move ended."""
        return self._registry is not None and not is_registered(self._registry, self.owner)

    # For the kinds of pool.  Under the lock.

    @abstractmethod
    def _decode(self, handle: int) -> tuple[int, int]:
        """Page (or zspage) and index in it; raises NoObjectError."""

    @abstractmethod
    def _in_place(self, page_id: int) -> bool:
        """Whether the page is under no move."""

    @abstractmethod
    def _require_pieces(self, handle: int, offset: int, nr_bytes: int) -> list[Piece] | Errno:
        """Where bytes of an object are; EAGAIN while its page is under move."""

    def _require_within(self, handle: int, offset: int, nr_bytes: int, size: int) -> None:
        if offset < 0 or nr_bytes < 0 or offset + nr_bytes > size:
            raise PinpageError(
                f"{self.kind}: bytes {offset}..{offset + nr_bytes} of handle {handle:#x}, "
                f"an object of {size}"
            )

    def _require_unmapped(self, handle: int, nr_maps: int) -> None:
        if nr_maps:
            raise PinpageError(
                f"{self.kind}: free of handle {handle:#x}, which is mapped: unmap first"
            )

    def _is_whole(self, pfn: int) -> bool:
        """Whether no mover has frozen the count, at the source or at the target not copied yet."""
        frames = self.source.frames
        return frames.refcount.item(pfn) > 0 and frames.state.item(pfn) == _USED

    def _require_plain(self, pfns: Pfns, is_plain: Mask) -> None:
        """Refuse to adopt frames that are not used and plain, or this pool's already."""
        good = (self.source.frames.state[pfns] == _USED) & is_plain & ~self.holds(pfns)
        if not good.all():
            pfn = int(pfns[good.argmin()])
            raise PinpageError(f"{self.kind}: adopt: pfn {pfn:#x} is not a plain used frame")
        if len(np.unique(pfns)) != len(pfns):
            raise PinpageError(f"{self.kind}: adopt: pfns must be without duplicates")

    def _check_pins(self, label: str, pfns: Pfns, privates: NDArray[np.int64]) -> None:
        if self._registry is None or self.is_forced_out:
            return
        for pfn, private in zip(pfns.tolist(), privates.tolist(), strict=True):
            mine = [pin.private for pin in self._registry.pins(pfn) if pin.owner is self.owner]
            what = f"{label} a page is not pinned once, under its own key"
            require(mine == [private], what, pfn=pfn)


class BuddyPool(ObjectPool):
    """A pool whose pages hold a few objects each, in slots: zbud and z3fold.

    Attributes:
        pages, lists: the columns and the lists (read only).
        exclusive: a page under reclaim takes no objects and no second reclaimer.
    """

    _MOST_NR_BYTES: ClassVar[int]
    """Of an object."""
    _PAGE_TYPE: ClassVar[int] = MAPCOUNT_NONE
    """Mapcount of the pool's frames."""
    _PAGE_LABEL: ClassVar[str]
    """Of the pool's invariant about the state of its frames."""

    def __init__(
        self,
        source: PageSource,
        pages: PoolPages,
        lists: BuddyLists,
        owner: PoolOwner,
        lock: PoolLock,
        registry: PinRegistry | None,
    ) -> None:
        """No objects; arguments besides `lists` as for `ObjectPool`.

        Args:
            source, pages, owner, lock, registry: see there.
            lists: of the pages.
        """
        super().__init__(source, pages, owner, lock, registry)
        self.lists = lists
        self.exclusive = True
        self._pages = pages

    @property
    def pages_nr(self) -> int:
        """Pages of the pool (zbud_get_pool_size, z3fold_get_pool_size)."""
        return self._pages.nr_pages

    @property
    def nr_objects(self) -> int:
        """Objects in the pool."""
        return int(np.count_nonzero(self._pages.chunks[self._pages.in_use()]))

    def alloc(self, nr_bytes: int, gfp: Gfp = Gfp.ZSWAP) -> int:
        """Place an object of `nr_bytes`; its handle, or a negative `Errno`.

        Args:
            nr_bytes: of the object.
            gfp: for a new page, if one is needed.

        Returns:
            EINVAL for a size below 1 or a highmem request, ENOSPC for more than a page of this
            pool takes, ENOMEM when there is no page, or only one that the move we are called
            from holds.
        """
        if nr_bytes <= 0 or gfp & Gfp.HIGHMEM:
            return Errno.EINVAL
        if nr_bytes > self._MOST_NR_BYTES:
            return Errno.ENOSPC
        chunks = self._nr_chunks(nr_bytes)
        with self.lock:
            self._settle()
            page_id = next(filter(self._is_open, self.lists.with_gap(chunks)), None)
            if page_id is not None:
                return self._place(page_id, chunks)
        page_id = self._new_page(gfp)
        if page_id is None:
            return Errno.ENOMEM
        with self.lock:
            self._pages.nr_reclaims[page_id] = 0
            return self._place(page_id, chunks)

    def map(self, handle: int) -> tuple[int, int] | Errno:
        """Where an object is: pfn, and byte offset in the page.  Until `unmap` it stays there.

        Returns:
            EAGAIN while the page is under move.

        Raises:
            NoObjectError: the handle names no object.
        """
        with self.lock:
            self._settle()
            page_id, slot = self._decode(handle)
            if not self._in_place(page_id):
                return Errno.EAGAIN
            self._pages.nr_maps[page_id, slot] += 1
            return self._pages.pfn.item(page_id), self._pages.offset(page_id, slot)

    def unmap(self, handle: int) -> None:
        """End a `map`.

        Raises:
            PinpageError: the handle names no object, or that is not mapped.
        """
        with self.lock:
            page_id, slot = self._decode(handle)
            if not self._pages.nr_maps.item(page_id, slot):
                raise PinpageError(f"{self.kind}: unmap of handle {handle:#x}, which is not mapped")
            self._pages.nr_maps[page_id, slot] -= 1
            self._settle()

    def extents_of(self, handles: Handles) -> Extents:
        """Where the bytes of many objects are.

        Raises:
            NoObjectError: one handle names no object.
        """
        page_ids, slots = self._decode_many(handles)
        pages = self._pages
        nr_bytes = pages.chunks[page_ids, slots].astype(np.int64) << CHUNK_SHIFT
        return Extents.whole(
            (pages.pfn[page_ids] << PAGE_SHIFT) + pages.offsets(page_ids, slots), nr_bytes
        )

    def holds(self, pfns: Pfns) -> Mask:
        """Which frames are this pool's, shape (n,)."""
        return self._pages.ids_at(pfns) >= 0

    def settle(self) -> None:
        """Do the work that had to wait for a mover, or for users of pages, to go."""
        with self.lock:
            self._settle()

    # For the kinds of pool.  Under the lock.

    @abstractmethod
    def _nr_chunks(self, nr_bytes: int) -> int:
        """Chunks that an object takes."""

    @abstractmethod
    def _place(self, page_id: int, chunks: int) -> int:
        """Put an object on a page that has the gap; its handle."""

    @abstractmethod
    def _settle(self) -> None:
        """See `settle`."""

    @abstractmethod
    def _decode_many(self, handles: Handles) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """`_decode` for many handles, shape (n,) each."""

    def _new_page(self, gfp: Gfp) -> int | None:
        """A page from the allocator, pinned, that no mover and no user finds yet; its id.

        None, and the page is given back, where our own caller has it under move.
        Context: without the lock, for allocation may reclaim, and pinning may wait for another
        thread's move.
        """
        pfn = self.source.alloc_page(gfp)
        if pfn < 0:
            return None
        pages, mapcount = self._pages, self.source.frames.mapcount
        require(
            mapcount[pfn] == MAPCOUNT_NONE,
            f"{self._PAGE_LABEL} a fresh page is mapped or typed",
            pfn=pfn,
        )
        with self.lock:
            page_id = pages.add(pfn)
            pages.nr_reclaims[page_id] = 1  # half made: a mover that finds it gets AGAIN
            mapcount[pfn] = self._PAGE_TYPE
            private = pages.private(page_id)
        registry, verdict = self._registry, Verdict.AGAIN
        try:
            verdict = Verdict.YES if registry is None else registry.pin(pfn, self.owner, private)
        finally:  # under a mover of our own, or forced out
            if verdict is not Verdict.YES:
                with self.lock:
                    pages.nr_reclaims[page_id] = 0
                    pages.remove(page_id)
                    mapcount[pfn] = MAPCOUNT_NONE
                self.source.put_page(pfn)
        return page_id if verdict is Verdict.YES else None

    def _require_pieces(self, handle: int, offset: int, nr_bytes: int) -> list[Piece] | Errno:
        self._settle()
        page_id, slot = self._decode(handle)
        size = self._pages.chunks.item(page_id, slot) << CHUNK_SHIFT
        self._require_within(handle, offset, nr_bytes, size)
        if not self._in_place(page_id):
            return Errno.EAGAIN
        start = self._pages.offset(page_id, slot) + offset
        return [Piece(self._pages.pfn.item(page_id), start, nr_bytes)]

    def _in_place(self, page_id: int) -> bool:
        if self._pages.moving.item(page_id) and not self.is_forced_out:
            return False
        return self._is_whole(self._pages.pfn.item(page_id))

    def _is_open(self, page_id: int) -> bool:
        """Whether the page may take an object or be reclaimed."""
        in_use = self.exclusive and self._pages.nr_reclaims.item(page_id)
        return self._in_place(page_id) and not in_use
