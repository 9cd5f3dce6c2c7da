"""A report whose parts do not sum to its totals is refused, wherever it comes from."""

import json

import pytest

from pinlab.requests.report import RequestOptions, RequestReport
from pinpage.errors import PinpageError
from tests.kit.pinlab.reports import make_report


def test_a_report_survives_json():
    report = make_report(partial=True, details={"probes": 7})
    assert RequestReport.from_json(json.loads(json.dumps(report.as_json()))) == report


def test_reasons_by_owner_must_sum_to_the_reasons():
    with pytest.raises(PinpageError, match="by owner"):
        make_report(refused_by_owner={"kernel": {"no_callback": 3}})
    with pytest.raises(PinpageError, match="by owner"):
        make_report(refused={"no_callback": 4, "unaccounted": 2})


def test_steps_must_sum_to_the_time():
    with pytest.raises(PinpageError, match="modelled_ns=1171"):
        make_report(modelled_ns=1_171)


def test_json_that_is_no_report_is_refused_in_one_line():
    shown = make_report().as_json()
    for wrong in ({}, shown | {"surprise": 1}, shown | {"attempts": [{"name": "x"}]}):
        with pytest.raises(PinpageError, match="request report"):
            RequestReport.from_json(wrong)


def test_an_attempts_time_is_that_of_its_steps():
    assert make_report().attempts[0].modelled_ns == 1_170


@pytest.mark.parametrize("name", ["count", "nr_pages", "region_nr_pages", "nr_tries", "timeout_ns"])
@pytest.mark.parametrize("bad", [0, -1, 1.5, True])
def test_options_are_whole_numbers(name, bad):
    with pytest.raises(PinpageError, match=f"{name}="):
        RequestOptions(**{name: bad})


@pytest.mark.parametrize("name", ["align_order", "block", "node"])
def test_positions_may_be_zero_but_not_less(name):
    assert getattr(RequestOptions(**{name: 0}), name) == 0
    with pytest.raises(PinpageError, match=f"{name}=-1"):
        RequestOptions(**{name: -1})
