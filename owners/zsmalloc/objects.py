"""Objects of a zsmalloc pool: alloc, free, map, read, write.

One lock guards all of a pool's columns (as since 6.2; 6.1 has a lock per class and another
against migration).  It is held briefly, and over neither an allocation nor a callback.  A
zspage is walked under it and under nothing else, and a mover replaces pages under it: nobody
walks a chain whose members change (R-35).

    free to move     no object of the zspage is mapped
    open to objects  none of its pages is in a mover's hands

Between a mover's isolate and the end of its move the bytes may not be touched: map, read and
write answer EAGAIN, where the kernel's map would wait for the mover.
"""

import threading

import numpy as np

from mm.state.api import PageSource
from mm.state.errno import Errno
from mm.state.frames import FrameState
from mm.state.gfp import Gfp
from owners.forced_out import is_registered, unpin_many
from owners.zbud.objects import PoolLock
from owners.zsmalloc.classes import MAX_OBJECT_NR_BYTES, SizeClass, class_of, size_classes
from owners.zsmalloc.groups import FullnessGroups
from owners.zsmalloc.handles import NoZsObjectError, ZsHandles
from owners.zsmalloc.mapping import MapMode, ZsMapping
from owners.zsmalloc.owner import ZsCoverage, ZsOwner
from owners.zsmalloc.pieces import Piece, pieces_of, read_pieces, write_pieces
from owners.zsmalloc.zspages import Zspages
from pinpage.errors import PinpageError
from pinpage.owner import Verdict
from pinpage.registry import PinRegistry
from pinpage.units import Mask, Pfns

__all__ = ["ZsObjects"]

_USED = int(FrameState.USED)


class ZsObjects:
    """Objects in zspages, handles to objects, one reference and one pin per page.

    Attributes:
        source: where pages come from and go to.
        zspages, handles, groups: the columns, the handle table, the lists (read only).
        lock: the pool's lock.
        owner: answers the VM for the pages.
    """

    def __init__(
        self,
        source: PageSource,
        *,
        registry: PinRegistry | None = None,
        coverage: ZsCoverage = "migrate",
        name: str = "zsmalloc",
    ) -> None:
        """No objects; with a registry, the owner is registered there.

        Args:
            source: where pages come from.
            registry: where pages are pinned; None pins nothing.
            coverage: `migrate`, or `none`: its pages are known but do not move.
            name: of the owner.
        """
        self.source = source
        self.zspages = Zspages()
        self.handles = ZsHandles()
        self.groups = FullnessGroups()
        self.lock = PoolLock()
        self.owner = ZsOwner(name, self.zspages, coverage, self.lock)
        self._registry = registry
        self._classes = size_classes()
        if registry is not None:
            registry.register(self.owner)

    @property
    def pages_nr(self) -> int:
        """Pages of all zspages (zs_get_total_pages)."""
        return self.zspages.nr_pages

    # Objects.

    def alloc(self, nr_bytes: int, gfp: Gfp = Gfp.KERNEL) -> int:
        """Place an object of `nr_bytes`; its handle, or a negative `Errno`.

        MOVABLE is dropped from `gfp` where the pool's pages cannot move: a page that stays
        for good must not stand where memory is kept movable.

        Returns:
            EINVAL for a size outside 1..4096, ENOMEM when there are no pages.
        """
        if not 0 < nr_bytes <= MAX_OBJECT_NR_BYTES:
            return Errno.EINVAL
        size_class = class_of(nr_bytes)
        with self.lock:
            zspage = next(filter(self._in_place, self.groups.with_room(size_class)), None)
            if zspage is not None:
                return self._place(size_class, zspage)
        if self._registry is None or not self.owner.can_migrate:
            gfp &= ~Gfp.MOVABLE
        zspage = self._new_zspage(size_class, gfp)
        if zspage is None:
            return Errno.ENOMEM
        with self.lock:
            self.zspages.nr_maps[zspage] = 0
            self.groups.file(size_class, zspage, 0)
            return self._place(size_class, zspage)

    def free(self, handle: int) -> None:
        """Forget an object; its zspage goes with the last one, whoever is moving it.

        Raises:
            NoZsObjectError: the handle names no object.
            PinpageError: it is mapped.
        """
        with self.lock:
            slot, zspage, index = self.handles.decode(handle)
            if self.handles.nr_maps.item(slot):
                raise PinpageError(
                    f"zsmalloc: free of handle {handle:#x}, which is mapped: unmap first"
                )
            self.handles.drop(slot)
            self.remove_object(zspage, index)

    def map(self, handle: int, mode: MapMode = MapMode.RW) -> ZsMapping | Errno:
        """See an object's bytes; until `unmap` its zspage stays where it is.

        Returns:
            EAGAIN while a page of the zspage is under move.

        Raises:
            NoZsObjectError: the handle names no object.
        """
        with self.lock:
            slot, zspage, index = self.handles.decode(handle)
            if not self._in_place(zspage):
                return Errno.EAGAIN
            self.handles.nr_maps[slot] += 1
            self.zspages.nr_maps[zspage] += 1
            pieces = self.pieces(zspage, index, 0, self.class_at(zspage).room)
            return ZsMapping.open(self.source.contents, handle, pieces, mode)

    def unmap(self, mapping: ZsMapping) -> None:
        """End a `map`; what was written is in the object now.

        Raises:
            PinpageError: it has ended already.
        """
        with self.lock:
            if not mapping.is_open:
                raise PinpageError(f"zsmalloc: unmap of handle {mapping.handle:#x} done before")
            slot, zspage, _ = self.handles.decode(mapping.handle)
            mapping.close(self.source.contents)
            self.handles.nr_maps[slot] -= 1
            self.zspages.nr_maps[zspage] -= 1

    def read(self, handle: int, nr_bytes: int, offset: int = 0) -> bytes | Errno:
        """Bytes of an object, without a mapping.

        Returns:
            EAGAIN while a page of the zspage is under move.

        Raises:
            NoZsObjectError: the handle names no object.
            PinpageError: bytes beyond its end.
        """
        with self.lock:
            pieces = self._require_pieces(handle, offset, nr_bytes)
            if isinstance(pieces, Errno):
                return pieces
            return read_pieces(self.source.contents, pieces)

    def write(self, handle: int, data: bytes, offset: int = 0) -> Errno:
        """Write bytes into an object, without a mapping; returns and raises as `read`."""
        with self.lock:
            pieces = self._require_pieces(handle, offset, len(data))
            if isinstance(pieces, Errno):
                return pieces
            write_pieces(self.source.contents, pieces, data)
            return Errno.OK

    def is_live(self, handle: int) -> bool:
        """Whether the handle names an object now."""
        try:
            self.handles.decode(handle)
        except NoZsObjectError:
            return False
        return True

    def is_under_own_move(self, handle: int) -> bool:
        """Whether this very thread has the object's pages under move: then nobody may wait.

        Without the lock: only this thread could change a yes, or make one of a no.

        Raises:
            NoZsObjectError: the handle names no object.
        """
        _, zspage, _ = self.handles.decode(handle)
        is_ours = self.zspages.mover.item(zspage) == threading.get_ident()
        return is_ours and not self._in_place(zspage)

    def holds(self, pfns: Pfns) -> Mask:
        """Which frames are this pool's, shape (n,)."""
        return np.isin(pfns, self.zspages.pfns_of(self.zspages.all_page_ids()))

    # Under the lock; compaction shares them.

    def class_at(self, zspage: int) -> SizeClass:
        """The class of a zspage."""
        return self._classes[self.zspages.class_index.item(zspage)]

    def pieces(self, zspage: int, index: int, offset: int, nr_bytes: int) -> list[Piece]:
        """Where bytes [offset, offset + nr_bytes) of the user's part of an object are."""
        size_class = self.class_at(zspage)
        start = index * size_class.nr_bytes + size_class.header_nr_bytes + offset
        return pieces_of(self.zspages.pfns(zspage), start, nr_bytes)

    def is_quiet(self, zspage: int) -> bool:
        """Whether its objects may be put elsewhere: none is mapped, no page is under move."""
        return not self.zspages.nr_maps.item(zspage) and self._in_place(zspage)

    def remove_object(self, zspage: int, index: int) -> bool:
        """Take an object out of its zspage; True if that was the last, and the zspage went."""
        size_class, inuse = self.class_at(zspage), self.zspages.inuse.item(zspage)
        self.zspages.free_cell(zspage, index)
        if inuse > 1:
            self.groups.refile(size_class, zspage, inuse, inuse - 1)
            return False
        self.groups.unfile(size_class, zspage, inuse)
        self._free_zspage(zspage)
        return True

    def place_object(self, zspage: int, slot: int) -> int:
        """The handle in `slot` names a free object of the zspage from now on; its index."""
        inuse = self.zspages.inuse.item(zspage)
        index = self.zspages.take_cell(zspage, slot)
        self.handles.record(slot, zspage, index)
        self.groups.refile(self.class_at(zspage), zspage, inuse, inuse + 1)
        return index

    @property
    def is_forced_out(self) -> bool:
        """Whether the pool's owner is not asked any more, nor told that a move is over."""
        return self._registry is not None and not is_registered(self._registry, self.owner)

    # Inside.

    def _place(self, size_class: SizeClass, zspage: int) -> int:
        slot = self.handles.new_slot()
        self.place_object(zspage, slot)
        return self.handles.encode(slot)

    def _require_pieces(self, handle: int, offset: int, nr_bytes: int) -> list[Piece] | Errno:
        _, zspage, index = self.handles.decode(handle)
        room = self.class_at(zspage).room
        if offset < 0 or nr_bytes < 0 or offset + nr_bytes > room:
            raise PinpageError(
                f"zsmalloc: bytes {offset}..{offset + nr_bytes} of handle {handle:#x}, "
                f"an object of {room}"
            )
        if not self._in_place(zspage):
            return Errno.EAGAIN
        return self.pieces(zspage, index, offset, nr_bytes)

    def _new_zspage(self, size_class: SizeClass, gfp: Gfp) -> int | None:
        """Pages from the allocator, pinned, as a zspage that no mover and no user finds yet."""
        pfns = self._alloc_pages(size_class.nr_pages, gfp)
        if pfns is None:
            return None
        with self.lock:
            zspage = self.zspages.add(size_class, pfns)
            self.zspages.nr_maps[zspage] = 1  # a mover that finds it half made hears Again
            page_ids = self.zspages.page_ids(zspage)
            privates = self.zspages.privates(page_ids)
        if self._registry is None:
            return zspage
        verdict = Verdict.AGAIN
        try:
            verdict = self._registry.pin_many(pfns, self.owner, privates)
        finally:
            if verdict is not Verdict.YES:
                self._drop_zspage(zspage, pfns)
        return zspage if verdict is Verdict.YES else None

    def _drop_zspage(self, zspage: int, pfns: Pfns) -> None:
        """A new one whose frames a move has marked that we are called from, or forced out."""
        with self.lock:
            self.zspages.nr_maps[zspage] = 0
            self.zspages.remove(zspage)
        self._put_pages(pfns)

    def _alloc_pages(self, nr_pages: int, gfp: Gfp) -> Pfns | None:
        """All of them, or none."""
        pfns = np.empty(nr_pages, dtype=np.int64)
        for at in range(nr_pages):
            pfns[at] = self.source.alloc_page(gfp)
            if pfns[at] < 0:
                self._put_pages(pfns[:at])
                return None
        return pfns

    def _put_pages(self, pfns: Pfns) -> None:
        for pfn in pfns.tolist():
            self.source.put_page(pfn)

    def _free_zspage(self, zspage: int) -> None:
        """Unpin and put every page.  A mover that has one finds it gone: that is a success."""
        page_ids = self.zspages.page_ids(zspage)
        pfns, privates = self.zspages.pfns_of(page_ids), self.zspages.privates(page_ids)
        self.zspages.remove(zspage)
        if self._registry is not None:
            unpin_many(self._registry, pfns, self.owner, privates)
        self._put_pages(pfns)

    def _in_place(self, zspage: int) -> bool:
        """Whether no page is under move: isolated, or at a target that is not whole yet."""
        if self.zspages.moving[zspage].any() and not self.is_forced_out:
            return False
        frames = self.source.frames
        return all(
            frames.refcount.item(pfn) > 0 and frames.state.item(pfn) == _USED
            for pfn in self.zspages.pfns(zspage)
        )
