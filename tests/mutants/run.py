"""Plant every mutant, one at a time, and see the suite fail.

    python -m tests.mutants.run [--jobs N] [--timeout S] [NAME]...

Each worker has one copy of the project.  It changes the copy, runs the tests that the mutant
names, and changes it back; the checkout itself is never touched.  Only a failing test is a
catch.  A suite that cannot be collected, that runs no test or that does not end has proved
nothing, and counts as a survivor.  A test that runs into its own time limit (pytest-timeout)
does not end either: it says that something took long, not that anything was wrong, and on a
slow machine it would catch everything.  First of all the same tests must pass without a
mutant: a test that fails anyway would catch everything, too.

Tests run in children of a process that has loaded everything but the project (`warm.py`).  A
file whose tests fail there and pass in a process of their own, without any mutant, always gets
one; and so does a mutant that survived, for a second try.
"""

import argparse
import compileall
import enum
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from itertools import groupby
from pathlib import Path
from py_compile import PycInvalidationMode

from attrs import frozen
from rich.console import Console
from rich.progress import Progress

from tests.mutants.catalog import load
from tests.mutants.mutant import Mutant
from tests.mutants.warm import WarmPytest

__all__ = ["Outcome", "Pytest", "Result", "check_baseline", "main", "run_all", "run_one", "table"]

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("pinpage", "mm", "owners", "pinlab", "tests", "docs")
COPIED_FILES = ("pyproject.toml", "conftest.py", "README.md", "Makefile")
TIME_LIMIT = "++ Timeout ++"
"""What pytest-timeout writes before it ends the process."""
PYTEST_TESTS_FAILED = 1
"""The one exit code of pytest that says: collected, run, and a test failed."""


class Outcome(enum.Enum):
    """What came of one mutant."""

    CAUGHT = "caught"
    SURVIVED = "SURVIVED"
    BROKEN = "PROVED NOTHING"
    """Collection failed, no test ran, or the change could not be applied."""
    TIMEOUT = "TIMED OUT"


@frozen
class Result:
    """One mutant, what came of it, and how long that took.

    Attributes:
        detail: the first failing test where it was caught, else the end of the output.
        elapsed_s: wall time in seconds.
    """

    mutant: Mutant
    outcome: Outcome
    detail: str
    elapsed_s: float


@contextmanager
def project_copy(root: Path) -> Iterator[Path]:
    """A throw-away copy of what the tests need, compiled so that any change is noticed.

    Bytecode is checked by the hash of its source: a mutant of the same length, planted within
    the same second, is not mistaken for the original.
    """
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = Path(folder)
        copy.chmod(0o755)  # some tests go on as somebody else, who has to find the modules
        ignore = shutil.ignore_patterns("__pycache__", ".*")
        for name in COPIED:
            if (root / name).is_dir():
                shutil.copytree(root / name, copy / name, ignore=ignore)
        for name in COPIED_FILES:
            if (root / name).is_file():
                shutil.copy(root / name, copy / name)
        compileall.compile_dir(
            copy, quiet=2, invalidation_mode=PycInvalidationMode.CHECKED_HASH, workers=1
        )
        yield copy


class Pytest:
    """How tests are run, and which files want a process of their own.

    Attributes:
        alone: files, from the root of the project, whose tests mind being forked.
    """

    def __init__(self) -> None:
        """As far as is known no file minds."""
        self.alone: set[str] = set()
        self._warm = WarmPytest()

    def run(
        self, tests: Sequence[str], copy: Path, timeout_s: float, marks: str, *, alone: bool = False
    ) -> tuple[int, str]:
        """Exit code and output of pytest on `tests`; where `marks` is empty slow ones too.

        In one process: mutants are what runs side by side here.

        Args:
            tests: as pytest names them.
            copy: of the project.
            timeout_s: seconds until the run is given up.
            marks: as for `check_baseline`.
            alone: in a process of their own in any case.

        Raises:
            subprocess.TimeoutExpired: there was no end.
        """
        arguments = ["-x", "-q", "-p", "no:cacheprovider", "-m", marks, "--tb=line", "-rfE"]
        arguments += ["-p", "no:xdist", "-p", "no:frontrun"]  # its own tests start it themselves
        arguments += ["-W", "ignore:Module already imported", *tests]
        gained = {
            "HYPOTHESIS_PROFILE": "mutant",
            "PINPAGE_NR_MACHINES": "300",
            "PINPAGE_POINT_STEP": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(copy),
            "COLUMNS": "200",
        }
        if not alone and self.alone.isdisjoint(test.partition("::")[0] for test in tests):
            return self._warm.run(arguments, copy, gained, timeout_s)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *arguments],
            cwd=copy,
            env=os.environ | gained,
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout


def run_one(
    mutant: Mutant,
    copy: Path,
    *,
    timeout_s: float = 60.0,
    marks: str = "",
    pytest: Pytest | None = None,
) -> Result:
    """Plant `mutant` in `copy`, run its tests, take it out again.

    Args:
        mutant: what to plant.
        copy: a project copy that nobody else uses at the moment.
        timeout_s: seconds until the run is given up.
        marks: as for `check_baseline`.
        pytest: what runs the tests; None: one of its own.
    """
    pytest = pytest or Pytest()
    path = copy / mutant.file
    started = time.perf_counter()
    original = ""
    try:
        original = path.read_text()
        path.write_text(mutant.apply(original))
        outcome, detail = _judge(*pytest.run(mutant.tests, copy, timeout_s, marks))
        if outcome in (Outcome.SURVIVED, Outcome.BROKEN):
            again = pytest.run(mutant.tests, copy, timeout_s, marks, alone=True)
            outcome, detail = _judge(*again)
    except subprocess.TimeoutExpired:
        outcome, detail = Outcome.TIMEOUT, f"no end after {timeout_s:g} s"
    except (OSError, ValueError) as error:
        outcome, detail = Outcome.BROKEN, str(error)
    finally:
        if original:
            path.write_text(original)
    return Result(mutant, outcome, detail, time.perf_counter() - started)


def check_baseline(
    mutants: Sequence[Mutant],
    copy: Path,
    *,
    jobs: int = 2,
    timeout_s: float = 300.0,
    marks: str = "",
    pytest: Pytest | None = None,
) -> str:
    """Run every named test without a mutant; what went wrong, or an empty text.

    File by file: the limit is one for a file, however many files there are.

    Args:
        mutants: whose tests to run, each test once.
        copy: an unchanged project copy, which stays unchanged.
        jobs: files at a time.
        timeout_s: seconds until the run of one file is given up.
        marks: of the tests that count, as pytest's -m has them; all by default.
        pytest: what runs the tests, and learns which mind being forked; None: one of its own.
    """
    pytest = pytest or Pytest()
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    files = [list(of_file) for _, of_file in groupby(tests, lambda test: test.partition("::")[0])]

    def wrong_in(of_file: list[str]) -> str:
        file = of_file[0].partition("::")[0]
        try:
            code, output = pytest.run(of_file, copy, timeout_s, marks)
            if code:
                pytest.alone.add(file)
                code, output = pytest.run(of_file, copy, timeout_s, marks)
        except subprocess.TimeoutExpired:
            return f"{file}: no end after {timeout_s:g} s"
        return _tail(output, nr_lines=15) if code else ""

    with ThreadPoolExecutor(jobs) as pool:
        wrong = list(pool.map(wrong_in, files))
    return next(filter(None, wrong), "")


def run_all(
    mutants: Sequence[Mutant],
    root: Path = ROOT,
    *,
    jobs: int = 2,
    timeout_s: float = 60.0,
    marks: str = "",
    pytest: Pytest | None = None,
    progress: Callable[[Result], None] = lambda result: None,
) -> list[Result]:
    """Run every mutant, `jobs` at a time; results in the order of `mutants`.

    Args:
        mutants: what to plant.
        root: the project that is copied, once for each job.
        jobs: workers, each with its own copy.
        timeout_s: seconds until one mutant is given up.
        marks: as for `check_baseline`.
        pytest: what runs the tests; None: one of its own.
        progress: called with each result as it comes.
    """
    pytest = pytest or Pytest()
    copies: queue.SimpleQueue[Path] = queue.SimpleQueue()

    def work(mutant: Mutant) -> Result:
        copy = copies.get()
        try:
            return run_one(mutant, copy, timeout_s=timeout_s, marks=marks, pytest=pytest)
        finally:
            copies.put(copy)

    with ExitStack() as stack, ThreadPoolExecutor(jobs) as pool:
        for _ in range(jobs):
            copies.put(stack.enter_context(project_copy(root)))
        futures = [pool.submit(work, mutant) for mutant in mutants]
        for future in as_completed(futures):
            progress(future.result())
        return [future.result() for future in futures]


def table(results: Iterable[Result]) -> str:
    """The results as text: name, what it guards, what caught it, seconds."""
    rows = [("name", "guards", "caught by", "seconds")]
    for result in results:
        caught = result.outcome is Outcome.CAUGHT
        by = result.detail if caught else result.outcome.value
        rows.append((result.mutant.name, result.mutant.guards, by, f"{result.elapsed_s:.1f}"))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:<{widths[2]}}  {d:>{widths[3]}}"
        for a, b, c, d in rows
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the mutants that are named (all by default); 0 if each was caught, else 1."""
    options = _parse(arguments)
    mutants = [m for m in load() if not options.names or _matches(m, options.names)]
    if not mutants:
        print(f"no mutant matches {' '.join(options.names)}", file=sys.stderr)
        return 2
    pytest = Pytest()
    with project_copy(ROOT) as copy:
        wrong = check_baseline(mutants, copy, jobs=options.jobs, pytest=pytest)
    if wrong:
        print(f"The tests fail without any mutant:\n{wrong}", file=sys.stderr)
        return 1
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("mutants", total=len(mutants))
        results = run_all(
            mutants,
            jobs=options.jobs,
            timeout_s=options.timeout,
            pytest=pytest,
            progress=lambda result: bar.advance(task),
        )
    print(table(results))
    missed = [result for result in results if result.outcome is not Outcome.CAUGHT]
    for result in missed:
        print(f"\n{result.mutant.name}: {result.outcome.value}\n{result.detail}", file=sys.stderr)
    print(f"{len(results) - len(missed)} of {len(results)} mutants caught")
    return 1 if missed else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants.run", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="name, guard or file; a part will do"
    )
    parser.add_argument("--jobs", type=int, default=2, help="mutants at a time")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds for one mutant")
    return parser.parse_args(arguments)


def _matches(mutant: Mutant, wanted: Sequence[str]) -> bool:
    return any(w in mutant.name or w in mutant.guards or w in mutant.file for w in wanted)


def _judge(code: int, output: str) -> tuple[Outcome, str]:
    if TIME_LIMIT in output:
        return Outcome.TIMEOUT, _tail(output, nr_lines=8)
    failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", output, re.MULTILINE)
    if code == PYTEST_TESTS_FAILED and failed:
        return Outcome.CAUGHT, failed[1]
    return (Outcome.SURVIVED if code == 0 else Outcome.BROKEN), _tail(output, nr_lines=8)


def _tail(output: str, *, nr_lines: int) -> str:
    return "\n".join(output.strip().splitlines()[-nr_lines:])


if __name__ == "__main__":
    sys.exit(main())
