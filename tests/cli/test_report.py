"""`pinpage report heatmap`: memory as a map."""

import sys

import pytest

from tests.kit.command import check_one_line


def test_without_a_file_the_built_in_recording_is_drawn(pinpage):
    done = pinpage("report", "heatmap")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("zbudfr-cmphuge-seed3: 1023 MiB of physical addresses\n")
    assert pinpage("report", "heatmap", "zbudfr-cmphuge-seed3") == done


@pytest.mark.parametrize("width", [40, 79, 120])
def test_the_map_stays_within_its_width(pinpage, small, width):
    done = pinpage("report", "heatmap", small, "--width", width)
    assert done.code == 0
    assert max(map(len, done.out.splitlines())) <= width


def test_a_picture_is_drawn_beside_the_text(pinpage, small, tmp_path):
    pytest.importorskip("matplotlib", reason="the extra pinpage[plot] is not installed")
    done = pinpage("report", "heatmap", small, "--png", tmp_path / "a.png")
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith(f"{tmp_path / 'a.png'}: drawn\n")
    assert (tmp_path / "a.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_ending_says_which_picture_it_is(pinpage, small, tmp_path):
    pytest.importorskip("matplotlib", reason="the extra pinpage[plot] is not installed")
    for again in ("a.pdf", "b.PDF"):
        assert pinpage("report", "heatmap", small, "--png", tmp_path / again).code == 0
    assert (tmp_path / "a.pdf").read_bytes()[:5] == b"%PDF-"
    assert (tmp_path / "a.pdf").read_bytes() == (tmp_path / "b.PDF").read_bytes()
    done = pinpage("report", "heatmap", small, "--png", tmp_path / "a.gif")
    check_one_line(done, 2, "ending='gif'", "'png' or 'pdf'")


def test_without_matplotlib_the_extra_is_named_and_nothing_is_printed(
    pinpage, small, tmp_path, monkeypatch
):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    done = pinpage("report", "heatmap", small, "--png", tmp_path / "a.png")
    check_one_line(done, 1, "matplotlib is not installed", "pinpage[plot]")
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_cannot_be_written_is_one_line(pinpage, small, tmp_path):
    pytest.importorskip("matplotlib", reason="the extra pinpage[plot] is not installed")
    path = tmp_path / "nowhere" / "a.png"
    check_one_line(pinpage("report", "heatmap", small, "--png", path), 1, str(path))
    assert list(tmp_path.iterdir()) == []
