"""One NUMA node of the registry: its lock, its pins, the batches on their way to it.

How a pin gets in without the lock, and why nobody misses it:

    pin                                    scanner, mover (holding the lock)
    1 read the sequence count (even)       1 make the count odd
    2 claim the frame (atomic setdefault)  2 mark frames, or start to watch
    3 append to the batch                  3 drain every batch
    4 look: not stored yet                 4 look up
    5 read the count again

If 5 reads what 1 read, no locked section has begun in between: the append (3) came before
any later drain, so every scanner sees the pin, and what 4 saw is still so.  If it reads
something else, or 4 found the same pin, the pin takes the lock and settles what happened: its
entry is still there (take it back and start over under the lock), was handed back (`refused`:
it lost a race; start over), or was drained (it counts).  A drain hands back what turned out
untrue: a pin that is stored, a frame marked by a mover that has drained already.

While one thread uses the shard, its batch is the table of claims as well, and 2 and 3 are one
step.  The second thread that comes drains that batch and starts a table apart; being a locked
section, it sends whoever is between 1 and 5 to settle.

The count stays odd while anybody watches (a scanner works, frames are under move), so
batching is bypassed for as long.

Every locked section is a call through `Shard.run`, which is written so that an interrupt finds
no gap in it.  CPython looks for signals when it enters a Python function, after it has called
something, and when it jumps back; so a lock taken by `with` and plain assignments around a
`try` cannot be torn apart, while `enter()` and `leave()` methods can.

What a section changes it first writes down (`Change`), and it is done by one assignment.  When
anything is raised on the way, the next section finds the note and takes the change back, or
finishes what was only to be tidied.  The count stays odd until then, so nobody who reads
without the lock sees half of it.

Owns:    the lock, the sequence count, claims, batches, frames under move, late unpins.
Ignores: owners (a tag is a number to it; only `welcome` numbers are stored), privates.
Cost:    a locked section about 0.4 us; a drain about 0.2 us per pin.
Kernel counterpart: zone->lock with per-CPU lists; lru_cache_disable for the bypass;
         seqcount_spinlock_t for the count.
"""

import threading
import weakref
from collections import deque
from collections.abc import Callable, Container, Sequence
from typing import TypeVar

import numpy as np

from pinpage.errors import (
    AlreadyPinnedError,
    ContextError,
    OwnerError,
    PinpageError,
    require,
)
from pinpage.store.batch import Batch, Entry, Thread
from pinpage.store.radix import Radix
from pinpage.store.rows import NO_PINS, PinRows, Record
from pinpage.store.sparse import NO_TAG
from pinpage.units import Pfns

__all__ = ["Change", "Shard", "Ticket", "Watcher", "apply"]

_R = TypeVar("_R")

_MIN_COLUMN_NR_PINS = 12  # a shorter batch is as fast pin by pin


class Watcher:
    """A scanner at work.

    Attributes:
        thread: the ident of its thread.
    """

    def __init__(self, thread: int) -> None:
        """Of this thread."""
        self.thread = thread


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


class Change:
    """What a section is about to do to the pins of a node.

    Attributes:
        frames: which frames it concerns, as a function that makes a column of them.
        before: all pins that they had, as a function that makes columns of them.
        drained: entries that are stored by it, or refused: they leave their batches.
        refused: those of them that lost a race.
        commit: one cell, shared by the changes of all nodes that one operation concerns:
            True from the moment when it counts; see `apply`.
    """

    __slots__ = ("before", "commit", "drained", "frames", "refused")

    def __init__(
        self,
        frames: Callable[[], Pfns] = lambda: NO_PINS.pfns,
        before: Callable[[], PinRows] = lambda: NO_PINS,
    ) -> None:
        """Nothing has happened yet.

        Args:
            frames, before: see the attributes.
        """
        self.frames = frames
        self.before = before
        self.drained: dict[int, Entry] = {}
        self.refused: dict[int, Entry] = {}
        self.commit = [False]

    @classmethod
    def of(cls, frames: Pfns, before: PinRows) -> "Change":
        """A change of some frames that had these pins."""
        return cls(lambda: frames, lambda: before)


class Shard:
    """The pins of one node and the way to them.

    Attributes:
        radix: the pins; another object after a change was taken back.
        seq: the sequence count: odd while somebody writes or watches, or a change waits to be
            taken back; changed by every locked section.
        claims: the entry of each frame that has a pin in a batch or on its way into one; the
            very dict of the batch while there is one thread.
        moving: frames under move, and the thread that moves them.
        watchers: tokens of scanners at work; one that nobody has any more does not count.
        welcome: numbers of the owners that may pin; the registry's own set.
        is_waking: a move has ended, and not all are awake yet that wait for one.
        late: unpins by finalizers and signal handlers that interrupted a section.
        change: what is being done, or was when something was raised; for one frame only its
            pfn and the pins that it had.

    Invariants, run by `check` when no other thread is in the registry:
        H1 claims are exactly the entries of all batches, each under its pfn.
        H2 a pin in a batch is not stored as well.
        H3 no frame under move has a pin in a batch, and no batch holds one while a scanner works.
        H4 leaving makes the count even, and leaves it odd while somebody watches.
    """

    __slots__ = (
        "_nr_annihilated_before",
        "_step",
        "_waiters",
        "batches",
        "change",
        "claims",
        "is_waking",
        "late",
        "lock",
        "moving",
        "node",
        "nr_died",
        "nr_direct",
        "nr_drained",
        "nr_drains",
        "nr_refused",
        "nr_remote",
        "nr_waits",
        "radix",
        "seq",
        "watchers",
        "welcome",
    )

    def __init__(self, node: int, radix: Radix, welcome: Container[int]) -> None:
        """Nothing pinned.

        Args:
            node: its number.
            radix: of the node, empty.
            welcome: see the attribute.
        """
        self.node = node
        self.radix = radix
        self.lock = threading.Lock()
        self.seq = 0
        self.claims: dict[int, Entry] = {}
        self.batches: list[Batch] = []
        self.moving: dict[int, int] = {}
        self.watchers: weakref.WeakSet[Watcher] = weakref.WeakSet()
        self.welcome = welcome
        self.late: deque[Callable[[], None]] = deque()
        self.change: Change | tuple[int, list[Record]] | None = None
        self._waiters: list[threading.Lock] = []
        self._nr_annihilated_before = 0
        self._step = 1
        self.is_waking = False
        self.nr_remote = self.nr_waits = 0
        self.nr_drains = self.nr_drained = self.nr_direct = self.nr_refused = self.nr_died = 0

    # The locked section.

    def run(self, thread: Thread, work: Callable[..., _R], *args: object) -> _R:
        """Call `work` in the locked section, and return what it returns.

        Args:
            thread: the calling one.
            work: anything; what it raises goes on to the caller.
            args: for it.

        Raises:
            ContextError: the thread is in the section already: it was interrupted there by the
                signal handler or finalizer that calls.
        """
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
                # No call, so no interrupt, from here until the lock is released.
                is_untidy = self.change is not None or self.late or self.is_waking
                self.seq = (self.seq | 1) + (2 if is_untidy else self._step)
                thread.top = outer

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
        elif change is not None and change.commit[0]:
            self.finish(change)
        elif change is not None:
            self.radix = self.radix.rebuilt(change.frames(), change.before())
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

    def finish(self, change: Change) -> None:
        """Take what was stored or refused out of the batches; as often as it is interrupted."""
        drained, refused = change.drained, change.refused
        if not drained:
            return
        pending = next(iter(drained.values()))[2].pending
        if self.claims is pending and drained == pending and not refused:
            # The one thread that there is has its batch stored: all of it, and by one call.
            pending.clear()
        for pfn, entry in drained.items():
            pending = entry[2].pending
            if pfn in pending and pending[pfn] is entry:
                # Without a call in between: whoever comes finds all of this or nothing.
                if pfn in refused:
                    entry[2].refused += [entry]
                del pending[pfn]
                if pfn in self.claims and self.claims[pfn] is entry:
                    del self.claims[pfn]

    def ticket(self, *, waits: bool) -> Ticket:
        """Inside the section: what to wait with for the end of some move, outside.

        Args:
            waits: the caller wants to wait, and does not move the frame itself.
        """
        ticket = Ticket(waits=waits)
        if ticket.ended is not None:
            self._waiters.append(ticket.ended)
            self.nr_waits += 1
        return ticket

    def _watch_or_not(self) -> None:
        """Inside the section: on leaving, step to an even count, or stay odd while watched."""
        self._step = 2 if self.moving or len(self.watchers) else 1

    # Batches.  All of these inside the section.

    def adopt(self, batch: Batch) -> None:
        """Let drains know a new thread's batch; forget those of threads that ended."""
        self._forget_ended()
        if not self.batches and not self.claims:
            self.claims = batch.pending
        elif any(old.pending is self.claims for old in self.batches):
            self.drain_all()
            self.claims = {}
        self.batches.append(batch)

    def _forget_ended(self) -> None:
        """Drop the empty batches of threads that ended."""
        for old in self.batches:
            if old.thread.has_ended and not old.pending:
                self._nr_annihilated_before += old.nr_annihilated
                old.nr_annihilated = 0
        self.batches = [old for old in self.batches if old.pending or not old.thread.has_ended]

    def drain(self, batch: Batch) -> None:
        """Store what is in a batch."""
        if batch.pending:
            self.nr_drains += 1
            self._store(dict(batch.pending))

    def drain_own(self, batch: Batch) -> None:
        """`drain` for the thread that owns the batch: nobody adds to it meanwhile."""
        self.drain(batch)
        if not self.claims and self.claims is not batch.pending:
            self._forget_ended()
            if len(self.batches) == 1:  # alone again: nobody else can be on the way in
                self.claims = batch.pending

    def drain_all(self) -> None:
        """Store what is in any batch of this node; give back what few pins do not need."""
        if self.claims:
            for batch in self.batches:
                self.drain(batch)
        if self.radix.blocks.thin:
            self.change = Change()
            self.radix.blocks.trim()
            self.change = None

    def drain_frame(self, pfn: int) -> None:
        """Store the pin of one frame, if it is in a batch."""
        entry = self.claims.get(pfn)
        if entry is not None and entry[2].pending.get(pfn) is entry:
            self._store({pfn: entry})

    def _store(self, entries: dict[int, Entry]) -> None:
        """Store entries of batches, which leave them; hand back what lost a race."""
        singles, columns = entries, NO_PINS
        if len(entries) >= _MIN_COLUMN_NR_PINS and not self.moving:
            tags, values, _ = zip(*entries.values(), strict=True)
            columns = PinRows(
                np.fromiter(entries, np.int64, len(entries)),
                np.array(tags, dtype=np.int32),
                np.array(values, dtype=np.int64),
            )
            plain = self.radix.blocks.find_many(columns.pfns)[0] == NO_TAG
            for tag in set(tags):
                if tag >> 1 not in self.welcome:
                    plain &= columns.tags != tag
            singles = {}
            if not plain.all():
                singles = {pfn: entries[pfn] for pfn in columns.pfns[~plain].tolist()}
                columns = columns.at(plain)
        refused = {
            pfn: entry
            for pfn, entry in singles.items()
            if entry[0] >> 1 not in self.welcome
            or pfn in self.moving
            or entry[:2] in self.radix.records_of(pfn)
        }
        rows = [(pfn, *entry[:2]) for pfn, entry in singles.items() if pfn not in refused]

        def add_all() -> None:
            self.radix.blocks.add_many(columns)
            for row in rows:
                self.radix.add(*row)

        held = np.array(sorted(singles), dtype=np.int64)
        had = self.radix.pins_of(held)
        change = Change(lambda: np.concatenate((columns.pfns, held)), lambda: had)
        change.drained, change.refused = entries, refused
        apply([(self, change)], add_all)
        self.nr_drained += len(entries) - len(refused)
        self.nr_refused += len(refused)

    def withdraw(self, pfn: int, entry: Entry) -> bool:
        """Take a batched entry of the calling thread back; False when it counts already."""
        batch = entry[2]
        if batch.pending.get(pfn) is entry:
            self._drop_entry(pfn, entry)
            return True
        for at, refused in enumerate(batch.refused):
            if refused is entry:
                del batch.refused[at]
                return True
        return False

    def _drop_entry(self, pfn: int, entry: Entry) -> None:
        """Take an entry out of its batch and out of the claims: by no call, so both or neither."""
        pending, claims = entry[2].pending, self.claims
        del pending[pfn]
        if pfn in claims and claims[pfn] is entry:  # not so if its thread was alone just now
            del claims[pfn]

    # Pins, one by one.  All of these inside the section.

    def add(self, pfn: int, tag: int, value: int) -> bool:
        """Add one pin, wholly or not at all; False when the frame has exactly this one already."""
        records = self.radix.records_of(pfn)
        if (tag, value) in records:
            return False
        self.change = pfn, records
        self.radix.add(pfn, tag, value)
        self.change = None
        self.nr_direct += 1
        return True

    def pin(self, pfn: int, tag: int, value: int, thread: Thread, wait: bool) -> Ticket | None:
        """Add one pin of a frame that is not under move.

        Args:
            pfn: the frame.
            tag, value: the pin.
            thread: the calling one.
            wait: it wants to wait for a move by another thread.

        Returns:
            None when it is pinned; else what to wait for.

        Raises:
            OwnerError: the owner has left.
            AlreadyPinnedError: the frame has this pin.
        """
        if pfn in self.moving:
            return self.ticket(waits=wait and self.moving[pfn] != thread.ident)
        if tag >> 1 not in self.welcome:
            raise OwnerError("the owner was unregistered meanwhile")
        self.drain_frame(pfn)
        if not self.add(pfn, tag, value):
            raise AlreadyPinnedError(f"pfn {pfn:#x} is pinned by this owner with the same private")
        return None

    def has(self, pfn: int, tag: int, value: int) -> bool:
        """Whether a pin is there, in a batch or stored.  Safe without the lock."""
        entry = self.claims.get(pfn)
        if entry is not None and entry[0] == tag and entry[1] == value:
            return True
        return (tag, value) in self.radix.records_of(pfn)

    def records_of(self, pfn: int) -> list[Record]:
        """All pins of a frame that are stored, in order of arrival."""
        return self.radix.records_of(pfn)

    def settled(self) -> Radix:
        """The pins: inside the section no change is half done."""
        return self.radix

    def discard(self, pfn: int, tag: int, value: int) -> bool:
        """Remove one pin, in a batch or stored; False when there is none such."""
        if pfn in self.claims:
            entry = self.claims[pfn]
            if entry[2].pending.get(pfn) is entry:
                if entry[0] == tag and entry[1] == value:
                    self._drop_entry(pfn, entry)
                    return True
                self._store({pfn: entry})
        records = self.radix.records_of(pfn)
        if (tag, value) not in records:
            return False
        self.change = pfn, records
        self.radix.discard(pfn, tag, value)
        self.change = None
        if pfn in self.moving:
            self.nr_died += 1
        return True

    # Moves and scanners.  All of these inside the section.

    @property
    def nr_annihilated(self) -> int:
        """Pins undone while still in the batch of their own thread."""
        return self._nr_annihilated_before + sum(batch.nr_annihilated for batch in self.batches)

    def is_any_moving(self, pfns: Pfns) -> bool:
        """Whether one of the frames is under move."""
        return bool(np.isin(pfns, np.fromiter(self.moving, np.int64, len(self.moving))).any())

    def is_any_moved_by(self, thread: int, pfns: Pfns) -> bool:
        """Whether this thread itself moves one of the frames: it must not wait for it."""
        mine = [pfn for pfn, mover in self.moving.items() if mover == thread]
        return bool(np.isin(pfns, np.array(mine, dtype=np.int64)).any())

    def begin_move(self, pfns: list[int], thread: int) -> list[bool]:
        """Mark the frames that are not marked yet; whoever took the lock has drained already.

        Pins on their way in are on one side or the other: either their entry was in a batch
        by then and that drain stored it, or they find the count changed and then the mark
        (R-29).
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
        """Drop the marks and wake who waits."""
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

    def after_fork(self, thread: Thread) -> None:
        """In a child: what other threads held, marked, claimed or watched, nobody has any more."""
        self.lock = threading.Lock()
        self._waiters = []
        me = thread.ident
        self.moving = {pfn: mover for pfn, mover in self.moving.items() if mover == me}
        for token in [token for token in self.watchers if token.thread != me]:
            self.watchers.discard(token)
        claims = {pfn: entry for batch in self.batches for pfn, entry in batch.pending.items()}
        if not any(batch.pending is self.claims for batch in self.batches):
            self.claims = claims
        self._watch_or_not()
        is_untidy = self.change is not None or self.late
        self.seq = (self.seq | 1) + (2 if is_untidy else self._step)

    def check(self) -> None:
        """Run H1..H4 and the invariants of the radix.

        Raises:
            InvariantError: one does not hold.
        """
        pending = {pfn: entry for batch in self.batches for pfn, entry in batch.pending.items()}
        nr_pending = sum(len(batch.pending) for batch in self.batches)
        require(len(pending) == nr_pending, "H1 two batches hold a pin of one frame")
        require(pending == self.claims, "H1 claims and batches differ", node=self.node)
        for pfn, (tag, value, _) in pending.items():
            require(
                (tag, value) not in self.radix.records_of(pfn),
                "H2 a pin in a batch and stored",
                pfn=pfn,
            )
            require(pfn not in self.moving, "H3 a frame under move has a pin in a batch", pfn=pfn)
        watched = bool(self.moving or len(self.watchers))
        require(not (pending and len(self.watchers)), "H3 a pin in a batch while a scanner works")
        require(self._step == 1 + watched, "H4 the step of the count", step=self._step)
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
    for shard, change in changes:
        shard.finish(change)
        shard.change = None
