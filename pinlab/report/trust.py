"""How far a recording can be trusted: its frames beside the kernel's own totals.

kpageflags tells no free page of a per-CPU list from a page of a driver, and nothing of memory
that the allocator was never given.  zoneinfo counts both; so they are told apart here by
number, and only what is left is of unknown use.

    on per-CPU lists    zoneinfo's counts of all CPUs: free, but not in the buddy lists
    not managed         present, neither managed nor reserved: initialised late, not accepted
    ballooned           marked offline by a driver that gave them to its host

Owns: the comparison, and two bounds on what can be emptied: the unknown stays, or it moves.
Ignores: what a request would get; `pinlab.requests` replays it.
Cost: a few passes over the frames.
"""

import textwrap
from typing import Any, Final

import attrs
import numpy as np
from attrs import frozen

from mm.state.frames import PageFlag
from pinlab.report.cells import NOT_IN_USE
from pinlab.report.plain import PlainTable, of_rows
from pinlab.report.sizes import counted, size_name
from pinlab.snapshot.classes import MOVABLE_CLASSES, NR_CLASSES, FrameClass
from pinlab.snapshot.image import Snapshot, count_classes
from pinlab.sources.words import in_words

__all__ = [
    "Bound", "Trust", "TrustRow", "as_json", "as_text", "plain", "trust_of", "unknown_in_words",
]  # fmt: skip

_OF_CLASS: Final[dict[str, tuple[FrameClass, tuple[str, ...]]]] = {
    "anonymous": (FrameClass.ANON, ("AnonPages",)),
    "page cache": (FrameClass.FILE, ("Buffers", "Cached")),
    "slab": (FrameClass.SLAB, ("Slab",)),
    "page tables": (FrameClass.PAGETABLE, ("PageTables",)),
    "huge page pool": (FrameClass.HUGETLB, ("Hugetlb",)),
}
"""Row -> the class of its frames and what adds up to it in meminfo."""
_OWN_ROWS: Final = frozenset(
    {klass for klass, _ in _OF_CLASS.values()}
    | {FrameClass.FREE, FrameClass.PCP, FrameClass.RESERVED, FrameClass.HOLE}
    | {FrameClass.UNKNOWN, FrameClass.UNMANAGED}
)
_WHY_APART: Final = {
    "memory": "iomem and zoneinfo draw the borders of memory at different places",
    "managed": "memory came or went between the files",
    "free": "memory was taken or freed between the files",
    "anonymous": "AnonPages counts what is mapped; what waits in the swap cache has the same flag",
    "page cache": "Cached counts neither the swap cache, nor pages of a file that was cut short",
    "slab": "Slab is added up of what each CPU counts, and lags behind",
    "page tables": "PageTables counts those of processes, the flag the kernel's own too",
    "huge page pool": "the pool grew or shrank between the files",
}
"""Row -> why its frames may be another number than the kernel's, beyond the drift."""
_WHY_THERE: Final = {
    "on per-CPU lists": "free, but no flag says so",
    "ballooned": "a driver gave them to the host",
    "not managed": "present, and not the allocator's: not initialised or not accepted yet, or "
    "carved out",
    "unknown": "nothing recorded says whose: pages of drivers and of the kernel itself",
}
"""Row -> what such frames are, of rows that nothing in meminfo is the same as."""
_LATE: Final = {
    "managed": "MemTotal counts what the kernel has yet to initialise",
    "free": "so does MemFree",
}
"""Row -> why meminfo has more of it, where zoneinfo has fewer managed than MemTotal says."""
_WIDTH: Final = 79
_NAME_WIDTH: Final = 18
_NUMBER_WIDTH: Final = 13


@frozen
class TrustRow:
    """One use of memory, in frames; None where a source does not say.

    Attributes:
        use: what they are.
        recorded: frames of the recording that are known to be that.
        zoneinfo, meminfo: what the kernel counted.
    """

    use: str
    recorded: int | None
    zoneinfo: int | None = None
    meminfo: int | None = None


@frozen
class Bound:
    """Blocks that can be emptied at most, by moving alone.

    Attributes:
        unit: "pageblock" or "memory block".
        nr_pages: frames of each.
        unknown_stays, unknown_moves: blocks, if no frame of unknown use can move, or all can.
    """

    unit: str
    nr_pages: int
    unknown_stays: int
    unknown_moves: int


@frozen
class Trust:
    """What a recording says beside what its kernel said.

    Attributes:
        recording: its name.
        page_nr_bytes: bytes in a frame.
        rows: by use; the uses of `recorded` add up to the first row.
        drift_nr_pages: free pages that the files disagree about; None where nothing tells.
        changed_nr_frames: whose use changed while it was taken; None where nobody looked.
        assumed: sizes that no file said.
        bounds: on pageblocks, and on memory blocks where their size is known; none where
            nothing says what is free.
    """

    recording: str
    page_nr_bytes: int
    rows: tuple[TrustRow, ...]
    drift_nr_pages: int | None
    changed_nr_frames: int | None
    assumed: tuple[str, ...]
    bounds: tuple[Bound, ...]


def trust_of(snapshot: Snapshot) -> Trust:
    """Set a recording's frames beside the totals that were recorded with them."""
    blocks = [("pageblock", snapshot.nr_pages_per_block)]
    if snapshot.geometry.memory_block_nr_pages is not None:
        blocks.append(("memory block", snapshot.geometry.memory_block_nr_pages))
    assumed = ("page_nr_bytes", "nr_pages_per_block", "cma_areas")
    return Trust(
        recording=snapshot.name,
        page_nr_bytes=snapshot.geometry.page_nr_bytes,
        rows=_rows(snapshot),
        drift_nr_pages=snapshot.drift_nr_pages,
        changed_nr_frames=snapshot.provenance.changed_nr_frames,
        assumed=tuple(name for name in assumed if name in snapshot.unknown_fields),
        bounds=tuple(_bound(snapshot, unit, nr_pages) for unit, nr_pages in blocks)
        if snapshot.says_free
        else (),
    )


def unknown_in_words(snapshot: Snapshot) -> str:
    """How many frames are of unknown use, and how many of them a count says are free.

    So that whoever reads it finds both numbers again in the table, which tells them apart.
    """
    nr_unknown = snapshot.nr_frames_of(FrameClass.UNKNOWN)
    row = next(row for row in _rows(snapshot) if row.use == "on per-CPU lists")
    is_named = snapshot.nr_frames_of(FrameClass.PCP) > 0
    nr_listed = 0 if is_named else min(row.recorded or 0, nr_unknown)
    listed = f", {nr_listed:,d} of them free on per-CPU lists" if nr_listed else ""
    return f"{nr_unknown:,d} of unknown use{listed}"


def _rows(snapshot: Snapshot) -> tuple[TrustRow, ...]:
    counts = np.bincount(snapshot.klass, minlength=NR_CLASSES).tolist()
    zones = snapshot.zones
    nr_present = sum(facts.present for facts in zones)
    nr_managed = _sum(facts.managed for facts in zones)
    is_offline = (snapshot.flags & PageFlag.OFFLINE.mask) != 0
    nr_ballooned = int(np.count_nonzero(is_offline & (snapshot.klass == FrameClass.OTHER)))
    nr_other = sum(counts[klass] for klass in FrameClass if klass not in _OWN_ROWS) - nr_ballooned
    nr_listed = _sum(facts.pcp_count for facts in zones if facts.pcp_count is not None)
    nr_missing = None
    if nr_managed is not None:
        nr_missing = max(nr_present - nr_managed - counts[FrameClass.RESERVED] - nr_ballooned, 0)
    silent = counts[FrameClass.UNKNOWN] + counts[FrameClass.UNMANAGED]
    unmanaged = max(counts[FrameClass.UNMANAGED], min(nr_missing or 0, silent))
    silent -= unmanaged
    listed: int | None = counts[FrameClass.PCP]
    if not listed:  # nothing says which they are; they are among those of which nothing is said
        listed = None if nr_listed is None else min(nr_listed, silent)
        silent -= listed or 0
    free = sum(facts.nr_free for facts in zones) if zones else None
    of_class = (
        TrustRow(use, counts[klass], None, _frames(snapshot, *names))
        for use, (klass, names) in _OF_CLASS.items()
    )
    return (
        TrustRow("memory", snapshot.nr_frames - counts[FrameClass.HOLE], nr_present or None),
        TrustRow("managed", None, nr_managed, _frames(snapshot, "MemTotal")),
        TrustRow(
            "free",
            counts[FrameClass.FREE] if snapshot.says_free else None,
            free,
            _frames(snapshot, "MemFree"),
        ),
        TrustRow("on per-CPU lists", listed, nr_listed),
        *of_class,
        TrustRow("other, of the kernel", nr_other),
        TrustRow("reserved", counts[FrameClass.RESERVED]),
        TrustRow("ballooned", nr_ballooned),
        TrustRow("not managed", unmanaged, nr_missing),
        TrustRow("unknown", silent),
    )


def _sum(numbers: Any) -> int | None:
    """The sum of what is said; None where one is not, or nothing is."""
    said = list(numbers)
    return None if not said or None in said else sum(said)


def _frames(snapshot: Snapshot, *names: str) -> int | None:
    """What meminfo's lines come to in frames; None where one of them was not recorded."""
    said = [snapshot.workload.get(f"meminfo_{name}") for name in names]
    nr_kb = _sum(said)
    return None if nr_kb is None else (nr_kb << 10) // snapshot.geometry.page_nr_bytes


def _bound(snapshot: Snapshot, unit: str, nr_pages: int) -> Bound:
    """Blocks of memory without a frame that stays, no more than the free frames make."""
    counts = count_classes(snapshot.klass, nr_pages)
    whole = counts.sum(axis=1) - counts[:, FrameClass.HOLE] == nr_pages
    going = sorted(MOVABLE_CLASSES | NOT_IN_USE)
    nr_staying = counts.sum(axis=1) - counts[:, going].sum(axis=1)
    nr_unknown = counts[:, FrameClass.UNKNOWN]
    listed = _sum(facts.pcp_count for facts in snapshot.zones if facts.pcp_count is not None) or 0
    nr_free = int(counts[:, [FrameClass.FREE, FrameClass.PCP]].sum())
    stays = int(np.count_nonzero(whole & (nr_staying == 0)))
    moves = int(np.count_nonzero(whole & (nr_staying == nr_unknown)))
    return Bound(
        unit,
        nr_pages,
        min(stays, nr_free // nr_pages),
        min(moves, (nr_free + listed) // nr_pages),
    )


def as_json(trust: Trust) -> dict[str, Any]:
    """Plain values, under the names of the attributes."""
    shown = attrs.asdict(trust)
    return shown | {name: list(shown[name]) for name in ("rows", "assumed", "bounds")}


def plain(trust: Trust) -> tuple[PlainTable, ...]:
    """Tables: frames by use beside the kernel's totals, and what can be emptied at most."""
    shown = as_json(trust)
    return of_rows("rows", shown["rows"]), of_rows("bounds", shown["bounds"])


def as_text(trust: Trust) -> str:
    """A table of frames, and the bounds in a line each."""
    heads = ("recorded", "zoneinfo", "meminfo")
    lines = [
        f"{'frames of ' + _size(trust.page_nr_bytes):{_NAME_WIDTH}}"
        + "".join(f"{head:>{_NUMBER_WIDTH}}" for head in heads)
    ]
    for row in trust.rows:
        numbers = (row.recorded, row.zoneinfo, row.meminfo)
        cells = ("" if number is None else f"{number:,d}" for number in numbers)
        cells_text = "".join(f"{cell:>{_NUMBER_WIDTH}}" for cell in cells)
        lines.append(f"{row.use:{_NAME_WIDTH}}{cells_text}".rstrip())
    sentences = [*_drift(trust), *_apart(trust), *_there(trust)]
    sentences += [f"No file says {in_words(name)}; the usual is assumed." for name in trust.assumed]
    sentences += [
        f"At most {counted(bound.unknown_stays, bound.unit)} of "
        f"{_size(bound.nr_pages * trust.page_nr_bytes)} can be emptied if what is unknown stays, "
        f"{bound.unknown_moves:,d} if it moves."
        for bound in trust.bounds
    ]
    if trust.bounds:
        sentences.append(
            "Room elsewhere for what would move is not counted in that; `pinpage diagnose` "
            "counts it."
        )
    else:
        sentences.append(
            "Free memory is not recorded: how many blocks can be emptied, nothing tells."
        )
    filled = (textwrap.fill(text, _WIDTH, subsequent_indent="  ") for text in sentences)
    return "\n".join([*lines, "", *filled])


def _drift(trust: Trust) -> list[str]:
    """What changed while the files were read."""
    said = []
    if trust.changed_nr_frames is not None:
        changed = counted(trust.changed_nr_frames, "frame")
        said.append(f"{changed} changed their use while it was taken.")
    if trust.drift_nr_pages is not None:
        free = counted(trust.drift_nr_pages, "free frame")
        said.append(f"The files disagree about {free}.")
    return said


def _apart(trust: Trust) -> list[str]:
    """Which totals differ by more than that, and why they may; that none does, where it is so."""
    drift = (trust.drift_nr_pages or 0) + (trust.changed_nr_frames or 0)
    said, nr_compared, why_apart = [], 0, _WHY_APART
    for row in trust.rows:
        whole = row.zoneinfo if row.meminfo is None else row.meminfo
        ours, by = (row.recorded, "the kernel counts")
        if row.use == "managed":  # no frame says so; the files can be compared with one another
            ours, by = (row.zoneinfo, "meminfo counts")
        if ours is None or whole is None or row.use in _WHY_THERE:
            continue
        nr_compared += row.use != "managed"
        more = ours - whole
        if abs(more) > drift:
            size = size_name(abs(more) * trust.page_nr_bytes)
            how = "more" if more > 0 else "fewer"
            if row.use == "managed" and more < 0:
                why_apart = _WHY_APART | _LATE
            why = why_apart[row.use] if more < 0 else _WHY_APART[row.use]
            said.append(f"{row.use}: {abs(more):,d} {how} than {by} ({size}); {why}.")
    if nr_compared and not said:
        within = " within that" if _drift(trust) else ""
        said.append(f"All {nr_compared} totals agree with the kernel's{within}.")
    return said


def _there(trust: Trust) -> list[str]:
    """What the frames are that no total stands for."""
    return [
        f"{row.use}: {counted(row.recorded, 'frame')} "
        f"({size_name(row.recorded * trust.page_nr_bytes)}), {_WHY_THERE[row.use]}."
        for row in trust.rows
        if row.recorded and row.use in _WHY_THERE
    ]


def _size(nr_bytes: int) -> str:
    for shift, unit in ((30, "GiB"), (20, "MiB")):
        if nr_bytes >= 1 << shift and not nr_bytes % (1 << shift):
            return f"{nr_bytes >> shift} {unit}"
    return f"{nr_bytes >> 10} KiB"
