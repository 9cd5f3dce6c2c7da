"""Each broken owner is found out, by the promise that it breaks, in a trace that one can read."""

import pytest

from pinpage.testing.conformance.check import check
from pinpage.testing.conformance.plan import Move, User, drill
from pinpage.testing.conformance.promises import Promise
from pinpage.testing.conformance.search import Search
from tests.conformance.broken import BROKEN, KEEPERS, free, good
from tests.conformance.broken_pools import BROKEN_POOLS, HONEST_POOLS

LONGEST_TRACE = 25
NR_OF_THE_DRILL = len(list(drill()))


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


@pytest.mark.parametrize(
    ("factory", "promise", "seen"),
    BROKEN_POOLS,
    ids=[factory.__name__ for factory, *_ in BROKEN_POOLS],
)
def test_the_right_sentence_about_a_pool(factory, promise, seen):
    longest = LONGEST_TRACE if promise is not Promise.C15 else 3 * LONGEST_TRACE  # ten passes
    report = check(factory, nr_examples=1)
    assert report.finding is not None
    assert report.finding.promise is promise, str(report)
    assert seen in report.finding.detail
    assert len(report.finding.trace) <= longest
    assert report.counts.nr_plans < NR_OF_THE_DRILL  # so no seed has anything to say in it


@pytest.mark.parametrize("seed", range(10))
def test_a_device_that_goes_on_is_seen_whatever_the_seed(seed):
    for factory, promise, seen in BROKEN_POOLS[:3]:
        report = check(factory, nr_examples=1, seed=seed)
        assert report.finding is not None
        assert report.finding.promise is promise
        assert seen in report.finding.detail
        assert len(report.finding.trace) == 8


@pytest.mark.parametrize("factory", [free, *HONEST_POOLS], ids=lambda factory: factory.__name__)
def test_who_breaks_none_is_not_blamed(factory):
    report = check(factory, nr_examples=2)
    assert report.kept, str(report)


@pytest.mark.parametrize("factory", KEEPERS, ids=lambda factory: factory.__name__)
def test_who_keeps_pages_for_the_next_one_loses_none(factory):
    search = Search(factory, nr_examples=1, seed=0)
    hold, let_go, tick = User("hold"), User("let go"), User("tick")
    for plan in (
        (hold, let_go),
        (hold, let_go, tick) * 3,
        (hold,) * 5 + (let_go,) * 5,
        (hold, hold, Move(), let_go, Move(nr_targets=0)),
        (hold, Move(meanwhile=((3, let_go), (5, hold)))),
    ):
        finding = search.finding_of(plan)
        assert finding is None, str(finding)


def test_every_promise_has_somebody_who_breaks_it():
    assert {promise for _, promise, _ in BROKEN} == set(Promise)


def test_one_that_breaks_none():
    report = check(good, nr_examples=20)
    assert report.kept, str(report)
    assert report.counts.nr_moved
    assert report.counts.nr_refused
    assert report.counts.nr_freed
