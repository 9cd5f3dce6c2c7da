"""The tutorial shows the file that it talks about, and what the command prints about it."""

import re
from importlib.metadata import version

from tests.kit.command import ROOT, printed_by

TUTORIAL = (ROOT / "docs" / "tutorial" / "write-an-owner.md").read_text()
OWNER = (ROOT / "docs" / "tutorial" / "ring.py").read_text()
CONSOLE = re.search(r"```console\n\$ pinpage (.*?)\n(.*?)```", TUTORIAL, re.DOTALL)
MOST_LINES = 30
PINNED = re.search(r'"hypothesis==([\d.]+)"', (ROOT / "pyproject.toml").read_text())[1]


def test_the_first_block_is_the_file():
    assert re.search(r"```python\n(.*?)```", TUTORIAL, re.DOTALL)[1] == OWNER
    assert OWNER.count("\n") <= MOST_LINES


def test_the_command_prints_what_is_shown():
    shown = printed_by(CONSOLE[1])
    assert without_numbers(shown) == without_numbers(CONSOLE[2])
    if version("hypothesis") == PINNED:
        assert shown == CONSOLE[2]


def without_numbers(text):
    """How many random plans move a frame is for the version of hypothesis to say."""
    return re.sub(r"\d+", "N", text)
