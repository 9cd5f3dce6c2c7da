"""zsmalloc: objects of any size up to a page, packed into zspages of one to four pages.

    alloc     the class of that size; a zspage with a free object, almost full ones first; or a
              new one
    free      the zspage goes with its last object
    map       a view of the object's bytes; the zspage stays where it is meanwhile
    compact   objects of almost empty zspages into others of their class, so that pages go
    (moves)   `owners.pool.owner`: the pages change their frames, and no handle changes

    free to move     no object of the zspage is mapped, for an object may straddle two pages
    open to objects  none of its pages is in a mover's hands

A zspage is walked under the pool's lock and under nothing else, and a mover replaces pages
under it: no chain is walked whose members change (R-35).  An emptied zspage goes at once,
pages under move included: its pins and references are gone, and the move has succeeded.

Compaction of the pool and of memory are different things: the one makes fewer pages, the
other has the pages elsewhere.  Either may refuse the other: mapped objects and pages under
move are left alone by both.

Kernel counterpart: mm/zsmalloc.c of v6.1, with the zpool driver at its end, which offers no
shrink: nothing is ever written back out of such a pool.  Not kept: classes locked one by one,
handles in the pages (see `owners.zsmalloc.zspages`), deferred freeing of zspages whose pages
are locked.

Owns:  the objects' places.  The bytes are in the frames.
Cost:  alloc and free about 10 us, read and write 8 us; a move well under 1 us per page.
"""

from collections import Counter
from collections.abc import Iterator

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from mm.buddy.page_source import PageSource
from mm.state.errno import Errno
from mm.state.frames import MAPCOUNT_NONE, FrameState
from mm.state.gfp import Gfp
from owners.forced_out import require_registered, unpin_many
from owners.pool.extents import Extents
from owners.pool.handles import Handles, HandleTable
from owners.pool.lock import PoolLock
from owners.pool.objects import ObjectPool
from owners.pool.owner import MoveCoverage, PoolOwner
from owners.pool.pieces import Piece, pieces_of, read_pieces, write_pieces
from owners.zsmalloc.classes import MAX_OBJECT_NR_BYTES, SizeClass, class_of, size_classes
from owners.zsmalloc.groups import Fullness, FullnessGroups
from owners.zsmalloc.mapping import MapMode, ZsMapping
from owners.zsmalloc.zspages import Zspages
from pinpage.errors import PinpageError, require
from pinpage.owner import Verdict
from pinpage.registry import PinRegistry
from pinpage.units import PAGE_SHIFT, PAGE_SIZE, Mask, Pfns

__all__ = ["ZsClassStats", "ZsPool"]

_INDEX_BITS = 9
_OFFSET_MASK = PAGE_SIZE - 1


@frozen
class ZsClassStats:
    """One class of a pool, as the `classes` file of debugfs has it.

    Attributes:
        index, nr_bytes: of the class; bytes per object.
        almost_full, almost_empty: zspages in these groups.
        obj_allocated, obj_used: objects that fit, and that are there.
        pages_used, nr_pages_per_zspage: pages of the class, and of one zspage.
        freeable: pages that compaction can free at most.
    """

    index: int
    nr_bytes: int
    almost_full: int
    almost_empty: int
    obj_allocated: int
    obj_used: int
    pages_used: int
    nr_pages_per_zspage: int
    freeable: int


class ZsPool(ObjectPool):
    """A pool: objects, compaction, shrinker, statistics, adoption.

    Attributes:
        zspages, handles, groups: the columns, the handle table, the lists (read only).
        pages_compacted: pages that compaction has freed so far.

    Invariants, run by `check`:
        ZS1 each zspage has the pages of its class, and no frame is in two.
        ZS2 a frame of the pool is used, and referenced.
        ZS3 each handle leads to one object, and that object names its slot.
        ZS4 the free objects of a zspage are chained, each once.
        ZS5 inuse counts the objects of a zspage; one without objects is gone.
        ZS6 each zspage is on the list that its fullness names, and the classes' counts agree.
        ZS7 each page has one pin of this owner, under its own key.
        ZS8 a zspage counts the open mappings of its objects; under move it has none.
    """

    kind = "zsmalloc"

    def __init__(
        self,
        source: PageSource,
        *,
        registry: PinRegistry | None = None,
        coverage: MoveCoverage = "migrate",
        name: str = "zsmalloc",
    ) -> None:
        """An empty pool; with a registry, the owner is registered there.

        Args:
            source: where pages come from.
            registry: where pages are pinned; None pins nothing.
            coverage: `migrate`, or `none`: its pages are known but do not move.
            name: of the owner.
        """
        self.zspages = Zspages()
        self.handles = HandleTable(self.kind, _INDEX_BITS)
        self.groups = FullnessGroups()
        lock = PoolLock()
        owner = PoolOwner(name, self.zspages, coverage, lock)
        super().__init__(source, self.zspages, owner, lock, registry)
        self.pages_compacted = 0
        self._classes = size_classes()
        self._nr_maps: Counter[int] = Counter()  # by slot of the handle

    @property
    def pages_nr(self) -> int:
        """Pages of all zspages (zs_get_total_pages)."""
        return self.zspages.nr_pages

    @property
    def nr_objects(self) -> int:
        """Objects in the pool."""
        return self.handles.nr_handles

    # Objects.

    def alloc(self, nr_bytes: int, gfp: Gfp = Gfp.KERNEL) -> int:
        """Place an object of `nr_bytes`; its handle, or a negative `Errno`.

        MOVABLE is dropped from `gfp` where the pool's pages cannot move: a page that stays
        for good must not stand where memory is kept movable.

        Args:
            nr_bytes: of the object.
            gfp: for new pages, if any are needed.

        Returns:
            EINVAL for a size outside 1..4096, ENOMEM when there are no pages.
        """
        if not 0 < nr_bytes <= MAX_OBJECT_NR_BYTES:
            return Errno.EINVAL
        size_class = class_of(nr_bytes)
        with self.lock:
            zspage = next(filter(self._in_place, self.groups.with_free_object(size_class)), None)
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
        """Forget an object; its zspage goes with the last one, also under a move.

        Raises:
            NoObjectError: the handle names no object.
            PinpageError: it is mapped.
        """
        with self.lock:
            zspage, index = self.handles.decode(handle)
            slot = self.handles.slot_of(handle)
            self._require_unmapped(handle, self._nr_maps[slot])
            self.handles.drop(slot)
            self.remove_object(zspage, index)

    def map(self, handle: int, mode: MapMode = MapMode.RW) -> ZsMapping | Errno:
        """See an object's bytes; until `unmap` its zspage stays where it is.

        Args:
            handle: of the object.
            mode: what the mapper will do.

        Returns:
            EAGAIN while a page of the zspage is under move.

        Raises:
            NoObjectError: the handle names no object.
        """
        with self.lock:
            zspage, index = self.handles.decode(handle)
            if not self._in_place(zspage):
                return Errno.EAGAIN
            self._nr_maps[self.handles.slot_of(handle)] += 1
            self.zspages.nr_maps[zspage] += 1
            pieces = self.pieces(zspage, index, 0, self.class_at(zspage).user_nr_bytes)
            return ZsMapping.open(self.source.contents, handle, pieces, mode)

    def unmap(self, mapping: ZsMapping) -> None:
        """End a `map`; what was written is in the object now.

        Raises:
            PinpageError: it has ended already.
        """
        with self.lock:
            if not mapping.is_open:
                raise PinpageError(f"zsmalloc: unmap of handle {mapping.handle:#x} done before")
            zspage, _ = self.handles.decode(mapping.handle)
            mapping.close(self.source.contents)
            self._nr_maps[self.handles.slot_of(mapping.handle)] -= 1
            self.zspages.nr_maps[zspage] -= 1

    def holds(self, pfns: Pfns) -> Mask:
        """Which frames are this pool's, shape (n,)."""
        return np.isin(pfns, self.zspages.pfns_of(self.zspages.all_page_ids()))

    # Under the lock.

    def class_at(self, zspage: int) -> SizeClass:
        """The class of a zspage."""
        return self._classes[self.zspages.class_index.item(zspage)]

    def pieces(self, zspage: int, index: int, offset: int, nr_bytes: int) -> list[Piece]:
        """Where bytes [offset, offset + nr_bytes) of the user's part of an object are.

        Args:
            zspage, index: the object's zspage, and its place there.
            offset, nr_bytes: which bytes of the user's part.
        """
        size_class = self.class_at(zspage)
        start = index * size_class.nr_bytes + size_class.header_nr_bytes + offset
        return pieces_of(self.zspages.pfns(zspage), start, nr_bytes)

    def is_quiet(self, zspage: int) -> bool:
        """Whether its objects may be put elsewhere: none is mapped, no page is under move."""
        return not self.zspages.nr_maps.item(zspage) and self._in_place(zspage)

    def remove_object(self, zspage: int, index: int) -> bool:
        """Take an object out of its zspage; True if that was the last, and the zspage went.

        Args:
            zspage, index: the object's zspage, and its place there.
        """
        size_class, inuse = self.class_at(zspage), self.zspages.inuse.item(zspage)
        self.zspages.free_cell(zspage, index)
        if inuse > 1:
            self.groups.refile(size_class, zspage, inuse, inuse - 1)
            return False
        self.groups.unfile(size_class, zspage, inuse)
        self._free_zspage(zspage)
        return True

    def place_object(self, zspage: int, slot: int) -> int:
        """The handle in `slot` names a free object of the zspage from now on; its index.

        Args:
            zspage: one with a free object.
            slot: of the handle.
        """
        inuse = self.zspages.inuse.item(zspage)
        index = self.zspages.take_cell(zspage, slot)
        self.handles.record(slot, zspage, index)
        self.groups.refile(self.class_at(zspage), zspage, inuse, inuse + 1)
        return index

    # Inside.

    def _place(self, size_class: SizeClass, zspage: int) -> int:
        slot = self.handles.add()
        self.place_object(zspage, slot)
        return self.handles.encode(slot)

    def _decode(self, handle: int) -> tuple[int, int]:
        return self.handles.decode(handle)

    def _require_pieces(self, handle: int, offset: int, nr_bytes: int) -> list[Piece] | Errno:
        zspage, index = self.handles.decode(handle)
        self._require_within(handle, offset, nr_bytes, self.class_at(zspage).user_nr_bytes)
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
            self.zspages.nr_maps[zspage] = 1  # a mover that finds it half made gets AGAIN
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
        return all(map(self._is_whole, self.zspages.pfns(zspage)))

    # Compaction of the pool, and the shrinker that asks for it.

    def compact(self, nr_to_scan: int | None = None) -> int:
        """Empty zspages into others of their class (zs_compact); pages freed.

        Zspages with mapped objects, and those under move, are neither emptied nor filled.
        The lock is dropped between two zspages.

        Args:
            nr_to_scan: stop once that many pages are free; None for no limit.
        """
        freed = 0
        for size_class in reversed(tuple(dict.fromkeys(self._classes))):
            while nr_to_scan is None or freed < nr_to_scan:
                with self.lock:
                    nr_pages = self._drain_one(size_class)
                    self.pages_compacted += nr_pages or 0
                if nr_pages is None:
                    break
                freed += nr_pages
        return freed

    def count_objects(self) -> int:
        """Pages that compaction can free at most: what the shrinker tells reclaim."""
        with self.lock:
            return sum(self.groups.nr_freeable_pages(c) for c in dict.fromkeys(self._classes))

    def scan_objects(self, nr_to_scan: int) -> int:
        """Compact until `nr_to_scan` pages are free; pages freed (zs_shrinker_scan)."""
        return self.compact(nr_to_scan)

    def _drain_one(self, size_class: SizeClass) -> int | None:
        """Move objects from one zspage into another until one is empty or the other full.

        Returns:
            Pages freed, or None when there is nothing left to do in the class.
        """
        if not self.groups.nr_freeable_pages(size_class):
            return None
        source = next(filter(self.is_quiet, self.groups.to_drain(size_class)), None)
        others = (z for z in self.groups.with_free_object(size_class) if z != source)
        target = next(filter(self.is_quiet, others), None)
        if source is None or target is None:
            return None
        return self._move_objects(size_class, source, target)

    def _move_objects(self, size_class: SizeClass, source: int, target: int) -> int:
        contents, nr_bytes = self.source.contents, size_class.user_nr_bytes
        nr_left = size_class.nr_objects - self.zspages.inuse.item(target)
        cells = self.zspages.cells(source, size_class.nr_objects)
        for index in np.flatnonzero(cells >= 0)[:nr_left].tolist():
            data = read_pieces(contents, self.pieces(source, index, 0, nr_bytes))
            placed = self.place_object(target, int(cells[index]))
            write_pieces(contents, self.pieces(target, placed, 0, nr_bytes), data)
            if self.remove_object(source, index):
                return size_class.nr_pages
        return 0

    # What the zpool protocol asks for, and adoption.

    def reclaim_lru_page(self, retries: int) -> Errno:
        """EINVAL: the pool knows no order of its objects, and evicts none."""
        return Errno.EINVAL

    def adopt(
        self, pfns: Pfns, class_indexes: NDArray[np.int64], nr_objects: NDArray[np.int64]
    ) -> Handles:
        """Make frames that are used already zspages of this pool, with objects in them.

        Args:
            pfns: used frames with one reference each; as many as the zspages have pages, in
                their order.
            class_indexes: of each zspage, see `owners.zsmalloc.classes`; shape (n,).
            nr_objects: in each zspage, at least one; shape (n,).

        Returns:
            Handles, those of a zspage together; shape (sum of nr_objects,).

        Raises:
            PinpageError: the frames are not the zspages', or too many objects for a zspage.
                Nothing has changed then.

        Cost: about 6 us per object.
        """
        classes = size_classes()
        chosen = [classes[index] for index in class_indexes.tolist()]
        counts = nr_objects.tolist()
        self._require_adoptable(pfns, chosen, counts)
        require_registered(self._registry, self.owner)
        handles = []
        with self.lock:
            at = 0
            for size_class, count in zip(chosen, counts, strict=True):
                zspage = self.zspages.add(size_class, pfns[at : at + size_class.nr_pages])
                self.groups.file(size_class, zspage, 0)
                for _ in range(count):
                    slot = self.handles.add()
                    self.place_object(zspage, slot)
                    handles.append(self.handles.encode(slot))
                at += size_class.nr_pages
            page_ids = self.zspages.all_page_ids()
        if self._registry is not None:
            mine = page_ids[np.isin(self.zspages.pfns_of(page_ids), pfns)]
            homes = self.zspages.pfns_of(mine)
            self._registry.pin_many(homes, self.owner, self.zspages.privates(mine))
        return np.array(handles, dtype=np.int64)

    def _require_adoptable(self, pfns: Pfns, classes: list[SizeClass], counts: list[int]) -> None:
        if sum(size_class.nr_pages for size_class in classes) != len(pfns):
            raise PinpageError(f"zsmalloc: adopt: {len(pfns)} frames are not what the zspages have")
        for size_class, count in zip(classes, counts, strict=True):
            if not 1 <= count <= size_class.nr_objects:
                raise PinpageError(
                    f"zsmalloc: adopt: {count} objects in a zspage for 1 to {size_class.nr_objects}"
                )
        frames = self.source.frames
        plain = (frames.mapcount[pfns] == MAPCOUNT_NONE) & (frames.refcount[pfns] == 1)
        self._require_plain(pfns, plain)

    def extents_of(self, handles: Handles) -> Extents:
        """Where the bytes of many objects are.

        Raises:
            NoObjectError: one handle names no object.
        """
        with self.lock:
            return self._extents(*self.handles.decode_many(handles))

    def _extents(self, zspages: NDArray[np.int64], indexes: NDArray[np.int64]) -> Extents:
        classes = [self.class_at(zspage) for zspage in zspages.tolist()]
        table = [(c.nr_bytes, c.header_nr_bytes, c.user_nr_bytes) for c in classes]
        size, header, nr_bytes = np.array(table, dtype=np.int64).reshape(-1, 3).T
        start = indexes * size + header
        page, offset = start >> PAGE_SHIFT, start & _OFFSET_MASK
        in_head = np.minimum(PAGE_SIZE - offset, nr_bytes)
        straddles = in_head < nr_bytes
        pfn = self.zspages.pfn
        head = (pfn[zspages, page] << PAGE_SHIFT) + offset
        last_page = pfn.shape[1] - 1
        tail = pfn[zspages, np.minimum(page + 1, last_page)] << PAGE_SHIFT
        return Extents(head, in_head, np.where(straddles, tail, -1), nr_bytes)

    # Statistics.

    def class_stats(self) -> tuple[ZsClassStats, ...]:
        """Every class that has a zspage, smallest first."""
        with self.lock:
            return tuple(self._stats(c) for c in self._classes_in_use())

    def _classes_in_use(self) -> Iterator[SizeClass]:
        return (self._classes[i] for i in np.flatnonzero(self.groups.nr_zspages).tolist())

    def _stats(self, size_class: SizeClass) -> ZsClassStats:
        groups, index = self.groups, size_class.index
        nr_zspages = groups.nr_zspages.item(index)
        return ZsClassStats(
            index=index,
            nr_bytes=size_class.nr_bytes,
            almost_full=groups.nr_members(size_class, Fullness.ALMOST_FULL),
            almost_empty=groups.nr_members(size_class, Fullness.ALMOST_EMPTY),
            obj_allocated=nr_zspages * size_class.nr_objects,
            obj_used=groups.nr_used.item(index),
            pages_used=nr_zspages * size_class.nr_pages,
            nr_pages_per_zspage=size_class.nr_pages,
            freeable=groups.nr_freeable_pages(size_class),
        )

    # Checks.

    def check(self) -> None:
        """Run ZS1..ZS8; at rest, for under a move the references are the mover's.

        Raises:
            InvariantError: one does not hold.
        Cost: O(objects that fit).
        """
        with self.lock:
            self.zspages.check(self._classes)
            page_ids = self.zspages.all_page_ids()
            pfns = self.zspages.pfns_of(page_ids)
            frames = self.source.frames
            require(bool((frames.state[pfns] == FrameState.USED).all()), "ZS2 a page is not used")
            require(bool((frames.refcount[pfns] != 0).all()), "ZS2 a page has no reference")
            self._check_handles()
            self._check_groups()
            self._check_pins("ZS7", pfns, self.zspages.privates(page_ids))

    def _check_handles(self) -> None:
        zspages, owners, indexes, slots = self.zspages, [], [], []
        for zspage in zspages.in_use().tolist():
            cells = zspages.cells(zspage, self.class_at(zspage).nr_objects)
            here = np.flatnonzero(cells >= 0)
            indexes.append(here)
            owners.append(np.full(len(here), zspage))
            slots.append(cells[here])
            nr_maps = sum(self._nr_maps[slot] for slot in cells[here].tolist())
            require(
                zspages.nr_maps.item(zspage) == nr_maps or not len(here),
                "ZS8 the mappings of a zspage are not those of its objects",
                zspage=zspage,
            )
            require(
                nr_maps == 0 or self.is_forced_out or not zspages.moving[zspage].any(),
                "ZS8 a zspage under move is mapped",
                zspage=zspage,
            )
        empty = np.empty(0, dtype=np.int64)
        columns = (np.concatenate([empty, *c]) for c in (slots, owners, indexes))
        self.handles.check("ZS3", *columns)

    def _check_groups(self) -> None:
        inuse: dict[SizeClass, dict[int, int]] = {c: {} for c in self._classes}
        for zspage in self.zspages.in_use().tolist():
            if self.zspages.inuse.item(zspage):
                inuse[self.class_at(zspage)][zspage] = self.zspages.inuse.item(zspage)
        for size_class, members in inuse.items():
            self.groups.check(size_class, members)
