"""The rules hold for this project.  What each rule means: its docstring; the data: table.py."""

from pathlib import Path

import pytest

from tests.arch import suite, surface, tidy, words
from tests.arch.rules import RULES
from tests.kit.project import Project

ROOT = Path(__file__).resolve().parents[2]
PROJECT = Project(ROOT)
TESTS = Project(ROOT, ("tests",))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule(rule):
    found = list(rule(PROJECT))
    assert not found, "\n".join([rule.__doc__, *found])


def test_the_facade_is_what_the_front_page_lists():
    assert not list(surface.facade_matches_the_document(PROJECT, "docs/index.md"))


def test_the_kernel_map_names_every_file_of_mm():
    assert not list(tidy.map_names_every_file(PROJECT, "docs/kernel-map.md"))


def test_the_project_speaks_of_itself_alone():
    assert not list(tidy.words_stay_out(ROOT))


def test_helpers_of_tests_come_from_the_kit():
    assert not list(suite.helpers_come_from_the_kit(TESTS))


def test_looks_inside_are_listed_with_reasons():
    assert not list(suite.looks_inside_are_listed(TESTS, PROJECT))


def test_the_glossary_explains_words_that_the_code_uses():
    assert not list(words.glossary_words_are_used(PROJECT, "docs/glossary.md"))
