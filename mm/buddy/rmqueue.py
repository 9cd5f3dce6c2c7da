"""Which free block serves a request: own lists, CMA, then other types.

Functions over a `FreeArea`; frames that they return are off the lists and still marked FREE.

Kernel counterpart: __rmqueue, __rmqueue_smallest, __rmqueue_cma_fallback and
__rmqueue_fallback of mm/page_alloc.c (v6.1).
"""

import numpy as np

from mm.buddy.fallback import claims_block, find_fallback
from mm.buddy.free_area import FreeArea
from mm.buddy.merge import expand, retype
from mm.state.frames import FrameState, PageFlag
from mm.state.gfp import AllocFlags
from mm.state.pageblock import MigrateType
from pinpage.units import Pfns

__all__ = ["rmqueue", "take_whole_blocks"]

# Plain ints: `&` on an IntFlag builds an object and costs more than the rest of a search.
_USE_CMA = int(AllocFlags.CMA)
_HARDER = int(AllocFlags.HARDER)
_NOFRAGMENT = int(AllocFlags.NOFRAGMENT)
_MOVABLE = int(MigrateType.MOVABLE)
_CMA = int(MigrateType.CMA)
_ISOLATE = int(MigrateType.ISOLATE)


def rmqueue(
    area: FreeArea, order: int, migratetype: int, zone: int, alloc_flags: AllocFlags
) -> int:
    """One block for the request: its head, or -1.  Costs about 1.5 us.

    Args:
        area: the lists.
        order: log2 of the pages wanted.
        migratetype: a `MigrateType`.
        zone: the zone's row in `Frames.zone`.
        alloc_flags: which watermarks and lists it may use.
    """
    flags = int(alloc_flags)
    if order > area.max_order:
        return -1
    if order and flags & _HARDER:
        pfn = _split_smallest(area, order, MigrateType.HIGHATOMIC, zone)
        if pfn >= 0:
            return pfn
    use_cma = _may_use_cma(area, migratetype, zone, flags)
    if use_cma and _cma_surplus(area, zone) > 0:
        pfn = _split_smallest(area, order, _CMA, zone)
        if pfn >= 0:
            return pfn
    pfn = _split_smallest(area, order, migratetype, zone)
    if pfn < 0 and use_cma:
        pfn = _split_smallest(area, order, _CMA, zone)
    return pfn if pfn >= 0 else _steal(area, order, migratetype, zone, flags)


def take_whole_blocks(
    area: FreeArea, count: int, migratetype: int, zone: int, alloc_flags: AllocFlags
) -> Pfns:
    """Frames of whole free blocks, of the smallest order there is, from one pageblock.

    At most `count`; none where the smallest block is larger than that or its list is empty.
    Costs about 6 us.

    Args:
        area: the lists.
        count: how many, at most.
        migratetype: a `MigrateType`.
        zone: the zone's row in `Frames.zone`.
        alloc_flags: which watermarks and lists it may use.
    """
    if _may_use_cma(area, migratetype, zone, int(alloc_flags)):
        # Not further than to where a single request would change sides.
        surplus = _cma_surplus(area, zone)
        if surplus > 0:
            count, migratetype = min(count, surplus), _CMA
        else:
            count = min(count, 1 - surplus)
    order = area.smallest_order(zone, migratetype, 0)
    if order < 0 or not count >> order:
        return np.empty(0, dtype=np.int64)
    block = area.last_block(zone, migratetype, order)
    if order > area.pageblocks.order and not _is_all_of(area, block, order, migratetype):
        return np.empty(0, dtype=np.int64)
    span = area.pageblocks.span(block)
    heads = (
        np.flatnonzero(area.frames.order[span.start : span.stop] == order)[: count >> order]
        + span.start
    )
    area.unlink_heads(block, order, heads)
    return heads if not order else (heads[:, None] + np.arange(1 << order)).ravel()


def _is_all_of(area: FreeArea, block: int, order: int, migratetype: int) -> bool:
    """Whether all pageblocks of a large free block have the type of the first, whose list it is on.

    A pageblock of another type gets the request's when single requests come to it.
    """
    stop = block + (1 << order - area.pageblocks.order)
    return bool((area.pageblocks.migratetype[block:stop] == migratetype).all())


def _may_use_cma(area: FreeArea, migratetype: int, zone: int, flags: int) -> bool:
    return migratetype == _MOVABLE and flags & _USE_CMA != 0 and area.nr_pages(zone, _CMA) > 0


def _cma_surplus(area: FreeArea, zone: int) -> int:
    """How far CMA's free pages exceed half of the zone's; while positive, CMA is served first."""
    nr_free = sum(area.nr_pages(zone, migratetype) for migratetype in range(_ISOLATE))
    return 2 * area.nr_pages(zone, _CMA) - nr_free


def _split_smallest(area: FreeArea, order: int, migratetype: int, zone: int) -> int:
    current = area.smallest_order(zone, migratetype, order)
    if current < 0:
        return -1
    pfn = area.find(area.last_block(zone, migratetype, current), current)
    expand(area, pfn, current, order)
    return pfn


def _steal(area: FreeArea, order: int, migratetype: int, zone: int, flags: int) -> int:
    """A block from another type's lists, perhaps with its whole pageblock."""
    found = find_fallback(
        lambda other, current: area.has_blocks(zone, other, current),
        order,
        migratetype,
        pageblock_order=area.pageblocks.order,
        max_order=area.max_order,
        nofragment=bool(flags & _NOFRAGMENT),
    )
    if found is None:
        return -1
    block = area.last_block(zone, found.migratetype, found.order)
    pfn = area.find(block, found.order)
    nr_whole_blocks = (1 << found.order) >> area.pageblocks.order
    if nr_whole_blocks or (found.may_claim and _claims(area, block, migratetype)):
        for claimed in range(block, block + max(nr_whole_blocks, 1)):
            retype(area, claimed, migratetype)
        return _split_smallest(area, order, migratetype, zone)
    expand(area, pfn, found.order, order)
    return pfn


def _claims(area: FreeArea, block: int, migratetype: int) -> bool:
    span = area.pageblocks.span(block)
    used = area.frames.state[span.start : span.stop] == FrameState.USED
    on_lru = (area.frames.flags[span.start : span.stop] & PageFlag.LRU.mask) != 0
    return claims_block(
        migratetype,
        int(area.pageblocks.migratetype[block]),
        int(area.nr_free_in_block[block]),
        int((used & on_lru).sum()),
        area.pageblocks.nr_pages_per_block,
    )
