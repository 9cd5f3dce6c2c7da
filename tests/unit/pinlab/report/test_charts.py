"""Curves and bars: readable without colour, the same bytes each time."""

from itertools import pairwise

import pytest

from pinlab.report.charts import COLOURS, Words, bars, curves
from pinpage.errors import PinpageError

WORDS = Words(title="a title", across="orders", up="blocks", caption="caption")
pytest.importorskip("matplotlib", reason="the extra pinpage[plot] is not installed")


def drawn_curves(path):
    lines = {f"line {i}": [i, i + 1, i * 2] for i in range(10)}
    curves([0, 1, 2], lines, path, WORDS, ticks=["a", "b", "c"])


def drawn_bars(path):
    names = [f"owner{i}" for i in range(20)]
    bars(names, {"alone": list(range(20)), "last": [3.5] * 20}, path, WORDS)


@pytest.mark.parametrize("draw", [drawn_curves, drawn_bars])
@pytest.mark.parametrize("form", ["svg"])
def test_the_same_input_is_the_same_bytes(tmp_path, draw, form):
    for name in "ab":
        draw(tmp_path / f"{name}.{form}")
    assert (tmp_path / f"a.{form}").read_bytes() == (tmp_path / f"b.{form}").read_bytes()


def test_letters_are_large_enough_for_a_slide_and_words_are_there(tmp_path):
    drawn_bars(tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text()
    for words in ("a title", "orders", "blocks", "6 more are left out"):
        assert words in text


def luminance(colour):
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_neighbours_differ_in_more_than_hue():
    """No two colours in a row are of one lightness: a copy in grey can be read."""
    levels = [luminance(colour) for colour in COLOURS]
    assert len(set(COLOURS)) == len(COLOURS)
    assert min(abs(a - b) for a, b in pairwise(levels)) > 0.03


def test_another_ending_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(PinpageError, match="ending='gif'"):
        drawn_bars(tmp_path / "a.gif")
    assert list(tmp_path.iterdir()) == []
