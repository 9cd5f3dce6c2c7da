"""Pinning and unpinning many frames at once: all of them, or none.

Owns:    nothing.  It locks the nodes concerned, looks before it stores, and stores.
Ignores: batches (a column is a batch already).
Cost:    one lock acquisition per node and call; 20 to 350 ns per frame of a column, whatever
         its pattern, 5 ns per frame of a run.  Frames with several pins cost a loop.
Kernel counterpart: pin_user_pages and sg_alloc_table_from_pages: pins come in groups.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from pinpage.errors import AlreadyPinnedError, NotPinnedError, OwnerError
from pinpage.store.keys import Keys
from pinpage.store.nodes import Nodes, Part
from pinpage.store.radix import Radix
from pinpage.store.rows import PinRows, joined
from pinpage.store.shard import Change, Shard, Ticket, apply
from pinpage.store.sparse import NO_TAG
from pinpage.units import Pfns

__all__ = ["Writes", "change_of"]

_Piece = tuple[Shard, int, int]
"""A shard and the part of a range that is its own."""


class Writes:
    """The changes of many pins that a registry makes."""

    def __init__(self, nodes: Nodes) -> None:
        """On these nodes."""
        self._nodes = nodes

    # Columns.

    def add(self, pfns: Pfns, keys: Keys, *, wait: bool) -> bool:
        """Add one pin for each row, all or none.

        Args:
            pfns: int64[n], in any order.
            keys: what is stored for each.
            wait: wait for moves of other threads to end.

        Returns:
            False, and nothing has changed: a frame is under move, and the caller did not want
            to wait or moves it itself.

        Raises:
            AlreadyPinnedError: a pin is there, or is given twice.  Nothing has changed.
            OwnerError: the owner has left.  Nothing has changed.
        """
        pfns, keys = _ascending(pfns, keys)
        if _is_run(pfns) and self._in_range(self._add_plain, pfns, keys):
            return True
        pins = PinRows(pfns, *keys.columns(len(pfns)))
        parts = self._nodes.parts(pfns)
        shards = [shard for shard, _ in parts]
        while (ticket := self._nodes.run(shards, self._add, parts, pins, wait)) is not None:
            if not ticket.wait():
                return False
        return True

    def remove(self, pfns: Pfns, keys: Keys) -> None:
        """Remove the pin of each row, all or none.

        Args:
            pfns: int64[n], in any order.
            keys: what is stored for each.

        Raises:
            NotPinnedError: one of them is not there, or is given twice.  Nothing has changed.
        """
        pfns, keys = _ascending(pfns, keys)
        if _is_run(pfns) and self._in_range(self._remove_plain, pfns, keys):
            return
        pins = PinRows(pfns, *keys.columns(len(pfns)))
        parts = self._nodes.parts(pfns)
        self._nodes.run([shard for shard, _ in parts], self._remove, parts, pins)

    def nr_pins_by(self, number: int) -> int:
        """Pins of an owner, by its number; inside the sections of all nodes."""
        return sum(len(_pins_by(shard.radix, number)) for shard in self._nodes.shards)

    def remove_owner(self, number: int) -> PinRows:
        """Remove every pin of an owner; inside the sections of all nodes.

        Args:
            number: of the owner.

        Returns:
            What was removed.
        """
        found = [_pins_by(shard.radix, number) for shard in self._nodes.shards]
        pins = joined(found)
        self._remove(self._nodes.parts(pins.pfns), pins)
        return pins

    # Inside the sections of all nodes concerned.

    def _add(self, parts: Sequence[Part], pins: PinRows, wait: bool) -> Ticket | None:
        """Look, then store; or what to wait for."""
        for shard, rows in parts:
            if shard.moving and shard.is_any_moving(pins.pfns[rows]):
                me = self._nodes.thread.ident
                return shard.ticket(waits=wait and not shard.is_any_moved_by(me, pins.pfns))
        if len(pins) and int(pins.tags[0]) >> 1 not in parts[0][0].welcome:
            raise OwnerError("the owner was unregistered meanwhile")
        changes = []
        for shard, rows in parts:
            held = _look(shard.radix, pins.at(rows))
            had = shard.radix.pins_of(np.unique(held))
            changes.append((shard, Change.of(pins.pfns[rows], had)))
        apply(changes, self._store, parts, pins)
        return None

    @staticmethod
    def _store(parts: Sequence[Part], pins: PinRows) -> None:
        for shard, rows in parts:
            shard.radix.store(pins.at(rows))
            shard.nr_direct += rows.stop - rows.start

    def _remove(self, parts: Sequence[Part], pins: PinRows) -> None:
        for shard, rows in parts:
            _look_for(shard.radix, pins.at(rows))
        changes = [(shard, change_of(shard.radix, pins.at(rows))) for shard, rows in parts]
        apply(changes, self._wipe, parts, pins)

    @staticmethod
    def _wipe(parts: Sequence[Part], pins: PinRows) -> None:
        for shard, rows in parts:
            shard.radix.remove(pins.at(rows))
            if shard.moving:
                shard.nr_died += sum(pfn in shard.moving for pfn in pins.pfns[rows].tolist())

    # Runs, where nothing is in the way: by slices.

    def _in_range(
        self, work: Callable[[int, list[_Piece], Keys], bool], pfns: Pfns, keys: Keys
    ) -> bool:
        if keys.tags is not None:
            return False
        start = int(pfns[0])
        pieces = self._nodes.spans(start, start + len(pfns))
        return self._nodes.run([shard for shard, _, _ in pieces], work, start, pieces, keys)

    @staticmethod
    def _add_plain(start: int, pieces: list[_Piece], keys: Keys) -> bool:
        for shard, lo, hi in pieces:
            is_welcome = keys.tag >> 1 in shard.welcome
            if shard.moving or not is_welcome or not shard.radix.blocks.is_clear(lo, hi):
                return False

        def store_all() -> None:
            for shard, lo, hi in pieces:
                shard.radix.blocks.add_range(
                    lo, hi, keys.tag, keys.values_of(lo - start, hi - start)
                )
                shard.nr_direct += hi - lo

        changes = [(shard, Change(partial(np.arange, lo, hi))) for shard, lo, hi in pieces]
        apply(changes, store_all)
        return True

    @staticmethod
    def _remove_plain(start: int, pieces: list[_Piece], keys: Keys) -> bool:
        for shard, lo, hi in pieces:
            radix, values = shard.radix, keys.values_of(lo - start, hi - start)
            if shard.moving or radix.has_extras(lo, hi):
                return False
            if not radix.blocks.holds_range(lo, hi, keys.tag, values):
                return False

        def wipe_all() -> None:
            for shard, lo, hi in pieces:
                shard.radix.blocks.remove_range(lo, hi)

        changes = [
            (shard, Change(partial(np.arange, lo, hi), partial(keys.rows, start, lo, hi)))
            for shard, lo, hi in pieces
        ]
        apply(changes, wipe_all)
        return True


def change_of(radix: Radix, gone: PinRows) -> Change:
    """What to note before pins are removed.

    Args:
        radix: where they are.
        gone: the pins, ascending.
    """
    if np.count_nonzero(radix.nr_extras_of(gone.pfns)):
        had = radix.pins_of(np.unique(gone.pfns))
        return Change.of(had.pfns, had)
    return Change.of(gone.pfns, gone)


def _pins_by(radix: Radix, number: int) -> PinRows:
    """All pins of one owner on a node, ascending.

    Args:
        radix: of the node.
        number: of the owner.
    """
    pins = radix.pins_in(radix.span.start, radix.span.stop)
    return pins.at(pins.tags >> 1 == number)


def _ascending(pfns: Pfns, keys: Keys) -> tuple[Pfns, Keys]:
    """Rows in pfn order; those of one frame stay in the order given."""
    if np.count_nonzero(pfns[1:] < pfns[:-1]) == 0:
        return pfns, keys
    order = np.argsort(pfns, kind="stable")
    return pfns[order], keys.at(order)


def _is_run(pfns: Pfns) -> bool:
    """Whether an ascending column is a range of frames."""
    is_as_long = len(pfns) > 0 and int(pfns[-1]) - int(pfns[0]) == len(pfns) - 1
    return is_as_long and np.count_nonzero(pfns[1:] > pfns[:-1]) == len(pfns) - 1


def _look(radix: Radix, pins: PinRows) -> Pfns:
    """Those of their frames that have other pins, when none of these pins is there.

    Raises:
        AlreadyPinnedError: some pin is there, or is given twice.
    """
    held: Pfns = pins.pfns[radix.blocks.find_many(pins.pfns)[0] != NO_TAG]
    if len(held) == 0 and np.count_nonzero(pins.pfns[1:] == pins.pfns[:-1]) == 0:
        return held
    there = radix.has_pins(pins)
    if there.any():
        pfn = int(pins.pfns[there.argmax()])
        raise AlreadyPinnedError(f"pfn {pfn:#x} is pinned by this owner with the same private")
    given = _given_twice(pins)
    if given is not None:
        raise AlreadyPinnedError(f"pfn {given:#x} is given twice with the same private")
    return held


def _look_for(radix: Radix, pins: PinRows) -> None:
    """Nothing, when all of these pins are there.

    Raises:
        NotPinnedError: some pin is not there, or is given twice.
    """
    there = radix.has_pins(pins)
    missing = _given_twice(pins) if there.all() else int(pins.pfns[there.argmin()])
    if missing is not None:
        raise NotPinnedError(f"pfn {missing:#x} is not pinned by this owner with this private")


def _given_twice(pins: PinRows) -> int | None:
    """The first frame of a pin that is among these twice, or None."""
    equal = pins.pfns[1:] == pins.pfns[:-1]
    if equal.any():
        seen: set[tuple[int, int, int]] = set()
        for row in pins.at(np.isin(pins.pfns, pins.pfns[1:][equal])).each():
            if row in seen:
                return row[0]
            seen.add(row)
    return None
