"""The rules hold for this project.  What each rule means: its docstring; the data: table.py."""

from pathlib import Path

import pytest

from tests.arch import suite, surface, tidy, words
from tests.arch.rules import RULES
from tests.kit.project import Project

ROOT = Path(__file__).resolve().parents[2]


# Trees of syntax are a million objects: they live as long as these tests, not as the process.


@pytest.fixture(scope="module", name="project")
def _project():
    return Project(ROOT)


@pytest.fixture(scope="module", name="suite_of_tests")
def _suite_of_tests():
    return Project(ROOT, ("tests",))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule(rule, project):
    found = list(rule(project))
    assert not found, "\n".join([rule.__doc__, *found])


def test_the_facade_is_what_the_front_page_lists(project):
    assert not list(surface.facade_matches_the_document(project, "docs/index.md"))


def test_the_kernel_map_names_every_file_of_mm(project):
    assert not list(tidy.map_names_every_file(project, "docs/kernel-map.md"))


def test_the_project_speaks_of_itself_alone():
    assert not list(tidy.words_stay_out(ROOT))


def test_helpers_of_tests_come_from_the_kit(suite_of_tests):
    assert not list(suite.helpers_come_from_the_kit(suite_of_tests))


def test_looks_inside_are_listed_with_reasons(project, suite_of_tests):
    assert not list(suite.looks_inside_are_listed(suite_of_tests, project))


def test_the_glossary_explains_words_that_the_code_uses(project):
    assert not list(words.glossary_words_are_used(project, "docs/glossary.md"))
