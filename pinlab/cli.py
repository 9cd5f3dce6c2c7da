"""The command `pinpage`: parse, call, print.  No logic lives here.

What a subcommand needs is imported when it runs, so that `--help` answers at once.

Exit codes: 0 done, 1 it failed (a file, a permission), 2 it was called wrongly.
"""

import enum
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from pinpage.errors import PinpageError

if TYPE_CHECKING:
    from pinlab.compare import Progress, Run
    from pinlab.snapshot.image import Snapshot

__all__ = ["app", "main"]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Who pins which physical page, and what it would buy if they let it move.",
)
report_app = typer.Typer(no_args_is_help=True, help="Look at a recording.")
app.add_typer(report_app, name="report")


class StrategyName(enum.StrEnum):
    """How to decide what to move."""

    scan = "scan"
    plan = "plan"


@app.callback()
def _root() -> None:
    """Keep subcommands subcommands, however few there are."""


@app.command()
def compare(
    recording: Annotated[
        str | None,
        typer.Argument(help="A recording; the bundled one if left out.", show_default=False),
    ] = None,
    design: Annotated[
        list[str] | None,
        typer.Option(help="A design: unmovable, zbud-reclaim, registry. Repeatable."),
    ] = None,
    movable: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OWNER[,OWNER...]",
            help="Owners with a callback under the registry design. Each use is a run.",
        ),
    ] = None,
    strategy: Annotated[
        StrategyName | None,
        typer.Option(help="Two scanners as the kernel has them, or plan with what is known."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the contents that fill memory.")] = 0,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Runs at a time; the processors, at most 2, if left out."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    with_map: Annotated[bool, typer.Option("--map", help="Memory before and after each.")] = False,
) -> None:
    """The same memory and the same request under each design, beside what Linux did.

    Compacts all memory and then takes as many 2 MiB pages as there are.
    """
    from pinlab.compare import check_runs
    from pinlab.compare import compare as run_all
    from pinlab.output import comparison_as_json, print_maps
    from pinlab.tables import print_comparison

    snapshot = _open(recording)
    with _usage_errors():
        runs = _runs(snapshot, design, movable, strategy)
        check_runs(snapshot, runs)
    with _failures(), _progress(quiet=as_json) as progress:
        comparison = run_all(
            snapshot,
            runs,
            seed=seed,
            with_maps=with_map,
            nr_jobs=jobs or min(2, os.cpu_count() or 1),
            progress=progress,
        )
    if as_json:
        typer.echo(json.dumps(comparison_as_json(comparison), indent=2))
        return
    print_comparison(comparison)
    if with_map:
        print_maps(comparison)


@app.command()
def record(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The file to write.", show_default=False)
    ],
) -> None:
    """Capture this machine's memory map from /proc, as root."""
    from pinlab.output import describe
    from pinlab.record import record as capture

    with _failures(), _file_progress() as progress:
        snapshot = capture(output, progress)
    typer.echo(f"{output}: {describe(snapshot)}")


@report_app.command()
def heatmap(
    file: Annotated[str, typer.Argument(help="A recording, or the bundled one's name.")],
    png: Annotated[
        Path | None, typer.Option(help="Also draw it as a picture.", show_default=False)
    ] = None,
    width: Annotated[int, typer.Option(min=24, help="Columns of text.")] = 79,
) -> None:
    """Draw a recording: one cell per pageblock, by its worst owner."""
    from pinlab import heatmap as draw

    snapshot = _open(file)
    with _failures():
        typer.echo(draw.text(snapshot, width))
        if png is not None:
            draw.png(snapshot, png)
            typer.echo(f"{png}: drawn")


def main() -> None:
    """The entry point: a user's mistake ends in one line, never in a traceback."""
    try:
        app(prog_name="pinpage")
    except KeyboardInterrupt:
        typer.echo("pinpage: interrupted; nothing was written", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)


def _open(recording: str | None) -> "Snapshot":
    from pinlab.snapshot.open import open_snapshot

    with _failures():
        return open_snapshot(recording)


def _runs(
    snapshot: "Snapshot",
    designs: list[str] | None,
    coverages: list[str] | None,
    strategy: StrategyName | None,
) -> tuple["Run", ...]:
    from pinlab.compare import default_runs, runs_of

    if not designs and not coverages and strategy is None:
        return default_runs(snapshot)
    chosen = [tuple(filter(None, names.split(","))) for names in coverages or []]
    return runs_of(snapshot, designs or [], chosen, None if strategy is None else strategy.value)


@contextmanager
def _failures() -> Iterator[None]:
    """What goes wrong with files and memory: one line, exit code 1."""
    try:
        yield
    except (PinpageError, OSError, MemoryError) as error:
        _end(error, 1)


@contextmanager
def _usage_errors() -> Iterator[None]:
    """What was asked for wrongly: one line, exit code 2."""
    try:
        yield
    except PinpageError as error:
        _end(error, 2)


def _end(error: Exception, code: int) -> NoReturn:
    typer.echo(f"pinpage: {error}", err=True)
    raise typer.Exit(code) from error


@contextmanager
def _progress(*, quiet: bool) -> Iterator["Progress | None"]:
    """A bar over runs, on stderr and only on a terminal."""
    from pinlab.output import run_progress

    with run_progress(quiet=quiet) as progress:
        yield progress


@contextmanager
def _file_progress() -> Iterator["Progress | None"]:
    from pinlab.output import file_progress

    with file_progress() as progress:
        yield progress
