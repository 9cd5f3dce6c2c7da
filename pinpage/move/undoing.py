"""The way back of a move: whatever became of its frames, nobody waits for it afterwards.

    contents back -> each owner in reverse: migrate back or putback -> thaw -> targets back
                  -> frames back

There is one exit for every reason: a refusal, an owner that raised, a caller that wants no
more of it, an interrupt, also one that comes while all this goes on.  Each part looks at what
is left to do and does that, so the whole may be begun again at any point.

An owner that raises over one pin is told of the others all the same.  One that is interrupted
in the undo is told again, pin by pin, up to three times.
"""

from collections.abc import Callable, Iterator

import numpy as np

from pinpage.move.ballot import Group, Index, PinState
from pinpage.move.callbacks import Call
from pinpage.move.report import Refusal
from pinpage.move.steps import Memory, Step, TargetSource
from pinpage.move.taking import PENDING, Note, Taking
from pinpage.owner import Mode, PinOwner, Reason
from pinpage.registry import PinRegistry
from pinpage.units import Mask, Pfns

__all__ = ["Undoing"]

_NR_TRIES_PER_PIN = 3
_TOLD = (PinState.MIGRATED, PinState.LEFT, PinState.DOUBT)


class Undoing(Taking):
    """A batch that has targets, owners that know of them, and a way back."""

    def __init__(
        self, registry: PinRegistry, memory: Memory, sources: Pfns, targets: TargetSource
    ) -> None:
        """As `Taking`; `targets` gets back what is not used."""
        super().__init__(registry, memory, sources)
        self._targets = targets
        nr = len(self.sources)
        self._where: Pfns = np.full(nr, -1, dtype=np.int64)
        self._target_refs = np.zeros(nr, dtype=np.int64)
        self._loose: Pfns = self._where[:0]
        """Targets in our hands that no frame has yet."""
        self._loose_marked, self._where_marked = np.zeros((2, nr), dtype=np.bool_)
        self._frozen, self._rekeyed, self._lied, self._tainted = np.zeros((4, nr), dtype=np.bool_)
        self._wrote, self._is_back = np.zeros((2, nr), dtype=np.bool_)
        self.row_refs = np.zeros(0, dtype=np.int64)
        """References that each pin stands for."""
        self._holds_still = np.zeros(0, dtype=np.bool_)
        self._nr_told = np.zeros(0, dtype=np.uint8)

    def undo(self) -> Iterator[Step]:
        """Put back what did not move: the last owner first, then the frame."""
        self._return_loose()
        lost = self.taken & ~self._rekeyed & (self.reasons != PENDING)
        if not lost.any():
            return
        if not len(self._nr_told):
            self._holds_still = np.zeros(len(self.ballot.frame), dtype=np.bool_)
            self._nr_told = np.zeros(len(self.ballot.frame), dtype=np.uint8)
        self._bring_back(lost)
        for group in reversed(self.ballot.groups):
            if self._undo_group(group, lost):
                yield Step.PUTBACK
        self._hand_over(np.flatnonzero(lost & self._frozen & ~self._lied & (self._where >= 0)))
        self._thaw(np.flatnonzero(lost & self._frozen))
        self._return_targets(np.flatnonzero(lost & (self._where >= 0)))
        self.let_go()

    def unmark_targets(self, frames: Index) -> None:
        """The targets of some frames are as free to go as any frame."""
        frames = ours = frames[self._where_marked[frames]]
        if self._is_interrupted:  # perhaps in here
            ours = frames[self.registry.marks.marked_by(self._where[frames], self.thread)]
        if len(ours):
            self.registry.marks.end_move(self._where[ours])
        self._where_marked[frames] = False

    # Contents.

    def _bring_back(self, lost: Mask) -> None:
        """Contents to the source again, where some owner lives on the target already.

        That owner may have written there since; so it is asked to hold still once more.
        Its answer cannot change anything: there is no other way left.
        """
        for group in self.ballot.groups:
            rows = self._look_at(group, lost)
            rows = rows[self.ballot.state[rows] == PinState.MIGRATED]
            if len(rows):
                self._wrote[self.ballot.frame[rows]] = True
                self._suspect(group.owner, np.unique(self.ballot.frame[rows]), is_sure=False)
                self._hold_still(group.owner, rows[~self._holds_still[rows]])
        frames = np.flatnonzero(lost)
        left = self.ballot.has(PinState.LEFT, frames)
        self._wrote[frames[left]] = True  # before it let go there, too
        frames = np.flatnonzero(lost & self._wrote & ~self._is_back)
        if len(frames):

            def note(_: object) -> None:
                self._is_back[frames] = True

            copy = self.memory.copy
            self.receipt.do(note, copy, self._where[frames], self.sources[frames])

    def _hold_still(self, owner: PinOwner, rows: Index) -> None:
        def call_about(some: Index) -> Call:
            pfns = self._where[self.ballot.frame[some]]
            return Call("isolate", owner, pfns, self.ballot.privates(some), Mode.SYNC)

        def note(call: Call, some: Index) -> None:
            self._holds_still[some[: call.nr_told]] = True

        def give_up(one: Index) -> None:
            self._holds_still[one] = True

        self._insist(rows, call_about, note, give_up)
        self._nr_told[rows] = 0

    # Owners.

    def _undo_group(self, group: Group, lost: Mask) -> bool:
        """Call one owner about what it did; False when it had done nothing."""
        ballot, owner = self.ballot, group.owner
        rows = self._look_at(group, lost)
        state = ballot.state[rows].copy()
        migrated, isolated = rows[state == PinState.MIGRATED], rows[state == PinState.ISOLATED]
        doubtful = rows[state == PinState.DOUBT]
        if len(migrated):
            self._migrate_back(owner, migrated)
        if len(isolated):
            self._put_back(owner, isolated)
        for row in doubtful.tolist():  # nobody knows how far it got: each on its own
            self._put_back(owner, np.array([row]))
        return bool(len(migrated) or len(isolated) or len(doubtful))

    def _look_at(self, group: Group, lost: Mask) -> Index:
        """The rows of one owner on frames of a mask, after a fresh look at their pins."""
        rows = group.rows[lost[self.ballot.frame[group.rows]]]
        if len(rows):
            self.ballot.refresh(np.unique(self.ballot.frame[rows]), thorough=True)
        return rows

    def _migrate_back(self, owner: PinOwner, rows: Index) -> None:
        ballot = self.ballot

        def call_about(some: Index) -> Call:
            frames = ballot.frame[some]
            pfns, targets = self._where[frames], self.sources[frames]
            return Call("migrate", owner, pfns, ballot.privates(some), targets)

        def note(call: Call, some: Index) -> None:
            ballot.state[some[: call.nr_told]] = PinState.WAITING

        def give_up(one: Index) -> None:
            self._tainted[ballot.frame[one]] = True
            ballot.state[one] = PinState.WAITING

        self._insist(rows, call_about, note, give_up)
        self._suspect(owner, np.unique(ballot.frame[rows]), is_sure=True)

    def _put_back(self, owner: PinOwner, rows: Index) -> None:
        ballot = self.ballot

        def call_about(some: Index) -> Call:
            pfns = self.sources[ballot.frame[some]]
            return Call("putback", owner, pfns, ballot.privates(some))

        def note(call: Call, some: Index) -> None:
            ballot.state[some[: call.nr_told]] = PinState.WAITING

        def give_up(one: Index) -> None:
            if ballot.state[one[0]] == PinState.DOUBT:  # it may be at the target after all
                self._tainted[ballot.frame[one]] = True
            ballot.state[one] = PinState.WAITING

        self._insist(rows, call_about, note, give_up)

    def _insist(
        self,
        rows: Index,
        call_about: Callable[[Index], Call],
        note: Note,
        give_up: Callable[[Index], None],
    ) -> None:
        """Tell an owner of each of its pins, whatever it raises over some of them.

        Args:
            rows: the pins.
            call_about: the call about some of them.
            note: told how far a call has got.
            give_up: told of each pin over which there is nothing more to be done.
        """
        if len(rows) > 1 and not self._is_interrupted:
            call = call_about(rows)
            if self.ask(call, rows, note):
                return
            rows = rows[call.nr_told :]
        for row in rows.tolist():
            one = np.array([row])
            self._nr_told[row] += 1
            if self._nr_told[row] > _NR_TRIES_PER_PIN or not self.ask(call_about(one), one, note):
                give_up(one)

    def _suspect(self, owner: PinOwner, frames: Index, *, is_sure: bool) -> None:
        """A target that is referenced after its owner went back is not given to anybody else.

        Args:
            owner: has just been there.
            frames: where.
            is_sure: the reference was not there before; else somebody is blamed only if nobody
                else knows of the target.
        """
        frames = frames[~self._tainted[frames]]
        kept = frames[self._is_kept(frames)]
        for frame in kept.tolist():
            self._tainted[frame] = True
            why = f"migrate left a reference on the target {int(self._where[frame]):#x}"
            self.blame(owner if is_sure else self.only_one_told(frame), frame, why)

    def _is_kept(self, frames: Index) -> Mask:
        """Frames whose target is referenced otherwise than when it came."""
        now = self.memory.references(self._where[frames])
        kept: Mask = now != self._target_refs[frames]
        return kept

    def blame(self, owner: PinOwner | None, frame: int, why: str) -> None:
        """An owner broke its promise over one frame; None: it is not known which."""
        if owner is not None:
            self.registry.fault(owner, why)
            self.refusals[frame] = Refusal(owner.name, Reason.OWNER_FAULTY)

    def only_one_told(self, frame: int) -> PinOwner | None:
        """The owner that was told of the target of a frame, if it is only one."""
        ballot = self.ballot
        rows = ballot.rows_of(np.array([frame]))
        told = rows[np.isin(ballot.state[rows], _TOLD)].tolist()
        owners = [ballot.owner_of(row) for row in told]
        return owners[0] if owners and all(owner is owners[0] for owner in owners) else None

    # Frames.

    def _hand_over(self, frames: Index) -> None:
        """A target at which an owner has unpinned, and not dropped its reference, is its own."""
        frames = frames[self.ballot.has(PinState.LEFT, frames)]
        if not len(frames):
            return
        self.unmark_targets(frames)

        def note(done: Mask) -> None:
            self._where[frames[done]] = -1

        self.ballot.refresh(frames, thorough=True)
        live = self.ballot.live_sums(self.row_refs, frames)
        hand_over = self.memory.hand_over
        self.receipt.do(note, hand_over, self.sources[frames], self._where[frames], live)

    def _thaw(self, frames: Index) -> None:
        def note(_: object) -> None:
            self._frozen[frames] = False

        if len(frames):
            self.receipt.do(note, self.memory.unfreeze, self.sources[frames])

    def _return_targets(self, frames: Index) -> None:
        """Targets that were not needed; one that a broken owner may still use is set aside."""
        if not len(frames):
            return
        self.unmark_targets(frames)
        suspect = self._tainted[frames] | self._is_kept(frames)
        self._part_with(self.memory.quarantine, frames[suspect])
        self._part_with(self._targets.give_back, frames[~suspect])

    def _part_with(self, call: Callable[[Pfns], None], frames: Index) -> None:
        def note(_: object) -> None:
            self._where[frames] = -1

        if len(frames):
            self.receipt.do(note, call, self._where[frames])

    def _return_loose(self) -> None:
        """Targets that no frame has: another mover marked them, or we were interrupted."""
        if not len(self._loose):
            return
        ours = self._loose_marked[: len(self._loose)]
        if ours.any():
            ours = ours & self.registry.marks.marked_by(self._loose, self.thread)
            if ours.any():
                self.registry.marks.end_move(self._loose[ours])

        def note(_: object) -> None:
            self._loose = self._loose[:0]

        self.receipt.do(note, self._targets.give_back, self._loose)
