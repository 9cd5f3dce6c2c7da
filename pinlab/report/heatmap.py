"""The map of physical memory, as text and as a picture: what keeps each pageblock from emptying.

A cell is a pageblock (or several, when memory is large).  Its letter or colour is the worst
owner in it, the unmovable class with the most frames; where all can move, its shade is how
full it is.  Every function takes a table of frames per pageblock and class, so that a
machine in mid-experiment can be drawn as well as a recording.
"""

import textwrap
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final

import numpy as np

from pinlab.report import heatmap_png
from pinlab.report.cells import NOT_IN_USE, Counts, count_cells
from pinlab.snapshot.classes import MOVABLE_CLASSES, FrameClass
from pinlab.snapshot.image import Snapshot
from pinpage.errors import PinpageError
from pinpage.units import PAGE_SIZE, PAGEBLOCK_NR_PAGES

__all__ = ["LETTERS", "MAX_NR_ROWS", "SHADES", "cells", "draw", "pair", "png", "text"]

LETTERS: Final = {
    FrameClass.UNKNOWN: "?",
    FrameClass.RESERVED: "r",
    FrameClass.ANON: "a",
    FrameClass.FILE: "f",
    FrameClass.ZBUD: "z",
    FrameClass.Z3FOLD: "t",
    FrameClass.ZSMALLOC: "m",
    FrameClass.ZRAM: "d",
    FrameClass.GUP: "g",
    FrameClass.SLAB: "s",
    FrameClass.PAGETABLE: "p",
    FrameClass.KERNELSTACK: "k",
    FrameClass.VMALLOC: "v",
    FrameClass.HUGETLB: "h",
    FrameClass.OTHER: "o",
    FrameClass.CMA: "c",
    FrameClass.UNMANAGED: "u",
    FrameClass.LABELLED: "l",
}
"""Small where other unmovable classes sit in the same cell, capital where it is alone."""
SHADES: Final = ".:-+#"
"""Movable cells: wholly free, then by quarters of the cell in use."""
MAX_NR_ROWS: Final = 48
"""More rows than this do not fit a screen; cells then take several pageblocks each."""
_LABEL_WIDTH: Final = 7


def cells(
    counts: Counts, nr_blocks_per_cell: int = 1, movable: AbstractSet[FrameClass] = MOVABLE_CLASSES
) -> str:
    """One character per cell: a letter of `LETTERS`, a shade of `SHADES`, or a blank for a hole.

    Args:
        counts: frames per pageblock and class.
        nr_blocks_per_cell: pageblocks that share a cell.
        movable: classes whose owners have a callback: their frames do not keep a block.
    """
    taken = count_cells(counts, nr_blocks_per_cell, movable)
    # A quarter begun counts: one frame in use is not wholly free.
    quarters = -(-4 * taken.nr_movable // np.maximum(taken.nr_pages, 1))
    shades = np.array(list(SHADES))[quarters]
    letters = np.array([LETTERS.get(FrameClass(k), " ") for k in range(len(FrameClass))])[
        taken.worst
    ]
    letters = np.where(taken.alone, np.char.upper(letters), letters)
    drawn = np.where(taken.nr_fixed > 0, letters, np.where(taken.huge, "H", shades))
    return "".join(np.where(taken.nr_pages == 0, " ", drawn))


def _layout(nr_blocks: int, nr_columns: int) -> tuple[int, int]:
    """(cells per row, pageblocks per cell): powers of two that fit the width and `MAX_NR_ROWS`."""
    if nr_columns < 8:
        raise PinpageError(
            f"heatmap: width leaves {max(nr_columns, 0)} cells to a row, at least 8 are needed: "
            "widen it"
        )
    per_row = 1 << (nr_columns.bit_length() - 1)
    per_cell = 1
    while nr_blocks > per_row * per_cell * MAX_NR_ROWS:
        per_cell *= 2
    return per_row, per_cell


def _rows(
    counts: Counts, per_row: int, per_cell: int, movable: AbstractSet[FrameClass]
) -> list[str]:
    line = cells(counts, per_cell, movable)
    return [line[i : i + per_row].ljust(per_row) for i in range(0, len(line), per_row)]


def _address(row: int, per_row: int, nr_bytes_per_cell: int) -> str:
    nr_bytes = row * per_row * nr_bytes_per_cell
    nr_mib = nr_bytes >> 20
    return f"{nr_mib:>6}M" if nr_mib < 1_000_000 else f"{nr_mib >> 10:>6}G"


def draw(
    counts: Counts,
    width: int = 79,
    *,
    title: str = "",
    movable: AbstractSet[FrameClass] = MOVABLE_CLASSES,
    nr_pages_per_block: int = PAGEBLOCK_NR_PAGES,
    page_nr_bytes: int = PAGE_SIZE,
    says_free: bool = True,
) -> str:
    """The map as text: rows with their physical address, a summary, a legend.

    Args:
        counts: frames per pageblock and class.
        width: columns to stay within.
        title: the first line.
        movable: classes taken to be movable.
        nr_pages_per_block: for the addresses.
        page_nr_bytes: for the addresses, too.
        says_free: whether it is recorded which frames are free.

    Raises:
        PinpageError: too narrow for a row.
    """
    per_row, per_cell = _layout(len(counts), width - _LABEL_WIDTH - 2)
    rows = _rows(counts, per_row, per_cell, movable)
    body = [
        f"{_address(i, per_row, per_cell * nr_pages_per_block * page_nr_bytes)}|{row}|"
        for i, row in enumerate(rows)
    ]
    head = [title] if title else []
    unit = nr_pages_per_block * per_cell * page_nr_bytes >> 10
    summary = _summary(counts, movable, width, says_free=says_free)
    return "\n".join([*head, *body, *summary, *_legend("".join(rows), unit, width)])


def pair(
    before: Counts,
    after: Counts,
    width: int = 79,
    *,
    titles: tuple[str, str] = ("before", "after"),
    movable: AbstractSet[FrameClass] = MOVABLE_CLASSES,
    nr_pages_per_block: int = PAGEBLOCK_NR_PAGES,
    page_nr_bytes: int = PAGE_SIZE,
) -> str:
    """Two maps of the same memory side by side, with one legend.

    Args:
        before: frames per pageblock and class, before.
        after: the same, after.
        width: columns of text; None: as wide as it comes.
        titles: of the two maps.
        movable: classes whose owners have a callback: their frames do not keep a block.
        nr_pages_per_block: pages in a pageblock.
        page_nr_bytes: bytes in a page.

    Raises:
        PinpageError: tables of different shape, or too narrow.
    """
    if before.shape != after.shape:
        raise PinpageError(
            f"heatmap: before is {before.shape}, after is {after.shape}: draw the same memory twice"
        )
    per_row, per_cell = _layout(len(before), (width - _LABEL_WIDTH - 6) // 2)
    left, right = (_rows(counts, per_row, per_cell, movable) for counts in (before, after))
    body = [
        f"{_address(i, per_row, per_cell * nr_pages_per_block * page_nr_bytes)}|{a}|  |{b}|"
        for i, (a, b) in enumerate(zip(left, right, strict=True))
    ]
    head = (
        " " * _LABEL_WIDTH
        + " "
        + titles[0][:per_row].ljust(per_row)
        + " " * 4
        + titles[1][: per_row + 1]
    )
    unit = nr_pages_per_block * per_cell * page_nr_bytes >> 10
    gained = [_gain(before, after, movable)]
    return "\n".join([head.rstrip(), *body, *gained, *_legend("".join(left + right), unit, width)])


def _gain(before: Counts, after: Counts, movable: AbstractSet[FrameClass]) -> str:
    first, then = (
        int(np.count_nonzero(taken.wholly_free | taken.huge))
        for taken in (count_cells(counts, 1, movable) for counts in (before, after))
    )
    return f"Wholly free or huge: {first} pageblocks before, {then} after ({then - first:+d})."


def _summary(
    counts: Counts, movable: AbstractSet[FrameClass], width: int, *, says_free: bool
) -> list[str]:
    """How many pageblocks can be emptied, and which classes sit in those that cannot."""
    taken = count_cells(counts, 1, movable)
    nr_blocks = int(np.count_nonzero(taken.nr_pages))
    nr_free = int(np.count_nonzero(taken.wholly_free))
    nr_fixed = int(np.count_nonzero(taken.nr_fixed))
    nr_rest = nr_blocks - nr_free - nr_fixed
    free = f"{nr_free} wholly free" if says_free else "free memory not recorded"
    states = [free, f"{nr_rest} can be emptied", f"{nr_fixed} cannot."]
    total = _wrap(f"{nr_blocks} pageblocks: ", states, width)
    fixed = [k for k in FrameClass if k not in movable | NOT_IN_USE and counts[:, k].any()]
    nr_blocks_with = {k: int(np.count_nonzero(counts[:, k])) for k in fixed}
    most_first = sorted(fixed, key=lambda k: (-nr_blocks_with[k], k))
    owners = [f"{k.name.lower()} in {nr_blocks_with[k]}" for k in most_first]
    total = _wrap(f"{nr_blocks} pageblocks: ", states, width)
    return [*total, *(_wrap("Unmovable frames: ", owners, width) if owners else [])]


def _legend(drawn: str, cell_kib: int, width: int) -> list[str]:
    """Only what the map shows."""
    size = f"{cell_kib >> 10} MiB" if cell_kib >= 1024 else f"{cell_kib} KiB"
    entries = [". wholly free", ": - + # movable, by quarters in use", "H huge page"]
    letters = [
        f"{letter} {k.name.lower()}"
        for k, letter in LETTERS.items()
        if {letter, letter.upper()} & set(drawn) - {"H"}
    ]
    lines = _wrap(f"Cell = {size}: ", entries[: 2 + ("H" in drawn)], width)
    if letters:
        lines += _wrap("Worst owner (capital: alone): ", letters, width)
    return lines


def _wrap(head: str, items: list[str], width: int) -> list[str]:
    lines, line = [], head
    for i, item in enumerate(items):
        piece = item + (", " if i < len(items) - 1 else "")
        if len(line) + len(piece.rstrip()) > width and line.strip():
            lines.append(line.rstrip())
            line = "    "
        line += piece
    return [*lines, line.rstrip()]


def text(snapshot: Snapshot, width: int = 79) -> str:
    """The map of a snapshot as text.

    Args:
        snapshot: the recording.
        width: columns of text; None: as wide as it comes.

    Raises:
        PinpageError: too narrow for a row.
    """
    nr_mib = snapshot.nr_frames * snapshot.geometry.page_nr_bytes >> 20
    title = f"{snapshot.name}: {nr_mib} MiB of physical addresses"
    if "klass" in snapshot.guessed_fields:
        title += " (classes guessed in part)"
    return draw(
        snapshot.class_counts(),
        width,
        title="\n".join(textwrap.wrap(title, width, subsequent_indent="    ")),
        nr_pages_per_block=snapshot.nr_pages_per_block,
        page_nr_bytes=snapshot.geometry.page_nr_bytes,
        says_free=snapshot.says_free,
    )


def png(snapshot: Snapshot, path: Path | str) -> None:
    """The map of a snapshot as a picture, with what the recorded kernel made of it, if known.

    Args:
        snapshot: the recording.
        path: the file to write; a PNG, or a PDF if it ends in .pdf.

    Raises:
        PinpageError: matplotlib is not installed (names the extra), or a path that is none.
        SnapshotError: the place cannot be written.
    """
    panels = [
        heatmap_png.Panel("now" if snapshot.after is None else "before", snapshot.class_counts())
    ]
    if snapshot.after is not None:
        title = {
            "compact": "after compacting, as recorded",
            "request": "after the request, as recorded",
        }
        panels.append(heatmap_png.Panel(title[snapshot.after.phase], snapshot.after.class_counts))
    heatmap_png.render(
        panels,
        path,
        title=snapshot.name,
        origin=snapshot.provenance.source,
        nr_pages_per_block=snapshot.nr_pages_per_block,
        page_nr_bytes=snapshot.geometry.page_nr_bytes,
    )
