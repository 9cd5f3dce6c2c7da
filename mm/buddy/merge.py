"""Free blocks into larger ones and into smaller ones: the mechanics between lists and states.

Functions over a `FreeArea`.  They read states and move blocks on and off lists; they never
change a state.
"""

from mm.buddy.decompose import decompose_block, free_bits
from mm.buddy.free_area import FreeArea
from mm.state.frames import FrameState

__all__ = ["detach", "expand", "merge", "rebuild", "retype"]


def merge(area: FreeArea, pfn: int, order: int) -> None:
    """Put a free block on the lists, merged with its buddy for as long as that one is free.

    Costs 0.6 us, and 0.7 us more for each level that merges (__free_one_page).

    Args:
        area: the lists.
        pfn: the block's first frame.
        order: log2 of its pages.
    """
    orders, nr_frames, shift = area.orders, area.frames.nr_frames, area.pageblocks.order
    while order < area.max_order:
        buddy = pfn ^ (1 << order)
        if buddy >= nr_frames or orders[buddy] != order:
            break
        if order >= shift and not area.may_merge(pfn >> shift, buddy >> shift):
            break
        area.unlink(buddy, order)
        pfn &= buddy
        order += 1
    area.link(pfn, order)


def expand(area: FreeArea, pfn: int, order: int, target: int) -> None:
    """Take a block off its list and put all but its first 2^target frames back (expand).

    Args:
        area: the lists.
        pfn: the block's first frame.
        order: log2 of its pages.
        target: log2 of the pages wanted.
    """
    area.unlink(pfn, order)
    while order > target:
        order -= 1
        area.link(pfn + (1 << order), order)


def detach(area: FreeArea, block: int) -> None:
    """Take all blocks of a pageblock off the lists; what reaches into others stays there.

    The pageblock's part of the order column is stale afterwards: the caller writes it.

    Args:
        area: the lists.
        block: number of a pageblock.
    """
    head = area.covering(block)
    if head >= 0:
        _split_down_to(area, head, block)
    area.unlink_pageblock(block)


def _split_down_to(area: FreeArea, head: int, block: int) -> None:
    """Cut a large free block until one of its pieces is this very pageblock."""
    order, shift = area.orders[head], area.pageblocks.order
    area.unlink(head, order)
    while order > shift:
        order -= 1
        upper = head + (1 << order)
        if block << shift < upper:
            area.link(upper, order)
        else:
            area.link(head, order)
            head = upper
    area.link(head, order)


def rebuild(area: FreeArea, block: int) -> None:
    """Make the blocks of a pageblock anew from its free frames, and merge beyond it.

    Costs about 15 us for 512 frames, whatever their pattern.

    Args:
        area: the lists.
        block: number of a pageblock.
    """
    detach(area, block)
    span, shift = area.pageblocks.span(block), area.pageblocks.order
    heads = decompose_block(
        free_bits(area.frames.state[span.start : span.stop] == FrameState.FREE), shift
    )
    area.link_pageblock(block, heads)
    if heads[shift] and area.max_order > shift:
        area.unlink(span.start, shift)
        merge(area, span.start, shift)


def retype(area: FreeArea, block: int, migratetype: int) -> None:
    """Give a pageblock another type and move its free blocks to the lists of that type.

    Args:
        area: the lists.
        block: number of a pageblock.
        migratetype: its new type.
    """
    detach(area, block)
    area.set_type(block, migratetype)
    rebuild(area, block)
