"""zswap is the same under any pool: what one keeps, all keep, and nobody's bytes change.

Three machines get the same calls, one per kind of pool; only where a pool is full or too
small may they differ, and then by refusing, never by another answer.
"""

import functools

import hypothesis.strategies as st
import numpy as np
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mm.state.errno import Errno
from owners.compress import compressor
from owners.zpool import ZPOOLS
from owners.zswap.zswap import Zswap
from pinpage.migrate import move_many
from pinpage.owner import Mode, Reason
from tests.kit.mm.machines import small_machine
from tests.kit.owners.pool_world import Spare

PAGE = 4096
OFFSETS = st.integers(0, 11)
TYPES = st.sampled_from((0, 1))


@functools.cache
def page(number):
    """About 100 to 3900 bytes of noise; every seventh page does not compress at all."""
    nr_noisy = PAGE if number % 7 == 6 else 100 + 640 * (number % 7)
    return np.random.default_rng(number).bytes(nr_noisy) + bytes(PAGE - nr_noisy)


class Disk:
    """The swap core as a dict: what was written back."""

    def __init__(self):
        self.pages = {}
        self.in_cache = None

    def get_cache_page(self, entry):
        # The page that is being swapped out is in the swap cache: no writing back of older copies.
        return Errno.EEXIST if entry == self.in_cache else 1

    def write_page(self, entry, pfn, data):
        self.pages[entry] = data

    def drop_cache_page(self, entry, pfn):
        raise AssertionError("nothing runs in between")


class World:
    """One machine with a zswap on one kind of pool."""

    def __init__(self, zpool, name, max_pool_percent):
        self.machine = small_machine(4, arena=True)
        self.registry = self.machine.use_registry()
        self.disk = Disk()
        self.zswap = Zswap(
            self.machine, compressor(name), host=self.disk, registry=self.registry,
            zpool=zpool, max_pool_percent=max_pool_percent,
        )  # fmt: skip
        self.pools = [self.zswap.init(0), self.zswap.init(1)]

    def store(self, where, data):
        """Keep a page, in the pool or on disk, as swap does; whether the pool has it."""
        entry = where[0] << 40 | where[1]
        self.disk.pages.pop(entry, None)
        self.disk.in_cache = entry
        is_kept = self.zswap.store(*where, data)
        self.disk.in_cache = None
        if is_kept:
            return True
        self.zswap.invalidate_page(*where)  # no stale copy may be loaded
        self.disk.pages[entry] = data
        return False

    def find(self, where):
        found = self.zswap.load(*where)
        on_disk = self.disk.pages.get(where[0] << 40 | where[1])
        assert found is None or on_disk is None, "two copies"
        return on_disk if found is None else found

    def move(self, nth):
        """Move every page of the pools from the nth on; what the moves said."""
        frames = np.arange(self.machine.frames.nr_frames)
        mine = frames[np.logical_or.reduce([pool.holds(frames) for pool in self.pools])][nth:]
        report = move_many(self.registry, self.machine.mover, mine, Spare(self.machine), Mode.SYNC)
        return {Reason(int(reason)) for reason in report.reasons}


class ZswapOnAnyPool(RuleBasedStateMachine):
    """Contents after any calls and any moves are those of a dict, under every pool."""

    @initialize(name=st.sampled_from(("zlib", "lz4")), percent=st.sampled_from((20, 100)))
    def build(self, name, percent):
        self.worlds = {zpool: World(zpool, name, percent) for zpool in ZPOOLS}
        self.model = {}

    @rule(where=st.tuples(TYPES, OFFSETS), number=st.integers(0, 40))
    def store(self, where, number):
        for world in self.worlds.values():
            world.store(where, page(number))
        self.model[where] = number

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def invalidate(self, data):
        where = data.draw(st.sampled_from(sorted(self.model)))
        del self.model[where]
        for world in self.worlds.values():
            world.zswap.invalidate_page(*where)
            world.disk.pages.pop(where[0] << 40 | where[1], None)

    @rule(swap_type=TYPES)
    def invalidate_area(self, swap_type):
        self.model = {w: n for w, n in self.model.items() if w[0] != swap_type}
        for world in self.worlds.values():
            world.zswap.invalidate_area(swap_type)
            kept = {e: d for e, d in world.disk.pages.items() if e >> 40 != swap_type}
            world.disk.pages = kept
            assert world.pools[swap_type].pages_nr == 0

    @rule(nth=st.integers(0, 4))
    def move(self, nth):
        for zpool, world in self.worlds.items():
            refusals = {Reason.OWNER_BUSY} if zpool == "z3fold" else set()
            assert world.move(nth) <= {Reason.MOVED, Reason.NO_TARGET} | refusals

    @rule(swap_type=TYPES)
    def write_back(self, swap_type):
        for zpool, world in self.worlds.items():
            before = world.zswap.counters.written_back_pages
            errno = world.pools[swap_type].reclaim_lru_page(8)
            evicts = zpool != "zsmalloc" and world.pools[swap_type].pages_nr + (errno == 0) > 0
            assert (errno == Errno.OK) == evicts
            assert (world.zswap.counters.written_back_pages > before) == evicts

    @invariant()
    def same_contents_under_every_pool(self):
        for zpool, world in self.worlds.items():
            for where, number in self.model.items():
                assert world.find(where) == page(number), zpool

    @invariant()
    def read_back_is_what_load_sees(self):
        for world in self.worlds.values():
            world.zswap.check()
            world.machine.check()
            read = {(t, offset): blob for t, offset, blob in world.zswap.read_back()}
            assert len(read) == world.zswap.counters.stored_pages
            for where, blob in read.items():
                assert world.zswap.compressor.decompress(blob) == page(self.model[where])

    @invariant()
    def pages_are_accounted_for(self):
        for world in self.worlds.values():
            assert len(world.registry) == sum(pool.pages_nr for pool in world.pools)


TestZswapOnAnyPool = ZswapOnAnyPool.TestCase
TestZswapOnAnyPool.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
