"""Moving pages that only page tables and the swap cache hold: nobody has to be asked.

    take -> freeze -> target -> look again -> copy -> rekey -> free
         whatever else happens: targets back, thawed, put back

One pass over a batch; each step is a few column operations, whatever the number of frames.
What interrupts it between two steps (a target source that raises, KeyboardInterrupt) leaves
everything as if nobody had asked, or, after `rekey`, as if all had gone well.

Kernel counterpart: unmap_and_move() of mm/migrate.c for pages without movable operations.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pinpage.errors import InvariantError
from pinpage.move.report import MoveReport
from pinpage.move.steps import Memory, TargetSource
from pinpage.owner import Reason
from pinpage.units import Mask, Pfns

__all__ = ["HomeMemory", "move_home"]

_Index = NDArray[np.int64]


class HomeMemory(Memory, Protocol):
    """What the mover lends to it."""

    def freeze(self, pfns: Pfns, pin_refs: NDArray[np.int64] | int) -> Mask:
        """As always; no pin's references here, so 0.

        Args:
            pfns: int64 (n,), the frames.
            pin_refs: references that pins account for, on each frame.
        """

    def still_frozen(self, pfns: Pfns, pin_refs: NDArray[np.int64] | int) -> Mask:
        """As always; no pin's references here, so 0.

        Args:
            pfns: int64 (n,), the frames.
            pin_refs: references that pins account for, on each frame.
        """

    def copy_contents(self, sources: Pfns, targets: Pfns) -> None:
        """The contents; nobody can know a target before `rekey`.

        Args:
            sources: int64 (n,), the frames that move.
            targets: int64 (n,), where to.
        """


def move_home(memory: HomeMemory, pfns: Pfns, targets: TargetSource) -> MoveReport:
    """Move what can be moved in one pass.

    Args:
        memory: the mover.
        pfns: frames with a home, without duplicates.
        targets: where to; what is not used is given back.

    Raises:
        InvariantError: our own state contradicts itself.
        BaseException: what `targets` or an interruption raised; nothing is half done then.
    """
    move = _HomeMove(memory, pfns, targets)
    try:
        move.run()
    except InvariantError:  # nobody knows any more what is true
        raise
    except BaseException:
        move.abandon()
        raise
    return MoveReport(reasons=move.reasons, targets=move.where)


class _HomeMove:
    """One batch on its way.

    Attributes:
        reasons: uint8[n], how each frame ended.
        where: int64[n], its target, or -1.
    """

    def __init__(self, memory: HomeMemory, pfns: Pfns, targets: TargetSource) -> None:
        """Nothing is touched yet."""
        self.reasons = np.full(len(pfns), Reason.OWNER_AGAIN, dtype=np.uint8)
        self.where: Pfns = np.full(len(pfns), -1, dtype=np.int64)
        self._memory = memory
        self._pfns = pfns
        self._targets = targets
        nothing: _Index = np.zeros(0, dtype=np.int64)
        # Rows; those frozen, and those moved, are among those taken.
        self._taken = self._frozen = self._moved = nothing
        self._destinations: Pfns = nothing
        self._is_freed = False

    def run(self) -> None:
        """All steps."""
        memory, pfns = self._memory, self._pfns
        self.reasons = memory.take(pfns)
        self._taken = np.flatnonzero(self.reasons == Reason.MOVED)
        exact = memory.freeze(pfns[self._taken], 0)
        self._frozen = self._taken[exact]
        if not exact.all():
            self._refuse(self._taken[~exact], Reason.UNACCOUNTED)
        self._destinations = self._targets.take(len(self._frozen))
        self._let_go_without_target()
        self._look_again()
        if len(self._frozen):
            self._go()

    def _let_go_without_target(self) -> None:
        nr_targets = len(self._destinations)
        short = self._frozen[nr_targets:]
        if len(short):
            self._memory.unfreeze(self._pfns[short])
            self._frozen = self._frozen[:nr_targets]
            self._refuse(short, Reason.NO_TARGET)

    def _look_again(self) -> None:
        """Taking targets may have called others, and a process may have let go of its pages."""
        memory, pfns = self._memory, self._pfns[self._frozen]
        gone = memory.only_ours(pfns)
        odd = ~gone & ~memory.still_frozen(pfns, 0)
        if gone.any() or odd.any():
            rows, odd_rows = self._frozen[gone], self._frozen[odd]
            self._spare(gone | odd)
            self._refuse(rows, Reason.FREED)
            self._refuse(odd_rows, Reason.UNACCOUNTED)

    def _spare(self, lost: Mask) -> None:
        """Some of the frozen do not move: thawed, and their targets go back."""
        self._memory.unfreeze(self._pfns[self._frozen[lost]])
        self._frozen, spare = self._frozen[~lost], self._destinations[lost]
        self._destinations = self._destinations[~lost]
        self._targets.give_back(spare)

    def _refuse(self, rows: _Index, reason: Reason) -> None:
        self._memory.put(self._pfns[rows])
        self.reasons[rows] = reason
        self._taken = self._taken[self.reasons[self._taken] == Reason.MOVED]

    def _go(self) -> None:
        memory, sources = self._memory, self._pfns[self._frozen]
        memory.copy_contents(sources, self._destinations)
        done = memory.rekey(sources, self._destinations)
        self._moved = self._frozen[done]
        self.where[self._moved] = self._destinations[done]
        self._frozen, self._destinations = self._frozen[~done], self._destinations[~done]
        memory.free(self._pfns[self._moved])
        self._is_freed = True
        if len(self._frozen):  # dropped at this very moment
            rows = self._frozen
            self._spare(np.ones(len(rows), dtype=np.bool_))
            self._refuse(rows, Reason.FREED)

    def abandon(self) -> None:
        """The caller wants no more of it."""
        try:  # a source that cannot take its targets back keeps none of our frames
            if len(self._destinations):
                self._targets.give_back(self._destinations)
        finally:
            self._memory.unfreeze(self._pfns[self._frozen])
            self._memory.put(self._pfns[np.setdiff1d(self._taken, self._moved)])
            if not self._is_freed:
                self._memory.free(self._pfns[self._moved])
