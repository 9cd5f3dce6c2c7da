"""Batch operations of the buddy allocator against loops of single ones."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from mm.buddy.buddy import Buddy
from mm.state.frames import Frames, FrameState, PageFlag
from mm.state.gfp import AllocFlags
from mm.state.nodes import Zone
from mm.state.pageblock import MigrateType, Pageblocks
from pinpage.units import Span

SEEDS = st.integers(0, 2**32 - 1)
REQUESTS = st.sampled_from([MigrateType.UNMOVABLE, MigrateType.MOVABLE, MigrateType.RECLAIMABLE])
SIZES = st.sampled_from([8, 512])
SHARES = st.sampled_from([0.02, 0.3, 0.7, 1.0])
FLAGS = st.sampled_from([AllocFlags.CMA, AllocFlags.NONE, AllocFlags.NOFRAGMENT])


def world(seed, size, share, types=None):
    """Six pageblocks of random types, free frames at random, half of the used ones on the LRU."""
    rng = np.random.default_rng(seed)
    nr_frames = 6 * size - size // 4
    frames, pageblocks = Frames(nr_frames), Pageblocks(nr_frames, size)
    free = rng.random(nr_frames) < share * rng.random(6).repeat(size)[:nr_frames] * 1.5
    frames.state[:] = np.where(free, FrameState.FREE, FrameState.USED)
    frames.refcount[~free] = 1
    frames.set_flag(np.flatnonzero(~free & (rng.random(nr_frames) < 0.5)), PageFlag.LRU)
    drawn = rng.choice([0, 1, 1, 1, 2, 3, 4, 4, 5], 6)
    pageblocks.migratetype[:] = drawn if types is None else types
    buddy = Buddy(frames, pageblocks, [Zone(0, "Normal", 0, Span(0, nr_frames))])
    buddy.build()
    return buddy


def same(first, second):
    assert (first.frames.order == second.frames.order).all()
    assert (first.frames.state == second.frames.state).all()
    assert (first.pageblocks.migratetype == second.pageblocks.migratetype).all()
    first.check()


@given(SEEDS, SIZES, SHARES, REQUESTS, FLAGS, st.integers(0, 700))
@example(3444, 8, 1.0, MigrateType.MOVABLE, AllocFlags.NONE, 20)  # a block over two types
def test_alloc_many_is_that_many_allocations(seed, size, share, migratetype, flags, count):
    compare_allocations(
        world(seed, size, share), world(seed, size, share), migratetype, flags, count
    )


@given(SEEDS, st.sampled_from([4, 1]), st.integers(0, 40))
def test_alloc_many_changes_sides_between_cma_and_movable_as_single_calls_do(seed, other, count):
    """Where the balance tips, small world."""
    batch, single = (world(seed, 8, 0.7, types=[1, 4, 1, 4, other, 1]) for _ in range(2))
    compare_allocations(batch, single, MigrateType.MOVABLE, AllocFlags.CMA, count)


def compare_allocations(batch, single, migratetype, flags, count):
    pfns = batch.alloc_many(count, migratetype, alloc_flags=flags).tolist()
    expected = []
    while len(expected) < count:
        pfn = single.alloc(0, migratetype, alloc_flags=flags)
        if pfn < 0:
            break
        expected.append(pfn)
    assert pfns == expected
    same(batch, single)


@given(SEEDS, SIZES, SHARES, st.floats(0, 1))
def test_free_many_is_that_many_frees(seed, size, share, freed):
    batch, single = world(seed, size, share), world(seed, size, share)
    rng = np.random.default_rng(seed + 1)
    pfns = rng.permutation(np.flatnonzero(batch.frames.state == FrameState.USED))
    pfns = pfns[: int(len(pfns) * freed)]
    batch.free_many(pfns)
    for pfn in pfns.tolist():
        single.free(pfn)
    same(batch, single)
    assert (batch.nr_free_by_order() == single.nr_free_by_order()).all()


@given(SEEDS, SIZES, SHARES, st.floats(0, 1))
def test_take_and_put_back_is_nothing(seed, size, share, taken):
    buddy = world(seed, size, share)
    before = buddy.frames.order.copy(), buddy.nr_free_by_order()
    rng = np.random.default_rng(seed + 1)
    pfns = rng.permutation(np.flatnonzero(buddy.frames.state == FrameState.FREE))
    pfns = pfns[: int(len(pfns) * taken)]
    buddy.take(pfns)
    buddy.check()
    assert (buddy.frames.refcount[pfns] == 1).all()
    buddy.put_taken(pfns)
    buddy.check()
    assert (buddy.frames.order == before[0]).all()
    assert (buddy.nr_free_by_order() == before[1]).all()
