"""Pageblocks: borders, the partial one at the end, invariants."""

import numpy as np
import pytest

from mm.state.pageblock import MigrateType, Pageblocks
from pinpage.errors import InvariantError, PfnError, PinpageError
from pinpage.units import Span


def test_the_last_pageblock_may_be_partial():
    blocks = Pageblocks(20, 8)
    assert blocks.nr_blocks == 3
    assert [blocks.span(b) for b in range(3)] == [Span(0, 8), Span(8, 16), Span(16, 20)]


def test_a_span_touches_every_block_that_it_has_a_frame_in():
    blocks = Pageblocks(32, 8)
    assert list(blocks.blocks_of_span(Span(7, 9))) == [0, 1]
    assert list(blocks.blocks_of_span(Span(8, 16))) == [1]
    assert list(blocks.blocks_of_span(Span(8, 8))) == []


def test_types_of_frames_are_those_of_their_blocks():
    blocks = Pageblocks(24, 8)
    blocks.migratetype[1] = MigrateType.CMA
    assert blocks.types_of(np.array([7, 8, 15, 16])).tolist() == [1, 4, 4, 1]
    assert blocks.block_of(np.array([7, 8, 15, 16])).tolist() == [0, 1, 1, 2]


@pytest.mark.parametrize(("nr_frames", "size"), [(0, 8), (8, 0), (8, 12), (8, 16384)])
def test_impossible_sizes_are_refused(nr_frames, size):
    with pytest.raises(PinpageError, match="pageblocks"):
        Pageblocks(nr_frames, size)


def test_a_block_beyond_the_end_is_named():
    with pytest.raises(PfnError, match="pageblock 3 is outside"):
        Pageblocks(20, 8).span(3)


def test_pb1_unknown_type():
    blocks = Pageblocks(16, 8)
    blocks.migratetype[1] = 6
    with pytest.raises(InvariantError, match="PB1"):
        blocks.check()


def test_pb2_isolate_is_no_type_to_go_back_to():
    blocks = Pageblocks(16, 8)
    blocks.saved_type[0] = MigrateType.ISOLATE
    with pytest.raises(InvariantError, match="PB2"):
        blocks.check()


@pytest.mark.parametrize(
    ("order", "largest"), [(3, 4), (8, 9), (9, 10), (10, 10), (11, 11), (13, 13)]
)
def test_the_largest_free_block_where_it_is_not_said(order, largest):
    assert Pageblocks(8, 1 << order).max_order == largest


@pytest.mark.parametrize("max_order", [2, 17])
def test_a_largest_free_block_is_a_pageblock_at_least(max_order):
    with pytest.raises(PinpageError, match="max_order"):
        Pageblocks(32, 8, max_order)
    assert Pageblocks(32, 8, 5).max_order == 5
