"""Which list is robbed, and when its pageblock goes along."""

import pytest

from mm.buddy.fallback import FALLBACKS, Fallback, claims_block, find_fallback, may_claim
from mm.state.pageblock import MigrateType

U, M, R = MigrateType.UNMOVABLE, MigrateType.MOVABLE, MigrateType.RECLAIMABLE


def find(order, migratetype, *lists, nofragment=False):
    present = set(lists)
    return find_fallback(
        lambda other, current: (other, current) in present,
        order,
        migratetype,
        pageblock_order=9,
        max_order=10,
        nofragment=nofragment,
    )


def test_never_the_reserves():
    everything = {t for types in FALLBACKS.values() for t in types}
    assert everything == {U, M, R}
    assert all(own not in types for own, types in FALLBACKS.items())


def test_largest_order_before_preferred_type():
    assert find(0, U, (R, 3), (M, 8)) == Fallback(8, M, may_claim=True)


def test_preferred_type_within_an_order():
    assert find(0, U, (R, 8), (M, 8)) == Fallback(8, R, may_claim=True)
    assert find(0, M, (R, 8), (U, 8)) == Fallback(8, R, may_claim=True)
    assert find(0, R, (M, 8), (U, 8)) == Fallback(8, U, may_claim=True)


def test_kernel_pages_claim_whatever_the_size():
    assert find(0, U, (M, 1)) == Fallback(1, M, may_claim=True)
    assert may_claim(0, R, 9)


def test_a_movable_page_claims_large_blocks_only_and_else_takes_the_smallest():
    assert find(0, M, (U, 4), (U, 1)) == Fallback(4, U, may_claim=True)
    assert find(0, M, (U, 3), (R, 1), (U, 0)) == Fallback(0, U, may_claim=False)
    assert find(2, M, (U, 3), (R, 1)) == Fallback(3, U, may_claim=False)
    assert find(3, M, (U, 3)) == Fallback(3, U, may_claim=False)


def test_the_smallest_that_fits_not_smaller():
    assert find(2, M, (U, 3), (U, 1), (U, 0)).order == 3


def test_nofragment_refuses_less_than_a_pageblock():
    assert find(0, U, (M, 8), nofragment=True) is None
    assert find(0, U, (M, 9), nofragment=True) == Fallback(9, M, may_claim=True)
    assert find(10, U, (M, 9), nofragment=True) is None


def test_nothing_to_rob():
    assert find(0, U) is None
    assert find(5, U, (M, 4)) is None


@pytest.mark.parametrize(
    ("migratetype", "old_type", "nr_free", "nr_movable", "claimed"),
    [
        (M, U, 100, 156, True),
        (M, U, 100, 155, False),
        (U, M, 100, 256, True),  # 156 neither free nor movable: kernel pages already
        (U, M, 100, 257, False),
        (U, M, 0, 256, True),
        (U, M, 0, 257, False),
        (U, R, 255, 0, False),
        (U, R, 256, 0, True),
    ],
)
def test_a_block_is_claimed_if_half_of_it_is_free_or_compatible(
    migratetype, old_type, nr_free, nr_movable, claimed
):
    assert claims_block(migratetype, old_type, nr_free, nr_movable, 512) is claimed
