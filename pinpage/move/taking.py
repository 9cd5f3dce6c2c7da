"""Frames in a mover's hands: how they are taken, refused and let go again.

What a move and a release have in common.  A frame passes from *marked* (the registry lets
no pin join) to *taken* (the VM lets no other mover have it), and leaves through `let_go` or,
moved, through `finish`; nothing else ends a taking.

On the way out the mark goes first and the frame second: a frame that is free again, or that
another mover may take, is never found under a move that is over.

Everything that lets go looks at what is still held, so that it can be begun again wherever it
was interrupted: the columns below are set before a call that changes something where too
much does no harm, and by a `Receipt` where it would.
"""

import threading
from collections.abc import Callable

import numpy as np

from pinpage.errors import PinpageError
from pinpage.move.ballot import Ballot, Group, Index, PinState
from pinpage.move.callbacks import Call
from pinpage.move.interrupts import NR_TRIES, Receipt
from pinpage.move.report import Refusal
from pinpage.move.steps import Memory, Reasons
from pinpage.owner import PinOwner, Reason
from pinpage.registry import PinRegistry
from pinpage.units import Mask, Pfns

__all__ = ["PENDING", "Note", "Taking"]

PENDING = 0xFF
"""In a column of reasons: not decided yet."""

Note = Callable[[Call, Index], None]
"""What a call has come to for the rows that it was about."""


class Taking:
    """A batch of frames on their way through a move or a release.

    Attributes:
        sources: int64[n], the batch.
        reasons: uint8[n], `PENDING` until decided.
        going: int64, positions in the batch that are still pending, ascending.
        pfns: their pfns.
        taken: bool[n], frames that carry our reference and mark.
        refusals: position -> the owner that decided against it.
        receipt: makes the calls whose answer may not be lost.
        thread: in whose name the frames are marked.
        nr_tries: interrupts after which an undo gives up.
    """

    def __init__(self, registry: PinRegistry, memory: Memory, sources: Pfns) -> None:
        """Check the batch; nothing is touched yet.

        Raises:
            PinpageError: `sources` is no column of pfns, or names a frame twice.
        """
        column = np.asarray(sources, dtype=np.int64)
        if column.ndim != 1:
            raise PinpageError(f"move: sources must be a 1-d array of pfns, not {column.ndim}-d")
        ordered = np.sort(column)
        twice = ordered[1:] == ordered[:-1]
        if twice.any():
            raise PinpageError(f"move: pfn {int(ordered[twice.argmax()]):#x} is given twice")
        self.registry = registry
        self.memory = memory
        self.sources: Pfns = column
        self.reasons: Reasons = np.full(len(column), PENDING, dtype=np.uint8)
        self.going: Index = np.arange(len(column))
        self.pfns: Pfns = column
        self.taken: Mask = np.zeros(len(column), dtype=np.bool_)
        self.refusals: dict[int, Refusal] = {}
        self.receipt = Receipt()
        self.thread = threading.get_ident()
        self.nr_tries = NR_TRIES + 8 * len(column)
        self._marked: Mask = self.taken.copy()
        self._is_interrupted = False
        self._asked: tuple[Call, Index, Note] | None = None
        self.ballot: Ballot

    def look_up(self, is_able: Callable[[PinOwner], bool]) -> None:
        """Mark the frames, read every pin, drop frames that cannot go.

        Marking drains the batches: every pin there is shows, and none joins (R-20, R-29).
        """
        self.thread = threading.get_ident()
        self._marked = ~self.registry.marks.marked_by(self.sources, self.thread)
        self._marked = self.registry.marks.begin_move(self.sources)
        self.fail(np.flatnonzero(~self._marked), Reason.ALREADY_ISOLATED)
        self.ballot = Ballot(self.registry, self.sources)
        for group in self.ballot.groups:
            if self.registry.is_faulty(group.owner):
                self.refuse(self.live(group), group.owner, Reason.OWNER_FAULTY)
            elif not is_able(group.owner):
                self.refuse(self.live(group), group.owner, Reason.NO_CALLBACK)
        unpinned = self.deserted()
        if len(unpinned):  # M8: a frame that nobody knows is never a success
            homeless = ~self.memory.has_home(self.sources[unpinned])
            self.fail(unpinned[homeless], Reason.NO_OWNER)
        self.drop_untaken()

    def take(self) -> None:
        """Take each frame: a reference unless there is none, and the exclusive mark (R-1)."""
        wanted = self.going
        reasons = np.zeros(0, dtype=np.uint8)

        def note(answer: Reasons) -> None:
            nonlocal reasons
            reasons = answer
            self.taken[wanted[reasons == Reason.MOVED]] = True

        self.receipt.do(note, self.memory.take, self.pfns)
        got = reasons == Reason.MOVED
        if not got.all():
            for reason in np.unique(reasons[~got]).tolist():
                self.fail(wanted[reasons == reason], Reason(reason))
            self.drop_untaken()

    def drop_untaken(self) -> None:
        """Unmark frames that were refused before they were taken."""
        if len(self.going) < len(self.sources):
            self.finish(np.flatnonzero((self.reasons != PENDING) & self._marked & ~self.taken))

    def fail(self, frames: Index, reason: Reason) -> None:
        """Decide against some frames."""
        if len(frames):
            self.reasons[frames] = reason
            self.going = self.going[self.reasons[self.going] == PENDING]
            self.pfns = self.sources[self.going]

    def refuse(self, rows: Index, owner: PinOwner, reason: Reason) -> None:
        """An owner decides against the frames of some of its rows."""
        if not len(rows):
            return
        frames = np.unique(self.ballot.frame[rows])
        willing = self.ballot.has(PinState.ISOLATED, frames) & (reason != Reason.OWNER_FAULTY)
        self.fail(frames, reason)
        self.reasons[frames[willing]] = Reason.PARTNER_REFUSED
        self.refusals.update(dict.fromkeys(frames.tolist(), Refusal(owner.name, reason)))

    def live(self, group: Group) -> Index:
        """Rows of one owner whose pin lives and whose frame is still going."""
        rows = group.rows
        if len(self.going) < len(self.sources):
            rows = rows[self.reasons[self.ballot.frame[rows]] == PENDING]
        if not self.ballot.any_dead:
            return rows
        chosen: Index = rows[self.ballot.state[rows] < PinState.DEAD]
        return chosen

    def look_again(self, group: Group) -> Index:
        """`live`, after a fresh look at who still pins the frames of this owner."""
        rows = self.live(group)
        if len(rows) and self.ballot.may_be_stale:
            self.refresh(np.unique(self.ballot.frame[rows]))
            rows = self.live(group)
        return rows

    def refresh(self, frames: Index, *, thorough: bool = False) -> None:
        """Look again who still pins some frames; a pin that joined stops its frame (R-29)."""
        _, joined = self.ballot.refresh(frames, thorough=thorough)
        self.fail(joined, Reason.OWNER_AGAIN)

    def deserted(self) -> Index:
        """Frames still going that no pin holds any more (or never did)."""
        alone: Index = self.going[self.ballot.nr_live[self.going] == 0]
        return alone

    # Asking.

    def ask(self, call: Call, rows: Index, note: Note) -> bool:
        """Make a call about some rows; whether all of them were told.

        Args:
            call: to be made.
            rows: the pins that it is about.
            note: told how far the call has got, whatever ended it; may run twice.
        """
        self._asked = call, rows, note
        made = call.make(self.registry)
        self._settle_asked()
        return made

    def _settle_asked(self) -> None:
        if self._asked is not None:
            call, rows, note = self._asked
            if call.failure is not Reason.OWNER_AGAIN:  # else nobody was called
                note(call, rows)
            self._asked = None

    # The way out.

    def recover(self) -> None:
        """After an interrupt: what did the call come to that was interrupted?"""
        self._is_interrupted = True
        self.receipt.settle()
        self._settle_asked()
        self.going = np.flatnonzero(self.reasons == PENDING)
        self.pfns = self.sources[self.going]

    def let_go(self) -> None:
        """Put back every frame that was refused; what was freed meanwhile is a success (R-2)."""
        held = np.flatnonzero((self.reasons != PENDING) & self.taken)
        if not len(held):
            return
        pfns = self.sources[held]
        # References before pins: whoever lets go unpins first, so a pin that is seen after
        # the last reference went was not dropped before it.
        alone = self.memory.only_ours(pfns)
        self.ballot.refresh(held, thorough=True)
        pinned = self.ballot.nr_live[held] > 0
        now_alone = self.memory.only_ours(pfns)
        self.reasons[held[now_alone & ~pinned]] = Reason.FREED
        lied = alone & now_alone & pinned
        if lied.any():
            self._set_aside(held[lied])
        self.finish(held)
        self._forget(self.memory.put, held[~lied])

    def _set_aside(self, frames: Index) -> None:
        """Frames whose last reference went while a pin stayed: out of circulation (M5, R-26)."""
        for frame in frames.tolist():
            for pin in self.registry.pins(int(self.sources[frame])):
                why = f"let go of pfn {pin.pfn:#x} and kept its pin"
                self.registry.fault(pin.owner, why)
                self.refusals[frame] = Refusal(pin.owner.name, Reason.OWNER_FAULTY)
        self.reasons[frames] = Reason.OWNER_FAULTY
        self._forget(self.memory.quarantine, frames)

    def _forget(self, call: Callable[[Pfns], object], frames: Index) -> None:
        """Hand taken frames over to the memory for good."""

        def note(_: object) -> None:
            self.taken[frames] = False

        if len(frames):
            self.receipt.do(note, call, self.sources[frames])

    def finish(self, frames: Index) -> None:
        """The registry may let pins join again."""
        frames = ours = frames[self._marked[frames]]
        if self._is_interrupted:  # perhaps in here
            ours = frames[self.registry.marks.marked_by(self.sources[frames], self.thread)]
        if len(ours):
            self.registry.marks.end_move(self.sources[ours])
        self._marked[frames] = False
