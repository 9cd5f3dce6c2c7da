"""A source that does not say what is free: no command takes that for "nothing is free"."""

import csv
import json
import re

import numpy as np
import pytest

from pinlab.cli.main import app
from pinlab.snapshot.open import open_snapshot
from tests.kit.command import check_one_line
from tests.kit.pinlab.proc_folder import machine
from tests.kit.pinlab.recordings import TESTS_DATA
from tests.kit.pinlab.source_texts import Asked, owner_text, types_text

REFUSED = {
    "compare": ("--layout-only",),
    "diagnose": ("--order", "9"),
    "diagnose-block": ("--block", "0"),
    "request": (),
    "report fragmentation": (),
    "what-if": ("--want", "1"),
}
"""Commands whose answer depends on what is free, and what they are called with."""
TOLD = {
    "report trust": "Free memory is not recorded",
    "validate": "Free memory is not recorded",
    "what-if": "Free memory is not recorded",
    "report blocks": "Free memory is not recorded",
    "report heatmap": "free memory not recorded",
}
"""Commands that have other things to say, and how they say that this is missing."""
OF_NO_FREE_MEMORY = {
    "report owners", "report taint", "report pins-per-block", "report frames", "report reasons",
    "designs", "defects", "races", "check", "describe", "record", "fidelity", "convert", "redact",
    "fleet",
}  # fmt: skip
"""Say nothing of free memory, read no such source, or have a test of their own below."""
_A_FIRM_NONE = re.compile(
    r"\bno(ne)? .*free|cannot be had|\b0 (wholly )?free|at most 0", re.IGNORECASE
)


def _owners(path):
    records = [Asked(pfn=512 + i, stack=("allocate_slab",), flags="slab") for i in range(100)]
    path.write_text(owner_text(records))
    return path


def _some_types(path):
    """A list of pages in use alone, as page-types prints it of a process."""
    made = machine()
    made.write(path.parent / "copies")
    flags = np.frombuffer((path.parent / "copies" / "kpageflags").read_bytes(), dtype=np.uint64)
    lines = types_text(np.where(flags == 1 << 10, 0, flags)).split("\n")
    path.write_text("\n".join(line for line in lines if "B" not in line))
    return path


SOURCES = {"page_owner": _owners, "page-types": _some_types}


@pytest.fixture(params=SOURCES)
def source(request, tmp_path):
    path = SOURCES[request.param](tmp_path / "text")
    assert not open_snapshot(path).says_free
    return path


def _typed(command, path):
    words = command.split()
    if words == ["request"]:
        return (*words, "huge2m", path, "--layout-only")
    return (*words, path)


def test_every_command_is_sorted_here():
    """A new command has to say what it makes of such a source."""
    named = {c.name or c.callback.__name__.replace("_", "-") for c in app.registered_commands}
    reports = {
        f"report {c.name or c.callback.__name__.replace('_', '-')}"
        for group in app.registered_groups
        for c in group.typer_instance.registered_commands
    }
    assert named | reports == ({*REFUSED} - {"diagnose-block"}) | {*TOLD} | OF_NO_FREE_MEMORY


@pytest.mark.parametrize("command", REFUSED)
def test_what_depends_on_free_memory_is_refused(pinpage, source, command):
    typed = _typed(command.removesuffix("-block"), source)
    done = pinpage(*typed, *REFUSED[command])
    check_one_line(done, 1, str(source), "free memory: is not recorded", "kpageflags")


@pytest.mark.parametrize("command", TOLD)
def test_what_does_not_says_that_it_is_missing(pinpage, source, command):
    done = pinpage(*_typed(command, source))
    assert done.code == 0, done.err
    assert TOLD[command] in done.out
    assert not _A_FIRM_NONE.search(done.out.replace("of no free", "")), done.out
    assert max(map(len, done.out.splitlines()[3:])) < 80


def test_what_if_has_a_question_mark_and_null(pinpage, source):
    done = pinpage("what-if", source)
    assert re.search(r"^9 .* \? +\?$", done.out, re.MULTILINE)
    told = json.loads(pinpage("what-if", source, "--json").out)
    assert told["orders"][0]["free"] is None
    assert told["orders"][0]["before"]["obtained_lo"] is None
    assert told["obtained"] == []
    assert told["compacted_before"] is None


def test_trust_has_an_empty_cell_and_no_bound(pinpage, source):
    told = json.loads(pinpage("report", "trust", source, "--json").out)
    assert next(row for row in told["rows"] if row["use"] == "free")["recorded"] is None
    assert (told["drift_nr_pages"], told["bounds"]) == (None, [])


def test_convert_keeps_it_unsaid(pinpage, source, tmp_path):
    done = pinpage("convert", source, "-o", tmp_path / "a.npz")
    assert "free memory not recorded" in done.out
    check_one_line(pinpage("diagnose", tmp_path / "a.npz", "--order", "9"), 1, "is not recorded")


def test_fleet_leaves_its_cells_empty_and_out_of_the_spread(pinpage, source, tmp_path):
    table = tmp_path / "fleet.csv"
    done = pinpage("fleet", source, "-o", table)
    assert done.code == 0
    assert "\nfree " not in done.out
    assert "blocks free" not in done.out
    row = next(csv.DictReader(table.read_text().splitlines()))
    free = ("nr_free", "nr_blocks_free", "nr_free_frames", "nr_pcp_frames", "drift_nr_pages")
    assert [row[name] for name in free] == [""] * 5
    assert row["nr_unmovable"] != ""


def test_what_the_zones_count_stands(pinpage, tmp_path):
    machine().write(tmp_path)
    for name in ("kpageflags", "kpagecount"):
        (tmp_path / name).unlink()
    _owners(tmp_path / "who.txt")
    assert pinpage("report", "fragmentation", tmp_path).code == 0
    assert pinpage("fleet", tmp_path, "-o", tmp_path / "a.csv").code == 0
    row = next(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert int(row["nr_free"]) > 0
    assert row["nr_blocks_free"] == ""
    for command, more in REFUSED.items():
        if command != "report fragmentation":
            typed = _typed(command.removesuffix("-block"), tmp_path)
            done = pinpage(*typed, *more)
            check_one_line(done, 1, "free memory: is not recorded")


def test_pagetypeinfo_alone_counts_free_blocks_by_type(pinpage, tmp_path):
    raw = TESTS_DATA / "proc-6.1"
    alone, both = (
        json.loads(pinpage("report", "fragmentation", raw / name, "--json").out)["rows"]
        for name in ("pagetypeinfo", "buddyinfo")
    )
    assert alone
    assert [row["zone"] for row in alone] == [row["zone"] for row in both]
    text = (raw / "pagetypeinfo").read_text()
    row = next(line for line in text.splitlines() if "type" in line and "Movable" in line)
    capped = row.rstrip().rpartition(" ")[0] + " >100000"
    (tmp_path / "capped").write_text(text.replace(row.rstrip(), capped))
    done = pinpage("report", "fragmentation", tmp_path / "capped")
    check_one_line(done, 1, "free memory: is not recorded")


def test_free_blocks_without_a_zone_are_a_row(pinpage, tmp_path):
    machine().write(tmp_path / "copies")
    flags = np.frombuffer((tmp_path / "copies" / "kpageflags").read_bytes(), dtype=np.uint64)
    (tmp_path / "types.txt").write_text(types_text(flags))
    done = pinpage("report", "fragmentation", tmp_path / "types.txt")
    assert "zones not known" in done.out
