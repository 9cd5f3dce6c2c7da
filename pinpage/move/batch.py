"""One batch of frames on its way through a move: what each step does.

`pinpage.migrate` holds the protocol and its invariants M1..M8; here is the state between
two steps.  `going` shrinks at every refusal, and `undo` is the only exit for what it loses.
"""

from collections.abc import Iterator

import numpy as np

from pinpage.errors import require
from pinpage.move.ballot import Index, PinState
from pinpage.move.callbacks import Call, references
from pinpage.move.report import MoveReport, Refusal
from pinpage.move.steps import Memory, Step, TargetSource
from pinpage.move.taking import PENDING
from pinpage.move.undoing import Undoing
from pinpage.owner import Mode, PinOwner, Reason, Verdict
from pinpage.registry import PinRegistry
from pinpage.units import Mask, Pfns

__all__ = ["Move"]


class Move(Undoing):
    """One batch on its way.  `going` shrinks at every refusal; `undo` is the only exit."""

    def __init__(
        self,
        registry: PinRegistry,
        memory: Memory,
        sources: Pfns,
        targets: TargetSource,
        mode: Mode,
    ) -> None:
        super().__init__(registry, memory, sources, targets)
        self._mode = mode
        self._held: Index = np.zeros(len(self.sources), dtype=np.int64)
        """References that pins and those who are letting go hold at most; it never rises."""

    def prepare(self) -> Iterator[Step]:
        """Everything that can still be called off at no cost."""
        self.look_up(_can_migrate)
        yield Step.LOOKUP
        if len(self.going):
            self.take()
            yield Step.TAKE
        for group in self.ballot.groups:
            if len(rows := self.look_again(group)):
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
            if len(rows := self.look_again(group)):
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

    def abandon(self) -> None:
        """The caller wants no more of it: leave everything as if nobody had asked.

        What has been rekeyed is through, and is made whole.  Whatever interrupts this, it can
        be begun again.
        """
        self.recover()
        if self._rekeyed.any():
            self._make_whole()
            self._free()
        self.fail(self.going, Reason.OWNER_AGAIN)
        self.drop_untaken()
        for _ in self.undo():
            pass

    # The steps.

    def _isolate(self, owner: PinOwner, rows: Index) -> None:
        ballot = self.ballot
        pfns = self.sources[ballot.frame[rows]]
        call = Call("isolate", owner, pfns, ballot.privates(rows), self._mode)

        def note(call: Call, rows: Index) -> None:
            verdicts = call.verdicts(self.registry)
            if verdicts is None:
                ballot.state[rows] = PinState.DOUBT
                return
            told = rows[: len(verdicts)]
            ballot.state[told] = PinState.WAITING
            ballot.state[told[verdicts == Verdict.YES]] = PinState.ISOLATED
            ballot.state[rows[call.in_doubt]] = PinState.DOUBT

        self.ask(call, rows, note)
        if call.failure is not Reason.MOVED:
            self._refuse_for(call, rows)
            return
        verdicts = call.verdicts(self.registry)
        if verdicts is not None and verdicts.any():
            self.refuse(rows[verdicts == Verdict.AGAIN], owner, Reason.OWNER_AGAIN)
            self.refuse(rows[verdicts == Verdict.BUSY], owner, Reason.OWNER_BUSY)

    def _refuse_for(self, call: Call, rows: Index) -> None:
        """An owner was not told, or not of all these: it raised, or it has left meanwhile."""
        if call.failure is Reason.OWNER_AGAIN:  # with its pins, unless it is about to stay
            self.refresh(np.unique(self.ballot.frame[rows]), thorough=True)
            rows = rows[self.ballot.state[rows] < PinState.DEAD]
        self.refuse(rows, call.owner, call.failure)

    def _find_targets(self) -> None:
        nr_wanted = len(self.going)

        def note(found: Pfns) -> None:
            self._loose = found

        self.receipt.do(note, self._targets.take, nr_wanted)
        found = self._loose
        require(len(found) <= nr_wanted, "M7 a target source gave more than was asked for")
        # Marked, so that nobody pins it before it is whole.  One that is under another move was
        # freed when that had found it in use: it is not ours before that mover has seen it.
        self._loose_marked[: len(found)] = ~self.registry.marks.marked_by(found, self.thread)
        ours = self.registry.marks.begin_move(found)
        mine, others = found[ours], found[~ours]
        rows, rest = self.going[: len(mine)], self.going[len(mine) :]
        self._target_refs[rows] = self.memory.references(mine)
        self._where[rows] = mine
        self._where_marked[rows] = True
        self._loose_marked[:] = False
        self._loose = others
        self._return_loose()
        self.fail(rest, Reason.NO_TARGET)

    def _freeze(self) -> None:
        self.refresh(self.going, thorough=True)
        deserted = self.deserted()
        if len(deserted):  # whoever let go since we asked has made this a success
            freed = self.memory.only_ours(self.sources[deserted])
            self.fail(deserted[freed], Reason.FREED)
        self._count_references()
        going = self.going
        self._held[going] = pin_refs = self._pin_refs(going)

        def note(frozen: Mask) -> None:
            self._frozen[going[frozen]] = True

        self.receipt.do(note, self.memory.freeze, self.pfns, pin_refs)
        frozen = self._frozen[going]
        if not frozen.all():
            self.fail(going[~frozen], Reason.UNACCOUNTED)

    def _count_references(self) -> None:
        """Ask each owner once how many references its pins stand for."""
        ballot = self.ballot
        self.row_refs = np.zeros(len(ballot.frame), dtype=np.int64)
        for group in ballot.groups:
            if not len(rows := self.live(group)):
                continue
            pfns = self.sources[ballot.frame[rows]]
            counts = references(self.registry, group.owner, pfns, ballot.privates(rows))
            if isinstance(counts, Reason):
                self.refuse(rows, group.owner, counts)
            else:
                self.row_refs[rows] = counts

    def _pin_refs(self, frames: Index) -> Index:
        """References of live pins on some frames."""
        return self.ballot.live_sums(self.row_refs, frames)

    def _migrate(self, owner: PinOwner, rows: Index) -> None:
        ballot, frames = self.ballot, self.ballot.frame[rows]
        pfns, targets = self.sources[frames], self._where[frames]
        call = Call("migrate", owner, pfns, ballot.privates(rows), targets)

        def note(call: Call, rows: Index) -> None:
            ballot.state[rows[: call.nr_told]] = PinState.MIGRATED
            ballot.state[rows[call.in_doubt]] = PinState.DOUBT

        self.ask(call, rows, note)
        told = call.nr_told
        if told < len(rows):
            self._refuse_for(call, rows[told:])
        if told:
            self._verify(owner, frames[:told] if ballot.is_single else np.unique(frames[:told]))

    def _verify(self, owner: PinOwner, frames: Index) -> None:
        """An owner that kept a reference of its own did not move (R-26).

        While a frame is frozen nobody takes a reference, and whoever lets go unpins first.  So
        what is held lies between what the live pins stand for and what was held before; else
        the owner that was just called has kept one, or has dropped one and kept its pin.
        """
        if self._still_exact(frames).all() and not self.ballot.may_be_stale:
            return
        odd, live, held = self._look_closely(frames)
        is_lie = ((held < live) | (held > self._held[odd])) & ~self._lied[odd]
        liars = odd[is_lie]  # a lie that is known is not this owner's
        self._held[odd] = held
        if len(liars):
            self._lied[liars] = True
            self.registry.fault(
                owner, f"migrate of pfn {int(self.sources[liars[0]]):#x} left a reference"
            )
            self.refusals.update(
                dict.fromkeys(liars.tolist(), Refusal(owner.name, Reason.OWNER_FAULTY))
            )

    def _look_closely(self, frames: Index) -> tuple[Index, Index, Index]:
        """Pins and references as they were at one moment.

        Returns:
            Those of the frames that are still going, the references that their live pins stand
            for, and those that are held; home's and the mover's not among them.
        """
        while True:
            self.refresh(frames, thorough=True)
            frames = frames[self.reasons[frames] == PENDING]
            live = self._pin_refs(frames)
            held = self.memory.references(self.sources[frames]) - 1
            self.refresh(frames, thorough=True)
            if (live == self._pin_refs(frames)).all():  # else somebody let go right now
                return frames, live, held

    def _still_exact(self, frames: Index) -> Mask:
        return self.memory.still_frozen(self.sources[frames], self._pin_refs(frames))

    def _rekey(self) -> None:
        if not self._still_exact(self.going).all() or self.ballot.may_be_stale:
            _, live, held = self._look_closely(self.going)
            self._drop_inexact(live == held)
        going = self.going

        def note(done: Mask) -> None:
            self._rekeyed[going[done]] = True

        self.receipt.do(note, self.memory.rekey, self.pfns, self._where[going])
        self.fail(going[~self._rekeyed[going]], Reason.UNACCOUNTED)  # dropped at this moment
        self._make_whole()

    def _make_whole(self) -> None:
        """The pins of frames that were rekeyed follow; then their targets may go on."""
        frames = np.flatnonzero(self._rekeyed & self._where_marked)
        sources, targets = self.sources[frames], self._where[frames]
        self.registry.marks.rekey_many(sources, targets)
        self.unmark_targets(frames)  # whole from here on, and as free to go as any frame
        left = self.registry.owner_counts(sources) > 0
        for frame in frames[left].tolist():
            self._lied[frame] = True
            for pin in self.registry.pins(int(self.sources[frame])):
                self.registry.fault(pin.owner, f"pins pfn {pin.pfn:#x} after its move")

    def _drop_inexact(self, exact: Mask) -> None:
        """Decide about frames on which a pin or a reference went while they were copied."""
        # Whoever unpinned and has not dropped its reference yet will do so by the name that it
        # knows: the target's goes forward with the frame, the source's stops it.  (A frame that
        # nobody holds any more is not rekeyed in any case.)
        forward = self._lied[self.going] | self.ballot.has(PinState.LEFT, self.going)
        self.fail(self.going[~exact & ~forward], Reason.UNACCOUNTED)

    def _free(self) -> None:
        """Empty sources to the free lists; one that somebody lied about, out of circulation."""
        frames = np.flatnonzero(self._rekeyed & self.taken)
        kept = self.memory.references(self.sources[frames]) != 0
        for frame in frames[kept & ~self._lied[frames]].tolist():
            self._lied[frame] = True
            why = f"migrate of pfn {int(self.sources[frame]):#x} left a reference"
            self.blame(self.only_one_told(frame), frame, why)
        lied = self._lied[frames]
        self.reasons[frames] = Reason.MOVED
        self.reasons[frames[lied]] = Reason.OWNER_FAULTY
        self._forget(self.memory.quarantine, frames[lied])
        self.finish(np.flatnonzero(self._rekeyed))
        self._forget(self.memory.free, frames[~lied])
        self.going = self.going[self.reasons[self.going] == PENDING]


def _can_migrate(owner: PinOwner) -> bool:
    return owner.can_migrate
