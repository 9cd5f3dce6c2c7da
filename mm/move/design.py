"""How the VM treats frames that it cannot move by itself: the one question mm asks.

mm moves what only page tables hold.  About every other used frame it asks a `Design`,
and a design is all that differs between v3.11, the 2013 patches and the registry; the
scanners, the planner and the mover are the same code under each.

    claims   which frames of a span somebody registered, page tables or not
    ask      no side effects: would this frame move, be released, or stay, and why
    release  give the frame up instead of moving it (may allocate; needs no target)
    move     move it to a target, all of its holders agreeing

mm never imports an owner: the zbud-specific design lives beside zbud.
"""

import enum
from typing import ClassVar, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mm.move.capabilities import Capabilities
from pinpage.migrate import move_many
from pinpage.move.release import release_many
from pinpage.move.report import MoveReport
from pinpage.move.steps import Memory, TargetSource
from pinpage.owner import Mode, Reason
from pinpage.registry import PinRegistry
from pinpage.units import Mask, Pfns, Span

__all__ = ["Answer", "Answers", "Design", "RegistryDesign", "Strategy", "Unmovable"]


class Answer(enum.IntEnum):
    """What a design would do with a frame that mm cannot move by itself."""

    NO = 0
    MOVE = 1
    RELEASE = 2


Answers = NDArray[np.uint8]
"""A column of `Answer` values, one per frame asked about."""
Strategy: TypeAlias = Literal["scan", "plan"]
"""`scan`, the kernel's two scanners without foresight; or `plan`, what is known goes first."""


class Design(Protocol):
    """How frames with holders other than page tables are treated."""

    @property
    def name(self) -> str:
        """The name that runs and tables use."""

    @property
    def lock_acquisitions(self) -> int:
        """Locks that the design's own bookkeeping has taken so far."""

    @property
    def nr_callbacks(self) -> int:
        """Pins (or pages, where there are no pins) whose owner was called back so far."""

    def claims(self, start: int, stop: int) -> Mask:
        """Which frames of [start, stop) must not move unasked, shape (stop - start,).

        Args:
            start: first pfn of the range.
            stop: first pfn behind the range.
        """

    def ask(self, pfns: Pfns, mode: Mode) -> tuple[Answers, NDArray[np.uint8]]:
        """Answers and, where the answer is NO, reasons; both of shape (n,).

        Args:
            pfns: int64 (n,), the frames.
            mode: how long to wait for one frame.

        Context: no side effects on frames or owners; a registry may drain its batches.
        """

    def holders(
        self, nr_frames: int, within: Span | None = None
    ) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
        """Who holds each frame, for the reasons that a plan gives: codes and their names.

        Args:
            nr_frames: of the machine.
            within: the frames that matter; of others nobody is named.  None: all.
        """

    def move(self, pfns: Pfns, targets: TargetSource, mode: Mode) -> MoveReport:
        """Move frames whose answer was MOVE; what is left of the targets is given back.

        Args:
            pfns: int64 (n,), the frames.
            targets: where to; what is not used is given back.
            mode: how long to wait for one frame.
        """

    def release(self, pfns: Pfns, mode: Mode) -> NDArray[np.uint8]:
        """Give up frames whose answer was RELEASE; one `Reason` each, shape (n,).

        Args:
            pfns: int64 (n,), the frames.
            mode: how long to wait for one frame.
        """


class Unmovable:
    """v3.11 and every kernel since, for holders that have no way to move: they stay."""

    name = "unmovable"
    capabilities: ClassVar[Capabilities] = Capabilities(
        moves=False,
        several_owners=False,
        second_owner="may hold it too; nobody is asked",
        gup=False,
        knows_target=False,
        knows_mode=False,
        undoes=True,
        lookup="none",
        pin_nr_bytes=0,
        locks="none",
    )
    lock_acquisitions = 0
    nr_callbacks = 0

    def claims(self, start: int, stop: int) -> Mask:
        """Nobody registers anything.

        Args:
            start: first pfn of the range.
            stop: first pfn behind the range.
        """
        return np.zeros(stop - start, dtype=np.bool_)

    def ask(self, pfns: Pfns, mode: Mode) -> tuple[Answers, NDArray[np.uint8]]:
        """Nobody is known, so nobody can be asked.

        Args:
            pfns: int64 (n,), the frames.
            mode: how long to wait for one frame.
        """
        return (
            np.full(len(pfns), Answer.NO, dtype=np.uint8),
            np.full(len(pfns), Reason.NO_OWNER, dtype=np.uint8),
        )

    def holders(
        self, nr_frames: int, within: Span | None = None
    ) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
        """Nobody is known by name.

        Args:
            nr_frames: of the machine.
            within: the frames that matter; of others nobody is named.  None: all.
        """
        return np.zeros(nr_frames, dtype=np.uint8), ("unknown",)

    def move(self, pfns: Pfns, targets: TargetSource, mode: Mode) -> MoveReport:
        """Nothing moves.

        Args:
            pfns: int64 (n,), the frames.
            targets: where to; what is not used is given back.
            mode: how long to wait for one frame.
        """
        return MoveReport(
            reasons=np.full(len(pfns), Reason.NO_OWNER, dtype=np.uint8),
            targets=np.full(len(pfns), -1, dtype=np.int64),
        )

    def release(self, pfns: Pfns, mode: Mode) -> NDArray[np.uint8]:
        """Nothing is given up.

        Args:
            pfns: int64 (n,), the frames.
            mode: how long to wait for one frame.
        """
        return np.full(len(pfns), Reason.NO_OWNER, dtype=np.uint8)


class RegistryDesign:
    """The pin-page control subsystem: whoever pinned the frame is asked.

    A frame moves if every owner that pinned it can migrate; it is released if the only
    owners left can merely release.  Frames that nobody pinned stay: a frame that nobody
    knows is never a success.
    """

    name = "registry"
    capabilities: ClassVar[Capabilities] = Capabilities(
        moves=True,
        several_owners=True,
        second_owner="is asked too; all or none",
        gup=True,
        knows_target=True,
        knows_mode=True,
        undoes=True,
        lookup="a node's table, without a lock",
        pin_nr_bytes=64,
        locks="the node's, once per 1023 pins",
    )

    def __init__(self, registry: PinRegistry, memory: Memory) -> None:
        """Ask `registry`; moves go through `memory`."""
        self._registry = registry
        self._memory = memory
        self._nr_callbacks = 0

    @property
    def nr_callbacks(self) -> int:
        """Pins asked to move or to be released; one that is asked again counts again."""
        return self._nr_callbacks

    @property
    def lock_acquisitions(self) -> int:
        """Node locks that the registry has taken."""
        return self._registry.statistics().lock_acquisitions

    def claims(self, start: int, stop: int) -> Mask:
        """Every frame that anybody pinned.

        Args:
            start: first pfn of the range.
            stop: first pfn behind the range.
        """
        return self._registry.pinned_mask(start, stop)

    def ask(self, pfns: Pfns, mode: Mode) -> tuple[Answers, NDArray[np.uint8]]:
        """Look up who pins each frame; cost: one batched lookup for the lot.

        Args:
            pfns: int64 (n,), the frames.
            mode: how long to wait for one frame.
        """
        answers = np.full(len(pfns), Answer.NO, dtype=np.uint8)
        reasons = np.full(len(pfns), Reason.NO_CALLBACK, dtype=np.uint8)
        movable, releasable, nr_pins = self._registry.abilities(pfns)
        answers[releasable] = Answer.RELEASE
        answers[movable] = Answer.MOVE
        reasons[nr_pins == 0] = Reason.NO_OWNER
        return answers, reasons

    def holders(
        self, nr_frames: int, within: Span | None = None
    ) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
        """Owners by name; a frame with several is its first owner's, one with none unknown.

        Args:
            nr_frames: of the machine.
            within: the frames that matter; of others nobody is named.  None: all.

        Cost: one batched lookup of the pinned frames that matter.
        """
        owners = self._registry.owners
        code_of = {id(owner): code for code, owner in enumerate(owners, start=1)}
        codes = np.zeros(nr_frames, dtype=np.uint8)
        span = within or Span(0, nr_frames)
        pinned = np.flatnonzero(self._registry.pinned_mask(span.start, span.stop)) + span.start
        ids, _ = self._registry.single_pins(pinned)
        for owner_id in np.unique(ids[ids >= 0]).tolist():
            owner = self._registry.find_owner(owner_id)  # one that came or went since is unknown
            codes[pinned[ids == owner_id]] = code_of.get(id(owner), 0)
        for pfn in pinned[ids < 0].tolist():
            for pin in self._registry.pins(pfn)[:1]:  # none: dropped since by another thread
                codes[pfn] = code_of.get(id(pin.owner), 0)
        return codes, ("unknown", *(owner.name for owner in owners))

    def move(self, pfns: Pfns, targets: TargetSource, mode: Mode) -> MoveReport:
        """One move protocol for the batch, every owner asked.

        Args:
            pfns: int64 (n,), the frames.
            targets: where to; what is not used is given back.
            mode: how long to wait for one frame.
        """
        self._nr_callbacks += int(self._registry.owner_counts(pfns).sum())
        return move_many(self._registry, self._memory, pfns, targets, mode)

    def release(self, pfns: Pfns, mode: Mode) -> NDArray[np.uint8]:
        """Ask each owner to give its frame up, one frame after the other.

        As patch 4 reclaims its list: what bringing one frame's contents back allocates may
        be the frame that was given up before it.

        Args:
            pfns: int64 (n,), the frames.
            mode: how long to wait for one frame.
        """
        reasons = np.empty(len(pfns), dtype=np.uint8)
        self._nr_callbacks += int(self._registry.owner_counts(pfns).sum())
        for row in range(len(pfns)):
            one = pfns[row : row + 1]
            reasons[row] = release_many(self._registry, self._memory, one, mode)[0]
        return reasons
