"""One NUMA node of the registry: its lock, its pins, the batch of pins on their way to it.

How a pin gets in without the lock (`pinpage.store.at_once`), and why nobody misses it:

    pin                                       scanner, mover (holding the lock)
    1 read the sequence count                 1 make the count odd
    2 look: one other pin at most             2 store what is in the batch
    3 read the count again: the same, even?   3 look up; mark frames; watch
    4 put the pin into the batch

Nobody can come between 3 and 4, so the pin is in the batch before any later section looks, and
what 2 saw is still so.  If the count has changed, or the frame has several pins, or one in the
batch, the pin takes the lock.  An unpin takes it out of the batch in the same way.

The count stays odd while anybody watches (a scanner works, frames are under move), so
the batch is bypassed for as long.  "Nobody can come between" is the interpreter's global lock;
on a CPython without it the count is always odd, and whoever comes takes the node's lock.

Every locked section is a call through `Shard.run`, which is written so that an interrupt finds
no gap in it: a lock taken by `with` and plain assignments around a `try` cannot be torn apart,
while `enter()` and `leave()` methods can.

What a section changes it first writes down (`Change`), and it is done by one assignment.  When
anything is raised on the way, the next section finds the note and takes the change back.  The
count stays odd until then, so nobody who reads without the lock sees half of it.

Owns:    the lock, the sequence count, the batch, frames under move, late unpins.
Ignores: owners (a tag is a number to it; only `welcome` numbers are stored), privates.
Cost:    a locked section about 0.4 us; a pin out of the batch about 0.2 us.
Kernel counterpart: zone->lock with per-CPU lists, which delay the list and never the mark;
         lru_cache_disable for the bypass; seqcount_spinlock_t for the count.
"""

import threading
from collections import deque
from collections.abc import Callable, Container, Sequence
from typing import TypeVar
from weakref import WeakSet

import numpy as np
from attrs import Factory, define, frozen

from pinpage.errors import (
    AlreadyPinnedError,
    ContextError,
    OwnerError,
    PinpageError,
    require,
)
from pinpage.store.radix import Radix
from pinpage.store.rows import NO_PINS, PinRows, Record
from pinpage.store.threads import RUNS_IN_PARALLEL, Threads
from pinpage.units import Pfns

__all__ = ["Change", "Shard", "Ticket", "Watcher", "apply"]

_R = TypeVar("_R")

_FEW_PINS = 16
"""In a batch, up to which storing one after the other is quicker than as a column."""


@frozen(eq=False)
class Watcher:
    """A scanner at work.

    Attributes:
        thread: the ident of its thread.
    """

    thread: int


class Ticket:
    """What a pin gets whose frame is under move.

    Attributes:
        ended: released when a move of the node has ended; None for who does not wait.
    """

    def __init__(self, *, waits: bool) -> None:
        """Not ended yet."""
        self.ended = threading.Lock() if waits else None
        if self.ended is not None:
            self.ended.acquire()

    def wait(self) -> bool:
        """Outside every section: until some move of that node has ended; False: not wanted."""
        return self.ended is not None and self.ended.acquire()


@define(eq=False)
class Change:
    """What a section is about to do to the pins of a node.

    Attributes:
        frames: which frames it concerns, a column or a run.
        before: all stored pins that they had; the record of each, where it is a run that all
            had one and the same.
        commit: one cell, shared by the changes of all nodes that one operation concerns:
            True from the moment when it counts; see `apply`.
    """

    frames: Pfns | slice
    before: PinRows | Record
    commit: list[bool] = Factory(lambda: [False])

    def concerns(self, pfn: int) -> bool:
        """Whether a frame is among those that it concerns."""
        frames = self.frames
        if isinstance(frames, slice):
            return bool(frames.start <= pfn < frames.stop)
        return bool(np.any(frames == pfn))

    def had(self, pfn: int, record: Record) -> bool:
        """Whether a frame that it concerns had a stored pin.

        Args:
            pfn: the frame.
            record: the pin.
        """
        if isinstance(self.before, PinRows):
            return (pfn, *record) in self.before.each()
        return record == self.before

    def taken_back(self, radix: Radix) -> Radix:
        """The pins of a node as they were before it."""
        frames, before = self.frames, self.before
        if isinstance(frames, slice):
            frames = np.arange(frames.start, frames.stop)
        if not isinstance(before, PinRows):
            before = PinRows.alike(frames, *before)
        return radix.rebuilt(frames, before)


class Shard:
    """The pins of one node and the way to them.

    Attributes:
        node: its number.
        radix: the stored pins; another object after a change was taken back.
        seq: the sequence count: odd while somebody writes or watches, or a change waits to be
            taken back; changed by every locked section.
        batch: (tag, value) by pfn: pins that are not stored yet; another dict once they are.
        batch_nr_pins: pins in a full batch.
        has_further: a pin in the batch may be of a frame that has another.
        moving: frames under move, and the thread that moves them.
        watchers: tokens of scanners at work; one that nobody has any more does not count.
        welcome: numbers of the owners that may pin; the registry's own set.
        is_waking: a move has ended, and not all are awake yet that wait for one.
        late: unpins by finalizers and signal handlers that interrupted a section.
        change: what is being done, or was when something was raised; for one frame only its
            pfn and the pins that it had.

    Invariants, run by `check` when no other thread is in the registry:
        H1 a frame with a pin in the batch has one at most that is stored, another one.
        H2 no frame under move has a pin in the batch, nor has any while a scanner works.
        H3 leaving makes the count even, and leaves it odd while somebody watches (or always:
           see above).
    """

    def __init__(
        self,
        node: int,
        radix: Radix,
        welcome: Container[int],
        threads: Threads,
        *,
        batch_nr_pins: int,
    ) -> None:
        """Nothing pinned.

        Args:
            node: its number.
            radix: of the node, empty.
            welcome, batch_nr_pins: see the attributes.
            threads: of the registry.
        """
        self.node = node
        self.radix = radix
        self.lock = threading.Lock()
        self._step = self._step_unwatched = 2 if RUNS_IN_PARALLEL else 1
        self.seq = self._step - 1
        self.batch: dict[int, Record] = {}
        self.batch_nr_pins = batch_nr_pins
        self.has_further = False
        self.moving: dict[int, int] = {}
        self.watchers: WeakSet[Watcher] = WeakSet()
        self.welcome = welcome
        self.late: deque[Callable[[], None]] = deque()
        self.change: Change | tuple[int, list[Record]] | None = None
        self.is_waking = False
        self._threads = threads
        self._waiters: list[threading.Lock] = []
        self.nr_remote = self.nr_waits = self.nr_died = 0
        self.nr_drains = self.nr_drained = self.nr_annihilated = self.nr_direct = 0

    # The locked section.

    def run(self, work: Callable[..., _R], *args: object) -> _R:
        """Call `work` in the locked section, and return what it returns.

        Args:
            work: anything; what it raises goes on to the caller.
            args: for it.

        Raises:
            ContextError: the thread is in the section already: it was interrupted there by the
                signal handler or finalizer that calls.
        """
        thread = self._threads.current
        outer = thread.top
        if outer > self.node:
            raise ContextError(
                "this finalizer or signal handler interrupted the registry; from there it can "
                "only unpin"
            )
        with self.lock:
            thread.top = self.node + 1
            try:
                if self.seq & 1:
                    self._set_right()
                else:
                    self.seq += 1
                if thread.home != self.node:
                    self.nr_remote += 1
                try:
                    return work(*args)
                finally:
                    if self.late and self.change is None:
                        self._unpin_late()
            finally:
                # No call, so no interrupt, from here until the lock is released; and the one line
                # that needs memory comes last: without it the count stays odd.
                is_untidy = self.change is not None or self.late or self.is_waking
                thread.top = outer
                self.seq = (self.seq | 1) + (2 if is_untidy else self._step)

    @property
    def nr_acquisitions(self) -> int:
        """Locked sections so far: each moves the count on by two, or by one and three."""
        return self.seq // 2

    def _set_right(self) -> None:
        """Do what a section has to do first when the count was odd before it."""
        change = self.change
        if isinstance(change, tuple):
            pfn, records = change
            before = PinRows.of((pfn, *record) for record in records)
            self.radix = self.radix.rebuilt(np.array([pfn]), before)
        elif change is not None and not change.commit[0]:
            self.radix = change.taken_back(self.radix)
        self.change = None
        if self.is_waking:
            self._wake()
        self._watch_or_not()
        self._unpin_late()

    def unpin_late(self, unpin: Callable[[], None]) -> None:
        """Have something unpinned by the section that its thread is in, or else by the next.

        Whoever reads without the lock finds the count odd until then, and takes it.

        Context: a finalizer or signal handler that interrupted any section of its thread.

        Args:
            unpin: called in the section of this shard; more than once, if it is interrupted.
        """
        self.late.append(unpin)
        self.seq |= 1

    def _unpin_late(self) -> None:
        while self.late:
            self.late[0]()
            self.late.popleft()

    def _watch_or_not(self) -> None:
        """Inside the section: on leaving, step to an even count, or stay odd while watched."""
        # (`len` counts those as well whose removal, by the collector, was interrupted.)
        is_watched = self.moving or any(self.watchers)
        self._step = 2 if is_watched else self._step_unwatched

    # All that follows inside the section.

    def drain(self) -> None:
        """Store what is in the batch; give back what few pins do not need."""
        if batch := self.batch:
            self.nr_drains += 1
            if self.has_further or len(batch) <= _FEW_PINS:
                for pfn in list(batch):
                    self._store_from_batch(pfn)
                self.has_further = False
            else:
                pins = PinRows.of_firsts(batch)
                self.change = Change(pins.pfns, NO_PINS)
                self.radix.blocks.add_many(pins)
                self.nr_drained += len(batch)
                # No call: the pins are in the batch or stored, never both.
                self.batch = {}
                self.change = None
        if self.radix.blocks.thin:
            self.change = Change(NO_PINS.pfns, NO_PINS)
            self.radix.blocks.trim()
            self.change = None

    def ticket(self, *, waits: bool) -> Ticket:
        """What to wait with for the end of some move, outside.

        Args:
            waits: the caller wants to wait, and does not move the frame itself.
        """
        ticket = Ticket(waits=waits)
        if ticket.ended is not None:
            self._waiters.append(ticket.ended)
            self.nr_waits += 1
        return ticket

    def records_of(self, pfn: int) -> list[Record]:
        """All pins of a frame in order of arrival.  Safe without the lock."""
        records = self.radix.records_of(pfn)  # first: see `PinRegistry.is_pinned`
        batched = self.batch.get(pfn)
        if batched is not None and batched not in records:  # (stored since, by another thread)
            records.append(batched)
        return records

    def had(self, pfn: int, record: Record) -> bool:
        """Whether a frame has a pin, or had it before a change of it that has not come to its end.

        Context: anywhere, without the lock; true if `glimpse` was the same before and after.

        Args:
            pfn: the frame.
            record: the pin.
        """
        change = self.change
        if change is None or pfn in self.batch:
            return record in self.records_of(pfn)
        if isinstance(change, tuple):
            return record in (change[1] if change[0] == pfn else self.records_of(pfn))
        if change.commit[0] or not change.concerns(pfn):
            return record in self.records_of(pfn)
        return change.had(pfn, record)

    def glimpse(self, pfn: int) -> object:
        """What is the same twice where nothing was done to a frame's pins in between."""
        change = self.change
        is_committed = isinstance(change, Change) and change.commit[0]
        return self.seq, change, is_committed, self.radix, self.radix.blocks.is_dense_at(pfn)

    @property
    def nr_pins(self) -> int:
        """Pins, those in the batch included.  Safe without the lock."""
        return self.radix.nr_pins + len(self.batch)

    def pin(self, pfn: int, tag: int, value: int, wait: bool) -> Ticket | None:
        """Add one pin of a frame that is not under move.

        Args:
            pfn: the frame.
            tag, value: the pin.
            wait: the caller wants to wait for a move by another thread.

        Returns:
            None when it is pinned; else what to wait for.

        Raises:
            OwnerError: the owner has left.
            AlreadyPinnedError: the frame has this pin.
        """
        if pfn in self.moving:
            return self.ticket(waits=wait and self.moving[pfn] != self._threads.current.ident)
        if tag >> 1 not in self.welcome:
            raise OwnerError("the owner was unregistered meanwhile")
        if len(self.batch) >= self.batch_nr_pins:
            self.drain()
        self._store_from_batch(pfn)
        records = self.radix.records_of(pfn)
        if (tag, value) in records:
            raise AlreadyPinnedError(f"pfn {pfn:#x} is pinned by this owner with the same private")
        self.change = pfn, records
        if records:
            self.radix.add_further(pfn, tag, value)
        else:
            self.radix.blocks.put(pfn, tag, value)
        self.change = None
        self.nr_direct += 1
        return None

    def _store_from_batch(self, pfn: int) -> None:
        """Store the pin of one frame, if it is in the batch."""
        if pfn in self.batch:
            self.change = pfn, self.radix.records_of(pfn)
            self.radix.add(pfn, *self.batch[pfn])
            self.nr_drained += 1
            # No call: see `drain`.
            del self.batch[pfn]
            self.change = None

    def discard(self, pfn: int, tag: int, value: int) -> bool:
        """Remove one pin, in the batch or stored; False when there is none such.

        Args:
            pfn: the frame.
            tag, value: the pin.
        """
        self._store_from_batch(pfn)
        records = self.radix.records_of(pfn)
        if (tag, value) not in records:
            return False
        self.change = pfn, records
        self.radix.discard(pfn, tag, value)
        self.change = None
        if pfn in self.moving:
            self.nr_died += 1
        return True

    # Moves and scanners.

    def is_any_moving(self, pfns: Pfns, thread: int | None = None) -> bool:
        """Whether one of the frames is under move.

        Args:
            pfns: of the node.
            thread: by the thread with this ident; None: by any.
        """
        moving = [pfn for pfn, mover in self.moving.items() if thread in (None, mover)]
        return bool(np.isin(pfns, np.array(moving, dtype=np.int64)).any())

    def begin_move(self, pfns: list[int], thread: int) -> list[bool]:
        """Mark the frames that are not marked yet; the batch is stored already (R-29).

        Args:
            pfns: of the node.
            thread: the ident of the mover.
        """
        self._step = 2
        marked = [pfn not in self.moving for pfn in pfns]
        if len(set(pfns)) < len(pfns):
            seen: set[int] = set()
            for at, pfn in enumerate(pfns):
                marked[at] &= pfn not in seen
                seen.add(pfn)
        # By one assignment, as in `end_move`: all of these frames, or none.
        self.moving = {**dict.fromkeys(pfns, thread), **self.moving}
        return marked

    def end_move(self, pfns: list[int]) -> None:
        """Drop the marks and wake who waits.

        Raises:
            PinpageError: a frame is not under move.
        """
        for pfn in pfns:
            if pfn not in self.moving:
                raise PinpageError(f"end_move: pfn {pfn:#x} is not under move")
        self.is_waking = True
        ended = set(pfns)
        self.moving = {pfn: mover for pfn, mover in self.moving.items() if pfn not in ended}
        self._watch_or_not()
        self._wake()

    def _wake(self) -> None:
        """Let all go on that wait for a move; may be begun again."""
        while self._waiters:
            if self._waiters[-1].locked():
                self._waiters[-1].release()
            self._waiters.pop()
        self.is_waking = False

    def watch(self, token: Watcher) -> None:
        """One scanner more."""
        self.watchers.add(token)
        self._watch_or_not()

    def unwatch(self, token: Watcher) -> None:
        """One scanner less."""
        self.watchers.discard(token)
        self._watch_or_not()

    def after_fork(self) -> None:
        """In a child: what other threads held, marked or watched, nobody has any more."""
        self.lock = threading.Lock()
        self._waiters = []
        me = threading.get_ident()
        self.moving = {pfn: mover for pfn, mover in self.moving.items() if mover == me}
        for token in [token for token in self.watchers if token.thread != me]:
            self.watchers.discard(token)
        self._watch_or_not()
        is_inside = self._threads.current.top > self.node
        is_untidy = is_inside or self.change is not None or self.late
        self.seq = (self.seq | 1) + (2 if is_untidy else self._step)

    def check(self) -> None:
        """Run H1..H3 and the invariants of the radix.

        Raises:
            InvariantError: one does not hold.
        """
        for pfn, record in self.batch.items():
            stored = self.radix.records_of(pfn)
            require(record not in stored, "H1 a pin in the batch and stored", pfn=pfn)
            is_told = not stored or self.has_further
            require(is_told and len(stored) < 2, "H1 a pin in the batch beside others", pfn=pfn)
            require(pfn not in self.moving, "H2 a frame under move has a pin in the batch", pfn=pfn)
        is_scanned = any(self.watchers)
        require(not (self.batch and is_scanned), "H2 a pin in the batch while a scanner works")
        step = 2 if self.moving or is_scanned else self._step_unwatched
        require(self._step == step, "H3 the step of the count", step=self._step)
        self.radix.check()


def apply(
    changes: Sequence[tuple[Shard, Change]], work: Callable[..., object], *args: object
) -> None:
    """Change the pins of some nodes, wholly or not at all; inside the sections of all of them.

    Args:
        changes: each node and what it is about to gain and lose.
        work: does so.
        args: for it.
    """
    commit = [False]
    for shard, change in changes:
        change.commit = commit
        shard.change = change
    work(*args)
    commit[0] = True
    for shard, _ in changes:
        shard.change = None
