"""`--format`: csv and markdown of what a command prints, beside tables and JSON."""

import csv
import json

import pytest

from tests.kit.command import check_one_line

MEMORY = "scenario:16MiB,anon=30%,slab=2%"
COMMANDS = [
    ("compare", MEMORY, "--design", "unmovable", "--layout-only"),
    ("request", "power", MEMORY, "--layout-only", "--cdf"),
    ("report", "trust"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_each_form_is_itself(pinpage, command):
    forms = {
        form: pinpage(*command, "--format", form).out
        for form in ("table", "json", "csv", "markdown")
    }
    assert forms["table"] == pinpage(*command).out
    assert json.loads(forms["json"]) == json.loads(pinpage(*command, "--json").out)
    for table in forms["csv"].rstrip("\n").split("\n\n"):
        head, *rows = csv.reader(table.splitlines())
        assert rows
        assert {len(row) for row in rows} == {len(head)}
    assert forms["markdown"].startswith("| ")
    assert ("cdf" in command) <= ("p10_ns" in forms["csv"])


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_two_forms_are_refused(pinpage, command):
    check_one_line(pinpage(*command, "--json", "--format", "csv"), 2, "--json beside --format csv")


def test_reasons_read_from_a_request(pinpage, tmp_path):
    path = tmp_path / "asked.json"
    path.write_text(pinpage("request", "power", MEMORY, "--layout-only", "--json").out)
    ended = pinpage("report", "reasons", path, "--format", "csv")
    assert ended.out.splitlines()[0] == "run,owner,reason,frames"
