"""What the how-to about huge pages shows below a command is what the command prints."""

import re
import sys
from pathlib import Path

import pytest

from pinlab.cli import main

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "how-to" / "why-no-huge-page.md").read_text()
SHOWN = re.findall(
    r"^```console\n\$ \.venv/bin/pinpage ([^\n]*)\n```\n\n```text\n(.*?)^```", PAGE,
    re.MULTILINE | re.DOTALL,
)  # fmt: skip
ALONE = re.findall(r"^\$ \.venv/bin/pinpage ([^\n]*)$", PAGE, re.MULTILINE)


@pytest.fixture
def printed(monkeypatch, capsys, tmp_path):
    """What the command prints, called where nothing else is."""
    monkeypatch.chdir(tmp_path)

    def run(arguments):
        monkeypatch.setattr(sys, "argv", ["pinpage", *arguments.split()])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main.main()
        assert ended.value.code == 0
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize(("arguments", "text"), SHOWN, ids=[shown[0] for shown in SHOWN])
def test_it_prints_what_is_shown(arguments, text, printed):
    assert printed(arguments) == text


def test_the_commands_on_the_built_in_recording_all_run(printed):
    own = [line for line in ALONE if "here.npz" not in line]
    assert len(SHOWN) >= 3
    for line in set(own) - {shown[0] for shown in SHOWN}:
        assert printed(line)
