"""`pinpage describe`, `convert`, `validate`, `redact`: what people have, in its one form."""

import json
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from pinlab.cli import options
from pinlab.cli.errors import failures, open_recording, usage_errors

if TYPE_CHECKING:
    from pinlab.snapshot.image import Snapshot

__all__ = ["Output", "OwnersTable", "Source", "add_to", "convert", "describe", "redact", "validate"]

Source: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="A recording, a folder of copies of /proc (or /proc itself), a text of page_owner, "
        "what page-types -l or -L printed, buddyinfo or pagetypeinfo, a crash dump. Told apart "
        "by what is in it; texts may be packed by gzip or xz.",
        show_default=False,
    ),
]
Output: TypeAlias = Annotated[
    str,
    typer.Option(
        "--output", "-o", metavar="FILE", help="The recording to write.", show_default=False
    ),
]
OwnersTable: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="A TOML table of one's own, of which functions in the stacks of page_owner are "
        "whose; it goes before the built-in one.",
    ),
]


def convert(
    source: Source,
    output: Output,
    owners_table: OwnersTable = None,
    label: options.Labels = None,
) -> None:
    """Make a recording of whatever there is of a machine's memory.

    What the source does not say stays unknown, and an unknown frame is never taken for a free
    one. Nobody but its owner can read FILE.
    """
    from pinlab.files.output import require_place
    from pinlab.snapshot.image import save
    from pinlab.sources.inspect import as_text, inspect

    with failures():
        place = require_place(output)
    snapshot = open_recording(
        source, label, owners_table=owners_table, needs_frames=False, shows_progress=True
    )
    with failures():
        save(snapshot, place)
    typer.echo(_in_a_line(output, snapshot))
    typer.echo("\n" + as_text(inspect(snapshot, source, _kind_of(source))))


def validate(
    source: Source, owners_table: OwnersTable = None, as_json: options.Json = False
) -> None:
    """Say what is in a source, what is missing, and how far it can be trusted.

    Exit code 1: it cannot be used at all, and one line says why.
    """
    from pinlab.sources import inspect as inspecting

    snapshot = open_recording(
        source, owners_table=owners_table, needs_frames=False, shows_progress=True
    )
    found = inspecting.inspect(snapshot, source, _kind_of(source))
    shown: Any = inspecting.as_json(found)
    typer.echo(json.dumps(shown, indent=2) if as_json else inspecting.as_text(found))


def redact(source: Source, output: Output, owners_table: OwnersTable = None) -> None:
    """Make a recording that says nothing of whose memory it was: to hand to strangers.

    Names of processes, stacks, the command line, host and scenario names are left out; labels
    and contiguous areas are numbered. Every report gives the same figures.
    """
    from pinlab.files.output import require_place
    from pinlab.snapshot.image import save
    from pinlab.sources.redact import redacted

    with failures():
        place = require_place(output)
    snapshot = open_recording(
        source, owners_table=owners_table, needs_frames=False, shows_progress=True
    )
    with failures():
        save(redacted(snapshot), place)
    typer.echo(_in_a_line(output, snapshot))


def _in_a_line(output: str, snapshot: "Snapshot") -> str:
    from pinlab.cli.output import describe
    from pinlab.sources.blank import NO_FRAMES

    if NO_FRAMES in snapshot.unknown_fields:
        return f"{output}: free blocks of {len(snapshot.zones)} zones, counted; no frame is named"
    return f"{output}: {describe(snapshot)}"


def _kind_of(source: str) -> str:
    from pathlib import Path

    from pinlab.described.synthetic import is_description
    from pinlab.sources.source import describe_kind

    with usage_errors():
        if is_description(source) or not Path(source).exists():
            return "made from a description" if is_description(source) else "built in"
    return describe_kind(Path(source))


def describe(
    scenario: Annotated[
        str,
        typer.Argument(
            metavar="SCENARIO",
            help="Memory as scenario:1GiB,anon=30%,slab=2%, or a .toml file.",
            show_default=False,
        ),
    ],
    output: Output,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of the layout.")] = 0,
) -> None:
    """Make a recording of memory that is described, to look at or to hand on."""
    from pinlab.cli.output import describe as in_a_line
    from pinlab.cli.output import waiting_progress
    from pinlab.described.synthetic import describe_machine
    from pinlab.files.output import require_place
    from pinlab.snapshot.image import save

    with failures():
        place = require_place(output)
    with usage_errors(), waiting_progress("laying out memory"):
        snapshot = describe_machine(scenario, seed=seed)
    with failures(), waiting_progress("writing"):
        save(snapshot, place)
    typer.echo(f"{output}: {in_a_line(snapshot)}")


def add_to(app: typer.Typer, panel: str) -> None:
    """Make these subcommands of the command.

    Args:
        app: the command.
        panel: of its help, where they stand.
    """
    for command in (describe, convert, validate, redact):
        app.command(rich_help_panel=panel)(command)
