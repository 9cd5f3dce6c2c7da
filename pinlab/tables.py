"""Comparisons as tables: for a terminal, and as plain text for a README or a mail."""

import sys
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pinlab.results import Comparison, MeasuredRow, Row

__all__ = [
    "LEGEND",
    "WIDTH",
    "as_markdown",
    "as_table",
    "comparison_notes",
    "print_comparison",
    "refusals",
]

_COLUMNS = (
    "design", "can move", "strategy", "2 MiB pages", "bound", "emptied", "moved", "unused",
    "grown", "scanned", "locks", "ms", "MB read", "lost",
)  # fmt: skip
_TEXT_COLUMNS = 3
WIDTH = 140
"""Columns where the output is no terminal: nothing wraps."""


def _cells(row: Row) -> list[str]:
    return [
        row.design,
        "+".join(row.movable) or ("nobody" if row.design == "registry" else "-"),
        row.strategy,
        str(row.huge_pages),
        str(row.bound),
        f"{row.pageblocks_emptied:+d}",
        _count(row.pages_moved),
        _count(row.pages_unused),
        f"{row.pages_grown:+,d}",
        _count(row.pages_scanned),
        _count(row.lock_acquisitions),
        f"{row.modelled_ns / 1e6:,.0f}",
        f"{row.bytes_verified / 1e6:,.0f}",
        _count(row.bytes_lost),
    ]


def _measured_cells(row: MeasuredRow) -> list[str]:
    emptied = "?" if row.pageblocks_emptied is None else f"{row.pageblocks_emptied:+d}"
    known = [f"{row.kernel}, measured", "", "", str(row.huge_pages), "", emptied]
    return known + [_count(row.pages_moved), "", "", _count(row.pages_scanned), "", "", "", ""]


def _count(value: int) -> str:
    return f"{value:,d}"


def _lines(comparison: Comparison) -> list[list[str]]:
    lines = [] if comparison.measured is None else [_measured_cells(comparison.measured)]
    return lines + [_cells(row) for row in comparison.rows]


def as_table(comparison: Comparison) -> Table:
    """The table for a terminal: the recorded kernel first, then one line per run."""
    table = Table(
        title=f"{comparison.recording}: compact all memory, then take every 2 MiB page",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        title_justify="left",
    )
    for index, name in enumerate(_COLUMNS):
        table.add_column(
            name,
            justify="left" if index < _TEXT_COLUMNS else "right",
            no_wrap=True,
            style="bold" if name == "2 MiB pages" else "",
        )
    for cells in _lines(comparison):
        table.add_row(*cells, end_section=cells[0].endswith("measured"))
    return table


def as_markdown(comparison: Comparison) -> str:
    """The same as a markdown table."""
    lines = [list(_COLUMNS), *_lines(comparison)]
    lines.insert(1, ["---" if i < _TEXT_COLUMNS else "---:" for i in range(len(_COLUMNS))])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def refusals(rows: Sequence[Row]) -> Table:
    """Why frames stayed where they were, one column per run."""
    reasons = sorted({reason for row in rows for reason in row.refused})
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("frames that stayed, by reason", no_wrap=True)
    for row in rows:
        table.add_column(
            "\n".join((row.design, "+".join(row.movable), row.strategy)), justify="right"
        )
    for reason in reasons:
        table.add_row(reason, *(_count(row.refused.get(reason, 0)) for row in rows))
    return table


def comparison_notes(comparison: Comparison) -> list[str]:
    """What the figures say to somebody who sees them for the first time.

    Each sentence is derived from the rows; one that does not hold is not printed.
    """
    notes = []
    rows = comparison.rows
    base = _first(rows, "unmovable", (), "scan")
    for row in rows:
        if base is None or row.strategy != "scan" or len(row.movable) != 1:
            continue
        gained = row.huge_pages - base.huge_pages
        if gained <= base.huge_pages * 0.1:
            notes.append(
                f"A callback for {row.movable[0]} alone buys {gained:+d} huge pages under scan "
                f"and costs {row.pages_moved - base.pages_moved:+,d} moves: what it vacates, "
                "other owners' frames keep from becoming free."
            )
    knows = _first(rows, "registry", (), "plan")
    if base is not None and knows is not None and knows.huge_pages > base.huge_pages:
        notes.append(
            f"Knowledge alone, nobody with a callback, makes {knows.huge_pages} with "
            f"{knows.pages_moved:,d} moves where scanning makes {base.huge_pages} with "
            f"{base.pages_moved:,d}."
        )
    for row in rows:
        if row.pages_grown > 0:
            notes.append(
                f"{row.design} brought {row.pages_unused:,d} compressed pages back to memory, "
                f"which grew by {row.pages_grown:,d} pages."
            )
    return notes


def _first(rows: Sequence[Row], design: str, movable: tuple[str, ...], strategy: str) -> Row | None:
    wanted = (design, movable, strategy)
    return next((r for r in rows if (r.design, r.movable, r.strategy) == wanted), None)


def print_comparison(comparison: Comparison, console: Console | None = None) -> None:
    """Table, refusals, notes, and what the columns mean, as wide as they need."""
    console = console or Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    console.print(as_table(comparison))
    console.print(refusals(comparison.rows))
    for note in comparison_notes(comparison):
        console.print(Text("- " + note))
    console.print(Text(LEGEND, style="dim"))


LEGEND = """\
bound: the most 2 MiB pages that any strategy can make with what the run can move.
emptied: pageblocks wholly free after compaction, less those before.  unused, grown: compressed
pages brought back to memory, and what that added to memory in use.  scanned: frames looked at.
locks: zone and registry locks.  ms: modelled time, for ratios between rows only.
MB read: bytes read back through their holders at the end and found as stored; lost: the others.
scan leaves the min watermark free, as the page allocator must; plan hands out what it emptied."""
