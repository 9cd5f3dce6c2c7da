"""Where the pages of a zram device are: the rows under their lock, and the counts with them.

Every change of a row goes through `install` or `forget`, which keep table, pool, blocks and
counters in step; both run under the device's lock and call nobody back.
"""

import threading

from mm.state.api import PageSource
from mm.state.errno import Errno
from mm.state.gfp import Gfp
from owners.arguments import integer
from owners.pool.wait import write_when_still
from owners.zram.backing import BackingStore, Blocks
from owners.zram.stat import ZramCounters
from owners.zram.table import NO_HANDLE, SlotFlag, ZramTable
from owners.zsmalloc.owner import ZsCoverage
from owners.zsmalloc.pool import ZsPool
from pinpage.errors import PinpageError, require
from pinpage.registry import PinRegistry
from pinpage.units import PAGE_SHIFT

__all__ = ["ZramStore"]

_ATOMIC_GFP = Gfp.KSWAPD_RECLAIM | Gfp.NOWARN | Gfp.HIGHMEM | Gfp.MOVABLE
_WAITING_GFP = Gfp.NOIO | Gfp.HIGHMEM | Gfp.MOVABLE


class ZramStore:
    """Rows, objects, blocks and counters of one device.

    Attributes:
        nr_pages: of the disk.
        pool: where the objects are.
        counters: what has happened so far.
        lock: of rows, blocks and counters; the pool's lock is taken inside it.
    """

    def __init__(
        self,
        source: PageSource,
        nr_pages: int,
        *,
        registry: PinRegistry | None,
        coverage: ZsCoverage,
        mem_limit: int,
        backing: BackingStore | None,
        name: str,
    ) -> None:
        """An empty disk; arguments as for `Zram`.

        Raises:
            PinpageError: no pages, or a negative limit.
        """
        _mem_limit_pages(mem_limit)  # before a pool registers
        if integer("zram", "nr_pages", nr_pages) < 1:
            raise PinpageError(f"zram: nr_pages={nr_pages}: a disk has at least one page")
        self.nr_pages = nr_pages
        self.pool = ZsPool(source, registry=registry, coverage=coverage, name=name)
        self.counters = ZramCounters()
        self.lock = threading.Lock()
        self._table = ZramTable(nr_pages)
        self._backing = backing
        self._blocks = Blocks(backing.nr_blocks if backing is not None else 0)
        self._mem_limit_nr_pages = 0
        self.mem_limit = mem_limit

    @property
    def mem_limit(self) -> int:
        """Most memory that the pool may use, in bytes; 0 for no limit.  May be changed.

        Rounded up to pages.  Lowering it frees nothing: writes fail until there is room.
        """
        return self._mem_limit_nr_pages << PAGE_SHIFT

    @mem_limit.setter
    def mem_limit(self, nr_bytes: int) -> None:
        self._mem_limit_nr_pages = _mem_limit_pages(nr_bytes)

    # Objects.

    def _store_object(self, data: bytes, *, may_reclaim: bool) -> int:
        """An object with these bytes that no row names yet; its handle, or ENOMEM."""
        handle = self.pool.alloc(len(data), _ATOMIC_GFP)
        if handle == Errno.ENOMEM and may_reclaim:
            handle = self.pool.alloc(len(data), _WAITING_GFP)
        if handle < 0:
            return Errno.ENOMEM
        nr_pages = self.pool.pages_nr
        with self.lock:
            self.counters.used_max_nr_pages = max(self.counters.used_max_nr_pages, nr_pages)
        if self._mem_limit_nr_pages and nr_pages > self._mem_limit_nr_pages:
            self.pool.free(handle)
            return Errno.ENOMEM
        try:
            write_when_still(self.pool, handle, data)
        except BaseException:
            self.pool.free(handle)
            raise
        return handle

    # Rows, under the lock.

    def _install(
        self,
        slot: int,
        flags: SlotFlag,
        *,
        handle: int = NO_HANDLE,
        nr_bytes: int = 0,
        element: int = 0,
    ) -> None:
        """The row's page is here now, and nowhere else."""
        self._forget(slot)
        self._table.fill(slot, flags, handle=handle, nr_bytes=nr_bytes, element=element)
        counters = self.counters
        counters.pages_stored += 1
        counters.compr_data_size += nr_bytes
        counters.same_pages += bool(flags & SlotFlag.SAME)
        counters.huge_pages += bool(flags & SlotFlag.HUGE)
        counters.huge_pages_since += bool(flags & SlotFlag.HUGE)

    def _forget(self, slot: int) -> bool:
        """Empty a row, with what it names; whether there was anything (zram_free_page)."""
        table, counters = self._table, self.counters
        flags = SlotFlag(table.flags.item(slot))
        if not flags:
            return False
        handle = table.handle.item(slot)
        if handle != NO_HANDLE:
            self.pool.free(handle)
            counters.compr_data_size -= table.nr_bytes.item(slot)
        elif flags & SlotFlag.WRITTEN_BACK:
            self._blocks.free(table.element.item(slot))
        counters.pages_stored -= 1
        counters.same_pages -= bool(flags & SlotFlag.SAME)
        counters.huge_pages -= bool(flags & SlotFlag.HUGE)
        table.clear(slot)
        return True

    # Checks.

    def check(self) -> None:
        """Run D1..D4 of `Zram`, and all of the pool's.

        Raises:
            InvariantError: one does not hold.
        """
        self.pool.check()
        with self.lock:
            self._table.check()
            self._check_objects()
            self._check_counters()
            written = self._table.with_flags(SlotFlag.WRITTEN_BACK | SlotFlag.STORED)
            blocks = sorted(self._table.element[written].tolist())
            require(blocks == self._blocks.in_use(), "D4 a block is in use by no row, or by two")

    def _check_objects(self) -> None:
        handles = self._table.handle[self._table.handle != NO_HANDLE].tolist()
        require(len(set(handles)) == len(handles), "D2 two rows name one object")
        require(
            len(handles) == self.pool.handles.nr_handles, "D2 an object that no row names",
            rows=len(handles), objects=self.pool.handles.nr_handles,
        )  # fmt: skip
        for handle in handles:
            require(self.pool.is_live(handle), "D2 a row names no object", handle=handle)

    def _check_counters(self) -> None:
        table, counters = self._table, self.counters
        stored = table.with_flags(SlotFlag.STORED)
        expected = (
            len(stored),
            int(table.nr_bytes.sum()),
            len(table.with_flags(SlotFlag.SAME | SlotFlag.STORED)),
            len(table.with_flags(SlotFlag.HUGE | SlotFlag.STORED)),
        )
        kept = (
            counters.pages_stored, counters.compr_data_size, counters.same_pages,
            counters.huge_pages,
        )  # fmt: skip
        require(
            kept == expected, "D3 counters are not the sums of the rows", kept=kept, rows=expected
        )


def _mem_limit_pages(nr_bytes: int) -> int:
    if integer("zram", "mem_limit", nr_bytes) < 0:
        raise PinpageError(f"zram: mem_limit={nr_bytes}: give bytes, or 0 for no limit")
    return -(-nr_bytes >> PAGE_SHIFT)
