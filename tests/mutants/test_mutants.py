"""The catalogue applies, covers every race and property, and the harness tells the truth."""

import ast
import functools
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.mutants.catalog import load
from tests.mutants.equivalent import gone
from tests.mutants.mutant import Mutant
from tests.mutants.run import (
    ROOT,
    Outcome,
    Pytest,
    check_baseline,
    project_copy,
    run_all,
    run_one,
    table,
)

CATALOG = load()


@functools.cache
def names_in(path: Path) -> set[str]:
    """Every test function, test class and assigned name (`TestX = Machine.TestCase`) of a file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found


@functools.cache
def statements(file: str) -> tuple[str, list[tuple[int, int]]]:
    """The text of a file, and first and last line of each statement that stands in the module."""
    text = (ROOT / file).read_text()
    return text, [(node.lineno, node.end_lineno) for node in ast.parse(text).body]


def changed_statements(mutant: Mutant) -> str:
    """What a mutant makes of the statements it touches: to parse the whole file takes longer."""
    text, spans = statements(mutant.file)
    changed = mutant.apply(text)
    first = text[: text.index(mutant.old)].count("\n") + 1
    last = first + mutant.old.count("\n")
    touched = [span for span in spans if span[0] <= last and first <= span[1]] or [(first, last)]
    start = min(touched[0][0], first) - 1
    stop = max(touched[-1][1], last) + changed.count("\n") - text.count("\n")
    return "\n".join(changed.splitlines()[start:stop])


@pytest.mark.parametrize("file", sorted({mutant.file for mutant in CATALOG}))
def test_each_mutant_of_a_file_still_applies(file):
    for mutant in CATALOG:
        if mutant.file == file:
            ast.parse(changed_statements(mutant), mutant.name)  # else each test would "catch" it
            for test in mutant.tests:
                path, *parts = test.split("::")
                assert (ROOT / path).exists(), f"{mutant.name}: no such test file: {path}"
                wanted = {part.partition("[")[0] for part in parts}
                assert not wanted or wanted <= names_in(ROOT / path), f"{mutant.name}: {test}"


def test_names_are_unique():
    twice = [name for name, count in Counter(m.name for m in CATALOG).items() if count > 1]
    assert not twice


def test_every_race_and_property_has_a_mutant():
    guarded = {test.partition("::")[0] for mutant in CATALOG for test in mutant.tests}
    files = [
        path.relative_to(ROOT).as_posix()
        for folder in ("tests/races", "tests/property")
        for path in sorted((ROOT / folder).rglob("test_*.py"))
    ]
    assert not [path for path in files if path not in guarded]


# The harness itself, on a project of one line.


@pytest.fixture
def project(tmp_path):
    """A module that doubles, one test that looks and one that does not."""
    (tmp_path / "mm").mkdir()
    (tmp_path / "mm" / "double.py").write_text("def double(x):\n    return x + x\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_double.py").write_text(
        "import time\n"
        "from mm.double import double\n"
        "def test_looks():\n    assert double(3) == 6\n"
        "def test_looks_away():\n    double(3)\n"
        "def test_fails_anyway():\n    assert double(3) == 7\n"
        "def test_waits():\n    time.sleep(double(0))\n"
        "import pytest\n"
        "@pytest.mark.timeout(1, method='thread')\n"
        "def test_has_a_limit():\n    time.sleep(double(0))\n"
    )
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\npythonpath = ['.']\n")
    return tmp_path


@pytest.fixture(scope="module")
def runner():
    """One for all: what it has loaded takes longer than these tests."""
    return Pytest()


def doubling(new, *tests, old="x + x", file="mm/double.py"):
    """A mutant of the little project."""
    return Mutant("m", "D1", file, old, new, [f"tests/test_double.py{test}" for test in tests])


@pytest.mark.mutant
@pytest.mark.parametrize(
    ("mutant", "outcome", "detail"),
    [
        (doubling("x * x", "::test_looks"), Outcome.CAUGHT, "tests/test_double.py::test_looks"),
        (doubling("x * x", "::test_looks_away"), Outcome.SURVIVED, "1 passed"),
        (doubling("x +", "::test_looks"), Outcome.BROKEN, "SyntaxError"),
        (doubling("x * x", "::test_nowhere"), Outcome.BROKEN, "not found"),
        (doubling("x * x", "", old="y + y"), Outcome.BROKEN, "occurs 0 times"),
        (doubling("x * x", "", old="x"), Outcome.BROKEN, "occurs 3 times"),
        (doubling("9", "::test_waits"), Outcome.TIMEOUT, "no end"),
        (doubling("9", "::test_has_a_limit"), Outcome.TIMEOUT, "Timeout"),
    ],
    ids=["caught", "survives", "syntax", "no-such-test", "absent", "ambiguous", "hangs", "limit"],
)
def test_only_a_failing_test_is_a_catch(project, runner, mutant, outcome, detail):
    with project_copy(project) as copy:
        limit_s = 2.0 if "waits" in str(mutant.tests) else 60.0
        result = run_one(mutant, copy, timeout_s=limit_s, pytest=runner)
        assert result.outcome is outcome
        assert detail in result.detail
        assert (copy / "mm" / "double.py").read_text() == "def double(x):\n    return x + x\n"


@pytest.mark.mutant
def test_a_test_that_fails_anyway_is_found_out(project, runner):
    with project_copy(project) as copy:
        wrong = check_baseline([doubling("x", "::test_fails_anyway")], copy, pytest=Pytest())
        assert "test_fails_anyway" in wrong
        assert check_baseline([doubling("x", "::test_looks")], copy, pytest=runner) == ""


@pytest.mark.mutant
def test_a_file_that_minds_being_forked_gets_a_process_of_its_own(project):
    """Its test passes where nobody has loaded numpy before: not in a child of who has."""
    (project / "tests" / "test_alone.py").write_text(
        "import sys\nLOADED = 'numpy' in sys.modules\ndef test_minds():\n    assert not LOADED\n"
    )
    mutant, runner = (
        Mutant("m", "D1", "mm/double.py", "x + x", "9", ["tests/test_alone.py"]),
        Pytest(),
    )
    with project_copy(project) as copy:
        assert runner.run(mutant.tests, copy, 60.0, "")[0] == 1, "a child has it"
        assert run_one(mutant, copy, pytest=runner).outcome is Outcome.CAUGHT, "and catches all"
        assert check_baseline([mutant], copy, pytest=runner) == ""
        assert runner.alone == {"tests/test_alone.py"}
        assert run_one(mutant, copy, pytest=runner).outcome is Outcome.SURVIVED


@pytest.mark.mutant
def test_a_child_has_loaded_nothing_of_the_project(project, runner):
    (project / "tests" / "test_fresh.py").write_text(
        "import sys\n"
        "OURS = [name for name in sys.modules if name.partition('.')[0] in"
        " ('pinpage', 'mm', 'owners', 'pinlab')]\n"
        "def test_fresh():\n    assert OURS == [] and 'numpy' in sys.modules\n"
    )
    with project_copy(project) as copy:
        code, output = runner.run(["tests/test_fresh.py"], copy, 60.0, "")
    assert code == 0, output


@pytest.mark.mutant
@pytest.mark.slow
def test_a_change_of_the_same_length_is_not_hidden_by_stale_bytecode(project):
    """Two mutants in one copy, back to back: each must meet its own source, then the original."""
    with project_copy(project) as copy:
        for new in ("x * x", "x - x"):
            result = run_one(doubling(new, "::test_looks"), copy)
            assert result.outcome is Outcome.CAUGHT
        assert check_baseline([doubling("x", "::test_looks")], copy) == ""


@pytest.mark.mutant
def test_results_keep_their_order_and_the_table_names_the_survivor(project, runner):
    mutants = [doubling("x * x", "::test_looks_away"), doubling("x * x", "::test_looks")]
    results = run_all(mutants, project, jobs=2, pytest=runner)
    assert [result.outcome for result in results] == [Outcome.SURVIVED, Outcome.CAUGHT]
    lines = table(results).splitlines()
    assert "SURVIVED" in lines[1]
    assert "test_looks" in lines[2]


def test_a_mutant_that_means_nothing_is_refused():
    with pytest.raises(ValueError, match="same text"):
        doubling("x + x", "::test_looks")
    with pytest.raises(ValueError, match="names no test"):
        doubling("x")


@pytest.mark.slow
def test_each_case_that_a_mutant_names_is_there():
    """By the parameters in brackets, too, which only a collection knows."""
    named = {test for mutant in CATALOG for test in mutant.tests if "[" in test}
    files = sorted({test.partition("::")[0] for test in named})
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider"]
    command += ["-p", "no:xdist", "-m", "", *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert named
    assert not named - set(done.stdout.splitlines())


def test_what_is_said_to_change_nothing_is_still_there():
    assert not gone()
