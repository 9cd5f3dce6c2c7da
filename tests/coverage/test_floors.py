"""The floors of coverage are read from what was measured, and a package below its own is named."""

import pytest

coverage = pytest.importorskip("coverage")

from tests.coverage import floors  # noqa: E402  (where coverage.py is installed)

SOURCE = "def f(x):\n    if x:\n        return 1\n    return 2\n"


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """Two packages: one of which every branch ran, one that nobody imported."""
    for name in ("ran", "idle"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "some.py").write_text(SOURCE)
    monkeypatch.setattr(floors, "FLOORS", {"ran": 98.0, "idle": 92.0})
    data = coverage.CoverageData(str(tmp_path / ".coverage"))
    arcs = [(-1, 1), (1, -1), (-1, 2), (2, 3), (2, 4), (3, -1), (4, -1)]
    data.add_arcs({str(tmp_path / "ran" / "some.py"): arcs})
    data.write()
    found = coverage.Coverage(data_file=str(tmp_path / ".coverage"), config_file=False, branch=True)
    found.load()
    return found


def test_a_package_that_nobody_ran_is_below_its_floor(measured, tmp_path):
    ran, idle = found = floors.shares(measured, tmp_path)
    assert (ran.percent, idle.percent) == (100, 0)
    assert (ran.nr_all, ran.nr_run, idle.nr_run) == (6, 6, 0)
    assert floors.below(found) == ["idle"]
    lines = floors.table(found).splitlines()
    assert "at least 98 %" in lines[0]
    assert "BELOW 92 %" in lines[1]


def test_one_branch_less_is_seen(measured, tmp_path):
    floors.FLOORS["ran"] = 100.0
    (tmp_path / "ran" / "more.py").write_text("X = 1\n")
    (ran, _) = floors.shares(measured, tmp_path)
    assert 80 < ran.percent < 100
    assert ran.is_below
