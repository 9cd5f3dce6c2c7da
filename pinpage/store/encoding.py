"""From (pfns, owner, privates) to pins as they are stored: columns of pfns, tags and values.

Owns:    nothing; object privates live in the side table (`pinpage.store.privates`).
Ignores: frames.
Cost:    an array of ints is taken as it is; a list is looked through once; every object
         private costs one look into the side table.
"""

from collections.abc import Callable, Sequence
from operator import index
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pinpage.errors import InvariantError, PfnError, PinpageError
from pinpage.store.privates import NONE_NUMBER, Privates, as_int
from pinpage.store.rows import PinRows
from pinpage.units import Pfns

__all__ = ["as_pfn", "as_pfns", "objects_of", "pins_to_find", "pins_to_store"]


def objects_of(pins: PinRows) -> dict[int, int]:
    """The object privates of some pins, by number: how many of the pins refer to each."""
    is_object = (pins.tags & 1 == 1) & (pins.values != NONE_NUMBER)
    if not np.count_nonzero(is_object):
        return {}
    numbers, counts = np.unique(pins.values[is_object], return_counts=True)
    return dict(zip(numbers.tolist(), counts.tolist(), strict=True))


def as_pfn(pfn: Any) -> int:
    """A pfn as a plain int.

    Raises:
        PfnError: no integer; a bool is none.
    """
    if isinstance(pfn, (bool, np.bool_)):
        raise PfnError(f"pfn: want an integer, got {pfn!r}")
    try:
        return index(pfn)
    except TypeError:
        raise PfnError(f"pfn: want an integer, got {type(pfn).__name__} {pfn!r}") from None


def as_pfns(pfns: ArrayLike) -> Pfns:
    """A column of pfns from whatever the caller gave.

    Raises:
        PfnError: not integers, or not one-dimensional.
    """
    if isinstance(pfns, (list, tuple)) and not {bool, np.bool_}.isdisjoint(map(type, pfns)):
        raise PfnError("pfns: want one column of integers, got a bool among them")
    try:
        column = np.asarray(pfns)
    except ValueError as error:
        raise PfnError(f"pfns: want one column of integers, got {error}") from None
    if column.size == 0:
        column = column.astype(np.int64)
    if column.ndim != 1 or column.dtype.kind not in "iu":
        raise PfnError(
            f"pfns: want one column of integers, got {column.dtype} of shape {column.shape}"
        )
    return column.astype(np.int64, copy=False)


def pins_to_store(
    table: Privates, number: int, pfns: Pfns, privates: Any, held: dict[int, int]
) -> PinRows:
    """Pins of one owner as they are stored; object privates get users.

    Args:
        table: of object privates.
        number: of the owner.
        pfns: of the pins.
        privates: None, one private for all, or one each (an array, list, tuple or range).
        held: gets the uses of object privates, by number: the caller's to give back when the
            pins do not come about.

    Raises:
        PinpageError: the number of privates is wrong, or one is not hashable.
    """
    pins = _encode(number, pfns, privates, lambda private, n: table.hold(private, held, n))
    if pins is None:
        raise InvariantError("object privates that are held have numbers")
    return pins


def pins_to_find(table: Privates, number: int, pfns: Pfns, privates: Any) -> PinRows | None:
    """Such pins as they are stored, or None: some object private is in no pin at all.

    Args:
        table, number, pfns, privates: as for `pins_to_store`.

    Raises:
        PinpageError: the number of privates is wrong, or one is not hashable.
    """
    return _encode(number, pfns, privates, lambda private, _: table.number_of(private))


def _encode(
    number: int, pfns: Pfns, privates: Any, number_of: Callable[[Any, int], int | None]
) -> PinRows | None:
    """What is stored; `number_of` numbers an object private of so many pins, None ends it."""
    count, tag = len(pfns), number << 1
    if not isinstance(privates, (np.ndarray, list, tuple, range)):
        value = as_int(privates)
        if value is None and count:
            tag, value = tag | 1, number_of(privates, count)
            if value is None:
                return None
        return PinRows(pfns, np.full(count, tag, np.int32), np.full(count, value or 0, np.int64))
    shape = privates.shape if isinstance(privates, np.ndarray) else (len(privates),)
    if shape != (count,):
        raise PinpageError(
            f"privates: {' x '.join(map(str, shape))} given for {count} frames; "
            "give one each, or one for all"
        )
    column = _int_column(privates)
    if column is not None:
        return PinRows(pfns, np.full(count, tag, np.int32), column)
    rows = []
    for pfn, private in zip(pfns.tolist(), privates, strict=True):
        value = as_int(private)
        at = number_of(private, 1) if value is None else value
        if at is None:
            return None
        rows.append((pfn, tag | (value is None), at))
    return PinRows.of(rows)


def _int_column(privates: NDArray[Any] | Sequence[Any]) -> NDArray[np.int64] | None:
    """The privates as int64, or None when some is not an int of 64 bits."""
    if isinstance(privates, np.ndarray):
        if privates.ndim != 1 or privates.dtype.kind not in "iub":
            return None
        if privates.dtype == np.uint64 and privates.max(initial=0) > np.iinfo(np.int64).max:
            return None
        return privates.astype(np.int64, copy=False)
    if isinstance(privates, range) or all(type(private) is int for private in privates):
        try:
            return np.array(privates, dtype=np.int64)
        except OverflowError:
            return None
    return None
