"""Maximal buddy blocks: both fast forms against a loop that only knows the definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm.buddy.decompose import decompose_all, decompose_block, free_bits, scatter_orders


def slow_orders(free, max_order, may_merge=None, pageblock_order=None):
    """A free block of order k is maximal if its frames are free and its buddy's are not."""
    orders = np.full(len(free), -1, dtype=np.int8)

    def whole(start, order):
        size = 1 << order
        if start + size > len(free) or not free[start : start + size].all():
            return False
        crosses = pageblock_order is not None and order > pageblock_order
        return not crosses or bool(may_merge[start >> (pageblock_order + 1)])

    for order in range(max_order + 1):
        for start in range(0, len(free), 1 << order):
            upper = start & ~((2 << order) - 1)
            if whole(start, order) and (order == max_order or not whole(upper, order + 1)):
                orders[start] = order
    return orders


PATTERNS = st.integers(0, 2**16 - 1).map(lambda bits: [bool(bits >> i & 1) for i in range(16)])


def one_block(free, pageblock_order):
    orders = np.zeros(len(free), dtype=np.int8)
    scatter_orders(decompose_block(free_bits(free), pageblock_order), orders)
    return orders


@given(PATTERNS)
def test_one_block_against_the_definition(pattern):
    free = np.array(pattern)
    assert one_block(free, 4).tolist() == slow_orders(free, 4).tolist()


@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.integers(400, 512))
def test_a_real_block_partial_or_not_against_the_definition(seed, share, nr_frames):
    free = np.random.default_rng(seed).random(nr_frames) < share
    assert one_block(free, 9).tolist() == slow_orders(free, 9).tolist()


def test_a_block_wholly_free_is_one():
    heads = decompose_block(free_bits(np.ones(512, dtype=bool)), 9)
    assert heads == [0] * 9 + [1]


@pytest.mark.parametrize("nr_frames", [64, 61])
@given(data=st.data())
def test_a_machine_against_the_definition(nr_frames, data):
    seed = data.draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    # Free by runs, so that large blocks occur.
    free = np.repeat(rng.random(16) < data.draw(st.floats(0, 1)), 4)[:nr_frames]
    may_merge = rng.random(4) < 0.5
    expected = slow_orders(free, 4, may_merge, pageblock_order=3)
    assert decompose_all(free, 4, may_merge, 3).tolist() == expected.tolist()
