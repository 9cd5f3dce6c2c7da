"""What the command prints besides tables: JSON, maps, progress, one-line descriptions."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import attrs
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from pinlab import heatmap
from pinlab.compare import Progress as RunProgress
from pinlab.holders import classes_of
from pinlab.results import Comparison, Run
from pinlab.snapshot.classes import FrameClass
from pinlab.snapshot.image import Snapshot
from pinpage.units import PAGE_SIZE

__all__ = [
    "comparison_as_json",
    "describe",
    "file_progress",
    "print_maps",
    "run_progress",
]


_MOVABLE_BY_MM = frozenset({FrameClass.ANON, FrameClass.FILE, FrameClass.HUGETLB})


def comparison_as_json(comparison: Comparison) -> dict[str, Any]:
    """One JSON object; maps are left out."""
    shown = attrs.asdict(comparison, filter=lambda attribute, _: attribute.name != "maps")
    for row in shown["rows"]:
        row["movable"] = list(row["movable"])
    shown["rows"] = list(shown["rows"])
    return shown


def print_maps(comparison: Comparison) -> None:
    """Memory before and after each run, side by side."""
    for row, maps in zip(comparison.rows, comparison.maps, strict=True):
        print()
        print(" ".join((row.design, "+".join(row.movable), row.strategy)).replace("  ", " "))
        movable = _MOVABLE_BY_MM | classes_of(row.movable)
        print(heatmap.pair(maps.before, maps.after, movable=movable))


def describe(snapshot: Snapshot) -> str:
    """A recording in one line."""
    free = snapshot.nr_frames_of(FrameClass.FREE) * PAGE_SIZE >> 20
    unknown = snapshot.nr_frames_of(FrameClass.UNKNOWN)
    return (
        f"{snapshot.nr_frames:,d} frames in {snapshot.nr_blocks:,d} pageblocks: "
        f"{free:,d} MiB free, {unknown:,d} of unknown use"
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


@contextmanager
def run_progress() -> Iterator[RunProgress | None]:
    """A bar over the runs of a comparison, on stderr; none where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    with _bar() as bar:
        task = bar.add_task("filling memory", total=None)

        def told(run: Run, done: int, total: int) -> None:
            what = " ".join(filter(None, (run.design, "+".join(run.movable), run.strategy)))
            bar.update(task, description=what, completed=done, total=total)

        yield told


@contextmanager
def file_progress() -> Iterator[Callable[[str, int, int], None] | None]:
    """A bar over the files that are read, on stderr; none where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    with _bar() as bar:
        task = bar.add_task("reading", total=None)

        def told(name: str, done: int, total: int) -> None:
            bar.update(task, description=name, completed=done, total=total)

        yield told
