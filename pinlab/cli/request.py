"""`pinpage request`, `pinpage fidelity`, `pinpage report reasons`: parse, call, print."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from pinlab.cli import options
from pinlab.cli.errors import (
    INTERRUPTED,
    OPTION_OF,
    blaming,
    end,
    failures,
    format_of,
    interruptible,
    open_replayed,
    own_owner,
    usage_errors,
)

if TYPE_CHECKING:
    from pinlab.lab.own import OwnOwner
    from pinlab.requests.report import RequestOptions, RequestReport
    from pinlab.snapshot.image import Snapshot

__all__ = ["CONCERNS", "fidelity", "reasons", "request"]


CONCERNS = {
    "--pages": (options.Consumer.cma,),
    "--align": (options.Consumer.cma,),
    "--area": (options.Consumer.cma,),
    "--block": (options.Consumer.offline,),
    "--block-size": (options.Consumer.offline,),
    "--region": (options.Consumer.power,),
    "--interleave": (options.Consumer.power,),
    "--idle": (options.Consumer.power,),
    "--node": (options.Consumer.huge2m, options.Consumer.huge1g),
}
"""Options that only some consumers have."""

_SIZE = re.compile(r"([0-9]{1,15})(KiB|MiB|GiB|TiB)")
_SHIFT = {"KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40}
_MOST_SECONDS = 86_400.0


def request(  # noqa: PLR0913, PLR0917  (typer calls it by name)
    consumer: options.ConsumerArgument,
    memory: options.Memory = None,
    design: options.Design = None,
    movable: options.Movable = None,
    strategy: options.StrategyOption = options.HowToChoose.scan,
    seed: options.Seed = 0,
    count: options.Count = None,
    pages: options.Pages = None,
    align: options.Align = None,
    area: options.Area = None,
    block: options.Block = None,
    block_size: options.BlockSize = None,
    region: options.Region = None,
    interleave: options.Interleave = None,
    idle: options.Idle = None,
    node: options.Node = None,
    mode: options.ModeOption = None,
    tries: options.Tries = None,
    timeout: options.Timeout = None,
    together: options.Together = None,
    first: options.FirstOption = None,
    retries: options.Retries = None,
    pause: options.Pause = None,
    as_json: options.Json = False,
    cdf: options.Cdf = False,
    layout_only: options.LayoutOnly = False,
    label: options.Labels = None,
    owner: options.OwnerOption = None,
    release: options.Release = None,
    form: options.FormatOption = None,
) -> None:
    """Serve one consumer of memory, as the kernel would or by plan, and say what it got.

    What was obtained, what stood in the way and whose it is, and what the time went to.
    """
    chosen = format_of(form, as_json=as_json)
    given = {
        "--pages": pages, "--align": align, "--area": area,
        "--block": block, "--block-size": block_size,
        "--region": region, "--interleave": interleave, "--idle": idle, "--node": node,
        "--mode": mode, "--count": count, "--tries": tries, "--timeout": timeout,
        "--together": together, "--retries": retries, "--pause-ms": pause,
    }  # fmt: skip
    with usage_errors():
        from pinlab.requests.report import DEFAULT_DESIGN

        _check_concern(consumer, given)
        how = {
            "design": design or DEFAULT_DESIGN,
            "movable": movable,
            "release": release,
            "strategy": strategy.value,
            "first": tuple(what.value for what in first or ()),
            "seed": seed,
        }
        wanted = _options_of(consumer, given, how)
    own = own_owner(owner)
    snapshot = _memory(consumer, memory, seed, label, nr_jobs=0 if layout_only else 1)
    wanted = wanted if design or movable else _as_linux_moves(snapshot, wanted)
    wanted = _in_pages_of(snapshot, wanted, given)
    report = _serve(consumer, snapshot, wanted, given, own, layout_only=layout_only)
    _print_report(report, chosen, cdf=cdf)


def _options_of(
    consumer: options.Consumer, given: dict[str, Any], how: dict[str, Any]
) -> "RequestOptions":
    """What was given, as the library has it, and nothing among it that is not obeyed."""
    from pinlab.compare.compare import coverage_named
    from pinlab.requests.obeyed import require_obeyed
    from pinlab.requests.report import RequestOptions
    from pinpage.owner import Mode
    from pinpage.units import PAGE_SIZE

    owners = {
        name: () if how[name] is None else coverage_named(how[name], name)
        for name in ("movable", "release")
    }
    mode = given["--mode"] or options.Waiting.sync
    wanted = RequestOptions(
        **how | owners,
        mode=Mode[mode.name.rstrip("_").upper()],
        count=given["--count"],
        together=given["--together"],
        nr_pages=given["--pages"],
        align_order=given["--align"] or 0,
        area=given["--area"],
        block=given["--block"],
        block_nr_pages=_nr_pages("--block-size", given["--block-size"], PAGE_SIZE),
        region_nr_pages=_nr_pages("--region", given["--region"], PAGE_SIZE),
        nr_interleaved=given["--interleave"] or 1,
        expected_idle_ns=_whole_ns("--idle", given["--idle"]),
        node=given["--node"],
        nr_tries=given["--tries"],
        timeout_ns=_whole_ns("--timeout", given["--timeout"]),
        nr_retries=given["--retries"] or 0,
        pause_ns=round((given["--pause-ms"] or 0) * 1e6),
    )
    require_obeyed(consumer.value, wanted, _given(given), may_begin=True)
    return wanted


def _given(given: dict[str, Any]) -> list[str]:
    """What the library calls the options that were given."""
    names = {option: argument for argument, option in OPTION_OF.items()}
    return [names[option] for option, value in given.items() if value is not None]


def _check_concern(consumer: options.Consumer, given: dict[str, Any]) -> None:
    for option, value in given.items():
        if value is not None and consumer not in CONCERNS.get(option, (consumer,)):
            whom = " and ".join(CONCERNS[option])
            end(f"{option} is for {whom}, not for {consumer}: leave it out", 2)


def _in_pages_of(
    snapshot: "Snapshot", wanted: "RequestOptions", given: dict[str, Any]
) -> "RequestOptions":
    """Sizes that were given, in pages as this machine has them."""
    from attrs import evolve

    size = snapshot.geometry.page_nr_bytes
    return evolve(
        wanted,
        block_nr_pages=_nr_pages("--block-size", given["--block-size"], size),
        region_nr_pages=_nr_pages("--region", given["--region"], size),
    )


def _nr_pages(option: str, text: str | None, page_nr_bytes: int) -> int | None:
    if text is None:
        return None
    found = _SIZE.fullmatch(text.strip())
    nr_bytes = int(found[1]) << _SHIFT[found[2]] if found else 0
    if not nr_bytes or nr_bytes % page_nr_bytes:
        end(f"{option} {text!r}: give whole pages as a size such as 64MiB", 2)
    return nr_bytes // page_nr_bytes


@contextmanager
def _as_typed(wanted: "RequestOptions", given: dict[str, Any]) -> Iterator[None]:
    """What the library says of a number of pages is said of the size that was typed."""
    from pinpage.errors import PinpageError

    try:
        yield
    except PinpageError as error:
        for option, nr_pages in (
            ("--block-size", wanted.block_nr_pages), ("--region", wanted.region_nr_pages),
        ):  # fmt: skip
            argument = next(name for name, its in OPTION_OF.items() if its == option)
            said = f"{argument}={nr_pages}:"
            if given[option] is not None and said in str(error):
                end(str(error).replace(said, f"{option} {given[option]}:"), 2)
        raise


def _whole_ns(option: str, seconds: float | None) -> int | None:
    if seconds is None:
        return None
    if not 0 < seconds <= _MOST_SECONDS:
        end(f"{option} {seconds}: give seconds of simulated time, more than 0, at most a day", 2)
    return max(1, round(seconds * 1e9))


def _memory(
    consumer: options.Consumer,
    named: str | None,
    seed: int,
    labels: list[str] | None,
    *,
    nr_jobs: int,
) -> "Snapshot":
    from pinlab.requests.run import DEFAULT_MEMORY

    wanted = DEFAULT_MEMORY[consumer.value] if named is None else named
    return open_replayed(wanted, labels, seed, nr_jobs=nr_jobs)


def _as_linux_moves(snapshot: "Snapshot", wanted: "RequestOptions") -> "RequestOptions":
    from attrs import evolve

    from pinlab.requests.fidelity import options_of_kernel

    moved = options_of_kernel(snapshot).movable
    return evolve(wanted, movable=tuple(name for name in moved if name not in wanted.release))


def _serve(
    consumer: options.Consumer,
    snapshot: "Snapshot",
    wanted: "RequestOptions",
    given: dict[str, Any],
    own: "OwnOwner | None",
    *,
    layout_only: bool,
) -> "RequestReport":
    from attrs import evolve

    from pinlab.cli.output import attempt_progress
    from pinlab.requests.run import run_request

    with (
        failures(), usage_errors(), _as_typed(wanted, given), blaming(own),
        interruptible() as pressed, attempt_progress() as advance,
    ):  # fmt: skip
        watched = evolve(wanted, interrupted=pressed)
        if advance is not None:
            watched = evolve(watched, advance=advance)
        contents: Any = "none" if layout_only else "bytes"
        return run_request(consumer.value, snapshot, watched, contents=contents, own=own)


def _print_report(report: "RequestReport", form: options.OutputFormat, *, cdf: bool) -> None:
    from pinlab.cli.output import print_result, terminal_width
    from pinlab.requests.latency import percentiles
    from pinlab.requests.latency import plain as plain_percentiles
    from pinlab.requests.show import as_text, cdf_as_text

    def show() -> None:
        typer.echo(as_text(report, terminal_width()))
        if cdf and report.attempts:
            typer.echo("\n" + cdf_as_text(report, terminal_width()))

    print_result(
        form,
        lambda: report.to_json() | ({"cdf": percentiles(report.attempts)} if cdf else {}),
        lambda: (*report.plain(), *((plain_percentiles(report.attempts),) if cdf else ())),
        show,
    )
    _end_if_partial(report)


def _end_if_partial(report: "RequestReport") -> None:
    if report.partial:
        raise typer.Exit(INTERRUPTED)


def fidelity(
    folder: options.Folder,
    only: options.Only = None,
    jobs: options.Jobs = 2,
    as_json: options.Json = False,
    form: options.FormatOption = None,
    layout_only: options.LayoutOnly = False,
) -> None:
    """Replay every recording under the design that its kernel had, and compare with the kernel.

    Case by case: predicted, measured, and whether the difference is within what is promised.
    """
    from pinlab.cli.output import case_progress, print_result, terminal_width
    from pinlab.requests import fidelity as telling

    chosen = format_of(form, as_json=as_json)
    with usage_errors():
        cases = telling.find_cases(folder, tuple(kind.value for kind in only or ()))
    with failures(), case_progress() as progress:
        found = telling.replay_cases(
            cases, nr_jobs=jobs, progress=progress, layout_only=layout_only
        )
    print_result(
        chosen,
        lambda: telling.as_json(found),
        lambda: telling.plain(found),
        lambda: typer.echo(telling.as_text(found, terminal_width())),
    )


def reasons(
    file: options.ReportFile,
    reason: options.ReasonFilter = None,
    owner: options.OwnerFilter = None,
    as_json: options.Json = False,
    form: options.FormatOption = None,
) -> None:
    """Count the frames that stayed where they were, by reason and holder."""
    from pinlab.cli.output import print_result, terminal_width
    from pinlab.requests import reasons as counting

    chosen = format_of(form, as_json=as_json)
    with failures():
        text = _text_of(file)
        runs = counting.read(text, "stdin" if file == "-" else file)
    with usage_errors():
        runs = counting.chosen(runs, reason=reason, owner=owner)
    width = terminal_width()
    tables = [f"{run.name}\n\n{counting.as_text(run.by_owner, width)}" for run in runs]
    print_result(
        chosen,
        lambda: counting.as_json(runs),
        lambda: counting.plain(runs),
        lambda: typer.echo("\n\n".join(tables)),
    )


def _text_of(file: str) -> str:
    from pinlab.files.careful import MOST_TEXT_NR_BYTES, read_bytes

    try:
        if file != "-":
            return read_bytes(Path(file), pipes=True).decode("utf-8")
        text = sys.stdin.read(MOST_TEXT_NR_BYTES + 1)
    except UnicodeDecodeError:
        end(f"{file}: is not text; give what --json printed", 1)
    if len(text) > MOST_TEXT_NR_BYTES:
        end("stdin: is larger than anything that --json prints", 1)
    return text
