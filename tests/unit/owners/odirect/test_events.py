"""Events over a clock, and how long requests take."""

import numpy as np
import pytest

from mm.state.costs import SimClock
from owners.odirect.events import Constant, EventQueue, Histogram, Lognormal
from pinpage.errors import PinpageError


def test_events_happen_in_the_order_of_their_times_then_of_their_planning():
    events, seen = EventQueue(SimClock()), []
    for name, delay_ns in (("c", 30), ("a", 10), ("b1", 20), ("b2", 20)):
        events.after(delay_ns, lambda name=name: seen.append((name, events.clock.now_ns)))
    while events.step():
        pass
    assert seen == [("a", 10), ("b1", 20), ("b2", 20), ("c", 30)]


def test_a_cancelled_event_does_not_happen_and_cannot_be_cancelled_twice():
    events, seen = EventQueue(SimClock()), []
    first = events.after(10, lambda: seen.append("first"))
    events.after(20, lambda: seen.append("second"))
    assert events.cancel(first)
    assert not events.cancel(first)
    assert (events.next_ns, len(events)) == (20, 1)
    assert events.step()
    assert seen == ["second"]
    assert events.next_ns is None
    assert not events.step()


def test_an_event_that_is_late_happens_without_time_running_back():
    clock = SimClock()
    events, seen = EventQueue(clock), []
    events.after(10, lambda: seen.append(clock.now_ns))
    clock.advance(100)
    assert events.run_until(150) == 1
    assert seen == [100]
    assert clock.now_ns == 150


def test_an_event_may_plan_another_one_within_the_same_time():
    events, seen = EventQueue(SimClock()), []
    events.after(10, lambda: events.after(5, lambda: seen.append(events.clock.now_ns)))
    assert events.run_until(14) == 1
    assert events.run_until(15) == 1
    assert seen == [15]


def test_a_constant_latency_is_constant():
    assert Constant(7).draw(np.random.default_rng(0), 3).tolist() == [7, 7, 7]


def test_a_lognormal_latency_has_its_median_and_its_spread():
    drawn = Lognormal(80_000, 0.5).draw(np.random.default_rng(0), 20_000)
    assert 79_000 < np.median(drawn) < 81_000
    assert 0.48 < np.log(drawn).std() < 0.52
    assert drawn.min() >= 0


def test_a_histogram_is_drawn_as_it_was_recorded():
    law = Histogram([0, 10, 20, 1000], [90, 0, 10])
    drawn = law.draw(np.random.default_rng(0), 20_000)
    assert 0.88 < (drawn < 10).mean() < 0.92
    assert not ((drawn >= 10) & (drawn < 20)).any()
    assert drawn.max() < 1000


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(-1), "cannot end before it began"),
        (lambda: Lognormal(0), "must be positive"),
        (lambda: Lognormal(5, -0.1), "must be positive"),
        (lambda: Histogram([0, 10], [1, 2]), "one more"),
        (lambda: Histogram([0, 10, 10], [1, 2]), "must ascend"),
        (lambda: Histogram([-1, 10], [1]), "not be negative"),
        (lambda: Histogram([0, 10], [0]), "nor all zero"),
    ],
)
def test_a_law_that_means_nothing_is_refused(make, message):
    with pytest.raises(PinpageError, match=message):
        make()
