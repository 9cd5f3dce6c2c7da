"""JSON, maps, progress and descriptions."""

import io
import json

import numpy as np
import pytest

from pinlab.cli import output
from pinlab.cli.output import describe, file_progress, print_maps, run_progress
from pinlab.compare.compare import compare
from pinlab.compare.results import Run
from pinlab.snapshot.classes import FrameClass
from tests.kit.pinlab.rows import comparison, row
from tests.kit.pinlab.small import NR_FRAMES, small_recording


class FakeTerminal(io.StringIO):
    def isatty(self):
        return True


def test_json_is_plain_values_and_null_where_nothing_was_measured():
    shown = comparison(row("registry", ("slab", "zbud")), measured=False).to_json()
    assert json.loads(json.dumps(shown)) == shown
    assert shown["measured"] is None
    assert shown["rows"][0]["movable"] == ["slab", "zbud"]
    assert "maps" not in shown


def test_a_measured_row_is_there_by_name():
    assert comparison(row()).to_json()["measured"] == {
        "kernel": "Linux 6.1", "huge_pages": 12, "pageblocks_emptied": 6, "pages_moved": 33_373,
        "pages_scanned": 204_184,
    }  # fmt: skip


def test_maps_show_memory_before_and_after_each_run(capsys):
    snapshot = small_recording()
    runs = [Run("unmovable"), Run("registry", ("slab", "zbud"), "plan")]
    done = compare(snapshot, runs, with_maps=True)
    print_maps(done)
    printed = capsys.readouterr().out
    assert "\nunmovable scan\n" in printed
    assert "\nregistry slab+zbud plan\n" in printed
    assert printed.count("before") >= 2
    assert max(map(len, printed.splitlines())) < 80
    for maps, one in zip(done.maps, done.rows, strict=True):
        assert maps.before[:, FrameClass.HUGETLB].sum() == 0
        assert maps.after[:, FrameClass.HUGETLB].sum() == 512 * one.huge_pages
        assert np.array_equal(maps.before.sum(axis=1), maps.after.sum(axis=1))


def test_a_recording_in_one_line():
    snapshot = small_recording()
    line = describe(snapshot)
    assert "\n" not in line
    assert f"{NR_FRAMES:,d} frames in 7 pageblocks" in line
    assert f"{snapshot.nr_frames_of(FrameClass.UNKNOWN):,d} of unknown use" in line


@pytest.mark.parametrize("made", [run_progress, file_progress])
def test_no_bar_where_nobody_looks(made, monkeypatch):
    monkeypatch.setattr(output.sys, "stderr", io.StringIO())
    with made() as progress:
        assert progress is None


def test_a_bar_names_the_run_and_goes_to_stderr(monkeypatch, capsys):
    terminal = FakeTerminal()
    monkeypatch.setattr(output.sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with run_progress() as progress:
        progress(Run("registry", ("slab", "zbud")), 1, 6)
    assert "registry slab+zbud scan" in terminal.getvalue()
    assert capsys.readouterr().out == ""


def test_a_bar_over_files_names_the_file(monkeypatch):
    terminal = FakeTerminal()
    monkeypatch.setattr(output.sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with file_progress() as progress:
        progress("kpageflags", 5, 9)
    assert "kpageflags" in terminal.getvalue()
