"""What is planned on a clock: in the order of its times, whoever planned it."""

import pytest

from mm.state.costs import CostModel, Counters, Meter, SimClock
from owners.odirect.events import EventQueue
from pinpage.errors import PinpageError


def test_two_queues_over_one_clock_are_one():
    clock, seen = SimClock(), []
    first, second = EventQueue(clock), EventQueue(clock)
    first.after(20, lambda: seen.append("first"))
    second.after(10, lambda: seen.append("second"))
    assert len(first) == len(second) == 2
    assert first.run_until(30) == 2
    assert seen == ["second", "first"]
    assert clock.nr_happened == 2


def test_at_one_time_interrupts_come_first_and_then_turns_by_rank():
    clock, seen = SimClock(), []
    for rank in (2, 1, 0):
        clock.plan(10, lambda rank=rank: seen.append(rank), rank)
    clock.run_until(10)
    assert seen == [0, 1, 2]


def test_who_waits_in_a_move_sees_interrupts_alone():
    clock, seen = SimClock(), []
    clock.plan(10, lambda: seen.append("turn"), 1)
    clock.plan(20, lambda: seen.append("interrupt"))
    assert clock.next_ns(interrupts_only=True) == 20
    assert clock.run_until(25, interrupts_only=True) == 1
    assert (seen, clock.now_ns, clock.next_ns()) == (["interrupt"], 25, 10)
    assert clock.catch_up() == 1
    assert seen == ["interrupt", "turn"]


def test_what_has_more_to_do_than_time_does_not_hold_everybody_up():
    clock, seen = SimClock(), []

    def slow():
        assert len(seen) < 100, "for ever"
        seen.append(clock.now_ns)
        clock.plan(clock.now_ns + 10, slow, 1)
        clock.advance(15)

    clock.plan(0, slow, 1)
    assert clock.catch_up() == 1
    assert seen == [0]


def test_a_rank_below_an_interrupts_is_refused():
    with pytest.raises(PinpageError, match="rank=-1"):
        SimClock().plan(0, lambda: None, -1)


def test_a_meter_charges_at_a_resched_only_what_somebody_waits_for():
    done, clock = Counters(), SimClock()
    meter, seen = Meter(done.copy, CostModel(scan_ns=10), clock), []
    done.pages_scanned_migrate += 5
    meter.cond_resched()
    assert clock.now_ns == 0
    clock.plan(60, lambda: seen.append(clock.now_ns))
    meter.cond_resched()
    assert (clock.now_ns, seen) == (50, [])
    done.pages_scanned_migrate += 2
    meter.cond_resched()
    assert (clock.now_ns, seen) == (70, [70])


def test_how_often_something_can_be_done_before_anything_happens():
    clock = SimClock()
    meter, each = Meter(Counters, CostModel(scan_ns=10), clock), Counters(pages_scanned_free=3)
    assert meter.nr_before_due(each, 7) == 7
    clock.plan(100, lambda: None)
    assert meter.nr_before_due(each, 7) == 3
    assert meter.nr_before_due(each, 2) == 2
    clock.advance(200)
    assert meter.nr_before_due(each, 7) == 0
