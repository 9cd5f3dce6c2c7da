"""What the allocator chooses, splits, merges and refuses; consistency under any sequence of
operations is tests/property/test_buddy_machine.py."""

import numpy as np
import pytest

from mm.buddy.buddy import Buddy
from mm.state.frames import Frames, FrameState, PageFlag
from mm.state.gfp import AllocFlags
from mm.state.nodes import Zone
from mm.state.pageblock import MigrateType, Pageblocks
from pinpage.errors import PfnError, PinpageError
from pinpage.units import Span
from tests.kit.mm.free_blocks import SIZE, all_free, buddy_of, free_pattern

U, M, R = MigrateType.UNMOVABLE, MigrateType.MOVABLE, MigrateType.RECLAIMABLE
HIGHATOMIC, CMA, ISOLATE = MigrateType.HIGHATOMIC, MigrateType.CMA, MigrateType.ISOLATE


def heads(buddy):
    """{head pfn: order} of every free block."""
    orders = buddy.frames.order
    return {int(pfn): int(orders[pfn]) for pfn in np.flatnonzero(orders >= 0)}


def typed(buddy, *types):
    for block, migratetype in enumerate(types):
        buddy.set_migratetype(block, migratetype)
    return buddy


def test_build_merges_as_far_as_it_can():
    buddy = free_pattern("........", "........", "..#.....", "##..##.#")
    assert heads(buddy) == {0: 4, 16: 1, 19: 0, 20: 2, 26: 1, 30: 0}
    assert buddy.nr_free() == 16 + 7 + 3
    assert buddy.nr_free_in_block.tolist() == [8, 8, 7, 3]


def test_buddies_of_a_recorded_pfn():
    buddy = all_free(16, 512)
    buddy.take(np.arange(0x1000, 0x1400))
    buddy.put_taken(np.arange(0x1200, 0x1400))
    assert heads(buddy)[0x1200] == 9
    buddy.put_taken(np.arange(0x1000, 0x1200))
    assert heads(buddy)[0x1000] == 10
    assert 0x1200 not in heads(buddy)


def test_build_strips_what_a_recording_left_on_free_frames():
    frames = Frames(16)
    frames.state[:] = FrameState.FREE
    frames.order[3] = 0
    frames.flags[:] = PageFlag.BUDDY.mask
    frames.mapcount[:] = -128
    buddy = Buddy(frames, Pageblocks(16, SIZE), [Zone(0, "Normal", 0, Span(0, 16))])
    buddy.build()
    buddy.check()
    assert heads(buddy) == {0: 4}


def test_smallest_sufficient_block_first():
    buddy = free_pattern("........", "########", "....####", "..######")
    assert buddy.alloc(1, M) == 24
    assert buddy.alloc(1, M) == 16
    assert heads(buddy) == {0: 3, 18: 1}


def test_the_pageblock_last_freed_into_is_served_first():
    buddy = free_pattern("########", "########", "########")
    for pfn in (17, 1, 9, 19):
        buddy.free(pfn)
    assert [buddy.alloc(0, M) for _ in range(5)] == [17, 19, 9, 1, -1]


def test_after_build_the_lowest_pageblock_is_served_first():
    buddy = free_pattern(".#.#.#.#", ".#.#.#.#")
    assert [buddy.alloc(0, M) for _ in range(5)] == [0, 2, 4, 6, 8]


def test_allocation_gives_one_reference_to_each_frame_and_free_takes_everything():
    buddy = all_free(2)
    pfn = buddy.alloc(2, M)
    pfns = np.arange(pfn, pfn + 4)
    assert (buddy.frames.state[pfns] == FrameState.USED).all()
    assert (buddy.frames.refcount[pfns] == 1).all()
    buddy.frames.set_flag(pfns, PageFlag.LRU)
    buddy.frames.mapcount[pfns] = 0
    buddy.free(pfn, 2)
    buddy.check()
    assert heads(buddy) == {0: 4}


def test_free_one_frame_takes_everything_too():
    buddy = all_free(1)
    pfn = buddy.alloc(0, M)
    buddy.frames.set_flag(np.array([pfn]), PageFlag.DIRTY)
    buddy.frames.mapcount[pfn] = 3
    buddy.free(pfn)
    buddy.check()


@pytest.mark.parametrize(("first", "second"), [(CMA, M), (M, ISOLATE), (HIGHATOMIC, U)])
def test_reserves_do_not_merge_with_others(first, second):
    buddy = typed(all_free(2), first, second)
    assert heads(buddy) == {0: 3, 8: 3}


@pytest.mark.parametrize(("first", "second"), [(U, M), (M, R), (CMA, CMA)])
def test_common_types_and_equal_ones_merge(first, second):
    buddy = typed(all_free(2), first, second)
    assert heads(buddy) == {0: 4}


def test_zones_do_not_merge():
    zones = [Zone(0, "DMA32", 0, Span(0, 8)), Zone(1, "Normal", 0, Span(8, 16))]
    buddy = buddy_of([True] * 16, zones=zones)
    assert heads(buddy) == {0: 3, 8: 3}
    assert (buddy.nr_free(0), buddy.nr_free(1), buddy.nr_free()) == (8, 8, 16)
    buddy.free(buddy.alloc(0, M, zone=1))
    assert heads(buddy) == {0: 3, 8: 3}


def test_movable_takes_cma_when_its_own_lists_are_empty():
    buddy = typed(free_pattern("####....", "........"), CMA, U)
    assert buddy.alloc(0, M) == 4
    assert buddy.alloc(0, M, alloc_flags=AllocFlags.NONE) in range(8, 16)


def test_movable_takes_cma_first_while_it_is_more_than_half_of_what_is_free():
    buddy = typed(free_pattern("...#####", "##......"), M, CMA)  # 3 and 6
    order = [int(buddy.pageblocks.types_of(np.array([buddy.alloc(0, M)]))[0]) for _ in range(5)]
    assert order == [CMA, CMA, CMA, M, CMA]


def test_alloc_many_keeps_the_balance_with_cma():
    buddy = typed(all_free(4, 512), M, M, CMA, CMA)
    buddy.take(np.arange(600))
    types = buddy.pageblocks.types_of(buddy.alloc_many(700, M))
    # 1024 CMA pages of 1448 free: 600 come from there, then both sides give in turn.
    assert (types[:600] == CMA).all()
    assert (types == CMA).sum() == 650


@pytest.mark.parametrize("migratetype", [U, R])
def test_kernel_pages_never_use_cma_or_isolated_blocks(migratetype):
    buddy = typed(all_free(3), CMA, ISOLATE, HIGHATOMIC)
    assert buddy.alloc(0, migratetype) == -1
    assert len(buddy.alloc_many(5, migratetype)) == 0


def test_nothing_comes_from_an_isolated_block():
    buddy = typed(all_free(2), ISOLATE, ISOLATE)
    assert buddy.alloc(0, M) == -1
    assert buddy.claim_block(0) == -1
    assert buddy.nr_free() == 0
    assert buddy.nr_free_of(0, ISOLATE) == 16


def test_highatomic_only_for_those_who_try_harder():
    buddy = typed(all_free(1), HIGHATOMIC)
    assert buddy.alloc(1, U) == -1
    assert buddy.alloc(0, U, alloc_flags=AllocFlags.HARDER) == -1
    assert buddy.alloc(1, U, alloc_flags=AllocFlags.HARDER) == 0


def test_a_wholly_free_block_changes_type_when_it_is_robbed():
    buddy = typed(all_free(2), M, M)
    assert buddy.alloc(0, U) == 0
    assert buddy.pageblocks.migratetype.tolist() == [U, U], "an order-4 block is two pageblocks"


def test_kernel_pages_claim_a_block_that_is_half_free():
    buddy = typed(free_pattern("####....", "####...."), M, M)
    buddy.frames.set_flag(np.array([0, 1, 2, 3, 8, 9, 10, 11]), PageFlag.LRU)
    buddy.alloc(0, U)
    assert sorted(buddy.pageblocks.migratetype.tolist()) == [U, M]


def test_kernel_pages_do_not_claim_a_block_full_of_movable_ones():
    buddy = typed(free_pattern("#####..."), M)
    buddy.frames.set_flag(np.arange(5), PageFlag.LRU)
    assert buddy.alloc(0, U) == 6, "the larger of its two free blocks"
    assert buddy.pageblocks.migratetype[0] == M


def test_kernel_pages_claim_a_block_whose_used_pages_are_not_movable():
    buddy = typed(free_pattern("#####..."), M)
    buddy.alloc(0, U)
    assert buddy.pageblocks.migratetype[0] == U


def test_a_movable_page_in_a_kernel_block_changes_nothing():
    buddy = typed(buddy_of([i % 2 == 0 for i in range(512)], 512), U)
    assert buddy.alloc(0, M) == 0
    assert buddy.pageblocks.migratetype[0] == U


def test_nofragment_leaves_part_of_a_block_alone():
    buddy = typed(free_pattern("#.......", "########"), M, M)
    assert buddy.alloc(0, U, alloc_flags=AllocFlags.NOFRAGMENT) == -1
    buddy.free(0)
    assert buddy.alloc(0, U, alloc_flags=AllocFlags.NOFRAGMENT) == 0


def test_alloc_many_may_be_shorter_and_takes_one_lock():
    buddy = free_pattern("#.#.....", "...#.###")
    before = buddy.lock_acquisitions
    pfns = buddy.alloc_many(100, M)
    assert sorted(pfns.tolist()) == [1, 3, 4, 5, 6, 7, 8, 9, 10, 12]
    assert buddy.lock_acquisitions == before + 1
    assert buddy.nr_free() == 0
    buddy.check()


def test_alloc_many_prefers_small_blocks_as_single_calls_do():
    layout = ("........", "#.#.#.##", "..######", "########")
    batch = free_pattern(*layout).alloc_many(9, M)
    buddy = free_pattern(*layout)
    assert batch.tolist() == [buddy.alloc(0, M) for _ in range(9)]


def test_an_order_10_block_whose_halves_parted_comes_back_as_two():
    buddy = all_free(2, 512)
    assert buddy.alloc(10, M) == 0
    buddy.set_migratetype(1, ISOLATE)
    buddy.free(0, 10)
    buddy.check()
    assert heads(buddy) == {0: 9, 512: 9}


def test_taking_nothing_splits_nothing():
    buddy = all_free(2)
    assert buddy.take_free_in(0, limit=0).tolist() == []
    assert heads(buddy) == {0: 4}


@pytest.mark.parametrize("limit", [None, 100, 7])
def test_take_free_in_takes_the_lowest_and_leaves_the_rest(limit):
    buddy = free_pattern("########", "..#...#.")
    pfns = buddy.take_free_in(1, limit=limit)
    assert pfns.tolist() == [8, 9, 11, 12, 13, 15]
    assert (buddy.frames.state[pfns] == FrameState.TAKEN).all()


def test_what_a_batch_leaves_in_a_pageblock_is_served_next():
    buddy = free_pattern("#.#.#.#.")
    assert buddy.alloc_many(3, M).tolist() == [1, 3, 5]
    buddy.check()
    assert buddy.alloc(0, M) == 7


def test_take_free_in_splits_what_reaches_beyond():
    buddy = all_free(2)
    assert buddy.take_free_in(1, limit=3).tolist() == [8, 9, 10]
    assert heads(buddy) == {0: 3, 11: 0, 12: 2}
    assert buddy.take_free_in(0).tolist() == list(range(8))
    buddy.check()


def test_claim_block_wants_the_whole_block():
    buddy = free_pattern("........", "........", ".......#")
    assert buddy.claim_block(2) == -1
    assert buddy.claim_block(0) == 0
    assert (buddy.frames.state[:8] == FrameState.USED).all()
    assert heads(buddy) == {8: 3, 16: 2, 20: 1, 22: 0}
    assert buddy.wholly_free().tolist() == [False, True, False]


def test_a_partial_block_is_never_wholly_free():
    buddy = buddy_of([True] * 12)
    assert buddy.wholly_free().tolist() == [True, False]


def test_mistakes_are_refused_and_change_nothing():
    buddy = free_pattern("##......", "########")
    buddy.take(np.array([2]))
    before = buddy.frames.state.copy(), heads(buddy)
    mistakes = [
        (lambda: buddy.free(3), "pfn 0x3 is FREE"),
        (lambda: buddy.free(16), "outside the machine"),
        (lambda: buddy.free(-1), "outside the machine"),
        (lambda: buddy.free(9, 1), "not aligned"),
        (lambda: buddy.free(0, 2), "pfn 0x3 is FREE"),
        (lambda: buddy.free_many(np.array([8, 9, 8])), "pfn 0x8 is named twice"),
        (lambda: buddy.free_many(np.array([8, 99])), "pfn 0x63 is outside"),
        (lambda: buddy.free_many(np.array([8, 4])), "pfn 0x4 is FREE"),
        (lambda: buddy.take(np.array([5, 8])), "pfn 0x8 is USED"),
        (lambda: buddy.put_taken(np.array([2, 8])), "pfn 0x8 is USED"),
        (lambda: buddy.taken_to_used(np.array([2, 8])), "pfn 0x8 is USED, not one of TAKEN"),
        (lambda: buddy.alloc(11, M), "order=11"),
        (lambda: buddy.alloc(0, CMA), "migratetype=4"),
        (lambda: buddy.set_migratetype(0, 6), "6 is no migratetype"),
    ]
    for mistake, message in mistakes:
        with pytest.raises(PinpageError, match=message):
            mistake()
    assert (buddy.frames.state == before[0]).all()
    assert heads(buddy) == before[1]
    buddy.check()


def test_empty_batches_do_nothing():
    buddy = all_free(1)
    none = np.empty(0, dtype=np.int64)
    buddy.free_many(none)
    buddy.take(none)
    buddy.put_taken(none)
    assert len(buddy.alloc_many(0, M)) == 0
    assert heads(buddy) == {0: 3}


@pytest.mark.parametrize(
    ("zones", "message"),
    [
        ([Zone(0, "Normal", 0, Span(0, 12))], "borders"),
        ([Zone(0, "Normal", 0, Span(4, 16))], "borders"),
        ([Zone(0, "Normal", 0, Span(0, 24))], "borders"),
        ([Zone(1, "Normal", 0, Span(0, 16))], "index 1"),
        ([Zone(0, "a", 0, Span(0, 16)), Zone(1, "b", 0, Span(8, 16))], "overlaps"),
        ([Zone(0, "Normal", 0, Span(0, 8))], "pageblock 1 lie in no zone"),
    ],
)
def test_zones_that_do_not_fit_are_refused(zones, message):
    with pytest.raises(PinpageError, match=message):
        buddy_of([True] * 16, zones=zones)


def test_a_pageblock_of_unknown_type_is_named():
    buddy = all_free(2)
    buddy.pageblocks.migratetype[1] = 255
    with pytest.raises(PinpageError, match="pageblock 1 has migratetype 255"):
        buddy.build()


def test_frames_and_pageblocks_must_agree():
    with pytest.raises(PinpageError, match="16 frames but pageblocks for 24"):
        Buddy(Frames(16), Pageblocks(24, 8), [Zone(0, "Normal", 0, Span(0, 16))])


def test_a_pfn_outside_is_a_pfn_error():
    with pytest.raises(PfnError):
        all_free(1).free(8)


def test_locks_are_counted_per_zone_and_call():
    zones = [Zone(0, "DMA32", 0, Span(0, 8)), Zone(1, "Normal", 0, Span(8, 24))]
    buddy = buddy_of([False] * 24, zones=zones)
    buddy.free_many(np.arange(24))
    assert buddy.lock_acquisitions == 2
    buddy.take(np.arange(8, 24))
    assert buddy.lock_acquisitions == 3
    buddy.put_taken(np.arange(8, 24))
    assert buddy.lock_acquisitions == 4
