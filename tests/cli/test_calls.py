"""A call that makes no sense: exit code 2, and one line in the words that were typed."""

import json

import pytest

from mm.move.design import Design, Unmovable
from pinlab.design_kit.check import check_design
from pinlab.snapshot import image
from tests.kit.command import ROOT, check_one_line
from tests.kit.pinlab.small import small_recording

S = "scenario:64MiB,anon=40%,zbud=5%,slab=2%"
OWN = "scenario:64MiB,anon=25%,own=4%"
RING = "docs/tutorial/ring.py:ring"


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (
            ("request", "offline", S, "--block-size", "3MiB"),
            "offline: --block-size 3MiB: give a power of two, at most the 16,384 pages",
        ),
        (("request", "offline", S, "--block-size", "1TiB"), "--block-size 1TiB: give a power"),
        (
            ("request", "power", S, "--region", "3MiB"),
            "--region 3MiB: give whole pageblocks, a multiple of 512 pages (2 MiB)",
        ),
        (
            ("request", "offline", S, "--block", "3"),
            "offline: --block 3 is not there: memory blocks of 128 MiB are numbered 0 to 0",
        ),
        (
            ("request", "huge2m", OWN, "--owner", RING, "--release", "own"),
            "--release own: its owner docs/tutorial/ring.py:ring",
        ),
        (
            ("compare", OWN, "--owner", RING, "--release", "own", "--movable", "none"),
            "--release own: its owner",
        ),
        (("compare", S, "--owner", RING), "no labelled frames"),
        (("compare", S, "--movable", "slab", "--release", "slab"), "--release slab: in every run"),
        (
            ("report", "blocks", S, "--order", "18"),
            "--order 18 is more than the 16,384 frames that there are",
        ),
        (("what-if", "scenario:64MiB,objects=1.5"), "scenario: objects='1.5': there is no pool"),
        (("what-if", "scenario:64MiB,zram=5%,objects=1.5"), "objects='1.5': there is no pool"),
        (("check", "README.md:x"), "README.md: is a file, but no .py"),
        (("check", "--design", "README.md:x"), "README.md: is a file, but no .py"),
        (("compare", S, "--owner", "README.md:x"), "README.md: is a file, but no .py"),
        (("diagnose", S, "--cma"), "give --order, alone or with --cma or --area NAME"),
        (("diagnose", S, "--cma", "--block", "0"), "give --order, alone or with --cma"),
        (
            ("compare", "scenario:99999TiB"),
            "size='99999TiB': comes to 26,843,277,164,544 frames, more than the 536,870,912",
        ),
        (("describe", S, "-o", ""), "--output '': is no name of a file"),
        (("convert", S, "-o", ""), "--output '': is no name of a file"),
        (("record", "-o", ""), "--output '': is no name of a file"),
        (("report", "heatmap", S, "--png", ""), "'--png': '' is no name of a file"),
        (("what-if", S, "--html", ""), "'--html': '' is no name of a file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_makes_no_sense_is_a_wrong_call(pinpage, monkeypatch, typed, words):
    monkeypatch.chdir(ROOT)
    check_one_line(pinpage(*typed), 2, words)


def test_a_label_of_no_pfns_is_a_wrong_call_for_a_capture_too(pinpage, tmp_path):
    copies = ROOT / "tests" / "data" / "proc-6.1"
    made = tmp_path / "a.npz"
    done = pinpage("record", "--proc", copies, "-o", made, "--label", "mine=zz")
    check_one_line(done, 2, "label mine: 'zz' is no pfn")
    done = pinpage("record", "--proc", copies, "-o", made, "--label", f"mine=@{tmp_path}/no")
    check_one_line(done, 1, f"{tmp_path}/no", "No such file")
    assert not made.exists()


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (("report", "reasons", "docs"), "docs: Is a directory; give a file in it"),
        (("report", "reasons", "nothing"), "nothing: No such file or directory; give the path"),
        (
            ("what-if", S, "--want", "1", "--costs", "nothing"),
            "--costs nothing: No such file or directory; give a file with lines of OWNER = NUMBER",
        ),
        (("what-if", S, "--want", "1", "--costs", "docs"), "--costs docs: Is a directory"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_what_would_help(
    pinpage, monkeypatch, typed, words
):
    monkeypatch.chdir(ROOT)
    check_one_line(pinpage(*typed), 1, words)


def test_a_cost_of_nobody_names_its_file(pinpage, tmp_path):
    (tmp_path / "costs").write_text("slob = 3\n")
    done = pinpage("what-if", S, "--want", "1", "--costs", tmp_path / "costs")
    check_one_line(done, 2, f"--costs {tmp_path / 'costs'}: names 'slob'", "zbud, slab")


def test_a_size_may_be_in_tebibytes(pinpage, tmp_path):
    image.save(small_recording(), tmp_path / "a.npz")
    done = pinpage("request", "power", tmp_path / "a.npz", "--region", "1TiB")
    assert (done.code, done.err) == (0, "")


def test_blocks_as_large_as_memory_are_listed(pinpage):
    assert pinpage("report", "blocks", S, "--order", "14").code == 0


def test_a_race_that_is_named_twice_runs_once(pinpage):
    told = json.loads(pinpage("races", "R-7", "r7", "7", "--json").out)
    assert [row["race"] for row in told["races"]] == ["R-7"]


def test_the_questions_of_the_tutorial_are_all_that_a_design_has_to_answer():
    """A class with what the table names, and nothing else, keeps every promise."""
    text = (ROOT / "docs" / "tutorial" / "write-a-design.md").read_text()
    table = text.split("| question |")[1].split("A design that differs")[0]
    names = {part.split("(")[0] for part in table.split("`")[1::2]} & {*vars(Design)}
    made = type("Own", (), {name: vars(Unmovable)[name] for name in names})
    assert check_design(lambda _lab: made(), nr_examples=1).kept
    for name in ("holders", "nr_callbacks"):
        less = type("Less", (), {k: v for k, v in vars(made).items() if k != name})
        with pytest.raises(Exception, match=f"it has no {name}: see docs/tutorial"):
            check_design(lambda _lab, less=less: less(), nr_examples=1)
