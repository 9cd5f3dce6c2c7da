"""Pinning and unpinning many frames at once: all of them, or none.

A range of frames that nobody else has anything to do with is one step (`add_run`,
`remove_run`); all else is a column, which is looked at row by row first.

Owns:    nothing.  It locks the nodes concerned, looks before it stores, and stores.
Ignores: batches (a column is a batch already).
Cost:    one lock acquisition per node and call; 50 to 100 us a column, and 12 to 600 ns per frame
         whatever its pattern; 10 ns per frame of a run; a range of 2 MiB in one step 5 to 10 us.
         Frames with several pins cost a loop.
Kernel counterpart: pin_user_pages and sg_alloc_table_from_pages: pins come in groups.
"""

from collections.abc import Sequence

import numpy as np

from pinpage.errors import AlreadyPinnedError, NotPinnedError, OwnerError
from pinpage.store.nodes import Nodes, Part
from pinpage.store.radix import Radix
from pinpage.store.rows import NO_PINS, PinRows, joined
from pinpage.store.shard import Change, Shard, Ticket, apply
from pinpage.store.sparse import NO_TAG

__all__ = ["Writes"]


class Writes:
    """The changes of many pins that a registry makes."""

    def __init__(self, nodes: Nodes) -> None:
        """On these nodes."""
        self._nodes = nodes

    def add(self, pins: PinRows, *, wait: bool) -> bool:
        """Add pins of one owner, all or none.

        Args:
            pins: in any order.
            wait: wait for moves of other threads to end.

        Returns:
            False, and nothing has changed: a frame is under move, and the caller did not want
            to wait or moves it itself.

        Raises:
            AlreadyPinnedError: a pin is there, or is given twice.  Nothing has changed.
            OwnerError: the owner has left.  Nothing has changed.
        """
        pins = pins.ascending()
        parts = self._nodes.parts(pins.pfns)
        shards = [shard for shard, _ in parts]
        while (ticket := self._nodes.run(shards, self._add, parts, pins, wait)) is not None:
            if not ticket.wait():
                return False
        return True

    def add_run(self, run: slice, tag: int, value: int) -> bool:
        """Pin a run of frames; False, and nothing has changed, when it is not that simple.

        Simple is: all on one node, none under move, no other pin in their pageblocks, and the
        owner may pin.

        Args:
            run: of frames.
            tag, value: of each pin.
        """
        shard = self._nodes.shard_of_run(run)
        return shard is not None and shard.run(_add_run, shard, run, tag, value)

    def remove_run(self, run: slice, tag: int, value: int) -> bool:
        """Unpin a run of frames; False, and nothing has changed, when it is not that simple.

        Simple is: all on one node and pinned like this and by nobody else, none under move,
        and all their pageblocks are dense.

        Args:
            run: of frames.
            tag, value: of each pin.
        """
        shard = self._nodes.shard_of_run(run)
        return shard is not None and shard.run(_remove_run, shard, run, tag, value)

    def remove(self, pins: PinRows) -> None:
        """Remove pins, all or none.

        Args:
            pins: in any order.

        Raises:
            NotPinnedError: one of them is not there, or is given twice.  Nothing has changed.
        """
        pins = pins.ascending()
        parts = self._nodes.parts(pins.pfns)
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
        pins = joined([_pins_by(shard.radix, number) for shard in self._nodes.shards])
        self._remove(self._nodes.parts(pins.pfns), pins)
        return pins

    # Inside the sections of all nodes concerned.

    def _add(self, parts: Sequence[Part], pins: PinRows, wait: bool) -> Ticket | None:
        """Look, then store; or what to wait for."""
        me = self._nodes.threads.current.ident
        for shard, rows in parts:
            if shard.moving and shard.is_any_moving(pins.pfns[rows]):
                is_mine = any(each.is_any_moving(pins.pfns, me) for each, _ in parts)
                return shard.ticket(waits=wait and not is_mine)
        if len(pins) and int(pins.tags[0]) >> 1 not in parts[0][0].welcome:
            raise OwnerError("the owner was unregistered meanwhile")
        changes = [(shard, _look(shard.radix, pins.at(rows))) for shard, rows in parts]
        apply(changes, self._store, parts, pins, [change.before for _, change in changes])
        return None

    @staticmethod
    def _store(parts: Sequence[Part], pins: PinRows, before: Sequence[PinRows]) -> None:
        for (shard, rows), held in zip(parts, before, strict=True):
            if held is NO_PINS:
                shard.radix.blocks.add_many(pins.at(rows))
            else:
                shard.radix.store(pins.at(rows))
            shard.nr_direct += rows.stop - rows.start

    def _remove(self, parts: Sequence[Part], pins: PinRows) -> None:
        changes = [(shard, _look_for(shard.radix, pins.at(rows))) for shard, rows in parts]
        apply(changes, self._wipe, parts, pins)

    @staticmethod
    def _wipe(parts: Sequence[Part], pins: PinRows) -> None:
        for shard, rows in parts:
            shard.radix.remove(pins.at(rows))
            if shard.moving:
                shard.nr_died += sum(pfn in shard.moving for pfn in pins.pfns[rows].tolist())


def _add_run(shard: Shard, run: slice, tag: int, value: int) -> bool:
    shard.drain()
    blocks = shard.radix.blocks
    if shard.moving or tag >> 1 not in shard.welcome or not blocks.takes_run(run):
        return False
    shard.change = Change(run, NO_PINS)
    blocks.add_run(run, tag, value)
    shard.change = None
    shard.nr_direct += run.stop - run.start
    return True


def _remove_run(shard: Shard, run: slice, tag: int, value: int) -> bool:
    shard.drain()
    radix = shard.radix
    if shard.moving or radix.has_extras(run) or not radix.blocks.holds_run(run, tag, value):
        return False
    shard.change = Change(run, (tag, value))
    radix.blocks.remove_run(run)
    shard.change = None
    return True


def _pins_by(radix: Radix, number: int) -> PinRows:
    """All pins of one owner on a node, ascending.

    Args:
        radix: of the node.
        number: of the owner.
    """
    pins = radix.pins_in(radix.span.start, radix.span.stop)
    return pins.at(pins.tags >> 1 == number)


def _look(radix: Radix, pins: PinRows) -> Change:
    """What to note before these pins are stored, when none of them is there.

    Returns:
        With `NO_PINS` before it when each is the first of its frame.

    Raises:
        AlreadyPinnedError: some pin is there, or is given twice.
    """
    is_held = radix.blocks.find_many(pins.pfns)[0] != NO_TAG
    is_any_held = np.count_nonzero(is_held) > 0
    if not is_any_held and np.count_nonzero(pins.pfns[1:] == pins.pfns[:-1]) == 0:
        return Change(pins.pfns, NO_PINS)
    there = radix.has_pins(pins)
    if there.any():
        pfn = int(pins.pfns[there.argmax()])
        raise AlreadyPinnedError(f"pfn {pfn:#x} is pinned by this owner with the same private")
    given = _given_twice(pins)
    if given is not None:
        raise AlreadyPinnedError(f"pfn {given:#x} is given twice with the same private")
    return Change(pins.pfns, radix.pins_of(np.unique(pins.pfns[is_held])))


def _look_for(radix: Radix, pins: PinRows) -> Change:
    """What to note before these pins are removed, when all of them are there.

    Raises:
        NotPinnedError: some pin is not there, or is given twice.
    """
    there = radix.has_pins(pins)
    missing = _given_twice(pins) if there.all() else int(pins.pfns[there.argmin()])
    if missing is not None:
        raise NotPinnedError(f"pfn {missing:#x} is not pinned by this owner with this private")
    if not radix.extras:
        return Change(pins.pfns, pins)
    had = radix.pins_of(np.unique(pins.pfns))
    return Change(had.pfns, had)


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
