"""When the right free lists are empty: which other type to take from, and how much.

Pure functions; `mm.buddy.buddy.Buddy` asks them and acts.  The idea in the kernel is to mix types
in as few pageblocks as possible: take from the *largest* block of another type, and where
that block is mostly compatible, claim its whole pageblock for good.

Kernel counterpart: fallbacks[], can_steal_fallback, find_suitable_fallback,
steal_suitable_fallback and __rmqueue_fallback of mm/page_alloc.c (v6.1).
"""

from collections.abc import Callable
from typing import NamedTuple

from mm.state.pageblock import MigrateType

__all__ = ["FALLBACKS", "Fallback", "claims_block", "find_fallback", "may_claim"]

FALLBACKS: dict[int, tuple[MigrateType, ...]] = {
    MigrateType.UNMOVABLE: (MigrateType.RECLAIMABLE, MigrateType.MOVABLE),
    MigrateType.MOVABLE: (MigrateType.RECLAIMABLE, MigrateType.UNMOVABLE),
    MigrateType.RECLAIMABLE: (MigrateType.UNMOVABLE, MigrateType.MOVABLE),
}
"""Types to take from, best first.  Never HIGHATOMIC, CMA (it has a rule of its own) or ISOLATE."""


class Fallback(NamedTuple):
    """Where to take a block from."""

    order: int
    migratetype: MigrateType
    may_claim: bool
    """Whether its whole pageblock may change type."""


def may_claim(order: int, migratetype: int, pageblock_order: int) -> bool:
    """Whether taking a free block of `order` for `migratetype` may claim its pageblock.

    Large blocks always; small ones only for kernel pages, which would otherwise pollute
    one pageblock after the other and cannot be moved out again.

    Args:
        order: log2 of the pages in the free block.
        migratetype: the type that is asked for.
        pageblock_order: log2 of the pages in a pageblock.
    """
    return order >= pageblock_order // 2 or migratetype in (
        MigrateType.UNMOVABLE,
        MigrateType.RECLAIMABLE,
    )


def claims_block(
    migratetype: int, old_type: int, nr_free: int, nr_movable: int, nr_pages: int
) -> bool:
    """Whether the pageblock is claimed: its free and compatible pages are at least half.

    Args:
        migratetype: of the request.
        old_type: of the pageblock.
        nr_free: free pages in it.
        nr_movable: used pages in it that could be moved (LRU and movable_ops pages).
        nr_pages: its size.
    """
    if migratetype == MigrateType.MOVABLE:
        nr_alike = nr_movable
    elif old_type == MigrateType.MOVABLE:
        # What is neither free nor movable in a movable block was itself a fallback of the kernel's.
        nr_alike = nr_pages - nr_free - nr_movable
    else:
        nr_alike = 0
    return nr_free + nr_alike >= nr_pages // 2


def find_fallback(
    has_blocks: Callable[[int, int], bool],
    order: int,
    migratetype: int,
    *,
    pageblock_order: int,
    max_order: int,
    nofragment: bool = False,
) -> Fallback | None:
    """The list to take from, or None.

    Largest order first, for the remainder of a large block keeps further requests away from
    other pageblocks.  A movable request that may not claim the pageblock takes the smallest
    instead: it does no lasting harm wherever it sits.

    Args:
        has_blocks: (migratetype, order) -> whether that list has a block.
        order: log2 of the pages wanted.
        migratetype: of the request.
        pageblock_order: log2 of the pages in a pageblock.
        max_order: the largest order there is.
        nofragment: refuse everything below a pageblock (the NOFRAGMENT pass).
    """
    types = FALLBACKS[migratetype]
    lowest = max(order, pageblock_order) if nofragment else order
    for current in range(max_order, lowest - 1, -1):
        for other in types:
            if not has_blocks(other, current):
                continue
            claim = may_claim(current, migratetype, pageblock_order)
            if not claim and migratetype == MigrateType.MOVABLE and current > order:
                return _find_smallest(has_blocks, order, migratetype, pageblock_order, max_order)
            return Fallback(current, other, claim)
    return None


def _find_smallest(
    has_blocks: Callable[[int, int], bool],
    order: int,
    migratetype: int,
    pageblock_order: int,
    max_order: int,
) -> Fallback | None:
    for current in range(order, max_order + 1):
        for other in FALLBACKS[migratetype]:
            if has_blocks(other, current):
                return Fallback(current, other, may_claim(current, migratetype, pageblock_order))
    return None
