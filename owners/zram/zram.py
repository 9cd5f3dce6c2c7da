"""zram: a disk in memory, compressed.

    write      same-filled: a word; else compress: an object, or the page itself if that is
               no smaller than the huge class allows
    read       back again; from the backing store what was written back
    discard    the page will not be asked for again
    writeback  idle or incompressible pages to the backing store, and out of memory

The pages of its pool are pinned and move as any zsmalloc page does; zram does not notice.
A write that fails leaves the page as it was.

Every change of a row goes through `_install` or `_forget`, which keep table, pool, blocks and
counters in step; both run under the device's lock and call nothing back.

Kernel counterpart: drivers/block/zram of v6.1.  Not kept: one compressor stream per CPU,
recompression (6.2), deduplication; reads and writes complete at once.
Cost:  the compressor's time plus about 20 us.
Context: thread-safe.  The device's lock is held over neither compressor, allocation nor
backing store.  Nothing may be read or written from within a move of the pool's pages.
"""

import struct
import threading
from collections.abc import Iterator
from typing import Literal, TypeAlias

import numpy as np

from mm.buddy.page_source import PageSource
from mm.state.errno import Errno
from mm.state.gfp import Gfp
from owners.arguments import integer, octets
from owners.compress import Compressor
from owners.pool.owner import MoveCoverage
from owners.pool.wait import read_when_still, write_when_still
from owners.zram.backing import BackingBlocks, BackingStore
from owners.zram.stat import ZramBdStat, ZramCounters, ZramIoStat, ZramMmStat
from owners.zram.table import NO_HANDLE, SlotFlag, ZramTable
from owners.zsmalloc.classes import huge_class_nr_bytes
from owners.zsmalloc.pool import ZsPool
from pinpage.errors import PinpageError, require
from pinpage.registry import PinRegistry
from pinpage.units import PAGE_SHIFT, PAGE_SIZE

__all__ = ["WritebackOf", "Zram"]

WritebackOf: TypeAlias = Literal["idle", "huge", "huge_idle"]
"""Which pages `Zram.writeback` takes."""

_ATOMIC_GFP = Gfp.KSWAPD_RECLAIM | Gfp.NOWARN | Gfp.HIGHMEM | Gfp.MOVABLE
_WAITING_GFP = Gfp.NOIO | Gfp.HIGHMEM | Gfp.MOVABLE
_WORD = struct.Struct("<Q")
_ZEROS = bytes(PAGE_SIZE)
_TO_WRITE_BACK: dict[str, SlotFlag] = {
    "idle": SlotFlag.IDLE,
    "huge": SlotFlag.HUGE,
    "huge_idle": SlotFlag.HUGE | SlotFlag.IDLE,
}


class Zram:
    """One device.

    Attributes:
        compressor: of its pages.
        nr_pages: of the disk.
        pool: where the objects are.
        counters: what has happened so far.
        lock: of rows, blocks and counters; the pool's lock is taken inside it.

    Invariants, run by `check`:
        ZR1 a page is in one place: object, word or block; an empty row says nothing.
        ZR2 each object of the pool is named by one row.
        ZR3 the counters are the sums of the rows.
        ZR4 each block in use is named by one row.
    """

    def __init__(
        self,
        source: PageSource,
        compressor: Compressor,
        nr_pages: int,
        *,
        registry: PinRegistry | None = None,
        coverage: MoveCoverage = "migrate",
        mem_limit: int = 0,
        backing: BackingStore | None = None,
        name: str = "zram",
    ) -> None:
        """An empty disk of `nr_pages` pages, all zero.

        Args:
            source: where the pool's pages come from.
            compressor: of each page.
            nr_pages: size of the disk (disksize / 4096).
            registry: where the pool's pages are pinned; None pins nothing.
            coverage: whether they can move, as for `ZsPool`.
            mem_limit: most memory for the pool in bytes, 0 for no limit.
            backing: where `writeback` writes to.
            name: of the pool's owner.

        Raises:
            PinpageError: no pages, or a negative limit.
        """
        _mem_limit_pages(mem_limit)  # before a pool registers
        if integer("zram", "nr_pages", nr_pages) < 1:
            raise PinpageError(f"zram: nr_pages={nr_pages}: a disk has at least one page")
        self.nr_pages = nr_pages
        self.pool = ZsPool(source, registry=registry, coverage=coverage, name=name)
        self.compressor = compressor
        self.counters = ZramCounters()
        self.lock = threading.Lock()
        self._table = ZramTable(nr_pages)
        self._backing = backing
        self._blocks = BackingBlocks(backing.nr_blocks if backing is not None else 0)
        self._mem_limit_nr_pages = 0
        self.mem_limit = mem_limit

    @property
    def mem_limit(self) -> int:
        """Most memory that the pool may use, in bytes; 0 for no limit.  May be changed.

        Rounded up to pages.  Lowering it frees nothing: writes fail until enough is free.
        """
        return self._mem_limit_nr_pages << PAGE_SHIFT

    @mem_limit.setter
    def mem_limit(self, nr_bytes: int) -> None:
        self._mem_limit_nr_pages = _mem_limit_pages(nr_bytes)

    # The block device.

    def write_page(self, slot: int, page: bytes, *, may_reclaim: bool = True) -> Errno:
        """Write one page of the disk.

        Args:
            slot: which page.
            page: its 4096 bytes.
            may_reclaim: False for a caller who is reclaiming memory (swap): what is free
                must do.

        Returns:
            OK; ENOMEM when there is no memory, or it would exceed `mem_limit`: then the disk
            still holds what it held.

        Raises:
            PinpageError: no such page, or not a page of bytes.
        """
        self._require_slots(slot, 1)
        page = octets("zram", "page", page)
        if len(page) != PAGE_SIZE:
            raise PinpageError(f"zram: write of {len(page)} bytes: a page has {PAGE_SIZE}")
        word = page[: _WORD.size]
        if page == word * (PAGE_SIZE // _WORD.size):
            with self.lock:
                self._install(slot, SlotFlag.SAME, element=_WORD.unpack(word)[0])
            return Errno.OK
        data, flags = self.compressor.compress(page), SlotFlag.NONE
        if len(data) >= huge_class_nr_bytes():
            data, flags = page, SlotFlag.HUGE
        handle = self._store_object(data, may_reclaim=may_reclaim)
        with self.lock:
            if handle < 0:
                self.counters.failed_writes += 1
                return Errno.ENOMEM
            self._install(slot, flags, handle=handle, nr_bytes=len(data))
        return Errno.OK

    def read_page(self, slot: int) -> bytes:
        """One page of the disk; zeros if it was never written.

        Raises:
            PinpageError: no such page.
            OSError: the backing store failed.
        """
        self._require_slots(slot, 1)
        return self._read(slot)[0]

    def discard(self, slot: int, count: int = 1) -> None:
        """Forget pages; they read as zeros from now on.

        Args:
            slot: the first page.
            count: how many.

        Raises:
            PinpageError: no such pages.
        """
        self._require_slots(slot, count)
        for each in range(slot, slot + count):
            with self.lock:
                self.counters.notify_free += self._forget(each)

    def is_stored(self, slot: int) -> bool:
        """Whether a page was written, and not discarded since."""
        integer("zram", "slot", slot)
        return 0 <= slot < self.nr_pages and self._table.has(slot, SlotFlag.STORED)

    def reset(self) -> None:
        """Discard everything."""
        for slot in self._table.with_flags(SlotFlag.STORED).tolist():
            with self.lock:
                self._forget(slot)

    # Memory.

    def compact(self) -> int:
        """Compact the pool; pages freed."""
        return self.pool.compact()

    def mark_idle(self) -> int:
        """Mark what is in memory as idle until it is used; how many pages."""
        with self.lock:
            slots = self._table.with_flags(SlotFlag.STORED, SlotFlag.WRITTEN_BACK)
            self._table.flags[slots] |= np.uint8(SlotFlag.IDLE)
            return len(slots)

    def writeback(self, which: WritebackOf, limit: int | None = None) -> int | Errno:
        """Move pages to the backing store, ascending; how many.

        Same-filled pages stay: they take no memory.  A page that changes meanwhile stays too.

        Args:
            which: `idle` pages, `huge` (incompressible) ones, or those that are both.
            limit: at most that many; None for all.

        Returns:
            The number, or ENOSPC when the store is full before all are there.

        Raises:
            PinpageError: there is no backing store, no such `which`, or a limit below 0.
            OSError: the store failed; pages written so far have moved.
        """
        backing = self._backing
        if backing is None:
            raise PinpageError("zram: writeback needs a store: Zram(..., backing=FileBacking(...))")
        if which not in _TO_WRITE_BACK:
            raise PinpageError(
                f"zram: writeback({which!r}): use one of {', '.join(_TO_WRITE_BACK)}"
            )
        if limit is not None:
            integer("zram: writeback", "limit", limit, least=0)
        nr_written = 0
        for slot in self._candidates(which):
            if limit is not None and nr_written >= limit:
                break
            with self.lock:
                block = self._blocks.alloc()
            if block < 0:
                return Errno.ENOSPC
            nr_written += self._write_back(backing, slot, block, _TO_WRITE_BACK[which])
        return nr_written

    # Statistics.

    def mm_stat(self) -> ZramMmStat:
        """What the device holds, and what that takes."""
        with self.lock:
            counters = self.counters
            return ZramMmStat(
                orig_data_size=counters.pages_stored << PAGE_SHIFT,
                compr_data_size=counters.compr_data_size,
                mem_used_total=self.pool.pages_nr << PAGE_SHIFT,
                mem_limit=self.mem_limit,
                mem_used_max=counters.used_max_nr_pages << PAGE_SHIFT,
                same_pages=counters.same_pages,
                pages_compacted=self.pool.pages_compacted,
                huge_pages=counters.huge_pages,
                huge_pages_since=counters.huge_pages_since,
            )

    def io_stat(self) -> ZramIoStat:
        """What went wrong, and what was given up."""
        with self.lock:
            counters = self.counters
            return ZramIoStat(
                counters.failed_reads,
                counters.failed_writes,
                counters.invalid_io,
                counters.notify_free,
            )

    def bd_stat(self) -> ZramBdStat:
        """What is in the backing store."""
        with self.lock:
            return ZramBdStat(self._blocks.nr_used, self.counters.bd_reads, self.counters.bd_writes)

    def mem_used_max_reset(self) -> None:
        """Start the maximum again from what is used now."""
        with self.lock:
            self.counters.used_max_nr_pages = self.pool.pages_nr

    # Inside.

    def _read(self, slot: int, *, uses: bool = True) -> tuple[bytes, int]:
        """A page, and the version of the row that it was.

        Args:
            uses: whether this makes the page not idle.
        """
        table = self._table
        while True:
            with self.lock:
                version = table.version.item(slot)
                flags = SlotFlag(table.flags.item(slot))
                element = table.element.item(slot)
                handle, nr_bytes = table.handle.item(slot), table.nr_bytes.item(slot)
                if uses:
                    table.flags[slot] &= ~SlotFlag.IDLE & 0xFF
            try:
                page = self._fetch(flags, element, handle, nr_bytes)
            except (PinpageError, OSError):
                with self.lock:
                    if table.version.item(slot) == version:
                        self.counters.failed_reads += 1
                        raise
                continue  # the row changed under us, and the object or block went with it
            with self.lock:
                if table.version.item(slot) == version:
                    return page, version

    def _fetch(self, flags: SlotFlag, element: int, handle: int, nr_bytes: int) -> bytes:
        """The bytes that a row stands for.  Without the lock: they may be the next user's."""
        if not flags:
            return _ZEROS
        if flags & SlotFlag.SAME:
            return _WORD.pack(element) * (PAGE_SIZE // _WORD.size)
        if flags & SlotFlag.WRITTEN_BACK and self._backing is not None:
            page = self._backing.read(element)
            with self.lock:
                self.counters.bd_reads += 1
            return page
        data = read_when_still(self.pool, handle, nr_bytes)
        return data if flags & SlotFlag.HUGE else self.compressor.decompress(data)

    def _candidates(self, which: WritebackOf) -> Iterator[int]:
        with self.lock:
            not_these = SlotFlag.SAME | SlotFlag.WRITTEN_BACK
            slots = self._table.with_flags(_TO_WRITE_BACK[which] | SlotFlag.STORED, not_these)
        yield from slots.tolist()

    def _write_back(self, backing: BackingStore, slot: int, block: int, wanted: SlotFlag) -> bool:
        """Move one page to a block; False, and the block is free again, if it changed."""
        done = False
        try:
            page, version = self._read(slot, uses=False)
            if self._is_still(slot, version, wanted):
                backing.write(block, page)
                with self.lock:
                    self.counters.bd_writes += 1
                    done = self._is_still(slot, version, wanted)
                    if done:
                        self._install(slot, SlotFlag.WRITTEN_BACK, element=block)
        finally:
            if not done:
                with self.lock:
                    self._blocks.free(block)
        return done

    def _is_still(self, slot: int, version: int, wanted: SlotFlag) -> bool:
        """Whether a row is what we read, in memory, and wanted still (idle: not used meanwhile)."""
        return (
            self._table.version.item(slot) == version
            and self._table.has(slot, wanted | SlotFlag.STORED)
            and not self._table.flags.item(slot) & (SlotFlag.SAME | SlotFlag.WRITTEN_BACK)
        )

    def _require_slots(self, slot: int, count: int) -> None:
        integer("zram", "slot", slot)
        integer("zram", "count", count)
        if slot < 0 or count < 0 or slot + count > self.nr_pages:
            with self.lock:
                self.counters.invalid_io += 1
            raise PinpageError(f"zram: pages {slot}..{slot + count} of a disk of {self.nr_pages}")

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
        """Run ZR1..ZR4, and all of the pool's.

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
            require(blocks == self._blocks.in_use(), "ZR4 a block is in use by no row, or by two")

    def _check_objects(self) -> None:
        handles = self._table.handle[self._table.handle != NO_HANDLE].tolist()
        require(len(set(handles)) == len(handles), "ZR2 two rows name one object")
        require(
            len(handles) == self.pool.handles.nr_handles, "ZR2 an object that no row names",
            rows=len(handles), objects=self.pool.handles.nr_handles,
        )  # fmt: skip
        for handle in handles:
            require(self.pool.is_live(handle), "ZR2 a row names no object", handle=handle)

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
            kept == expected, "ZR3 counters are not the sums of the rows", kept=kept, rows=expected
        )


def _mem_limit_pages(nr_bytes: int) -> int:
    if integer("zram", "mem_limit", nr_bytes) < 0:
        raise PinpageError(f"zram: mem_limit={nr_bytes}: give bytes, or 0 for no limit")
    return -(-nr_bytes >> PAGE_SHIFT)
