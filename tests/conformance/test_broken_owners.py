"""Each broken owner is found out, by the promise that it breaks, in a trace that one can read."""

import pytest

from pinpage.testing.conformance import Promise, check
from tests.conformance.broken import BROKEN, good

LONGEST_TRACE = 25


@pytest.mark.parametrize(
    ("factory", "promise", "seen"), BROKEN, ids=[factory.__name__ for factory, *_ in BROKEN]
)
def test_the_right_sentence(factory, promise, seen):
    report = check(factory, nr_examples=20, patience_s=1)
    assert report.finding is not None
    assert report.finding.promise is promise, str(report)
    assert seen in report.finding.detail
    assert promise.meaning in str(report)
    assert len(report.finding.trace) <= LONGEST_TRACE


def test_every_promise_has_somebody_who_breaks_it():
    assert {promise for _, promise, _ in BROKEN} == set(Promise)


def test_one_that_breaks_none():
    report = check(good, nr_examples=20)
    assert report.kept, str(report)
    assert report.counts.nr_moved
    assert report.counts.nr_refused
    assert report.counts.nr_freed
