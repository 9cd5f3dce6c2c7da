"""Comparisons as tables: for a terminal of any width, for a mail, and as markdown.

Plain text everywhere.  What does not fit beside each other is printed below each other, the
name of the run repeated; where the output is no terminal nothing is wrapped at all.
"""

import shutil
import sys
import textwrap
from collections.abc import Sequence

import typer

from pinlab.compare.conclusions import conclusions, legend
from pinlab.compare.results import Comparison, MeasuredRow, Row
from pinlab.replay.designs import design

__all__ = ["as_markdown", "as_text", "lay_out", "print_comparison", "refusals"]

_NAME_COLUMNS = ("design", "callbacks", "strategy")
_COLUMNS = (
    *_NAME_COLUMNS, "{} pages", "bound", "emptied", "moved", "unused", "grown", "scanned",
    "locks", "model ms", "MB verified", "bytes lost",
)  # fmt: skip
_NR_NAMES = len(_NAME_COLUMNS)
_GAP = "  "

_Line = list[str]
"""One row of a table, its name columns first."""


def _name_of(row: Row) -> _Line:
    asks = design(row.design).takes_coverage
    callbacks = [*row.movable, *(f"{name}:release" for name in row.release)]
    return [row.design, "+".join(callbacks) or ("none" if asks else "-"), row.strategy]


def _cells(row: Row) -> _Line:
    return [
        *_name_of(row),
        _count(row.huge_pages),
        _count(row.bound),
        f"{row.pageblocks_emptied:+,d}",
        _count(row.pages_moved),
        _count(row.pages_unused),
        f"{row.pages_grown:+,d}" if row.pages_grown else "0",
        _count(row.pages_scanned),
        _count(row.lock_acquisitions),
        f"{row.modelled_ns / 1e6:,.0f}",
        f"{row.bytes_verified / 1e6:,.0f}",
        _count(row.bytes_lost),
    ]


def _measured_cells(row: MeasuredRow) -> _Line:
    emptied = "?" if row.pageblocks_emptied is None else f"{row.pageblocks_emptied:+,d}"
    known = [f"{row.kernel}, measured", "", "", _count(row.huge_pages), "", emptied]
    return [*known, _count(row.pages_moved), "", "", _count(row.pages_scanned), "", "", "", ""]


def _count(value: int) -> str:
    return f"{value:,d}"


def _columns(comparison: Comparison) -> _Line:
    """What stands over the columns; huge pages by their size."""
    return [name.format(comparison.huge_page) for name in _COLUMNS]


def _lines(comparison: Comparison) -> list[_Line]:
    lines = [] if comparison.measured is None else [_measured_cells(comparison.measured)]
    return lines + [_cells(row) for row in comparison.rows]


def as_markdown(comparison: Comparison) -> str:
    """The comparison as a markdown table: the recorded kernel first, then one line per run."""
    lines = [_columns(comparison), *_lines(comparison)]
    lines.insert(1, ["---" if i < _NR_NAMES else "---:" for i in range(len(_COLUMNS))])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def as_text(comparison: Comparison, width: int | None = None) -> str:
    """The same as plain text within `width` columns; None: as wide as it comes.

    Args:
        comparison: what was compared.
        width: columns; None: as wide as it comes.
    """
    return lay_out(_columns(comparison), _lines(comparison), width)


def refusals(rows: Sequence[Row], width: int | None = None) -> str:
    """How many frames stayed where they were and why, one line per run; empty if none did.

    Args:
        rows: what was found, run by run.
        width: columns; None: as wide as it comes.
    """
    reasons = sorted({reason for row in rows for reason in row.refused})
    if not reasons:
        return ""
    header = (*_NAME_COLUMNS, *(reason.replace("_", " ") for reason in reasons))
    lines = [
        [*_name_of(row), *(_count(row.refused.get(reason, 0)) for reason in reasons)]
        for row in rows
    ]
    return lay_out(header, lines, width)


def lay_out(
    header: Sequence[str],
    lines: Sequence[_Line],
    width: int | None = None,
    *,
    nr_names: int = _NR_NAMES,
) -> str:
    """A table as text; where it is too wide, several below each other.

    The first columns name the line, and become one where the table is split.

    Args:
        header: names of the columns.
        lines: cells, as many as the header has.
        width: columns to stay within, as far as one name and one value go; None: no limit.
        nr_names: columns that name the line: three for a run, two or one for anything else.
    """
    table = [list(header), *lines]
    whole = _render(table, nr_names)
    if width is None or len(whole[1]) <= width:
        return "\n".join(whole)
    one_name = _one_name if nr_names == _NR_NAMES else " ".join
    first = "run" if nr_names == _NR_NAMES else " ".join(header[:nr_names])
    names = [first, *(one_name(line[:nr_names]) for line in lines)]
    nr_columns = width - max(map(len, names))
    parts: list[list[int]] = [[]]
    left = nr_columns
    for column in range(nr_names, len(header)):
        needed = len(_GAP) + max(len(line[column]) for line in table)
        if parts[-1] and needed > left:
            parts.append([])
            left = nr_columns
        parts[-1].append(column)
        left -= needed
    return "\n\n".join(
        "\n".join(_render([[n, *(t[c] for c in part)] for n, t in zip(names, table, strict=True)]))
        for part in parts
    )


def _one_name(names: Sequence[str]) -> str:
    what, callbacks, strategy = names
    return " ".join(
        filter(None, (what, f"({callbacks})" if callbacks.strip("-") else "", strategy))
    )


def _render(table: Sequence[_Line], nr_names: int = 1) -> list[str]:
    """Header, a rule as wide as the table, rows; names to the left, values to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        _GAP.join(
            cell.ljust(size) if i < nr_names else cell.rjust(size)
            for i, (cell, size) in enumerate(zip(cells, widths, strict=True))
        )
        for cells in table
    ]
    lines.insert(1, "-" * len(lines[0]))
    return [line.rstrip() for line in lines]


def print_comparison(
    comparison: Comparison, width: int | None = None, limits: Sequence[object] = ()
) -> None:
    """Table, refusals, what they say, and what the columns mean.

    Args:
        comparison: what to print.
        limits: what designs cannot express here, a line each; nothing is said of none.
        width: columns to stay within; None: those of the terminal, or any number if there
            is none.
    """
    if width is None and sys.stdout is not None and sys.stdout.isatty():
        width = shutil.get_terminal_size().columns
    partial = "PARTIAL, interrupted: " if comparison.partial else ""
    unit = comparison.huge_page
    title = f"{partial}{comparison.recording}: compact all memory, then take every {unit} page"
    typer.secho(title, bold=True)
    typer.echo()
    typer.echo(as_text(comparison, width))
    stayed = refusals(comparison.rows, width)
    if stayed:
        typer.secho("\nFrames that stayed where they were, by reason", bold=True)
        typer.echo()
        typer.echo(stayed)
    if limits:
        typer.secho("\nWhat a design cannot express here", bold=True)
        typer.echo()
    for limit in limits:
        typer.echo(_wrapped(f"- {limit}", width))
    typer.echo()
    sentences = conclusions(comparison)
    for sentence in sentences:
        typer.echo(_wrapped(f"- {sentence}", width))
    if sentences:
        typer.echo()
    typer.secho(
        "\n".join(_wrapped(line, width) for line in legend(comparison).splitlines()), dim=True
    )


def _wrapped(text: str, width: int | None) -> str:
    return text if width is None else textwrap.fill(text, max(width, 24), subsequent_indent="  ")
