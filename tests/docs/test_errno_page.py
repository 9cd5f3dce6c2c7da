"""The page of errnos is what the table says; the codes' own table has what is answered."""

import ast
import re
from pathlib import Path

import pytest

import mm.state.errno
from mm.state.errno import Errno
from tests.docs import errno_page
from tests.kit.project import Project

ROOT = Path(__file__).resolve().parents[2]
_ROW = re.compile(r"^(E[A-Z]+) {2,}\S", re.MULTILINE)


def answered(project):
    """The errors that mm and owners name; `Errno.OK` is none, and has no row."""
    return {
        node.attr
        for name, module in project.modules.items()
        if name.partition(".")[0] in ("mm", "owners")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute)
        if isinstance(node.value, ast.Name) and node.value.id == "Errno" and node.attr != "OK"
    }


def test_the_page_is_what_the_table_says():
    assert errno_page.PAGE.read_text() == errno_page.page(), "make readme"


def test_each_code_has_its_row_and_is_answered_by_somebody():
    rows = _ROW.findall(mm.state.errno.__doc__)
    assert set(rows) == answered(Project(ROOT)) == set(Errno.__members__) - {"OK"}
    assert len(rows) == len(set(rows))


@pytest.mark.parametrize(
    ("folder", "text", "codes"),
    [
        ("mm", "def f():\n    return Errno.ENOSPC if f else Errno.OK", {"ENOSPC"}),
        ("owners", "import errno\nx = errno.EIO, Errno.EBUSY", {"EBUSY"}),
        ("pinlab", "x = Errno.EBUSY", set()),
    ],
)
def test_codes_are_found_in_the_sources(tmp_path, folder, text, codes):
    path = tmp_path / folder / "a.py"
    path.parent.mkdir()
    path.write_text(text)
    assert answered(Project(tmp_path)) == codes
