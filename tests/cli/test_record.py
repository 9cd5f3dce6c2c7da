"""`pinpage record`: this machine's memory in a file, whole or not at all."""

import functools
import gzip
import os
import shutil
from pathlib import Path

import pytest

from pinlab.procfs.capture import record
from pinlab.procfs.survey import PROC
from pinlab.snapshot import image
from tests.kit.command import check_one_line
from tests.kit.pinlab.source_texts import folder

RAW = Path(__file__).resolve().parents[1] / "data" / "proc-6.1"


@pytest.fixture
def proc(tmp_path, monkeypatch):
    """Copies of another machine's files, in place of this one's."""
    directory = tmp_path / "proc"
    directory.mkdir()
    for path in RAW.iterdir():
        if path.suffix == ".gz":
            (directory / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
        else:
            shutil.copyfile(path, directory / path.name)
    monkeypatch.setattr(
        "pinlab.procfs.capture.record", functools.partial(record, proc_directory=directory)
    )
    return directory


def test_a_machine_becomes_a_file_and_a_line_that_says_what_is_in_it(pinpage, proc, tmp_path):
    done = pinpage("record", "-o", tmp_path / "a.npz")
    assert (done.code, done.err) == (0, "")
    snapshot = image.load(tmp_path / "a.npz")
    assert done.out == (
        f"{tmp_path / 'a.npz'}: {snapshot.nr_frames:,d} frames in {snapshot.nr_blocks} pageblocks: "
        f"{done.out.split(': ', 2)[2]}"
    )
    assert pinpage("report", "heatmap", tmp_path / "a.npz").code == 0


def test_what_was_recorded_can_be_compared(pinpage, proc, tmp_path):
    pinpage("record", "--output", tmp_path / "a.npz")
    done = pinpage("compare", tmp_path / "a.npz", "--design", "unmovable", "--strategy", "plan")
    assert (done.code, done.err) == (0, "")


def left_over(directory):
    return sorted(path.name for path in directory.iterdir() if path.name != "proc")


@pytest.mark.parametrize("name", ["kpageflags", "kpagecount", "iomem", "zoneinfo"])
def test_a_file_of_proc_that_is_missing_is_named(pinpage, proc, tmp_path, name):
    (proc / name).unlink()
    done = pinpage("record", "-o", tmp_path / "a.npz")
    check_one_line(done, 1, str(proc / name), "does not exist")
    if name == "kpageflags":
        assert "CONFIG_PROC_PAGE_MONITOR" in done.err
    assert left_over(tmp_path) == []


def test_a_read_that_ends_early_writes_nothing(pinpage, proc, tmp_path):
    (proc / "kpagecount").write_bytes((proc / "kpagecount").read_bytes()[:4096])
    check_one_line(pinpage("record", "-o", tmp_path / "a.npz"), 1, "kpagecount", "ends at pfn")
    assert left_over(tmp_path) == []


def test_a_place_that_does_not_exist_is_named(pinpage, proc, tmp_path):
    path = tmp_path / "nowhere" / "a.npz"
    check_one_line(pinpage("record", "-o", path), 1, str(path), "No such file or directory")
    assert left_over(tmp_path) == []


def test_a_directory_is_no_place_to_write_to(pinpage, proc, tmp_path):
    (tmp_path / "a").mkdir()
    check_one_line(pinpage("record", "-o", tmp_path / "a"), 1, str(tmp_path / "a"))
    assert left_over(tmp_path) == ["a"]


def test_a_full_disk_leaves_the_old_file(pinpage, proc, tmp_path, monkeypatch):
    def fails(*args, **kwargs):
        raise OSError(28, "No space left on device")

    (tmp_path / "a.npz").write_text("old")
    monkeypatch.setattr("numpy.savez_compressed", fails)
    check_one_line(pinpage("record", "-o", tmp_path / "a.npz"), 1, "No space left on device")
    assert left_over(tmp_path) == ["a.npz"]
    assert (tmp_path / "a.npz").read_text() == "old"


def test_a_device_or_a_pipe_is_written_through(pinpage, proc, tmp_path):
    before = Path("/dev/null").stat()
    assert pinpage("record", "-o", "/dev/null").code == 0
    assert Path("/dev/null").stat().st_rdev == before.st_rdev != 0
    check_one_line(pinpage("record", "-o", "/dev/full"), 1, "/dev/full", "No space left")


def test_page_owner_is_taken_where_it_is_and_left_out_if_asked(pinpage, tmp_path):
    copies, table = folder(tmp_path / "copies"), tmp_path / "mine.toml"
    table.write_text('[[owner]]\nname = "mine"\nfunctions = ["allocate_slab"]\n')
    args = ("record", "-o", tmp_path / "a.npz", "--proc", copies)
    done = pinpage(*args, "--owners-table", table)
    assert (done.code, done.err) == (0, "")
    assert "\npage_owner: 160 records, which told whose " in done.out
    assert "Not taken: output of page-types. `pinpage convert` takes it, too." in done.out
    assert image.load(tmp_path / "a.npz").reading["records"] == 160
    assert "page_owner:" not in pinpage(*args, "--page-owner", "0").out
    assert not image.load(tmp_path / "a.npz").reading
    check_one_line(pinpage(*args, "--page-owner", "nan"), 2, "--page-owner", "86400")
    table.write_text("[[owner]]\n")
    check_one_line(pinpage(*args, "--owners-table", table), 1, "[[owner]] number 1")


def test_what_is_no_folder_of_copies_is_said_to_be_none(pinpage, tmp_path):
    (tmp_path / "file").write_text("")
    for name, words in (("file", "folder: is no folder"), ("nowhere", "folder: does not exist")):
        done = pinpage("record", "-o", tmp_path / "a.npz", "--proc", tmp_path / name)
        check_one_line(done, 1, f"{tmp_path / name}: {words}")


def test_no_name_is_no_place(pinpage, proc):
    check_one_line(pinpage("record", "-o", ""), 2, "--output ''", "give a path")


def test_a_place_is_looked_at_before_memory_is(pinpage, tmp_path, monkeypatch):
    def reads(*args, **kwargs):
        raise AssertionError("memory was read for nothing")

    monkeypatch.setattr("pinlab.procfs.capture.capture", reads)
    check_one_line(pinpage("record", "-o", tmp_path), 1, "is a directory")


def test_an_interrupt_leaves_the_old_file(pinpage, proc, tmp_path, monkeypatch):
    def interrupts(*args, **kwargs):
        raise KeyboardInterrupt

    (tmp_path / "a.npz").write_text("old")
    monkeypatch.setattr("numpy.savez_compressed", interrupts)
    done = pinpage("record", "-o", tmp_path / "a.npz")
    assert (done.code, done.out, done.err) == (130, "", "pinpage: interrupted\n")
    assert left_over(tmp_path) == ["a.npz"]


@pytest.mark.skipif(not (PROC / "kpageflags").exists(), reason="no /proc/kpageflags here")
def test_who_is_not_root_is_told_to_be(pinpage, as_nobody):
    done = pinpage("record", "-o", "/dev/null")
    check_one_line(done, 1, "run it as root")


@pytest.mark.live
def test_this_very_machine(pinpage, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("not root, so /proc/kpageflags cannot be read")
    if not (PROC / "kpageflags").exists():
        pytest.skip("this kernel has no /proc/kpageflags")
    done = pinpage("record", "-o", tmp_path / "here.npz")
    if done.code:
        pytest.skip(f"this machine cannot be recorded: {done.err.strip()}")
    snapshot = image.load(tmp_path / "here.npz")
    assert snapshot.nr_frames > 10_000
    assert snapshot.provenance.kernel_release == os.uname().release
    drawn = " ".join(pinpage("report", "heatmap", tmp_path / "here.npz").out.split())
    assert "(classes guessed in part)" in drawn
