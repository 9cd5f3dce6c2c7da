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

Owns:    the lock, the sequence count, claims, batches, frames under move.
Ignores: owners (a tag is a number to it; `closed` tags are refused), privates.
Cost:    a locked section about 0.25 us; a drain about 0.3 us per pin.
Kernel counterpart: zone->lock with per-CPU lists; lru_cache_disable for the bypass;
         seqcount_spinlock_t for the count.
"""

import threading

import numpy as np

from pinpage.batch import Batch, Entry
from pinpage.errors import PinpageError, require
from pinpage.radix import Radix
from pinpage.units import Pfns

__all__ = ["Shard"]


class Shard:
    """The pins of one node and the way to them.

    Attributes:
        dense, sparse: the two halves of `radix`, one step nearer for lookups.
        seq: the sequence count: odd while somebody writes or watches; changed by every
            locked section.
        claims: the entry of each frame that has a pin in a batch or on its way into one; the
            very dict of the batch while there is one thread.
        moving: frames under move, and the thread that moves them.
        nr_watchers: scanners at work.
        closed: tags (owner numbers) that may not be stored any more.

    Invariants, run by `check` when no other thread is in the registry:
        H1 claims are exactly the entries of all batches, each under its pfn.
        H2 a pin in a batch is not stored as well.
        H3 no frame under move has a pin in a batch, and no batch holds one while a scanner works.
        H4 the count is odd exactly while somebody watches.
    """

    __slots__ = (
        "_changed",
        "_nr_annihilated_before",
        "_step",
        "batches",
        "claims",
        "closed",
        "dense",
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
        "nr_watchers",
        "radix",
        "seq",
        "sparse",
    )

    def __init__(self, node: int, radix: Radix) -> None:
        """A shard around the empty radix of a node."""
        self.node = node
        self.radix = radix
        self.dense = self.radix.dense
        self.sparse = self.radix.sparse
        self.lock = threading.Lock()
        self._changed = threading.Condition(self.lock)
        self.seq = 0
        self.claims: dict[int, Entry] = {}
        self.batches: list[Batch] = []
        self.moving: dict[int, int] = {}
        self.nr_watchers = 0
        self.closed: set[int] = set()
        self._nr_annihilated_before = 0
        self._step = 1
        self.nr_remote = self.nr_waits = 0
        self.nr_drains = self.nr_drained = self.nr_direct = self.nr_refused = self.nr_died = 0

    # The locked section.

    def enter(self, home: int) -> None:
        """Take the lock; `home` is the node that the calling thread runs on."""
        self.lock.acquire()
        self.seq |= 1
        if home != self.node:
            self.nr_remote += 1

    def leave(self) -> None:
        """Release the lock; the count is even again unless somebody watches."""
        self.seq += self._step
        self.lock.release()

    def wait(self) -> None:
        """Inside the section: let others in until some move ends."""
        self.nr_waits += 1
        self.seq += self._step
        self._changed.wait()
        self.seq |= 1

    @property
    def nr_acquisitions(self) -> int:
        """Locked sections so far: each has moved the count on by two, each wait too."""
        return (self.seq + 1) // 2 - self.nr_waits

    def _watch_or_not(self) -> None:
        """Inside the section: on leaving, step to an even count, or stay odd while watched."""
        self._step = 2 if self.moving or self.nr_watchers else 1

    # Batches.  All of these inside the section.

    def adopt(self, batch: Batch) -> None:
        """Let drains know a new thread's batch; forget those of threads that ended."""
        self._forget_ended()
        if not self.batches and not self.claims:
            self.claims = batch.pending
        elif any(old.pending is self.claims for old in self.batches):
            self.seq |= 1
            self.drain_all()
            self.claims = {}
            self.seq += self._step
        self.batches.append(batch)

    def _forget_ended(self) -> None:
        """Drop the empty batches of threads that ended."""
        for old in self.batches:
            if old.is_abandoned and not old.pending:
                self._nr_annihilated_before += old.nr_annihilated
                old.nr_annihilated = 0
        self.batches = [old for old in self.batches if old.pending or not old.is_abandoned]

    def drain(self, batch: Batch) -> None:
        """Store what is in a batch."""
        pending, taken = batch.pending, []
        while pending:
            try:
                taken.append(pending.popitem())
            except KeyError:  # its own thread undid the last one at this moment
                break
        if taken:
            self.nr_drains += 1
            taken.reverse()
            self._store([pfn for pfn, _ in taken], [entry for _, entry in taken])

    def drain_own(self, batch: Batch) -> None:
        """`drain` for the thread that owns the batch: nobody adds to it meanwhile."""
        pfns, entries = list(batch.pending), list(batch.pending.values())
        batch.pending.clear()
        if not pfns:
            return
        self.nr_drains += 1
        self._store(pfns, entries)
        if not self.claims and self.claims is not batch.pending:
            self._forget_ended()
            if len(self.batches) == 1:  # alone again: nobody else can be on the way in
                self.claims = batch.pending

    def forget(self, pfn: int, entry: Entry) -> None:
        """Drop the claim of an entry that the caller took out of its batch, if it has one."""
        claims = self.claims
        if claims.get(pfn) is entry:  # and stays: only who took the entry may drop it
            del claims[pfn]

    def drain_all(self) -> None:
        """Store what is in any batch of this node."""
        if self.claims:
            for batch in self.batches:
                self.drain(batch)

    def drain_frame(self, pfn: int) -> None:
        """Store the pin of one frame, if it is in a batch."""
        entry = self.claims.get(pfn)
        if entry is not None and (taken := entry[2].pending.pop(pfn, None)) is not None:
            self._store([pfn], [taken])

    def _store(self, pfns: list[int], entries: list[Entry]) -> None:
        """Store entries that the caller took out of one batch; hand back what lost a race."""
        refused: list[tuple[int, Entry]] = []
        if self._are_all_welcome(entries):
            if not self.radix.add_bulk(pfns, entries):
                refused = self.radix.add_batch(pfns, entries)
        else:
            for pfn, entry in zip(pfns, entries, strict=True):
                is_late = pfn in self.moving or entry[0] in self.closed
                refused += [(pfn, entry)] if is_late else self.radix.add_batch([pfn], [entry])
        for _, entry in refused:
            entry[2].refused.append(entry)
        self.nr_drained += len(pfns) - len(refused)
        self.nr_refused += len(refused)
        if self.claims is not entries[0][2].pending:
            for pfn, entry in zip(pfns, entries, strict=True):
                self.forget(pfn, entry)

    def _are_all_welcome(self, entries: list[Entry]) -> bool:
        """Whether no mover is at work, and no owner among them has left."""
        if self.moving:
            return False
        return not self.closed or self.closed.isdisjoint({entry[0] for entry in entries})

    def withdraw(self, pfn: int, entry: Entry) -> bool:
        """Take a batched entry of the calling thread back; False when it counts already."""
        batch = entry[2]
        if batch.pending.get(pfn) is entry:
            del batch.pending[pfn]
            self.forget(pfn, entry)
            return True
        for at, refused in enumerate(batch.refused):
            if refused is entry:
                del batch.refused[at]
                return True
        return False

    def undo(self, pfn: int, tag: int, value: int) -> bool:
        """Remove a pin that is in some thread's batch; False when none is."""
        entry = self.claims.get(pfn)
        if entry is None or entry[0] != tag or entry[1] != value:
            return False
        taken = entry[2].pending.pop(pfn, None)
        if taken is not entry:
            if taken is not None:
                self._store([pfn], [taken])
            return False
        self.forget(pfn, entry)
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
        moving = self.moving
        marked = []
        for pfn in pfns:
            marked.append(pfn not in moving)
            moving.setdefault(pfn, thread)
        self._watch_or_not()
        return marked

    def end_move(self, pfns: list[int]) -> None:
        """Drop the marks and wake who waits."""
        for pfn in pfns:
            if pfn not in self.moving:
                raise PinpageError(f"end_move: pfn {pfn:#x} is not under move")
        for pfn in pfns:
            del self.moving[pfn]
        self._watch_or_not()
        self._changed.notify_all()

    def watch(self, change: int) -> None:
        """One scanner more (+1) or less (-1)."""
        self.nr_watchers += change
        self._watch_or_not()

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
        require(not (pending and self.nr_watchers), "H3 a pin in a batch while a scanner works")
        odd = bool(self.moving or self.nr_watchers)
        require(self.seq & 1 == odd, "H4 the parity of the count", seq=self.seq, watched=odd)
        self.radix.check()
