"""How close replay comes to the kernel: every recorded request, served again and compared.

Each recording holds a state, a request that was then made of the real kernel, and what came
of it.  The state is replayed under the design that this kernel had, the same request is put
to it, and both outcomes stand side by side:

    request   what is counted                         bar
    -------   -------------------------------------   ------------------------------
    huge      2 MiB pages by one write (and reclaim)  20 %
    cmphuge   the same after compact_memory           3 %, or 3 pages
    offline   memory blocks of 128 MiB, one by one    exact, or off by one
    cma       pages by the recorded sequence          5 %
    giga      1 GiB pages                             exact

The design of Linux 6.1: whoever has movable_operations (zsmalloc, z3fold, zram) moves, and
nobody else does.  Nothing is fitted to a single case; two things are to the `huge` recordings
as a whole (see `mm.allocator.kswapd` and `mm.compaction.scan_hints`).
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from attrs import frozen

from pinlab.compare.fork import run_forked
from pinlab.replay.owners import movable_owners
from pinlab.report.plain import PlainTable, of_rows
from pinlab.report.tables import lay_out
from pinlab.requests import cma, huge1g, huge2m, offline
from pinlab.requests.report import RequestName, RequestOptions
from pinlab.requests.run import Serve, run_request
from pinlab.snapshot.errors import SnapshotError
from pinlab.snapshot.facts import Measured
from pinlab.snapshot.image import Snapshot
from pinlab.snapshot.open import open_snapshot
from pinpage.errors import PinpageError

__all__ = [
    "REQUESTS",
    "Case",
    "Compared",
    "Recorded",
    "as_json",
    "as_text",
    "find_cases",
    "measured_outcome",
    "options_of_kernel",
    "plain",
    "replay_case",
    "replay_cases",
    "within_bar",
]

Recorded: TypeAlias = Literal["huge", "cmphuge", "offline", "cma", "giga"]
"""Requests that recordings hold."""

REQUESTS: tuple[Recorded, ...] = get_args(Recorded)

_MOVABLE_OPERATIONS = frozenset({"zsmalloc", "z3fold", "zram"})
"""Owners that Linux 6.1 can move."""

_SERVED_BY: dict[Recorded, tuple[RequestName, Serve]] = {
    "huge": ("huge2m", huge2m.serve),
    "cmphuge": ("huge2m", huge2m.serve_compacted),
    "offline": ("offline", offline.serve),
    "cma": ("cma", cma.serve),
    "giga": ("huge1g", huge1g.serve),
}
_OBTAINED_UNIT: dict[Recorded, str] = {
    "huge": "2 MiB pages",
    "cmphuge": "2 MiB pages",
    "offline": "memory blocks",
    "cma": "pages",
    "giga": "1 GiB pages",
}


@frozen
class Case:
    """One recorded request.

    Attributes:
        path: of the recording.
        request: what its kernel was asked for.
    """

    path: Path
    request: Recorded

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem


@frozen
class Compared:
    """One recorded request and its replay, in units of `unit`."""

    case: str
    request: Recorded
    unit: str
    predicted: int
    measured: int

    @property
    def difference(self) -> int:
        """Predicted less measured."""
        return self.predicted - self.measured

    def to_json(self) -> dict[str, Any]:
        """One JSON object."""
        return {
            "case": self.case,
            "request": self.request,
            "predicted": self.predicted,
            "measured": self.measured,
            "unit": self.unit,
            "difference": self.difference,
            "within": self.is_within,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Compared":
        """A case from `to_json`; what is computed is computed again.

        Raises:
            PinpageError: a field is missing or unknown, or does not fit the others.
        """
        try:
            names = ("case", "request", "unit", "predicted", "measured")
            found = cls(**{name: data[name] for name in names})
        except (TypeError, KeyError) as error:
            raise PinpageError(f"fidelity: {error}") from None
        if found.to_json() != data:
            raise PinpageError(f"fidelity: {found.case}: unknown fields, or they do not fit")
        return found

    @property
    def is_within(self) -> bool:
        """Whether the bar holds."""
        return within_bar(self.request, self.predicted, self.measured)


def within_bar(request: Recorded, predicted: int, measured: int) -> bool:
    """Whether a prediction is as close as is promised for that request.

    Args:
        request: the consumer.
        predicted: by replay.
        measured: by the recorded kernel.
    """
    off = abs(predicted - measured)
    bar: dict[Recorded, bool] = {
        "huge": off <= 0.20 * measured,
        "cmphuge": off <= max(3, 0.03 * measured),
        "offline": off <= 1,
        "cma": off <= 0.05 * measured,
        "giga": off == 0,
    }
    return bar[request]


def find_cases(folder: Path, only: Sequence[Recorded] = ()) -> list[Case]:
    """The recordings with an outcome in a folder, by name; what is not one is passed over.

    Args:
        folder: not searched any deeper.
        only: requests wanted; all if empty.

    Raises:
        PinpageError: no such folder, or nothing in it that is asked for.
    """
    try:
        is_folder = folder.is_dir()
    except OSError as error:  # too long a name, or a folder above that may not be searched
        problem = error.strerror or str(error)
        raise SnapshotError(folder, "folder", problem, "give another folder") from None
    if not is_folder:
        fix = "give one that holds recordings (.npz)"
        raise SnapshotError(folder, "folder", "is none", fix)
    cases = []
    for path in sorted(folder.glob("*.npz")):
        request = _request_in(path)
        if request is not None and (not only or request in only):
            cases.append(Case(path, request))
    if not cases:
        wanted = " or ".join(only) if only else "any request"
        raise PinpageError(f"{folder}: holds no recording of {wanted} with its outcome")
    return cases


def _request_in(path: Path) -> Recorded | None:
    """What was asked of the recorded kernel, going by the name that its recorder gave."""
    parts = path.stem.split("-")
    return next((kind for kind in REQUESTS if kind in parts[1:]), None)


def measured_outcome(measured: Measured) -> int:
    """What the kernel gave, in the unit of the request.

    Raises:
        PinpageError: the recording does not say.
    """
    if measured.operation in {"huge", "cmphuge"}:
        if measured.huge_pages is None:
            raise PinpageError("the recording does not say how many huge pages there were")
        return measured.huge_pages
    steps = measured.steps
    if measured.operation == "giga":
        return _told(steps.get("giga", {}), "obtained")
    good = {name: step for name, step in steps.items() if step.get("rc") == 0}
    if measured.operation == "offline":
        return sum(name.startswith("offline") for name in good)
    return sum(_told(step, "pages") for name, step in good.items() if name.startswith("cma"))


def _told(step: Mapping[str, Any], name: str) -> int:
    count = step.get(name)
    if type(count) is not int or count < 0:
        raise PinpageError(f"the recording does not say how many {name} there were")
    return count


def options_of_kernel(snapshot: Snapshot) -> RequestOptions:
    """The design that Linux 6.1 had, on the owners that this recording holds."""
    movable = tuple(sorted(_MOVABLE_OPERATIONS & set(movable_owners(snapshot))))
    if not movable:
        return RequestOptions(design="unmovable")
    return RequestOptions(design="registry", movable=movable)


def replay_cases(
    cases: Sequence[Case],
    *,
    nr_jobs: int = 1,
    progress: Callable[[str, int, int], None] | None = None,
    layout_only: bool = False,
) -> list[Compared]:
    """Replay each case in a process of its own.

    Args:
        cases: recorded requests.
        nr_jobs: processes at a time.
        progress: told before each.
        layout_only: move frames and no bytes in `huge`, too; the others do anyhow.

    Raises:
        SnapshotError: a recording that cannot be used.
        PinpageError: one that lacks its outcome.

    Cost: one to a few seconds per case; 100 to 300 MB for each under way, 1 GB for `huge`.
    """
    return run_forked(
        partial(replay_case, layout_only=layout_only),
        cases,
        nr_jobs=nr_jobs,
        started=None if progress is None else lambda c, n: progress(c.name, n, len(cases)),
    )


def replay_case(case: Case, *, layout_only: bool = False) -> Compared:
    """Put the recorded request to the recorded state.

    Args:
        case: the recording.
        layout_only: see `replay_cases`.
    """
    snapshot = open_snapshot(case.path)
    measured = snapshot.measured
    if measured is None or measured.operation != case.request:
        problem = f"is no outcome of {case.request}"
        raise SnapshotError(case.path, "measured", problem, "take the file out of the folder")
    try:
        outcome = measured_outcome(measured)
    except PinpageError as error:
        fix = "take the file out of the folder"
        raise SnapshotError(case.path, "measured", str(error), fix) from None
    return Compared(
        case=case.name,
        request=case.request,
        unit=_OBTAINED_UNIT[case.request],
        predicted=_predicted(case.request, snapshot, layout_only=layout_only),
        measured=outcome,
    )


def _predicted(request: Recorded, snapshot: Snapshot, *, layout_only: bool) -> int:
    name, serve = _SERVED_BY[request]
    # What is swapped out must be compressed, so it takes real bytes.
    contents: Literal["bytes", "none"] = "none"
    if request == "huge" and not layout_only:
        contents = "bytes"
    options = options_of_kernel(snapshot)
    return run_request(name, snapshot, options, contents=contents, servers={name: serve}).obtained


def as_json(found: Sequence[Compared]) -> list[dict[str, Any]]:
    """One object per case."""
    return [one.to_json() for one in found]


def plain(found: Sequence[Compared]) -> tuple[PlainTable, ...]:
    """One table: a row per case."""
    return (of_rows("cases", as_json(found)),)


def as_text(found: Sequence[Compared], width: int | None = None) -> str:
    """A table, case by case, and a line per request.

    Args:
        found: the cases, compared.
        width: columns of text; None: as wide as it comes.
    """
    header = ["case", "request", "predicted", "measured", "difference", "within the bar"]
    lines = [
        [
            one.case,
            one.request,
            f"{one.predicted:,d}",
            f"{one.measured:,d}",
            _difference(one),
            "yes" if one.is_within else "NO",
        ]
        for one in found
    ]
    summary = "\n".join(_summary(request, found) for request in _present(found))
    return lay_out(header, lines, width, nr_names=2) + "\n\n" + summary


def _present(found: Sequence[Compared]) -> list[Recorded]:
    counts = Counter(one.request for one in found)
    return [request for request in REQUESTS if counts[request]]


def _difference(one: Compared) -> str:
    if not one.difference:
        return "0"
    share = f" ({one.difference / one.measured:+.1%})" if one.measured else ""
    return f"{one.difference:+,d}{share}"


def _summary(request: Recorded, found: Sequence[Compared]) -> str:
    cases = [one for one in found if one.request == request]
    within = sum(one.is_within for one in cases)
    exact = sum(not one.difference for one in cases)
    return f"{request}: {within} of {len(cases)} within the bar, {exact} exactly"
