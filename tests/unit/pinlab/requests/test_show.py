"""A report in words and tables, and percentiles that are times which some attempt took."""

import numpy as np
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from mm.state.costs import STEPS
from pinlab.requests.latency import PERCENTILES, nearest_rank, percentiles
from pinlab.requests.show import as_text, cdf_as_text
from tests.kit.pinlab.reports import make_report


def attempts_of(*times):
    one = make_report().attempts[0]
    return tuple(
        evolve(one, name=f"try {i}", steps_ns=dict.fromkeys(STEPS, 0) | {"copy": ns, "wait": 1})
        for i, ns in enumerate(times)
    )


def test_a_report_says_what_was_obtained_what_stood_in_the_way_and_what_it_cost():
    text = as_text(
        make_report(recording="gup2-offline-seed1", details={"frames_probed": 7_000, "daemons": 0})
    )
    assert text.startswith("gup2-offline-seed1: offline, registry (slab), scan\n")
    for words in (
        "0 of 1 (memory block); 0 at most by any strategy",
        "1 pages; 0 dropped, 0 released, 1 scanned",
        "scan 0.00, isolate 0.00, wait 0.00, copy 0.00, flush",
        "frames probed  7,000",
        "block 1  EBUSY   0x200-0x400",
        "kernel            3            0    3",
        "all               3            2    5",
    ):
        assert words in text, text
    assert "daemons" not in text


def test_a_partial_report_says_so_first():
    assert as_text(make_report(partial=True)).startswith("PARTIAL, interrupted: ")


def test_long_lists_of_attempts_are_cut_and_say_so():
    text = as_text(make_report(attempts=attempts_of(*range(30))))
    assert "try 22" in text
    assert "try 23" not in text
    assert "... and 7 more" in text
    assert "... and" not in as_text(make_report(attempts=attempts_of(*range(24))))


def test_a_report_fits_into_a_narrow_terminal():
    report = make_report(attempts=attempts_of(1, 2))
    table = as_text(report, 60).split("Attempts", 1)[1]
    assert max(map(len, table.splitlines())) <= 60


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=40), st.integers(1, 100))
def test_the_nearest_rank_is_a_value_that_the_percentage_does_not_exceed(values, percent):
    found = nearest_rank(np.sort(np.array(values)), percent)
    assert found in values
    assert sum(v <= found for v in values) * 100 >= percent * len(values)
    assert sum(v < found for v in values) * 100 < percent * len(values)


def test_percentiles_are_per_step_and_in_total():
    found = percentiles(attempts_of(*range(100, 0, -1)))
    assert found["copy"] == {f"p{rank}": rank for rank in PERCENTILES}
    assert found["total"]["p50"] == 51
    assert found["scan"] == dict.fromkeys((f"p{rank}" for rank in PERCENTILES), 0)
    assert percentiles(()) == {}


def test_the_cdf_is_a_table_in_microseconds():
    text = cdf_as_text(make_report(attempts=attempts_of(1_000, 3_000)))
    assert "2 attempts in us" in text
    assert "copy      1.0  1.0  3.0  3.0   3.0" in text
