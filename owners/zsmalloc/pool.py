"""zsmalloc: objects of any size up to a page, packed into zspages of one to four pages.

    alloc     the class of that size; a zspage with room, almost full ones first; or a new one
    free      the zspage goes with its last object
    map       a view of the object's bytes; the zspage stays where it is meanwhile
    compact   objects of almost empty zspages into others of their class, so that pages go
    (moves)   `owners.zsmalloc.owner`: the pages change their frames, and no handle changes

Compaction of the pool and of memory are different things: the one makes fewer pages, the
other has the pages elsewhere.  Either may refuse the other: mapped objects and pages under
move are left alone by both.

Kernel counterpart: mm/zsmalloc.c of v6.1.  Not kept: classes locked one by one, handles in
the pages (see `owners.zsmalloc.zspages`), deferred freeing of zspages whose pages are locked.

Owns:  the objects' places.  The bytes are in the frames.
Cost:  alloc and free about 10 us, read and write 8 us; a move well under 1 us per page.
"""

from collections.abc import Iterator

import numpy as np
from attrs import frozen

from mm.state.api import PageSource
from mm.state.frames import FrameState
from owners.zsmalloc.classes import SizeClass
from owners.zsmalloc.groups import Fullness
from owners.zsmalloc.objects import ZsObjects
from owners.zsmalloc.owner import ZsCoverage
from owners.zsmalloc.pieces import read_pieces, write_pieces
from pinpage.errors import require
from pinpage.registry import PinRegistry

__all__ = ["ZsClassStats", "ZsPool"]


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


class ZsPool(ZsObjects):
    """A pool: objects, compaction, shrinker, statistics.

    Attributes:
        pages_compacted: pages that compaction has freed so far.

    Invariants, run by `check`:
        A1 each zspage has the pages of its class, and no frame is in two.
        A2 a frame of the pool is used, and referenced.
        A3 each handle leads to one object, and that object names its slot.
        A4 the free objects of a zspage are chained, each once.
        A5 inuse counts the objects of a zspage; one without objects is gone.
        A6 each zspage is on the list that its fullness names, and the classes' counts agree.
        A7 each page has one pin of this owner, under its own key.
        A8 a zspage counts the open mappings of its objects; under move it has none.
    """

    def __init__(
        self,
        source: PageSource,
        *,
        registry: PinRegistry | None = None,
        coverage: ZsCoverage = "migrate",
        name: str = "zsmalloc",
    ) -> None:
        """An empty pool; arguments as for `ZsObjects`."""
        super().__init__(source, registry=registry, coverage=coverage, name=name)
        self.pages_compacted = 0

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
        others = (z for z in self.groups.with_room(size_class) if z != source)
        target = next(filter(self.is_quiet, others), None)
        if source is None or target is None:
            return None
        return self._move_objects(size_class, source, target)

    def _move_objects(self, size_class: SizeClass, source: int, target: int) -> int:
        contents, room = self.source.contents, size_class.room
        nr_left = size_class.nr_objects - self.zspages.inuse.item(target)
        cells = self.zspages.cells(source, size_class.nr_objects)
        for index in np.flatnonzero(cells >= 0)[:nr_left].tolist():
            data = read_pieces(contents, self.pieces(source, index, 0, room))
            placed = self.place_object(target, int(cells[index]))
            write_pieces(contents, self.pieces(target, placed, 0, room), data)
            if self.remove_object(source, index):
                return size_class.nr_pages
        return 0

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
        """Run A1..A8; at rest, for under a move the references are the mover's.

        Raises:
            InvariantError: one does not hold.
        Cost: O(objects that fit).
        """
        with self.lock:
            self.zspages.check(self._classes)
            pfns = self.zspages.pfns_of(self.zspages.all_page_ids())
            frames = self.source.frames
            require(bool((frames.state[pfns] == FrameState.USED).all()), "A2 a page is not used")
            require(bool((frames.refcount[pfns] != 0).all()), "A2 a page has no reference")
            self._check_handles()
            self._check_groups()
            self._check_pins()

    def _check_handles(self) -> None:
        zspages, owners, indexes, slots = self.zspages, [], [], []
        for zspage in zspages.in_use().tolist():
            cells = zspages.cells(zspage, self.class_at(zspage).nr_objects)
            here = np.flatnonzero(cells >= 0)
            indexes.append(here)
            owners.append(np.full(len(here), zspage))
            slots.append(cells[here])
            nr_maps = int(self.handles.nr_maps[cells[here]].sum())
            require(
                zspages.nr_maps.item(zspage) == nr_maps or not len(here),
                "A8 the mappings of a zspage are not those of its objects",
                zspage=zspage,
            )
            require(
                nr_maps == 0 or self.is_forced_out or not zspages.moving[zspage].any(),
                "A8 a zspage under move is mapped",
                zspage=zspage,
            )
        empty = np.empty(0, dtype=np.int64)
        columns = (np.concatenate([empty, *c]) for c in (slots, owners, indexes))
        self.handles.check(*columns)

    def _check_groups(self) -> None:
        inuse: dict[SizeClass, dict[int, int]] = {c: {} for c in self._classes}
        for zspage in self.zspages.in_use().tolist():
            if self.zspages.inuse.item(zspage):
                inuse[self.class_at(zspage)][zspage] = self.zspages.inuse.item(zspage)
        for size_class, members in inuse.items():
            self.groups.check(size_class, members)

    def _check_pins(self) -> None:
        if self._registry is None or self.is_forced_out:
            return
        page_ids = self.zspages.all_page_ids()
        pfns, privates = self.zspages.pfns_of(page_ids), self.zspages.privates(page_ids)
        for pfn, private in zip(pfns.tolist(), privates.tolist(), strict=True):
            mine = [pin.private for pin in self._registry.pins(pfn) if pin.owner is self.owner]
            require(mine == [private], "A7 a page is not pinned once, under its own key", pfn=pfn)
