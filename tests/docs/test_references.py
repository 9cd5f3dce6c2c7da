"""What is named has its entry; a label is one invariant's, one promise's or one law's."""

from collections import Counter
from pathlib import Path

import pytest

from pinlab.design_kit.promises import DesignPromise
from pinlab.differential.laws import Law
from pinpage.testing.conformance.promises import Promise
from tests.docs import references
from tests.kit.project import Project

ROOT = Path(__file__).resolve().parents[2]
TEXTS = sorted(
    path
    for folder in ("pinpage", "mm", "owners", "pinlab", "docs", "tests")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in (".py", ".md") and path.name != Path(__file__).name
)
ENTRIES = references.told((ROOT / references.RACES).read_text())


@pytest.fixture(scope="module", name="project")
def _project():
    return Project(ROOT)  # as long as these tests run: its trees are half a million objects


def test_every_race_and_every_rule_is_told():
    assert {f"R-{n}" for n in range(1, 37)} | set("ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ENTRIES


def test_every_race_and_rule_that_is_named_has_its_entry():
    found = {
        path.relative_to(ROOT).as_posix(): names
        for path in TEXTS
        if (names := references.unresolved(path.read_text(), ENTRIES))
    }
    assert not found


def labels_of_more_than_one(project):
    labels = Counter(one.label for one in references.declared(project))
    labels.update(references.numbered(project))
    return {label for label, count in labels.items() if count > 1}


def test_each_label_is_declared_once(project):
    assert not labels_of_more_than_one(project)


def test_every_promise_and_every_law_is_numbered(project):
    found = set(references.numbered(project))
    assert found == {one.name for numbers in (Promise, DesignPromise, Law) for one in numbers}


def test_each_label_in_a_message_is_declared(project):
    labels = {one.label for one in references.declared(project)}
    found = references.checked_in(project)
    assert not {label: paths for label, paths in found.items() if label not in labels}


def test_the_messages_of_a_label_come_from_the_package_that_declares_it(project):
    place = {one.label: one.path.partition("/")[0] for one in references.declared(project)}
    found = references.checked_in(project).items()
    assert not [(n, p) for n, paths in found for p in paths if p.partition("/")[0] != place[n]]


def test_the_page_of_invariants_is_what_the_code_says(project):
    shown = (ROOT / references.INVARIANTS).read_text()
    shown = shown.partition(references.BEGIN)[2].partition(references.END)[0]
    assert shown == references.table(project), "make readme"


# The rules find what is planted.

DOCSTRING = '''"""D.

    Invariants, run by `check` (the parts bring
    their own):
        A1 first,
            over two lines.
        A2 second.
    Other:
        A9 is none.
    """
'''


def project_of(tmp_path, text):
    path = tmp_path / "mm" / "a.py"
    path.parent.mkdir()
    path.write_text(text)
    return Project(tmp_path)


def test_declarations_are_read(tmp_path):
    found = list(references.declared(project_of(tmp_path, DOCSTRING)))
    assert [(one.label, one.text) for one in found] == [
        ("A1", "first, over two lines."),
        ("A2", "second."),
    ]
    assert found[0].path == "mm/a.py"


@pytest.mark.parametrize(
    ("numbers", "twice"),
    [
        ("A1 = ('a promise', 'and why')\n    A3 = ('another', 'and why')", {"A1"}),
        ("A3 = 'a law'\n\nclass C:\n    A3 = 'a promise'", {"A3"}),
        ("A3 = 'a law'\n    first = 'no label'", set()),
    ],
)
def test_a_label_of_two_things_is_found(tmp_path, numbers, twice):
    project = project_of(tmp_path, f"{DOCSTRING}\n\nclass B:\n    {numbers}\n")
    assert labels_of_more_than_one(project) == twice


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ('require(ok, "A7 broken")', {"A7"}),
        ('require(ok, f"A7 {x} broken")', {"A7"}),
        ("require(ok, 'A7broken', 'see A7')", set()),
        ('def f():\n    """A7 in a docstring."""', set()),
    ],
)
def test_labels_of_messages_are_read(tmp_path, text, labels):
    assert references.checked_in(project_of(tmp_path, text)).keys() == labels


def test_an_entry_that_is_missing_is_found():
    told = references.told("### R-1: a\n| **K** | says |\n")
    assert told == {"R-1", "K"}
    text = "R-1, R-99 (rule K), rules G/K\nof Rule Q"
    assert references.unresolved(text, told) == ["R-99", "G", "Q"]
