"""zswap: a compressed cache for swapped-out pages, before the disk.

Each swap type has a tree and a pool: zbud, z3fold or zsmalloc (`owners.zpool`).  What is stored
for a page is a small header that names its swap entry, for pools know handles only, and the
compressed bytes.

    store       compress, place, insert; a second store of a slot replaces the first
    load        decompress; the entry stays, so memory and pool may both have the page
    invalidate  the slot is free: take it out of the tree
    writeback   the pool's evict: decompress into a swap-cache page and write that to disk
    unuse       zbud's other way out (patch 4 of the 2013 series): back to ordinary memory

zswap does not notice that a pool's page moved.  It knows handles, and those do not change.

Kernel counterpart: mm/zswap.c of v3.11 with that series.  Kept: the order of steps, return
codes, counters (unused_pages counts attempts).  Not kept: the reference protocol of
writeback (see `owners.zswap.entries`), and writing back a slot that changed hands while the
swap-cache page was made, which later kernels check as well.  "Full" looks at the pages of
all pools, where v3.11 remembers the size of the pool it touched last.

Context: thread-safe; the tree lock is dropped while data are compressed or decompressed, so
an entry may leave the tree meanwhile, and the caller that drops its last reference frees it.
Cost: store and load are the compressor's time plus about 15 us; adoption 0.3 us per entry.
"""

import threading
from collections.abc import Generator, Iterator, Sequence

import numpy as np
from attrs import asdict, define
from numpy.typing import NDArray

from mm.buddy.page_source import PageSource
from mm.state.errno import Errno
from mm.state.frames import FrameState
from mm.state.gfp import Gfp
from mm.swap.swapops import SwapEntry, swp_entry, swp_offset, swp_type
from owners.compress import Compressor
from owners.pool.extents import read_objects, read_words, write_objects, write_words
from owners.pool.handles import HandleName, Handles, NoObjectError
from owners.pool.owner import Coverage
from owners.pool.wait import read_when_still, write_when_still
from owners.zpool import Zpool, ZpoolName, make_zpool, zpool_gfp
from owners.zswap.entries import NO_ENTRY, ZswapEntries, ZswapTree
from owners.zswap.host import SwapHost
from pinpage.errors import PinpageError, require
from pinpage.move.steps import run_out
from pinpage.registry import PinRegistry

__all__ = ["BLOB_HEADER_NR_BYTES", "NR_RECLAIM_RETRIES", "Zswap", "ZswapCounters"]

BLOB_HEADER_NR_BYTES = 8
"""The swap entry before the compressed bytes of each stored blob."""
NR_RECLAIM_RETRIES = 8
"""Pages that store asks zbud to try when the pool is full."""


@define
class ZswapCounters:
    """The counters of v3.11's debugfs directory, and patch 4's.

    Attributes:
        pool_limit_hit: stores that found the pool full.
        written_back_pages: pages written to disk to free space.
        unused_pages: unuse attempts, failures included.
        reject_reclaim_fail: stores refused because no page could be reclaimed.
        reject_compress_poor: stores refused because the page does not compress enough.
        reject_alloc_fail: stores refused for want of a zbud page.
        duplicate_entry: stores that replaced an older copy of the same slot.
        stored_pages: entries held now.
    """

    pool_limit_hit: int = 0
    written_back_pages: int = 0
    unused_pages: int = 0
    reject_reclaim_fail: int = 0
    reject_compress_poor: int = 0
    reject_alloc_fail: int = 0
    duplicate_entry: int = 0
    stored_pages: int = 0


class Zswap:
    """Entries, trees and pools; implements `mm.swap.swapops.FrontSwap`.

    Attributes:
        host: the swap core; None: nothing is written back or unused.
        counters: what happened so far.
        pools: one per swap type, in the order of `init`; the list grows in place.
        zpool: the kind of pool, see `owners.zpool`.
        compressor: both ways between pages and compressed bytes.

    Invariants, run by `check`:
        E1 an entry in a tree has a reference, and its row says so: type and offset.
        E2 stored_pages is the number of entries.
        E3 each handle of an entry names an object, and no two the same.
        E4 the blob of an entry in a tree starts with its swap entry, and fits its object.
    """

    def __init__(  # noqa: PLR0913  (what may be set of zswap, as its module parameters)
        self,
        source: PageSource,
        compressor: Compressor,
        *,
        host: SwapHost | None = None,
        registry: PinRegistry | None = None,
        handles: HandleName = "indirect",
        coverage: Coverage | None = None,
        max_pool_percent: int = 20,
        gfp: Gfp = Gfp.ZSWAP,
        zpool: ZpoolName = "zbud",
    ) -> None:
        """No swap types yet.

        Args:
            source: where pool pages come from.
            compressor: see `owners.compress`.
            host: the swap core, which may come later.
            registry, handles, coverage: for the pools, see `make_zpool`.
            max_pool_percent: of the machine's memory; beyond it store reclaims first.
            gfp: for pool pages.  Patch 4 adds RECLAIMABLE.  Where the pool's pages are
                movable by nature (zsmalloc), HIGHMEM and MOVABLE are added, as in 6.1.
            zpool: which kind of pool.
        """
        self.host = host
        self.counters = ZswapCounters()
        self.pools: list[Zpool] = []
        self.zpool: ZpoolName = zpool
        self.compressor = compressor
        self._source = source
        self._registry = registry
        self._handles: HandleName = handles
        self._coverage: Coverage | None = coverage
        self._gfp = gfp | zpool_gfp(zpool)
        absent = np.isin(source.frames.state, (FrameState.HOLE, FrameState.RESERVED))
        self._max_nr_pages = int(np.count_nonzero(~absent)) * max_pool_percent // 100
        self._counting = threading.Lock()
        self._trees: dict[int, ZswapTree] = {}
        self._entries = ZswapEntries()

    def init(self, swap_type: int) -> Zpool:
        """A swap device appears (swapon): make its tree and its pool.

        Raises:
            PinpageError: it has them already, or such a pool cannot be made.
        """
        if swap_type in self._trees:
            raise PinpageError(f"zswap: swap type {swap_type} was set up before")
        pool = make_zpool(
            self.zpool,
            self._source,
            registry=self._registry,
            handles=self._handles,
            coverage=self._coverage,
            evict=self.writeback_entry,
            unuse=self.unuse_entry,
        )
        self.pools.append(pool)
        self._trees[swap_type] = ZswapTree(swap_type, pool)
        return pool

    @property
    def is_full(self) -> bool:
        """Whether the pools have more pages than they may."""
        return sum(pool.pages_nr for pool in self.pools) > self._max_nr_pages

    # mm.swap.swapops.FrontSwap

    def store(self, swap_type: int, offset: int, page: bytes) -> bool:
        """Keep a page; False if it must go to disk.

        Args:
            swap_type, offset: the slot.
            page: its 4096 bytes.
        """
        return self.store_page(swap_type, offset, page) == Errno.OK

    def load(self, swap_type: int, offset: int) -> bytes | None:
        """The page, or None if it was written back, never stored, or invalidated.

        Args:
            swap_type, offset: the slot.
        """
        return run_out(self.load_steps(swap_type, offset))

    def invalidate_page(self, swap_type: int, offset: int) -> None:
        """Forget a slot; does nothing if there is no entry (it was written back).

        Args:
            swap_type, offset: the slot.
        """
        tree = self._trees.get(swap_type)
        if tree is None:
            return
        with tree.lock:
            row = tree.rows.pop(offset, NO_ENTRY)
            left = self._entries.put(row) if row != NO_ENTRY else 1
        if not left:
            self._free_entry(tree, row)

    def invalidate_area(self, swap_type: int) -> None:
        """Forget every slot of a type (swapoff).  The tree and the pool stay for the next."""
        tree = self._trees.get(swap_type)
        if tree is not None:
            for offset in list(tree.rows):
                self.invalidate_page(swap_type, offset)

    def store_page(self, swap_type: int, offset: int, page: bytes) -> Errno:
        """`store` with the reason.

        Args:
            swap_type, offset: the slot.
            page: its 4096 bytes.

        Returns:
            OK; ENODEV without a tree; ENOMEM if no page could be reclaimed or had; ENOSPC if the
            page compresses poorly.
        """
        tree = self._trees.get(swap_type)
        if tree is None:
            return Errno.ENODEV
        counters = self.counters
        if self.is_full:
            counters.pool_limit_hit += 1
            if tree.pool.reclaim_lru_page(NR_RECLAIM_RETRIES):
                counters.reject_reclaim_fail += 1
                return Errno.ENOMEM
        compressed = self.compressor.compress(page)
        handle = tree.pool.alloc(BLOB_HEADER_NR_BYTES + len(compressed), self._gfp)
        if handle == Errno.ENOSPC:
            counters.reject_compress_poor += 1
            return Errno.ENOSPC
        if handle < 0:
            counters.reject_alloc_fail += 1
            return Errno(handle)
        header = swp_entry(swap_type, offset).to_bytes(BLOB_HEADER_NR_BYTES, "little")
        try:
            write_when_still(tree.pool, handle, header + compressed)
        except BaseException:
            tree.pool.free(handle)
            raise
        self._insert(tree, self._entries.add(swap_type, offset, handle, len(compressed)))
        return Errno.OK

    def load_steps(self, swap_type: int, offset: int) -> Generator[None, None, bytes | None]:
        """`load`, yielding where the tree lock is free and others may run.

        Args:
            swap_type, offset: the slot.
        """
        tree = self._trees.get(swap_type)
        row = self._find_and_get(tree, offset) if tree is not None else NO_ENTRY
        if tree is None or row == NO_ENTRY:
            return None
        try:
            yield
            page = self._decompress(tree.pool, row)
            yield
        finally:  # whatever ends it: a reference that stays keeps the object for ever
            self._put_entry(tree, row)
        return page

    # What the pool calls.

    def writeback_entry(self, pool: Zpool, handle: int) -> Errno:
        """Write one object to disk and forget it (the pool's evict).

        Args:
            pool: where the object is.
            handle: of the object.

        Returns:
            OK, also if the entry is gone already; ENOMEM without a cache page; EEXIST if
            the slot is in the swap cache; EAGAIN if a load holds the entry, which will free it.
        """
        return run_out(self.writeback_steps(pool, handle))

    def writeback_steps(self, pool: Zpool, handle: int) -> Generator[None, None, Errno]:
        """`writeback_entry`, yielding where the tree lock is free and others may run.

        Args:
            pool: where the object is.
            handle: of the object.
        """
        host = self._require_host()
        found = self._entry_of(pool, handle)
        if found is None:
            return Errno.OK
        entry, tree = found
        offset = swp_offset(entry)
        row = self._find_and_get(tree, offset)
        if row == NO_ENTRY:
            return Errno.OK
        yield
        pfn = host.get_cache_page(entry)
        if pfn < 0:
            self._put_entry(tree, row)
            return Errno(pfn)
        yield
        with tree.lock:
            is_current = tree.rows.get(offset) == row
        if not is_current:  # the slot may be another page's by now: writing would be too late
            host.drop_cache_page(entry, pfn)
            self._put_entry(tree, row)
            return Errno.OK
        try:
            page = self._decompress(pool, row)
        except BaseException:
            host.drop_cache_page(entry, pfn)
            self._put_entry(tree, row)
            raise
        host.write_page(entry, pfn, page)
        self.counters.written_back_pages += 1
        yield
        with tree.lock:
            if tree.rows.get(offset) == row:
                del tree.rows[offset]
                self._entries.put(row)
        return Errno.EAGAIN if self._put_entry(tree, row) else Errno.OK

    def unuse_entry(self, pool: Zpool, handle: int) -> Errno:
        """Bring one object back to ordinary memory; its slot's last user frees it.

        Args:
            pool: where the object is.
            handle: of the object.

        Returns:
            ECANCELED if swapoff has begun, OK if the object is gone already (neither counts
            as an attempt), else what unuse says.
        """
        host = self._require_host()
        found = self._entry_of(pool, handle)
        if found is None:
            return Errno.OK
        entry, _ = found
        if not host.get_device(swp_type(entry)):
            return Errno.ECANCELED
        try:
            return host.unuse(entry)
        finally:
            host.put_device(swp_type(entry))
            self.counters.unused_pages += 1

    # Bulk, for recordings.

    def adopt(
        self,
        swap_type: int,
        offsets: NDArray[np.int64],
        handles: Handles,
        lengths: NDArray[np.int32],
    ) -> None:
        """Take over objects that the type's pool adopted, without bytes.

        Args:
            swap_type: set up with `init`.
            offsets, handles, lengths: slot, object and compressed bytes of each entry (the
                object is BLOB_HEADER_NR_BYTES larger at least); shape (n,).

        Raises:
            PinpageError: no such type, a handle without object, an object that is too small, or
                an offset twice.
        """
        tree = self._require_tree(swap_type)
        nr_bytes = tree.pool.extents_of(handles).nr_bytes
        if not len(offsets) == len(handles) == len(lengths):
            raise PinpageError("zswap: adopt: offsets, handles and lengths differ in number")
        if (lengths + BLOB_HEADER_NR_BYTES > nr_bytes).any():
            raise PinpageError("zswap: adopt: a blob (header and data) is larger than its object")
        with tree.lock:
            self._entries.adopt(tree, offsets, handles, lengths)
        self._count_stored(len(offsets))

    def fill(
        self,
        swap_type: int,
        offsets: NDArray[np.int64],
        handles: Handles,
        compressed: Sequence[bytes],
    ) -> None:
        """`adopt`, and write headers and compressed bytes; arguments alike.

        Args:
            swap_type, offsets, handles: as for `adopt`.
            compressed: bytes of each entry, n of them.
        """
        lengths = np.fromiter(map(len, compressed), dtype=np.int32, count=len(compressed))
        self.adopt(swap_type, offsets, handles, lengths)
        extents = self._require_tree(swap_type).pool.extents_of(handles)
        headers = (offsets + swp_entry(swap_type, 0)).astype(np.uint64)
        write_words(self._source.contents, extents, headers)
        write_objects(self._source.contents, extents.after(BLOB_HEADER_NR_BYTES), compressed)

    def read_back(self) -> Iterator[tuple[int, int, bytes]]:
        """Every stored page as (type, offset, compressed bytes), read out of the frames.

        Cost: about 0.6 us per entry, cold memory aside.
        """
        contents = self._source.contents
        for swap_type, tree in self._trees.items():
            rows = np.fromiter(tree.rows.values(), dtype=np.int64, count=len(tree.rows))
            extents = tree.pool.extents_of(self._entries.handle[rows])
            lengths = self._entries.length[rows].astype(np.int64)
            blobs = read_objects(contents, extents.after(BLOB_HEADER_NR_BYTES), lengths)
            for offset, blob in zip(self._entries.offset[rows].tolist(), blobs, strict=True):
                yield swap_type, offset, blob

    def check(self) -> None:
        """Run E1..E4, and the pools' own invariants.

        Raises:
            InvariantError: one does not hold.
        """
        entries = self._entries
        for swap_type, tree in self._trees.items():
            tree.pool.check()
            rows = np.fromiter(tree.rows.values(), dtype=np.int64, count=len(tree.rows))
            offsets = np.fromiter(tree.rows.keys(), dtype=np.int64, count=len(tree.rows))
            handles = entries.handle[rows]
            good = (entries.offset[rows] == offsets) & (entries.refcount[rows] > 0)
            good &= entries.swap_type[rows] == swap_type
            require(bool(good.all()), "E1 a row does not belong to its place in the tree")
            require(len(np.unique(handles)) == len(handles), "E3 two entries share an object")
            extents = tree.pool.extents_of(handles)
            fits = entries.length[rows] + BLOB_HEADER_NR_BYTES <= extents.nr_bytes
            headers = read_words(self._source.contents, extents)
            named = headers == (offsets + swp_entry(swap_type, 0)).astype(np.uint64)
            require(bool((fits & named).all()), "E4 a blob is not its entry's")
        require(
            entries.nr_entries == self.counters.stored_pages,
            "E2 stored_pages",
            **asdict(self.counters),
        )

    # Inside.

    def _insert(self, tree: ZswapTree, row: int) -> None:
        offset = int(self._entries.offset[row])
        with tree.lock:
            older = tree.rows.get(offset, NO_ENTRY)
            tree.rows[offset] = row
            left = self._entries.put(older) if older != NO_ENTRY else 1
        self._count_stored(1)
        self.counters.duplicate_entry += older != NO_ENTRY
        if not left:
            self._free_entry(tree, older)

    def _find_and_get(self, tree: ZswapTree, offset: int) -> int:
        with tree.lock:
            row = tree.rows.get(offset, NO_ENTRY)
            if row != NO_ENTRY:
                self._entries.get(row)
        return row

    def _put_entry(self, tree: ZswapTree, row: int) -> int:
        """Drop one's own reference; how many are left."""
        with tree.lock:
            left = self._entries.put(row)
        if not left:
            self._free_entry(tree, row)
        return left

    def _free_entry(self, tree: ZswapTree, row: int) -> None:
        tree.pool.free(int(self._entries.handle[row]))
        self._entries.remove(row)
        self._count_stored(-1)

    def _entry_of(self, pool: Zpool, handle: int) -> tuple[SwapEntry, ZswapTree] | None:
        """The swap entry that an object's header names, and its tree; None: it is gone."""
        try:
            header = read_when_still(pool, handle, BLOB_HEADER_NR_BYTES)
        except NoObjectError:  # freed since the pool looked
            return None
        entry = int.from_bytes(header, "little")
        tree = self._trees.get(swp_type(entry))
        named = tree is not None and tree.pool is pool
        require(named, "E4 an object names another pool", entry=entry)
        return entry, self._trees[swp_type(entry)]

    def _decompress(self, pool: Zpool, row: int) -> bytes:
        handle, length = int(self._entries.handle[row]), int(self._entries.length[row])
        return self.compressor.decompress(
            read_when_still(pool, handle, length, BLOB_HEADER_NR_BYTES)
        )

    def _require_tree(self, swap_type: int) -> ZswapTree:
        tree = self._trees.get(swap_type)
        if tree is None:
            raise PinpageError(f"zswap: no swap type {swap_type}: call init({swap_type}) first")
        return tree

    def _count_stored(self, change: int) -> None:
        """The one counter that is exact under threads, as an atomic_t is."""
        with self._counting:
            self.counters.stored_pages += change

    def _require_host(self) -> SwapHost:
        if self.host is None:
            raise PinpageError("zswap: host=None: give it the swap core to write back or unuse")
        return self.host
