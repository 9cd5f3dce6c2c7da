"""A memory of a few frames, just big enough to lend to a move and strict enough to test it.

`World` implements `pinpage.migrate.Memory` without mm: plain lists, one loop per method, and
an `InvariantError` at the first thing that real memory would only pay for later: a freed
frame referenced, a reference dropped twice, a copy onto a frame in use.  Contents are one
int per frame; a freed frame is poisoned, so whoever still reads it sees `POISON`.

A method works out what is to be and then stores it without a call in between, so that an
interrupt finds all of it done or nothing (`pinpage.move.interrupts`).

Context: one thread at a time; with real threads, a lock around each method.
"""

import enum
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from pinpage.errors import require
from pinpage.move.steps import Reasons
from pinpage.owner import Reason
from pinpage.units import Mask, Pfns

__all__ = ["POISON", "FrameIs", "World", "WorldTargets", "column"]

POISON = -0xDEAD
"""Contents of a frame that is free."""


class FrameIs(enum.Enum):
    """What a frame of the world is."""

    FREE = "free"
    TARGET = "target"
    """Handed out as a destination, not used yet."""
    USED = "used"
    EMPTY = "empty"
    """A source after rekey, about to be freed or quarantined."""
    QUARANTINED = "quarantined"


def column(*numbers: int) -> Pfns:
    """A column of pfns, for tests.

    >>> column(3, 4).dtype
    dtype('int64')
    """
    return np.array(numbers, dtype=np.int64)


class World:
    """`nr_frames` frames, all free.

    Invariants, run by `check`:
        W0 a frame is allocated once (required by `alloc`).
        W1 a frame that is not used has no references, no home and no mover.
        W2 a used frame is referenced.
        W3 a taken frame is used, and a frozen one is taken.
        W4 nobody took a reference of a frozen frame.
    """

    def __init__(self, nr_frames: int) -> None:
        """All frames free and poisoned."""
        self.nr_frames = nr_frames
        self.state = [FrameIs.FREE] * nr_frames
        self.refcount = [0] * nr_frames
        self.contents = [POISON] * nr_frames
        self.home = [0] * nr_frames
        self.taken: set[int] = set()
        self.frozen: dict[int, int] = {}
        self.in_flight: dict[int, int] = {}
        self.nr_copies = 0

    # What owners and tests do with frames.

    def alloc_page(self, contents: int = 0, pfn: int | None = None) -> int:
        """A free frame (the lowest, or `pfn`), with one reference; -1 when there is none.

        Args:
            contents: of the page.
            pfn: which frame; None: the lowest free one.
        """
        if pfn is None:
            if FrameIs.FREE not in self.state:
                return -1
            pfn = self.state.index(FrameIs.FREE)
        require(self.state[pfn] is FrameIs.FREE, "W0 allocated twice", pfn=pfn)
        self.state[pfn] = FrameIs.USED
        self.refcount[pfn] = 1
        self.contents[pfn] = contents
        return pfn

    def get_page(self, pfn: int) -> bool:
        """A reference, unless the frame has none or is frozen."""
        if self.refcount[pfn] == 0 or pfn in self.frozen or pfn in self.in_flight:
            return False
        self.refcount[pfn] += 1
        return True

    def put_page(self, pfn: int) -> bool:
        """Drop a reference; True when it was the last and the frame is free."""
        pfn = self.in_flight.get(pfn, pfn)
        left = self.refcount[pfn] - 1
        require(left >= 0, "W2 a reference dropped that nobody held", pfn=pfn)
        is_last = left == 0 and self.state[pfn] is FrameIs.USED
        if is_last:
            self._require_free_to_go(pfn)
        self.refcount[pfn] = left
        if pfn in self.frozen:
            self.frozen[pfn] -= 1
        if is_last:
            self.state[pfn] = FrameIs.FREE
            self.contents[pfn] = POISON
        return is_last

    def sneak_reference(self, pfn: int) -> None:
        """A reference behind everybody's back, freeze or not: what a lying owner keeps."""
        self.refcount[pfn] += 1

    def map_page(self, pfn: int) -> None:
        """One more page table maps the frame and holds a reference: the VM is its home."""
        require(self.get_page(pfn), "W4 mapped while nobody may take a reference", pfn=pfn)
        self.home[pfn] += 1

    def unmap_page(self, pfn: int) -> None:
        """A page table lets go."""
        self.home[self.in_flight.get(pfn, pfn)] -= 1
        self.put_page(pfn)

    def write(self, pfn: int, contents: int) -> None:
        """Store to a frame in use, or to a target that stands for its source already.

        Args:
            pfn: the frame.
            contents: what it holds then.
        """
        live = self.state[pfn] is FrameIs.USED or pfn in self.in_flight
        require(live, "W1 a write to a frame that is not in use", pfn=pfn)
        self.contents[pfn] = contents

    def read(self, pfn: int) -> int:
        """What is in the frame; `POISON` if it was freed."""
        return self.contents[pfn]

    def free_pfns(self) -> Pfns:
        """Every free frame, ascending."""
        return self._where(FrameIs.FREE)

    def quarantined_pfns(self) -> Pfns:
        """Every frame set aside, ascending."""
        return self._where(FrameIs.QUARANTINED)

    # pinpage.migrate.Memory

    def has_home(self, pfns: Pfns) -> Mask:
        """Frames that page tables map."""
        return _mask(self.home[pfn] > 0 for pfn in pfns.tolist())

    def take(self, pfns: Pfns) -> Reasons:
        """A reference and the exclusive mark."""
        taken, refcount = set(self.taken), list(self.refcount)
        reasons = np.array([self._take(pfn) for pfn in pfns.tolist()], dtype=np.uint8)
        for pfn in pfns[reasons == Reason.MOVED].tolist():
            taken.add(pfn)
            refcount[pfn] += 1
        self.taken, self.refcount = taken, refcount
        return reasons

    def _take(self, pfn: int) -> Reason:
        if pfn in self.taken:
            return Reason.ALREADY_ISOLATED
        is_used = self.state[pfn] is FrameIs.USED and self.refcount[pfn] > 0
        return Reason.MOVED if is_used and pfn not in self.frozen else Reason.RACED_FREE

    def only_ours(self, pfns: Pfns) -> Mask:
        """Taken frames that only the mover references."""
        self._require_taken(pfns)
        return _mask(self.refcount[pfn] == 1 for pfn in pfns.tolist())

    def freeze(self, pfns: Pfns, pin_refs: NDArray[np.int64]) -> Mask:
        """Freeze those that are exactly accounted for.

        Arguments as for `pinpage.move.steps.Memory.freeze`.
        """
        self._require_taken(pfns)
        exact = self.still_frozen(pfns, pin_refs)
        frozen = dict(self.frozen)
        for pfn in pfns[exact].tolist():
            require(pfn not in frozen, "W3 frozen twice", pfn=pfn)
            frozen[pfn] = self.refcount[pfn]
        self.frozen = frozen
        return exact

    def still_frozen(self, pfns: Pfns, pin_refs: NDArray[np.int64]) -> Mask:
        """Those whose references are mover + home + pins.

        Arguments as for `pinpage.move.steps.Memory.still_frozen`.
        """
        pairs = zip(pfns.tolist(), pin_refs.tolist(), strict=True)
        return _mask(self.refcount[pfn] == 1 + self.home[pfn] + refs for pfn, refs in pairs)

    def references(self, pfns: Pfns) -> NDArray[np.int64]:
        """All but those of page tables."""
        return column(*(self.refcount[pfn] - self.home[pfn] for pfn in pfns.tolist()))

    def unfreeze(self, pfns: Pfns) -> None:
        """References may be taken again."""
        thawed = set(pfns.tolist())
        frozen = {pfn: count for pfn, count in self.frozen.items() if pfn not in thawed}
        in_flight = {t: s for t, s in self.in_flight.items() if s not in thawed}
        self.frozen, self.in_flight = frozen, in_flight

    def copy(self, sources: Pfns, targets: Pfns) -> None:
        """Contents; forth while frozen, or back when a move is undone.

        Arguments as for `pinpage.move.steps.Memory.copy`.
        """
        in_flight, contents = dict(self.in_flight), list(self.contents)
        for source, target in zip(sources.tolist(), targets.tolist(), strict=True):
            if in_flight.get(source) != target:
                require(source in self.frozen, "W4 copied while anybody may write", pfn=source)
                require(
                    self.state[target] is FrameIs.TARGET,
                    "W1 copied onto a frame in use",
                    pfn=target,
                )
                in_flight[target] = source
            contents[target] = contents[source]
        nr_copies = self.nr_copies + len(sources)
        self.in_flight, self.contents, self.nr_copies = in_flight, contents, nr_copies

    def rekey(self, sources: Pfns, targets: Pfns) -> Mask:
        """The frozen references, and the home, are the target's.

        Arguments as for `pinpage.move.steps.Memory.rekey`.
        """
        done = _mask(self.frozen[pfn] > 1 for pfn in sources.tolist())
        in_flight, frozen, taken = dict(self.in_flight), dict(self.frozen), set(self.taken)
        state, refcount, home = list(self.state), list(self.refcount), list(self.home)
        for source, target in zip(sources[done].tolist(), targets[done].tolist(), strict=True):
            require(in_flight.pop(target) == source, "W4 rekeyed without a copy", pfn=source)
            moved = frozen.pop(source)
            state[target] = FrameIs.USED
            refcount[target] += moved - 1
            home[target], home[source] = home[source], 0
            refcount[source] -= moved
            state[source] = FrameIs.EMPTY
            taken.discard(source)
        self.in_flight, self.frozen, self.taken = in_flight, frozen, taken
        self.state, self.refcount, self.home = state, refcount, home
        return done

    def hand_over(self, sources: Pfns, targets: Pfns, pin_refs: NDArray[np.int64]) -> Mask:
        """References that go with the target's name.

        Arguments as for `pinpage.move.steps.Memory.hand_over`.
        """
        owed = self.references(sources) - 1 - pin_refs
        done: Mask = owed > 0
        in_flight, frozen = dict(self.in_flight), dict(self.frozen)
        state, refcount = list(self.state), list(self.refcount)
        rows = zip(sources.tolist(), targets.tolist(), owed.tolist(), strict=True)
        for source, target, count in rows:
            if count > 0:
                require(in_flight.pop(target) == source, "W4 handed over in no move", pfn=target)
                frozen[source] -= count
                refcount[source] -= count
                state[target], refcount[target] = FrameIs.USED, count
        self.in_flight, self.frozen = in_flight, frozen
        self.state, self.refcount = state, refcount
        return done

    def free(self, sources: Pfns) -> None:
        """Emptied sources."""
        for pfn in sources.tolist():
            require(self.state[pfn] is FrameIs.EMPTY, "W1 freed while in use", pfn=pfn)
            require(self.refcount[pfn] == 0, "W1 freed while referenced", pfn=pfn)
            require(self.home[pfn] == 0, "W1 freed while mapped", pfn=pfn)
        state, contents = list(self.state), list(self.contents)
        for pfn in sources.tolist():
            state[pfn], contents[pfn] = FrameIs.FREE, POISON
        self.state, self.contents = state, contents

    def put(self, pfns: Pfns) -> None:
        """Undo take."""
        self._require_taken(pfns)
        taken, refcount = self.taken.difference(pfns.tolist()), list(self.refcount)
        state, contents = list(self.state), list(self.contents)
        for pfn in pfns.tolist():
            require(pfn not in self.frozen, "W3 put back while frozen", pfn=pfn)
            refcount[pfn] -= 1
            if refcount[pfn] == 0:
                require(self.home[pfn] == 0, "W1 freed while mapped", pfn=pfn)
                state[pfn], contents[pfn] = FrameIs.FREE, POISON
        self.taken, self.refcount = taken, refcount
        self.state, self.contents = state, contents

    def quarantine(self, pfns: Pfns) -> None:
        """Set aside for good."""
        state, taken = list(self.state), self.taken.difference(pfns.tolist())
        for pfn in pfns.tolist():
            state[pfn] = FrameIs.QUARANTINED
        self.state, self.taken = state, taken

    # Itself.

    def check(self) -> None:
        """Run W1..W4.

        Raises:
            InvariantError: one does not hold.
        """
        for pfn, state in enumerate(self.state):
            used = state is FrameIs.USED
            set_aside = state is FrameIs.QUARANTINED or state is FrameIs.EMPTY
            if not used and not set_aside:
                require(self.refcount[pfn] == 0, "W1 not used, but referenced", pfn=pfn)
                require(self.home[pfn] == 0, "W1 not used, but mapped", pfn=pfn)
            require(not used or self.refcount[pfn] > 0, "W2 used, but not referenced", pfn=pfn)
            require(used or pfn not in self.taken, "W3 taken, but not used", pfn=pfn)
        require(self.frozen.keys() <= self.taken, "W3 frozen, but not taken")

    def _require_free_to_go(self, pfn: int) -> None:
        message = "W3 the mover's reference was dropped by somebody else"
        require(pfn not in self.taken, message, pfn=pfn)
        require(self.home[pfn] == 0, "W1 freed while mapped", pfn=pfn)

    def _require_taken(self, pfns: Pfns) -> None:
        for pfn in pfns.tolist():
            require(pfn in self.taken, "W3 a mover touches what it has not taken", pfn=pfn)

    def _where(self, wanted: FrameIs) -> Pfns:
        return column(*(pfn for pfn, state in enumerate(self.state) if state is wanted))


class WorldTargets:
    """Free frames of a world as targets, the highest first (as compaction's free scanner)."""

    def __init__(self, world: World, limit: int | None = None) -> None:
        """At most `limit` of them."""
        self._world = world
        self._left = world.nr_frames if limit is None else limit

    def take(self, count: int) -> Pfns:
        """Up to `count` free frames."""
        world = self._world
        found = world.free_pfns()[::-1][: min(count, self._left)].copy()
        state, left = list(world.state), self._left - len(found)
        for pfn in found.tolist():
            state[pfn] = FrameIs.TARGET
        self._left, world.state = left, state
        return found

    def give_back(self, pfns: Pfns) -> None:
        """Unused targets become free again."""
        world = self._world
        state, contents, left = list(world.state), list(world.contents), self._left + len(pfns)
        for pfn in pfns.tolist():
            require(state[pfn] is FrameIs.TARGET, "W1 gave back a target in use", pfn=pfn)
            require(pfn not in world.in_flight, "W1 gave back a target in flight", pfn=pfn)
            state[pfn], contents[pfn] = FrameIs.FREE, POISON
        self._left, world.state, world.contents = left, state, contents


def _mask(values: Iterable[bool]) -> Mask:
    return np.fromiter(values, dtype=np.bool_)
