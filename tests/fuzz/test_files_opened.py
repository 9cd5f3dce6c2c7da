"""Hostile files, drawn anew for a time one chooses: read, or refused in one line, in bounds.

PINPAGE_FUZZ_SEED says where to begin, PINPAGE_FUZZ_SECONDS how long each kind is tried.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.files import KINDS

ROOT = Path(__file__).resolve().parents[2]
SEED = int(os.environ.get("PINPAGE_FUZZ_SEED", "0"))
SECONDS = float(os.environ.get("PINPAGE_FUZZ_SECONDS", "10"))


@pytest.mark.fuzz
@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_file_is_read_or_refused_in_one_line_and_in_bounds(kind):
    """In a process of its own, whose address space is limited to what honest files need."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.fuzz.files", kind, str(SEED), str(SECONDS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS + 120,
        check=False,
    )
    assert done.returncode == 0, f"{kind}: paste the seed that this names:\n{done.stderr[-4000:]}"
    assert int(done.stdout) > SEED
