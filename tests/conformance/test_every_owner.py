"""Every owner that the project ships keeps every promise."""

import pytest

from pinpage.testing.conformance import check
from tests.conformance.subjects import SUBJECTS


@pytest.fixture(autouse=True)
def nobody_sleeps(monkeypatch):
    """Pools wait for a mover in another thread; here it is always the caller's own."""
    monkeypatch.setattr("owners.zsmalloc_wait._NR_TRIES", 0)


@pytest.mark.parametrize("factory", SUBJECTS, ids=[factory.__name__ for factory in SUBJECTS])
def test_it_keeps_every_promise(factory):
    report = check(factory, nr_examples=6)
    assert report.kept, str(report)
    assert report.counts.nr_moved or report.counts.nr_freed
