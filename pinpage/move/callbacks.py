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
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinpage.errors import InvariantError, OwnerError
from pinpage.move.ballot import Privates
from pinpage.owner import Mode, Pin, PinOwner, Reason, Verdict, Verdicts
from pinpage.registry import PinRegistry
from pinpage.units import Pfns

__all__ = ["Call", "guarded", "references"]

_MOST_REFERENCES = 1 << 30
"""That one pin may stand for; the count of a page is an int."""


class Call:
    """One callback about some pins of one owner, and how far it has got.

    Attributes:
        owner: who is called.
        failure: why it was not called, or did not do it: OWNER_FAULTY if it raised or talked
            nonsense, OWNER_AGAIN if it is not registered at this moment, MOVED if all is well.
    """

    __slots__ = ("_answers", "_arguments", "_is_batch", "_nr_pins", "_what", "failure", "owner")

    def __init__(
        self, what: str, owner: PinOwner, pfns: Pfns, privates: Privates, *more: Mode | Pfns
    ) -> None:
        """Nobody is called yet.

        Args:
            what: "isolate", "migrate", "putback" or "release".
            owner: who is to be called.
            pfns, privates: the columns of its pins.
            more: what else the callback takes: a mode, or a column of targets.
        """
        self.owner = owner
        self.failure = Reason.MOVED
        self._what = what
        self._nr_pins = len(pfns)
        many = f"{what}_many"
        self._is_batch = getattr(type(owner), many) is not getattr(PinOwner, many)
        self._arguments: tuple[Any, ...] = (pfns, privates, *more)
        self._answers: list[Any] = []

    @property
    def nr_told(self) -> int:
        """Pins, from the first, whose callback has returned."""
        if self._is_batch:
            return self._nr_pins if self._answers else 0
        return len(self._answers)

    @property
    def in_doubt(self) -> slice:
        """Pins whose callback was called and has perhaps not returned: nobody knows."""
        told = self.nr_told
        return slice(told, self._nr_pins if self._is_batch else told + 1)

    def make(self, registry: PinRegistry) -> bool:
        """Call the owner; whether it did as it should."""
        answered = guarded(registry, self.owner, self._what, self._tell_all)
        self.failure = Reason.MOVED if answered is None else answered
        return answered is None

    def verdicts(self, registry: PinRegistry) -> Verdicts | None:
        """The answers for the pins told so far; None, and the owner is faulty, if they are none."""
        try:
            answer = self._answers[0] if self._is_batch and self._answers else self._answers
            return _verdicts(answer, self.nr_told)
        except InvariantError:
            raise
        except Exception as error:  # noqa: BLE001 - an array of the owner's own may raise anything
            registry.fault(self.owner, f"{self._what} raised {type(error).__name__}: {error}")
            self.failure = Reason.OWNER_FAULTY
            return None

    def _tell_all(self) -> None:
        pfns, privates, *more = self._arguments
        if self._is_batch:
            columns: Iterable[Any] = ((argument,) for argument in self._arguments)
            self._answers += map(getattr(self.owner, f"{self._what}_many"), *columns)
        else:
            pins = map(Pin, pfns.tolist(), repeat(self.owner), _as_list(privates))
            rest = [repeat(a) if isinstance(a, Mode) else a.tolist() for a in more]
            self._answers += map(getattr(self.owner, self._what), pins, *rest)
        if self.nr_told < self._nr_pins:
            raise RuntimeError("it raised StopIteration")


def guarded(
    registry: PinRegistry, owner: PinOwner, what: str, call: Callable[[], None]
) -> Reason | None:
    """Make a call that an owner answers for; None, or why it came to nothing.

    Args:
        registry: is told what the owner did wrong.
        owner: whose callback it is; its `unregister` waits until we are out again (R-9).
        what: the callback, for messages.
        call: calls it.
    """
    held = _announce(registry, owner)
    if held is None:
        return Reason.OWNER_AGAIN
    try:
        with held:
            if _announce(registry, owner) is not held:  # it left before we were inside
                return Reason.OWNER_AGAIN
            call()
    except InvariantError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the owner's fault
        registry.fault(owner, f"{what} raised {type(error).__name__}: {error}")
        return Reason.OWNER_FAULTY
    return None


def _announce(registry: PinRegistry, owner: PinOwner) -> AbstractContextManager[Any] | None:
    try:
        return registry.calling(owner)
    except OwnerError:
        return None


def _verdicts(answer: object, count: int) -> Verdicts:
    column = np.asarray(answer) if count else np.zeros(0, dtype=np.uint8)
    if column.shape != (count,) or column.dtype.kind not in "iub":
        raise TypeError(f"wanted {count} verdicts, got {column.dtype} of shape {column.shape}")
    if count and not 0 <= int(column.min()) <= int(column.max()) <= Verdict.BUSY:
        raise ValueError(f"no such verdict: {int(column.max())}")
    return column.astype(np.uint8, copy=False)


def references(
    registry: PinRegistry, owner: PinOwner, pfns: Pfns, privates: Privates
) -> NDArray[np.int64] | Reason:
    """References that each pin accounts for, or why the owner does not say."""
    found: list[NDArray[np.int64]] = []

    def checked() -> None:
        column = np.asarray(owner.references(pfns, privates))
        if (
            column.shape != (len(pfns),)
            or column.dtype.kind not in "iu"
            or bool(((column < 0) | (column > _MOST_REFERENCES)).any())
        ):
            raise ValueError(f"wanted {len(pfns)} counts of references")
        found.append(column.astype(np.int64, copy=False))

    failure = guarded(registry, owner, "references", checked)
    return found[0] if failure is None else failure


def _as_list(privates: Privates) -> list[Any]:
    return privates.tolist() if isinstance(privates, np.ndarray) else list(privates)
