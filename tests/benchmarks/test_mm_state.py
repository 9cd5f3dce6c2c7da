"""What the physical state costs on large machines: the work is asserted, the time reported.

Goals, on an idle core: a whole machine of 16 Mi frames built in 2 s; the free frames of a
pageblock taken and 512 scattered frames freed in 150 us together; single pages a few us.  What
a frame takes is asserted in `tests/unit/mm/test_bytes_per_frame.py`.
"""

import itertools

import numpy as np
import pytest

from mm.buddy.buddy import Buddy
from mm.buddy.pcp import PerCpuPages
from mm.state.frames import Frames, FrameState
from mm.state.nodes import place_frames, zones_for
from mm.state.pageblock import MigrateType, Pageblocks

pytestmark = pytest.mark.benchmark

MOVABLE = MigrateType.MOVABLE
FOUR_GIB = 1 << 20


def machine(nr_frames, share=0.5):
    """An allocator, not built yet, with that share of its frames free at random."""
    rng = np.random.default_rng(1)
    frames, zones = Frames(nr_frames), zones_for(nr_frames)
    place_frames(frames, zones)
    free = rng.random(nr_frames) < share
    frames.state[:] = np.where(free, FrameState.FREE, FrameState.USED)
    frames.refcount[~free] = 1
    return Buddy(frames, Pageblocks(nr_frames), zones)


def built(nr_frames=FOUR_GIB, share=0.5):
    buddy = machine(nr_frames, share)
    buddy.build()
    return buddy


def test_build_of_64_gib(benchmark):
    buddy = machine(1 << 24)
    benchmark.pedantic(buddy.build, rounds=3)
    assert buddy.nr_free() == np.count_nonzero(buddy.frames.state == FrameState.FREE)


def test_empty_one_pageblock_into_another(benchmark):
    """Take the free frames of one pageblock; free the 512 of another, scattered or not."""
    buddy = built()
    blocks = itertools.cycle(range(buddy.pageblocks.nr_blocks))

    def use_up():
        block = next(blocks)
        buddy.taken_to_used(buddy.take_free_in(block))
        return (block, next(blocks)), {}

    def step(full, other):
        buddy.take_free_in(other)
        buddy.free_many(np.arange(full * 512, full * 512 + 512))

    benchmark.pedantic(step, setup=use_up, rounds=1000)
    buddy.check()


@pytest.mark.parametrize("nr_pages", [8, 64, 256])
def test_free_scattered_frames_of_one_pageblock(benchmark, nr_pages):
    buddy = built(share=0.0)
    rng = np.random.default_rng(2)
    blocks = iter(range(buddy.pageblocks.nr_blocks))

    def pick():
        block = next(blocks)
        return (np.sort(rng.choice(512, nr_pages, replace=False)) + block * 512,), {}

    benchmark.pedantic(buddy.free_many, setup=pick, rounds=1000)
    assert buddy.nr_free() == 1000 * nr_pages


@pytest.mark.parametrize("order", [0, 9])
def test_alloc_and_free_one_block(benchmark, order):
    buddy = built(share=0.5 if order == 0 else 1.0)
    benchmark(lambda: buddy.free(buddy.alloc(order, MOVABLE), order))
    buddy.check()


def test_alloc_and_free_one_page_through_a_cpu_list(benchmark):
    pcp = PerCpuPages(built())
    benchmark(lambda: pcp.free(pcp.alloc(MOVABLE)))
    pcp.check()


def test_alloc_many_of_a_fragmented_machine(benchmark):
    buddy = built()
    pfns = benchmark.pedantic(buddy.alloc_many, (100_000, MOVABLE), rounds=3)
    assert len(np.unique(pfns)) == 100_000
