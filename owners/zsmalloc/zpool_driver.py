"""A zsmalloc pool behind the protocol of `owners.zpool`: what that asks beyond alloc and free.

An object of zsmalloc may straddle two frames; `extents_of` says so in columns.

Kernel counterpart: the zpool driver at the end of mm/zsmalloc.c of v6.1, which offers no
shrink: nothing is ever written back out of such a pool.
"""

import numpy as np
from numpy.typing import NDArray

from mm.state.errno import Errno
from mm.state.frames import MAPCOUNT_NONE, FrameState
from owners.forced_out import require_registered
from owners.pool.extents import Extents
from owners.zbud.handles import Handles
from owners.zsmalloc.classes import SizeClass, size_classes
from owners.zsmalloc.pool import ZsPool
from pinpage.errors import PinpageError
from pinpage.units import PAGE_SHIFT, PAGE_SIZE, Pfns

__all__ = ["ZsmallocZpool"]

_OFFSET_MASK = PAGE_SIZE - 1


class ZsmallocZpool(ZsPool):
    """`ZsPool`, adoption of pages that exist already, and the batch form of where objects lie."""

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
                    slot = self.handles.new_slot()
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
        plain = (frames.state[pfns] == FrameState.USED) & (frames.mapcount[pfns] == MAPCOUNT_NONE)
        plain &= (frames.refcount[pfns] == 1) & ~self.holds(pfns)
        if not plain.all():
            raise PinpageError(
                f"zsmalloc: adopt: pfn {int(pfns[plain.argmin()]):#x} is not a plain used frame"
            )
        if len(np.unique(pfns)) != len(pfns):
            raise PinpageError("zsmalloc: adopt: pfns must be without duplicates")

    def extents_of(self, handles: Handles) -> Extents:
        """Where the bytes of many objects are.

        Raises:
            NoZsObjectError: one handle names no object.
        """
        with self.lock:
            places = [self.handles.decode(handle) for handle in handles.tolist()]
            _, zspages, indexes = np.array(places, dtype=np.int64).reshape(-1, 3).T
            return self._extents(zspages, indexes)

    def _extents(self, zspages: NDArray[np.int64], indexes: NDArray[np.int64]) -> Extents:
        classes = [self.class_at(zspage) for zspage in zspages.tolist()]
        table = [(c.nr_bytes, c.header_nr_bytes, c.room) for c in classes]
        size, header, room = np.array(table, dtype=np.int64).reshape(-1, 3).T
        start = indexes * size + header
        page, offset = start >> PAGE_SHIFT, start & _OFFSET_MASK
        in_head = np.minimum(PAGE_SIZE - offset, room)
        straddles = in_head < room
        pfn = self.zspages.pfn
        head = (pfn[zspages, page] << PAGE_SHIFT) + offset
        last_page = pfn.shape[1] - 1
        tail = pfn[zspages, np.minimum(page + 1, last_page)] << PAGE_SHIFT
        return Extents(head, in_head, np.where(straddles, tail, -1), room)
