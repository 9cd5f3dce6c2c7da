"""One batch of frames on its way through a move: what each step does.

`pinpage.migrate` holds the protocol and its invariants M1..M8; here is the state between
two steps.  `going` shrinks at every refusal, and `undo` is the only exit for what it loses.
"""

from collections.abc import Iterator

import numpy as np

from pinpage import asking
from pinpage.ballot import Group, Index, PinState
from pinpage.errors import require
from pinpage.owner import Mode, PinOwner, Reason, Verdict
from pinpage.registry import PinRegistry
from pinpage.report import MoveReport, Refusal
from pinpage.steps import Memory, Step, TargetSource
from pinpage.taking import PENDING, Taking
from pinpage.units import Mask, Pfns

__all__ = ["Move"]


class Move(Taking):
    """One batch on its way.  `going` shrinks at every refusal; `undo` is the only exit."""

    def __init__(
        self,
        registry: PinRegistry,
        memory: Memory,
        sources: Pfns,
        targets: TargetSource,
        mode: Mode,
    ) -> None:
        super().__init__(registry, memory, sources)
        self._targets = targets
        self._mode = mode
        nr = len(self.sources)
        self._where: Pfns = np.full(nr, -1, dtype=np.int64)
        self._frozen = np.zeros(nr, dtype=np.bool_)
        self._lied = np.zeros(nr, dtype=np.bool_)
        self._tainted = np.zeros(nr, dtype=np.bool_)
        self._row_refs = np.zeros(0, dtype=np.int64)
        self._rekeyed = False

    def prepare(self) -> Iterator[Step]:
        """Everything that can still be called off at no cost."""
        self.look_up(_can_migrate)
        yield Step.LOOKUP
        if len(self.going):
            self.take()
            yield Step.TAKE
        for group in self.ballot.groups:
            self.refresh()
            if len(rows := self.live(group)):
                self._isolate(group.owner, rows)
                yield Step.ISOLATE
        if len(self.going):
            self._find_targets()
            yield Step.TARGET
        if len(self.going):
            self._freeze()
            yield Step.FREEZE

    def commit(self) -> Iterator[Step]:
        """Copy, tell every owner, make it final."""
        if len(self.going):
            targets = self._where[self.going]
            self.memory.copy(self.pfns, targets)
            # From here to rekey an owner may know either name of its frame, and let go by it.
            self.registry.marks.forward_many(self.pfns, targets)
            yield Step.COPY
        for group in self.ballot.groups:
            self.refresh()
            if len(rows := self.live(group)):
                self._migrate(group.owner, rows)
                yield Step.MIGRATE
        if len(self.going):
            self._rekey()
            yield Step.REKEY
        if len(self.going):
            self._free()
            yield Step.FREE

    def report(self) -> MoveReport:
        """How it ended."""
        return MoveReport(self.reasons, self._where, self.refusals)

    # The steps.

    def _isolate(self, owner: PinOwner, rows: Index) -> None:
        ballot = self.ballot
        ballot.state[rows] = PinState.DOUBT  # for as long as it is asked
        verdicts = asking.isolate(
            self.registry,
            owner,
            self.sources[ballot.frame[rows]],
            ballot.privates(rows),
            self._mode,
        )
        if verdicts is None:
            self.refuse(rows, owner, Reason.OWNER_FAULTY)
            return
        if not verdicts.any():
            ballot.state[rows] = PinState.ISOLATED
            return
        ballot.state[rows] = PinState.WAITING
        ballot.state[rows[verdicts == Verdict.YES]] = PinState.ISOLATED
        self.refuse(rows[verdicts == Verdict.AGAIN], owner, Reason.OWNER_AGAIN)
        self.refuse(rows[verdicts == Verdict.BUSY], owner, Reason.OWNER_BUSY)

    def _find_targets(self) -> None:
        found = self._targets.take(len(self.going))
        require(len(found) <= len(self.going), "M7 a target source gave more than was asked for")
        ours = self.registry.marks.begin_move(found)  # so that nobody pins it before it is whole
        require(bool(ours.all()), "M7 a target is under another move")
        self._where[self.going[: len(found)]] = found
        self.fail(self.going[len(found) :], Reason.NO_TARGET)

    def _freeze(self) -> None:
        self.refresh(thorough=True)
        deserted = self.deserted()
        if len(deserted):  # whoever let go since we asked has made this a success
            freed = self.memory.only_ours(self.sources[deserted])
            self.fail(deserted[freed], Reason.FREED)
        self._count_references()
        frozen = self.memory.freeze(self.pfns, self._pin_refs()[self.going])
        self._frozen[self.going[frozen]] = True
        if not frozen.all():
            self.fail(self.going[~frozen], Reason.UNACCOUNTED)

    def _count_references(self) -> None:
        """Ask each owner once how many references its pins stand for."""
        ballot = self.ballot
        self._row_refs = np.zeros(len(ballot.frame), dtype=np.int64)
        for group in ballot.groups:
            if not len(rows := self.live(group)):
                continue
            pfns = self.sources[ballot.frame[rows]]
            counts = asking.references(self.registry, group.owner, pfns, ballot.privates(rows))
            if counts is None:
                self.refuse(rows, group.owner, Reason.OWNER_FAULTY)
            else:
                self._row_refs[rows] = counts

    def _pin_refs(self) -> Index:
        """References of live pins, per frame of the batch."""
        return self.ballot.sum_per_frame(self._row_refs)

    def _migrate(self, owner: PinOwner, rows: Index) -> None:
        ballot = self.ballot
        frames = ballot.frame[rows]
        told = self._tell(owner, rows, self.sources[frames], self._where[frames])
        if told < len(rows):
            self.refuse(rows[told:], owner, Reason.OWNER_FAULTY)
        if told:
            self._verify(owner, frames[:told] if ballot.is_single else np.unique(frames[:told]))

    def _tell(self, owner: PinOwner, rows: Index, pfns: Pfns, targets: Pfns) -> int:
        """Call migrate, and note how far the owner got even if it is interrupted."""
        state, done = self.ballot.state, np.zeros(len(rows), dtype=np.bool_)
        try:
            privates = self.ballot.privates(rows)
            asking.migrate(self.registry, owner, pfns, privates, targets, done)
        finally:
            told = int(np.count_nonzero(done))
            state[rows[:told]] = PinState.MIGRATED
            state[rows[told : told + 1]] = PinState.DOUBT
        return told

    def _verify(self, owner: PinOwner, frames: Index) -> None:
        """An owner that kept a reference of its own did not move (R-26)."""
        exact = self._still_exact(frames)
        if exact.all():
            return
        self.refresh()
        odd = frames[~exact & ~self._lied[frames]]  # a lie that is known is not this owner's
        odd = odd[(self.reasons[odd] == PENDING) & ~self._still_exact(odd)]
        odd = odd[~self.ballot.has_dead()[odd]]  # it is letting go of it right now: no lie
        if len(odd):
            self._lied[odd] = True
            self.registry.fault(
                owner, f"migrate of pfn {int(self.sources[odd[0]]):#x} left a reference"
            )
            self.refusals.update(
                dict.fromkeys(odd.tolist(), Refusal(owner.name, Reason.OWNER_FAULTY))
            )

    def _still_exact(self, frames: Index) -> Mask:
        return self.memory.still_frozen(self.sources[frames], self._pin_refs()[frames])

    def _rekey(self) -> None:
        self.refresh()
        exact = self._still_exact(self.going)
        if self.ballot.any_dead or not exact.all():
            self._drop_inexact(exact)
        sources, targets = self.pfns, self._where[self.going]
        self.memory.rekey(sources, targets)
        self._rekeyed = True
        self.registry.marks.rekey_many(sources, targets)
        self.registry.marks.end_move(targets)  # whole from here on, and as free to go as any frame
        left = self.registry.owner_counts(sources) > 0
        for frame in self.going[left].tolist():
            self._lied[frame] = True
            for pin in self.registry.pins(int(self.sources[frame])):
                self.registry.fault(pin.owner, f"pins pfn {pin.pfn:#x} after its move")

    def _drop_inexact(self, exact: Mask) -> None:
        """Decide about frames on which a pin or a reference went while they were copied."""
        # Whoever unpinned and has not dropped its reference yet will do so by the name that it
        # knows: the target's goes forward with the frame, the source's stops it.
        forward = (self._lied | self.ballot.has_left())[self.going]
        nobody = self.ballot.nr_live[self.going] == 0
        if nobody.any():  # dropped while we copied: nothing to rekey, `let_go` looks again
            nobody &= ~self.memory.has_home(self.pfns)
        if forward.any():  # a liar may have dropped even the last one: nothing to go forward with
            nothing = np.zeros(len(self.pfns), dtype=np.int64)
            orphaned = self.memory.still_frozen(self.pfns, nothing)
            forward &= ~orphaned | self.memory.has_home(self.pfns)
        self.fail(self.going[np.where(exact, nobody, ~forward)], Reason.UNACCOUNTED)

    def _free(self) -> None:
        """Empty sources to the free lists; one that somebody lied about, out of circulation."""
        lied = self._lied[self.going]
        self.reasons[self.going] = Reason.MOVED
        if lied.any():
            self.reasons[self.going[lied]] = Reason.OWNER_FAULTY
            self.memory.quarantine(self.pfns[lied])
        self.memory.free(self.pfns[~lied])
        self.finish(self.going)
        self.going = self.going[:0]

    # The only way out for everything else.

    def undo(self) -> Iterator[Step]:
        """Put back what did not move: the last owner first, then the frame."""
        lost = self.taken & (self.reasons != PENDING)
        if not lost.any():
            return
        self._bring_back(lost)
        for group in reversed(self.ballot.groups):
            self.ballot.refresh(np.flatnonzero(lost), thorough=True)
            if self._undo_group(group, lost):
                yield Step.PUTBACK
        frozen = lost & self._frozen
        self.memory.unfreeze(self.sources[frozen])
        self._frozen[frozen] = False
        self._return_targets(lost & (self._where >= 0))
        self.let_go()

    def abandon(self) -> None:
        """The caller wants no more of it: leave everything as if nobody had asked."""
        if self._rekeyed:
            self._free()
        self.fail(self.going, Reason.OWNER_AGAIN)
        self.drop_untaken()
        for _ in self.undo():
            pass

    def _bring_back(self, lost: Mask) -> None:
        """Contents to the source again, where some owner lives on the target already.

        That owner may have written there since; so it is asked to hold still once more.
        Its answer cannot change anything: there is no other way left.
        """
        wrote = lost & self.ballot.has_left()  # before it let go there, too
        for group in self.ballot.groups:
            rows = self.rows_in(group, lost, PinState.MIGRATED)
            if len(rows):
                frames = self.ballot.frame[rows]
                privates = self.ballot.privates(rows)
                asking.isolate(self.registry, group.owner, self._where[frames], privates, Mode.SYNC)
                wrote[frames] = True
        if wrote.any():
            self.memory.copy(self._where[wrote], self.sources[wrote])

    def _undo_group(self, group: Group, lost: Mask) -> bool:
        """Call one owner about what it did; False when it had done nothing."""
        ballot, owner = self.ballot, group.owner
        migrated = self.rows_in(group, lost, PinState.MIGRATED)
        if len(migrated):
            frames = ballot.frame[migrated]
            told = np.zeros(len(migrated), dtype=np.bool_)
            try:
                asking.migrate(
                    self.registry,
                    owner,
                    self._where[frames],
                    ballot.privates(migrated),
                    self.sources[frames],
                    told,
                )
            finally:
                ballot.state[migrated[told]] = PinState.WAITING
            self._tainted[frames[~told]] = True
        isolated = self.rows_in(group, lost, PinState.ISOLATED)
        if len(isolated):
            pfns = self.sources[ballot.frame[isolated]]
            asking.putback(self.registry, owner, pfns, ballot.privates(isolated))
        doubtful = self.rows_in(group, lost, PinState.DOUBT)
        for row in doubtful.tolist():  # nobody knows how far it got: each on its own
            one = np.array([row])
            frame = ballot.frame[one]
            if not asking.putback(self.registry, owner, self.sources[frame], ballot.privates(one)):
                self._tainted[frame] = True
        done = np.concatenate([migrated, isolated, doubtful])
        ballot.state[done] = PinState.WAITING
        return len(done) > 0

    def _return_targets(self, unused: Mask) -> None:
        """Targets that were not needed; one that a broken owner may still use is set aside."""
        if not unused.any():
            return
        self.registry.marks.end_move(self._where[unused])
        if (suspect := unused & self._tainted).any():
            self.memory.quarantine(self._where[suspect])
        if (clean := unused & ~self._tainted).any():
            self._targets.give_back(self._where[clean])
        self._where[unused] = -1


def _can_migrate(owner: PinOwner) -> bool:
    return owner.can_migrate
