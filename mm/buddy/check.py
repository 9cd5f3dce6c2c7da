"""The buddy's invariants, recomputed from the state column the slow way round."""

import numpy as np

from mm.buddy.decompose import decompose_all
from mm.buddy.free_area import FreeArea
from mm.state.frames import MAPCOUNT_NONE, FrameState
from mm.state.pageblock import NR_MIGRATETYPES
from pinpage.errors import require

__all__ = ["check_buddy"]


def check_buddy(area: FreeArea) -> None:
    """Run B1..B6 of `mm.buddy.buddy.Buddy`.

    Raises:
        InvariantError: one does not hold; names the first frame, pageblock or list.
    """
    _check_cover(area)
    _check_merged(area)
    _check_counts(area)
    _check_lists(area)
    _check_free_frames(area)


def _check_cover(area: FreeArea) -> None:
    orders = area.frames.order
    heads = np.flatnonzero(orders >= 0)
    sizes = np.left_shift(1, orders[heads].astype(np.int64))
    crooked = (
        ((heads & (sizes - 1)) != 0)
        | (heads + sizes > len(orders))
        | (orders[heads] > area.max_order)
    )
    if crooked.any():
        require(False, "B1 a free block is misaligned", pfn=int(heads[crooked.argmax()]))
    edges = np.zeros(len(orders) + 1, dtype=np.int64)
    np.add.at(edges, heads, 1)
    np.subtract.at(edges, heads + sizes, 1)
    cover = np.cumsum(edges[:-1])
    free = area.frames.state == FrameState.FREE
    loose = (cover > 0) & ~free
    require(
        not loose.any(), "B1 a free block holds a frame that is not FREE", pfn=int(loose.argmax())
    )
    wrong = free & (cover != 1)
    require(
        not wrong.any(), "B2 a FREE frame is not in exactly one free block", pfn=int(wrong.argmax())
    )


def _check_merged(area: FreeArea) -> None:
    free = area.frames.state == FrameState.FREE
    expected = decompose_all(free, area.max_order, area.mergeable, area.pageblocks.order)
    differs = expected != area.frames.order
    require(
        not differs.any(),
        "B3 free buddies are not merged as far as they may",
        pfn=int(differs.argmax()),
    )


def _check_counts(area: FreeArea) -> None:
    size, nr_blocks = area.pageblocks.nr_pages_per_block, area.pageblocks.nr_blocks
    padded = np.full(nr_blocks * size, -1, dtype=np.int8)
    padded[: area.frames.nr_frames] = area.frames.order
    for order in range(area.nr_orders):
        per_block = (padded == order).reshape(nr_blocks, size).sum(axis=1)
        wrong = per_block != area.nr_free_blocks[:, order]
        require(
            not wrong.any(), "B4 blocks by order miscounted", block=int(wrong.argmax()), order=order
        )
    free = np.zeros(nr_blocks * size, dtype=np.bool_)
    free[: area.frames.nr_frames] = area.frames.state == FrameState.FREE
    wrong = free.reshape(nr_blocks, size).sum(axis=1) != area.nr_free_in_block
    require(not wrong.any(), "B4 free frames of a pageblock miscounted", block=int(wrong.argmax()))


def _check_lists(area: FreeArea) -> None:
    sizes = np.left_shift(1, np.arange(area.nr_orders))
    for zone in range(len(area.zones)):
        in_zone = area.zone_of_block == zone
        for migratetype in range(NR_MIGRATETYPES):
            mine = in_zone & (area.pageblocks.migratetype == migratetype)
            totals = area.nr_free_blocks[mine].astype(np.int64).sum(axis=0)
            where = {"zone": zone, "migratetype": migratetype}
            require(
                (area.nr_blocks_on[zone, migratetype] == totals).all(),
                "B4 a list is miscounted",
                **where,
            )
            nr_pages = int((totals * sizes).sum())
            require(
                area.nr_pages(zone, migratetype) == nr_pages,
                "B4 pages of a type miscounted",
                **where,
            )
            for order in range(area.nr_orders):
                holders = np.flatnonzero(mine & (area.nr_free_blocks[:, order] > 0)).tolist()
                listed = sorted(area.blocks_on(zone, migratetype, order))
                require(
                    listed == holders, "B5 a list holds the wrong pageblocks", order=order, **where
                )


def _check_free_frames(area: FreeArea) -> None:
    frames = area.frames
    dirty = (frames.refcount != 0) | (frames.mapcount != MAPCOUNT_NONE) | (frames.flags != 0)
    dirty &= frames.state == FrameState.FREE
    require(not dirty.any(), "B6 a FREE frame still holds something", pfn=int(dirty.argmax()))
