"""Per-CPU lists: batch sizes, what they hide, when they let go."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm.buddy.pcp import PerCpuPages, pcp_batch, pcp_high
from mm.state.frames import FrameState
from mm.state.gfp import AllocFlags
from mm.state.nodes import Zone, setup_watermarks
from mm.state.pageblock import MigrateType
from pinpage.errors import InvariantError, PinpageError
from pinpage.units import Span
from tests.kit.mm.free_blocks import all_free, buddy_of

U, M, CMA, ISOLATE = (
    MigrateType.UNMOVABLE,
    MigrateType.MOVABLE,
    MigrateType.CMA,
    MigrateType.ISOLATE,
)


@pytest.mark.parametrize(
    ("managed", "batch"), [(262144, 63), (65536, 15), (16384, 3), (4096, 1), (1 << 24, 63)]
)
def test_batch_of_v6_1(managed, batch):
    assert pcp_batch(managed) == batch


def test_batch_and_high_of_v3_11():
    for managed in (131072, 1 << 24):
        assert pcp_batch(managed, "3.11") == 31
    zone = Zone(0, "Normal", 0, Span(0, 131072))
    assert pcp_high(zone, 31, 4, "3.11") == 186


def test_high_is_the_low_watermark_shared_out():
    zone = Zone(0, "Normal", 0, Span(0, 1048576))
    setup_watermarks([zone])
    assert pcp_high(zone, 63, 4) == 3096 // 4
    assert pcp_high(zone, 63, 64) == 4 * 63


def world(nr_blocks=32, version="6.1", nr_cpus=2, batch=15, high=60):
    """A machine with marks small enough to reach."""
    buddy = all_free(nr_blocks, 512)
    pcp = PerCpuPages(buddy, nr_cpus=nr_cpus, version=version)
    pcp.batches, pcp.highs = (batch,), (high,)
    return buddy, pcp


def test_a_refill_is_one_batch_under_one_lock():
    buddy, pcp = world()
    before = buddy.lock_acquisitions
    pfns = [pcp.alloc(M) for _ in range(15)]
    assert buddy.lock_acquisitions == before + 1
    assert pfns == list(range(pfns[0], pfns[0] + 15)), "served in the order of the buddy's"
    assert pcp.nr_pages == 0
    pcp.alloc(M)
    assert buddy.lock_acquisitions == before + 2
    assert pcp.nr_pages == 14


def test_types_and_cpus_have_lists_of_their_own():
    _, pcp = world()
    pcp.alloc(M, cpu=0)
    pcp.alloc(U, cpu=0)
    pcp.alloc(M, cpu=1)
    assert pcp.nr_pages == 3 * 14
    pcp.check()


def test_a_freed_page_is_hot_and_invisible_to_the_buddy():
    buddy, pcp = world()
    pfn = pcp.alloc(M)
    free = buddy.nr_free()
    pcp.free(pfn)
    assert buddy.frames.state[pfn] == FrameState.PCP
    assert buddy.frames.refcount[pfn] == 0
    assert buddy.nr_free() == free
    assert pcp.alloc(M) == pfn


def drained_by_frees(pcp, buddy, count):
    """Sizes of the drains while `count` pages of a fresh machine are freed to CPU 0."""
    pfns = buddy.alloc_many(count, M)
    sizes = []
    for pfn in pfns.tolist():
        before = pcp.nr_pages
        pcp.free(pfn)
        if pcp.nr_pages <= before:
            sizes.append(before + 1 - pcp.nr_pages)
        assert pcp.nr_pages < pcp.high
    return sizes


def test_freeing_alone_drains_more_each_time_up_to_high_minus_batch():
    buddy, pcp = world(high=150)
    assert drained_by_frees(pcp, buddy, 800)[:5] == [15, 30, 60, 120, 135]


def test_allocating_again_halves_the_next_drain():
    buddy, pcp = world(high=150)
    drained_by_frees(pcp, buddy, 300)
    factor = pcp._cpus[0][0].free_factor
    pcp.alloc(M)
    assert pcp._cpus[0][0].free_factor == factor // 2


def test_v3_11_drains_one_batch():
    buddy, pcp = world(version="3.11")
    assert set(drained_by_frees(pcp, buddy, 300)) == {15}


def test_the_coldest_pages_are_drained():
    buddy, pcp = world(high=20)
    pfns = buddy.alloc_many(20, M).tolist()
    for pfn in pfns:
        pcp.free(pfn)
    states = buddy.frames.state[pfns]
    assert (states[:15] == FrameState.FREE).all()
    assert (states[15:] == FrameState.PCP).all()


def test_a_page_of_an_isolated_block_goes_past_the_lists():
    buddy, pcp = world()
    pfn = pcp.alloc(M)
    pcp.drain_all()
    buddy.set_migratetype(pfn >> 9, ISOLATE)
    pcp.free(pfn)
    assert pcp.nr_pages == 0
    assert buddy.nr_free_of(0, ISOLATE) == 512


def test_cma_pages_stand_among_the_movable_and_not_everybody_may_have_them():
    buddy, pcp = world(nr_blocks=2)
    buddy.set_migratetype(0, CMA)
    (pfn,) = buddy.take_free_in(0, limit=1).tolist()
    buddy.taken_to_used(np.array([pfn]))
    pcp.free(pfn)
    other = pcp.alloc(M, alloc_flags=AllocFlags.NONE)
    assert other >> 9 == 1
    assert pcp.alloc(M) == pfn


def test_drain_all_makes_everything_visible():
    buddy, pcp = world()
    for cpu in (0, 1):
        for migratetype in (U, M):
            pcp.free(pcp.alloc(migratetype, cpu), cpu)
    assert pcp.drain_all() == 4 * 15
    assert pcp.nr_pages == 0
    assert buddy.nr_free() == 32 * 512
    buddy.check()
    pcp.check()


def test_adopted_pages_are_listed_until_drained():
    buddy = buddy_of([True] * 512 + [False] * 512, 512)
    pcp = PerCpuPages(buddy)
    buddy.frames.state[600:610] = FrameState.PCP
    buddy.frames.refcount[600:610] = 0
    pcp.adopt(np.arange(600, 620), cpu=1)
    pcp.check()
    assert pcp.nr_pages == 20
    for pfns, why in [([605], "0x25d stands on"), ([5], "0x5 is FREE"), ([700, 700], "twice")]:
        with pytest.raises(PinpageError, match=why):
            pcp.adopt(np.array(pfns))
    assert pcp.drain_all() == 20
    assert buddy.nr_free() == 532


def test_an_empty_machine_has_no_page():
    buddy = buddy_of([False] * 512, 512)
    assert PerCpuPages(buddy).alloc(M) == -1


def test_mistakes_are_refused():
    buddy, pcp = world()
    pfn = pcp.alloc(M)
    pcp.free(pfn)
    for mistake, why in [
        (lambda: pcp.free(pfn), "is PCP, not allocated"),
        (lambda: pcp.free(31 * 512), "is FREE, not allocated"),
        (lambda: pcp.free(32 * 512), "outside"),
        (lambda: pcp.alloc(CMA), "has no per-CPU list"),
        (lambda: PerCpuPages(buddy, nr_cpus=0), "nr_cpus=0"),
    ]:
        with pytest.raises(PinpageError, match=why):
            mistake()
    pcp.check()


@pytest.mark.parametrize("rule", ["PC1", "PC2", "PC3"])
def test_damage_is_named(rule):
    buddy, pcp = world()
    pfn = pcp.alloc(M)
    pcp.free(pfn)
    if rule == "PC1":
        buddy.frames.state[pfn] = FrameState.USED
    elif rule == "PC2":
        pcp._cpus[0][0].nr_pages += 1
    else:
        buddy.frames.refcount[pfn] = 1
    with pytest.raises(InvariantError, match=rule):
        pcp.check()


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1), st.sampled_from([U, M]))))
def test_no_page_is_lost_between_lists_and_buddy(steps):
    buddy, pcp = world(nr_blocks=2, batch=3, high=12)
    held = []
    for what, cpu, migratetype in steps:
        if what < 3:
            pfn = pcp.alloc(migratetype, cpu)
            assert pfn not in held
            held.append(pfn)
        elif what < 5 and held:
            pcp.free(held.pop(0), cpu)
        else:
            pcp.drain_all()
        assert buddy.nr_free() + pcp.nr_pages + len(held) == 1024
    pcp.check()
    buddy.check()


def test_a_disabled_zone_keeps_nothing_back_until_enabled_again():
    buddy = all_free(8)
    pcp = PerCpuPages(buddy)
    kept = [pcp.alloc(M) for _ in range(3)]
    pcp.free(kept.pop())
    before = (pcp.batches[0], pcp.highs[0])
    with pcp.disabled(buddy.zones[0]), pcp.disabled(buddy.zones[0]):
        assert pcp.nr_pages == 0, "drained"
        pcp.free(kept[0])
        assert pcp.nr_pages == 0, "straight on to the buddy lists"
        assert buddy.frames.state[kept[0]] == FrameState.FREE
        assert pcp.alloc(M) >= 0
        assert pcp.nr_pages == 0, "a refill brings one page, which is taken"
    assert (pcp.batches[0], pcp.highs[0]) == before
    pcp.free(kept[1])
    assert pcp.nr_pages == 1
    pcp.check()
    buddy.check()
