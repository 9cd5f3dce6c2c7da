"""The buddy allocator against a bitmap, under every operation it has.

The model knows one thing: which frames are free.  Everything that the allocator keeps (blocks,
lists, counts) must follow from that and from the types of the pageblocks, which is what
`Buddy.check` recomputes; the model adds conservation: no frame appears or gets lost.
"""

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from mm.buddy.buddy import Buddy
from mm.state.frames import Frames, FrameState
from mm.state.gfp import AllocFlags
from mm.state.nodes import Zone, place_frames
from mm.state.pageblock import MigrateType, Pageblocks
from pinpage.errors import PinpageError
from pinpage.units import Span

TYPES = st.sampled_from(list(MigrateType))
REQUESTS = st.sampled_from([MigrateType.UNMOVABLE, MigrateType.MOVABLE, MigrateType.RECLAIMABLE])
SEEDS = st.integers(0, 2**32 - 1)


class BuddyMachine(RuleBasedStateMachine):
    """Two zones, an odd number of pageblocks, the last one partial."""

    nr_pages_per_block = 8
    nr_blocks = 7
    max_order = None

    @initialize(seed=SEEDS, used=st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    def build(self, seed, used):
        size = self.nr_pages_per_block
        nr_frames = size * self.nr_blocks - size // 2
        border = size * 3
        self.frames = Frames(nr_frames)
        zones = [
            Zone(0, "DMA32", 0, Span(0, border)),
            Zone(1, "Normal", 0, Span(border, nr_frames)),
        ]
        place_frames(self.frames, zones)
        self.rng = np.random.default_rng(seed)
        is_used = self.rng.random(nr_frames) < used
        self.frames.state[:] = np.where(is_used, FrameState.USED, FrameState.FREE)
        self.frames.refcount[is_used] = 1
        self.buddy = Buddy(self.frames, Pageblocks(nr_frames, size, self.max_order), zones)
        self.buddy.build()
        self.free = ~is_used
        self.taken = np.zeros(nr_frames, dtype=bool)

    def some(self, mask, share):
        pfns = np.flatnonzero(mask)
        return self.rng.permutation(pfns)[: int(np.ceil(len(pfns) * share))]

    def claim(self, pfns):
        assert self.free[pfns].all(), "handed out a frame that was not free"
        self.free[pfns] = False

    def types(self, pfns):
        return self.buddy.pageblocks.types_of(pfns)

    @rule(order=st.integers(0, 4), mt=REQUESTS, zone=st.integers(0, 1), nofragment=st.booleans())
    def alloc(self, order, mt, zone, nofragment):
        flags = AllocFlags.NOFRAGMENT if nofragment else AllocFlags.CMA
        forbidden = [MigrateType.ISOLATE, MigrateType.HIGHATOMIC]
        if nofragment or mt != MigrateType.MOVABLE:
            forbidden.append(MigrateType.CMA)
        pfn = self.buddy.alloc(order, mt, zone=zone, alloc_flags=flags)
        if pfn < 0:
            return
        pfns = np.arange(pfn, pfn + (1 << order))
        assert pfn % (1 << order) == 0
        assert (self.frames.zone[pfns] == zone).all()
        assert not np.isin(self.types(pfns), forbidden).any()
        assert (self.frames.refcount[pfns] == 1).all()
        self.claim(pfns)

    @rule(count=st.integers(0, 60), mt=REQUESTS, zone=st.integers(0, 1))
    def alloc_many(self, count, mt, zone):
        usable = ~np.isin(self.types(np.arange(len(self.free))), [5, 3] + [4] * (mt != 1))
        nr_usable = int((self.free & usable & (self.frames.zone == zone)).sum())
        pfns = self.buddy.alloc_many(count, mt, zone=zone)
        assert len(pfns) == min(count, nr_usable)
        assert usable[pfns].all()
        self.claim(pfns)

    @precondition(lambda self: not self.free.all())
    @rule(data=st.data(), order=st.integers(1, 4))
    def free_block(self, data, order):
        size = 1 << order
        starts = range(0, len(self.free) - size + 1, size)
        whole = [pfn for pfn in starts if not self.free[pfn : pfn + size].any()]
        if not whole:
            return
        pfn = data.draw(st.sampled_from(whole))
        self.buddy.free(pfn, order)
        self.free[pfn : pfn + size], self.taken[pfn : pfn + size] = True, False

    @rule(share=st.floats(0, 1))
    def free_many(self, share):
        pfns = self.some(~self.free, share)
        self.buddy.free_many(pfns)
        self.free[pfns] = True
        self.taken[pfns] = False

    @precondition(lambda self: not self.free.all())
    @rule(data=st.data())
    def free_one(self, data):
        pfn = data.draw(st.sampled_from(np.flatnonzero(~self.free).tolist()))
        self.buddy.free(pfn)
        self.free[pfn], self.taken[pfn] = True, False

    @rule(data=st.data(), limit=st.none() | st.integers(0, 12))
    def take_free_in(self, data, limit):
        block = data.draw(st.integers(0, self.nr_blocks - 1))
        span = self.buddy.pageblocks.span(block)
        expected = np.flatnonzero(self.free[span.start : span.stop]) + span.start
        pfns = self.buddy.take_free_in(block, limit=limit)
        assert pfns.tolist() == expected[:limit].tolist()
        self.claim(pfns)
        self.taken[pfns] = True

    @rule(share=st.floats(0, 1))
    def take(self, share):
        pfns = self.some(self.free, share)
        self.buddy.take(pfns)
        self.claim(pfns)
        self.taken[pfns] = True

    @rule(share=st.floats(0, 1), use=st.booleans())
    def end_taken(self, share, use):
        pfns = self.some(self.taken, share)
        if use:
            self.buddy.taken_to_used(pfns)
        else:
            self.buddy.put_taken(pfns)
            self.free[pfns] = True
        self.taken[pfns] = False

    @rule(data=st.data())
    def claim_block(self, data):
        block = data.draw(st.integers(0, self.nr_blocks - 1))
        span = self.buddy.pageblocks.span(block)
        isolated = self.buddy.pageblocks.migratetype[block] == MigrateType.ISOLATE
        whole = self.free[span.start : span.stop].all() and span.nr_pages == self.nr_pages_per_block
        pfn = self.buddy.claim_block(block)
        assert pfn == (span.start if whole and not isolated else -1)
        if pfn >= 0:
            self.claim(np.arange(span.start, span.stop))

    @rule(data=st.data(), mt=TYPES)
    def set_migratetype(self, data, mt):
        block = data.draw(st.integers(0, self.nr_blocks - 1))
        self.buddy.set_migratetype(block, mt)
        assert self.buddy.pageblocks.migratetype[block] == mt

    @precondition(lambda self: self.free.any())
    @rule(data=st.data())
    def double_free(self, data):
        pfn = data.draw(st.sampled_from(np.flatnonzero(self.free).tolist()))
        with pytest.raises(PinpageError, match="FREE"):
            self.buddy.free(pfn)
        others = self.some(~self.free, 1.0)
        with pytest.raises(PinpageError, match=f"{pfn:#x} is FREE"):
            self.buddy.free_many(np.append(others, pfn))

    @invariant()
    def same_frames(self):
        assert ((self.frames.state == FrameState.FREE) == self.free).all()
        assert ((self.frames.state == FrameState.TAKEN) == self.taken).all()
        isolated = self.buddy.pageblocks.types_of(np.arange(len(self.free))) == MigrateType.ISOLATE
        assert self.buddy.nr_free() == int((self.free & ~isolated).sum())
        assert (self.frames.refcount[~self.free] == 1).all()

    @invariant()
    def check(self):
        self.buddy.check()
        self.frames.check()


class LargeBuddyMachine(BuddyMachine):
    """Real pageblocks, so that the batch paths are the ones taken."""

    nr_pages_per_block = 512
    nr_blocks = 5


class ManyToABlockMachine(BuddyMachine):
    """Free blocks of up to sixteen pageblocks, as where MAX_ORDER is far above the pageblock's."""

    nr_pages_per_block = 2
    nr_blocks = 37
    max_order = 5


class NoLargerThanAPageblockMachine(BuddyMachine):
    """The largest free block is a pageblock, as with arm64's larger pages."""

    nr_pages_per_block = 16
    nr_blocks = 5
    max_order = 4


TestSmallPageblocks = BuddyMachine.TestCase
TestSmallPageblocks.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestManyPageblocksToABlock = ManyToABlockMachine.TestCase
TestManyPageblocksToABlock.settings = settings(
    max_examples=25, stateful_step_count=20, deadline=None
)
TestNoLargerThanAPageblock = NoLargerThanAPageblockMachine.TestCase
TestNoLargerThanAPageblock.settings = settings(
    max_examples=10, stateful_step_count=20, deadline=None
)
TestRealPageblocks = LargeBuddyMachine.TestCase
TestRealPageblocks.settings = settings(max_examples=10, stateful_step_count=20, deadline=None)
