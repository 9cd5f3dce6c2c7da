"""What the how-to about huge pages shows below a command is what the command prints."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "how-to" / "why-no-huge-page.md").read_text()
SHOWN = re.findall(
    r"^```console\n\$ \.venv/bin/pinpage ([^\n]*)\n```\n\n```text\n(.*?)^```", PAGE,
    re.MULTILINE | re.DOTALL,
)  # fmt: skip
ALONE = re.findall(r"^\$ \.venv/bin/pinpage ([^\n]*)$", PAGE, re.MULTILINE)


def printed(arguments, folder):
    program = "from pinlab.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments.split()],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("arguments", "text"), SHOWN, ids=[shown[0] for shown in SHOWN])
def test_it_prints_what_is_shown(arguments, text, tmp_path):
    assert printed(arguments, tmp_path) == text


def test_the_commands_on_the_built_in_recording_all_run(tmp_path):
    own = [line for line in ALONE if "here.npz" not in line]
    assert len(SHOWN) >= 3
    for line in set(own) - {shown[0] for shown in SHOWN}:
        assert printed(line, tmp_path)
