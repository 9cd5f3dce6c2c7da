"""The rules about the tests find a violation that is planted for them."""

import pytest

from tests.arch import suite, table
from tests.kit.project import Project

SHIPPED = {
    "mm/swap/area.py": "class Area:\n    def __init__(self):\n        self._next = self.nr = 0\n",
    "mm/swap/swap.py": "_LIMIT = 3\n",
}
CLEAN = {
    "tests/kit/worlds.py": "import tests.kit.columns\n",
    "tests/kit/columns.py": "",
    "tests/races/bench.py": "",
    "tests/races/test_a.py": "from tests.kit.worlds import x\nfrom tests.races import bench\n",
    "tests/unit/mm/swap/test_area.py": "import tests.kit.worlds\nassert area._next == 0\n",
    "tests/unit/mm/lonely.py": "class Mine:\n    def _own(self): ...\nMine()._own()\n",
}


def plant(root, file="", text=""):
    """Tests and shipped code of a small project, with `text` at the end of `file`."""
    for name, content in (SHIPPED | CLEAN | {file: CLEAN.get(file, "") + text}).items():
        if name:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
    return Project(root, ("tests",)), Project(root)


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("tests/races/test_b.py", "from tests.races.test_a import x", "a test module"),
        ("tests/races/test_b.py", "def f():\n    import tests.races.test_a", "a test module"),
        ("tests/races/conftest.py", "", ""),
        ("tests/cli/test_b.py", "from tests.races import bench", "tests.races.bench is of another"),
        ("tests/unit/mm/test_b.py", "import tests.unit.mm.lonely", "tests.unit.mm.lonely is of"),
        ("tests/kit/late.py", "import tests.races.bench", "tests.races.bench is of another"),
    ],
)
def test_a_helper_from_elsewhere_is_found(tmp_path, file, text, says):
    found = list(suite.helpers_come_from_the_kit(plant(tmp_path, file, text)[0]))
    assert [says in line for line in found] == [True] * bool(says)


@pytest.mark.parametrize(
    ("file", "text", "nr_looks"),
    [
        ("", "", 0),
        ("tests/races/test_b.py", "area._next = area.nr", 1),
        ("tests/races/test_b.py", "setattr(area, '_next', 3)", 1),
        ("tests/races/test_b.py", "patch.setattr('mm.swap.swap._LIMIT', 3)", 1),
        ("tests/races/test_b.py", "from mm.swap.swap import _LIMIT", 1),
        ("tests/kit/b.py", "class A:\n    def f(self):\n        self.area._next = 1\n", 1),
        ("tests/unit/mm/swap/test_b.py", "swap._LIMIT", 0),
        ("tests/unit/mm/test_b.py", "swap._LIMIT", 1),
        ("tests/races/test_b.py", "os._exit(3), area.__dict__", 0),
    ],
)
def test_a_look_inside_that_is_not_listed_is_found(tmp_path, monkeypatch, file, text, nr_looks):
    monkeypatch.setattr(table, "INSIDE_LOOKS", {})
    found = list(suite.looks_inside_are_listed(*plant(tmp_path, file, text)))
    assert len(found) == nr_looks
    assert all(file in line for line in found)


def test_a_look_that_is_listed_has_a_reason_and_a_use_and_they_are_few(tmp_path, monkeypatch):
    projects = plant(tmp_path, "tests/races/test_b.py", "a._next = b._next")
    key = ("tests/races/test_b.py", "_next")
    for allowed, why, most, says in (
        (2, "a reason", 20, []),
        (1, "a reason", 20, ["1 are listed"]),
        (3, "a reason", 20, ["used 2 times"]),
        (2, "", 20, ["used 2 times"]),
        (2, "a reason", 1, ["1 at most"]),
    ):
        monkeypatch.setattr(table, "INSIDE_LOOKS", {key: (allowed, why)})
        monkeypatch.setattr(table, "MOST_INSIDE_LOOKS", most)
        found = list(suite.looks_inside_are_listed(*projects))
        assert [word in line for word, line in zip(says, found, strict=True)] == [True] * len(says)
