"""Columns of which a source says nothing, and a snapshot from those that it does.

Owns: what stands in a column where nothing is known.
Ignores: the sources.
Cost: the columns.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from mm.state.frames import FrameState
from pinlab.files.npz import require_frames
from pinlab.snapshot.classes import FrameClass
from pinlab.snapshot.columns import NOT_KNOWN
from pinlab.snapshot.errors import SnapshotError
from pinlab.snapshot.image import Snapshot

__all__ = [
    "NO_FRAMES",
    "blank_columns",
    "require_frames_named",
    "require_free_recorded",
    "require_justified",
]

NO_FRAMES: Final = "frames"
"""In `Snapshot.unknown_fields`: the source counts, and names no frame at all."""

_FEW: Final = 1 << 22
"""Frames that any source may have: 16 GiB."""
_FRAMES_PER_ROW: Final = 4096


def require_justified(nr_frames: int, nr_rows: int, path: Path | str) -> None:
    """Refuse a machine that a few rows claim to be huge, before memory is taken for it.

    Args:
        nr_frames: up to the last one that is named.
        nr_rows: that name them.
        path: the file, for messages.

    Raises:
        SnapshotError: there are too many frames for so few rows, or for this machine.
    """
    if nr_frames > max(_FEW, _FRAMES_PER_ROW * nr_rows):
        problem = f"names pfn {nr_frames - 1:#x} in no more than {nr_rows:,d} rows"
        raise SnapshotError(path, "pfns", problem, "use the whole text, or correct the pfn")
    require_frames(nr_frames, path, "pfns")


def require_frames_named(snapshot: Snapshot, path: Path | str) -> None:
    """Refuse a source that counts and names no frame.

    Args:
        snapshot: what the source made.
        path: of the source, for messages.

    Raises:
        SnapshotError: no frame is in it.
    """
    if NO_FRAMES in snapshot.unknown_fields:
        problem = "are not in this file, which only counts free blocks"
        raise SnapshotError(
            path,
            "frames",
            problem,
            "use `pinpage report fragmentation`, or give page_owner, page-types or a recording",
        )


def require_free_recorded(snapshot: Snapshot, path: Path | str) -> None:
    """Refuse a source that does not say what is free, where the answer depends on that.

    Args:
        snapshot: what the source made.
        path: of the source, for messages.

    Raises:
        SnapshotError: no frame of it is known to be free, or not to be.
    """
    if not snapshot.says_free:
        raise SnapshotError(
            path,
            "free memory",
            "is not recorded: page_owner, or a list of some pages, tells only what is in use",
            "copy kpageflags or a whole page-types list beside it; "
            "`pinpage report blocks` and `what-if` show who is in the way",
        )


def blank_columns(nr_frames: int, nr_pages_per_block: int) -> Mapping[str, Any]:
    """Every column of a snapshot, by name, as where nothing is known.

    Args:
        nr_frames: rows of a frame.
        nr_pages_per_block: pages in a pageblock.
    """
    nr_blocks = -(-nr_frames // nr_pages_per_block)
    return {
        "state": np.full(nr_frames, FrameState.UNKNOWN, dtype=np.uint8),
        "klass": np.full(nr_frames, FrameClass.UNKNOWN, dtype=np.uint8),
        "order": np.full(nr_frames, -1, dtype=np.int8),
        "flags": np.zeros(nr_frames, dtype=np.uint64),
        "refcount": np.full(nr_frames, -1, dtype=np.int32),
        "mapcount": np.full(nr_frames, -1, dtype=np.int32),
        "zone": np.full(nr_frames, NOT_KNOWN, dtype=np.uint8),
        "gfp": np.full(nr_frames, NOT_KNOWN, dtype=np.uint8),
        "guessed": np.zeros(nr_frames, dtype=np.bool_),
        "block_migratetype": np.full(nr_blocks, NOT_KNOWN, dtype=np.uint8),
        "block_skip": np.zeros(nr_blocks, dtype=np.bool_),
        "pinned_pfns": np.empty(0, dtype=np.int64),
    }
