"""The snapshot: the columns of one machine's memory, and its three verbs load, save, validate."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from mm.state.frames import FrameState
from pinlab.files.careful import awry
from pinlab.files.output import path_of, require_place
from pinlab.snapshot import form
from pinlab.snapshot.allocations import Allocations
from pinlab.snapshot.classes import NR_CLASSES, FrameClass
from pinlab.snapshot.columns import COLUMNS, check_consistent, check_shapes
from pinlab.snapshot.errors import SnapshotError
from pinlab.snapshot.facts import Geometry, Measured, Provenance, ZoneFacts, decode, encode
from pinlab.snapshot.label_rules import check_labels
from pinlab.snapshot.limits import check_geometry, check_pageblock, check_ram, check_zones
from pinpage.errors import PfnError
from pinpage.units import PAGEBLOCK_NR_PAGES, Mask, Span

__all__ = ["AfterState", "Snapshot", "count_classes", "load", "save", "validate"]

_IN_MEMORY = "snapshot"
"""Stands for the file name in the errors of a snapshot that has none."""
_NR_AXES = 2
"""Of a table of class counts."""
_PHASES = ("compact", "request")
"""After what a recorder may have looked again."""


def _tuple_of_zones(zones: Iterable[ZoneFacts]) -> tuple[ZoneFacts, ...]:
    return tuple(zones)


def _tuple_of_names(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(names)


def count_classes(
    klass: NDArray[np.uint8], nr_pages_per_block: int = PAGEBLOCK_NR_PAGES
) -> NDArray[np.int32]:
    """Frames per pageblock and class: int32[nr_blocks, NR_CLASSES].

    The last pageblock may be partial; its rows then sum to less.  One pass over the frames.

    Args:
        klass: uint8 (n,), a `FrameClass` each.
        nr_pages_per_block: pages in a pageblock.
    """
    nr_blocks = -(-len(klass) // nr_pages_per_block)
    block = np.arange(len(klass)) // nr_pages_per_block
    flat = np.bincount(block * NR_CLASSES + klass, minlength=nr_blocks * NR_CLASSES)
    return flat.reshape(nr_blocks, NR_CLASSES).astype(np.int32)


@frozen(eq=False)
class AfterState:
    """What the recorded kernel had made of the memory, pageblock by pageblock.

    Attributes:
        phase: "compact" (after compact_memory) or "request" (with the huge pages held).
        class_counts: uint16[nr_blocks, NR_CLASSES], frames per pageblock and class.
        migratetype: uint8[nr_blocks].
    """

    phase: str
    class_counts: NDArray[np.uint16] = field(repr=False)
    migratetype: NDArray[np.uint8] = field(repr=False)


@frozen(eq=False, kw_only=True)
class Snapshot:
    """One machine's memory at one moment.  Columns are read-only.

    Per frame, shape (nr_frames,), row = pfn, holes included:
        state: uint8, a `FrameState`: HOLE, UNKNOWN, RESERVED, FREE, PCP or USED.
        klass: uint8, a `FrameClass`.
        order: int8, order of a free buddy block on its head frame, else -1.
        flags: uint64, /proc/kpageflags.
        refcount: int32, references; 0 on the tail pages of a compound, -1 not known.
        mapcount: int32, /proc/kpagecount: mappings, 0 when unmapped, -1 not known.  Means
            nothing where the kernel keeps other things in that field (zsmalloc, zram).
        zone: uint8, index into `zones`; 255 not known.
        gfp: uint8, migratetype that the allocation asked for; 255 free or not known.
        guessed: bool, whether this row's order, class or state was worked out, not read.
    Per pageblock, shape (nr_blocks,):
        block_migratetype: uint8; 255 not known.
        block_skip: bool, compaction's skip hint.
    And:
        pinned_pfns: int64, ascending: frames known to be pinned.
        zones: the zones, in /proc/zoneinfo's order.
        provenance: where all this comes from.
        workload: counters of the recorded kernel that a replay needs, such as
            zswap_stored_pages (pages) and zswap_pool_total_size (bytes).
        measured: what the kernel gave when asked, if it was asked.
        after: what it had made of the memory by then.
        guessed_fields: columns in which rows are guessed.
        unknown_fields: columns of which the source says nothing at all, and sizes that were
            taken to be the usual ones because it does not say them.
        ram: where there is RAM (/proc/iomem), ascending; a hole that shares a section with
            RAM looks reserved in the columns.  Empty if not known.
        nr_pages_per_block: pages in a pageblock.
        geometry: the other sizes of the machine, and its CMA areas.
        labels: name of an owner -> its frames, as whoever labelled them said; see
            `pinlab.snapshot.labels`.
        allocations: when each frame was asked for, and by whom, where page_owner said it.
        reading: what was met while the source was read, such as lines_not_read.

    Invariants, run by `check` (and by `load`, so a snapshot on disk keeps them too):
        SN1 states and classes are among those that a recording can have.
        SN2 a class agrees with the state; a frame in use may be of unknown class.
        SN3 orders describe free blocks that are aligned, lie in one zone and cover every
           free frame exactly once.
        SN4 a free frame has no references.
        SN5 a zone is one of `zones`, or not known.
        SN6 migratetypes exist, or are not known.
        SN7 pinned pfns ascend and are in use.
        SN8 references and mappings are counted, or -1; pageblocks have a size that kernels have.
        SN9 zones manage what is present in what they span; watermarks are in order.
        SN10 RAM ascends.
        SN11 sizes are those of machines; CMA areas lie apart, in memory.
        SN12 a frame is labelled exactly if one label names it.
        SN13 allocations lie apart in memory, ascending, and name texts that there are.
    """

    state: NDArray[np.uint8] = field(repr=False)
    klass: NDArray[np.uint8] = field(repr=False)
    order: NDArray[np.int8] = field(repr=False)
    flags: NDArray[np.uint64] = field(repr=False)
    refcount: NDArray[np.int32] = field(repr=False)
    mapcount: NDArray[np.int32] = field(repr=False)
    zone: NDArray[np.uint8] = field(repr=False)
    gfp: NDArray[np.uint8] = field(repr=False)
    guessed: Mask = field(repr=False)
    block_migratetype: NDArray[np.uint8] = field(repr=False)
    block_skip: Mask = field(repr=False)
    pinned_pfns: NDArray[np.int64] = field(repr=False)
    zones: tuple[ZoneFacts, ...] = field(converter=_tuple_of_zones)
    provenance: Provenance
    workload: Mapping[str, int] = field(factory=dict)
    measured: Measured | None = None
    after: AfterState | None = None
    guessed_fields: tuple[str, ...] = field(converter=_tuple_of_names, default=())
    unknown_fields: tuple[str, ...] = field(converter=_tuple_of_names, default=())
    ram: tuple[Span, ...] = ()
    nr_pages_per_block: int = PAGEBLOCK_NR_PAGES
    geometry: Geometry = field(factory=Geometry)
    labels: Mapping[str, tuple[Span, ...]] = field(factory=dict)
    allocations: Allocations | None = field(default=None, repr=False)
    reading: Mapping[str, int] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        """Columns that cannot be changed can be shared."""
        for column in COLUMNS:
            getattr(self, column.name).flags.writeable = False

    @property
    def nr_frames(self) -> int:
        """Frames, holes included; need not be a multiple of a pageblock."""
        return len(self.state)

    @property
    def nr_blocks(self) -> int:
        """Pageblocks; the last one may be partial."""
        return len(self.block_migratetype)

    @property
    def name(self) -> str:
        """Scenario, operation and seed ("zbudfr-cmphuge-seed3"), or the kernel's release."""
        parts = [self.provenance.scenario]
        operation = "" if self.measured is None else self.measured.operation
        if self.provenance.variant not in ("", "plain", operation):
            parts.append(self.provenance.variant)
        parts.append(operation)
        if self.provenance.seed is not None:
            parts.append(f"seed{self.provenance.seed}")
        return "-".join(filter(None, parts)) or f"Linux {self.provenance.kernel_release}".strip()

    @property
    def says_free(self) -> bool:
        """Whether it is recorded which frames are free.

        Where it is not, no frame is FREE: that means nothing is known, not that nothing is free.
        """
        return "order" not in self.unknown_fields

    @cached_property
    def drift_nr_pages(self) -> int | None:
        """Free pages that the files disagree about; None where nothing tells.

        The header has 0 as well where nobody compared; frames and zones that differ show it.
        """
        said = self.provenance.drift_nr_pages
        if said:
            return said
        nr_free = sum(facts.nr_free for facts in self.zones)
        is_compared = self.says_free and bool(self.zones)
        return 0 if is_compared and nr_free == self.nr_frames_of(FrameClass.FREE) else None

    def class_counts(self) -> NDArray[np.int32]:
        """Frames per pageblock and class, int32[nr_blocks, NR_CLASSES]; one pass."""
        return count_classes(self.klass, self.nr_pages_per_block)

    @cached_property
    def classes(self) -> frozenset[FrameClass]:
        """The classes that frames of it have; one pass, once."""
        return frozenset(FrameClass(klass) for klass in np.unique(self.klass).tolist())

    def nr_frames_of(self, klass: FrameClass) -> int:
        """Frames of one class; one pass."""
        return int(np.count_nonzero(self.klass == klass))

    def wholly_free(self) -> Mask:
        """Pageblocks whose frames are all in the buddy lists, shape (nr_blocks,)."""
        nr_free = np.add.reduceat(
            self.state == FrameState.FREE,
            np.arange(0, self.nr_frames, self.nr_pages_per_block),
            dtype=np.int64,
        )
        mask: Mask = nr_free == self.nr_pages_per_block
        return mask

    def check(self, path: Path | str = _IN_MEMORY) -> None:
        """Shapes, dtypes and SN1..SN13.

        Raises:
            SnapshotError: names the column and the first row, or the fact, that is wrong.
        """
        check_pageblock(self.nr_pages_per_block, path)
        check_zones(self.zones, path)
        check_ram(self.ram, path)
        check_geometry(self.geometry, self.nr_pages_per_block, self.nr_frames, path)

        def column_of(name: str) -> NDArray[Any]:
            column: NDArray[Any] = getattr(self, name)
            return column

        check_shapes(column_of, self.nr_pages_per_block, path)
        check_consistent(column_of, len(self.zones), path, self.geometry.max_order)
        check_labels(self.labels, self.klass, path)
        if self.allocations is not None:
            self.allocations.check(self.nr_frames, path)
        if self.after is not None:
            _check_after(self.after, self.nr_blocks, path)

    @classmethod
    def from_form(cls, header: Mapping[str, Any], columns: form.Columns, path: Path | str) -> Self:
        """From header and columns as they are in a file.

        Args:
            header: the facts beside the columns.
            columns: name -> column.
            path: the file.

        Raises:
            SnapshotError: something is missing, of a wrong type, or inconsistent.
        """
        for name in (column.name for column in COLUMNS):
            if name not in columns:
                raise SnapshotError(path, f"column {name}", "is missing", "record it again")
        own: dict[str, Any] = {column.name: columns[column.name] for column in COLUMNS}
        snapshot = cls(
            **own,
            **_facts_of(header, path),
            after=_after_of(header, columns, path),
            allocations=Allocations.from_form(columns, own["state"].size, path),
        )
        snapshot.check(path)
        return snapshot

    def to_form(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Header and columns as they go into a file."""
        header: dict[str, Any] = {
            "provenance": encode(self.provenance),
            "zones": [encode(zone) for zone in self.zones],
            "workload": dict(self.workload),
            "measured": None if self.measured is None else encode(self.measured),
            "after": None if self.after is None else self.after.phase,
            "guessed_fields": list(self.guessed_fields),
            "unknown_fields": list(self.unknown_fields),
            "ram": [[span.start, span.stop] for span in self.ram],
            "nr_pages_per_block": self.nr_pages_per_block,
        }
        if self.geometry != Geometry():  # so that what says nothing new reads as before
            header["geometry"] = encode(self.geometry)
        if self.labels:
            header["labels"] = {
                name: [[span.start, span.stop] for span in spans]
                for name, spans in sorted(self.labels.items())
            }
        if self.reading:
            header["reading"] = dict(self.reading)
        columns: dict[str, NDArray[Any]] = {
            column.name: getattr(self, column.name) for column in COLUMNS
        }
        if self.allocations is not None:
            columns |= self.allocations.to_form()
        if self.after is not None:
            columns["after_class_counts"] = self.after.class_counts
            columns["after_migratetype"] = self.after.migratetype
        return header, columns


def _facts_of(header: Mapping[str, Any], path: Path | str) -> dict[str, Any]:
    """Everything in the header but `after`, checked."""

    def get(name: str, kind: type, items: type | None = None) -> Any:
        value: Any = header.get(name)
        values: Iterable[Any] = value.values() if isinstance(value, dict) else value
        if type(value) is not kind or (items and any(type(item) is not items for item in values)):
            raise SnapshotError(
                path, f"header {name}", "is missing or has a wrong type", "record it again"
            )
        return value

    nr_pages_per_block = get("nr_pages_per_block", int)
    check_pageblock(nr_pages_per_block, path)
    measured = header.get("measured")
    return {
        "zones": tuple(
            decode(ZoneFacts, zone, path, f"zones[{i}]")
            for i, zone in enumerate(get("zones", list))
        ),
        "provenance": decode(Provenance, header.get("provenance"), path, "provenance"),
        "workload": get("workload", dict, int),
        "measured": None if measured is None else decode(Measured, measured, path, "measured"),
        "guessed_fields": get("guessed_fields", list, str),
        "unknown_fields": get("unknown_fields", list, str),
        "ram": _spans_of(header.get("ram", []), "ram", path),  # (files of before lack it)
        "nr_pages_per_block": nr_pages_per_block,
        "labels": {
            name: _spans_of(spans, f"labels.{name}", path)
            for name, spans in (get("labels", dict) if "labels" in header else {}).items()
        },
        "geometry": decode(Geometry, header.get("geometry", {}), path, "geometry"),
        "reading": get("reading", dict, int) if "reading" in header else {},
    }


def _spans_of(pairs: Any, name: str, path: Path | str) -> tuple[Span, ...]:
    try:
        spans = tuple(Span(start, stop) for start, stop in pairs)
    except (TypeError, ValueError, PfnError):
        problem = "is no list of spans"
        raise SnapshotError(path, f"header {name}", problem, "record it again") from None
    return spans


def _after_of(
    header: Mapping[str, Any], columns: form.Columns, path: Path | str
) -> AfterState | None:
    phase = header.get("after")
    if phase is None:
        return None
    if phase not in _PHASES:
        raise SnapshotError(
            path, "header after", f"is none of {', '.join(_PHASES)}", "record it again"
        )
    if not {"after_class_counts", "after_migratetype"} <= set(columns):
        raise SnapshotError(path, "column after_class_counts", "is missing", "record it again")
    counts = columns["after_class_counts"]
    if counts.ndim == _NR_AXES:  # of before a class was added
        nr_more = max(NR_CLASSES - counts.shape[1], 0)
        counts = np.pad(counts, ((0, 0), (0, nr_more)))
    return AfterState(phase, counts, columns["after_migratetype"])


def _check_after(after: AfterState, nr_blocks: int, path: Path | str) -> None:
    for name, column, dtype, shape in (
        ("after_class_counts", after.class_counts, np.uint16, (nr_blocks, NR_CLASSES)),
        ("after_migratetype", after.migratetype, np.uint8, (nr_blocks,)),
    ):
        if column.dtype != dtype or column.shape != shape:
            problem = f"is {column.dtype}{list(column.shape)}, not {np.dtype(dtype)}{list(shape)}"
            raise SnapshotError(path, f"column {name}", problem, "record it again")


def save(snapshot: Snapshot, path: Path | str) -> None:
    """Check a snapshot and write it, whole or not at all.

    Args:
        snapshot: the recording.
        path: the file.

    Raises:
        PinpageError: that is no path.
        SnapshotError: it is inconsistent, or the place cannot be written.
    """
    path = require_place(path)
    snapshot.check(path)
    header, columns = snapshot.to_form()
    if found := awry(header):
        raise SnapshotError(path, f"header {found[0]}", found[1], "say it in plain characters")
    form.write(path, header, columns)


def load(path: Path | str) -> Snapshot:
    """Read a snapshot and check all of it.

    Raises:
        PinpageError: that is no path.
        SnapshotError: missing, cut short, damaged, foreign, newer or inconsistent.
    """
    path = path_of(path, "path")
    header, columns = form.read(path)
    return Snapshot.from_form(header, columns, path)


def validate(path: Path | str) -> None:
    """Do what `load` does, for its errors alone.

    Raises:
        SnapshotError: names the file, the field and the fix.
    """
    load(path)
