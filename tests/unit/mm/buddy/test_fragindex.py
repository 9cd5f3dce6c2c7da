"""Fragmentation indices: the kernel's figures, and Gorman's definitions as properties."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm.buddy.fragindex import (
    extfrag_percent,
    fragmentation_index,
    fragmentation_score_node,
    fragmentation_score_zone,
    unusable_free,
    unusable_free_index,
)
from tests.kit.pinlab.recordings import IN_TESTS

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


def by_the_book(nr_blocks, order):
    """The kernel's steps in its own order: integer divisions, rounding towards minus infinity."""
    pages = blocks_free = suitable = 0
    for k, count in enumerate(nr_blocks):
        blocks_free += count
        pages += count << k
        suitable += count << (k - order) if k >= order else 0
    if not blocks_free:
        index = 0
    elif suitable:
        index = -1000
    else:
        index = 1000 - (1000 + pages * 1000 // (1 << order)) // blocks_free
    unusable = (pages - (suitable << order)) * 1000 // pages if pages else 1000
    extfrag = (pages - (suitable << order)) * 100 // pages if pages else 0
    return index, unusable, extfrag


@pytest.mark.parametrize("name", IN_TESTS)
def test_indices_of_the_recorded_buddyinfo(name):
    snapshot = IN_TESTS[name]()
    for zone in snapshot.zones:
        if not zone.managed:
            continue
        assert len(zone.nr_free_blocks) == 11
        for order in range(11):
            found = (
                fragmentation_index(zone.nr_free_blocks, order),
                unusable_free_index(zone.nr_free_blocks, order),
                extfrag_percent(zone.nr_free_blocks, order),
            )
            assert found == by_the_book(zone.nr_free_blocks, order)


def test_a_recorded_zone_by_hand():
    """buddyinfo of a machine of which half was freed at random; blocks of 2 MiB and up are 24."""
    recorded = [52401, 19768, 3013, 100, 3, 1, 2, 1, 1, 1, 24]
    assert fragmentation_index(recorded, 9) == -1000
    assert unusable_free_index(recorded, 9) == 807
    assert fragmentation_score_zone(recorded, 9) == 80
    without = [*recorded[:9], 0, 0]
    assert fragmentation_index(without, 9) == 998
    assert fragmentation_index(without, 3) == -1000


def test_scores_are_weighted_by_pages_and_rounded_down_each():
    assert fragmentation_score_node([81], [253820]) == 80
    assert fragmentation_score_node([100, 0], [100, 100]) == 49
    assert fragmentation_score_node([], []) == 0


def test_where_nothing_is_free_all_of_it_is_unusable():
    assert unusable_free_index(blocks(), 9) == 1000
    assert extfrag_percent(blocks(), 9) == 0
