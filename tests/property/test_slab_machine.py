"""Slab pages against plain dicts: two trees and two file systems in caches whose pages move.

Whatever is stored, dropped, held, moved half way, released, shrunk or compacted: what is read
back is what the dicts say, and at rest every pointer in every object is right.
"""

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mm.state.errno import Errno
from owners.slab.cache import Slabs
from owners.slab.dentry import Dentries
from owners.slab.xarray import XArrays
from tests.kit.owners.driver_world import DriverWorld

NR_FRAMES = 48
TREES = st.integers(1, 2)
INDEXES = st.integers(0, 30).map(lambda n: n * 67) | st.sampled_from([4095, 4096, 300_000])
NAMES = st.sampled_from([f"{a}{b}" for a in "abcdefgh" for b in "01234"])


class SlabAgainstDicts(RuleBasedStateMachine):
    """At most two moves are under way; operations that meet them say Again and change nothing."""

    def __init__(self):
        super().__init__()
        self.world = DriverWorld(NR_FRAMES)
        self.slabs = Slabs(self.world.machine, registry=self.world.registry)
        self.xa = XArrays(self.slabs)
        self.dentries = Dentries(self.slabs)
        self.values = {1: {}, 2: {}}
        self.sb = self.dentries.mount()
        self.names = set()
        self.held = {}
        self.movers = []

    @rule(tree=TREES, index=INDEXES, value=st.integers(0, 1 << 61))
    def store(self, tree, index, value):
        answer = self.xa.store(tree, index, value)
        assert answer == Errno.OK or self.movers
        if answer == Errno.OK:
            self.values[tree][index] = value

    @rule(tree=TREES, start=INDEXES)
    def store_many(self, tree, start):
        for index in range(start, start + 64 * 24, 64):
            self.store(tree, index, index)

    @rule(tree=TREES, index=INDEXES)
    def erase(self, tree, index):
        answer = self.xa.erase(tree, index)
        if answer == Errno.EAGAIN:
            assert self.movers
        else:
            was_there = self.values[tree].pop(index, None) is not None
            assert answer == (Errno.OK if was_there else Errno.ENOENT)

    @rule(tree=TREES, index=INDEXES)
    def load(self, tree, index):
        answer = self.xa.load(tree, index)
        expected = self.values[tree].get(index, Errno.ENOENT)
        assert answer == expected or (answer == Errno.EAGAIN and self.movers)

    @rule(name=NAMES)
    def create(self, name):
        answer = self.dentries.create(self.sb, name)
        if answer == Errno.ENOMEM:  # the only free frame is one that a mover was asked to move
            assert self.movers
            return
        assert answer == (Errno.EEXIST if name in self.names else Errno.OK)
        self.names.add(name)

    @rule(name=NAMES)
    def unlink(self, name):
        answer = self.dentries.unlink(self.sb, name)
        if name not in self.names:
            assert answer == Errno.ENOENT
        elif name in self.held:
            assert answer == Errno.EBUSY
        elif answer != Errno.EAGAIN:
            assert answer == Errno.OK
            self.names.remove(name)

    @rule(name=NAMES)
    def get(self, name):
        if name not in self.held:
            address = self.dentries.get(self.sb, name)
            assert (address == Errno.ENOENT) == (name not in self.names)
            if address > 0:
                self.held[name] = address

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def put(self, data):
        name = data.draw(st.sampled_from(sorted(self.held)))
        address = self.held.pop(name)
        assert self.dentries.name_of(address) == name, "a held dentry moved"
        self.dentries.put(address)

    @precondition(lambda self: len(self.movers) < 2)
    @rule(data=st.data())
    def begin_move(self, data):
        pages = st.sampled_from(self.world.pinned().tolist())
        chosen = data.draw(st.lists(pages, min_size=1, max_size=5, unique=True))
        self.movers.append(self.world.steps(*chosen))

    @precondition(lambda self: self.movers)
    @rule(which=st.integers(0, 1), nr_steps=st.integers(1, 9))
    def go_on(self, which, nr_steps):
        mover = self.movers[which % len(self.movers)]
        for _ in range(nr_steps):
            if next(mover, None) is None:
                self.movers.remove(mover)
                return

    @precondition(lambda self: not self.movers)
    @rule(data=st.data())
    def release(self, data):
        page = data.draw(st.sampled_from(self.world.pinned().tolist()))
        self.world.release(page)

    @rule()
    def shrink(self):
        self.xa.cache.shrink()
        self.dentries.cache.shrink()

    @precondition(lambda self: not self.movers)
    @rule(strategy=st.sampled_from(["scan", "plan"]))
    def compact(self, strategy):
        self.world.machine.compact(strategy)

    @invariant()
    def agrees_at_rest(self):
        if not self.movers:
            for tree, values in self.values.items():
                assert dict(self.xa.items(tree)) == values
            self.xa.check()
            self.dentries.check()
            self.slabs.check()
            self.world.check()

    def teardown(self):
        while self.movers:
            self.go_on(0, 9)
        while self.held:
            self.dentries.put(self.held.popitem()[1])
        for tree, values in self.values.items():
            for index in list(values):
                assert self.xa.erase(tree, index) == Errno.OK
        self.xa.drain_reserve()
        assert self.dentries.umount(self.sb) == Errno.OK
        assert self.world.nr_free == NR_FRAMES


TestSlab = SlabAgainstDicts.TestCase
TestSlab.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
