"""`pinpage races`: the table, the story of a bug, JSON, exit codes, and Ctrl-C."""

import json

import pytest
from attrs import evolve

import pinlab.races.race as shipped
from pinlab.cli.errors import INTERRUPTED
from pinlab.races.catalog import race_named


@pytest.fixture
def run(pinpage):
    """The command in this process: what it printed, and its exit code."""
    return lambda *arguments: pinpage("races", *arguments)


def test_some_races_as_a_table(run):
    done = run("R-6", "r-9")
    assert done.code == 0
    rows = done.out.splitlines()
    assert rows[1].split()[:5] == ["R-6", "E", "all", "7", "yes"]
    assert rows[2].startswith("R-9 ")
    assert "2 races, 12 schedules; 2 of 2 bugs found." in done.out


def test_a_long_title_goes_on_below_itself(run):
    done = run("R-29")
    lines = done.out.splitlines()
    assert max(map(len, lines)) < 80
    assert lines[1].endswith("an owner that joins between the")
    assert lines[2].strip() == "question and the move"
    assert lines[2].index("question") == lines[1].index("an owner") == lines[0].index("title")


def test_the_story_of_a_bug(run):
    done = run("R-6", "--broken")
    assert done.code == 0
    assert "R-6: an allocation into a page under reclaim" in done.out
    assert "  1. reclaim" in done.out
    assert "So (interrupted 1 time): reclaim of a page did not come to its end" in done.out


def test_both_as_json(run):
    (row,) = json.loads(run("R-6", "--json").out)["races"]
    assert (row["race"], row["is_exhausted"], row["broke"], row["bug_is_found"]) == (
        "R-6", True, None, True,
    )  # fmt: skip
    (told,) = json.loads(run("R-6", "--broken", "--json").out)["races"]
    assert told["story"][0]["actor"] == "reclaim"
    assert told["error"] == "reclaim of a page did not come to its end"


def test_a_race_that_is_not_there_is_one_line(run):
    done = run("nonsense")
    assert done.code == 2
    assert "R-1 to R-36" in done.err


def test_a_bug_that_breaks_nothing_is_a_failure(run, monkeypatch):
    race = race_named("R-6")
    harmless = evolve(race, broken=evolve(race.broken, new=f"({race.broken.old})"))
    monkeypatch.setattr("pinlab.races.catalog.RACES", (harmless,))
    done = run()
    assert done.code == 1
    assert "NOT FOUND" in done.out
    done = run("--broken")
    assert done.code == 1
    assert "R-6: the bug broke nothing" in done.err


def test_a_library_that_breaks_is_a_failure_and_shows_the_schedule(run):
    with race_named("R-3").broken.planted():
        done = run("R-6", "--json")
        assert done.code == 1
        assert "broken after" in json.loads(done.out)["races"][0]["broke"]


def test_ctrl_c_keeps_what_is_done(run, monkeypatch):
    real = shipped.run_race

    def interrupted(race):
        if race.number == 9:
            raise KeyboardInterrupt
        return real(race)

    monkeypatch.setattr(shipped, "run_race", interrupted)
    done = run("R-6", "R-9", "R-7")
    assert done.code == INTERRUPTED
    assert "R-6 " in done.out
    assert "R-9 " not in done.out
