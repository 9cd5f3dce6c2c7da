"""Which frames of one NUMA node are pinned, and by how many pins.

`pinpage.store.blocks` has the *first* pin of each frame.  Further pins (a GUP pin on a page that
zram holds) are rare and live in a sorted dict of lists, in order of arrival; when the first
pin goes, the next moves up.  So all that is written for columns deals with one record per
frame.

A record is a (tag, value) pair of ints, made by the registry: to this module, opaque.

Owns:    the pins of one node.
Ignores: owners, batches, moves, locks: the caller holds the node's lock for every write.
Cost:    that of `pinpage.store.blocks`; frames with several pins cost a loop.
Kernel counterpart: the xarray, and page_ext.
"""

from collections.abc import Container

import numpy as np
from numpy.typing import NDArray
from sortedcontainers import SortedDict

from pinpage.errors import require
from pinpage.store.blocks import DENSE_ABOVE, SPARSE_BELOW, Blocks
from pinpage.store.rows import NO_PINS, PinRows, Record, joined
from pinpage.store.sparse import NO_TAG
from pinpage.units import Mask, Pfns, Span

__all__ = ["Radix"]


class Radix:
    """The pins of one node's frames.

    Attributes:
        span: the frames.
        blocks: the first pin of each frame.
        extras: pins of a frame beyond its first, by pfn, in pfn order.
        nr_extra: pins beyond the first of a frame.
        holds: that of `blocks`, one step nearer.

    Invariants, run by `check`:
        X3 a frame with extras has a first pin, and all its pins differ.
        X4 `nr_extra` counts the extras, and no list of extras is empty.
    """

    def __init__(
        self, span: Span, *, dense_above: int = DENSE_ABOVE, sparse_below: int = SPARSE_BELOW
    ) -> None:
        """An empty radix.

        Args:
            span: its frames; starts on a pageblock.
            dense_above, sparse_below: pinned frames at which a block changes its form.

        Raises:
            PinpageError: the thresholds cross.
        """
        self.span = span
        self.extras: SortedDict = SortedDict()
        self.nr_extra = 0
        crowded: Container[int] = self.extras
        self.blocks = Blocks(span, crowded, dense_above=dense_above, sparse_below=sparse_below)
        self.holds = self.blocks.holds

    # One frame.

    def records_of(self, pfn: int) -> list[Record]:
        """All pins of a frame in order of arrival.  Safe without the lock."""
        first = self.blocks.get(pfn)
        if first is None:
            return []
        return [first, *self.extras.get(pfn, ())]

    def add(self, pfn: int, tag: int, value: int) -> bool:
        """Add one pin; False when the frame has exactly this one already.

        Args:
            pfn: the frame.
            tag, value: the pin.
        """
        if not self.blocks.put(pfn, tag, value):
            if (tag, value) in self.records_of(pfn):
                return False
            self.add_further(pfn, tag, value)
        return True

    def add_further(self, pfn: int, tag: int, value: int) -> None:
        """Add a pin that the frame does not have, to the others that it has.

        Args:
            pfn: the frame.
            tag, value: the pin.
        """
        self.extras.setdefault(pfn, []).append((tag, value))
        self.nr_extra += 1

    def discard(self, pfn: int, tag: int, value: int) -> bool:
        """Remove one pin; False when the frame does not have it.

        Args:
            pfn: the frame.
            tag, value: the pin.
        """
        if self.extras and pfn in self.extras:
            return self._discard_among(pfn, (tag, value))
        return self.blocks.discard(pfn, tag, value)

    def _discard_among(self, pfn: int, record: Record) -> bool:
        """Remove one of several pins of a frame; the frame stays pinned."""
        extras = self.extras[pfn]
        if record in extras:
            extras.remove(record)
        elif record == self.blocks.get(pfn):
            self.blocks.replace(pfn, extras[0])
            extras.pop(0)
        else:
            return False
        self.nr_extra -= 1
        if not extras:
            del self.extras[pfn]
        return True

    # Columns of pins: rows in pfn order, of one frame as many as you like.

    def pins_of(self, pfns: Pfns) -> PinRows:
        """All pins of these ascending, distinct frames; those of a frame in order of arrival."""
        tags, values = self.blocks.find_many(pfns)
        held = tags != NO_TAG
        firsts = PinRows(pfns[held], tags[held], values[held])
        crowded = pfns[self.nr_extras_of(pfns) > 0].tolist()
        if not crowded:
            return firsts
        extras = PinRows.of((pfn, *record) for pfn in crowded for record in self.extras[pfn])
        return joined([firsts, extras]).ascending()

    def has_pins(self, pins: PinRows) -> Mask:
        """Which of these pins are there, bool[n]."""
        tags, values = self.blocks.find_many(pins.pfns)
        there: Mask = (tags == pins.tags) & (values == pins.values)
        for row in (~there & (self.nr_extras_of(pins.pfns) > 0)).nonzero()[0].tolist():
            record = int(pins.tags[row]), int(pins.values[row])
            there[row] = record in self.extras[int(pins.pfns[row])]
        return there

    def store(self, pins: PinRows) -> None:
        """Add pins none of which is there; ascending, of one frame in order of arrival."""
        fresh = self.blocks.find_many(pins.pfns)[0] == NO_TAG
        fresh[1:] &= pins.pfns[1:] != pins.pfns[:-1]
        if np.count_nonzero(fresh) == len(fresh):
            self.blocks.add_many(pins)
            return
        self.blocks.add_many(pins.at(fresh))
        for row in pins.at(~fresh).each():
            self.add(*row)

    def remove(self, pins: PinRows) -> None:
        """Remove pins all of which are there; ascending."""
        alone = self.nr_extras_of(pins.pfns) == 0
        if np.count_nonzero(alone) < len(alone):
            for row in pins.at(~alone).each():
                self.discard(*row)
            pins = pins.at(alone)
        self.blocks.remove_many(pins.pfns)

    def nr_extras_of(self, pfns: Pfns) -> NDArray[np.int64]:
        """Pins of each of these ascending frames beyond its first, int64[n]."""
        nr_extras = np.zeros(len(pfns), dtype=np.int64)
        if self.extras and len(pfns):
            crowded = list(self.extras.irange(int(pfns[0]), int(pfns[-1])))
            counts = np.array([len(self.extras[pfn]) for pfn in crowded], dtype=np.int64)
            at = np.searchsorted(crowded, pfns).clip(max=max(len(crowded) - 1, 0))
            if crowded:
                nr_extras = np.where(np.array(crowded)[at] == pfns, counts[at], 0)
        return nr_extras

    def has_extras(self, run: slice) -> bool:
        """Whether a frame of a run has several pins."""
        crowded = self.extras.irange(run.start, run.stop - 1) if self.extras else ()
        return any(True for _ in crowded)

    def extras_in(self, start: int, stop: int) -> PinRows:
        """The pins of the frames of [start, stop) beyond the first of each, ascending.

        Args:
            start, stop: the range of frames, half open.
        """
        if not self.extras:
            return NO_PINS
        frames = self.extras.irange(start, stop - 1)
        return PinRows.of((pfn, *record) for pfn in frames for record in self.extras[pfn])

    def pins_in(self, start: int, stop: int) -> PinRows:
        """All pins of [start, stop), ascending; those of a frame in order of arrival.

        Args:
            start, stop: the range of frames, half open.
        """
        firsts, extras = self.blocks.first_pins(start, stop), self.extras_in(start, stop)
        if not len(extras):
            return firsts
        return joined([firsts, extras]).ascending()

    # Whole.

    @property
    def nr_pins(self) -> int:
        """Pins."""
        return self.blocks.nr_frames + self.nr_extra

    def rebuilt(self, frames: Pfns, before: PinRows) -> "Radix":
        """A radix with what was here before a change that did not end.

        Args:
            frames: those that the change concerned.
            before: all pins that they had.
        """
        old = self.blocks
        fresh = Radix(self.span, dense_above=old.dense_above, sparse_below=old.sparse_below)
        firsts = old.firsts_by_form()
        fresh.blocks.add_many(firsts.at(~np.isin(firsts.pfns, frames)))
        changed = set(frames.tolist())
        # The dict below a sorted dict is whole even when its order is not.
        for pfn, more in dict.items(self.extras):
            if pfn not in changed:
                for record in more:
                    fresh.add(pfn, *record)
        for row in before.each():
            fresh.add(*row)
        fresh.blocks.nr_conversions = old.nr_conversions
        fresh.blocks.sparse.nr_probes += old.sparse.nr_probes
        fresh.blocks.sparse.nr_rebuilds += old.sparse.nr_rebuilds
        return fresh

    def check(self) -> None:
        """Run X3, X4 and the invariants of the first pins.

        Raises:
            InvariantError: one does not hold.
        """
        self.blocks.check()
        require(list(self.extras) == sorted(dict.keys(self.extras)), "X4 extras out of order")
        for pfn, extras in self.extras.items():
            records = self.records_of(pfn)
            require(extras, "X4 an empty list of extras", pfn=pfn)
            require(records, "X3 extras without a first pin", pfn=pfn)
            require(len(set(records)) == len(records), "X3 a pin twice", pfn=pfn)
        counted = sum(map(len, self.extras.values()))
        require(counted == self.nr_extra, "X4 extras", counted=counted, kept=self.nr_extra)
