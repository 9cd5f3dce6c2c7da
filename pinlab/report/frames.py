"""Everything that a recording says of a frame, or of a range of frames.

Owns: the words.
Ignores: what it means for a request (`pinlab.diagnose`).
Cost: O(frames asked for).
"""

import textwrap
from typing import Any, Final

import attrs
import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from mm.state.frames import FrameState, PageFlag
from mm.state.pageblock import MigrateType
from pinlab.report.sizes import counted
from pinlab.report.tables import lay_out
from pinlab.report.taken import Taken, seconds, taken_in
from pinlab.snapshot.allocations import Allocation
from pinlab.snapshot.columns import NOT_KNOWN
from pinlab.snapshot.holdings import LINUX_MOVES, codes_of
from pinlab.snapshot.image import Snapshot
from pinlab.snapshot.labels import first_and_last
from pinpage.errors import PinpageError
from pinpage.units import Span

__all__ = [
    "FrameRow",
    "FramesReport",
    "as_json",
    "as_text",
    "frames_of",
    "parse_range",
    "read_range",
]

_WIDTH: Final = 79
_MOST_LINES: Final = 64
_COLUMNS: Final = (
    "pfn", "frames", "owner", "moves", "refs", "maps", "order", "asked for", "flags",
)  # fmt: skip
_OF_TAKEN: Final = ("since, s", "taken by")
_FLAGS_WIDTH: Final = 48
_FUNCTION_WIDTH: Final = 30
_MOST_FRAMES: Final = 1 << 20
_FREE: Final = frozenset({"free", "pcp"})


@frozen
class FrameRow:
    """A run of frames that differ in nothing but their pfn.

    Attributes:
        first, last: pfns, both included.
        owner: whose, or what it is: a class in small letters, or a label.
        state: a `FrameState` in small letters.
        moves: whether Linux would move it; None where it is free or nobody knows.
        references, mappings: None where nobody counted them.
        order: of the free block that begins here.
        flags: of /proc/kpageflags, by name.
        asked_for: the migratetype that the allocation asked for.
        pinned: whether it is known to be pinned.
        guessed: whether something of it was worked out, not read.
        taken: when its allocations were made, and by which function; None where none is recorded.
    """

    first: int
    last: int
    owner: str
    state: str
    moves: bool | None
    references: int | None
    mappings: int | None
    order: int | None
    flags: tuple[str, ...]
    asked_for: str | None
    pinned: bool
    guessed: bool
    taken: Taken | None


@frozen
class FramesReport:
    """What is known of a range.

    Attributes:
        recording: its name.
        span: the frames.
        zone: that the first one lies in.
        pageblocks: number -> migratetype of each pageblock that the range touches.
        owners: name -> its frames in the range, most first.
        taken: when they were, and by which function; None where nobody recorded that.
        allocation: that the frames are all part of, if there is one.
        rows: runs of like frames, by pfn.
    """

    recording: str
    span: Span
    zone: str
    pageblocks: dict[int, str]
    owners: dict[str, int]
    taken: Taken | None
    allocation: Allocation | None
    rows: tuple[FrameRow, ...]


def parse_range(text: str, nr_frames: int) -> Span:
    """Frames of PFN or FIRST-LAST, last one included.

    Args:
        text: as given.
        nr_frames: of the recording.

    Raises:
        PinpageError: no such form, beyond memory, or too many to show.

    >>> parse_range("0x10-0x1f", 100)
    Span(start=16, stop=32)
    """
    first, last = read_range(text)
    if last < first:
        raise PinpageError(f"frames: {text[:40]}: ends before it begins; give {last}-{first}")
    if not first <= last < nr_frames:
        raise PinpageError(
            f"frames: {text[:40]} is not within 0 to {nr_frames - 1:#x}, the recording's frames"
        )
    if last - first >= _MOST_FRAMES:
        raise PinpageError(
            f"frames: {text[:40]} is more than {_MOST_FRAMES:,d} frames: ask for fewer"
        )
    return Span(first, last + 1)


def read_range(text: str) -> tuple[int, int]:
    """The first and last of PFN or FIRST-LAST, of no recording yet.

    Raises:
        PinpageError: no such form.
    """
    found = first_and_last(text.strip())
    if found is None:
        raise PinpageError(
            f"frames: {text[:40]!r} is no pfn, nor a range such as 0x10-0x1f; a file goes behind it"
        )
    return found


def frames_of(snapshot: Snapshot, span: Span) -> FramesReport:
    """What a recording says of these frames.

    Args:
        snapshot: the recording.
        span: the frames; `parse_range` makes one.
    """
    codes, names = codes_of(snapshot)
    rows = slice(span.start, span.stop)
    mine = codes[rows]
    pinned = np.isin(np.arange(span.start, span.stop), snapshot.pinned_pfns)
    columns: list[NDArray[Any]] = [
        mine, snapshot.state[rows], snapshot.refcount[rows], snapshot.mapcount[rows],
        snapshot.order[rows], snapshot.flags[rows], snapshot.gfp[rows], pinned,
        snapshot.guessed[rows],
    ]  # fmt: skip
    changes = np.zeros(len(mine), dtype=np.bool_)
    for column in columns:
        changes[1:] |= column[1:] != column[:-1]
    starts = np.append(np.flatnonzero(changes), len(mine))
    starts = np.concatenate([[0], starts]) if starts[0] else starts
    found = [
        _row(
            snapshot, span.start + int(a), span.start + int(b) - 1, names[mine[a]], bool(pinned[a])
        )
        for a, b in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)
    ]
    counts = np.bincount(mine, minlength=len(names))
    order = np.argsort(-counts, kind="stable")
    size = snapshot.nr_pages_per_block
    blocks = range(span.start // size, (span.stop - 1) // size + 1)
    zone = int(snapshot.zone[span.start])
    return FramesReport(
        recording=snapshot.name,
        span=span,
        zone=_zone_name(snapshot, zone),
        pageblocks={block: _type_name(int(snapshot.block_migratetype[block])) for block in blocks},
        owners={names[code]: int(counts[code]) for code in order.tolist() if counts[code]},
        taken=taken_in(snapshot.allocations, span),
        allocation=_whole(snapshot, span),
        rows=tuple(found),
    )


def _zone_name(snapshot: Snapshot, zone: int) -> str:
    if zone >= len(snapshot.zones):
        return "not known"
    facts = snapshot.zones[zone]
    return f"node {facts.node}, {facts.name}"


def _whole(snapshot: Snapshot, span: Span) -> Allocation | None:
    """The one allocation that all of the range is part of."""
    if snapshot.allocations is None:
        return None
    found = snapshot.allocations.of(span.start)
    return found if found and span.stop <= found.pfn + (1 << found.order) else None


def _type_name(migratetype: int) -> str:
    return "not known" if migratetype == NOT_KNOWN else MigrateType(migratetype).name.lower()


def _row(snapshot: Snapshot, first: int, last: int, owner: str, pinned: bool) -> FrameRow:
    flags = int(snapshot.flags[first])
    references, mappings = int(snapshot.refcount[first]), int(snapshot.mapcount[first])
    order, gfp = int(snapshot.order[first]), int(snapshot.gfp[first])
    moves = None if owner in {*_FREE, "unknown", "hole"} else owner in (*LINUX_MOVES, "hugetlb")
    return FrameRow(
        first=first,
        last=last,
        owner=owner,
        state=FrameState(int(snapshot.state[first])).name.lower(),
        moves=moves,
        references=None if references < 0 else references,
        mappings=None if mappings < 0 else mappings,
        order=None if order < 0 else order,
        flags=tuple(flag.name.lower() for flag in PageFlag if flags >> flag & 1),
        asked_for=None if gfp == NOT_KNOWN else _type_name(gfp),
        pinned=pinned,
        guessed=bool(snapshot.guessed[first]),
        taken=None if owner in _FREE else taken_in(snapshot.allocations, Span(first, last + 1)),
    )


def as_json(report: FramesReport) -> dict[str, Any]:
    """Plain values, under the names of the attributes."""
    shown = attrs.asdict(report)
    shown["span"] = [report.span.start, report.span.stop]
    shown["rows"] = [row | {"flags": list(row["flags"])} for row in shown["rows"]]
    return shown


def as_text(report: FramesReport) -> str:
    """What the range is, and its runs of like frames."""
    span = report.span
    owners = ", ".join(f"{name} {count:,d}" for name, count in report.owners.items())
    blocks = list(report.pageblocks.items())
    said = ", ".join(f"{block} ({name})" for block, name in blocks[:4])
    head = [
        f"{report.recording}: pfn {span.start:#x} to {span.stop - 1:#x}, "
        + counted(span.nr_pages, "frame"),
        f"zone       {report.zone}",
        f"pageblock  {said}" + (f" and {len(blocks) - 4} more" if len(blocks) > 4 else ""),
        f"owners     {owners}",
        f"since      {_since(report)}",
        *_asked(report.allocation),
    ]
    head = [textwrap.fill(line, _WIDTH, subsequent_indent=" " * 11) for line in head]
    has_taken = any(row.taken for row in report.rows)
    header = [*_COLUMNS, *(_OF_TAKEN if has_taken else ())]
    lines = [_cells(row, has_taken=has_taken) for row in report.rows[:_MOST_LINES]]
    left = len(report.rows) - _MOST_LINES
    table = lay_out(header, lines, _WIDTH, nr_names=1)
    more = f"\n({left:,d} more runs of like frames)" if left > 0 else ""
    return "\n".join(head) + "\n\n" + table + more


def _since(report: FramesReport) -> str:
    taken = report.taken
    if taken is None:
        return "nobody recorded when they were taken"
    said = counted(taken.nr_allocations, "allocation")
    if taken.first_ns is None:
        return f"{said}, at times that are not said"
    return f"{seconds(taken).replace('..', ' to ')} s after boot, {said}"


def _asked(allocation: Allocation | None) -> list[str]:
    """Who asked for the frames, where they are one allocation's."""
    if allocation is None:
        return []
    who = allocation.command or "not said"
    who += "" if allocation.pid is None else f", pid {allocation.pid}"
    said = [f"asked by   {who}, order {allocation.order}"]
    if allocation.stack:
        said.append(f"stack      {' < '.join(allocation.stack)}")
    return said


def _cells(row: FrameRow, *, has_taken: bool) -> list[str]:
    more = [*(("pinned",) if row.pinned else ()), *(("guessed",) if row.guessed else ())]
    flags = " ".join([*row.flags, *more])
    return [
        f"{row.first:#x}",
        f"{row.last - row.first + 1:,d}",
        row.owner,
        {True: "yes", False: "no", None: "-"}[row.moves],
        "?" if row.references is None else str(row.references),
        "?" if row.mappings is None else str(row.mappings),
        "" if row.order is None else str(row.order),
        row.asked_for or "?",
        flags if len(flags) <= _FLAGS_WIDTH else flags[: _FLAGS_WIDTH - 2] + "..",
    ] + ([seconds(row.taken), _cut((row.taken and row.taken.function) or "")] if has_taken else [])


def _cut(function: str) -> str:
    most = _FUNCTION_WIDTH
    return function if len(function) <= most else function[: most - 2] + ".."
