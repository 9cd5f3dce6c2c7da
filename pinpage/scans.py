"""Reading the registry by ranges and by columns: for scanners, planners and movers.

Every function drains the batches of the nodes that it reads before it looks, under the
nodes' locks, so it sees each pin whose `pin` has returned (R-20).  What it returns is true
when it looked; a scanner that needs it to stay true works inside `PinRegistry.scanning`.

A number that stands for an object private is good only while its pin is there.  So whoever
wants the objects gives a `see`, which is called with tags and values under the lock.

Owns:    nothing.
Ignores: owners and privates, except where a column of owner numbers is asked for.
Cost:    one lock acquisition per node and call; 1 us per pageblock in a mask, a few ns per
         frame in a column.
Kernel counterpart: has_unmovable_pages and the compaction scanners.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from pinpage.nodes import Nodes
from pinpage.sparse import NO_TAG
from pinpage.units import PAGEBLOCK_NR_PAGES, Mask, Pfns

__all__ = ["all_records", "find", "mask_of", "next_pinned", "records_in"]

_CHUNK_NR_PAGES = 64 * PAGEBLOCK_NR_PAGES

_See = Callable[[NDArray[np.int32], NDArray[np.int64]], None]


def mask_of(nodes: Nodes, start: int, stop: int) -> Mask:
    """Which frames of [start, stop) are pinned; a fresh array, shape (stop - start,)."""
    mask = np.zeros(stop - start, dtype=np.bool_)
    for shard, lo, hi in nodes.spans(start, stop):
        shard.enter(nodes.thread.home)
        try:
            shard.drain_all()
            shard.radix.fill_mask(lo, hi, mask[lo - start : hi - start])
        finally:
            shard.leave()
    return mask


def records_in(
    nodes: Nodes, start: int, stop: int, see: _See
) -> tuple[Pfns, NDArray[np.int32], NDArray[np.int64]]:
    """All pins of [start, stop): pfns ascending, tags, values; a frame's own in order of owners."""
    parts = []
    for shard, lo, hi in nodes.spans(start, stop):
        with nodes.locked([shard]):
            part = shard.radix.first_pins(lo, hi)
            extras = shard.radix.extras
            if extras:
                rows = [
                    (pfn, *r) for pfn, records in extras.items() if lo <= pfn < hi for r in records
                ]
                if rows:
                    part = _with_extras(part, rows)
            see(part[1], part[2])
            parts.append(part)
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.int64)
    pfns, tags, values = (np.concatenate(column) for column in zip(*parts, strict=True))
    return pfns, tags, values


def _with_extras(
    first: tuple[Pfns, NDArray[np.int32], NDArray[np.int64]], rows: list[tuple[int, int, int]]
) -> tuple[Pfns, NDArray[np.int32], NDArray[np.int64]]:
    """Sort extras in: stable, so that pins of one owner stay in order of arrival."""
    pfns, tags, values = zip(*rows, strict=True)
    all_pfns = np.concatenate((first[0], np.array(pfns, dtype=np.int64)))
    all_tags = np.concatenate((first[1], np.array(tags, dtype=np.int32)))
    all_values = np.concatenate((first[2], np.array(values, dtype=np.int64)))
    order = np.lexsort((all_tags >> 1, all_pfns))
    return all_pfns[order], all_tags[order], all_values[order]


def all_records(
    nodes: Nodes, start: int, stop: int, see: _See
) -> Iterator[tuple[Pfns, NDArray[np.int32], NDArray[np.int64]]]:
    """`records_in` in pieces of at most 64 pageblocks, without a lock between them."""
    while start < stop:
        border = min(stop, (start // _CHUNK_NR_PAGES + 1) * _CHUNK_NR_PAGES)
        yield records_in(nodes, start, border, see)
        start = border


def next_pinned(nodes: Nodes, pfn: int) -> int | None:
    """The first pinned frame from `pfn` on, or None."""
    for shard, lo, hi in nodes.spans(pfn, nodes.topology.nr_frames):
        with nodes.locked([shard]):
            found = shard.radix.next_pinned(lo, hi)
        if found is not None:
            return found
    return None


def find(
    nodes: Nodes, pfns: Pfns, see: _See | None = None
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """The first pin of each frame and how many pins it has: tags (NO_TAG none), values, counts.

    Any order, repetitions allowed; ascending is fastest.
    """
    order = None
    if len(pfns) > 1 and (pfns[1:] < pfns[:-1]).any():
        order = np.argsort(pfns, kind="stable")
        pfns = pfns[order]
    tags = np.full(len(pfns), NO_TAG, dtype=np.int32)
    values = np.zeros(len(pfns), dtype=np.int64)
    counts = np.zeros(len(pfns), dtype=np.int64)
    for shard, rows in nodes.parts(pfns):
        with nodes.locked([shard]):
            tags[rows], values[rows] = shard.radix.find_many(pfns[rows])
            counts[rows] = tags[rows] != NO_TAG
            if see is not None:
                see(tags[rows], values[rows])
            extras = shard.radix.extras
            if extras:
                where = np.flatnonzero(
                    np.isin(pfns[rows], np.fromiter(extras, np.int64, len(extras)))
                )
                more = [len(extras[pfn]) for pfn in pfns[rows][where].tolist()]
                counts[rows][where] += np.array(more, dtype=np.int64)
    if order is None:
        return tags, values, counts
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return tags[back], values[back], counts[back]
