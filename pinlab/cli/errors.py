"""What the subcommands share: how a mistake, a failure and an interruption end.

Exit codes: 0 done, 1 it failed (a file, a permission), 2 it was called wrongly, 130 it was
interrupted.  Whatever the user did wrong is one line on stderr; a traceback is our bug.
"""

import errno
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import typer

from pinlab.files.careful import one_line

if TYPE_CHECKING:
    from pinlab.cli.options import OutputFormat
    from pinlab.cli.output import NamedProgress
    from pinlab.lab.own import OwnOwner
    from pinlab.snapshot.image import Snapshot

__all__ = [
    "INTERRUPTED",
    "OPTION_OF",
    "blaming",
    "drop_output",
    "end",
    "failures",
    "format_of",
    "help_if_alone",
    "interruptible",
    "open_recording",
    "open_replayed",
    "own_owner",
    "require_owners_table",
    "usage_errors",
]

INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""

OPTION_OF = {
    "area": "--area",
    "as_json": "--json",
    "movable": "--movable",
    "release": "--release",
    "nr_jobs": "--jobs",
    "mode": "--mode",
    "count": "--count",
    "together": "--together",
    "nr_pages": "--pages",
    "align_order": "--align",
    "block": "--block",
    "block_nr_pages": "--block-size",
    "region_nr_pages": "--region",
    "nr_interleaved": "--interleave",
    "expected_idle_ns": "--idle",
    "node": "--node",
    "nr_tries": "--tries",
    "timeout_ns": "--timeout",
    "nr_retries": "--retries",
    "pause_ns": "--pause-ms",
    "first": "--first",
    "output": "--output",
    "order": "--order",
    "want": "--want",
    "costs": "--costs",
    "again": "--again",
    "recording": "RECORDING",
    "owners_table": "--owners-table",
    "cluster": "--cluster",
    "owner": "--owner",
    "labels": "--label",
    "most_seconds": "--page-owner",
}
"""Argument of the library -> what the command calls it, where errors name it."""


_FIXES = {
    errno.ENOENT: "; give the path of a file that is there",
    errno.ENOTDIR: "; give the path of a file that is there",
    errno.EISDIR: "; give a file in it",
    errno.EACCES: "; read it as somebody who may",
}
"""What can be done about a file that the system names."""


def end(message: str, code: int) -> NoReturn:
    """One line on stderr, whatever the message quotes, and out.

    Args:
        message: may name arguments of the library ("nr_jobs=1"): they become options.
        code: the exit code.
    """
    with suppress(OSError):  # stderr may be full, too
        typer.echo(f"pinpage: {one_line(_with_options(message))}", err=True)
    raise typer.Exit(code)


def _with_options(message: str) -> str:
    """The library names its arguments, the command its options.

    >>> _with_options("leave movable= out, or try nr_jobs=1")
    'leave --movable out, or try --jobs 1'
    >>> _with_options("give order=, with or without area=, or block=")
    'give --order, with or without --area, or --block'
    """
    for argument, option in OPTION_OF.items():
        message = re.sub(rf"\b{argument}=(?=[^\s,;.:)])", f"{option} ", message)
        message = re.sub(rf"\b{argument}=", option, message)
    return message


def drop_output() -> None:
    """What is still buffered for a stdout that takes no more is dropped, or exit would fail."""
    if sys.stdout is None:
        return
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def help_if_alone(context: typer.Context) -> None:
    """A group of commands that was called without one explains itself."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)


@contextmanager
def failures() -> Iterator[None]:
    """What goes wrong with files and memory: one line, exit code 1; 2 for a call without sense."""
    from pinpage.errors import PinpageError

    try:
        yield
    except BrokenPipeError:
        raise
    except MemoryError:
        end("memory ran out: try --jobs 1, or a smaller recording", 1)
    except OSError as error:
        fix = _FIXES.get(error.errno or 0, "") if error.filename else ""
        end(f"{error.filename or 'system'}: {error.strerror or error}{fix}", 1)
    except PinpageError as error:
        from pinlab.snapshot.errors import WrongCallError

        end(str(error), 2 if isinstance(error, WrongCallError) else 1)


@contextmanager
def usage_errors() -> Iterator[None]:
    """What was asked for wrongly: one line, exit code 2; a file, or too little memory for it: 1."""
    from pinpage.errors import PinpageError

    try:
        yield
    except PinpageError as error:
        from pinlab.replay.host_memory import HostMemoryError
        from pinlab.snapshot.errors import SnapshotError

        end(str(error), 1 if isinstance(error, HostMemoryError | SnapshotError) else 2)


def open_recording(
    recording: str | None,
    labels: list[str] | None = None,
    seed: int = 0,
    *,
    owners_table: str | None = None,
    needs_frames: bool = True,
    needs_free: bool = False,
    shows_progress: bool = False,
    nr_jobs: int = 0,
) -> "Snapshot":
    """Memory by a recording's path, a source or a description; None: what is built in.

    Args:
        recording: what was given.
        labels: NAME=PFNS each, frames to be taken for an owner's.
        seed: of a description's layout.
        owners_table: a table of the user's own, of whose stacks are.
        needs_frames: whether a source that only counts is of no use.
        needs_free: whether a source that does not say what is free is of no use.
        shows_progress: whether to draw how far reading is.
        nr_jobs: replays at a time, bytes and all, that follow: memory that is described is not
            laid out where they do not fit.
    """
    from pinlab.described.synthetic import is_description

    is_described = recording is not None and is_description(recording)
    if owners_table is not None:
        require_owners_table(owners_table)
    with usage_errors() if is_described else failures(), _progress(wanted=shows_progress) as told:
        from pinlab.snapshot.open import open_snapshot

        if is_described and nr_jobs:
            from pinlab.replay.host_memory import require_memory_described

            require_memory_described(str(recording), nr_jobs)
        snapshot = open_snapshot(recording, seed=seed, owners_table=owners_table, progress=told)
        if needs_frames:
            from pinlab.sources.blank import require_frames_named

            require_frames_named(snapshot, recording or snapshot.name)
        if needs_free:
            from pinlab.sources.blank import require_free_recorded

            require_free_recorded(snapshot, recording or snapshot.name)
    with usage_errors():
        from pinlab.snapshot.labels import labelled_as

        if owners_table is not None:
            from pinlab.sources.source import require_stacks

            require_stacks(Path(str(recording)), Path(owners_table))
        return labelled_as(snapshot, tuple(labels or ()))


def open_replayed(
    recording: str | None, labels: list[str] | None, seed: int, *, nr_jobs: int
) -> "Snapshot":
    """Memory that a replay starts from: see `open_recording`; what is free has to be known."""
    return open_recording(recording, labels, seed, needs_free=True, nr_jobs=nr_jobs)


def require_owners_table(path: str) -> None:
    """A table that is none ends the command before anything is read, needed or not."""
    with failures():
        from pinlab.sources.stacks import load_table

        load_table(Path(path))


def own_owner(named: str | None) -> "OwnOwner | None":
    """The owner that [LABEL=]MODULE:OWNER names; None for None."""
    if named is None:
        return None
    with usage_errors():
        from pinlab.lab.own import OwnOwner

        return OwnOwner.named(named)


@contextmanager
def blaming(own: "OwnOwner | None") -> Iterator[None]:
    """A machine that contradicts itself with an owner of one's own in it is that owner's doing."""
    from pinpage.errors import InvariantError

    try:
        yield
    except InvariantError as error:
        if own is None:
            raise
        said = f"with it the machine contradicts itself: {error}"
        end(f"{own.name}: {said}; `pinpage check {own.name}` says which promise it breaks", 1)


def format_of(given: "OutputFormat | None", *, as_json: bool) -> "OutputFormat":
    """The form in which a result is printed.

    Args:
        given: what --format says, if anything.
        as_json: whether --json was given, too.
    """
    from pinlab.cli.options import OutputFormat

    if as_json and given not in (None, OutputFormat.json):
        end(f"--json beside --format {given}: leave one out", 2)
    return OutputFormat.json if as_json else given or OutputFormat.table


@contextmanager
def _progress(*, wanted: bool) -> "Iterator[NamedProgress | None]":
    if not wanted:
        yield None
        return
    from pinlab.cli.output import file_progress

    with file_progress() as told:
        yield told


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Ctrl-C sets a flag, so that what is under way can end in order; a second one does not wait.

    Yields whether it was pressed.  Where Ctrl-C is ignored already (a job in the background)
    it stays so.
    """
    pressed: list[int] = []

    def press(number: int, _frame: FrameType | None) -> None:
        if pressed:
            raise KeyboardInterrupt
        pressed.append(number)
        typer.echo("pinpage: ending in order; Ctrl-C again to leave at once", err=True)

    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        yield lambda: False
        return
    signal.signal(signal.SIGINT, press)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)
