"""Curves and bars as pictures: one look for all, the same bytes for the same input.

Colours are those of Okabe and Ito, which people tell apart whatever colours they see; lines
differ in dashes and markers too, bars in hatching, so that a copy in grey can be read.  Letters
are large enough for a slide.

matplotlib is an extra: it is imported in one function, and its absence names the extra.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import evolve, frozen

from pinlab.files.output import require_place
from pinlab.report.heatmap_png import form_of, matplotlib_or_error, save_plain

__all__ = ["COLOURS", "Words", "bars", "curves"]

COLOURS: Final = (
    "#0072b2", "#e69f00", "#000000", "#56b4e9", "#d55e00", "#cc79a7", "#009e73", "#f0e442",
)  # fmt: skip
_DASHES: Final = ("-", "--", "-.", ":")
_MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "*")
_HATCHES: Final = ("", "///", "...", "xx")
_INK: Final = "#22262e"
_FAINT: Final = "#6b7280"
_SIZE: Final = (11.0, 6.2)
_MOST_BARS: Final = 14


@frozen
class Words:
    """What a picture says.

    Attributes:
        title: of the picture.
        across: what the axis is, with its unit.
        up: what the values are, with their unit.
        caption: a line below.
    """

    title: str
    across: str
    up: str
    caption: str


def curves(
    places: Sequence[float],
    lines: Mapping[str, Sequence[float]],
    path: Path | str,
    words: Words,
    *,
    ticks: Sequence[str] = (),
    steps: bool = False,
) -> None:
    """Lines over a common axis.

    Args:
        places: along the axis.
        lines: name -> a value per place.
        path: the file to write; its ending says the form: PNG, SVG or PDF.
        words: title, axes and caption.
        ticks: words for the places; numbers where left out.
        steps: whether a value holds up to its place, as in a distribution.

    Raises:
        PinpageError: matplotlib is not installed, or no picture has that ending.
        SnapshotError: the place cannot be written.
    """
    path = require_place(path)
    form = form_of(path)
    figure, axes = _axes(words)
    for i, (name, values) in enumerate(lines.items()):
        axes.plot(
            places,
            values,
            label=name,
            color=COLOURS[i % len(COLOURS)],
            linestyle=_DASHES[i // 2 % len(_DASHES)],
            marker=None if steps else _MARKERS[i % len(_MARKERS)],
            markersize=6,
            linewidth=2.2,
            drawstyle="steps-post" if steps else "default",
        )
    if ticks:
        axes.set_xticks(list(places), list(ticks), rotation=45, ha="right")
    axes.set_ylim(bottom=0)
    _finish(figure, axes, path, form)


def bars(
    names: Sequence[str],
    groups: Mapping[str, Sequence[float]],
    path: Path | str,
    words: Words,
) -> None:
    """Groups of bars, one group per name.

    Args:
        names: along the axis; of many only the first are drawn.
        groups: what a bar is -> its height per name.
        path: the file to write; its ending says the form: PNG, SVG or PDF.
        words: title, axes and caption.

    Raises:
        PinpageError: matplotlib is not installed, or no picture has that ending.
        SnapshotError: the place cannot be written.
    """
    path = require_place(path)
    form = form_of(path)
    if len(names) > _MOST_BARS:
        left = f"  {len(names) - _MOST_BARS} more are left out."
        words = evolve(words, caption=words.caption + left)
    names = names[:_MOST_BARS]
    figure, axes = _axes(words)
    width = 0.8 / max(len(groups), 1)
    for i, (name, heights) in enumerate(groups.items()):
        at = [place - 0.4 + width * (i + 0.5) for place in range(len(names))]
        drawn = axes.bar(
            at,
            heights[: len(names)],
            width,
            label=name,
            color=COLOURS[i % len(COLOURS)],
            hatch=_HATCHES[i % len(_HATCHES)],
            edgecolor="white",
        )
        axes.bar_label(drawn, fmt=_bar_label, fontsize=10, color=_INK)
    axes.set_xticks(range(len(names)), names)
    _finish(figure, axes, path, form)


def _bar_label(value: float) -> str:
    """As the tables print it: whole, or with one decimal."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def _axes(words: Words) -> tuple[Any, Any]:
    matplotlib = matplotlib_or_error()
    figure = matplotlib.figure.Figure(figsize=_SIZE, dpi=160, facecolor="white")
    axes = figure.add_axes((0.09, 0.27, 0.88, 0.62))
    axes.set_title(words.title, size=16, weight="bold", color=_INK, loc="left", pad=12)
    axes.set_xlabel(words.across, size=13, color=_INK)
    axes.set_ylabel(words.up, size=13, color=_INK)
    axes.tick_params(labelsize=12, labelcolor=_INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e5e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    figure.text(0.09, 0.02, words.caption, size=10.5, color=_FAINT)
    return figure, axes


def _finish(figure: Any, axes: Any, path: Path, form: str) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=12, frameon=False)
    save_plain(figure, path, form)
