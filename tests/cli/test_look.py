"""The views of `pinpage report`: text and JSON of each, pictures, and what goes wrong."""

import json

import numpy as np
import pytest

from pinlab.snapshot.classes import FrameClass
from tests.kit.command import check_one_line
from tests.kit.pinlab.small import small_recording

VIEWS = [
    ("blocks",), ("blocks", "--order", 9), ("owners",), ("taint",), ("pins-per-block",),
    ("fragmentation",), ("frames", "0x10-0x3f"),
]  # fmt: skip


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: " ".join(map(str, view)))
def test_each_view_is_narrow_text_or_json(pinpage, small, view):
    done = pinpage("report", *view, small)
    assert (done.code, done.err) == (0, "")
    assert max(map(len, done.out.splitlines())) < 80
    shown = json.loads(pinpage("report", *view, small, "--json").out)
    assert shown["recording"] == "small-cmphuge-seed0"


@pytest.mark.parametrize("view", ["taint", "pins-per-block"])
def test_a_picture_is_drawn_beside_the_text(pinpage, small, tmp_path, view):
    pytest.importorskip("matplotlib", reason="the extra pinpage[plot] is not installed")
    done = pinpage("report", view, small, "--png", tmp_path / "a.svg")
    assert (done.code, done.err) == (0, "")
    assert (tmp_path / "a.svg").read_bytes().startswith(b"<?xml")
    check_one_line(pinpage("report", view, small, "--png", tmp_path / "a.gif"), 2, "ending='gif'")


def test_heat_maps_are_svg_too_and_the_same_bytes_each_time(pinpage, small, tmp_path):
    pytest.importorskip("matplotlib", reason="the extra pinpage[plot] is not installed")
    for name in ("a.svg", "b.svg"):
        assert pinpage("report", "heatmap", small, "--png", tmp_path / name).code == 0
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def slab_pfn():
    return int(np.flatnonzero(small_recording().klass == FrameClass.SLAB)[0])


def test_a_description_and_labels_are_taken_as_anywhere(pinpage, small):
    done = pinpage("report", "owners", "scenario:64MiB,anon=30%,slab=2%")
    assert (done.code, done.err) == (0, "")
    labelled = pinpage("report", "blocks", small, "--label", f"mine={slab_pfn():#x}", "--json")
    assert json.loads(labelled.out)["rows"][0]["of_owner"]["mine"] == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("blocks", "--order", 8), "--order 8 is not within 9 to 18"),
        (("frames", "zero"), "'zero' is no pfn"),
        (("frames", "0xffffff"), "is not within 0 to"),
        (("owners", "--label", "mine"), "give NAME=PFNS"),
    ],
)
def test_what_makes_no_sense_is_one_line(pinpage, small, arguments, words):
    check_one_line(pinpage("report", *arguments, small), 2, words)


def test_a_file_in_the_place_of_a_frame_is_told_where_it_goes(pinpage, small):
    check_one_line(pinpage("report", "frames", small, "0x10"), 2, "is no pfn", "goes behind it")


@pytest.mark.parametrize("view", ["blocks", "owners", "taint", "pins-per-block", "fragmentation"])
def test_a_file_that_is_none_is_one_line(pinpage, tmp_path, view):
    check_one_line(pinpage("report", view, tmp_path / "none.npz"), 1, "none.npz")
