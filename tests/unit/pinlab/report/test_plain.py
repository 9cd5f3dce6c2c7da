"""csv and markdown of every table, and results that come back from their JSON."""

import csv
import json

import pytest

from pinlab.compare.compare import compare
from pinlab.compare.results import Comparison, Run
from pinlab.described.synthetic import describe_machine
from pinlab.report import trust
from pinlab.report.plain import PlainTable, as_plain, of_rows
from pinlab.requests import fidelity, latency, reasons
from pinlab.requests.fidelity import Compared
from pinlab.requests.report import RequestOptions, RequestReport
from pinlab.requests.run import run_request
from pinlab.snapshot.bundled import bundled
from pinpage.errors import PinpageError

MEMORY = "scenario:16MiB,anon=30%,slab=2%"


@pytest.fixture(scope="module")
def comparison():
    return compare(
        describe_machine(MEMORY), [Run("unmovable"), Run("registry", ("slab",), "plan")],
        layout_only=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def report():
    options = RequestOptions(block_nr_pages=1024, nr_tries=2)
    return run_request("offline", describe_machine(MEMORY), options, contents="none")


def rows_of(text):
    """Tables of a csv text: lists of objects."""
    return [list(csv.DictReader(part.splitlines())) for part in text.split("\n\n")]


def test_csv_of_a_comparison(comparison):
    rows, refused = rows_of(as_plain(comparison.plain(), "csv"))
    assert [row["huge_pages"] for row in rows] == [str(row.huge_pages) for row in comparison.rows]
    assert [row["movable"] for row in rows] == ["", "slab"]
    assert {row["design"] for row in refused} == {"unmovable"}
    found = {row["reason"]: int(row["frames"]) for row in refused}
    assert found == comparison.rows[0].refused


def test_csv_of_a_request(report):
    head, *_, attempts, refused, in_the_way = rows_of(as_plain(report.plain(), "csv"))
    assert (head[0]["request"], head[0]["obtained"]) == ("offline", str(report.obtained))
    assert [row["errno"] for row in attempts] == [attempt.errno for attempt in report.attempts]
    assert sum(int(row["frames"]) for row in refused) == sum(report.refused.values())
    assert [int(row["pfn"]) for row in in_the_way] == [row.pfn for row in report.in_the_way]


def test_markdown_has_a_rule_and_numbers_to_the_right(report):
    text = as_plain(report.plain(), "markdown")
    attempts = next(part for part in text.split("\n\n") if part.startswith("| name |"))
    head, rule, *rows = attempts.splitlines()
    assert head == "| name | start | stop | errno | pages_moved |"
    assert rule == "| --- | ---: | ---: | --- | ---: |"
    assert len(rows) == len(report.attempts)


def test_every_other_table_has_them_too(report):
    counted = reasons.read(json.dumps(report.to_json()), "x")
    (table,) = rows_of(as_plain(reasons.plain(counted), "csv"))
    assert sum(int(row["frames"]) for row in table) == counted[0].total
    frames, bounds = rows_of(as_plain(trust.plain(trust.trust_of(bundled())), "csv"))
    assert frames[0]["use"] == "memory"
    assert {row["unit"] for row in bounds} >= {"pageblock"}
    percentiles = latency.plain(report.attempts)
    assert percentiles.header[:2] == ("step", "p10_ns")
    assert len(percentiles.rows) == len(latency.percentiles(report.attempts))
    (cases,) = rows_of(as_plain(fidelity.plain([COMPARED]), "csv"))
    assert cases[0]["within"] == "yes"
    assert cases[0]["difference"] == "-6"


COMPARED = Compared("anon-huge-seed1", "huge", "2 MiB pages", predicted=190, measured=196)


def test_what_is_not_one_word_is_quoted():
    table = PlainTable("x", ("a", "b"), (("1,5|x", None), (True, ("p", "q"))))
    assert as_plain([table], "csv") == 'a,b\n"1,5|x",\nyes,p+q'
    assert as_plain([table], "markdown").splitlines()[2:] == ["| 1,5\\|x |  |", "| yes | p+q |"]
    assert as_plain([of_rows("none", [])], "csv") == ""


def test_results_come_back_from_json(comparison, report):
    def there_and_back(kind, found):
        return kind.from_json(json.loads(json.dumps(found.to_json())))

    assert there_and_back(Comparison, comparison) == comparison
    assert there_and_back(RequestReport, report) == report
    assert there_and_back(Compared, COMPARED) == COMPARED


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (Comparison, {"rows": []}),
        (Comparison, {"rows": [{}], "measured": None}),
        (Compared, {"case": "x"}),
        (Compared, COMPARED.to_json() | {"within": False}),
        (RequestReport, {"attempts": []}),
    ],
)
def test_what_is_none_is_refused(kind, data):
    with pytest.raises(PinpageError):
        kind.from_json(data)
