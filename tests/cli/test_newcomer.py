"""What somebody meets who has pasted files and no manual: each ends in a line that helps on."""

import shutil

import pytest

from tests.kit.command import check_one_line
from tests.kit.pinlab.proc_folder import machine
from tests.kit.pinlab.recordings import TESTS_DATA
from tests.kit.pinlab.source_texts import folder

PROC, NEWER = TESTS_DATA / "proc-6.1", TESTS_DATA / "newer"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ("is empty", "copy it again")),
        (b"hello\n", ("no text of page_owner or page-types", "sources.md")),
        (bytes(range(256)) * 9, ("is no recording", "kpageflags is read in a folder")),
        ((PROC / "iomem").read_bytes(), ("is iomem alone", "in one folder")),
        (b"MemTotal:   1 kB\nMemFree:    1 kB\n", ("is meminfo alone", "in one folder")),
        ((PROC / "zoneinfo").read_bytes(), ("is zoneinfo alone", "copy buddyinfo beside it")),
    ],
)
def test_a_file_that_is_no_source_is_told_what_it_is(pinpage, tmp_path, content, words):
    (tmp_path / "pasted").write_bytes(content)
    for command in (("validate",), ("report", "trust")):
        check_one_line(pinpage(*command, tmp_path / "pasted"), 1, *words)


def test_a_file_of_proc_is_not_empty_for_having_no_size(pinpage):
    check_one_line(pinpage("report", "trust", "/proc/meminfo"), 1, "is meminfo alone")


def test_what_is_missing_in_a_folder_of_copies_is_to_be_copied(pinpage, tmp_path):
    machine().write(tmp_path / "copies")
    (tmp_path / "copies" / "iomem").unlink()
    check_one_line(pinpage("validate", tmp_path / "copies"), 1, "iomem", "copy it beside")


def test_counts_alone_have_their_indices_and_no_other_view(pinpage):
    """What buddyinfo says of fragmentation is all that there is to say of it."""
    for name in ("buddyinfo", "pagetypeinfo"):
        done = pinpage("report", "fragmentation", NEWER / name)
        assert (done.code, done.err) == (0, "")
    assert "node 0, DMA32" in pinpage("report", "fragmentation", NEWER / "buddyinfo").out
    done = pinpage("report", "blocks", NEWER / "buddyinfo")
    check_one_line(done, 1, "only counts free blocks", "`pinpage report fragmentation`")


def test_options_are_named_as_they_are_typed(pinpage):
    done = pinpage("diagnose", "--cma")
    check_one_line(done, 2, "give --order, alone or with --cma or --area NAME, or else --block")
    done = pinpage("diagnose", "--block", "99")
    check_one_line(done, 2, "--block 99 is not there: whole memory blocks, from 0 on: 7")


def test_a_folder_with_more_than_proc_says_what_would_take_it(pinpage, tmp_path):
    copies = folder(tmp_path / "copies")
    done = pinpage("record", "--proc", copies, "-o", tmp_path / "a.npz")
    assert done.code == 0
    assert "page_owner: 160 records" in done.out
    assert "Not taken: output of page-types. `pinpage convert`" in done.out
    plain = machine().write(tmp_path / "plain")
    assert "Not taken" not in pinpage("record", "--proc", plain, "-o", tmp_path / "b.npz").out


@pytest.mark.parametrize(
    "command",
    [
        ("blocks",), ("blocks", "--order", "10"), ("owners",), ("taint",), ("pins-per-block",),
        ("fragmentation",), ("frames", "0x200-0x5ff"), ("heatmap",), ("trust",),
    ],
)  # fmt: skip
def test_every_view_fits_into_a_mail(pinpage, tmp_path, command):
    copies = folder(tmp_path / "copies")
    done = pinpage("report", *command, copies)
    assert (done.code, done.err) == (0, "")
    assert max(map(len, done.out.split("\n"))) < 80


def test_page_types_out_of_a_mail_is_page_types(pinpage, tmp_path):
    shutil.copyfile(NEWER / "page-types", tmp_path / "mail.txt")
    done = pinpage("report", "owners", tmp_path / "mail.txt")
    assert (done.code, done.err) == (0, "")
    assert "anon" in done.out
