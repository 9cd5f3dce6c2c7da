"""Pinning and unpinning many frames at once: all of them, or none.

Owns:    nothing.  It turns columns of (pfn, private) into columns of records, locks the
         nodes concerned, looks before it stores, and stores.
Ignores: batches (a column is a batch already).
Cost:    one lock acquisition per node and call; about 60 ns per scattered frame, 5 ns per
         frame of a range.  Frames with several pins cost a loop.
Kernel counterpart: pin_user_pages and sg_alloc_table_from_pages: pins come in groups.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import ArrayLike, NDArray

from pinpage.errors import AlreadyPinnedError, NotPinnedError, OwnerError, PfnError, PinpageError
from pinpage.nodes import Nodes
from pinpage.privates import NONE_NUMBER, Privates
from pinpage.radix import Radix, Record
from pinpage.sparse import NO_TAG
from pinpage.units import Mask, Pfns

__all__ = [
    "Keys",
    "add_columns",
    "add_span",
    "as_pfns",
    "encode",
    "rekey_columns",
    "remove_columns",
    "remove_span",
]

_Values = int | NDArray[np.int64]


@frozen(eq=False)
class Keys:
    """What is stored for some pins of one owner.

    Attributes:
        tag: owner number and kind of private; NO_TAG when `tags` has one for each pin.
        tags: int32[n], or None when all are `tag`.
        values: one for all, or int64[n].
        held: object privates that these keys use, by number: how many times.
    """

    tag: int
    tags: NDArray[np.int32] | None
    values: _Values
    held: dict[int, int]

    def columns(self, count: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Tags and values as columns of `count` rows."""
        tags = np.full(count, self.tag, dtype=np.int32) if self.tags is None else self.tags
        values = self.values
        return tags, np.full(count, values, dtype=np.int64) if isinstance(values, int) else values

    def drop(self, privates: Privates) -> None:
        """Give back the uses of object privates."""
        for number, count in self.held.items():
            privates.drop(number, count)


def as_pfns(pfns: ArrayLike) -> Pfns:
    """A column of pfns from whatever the caller gave.

    Raises:
        PfnError: not integers, or not one-dimensional.
    """
    column = np.asarray(pfns)
    if column.size == 0:
        column = column.astype(np.int64)
    if column.ndim != 1 or column.dtype.kind not in "iu":
        raise PfnError(
            f"pfns: want one column of integers, got {column.dtype} of shape {column.shape}"
        )
    return column.astype(np.int64, copy=False)


def encode(table: Privates, number: int, privates: Any, count: int, *, hold: bool) -> Keys | None:
    """What to store for `count` pins of owner `number`.

    Args:
        privates: None, one private for all, or one each (an array, list, tuple or range).
        hold: use object privates, adding them to the side table; else only look them up.

    Returns:
        None, only without `hold`: some object private is in no pin at all.

    Raises:
        PinpageError: the number of privates is wrong, or one is not hashable.
    """
    if isinstance(privates, (np.ndarray, list, tuple, range)):
        if len(privates) != count:
            raise PinpageError(
                f"privates: {len(privates)} given for {count} frames; give one each, or one for all"
            )
        column = _int_column(privates)
        if column is not None:
            return Keys(number << 1, None, column, {})
        return _encode_each(table, number, privates, hold=hold)
    value = table.as_int(privates)
    if value is not None:
        return Keys(number << 1, None, value, {})
    at = table.hold(privates, count) if hold and count else table.number_of(privates)
    if at is None:
        return None if not hold else Keys(number << 1 | 1, None, NONE_NUMBER, {})
    return Keys(number << 1 | 1, None, at, {at: count} if hold and at != NONE_NUMBER else {})


def _int_column(privates: NDArray[Any] | Sequence[Any]) -> NDArray[np.int64] | None:
    """The privates as int64, or None when some is not an int of 64 bits."""
    if isinstance(privates, np.ndarray):
        if privates.ndim != 1 or privates.dtype.kind not in "iub":
            return None
        if (
            privates.dtype == np.uint64
            and privates.size
            and privates.max() > np.iinfo(np.int64).max
        ):
            return None
        return privates.astype(np.int64)
    if isinstance(privates, range) or all(type(private) is int for private in privates):
        try:
            return np.array(privates, dtype=np.int64)
        except OverflowError:
            return None
    return None


def _encode_each(
    table: Privates, number: int, privates: NDArray[Any] | Sequence[Any], *, hold: bool
) -> Keys | None:
    tags = np.empty(len(privates), dtype=np.int32)
    values = np.empty(len(privates), dtype=np.int64)
    keys = Keys(NO_TAG, tags, values, {})
    try:
        for row, private in enumerate(privates):
            value = table.as_int(private)
            tags[row] = number << 1 | (value is None)
            if value is None:
                value = table.hold(private) if hold else table.number_of(private)
                if value is None:
                    return None
                if hold and value != NONE_NUMBER:
                    keys.held[value] = keys.held.get(value, 0) + 1
            values[row] = value
    except PinpageError:
        keys.drop(table)
        raise
    return keys


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
        fresh = [_look(shard.radix, pfns[rows], tags[rows], values[rows]) for shard, rows in parts]
        if len(tags) and int(tags[0]) in parts[0][0].closed:
            raise OwnerError("the owner was unregistered meanwhile")
        for (shard, rows), is_fresh in zip(parts, fresh, strict=True):
            _add(shard.radix, pfns[rows], tags[rows], values[rows], is_fresh)
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
    order = np.argsort(pfns)
    if (np.diff(pfns[order]) == 0).any():
        order = np.argsort(pfns, kind="stable")  # several times slower, and seldom needed
    return pfns[order], tags[order], values[order]


def _look(radix: Radix, pfns: Pfns, tags: NDArray[np.int32], values: NDArray[np.int64]) -> Mask:
    """Which rows are the first pin of their frame.

    Raises:
        AlreadyPinnedError: some pin is there, or is given twice.
    """
    found, _ = radix.find_many(pfns)
    fresh: Mask = found == NO_TAG
    if len(pfns) > 1:
        fresh[1:] &= pfns[1:] != pfns[:-1]
    if not fresh.all():
        _look_at_each(radix, pfns, tags, values, fresh)
    return fresh


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
    radix: Radix, pfns: Pfns, tags: NDArray[np.int32], values: NDArray[np.int64], fresh: Mask
) -> list[Record]:
    """Add pins, of which `fresh` are the first of their frame; returns those that were there."""
    if fresh.all():
        radix.add_many(pfns, tags, values)
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
