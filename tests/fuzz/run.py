"""Draw new examples, for a time one chooses: the fuzzers here and every hypothesis test.

    python -m tests.fuzz.run [--seconds S] [--seed N] [-- PYTEST_ARGUMENT...]

Half of the time goes to the fuzzers, in equal shares, the rest to the files with hypothesis
tests, one after the other in an order of the seed's, and again with the next seed when all
were run.  A file that was begun is run to its end.  What fails is printed as hypothesis and
pytest print it, and under it the line that draws the same once more.
"""

import argparse
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

__all__ = ["commands", "main"]

ROOT = Path(__file__).resolve().parents[2]
FUZZERS = "tests/fuzz"
MARKED = re.compile(r"^(?:pytestmark = |@pytest).*mark\.fuzz", re.MULTILINE)
LEAST_S = 1.0
"""Less than this is no time for a fuzzer."""
NOTHING_RUN = 5
"""What pytest exits with if no test was selected."""
PARALLEL = ("-n", "auto", "--maxprocesses=8", "--dist=worksteal")

Command = tuple[dict[str, str], list[str]]
"""What the environment gains, and arguments of pytest."""


def hypothesis_files(root: Path = ROOT) -> list[str]:
    """Test files that draw examples, from the root of the project, sorted."""
    return sorted(
        path.relative_to(root).as_posix()
        for path in (root / "tests").rglob("test_*.py")
        if re.search(r"^(?:from|import) hypothesis", path.read_text(), re.MULTILINE)
    )


def nr_fuzzers(root: Path = ROOT) -> int:
    """How many functions share the fuzzers' half, roughly: parametrized ones count once."""
    texts = [path.read_text() for path in (root / FUZZERS).glob("test_*.py")]
    fuzzers = filter(MARKED.search, texts)
    return sum(len(re.findall(r"^def test_", text, re.MULTILINE)) for text in fuzzers)


def commands(seconds: float, seed: int, root: Path = ROOT) -> Iterator[Command]:
    """One run of pytest after the other, without an end.

    Args:
        seconds: the whole time; the fuzzers' share follows from it.
        seed: of everything.
        root: the project.
    """
    workers = min(os.cpu_count() or 1, 8)
    share_s = max(LEAST_S, seconds / 2 * workers / max(1, nr_fuzzers(root)))
    yield (
        {"PINPAGE_FUZZ_SEED": str(seed), "PINPAGE_FUZZ_SECONDS": f"{share_s:g}"},
        ["-m", "fuzz", FUZZERS],
    )
    files = hypothesis_files(root)
    while True:
        random.Random(seed).shuffle(order := files.copy())
        for file in order:
            yield (
                {"HYPOTHESIS_PROFILE": "fuzz"},
                ["-m", "hypothesis and not slow", f"--hypothesis-seed={seed}", file],
            )
        seed += 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until the time is over or something has failed; 0 if nothing has."""
    options = _parse(arguments)
    seed = time.time_ns() % 2**32 if options.seed is None else options.seed
    print(f"seed {seed}; the same again: make fuzz SEED={seed} SECONDS={options.seconds:g}")
    ends, nr_runs = time.monotonic() + options.seconds, 0
    for gained, selected in commands(options.seconds, seed):
        if nr_runs and time.monotonic() >= ends:
            break
        code = _pytest(gained, [*PARALLEL, *selected, *options.pytest])
        nr_runs += 1
        if code not in (0, NOTHING_RUN):
            print(f"\nTo see it again:\n\n    {_as_typed(gained, selected)}\n", file=sys.stderr)
            return 1
    print(f"nothing found in {nr_runs} runs of pytest, seed {seed}")
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seconds", type=float, default=60.0, help="time for all (60)")
    parser.add_argument("--seed", type=int, help="drawn from the clock if left out")
    parser.add_argument("pytest", nargs="*", help="more arguments of pytest, after --")
    return parser.parse_args(arguments)


def _pytest(gained: Mapping[str, str], arguments: list[str]) -> int:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *arguments],
        cwd=ROOT,
        env=os.environ | gained,
        check=False,
    ).returncode


def _as_typed(gained: Mapping[str, str], selected: Sequence[str]) -> str:
    """The run as one would type it, in one process: that is easier to look into."""
    words = [f"'{word}'" if " " in word else word for word in selected]
    names = [f"{name}={value}" for name, value in gained.items()]
    return " ".join([*names, "python -m pytest -q", *words])


if __name__ == "__main__":
    sys.exit(main())
