"""A recording as the planner sees it: free, movable or stuck, frame by frame; no machine is made.

Owns: which is which for a request of a given kind.
Ignores: contents, references of the moment, watermarks.
Kernel counterpart: none; see `mm.planning.census`.
Cost: a few passes over the frames.
"""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from mm.planning.census import Census
from mm.state.pageblock import MigrateType
from pinlab.snapshot.classes import FrameClass
from pinlab.snapshot.holdings import codes_of
from pinlab.snapshot.image import Snapshot
from pinpage.units import Span

__all__ = ["areas_of", "census_of"]


def census_of(snapshot: Snapshot, moved: Collection[str], *, cma_stays: bool) -> Census:
    """What moves, what is free, and whose the rest is.

    Frames on per-CPU lists are free: whoever asks drains them first.

    Args:
        snapshot: the recording.
        moved: names of the owners that move their frames.
        cma_stays: whether pageblocks of CMA may not be isolated, as for anybody but CMA.
    """
    codes, names = codes_of(snapshot)
    moving = [code for code, name in enumerate(names) if name in moved]
    size = snapshot.nr_pages_per_block
    zone = _zone_of_pageblocks(snapshot)
    ours = snapshot.zone == np.repeat(zone, size)[: snapshot.nr_frames]
    types = snapshot.block_migratetype
    is_cma = types == MigrateType.CMA
    return Census(
        free=np.isin(codes, (FrameClass.FREE, FrameClass.PCP)) & ours,
        movable=np.isin(codes, moving) & ours,
        nr_pages_per_block=size,
        zone=zone.astype(np.int64),
        in_movable=is_cma | (types == MigrateType.MOVABLE),
        isolable=~is_cma if cma_stays else np.ones(len(types), dtype=np.bool_),
        owner=codes,
        owner_names=names,
    )


def _zone_of_pageblocks(snapshot: Snapshot) -> NDArray[np.uint8]:
    """The highest zone of the frames of each pageblock; 0 where it has none."""
    zone = np.where(snapshot.klass == FrameClass.HOLE, np.uint8(0), snapshot.zone)
    starts = np.arange(0, snapshot.nr_frames, snapshot.nr_pages_per_block)
    highest: NDArray[np.uint8] = np.maximum.reduceat(zone, starts)
    return highest


def areas_of(snapshot: Snapshot) -> dict[str, Span]:
    """Contiguous areas by name: as the recording names them, else runs of CMA pageblocks."""
    named = {area.name: area.span for area in snapshot.geometry.cma_areas}
    if named:
        return named
    is_cma = np.concatenate([[False], snapshot.block_migratetype == MigrateType.CMA, [False]])
    edges = np.flatnonzero(np.diff(is_cma.astype(np.int8))).reshape(-1, 2)
    size = snapshot.nr_pages_per_block
    return {
        f"area{nth}": Span(start * size, min(stop * size, snapshot.nr_frames))
        for nth, (start, stop) in enumerate(edges.tolist())
    }
