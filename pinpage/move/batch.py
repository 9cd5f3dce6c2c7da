"""A batch of frames in a mover's hands: how they are taken, refused and put back.

What a move and a release have in common.  A frame passes from *marked* (the registry lets
no pin join) to *taken* (the VM lets no other mover have it), and leaves through `put_back` or,
moved, when it is freed; nothing else ends it.

On the way out the mark goes first and the frame second: a frame that is free again, or that
another mover may take, is never found under a move that is over.

Everything that gives back looks at what is still held, so that it can be begun again wherever
it was interrupted: the columns below are set before a call that changes something where too
much does no harm, and by a `Receipt` where it would.
"""

import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import Self, TypeVar

import numpy as np

from pinpage.errors import InvariantError
from pinpage.move.callbacks import Call
from pinpage.move.interrupts import NR_TRIES, ROUNDS, Receipt, see_through
from pinpage.move.pins import Index, PinsOfBatch, PinState
from pinpage.move.report import Refusal
from pinpage.move.steps import Memory, Reasons, Step, TargetSource, distinct
from pinpage.owner import Mode, PinOwner, Reason, Verdict
from pinpage.registry import PinRegistry
from pinpage.units import Mask, Pfns

__all__ = ["PENDING", "Batch", "carry_out"]

_T = TypeVar("_T")
_Change = Callable[..., Mask | None]

PENDING = 0xFF
"""In a column of reasons: not decided yet."""


class Batch:
    """A batch of frames on their way through a move or a release, a column for each fact.

    Attributes:
        sources: int64[n], the batch.
        reasons: uint8[n], `PENDING` until decided.
        where: int64[n], the target of each frame, or -1.
        target_refs: int64[n], references that the target had when it came; -1 before.
        pin_refs: int64[n], references that pins and those who are unpinning hold at most; it
            never rises.
        marked, target_marked: bool[n], what is under move in our name.
        taken: bool[n], frames that carry our reference and mark.
        frozen, rekeyed: bool[n], how far each has come.
        is_back: bool[n], contents that were written at the target are at the source again.
        bad_source, bad_target: bool[n], frames that an owner may still use against its word.
        row_refs: int64[nr_rows], references that each pin stands for.
        pins: who is to be asked.
        refusals: position -> the owner that decided against it.
        receipt: makes the calls whose answer may not be lost.
        nr_calls: (callback, row) -> how often it was called in the undo.
        nr_tries: interrupts after which an undo gives up.
        is_interrupted: what was in progress may have been done or not.
    """

    def __init__(
        self, registry: PinRegistry, memory: Memory, sources: Pfns, targets: TargetSource
    ) -> None:
        """Check the batch; nothing is touched yet.

        Args:
            registry: who pins what.
            memory: the VM's side.
            sources: the frames.
            targets: gives targets, and gets back what is not used.

        Raises:
            PinpageError: `sources` is no column of pfns, or names a frame twice.
        """
        self.sources = distinct(sources, "move: sources")
        nr = len(self.sources)
        self.registry, self.memory, self.targets = registry, memory, targets
        self.reasons: Reasons = np.full(nr, PENDING, dtype=np.uint8)
        self.where, self.target_refs, self.pin_refs = np.full((3, nr), -1)
        self.marked, self.target_marked, self.taken, self.frozen = np.zeros((4, nr), np.bool_)
        self.rekeyed, self.is_back = np.zeros((2, nr), np.bool_)
        self.bad_source, self.bad_target = np.zeros((2, nr), np.bool_)
        self.row_refs = np.zeros(0, dtype=np.int64)
        self.pins: PinsOfBatch
        self.refusals: dict[int, Refusal] = {}
        self.receipt = Receipt()
        self.nr_calls: Counter[tuple[str, int]] = Counter()
        self.nr_tries = NR_TRIES + 8 * nr
        self.is_interrupted = False
        self._thread = threading.get_ident()

    @property
    def going(self) -> Index:
        """Positions that are still pending, ascending."""
        going: Index = (self.reasons == PENDING).nonzero()[0]
        return going

    @property
    def unpinned(self) -> Index:
        """Frames still going that no pin holds any more (or never did)."""
        return np.flatnonzero((self.reasons == PENDING) & (self.pins.nr_live == 0))

    # The way in.

    def look_up(self, is_able: Callable[[PinOwner], bool]) -> None:
        """Mark the frames, read every pin, drop frames that cannot go.

        Marking drains the batches: every pin there is shows, and none joins (R-20, R-29).
        """
        self.mark(self.sources, self.marked, np.arange(len(self.sources)))
        self.reasons[~self.marked] = Reason.ALREADY_ISOLATED
        self.pins = PinsOfBatch(self.registry, self.sources)
        for owner, rows in self.pins.owners:
            if self.registry.is_faulty(owner):
                self.refuse(self.live(rows), owner, Reason.OWNER_FAULTY)
            elif not is_able(owner):
                self.refuse(self.live(rows), owner, Reason.NO_CALLBACK)
        if len(unpinned := self.unpinned):  # M8: a frame that nobody knows is never a success
            has_home = self.memory.has_home(self.sources[unpinned])
            self.reasons[unpinned[~has_home]] = Reason.NO_OWNER
        self.drop_untaken()

    def take(self) -> None:
        """Take each frame: a reference unless there is none, and the exclusive mark (R-1)."""
        going = self.going

        def note(reasons: Reasons) -> None:
            got = reasons == Reason.MOVED
            self.taken[going[got]] = True
            self.reasons[going[~got]] = reasons[~got]

        self.receipt.do(note, self.memory.take, self.sources[going])
        self.drop_untaken()

    def mark(self, pfns: Pfns, marked: Mask, frames: Index) -> None:
        """Put some frames under move; arguments as of `unmark`.  What another mover has is not."""
        marked[frames] = ~self.registry.marks.marked_by(pfns[frames], self._thread)
        marked[frames] = self.registry.marks.begin_move(pfns[frames])

    # Asking.

    def once(self, step: Step, act: Callable[[Self], object]) -> Iterator[Step]:
        """Do one step for all frames that are still going, if there are any.

        Args:
            step: where the move is: what a test may stop at.
            act: given the frames that still go, as rows of the batch.
        """
        if len(self.going):
            act(self)
            yield step

    def by_owner(
        self, step: Step, act: Callable[[Self, PinOwner, Index], object]
    ) -> Iterator[Step]:
        """One step for each owner and its live rows, after a fresh look at their pins (M2).

        Args:
            step: where the move is.
            act: given an owner and its live rows.
        """
        for owner, all_rows in self.pins.owners:
            rows = self.live(all_rows)
            if len(rows) and self.pins.may_be_stale:
                self.refresh(self.pins.frames_of(rows))
                rows = self.live(rows)
            if len(rows):
                act(self, owner, rows)
                yield step

    def live(self, rows: Index) -> Index:
        """Those of some rows whose pin lives and whose frame is still going."""
        is_going = self.reasons[self.pins.frame[rows]] == PENDING
        chosen: Index = rows[is_going & (self.pins.state[rows] < PinState.UNPINNED)]
        return chosen

    def refresh(self, frames: Index, *, thorough: bool = False) -> None:
        """Look again who still pins some frames; a pin that joined stops its frame (R-29).

        Args:
            frames: rows of the batch.
            thorough: look also where no pin died since the last look.
        """
        self.reasons[self.pins.refresh(frames, thorough=thorough)] = Reason.OWNER_AGAIN

    def tell(self, call: Call, rows: Index, then: int, unfinished: int | None = None) -> Call:
        """Make a call about some rows, and note how far it got.

        Args:
            call: to be made.
            rows: its pins.
            then: their state when it has returned.
            unfinished: and where it was begun and has perhaps not returned; None: as before.
        """

        def note() -> None:
            self.pins.state[rows[: call.nr_returned]] = then
            if unfinished is not None:
                self.pins.state[rows[call.unfinished]] = unfinished

        self.receipt.watch(note, call.make, self.registry)
        return call

    def call(self, what: str, owner: PinOwner, rows: Index, pfns: Pfns, *more: Mode | Pfns) -> Call:
        """A callback about some rows, to be made; columns of frames become columns of rows.

        Args:
            what: the callback.
            owner: whose.
            rows: of pins.
            pfns: columns of pfns, one for each frame of the batch.
        """
        frames = self.pins.frame[rows]
        rest = [a if isinstance(a, Mode) else a[frames] for a in more]
        return Call(what, owner, pfns[frames], self.pins.privates(rows), *rest)

    def refuse(self, rows: Index, owner: PinOwner, reason: Reason) -> None:
        """An owner decides against the frames of some of its rows.

        Args:
            rows: of pins.
            owner: whose they are.
            reason: of all of them.
        """
        if len(rows):
            frames = self.pins.frames_of(rows)
            self.reasons[frames] = reason
            if reason != Reason.OWNER_FAULTY:
                agreed = self.pins.has(frames, PinState.ISOLATED)
                self.reasons[frames[agreed]] = Reason.PARTNER_REFUSED
            self.refusals.update(dict.fromkeys(frames.tolist(), Refusal(owner.name, reason)))

    def ask(self, call: Call, rows: Index) -> None:
        """Make a call that is answered by a verdict for each of some rows.

        Args:
            call: what is asked.
            rows: of pins, as many as verdicts are wanted.
        """
        state, answers = self.pins.state, None

        def note() -> None:
            nonlocal answers
            if (answers := call.answers(self.registry)) is None:
                state[rows] = PinState.UNKNOWN
                return
            asked = rows[: len(answers)]
            state[asked] = np.where(answers, PinState.WAITING, PinState.ISOLATED)  # Yes is zero
            state[rows[call.unfinished]] = PinState.UNKNOWN

        self.receipt.watch(note, call.make, self.registry)
        if answers is None or call.failure is not Reason.MOVED:
            self.refuse_for(call, rows)
        elif answers.any():
            self.refuse(rows[answers == Verdict.AGAIN], call.owner, Reason.OWNER_AGAIN)
            self.refuse(rows[answers == Verdict.BUSY], call.owner, Reason.OWNER_BUSY)

    def refuse_for(self, call: Call, rows: Index) -> None:
        """An owner was not called, or not about all these: it raised, or it has left meanwhile.

        Args:
            call: that was not answered.
            rows: of pins that it was about.
        """
        if call.failure is Reason.OWNER_AGAIN:  # with its pins, unless it is about to stay
            self.refresh(self.pins.frames_of(rows), thorough=True)
            rows = rows[self.pins.state[rows] < PinState.UNPINNED]
        self.refuse(rows, call.owner, call.failure)

    def blame(self, owner: PinOwner | None, frame: int, why: str, bad: Mask) -> None:
        """An owner broke its promise over one frame (None: it is not known which).

        Args:
            owner: whose fault it is.
            frame: its position.
            why: what the owner did.
            bad: `bad_source` or `bad_target`, where the frame is noted.
        """
        bad[frame] = True
        if owner is not None:
            self.registry.fault(owner, why)
            self.refusals[frame] = Refusal(owner.name, Reason.OWNER_FAULTY)

    def blame_who_pins(self, frames: Index, why: str) -> None:
        """Whoever pins one of these sources should not.

        Args:
            frames: rows of the batch.
            why: in words.
        """
        for frame in frames.tolist():
            for pin in self.registry.pins(int(self.sources[frame])):
                self.blame(pin.owner, frame, why.format(pin.pfn), self.bad_source)

    # The way out.

    def do(
        self, noted: Pfns | Mask, value: int, frames: Index, call: _Change, *columns: Pfns
    ) -> None:
        """Make a call about some frames, and note where it was done.

        Args:
            noted: the column where that is noted.
            value: what is noted.
            frames: positions; none of them, no call.
            call: gets the frames' part of each of `columns`; done for all, or as it answers.
            columns: one per argument.
        """

        def note(done: object) -> None:
            noted[frames[done] if isinstance(done, np.ndarray) else frames] = value

        if len(frames):
            self.receipt.do(note, call, *[column[frames] for column in columns])

    def recover(self) -> None:
        """After an interrupt: what did the call come to that was interrupted?"""
        self.is_interrupted = True
        self.receipt.settle()

    def unmark(self, pfns: Pfns, marked: Mask, frames: Index) -> None:
        """These are not under move any more: pins may join, and other movers come.

        Args:
            pfns: the batch or its targets.
            marked: which of them are under move.
            frames: positions; those that are not marked are left alone.
        """
        frames = ours = frames[marked[frames]]
        if self.is_interrupted:  # perhaps in here
            ours = frames[self.registry.marks.marked_by(pfns[frames], self._thread)]
        if len(ours):
            self.registry.marks.end_move(pfns[ours])
        marked[frames] = False

    def drop_untaken(self) -> None:
        """Unmark frames that were refused before they were taken."""
        refused = (self.reasons != PENDING) & ~self.taken
        if refused.any():
            self.unmark(self.sources, self.marked, np.flatnonzero(refused))

    def put_back(self) -> None:
        """Put back every frame that was refused; what was freed meanwhile is a success (R-2)."""
        held = np.flatnonzero((self.reasons != PENDING) & self.taken)
        if not len(held):
            return
        pfns = self.sources[held]
        # References before pins: whoever lets go unpins first, so a pin that is seen after
        # the last reference went was not dropped before it.
        alone = self.memory.only_ours(pfns)
        self.pins.refresh(held, thorough=True)
        pinned = self.pins.nr_live[held] > 0
        now_alone = self.memory.only_ours(pfns)
        self.reasons[held[now_alone & ~pinned]] = Reason.FREED
        bad = held[alone & now_alone & pinned]  # out of circulation: M5, R-26
        self.blame_who_pins(bad, "let go of pfn {:#x} and kept its pin")
        self.reasons[bad] = Reason.OWNER_FAULTY
        self.do(self.taken, False, bad, self.memory.quarantine, self.sources)
        self.unmark(self.sources, self.marked, held)
        self.do(self.taken, False, held[self.taken[held]], self.memory.put, self.sources)


def carry_out(
    make: Callable[[], Batch],
    steps: Callable[[Batch], Generator[Step, None, _T]],
    abandon: Callable[[Batch], None],
) -> Generator[Step, None, _T]:
    """Take steps, and undo them to the end if they are interrupted or not wanted any more.

    Args:
        make: makes the batch.
        steps: what is done with it.
        abandon: does what is left to undo, and can be begun again at any point.

    Raises:
        InvariantError: our own state contradicts itself; nothing is undone.
        BaseException: what cut the steps, or the last interrupt that came meanwhile.
    """
    batch = make()
    try:
        return (yield from steps(batch))
    except InvariantError:  # nobody knows any more what is true
        raise
    except BaseException as error:  # noqa: BLE001 - raised when all is put back
        last = error
        for _ in ROUNDS:
            try:
                last = see_through(partial(abandon, batch), last, batch.nr_tries)
                break
            except Exception:
                raise
            except BaseException as another:  # noqa: BLE001 - struck between two tries
                last = another
        raise last  # noqa: B904 - it has its context
