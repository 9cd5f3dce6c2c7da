"""Pools of compressed pages: R-3 to R-6, R-10, R-12, R-35.

Reclaim calls back without the pool's lock; the callback is where others come in.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from mm.state.errno import Errno
from owners.pool.objects import BuddyPool
from owners.pool.pages import PoolPages
from owners.slab.cache import Slabs
from owners.zbud.pool import ZbudOps, ZbudPool
from owners.zsmalloc.pool import ZsPool
from pinlab.races.broken import Broken
from pinlab.races.machines import Small
from pinlab.races.race import Race
from pinpage.errors import require
from pinpage.owner import Mode, Reason, Verdict
from pinpage.testing.explore import Actor, Scenario
from pinpage.testing.stepping import in_steps, stop_here

__all__ = [
    "NEVER_HAD_IT",
    "OBJECT_NR_BYTES",
    "RACES",
    "STRADDLING_NR_BYTES",
    "SUCCESS",
    "ZbudBench",
    "allocation_into_a_page_under_reclaim",
    "cache_taken_down",
    "freed_while_reclaimed",
    "mapped_while_it_moves",
    "slot_used_again",
    "two_reclaimers",
    "zspage_compacted_while_it_moves",
]

SUCCESS = {Reason.MOVED, Reason.FREED}
NEVER_HAD_IT = {Reason.RACED_FREE, Reason.NO_OWNER}
OBJECT_NR_BYTES = 1000
STRADDLING_NR_BYTES = 2400
"""Of an object of zsmalloc: three pages hold five of them."""


class ZbudBench(Small):
    """A zbud pool whose reclaim evicts by freeing, as zswap's does after it has written.

    Attributes:
        pool: that leaves pages under reclaim alone.
        objects: handle -> what its user wrote; an object that was evicted is gone from it.
    """

    def __init__(self, nr_objects: int) -> None:
        """So many objects, two to a page."""
        super().__init__()
        self.pool = ZbudPool(
            self.machine, registry=self.registry, exclusive=True, ops=ZbudOps(evict=self.evict)
        )
        self.objects: dict[int, bytes] = {}
        self.evicting: set[int] = set()
        for number in range(nr_objects):
            self.new(number)

    def new(self, number: int) -> int:
        """An object with bytes of its own; its handle."""
        handle = self.pool.alloc(OBJECT_NR_BYTES)
        require(handle > 0, "no object")
        self.objects[handle] = bytes([number + 1]) * OBJECT_NR_BYTES
        require(self.pool.write(handle, self.objects[handle]) == 0, "it cannot be written")
        return handle

    def free(self, handle: int) -> None:
        """Its user frees it, if it is there still."""
        if self.objects.pop(handle, None) is not None:
            self.pool.free(handle)

    def evict(self, pool: ZbudPool, handle: int) -> int:
        """What the pool calls: writes the object to the disk, then frees it."""
        require(handle in self.objects, "called about an object that is gone")
        require(handle not in self.evicting, "an object is evicted twice at once")
        found = pool.read(handle, OBJECT_NR_BYTES)
        require(found == self.objects[handle], "the wrong object was evicted")
        self.evicting.add(handle)
        stop_here("writes an object to the disk")
        self.evicting.discard(handle)
        self.free(handle)
        return 0

    def at_rest(self) -> None:
        """Every object is whole, and nothing is lost between pool and machine."""
        self.pool.check()
        self.check()
        for handle, data in self.objects.items():
            require(self.pool.read(handle, len(data)) == data, "an object lost its data")
        nr_used = self.machine.frames.nr_frames - self.nr_free
        require(nr_used == self.pool.pages_nr, "a page leaked")


def freed_while_reclaimed() -> Scenario:
    """R-3: reclaim has noted the objects of a page; their user frees both."""
    bench = ZbudBench(2)

    def reclaimer() -> Actor:
        if bench.pool.pages.pfn[0] < 0:
            return  # the page went before anybody wanted it
        for _ in bench.pool.reclaim_steps(0, bench.evict):
            yield "has the lock no more"

    def user() -> Actor:
        for handle in list(bench.objects):
            bench.free(handle)
            yield "frees an object"

    return Scenario({"reclaim": reclaimer(), "user": user()}, finish=bench.at_rest)


def slot_used_again() -> Scenario:
    """R-4: the second object is freed and another one takes its slot."""
    bench = ZbudBench(2)
    second = list(bench.objects)[1]

    def reclaimer() -> Actor:
        for _ in bench.pool.reclaim_steps(0, bench.evict):
            yield "has the lock no more"

    def user() -> Actor:
        bench.free(second)
        yield "frees the second object"
        bench.pool.exclusive = False  # as of 2013: a page under reclaim takes objects
        bench.new(9)
        bench.pool.exclusive = True
        yield "makes another in its place"

    return Scenario({"reclaim": reclaimer(), "user": user()}, finish=bench.at_rest)


def two_reclaimers() -> Scenario:
    """R-5: both want the oldest page."""
    bench = ZbudBench(2)
    answers: list[Errno] = []

    def reclaiming() -> None:
        answers.append(bench.pool.reclaim_lru_page(2))

    def finish() -> None:
        bench.at_rest()
        require(answers.count(Errno.OK) == 1, "one page was freed by two, or by nobody")

    return Scenario({"one": in_steps(reclaiming), "two": in_steps(reclaiming)}, finish=finish)


def allocation_into_a_page_under_reclaim() -> Scenario:
    """R-6: a page of one object has room while it is being emptied."""
    bench = ZbudBench(1)
    answers: list[Errno] = []

    def reclaiming() -> None:
        answers.append(bench.pool.reclaim_lru_page(1))

    def allocating() -> Actor:
        bench.new(9)
        yield "makes an object"

    def finish() -> None:
        bench.at_rest()
        require(answers == [Errno.OK], "reclaim of a page did not come to its end")

    return Scenario({"reclaim": in_steps(reclaiming), "user": allocating()}, finish=finish)


def cache_taken_down() -> Scenario:
    """R-10: a slab cache is emptied and destroyed under its mover."""
    bench = Small()
    slabs = Slabs(bench.machine, registry=bench.registry)
    is_gone = False

    class Holder:
        """Of the one object."""

        def isolate(self, objects: Sequence[int], mode: Mode) -> Verdict:
            require(not is_gone, "a cache that is gone is asked")
            return Verdict.YES

        def migrate(self, moved: Mapping[int, int]) -> None:
            require(not is_gone, "a cache that is gone is told")
            held[:] = [moved.get(address, address) for address in held]

        def putback(self, objects: Sequence[int]) -> None:
            require(not is_gone, "a cache that is gone is told")

    cache = slabs.create("things", 512, ops=Holder())
    held = [cache.alloc()]
    mover = bench.mover(*np.flatnonzero(bench.registry.pinned_mask(0, 16)).tolist())

    def user() -> Actor:
        nonlocal is_gone
        cache.free(held.pop())
        yield "frees the last object"
        slabs.destroy(cache)
        is_gone = True
        yield "takes the cache down"

    def finish() -> None:
        bench.check()
        require(not bench.registry.owners, "a cache that is gone is an owner still")
        require(len(bench.registry) == 0, "a pin outlived its cache")
        require(bench.nr_free == 16, "a page leaked")
        require(set(bench.reasons["mover"]) <= SUCCESS | NEVER_HAD_IT, "a success was a failure")

    return Scenario({"mover": mover, "user": user()}, finish=finish)


def mapped_while_it_moves() -> Scenario:
    """R-12: a user maps an object for a moment; with nobody there the page has to move."""
    bench = ZbudBench(1)
    (handle,) = bench.objects
    mover = bench.mover(*bench.pool.pages.pfn[bench.pool.pages.in_use()].tolist())

    def user() -> Actor:
        opened = bench.pool.map(handle)
        yield "maps" if not isinstance(opened, Errno) else "is told Again"
        if not isinstance(opened, Errno):
            bench.pool.unmap(handle)
            yield "unmaps"

    def finish() -> None:
        bench.at_rest()
        (pfn,) = bench.pool.pages.pfn[bench.pool.pages.in_use()].tolist()
        require(bench.move(pfn) == [Reason.MOVED], "nobody is there, and it does not move")
        bench.at_rest()

    return Scenario({"mover": mover, "user": user()}, finish=finish)


def zspage_compacted_while_it_moves() -> Scenario:
    """R-35: the user compacts the pool while the pages of two chains move."""
    bench = Small()
    pool = ZsPool(bench.machine, registry=bench.registry)
    objects: dict[int, bytes] = {}

    def new(number: int) -> None:
        handle, data = pool.alloc(STRADDLING_NR_BYTES), bytes([number + 1]) * STRADDLING_NR_BYTES
        if handle > 0 and pool.write(handle, data) is Errno.OK:
            objects[handle] = data
        elif handle > 0:
            pool.free(handle)

    for number in range(6):
        new(number)
    for handle in list(objects)[1:5]:
        pool.free(handle)
        del objects[handle]
    pages = np.flatnonzero(bench.registry.pinned_mask(0, 16))
    mover = bench.mover(*pages.tolist())

    def user() -> Actor:
        pool.compact()
        yield "compacts"

    def finish() -> None:
        pool.check()
        bench.check()
        for handle, data in objects.items():
            require(pool.read(handle, len(data)) == data, "an object lost its data")
        require(bench.nr_free == 16 - pool.pages_nr, "a page leaked")

    return Scenario({"mover": mover, "user": user()}, finish=finish)


RACES = (
    Race(
        number=3,
        title="freed while it is reclaimed",
        actors={"reclaim": "calls back about each object of a page", "user": "frees them"},
        rule="C",
        make=freed_while_reclaimed,
        broken=Broken(
            "reclaim holds no reference of the page over its callbacks",
            ZbudPool._hold,
            "        self.source.get_page(pages.pfn.item(page_id))\n",
            "",
        ),
    ),
    Race(
        number=4,
        title="a handle that was used again",
        actors={
            "reclaim": "calls back about each object of a page",
            "user": "frees one of them and makes another in its place",
        },
        rule="D",
        make=slot_used_again,
        broken=Broken(
            "that there is an object is taken for that it is the same",
            ZbudPool._is_same_object,
            "pages.generation.item(page_id, slot) == generation",
            "generation > 0",
        ),
    ),
    Race(
        number=5,
        title="two who reclaim the same page",
        actors={"one": "reclaims a page", "two": "reclaims a page"},
        rule="E",
        make=two_reclaimers,
        broken=Broken(
            "a page under reclaim is chosen again",
            BuddyPool._is_open,
            "self.exclusive and self._pages.nr_reclaims.item(page_id)",
            "False",
        ),
    ),
    Race(
        number=6,
        title="an allocation into a page under reclaim",
        actors={"reclaim": "empties a page", "user": "makes an object"},
        rule="E",
        make=allocation_into_a_page_under_reclaim,
        broken=Broken(
            "allocations take a page that is being emptied",
            BuddyPool._is_open,
            "self.exclusive and self._pages.nr_reclaims.item(page_id)",
            "False",
        ),
    ),
    Race(
        number=10,
        title="a pool or a cache that is taken down",
        actors={"mover": "moves a page of the cache", "user": "empties it and takes it down"},
        rule="H",
        make=cache_taken_down,
        broken=Broken(
            "the cache goes without unregistering",
            Slabs.destroy,
            "self._registry.unregister(cache)",
            "pass",
        ),
    ),
    Race(
        number=12,
        title="a lock that is already held",
        actors={"mover": "moves a page", "user": "maps an object for a moment"},
        rule="J",
        make=mapped_while_it_moves,
        broken=Broken(
            "the owner asks for what its caller holds, and says Again every time",
            PoolPages.may_move,
            "self.is_quiet(page_ids)",
            "self.nr_reclaims[page_ids] > 0",
        ),
    ),
    Race(
        number=35,
        title="a chain whose members change",
        actors={"mover": "moves the pages of two chains", "user": "compacts the pool"},
        rule="A",
        make=zspage_compacted_while_it_moves,
        max_preemptions=2,
        broken=Broken(
            "compaction walks chains whose pages are under move",
            ZsPool.is_quiet,
            "return not self.zspages.nr_maps.item(zspage) and self._in_place(zspage)",
            "return not self.zspages.nr_maps.item(zspage)",
        ),
    ),
)
