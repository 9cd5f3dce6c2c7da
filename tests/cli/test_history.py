"""`pinpage designs`, `pinpage defects` and `pinpage check --design`, as a user types them."""

import json

import pytest

from pinlab.defects import history
from pinlab.replay.designs import DESIGNS
from pinpage.rfc2013_defects import Defect
from tests.kit.command import check_one_line


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch, pytestconfig):
    monkeypatch.chdir(pytestconfig.rootpath)


def test_designs_are_listed_with_what_they_can_do(pinpage):
    shown = json.loads(pinpage("designs", "--json").out)["designs"]
    assert [row["name"] for row in shown] == list(DESIGNS)
    assert [row["name"] for row in shown if row["several_owners"]] == ["registry"]
    text = pinpage("designs").out
    assert "second owner" in text
    assert "True" not in text
    for entry in DESIGNS.values():
        assert f"\n{entry.name}\n  {entry.summary}\n" in text
        assert entry.note.split(";")[0].split(":")[0] in text.replace("\n    ", " ")
    assert max(map(len, text.splitlines())) < 80


def test_nothing_that_a_design_says_of_itself_is_left_out(pinpage):
    text = pinpage("designs").out.replace("\n    ", " ")
    for row in json.loads(pinpage("designs", "--json").out)["designs"]:
        said = [value for value in row.values() if isinstance(value, str) and value]
        assert all(value in text for value in said)
        numbers = [value for value in row.values() if not isinstance(value, str)]
        (line,) = [line for line in text.splitlines() if line.startswith(f"{row['name']}  ")]
        words = ["yes" if n is True else "no" if n is False else str(n) for n in numbers]
        assert line.split()[1:] == words


def test_defects_are_told_within_the_width_of_a_page(pinpage, monkeypatch):
    long = "said in more words than a page is wide, " * 3
    told = [history.Exhibit(defect, long, None, None) for defect in Defect]
    monkeypatch.setattr(history, "exhibits", lambda: told)
    done = pinpage("defects")
    assert done.out.startswith("The pin-page patch (RFC, 2013) with one defect at a time")
    assert done.out.count("registry: does not happen") == len(Defect)
    assert max(map(len, done.out.splitlines())) < 80


def test_every_defect_is_shown_on_the_patch_and_none_on_the_registry(pinpage):
    done = pinpage("defects", "--json")
    shown = json.loads(done.out)
    assert done.code == 0
    assert [row["number"] for row in shown["defects"]] == [d.number for d in Defect]
    assert all(row["rfc2013"] for row in shown["defects"])
    assert not any(row["registry"] or row["mended"] for row in shown["defects"])
    for row in shown["measured"]["probes"]:
        assert abs(row["patch"] / row["expected"] - 1) < 0.01
        assert row["registry"] < 2


def test_a_broken_design_ends_with_its_promise_and_1(pinpage):
    broken = "tests.kit.pinlab.broken_designs"
    done = pinpage("check", "--design", f"{broken}:ReportsSuccess", "--examples", "20")
    assert done.code == 1
    assert done.out.startswith("DP4 breaks a promise.\n\nDP4: what it reports is so\n")
    done = pinpage("check", "--design", f"{broken}:ChangesItsMind", "--json")
    assert json.loads(done.out)["finding"]["promise"] == "DP6"


def test_a_design_that_exits_or_a_factory_that_raises_does_not_end_the_command(pinpage, tmp_path):
    done = pinpage("check", "--design", "tests.kit.pinlab.broken_designs:Leaves")
    assert done.code == 1
    assert "ask raised SystemExit: 0" in done.out
    check_one_line(pinpage("check", "--design", "json:dumps"), 2, "the factory raised TypeError")
    path = tmp_path / "script.py"
    path.write_text("import os; os._exit(0)\n")
    check_one_line(pinpage("check", "--design", f"{path}:x"), 2, "does not load: SystemExit: 0")


def test_an_owner_or_a_design_and_not_both(pinpage):
    check_one_line(pinpage("check"), 2, "MODULE:OWNER", "--design")
    check_one_line(pinpage("check", "a:b", "--design", "c:d"), 2, "MODULE:OWNER", "--design")
    check_one_line(pinpage("check", "--design", "nowhere:x"), 2, "nowhere")
