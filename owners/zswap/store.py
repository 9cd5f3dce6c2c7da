"""The front half of zswap: store, load and invalidate, as frontswap calls them.

Context: thread-safe; the tree lock is dropped while data are compressed or decompressed, so
an entry may leave the tree meanwhile, and whoever drops its last reference frees it.

Kernel counterpart: the frontswap hooks of mm/zswap.c of v3.11; `owners.zswap.zswap` adds the ways
out of the pool and says what was kept and what was not.
"""

import threading
import time
from collections.abc import Generator

import numpy as np
from attrs import define

from mm.state.api import PageSource
from mm.state.errno import Errno
from mm.state.frames import FrameState
from mm.state.gfp import Gfp
from mm.swap.swapops import SwapEntry, swp_entry, swp_type
from owners.compress import Compressor
from owners.zbud.handles import HandleName, NoObjectError
from owners.zbud.owner import Coverage
from owners.zpool import Zpool, ZpoolCallback, ZpoolName, make_zpool, zpool_gfp
from owners.zswap.entries import NO_ENTRY, ZswapEntries, ZswapTree
from pinpage.errors import ContextError, PinpageError, require
from pinpage.move.steps import run_out
from pinpage.registry import PinRegistry

__all__ = ["BLOB_HEADER_NR_BYTES", "NR_RECLAIM_RETRIES", "ZswapCounters", "ZswapStore"]

BLOB_HEADER_NR_BYTES = 8
"""The swap entry before the compressed bytes of each stored blob."""
NR_RECLAIM_RETRIES = 8
"""Pages that store asks zbud to try when the pool is full."""

_NR_TRIES = 1000


@define
class ZswapCounters:
    """The counters of v3.11's debugfs directory, and patch 4's.

    Attributes:
        pool_limit_hit: stores that found the pool full.
        written_back_pages: pages written to disk to make room.
        unused_pages: unuse attempts, failures included.
        reject_reclaim_fail: stores refused because no room could be made.
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


class ZswapStore:
    """Entries, trees and pools; implements `mm.swap.swapops.FrontSwap`.

    Attributes:
        counters: what happened so far.
        pools: one per swap type, in the order of `init`; the list grows in place.
        zpool: the kind of pool, see `owners.zpool`.
        compressor: both ways between pages and compressed bytes.
    """

    def __init__(
        self,
        source: PageSource,
        compressor: Compressor,
        *,
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
            registry, handles, coverage: for the pools, see `make_zpool`.
            max_pool_percent: of the machine's memory; beyond it store makes room first.
            gfp: for pool pages.  Patch 4 adds RECLAIMABLE.  Where the pool's pages are
                movable by nature (zsmalloc), HIGHMEM and MOVABLE are added, as in 6.1.
            zpool: which kind of pool.
        """
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
            **self._callbacks(),
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
        """Keep a page; False if it must go to disk."""
        return self.store_page(swap_type, offset, page) == Errno.OK

    def load(self, swap_type: int, offset: int) -> bytes | None:
        """The page, or None if it was written back, never stored, or invalidated."""
        return run_out(self.load_steps(swap_type, offset))

    def invalidate_page(self, swap_type: int, offset: int) -> None:
        """Forget a slot; does nothing if there is no entry (it was written back)."""
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

        Returns:
            OK; ENODEV without a tree; ENOMEM if no room could be made or had; ENOSPC if the
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
            _wait_written(tree.pool, handle, header + compressed)
        except BaseException:
            tree.pool.free(handle)
            raise
        self._insert(tree, self._entries.add(swap_type, offset, handle, len(compressed)))
        return Errno.OK

    def load_steps(self, swap_type: int, offset: int) -> Generator[None, None, bytes | None]:
        """`load`, yielding where the tree lock is free and others may run."""
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
            header = _wait_read(pool, handle, BLOB_HEADER_NR_BYTES)
        except NoObjectError:  # freed since the pool looked
            return None
        entry = int.from_bytes(header, "little")
        tree = self._trees.get(swp_type(entry))
        named = tree is not None and tree.pool is pool
        require(named, "E4 an object names another pool", entry=entry)
        return entry, self._trees[swp_type(entry)]

    def _decompress(self, pool: Zpool, row: int) -> bytes:
        handle, length = int(self._entries.handle[row]), int(self._entries.length[row])
        return self.compressor.decompress(_wait_read(pool, handle, length, BLOB_HEADER_NR_BYTES))

    def _require_tree(self, swap_type: int) -> ZswapTree:
        tree = self._trees.get(swap_type)
        if tree is None:
            raise PinpageError(f"zswap: no swap type {swap_type}: call init({swap_type}) first")
        return tree

    def _count_stored(self, change: int) -> None:
        """The one counter that is exact under threads, as an atomic_t is."""
        with self._counting:
            self.counters.stored_pages += change

    def _callbacks(self) -> dict[str, ZpoolCallback]:
        """What the pools may call, by name; nothing leads out of a store."""
        return {}


def _wait_read(pool: Zpool, handle: int, nr_bytes: int, offset: int = 0) -> bytes:
    """`pool.read`, once no mover in another thread has the object."""
    for _ in range(_NR_TRIES):
        data = pool.read(handle, nr_bytes, offset)
        if not isinstance(data, Errno):
            return data
        time.sleep(0)
    raise _under_move(handle)


def _wait_written(pool: Zpool, handle: int, data: bytes) -> None:
    """`pool.write`, once no mover in another thread has the object."""
    for _ in range(_NR_TRIES):
        if pool.write(handle, data) == Errno.OK:
            return
        time.sleep(0)
    raise _under_move(handle)


def _under_move(handle: int) -> ContextError:
    return ContextError(f"zswap: handle {handle:#x} is under move and the mover waits for us")
