"""Stores of compressed pages as load: a zram disk, a pool of objects, the page cache and zcache."""

import struct
from collections.abc import Iterator

import numpy as np

from mm.paging.memory import zap_page_range
from mm.paging.paging import bit
from mm.state.errno import Errno
from mm.state.frames import PageFlag
from mm.state.gfp import Gfp
from owners.zcache import CleanKey, Zcache
from owners.zpool import ZpoolName, make_zpool
from owners.zram.zram import Zram
from pinlab.load.workload import NOTHING, Action, Holding, LoadedMachine, Workload, pool_holding
from pinpage.units import PAGE_SIZE, Mask, Pfns

__all__ = ["ObjectChurn", "PageCache", "ZramChurn"]

_RUN_NR_PAGES = 8
_WORD = struct.Struct("<Q")
_UPTODATE = bit(PageFlag.UPTODATE)


class ZramChurn(Workload):
    """A disk in memory that is written, read and discarded at random.

    One page in sixteen is the same word over and over, one does not compress at all.
    """

    def __init__(self, world: LoadedMachine, name: str, *, nr_slots: int, pace_ns: int) -> None:
        """A disk of `nr_slots` pages.

        Args:
            world: the machine, and what all workloads on it share.
            name: unique in a run; names its random stream.
            nr_slots: how much it works with, in its own units.
            pace_ns: mean rest between two actions, in simulated ns.
        """
        super().__init__(world, name, nr_slots=nr_slots, pace_ns=pace_ns)
        self.zram = Zram(
            world.machine, world.compressor, nr_slots, registry=world.registry, name=name
        )

    def start(self) -> None:
        """Half of the disk is written."""
        for slot in range(0, len(self.pages.serials), 2):
            self._write(slot, self.pages.draw())

    def actions(self) -> Iterator[Action]:
        """Of ten: five writes, four reads, a discard; now and then the pool is compacted."""
        while True:
            which, slot = self.below(320), self.below(len(self.pages.serials))
            if which == 0:
                self.zram.compact()
                yield self.act("compact")
            elif which < 160:
                yield self.act("write", done=self._write(slot, self.pages.draw()))
            elif which < 288:
                self._read(slot)
                yield self.act("read")
            else:
                self.zram.discard(slot)
                self.pages.drop(slot)
                yield self.act("discard")

    def _write(self, slot: int, serial: int) -> bool:
        done = self.zram.write_page(slot, self._page(serial)) == Errno.OK
        if done:
            self.pages.store(slot, serial)
        return done

    def _page(self, serial: int) -> bytes:
        kind = serial // self.world.corpus.nr_pages % 16
        if kind == 0:
            return _WORD.pack(serial) * (PAGE_SIZE // _WORD.size)
        if kind == 1:
            return np.random.default_rng(serial).bytes(PAGE_SIZE)
        return self.pages.page(serial)

    def _read(self, slot: int) -> None:
        serial = self.pages.serials.item(slot)
        expected = bytes(PAGE_SIZE) if serial == NOTHING else self._page(serial)
        self.pages.compare_with(expected, self.zram.read_page(slot))

    def read_back(self) -> None:
        """Every page of the disk that holds something."""
        for slot in self.pages.stored().tolist():
            self._read(slot)

    def holdings(self) -> Iterator[Holding]:
        """The pages of its zsmalloc pool."""
        yield pool_holding(self.world, self.zram.pool)

    def let_go(self) -> None:
        """Discard everything."""
        self.zram.reset()

    def check(self) -> None:
        """The device and its pool."""
        self.zram.check()


class ObjectChurn(Workload):
    """Compressed pages that come and go in one pool, whatever its kind."""

    def __init__(
        self, world: LoadedMachine, name: str, *, nr_slots: int, pace_ns: int, zpool: ZpoolName
    ) -> None:
        """Up to `nr_slots` objects in a pool of kind `zpool`.

        Args:
            world: the machine, and what all workloads on it share.
            name: unique in a run; names its random stream.
            nr_slots: how much it works with, in its own units.
            pace_ns: mean rest between two actions, in simulated ns.
            zpool: kind of the pool.
        """
        super().__init__(world, name, nr_slots=nr_slots, pace_ns=pace_ns)
        self.pool = make_zpool(zpool, world.machine, registry=world.registry)
        self._handles = np.zeros(nr_slots, dtype=np.int64)

    def actions(self) -> Iterator[Action]:
        """A slot that is empty is filled; one that is not is read, or freed."""
        while True:
            slot, serial, frees = self.below(len(self._handles)), self.pages.draw(), self.below(2)
            if self.pages.serials.item(slot) == NOTHING:
                yield self.act("alloc", done=self._alloc(slot, serial))
            elif frees:
                self._free(slot)
                yield self.act("free")
            else:
                self._read(slot)
                yield self.act("read")

    def _alloc(self, slot: int, serial: int) -> bool:
        blob = self._blob(serial)
        handle = self.pool.alloc(len(blob), Gfp.ZSWAP)
        if handle < 0:
            return False
        if self.pool.write(handle, blob) != Errno.OK:
            self.pool.free(handle)
            return False
        self._handles[slot] = handle
        self.pages.store(slot, serial)
        return True

    def _blob(self, serial: int) -> bytes:
        return self.world.corpus.blob(serial)

    def _free(self, slot: int) -> None:
        self.pool.free(self._handles.item(slot))
        self.pages.drop(slot)

    def _read(self, slot: int) -> None:
        blob = self._blob(self.pages.serials.item(slot))
        data = self.pool.read(self._handles.item(slot), len(blob))
        self.pages.compare_with(blob, data if isinstance(data, bytes) else None)

    def read_back(self) -> None:
        """Every object."""
        for slot in self.pages.stored().tolist():
            self._read(slot)

    def holdings(self) -> Iterator[Holding]:
        """The pages of the pool."""
        yield pool_holding(self.world, self.pool)

    def let_go(self) -> None:
        """Free every object."""
        for slot in self.pages.stored().tolist():
            self._free(slot)

    def check(self) -> None:
        """The pool."""
        self.pool.check()


class PageCache(Workload):
    """A file larger than its share of memory: pages are read in, looked at, and dropped.

    What was stored is what the disk holds.  A page that is dropped is offered to zcache; one that
    is missing is asked for there before the disk is.

    Attributes:
        zcache: where clean pages go first.
        file: the page cache of the file.
    """

    def __init__(self, world: LoadedMachine, name: str, *, nr_slots: int, pace_ns: int) -> None:
        """A file of `nr_slots` pages, of which three quarters are cached at most.

        Args:
            world: the machine, and what all workloads on it share.
            name: unique in a run; names its random stream.
            nr_slots: how much it works with, in its own units.
            pace_ns: mean rest between two actions, in simulated ns.
        """
        super().__init__(world, name, nr_slots=nr_slots, pace_ns=pace_ns)
        self.zcache = Zcache(
            world.machine, world.compressor, registry=world.registry,
            max_nr_pages=max(nr_slots // 16, 1),
        )  # fmt: skip
        world.zbud_pools.append(self.zcache.zbud)
        self._fs = self.zcache.init_pool()
        self.file = world.machine.rmap.create(name, nr_slots, kind="file")
        self._most_nr_pages = max(nr_slots * 3 // 4, _RUN_NR_PAGES)

    def start(self) -> None:
        """The disk is full, and the cache too."""
        self.pages.serials[:] = self.pages.draw_many(len(self.pages.serials))
        self._read_disk(np.arange(min(self._most_nr_pages, len(self.pages.serials))))

    def actions(self) -> Iterator[Action]:
        """A run of pages is used: what is there is compared, what is not is brought in."""
        while True:
            first, victim = self.below(len(self.pages.serials)), self.below(self.file.nr_vpns)
            rewrites, serial = self.below(8) == 0, self.pages.draw()
            if rewrites:
                yield self.act("rewrite", done=self._rewrite(first, serial))
                continue
            run = np.arange(first, min(first + _RUN_NR_PAGES, self.file.nr_vpns))
            self._drop_surplus(victim)
            yield self.act("read", done=self._use(run))

    def _use(self, run: Pfns) -> bool:
        there: Mask = self.file.pte[run] > 0
        present = run[there]
        self.pages.compare_frames(self.world.machine.contents, present, self.file.pte[present] - 1)
        missing = [index for index in run[~there].tolist() if not self._from_zcache(index)]
        return self._read_disk(np.array(missing, dtype=np.int64))

    def _from_zcache(self, index: int) -> bool:
        page = self.zcache.get(CleanKey(self._fs, 0, index))
        if page is None:
            return False
        self.pages.compare(index, page)
        pfns = self._alloc(1)
        if len(pfns):
            self.world.machine.contents.write(int(pfns[0]), page)
            self._add(np.array([index]), pfns)
        return True

    def _read_disk(self, indexes: Pfns) -> bool:
        """Bring pages in, as many as there is memory for; whether that was all."""
        nr_wanted, pfns = len(indexes), self._alloc(len(indexes))
        indexes = indexes[: len(pfns)]
        for at in range(0, len(pfns), 64):
            some = slice(at, at + 64)
            pages = self.world.corpus.pages(self.pages.serials[indexes[some]])
            self.world.machine.contents.write_many(pfns[some], pages)
        self._add(indexes, pfns)
        return len(pfns) == nr_wanted

    def _alloc(self, count: int) -> Pfns:
        """Pages for the cache; the first refusal ends it."""
        found: list[int] = []
        gfp = Gfp.HIGHUSER_MOVABLE | Gfp.NORETRY | Gfp.NOWARN
        while len(found) < count and (pfn := self.world.machine.alloc_page(gfp)) >= 0:
            found.append(pfn)
        return np.array(found, dtype=np.int64)

    def _add(self, indexes: Pfns, pfns: Pfns) -> None:
        machine = self.world.machine
        machine.frames.flags[pfns] |= np.uint64(_UPTODATE)
        machine.rmap.map_many(self.file, indexes, pfns)  # takes over the allocation's reference
        machine.lru.add_many(pfns)

    def _drop_surplus(self, first: int) -> None:
        """Make room for a run: offer pages to zcache and let go of them."""
        cached = self.file.present()
        if len(cached) <= self._most_nr_pages - _RUN_NR_PAGES:
            return
        at = int(np.searchsorted(cached, first)) % len(cached)
        self._drop(cached[at : at + _RUN_NR_PAGES])

    def _drop(self, indexes: Pfns) -> None:
        machine = self.world.machine
        for index in indexes.tolist():
            page = machine.contents.read(self.file.pte.item(index) - 1)
            self.zcache.put(CleanKey(self._fs, 0, index), page)
        zap_page_range(machine.paging, self.file, indexes)

    def _rewrite(self, index: int, serial: int) -> bool:
        """Write through: the disk and, if it is there, the cached page; zcache forgets it."""
        self.zcache.invalidate_page(CleanKey(self._fs, 0, index))
        self.pages.store(index, serial)
        pte = self.file.pte.item(index)
        if pte > 0:
            self.world.machine.contents.write(pte - 1, self.pages.page(serial))
        return True

    def read_back(self) -> None:
        """Every cached page, and every page in zcache; the rest is on disk."""
        cached = self.file.present()
        self.pages.compare_frames(self.world.machine.contents, cached, self.file.pte[cached] - 1)
        for key, page in self.zcache.read_back().items():
            self.pages.compare(key.index, page)

    def holdings(self) -> Iterator[Holding]:
        """The pages of zcache's pool."""
        yield pool_holding(self.world, self.zcache.zbud)

    def let_go(self) -> None:
        """The file is deleted and its file system unmounted."""
        zap_page_range(self.world.machine.paging, self.file, self.file.present())
        self.world.machine.rmap.destroy(self.file)
        self.zcache.invalidate_pool(self._fs)

    def check(self) -> None:
        """The cache and its pool."""
        self.zcache.check()
