"""Simulated time by step: whatever was done, under whatever prices, the steps are the total."""

import attrs
from hypothesis import given
from hypothesis import strategies as st

from mm.state.costs import STEPS, CostModel, Counters

NS = st.integers(0, 10**6)
COUNT = st.integers(0, 10**9)
COUNTERS = st.builds(Counters, **{field.name: COUNT for field in attrs.fields(Counters)})
MODELS = st.builds(
    CostModel,
    **{
        field.name: NS if field.name != "flush_batch_nr_pages" else st.integers(1, 64)
        for field in attrs.fields(CostModel)
    },
)


def slow_cost(costs, counters):
    """Each counter at its price, written down once more."""
    prices = {
        "pages_scanned_migrate": costs.scan_ns,
        "pages_scanned_free": costs.scan_ns,
        "pages_isolated": costs.isolate_ns,
        "pages_copied": costs.copy_ns,
        "ptes_rewritten": costs.pte_ns,
        "callbacks": costs.callback_ns,
        "flushes": costs.flush_ns,
        "lock_acquisitions": costs.lock_ns,
        "pages_compressed": costs.compress_ns,
        "pages_decompressed": costs.decompress_ns,
        "pages_allocated": costs.allocate_ns,
        "pages_freed": costs.free_ns,
        "pages_retried": costs.retry_ns,
    }
    return sum(getattr(counters, name) * price for name, price in prices.items())


@given(MODELS, COUNTERS, NS)
def test_the_steps_sum_to_the_total_exactly(costs, counters, waited_ns):
    steps = costs.steps_of(counters, waited_ns=waited_ns)
    assert tuple(steps) == STEPS
    assert sum(steps.values()) == costs.cost_of(counters) + waited_ns
    assert costs.cost_of(counters) == slow_cost(costs, counters)


@given(MODELS, COUNTERS, COUNTERS)
def test_each_step_is_additive_so_attempts_sum_to_their_request(costs, first, second):
    together = first.copy()
    together.add(second)
    one, other, both = (costs.steps_of(c) for c in (first, second, together))
    assert all(both[step] == one[step] + other[step] for step in STEPS)


def test_each_kind_of_work_is_booked_where_an_engineer_would_look():
    booked = {
        "pages_scanned_migrate": "scan",
        "pages_scanned_free": "scan",
        "pages_isolated": "isolate",
        "lock_acquisitions": "isolate",
        "pages_allocated": "isolate",
        "pages_freed": "isolate",
        "pages_copied": "copy",
        "ptes_rewritten": "copy",
        "flushes": "flush",
        "callbacks": "callback",
        "pages_compressed": "callback",
        "pages_decompressed": "callback",
        "pages_retried": "retry",
    }
    assert booked.keys() == attrs.fields_dict(Counters).keys()
    for counter, step in booked.items():
        steps = CostModel().steps_of(Counters(**{counter: 1}))
        assert [name for name in STEPS if steps[name]] == [step]
