"""zcache: clean page cache pages, compressed, for as long as the memory is not needed.

When the kernel drops a clean page of a file it offers it here first (put); before it reads
that page from disk it asks (get).  Everything kept is a copy of what the disk has, so nothing
is ever lost: to free space, to shrink, or because the VM wants a frame, objects are *dropped*.
That is what "ephemeral" means, and why `release` costs this owner nothing: no copy, no
target, no I/O.

    put           compress and keep; replaces an older copy; may drop the oldest to stay small
    get           the page; a private pool forgets it, for the page cache has it now
    invalidate    the page, the inode or the file system changed or went: forget it
    shrink        drop until so many pages are free
    (release)     the VM asks for a frame: drop the objects on it

    Rule M  the caller that takes a key out of the index frees its object; no other does.

Each object starts with its key, as zbud knows handles only, and eviction starts from those.

Kernel counterpart: the cleancache hooks (3.0 to 5.16) and the zcache posted for 2013 on top
of zbud, by behaviour: pools per file system, keys of (pool, inode, index), get that is
exclusive unless the pool is shared, put that may be refused.

Owns:  the index.  The bytes are in the frames, through a zbud pool.
Cost:  the compressor's time plus about 15 us; dropping a page about 12 us.
"""

import struct
import threading
from collections.abc import Sequence

import numpy as np
from attrs import define, frozen
from numpy.typing import NDArray

from mm.buddy.page_source import PageSource
from mm.state.errno import Errno
from mm.state.gfp import Gfp
from owners.compress import Compressor
from owners.pool.extents import read_objects
from owners.pool.handles import NoObjectError
from owners.pool.owner import Coverage
from owners.zbud.pool import ZbudOps, ZbudPool
from pinpage.errors import PinpageError, at_least, require, within
from pinpage.registry import PinRegistry
from pinpage.units import PAGE_SIZE

__all__ = ["CleanKey", "Zcache", "ZcacheCounters"]

_HEADER = struct.Struct("<QQII")
"""Inode, index, pool, and bytes that follow: 24 in all."""
_NR_PAGES_TO_RECLAIM = 8


@frozen(order=True)
class CleanKey:
    """What names a clean page: file system (pool), inode and index in the file."""

    pool: int
    inode: int
    index: int


@define
class ZcacheCounters:
    """What happened so far.

    Attributes:
        puts: pages kept.
        replaced: puts of a page that was here already.
        hits, misses: gets that found the page, and that did not.
        invalidated: pages forgotten because their file changed or went.
        dropped: pages dropped for their memory.
        reject_compress_poor: puts refused because the page does not compress enough.
        reject_alloc_fail: puts refused for want of a page.
        stored_pages: pages kept now.
    """

    puts: int = 0
    replaced: int = 0
    hits: int = 0
    misses: int = 0
    invalidated: int = 0
    dropped: int = 0
    reject_compress_poor: int = 0
    reject_alloc_fail: int = 0
    stored_pages: int = 0


class Zcache:
    """Pools of clean pages over one zbud pool.

    Attributes:
        counters: what happened so far.
        zbud: where the objects are.

    Invariants, run by `check`:
        ZC1 each key of the index leads to one object, and no two to the same.
        ZC2 an object starts with its key.
        ZC3 stored_pages is the number of keys, and of objects.
        ZC4 the pool has at most `max_nr_pages` pages.

    Context: thread-safe; the index lock is held over no call into the pool that may call back.
    """

    def __init__(
        self,
        source: PageSource,
        compressor: Compressor,
        *,
        registry: PinRegistry | None = None,
        coverage: Coverage = "unuse",
        max_nr_pages: int | None = None,
        gfp: Gfp = Gfp.ZSWAP,
    ) -> None:
        """No pools yet.

        Args:
            source: where pages come from.
            compressor: see `owners.compress`.
            registry: where pages are pinned; None pins nothing.
            coverage: what the VM may do with a frame: `unuse`, have what is on it dropped;
                `migrate`, move it, which keeps the cache but needs a target and a copy.
            max_nr_pages: pages to use at most; None: a fifth of the machine.
            gfp: for pool pages.
        """
        self.counters = ZcacheCounters()
        self.compressor = compressor
        self.zbud = ZbudPool(
            source,
            registry=registry,
            coverage=coverage,
            ops=ZbudOps(evict=self._drop, unuse=self._drop),
            name="zcache",
        )
        nr_frames = source.frames.nr_frames
        self._max_nr_pages = nr_frames // 5 if max_nr_pages is None else max_nr_pages
        self._contents = source.contents
        self._gfp = gfp
        self._lock = threading.Lock()
        self._index: dict[int, dict[int, dict[int, int]]] = {}
        self._shared: dict[int, bool] = {}
        self._nr_pools_ever = 0

    # Pools.

    def init_pool(self, *, shared: bool = False) -> int:
        """A file system is mounted; its pool id.

        Args:
            shared: several hosts mount it: a get leaves the page for the others.
        """
        with self._lock:
            pool = self._nr_pools_ever
            self._nr_pools_ever += 1
            self._shared[pool] = shared
            self._index[pool] = {}
        return pool

    # What the page cache calls.

    def put(self, key: CleanKey, page: bytes) -> bool:
        """Keep a clean page; False if it is not kept, and an older copy is gone either way.

        Args:
            key: names the page.
            page: its 4096 bytes.

        Raises:
            PinpageError: no such pool, an inode or index that does not fit 64 bits, or not a
                whole page.
        """
        within(1 << 64, "zcache: put", inode=key.inode, index=key.index)
        if len(page) != PAGE_SIZE:
            raise PinpageError(f"zcache: put: {len(page)} bytes are not a page of {PAGE_SIZE}")
        older = self._pop(key)
        if older is not None:
            self.counters.replaced += 1
            self.zbud.free(older)
        compressed = self.compressor.compress(page)
        blob = _HEADER.pack(key.inode, key.index, key.pool, len(compressed)) + compressed
        handle = self._alloc(len(blob))
        if handle < 0:
            return False
        if self.zbud.write(handle, blob) != Errno.OK:  # a mover in another thread has the page
            self.zbud.free(handle)
            self.counters.reject_alloc_fail += 1
            return False
        with self._lock:
            displaced = self._index[key.pool].setdefault(key.inode, {}).get(key.index)
            self._index[key.pool][key.inode][key.index] = handle
            self.counters.puts += 1
            self.counters.stored_pages += displaced is None
        if displaced is not None:  # another thread put the same page meanwhile
            self.zbud.free(displaced)
        return True

    def get(self, key: CleanKey) -> bytes | None:
        """The page, or None: read it from disk.  A private pool forgets it.

        Returns:
            None also while a mover has the frame: the disk is always right.

        Raises:
            PinpageError: no such pool.
        """
        handle = self._find(key)
        if handle is None:
            self.counters.misses += 1
            return None
        blob = self._read(handle)
        if blob is None:
            self.counters.misses += 1
            return None
        if not self._shared[key.pool]:
            self._forget(key)
        self.counters.hits += 1
        return self.compressor.decompress(blob)

    def invalidate_page(self, key: CleanKey) -> None:
        """The page changed, or left the file: forget it."""
        self.counters.invalidated += self._forget(key)

    def invalidate_inode(self, pool: int, inode: int) -> None:
        """Forget every page of a file.

        Args:
            pool: of the file system.
            inode: of the file.
        """
        self._require_pool(pool)
        with self._lock:
            indexes = list(self._index[pool].get(inode, ()))
        for index in indexes:
            self.invalidate_page(CleanKey(pool, inode, index))

    def invalidate_pool(self, pool: int) -> None:
        """Forget every page of a file system, which is being unmounted; the pool is gone."""
        self._require_pool(pool)
        with self._lock:
            inodes = list(self._index[pool])
        for inode in inodes:
            self.invalidate_inode(pool, inode)
        with self._lock:
            del self._index[pool], self._shared[pool]

    # What memory asks for.

    def shrink(self, nr_pages: int) -> int:
        """Drop what was put longest ago until `nr_pages` frames are free; how many are.

        Raises:
            PinpageError: a negative number of pages.
        """
        at_least(0, "zcache: shrink", nr_pages=nr_pages)
        before = self.zbud.pages_nr
        while self.zbud.pages_nr > max(before - nr_pages, 0):
            if self.zbud.reclaim_lru_page(_NR_PAGES_TO_RECLAIM) != Errno.OK:
                break
        return before - self.zbud.pages_nr

    # Bulk, for checks.

    def read_back(self) -> dict[CleanKey, bytes]:
        """Every page kept, decompressed, read out of the frames; nothing is forgotten."""
        keys, handles = self._keys_and_handles()
        blobs = self._blobs(handles)
        return {
            key: self.compressor.decompress(_open(blob)[1])
            for key, blob in zip(keys, blobs, strict=True)
        }

    def check(self) -> None:
        """Run ZC1..ZC4, and the pool's own invariants.

        Raises:
            InvariantError: one does not hold.
        """
        self.zbud.check()
        keys, handles = self._keys_and_handles()
        require(len(np.unique(handles)) == len(handles), "ZC1 two keys share an object")
        for key, blob in zip(keys, self._blobs(handles), strict=True):
            require(_open(blob)[0] == key, "ZC2 an object is not its key's", key=key)
        nr_objects = self.zbud.nr_objects
        require(
            len(keys) == nr_objects == self.counters.stored_pages,
            "ZC3 stored_pages",
            keys=len(keys),
            objects=nr_objects,
            counted=self.counters.stored_pages,
        )
        require(self.zbud.pages_nr <= self._max_nr_pages, "ZC4 more pages than allowed")

    # Inside.

    def _alloc(self, nr_bytes: int) -> int:
        """An object, after freeing space for it; negative, and counted, if there is none."""
        handle = self.zbud.alloc(nr_bytes, self._gfp) if self._max_nr_pages else Errno.ENOMEM
        if handle == Errno.ENOSPC:
            self.counters.reject_compress_poor += 1
            return handle
        if handle > 0 and self.zbud.pages_nr > self._max_nr_pages:
            self.shrink(1)  # the new object is on the newest page, and has no key to drop
        if handle < 0 or self.zbud.pages_nr > self._max_nr_pages:
            if handle > 0:
                self.zbud.free(handle)
            self.counters.reject_alloc_fail += 1
            return Errno.ENOMEM
        return handle

    def _drop(self, pool: ZbudPool, handle: int) -> Errno:
        """The pool wants the memory (evict and unuse): forget the object.

        Returns:
            OK, also if it is gone already; EAGAIN while a mover has its frame.
        """
        try:
            header = pool.read(handle, _HEADER.size)
        except NoObjectError:
            return Errno.OK
        if isinstance(header, Errno):
            return header
        key, _ = _open(header)
        with self._lock:
            inode = self._index.get(key.pool, {}).get(key.inode, {})
            if inode.get(key.index) != handle:  # the caller that took it out frees it
                return Errno.EBUSY
            self._take_out(key)
            self.counters.dropped += 1
        pool.free(handle)
        return Errno.OK

    def _forget(self, key: CleanKey) -> bool:
        handle = self._pop(key)
        if handle is not None:
            self.zbud.free(handle)
        return handle is not None

    def _find(self, key: CleanKey) -> int | None:
        self._require_pool(key.pool)
        with self._lock:
            return self._index[key.pool].get(key.inode, {}).get(key.index)

    def _pop(self, key: CleanKey) -> int | None:
        """Take a key out of the index; the object that the caller must free now."""
        self._require_pool(key.pool)
        with self._lock:
            if key.index not in self._index[key.pool].get(key.inode, {}):
                return None
            return self._take_out(key)

    def _take_out(self, key: CleanKey) -> int:
        """Under the lock, of a key that is there."""
        inode = self._index[key.pool][key.inode]
        handle = inode.pop(key.index)
        if not inode:
            del self._index[key.pool][key.inode]
        self.counters.stored_pages -= 1
        return handle

    def _read(self, handle: int) -> bytes | None:
        """An object's compressed bytes; None if it was dropped, or a mover has it."""
        try:
            extents = self.zbud.extents_of(np.array([handle], dtype=np.int64))
            blob = self.zbud.read(handle, int(extents.nr_bytes[0]))
        except NoObjectError:
            return None
        return None if isinstance(blob, Errno) else _open(blob)[1]

    def _require_pool(self, pool: int) -> None:
        if pool not in self._shared:
            raise PinpageError(f"zcache: no pool {pool}: init_pool gives one per file system")

    def _keys_and_handles(self) -> tuple[list[CleanKey], NDArray[np.int64]]:
        with self._lock:
            found = [
                (CleanKey(pool, inode, index), handle)
                for pool, inodes in self._index.items()
                for inode, indexes in inodes.items()
                for index, handle in indexes.items()
            ]
        handles = np.fromiter((h for _, h in found), dtype=np.int64, count=len(found))
        return [key for key, _ in found], handles

    def _blobs(self, handles: NDArray[np.int64]) -> Sequence[bytes]:
        extents = self.zbud.extents_of(handles)
        return list(read_objects(self._contents, extents, extents.nr_bytes))


def _open(blob: bytes) -> tuple[CleanKey, bytes]:
    """The key and the compressed bytes of an object, which may be larger than they are."""
    inode, index, pool, length = _HEADER.unpack_from(blob)
    return CleanKey(pool, inode, index), blob[_HEADER.size : _HEADER.size + length]
