"""Who holds which frame, and nothing else.

The registry answers three questions: is this frame pinned, by whom, and under which key of
theirs.  It never calls an owner and never touches a page; the move (`pinpage.migrate`) does
the first, the VM the second.

    pin, unpin ----> batch of the frame's node ----> its shard ----> radix
    columns, ranges, scans -------------------> one lock, one count  (sparse or dense)

Point questions read without a lock and check the node's sequence count; when a writer was
in between, they ask again under the lock.  Everything else stores what is in the batch first,
under the lock of each node that it reads.

Whatever is raised on the way (MemoryError, a signal), a change has happened wholly or not at
all, no lock stays held, and the next call finds everything in order.

Owns:    every pin.  Nobody else caches "is it pinned?"; masks are derived when asked for.
Ignores: contents, zones, free lists, how long a pin is meant to last.
Cost:    pin, unpin and lookup about as much as a dict under a lock, with one lock
         acquisition per 1023 pins; a range of 2 MiB 5 to 10 us, columns 12 to 600 ns per frame,
         whatever their pattern; memory 16 bytes per pin in dense blocks, 45 to 85 scattered.
Kernel counterpart: the 2013 pin-page patch (a hash of 1024 chains under one lock).
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from typing import Any, TypeVar

import numpy as np
from attrs import frozen
from numpy.typing import ArrayLike, NDArray

from pinpage.errors import NotPinnedError, PinpageError
from pinpage.owner import Pin, PinOwner, Verdict
from pinpage.store import statistics
from pinpage.store.at_once import (
    add,
    take_from_batch,
    take_from_column,
    take_from_table,
)
from pinpage.store.blocks import DENSE_ABOVE, SPARSE_BELOW
from pinpage.store.marks import Marks
from pinpage.store.nodes import Nodes
from pinpage.store.owner_table import OwnerTable
from pinpage.store.privates import (
    NONE_NUMBER,
    Privates,
    Seen,
    as_int,
    objects_of,
    pins_to_find,
    pins_to_store,
)
from pinpage.store.reads import Reads
from pinpage.store.rows import Record, as_pfn, as_pfns
from pinpage.store.shard import Shard, Watcher
from pinpage.store.writes import Writes
from pinpage.topology import Topology
from pinpage.units import Mask, Pfns

__all__ = [
    "DEFAULT_BATCH_NR_PINS",
    "NO_OWNER_ID",
    "SEVERAL_OWNERS_ID",
    "PinColumns",
    "PinRegistry",
]

DEFAULT_BATCH_NR_PINS = 1023
"""Pins in a full batch.  The per-CPU page lists of 6.1 move 63 pages at a time; here a longer
batch is stored as a column, which halves what a pin costs, and a scanner stores it all the same."""
NO_OWNER_ID = -1
"""In a column of owner ids: the frame is not pinned."""
SEVERAL_OWNERS_ID = -2
"""In a column of owner ids: the frame has several pins; ask `pins`."""

_YES = Verdict.YES
_T = TypeVar("_T")


@frozen(eq=False)
class PinColumns:
    """Pins as columns, shape (n,) each.

    Attributes:
        pfns: ascending; the pins of one frame by owner, then in order of arrival.
        owner_ids: see `PinRegistry.owner_by_id`.
        privates: int64 when all are ints of 64 bits, else a list.
    """

    pfns: Pfns
    owner_ids: NDArray[np.int32]
    privates: NDArray[np.int64] | list[Any]

    def __len__(self) -> int:
        """Pins."""
        return len(self.pfns)


class PinRegistry:
    """Pins of all frames of a topology, by any number of owners and threads.

    Any method may be called from any thread, also from inside an owner's callback.  No
    callback is ever called from here.  From a finalizer or signal handler `unpin` may be
    called at any moment; what else takes a lock is refused with a ContextError when it
    interrupts the registry itself.

    Attributes:
        topology: the frames, by node.
        marks: frames under move; for `pinpage.migrate` only.

    Invariants, run by `check` when no other thread is in the registry (the shards, the
    radix, the tables and the owners bring their own):
        R1 every pin belongs to a registered owner.
        R2 every object private in the side table is counted once for each of its pins.
        R3 `len` is the number of pins that a scan of everything finds.
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
            topology: the frames, by node.
            batch_nr_pins: pins that gather per node before one takes the node's lock and
                stores them; 0 switches batching off.
            sparse_below, dense_above: pinned frames of a block at which it changes its form
                (see `pinpage.store.radix`); small values let tests reach every form.

        Raises:
            PinpageError: `batch_nr_pins` is negative, the thresholds cross, or `dense_above` is
                no less than the 512 frames of a block.
        """
        if batch_nr_pins < 0:
            raise PinpageError(f"batch_nr_pins={batch_nr_pins}: must be 0 (no batching) or more")
        self.topology = topology
        self._owners = OwnerTable()
        self._tag_of = self._owners.tag_of
        self._nodes = Nodes(
            topology,
            self._owners.welcome,
            batch_nr_pins=batch_nr_pins,
            sparse_below=sparse_below,
            dense_above=dense_above,
        )
        self._shards = self._nodes.shards
        self._shard_of = self._nodes.shard_of
        self._privates = Privates(self._nodes.threads)
        self._reads = Reads(self._nodes, self._owners, self._privates)
        self._writes = Writes(self._nodes)
        self.marks = Marks(self._nodes, self._privates)

    # Owners.

    def register(self, owner: PinOwner) -> None:
        """From now on this owner may pin.

        Raises:
            OwnerError: it is registered already, or is no `PinOwner`.
        """
        self._owners.add(owner)

    def unregister(self, owner: PinOwner, *, force: bool = False) -> None:
        """From now on this owner may not pin, and is not called any more.

        Returns only after its callbacks in flight in other threads have ended (R-9).  When it
        is interrupted, the pins may be gone and the owner registered still: call it again.

        Args:
            owner: a registered one.
            force: drop the pins that it still has.

        Raises:
            OwnerError: it is not registered.
            PinpageError: it still has pins, and `force` was not given.  Nothing changed.
        """
        number = self._owners.number(owner)
        nr_left = self._nodes.run(self._shards, self._close, owner, number, force)
        if nr_left:
            raise PinpageError(
                f"owner {owner.name!r} still has {nr_left} pins; unpin them, or give force=True"
            )
        self._owners.finish_leaving(number)

    def _close(self, owner: PinOwner, number: int, force: bool) -> int:
        """In all sections: drop an owner's pins and let it make no more; or count them."""
        if not force and (nr_left := self._writes.nr_pins_by(number)):
            return nr_left
        self._privates.nr_doubts += 1
        pins = self._writes.remove_owner(number)
        self._owners.start_leaving(owner)
        self._give_back(objects_of(pins))
        self._privates.nr_doubts -= 1
        return 0

    @property
    def owners(self) -> tuple[PinOwner, ...]:
        """Registered owners in registration order, which is the order of asking."""
        return self._owners.owners

    def owner_by_id(self, owner_id: int) -> PinOwner:
        """The owner that a column of owner ids means.

        Raises:
            OwnerError: nobody has this id.
        """
        return self._owners.by_number(owner_id)

    def find_owner(self, owner_id: int) -> PinOwner | None:
        """`owner_by_id`, or None: nobody has this id any more."""
        return self._owners.find(owner_id)

    def is_faulty(self, owner: PinOwner) -> bool:
        """Whether the owner was marked faulty since it registered."""
        return self._owners.why_faulty(owner) is not None

    def why_faulty(self, owner: PinOwner) -> str | None:
        """What the owner did when it was first marked faulty; None for an honest one."""
        return self._owners.why_faulty(owner)

    def run_on(self, node: int) -> None:
        """Say on which node the calling thread runs; `statistics` tells local from remote by it.

        Raises:
            PinpageError: the topology has no such node.
        """
        if not 0 <= node < self.topology.nr_nodes:
            raise PinpageError(
                f"node {node}: the topology has nodes 0..{self.topology.nr_nodes - 1}"
            )
        self._nodes.threads.current.home = node

    def fault(self, owner: PinOwner, why: str) -> None:
        """Mark an owner that raised or lied: it is not asked any more, its frames refuse.

        Args:
            owner: whom.
            why: in words; shown by `why_faulty`.
        """
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
            pfn: the frame.
            owner: who pins it.
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
        if type(pfn) is not int:
            pfn = as_pfn(pfn)
        shard = self._shard_of(pfn)
        seq = shard.seq
        try:
            tag = self._tag_of[id(owner)]
        except KeyError:
            tag = self._owners.number(owner) << 1  # raises, unless it was registered just now
        is_int = type(private) is int
        if is_int and add(shard, pfn, tag, private, seq):
            return _YES
        value = NONE_NUMBER if private is None else as_int(private)
        if value is None:
            return self._pin_object(shard, seq, pfn, tag, private, wait)
        tag |= private is None
        if not is_int and add(shard, pfn, tag, value, seq):
            return _YES
        return self._pin_locked(shard, pfn, tag, value, wait)

    def _pin_object(
        self, shard: Shard, seq: int, pfn: int, tag: int, private: Any, wait: bool
    ) -> Verdict:
        """`pin` with a private that is an object."""
        return self._with_objects(
            lambda held: self._privates.hold(private, held),
            lambda number: (
                _YES
                if add(shard, pfn, tag | 1, number, seq)
                else self._pin_locked(shard, pfn, tag | 1, number, wait)
            ),
        )

    def _pin_locked(self, shard: Shard, pfn: int, tag: int, value: int, wait: bool) -> Verdict:
        """`pin` under the lock."""
        while (ticket := shard.run(shard.pin, pfn, tag, value, wait)) is not None:
            if not ticket.wait():
                return Verdict.AGAIN
        return _YES

    def _with_objects(
        self, hold: Callable[[dict[int, int]], _T], pin: Callable[[_T], Verdict]
    ) -> Verdict:
        """Pin something, and keep what uses of object privates the pins need.

        Args:
            hold: makes what is stored, and counts the uses of object privates, by number.
            pin: stores it.
        """
        held: dict[int, int] = {}
        self._privates.nr_doubts += 1
        try:
            what = hold(held)
        except BaseException:
            self._give_back(held)
            self._privates.nr_doubts -= 1
            raise
        try:
            verdict = pin(what)
        except BaseException as error:
            # Where it was interrupted, the pins may have come about: the doubt remains.
            if isinstance(error, PinpageError) or not held:
                self._give_back(held)
                self._privates.nr_doubts -= 1
            raise
        if verdict is not _YES:
            self._give_back(held)
        self._privates.nr_doubts -= 1
        return verdict

    def unpin(self, pfn: int, owner: PinOwner, private: Any = None) -> None:
        """Take one pin back; when this returns, no later scanner sees it.

        Of a frame under move, too: the move finds the pin gone and ends as "freed under us".
        An owner that was told its new place may use that name before the move has ended.

        Context: anywhere, also in a finalizer or signal handler that interrupted the registry
        (rule P): then it is done before that call of the registry returns.

        Args:
            pfn: the frame.
            owner: who pinned it.
            private: as it was pinned.

        Raises:
            PfnError: no such frame.
            OwnerError: the owner is not registered.
            NotPinnedError: this owner has no pin on this frame with this private.
            PinpageError: the private is not hashable.
        """
        if type(pfn) is not int:
            pfn = as_pfn(pfn)
        shard = self._shard_of(pfn)
        seq = shard.seq
        try:
            tag = self._tag_of[id(owner)]
        except KeyError:
            tag = self._owners.number(owner) << 1  # raises, unless it was registered just now
        blocks = shard.radix.blocks
        if type(private) is int and take_from_column(blocks, shard, pfn, tag, private, seq):
            return None
        tag, value = self._known(tag, private, pfn)
        self._privates.nr_doubts += tag & 1
        is_out = False
        if pfn not in blocks.crowded:  # of several pins, none is taken without the lock
            is_out = take_from_batch(shard, pfn, tag, value, seq)
            if not is_out and not tag & 1:
                is_out = take_from_table(blocks, shard, pfn, tag, value, seq)
        if not is_out and self._nodes.threads.current.top > shard.node:
            self._privates.nr_doubts -= tag & 1
            return self._unpin_late(pfn, tag, value)
        # Asked before the look: when a move is over, its names are gone after the pins have come.
        source = None if is_out else self.marks.source_of.get(pfn)
        is_out = is_out or shard.run(shard.discard, pfn, tag, value)
        if is_out and tag & 1:
            self._give_back({value: 1})
        self._privates.nr_doubts -= tag & 1
        if is_out:
            return None
        if source is not None and self._nodes.threads.current.top > self._shard_of(source).node:
            return self._unpin_late(pfn, tag, value)
        return self._unpin_alias(pfn, source, owner, private)

    def _unpin_alias(self, pfn: int, source: int | None, owner: PinOwner, private: Any) -> None:
        """`unpin` of a frame without such a pin: perhaps a target that its owner knows already."""
        if source is not None:
            for frame in (source, pfn):  # in this order: the pins may be rekeyed between the two
                with suppress(NotPinnedError):
                    self._remove(np.array([frame]), owner, [private])
                    return
        raise NotPinnedError(f"pfn {pfn:#x} is not pinned by {owner!r} with private {private!r}")

    def _unpin_late(self, pfn: int, tag: int, value: int) -> None:
        """`unpin` by a finalizer or signal handler, inside a section of its own thread."""

        def ended(is_out: bool) -> None:
            if is_out and tag & 1:
                self._give_back({value: 1})
            self._privates.nr_doubts -= tag & 1

        self._privates.nr_doubts += tag & 1
        # By all its names: the pins may be rekeyed before it is done.
        if not self._nodes.remove_late(self.marks.names_of(pfn), (tag, value), ended):
            ended(is_out=False)
            raise NotPinnedError(f"pfn {pfn:#x} is not pinned by this owner with this private")

    def _known(self, tag: int, private: Any, pfn: int) -> Record:
        if (record := _plain(tag, private)) is not None:
            return record
        value = self._privates.number_of(private)
        if value is None:
            raise NotPinnedError(
                f"pfn {pfn:#x} is not pinned with private {private!r}: no frame is"
            )
        return tag | 1, value

    def _give_back(self, held: dict[int, int]) -> None:
        """Uses of object privates, by number, of pins that are gone or never were."""
        for number, count in held.items():
            self._privates.drop(number, count)

    # Many pins.

    def pin_range(
        self, start: int, stop: int, owner: PinOwner, privates: Any = None, *, wait: bool = True
    ) -> Verdict:
        """Pin every frame of [start, stop), or none.

        Args:
            start, stop: the range.
            owner: who pins it.
            privates: one for all, or one each (array, list, tuple or range).
            wait: as in `pin`, for the whole range.

        Returns:
            YES, or AGAIN (nothing changed) when one of them is under move.

        Raises:
            PfnError, OwnerError, AlreadyPinnedError, PinpageError: as `pin`; nothing changed.
        """
        run = self._span(start, stop)
        record = _plain(self._owners.number(owner) << 1, privates)
        if record is not None and self._writes.add_run(run, *record):
            return _YES
        return self._add(np.arange(run.start, run.stop), owner, privates, wait)

    def unpin_range(self, start: int, stop: int, owner: PinOwner, privates: Any = None) -> None:
        """Unpin every frame of [start, stop), or none; the twin of `pin_range`.

        Args:
            start, stop: the range.
            owner: who pinned it.
            privates: as they were pinned: one for all, or one each.

        Raises:
            PfnError, OwnerError, NotPinnedError, PinpageError: as `unpin`; nothing changed.
        """
        run = self._span(start, stop)
        record = _plain(self._owners.number(owner) << 1, privates)
        if record is None or not self._writes.remove_run(run, *record):
            self._unpin_column(np.arange(run.start, run.stop), owner, privates)

    def pin_many(
        self, pfns: ArrayLike, owner: PinOwner, privates: Any = None, *, wait: bool = True
    ) -> Verdict:
        """Pin every frame of a column, in any order, or none; otherwise as `pin_range`.

        Args:
            pfns: shape (n,), integers.
            owner, privates, wait: as for `pin_range`.
        """
        column = as_pfns(pfns)
        self._nodes.require_pfns(column)
        return self._add(column, owner, privates, wait)

    def unpin_many(self, pfns: ArrayLike, owner: PinOwner, privates: Any = None) -> None:
        """Unpin every frame of a column, in any order, or none; the twin of `pin_many`.

        Args:
            pfns: shape (n,), integers.
            owner, privates: as for `unpin_range`.
        """
        column = as_pfns(pfns)
        self._nodes.require_pfns(column)
        self._unpin_column(column, owner, privates)

    def _unpin_column(self, pfns: Pfns, owner: PinOwner, privates: Any) -> None:
        """Unpin frames by the names that hold now; again, if those changed meanwhile."""
        names = self.marks.renamed(pfns)
        while True:
            try:
                return self._remove(names, owner, privates)
            except NotPinnedError:
                before, names = names, self.marks.renamed(pfns)
                if not np.array_equal(before, names):
                    continue
                if np.array_equal(names, pfns):
                    raise
                # A rekey was cut off before it forgot the names: what has moved has left nothing.
                names = np.where(self.owner_counts(names) > 0, names, pfns)
                return self._remove(names, owner, privates)

    def _span(self, start: int, stop: int) -> slice:
        start, stop = as_pfn(start), as_pfn(stop)
        self._nodes.require_span(start, stop)
        return slice(start, stop)

    def _add(self, pfns: Pfns, owner: PinOwner, privates: Any, wait: bool) -> Verdict:
        number = self._owners.number(owner)
        return self._with_objects(
            lambda held: pins_to_store(self._privates, number, pfns, privates, held),
            lambda pins: _YES if self._writes.add(pins, wait=wait) else Verdict.AGAIN,
        )

    def _remove(self, pfns: Pfns, owner: PinOwner, privates: Any) -> None:
        pins = pins_to_find(self._privates, self._owners.number(owner), pfns, privates)
        if pins is None:
            raise NotPinnedError("unpin: a private that is in no pin at all")
        objects = objects_of(pins)
        self._privates.nr_doubts += 1
        try:
            self._writes.remove(pins)
        except BaseException as error:
            if isinstance(error, PinpageError) or not objects:
                self._privates.nr_doubts -= 1
            raise
        self._give_back(objects)
        self._privates.nr_doubts -= 1

    # Looking.

    def is_pinned(self, pfn: int) -> bool:
        """Whether anybody pins the frame.  Without a lock, unless somebody writes just now.

        Raises:
            PfnError: no such frame.
        """
        if type(pfn) is not int:
            pfn = as_pfn(pfn)
        shard = self._shard_of(pfn)
        seq = shard.seq
        # In this order: a pin in the batch may come, and the one that is stored go, at any time.
        found = shard.radix.holds(pfn) or pfn in shard.batch
        if seq & 1 or shard.seq != seq:
            return bool(self._nodes.run([shard], shard.records_of, pfn))
        return found

    def pins(self, pfn: int) -> list[Pin]:
        """All pins of a frame, by owner in registration order, then in order of arrival.

        Raises:
            PfnError: no such frame.
        """
        if type(pfn) is not int:
            pfn = as_pfn(pfn)
        shard = self._shard_of(pfn)
        seq = shard.seq
        if not seq & 1:
            found = self._reads.as_pins(pfn, shard.radix.records_of(pfn))
            # Else a private may be gone, or a pin be in the batch that came meanwhile.
            if shard.seq == seq and pfn not in shard.batch:
                return found
        return self._nodes.run([shard], self._reads.pins_in, shard, pfn)

    def pinned_mask(self, start: int, stop: int) -> Mask:
        """Which frames of [start, stop) are pinned.

        Args:
            start, stop: the range of frames, half open.

        Returns:
            bool, shape (stop - start,); entry i speaks for pfn start + i.  A fresh array.

        Raises:
            PfnError: the range leaves the topology.
        """
        start, stop = as_pfn(start), as_pfn(stop)
        self._nodes.require_span(start, stop)
        shard = self._nodes.shard_of_block(start, stop)
        if shard is not None:  # one pageblock: read as `is_pinned` reads
            seq = shard.seq
            if not seq & 1 and not shard.batch:
                mask = shard.radix.blocks.mask_of_dense(start, stop)
                if mask is not None and shard.seq == seq and not shard.batch:
                    return mask
        return self._reads.mask(start, stop)

    def pin_columns(self, start: int, stop: int) -> PinColumns:
        """All pins of [start, stop), as columns; the batch form of `iter_pins`.

        Args:
            start, stop: the range of frames, half open.

        Raises:
            PfnError: the range leaves the topology.
        """
        start, stop = as_pfn(start), as_pfn(stop)
        self._nodes.require_span(start, stop)
        pins, privates = self._reads.with_privates(start, stop)
        return PinColumns(pins.pfns, pins.tags >> 1, privates)

    def iter_pins(self, start: int = 0, stop: int | None = None) -> Iterator[Pin]:
        """All pins of [start, stop) in pfn order, a frame's own as in `pins`.

        Reads about 32,768 frames at a time, more where a node has over 500,000 scattered pins, and
        holds no lock while the caller works, so pins that come and go meanwhile may or may not be
        seen.

        Raises:
            PfnError: the range leaves the topology.
        """
        start = as_pfn(start)
        end = self.topology.nr_frames if stop is None else as_pfn(stop)
        self._nodes.require_span(start, end)
        return self._reads.each(start, end)

    def next_pinned(self, pfn: int) -> int | None:
        """The first pinned frame from `pfn` on, or None.

        Raises:
            PfnError: no such frame; the pfn one past the last is allowed, and has none.
        """
        pfn, end = as_pfn(pfn), self.topology.nr_frames
        self._nodes.require_span(pfn, end)
        return self._reads.next_pinned(pfn, end)

    def __len__(self) -> int:
        """Pins, those in batches included."""
        return sum(map(self._nr_pins_on, self._shards))

    def _nr_pins_on(self, shard: Shard) -> int:
        """Pins of a node, without a lock unless somebody stores or watches just now."""
        seq = shard.seq
        if not seq & 1:
            nr_pins = shard.nr_pins
            if shard.seq == seq:
                return nr_pins
        return self._nodes.hold([shard], lambda: shard.nr_pins)

    # For planners and movers: columns of frames, in any order.

    @property
    def nr_died(self) -> int:
        """Pins dropped while their frame was under move: while it stays the same, none was.

        Cost: one attribute per node; what lets a move skip its second looks.
        """
        return sum(shard.nr_died for shard in self._shards)

    def owner_counts(self, pfns: Pfns) -> NDArray[np.int64]:
        """Pins of each frame, int64[n].

        Raises:
            PfnError: no such frame.
        """
        self._nodes.require_pfns(pfns)
        return self._reads.find(pfns)[2]

    def single_pins(self, pfns: Pfns) -> tuple[NDArray[np.int32], NDArray[np.int64] | list[Any]]:
        """The pin of each frame that has exactly one.

        Returns:
            owner_ids: int32[n]; NO_OWNER_ID for none, SEVERAL_OWNERS_ID for several.
            privates: int64[n] when all those found are ints of 64 bits, else a list.
                Meaningless where there is not exactly one pin.

        Raises:
            PfnError: no such frame.
        """
        self._nodes.require_pfns(pfns)
        seen = Seen(self._privates)
        tags, values, counts = self._reads.find(pfns, seen)
        owner_ids = tags >> 1
        owner_ids[counts > 1] = SEVERAL_OWNERS_ID
        return owner_ids, seen.privates_of(np.where(counts == 1, tags, 0), values)

    def can_migrate_mask(self, pfns: Pfns) -> Mask:
        """Frames with a pin whose every owner can migrate and is not faulty, bool[n].

        Raises:
            PfnError: no such frame.
        """
        return self.abilities(pfns)[0]

    def can_release_mask(self, pfns: Pfns) -> Mask:
        """Frames with a pin whose every owner can release and is not faulty, bool[n].

        Raises:
            PfnError: no such frame.
        """
        return self.abilities(pfns)[1]

    def abilities(self, pfns: Pfns) -> tuple[Mask, Mask, NDArray[np.int64]]:
        """`can_migrate_mask`, `can_release_mask` and `owner_counts`, in one look-up."""
        self._nodes.require_pfns(pfns)
        return self._reads.abilities(pfns)

    # Scanners.

    @contextmanager
    def scanning(self) -> Iterator[None]:
        """While inside, no pin stays in a batch: what a scan has stored does not refill (R-21).

        Nests, and several threads may scan at a time.
        """
        token = Watcher(self._nodes.threads.current.ident)
        try:
            for shard in self._shards:
                self._nodes.run([shard], shard.watch, token)
            yield
        finally:
            for shard in self._shards:
                self._nodes.run([shard], shard.unwatch, token)

    def flush(self) -> None:
        """Store every pin that is in a batch."""
        for shard in self._shards:
            if shard.batch or shard.seq & 1:
                shard.run(shard.drain)

    # Accounts.

    def statistics(self) -> statistics.Statistics:
        """What was counted so far; takes no lock, so figures of busy nodes may disagree."""
        return statistics.statistics(self._shards, self._privates)

    def check(self) -> None:
        """Run R1..R3 and the invariants of every part.

        Context: no other thread is in the registry.

        Raises:
            InvariantError: one does not hold.
        """
        nr_pins = len(self)
        books = partial(statistics.check, self._shards, self._owners, self._privates, nr_pins)
        self._nodes.hold(self._shards, books)


def _plain(tag: int, private: Any) -> Record | None:
    """How a pin is stored; None where its private is an object, or several are given."""
    if private is None:
        return tag | 1, NONE_NUMBER
    value = as_int(private)
    return None if value is None else (tag, value)
