"""`pinpage designs` and `pinpage defects`: parse, call, print."""

import json
import textwrap
from typing import Annotated, Any

import typer

__all__ = ["defects", "designs"]

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
_LOCK_NS, _THINK_NS = 100, 900
_CPUS = (1, 4, 16, 64, 256)
_PINS = (10_000, 100_000, 1_000_000)
_WIDTH = 79
_UNDER_TITLE = "     "
_SHORT = {
    "moves": "moves",
    "several_owners": "several",
    "gup": "gup",
    "knows_target": "target",
    "knows_mode": "mode",
    "undoes": "undoes",
    "pin_nr_bytes": "bytes",
}
"""Column of the capabilities -> what stands over it."""
_LEGEND = """\
moves: pages go elsewhere, and are not only given up.  several: those of
several owners, too.  gup: those that a device has pinned, too.  target, mode:
an owner is told where to, and how long it may take.  undoes: a refusal leaves
everybody as before.  bytes: that one pin takes."""
_DEFECTS = """\
The pin-page patch (RFC, 2013) with one defect at a time, and the registry in
the same situation: what went wrong."""


def designs(as_json: _Json = False) -> None:
    """Every design that `compare` and `request` know, and what each can do.

    A design decides what becomes of a page that page tables alone do not hold. What is printed is
    made from the designs themselves.
    """
    import attrs

    from pinlab.cli.output import terminal_width
    from pinlab.replay.designs import DESIGNS
    from pinlab.report.tables import lay_out

    rows = {name: attrs.asdict(entry.kind.capabilities) for name, entry in DESIGNS.items()}
    if as_json:
        found = [
            {"name": entry.name, "summary": entry.summary, **rows[entry.name], "note": entry.note}
            for entry in DESIGNS.values()
        ]
        typer.echo(json.dumps({"designs": found}, indent=2))
        return
    header = ["design", *_SHORT.values()]
    lines = [[name, *(_cell(row[column]) for column in _SHORT)] for name, row in rows.items()]
    typer.echo(lay_out(header, lines, terminal_width(), nr_names=1))
    typer.echo(f"\n{_LEGEND}")
    for entry in DESIGNS.values():
        row = rows[entry.name]
        typer.echo(f"\n{entry.name}\n  {entry.summary}")
        typer.echo(_below("a second owner", row["second_owner"]))
        typer.echo(_below("look-up", row["lookup"]))
        typer.echo(_below("locks", row["locks"]))
        if entry.note:
            typer.echo(_below("on recordings", entry.note))


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _below(name: str, text: str, indent: str = "  ") -> str:
    """One named fact of what stands above, within the width of a page."""
    first = f"{indent}{name}: "
    return textwrap.fill(text, _WIDTH, initial_indent=first, subsequent_indent=f"{indent}  ")


def defects(as_json: _Json = False) -> None:
    """What was wrong with the pin-page patch of 2013: shown on it, and looked for in the registry.

    Each defect runs alone on the patch, then on the patch with it mended, then on the registry;
    and the objections of 2013 are measured.

    Exit code 1: one is not shown, or is in the registry.
    """
    from pinlab.defects.history import exhibits

    found = exhibits()
    measured = _measured()
    if as_json:
        told = [
            {
                "number": exhibit.defect.number,
                "title": exhibit.defect.title,
                "rfc2013": exhibit.on_patch,
                "mended": exhibit.mended,
                "registry": exhibit.on_registry,
            }
            for exhibit in found
        ]
        typer.echo(json.dumps({"defects": told, "measured": measured}, indent=2))
    else:
        typer.echo(f"{_DEFECTS}\n")
        for exhibit in found:
            typer.echo(f"{exhibit.defect.number:2d} {exhibit.defect.title}")
            typer.echo(_below("rfc2013", exhibit.on_patch or "NOT SHOWN", _UNDER_TITLE))
            if exhibit.mended is not None:
                typer.echo(_below("rfc2013, mended", exhibit.mended, _UNDER_TITLE))
            typer.echo(_below("registry", exhibit.on_registry or "does not happen", _UNDER_TITLE))
        shown = sum(exhibit.on_patch is not None for exhibit in found)
        there = sum(exhibit.on_registry is not None for exhibit in found)
        typer.echo(f"\n{shown} of {len(found)} shown on rfc2013, {there} on registry.\n")
        _print_measured(measured)
    if not all(exhibit.is_history for exhibit in found):
        raise typer.Exit(1)


def _measured() -> dict[str, Any]:
    import attrs

    from pinlab.defects.measure import closed_queue, lock_use, probes, simulated_queue

    return {
        "probes": [attrs.asdict(probes(nr_pins)) for nr_pins in _PINS],
        "acquisitions_per_us": [
            {
                "nr_cpus": nr_cpus,
                "exact": closed_queue(nr_cpus, _LOCK_NS, _THINK_NS),
                "simulated": simulated_queue(nr_cpus, _LOCK_NS, _THINK_NS),
                "at_most": min(nr_cpus * 1000 / (_LOCK_NS + _THINK_NS), 1000 / _LOCK_NS),
            }
            for nr_cpus in _CPUS
        ],
        "direct_io_of_64_pages": [attrs.asdict(use) for use in lock_use()],
    }


def _print_measured(measured: dict[str, Any]) -> None:
    from pinlab.report.tables import lay_out

    typer.echo("Records looked at per page (the closed form is 1 + (n - 1) / 2048)\n")
    typer.echo(_table(measured["probes"], lay_out))
    typer.echo(f"\nOne lock held for {_LOCK_NS} ns every {_THINK_NS} ns: acquisitions per us\n")
    typer.echo(_table(measured["acquisitions_per_us"], lay_out))
    typer.echo("\nDirect I/O of 64 pages, 4 nodes: lock acquisitions of one request\n")
    typer.echo(_table(measured["direct_io_of_64_pages"], lay_out))


def _table(rows: list[dict[str, Any]], lay_out: Any) -> str:
    header = [name.replace("_", " ") for name in rows[0]]
    lines = [
        [f"{v:,.2f}" if isinstance(v, float) else f"{v:,}" if isinstance(v, int) else v for v in r]
        for r in (row.values() for row in rows)
    ]
    return str(lay_out(header, lines, None, nr_names=1))
