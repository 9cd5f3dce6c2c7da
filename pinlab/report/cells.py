"""What sits in each pageblock, condensed from frames per class to what a map shows.

It takes a table of counts, so that a machine in mid-experiment can be counted as well as a
recording.
"""

from collections.abc import Set as AbstractSet
from typing import Any, Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from pinlab.snapshot.classes import MOVABLE_CLASSES, FrameClass
from pinpage.units import Mask

__all__ = ["NOT_IN_USE", "CellCounts", "Counts", "count_cells"]

Counts = NDArray[Any]
"""Frames per pageblock and class, integers of shape (nr_blocks, NR_CLASSES)."""

NOT_IN_USE: Final = frozenset({FrameClass.HOLE, FrameClass.FREE, FrameClass.PCP})
"""Classes that keep no pageblock from being free."""


@frozen(eq=False)
class CellCounts:
    """What a map shows of each cell, columns of shape (nr_cells,).

    Attributes:
        nr_pages: frames with memory; 0 is a hole.
        nr_fixed: frames that cannot move.
        nr_movable: frames in use that can.
        worst: uint8, the unmovable class with the most frames, where there is one.
        alone: whether that class is the only unmovable one.
        huge: whether the cell is all huge pages.
    """

    nr_pages: NDArray[np.int64]
    nr_fixed: NDArray[np.int64]
    nr_movable: NDArray[np.int64]
    worst: NDArray[np.uint8]
    alone: Mask
    huge: Mask

    @property
    def wholly_free(self) -> Mask:
        """Cells of memory in which nothing is in use."""
        mask: Mask = (self.nr_pages > 0) & (self.nr_fixed + self.nr_movable == 0)
        return mask

    @property
    def density(self) -> NDArray[np.float64]:
        """Share of a cell's frames in use: those that cannot move if any, else all."""
        used = np.where(self.nr_fixed > 0, self.nr_fixed, self.nr_movable)
        return used / np.maximum(self.nr_pages, 1)


def count_cells(
    counts: Counts, nr_blocks_per_cell: int = 1, movable: AbstractSet[FrameClass] = MOVABLE_CLASSES
) -> CellCounts:
    """Condense counts into cells.

    Args:
        counts: frames per pageblock and class.
        nr_blocks_per_cell: pageblocks that share a cell, from pfn 0 upwards.
        movable: classes taken to be movable; a what-if is drawn by adding to them.
    """
    starts = np.arange(0, len(counts), nr_blocks_per_cell)
    table = np.add.reduceat(np.asarray(counts, dtype=np.int64), starts, axis=0)
    fixed = table.copy()
    fixed[:, sorted(movable | NOT_IN_USE)] = 0
    nr_pages = table.sum(axis=1) - table[:, FrameClass.HOLE]
    moving = sorted(movable - NOT_IN_USE)
    return CellCounts(
        nr_pages=nr_pages,
        nr_fixed=fixed.sum(axis=1),
        nr_movable=table[:, moving].sum(axis=1),
        worst=fixed.argmax(axis=1).astype(np.uint8),
        alone=np.count_nonzero(fixed, axis=1) == 1,
        huge=(table[:, FrameClass.HUGETLB] == nr_pages) & (nr_pages > 0),
    )
