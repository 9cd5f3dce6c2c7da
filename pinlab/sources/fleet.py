"""Many machines in one table: a row for each source, read side by side.

A source that cannot be read is a row with its reason, and the others go on; so is one whose
reader died.  What reads them is any `concurrent.futures.Executor`: processes of this machine by
default, a Dask cluster's executor, or whatever else has `submit`.

    frame = tabulate(["a.npz", "b/"], nr_jobs=4)
    write_table(frame, "fleet.parquet")

Owns: the columns, and what becomes of a source that fails.
Ignores: how a source is read.
Cost: reading each source, in as many processes as are wanted; the table is small.
"""

import csv
import io
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    as_completed,
)  # fmt: skip
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np
from attrs import frozen

from pinlab.files.careful import one_line
from pinlab.files.output import path_of, written
from pinlab.report.cells import count_cells
from pinlab.snapshot.classes import MOVABLE_CLASSES, NR_CLASSES, FrameClass
from pinlab.snapshot.image import Snapshot
from pinlab.snapshot.open import open_snapshot
from pinlab.sources.blank import NO_FRAMES
from pinlab.sources.counts import UNREAD
from pinpage.errors import PinpageError
from pinpage.extras import missing_extra

__all__ = [
    "COLUMNS", "Row", "Spread", "cluster_executor", "require_table", "row_of", "spread_as_text",
    "spreads", "tabulate", "write_table",
]  # fmt: skip

Row = Mapping[str, str | int | float | None]
"""One source: a value for each of `COLUMNS`; None where the source does not say."""

_TEXTS: Final = ("source", "reason", "kernel")
_COUNTS: Final = (
    "page_nr_bytes", "nr_pages_per_block", "nr_frames", "nr_free", "nr_movable", "nr_unmovable",
    "nr_unknown", "nr_blocks", "nr_blocks_free", "nr_blocks_clearable", "nr_blocks_tainted",
    "largest_free_order", "drift_nr_pages", "nr_not_read",
)  # fmt: skip
_SHARES: Final = ("unusable_for_a_pageblock",)
_OF_CLASS: Final = tuple(f"nr_{klass.name.lower()}_frames" for klass in FrameClass)
COLUMNS: Final = (*_TEXTS, *_COUNTS, *_SHARES, *_OF_CLASS)
"""Of the table, in their order; `reason` is empty for a source that was read."""

_NOT_READ: Final = ("lines_not_read", "records_cut", "records_impossible", "rows_impossible")
_SHOWN: Final = (
    "nr_frames", "nr_free", "nr_unmovable", "nr_unknown", "nr_blocks_free", "nr_blocks_clearable",
    "nr_blocks_tainted", "largest_free_order", "unusable_for_a_pageblock",
)  # fmt: skip
_FREE: Final = ("nr_free", "nr_blocks_free", "nr_free_frames", "nr_pcp_frames")
"""Columns that are counted in the frames, and empty where nothing says which are free."""
_QUANTILES: Final = (0.0, 0.05, 0.5, 0.95, 1.0)
_NAME_WIDTH: Final = 25
_NUMBER_WIDTH: Final = 10
_SUFFIXES: Final = (".csv", ".parquet")


def row_of(source: str, owners_table: str | None = None) -> Row:
    """What one source comes to; a reason where it cannot be read.

    Args:
        source: a path, or a description.
        owners_table: a table of one's own, of whose stacks are.
    """
    try:
        return _row(source, open_snapshot(source, owners_table=owners_table))
    except (PinpageError, OSError, MemoryError) as error:
        return _failed(source, str(error) or type(error).__name__)


def _failed(source: str, reason: str) -> Row:
    return dict.fromkeys(COLUMNS) | {"source": one_line(source), "reason": one_line(reason)}


def _row(source: str, snapshot: Snapshot) -> Row:
    blank: dict[str, Any] = dict.fromkeys(COLUMNS)
    row = blank | {
        "source": one_line(source),
        "reason": "",
        "kernel": snapshot.provenance.kernel_release,
        "page_nr_bytes": snapshot.geometry.page_nr_bytes,
        "nr_pages_per_block": snapshot.nr_pages_per_block,
        "drift_nr_pages": snapshot.drift_nr_pages,
        "nr_not_read": sum(
            nr
            for name, nr in snapshot.reading.items()
            if name in _NOT_READ or name.startswith(UNREAD)
        ),
    }
    counted = _free_blocks(snapshot)
    if counted is not None:
        row["nr_free"] = sum(count << order for order, count in enumerate(counted))
        row["largest_free_order"] = max(
            (order for order, count in enumerate(counted) if count), default=-1
        )
        row["unusable_for_a_pageblock"] = _unusable(counted, snapshot.nr_pages_per_block)
    if NO_FRAMES in snapshot.unknown_fields:
        return row
    of_frames = _of_frames(snapshot)
    if not snapshot.says_free:  # what zones count stands, and of frames nothing is said
        of_frames = {name: n for name, n in of_frames.items() if name not in _FREE}
    return row | of_frames


def _free_blocks(snapshot: Snapshot) -> list[int] | None:
    """Free blocks by order: where they lie, else as buddyinfo counts them; None: not said."""
    if snapshot.says_free:
        heads = snapshot.order[snapshot.order >= 0]
        return [int(count) for count in np.bincount(heads)]
    counts = [facts.nr_free_blocks for facts in snapshot.zones if facts.nr_free_blocks]
    if not counts:
        return None
    totals = [0] * max(map(len, counts))
    for of_zone in counts:
        for order, count in enumerate(of_zone):
            totals[order] += count
    return totals


def _unusable(counted: Sequence[int], nr_pages: int) -> float | None:
    """Share of free memory in blocks smaller than so many pages; None where nothing is free."""
    free = [count << order for order, count in enumerate(counted)]
    large = sum(pages for order, pages in enumerate(free) if 1 << order >= nr_pages)
    return None if not sum(free) else round(1 - large / sum(free), 4)


def _of_frames(snapshot: Snapshot) -> dict[str, int]:
    per_block = snapshot.class_counts()
    of_class = np.bincount(snapshot.klass, minlength=NR_CLASSES).tolist()
    cells = count_cells(per_block)
    nr_unknown = per_block[:, [FrameClass.UNKNOWN, FrameClass.UNMANAGED]].sum(axis=1)
    is_block = cells.nr_pages > 0
    unmovable = int(cells.nr_fixed.sum() - nr_unknown.sum())
    return {
        "nr_frames": int(cells.nr_pages.sum()),
        "nr_free": of_class[FrameClass.FREE],
        "nr_movable": sum(of_class[klass] for klass in MOVABLE_CLASSES),
        "nr_unmovable": unmovable,
        "nr_unknown": int(nr_unknown.sum()),
        "nr_blocks": int(np.count_nonzero(is_block)),
        "nr_blocks_free": int(np.count_nonzero(snapshot.wholly_free())),
        "nr_blocks_clearable": int(np.count_nonzero(is_block & (cells.nr_fixed == 0))),
        "nr_blocks_tainted": int(np.count_nonzero(is_block & (cells.nr_fixed > nr_unknown))),
    } | {name: of_class[klass] for name, klass in zip(_OF_CLASS, FrameClass, strict=True)}


# Many of them.


def tabulate(
    sources: Sequence[str],
    *,
    executor: Executor | None = None,
    nr_jobs: int = 2,
    owners_table: str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Row]:
    """A row for each source, in their order.

    Args:
        sources: paths, or descriptions.
        executor: what reads them; None: processes of this machine.
        nr_jobs: how many processes, where they are ours.
        owners_table: a table of one's own, of whose stacks are.
        progress: told the source that has ended, how many have, and how many there are.

    Raises:
        PinpageError: no source, or fewer than one job.
    """
    if not sources:
        raise PinpageError("sources=(): give at least one")
    if nr_jobs < 1:
        raise PinpageError(f"nr_jobs={nr_jobs}: give 1 or more")
    if executor is not None:  # whose readers may work in another directory
        places = [_from_anywhere(source) for source in sources]
        table = None if owners_table is None else _from_anywhere(owners_table)
        rows = _collected(executor, places, table, progress)[0]
        named = zip(rows, sources, strict=True)
        return [{**row, "source": one_line(source)} for row, source in named]
    with _processes(nr_jobs) as pool:
        rows, broken = _collected(pool, sources, owners_table, progress)
    for index in broken:  # each alone, so that the one that kills its reader has no company
        with _processes(1) as pool:
            rows[index] = _collected(pool, [sources[index]], owners_table, None)[0][0]
    return rows


def _from_anywhere(source: str) -> str:
    """The path in full, of what there is; else the words as they are."""
    try:
        return str(Path(source).absolute()) if Path(source).exists() else source
    except (OSError, ValueError):
        return source


@contextmanager
def _processes(nr_jobs: int) -> Iterator[Executor]:
    # Started afresh: a reader inherits neither threads nor memory.
    with _Readers(nr_jobs, mp_context=get_context("spawn"), initializer=_end_at_ctrl_c) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(cancel_futures=True)  # what has not begun never does
            raise


class _Readers(ProcessPoolExecutor):
    """Processes that Ctrl-C ends without a word, from their first instruction on.

    A terminal sends it to them, too; one that is just importing would print a traceback.
    """

    def submit(self, *args: Any, **kwargs: Any) -> "Future[Any]":
        """As it is; a process that this starts keeps SIGINT until it can end by it."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return super().submit(*args, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_at_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _collected(
    executor: Executor,
    sources: Sequence[str],
    owners_table: str | None,
    progress: Callable[[str, int, int], None] | None,
) -> tuple[list[Row], list[int]]:
    """(rows, numbers of those whose executor broke)."""
    rows: list[Row] = [{}] * len(sources)
    broken: list[int] = []
    futures: dict[Future[Row], int] = {}
    for index, source in enumerate(sources):
        try:
            futures[executor.submit(row_of, source, owners_table)] = index
        except BrokenExecutor as error:
            rows[index] = _failed(source, f"its reader died: {error}")
            broken.append(index)
    ended = iter(futures) if not _is_standard(futures) else as_completed(futures)
    for nr, future in enumerate(ended, 1):
        index = futures[future]
        rows[index], died = _result_of(future, sources[index])
        if died:
            broken.append(index)
        if progress is not None:
            progress(sources[index], nr, len(sources))
    return rows, broken


def _is_standard(futures: Mapping[Any, int]) -> bool:
    """Whether these can be waited for together; those of other executors are, one by one."""
    return all(isinstance(future, Future) for future in futures)


def _result_of(future: "Future[Row]", source: str) -> tuple[Row, bool]:
    try:
        return future.result(), False
    except BrokenExecutor as error:
        return _failed(source, f"its reader died: {error}"), True
    except CancelledError:  # (a cluster that goes takes back what was to be read)
        return _failed(source, "its reader was taken back before it had read it"), False
    except Exception as error:  # noqa: BLE001  (whatever one reader raises ends that row alone)
        return _failed(source, f"{type(error).__name__}: {error}"), False


@contextmanager
def cluster_executor(address: str) -> Iterator[Executor]:
    """The executor of a Dask cluster, which is left when the block ends.

    Args:
        address: of its scheduler, such as tcp://host:8786.

    Raises:
        PinpageError: Dask is not installed, or there is no cluster.
    """
    try:
        from distributed import Client  # noqa: PLC0415  (it is optional, loaded late)

        untyped: Any = Client
    except ImportError:
        raise PinpageError(
            f"cluster={address}: needs Dask; install it: pip install distributed"
        ) from None
    try:
        client: Any = untyped(address)
    except (OSError, ValueError) as error:
        raise PinpageError(f"cluster={address}: {error}") from None
    with client:
        yield client.get_executor()


# The table.


def require_table(output: str | Path) -> Path:
    """Refuse early what cannot be written in the end; the path.

    Raises:
        PinpageError: it ends in neither .csv nor .parquet, or the extra for that is missing.
    """
    path = path_of(output, "output")
    if path.suffix not in _SUFFIXES:
        raise PinpageError(f"output={path}: give a name that ends in .csv or .parquet")
    if path.suffix == ".parquet":
        _pyarrow()
    return path


def write_table(rows: Sequence[Row], output: str | Path) -> None:
    """Write the table; whole, or not at all.

    Args:
        rows: of `tabulate`.
        output: where to; its ending says the form.

    Raises:
        PinpageError: an ending that is neither .csv nor .parquet, or a missing extra.
        SnapshotError: the place cannot be written.
    """
    path = require_table(output)
    if path.suffix == ".csv":
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        content = text.getvalue().encode()
    else:
        content = _as_parquet(rows)
    with written(path) as file:
        file.write(content)


def _pyarrow() -> Any:
    try:
        import pyarrow  # noqa: ICN001, PLC0415  (an extra, loaded late)
        import pyarrow.parquet  # noqa: PLC0415
    except ImportError:
        raise missing_extra("a table in parquet is written by pyarrow", "fleet") from None
    return pyarrow


def _as_parquet(rows: Sequence[Row]) -> bytes:
    pyarrow = _pyarrow()
    kinds = dict.fromkeys(_TEXTS, pyarrow.string()) | dict.fromkeys(_SHARES, pyarrow.float64())
    schema = pyarrow.schema([(name, kinds.get(name, pyarrow.int64())) for name in COLUMNS])
    table = pyarrow.Table.from_pylist([dict(row) for row in rows], schema=schema)
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table, sink)
    return bytes(sink.getvalue().to_pybytes())


# Distributions over machines.


@frozen
class Spread:
    """How a column is distributed over the machines that say it.

    Attributes:
        column: its name.
        nr: machines that say it.
        least, low, median, high, most: its quantiles at 0, 5, 50, 95 and 100 %.
    """

    column: str
    nr: int
    least: float
    low: float
    median: float
    high: float
    most: float


def spreads(rows: Sequence[Row]) -> list[Spread]:
    """The distribution of every column of numbers that some machine says."""
    found = []
    for column in (*_COUNTS, *_SHARES, *_OF_CLASS):
        numbers = [row[column] for row in rows if row[column] is not None]
        if numbers:
            values = np.quantile(np.array(numbers, dtype=np.float64), _QUANTILES).tolist()
            found.append(Spread(column, len(numbers), *values))
    return found


def spread_as_text(rows: Sequence[Row]) -> str:
    """A table of the main columns, and how many sources could not be read and why."""
    heads = ("machines", "least", "5 %", "median", "95 %", "most")
    lines = ["".join((f"{'':{_NAME_WIDTH}}", f"{heads[0]:>9}", *(f"{h:>9}" for h in heads[1:])))]
    for spread in spreads(rows):
        if spread.column in _SHOWN:
            numbers = (spread.least, spread.low, spread.median, spread.high, spread.most)
            name = spread.column.removeprefix("nr_").replace("_", " ")
            cells = "".join(f"{_number(number):>9}" for number in numbers)
            lines.append(f"{name:{_NAME_WIDTH}}{spread.nr:>9,d}{cells}")
    failed = [row for row in rows if row["reason"]]
    lines += ["", f"{len(rows) - len(failed):,d} of {len(rows):,d} sources were read."]
    lines += [f"{row['source']}: not read: {row['reason']}" for row in failed]
    return "\n".join(lines)


def _number(number: float) -> str:
    """In at most eight columns."""
    if number != int(number) and abs(number) < 100:
        return f"{number:.3f}"
    forms = (f"{number:,.0f}", f"{number:.0f}", f"{number:.2e}")
    return next(form for form in forms if len(form) < _NUMBER_WIDTH - 1 or form is forms[-1])
