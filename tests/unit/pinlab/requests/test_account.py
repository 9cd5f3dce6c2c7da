"""The account of a request: what attempts did, what they took, and what nobody may forget."""

import numpy as np
import pytest

from mm.machine import Machine
from mm.state.costs import STEPS, Counters
from mm.state.errno import Errno
from mm.state.reasons import Refusals
from pinlab.replay.corpus import Corpus
from pinlab.replay.replay import replay
from pinlab.requests.account import Account
from pinlab.requests.report import RequestOptions
from pinpage.errors import InvariantError
from pinpage.owner import Reason
from pinpage.units import Span
from tests.kit.pinlab.small import small_recording


@pytest.fixture
def machine():
    return Machine.build(nr_pages=1024, contents="tags")


def account_of(subject, **options):
    return Account(subject, RequestOptions(**options), request="cma", unit="page", bound=9)


def stayed(*pairs):
    refusals = Refusals()
    for reason, owner, count in pairs:
        refusals.counts[reason, owner] = count
    return refusals


def test_work_that_nobody_charged_goes_to_the_clock(machine):
    account = account_of(machine)
    account.begin("one")
    machine.counters.pages_copied += 2
    machine.counters.pages_scanned_free += 5
    attempt = account.end(Span(0, 4), Errno.OK)
    costs = machine.costs
    assert attempt.steps_ns["copy"] == 2 * costs.copy_ns
    assert attempt.steps_ns["scan"] == 5 * costs.scan_ns
    assert attempt.modelled_ns == machine.clock.now_ns == 2 * costs.copy_ns + 5 * costs.scan_ns
    assert (attempt.pages_moved, attempt.start, attempt.stop) == (2, 0, 4)


def test_work_that_was_charged_already_is_not_charged_again(machine):
    account = account_of(machine)
    account.begin("one")
    done = Counters(pages_copied=2)
    machine.counters.add(done)
    machine.clock.advance(machine.costs.cost_of(done))
    account.end(None, Errno.OK)
    assert machine.clock.now_ns == 2 * machine.costs.copy_ns


def test_work_that_was_charged_in_part_is_charged_to_its_price(machine):
    account = account_of(machine)
    account.begin("one")
    machine.counters.add(Counters(pages_copied=2))
    machine.clock.advance(machine.costs.copy_ns)
    assert account.end(None, Errno.OK).modelled_ns == 2 * machine.costs.copy_ns
    assert machine.clock.now_ns == 2 * machine.costs.copy_ns


def test_time_beyond_the_work_was_spent_waiting(machine):
    account = account_of(machine)
    account.begin("one")
    machine.counters.pages_copied += 1
    machine.clock.advance(machine.costs.copy_ns + 500)
    assert account.end(None, Errno.EBUSY).steps_ns["wait"] == 500
    assert machine.clock.now_ns == machine.costs.copy_ns + 500


def test_attempts_sum_to_the_report(machine):
    account = account_of(machine, design="registry", movable=("slab",), strategy="plan")
    for moved, reason in ((3, Reason.NO_CALLBACK), (4, Reason.UNACCOUNTED)):
        account.begin("some")
        machine.counters.pages_copied += moved
        refusals = stayed((reason, "slab", 2), (Reason.NO_OWNER, "unknown", 1))
        account.end(Span(0, 8), Errno.EBUSY, refusals=refusals, pages_dropped=1, pages_released=2)
    report = account.finish(wanted=2, obtained=0, details={"probes": 5})
    assert report.pages_moved == 7 == sum(a.pages_moved for a in report.attempts)
    assert (report.pages_dropped, report.pages_released) == (2, 4)
    assert report.refused == {"no_owner": 2, "no_callback": 2, "unaccounted": 2}
    assert report.refused_by_owner["slab"] == {"no_callback": 2, "unaccounted": 2}
    assert sum(sum(a.refused.values()) for a in report.attempts) == sum(report.refused.values())
    assert report.modelled_ns == sum(a.modelled_ns for a in report.attempts)
    assert tuple(report.steps_ns) == STEPS
    assert (report.design, report.movable, report.strategy) == ("registry", ("slab",), "plan")
    assert (report.wanted, report.bound, report.details) == (2, 9, {"probes": 5})


def test_what_is_done_between_attempts_counts_for_the_request(machine):
    account = account_of(machine)
    machine.counters.pages_scanned_free += 7
    account.begin("one")
    account.end(None, Errno.OK)
    report = account.finish(wanted=1, obtained=1)
    assert report.attempts[0].modelled_ns == 0
    assert report.modelled_ns == report.steps_ns["scan"] == 7 * machine.costs.scan_ns
    assert report.pages_scanned == 7


def test_what_was_done_before_is_nobodys(machine):
    machine.counters.pages_copied += 9
    report = account_of(machine).finish(wanted=1, obtained=0)
    assert report.modelled_ns == 0
    assert machine.clock.now_ns == 0


def test_an_attempt_neither_nests_nor_ends_twice(machine):
    account = account_of(machine)
    with pytest.raises(InvariantError, match="AC2"):
        account.end(None, Errno.OK)
    account.begin("one")
    with pytest.raises(InvariantError, match="AC2"):
        account.begin("two")
    with pytest.raises(InvariantError, match="AC2"):
        account.finish(wanted=1, obtained=0)


def test_whoever_watches_is_told_before_each_attempt(machine):
    told = []
    account = account_of(machine, advance=lambda *what: told.append(what))
    for name in ("one", "two"):
        account.begin(name, of=2)
        account.end(None, Errno.OK)
    assert told == [("one", 0, 2), ("two", 1, 2)]


def test_an_interruption_is_remembered(machine):
    pressed = iter([False, True, False])
    account = account_of(machine, interrupted=lambda: next(pressed))
    assert [account.interrupted for _ in range(3)] == [False, True, True]
    assert account.finish(wanted=1, obtained=0).partial


def test_a_signal_that_only_a_policy_saw_makes_the_report_partial(machine):
    account = account_of(machine, interrupted=lambda: True)
    assert account.finish(wanted=2, obtained=1).partial
    account = account_of(machine, interrupted=lambda: True)
    assert not account.finish(wanted=2, obtained=2).partial  # it came too late to end anything


def test_a_fatal_signal_inside_an_attempt_makes_the_report_partial(machine):
    account = account_of(machine)
    account.begin("one")
    account.end(None, Errno.EINTR)
    assert account.finish(wanted=1, obtained=0).partial


def test_every_byte_is_read_back_and_the_machine_is_checked():
    replayed = replay(small_recording(), Corpus.build())
    report = account_of(replayed).finish(wanted=1, obtained=0)
    assert report.bytes_verified > 0 == report.bytes_lost
    pfn = int(replayed.machine.rmap.spaces[0].pte[20]) - 1  # (mapped once)
    replayed.machine.contents.write(pfn, b"not what was stored")
    assert account_of(replayed).finish(wanted=1, obtained=0).bytes_lost == 4096
    replayed.machine.frames.refcount[np.flatnonzero(replayed.machine.frames.refcount == 1)[0]] = -1
    with pytest.raises(InvariantError):
        account_of(replayed).finish(wanted=1, obtained=0)


def test_what_is_due_happens_before_an_attempt_begins(machine):
    account, seen = account_of(machine), []
    machine.clock.plan(500, lambda: seen.append("due"))
    for _ in range(2):
        account.begin("one")
        machine.counters.pages_copied += 1
        account.end(None, Errno.OK)
    assert seen == ["due"]
