"""What columns a snapshot has, and what must hold between them.

A recording is somebody else's data: what does not hold here is a `SnapshotError` that names
the column and the first pfn, never an assertion.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from mm.state.frames import FrameState
from mm.state.pageblock import USUAL_MAX_ORDER
from pinlab.snapshot.classes import NR_CLASSES, STATE_OF_CLASS, FrameClass
from pinlab.snapshot.errors import SnapshotError
from pinpage.units import Mask

__all__ = [
    "COLUMNS",
    "NOT_KNOWN",
    "Column",
    "block_heads",
    "check_consistent",
    "check_shapes",
]

NOT_KNOWN: Final = 255
"""In the uint8 columns `zone`, `gfp` and `block_migratetype`: nothing says."""
_NR_MIGRATETYPES: Final = 6
_HOLE = np.uint8(FrameState.HOLE)
_FREE = np.uint8(FrameState.FREE)


_Per: TypeAlias = Literal["frame", "pageblock", "pin"]


@frozen
class Column:
    """One column: its name, its dtype and what it has one row for."""

    name: str
    dtype: np.dtype[Any]
    per: _Per


_LAYOUT: Final[tuple[tuple[str, str, _Per], ...]] = (
    ("state", "u1", "frame"),
    ("klass", "u1", "frame"),
    ("order", "i1", "frame"),
    ("flags", "<u8", "frame"),
    ("refcount", "<i4", "frame"),
    ("mapcount", "<i4", "frame"),
    ("zone", "u1", "frame"),
    ("gfp", "u1", "frame"),
    ("guessed", "?", "frame"),
    ("block_migratetype", "u1", "pageblock"),
    ("block_skip", "?", "pageblock"),
    ("pinned_pfns", "<i8", "pin"),
)
COLUMNS: Final = tuple(Column(name, np.dtype(dtype), per) for name, dtype, per in _LAYOUT)
"""Every column of a snapshot; `pinlab.snapshot.image.Snapshot` says what each one means."""

_ColumnOf = Callable[[str], NDArray[Any]]


def check_shapes(column_of: _ColumnOf, nr_pages_per_block: int, path: Path | str) -> None:
    """Dtype and shape of every column.

    Args:
        column_of: name -> column.
        nr_pages_per_block: pages in a pageblock.
        path: the file, for messages.

    Raises:
        SnapshotError: names the first column that is wrong.
    """
    nr_frames = column_of("state").shape[0] if column_of("state").ndim == 1 else 0
    rows = {"frame": nr_frames, "pageblock": -(-nr_frames // nr_pages_per_block)}
    if not nr_frames:
        raise SnapshotError(path, "column state", "has no frames", "record it again")
    for column in COLUMNS:
        found = column_of(column.name)
        if found.dtype != column.dtype:
            raise SnapshotError(
                path, f"column {column.name}", f"is {found.dtype}", f"make it {column.dtype}"
            )
        wanted = rows.get(column.per, found.size)
        if found.shape != (wanted,):
            problem = f"has shape {list(found.shape)}, for {nr_frames} frames it must be [{wanted}]"
            raise SnapshotError(
                path, f"column {column.name}", problem, f"give it one row per {column.per}"
            )


def block_heads(order: NDArray[np.int8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Head pfns of the free blocks and the pages of each, both int64 of shape (n,)."""
    heads = np.flatnonzero(order >= 0)
    return heads, np.left_shift(np.int64(1), order[heads].astype(np.int64))


def check_consistent(
    column_of: _ColumnOf, nr_zones: int, path: Path | str, max_order: int = USUAL_MAX_ORDER
) -> None:
    """What `Snapshot` promises of the columns: SN1..SN8, by their numbers.

    Args:
        column_of: name -> column.
        nr_zones: zones that there are.
        path: the file, for messages.
        max_order: of free blocks.

    Raises:
        SnapshotError: names the column, the rule and the first pfn.
    """

    def refuse(broken: Mask, column: str, rule: str) -> None:
        first = int(broken.argmax()) if broken.size else 0
        if broken.size and broken[first]:
            raise SnapshotError(
                path,
                f"column {column}",
                f"{rule} (first at row {first:#x})",
                "correct the importer or record it again",
            )

    state, klass, order = column_of("state"), column_of("klass"), column_of("order")
    refuse(
        (state == FrameState.TAKEN) | (state > FrameState.USED),
        "state",
        "SN1 holds a state no recording has",
    )
    refuse(klass >= NR_CLASSES, "klass", "SN1 holds a class that does not exist")
    implied = STATE_OF_CLASS[klass]
    in_use_by_unknown = (klass == FrameClass.UNKNOWN) & (state == FrameState.USED)
    refuse(
        (state != implied) & ~in_use_by_unknown, "klass", "SN2 contradicts the state of its frame"
    )
    refuse((order > max_order) | (order < -1), "order", f"SN3 lies outside -1..{max_order}")
    refuse((order >= 0) & (state != _FREE), "order", "SN3 is set on a frame that is not free")
    _check_blocks(order, state == _FREE, column_of("zone"), refuse)
    unreferenced = (state == _FREE) | (state == FrameState.PCP)
    refuse(unreferenced & (column_of("refcount") > 0), "refcount", "SN4 is above 0 on a free frame")
    zone = column_of("zone")
    refuse(
        (zone >= nr_zones) & (zone != NOT_KNOWN),
        "zone",
        f"SN5 names a zone beyond the {nr_zones} there are",
    )
    for name in ("gfp", "block_migratetype"):
        types = column_of(name)
        refuse(
            (types >= _NR_MIGRATETYPES) & (types != NOT_KNOWN),
            name,
            "SN6 holds a migratetype that does not exist",
        )
    for name in ("refcount", "mapcount"):
        refuse(column_of(name) < -1, name, "SN8 is below -1")
    pins = column_of("pinned_pfns")
    refuse(
        (pins < 0) | (pins >= len(state)), "pinned_pfns", "SN7 names a pfn outside the recording"
    )
    refuse(np.diff(pins) <= 0, "pinned_pfns", "SN7 is not in ascending order")
    refuse(state[pins] != FrameState.USED, "pinned_pfns", "SN7 names a frame that is not in use")


def _check_blocks(
    order: NDArray[np.int8],
    free: Mask,
    zone: NDArray[np.uint8],
    refuse: Callable[[Mask, str, str], None],
) -> None:
    """SN3's second half: the free blocks tile the free frames, each once, aligned, in one zone."""
    heads, nr_pages = block_heads(order)
    stops = heads + nr_pages

    def at_heads(broken: Mask) -> Mask:
        rows = np.zeros(len(order), dtype=np.bool_)
        rows[heads] = broken
        return rows

    refuse(at_heads(heads % nr_pages != 0), "order", "SN3 is not aligned to its own size")
    refuse(at_heads(stops > len(order)), "order", "SN3 reaches beyond the last frame")
    # Aligned blocks are nested or disjoint, so it is enough to look at neighbours.
    refuse(
        at_heads(np.append(stops[:-1] > heads[1:], [False][: len(heads)])),
        "order",
        "SN3 covers another free block",
    )
    depth = np.zeros(len(order) + 1, dtype=np.int8)
    np.add.at(depth, heads, 1)
    np.add.at(depth, stops, -1)
    covered = np.cumsum(depth[:-1], dtype=np.int8) > 0
    refuse(covered & ~free, "order", "SN3 covers a frame that is not free")
    refuse(free & ~covered, "order", "SN3 misses a free frame")
    refuse(
        at_heads(zone[heads] != zone[stops - 1]), "order", "SN3 crosses from one zone into another"
    )
