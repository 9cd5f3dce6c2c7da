"""Pinning and unpinning many frames at once: all of them, or none.

Owns:    nothing.  It locks the nodes concerned, looks before it stores, and stores.
Ignores: batches (a column is a batch already).
Cost:    one lock acquisition per node and call; about 60 ns per scattered frame, 5 ns per
         frame of a range.  Frames with several pins cost a loop.
Kernel counterpart: pin_user_pages and sg_alloc_table_from_pages: pins come in groups.
"""

import numpy as np
from numpy.typing import NDArray

from pinpage.errors import AlreadyPinnedError, NotPinnedError, OwnerError
from pinpage.keys import Keys
from pinpage.nodes import Nodes
from pinpage.radix import Radix
from pinpage.radix_reads import Record
from pinpage.sparse import NO_TAG, Located
from pinpage.units import Mask, Pfns

__all__ = [
    "add_columns",
    "add_span",
    "rekey_columns",
    "remove_columns",
    "remove_span",
]

# Columns of frames.


def add_columns(
    nodes: Nodes, pfns: Pfns, tags: NDArray[np.int32], values: NDArray[np.int64], *, wait: bool
) -> bool:
    """Add pins, all or none; False when one of the frames is under move (see `wait`).

    Raises:
        AlreadyPinnedError: one of them is there, or is given twice.  Nothing changed.
        OwnerError: the owner left meanwhile.  Nothing changed.
    """
    pfns, tags, values = _ascending(pfns, tags, values)
    parts = nodes.parts(pfns)
    if not nodes.enter_unmoved(parts, pfns, wait=wait):
        return False
    try:
        looks = [_look(shard.radix, pfns[rows], tags[rows], values[rows]) for shard, rows in parts]
        if len(tags) and int(tags[0]) in parts[0][0].closed:
            raise OwnerError("the owner was unregistered meanwhile")
        for (shard, rows), look in zip(parts, looks, strict=True):
            _add(shard.radix, pfns[rows], tags[rows], values[rows], *look)
            shard.nr_direct += rows.stop - rows.start
    finally:
        nodes.leave([shard for shard, _ in parts])
    return True


def _ascending(
    pfns: Pfns, tags: NDArray[np.int32], values: NDArray[np.int64]
) -> tuple[Pfns, NDArray[np.int32], NDArray[np.int64]]:
    """Rows in pfn order; those of one frame stay in the order given."""
    if len(pfns) < 2 or (pfns[1:] >= pfns[:-1]).all():
        return pfns, tags, values
    order = _order(pfns)
    return pfns[order], tags[order], values[order]


def _order(pfns: Pfns) -> NDArray[np.int64]:
    """`argsort`, stable; below 2**32 by two passes of numpy's radix sort for 8 and 16 bits."""
    nr_bits = int(pfns.max()).bit_length()
    if nr_bits > 32:
        return np.argsort(pfns, kind="stable")
    order = np.argsort(pfns.astype(np.uint16), kind="stable")
    high = (pfns >> 16).astype(np.uint8 if nr_bits <= 24 else np.uint16)
    return order[np.argsort(high[order], kind="stable")]


def _look(
    radix: Radix, pfns: Pfns, tags: NDArray[np.int32], values: NDArray[np.int64]
) -> tuple[Mask, Located | None]:
    """Which rows are the first pin of their frame, and where the table would put them all.

    Raises:
        AlreadyPinnedError: some pin is there, or is given twice.
    """
    pinned, found = radix.look(pfns)
    fresh: Mask = ~pinned
    if len(pfns) > 1:
        fresh[1:] &= pfns[1:] != pfns[:-1]
    if not fresh.all():
        _look_at_each(radix, pfns, tags, values, fresh)
        found = None
    return fresh, found


def _look_at_each(
    radix: Radix, pfns: Pfns, tags: NDArray[np.int32], values: NDArray[np.int64], fresh: Mask
) -> None:
    crowded = np.isin(pfns, pfns[~fresh])
    seen: set[tuple[int, Record]] = set()
    for pfn, tag, value in zip(
        pfns[crowded].tolist(), tags[crowded].tolist(), values[crowded].tolist(), strict=True
    ):
        record = tag, value
        if (pfn, record) in seen:
            raise AlreadyPinnedError(f"pfn {pfn:#x} is given twice with the same private")
        if record in radix.records_of(pfn):
            raise AlreadyPinnedError(f"pfn {pfn:#x} is pinned by this owner with the same private")
        seen.add((pfn, record))


def _add(
    radix: Radix,
    pfns: Pfns,
    tags: NDArray[np.int32],
    values: NDArray[np.int64],
    fresh: Mask,
    found: Located | None = None,
) -> list[Record]:
    """Add pins, of which `fresh` are the first of their frame; returns those that were there."""
    if fresh.all():
        radix.add_many(pfns, tags, values, found)
        return []
    radix.add_many(pfns[fresh], tags[fresh], values[fresh])
    rest = ~fresh
    rows = zip(pfns[rest].tolist(), tags[rest].tolist(), values[rest].tolist(), strict=True)
    return [(tag, value) for pfn, tag, value in rows if not radix.add(pfn, tag, value)]


def remove_columns(
    nodes: Nodes, pfns: Pfns, tags: NDArray[np.int32], values: NDArray[np.int64]
) -> None:
    """Remove pins, all or none.

    Raises:
        NotPinnedError: one of them is not there, or is given twice.  Nothing changed.
    """
    pfns, tags, values = _ascending(pfns, tags, values)
    parts = nodes.parts(pfns)
    with nodes.locked([shard for shard, _ in parts]):
        alone = [
            _look_for(shard.radix, pfns[rows], tags[rows], values[rows]) for shard, rows in parts
        ]
        for (shard, rows), is_alone in zip(parts, alone, strict=True):
            _remove(shard.radix, pfns[rows], tags[rows], values[rows], is_alone)
            if shard.moving:
                shard.nr_died += sum(pfn in shard.moving for pfn in pfns[rows].tolist())


def _look_for(radix: Radix, pfns: Pfns, tags: NDArray[np.int32], values: NDArray[np.int64]) -> Mask:
    """Which rows are the only pin of their frame.

    Raises:
        NotPinnedError: some pin is not there, or is given twice.
    """
    found_tags, found_values = radix.find_many(pfns)
    alone: Mask = (found_tags == tags) & (found_values == values)
    if radix.extras:
        alone &= ~np.isin(pfns, np.fromiter(radix.extras, np.int64, len(radix.extras)))
    if len(pfns) > 1:
        twice = pfns[1:] == pfns[:-1]
        alone[1:] &= ~twice
        alone[:-1] &= ~twice
    seen: set[tuple[int, Record]] = set()
    for row in np.flatnonzero(~alone).tolist():
        pfn, record = int(pfns[row]), (int(tags[row]), int(values[row]))
        if record not in radix.records_of(pfn) or (pfn, record) in seen:
            raise NotPinnedError(f"pfn {pfn:#x} is not pinned by this owner with this private")
        seen.add((pfn, record))
    return alone


def _remove(
    radix: Radix, pfns: Pfns, tags: NDArray[np.int32], values: NDArray[np.int64], alone: Mask
) -> None:
    if alone.all():
        radix.remove_many(pfns)
        return
    for row in np.flatnonzero(~alone).tolist():
        radix.discard(int(pfns[row]), int(tags[row]), int(values[row]))
    radix.remove_many(pfns[alone])


# Ranges.


def add_span(nodes: Nodes, start: int, stop: int, keys: Keys, *, wait: bool) -> bool:
    """Pin every frame of a range, all or none; see `add_columns`."""
    pieces = nodes.spans(start, stop)
    shards = [shard for shard, _, _ in pieces]
    if keys.tags is None:
        with nodes.locked(shards):
            plain = not any(
                shard.moving or keys.tag in shard.closed or not shard.radix.is_clear(lo, hi)
                for shard, lo, hi in pieces
            )
            if plain:
                for shard, lo, hi in pieces:
                    values = keys.values
                    shard.radix.add_range(
                        lo,
                        hi,
                        keys.tag,
                        values if isinstance(values, int) else values[lo - start : hi - start],
                    )
                    shard.nr_direct += hi - lo
                return True
    return add_columns(nodes, np.arange(start, stop), *keys.columns(stop - start), wait=wait)


def remove_span(nodes: Nodes, start: int, stop: int, keys: Keys) -> None:
    """Unpin every frame of a range, all or none; see `remove_columns`."""
    pieces = nodes.spans(start, stop)
    values = keys.values
    if keys.tags is None:
        with nodes.locked([shard for shard, _, _ in pieces]):
            plain = not any(
                shard.moving
                or shard.radix.extras
                or not shard.radix.holds_range(
                    lo,
                    hi,
                    keys.tag,
                    values if isinstance(values, int) else values[lo - start : hi - start],
                )
                for shard, lo, hi in pieces
            )
            if plain:
                for shard, lo, hi in pieces:
                    shard.radix.remove_range(lo, hi)
                return
    remove_columns(nodes, np.arange(start, stop), *keys.columns(stop - start))


def rekey_columns(nodes: Nodes, sources: Pfns, targets: Pfns) -> list[Record]:
    """All pins of each source now belong to its target, in the same order.

    Args:
        sources, targets: distinct frames, parallel; no target is a source.

    Returns:
        Pins that their target had already: two became one.
    """
    order = np.argsort(sources)
    sources, targets = sources[order], targets[order]
    both = np.sort(np.concatenate((sources, targets)))
    with nodes.locked([shard for shard, _ in nodes.parts(both)]):
        tags = np.empty(len(sources), dtype=np.int32)
        values = np.empty(len(sources), dtype=np.int64)
        crowded = np.zeros(len(sources), dtype=np.bool_)
        for shard, rows in nodes.parts(sources):
            tags[rows], values[rows] = shard.radix.find_many(sources[rows])
            extras = shard.radix.extras
            if extras:
                crowded[rows] = np.isin(sources[rows], np.fromiter(extras, np.int64, len(extras)))
        alone = (tags != NO_TAG) & ~crowded
        merged = _rekey_crowded(nodes, sources[crowded], targets[crowded])
        merged += _rekey_alone(nodes, sources[alone], targets[alone], tags[alone], values[alone])
    return merged


def _rekey_crowded(nodes: Nodes, sources: Pfns, targets: Pfns) -> list[Record]:
    """Move the pins of frames that have several, one by one."""
    merged = []
    for source, target in zip(sources.tolist(), targets.tolist(), strict=True):
        old, new = nodes.shard_of(source).radix, nodes.shard_of(target).radix
        for record in old.records_of(source):
            old.discard(source, *record)
            if not new.add(target, *record):
                merged.append(record)
    return merged


def _rekey_alone(
    nodes: Nodes, sources: Pfns, targets: Pfns, tags: NDArray[np.int32], values: NDArray[np.int64]
) -> list[Record]:
    """Move the pins of frames that have one."""
    for shard, rows in nodes.parts(sources):
        shard.radix.remove_many(sources[rows])
    order = np.argsort(targets)
    targets, tags, values = targets[order], tags[order], values[order]
    merged = []
    for shard, rows in nodes.parts(targets):
        found, _ = shard.radix.find_many(targets[rows])
        merged += _add(shard.radix, targets[rows], tags[rows], values[rows], found == NO_TAG)
    return merged
