"""Run the stateful machines until they have taken so many steps together, and lost nothing.

    make soak                STEPS=1000000
    python -m tests.fuzz.soak --steps N [--seed N]

A machine here is a world, rules that change it and a slow, obvious model beside it; after each
step every invariant is checked and every byte is read back.  All files with machines run, each
with examples of its own; then again with the next seed, until there are enough steps.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.run import PARALLEL, ROOT

__all__ = ["machine_files", "main"]


def machine_files(root: Path = ROOT) -> list[str]:
    """Test files with stateful machines, from the root of the project, sorted."""
    return sorted(
        path.relative_to(root).as_posix()
        for path in (root / "tests").rglob("test_*.py")
        if re.search(r"^class \w+\(RuleBasedStateMachine\)", path.read_text(), re.MULTILINE)
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until there are enough steps or something has failed; 0 if nothing has."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--steps", type=int, default=1_000_000, help="of all machines together")
    parser.add_argument("--seed", type=int, help="drawn from the clock if left out")
    options = parser.parse_args(arguments)
    seed = time.time_ns() % 2**32 if options.seed is None else options.seed
    nr_steps, files = 0, machine_files()
    while nr_steps < options.steps:
        with tempfile.TemporaryDirectory(prefix="soak-") as folder:
            code = _run(files, seed, folder)
            nr_steps += sum(int(path.read_text()) for path in Path(folder).glob("*.steps"))
        if code:
            print(f"after {nr_steps:,} steps, seed {seed}: see above", file=sys.stderr)
            return 1
        print(f"{nr_steps:,} of {options.steps:,} steps", flush=True)
        seed += 1
    print(f"{nr_steps:,} steps of {len(files)} files of machines: nothing was lost")
    return 0


def _run(files: Sequence[str], seed: int, folder: str) -> int:
    gained = {"HYPOTHESIS_PROFILE": "fuzz", "PINPAGE_SOAK": folder}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.fuzz.soak_steps", *PARALLEL]
    command += ["-m", "hypothesis and not slow", f"--hypothesis-seed={seed}", *files]
    command += ["--timeout=3600"]  # who has failed needs minutes to find the shortest program
    return subprocess.run(command, cwd=ROOT, env=os.environ | gained, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
