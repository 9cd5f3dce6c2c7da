"""`pinpage report reasons`: what stayed and why, from a file or a pipe."""

import io
import json

import pytest

from tests.kit.command import check_one_line
from tests.kit.pinlab.reasons import compare_text, request_text


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "report.json"
    path.write_text(request_text())
    return path


def test_a_person_gets_a_table(pinpage, file):
    done = pinpage("report", "reasons", file)
    assert done.code == 0
    assert done.out.startswith("offline registry (slab) scan\n\nholder")
    assert "slab          1,000           0            0  1,000" in done.out


def test_it_filters_and_prints_json(pinpage, file):
    done = pinpage(
        "report", "reasons", file, "--reason", "no_callback", "--owner", "slab", "--json"
    )
    assert json.loads(done.out) == [
        {
            "run": "offline registry (slab) scan",
            "refused_by_owner": {"slab": {"no_callback": 1_000}},
            "total": 1_000,
        }
    ]


def test_it_reads_a_pipe(pinpage, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(compare_text()))
    done = pinpage("report", "reasons", "-")
    assert done.code == 0
    assert "unmovable scan" in done.out
    assert "registry (slab) plan\n\nnone" in done.out


def test_wrong_calls_are_one_line(pinpage, file, tmp_path):
    check_one_line(pinpage("report", "reasons"), 2, "reasons --help")
    check_one_line(pinpage("report", "reasons", file, "--reason", "lazy"), 2, "'lazy'", "no_owner")
    check_one_line(pinpage("report", "reasons", file, "--owner", "gpu"), 2, "'gpu'", "kernel")
    check_one_line(pinpage("report", "reasons", tmp_path / "no.json"), 1, "no.json", "No such file")
    file.write_bytes(b"\xff\xfe\x00")
    check_one_line(pinpage("report", "reasons", file), 1, "is not text")
    file.write_text("{}")
    check_one_line(pinpage("report", "reasons", file), 1, "--json")
