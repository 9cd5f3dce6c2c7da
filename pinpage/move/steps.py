"""What a move is made of: its named steps, what the VM lends to it, where targets come from.

Kernel counterparts: the phases of migrate_pages() in mm/migrate.c, and its new_folio_t
callback, which allocates destinations.
"""

import enum
from collections.abc import Generator
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from pinpage.errors import PinpageError
from pinpage.units import Mask, Pfns

__all__ = ["GivenTargets", "Memory", "Reasons", "Step", "TargetSource", "distinct", "run_out"]

_T = TypeVar("_T")

Reasons = NDArray[np.uint8]
"""A column of `pinpage.owner.Reason` values, one per frame."""


class Step(enum.Enum):
    """What a move has just done when its generator yields.

    ISOLATE, MIGRATE and PUTBACK come once per owner, the others at most once; a step that
    has nothing left to do does not come at all.  DONE names the end of the generator.
    """

    LOOKUP = "look up"
    TAKE = "take"
    ISOLATE = "isolate"
    RELEASE = "release"
    TARGET = "target"
    FREEZE = "freeze"
    COPY = "copy"
    MIGRATE = "migrate"
    REKEY = "rekey"
    FREE = "free"
    PUTBACK = "putback"
    DONE = "done"

    def __str__(self) -> str:
        """The step in words, as schedules print it."""
        return self.value


class Memory(Protocol):
    """What the VM lends to a move.  Every method takes columns without duplicates.

    *Home* is what the VM itself knows about a frame's contents: page tables and the swap
    cache.  Its references are the VM's to count and to repoint; a move counts pins only.

        free --take--> (refused)
        used --take--> taken --freeze--> frozen --rekey--> nothing left --free--> free
                       taken <-unfreeze- frozen            nothing left --quarantine--> out
                                         frozen --hand_over--> frozen, and a used target
                       taken --put--> used, or free if the mover held the last reference

    Dropping a reference is legal in every state, taking one is not while frozen.  From
    `copy` to `rekey` or `unfreeze` the target stands for the source: an owner that was
    called with its new place and lets go drops a reference of the source.

    A method that raises has changed nothing, whatever it raises: a move that is interrupted
    goes by that, and calls again what has to be done.
    """

    def has_home(self, pfns: Pfns) -> Mask:
        """Which frames the VM can repoint by itself, so that they move without any pin."""

    def take(self, pfns: Pfns) -> Reasons:
        """A reference unless it is zero, and the exclusive mark; MOVED where that worked.

        RACED_FREE where the frame is free, ALREADY_ISOLATED where another mover has it.
        """

    def only_ours(self, pfns: Pfns) -> Mask:
        """Taken frames on which the mover's reference is the last one."""

    def freeze(self, pfns: Pfns, pin_refs: NDArray[np.int64]) -> Mask:
        """Freeze those whose references are exactly mover (1) + home + `pin_refs`.

        Args:
            pfns: frames in use, shape (n,).
            pin_refs: references that their pins account for, int64[n].
        """

    def still_frozen(self, pfns: Pfns, pin_refs: NDArray[np.int64]) -> Mask:
        """Which frozen frames still count exactly mover (1) + home + `pin_refs`.

        Asked after an owner has migrated: whoever kept a reference of its own shows here.

        Args:
            pfns: frozen frames, shape (n,).
            pin_refs: as for `freeze`.
        """

    def references(self, pfns: Pfns) -> NDArray[np.int64]:
        """How many references each frame has that are not home's, the mover's among them.

        Asked of frozen frames that are not exact, and of targets and of emptied sources before
        they go back: nothing does unlooked at.
        """

    def unfreeze(self, pfns: Pfns) -> None:
        """Let frozen frames be referenced again; others are left alone."""

    def copy(self, sources: Pfns, targets: Pfns) -> None:
        """The contents, and nothing else.

        Args:
            sources, targets: frames, parallel, shape (n,) each.
        """

    def rekey(self, sources: Pfns, targets: Pfns) -> Mask:
        """Home, flags and the frozen references live at `targets` from here on.

        The mover's reference is dropped and nothing is left on `sources`.

        Args:
            sources, targets: as for `copy`.

        Returns:
            Where that was done; False: the last reference but the mover's was dropped at this
            very moment, there is nobody to go to the target, and nothing has changed.
        """

    def hand_over(self, sources: Pfns, targets: Pfns, pin_refs: NDArray[np.int64]) -> Mask:
        """The move is undone; what is held by the target's name alone becomes the target's.

        An owner that was called with its new place has unpinned there and is yet to drop its
        reference.  Whatever a frozen source has beyond mover, home and `pin_refs` is such a
        one: from here on the target is a used frame with nothing but these references, which
        is free when they are dropped, and stands for itself.

        Args:
            sources, targets: as for `copy`.
            pin_refs: as for `freeze`.

        Returns:
            Where there were any; False: nothing has changed.
        """

    def free(self, sources: Pfns) -> None:
        """Frames that `rekey` emptied, to the free lists."""

    def put(self, pfns: Pfns) -> None:
        """Undo `take`; frees a frame whose last reference that was."""

    def quarantine(self, pfns: Pfns) -> None:
        """Frames about which an owner lied: never handed out again."""


class TargetSource(Protocol):
    """Where destinations come from: a free scanner, an allocator, an array."""

    def take(self, count: int) -> Pfns:
        """Up to `count` empty frames that nobody else will use; fewer when there are none."""

    def give_back(self, pfns: Pfns) -> None:
        """Frames that were taken and not used."""


class GivenTargets:
    """Targets from an array, in order; what comes back is handed out again first.

    >>> targets = GivenTargets(np.array([8, 9, 10]))
    >>> first = targets.take(2)
    >>> targets.give_back(first[1:])
    >>> targets.take(5).tolist(), targets.remaining.tolist()
    ([9, 10], [])
    """

    def __init__(self, pfns: Pfns) -> None:
        """Hand out `pfns` (1-d, no duplicates; copied).

        Raises:
            PinpageError: the array is not a column of pfns, or names one twice.
        """
        self._pfns = distinct(pfns, "targets").copy()

    @property
    def remaining(self) -> Pfns:
        """What has not been handed out, in order; a fresh array."""
        return self._pfns.copy()

    def take(self, count: int) -> Pfns:
        """The next `count` targets, or all that are left."""
        taken, self._pfns = self._pfns[:count], self._pfns[count:]
        return taken

    def give_back(self, pfns: Pfns) -> None:
        """Put unused targets back in front."""
        self._pfns = np.concatenate([pfns, self._pfns])


def distinct(pfns: Pfns, what: str) -> Pfns:
    """A column of pfns, each only once.

    Args:
        pfns: what should be one.
        what: the argument, for messages.

    Raises:
        PinpageError: it is none.
    """
    column = np.asarray(pfns, dtype=np.int64)
    if column.ndim != 1:
        raise PinpageError(f"{what} must be a 1-d array of pfns, not {column.ndim}-d")
    ordered = np.sort(column)
    twice = ordered[1:] == ordered[:-1]
    if twice.any():
        pfn = int(ordered[twice.argmax()])
        raise PinpageError(f"{what}: pfn {pfn:#x} is given twice; give each only once")
    return column


def run_out(steps: Generator[object, None, _T]) -> _T:
    """Run a generator of steps to its end; what it returns.

    Interrupted, it closes the generator at once and not when a traceback is forgotten: what
    that undoes is undone before the caller goes on.

    >>> def steps():
    ...     yield
    ...     return 7
    >>> run_out(steps())
    7
    """
    try:
        while True:
            next(steps)
    except StopIteration as end:
        result: _T = end.value
        return result
    finally:
        steps.close()
