"""The tutorial about designs shows the file that it talks about, and what the command prints."""

import re

from pinlab.design_kit.promises import DesignPromise
from tests.kit.command import ROOT, printed_by

TUTORIAL = (ROOT / "docs" / "tutorial" / "write-a-design.md").read_text()
DESIGN = (ROOT / "docs" / "tutorial" / "patient.py").read_text()
CONSOLE = re.search(r"```console\n\$ pinpage (.*?)\n(.*?)```", TUTORIAL, re.DOTALL)
MOST_LINES = 40


def test_the_first_block_is_the_file():
    assert re.search(r"```python\n(.*?)```", TUTORIAL, re.DOTALL)[1] == DESIGN
    assert DESIGN.count("\n") <= MOST_LINES


def test_the_command_prints_what_is_shown():
    assert printed_by(CONSOLE[1]) == CONSOLE[2]


def test_every_promise_is_in_the_table():
    for promise in DesignPromise:
        assert f"| {promise.name} | {promise.title} | {promise.meaning} |" in TUTORIAL
