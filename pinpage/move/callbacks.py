"""Calling an owner, and what happens when the call itself goes wrong.

Whatever an owner raises is the owner's fault, never the mover's: it is marked faulty and
not asked again.  Only an `InvariantError` passes, for that is a bug of ours, and what is no
`Exception`: an interrupt is nobody's fault.

An owner without a batch form is called for one pin after the other, and it is known of each
pin whether its callback has returned, whatever ended the call.  A batch form returns for all
of them or for none.

Context: no core lock is held over any of these calls.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import partial
from itertools import repeat
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pinpage.errors import InvariantError, OwnerError
from pinpage.move.pins import Privates
from pinpage.owner import Mode, Pin, PinOwner, Reason, Verdict
from pinpage.registry import PinRegistry
from pinpage.units import Pfns

__all__ = ["Call"]

_T = TypeVar("_T")

_MOST_REFERENCES = 1 << 30
"""That one pin may stand for; the count of a page is an int."""


class Call:
    """One callback about some pins of one owner, and how far it has got.

    Attributes:
        owner: who is called.
        failure: why it was not called, or did not do it: OWNER_FAULTY if it raised or talked
            nonsense, OWNER_AGAIN if it is not registered at this moment, MOVED if all is well.
    """

    def __init__(
        self, what: str, owner: PinOwner, pfns: Pfns, privates: Privates, *more: Mode | Pfns
    ) -> None:
        """Nobody is called yet.

        Args:
            what: "isolate", "migrate", "putback", "release" or "references".
            owner: who is to be called.
            pfns, privates: the columns of its pins.
            more: what else the callback takes: a mode, or a column of targets.
        """
        self.owner = owner
        self.failure = Reason.MOVED
        self._what = what
        self._nr_pins = len(pfns)
        self._arguments: tuple[Any, ...] = (pfns, privates, *more)
        self._answers: list[Any] = []
        loops = getattr(PinOwner, f"{what}_many", None)  # `references` takes columns only
        self._many = f"{what}_many" if loops else what
        self._is_batch = getattr(type(owner), self._many) is not loops

    @property
    def nr_returned(self) -> int:
        """Pins, from the first, whose callback has returned."""
        if self._is_batch:
            return self._nr_pins if self._answers else 0
        return len(self._answers)

    @property
    def unfinished(self) -> slice:
        """Pins whose callback was called and has perhaps not returned: nobody knows."""
        returned = self.nr_returned
        if self.failure is Reason.OWNER_AGAIN:
            return slice(returned, returned)
        return slice(returned, self._nr_pins if self._is_batch else returned + 1)

    def make(self, registry: PinRegistry) -> bool:
        """Call the owner, whose `unregister` waits meanwhile (R-9); whether it did as it should."""
        held = _announce(registry, self.owner)
        if held is not None:
            with held:
                if _announce(registry, self.owner) is held:  # else it left before we were inside
                    self._guarded(registry, self._call)
                    return self.failure is Reason.MOVED
        self.failure = Reason.OWNER_AGAIN
        return False

    def answers(self, registry: PinRegistry) -> NDArray[np.int64] | None:
        """Verdicts, or numbers of references, for the pins whose callback has returned.

        None, and the owner is faulty, if they are none.
        """
        answers = self._answers[0] if self._is_batch and self._answers else self._answers
        sane: tuple[str, str, int] = ("verdict", "iub", Verdict.BUSY)
        if self._what == "references":
            sane = ("count of references", "iu", _MOST_REFERENCES)
        return self._guarded(registry, partial(_checked, answers, self.nr_returned, *sane))

    def _call(self) -> None:
        if self._is_batch:
            columns: Iterable[Any] = ((argument,) for argument in self._arguments)
            self._answers += map(getattr(self.owner, self._many), *columns)
        else:
            pfns, privates, *more = self._arguments
            keys = privates.tolist() if isinstance(privates, np.ndarray) else privates
            pins = map(Pin, pfns.tolist(), repeat(self.owner), keys)
            rest = [repeat(a) if isinstance(a, Mode) else a.tolist() for a in more]
            self._answers += map(getattr(self.owner, self._what), pins, *rest)
        if self.nr_returned < self._nr_pins:
            raise RuntimeError("it raised StopIteration")

    def _guarded(self, registry: PinRegistry, act: Callable[[], _T]) -> _T | None:
        """Do what the owner answers for: also an array of its own may raise anything."""
        try:
            return act()
        except InvariantError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the owner's fault
            registry.fault(self.owner, f"{self._what} raised {type(error).__name__}: {error}")
            self.failure = Reason.OWNER_FAULTY
            return None


def _checked(answers: object, count: int, what: str, kinds: str, most: int) -> NDArray[np.int64]:
    column = np.asarray(answers) if count else np.zeros(0, dtype=np.int64)
    if column.shape != (count,) or column.dtype.kind not in kinds:
        got = f"{column.dtype} of shape {column.shape}"
        raise TypeError(f"wanted a {what} for each of {count} pins, got {got}")
    if count and not 0 <= int(column.min()) <= int(column.max()) <= most:
        raise ValueError(f"no such {what}: {int(column.max())}")
    return column.astype(np.int64, copy=False)


def _announce(registry: PinRegistry, owner: PinOwner) -> AbstractContextManager[Any] | None:
    try:
        return registry.calling(owner)
    except OwnerError:
        return None
