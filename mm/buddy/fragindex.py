"""How fragmented free memory is: pure functions of the free lists.

Two indices by Gorman.  `fragmentation_index` asks why an allocation of some order would
fail: lack of memory (towards 0) or fragmentation (towards 1000).  `extfrag_percent` says how
much of the free memory is of no use to that order.

A zone's score for proactive compaction is the latter for huge pages; a node's is the mean.

Kernel counterpart: fragmentation_index, extfrag_for_order and unusable_free_index of
mm/vmstat.c, fragmentation_score_zone_weighted and fragmentation_score_node of
mm/compaction.c (v6.1).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pinpage.errors import whole

__all__ = [
    "extfrag_percent",
    "fragmentation_index",
    "fragmentation_score_node",
    "fragmentation_score_zone",
    "unusable_free",
    "unusable_free_index",
]


def _totals(nr_blocks: Sequence[int] | NDArray[np.int64], order: int) -> tuple[int, int, int, int]:
    """Free blocks, free pages, how many blocks of `order` could be cut from them; a plain order."""
    (order,) = whole("free blocks", order=order)
    blocks = [int(count) for count in nr_blocks]
    pages = sum(count << k for k, count in enumerate(blocks))
    suitable = sum(count << (k - order) for k, count in enumerate(blocks) if k >= order)
    return sum(blocks), pages, suitable, order


def fragmentation_index(nr_blocks: Sequence[int] | NDArray[np.int64], order: int) -> int:
    """Why a request of `order` would fail, in thousandths.

    Args:
        nr_blocks: free blocks by order, shape (n_orders,), summed over types.
        order: log2 of the pages wanted.

    Returns:
        -1000 if it would succeed; 0 if nothing is free; else at most 1000.  A few large
        blocks push it below zero (-500 for one order-8 block asked for order 9), which
        a caller must not take for "would succeed".

    >>> fragmentation_index([100], 3)
    865
    """
    blocks, pages, suitable, order = _totals(nr_blocks, order)
    if blocks == 0:
        return 0
    if suitable:
        return -1000
    return 1000 - (1000 + pages * 1000 // (1 << order)) // blocks


def extfrag_percent(nr_blocks: Sequence[int] | NDArray[np.int64], order: int) -> int:
    """Percentage of free memory that blocks smaller than `order` hold; 0 if nothing is free.

    Args:
        nr_blocks: int64 (nr_orders,), free blocks of each order.
        order: log2 of the pages wanted.

    >>> extfrag_percent([2048] + [0] * 8 + [4], 9)
    50
    """
    _, pages, suitable, order = _totals(nr_blocks, order)
    return (pages - (suitable << order)) * 100 // pages if pages else 0


def unusable_free(nr_blocks: Sequence[int] | NDArray[np.int64], order: int) -> float:
    """The same as a fraction 0..1, not rounded; does not decrease with the order.

    Args:
        nr_blocks: int64 (nr_orders,), free blocks of each order.
        order: log2 of the pages wanted.
    """
    _, pages, suitable, order = _totals(nr_blocks, order)
    return (pages - (suitable << order)) / pages if pages else 0.0


def unusable_free_index(nr_blocks: Sequence[int] | NDArray[np.int64], order: int) -> int:
    """The same in thousandths, as debugfs shows it; 1000 if nothing is free.

    Args:
        nr_blocks: int64 (nr_orders,), free blocks of each order.
        order: log2 of the pages wanted.

    >>> unusable_free_index([2048] + [0] * 8 + [4], 9)
    500
    """
    _, pages, suitable, order = _totals(nr_blocks, order)
    return (pages - (suitable << order)) * 1000 // pages if pages else 1000


def fragmentation_score_zone(nr_blocks: Sequence[int] | NDArray[np.int64], huge_order: int) -> int:
    """How much of a zone's free memory is of no use to a huge page, in percent.

    Args:
        nr_blocks: int64 (nr_orders,), free blocks of each order.
        huge_order: log2 of the pages in a huge page.
    """
    return extfrag_percent(nr_blocks, huge_order)


def fragmentation_score_node(scores: Sequence[int], nr_pages: Sequence[int]) -> int:
    """The zones' scores, weighted by their pages; each share is rounded down.

    The divisor is one more than the node's pages, so a node does not quite reach 100.

    Args:
        scores: percent, one for each zone.
        nr_pages: pages of each zone.

    >>> fragmentation_score_node([100, 50], [300, 100])
    86
    """
    total = sum(nr_pages) + 1
    return sum(pages * score // total for score, pages in zip(scores, nr_pages, strict=True))
