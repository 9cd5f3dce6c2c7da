"""Tables as csv and as markdown: plain values under the names that the JSON has.

A result gives its tables (`Table`), each of one kind of row; csv and markdown print them one
after the other, an empty line between them.  Numbers are whole and without separators, what is
not known is empty, several names are joined by "+".

Owns: the form of csv and markdown.
Ignores: tables for people (`pinlab.report.tables`), which are laid out by width.
Kernel counterpart: none.
Cost: none.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from attrs import frozen

__all__ = ["PlainFormat", "PlainTable", "as_plain", "of_rows"]

PlainFormat: TypeAlias = Literal["csv", "markdown"]


@frozen
class PlainTable:
    """One kind of row.

    Attributes:
        name: what the rows are.
        header: names of the columns.
        rows: values, as many as the header has.
    """

    name: str
    header: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


def of_rows(
    name: str, rows: Sequence[Mapping[str, Any]], without: Iterable[str] = ()
) -> PlainTable:
    """A table of objects that all have the same fields, as they come in JSON.

    Args:
        name: what the rows are.
        rows: the objects; if there are none, neither are columns.
        without: fields that are no single value, and so a table of their own.
    """
    left_out = set(without)
    header = tuple(key for key in (rows[0] if rows else ()) if key not in left_out)
    return PlainTable(name, header, tuple(tuple(row[key] for key in header) for row in rows))


def as_plain(tables: Sequence[PlainTable], form: PlainFormat) -> str:
    """The tables that have rows, one after the other.

    Args:
        tables: what is to be shown.
        form: "csv" or "markdown".
    """
    render = _as_csv if form == "csv" else _as_markdown
    return "\n\n".join(render(table) for table in tables if table.rows)


def _as_csv(table: PlainTable) -> str:
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(table.header)
    lines.writerows([_cell(value) for value in row] for row in table.rows)
    return text.getvalue().rstrip("\n")


def _as_markdown(table: PlainTable) -> str:
    numeric = [
        all(isinstance(row[at], int | float | None) for row in table.rows)
        for at in range(len(table.header))
    ]
    lines = [table.header, ["---:" if is_number else "---" for is_number in numeric]]
    lines += [[_cell(value).replace("|", "\\|") for value in row] for row in table.rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "+".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
