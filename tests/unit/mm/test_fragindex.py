"""Fragmentation indices: the kernel's figures, and Gorman's definitions as properties."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm.fragindex import extfrag_percent, fragmentation_index, unusable_free

LISTS = st.lists(st.integers(0, 3000), min_size=11, max_size=11)


def blocks(**counts):
    return [counts.get(f"order{order}", 0) for order in range(11)]


@pytest.mark.parametrize(
    ("nr_blocks", "order", "expected"),
    [
        (blocks(order0=100), 3, 865),
        (blocks(order8=8), 9, 375),
        (blocks(order8=2), 9, 0),
        (blocks(order8=1), 9, -500),
        (blocks(order9=1), 9, -1000),
        (blocks(), 9, 0),
    ],
)
def test_fragmentation_index_of_the_kernel(nr_blocks, order, expected):
    assert fragmentation_index(nr_blocks, order) == expected


def test_extfrag_of_the_kernel():
    assert extfrag_percent(blocks(order9=4, order0=2048), 9) == 50


@given(LISTS)
def test_unusable_share_is_a_share_and_never_falls_with_the_order(nr_blocks):
    shares = [unusable_free(nr_blocks, order) for order in range(11)]
    assert shares == sorted(shares)
    assert 0 <= shares[0] <= shares[-1] <= 1
    assert shares[0] == 0


@given(LISTS, st.integers(0, 10))
def test_unusable_share_is_what_smaller_blocks_hold(nr_blocks, order):
    free = sum(count << k for k, count in enumerate(nr_blocks))
    small = sum(count << k for k, count in enumerate(nr_blocks[:order]))
    assert extfrag_percent(nr_blocks, order) == (small * 100 // free if free else 0)


@given(LISTS, st.integers(0, 10))
def test_fragmentation_index_approximates_the_fraction_in_the_literature(nr_blocks, order):
    index = fragmentation_index(nr_blocks, order)
    if any(nr_blocks[order:]):
        assert index == -1000
        return
    if not any(nr_blocks):
        assert index == 0
        return
    free = sum(count << k for k, count in enumerate(nr_blocks))
    exact = 1 - (1 + Fraction(free, 1 << order)) / sum(nr_blocks)
    assert 0 <= index - 1000 * exact < 2
    assert index <= 1000
