"""Columns are put in order as numpy's stable sort of rows would, whatever is in them."""

import numpy as np
import pytest

from pinpage.store.rows import PinRows, as_pfn, order_of


@pytest.mark.parametrize("count", [0, 1, 2, 40, 3000])
@pytest.mark.parametrize(
    ("low", "high"),
    [
        (0, 3),
        (0, 1 << 20),
        ((1 << 39) - 5000, 1 << 39),
        (-40, 40),
        (0, 1 << 62),
        (-(1 << 63), (1 << 63) - 1),
    ],
    ids=["few frames", "a machine", "the last ones", "below zero", "beyond all", "any number"],
)
def test_the_rows_of_one_frame_stay_in_the_order_given(low, high, count):
    pfns = np.random.default_rng(count).integers(low, high, count)
    assert order_of(pfns).tolist() == np.argsort(pfns, kind="stable").tolist()


def test_rows_that_are_put_in_order_stay_together():
    pfns, tags, values = np.array([7, 5, 7]), np.array([1, 2, 3], dtype=np.int32), np.arange(3) + 10
    rows = PinRows(pfns, tags, values).ascending()
    assert list(rows.each()) == [(5, 2, 11), (7, 1, 10), (7, 3, 12)]


def test_rows_in_order_are_columns_of_their_own():
    """Whoever gave them may write over his while they are stored."""
    pfns, values = np.arange(5), np.arange(5)
    rows = PinRows(pfns, np.zeros(5, dtype=np.int32), values).ascending()
    pfns[:], values[:] = 99, 99
    assert rows.pfns.tolist() == rows.values.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("pfn", [5, np.int64(5), np.uint8(5)])
def test_a_pfn_is_a_plain_int(pfn):
    assert type(as_pfn(pfn)) is int
    assert as_pfn(pfn) == 5
