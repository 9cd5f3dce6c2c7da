"""`pinpage what-if` and `pinpage diagnose`: text, JSON, pictures, and what goes wrong."""

import json
import time

import pytest

from tests.kit.command import check_one_line
from tests.kit.pinlab.recordings import BESIDE

SERVER = BESIDE / "live" / "server-25g-6.18.npz"


def test_what_if_on_the_recording_that_is_built_in(pinpage):
    done = pinpage("what-if", "--movable", "zbud", "--movable", "slab")
    assert (done.code, done.err) == (0, "")
    assert "zbud+slab                 290                289" in done.out
    assert pinpage("what-if", "--movable", "zbud, slab") == done


def test_what_if_as_json(pinpage, small):
    shown = json.loads(pinpage("what-if", small, "--release", "slab", "--want", 3, "--json").out)
    assert shown["released"] == ["slab"]
    assert shown["want"] == 3
    assert [row["order"] for row in shown["orders"]] == [9, 10, 11]


def test_costs_are_read_from_a_file(pinpage, tmp_path):
    costs = tmp_path / "costs"
    costs.write_text("# days of work\nslab = 30\nzbud = 2.5\n\n")
    done = pinpage("what-if", "--want", 200, "--costs", costs)
    assert done.code == 0
    assert "cheapest set zbud+slab, cost 32.5" in " ".join(done.out.split())


@pytest.mark.parametrize(
    ("text", "words"),
    [("slab\n", "line 1"), ("slab=1\nslab=2", "line 2"), ("slab=0", "line 1"), ("=3", "line 1")],
)
def test_costs_that_are_none_are_one_line(pinpage, tmp_path, text, words):
    costs = tmp_path / "costs"
    costs.write_text(text)
    check_one_line(pinpage("what-if", "--want", 1, "--costs", costs), 1, words, "OWNER = NUMBER")


def test_a_picture_is_drawn_beside_the_text(pinpage, small, tmp_path):
    pytest.importorskip("matplotlib", reason="the extra pinpage[plot] is not installed")
    done = pinpage("what-if", small, "--png", tmp_path / "a.pdf")
    assert (done.code, done.err) == (0, "")
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF-")


def test_a_page_is_written_beside_the_text(pinpage, small, tmp_path):
    done = pinpage("what-if", small, "--html", tmp_path / "a.html")
    assert (done.code, done.err) == (0, "")
    assert (tmp_path / "a.html").read_text().startswith("<!doctype html>")
    check_one_line(pinpage("what-if", small, "--html", tmp_path / "no" / "a.html"), 1, "a.html")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--movable", "nobody"), "--movable nobody: holds nothing here"),
        (("--release", "nobody"), "--release nobody: holds nothing here"),
        (("--movable", ""), "--movable '': names nobody"),
        (("--movable", "slab", "--release", " ,"), "--release '': names nobody"),
        (("--order", 18), "--order 18 is more than"),
        (("--movable", "slab", "--release", "slab"), "to move and to give up"),
    ],
)
def test_a_what_if_that_makes_no_sense_is_one_line(pinpage, small, arguments, words):
    check_one_line(pinpage("what-if", small, *arguments), 2, words)


def test_diagnose_says_now_after_and_in_the_way(pinpage):
    done = pinpage("diagnose", "--order", 9)
    assert (done.code, done.err) == (0, "")
    for words in ("now ", "after compaction ", "after callbacks ", "nearest, pfn", "zbud"):
        assert words in done.out
    shown = json.loads(pinpage("diagnose", "--order", 9, "--json").out)
    assert shown["verdict"] == "now"
    assert len(shown["nearest"]) == 10


def test_a_second_recording_tells_whether_asking_again_helps(pinpage, small):
    done = pinpage("diagnose", small, "--order", 9, "--again", small)
    assert (done.code, done.err) == (0, "")
    assert "Asking again does not help." in done.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give --order"),
        (("--order", 9, "--block", 0), "give --order"),
        (("--order", 2), "--order 2 is not within 3 to 18"),
        (("--order", 9, "--cma"), "no contiguous area"),
        (("--block", 99), "memory blocks"),
    ],
)
def test_a_diagnosis_that_makes_no_sense_is_one_line(pinpage, small, arguments, words):
    check_one_line(pinpage("diagnose", small, *arguments), 2, words)


@pytest.mark.benchmark
@pytest.mark.skipif(not SERVER.is_file(), reason="no recording of a 25 GiB server beside this")
@pytest.mark.parametrize(
    "command",
    [
        ("report", "blocks"), ("report", "owners"), ("report", "taint"), ("what-if",),
        ("what-if", "--order", 18, "--want", 5), ("diagnose", "--order", 9),
        ("diagnose", "--order", 18),
    ],
    ids=lambda command: " ".join(map(str, command)),
)  # fmt: skip
def test_a_server_of_25_gib_is_answered_within_seconds(process, command):
    begun = time.perf_counter()
    done = process(*command, SERVER)
    print(f"{' '.join(map(str, command))}: {time.perf_counter() - begun:.1f} s")
    assert (done.code, done.err) == (0, "")
