"""Power requests: what is shown of energy, on described memory and on a recording."""

import pytest

from pinlab.requests.report import RequestOptions
from pinlab.requests.run import open_memory, run_request
from pinpage.errors import PinpageError
from tests.kit.pinlab.recordings import opened

THIRTY_PERCENT = "scenario:128MiB,anon=30%"
REGIONS = 8


def ask(memory, **options):
    options = {"design": "registry", "strategy": "plan"} | options
    return run_request("power", open_memory("power", memory), RequestOptions(**options))


@pytest.fixture(scope="module")
def plain():
    return ask(THIRTY_PERCENT)


def test_a_plain_map_with_thirty_percent_in_use_frees_its_regions(plain):
    assert plain.obtained == plain.bound == 5
    assert plain.details["nr_regions"] == REGIONS
    assert plain.details["region_ms_off"] == 5 * 60_000
    assert plain.details["net_uj"] == plain.details["saved_uj"] - plain.details["spent_uj"] > 0
    assert 0 < plain.details["break_even_ms"] < 60_000
    assert plain.bytes_lost == 0 < plain.bytes_verified
    assert plain.refused == {"no_owner": plain.refused["no_owner"]}


def test_an_interleaved_map_gains_nothing():
    for strategy in ("plan", "scan"):
        report = ask(THIRTY_PERCENT, nr_interleaved=REGIONS, strategy=strategy)
        assert (report.obtained, report.bound, report.pages_moved) == (0, 0, 0)
        assert report.details["region_ms_off"] == report.details["saved_uj"] == 0
        assert report.details["net_uj"] <= 0
        assert "break_even_ms" not in report.details


def test_pairs_are_in_between(plain):
    report = ask(THIRTY_PERCENT, nr_interleaved=2)
    assert 0 < report.obtained < plain.obtained
    assert report.obtained % 2 == 0


def test_scan_moves_pages_twice(plain):
    report = ask(THIRTY_PERCENT, strategy="scan")
    assert report.obtained == plain.obtained == report.bound
    assert report.pages_moved > 1.3 * plain.pages_moved
    assert report.details["spent_uj"] > plain.details["spent_uj"]


def test_nothing_is_emptied_that_does_not_pay(plain):
    break_even_ms = plain.details["break_even_ms"]
    short = ask(THIRTY_PERCENT, expected_idle_ns=1_000_000 * break_even_ms // 4)
    assert (short.obtained, short.pages_moved) == (0, 0)
    assert short.details["groups_not_worth_it"] == 5
    assert short.details["idle_ms"] == break_even_ms // 4
    assert ask(THIRTY_PERCENT, expected_idle_ns=4_000_000 * break_even_ms).obtained == 5


def test_as_many_as_asked_for():
    report = ask(THIRTY_PERCENT, count=2)
    assert (report.wanted, report.obtained) == (2, 2)
    assert ask("scenario:32MiB,anon=30%", region_nr_pages=1024).details["nr_regions"] == REGIONS
    with pytest.raises(PinpageError, match="there are 8 regions"):
        ask(THIRTY_PERCENT, nr_interleaved=9)


def test_a_recording_whose_regions_all_hold_slab_and_zbud():
    """Under plan the verdict comes without a move, and says whose frames are in the way."""
    snapshot = opened("zbud-cmphuge-seed1")
    told = []
    options = RequestOptions(
        design="registry", strategy="plan", advance=lambda name, done, of: told.append((name, of))
    )
    report = run_request("power", snapshot, options)
    assert (report.obtained, report.bound, report.pages_moved) == (0, 0, 0)
    assert {attempt.errno for attempt in report.attempts} == {"EBUSY"}
    assert {"slab", "zbud"} <= set(report.refused_by_owner)
    assert told[0] == ("region group 0", REGIONS)


def test_interrupted_before_anything():
    report = ask(THIRTY_PERCENT, interrupted=lambda: True)
    assert report.obtained == 0
    assert report.partial
