"""Spans are half-open ranges of pages."""

import pytest

from pinpage import PfnError, Span


@pytest.mark.parametrize(("pfn", "inside"), [(1, False), (2, True), (4, True), (5, False)])
def test_a_span_is_half_open(pfn, inside):
    assert (pfn in Span(2, 5)) is inside


@pytest.mark.parametrize(("start", "stop"), [(3, 2), (-1, 2)])
def test_a_span_runs_forwards_from_zero(start, stop):
    with pytest.raises(PfnError, match="not a range"):
        Span(start, stop)


def test_an_empty_span_has_no_pages():
    assert Span(4, 4).nr_pages == 0
    assert 4 not in Span(4, 4)
