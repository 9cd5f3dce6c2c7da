"""Ask owners to give frames up instead of moving them: zbud's unuse, balloon's deflate.

    look up -> take -> release every pin -> put        (the last reference was ours: freed)

There is no target and nothing to undo: what an owner has given up is gone.  The frame is a
success if no pin and no reference is left on it, whatever the owner said; an owner that
said yes and kept its pin lied.  If it dropped the last reference all the same, the frame is
quarantined: nobody else may have it while a pin is on it (M5).
"""

from collections.abc import Generator

import numpy as np

from pinpage.errors import InvariantError
from pinpage.move.ballot import Index, PinState
from pinpage.move.callbacks import Call
from pinpage.move.interrupts import ROUNDS, see_through
from pinpage.move.steps import Memory, Reasons, Step, run_out
from pinpage.move.taking import Taking
from pinpage.owner import Mode, PinOwner, Reason, Verdict
from pinpage.registry import PinRegistry
from pinpage.units import Pfns

__all__ = ["release_many", "release_steps"]


def release_steps(
    registry: PinRegistry, memory: Memory, pfns: Pfns, mode: Mode
) -> Generator[Step, None, Reasons]:
    """Ask every owner of each frame to give it up, one step per `next()`.

    Args:
        registry: who pins what.
        memory: the VM's side; only `has_home`, `take`, `only_ours`, `put` and `quarantine`
            are used.
        pfns: int64[n], without duplicates.
        mode: how long owners may wait, and so whether they may allocate.

    Yields:
        The `Step` that was just done; RELEASE once per owner.

    Returns:
        uint8[n]: RELEASED where the frame is free now because its owners gave it up, FREED
        where they did so unasked, else why not.

    Raises:
        PinpageError: a frame given twice, or not in the topology; nothing changed.
    """
    giving = _Release(registry, memory, pfns)
    try:
        giving.look_up(_can_release)
        yield Step.LOOKUP
        if len(giving.going):
            giving.take()
            yield Step.TAKE
        for group in giving.ballot.groups:
            if len(rows := giving.look_again(group)):
                giving.ask_for_it(group.owner, rows, mode)
                yield Step.RELEASE
        giving.settle()
    except InvariantError:  # nobody knows any more what is true
        raise
    except BaseException as error:  # noqa: BLE001 - raised when all is put back
        last = error
        for _ in ROUNDS:
            try:
                last = see_through(giving.abandon, last, giving.nr_tries)
                break
            except Exception:
                raise
            except BaseException as another:  # noqa: BLE001 - struck between two tries
                last = another
        raise last  # noqa: B904 - it has its context
    return giving.reasons


def release_many(registry: PinRegistry, memory: Memory, pfns: Pfns, mode: Mode) -> Reasons:
    """Run `release_steps` to its end; arguments, errors and cost are the same."""
    return run_out(release_steps(registry, memory, pfns, mode))


class _Release(Taking):
    def ask_for_it(self, owner: PinOwner, rows: Index, mode: Mode) -> None:
        """One owner about all of its pins."""
        ballot = self.ballot
        pfns = self.sources[ballot.frame[rows]]
        call = Call("release", owner, pfns, ballot.privates(rows), mode)
        made = self.ask(call, rows, _nothing_to_note)
        verdicts = call.verdicts(self.registry) if made else None
        if verdicts is None:
            self.refuse(rows, owner, call.failure)
            return
        ballot.state[rows[verdicts == Verdict.YES]] = PinState.ISOLATED
        self.refuse(rows[verdicts == Verdict.AGAIN], owner, Reason.OWNER_AGAIN)
        self.refuse(rows[verdicts == Verdict.BUSY], owner, Reason.OWNER_BUSY)
        self._find_liars(owner, rows)

    def _find_liars(self, owner: PinOwner, rows: Index) -> None:
        """Yes means that the pin is gone (R-26)."""
        self.refresh(np.unique(self.ballot.frame[rows]))
        kept = rows[self.ballot.state[rows] == PinState.ISOLATED]
        if len(kept):
            pfn = int(self.sources[self.ballot.frame[kept[0]]])
            self.registry.fault(owner, f"release of pfn {pfn:#x} said yes and kept its pin")
            self.refuse(kept, owner, Reason.OWNER_FAULTY)

    def abandon(self) -> None:
        """The caller wants no more of it; can be begun again at any point."""
        self.recover()
        self.settle()

    def settle(self) -> None:
        """Let go of everything; what nobody holds any more is free, and a success."""
        asked = np.zeros(len(self.sources), dtype=np.bool_)
        asked[self.going] = True
        self.fail(self.going, Reason.UNACCOUNTED)
        self.drop_untaken()
        self.let_go()
        self.reasons[asked & (self.reasons == Reason.FREED)] = Reason.RELEASED


def _nothing_to_note(call: Call, rows: Index) -> None:
    """What an owner gave up is gone, whatever became of the call."""


def _can_release(owner: PinOwner) -> bool:
    return owner.can_release
