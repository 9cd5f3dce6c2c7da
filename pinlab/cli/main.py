"""The command `pinpage`: parse, call, print.  No logic lives here.

What a subcommand needs is imported when it runs, so that `--help` answers at once.

Exit codes: 0 done, 1 it failed (a file, a permission), 2 it was called wrongly, 130 it was
interrupted.  Whatever the user did wrong is one line on stderr; a traceback is our bug.
"""

import contextlib
import enum
import inspect
import json
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pinlab.cli import ask, history, look, options, request, sources
from pinlab.cli import fleet as fleets
from pinlab.cli.check_design import check_a_design
from pinlab.cli.errors import (
    INTERRUPTED,
    blaming,
    drop_output,
    end,
    failures,
    format_of,
    help_if_alone,
    open_recording,
    open_replayed,
    own_owner,
    usage_errors,
)
from pinlab.cli.options import LayoutOnly
from pinlab.cli.races import races
from pinlab.cli.sources import OwnersTable
from pinlab.own import foreign_package

if TYPE_CHECKING:
    from pinlab.compare.results import Run
    from pinlab.snapshot.image import Snapshot

__all__ = [
    "LOOK",
    "PROVE",
    "TRY",
    "app",
    "check",
    "compare",
    "heatmap",
    "main",
    "record",
    "trust",
]

TRY, LOOK, PROVE = "Try it on memory", "Look at a machine", "Designs, owners, races"
"""Panels of the help."""

app = typer.Typer(
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_report_app = typer.Typer(invoke_without_command=True)
app.add_typer(_report_app, name="report", rich_help_panel=LOOK)


class _Strategy(enum.StrEnum):
    """How to decide what to move."""

    scan = "scan"
    plan = "plan"


def _print_version(wanted: bool) -> None:
    if not wanted:
        return
    from importlib.metadata import PackageNotFoundError, version

    try:
        typer.echo(f"pinpage {version('pinpage')}")
    except PackageNotFoundError:  # run from a checkout
        typer.echo("pinpage, not installed")
    raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print it."),
    ] = False,
) -> None:
    """Who pins which physical page, and what it would buy if they let it move.

    Start with `pinpage compare`: it needs no file and no root.
    """
    help_if_alone(context)


@_report_app.callback()
def _report(context: typer.Context) -> None:
    """Look at one recording, or at what a run said."""
    help_if_alone(context)


app.command(rich_help_panel=TRY)(request.request)
app.command(rich_help_panel=TRY)(request.fidelity)
app.command(rich_help_panel=PROVE)(history.designs)
app.command(rich_help_panel=PROVE)(history.defects)
app.command(rich_help_panel=PROVE)(races)
_report_app.command()(request.reasons)
app.command("what-if", rich_help_panel=LOOK)(ask.what_if)
app.command(rich_help_panel=LOOK)(ask.diagnose)
for _view in (look.blocks, look.owners, look.taint, look.fragmentation, look.frames):
    _report_app.command()(_view)
_report_app.command("pins-per-block")(look.pins_per_block)
sources.add_to(app, LOOK)
fleets.add_to(app, LOOK)


_Recording = Annotated[
    str | None,
    typer.Argument(
        metavar="RECORDING|SCENARIO",
        help="A recording's file, or memory described as for `pinpage request`; if left out, the "
        "recording that is built in.",
    ),
]
_Designs = Annotated[
    list[str] | None,
    typer.Option(
        "--design",
        metavar="NAME",
        help="How frames are treated that mm cannot move by itself: unmovable (v3.11), "
        "zbud-reclaim (the RFC of 2013), registry (whoever pinned is asked), or one that "
        "`pinpage designs` lists. Repeatable.",
    ),
]
_Movable = Annotated[
    list[str] | None,
    typer.Option(
        metavar="OWNER[,OWNER...]",
        help="Who has a migrate callback under registry, such as zbud,slab; or none. "
        "Repeatable: each use is a run of its own.",
    ),
]
_StrategyOption = Annotated[
    _Strategy | None,
    typer.Option(
        help="scan: the kernel's two scanners. plan: knowing who holds what, empty the "
        "most pageblocks with the fewest moves."
    ),
]
_Seed = Annotated[int, typer.Option(min=0, metavar="N", help="Of the contents that fill memory.")]
_Jobs = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", help="Runs at a time; two if left out. No figure depends on it."
    ),
]
_All = Annotated[
    bool,
    typer.Option(
        "--all", help="Run every design, and say what each cannot express on this memory."
    ),
]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
_Map = Annotated[bool, typer.Option("--map", help="Draw memory before and after each run.")]


@app.command(rich_help_panel=TRY)
def compare(  # noqa: PLR0913, PLR0917  (typer calls it by name)
    recording: _Recording = None,
    design: _Designs = None,
    movable: _Movable = None,
    strategy: _StrategyOption = None,
    seed: _Seed = 0,
    jobs: _Jobs = None,
    as_json: _Json = False,
    with_map: _Map = False,
    label: options.Labels = None,
    layout_only: LayoutOnly = False,
    owner: options.OwnerOption = None,
    release: options.Release = None,
    form: options.FormatOption = None,
    every: _All = False,
) -> None:
    """What recorded memory gives under each design, beside what Linux did with it.

    Each run starts from the same frames, compacts them all and takes every 2 MiB page there is.

    Without options: three designs, with and without callbacks, by scan and by plan.
    """
    from pinlab.cli.output import (
        comparison_as_json,
        print_maps,
        print_result,
        run_progress,
    )
    from pinlab.compare.compare import compare as run_all
    from pinlab.compare.every_design import every_run, limits
    from pinlab.report.tables import print_comparison

    chosen = format_of(form, as_json=as_json)
    if chosen != "table" and with_map:
        end(f"--map draws for people: leave it out with --{'json' if as_json else 'format'}", 2)
    if every and (design or movable or strategy or release):
        options_left = "--design, --movable, --release, --strategy"
        end(f"--all runs every design, both ways: leave {options_left} out", 2)
    own = own_owner(owner)
    nr_jobs = jobs or min(2, os.cpu_count() or 1)
    snapshot = open_replayed(recording, label, seed, nr_jobs=0 if layout_only else nr_jobs)
    with usage_errors():
        runs = every_run(snapshot) if every else _runs(snapshot, design, movable, strategy, release)
    with failures(), blaming(own), run_progress() as progress:
        comparison = run_all(
            snapshot,
            runs,
            seed=seed,
            with_maps=with_map,
            nr_jobs=nr_jobs,
            progress=progress,
            layout_only=layout_only,
            keeps_ended=True,
            own=own,
        )
    unable = limits(snapshot) if every else ()
    print_result(
        chosen,
        lambda: comparison_as_json(comparison, unable),
        comparison.plain,
        lambda: print_comparison(comparison, limits=unable),
    )
    if with_map:
        print_maps(comparison)
    if comparison.partial:
        raise typer.Exit(INTERRUPTED)


@app.command(rich_help_panel=PROVE)
def check(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="MODULE:OWNER",
            help="A callable that gets a lab and returns a subject; MODULE is a dotted name or "
            "the path of a .py file.",
            show_default=False,
        ),
    ] = None,
    examples: Annotated[
        int, typer.Option(min=1, metavar="N", help="Random plans; half of the schedules.")
    ] = 100,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of the random plans.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    design: Annotated[
        str | None,
        typer.Option(
            "--design",
            metavar="MODULE:DESIGN",
            help="Check a design instead: a callable that gets a lab and returns one. One machine "
            "for every ten plans.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Check that an owner keeps what the contract promises. Needs the extra `test`.

    Exit code 1: a promise was broken; the shortest trace that was found is printed.
    """
    if (target is None) == (design is None):
        end("name an owner as MODULE:OWNER, or a design with --design MODULE:DESIGN", 2)
    if design is not None:
        check_a_design(design, nr_machines=-(-examples // 10), seed=seed, as_json=as_json)
        return
    with usage_errors():
        from pinlab.cli.check import check_owner, report_as_json
        from pinlab.cli.output import waiting_progress

        assert target is not None
        with waiting_progress(f"checking {target}"):
            report = check_owner(target, nr_examples=examples, seed=seed)
    typer.echo(json.dumps(report_as_json(report), indent=2) if as_json else report)
    if not report.kept:
        raise typer.Exit(1)


@app.command(rich_help_panel=LOOK)
def record(
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", metavar="FILE", help="The recording to write.", show_default=False
        ),
    ],
    proc: Annotated[
        str | None,
        typer.Option(
            "--proc",
            metavar="DIR",
            help="A folder of copies of another machine's files; `pinpage convert` takes what "
            "page-types printed in it, too.",
        ),
    ] = None,
    page_owner: Annotated[
        float,
        typer.Option(
            "--page-owner", metavar="SECONDS", min=0, max=86_400,
            help="Read page_owner for so long at most, where the kernel was booted with it: who "
            "asked for each page. Names of processes and stacks are kept; `pinpage redact` takes "
            "them out. 0 leaves it out.",
        ),
    ] = 20,
    owners_table: OwnersTable = None,
    cmdline: Annotated[
        bool, typer.Option("--cmdline", help="Keep the kernel's command line, secrets and all.")
    ] = False,
    label: options.Labels = None,
) -> None:  # fmt: skip
    """Capture this machine's memory map from /proc. Needs root; changes nothing but FILE.

    What /proc does not tell stays unknown, and an unknown frame is never taken for a free one.
    A table says how far FILE can be trusted. Nobody but its owner can read FILE.
    """
    from pathlib import Path

    from pinlab.cli.output import describe, file_progress
    from pinlab.procfs.beside import OwnersBeside
    from pinlab.procfs.capture import record as capture
    from pinlab.report import trust as telling

    folder: dict[str, Any] = {} if proc is None else {"proc_directory": proc}
    table = None if owners_table is None else Path(owners_table)
    with failures(), file_progress() as progress:
        with usage_errors():
            more = OwnersBeside(most_seconds=page_owner, owners_table=table, progress=progress)
        snapshot = capture(
            output, progress, command_line=cmdline, labels=tuple(label or ()), more=more, **folder
        )
    typer.echo(f"{output}: {describe(snapshot)}")
    if more.said:
        typer.echo(more.said)
    typer.echo("\n" + telling.as_text(telling.trust_of(snapshot)))
    if proc is not None and (left := _not_taken(proc)):
        typer.echo(f"\nNot taken: {left}. `pinpage convert` takes it, too.")


def _not_taken(folder: str) -> str:
    """What lies in a folder of copies and says more than /proc does, in words; "" for nothing."""
    from pathlib import Path

    from pinlab.sources.kinds import Kind, kinds_in

    with failures():
        found = kinds_in(Path(folder))
    return Kind.PAGE_TYPES if Kind.PAGE_TYPES in found else ""


@_report_app.command()
def trust(
    file: Annotated[
        str | None,
        typer.Argument(metavar="FILE", help="A recording; if left out, the one that is built in."),
    ] = None,
    as_json: _Json = False,
    form: options.FormatOption = None,
) -> None:
    """Set a recording's frames beside its kernel's own totals: how far can it be trusted?

    With what can be emptied at most, if the frames of unknown use stay, and if they move.
    """
    from pinlab.cli.output import print_result
    from pinlab.report import trust as telling

    chosen = format_of(form, as_json=as_json)
    told = telling.trust_of(open_recording(file))
    print_result(
        chosen,
        lambda: telling.as_json(told),
        lambda: telling.plain(told),
        lambda: typer.echo(telling.as_text(told)),
    )


@_report_app.command()
def heatmap(
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="RECORDING|SCENARIO",
            help="A recording or a description; if left out, the recording that is built in.",
        ),
    ] = None,
    png: options.Picture = None,
    width: Annotated[int, typer.Option(min=40, metavar="N", help="Columns of text.")] = 79,
) -> None:
    """Draw memory as a map: one cell per pageblock, by whoever keeps it from being emptied."""
    from pinlab.report import heatmap as draw

    snapshot = open_recording(file)
    with failures():
        text = draw.text(snapshot, width)
        if png is not None:
            draw.png(snapshot, png)
            text += f"\n{png}: drawn"
    typer.echo(text)


def _let_help_flow(of: typer.Typer) -> None:
    """Paragraphs are as wide as the terminal; docstrings are as wide as the source."""
    for command in of.registered_commands:
        text = inspect.getdoc(command.callback) or ""
        command.help = "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


_let_help_flow(app)
_let_help_flow(_report_app)


def main() -> None:
    """The entry point: a user's mistake ends in one line, never in a traceback."""
    sys.exit(_exit_code_of_run())


def _exit_code_of_run() -> int:
    try:
        code = _run()
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:  # before or after the work itself, which answers it with more
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has seen enough
        drop_output()
        return 1
    except OSError as error:  # files are named before: what is left is what we print on
        drop_output()
        _say(f"{error.filename or 'standard output'}: {error.strerror or error}")
        return 1
    return code


def _run() -> int:
    """Parse, call, and have everything printed that is to be."""
    if sentence := foreign_package():
        _say(sentence)
        return 1
    try:
        code = app(prog_name="pinpage", standalone_mode=False, color=_colour())
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Exception as error:
        # The parser's own errors; typer brings its parser along, or not, depending on its age.
        if not hasattr(error, "format_message"):
            raise
        return _say_what_was_wrong(error)
    if code == INTERRUPTED:
        _say("interrupted")
    return code if isinstance(code, int) else 0


def _say_what_was_wrong(error: Any) -> int:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "pinpage"
    message = " ".join(error.format_message().replace("Value error, ", "").split()).rstrip(".")
    _say(f"{message}; see {path} --help")
    return int(error.exit_code)


def _colour() -> bool | None:
    """False where NO_COLOR says so (no-color.org); None: as the terminal is."""
    return False if os.environ.get("NO_COLOR") else None


def _say(message: str) -> None:
    """One line on stderr, if anybody listens there."""
    with contextlib.suppress(OSError):
        typer.echo(f"pinpage: {message}", err=True)


def _runs(
    snapshot: "Snapshot",
    designs: list[str] | None,
    coverages: list[str] | None,
    strategy: _Strategy | None,
    release: str | None,
) -> tuple["Run", ...]:
    from pinlab.compare.compare import coverage_named, default_runs, runs_of, with_release

    given_up = () if release is None else coverage_named(release, "release")
    if not designs and not coverages and strategy is None:
        return tuple(with_release(default_runs(snapshot), given_up))
    chosen = [coverage_named(names) for names in coverages or []]
    return runs_of(
        snapshot, designs or [], chosen, None if strategy is None else strategy.value, given_up
    )
