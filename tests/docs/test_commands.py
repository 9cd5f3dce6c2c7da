"""The commands that the documents tell people to type exist, with those options."""

import functools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMANDS = sorted(
    {
        line[1:].partition("#")[0].strip()
        for document in DOCUMENTS
        for block in BLOCK.findall(document.read_text())
        for line in block.splitlines()
        if line.startswith("$ ")
    }
)
MAKE = [command.split()[1] for command in COMMANDS if command.startswith("make ")]
PINPAGE = [
    command.partition("pinpage ")[2] for command in COMMANDS if re.match(r"\S*pinpage ", command)
]


@functools.cache
def help_of(subcommand):
    """What `pinpage SUBCOMMAND --help` prints."""
    program = "from pinlab.cli.start import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, *subcommand, "--help"],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("target", MAKE)
def test_make_has_the_target(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("command", PINPAGE)
def test_pinpage_has_the_command_and_its_options(command):
    words = command.split()
    subcommand = tuple(words[: 2 if words[0] == "report" else 1])
    for option in re.findall(r"(?<=\s)--[\w-]+", command):
        assert option in help_of(subcommand) or option == "--help"


def test_no_command_escapes_these_tests():
    known = len(MAKE) + len(PINPAGE)
    assert known == len(COMMANDS), COMMANDS
    assert MAKE
    assert PINPAGE
