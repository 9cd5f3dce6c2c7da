"""What the command prints besides tables: JSON, maps, progress, one-line descriptions."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

import attrs
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from pinlab.compare.compare import RunProgress
from pinlab.compare.every_design import Limit
from pinlab.compare.results import Comparison, Run
from pinlab.replay.owners import classes_of
from pinlab.report import heatmap
from pinlab.report.plain import PlainTable, as_plain
from pinlab.report.trust import unknown_in_words
from pinlab.snapshot.classes import FrameClass
from pinlab.snapshot.image import Snapshot

if TYPE_CHECKING:
    from pinlab.cli.options import OutputFormat

__all__ = [
    "NamedProgress",
    "attempt_progress",
    "case_progress",
    "comparison_as_json",
    "describe",
    "file_progress",
    "is_terminal",
    "print_maps",
    "print_result",
    "race_progress",
    "run_progress",
    "terminal_width",
    "waiting_progress",
]


NamedProgress = Callable[[str, int, int], None]
"""Told before each piece of work: its name, how many are done, how many there are (0: unknown)."""

_MOVABLE_BY_MM = frozenset({FrameClass.ANON, FrameClass.FILE, FrameClass.HUGETLB})


def comparison_as_json(comparison: Comparison, limits: Sequence[Limit] = ()) -> dict[str, Any]:
    """One JSON object.

    Args:
        comparison: what was compared.
        limits: what designs cannot express, under `cannot_express` where there are any.
    """
    shown = comparison.to_json()
    if limits:
        shown["cannot_express"] = [attrs.asdict(limit) for limit in limits]
    return shown


def print_maps(comparison: Comparison) -> None:
    """Memory before and after each run, side by side."""
    for row, maps in zip(comparison.rows, comparison.maps, strict=True):
        print()
        print(
            " ".join((row.design, "+".join((*row.movable, *row.release)), row.strategy)).replace(
                "  ", " "
            )
        )
        movable = _MOVABLE_BY_MM | classes_of(row.movable)
        print(
            heatmap.pair(
                maps.before,
                maps.after,
                movable=movable,
                nr_pages_per_block=comparison.nr_pages_per_block,
                page_nr_bytes=comparison.page_nr_bytes,
            )
        )


def print_result(
    form: "OutputFormat",
    as_json: Callable[[], object],
    plain: Callable[[], Sequence[PlainTable]],
    show: Callable[[], None],
) -> None:
    """Print a result in the form that was asked for.

    Args:
        form: that form.
        as_json: the object that is printed as JSON.
        plain: the tables for csv and markdown.
        show: prints for people.
    """
    match form.value:
        case "json":
            print(json.dumps(as_json(), indent=2))
        case "csv" | "markdown" as plainly:
            print(as_plain(plain(), plainly))
        case _:
            show()


def describe(snapshot: Snapshot) -> str:
    """A recording in a line, and what its unknown frames come from in one more."""
    unknown = unknown_in_words(snapshot).replace(" use, ", " use,\n  ")
    nr_free = snapshot.nr_frames_of(FrameClass.FREE)
    free = f"{nr_free * snapshot.geometry.page_nr_bytes >> 20:,d} MiB free"
    free = free if snapshot.says_free else "free memory not recorded"
    return (
        f"{snapshot.nr_frames:,d} frames in {snapshot.nr_blocks:,d} pageblocks: {free}, {unknown}"
    )


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(file=sys.stderr),
        transient=True,
    )


def is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody looks; a stream that was closed before we came is None."""
    return stream is not None and stream.isatty()


def terminal_width() -> int | None:
    """Columns of the terminal that stdout is; None where it is none."""
    return shutil.get_terminal_size().columns if is_terminal(sys.stdout) else None


@contextmanager
def run_progress() -> Iterator[RunProgress | None]:
    """A bar over the runs of a comparison, on stderr; none where stderr is no terminal."""
    with _named_progress("filling memory") as bar:

        def advance(run: Run, done: int, total: int) -> None:
            if bar is not None:
                what = " ".join(
                    filter(None, (run.design, "+".join((*run.movable, *run.release)), run.strategy))
                )
                bar(what, done, total)

        yield None if bar is None else advance


@contextmanager
def file_progress() -> Iterator[NamedProgress | None]:
    """A bar over the files that are read, on stderr; none where stderr is no terminal."""
    with _named_progress("reading") as advance:
        yield advance


@contextmanager
def attempt_progress() -> Iterator[NamedProgress | None]:
    """A bar over the attempts of a request, on stderr; none where stderr is no terminal."""
    with _named_progress("filling memory") as advance:
        yield advance


@contextmanager
def case_progress() -> Iterator[NamedProgress | None]:
    """A bar over recordings that are replayed, on stderr; none where stderr is no terminal."""
    with _named_progress("replaying") as advance:
        yield advance


@contextmanager
def race_progress() -> Iterator[NamedProgress | None]:
    """A bar over the races that are explored, on stderr; none where stderr is no terminal."""
    with _named_progress("exploring") as advance:
        yield advance


@contextmanager
def waiting_progress(what: str) -> Iterator[None]:
    """A bar that only says what is done and since when, on stderr; none where nobody looks.

    Args:
        what: is done, in a word or two.
    """
    with _named_progress(what):
        yield


@contextmanager
def _named_progress(first: str) -> Iterator[NamedProgress | None]:
    if not is_terminal(sys.stderr):
        yield None
        return
    with _bar() as bar:
        task = bar.add_task(first, total=None)

        def advance(name: str, done: int, total: int) -> None:
            bar.update(task, description=name, completed=done, total=total or None)

        yield advance
