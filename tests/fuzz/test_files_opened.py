"""Hostile files, drawn anew for a time one chooses: read, or refused in one line, in bounds."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.budget import SECONDS, SEED
from tests.kit.pinlab.hostile_files import KINDS

pytestmark = pytest.mark.fuzz

MODULE = "tests.kit.pinlab.hostile_files"
ROOT = Path(__file__).resolve().parents[2]
SHARE_S = SECONDS / len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_file_is_read_or_refused_in_one_line_and_in_bounds(kind):
    """In a process of its own, whose address space is limited to what honest files need."""
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-m",
            "tests.kit.pinlab.hostile_files",
            kind,
            str(SEED),
            str(SHARE_S),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SHARE_S + 120,
        check=False,
    )
    assert done.returncode == 0, f"{kind}: paste the seed that this names:\n{done.stderr[-4000:]}"
    assert int(done.stdout) > SEED
