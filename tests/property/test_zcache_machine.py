"""zcache against a dict that may forget: a get answers the last put, or nothing.

Whatever is dropped, moved or invalidated in between, an older page than the last one put, or
one that was invalidated, never comes back.
"""

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from owners.zcache import CleanKey
from pinpage.migrate import move_many
from pinpage.move.release import release_many
from pinpage.owner import Mode, Reason
from tests.kit.owners.pool_world import Spare
from tests.kit.owners.zcache_world import ZcacheWorld, page

KEYS = st.builds(CleanKey, st.sampled_from((0, 1)), st.integers(1, 2), st.integers(0, 4))


class ZcacheAgainstDict(RuleBasedStateMachine):
    """The model holds what may come back; the cache holds a part of it."""

    @initialize(limit=st.sampled_from((2, 5, 20)), coverage=st.sampled_from(("unuse", "migrate")))
    def build(self, limit, coverage):
        self.world = ZcacheWorld(max_nr_pages=limit, coverage=coverage)
        self.cache = self.world.cache
        self.coverage = coverage
        self.model = {}
        self.hogs = []

    @rule(key=KEYS, number=st.integers(0, 9))
    def put(self, key, number):
        kept = self.cache.put(key, page(number, 3900 if number == 9 else 400 * number))
        self.model[key] = page(number, 3900 if number == 9 else 400 * number)
        if not kept:
            del self.model[key]
            assert key not in self.cache.read_back()

    @rule(key=KEYS)
    def get(self, key):
        was_there = key in self.cache.read_back()
        found = self.cache.get(key)
        assert (found is not None) == was_there
        assert found is None or found == self.model[key]
        if key.pool == self.world.pool:
            assert key not in self.cache.read_back()

    @rule(key=KEYS, what=st.sampled_from(("page", "inode")))
    def invalidate(self, key, what):
        if what == "page":
            self.cache.invalidate_page(key)
            self.model.pop(key, None)
        else:
            self.cache.invalidate_inode(key.pool, key.inode)
            for gone in [k for k in self.model if (k.pool, k.inode) == (key.pool, key.inode)]:
                del self.model[gone]

    @rule(nr_pages=st.integers(0, 3))
    def shrink(self, nr_pages):
        before = self.cache.zbud.pages_nr
        assert self.cache.shrink(nr_pages) == min(nr_pages, before)

    @rule(nth=st.integers(0, 3))
    def vm_wants_frames(self, nth):
        """Under `unuse` every frame asked for is free at once; under `migrate` none is lost."""
        pfns, before = self.world.pfns[nth:], self.cache.read_back()
        mover = self.world.machine.mover
        if self.coverage == "unuse":
            reasons = release_many(self.world.registry, mover, pfns, Mode.SYNC)
            assert {Reason(int(reason)) for reason in reasons} <= {Reason.RELEASED}
            assert len(self.world.pfns) == min(nth, len(self.world.pfns))
            return
        targets = Spare(self.world.machine)
        report = move_many(self.world.registry, mover, pfns, targets, Mode.SYNC)
        assert {Reason(int(r)) for r in report.reasons} <= {Reason.MOVED, Reason.NO_TARGET}
        assert self.cache.read_back() == before

    @rule(count=st.integers(1, 20))
    def others_take_memory(self, count):
        pfns = [self.world.machine.alloc_page(0) for _ in range(count)]
        self.hogs += [pfn for pfn in pfns if pfn >= 0]

    @precondition(lambda self: self.hogs)
    @rule()
    def others_give_memory_back(self):
        while self.hogs:
            self.world.machine.free_page(self.hogs.pop())

    @invariant()
    def nothing_stale_is_there(self):
        self.cache.check()
        self.world.machine.check()
        for key, found in self.cache.read_back().items():
            assert found == self.model[key]
        assert len(self.world.registry) == self.cache.zbud.pages_nr


TestZcache = ZcacheAgainstDict.TestCase
TestZcache.settings = settings(max_examples=50, stateful_step_count=25, deadline=None)
