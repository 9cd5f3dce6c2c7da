"""Any source into one snapshot: a folder of copies, a text, a dump, told apart by content.

    a folder with kpageflags     every frame's flags; page_owner beside it says whose the rest is
    page_owner                   every page in use, its owner and its age; what is free is not said
    page-types -l, -L            every frame's flags, as far as the program shows them
    buddyinfo, pagetypeinfo      counts, and no frame

What lies in a folder beside these, zoneinfo and iomem above all, is taken with each of them.

Owns: which reader gets what.
Ignores: snapshots and recordings, which are arrays (`pinlab.snapshot.open`).
Cost: that of the reader.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from attrs import evolve, field, frozen

from mm.state.frames import FrameState
from pinlab.files.careful import MOST_TEXT_NR_BYTES
from pinlab.files.packed import read_unpacked, start_of
from pinlab.procfs import capture
from pinlab.procfs.iomem import ram_addresses, spans_of
from pinlab.procfs.proc_text import kernel_release, parse_zones
from pinlab.procfs.survey import Folder, Survey, survey
from pinlab.procfs.unread import unread_in
from pinlab.snapshot.classes import FrameClass
from pinlab.snapshot.errors import SnapshotError
from pinlab.snapshot.facts import Geometry, Provenance, ZoneFacts
from pinlab.snapshot.image import Snapshot
from pinlab.sources.blank import blank_columns, require_justified
from pinlab.sources.coarse import coarse_snapshot
from pinlab.sources.dump import open_dump
from pinlab.sources.kinds import Kind, kind_of
from pinlab.sources.overlay import with_owners
from pinlab.sources.page_owner import OwnerText, read_page_owner
from pinlab.sources.page_types import TypesText, read_page_types
from pinlab.sources.stacks import load_table
from pinpage.errors import PinpageError
from pinpage.units import PAGEBLOCK_NR_PAGES, Span

__all__ = ["describe_kind", "is_source", "open_source", "require_known", "require_stacks"]

_READ: Final = frozenset(
    {Kind.PAGE_OWNER, Kind.PAGE_TYPES, Kind.PAGETYPEINFO, Kind.BUDDYINFO, Kind.ZONEINFO, Kind.DUMP}
)
"""Kinds of file that are a source by themselves."""
_FIX: Final = "see docs/reference/sources.md for what is read"
_HIDDEN: Final = ("compound", "reserved")
"""What page-types without -r does not show."""


def is_source(path: Path) -> bool:
    """Whether a path is a folder, or a file of a kind that is read here."""
    try:
        return path.is_dir() or kind_of(path) in _READ
    except OSError:
        return False


def require_known(path: Path) -> None:
    """Refuse a file that is neither a source nor arrays, in words that say what would help.

    A file that cannot be looked at is left to whoever opens it.

    Args:
        path: of the file.

    Raises:
        SnapshotError: it is empty, one file of /proc alone, or nothing that is read.
    """
    try:
        kind, is_empty = kind_of(path), path.is_file() and not start_of(path, 8)
    except OSError:
        return
    if is_empty:
        raise SnapshotError(path, "file", "is empty", "copy it again")
    if kind in {Kind.IOMEM, Kind.MEMINFO}:
        problem = f"is {kind} alone, which names no frame in use and no free block"
        raise SnapshotError(path, "file", problem, "copy kpageflags beside it, in one folder")
    if kind is None:
        problem = (
            "is no recording, no text of page_owner or page-types, no buddyinfo, no pagetypeinfo "
            "and no crash dump"
        )
        fix = "kpageflags is read in a folder with the rest of /proc; see docs/reference/sources.md"
        raise SnapshotError(path, "file", problem, fix)


def require_stacks(path: Path, owners_table: Path) -> None:
    """Refuse an owners table for memory of which no text of page_owner was read.

    A recording keeps whose its frames were said to be, and is not sorted again.

    Args:
        path: of the source; nothing is there for what is built in, or described.
        owners_table: that is to say whose its stacks are.

    Raises:
        PinpageError: there are none.
    """
    try:
        found = Folder(path).found if path.is_dir() else {kind_of(path): path}
    except OSError:
        found = {}
    if Kind.PAGE_OWNER not in found:
        raise PinpageError(
            f"owners_table={owners_table}: {path} has no text of page_owner, whose stacks it is "
            "for: leave it out"
        )


def describe_kind(path: Path) -> str:
    """What a path is, in words."""
    if path.is_dir():
        folder = Folder(path)
        names = [name for name in _IN_WORDS if folder.place(name).exists()]
        names += sorted(kind for kind in folder.found if kind in {Kind.PAGE_OWNER, Kind.PAGE_TYPES})
        return f"a folder: {', '.join(names) or 'nothing that is read'}"
    kind = kind_of(path)
    return "nothing that is read" if kind is None else str(kind)


_IN_WORDS: Final = (
    "kpageflags", "kpagecount", "iomem", "zoneinfo", "buddyinfo", "pagetypeinfo", "meminfo",
    "version",
)  # fmt: skip


def open_source(
    path: Path, *, owners_table: Path | None = None, progress: capture.Progress | None = None
) -> Snapshot:
    """The snapshot that a folder, a text or a dump makes.

    Args:
        path: of the source.
        owners_table: a table of one's own, of whose stacks are.
        progress: told what is being read, and how far.

    Raises:
        SnapshotError: it is none, or cannot be used; names the file and the line or field.
    """
    if path.is_dir():
        return _of_folder(Folder(path), owners_table, progress)
    try:
        kind = kind_of(path)
        if kind is Kind.PAGE_OWNER:
            text = read_page_owner(path, progress)
            return _of_owners(text, _Beside(), path, owners_table)
        if kind is Kind.PAGE_TYPES:
            return _of_types(read_page_types(path), _Beside(), path)
        if kind is Kind.DUMP:
            return open_dump(path)
        if kind in {Kind.PAGETYPEINFO, Kind.BUDDYINFO}:
            text_of = read_unpacked(path, MOST_TEXT_NR_BYTES).decode(errors="replace")
            return coarse_snapshot(text_of, path)
    except OSError as error:
        problem = f"cannot be read ({error.strerror or error})"
        raise SnapshotError(path, "file", problem, "copy it again") from None
    if kind is Kind.ZONEINFO:
        problem = "is zoneinfo alone, which says of no free block how large it is"
        raise SnapshotError(path, "file", problem, "copy buddyinfo beside it, in one folder")
    raise SnapshotError(path, "file", "is no source that pinpage knows", _FIX)


@frozen
class _Beside:
    """What lies in the same folder.

    Attributes:
        zones: as of zoneinfo.
        ram: as of iomem; None where it is not there.
        found: sizes; None where nothing says them.
        counters: of meminfo.
        release: of the kernel.
        unread: lines that mean nothing, as in `Snapshot.reading`.
    """

    zones: tuple[ZoneFacts, ...] = ()
    ram: tuple[Span, ...] | None = None
    found: Survey | None = None
    counters: Mapping[str, int] = field(factory=dict)
    release: str = ""
    unread: Mapping[str, int] = field(factory=dict)


def _beside(folder: Folder) -> _Beside:
    zones: tuple[ZoneFacts, ...] = ()
    if folder.place("zoneinfo").exists():
        texts = (folder.text("buddyinfo", ""), folder.text("pagetypeinfo", ""))
        zones = parse_zones(folder.zoneinfo(), *texts, folder.place("zoneinfo"))
    counters = {f"meminfo_{name}": n for name, n in sorted(folder.meminfo().items())}
    kept = {name: n for name, n in counters.items() if name in capture.KEPT_COUNTERS}
    release = kernel_release(folder.text("version", ""))
    unread = unread_in(folder)
    if not zones or not folder.place("iomem").exists():
        return _Beside(zones, None, None, kept, release, unread)
    rows = ram_addresses(folder.text("iomem"), folder.place("iomem"))
    found = survey(folder, rows, zones)
    spans = spans_of(rows, found.geometry.page_nr_bytes)
    return _Beside(zones, spans, found, kept, release, unread)


def _of_folder(
    folder: Folder, owners_table: Path | None, progress: capture.Progress | None
) -> Snapshot:
    owners, types = (folder.found.get(kind) for kind in (Kind.PAGE_OWNER, Kind.PAGE_TYPES))
    if folder.place("kpageflags").exists():
        snapshot = capture.capture(folder.path, progress)
        if owners is None:
            return snapshot
        text = read_page_owner(owners, progress)
        return with_owners(snapshot, text, load_table(owners_table), owners)
    if types is not None:
        snapshot = _of_types(read_page_types(types), _beside(folder), types)
        if owners is None:
            return snapshot
        text = read_page_owner(owners, progress)
        return with_owners(snapshot, text, load_table(owners_table), owners)
    if owners is not None:
        text = read_page_owner(owners, progress)
        return _of_owners(text, _beside(folder), owners, owners_table)
    texts = [folder.text(name, "") for name in ("buddyinfo", "pagetypeinfo")]
    if any(texts):
        beside = _beside(folder)
        both = texts[:1] if texts[0] == texts[1] else texts
        made = coarse_snapshot("\n\n".join(both), folder.path, beside.zones, beside.counters)
        others = unread_in(folder, ("iomem", "zoneinfo", "meminfo"))
        return evolve(made, reading={**made.reading, **others})
    problem = (
        "is not a regular file, nor a folder with kpageflags, page_owner, page-types, buddyinfo "
        "or pagetypeinfo in it"
    )
    raise SnapshotError(folder.path, "folder", problem, _FIX)


def _of_owners(text: OwnerText, beside: _Beside, path: Path, owners_table: Path | None) -> Snapshot:
    """Frames that are in use as their records say, and others of which nothing is known."""
    allocations = text.allocations
    last = int(allocations.pfn[-1]) + (1 << int(allocations.order[-1]))
    said = beside.found
    size = said.nr_pages_per_block if said else text.nr_pages_per_block() or PAGEBLOCK_NR_PAGES
    require_justified(beside.ram[-1].stop if beside.ram else last, len(allocations), path)
    nr_frames = beside.ram[-1].stop if beside.ram else -(-last // size) * size
    columns: dict[str, Any] = dict(blank_columns(nr_frames, size))
    if beside.ram is not None:
        _cut_holes(columns, beside.ram)
    columns["zone"] = capture.zone_column(nr_frames, beside.zones)
    known = {"state", "klass", "flags", "guessed", "gfp", "block_migratetype"}
    snapshot = Snapshot(
        **columns,
        zones=beside.zones,
        provenance=Provenance(
            source=f"page_owner of Linux {beside.release or 'of unknown release'}",
            kernel_release=beside.release,
        ),
        unknown_fields=tuple(sorted({*columns} - known | _not_beside(beside))),
        ram=beside.ram or (),
        workload=beside.counters,
        reading=beside.unread,
        nr_pages_per_block=size,
        geometry=said.geometry if said else Geometry(),
    )
    return with_owners(snapshot, text, load_table(owners_table), path, flags_too=True)


def _cut_holes(columns: dict[str, Any], ram: tuple[Span, ...]) -> None:
    is_hole = np.ones(len(columns["state"]), dtype=np.bool_)
    for span in ram:
        is_hole[span.start : span.stop] = False
    columns["state"][is_hole] = FrameState.HOLE
    columns["klass"][is_hole] = FrameClass.HOLE
    columns["refcount"][is_hole] = 0


def _not_beside(beside: _Beside) -> set[str]:
    missing = set() if beside.zones else {"zones", "zone"}
    if beside.ram is None:
        missing.add("ram")
    return missing | ({"page_nr_bytes"} if beside.found is None else {*beside.found.not_said})


def _of_types(text: TypesText, beside: _Beside, path: Path) -> Snapshot:
    """Frames by their flags; those that the list leaves out are of unknown use."""
    if not len(text.pfn):
        problem = "is a summary without a list, which names no frame"
        raise SnapshotError(path, "page-types", problem, "use what page-types -l or -L printed")
    nr_frames = int(text.pfn[-1] + text.nr_pages[-1])
    if beside.ram is not None:
        nr_frames = max(nr_frames, beside.ram[-1].stop)
    require_justified(nr_frames, len(text.pfn), path)
    flags, mappings = np.zeros(nr_frames, dtype=np.uint64), np.full(nr_frames, -1, dtype=np.int64)
    rows = np.repeat(np.arange(len(text.pfn)), text.nr_pages)
    first = np.repeat(np.cumsum(text.nr_pages) - text.nr_pages, text.nr_pages)
    pfns = text.pfn[rows] + np.arange(len(rows)) - first
    flags[pfns], mappings[pfns] = text.flags[rows], text.mappings[rows]
    source = f"page-types of Linux {beside.release or 'of unknown release'}"
    snapshot = capture.columns_of(
        flags,
        np.maximum(mappings, 0).astype(np.uint64),
        beside.ram or (Span(0, nr_frames),),
        beside.zones,
        Provenance(source=source, kernel_release=beside.release),
        beside.found,
        beside.counters,
    )
    missing = {*snapshot.unknown_fields} | _not_beside(beside)
    missing |= set() if (snapshot.klass == FrameClass.FREE).any() else {"order"}
    missing |= {"mapcount"} if (mappings[pfns] < 0).all() else set()
    missing |= set() if text.is_raw else {*_HIDDEN}
    provenance = snapshot.provenance
    if not beside.zones:  # there is nothing that the list could differ from
        provenance = evolve(provenance, drift_nr_pages=0)
    return evolve(
        snapshot,
        mapcount=mappings.astype(np.int32),
        provenance=provenance,
        ram=beside.ram or (),
        unknown_fields=tuple(sorted(missing)),
        reading={**text.reading, **beside.unread},
    )
