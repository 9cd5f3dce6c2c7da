"""zswap against a dict: no page is ever lost or changed, whatever moves or leaves the pool."""

import functools

import hypothesis.strategies as st
import numpy as np
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mm.state.errno import Errno
from mm.swap.swapops import swp_offset, swp_type
from owners.compress import compressor
from owners.zbud.reclaim import ZbudReclaim
from owners.zswap.zswap import Zswap
from pinpage.owner import Mode, Reason
from pinpage.testing.world import column
from tests.kit.owners.few_frames import PAGE, FewFrames

NR_FRAMES = 9
OFFSETS = st.integers(0, 9)
TYPES = st.sampled_from((0, 1))


@functools.cache
def page(number):
    """About 300 to 3000 bytes that do not compress; every fifth page is too much noise."""
    noise = PAGE if number % 5 == 4 else 300 + 900 * (number % 4)
    return np.random.default_rng(number).bytes(noise) + bytes(PAGE - noise)


class Swap:
    """The swap core as two dicts: what is on disk, what is in ordinary memory again."""

    def __init__(self):
        self.zswap = None
        self.disk, self.ram = {}, {}
        self.no_memory = False
        self.writeok = True
        self.in_cache = None

    def get_cache_page(self, entry):
        if entry == self.in_cache:  # the page that is being swapped out is in the swap cache
            return Errno.EEXIST
        return Errno.ENOMEM if self.no_memory else 1

    def write_page(self, entry, pfn, page):
        self.disk[entry] = page

    def drop_cache_page(self, entry, pfn):
        raise AssertionError("nothing runs in between")

    def get_device(self, swap_type):
        return self.writeok

    def put_device(self, swap_type):
        pass

    def unuse(self, entry):
        if self.no_memory:
            return Errno.ENOMEM
        self.ram[entry] = self.zswap.load(swp_type(entry), swp_offset(entry))
        self.zswap.invalidate_page(swp_type(entry), swp_offset(entry))
        return Errno.OK


class ZswapAgainstDict(RuleBasedStateMachine):
    """What was swapped out is in the pool, on disk or back in memory, and it is the same."""

    @initialize(handles=st.sampled_from(("indirect", "address")))
    def build(self, handles):
        self.source, self.swap = FewFrames(NR_FRAMES), Swap()
        self.zswap = self.swap.zswap = Zswap(
            self.source, compressor("zlib"), host=self.swap, handles=handles, max_pool_percent=60
        )
        self.pools = [self.zswap.init(0), self.zswap.init(1)]
        self.model = {}  # (type, offset) -> page number
        self.nr_unused = 0

    def entry(self, where):
        return where[0] << 40 | where[1]

    def drop(self, where):
        self.swap.disk.pop(self.entry(where), None)
        self.swap.ram.pop(self.entry(where), None)

    @rule(where=st.tuples(TYPES, OFFSETS), number=st.integers(0, 40))
    def store(self, where, number):
        self.drop(where)
        self.swap.in_cache = self.entry(where)
        is_kept = self.zswap.store(*where, page(number))
        self.swap.in_cache = None
        if is_kept:
            assert number % 5 != 4
            assert self.zswap.load(*where) == page(number)
        else:  # as swap does: no stale copy may be loaded
            self.zswap.invalidate_page(*where)
            self.swap.disk[self.entry(where)] = page(number)
        self.model[where] = number

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def invalidate(self, data):
        where = data.draw(st.sampled_from(sorted(self.model)))
        self.zswap.invalidate_page(*where)
        self.drop(where)
        del self.model[where]
        assert self.zswap.load(*where) is None

    @rule(swap_type=TYPES)
    def invalidate_area(self, swap_type):
        self.zswap.invalidate_area(swap_type)
        for where in [where for where in self.model if where[0] == swap_type]:
            self.drop(where)
            del self.model[where]
        assert self.pools[swap_type].pages_nr == 0

    @rule(no_memory=st.booleans(), writeok=st.booleans())
    def weather(self, no_memory, writeok):
        self.swap.no_memory, self.swap.writeok = no_memory, writeok

    @rule(swap_type=TYPES, nth=st.integers(0, 5))
    def move(self, swap_type, nth):
        pool = self.pools[swap_type]
        ids = pool.pages.in_use()
        target = self.source.new_target()
        if nth >= len(ids) or target < 0 or not pool.handles.movable:
            if target >= 0:
                self.source.frames.state[target] = 6
                self.source.put_page(target)
            return
        pfn, private = int(pool.pages.pfn[ids[nth]]), int(pool.pages.privates(ids)[nth])
        assert self.source.move(pool.owner, pfn, private, target)
        assert pool.pages.pfn[ids[nth]] == target

    @rule(nth=st.integers(1, NR_FRAMES - 1))
    def unuse_page(self, nth):
        design = ZbudReclaim(self.source, self.pools)
        is_zbud = bool(design.claims(nth, nth + 1)[0])
        before = self.zswap.counters.unused_pages
        reason = Reason(int(design.release(column(nth), Mode.SYNC)[0]))
        attempts = self.zswap.counters.unused_pages - before
        if not is_zbud:
            assert attempts == 0
            assert reason in (Reason.NO_OWNER, Reason.RACED_FREE)
        elif not self.swap.writeok:
            assert (attempts, reason) == (0, Reason.OWNER_BUSY)
        elif self.swap.no_memory:
            assert (attempts, reason) == (1, Reason.OWNER_BUSY)
        else:
            assert attempts in (1, 2)
            assert reason is Reason.RELEASED

    @invariant()
    def nothing_is_lost(self):
        self.zswap.check()
        for where, number in self.model.items():
            found = self.zswap.load(*where)
            entry = self.entry(where)
            copies = [found, self.swap.disk.get(entry), self.swap.ram.get(entry)]
            assert [copy for copy in copies if copy is not None] == [page(number)], where

    @invariant()
    def read_back_is_what_load_sees(self):
        read = {(t, offset): blob for t, offset, blob in self.zswap.read_back()}
        assert set(read) <= set(self.model)
        assert len(read) == self.zswap.counters.stored_pages
        for where, blob in read.items():
            assert self.zswap.compressor.decompress(blob) == page(self.model[where])

    @invariant()
    def frames_are_conserved(self):
        pages_nr = sum(pool.pages_nr for pool in self.pools)
        assert self.source.nr_free + pages_nr == NR_FRAMES - 1
        assert self.zswap.counters.stored_pages <= 2 * pages_nr


TestZswap = ZswapAgainstDict.TestCase
TestZswap.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
