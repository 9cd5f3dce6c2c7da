"""Every consumer, every strategy, every coverage: reasons sum to the failures, steps to the time.

The frames that a request says it was refused are counted once more here, where they are
noted down, as a set; what the clock shows is compared with what the steps add up to.
"""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm.state.frames import FrameState
from mm.state.reasons import HOME, Refusals
from pinlab.described.synthetic import describe_machine
from pinlab.replay.corpus import Corpus
from pinlab.replay.replay import replay
from pinlab.requests.account import Account
from pinlab.requests.reasons import REASONS
from pinlab.requests.report import RequestOptions
from pinlab.requests.run import SERVERS

CORPUS = Corpus.build(seed=0)
OWNERS = ("gup", "kernel", "slab", "zbud")
MEMORY = {
    "roomy": "scenario:16MiB,anon=30%,file=5%,slab=2%,kernel=1%,zbud=3%,gup=0.3%,cma=4MiB",
    "tight": "scenario:16MiB,anon=70%,file=5%,slab=3%,kernel=1%,zbud=4%,gup=1%,cma=4MiB",
    "clean": "scenario:16MiB,anon=20%,slab=2%,gup=0.1%,cma=4MiB,scatter=0%",
}
SIZES = {
    "huge2m": {"count": 4},
    "huge1g": {"nr_pages": 1024, "count": 3},
    "cma": {"nr_pages": 200, "count": 8},
    "offline": {"block_nr_pages": 1024, "nr_tries": 3},
    "power": {"region_nr_pages": 1024},
}
MAY_HAVE_NOBODY_TO_BLAME = {"ENOMEM", "EINVAL", "EINTR"}
"""No room, a range that may not go at all, a signal: no frame refused anything."""


def owners_of(name):
    return OWNERS if name != "clean" else ("gup", "slab")


def ask(consumer, memory, coverage, strategy, **options):
    snapshot = describe_machine(MEMORY[memory], seed=3)
    movable = tuple(sorted(coverage & set(owners_of(memory))))
    limit = {} if consumer == "huge2m" else {"timeout_ns": 20_000_000}
    asked = RequestOptions(
        design="registry", movable=movable, strategy=strategy,
        **(SIZES[consumer] | limit | options),
    )  # fmt: skip
    replayed = replay(snapshot, CORPUS, movable=frozenset(movable))
    started_ns = replayed.machine.clock.now_ns
    report = SERVERS[consumer](replayed, asked)
    passed_ns = replayed.machine.clock.now_ns - started_ns
    return replayed, report, passed_ns


CONSUMERS = st.sampled_from(sorted(SERVERS))
COVERAGES = st.sets(st.sampled_from(OWNERS))


def summed(counts):
    total = Counter()
    for count in counts:
        total.update(count)
    return {name: n for name, n in total.items() if n}


def check_sums(report, passed_ns):
    assert summed(attempt.refused for attempt in report.attempts) == report.refused
    assert summed(report.refused_by_owner.values()) == report.refused
    assert set(report.refused) <= set(REASONS)
    assert set(report.refused_by_owner) <= {*OWNERS, HOME, "reserved", "unknown"}
    assert sum(report.steps_ns.values()) == report.modelled_ns == passed_ns
    for step, ns in report.steps_ns.items():
        assert sum(a.steps_ns[step] for a in report.attempts) <= ns
        assert all(a.steps_ns[step] >= 0 for a in report.attempts)
    for attempt in report.attempts:
        if attempt.errno == "OK":
            assert not attempt.refused, attempt
        elif attempt.errno not in MAY_HAVE_NOBODY_TO_BLAME:
            assert attempt.refused, attempt


@settings(max_examples=40)
@given(CONSUMERS, st.sampled_from(sorted(MEMORY)), COVERAGES, st.sampled_from(["scan", "plan"]))
def test_reasons_sum_to_the_failures_and_steps_to_the_time(consumer, memory, coverage, strategy):
    replayed, report, passed_ns = ask(consumer, memory, coverage, strategy)
    check_sums(report, passed_ns)
    replayed.machine.check()
    assert report.bytes_lost == 0
    assert report.obtained <= report.wanted
    if consumer != "huge2m":  # (reclaim frees what moving alone cannot)
        assert report.bound is None or report.obtained <= report.bound
    assert not report.partial


@settings(max_examples=30)
@given(
    CONSUMERS,
    st.sampled_from(sorted(MEMORY)),
    st.sampled_from(["scan", "plan"]),
    st.integers(0, 60),
)
def test_an_interruption_at_any_moment_leaves_a_whole_machine(consumer, memory, strategy, when):
    polls = iter(range(10_000))
    replayed, report, passed_ns = ask(
        consumer, memory, frozenset(("slab", "zbud")), strategy,
        interrupted=lambda: next(polls) >= when,
    )  # fmt: skip
    check_sums(report, passed_ns)
    replayed.machine.check()
    assert report.bytes_lost == 0
    assert report.partial == (next(polls) > when)
    assert not np.count_nonzero(replayed.machine.frames.state == FrameState.TAKEN)


@pytest.mark.parametrize("consumer", sorted(SERVERS))
@pytest.mark.parametrize("strategy", ["scan", "plan"])
def test_a_frame_is_counted_once_in_an_attempt(monkeypatch, consumer, strategy):
    """The counts of each attempt are those of distinct frames."""
    noted = []
    add, begin, end = Refusals.add, Account.begin, Account.end

    def noted_add(refusals, pfns, reasons, holders, **more):
        noted.extend(pfns.tolist())
        return add(refusals, pfns, reasons, holders, **more)

    def noted_begin(account, name, **more):
        noted.clear()
        return begin(account, name, **more)

    def noted_end(account, *what, **more):
        attempt = end(account, *what, **more)
        refused = sum(attempt.refused.values())
        assert refused <= len(set(noted)), (attempt, len(noted))
        return attempt

    monkeypatch.setattr(Refusals, "add", noted_add)
    monkeypatch.setattr(Account, "begin", noted_begin)
    monkeypatch.setattr(Account, "end", noted_end)
    _, report, _ = ask(consumer, "tight", frozenset(("zbud",)), strategy)
    assert report.refused or strategy == "plan"  # (a plan may see that there is no room)
