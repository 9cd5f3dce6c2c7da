"""Why frames stayed, counted by reason and by holder, from what `--json` printed.

The one taxonomy (`pinpage.owner.Reason`) is the same in every file: a request's report counts
by reason and holder, a comparison by reason alone, one count for each run.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from attrs import frozen

from pinlab.files.careful import awry, load_json
from pinlab.report.plain import PlainTable
from pinlab.report.tables import lay_out
from pinlab.snapshot.classes import ALL
from pinpage.errors import PinpageError
from pinpage.owner import Reason

__all__ = [
    "ANYBODY",
    "REASONS",
    "ByOwner",
    "CountedRun",
    "as_json",
    "as_text",
    "chosen",
    "plain",
    "read",
]

ByOwner: TypeAlias = dict[str, dict[str, int]]
"""Holder -> reason -> frames."""

ANYBODY = "anybody"
"""Stands for the holder where a file does not count by holder."""

REASONS = tuple(reason.name.lower() for reason in Reason if not reason.is_success)
"""Reasons by name, in the order of the taxonomy."""

_FIX = "give what `pinpage request` or `pinpage compare` printed with as_json="


@frozen
class CountedRun:
    """The refusals of one run.

    Attributes:
        name: of the run.
        by_owner: holder -> reason -> frames.
    """

    name: str
    by_owner: ByOwner

    @property
    def total(self) -> int:
        """All frames."""
        return sum(sum(reasons.values()) for reasons in self.by_owner.values())


def read(text: str, source: str) -> list[CountedRun]:
    """The counts of every run in a file.

    Args:
        text: of the file.
        source: its name, for errors.

    Raises:
        PinpageError: not JSON, or not one of ours; names the field.
    """
    try:
        data = load_json(text)
    except ValueError as error:
        raise PinpageError(f"{source}: is not JSON ({error}); {_FIX}") from None
    if not isinstance(data, dict):
        raise PinpageError(f"{source}: is not a JSON object; {_FIX}")
    if found := awry(data):
        raise PinpageError(f"{source}: {found[0]}: {found[1]}; {_FIX}")
    if "refused_by_owner" in data:
        return [CountedRun(_name_of(data), _checked(data["refused_by_owner"], source))]
    rows = data.get("rows")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise PinpageError(f"{source}: has neither refused_by_owner nor rows; {_FIX}")
    return [
        CountedRun(_name_of(row), _checked({ANYBODY: row.get("refused")}, source)) for row in rows
    ]


def _name_of(run: Mapping[str, Any]) -> str:
    movable = run.get("movable")
    callbacks = "+".join(map(str, movable)) if isinstance(movable, list) else ""
    named = (run.get("request"), run.get("design"), f"({callbacks})" if callbacks else "")
    return " ".join(str(part) for part in (*named, run.get("strategy")) if part)


def _checked(by_owner: Any, source: str) -> ByOwner:
    if not isinstance(by_owner, dict):
        raise PinpageError(f"{source}: refused_by_owner: is not an object; {_FIX}")
    for owner, reasons in by_owner.items():
        if not isinstance(reasons, dict):
            raise PinpageError(f"{source}: refused of {owner}: is not an object; {_FIX}")
        for reason, count in reasons.items():
            if reason not in REASONS or type(count) is not int or count < 0:
                what = f"refused of {owner}: {reason}={count!r}: is no reason and count"
                raise PinpageError(f"{source}: {what}; {_FIX}")
    return {owner: dict(reasons) for owner, reasons in by_owner.items()}


def chosen(
    counted: Sequence[CountedRun], *, reason: str | None = None, owner: str | None = None
) -> list[CountedRun]:
    """Only what a reason and a holder name.

    Args:
        counted: the refusals of every run.
        reason: only this one; None: all.
        owner: only this holder; None: all.

    Raises:
        PinpageError: no such reason; or a holder that no run counts.
    """
    if reason is not None and reason not in REASONS:
        raise PinpageError(f"reason {reason!r} is unknown: it is one of {', '.join(REASONS)}")
    owners = {name for run in counted for name in run.by_owner}
    if owner is not None and owner not in owners:
        if owners <= {ANYBODY}:
            raise PinpageError(f"owner {owner!r}: this file does not count by owner")
        known = ", ".join(sorted(owners)) or "nobody"
        raise PinpageError(f"owner {owner!r} is not counted here: it is one of {known}")
    return [CountedRun(run.name, _filtered(run.by_owner, reason, owner)) for run in counted]


def _filtered(by_owner: ByOwner, reason: str | None, owner: str | None) -> ByOwner:
    kept = {
        holder: {why: n for why, n in reasons.items() if reason in (None, why)}
        for holder, reasons in by_owner.items()
        if owner in (None, holder)
    }
    return {holder: reasons for holder, reasons in kept.items() if reasons}


def as_json(counted: Sequence[CountedRun]) -> list[dict[str, Any]]:
    """One object per run: its name, the counts, their total."""
    return [
        {"run": run.name, "refused_by_owner": run.by_owner, "total": run.total} for run in counted
    ]


def plain(counted: Sequence[CountedRun]) -> tuple[PlainTable, ...]:
    """One table: a row per run, holder and reason."""
    rows = [
        (run.name, owner, reason, nr_frames)
        for run in counted
        for owner, reasons in run.by_owner.items()
        for reason, nr_frames in reasons.items()
    ]
    return (PlainTable("reasons", ("run", "owner", "reason", "frames"), tuple(rows)),)


def as_text(by_owner: ByOwner, width: int | None = None) -> str:
    """A table: holders down, reasons across, sums at both ends.

    Args:
        by_owner: holder -> reason -> frames.
        width: columns of text; None: as wide as it comes.
    """
    present = {why for reasons in by_owner.values() for why, n in reasons.items() if n}
    reasons = [why for why in REASONS if why in present]
    if not reasons:
        return "none"
    lines = [
        [holder, *_cells([counts.get(why, 0) for why in reasons])]
        for holder, counts in sorted(by_owner.items())
        if any(counts.values())
    ]
    sums = [sum(counts.get(why, 0) for counts in by_owner.values()) for why in reasons]
    lines.append([ALL, *_cells(sums)])
    return lay_out(
        ["holder", *(why.replace("_", " ") for why in reasons), "all"], lines, width, nr_names=1
    )


def _cells(counts: Sequence[int]) -> list[str]:
    return [f"{count:,d}" for count in (*counts, sum(counts))]
