"""A zsmalloc pool behind the protocol of `owners.zpool`: what that asks beyond alloc and free.

An object of zsmalloc may straddle two frames; `extents_of` says so in columns.

Kernel counterpart: the zpool driver at the end of mm/zsmalloc.c of v6.1, which offers no
shrink: nothing is ever written back out of such a pool.
"""

import numpy as np
from numpy.typing import NDArray

from mm.errno import Errno
from owners.handles import Handles
from owners.zpool_extents import Extents
from owners.zsmalloc import ZsPool
from pinpage.units import PAGE_SHIFT, PAGE_SIZE

__all__ = ["ZsmallocZpool"]

_OFFSET_MASK = PAGE_SIZE - 1


class ZsmallocZpool(ZsPool):
    """`ZsPool`, and the batch form of where objects lie."""

    def reclaim_lru_page(self, retries: int) -> Errno:
        """EINVAL: the pool knows no order of its objects, and evicts none."""
        return Errno.EINVAL

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
