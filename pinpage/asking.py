"""Calling an owner, and what happens when the call itself goes wrong.

Whatever an owner raises is the owner's fault, never the mover's: it is marked faulty and
not asked again.  Only an `InvariantError` passes, for that is a bug of ours.

Context: no core lock is held over any of these calls.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pinpage.ballot import Privates
from pinpage.errors import InvariantError
from pinpage.owner import Mode, Pin, PinOwner, Verdict, Verdicts
from pinpage.registry import PinRegistry
from pinpage.units import Mask, Pfns

__all__ = ["isolate", "migrate", "putback", "references", "release"]

_T = TypeVar("_T")


def _call(
    registry: PinRegistry, owner: PinOwner, what: str, callback: Callable[[], _T]
) -> _T | None:
    try:
        with registry.calling(owner):  # its unregister waits until we are out again
            return callback()
    except InvariantError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the owner's fault
        registry.fault(owner, f"{what} raised {type(error).__name__}: {error}")
        return None


def _verdicts(answer: object, count: int) -> Verdicts:
    column = np.asarray(answer)
    if column.shape != (count,) or column.dtype.kind not in "iub":
        raise TypeError(f"wanted {count} verdicts, got {column.dtype} of shape {column.shape}")
    if count and not 0 <= int(column.min()) <= int(column.max()) <= Verdict.BUSY:
        raise ValueError(f"no such verdict: {int(column.max())}")
    return column.astype(np.uint8, copy=False)


def isolate(
    registry: PinRegistry, owner: PinOwner, pfns: Pfns, privates: Privates, mode: Mode
) -> Verdicts | None:
    """One verdict per pin, or None when the owner raised or answered nonsense."""
    return _call(
        registry,
        owner,
        "isolate",
        lambda: _verdicts(owner.isolate_many(pfns, privates, mode), len(pfns)),
    )


def release(
    registry: PinRegistry, owner: PinOwner, pfns: Pfns, privates: Privates, mode: Mode
) -> Verdicts | None:
    """One verdict per pin, or None when the owner raised or answered nonsense."""
    return _call(
        registry,
        owner,
        "release",
        lambda: _verdicts(owner.release_many(pfns, privates, mode), len(pfns)),
    )


def references(
    registry: PinRegistry, owner: PinOwner, pfns: Pfns, privates: Privates
) -> NDArray[np.int64] | None:
    """References that each pin accounts for, or None when the owner raised or talks nonsense."""

    def checked() -> NDArray[np.int64]:
        column = np.asarray(owner.references(pfns, privates))
        if (
            column.shape != (len(pfns),)
            or column.dtype.kind not in "iu"
            or bool((column < 0).any())
        ):
            raise ValueError(f"wanted {len(pfns)} counts of references")
        return column.astype(np.int64, copy=False)

    return _call(registry, owner, "references", checked)


def migrate(
    registry: PinRegistry,
    owner: PinOwner,
    pfns: Pfns,
    privates: Privates,
    targets: Pfns,
    told: Mask,
) -> None:
    """Tell the owner the new places.

    An owner with a batch form raises for all or for none.  With the default form the pins are
    told one by one, and those before the one that raised stand.

    Args:
        registry, owner, pfns, privates, targets: who, and the columns of its pins.
        told: bool[n], all False; set as the owner is told, whatever ends the call.
    """
    if type(owner).migrate_many is not PinOwner.migrate_many:

        def all_at_once() -> None:
            owner.migrate_many(pfns, privates, targets)
            told[:] = True

        _call(registry, owner, "migrate", all_at_once)
        return

    def one_by_one() -> None:
        for row, (pfn, target) in enumerate(zip(pfns.tolist(), targets.tolist(), strict=True)):
            owner.migrate(Pin(pfn, owner, _private(privates, row)), target)
            told[row] = True

    _call(registry, owner, "migrate", one_by_one)


def putback(registry: PinRegistry, owner: PinOwner, pfns: Pfns, privates: Privates) -> bool:
    """It did not happen; False when the owner raised.

    An owner that raised over several pins is told of each of them once more, on its own:
    nobody knows how far it got, and the others are not to wait for ever.
    """

    def put_back(rows: slice) -> bool:
        owner.putback_many(pfns[rows], privates[rows])
        return True

    if _call(registry, owner, "putback", partial(put_back, slice(None))):
        return True
    for row in range(len(pfns)) if len(pfns) > 1 else ():
        _call(registry, owner, "putback", partial(put_back, slice(row, row + 1)))
    return False


def _private(privates: Privates, row: int) -> object:
    value = privates[row]
    return value.item() if isinstance(value, np.generic) else value
