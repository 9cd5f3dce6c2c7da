"""Batch helpers of the buddy allocator: checking, marking and grouping many frames at once."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mm.buddy.free_area import FreeArea
from mm.state.frames import MAPCOUNT_NONE, Frames, FrameState
from mm.state.pageblock import MIGRATETYPE_FORMS, NR_PCPTYPES
from pinpage.errors import PfnError, PinpageError, whole
from pinpage.store.rows import as_pfns
from pinpage.units import Mask, Pfns

__all__ = [
    "FREEABLE",
    "group_by_block",
    "mark_free",
    "plain_request",
    "sorted_frames",
    "strip",
    "take_heads",
]

FREEABLE: Mask = np.isin(
    np.arange(len(FrameState)), (FrameState.USED, FrameState.TAKEN, FrameState.PCP)
)
"""By `FrameState`: whether a frame in that state can go to the free lists."""


def sorted_frames(frames: Frames, pfns: Pfns, allowed: Mask, verb: str) -> Pfns:
    """The pfns in ascending order, after checking them; nothing is changed.

    Args:
        frames: their columns.
        pfns: in any order, shape (n,).
        allowed: by `FrameState`, whether a frame may be in that state.
        verb: what is about to happen, for the message.

    Raises:
        PfnError: a pfn is outside the machine, or they are no column of whole numbers.
        PinpageError: a frame is in another state, or named twice.
    """
    pfns = np.sort(as_pfns(pfns))
    if not len(pfns):
        return pfns
    if pfns[0] < 0 or pfns[-1] >= frames.nr_frames:
        outside = int(pfns[0] if pfns[0] < 0 else pfns[-1])
        raise PfnError(
            f"{verb}: pfn {outside:#x} is outside the machine (0..{frames.nr_frames - 1:#x})"
        )
    fits = allowed[frames.state[pfns]]
    if not fits.all():
        pfn = int(pfns[fits.argmin()])
        wanted = ", ".join(state.name for state in FrameState if allowed[state])
        raise PinpageError(
            f"{verb}: pfn {pfn:#x} is {FrameState(frames.state[pfn]).name}, not one of {wanted}"
        )
    twice = pfns[1:] == pfns[:-1]
    if twice.any():
        raise PinpageError(f"{verb}: pfn {int(pfns[twice.argmax()]):#x} is named twice")
    return pfns


def mark_free(frames: Frames, which: Pfns | Mask | slice) -> None:
    """Strip frames of everything that an allocation gave them.

    Args:
        frames: the columns, one row per frame.
        which: the frames, as an index of the columns.
    """
    frames.state[which] = FrameState.FREE
    frames.refcount[which] = 0
    frames.mapcount[which] = MAPCOUNT_NONE
    frames.flags[which] = 0


def strip(frames: Frames, free: Mask) -> None:
    """`mark_free` for the whole machine: writes only what is not so yet.

    Columns that nobody has written are zeros without memory behind them; they stay so.

    Args:
        frames: their columns.
        free: which of them are free, shape (nr_frames,).
    """
    columns: tuple[tuple[NDArray[Any], int], ...] = (
        (frames.refcount, 0), (frames.mapcount, MAPCOUNT_NONE), (frames.flags, 0),
    )  # fmt: skip
    for column, value in columns:
        odd = column != value
        odd &= free
        if odd.any():
            column[odd] = value


def group_by_block(pfns: Pfns, pageblock_order: int) -> list[tuple[int, NDArray[np.int64]]]:
    """Cut ascending pfns at the borders of pageblocks: (pageblock, its pfns), ascending.

    Args:
        pfns: int64 (n,), the frames.
        pageblock_order: log2 of the pages in a pageblock.
    """
    first, last = int(pfns[0]) >> pageblock_order, int(pfns[-1]) >> pageblock_order
    if first == last:
        return [(first, pfns)]
    blocks = pfns >> pageblock_order
    cuts = np.flatnonzero(blocks[1:] != blocks[:-1]) + 1
    starts = [0, *cuts.tolist()]
    stops = [*starts[1:], len(pfns)]
    return [
        (block, pfns[start:stop])
        for block, start, stop in zip(blocks[starts].tolist(), starts, stops, strict=True)
    ]


def take_heads(area: FreeArea, heads: Pfns, order: int) -> Pfns:
    """Take free blocks of one order off their lists whole (__isolate_free_page).

    Args:
        area: the free lists.
        heads: heads of free blocks of that order, without duplicates.
        order: theirs.

    Returns:
        Their frames, TAKEN with one reference each, block by block.

    Raises:
        PinpageError: a free block of that order does not start there; nothing was taken.
    """
    wrong = area.frames.order[heads] != order
    if wrong.any():
        pfn = int(heads[wrong.argmax()])
        raise PinpageError(f"take: no free block of order {order} starts at pfn {pfn:#x}")
    for head in heads.tolist():
        area.unlink(head, order)
    pfns = (heads[:, None] + np.arange(1 << order)).reshape(-1)
    area.frames.state[pfns] = FrameState.TAKEN
    area.frames.refcount[pfns] = 1
    return pfns


def plain_request(area: FreeArea, order: int, migratetype: int, zone: int) -> tuple[int, int, int]:
    """Refuse what nobody may ask the free lists for.

    Args:
        area: the free lists.
        order: of the block.
        migratetype: of the request.
        zone: where.

    Returns:
        Order, type and zone, fit to compute with.

    Raises:
        PinpageError: names the argument.
    """
    is_known = type(migratetype) in MIGRATETYPE_FORMS
    if not is_known or type(order) is not int or type(zone) is not int:
        order, migratetype, zone = whole("alloc", order=order, migratetype=migratetype, zone=zone)
    if not 0 <= order < area.nr_orders:
        raise PinpageError(f"alloc: order={order}: must be 0..{area.nr_orders - 1}")
    if not 0 <= migratetype < NR_PCPTYPES:
        raise PinpageError(
            f"alloc: migratetype={migratetype}: ask for UNMOVABLE, MOVABLE or RECLAIMABLE"
        )
    if not 0 <= zone < len(area.zones):
        raise PinpageError(f"alloc: zone={zone}: must be 0..{len(area.zones) - 1}")
    return order, migratetype, zone
