"""The tutorial about designs shows the file that it talks about, and what the command prints."""

import os
import re
import subprocess
import sys
from pathlib import Path

from pinlab.design_kit.promises import DesignPromise

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = (ROOT / "docs" / "tutorial" / "write-a-design.md").read_text()
DESIGN = (ROOT / "docs" / "tutorial" / "patient.py").read_text()
CONSOLE = re.search(r"```console\n\$ pinpage (.*?)\n(.*?)```", TUTORIAL, re.DOTALL)
MOST_LINES = 40


def test_the_first_block_is_the_file():
    assert re.search(r"```python\n(.*?)```", TUTORIAL, re.DOTALL)[1] == DESIGN
    assert DESIGN.count("\n") <= MOST_LINES


def test_the_command_prints_what_is_shown():
    done = subprocess.run(
        [sys.executable, "-c", "from pinlab.cli.main import main; main()", *CONSOLE[1].split()],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == CONSOLE[2]


def test_every_promise_is_in_the_table():
    for promise in DesignPromise:
        assert f"| {promise.name} | {promise.title} | {promise.meaning} |" in TUTORIAL
