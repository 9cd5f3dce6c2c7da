"""Maps of physical memory as a picture.  Colour = worst owner, depth = share of the cell.

matplotlib is an extra: it is imported in one function, and its absence names the extra.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from pinlab.files.output import require_place, written
from pinlab.report.cells import CellCounts, Counts, count_cells
from pinlab.snapshot.classes import FrameClass
from pinlab.snapshot.errors import WrongCallError
from pinpage.errors import PinpageError, one_of
from pinpage.extras import missing_extra
from pinpage.units import PAGE_SIZE

__all__ = [
    "COLOURS",
    "FREE_COLOUR",
    "Panel",
    "form_of",
    "matplotlib_or_error",
    "render",
    "save_plain",
]

COLOURS: Final = {
    FrameClass.UNKNOWN: "#8a8f98",
    FrameClass.RESERVED: "#3d4250",
    FrameClass.ANON: "#8c6bb1",
    FrameClass.FILE: "#6a51a3",
    FrameClass.ZBUD: "#d1495b",
    FrameClass.Z3FOLD: "#b5179e",
    FrameClass.ZSMALLOC: "#f28ab2",
    FrameClass.ZRAM: "#c77dff",
    FrameClass.GUP: "#7b2d8b",
    FrameClass.SLAB: "#ee8434",
    FrameClass.PAGETABLE: "#d9b310",
    FrameClass.KERNELSTACK: "#7a9e3f",
    FrameClass.VMALLOC: "#4f772d",
    FrameClass.HUGETLB: "#0b7a75",
    FrameClass.OTHER: "#7f5539",
    FrameClass.CMA: "#264653",
    FrameClass.UNMANAGED: "#c2b8a3",
    FrameClass.LABELLED: "#0077b6",
}
"""Ink of a cell by its worst owner."""
_MOVABLE_COLOUR: Final = "#3f7cac"
FREE_COLOUR: Final = "#f3efe4"
_HUGE_COLOUR: Final = "#0b7a75"
_INK: Final = "#22262e"
_FAINT: Final = "#6b7280"
_PAPER: Final = "#ffffff"
_LEAST_DEPTH: Final = 0.30
"""A single frame must still be told from none."""
_LEGEND_NR_COLUMNS: Final = 6  # of the widest words that there are
_MARKS_NR_COLUMNS: Final = 64
"""On a wider map a dot would be no more than a smudge."""
_LINES_NR_COLUMNS: Final = 128
"""On a wider map the lines between cells would be most of it."""


@frozen(eq=False)
class Panel:
    """One map: its title, and frames per pageblock and class."""

    title: str
    counts: Counts


def _rgb(colour: str) -> NDArray[np.float64]:
    return np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])


def _colours_of(taken: CellCounts) -> NDArray[np.float64]:
    """RGB of each cell, float64[nr_cells, 3] in 0..1; holes are paper."""
    inks = np.array([_rgb(COLOURS.get(FrameClass(k), _INK)) for k in range(len(FrameClass))])[
        taken.worst
    ]
    inks[taken.nr_fixed == 0] = _rgb(_MOVABLE_COLOUR)
    depth = (_LEAST_DEPTH + (1 - _LEAST_DEPTH) * np.sqrt(taken.density))[:, None]
    cells: NDArray[np.float64] = depth * inks + (1 - depth) * _rgb(_PAPER)
    cells[taken.wholly_free] = _rgb(FREE_COLOUR)
    cells[taken.huge] = _rgb(_HUGE_COLOUR)
    cells[taken.nr_pages == 0] = _rgb(_PAPER)
    return cells


_PLAIN_METADATA: dict[str, dict[str, None]] = {
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
}
"""Form of a picture -> what of it would say when, and by what, it was made."""


def _nr_columns(nr_cells: int) -> int:
    """A power of two that makes a map half as high as wide, or a little higher."""
    return 1 << max(3, int(np.ceil(np.log2(np.sqrt(max(nr_cells, 1)) * 1.1))))


def matplotlib_or_error() -> Any:
    """The library, loaded late.

    Raises:
        PinpageError: it is not installed; names the extra.
    """
    try:
        import matplotlib.figure  # noqa: PLC0415  (an extra, loaded late)
        import matplotlib.patches  # noqa: PLC0415
    except ImportError:
        raise missing_extra("png: matplotlib is not installed", "plot") from None
    return matplotlib


def save_plain(figure: Any, path: Path, form: str) -> None:
    """Write a figure so that the same figure gives the same bytes.

    Args:
        figure: of matplotlib.
        path: the file to write.
        form: of the picture; `form_of` says which.

    Raises:
        SnapshotError: the place cannot be written.
    """
    same = {"svg.hashsalt": "pinpage"}  # names of what an SVG refers to are drawn from it
    with written(path) as file, matplotlib_or_error().rc_context(same):
        figure.savefig(file, format=form, metadata=_PLAIN_METADATA[form])


def form_of(path: Path) -> str:
    """The form of the picture that a file of this name has.

    Raises:
        WrongCallError: no picture has that ending.
    """
    form = path.suffix.removeprefix(".").lower() or "png"
    if not path.exists() or path.is_file():
        try:
            one_of(tuple(_PLAIN_METADATA), f"{path}: picture", ending=form)
        except PinpageError as error:
            raise WrongCallError(str(error)) from None
    return form if form in _PLAIN_METADATA else "png"  # (a pipe may have any name)


def render(
    panels: Sequence[Panel],
    path: Path | str,
    *,
    title: str,
    origin: str,
    nr_pages_per_block: int,
    page_nr_bytes: int = PAGE_SIZE,
) -> None:
    """Draw maps side by side into a picture; the same input gives the same bytes.

    Args:
        panels: the maps.
        path: the file to write; its ending says whether it is a PNG (also where there is
            none), an SVG or a PDF.
        title: of the picture.
        origin: where the data comes from, in a line.
        nr_pages_per_block: pages in a pageblock.
        page_nr_bytes: bytes in a page.

    Raises:
        PinpageError: matplotlib is not installed, or no picture has that ending.
        SnapshotError: the place cannot be written.
    """
    path = require_place(path)
    form = form_of(path)
    matplotlib = matplotlib_or_error()
    taken = [count_cells(panel.counts) for panel in panels]
    nr_columns = _nr_columns(max(len(one.nr_pages) for one in taken))
    nr_rows = -(-max(len(one.nr_pages) for one in taken) // nr_columns)
    map_width = 6.0 if len(panels) > 1 else 9.0
    map_height = map_width * nr_rows / nr_columns
    handles = _handles(matplotlib, taken)
    nr_legend_rows = 1 if len(handles) <= _LEGEND_NR_COLUMNS else 2
    below = 1.3 + 0.25 * nr_legend_rows
    width, height = 0.85 + len(panels) * (map_width + 0.55), map_height + below + 0.9
    figure = matplotlib.figure.Figure(figsize=(width, height), dpi=160, facecolor=_PAPER)
    for i, (panel, one) in enumerate(zip(panels, taken, strict=True)):
        left = 0.85 + i * (map_width + 0.55)
        box = (left / width, below / height, map_width / width, map_height / height)
        _draw_map(
            matplotlib,
            figure.add_axes(box),
            panel.title,
            one,
            nr_columns,
            nr_pages_per_block * page_nr_bytes,
            i == 0,
        )
    left_edge = 0.85 / width
    figure.text(
        left_edge, 1 - 0.34 / height, title, size=15, weight="bold", color=_INK, va="center"
    )
    heading = "worst owner of a pageblock, and in how many"
    if len(panels) > 1:
        heading += " (left map)"
    _draw_legend(figure, handles, heading, (left_edge, (below - 0.36) / height), nr_legend_rows)
    caption = _caption(taken, origin, nr_pages_per_block, page_nr_bytes)
    figure.text(left_edge, 0.22 / height, caption, size=8.5, color=_FAINT)
    save_plain(figure, path, form)


def _draw_legend(
    figure: Any, handles: Sequence[Any], heading: str, at: tuple[float, float], nr_rows: int
) -> None:
    """What the colours mean, in `nr_rows` rows below the maps."""
    legend = figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=at,
        ncols=-(-len(handles) // nr_rows),
        title=heading,
        title_fontproperties={"size": 9},
        alignment="left",
        frameon=False,
        fontsize=9.5,
        labelcolor=_INK,
        handlelength=1.1,
        handleheight=1.1,
        columnspacing=1.6,
        borderaxespad=0,
        borderpad=0,
    )
    legend.get_title().set_color(_FAINT)


def _draw_map(
    matplotlib: Any,
    axes: Any,
    title: str,
    taken: CellCounts,
    nr_columns: int,
    nr_bytes_per_cell: int,
    has_addresses: bool,
) -> None:
    nr_cells = len(taken.nr_pages)
    nr_rows = -(-nr_cells // nr_columns)
    image = np.tile(_rgb(_PAPER), (nr_rows * nr_columns, 1))
    image[:nr_cells] = _colours_of(taken)
    axes.imshow(image.reshape(nr_rows, nr_columns, 3), interpolation="nearest", aspect="auto")
    _hatch_holes(matplotlib, axes, taken, nr_columns)
    if nr_columns <= _MARKS_NR_COLUMNS:
        _draw_marks(axes, taken, nr_columns)
    if nr_columns <= _LINES_NR_COLUMNS:
        _draw_lines(axes, nr_rows, nr_columns)
    _label_axes(axes, nr_rows, nr_columns, nr_bytes_per_cell, has_addresses)
    axes.set_title(
        f"{title}:  {',  '.join(_states(taken))}",
        size=10.5,
        color=_INK,
        loc="left",
        pad=7,
    )


def _hatch_holes(matplotlib: Any, axes: Any, taken: CellCounts, nr_columns: int) -> None:
    for start, stop in _hole_runs(taken.nr_pages == 0, nr_columns):
        corner = (start % nr_columns - 0.5, start // nr_columns - 0.5)
        axes.add_patch(
            matplotlib.patches.Rectangle(
                corner,
                stop - start,
                1,
                facecolor=_PAPER,
                edgecolor="#c5c9d0",
                hatch="/////",
                linewidth=0,
            )
        )


def _draw_lines(axes: Any, nr_rows: int, nr_columns: int) -> None:
    axes.set_xticks(np.arange(-0.5, nr_columns), minor=True)
    axes.set_yticks(np.arange(-0.5, nr_rows), minor=True)
    for axis in (axes.xaxis, axes.yaxis):  # (a label's place has a line between cells, too)
        axis.remove_overlapping_locs = False
    axes.grid(which="minor", color=_PAPER, linewidth=1.1 * min(1.0, 32 / nr_columns))


def _label_axes(
    axes: Any, nr_rows: int, nr_columns: int, nr_bytes_per_cell: int, has_addresses: bool
) -> None:
    mib_per_cell = nr_bytes_per_cell / (1 << 20)
    ticks = np.arange(0, nr_rows, max(1, nr_rows // 8))
    axes.set_yticks(
        ticks, [_size(row * nr_columns * mib_per_cell) for row in ticks] if has_addresses else []
    )
    across = np.linspace(0, nr_columns, 5)
    axes.set_xticks(across - 0.5, [f"+{_size(column * mib_per_cell)}" for column in across])
    axes.tick_params(which="both", length=0, labelsize=8.5, labelcolor=_FAINT)
    axes.spines[:].set_visible(False)
    if has_addresses:
        axes.set_ylabel("physical address", size=9, color=_FAINT)


def _states(taken: CellCounts) -> list[str]:
    """What is to be said of a map in words."""
    states = [f"{np.count_nonzero(taken.wholly_free)} pageblocks wholly free"]
    if taken.huge.any():
        states.append(f"{np.count_nonzero(taken.huge)} huge pages")
    states.append(f"{np.count_nonzero(taken.nr_fixed)} cannot be emptied")
    return states


def _size(mib: float) -> str:
    if not mib:
        return "0"
    return f"{mib / 1024:g} GiB" if mib >= 1024 else f"{mib:g} MiB"


def _hole_runs(holes: NDArray[np.bool_], nr_columns: int) -> list[tuple[int, int]]:
    """Runs of hole cells (start, stop), cut at row ends."""
    rows = np.flatnonzero(holes)
    cuts = np.flatnonzero((np.diff(rows) != 1) | (rows[1:] % nr_columns == 0)) + 1
    return [(int(run[0]), int(run[-1]) + 1) for run in np.split(rows, cuts) if len(run)]


def _handles(matplotlib: Any, taken: Sequence[CellCounts]) -> list[Any]:
    """Legend entries for what the maps show, each with the number of cells in the first map."""

    def patch(colour: str, label: str, hatch: str | None = None) -> Any:
        edge = "#c5c9d0" if hatch or colour == FREE_COLOUR else colour
        return matplotlib.patches.Patch(
            facecolor=colour, edgecolor=edge, hatch=hatch, label=label, linewidth=0.6
        )

    first = taken[0]
    movable = (first.nr_fixed == 0) & (first.nr_movable > 0) & ~first.huge
    handles = [
        patch(FREE_COLOUR, f"wholly free ({np.count_nonzero(first.wholly_free)})"),
        patch(_MOVABLE_COLOUR, f"all movable ({np.count_nonzero(movable)})"),
    ]
    shown = np.unique(np.concatenate([one.worst[one.nr_fixed > 0] for one in taken])).tolist()
    nr_cells = np.bincount(first.worst[first.nr_fixed > 0], minlength=len(FrameClass))
    handles += [
        patch(COLOURS[FrameClass(k)], f"{FrameClass(k).name.lower()} ({nr_cells[k]})")
        for k in sorted(shown, key=lambda k: (-int(nr_cells[k]), k))
    ]
    if any(one.huge.any() for one in taken):
        handles.append(patch(_HUGE_COLOUR, "huge page"))
    if any((one.nr_pages == 0).any() for one in taken):
        handles.append(patch(_PAPER, "no memory", "/////"))
    return handles


def _draw_marks(axes: Any, taken: CellCounts, nr_columns: int) -> None:
    """A dot where the worst owner is not the only one: moving its frames alone frees nothing."""
    mixed = np.flatnonzero((taken.nr_fixed > 0) & ~taken.alone)
    axes.scatter(
        mixed % nr_columns,
        mixed // nr_columns,
        s=5 * (32 / nr_columns) ** 2,
        c=_PAPER,
        linewidths=0,
    )


def _caption(
    taken: Sequence[CellCounts], origin: str, nr_pages_per_block: int, page_nr_bytes: int
) -> str:
    block = _size(nr_pages_per_block * page_nr_bytes / (1 << 20))
    return (
        f"Cell: one pageblock, {block} = {nr_pages_per_block} "
        f"frames of {page_nr_bytes >> 10} KiB.  "
        "Colour: the unmovable class with the most frames in it.  Dot: others sit in it too.\n"
        "Depth: share of the pageblock that cannot move (that is in use, where all can).  "
        f"{int(taken[0].nr_pages.sum()):,} frames, {origin}."
    )
