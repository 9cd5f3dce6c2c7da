"""zswap: a compressed cache for swapped-out pages, before the disk.

Each swap type has a tree and a pool: zbud, z3fold or zsmalloc (`owners.zpool`).  What is stored
for a page is a small header that names its swap entry, for pools know handles only, and the
compressed bytes.

    store       compress, place, insert; a second store of a slot replaces the first
    load        decompress; the entry stays, so memory and pool may both have the page
    invalidate  nobody will ask again: take it out of the tree
    writeback   the pool's evict: decompress into a swap-cache page and write that to disk
    unuse       zbud's other way out (patch 4 of the 2013 series): back to ordinary memory

zswap is never told that a pool's page moved.  It knows handles, and those do not change.

Kernel counterpart: mm/zswap.c of v3.11 with that series.  Kept: the order of steps, return
codes, counters (unused_pages counts attempts).  Not kept: the reference protocol of
writeback (see `owners.zswap.entries`), and writing back a slot that changed hands while the
swap-cache page was made, which later kernels check as well.  "Full" looks at the pages of
all pools, where v3.11 remembers the size of the pool it touched last.

Cost: store and load are the compressor's time plus about 15 us; adoption 0.3 us per entry.
"""

from collections.abc import Generator, Iterator, Sequence

import numpy as np
from attrs import asdict
from numpy.typing import NDArray

from mm.state.api import PageSource
from mm.state.errno import Errno
from mm.state.gfp import Gfp
from mm.swap.swapops import swp_entry, swp_offset, swp_type
from owners.compress import Compressor
from owners.pool.extents import read_objects, read_words, write_objects, write_words
from owners.zbud.handles import HandleName, Handles
from owners.zbud.owner import Coverage
from owners.zpool import Zpool, ZpoolCallback, ZpoolName
from owners.zswap.entries import NO_ENTRY
from owners.zswap.host import SwapHost
from owners.zswap.store import (
    BLOB_HEADER_NR_BYTES,
    NR_RECLAIM_RETRIES,
    ZswapCounters,
    ZswapStore,
)
from pinpage.errors import PinpageError, require
from pinpage.move.steps import run_out
from pinpage.registry import PinRegistry

__all__ = ["BLOB_HEADER_NR_BYTES", "NR_RECLAIM_RETRIES", "Zswap", "ZswapCounters"]


class Zswap(ZswapStore):
    """zswap as a whole.

    Attributes:
        host: the swap core; None: nothing is written back or unused.

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
        """No swap types yet; arguments besides `host` as for `ZswapStore`."""
        super().__init__(
            source,
            compressor,
            registry=registry,
            handles=handles,
            coverage=coverage,
            max_pool_percent=max_pool_percent,
            gfp=gfp,
            zpool=zpool,
        )
        self.host = host

    # What the pool calls.

    def writeback_entry(self, pool: Zpool, handle: int) -> Errno:
        """Write one object to disk and forget it (the pool's evict).

        Returns:
            OK, also if the entry is gone already; ENOMEM without a cache page; EEXIST if
            the slot is in the swap cache; EAGAIN if a load holds the entry, which will free it.
        """
        return run_out(self.writeback_steps(pool, handle))

    def writeback_steps(self, pool: Zpool, handle: int) -> Generator[None, None, Errno]:
        """`writeback_entry`, yielding where the tree lock is free and others may run."""
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
                object has room for BLOB_HEADER_NR_BYTES more); shape (n,).

        Raises:
            PinpageError: no such type, a handle without object or room, or an offset twice.
        """
        tree = self._require_tree(swap_type)
        room = tree.pool.extents_of(handles).room
        if not len(offsets) == len(handles) == len(lengths):
            raise PinpageError("zswap: adopt: offsets, handles and lengths differ in number")
        if (lengths + BLOB_HEADER_NR_BYTES > room).any():
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
        """`adopt`, and write headers and compressed bytes; arguments alike."""
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
            fits = entries.length[rows] + BLOB_HEADER_NR_BYTES <= extents.room
            headers = read_words(self._source.contents, extents)
            named = headers == (offsets + swp_entry(swap_type, 0)).astype(np.uint64)
            require(bool((fits & named).all()), "E4 a blob is not its entry's")
        require(
            entries.nr_entries == self.counters.stored_pages,
            "E2 stored_pages",
            **asdict(self.counters),
        )

    def _callbacks(self) -> dict[str, ZpoolCallback]:
        return {"evict": self.writeback_entry, "unuse": self.unuse_entry}

    def _require_host(self) -> SwapHost:
        if self.host is None:
            raise PinpageError("zswap: host=None: give it the swap core to write back or unuse")
        return self.host
