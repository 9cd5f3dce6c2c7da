"""`pinpage convert`, `validate`, `redact`, `fleet`; and every command takes every source."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from pinlab.snapshot import bundled as bundled_module
from pinlab.snapshot.classes import FrameClass
from pinlab.snapshot.open import open_snapshot
from tests.kit.command import check_one_line
from tests.kit.pinlab.proc_folder import machine
from tests.kit.pinlab.recordings import TESTS_DATA
from tests.kit.pinlab.source_texts import Asked, folder, owner_text

PROC = TESTS_DATA / "proc-6.1"


@pytest.fixture
def source(tmp_path):
    return folder(tmp_path / "copies")


def test_convert_makes_one_form_of_any_source(pinpage, source, tmp_path):
    done = pinpage("convert", source, "-o", tmp_path / "a.npz")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"{tmp_path / 'a.npz'}: 16,384 frames in 32 pageblocks")
    assert "160 records read" in done.out
    found, again = open_snapshot(source), open_snapshot(tmp_path / "a.npz")
    assert found.reading == again.reading
    assert (found.klass == again.klass).all()


def test_validate_says_what_is_there_and_what_is_not(pinpage, source):
    done = pinpage("validate", source)
    assert (done.code, done.err) == (0, "")
    words = " ".join(done.out.split())
    assert "kpageflags, kpagecount, iomem, zoneinfo" in words
    assert "text of page_owner" in words
    assert "how many references a frame has" in words
    assert "The files disagree about 0 free frames." in done.out
    assert max(map(len, done.out.split("\n\n")[0].split("\n")[1:])) < 80
    told = json.loads(pinpage("validate", source, "--json").out)
    assert told["nr_frames"] == 16_384
    assert told["reading"]["records"] == 160
    assert "refcount" in told["missing"]
    assert told["trust"]["drift_nr_pages"] == 0


def test_counts_alone_can_be_validated_and_converted_and_named_in_no_map(pinpage, tmp_path):
    done = pinpage("validate", PROC / "buddyinfo")
    assert done.code == 0
    assert "counted, and no frame is named" in done.out
    assert "any single frame" in done.out
    done = pinpage("convert", PROC / "buddyinfo", "-o", tmp_path / "a.npz")
    assert done.out.startswith(f"{tmp_path / 'a.npz'}: free blocks of 1 zones, counted")
    for path in (PROC / "buddyinfo", tmp_path / "a.npz"):
        for command in (("report", "heatmap"), ("report", "trust"), ("compare",)):
            check_one_line(pinpage(*command, path), 1, str(path), "frames: are not in this file")


@pytest.mark.parametrize(
    "command",
    [
        ("report", "heatmap"),
        ("report", "trust"),
        ("compare", "--design", "unmovable", "--strategy", "plan", "--layout-only"),
        ("request", "huge2m", "--strategy", "plan", "--layout-only", "--count", "1"),
    ],
)
def test_every_command_that_takes_a_recording_takes_the_folder(pinpage, source, command):
    done = (
        pinpage(*command[:2], source, *command[2:])
        if command[0] == "request"
        else pinpage(*command, source)
    )
    assert (done.code, done.err) == (0, "")


def test_an_owners_table_of_ones_own(pinpage, tmp_path):
    (tmp_path / "who").write_text(owner_text([Asked(pfn=3, stack=("my_ring",))]))
    table = tmp_path / "mine.toml"
    table.write_text('[[owner]]\nname = "mine"\nfunctions = ["my_ring"]\n')
    args = ("--owners-table", table)
    assert pinpage("convert", tmp_path / "who", "-o", tmp_path / "a.npz", *args).code == 0
    assert open_snapshot(tmp_path / "a.npz").nr_frames_of(FrameClass.LABELLED) == 1
    table.write_text("[[owner]]\n")
    done = pinpage("validate", tmp_path / "who", *args)
    check_one_line(done, 1, str(table), "[[owner]] number 1")


@pytest.mark.parametrize("command", ["convert", "validate", "redact", "fleet"])
def test_an_owners_table_is_read_or_refused(pinpage, tmp_path, command):
    """Whatever it is to be laid over: a table that nobody reads would be a wrong answer."""
    output = () if command == "validate" else ("-o", tmp_path / "a.csv")
    nowhere, table = tmp_path / "nowhere.toml", tmp_path / "mine.toml"
    table.write_text('[[owner]]\nname = "mine"\nfunctions = ["my_ring"]\n')
    for source in ("scenario:16MiB", PROC, "zbudfr-cmphuge-seed3"):
        done = pinpage(command, source, *output, "--owners-table", nowhere)
        check_one_line(done, 1, str(nowhere), "cannot be read")
        if command != "fleet":  # of many sources some may have stacks
            done = pinpage(command, source, *output, "--owners-table", table)
            check_one_line(done, 2, f"--owners-table {table}", "no text of page_owner")


def test_redact_leaves_no_word_of_it(pinpage, source, tmp_path):
    done = pinpage("redact", source, "-o", tmp_path / "r.npz")
    assert (done.code, done.err) == (0, "")
    found, original = open_snapshot(tmp_path / "r.npz"), open_snapshot(source)
    assert found.allocations.of(512).stack == ()
    assert original.allocations.of(512).stack == ("allocate_slab",)
    trust = [pinpage("report", "trust", path).out for path in (source, tmp_path / "r.npz")]
    assert trust[0] == trust[1]


def test_what_is_no_source_is_one_line_and_leaves_nothing(pinpage, tmp_path):
    (tmp_path / "a").write_text("nothing\n")
    for command in (("convert",), ("redact",)):
        done = pinpage(*command, tmp_path / "a", "-o", tmp_path / "b.npz")
        check_one_line(
            done, 1, str(tmp_path / "a"), "is no recording, no text of page_owner", "sources.md"
        )
    assert not (tmp_path / "b.npz").exists()
    check_one_line(pinpage("validate", tmp_path / "nowhere"), 1, "does not exist")
    done = pinpage("convert", tmp_path / "a", "-o", tmp_path / "no" / "b.npz")
    check_one_line(done, 1, "No such file or directory")


def test_a_fleet_is_a_table_and_its_spread(pinpage, tmp_path):
    good = machine().write(tmp_path / "good")
    shutil.copytree(good, tmp_path / "cut")
    (tmp_path / "cut" / "kpagecount").write_bytes(b"12345678")
    sources = (good, tmp_path / "cut", PROC / "buddyinfo")
    done = pinpage("fleet", *sources, "-o", tmp_path / "t.csv", "--jobs", "1")
    assert (done.code, done.err) == (0, "")
    assert "2 of 3 sources were read." in done.out
    assert f"{tmp_path / 'cut'}: not read:" in done.out
    with (tmp_path / "t.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["source"] for row in rows] == [str(source) for source in sources]
    assert "ends at pfn" in rows[1]["reason"]


def test_a_fleet_of_which_nothing_can_be_read_fails_with_its_table_written(pinpage, tmp_path):
    done = pinpage("fleet", tmp_path / "x", "-o", tmp_path / "t.csv", "--jobs", "1", "--json")
    assert done.code == 1
    assert json.loads(done.out)["rows"][0]["reason"].endswith("check the path")
    assert (tmp_path / "t.csv").exists()


def test_a_table_of_another_form_is_refused_before_anything_is_read(pinpage, tmp_path):
    done = pinpage("fleet", tmp_path / "x", "-o", tmp_path / "t.xlsx")
    check_one_line(done, 2, "--output", ".csv or .parquet")


def test_no_drift_is_told_where_nobody_compared(pinpage, tmp_path):
    """The header of the bundled recording says 0, and its frames and zones differ."""
    told = json.loads(pinpage("report", "trust", "--json").out)
    free = next(row for row in told["rows"] if row["use"] == "free")
    assert (told["drift_nr_pages"], free["zoneinfo"] - free["recorded"]) == (None, 372)
    said = pinpage("report", "trust").out
    assert "disagree about" not in said
    assert "within that" not in said
    path = Path(bundled_module.__file__).parents[1] / "data" / "zbudfr-cmphuge-seed3.npz"
    assert pinpage("fleet", path, "-o", tmp_path / "a.csv").code == 0
    row = next(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert row["drift_nr_pages"] == ""
    parts = ("nr_free", "nr_movable", "nr_unmovable", "nr_unknown", "nr_pcp_frames")
    assert sum(int(row[name]) for name in parts) == int(row["nr_frames"])
