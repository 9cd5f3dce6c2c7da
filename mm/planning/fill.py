"""Where the frames go that a plan moves, and what moving them costs.

Free frames are what a plan pays with, so they are spent where nobody can use them otherwise:
first in pageblocks that can never be emptied, then in the fullest of those that could, and
last where the same consumer would look for its next range.

Kernel counterpart: none; alloc_migration_target takes whatever the allocator has.
"""

import numpy as np
from numpy.typing import NDArray

from mm.planning.census import Census
from mm.state.costs import CostModel
from pinpage.errors import require
from pinpage.units import Mask, Pfns

__all__ = ["evacuation_ns", "fill", "needs_callback"]


def needs_callback(census: Census) -> Mask:
    """Movable frames that somebody besides page tables holds, shape (nr_frames,).

    By the census' owner column, in which code 0 is nobody known by name.
    """
    if census.owner is None:
        return np.zeros(len(census.movable), dtype=np.bool_)
    registered: Mask = census.movable & (census.owner != 0)
    return registered


def evacuation_ns(
    costs: CostModel, nr_moves: NDArray[np.int64], nr_callbacks: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Simulated ns for moves that all succeed, each page mapped once or called back; columns.

    Args:
        costs: what things cost in simulated time.
        nr_moves: int64 (n,), pages to move.
        nr_callbacks: int64 (n,), those of them that somebody besides page tables holds.
    """
    per_move = 2 * costs.isolate_ns + costs.copy_ns
    flushes = -(-nr_moves // costs.flush_batch_nr_pages)
    mapped = nr_moves - nr_callbacks
    return (
        nr_moves * per_move
        + mapped * costs.pte_ns
        + nr_callbacks * costs.callback_ns
        + flushes * costs.flush_ns
    )


def fill(
    census: Census, sources: Pfns, may_fill: Mask, spare: Mask, *, across_zones: bool = True
) -> Pfns:
    """A free frame for each source: int64 (n,), row numbers of the census, as the sources are.

    Args:
        census: what is free.
        sources: rows of frames that leave, without duplicates.
        may_fill: bool (nr_blocks,), pageblocks that may take them.
        spare: bool (nr_blocks,), pageblocks to be filled last.
        across_zones: if not, each frame stays in its zone; if so, those of the zones that the
            sources come from are filled first.

    Raises:
        InvariantError: there are not that many; whoever plans counts them first.
    """
    size = census.nr_pages_per_block
    zone_of_source = census.zone[sources // size]
    fillable = may_fill & (census.nr_free > 0)
    targets = np.empty(len(sources), dtype=np.int64)
    if across_zones:
        away = ~np.isin(census.zone, np.unique(zone_of_source))
        targets[:] = _first_free(census, fillable, (spare, away), len(sources))
        return targets
    for zone in np.unique(zone_of_source):
        rows = np.flatnonzero(zone_of_source == zone)
        here = fillable & (census.zone == zone)
        targets[rows] = _first_free(census, here, (spare,), len(rows))
    return targets


def _first_free(census: Census, fillable: Mask, put_off: tuple[Mask, ...], count: int) -> Pfns:
    """The first `count` free frames of these blocks in the order of filling."""
    blocks = np.flatnonzero(fillable)
    keys: list[NDArray[np.generic]] = [-census.nr_movable[blocks], census.clearable[blocks]]
    blocks = blocks[np.lexsort((*keys, *(mask[blocks] for mask in put_off)))]
    before = np.cumsum(census.nr_free[blocks]) - census.nr_free[blocks]
    blocks = blocks[before < count]
    within, offset = np.nonzero(census.by_block(census.free)[blocks])
    found = (blocks[within] * census.nr_pages_per_block + offset)[:count]
    require(len(found) == count, "a plan needs more free frames than it counted", count=count)
    return found
