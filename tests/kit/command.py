"""The `pinpage` command in a process of its own, how it ended, and what a user's mistake gives."""

import os
import subprocess
import sys
from pathlib import Path

from attrs import frozen

__all__ = ["PROGRAM", "ROOT", "Ended", "check_one_line", "printed_by"]

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = (sys.executable, "-c", "from pinlab.cli.start import main; main()")


@frozen
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


def printed_by(typed):
    """What `pinpage TYPED` prints in the folder of the project, as a tutorial shows it."""
    return printed([*PROGRAM, *typed.split()], timeout_s=120)


def printed(command, *, timeout_s):
    """What a command prints in the folder of the project; it has to end well, and in time."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def check_one_line(done, code, *words):
    """Nothing on stdout, one line on stderr that names `words`, no traceback."""
    assert done.code == code, done
    assert done.out == ""
    assert done.err.startswith("pinpage: ")
    assert done.err.count("\n") == 1
    assert done.err.endswith("\n")
    assert "Traceback" not in done.err
    for word in words:
        assert word in done.err
