"""Reading the registry by ranges and by columns: for scanners, planners and movers.

Every read drains the batches of the nodes that it reads before it looks, under the nodes'
locks, so it sees each pin whose `pin` has returned (R-20).  What it returns is true when it
looked; a scanner that needs it to stay true works inside `PinRegistry.scanning`.

A number that stands for an object private is good only while its pin is there.  So whoever
wants the objects gives a `see`, which is called with tags and values under the lock.

Owns:    nothing.
Ignores: how pins come and go.
Cost:    one lock acquisition per node and call; 1 us per pageblock in a mask, a few ns per
         frame in a column.
Kernel counterpart: has_unmovable_pages and the compaction scanners.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinpage.owner import Pin
from pinpage.store.nodes import Nodes
from pinpage.store.owner_table import OwnerTable
from pinpage.store.privates import Privates, Seen
from pinpage.store.rows import PinRows, Record, joined
from pinpage.store.shard import Shard
from pinpage.store.sparse import NO_TAG
from pinpage.units import Mask, Pfns

__all__ = ["Reads"]

_CHUNK_NR_FRAMES = 1 << 15

_See = Callable[[NDArray[np.int32], NDArray[np.int64]], None]


class Reads:
    """What a registry is asked about many frames."""

    def __init__(self, nodes: Nodes, owners: OwnerTable, privates: Privates) -> None:
        """Of one registry.

        Args:
            nodes: its nodes.
            owners: its owners.
            privates: the objects that some of its pins refer to.
        """
        self._nodes = nodes
        self._owners = owners
        self._privates = privates

    def as_pins(self, pfn: int, records: list[Record]) -> list[Pin]:
        """Pins by owner, leaving out those of owners that are gone; under the lock none is.

        Args:
            pfn: their frame.
            records: in order of arrival.
        """
        if len(records) > 1:
            records.sort(key=_owner_number)
        pins = []
        for tag, value in records:
            owner = self._owners.find(tag >> 1)
            if owner is not None:
                pins.append(Pin(pfn, owner, self._privates.object_at(value) if tag & 1 else value))
        return pins

    def pins_in(self, shard: Shard, pfn: int) -> list[Pin]:
        """`as_pins` of all records of a frame; inside the section of its shard.

        Args:
            shard: of the frame.
            pfn: the frame.
        """
        return self.as_pins(pfn, shard.records_of(pfn))

    def mask(self, start: int, stop: int) -> Mask:
        """Which frames of [start, stop) are pinned; a fresh array, shape (stop - start,).

        Args:
            start, stop: the range of frames, half open.
        """
        mask = np.zeros(stop - start, dtype=np.bool_)
        for shard, lo, hi in self._nodes.spans(start, stop):
            self._nodes.run([shard], _fill, shard, lo, hi, mask[lo - start : hi - start])
        return mask

    def in_range(self, start: int, stop: int, see: _See | None = None) -> PinRows:
        """All pins of a range, ascending; a frame's own in order of owners, then of arrival.

        Args:
            start, stop: the range.
            see: called under the lock with tags and values.
        """
        spans = self._nodes.spans(start, stop)
        return joined([self._nodes.run([s], _pins_in, s, lo, hi, see) for s, lo, hi in spans])

    def in_chunks(self, start: int, stop: int, see: _See) -> Iterator[PinRows]:
        """`in_range` of about 32,768 frames at a time, without a lock between them.

        Args:
            start, stop: the range.
            see: as for `in_range`.
        """
        while (first := self.next_pinned(start, stop)) is not None:
            radix = self._nodes.shard_of(first).radix
            start = min(stop, radix.span.stop, radix.blocks.border_after(first, _CHUNK_NR_FRAMES))
            yield self.in_range(first, start, see)

    def with_privates(self, start: int, stop: int) -> tuple[PinRows, NDArray[np.int64] | list[Any]]:
        """`in_range`, and the private of each pin.

        Args:
            start, stop: the range of frames, half open.
        """
        seen = Seen(self._privates)
        pins = self.in_range(start, stop, seen)
        return pins, seen.privates_of(pins.tags, pins.values)

    def each(self, start: int, stop: int) -> Iterator[Pin]:
        """All pins of [start, stop), one by one, without a lock while the caller works.

        Args:
            start, stop: the range of frames, half open.
        """
        seen = Seen(self._privates)
        for pins in self.in_chunks(start, stop, seen):
            ids, privates = (pins.tags >> 1).tolist(), seen.privates_of(pins.tags, pins.values)
            if not isinstance(privates, list):
                privates = privates.tolist()
            owners = {number: self._owners.find(number) for number in set(ids)}
            rows = zip(pins.pfns.tolist(), map(owners.get, ids), privates, strict=True)
            # One that is None was forced out meanwhile, with its pins.
            yield from map(_new_pin, (row for row in rows if row[1] is not None))

    def abilities(self, pfns: Pfns) -> tuple[Mask, Mask, NDArray[np.int64]]:
        """Whether all owners of each frame can migrate it, or release it; and its pins."""
        able = np.zeros((self._owners.nr_numbers + 1, 2), dtype=np.bool_)
        for number, owner in self._owners.numbered():  # the last row is nobody's: NO_TAG >> 1
            if self._owners.why_faulty(owner) is None:
                able[number] = owner.can_migrate, owner.can_release
        tags, _, counts = self.find(pfns)
        # An owner that registered since has a number behind the last row.
        both = able[np.minimum(tags >> 1, len(able) - 1)]
        crowded = np.flatnonzero((counts > 1) & both.any(axis=1))
        if len(crowded):
            frames = np.unique(pfns[crowded])
            parts = self._nodes.parts(frames)
            pins = joined([self._nodes.run([s], _pins_of, s, frames[rows]) for s, rows in parts])
            by_all = np.ones((len(frames), 2), dtype=np.bool_)
            by_each = able[np.minimum(pins.tags >> 1, len(able) - 1)]
            np.logical_and.at(by_all, np.searchsorted(frames, pins.pfns), by_each)
            both[crowded] &= by_all[np.searchsorted(frames, pfns[crowded])]
        return both[:, 0], both[:, 1], counts

    def next_pinned(self, start: int, stop: int) -> int | None:
        """The first pinned frame of [start, stop), or None.

        Args:
            start, stop: the range of frames, half open.
        """
        for shard, lo, hi in self._nodes.spans(start, stop):
            found = self._nodes.run([shard], _next_in, shard, lo, hi)
            if found is not None:
                return found
        return None

    def find(
        self, pfns: Pfns, see: _See | None = None
    ) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
        """The first pin of each frame and how many pins it has: tags, values, counts.

        Args:
            pfns: any order, repetitions allowed; ascending is fastest.
            see: called under the lock with tags and values.

        Returns:
            Shape (n,) each; the tag is NO_TAG where there is no pin.
        """
        order = None
        if len(pfns) > 1 and (pfns[1:] < pfns[:-1]).any():
            order = np.argsort(pfns, kind="stable")
            pfns = pfns[order]
        tags = np.full(len(pfns), NO_TAG, dtype=np.int32)
        values = np.zeros(len(pfns), dtype=np.int64)
        counts = np.zeros(len(pfns), dtype=np.int64)
        for shard, rows in self._nodes.parts(pfns):
            found = self._nodes.run([shard], _find_in, shard, pfns[rows], see)
            tags[rows], values[rows], counts[rows] = found
        if order is None:
            return tags, values, counts
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return tags[back], values[back], counts[back]


_new_pin: Callable[[Iterable[Any]], Pin] = partial(tuple.__new__, Pin)
"""`Pin._make`, without a call of Python's for each."""


def _owner_number(record: Record) -> int:
    return record[0] >> 1


# Inside the section of a shard.


def _fill(shard: Shard, start: int, stop: int, mask: Mask) -> None:
    shard.radix.blocks.fill_mask(start, stop, mask)


def _next_in(shard: Shard, start: int, stop: int) -> int | None:
    return shard.radix.blocks.next_pinned(start, stop)


def _pins_of(shard: Shard, pfns: Pfns) -> PinRows:
    return shard.radix.pins_of(pfns)


def _pins_in(shard: Shard, start: int, stop: int, see: _See | None) -> PinRows:
    pins = shard.radix.pins_in(start, stop)
    # Stable, so that pins of one owner stay in order of arrival.
    pins = pins.at(np.lexsort((pins.tags >> 1, pins.pfns))) if shard.radix.extras else pins
    if see is not None:
        see(pins.tags, pins.values)
    return pins


def _find_in(
    shard: Shard, pfns: Pfns, see: _See | None
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    tags, values = shard.radix.blocks.find_many(pfns)
    if see is not None:
        see(tags, values)
    return tags, values, (tags != NO_TAG) + shard.radix.nr_extras_of(pfns)
