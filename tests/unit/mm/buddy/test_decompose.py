"""Maximal buddy blocks: both fast forms against a loop that only knows the definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm.buddy.decompose import decompose_all, decompose_block, free_bits, scatter_orders


def slow_orders(free, max_order, may_merge=None, pageblock_order=None):
    """A free block of order k is maximal if its frames are free and its buddy's are not.

    Beyond a pageblock, every pair of halves inside it must be allowed to form one.
    """
    orders = np.full(len(free), -1, dtype=np.int8)

    def whole(start, order):
        size = 1 << order
        if start + size > len(free) or not free[start : start + size].all():
            return False
        if pageblock_order is None or order <= pageblock_order:
            return True
        may = may_merge(order - 1)[start >> order]
        return bool(may) and whole(start, order - 1) and whole(start + size // 2, order - 1)

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


@pytest.mark.parametrize("max_order", [3, 4, 5, 6])
@pytest.mark.parametrize("nr_frames", [64, 61])
@given(data=st.data())
def test_a_machine_against_the_definition(nr_frames, max_order, data):
    """Free blocks up to eight pageblocks."""
    seed = data.draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    # Free by runs, so that large blocks occur.
    free = np.repeat(rng.random(16) < data.draw(st.floats(0, 1)), 4)[:nr_frames]
    allowed = {order: rng.random(64 >> order + 1) < 0.7 for order in range(3, max_order)}
    expected = slow_orders(free, max_order, allowed.get, pageblock_order=3)
    orders = decompose_all(free, max_order, allowed.__getitem__, 3)
    assert orders.tolist() == expected.tolist()
