"""Isolation: all blocks or none, and what counts as unmovable."""

import numpy as np
import pytest

from mm.contig.page_isolation import (
    Isolation,
    first_not_isolated,
    has_unmovable_pages,
    start_isolate_page_range,
    undo_isolate_page_range,
)
from mm.state.errno import Errno
from mm.state.frames import FrameState, PageFlag
from mm.state.nodes import Zone
from mm.state.pageblock import MigrateType
from pinpage.errors import PinpageError
from pinpage.units import Span
from tests.kit.mm.free_blocks import all_free, buddy_of, free_pattern

U, M, R, CMA = (
    MigrateType.UNMOVABLE,
    MigrateType.MOVABLE,
    MigrateType.RECLAIMABLE,
    MigrateType.CMA,
)
ISOLATE = MigrateType.ISOLATE


def nothing(span):
    return -1


def test_a_span_is_rounded_out_to_pageblocks_and_undone():
    buddy = all_free(4)
    assert start_isolate_page_range(buddy, Span(12, 20), nothing)
    assert buddy.pageblocks.migratetype.tolist() == [M, ISOLATE, ISOLATE, M]
    assert buddy.nr_free() == 16
    buddy.check()
    undo_isolate_page_range(buddy, Span(12, 20))
    assert buddy.pageblocks.migratetype.tolist() == [M, M, M, M]
    assert buddy.frames.order[0] == 4, "free blocks merge again"
    buddy.check()


def test_each_block_gets_its_own_type_back_or_the_one_given():
    buddy = all_free(2)
    buddy.set_migratetype(1, R)
    start_isolate_page_range(buddy, Span(0, 16), nothing)
    undo_isolate_page_range(buddy, Span(0, 8))
    undo_isolate_page_range(buddy, Span(8, 16), CMA)
    assert buddy.pageblocks.migratetype.tolist() == [M, CMA]
    start_isolate_page_range(buddy, Span(0, 16), nothing)
    undo_isolate_page_range(buddy, Span(0, 16))
    assert buddy.pageblocks.migratetype.tolist() == [M, CMA]


def test_an_unmovable_frame_rolls_earlier_blocks_back():
    buddy = all_free(4)
    buddy.set_migratetype(0, U)
    asked = []

    def pfn_21(span):
        asked.append(span)
        return 21 if 21 in span else -1

    answer = start_isolate_page_range(buddy, Span(0, 32), pfn_21)
    assert answer == Isolation(Errno.EBUSY, 21)
    assert not answer
    assert asked == [Span(0, 8), Span(8, 16), Span(16, 24)]
    assert buddy.pageblocks.migratetype.tolist() == [U, M, M, M]
    buddy.check()


def test_an_isolated_block_is_somebody_elses():
    buddy = all_free(4)
    assert start_isolate_page_range(buddy, Span(16, 24), nothing)
    assert start_isolate_page_range(buddy, Span(0, 32), nothing) == Isolation(Errno.EBUSY, 16)
    assert buddy.pageblocks.migratetype.tolist() == [M, M, ISOLATE, M]
    assert buddy.pageblocks.saved_type[2] == M


@pytest.mark.parametrize("span", [Span(8, 8), Span(8, 33)])
def test_an_impossible_span_is_refused(span):
    with pytest.raises(PinpageError, match="isolate"):
        start_isolate_page_range(all_free(4), span, nothing)


def test_frames_freed_into_the_range_complete_it():
    buddy = free_pattern("..####..", "........")
    start_isolate_page_range(buddy, Span(0, 8), nothing)
    assert first_not_isolated(buddy, Span(0, 8)) == 2
    buddy.free_many(np.arange(2, 6))
    assert first_not_isolated(buddy, Span(0, 8)) == -1
    assert first_not_isolated(buddy, Span(0, 9)) == 8, "free, but not isolated"
    assert buddy.alloc(3, M) == 8
    assert buddy.alloc(0, M) == -1


def test_poisoned_and_offline_frames_are_gone_for_hot_remove_only():
    buddy = free_pattern("..##....")
    buddy.frames.set_flag(np.array([2]), PageFlag.HWPOISON)
    buddy.frames.set_flag(np.array([3]), PageFlag.OFFLINE)
    start_isolate_page_range(buddy, Span(0, 8), nothing)
    assert first_not_isolated(buddy, Span(0, 8)) == 2
    assert first_not_isolated(buddy, Span(0, 8), offline=True) == 3, "still referenced"
    buddy.frames.refcount[3] = 0
    assert first_not_isolated(buddy, Span(0, 8), offline=True) == -1


def used(buddy, pfn, flag=None, state=FrameState.USED):
    buddy.frames.state[pfn] = state
    buddy.frames.refcount[pfn] = 1
    if flag is not None:
        buddy.frames.set_flag(np.array([pfn]), flag)


def block_with(flag=None, state=FrameState.USED, zones=None):
    buddy = buddy_of([True, True, True, False] + [True] * 4, zones=zones)
    used(buddy, 3, flag, state)
    return buddy


BLOCK = Span(0, 8)


def test_lru_pages_and_free_ones_can_go():
    assert has_unmovable_pages(block_with(PageFlag.LRU), BLOCK) == -1


def test_kernel_pages_stay():
    assert has_unmovable_pages(block_with(), BLOCK) == 3
    assert has_unmovable_pages(block_with(PageFlag.SLAB), BLOCK) == 3


def test_a_used_frame_that_nobody_references_is_on_its_way_out():
    buddy = block_with()
    buddy.frames.refcount[3] = 0
    assert has_unmovable_pages(buddy, BLOCK) == -1


def test_owners_are_believed():
    buddy = block_with()
    used(buddy, 5)
    asked = []

    def ops(pfns):
        asked.append(pfns.tolist())
        return pfns == 3

    assert has_unmovable_pages(buddy, BLOCK, movable_ops=ops) == 5
    assert asked == [[3, 5]]


@pytest.mark.parametrize("state", [FrameState.RESERVED, FrameState.HOLE, FrameState.UNKNOWN])
def test_what_is_no_memory_stays_even_in_a_movable_zone(state):
    movable = [Zone(0, "Movable", 0, BLOCK)]
    assert has_unmovable_pages(block_with(state=state, zones=movable), BLOCK) == 3
    assert has_unmovable_pages(block_with(zones=movable), BLOCK) == -1


def test_cma_blocks_are_for_cma():
    buddy = block_with()
    buddy.set_migratetype(0, CMA)
    assert has_unmovable_pages(buddy, BLOCK) == 0
    assert has_unmovable_pages(buddy, BLOCK, for_cma=True) == -1


@pytest.mark.parametrize("flag", [PageFlag.HWPOISON, PageFlag.OFFLINE])
def test_broken_frames_do_not_stop_hot_remove(flag):
    assert has_unmovable_pages(block_with(flag), BLOCK) == 3
    assert has_unmovable_pages(block_with(flag), BLOCK, offline=True) == -1
