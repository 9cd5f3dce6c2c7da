"""Every race of the catalogue is explored, and the bug that it is there for is found."""

import re
from pathlib import Path

import pytest
from attrs import evolve

from pinlab.races.catalog import RACES, race_named
from pinlab.races.race import Race, run_broken, run_race, run_sound
from pinlab.races.story import as_story, sentence
from pinpage.errors import PinpageError
from pinpage.testing.explore import Slice

PAGE = Path("docs/reference/races.md")
NAMES = [race.name for race in RACES]


NEED_TWO = {"R-1"}
"""Races whose bug takes two preemptions; one is enough for the others."""


def few(race):
    """The race with as few preemptions as find its bug."""
    return evolve(race, max_preemptions=2 if race.name in NEED_TWO else 1)


@pytest.mark.parametrize("race", RACES, ids=NAMES)
def test_nothing_breaks_and_the_bug_is_found(race: Race):
    race = few(race)
    run_sound(race).require_none()
    assert run_broken(race).violation is not None, f"{race.broken.what}: nothing broke"


@pytest.mark.slow
@pytest.mark.parametrize("race", RACES, ids=NAMES)
def test_every_schedule_within_the_stated_bound(race: Race):
    outcome = run_race(race)
    outcome.sound.require_none()
    assert outcome.is_good


def test_the_catalogue_is_the_page():
    told = re.findall(r"^### R-(\d+): (.*)$", PAGE.read_text(), re.MULTILINE)
    assert [(str(race.number), race.title) for race in RACES] == told


def test_the_rules_are_those_of_the_page():
    rules = set(re.findall(r"^\| \*\*(.)\*\* \|", PAGE.read_text(), re.MULTILINE))
    assert {letter for race in RACES for letter in race.rule} == rules


def test_every_actor_is_introduced():
    for race in RACES:
        scenario = race.make()
        assert set(scenario.actors) == set(race.actors), race.name
        for actor in scenario.actors.values():
            actor.close()


def test_a_bug_is_gone_when_it_is_not_planted_any_more():
    race = race_named("r7")
    assert run_broken(race).violation is not None
    run_sound(race).require_none()


def test_a_bug_that_cannot_be_planted_is_an_error():
    race = race_named("7")
    wrong = evolve(race, broken=evolve(race.broken, old="no such line"))
    with pytest.raises(PinpageError, match="0 times"):
        run_broken(wrong)


def test_a_race_that_is_not_there():
    with pytest.raises(PinpageError, match="R-1 to R-36"):
        race_named("37")


def test_a_story_says_who_did_what_in_turn_and_what_came_of_it():
    race = race_named("R-31")
    told = as_story(race, run_broken(race).violation)
    assert "  1. one  has page 0" in told
    assert "deadlock" in told.splitlines()[-1]
    assert race.broken.what in told


def test_steps_are_told_in_words():
    assert sentence(Slice("mover", "freeze")) == "counts the references and freezes them"
    assert sentence(Slice("unuse", "comes to lock_page")) == "is about to call lock_page"
