"""Who holds which frame, and nothing else.

The registry answers three questions: is this frame pinned, by whom, and under which key of
theirs.  It never calls an owner and never touches a page; the move (`pinpage.migrate`) does
the first, the VM the second.

    pin, unpin ----> batch of this thread ----> shard of the frame's node ----> radix
    columns, ranges, scans ------------------->   one lock, one count      (block -> leaf)

Owns:    every pin.  Nobody else caches "is it pinned?"; masks are derived when asked for.
Ignores: contents, zones, free lists, how long a pin is meant to last.
Cost:    pin, unpin and lookup about as much as a dict under a lock, with one lock
         acquisition per 1023 pins; ranges 10 ns, scattered columns 100 ns per frame; memory 2
         to 14 bytes per pin in runs and dense blocks, 45 to 120 scattered.
Kernel counterpart: the 2013 pin-page patch (a hash of 1024 chains under one lock).
"""

import threading
from contextlib import AbstractContextManager, suppress
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pinpage import columns
from pinpage.batch import Batch, Entry
from pinpage.errors import AlreadyPinnedError, NotPinnedError, OwnerError, PinpageError
from pinpage.keys import Keys, as_pfns, keys_to_find, keys_to_store
from pinpage.moveside import MoveSide
from pinpage.owner import PinOwner, Verdict
from pinpage.privates import NONE_NUMBER
from pinpage.radix_reads import DENSE_ABOVE, SPARSE_BELOW
from pinpage.shard import Shard
from pinpage.topology import Topology
from pinpage.units import Pfns

__all__ = ["DEFAULT_BATCH_NR_PINS", "PinRegistry"]

DEFAULT_BATCH_NR_PINS = 1023
"""Pins in a full batch.  The per-CPU page lists of 6.1 move 63 pages at a time; here a longer
batch is stored as columns, which halves what a pin costs, and a scanner drains it all the same."""
_LEAST, _MOST = -(1 << 63) + 1, (1 << 63) - 1  # of an int64, but for the one without a twin
_YES = Verdict.YES


class PinRegistry(MoveSide):
    """Pins of all frames of a topology, by any number of owners and threads.

    Any method may be called from any thread, also from inside an owner's callback.  No
    callback is ever called from here.  Invariants: R1..R3 of `ReadSide`.
    """

    def __init__(
        self,
        topology: Topology,
        *,
        batch_nr_pins: int = DEFAULT_BATCH_NR_PINS,
        sparse_below: int = SPARSE_BELOW,
        dense_above: int = DENSE_ABOVE,
    ) -> None:
        """An empty registry.

        Args:
            batch_nr_pins: pins that a thread gathers per node before it takes the node's
                lock; 0 switches batching off.
            sparse_below, dense_above: pinned frames of a block at which its leaf changes
                form (see `pinpage.radix`); small values let tests reach every form.

        Raises:
            PinpageError: `batch_nr_pins` is negative.
        """
        if batch_nr_pins < 0:
            raise PinpageError(f"batch_nr_pins={batch_nr_pins}: must be 0 (no batching) or more")
        super().__init__(topology, sparse_below, dense_above)
        self._batch_nr_pins = batch_nr_pins

    # Owners.

    def register(self, owner: PinOwner) -> None:
        """From now on this owner may pin.

        Raises:
            OwnerError: it is registered already, or is no `PinOwner`.
        """
        self._owners.add(owner)

    def unregister(self, owner: PinOwner, *, force: bool = False) -> None:
        """From now on this owner may not pin, and is not called any more.

        Returns only after its callbacks in flight in other threads have ended (R-9).

        Args:
            force: drop the pins that it still has.

        Raises:
            OwnerError: it is not registered.
            PinpageError: it still has pins, and `force` was not given.  Nothing changed.
        """
        number = self._owners.start_leaving(owner)
        shards = self._nodes.shards
        with self._nodes.locked(shards):
            left = [self._pins_by(shard, number) for shard in shards]
            nr_left = sum(map(len, left))
            if nr_left and not force:
                self._owners.stay(number)
                raise PinpageError(
                    f"owner {owner.name!r} still has {nr_left} pins; unpin them, or give force=True"
                )
            for shard, pins in zip(shards, left, strict=True):
                for pfn, tag, value in pins:
                    shard.radix.discard(pfn, tag, value)
                    shard.nr_died += pfn in shard.moving
                    self._drop(tag, value)
                shard.closed |= {number << 1, number << 1 | 1}
        self._owners.finish_leaving(number)

    @staticmethod
    def _pins_by(shard: Shard, number: int) -> list[tuple[int, int, int]]:
        radix = shard.radix
        pfns, tags, values = radix.first_pins(radix.span.start, radix.span.stop)
        mine = tags >> 1 == number
        found = list(
            zip(pfns[mine].tolist(), tags[mine].tolist(), values[mine].tolist(), strict=True)
        )
        for pfn, records in radix.extras.items():
            found += [(pfn, tag, value) for tag, value in records if tag >> 1 == number]
        return found

    def fault(self, owner: PinOwner, why: str) -> None:
        """Mark an owner that raised or lied: it is not asked any more, its frames refuse."""
        self._owners.fault(owner, why)

    def calling(self, owner: PinOwner) -> AbstractContextManager[None]:
        """Hold while calling the owner back: its `unregister` waits for the end (R-9).

        Raises:
            OwnerError: on entering: the owner is not registered any more; do not call it.
        """
        return self._owners.calling(owner)

    # One pin.

    def pin(self, pfn: int, owner: PinOwner, private: Any = None, *, wait: bool = True) -> Verdict:
        """Register one pin; it is visible to every scanner when this returns.

        Args:
            private: any hashable value; with ints of 64 bits and None nothing is allocated
                for it.  One owner may pin a frame several times if its privates differ.
            wait: wait for a move of this frame by another thread to end.

        Returns:
            YES, or AGAIN when the frame is under move and the caller did not want to wait
            or is the mover itself.  After a wait the frame may hold something else: the
            owner that it moved from knows where its contents went.

        Raises:
            PfnError: no such frame.
            OwnerError: the owner is not registered.
            AlreadyPinnedError: this owner pinned this frame with this private before.
            PinpageError: the private is not hashable.
        """
        if not 0 <= pfn < self._nr_frames:
            self._nodes.require_pfn(pfn)
        block = pfn >> 9
        shard, batch = self._thread.batches[self._node_of_block[block]]
        seq = shard.seq
        try:
            tag = self._tag_of[id(owner)]
        except KeyError:
            tag = self._owners.number(owner) << 1  # raises, unless it was registered just now
        if private is None:
            tag, value = tag | 1, NONE_NUMBER
        elif type(private) is int and _LEAST <= private <= _MOST:
            value = private
        else:
            tag, value = self._hold(tag, private)
        entry = tag, value, batch
        claims, pending = shard.claims, batch.pending
        if seq & 1 or claims.setdefault(pfn, entry) is not entry:
            return self._pin_locked(shard, pfn, tag, value, wait)
        if claims is not pending:
            pending[pfn] = entry
        leaf = shard.dense.get(block)
        if leaf is not None:
            is_held = leaf.present[pfn & 511]
        else:  # as `SparseTable.find`, without a call
            words, rows = shard.sparse.view
            at = rows[block] + (pfn * 362 & 1022)
            while (key := words[at]) != -1 and key >> 24 != pfn:
                at += 2
            is_held = key != -1
        if (is_held and (tag, value) in shard.radix.records_of(pfn)) or shard.seq != seq:
            return self._settle(shard, pfn, entry, wait)
        if len(pending) >= self._batch_nr_pins:
            self._drain(shard, batch)
        return _YES

    def _drain(self, shard: Shard, batch: Batch) -> None:
        shard.enter(self._thread.home)
        try:
            shard.drain_own(batch)
        finally:
            shard.leave()

    def _settle(self, shard: Shard, pfn: int, entry: Entry, wait: bool) -> Verdict:
        """The frame has this pin, or somebody was in the shard: what came of the new entry?"""
        shard.enter(self._thread.home)
        try:
            is_out = shard.withdraw(pfn, entry)
        finally:
            shard.leave()
        return self._pin_locked(shard, pfn, entry[0], entry[1], wait) if is_out else Verdict.YES

    def _pin_locked(self, shard: Shard, pfn: int, tag: int, value: int, wait: bool) -> Verdict:
        """`pin` under the lock.  A failure gives back the use of an object private."""
        is_in = False
        shard.enter(self._thread.home)
        try:
            while (mover := shard.moving.get(pfn)) is not None:
                if not wait or mover == threading.get_ident():
                    return Verdict.AGAIN
                shard.wait()
            if tag in shard.closed:
                raise OwnerError("the owner was unregistered meanwhile")
            shard.drain_frame(pfn)
            is_in = shard.radix.add(pfn, tag, value)
            if not is_in:
                raise AlreadyPinnedError(
                    f"pfn {pfn:#x} is pinned by this owner with the same private"
                )
            shard.nr_direct += 1
        finally:
            shard.leave()
            if not is_in:
                self._drop(tag, value)
        return Verdict.YES

    def unpin(self, pfn: int, owner: PinOwner, private: Any = None) -> None:
        """Take one pin back; when this returns, no later scanner sees it.

        Of a frame under move, too: the move finds the pin gone and ends as "freed under us".
        An owner that was told its new place may use that name before the move has ended.

        Raises:
            PfnError: no such frame.
            OwnerError: the owner is not registered.
            NotPinnedError: this owner has no pin on this frame with this private.
        """
        if not 0 <= pfn < self._nr_frames:
            self._nodes.require_pfn(pfn)
        shard, batch = self._thread.batches[self._node_of_block[pfn >> 9]]
        try:
            tag = self._tag_of[id(owner)]
        except KeyError:
            tag = self._owners.number(owner) << 1  # raises, unless it was registered just now
        if private is None:
            tag, value = tag | 1, NONE_NUMBER
        elif type(private) is int and _LEAST <= private <= _MOST:
            value = private
        else:
            tag, value = self._known(tag, private, pfn)
        pending = batch.pending
        if pfn in pending:
            entry = pending.get(pfn)
            if entry and entry[:2] == (tag, value) and pending.pop(pfn, None) is not None:
                shard.forget(pfn, entry)
                batch.nr_annihilated += 1
                self._drop(tag, value)
                return
        shard.enter(self._thread.home)
        try:
            is_out = shard.undo(pfn, tag, value) or shard.radix.discard(pfn, tag, value)
            if is_out and pfn in shard.moving:
                shard.nr_died += 1
        finally:
            shard.leave()
        if not is_out:
            self._unpin_standing(pfn, owner, private)
        elif tag & 1:
            self._drop(tag, value)

    def _unpin_standing(self, pfn: int, owner: PinOwner, private: Any) -> None:
        """`unpin` of a frame without such a pin: perhaps a target that its owner knows already."""
        source = self._standing.source_of(pfn)
        if source is not None:
            for frame in (source, pfn):  # in this order: the pins may be rekeyed between the two
                with suppress(NotPinnedError):
                    self._unpin_column(np.array([frame]), owner, [private])
                    return
        raise NotPinnedError(f"pfn {pfn:#x} is not pinned by {owner!r} with private {private!r}")

    def _hold(self, tag: int, private: Any) -> tuple[int, int]:
        value = self._privates.as_int(private)
        return (tag, value) if value is not None else (tag | 1, self._privates.hold(private))

    def _known(self, tag: int, private: Any, pfn: int) -> tuple[int, int]:
        value = self._privates.as_int(private)
        if value is not None:
            return tag, value
        value = self._privates.number_of(private)
        if value is None:
            raise NotPinnedError(
                f"pfn {pfn:#x} is not pinned with private {private!r}: no frame is"
            )
        return tag | 1, value

    # Many pins.

    def pin_range(
        self, start: int, stop: int, owner: PinOwner, privates: Any = None, *, wait: bool = True
    ) -> Verdict:
        """Pin every frame of [start, stop), or none.

        Args:
            privates: one for all, or one each (array, list, tuple or range).
            wait: as in `pin`, for the whole range.

        Returns:
            YES, or AGAIN (nothing changed) when one of them is under move.

        Raises:
            PfnError, OwnerError, AlreadyPinnedError, PinpageError: as `pin`; nothing changed.
        """
        self._nodes.require_span(start, stop)
        number = self._owners.number(owner)
        keys = keys_to_store(self._privates, number, privates, stop - start)
        is_in = False
        try:
            is_in = columns.add_span(self._nodes, start, stop, keys, wait=wait)
        finally:
            if not is_in:
                keys.drop(self._privates)
        return Verdict.YES if is_in else Verdict.AGAIN

    def unpin_range(self, start: int, stop: int, owner: PinOwner, privates: Any = None) -> None:
        """Unpin every frame of [start, stop), or none; the twin of `pin_range`.

        Raises:
            PfnError, OwnerError, NotPinnedError, PinpageError: as `unpin`; nothing changed.
        """
        self._nodes.require_span(start, stop)
        keys = keys_to_find(self._privates, self._owners.number(owner), privates, stop - start)
        if keys is None:
            raise NotPinnedError(
                f"span [{start:#x}, {stop:#x}): a private that is in no pin at all"
            )
        columns.remove_span(self._nodes, start, stop, keys)
        self._drop_many(keys, stop - start)

    def pin_many(
        self, pfns: ArrayLike, owner: PinOwner, privates: Any = None, *, wait: bool = True
    ) -> Verdict:
        """Pin every frame of a column, in any order, or none; otherwise as `pin_range`."""
        column = as_pfns(pfns)
        self._nodes.require_pfns(column)
        keys = keys_to_store(self._privates, self._owners.number(owner), privates, len(column))
        is_in = False
        try:
            is_in = columns.add_columns(self._nodes, column, *keys.columns(len(column)), wait=wait)
        finally:
            if not is_in:
                keys.drop(self._privates)
        return Verdict.YES if is_in else Verdict.AGAIN

    def unpin_many(self, pfns: ArrayLike, owner: PinOwner, privates: Any = None) -> None:
        """Unpin every frame of a column, in any order, or none; the twin of `pin_many`."""
        self._unpin_column(self._standing.renamed(as_pfns(pfns)), owner, privates)

    def _unpin_column(self, column: Pfns, owner: PinOwner, privates: Any) -> None:
        self._nodes.require_pfns(column)
        keys = keys_to_find(self._privates, self._owners.number(owner), privates, len(column))
        if keys is None:
            raise NotPinnedError("unpin_many: a private that is in no pin at all")
        columns.remove_columns(self._nodes, column, *keys.columns(len(column)))
        self._drop_many(keys, len(column))

    def _drop_many(self, keys: Keys, count: int) -> None:
        if keys.tags is None and (not keys.tag & 1 or keys.values is NONE_NUMBER):
            return
        for tag, value in zip(*(column.tolist() for column in keys.columns(count)), strict=True):
            self._drop(tag, value)
