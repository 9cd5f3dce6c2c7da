"""From (owner, privates) to what is stored: tags and values, one for all or in columns.

Owns:    nothing; object privates live in the side table (`pinpage.privates`).
Ignores: frames.
Cost:    an array of ints is taken as it is; a list is looked through once; every object
         private costs one look into the side table.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import ArrayLike, NDArray

from pinpage.errors import InvariantError, PfnError, PinpageError
from pinpage.privates import NONE_NUMBER, Privates
from pinpage.sparse import NO_TAG
from pinpage.units import Pfns

__all__ = ["Keys", "as_pfns", "keys_to_find", "keys_to_store"]

_Values = int | NDArray[np.int64]


@frozen(eq=False)
class Keys:
    """What is stored for some pins of one owner.

    Attributes:
        tag: owner number and kind of private; NO_TAG when `tags` has one for each pin.
        tags: int32[n], or None when all are `tag`.
        values: one for all, or int64[n].
        held: object privates that these keys use, by number: how many times.
    """

    tag: int
    tags: NDArray[np.int32] | None
    values: _Values
    held: dict[int, int]

    def columns(self, count: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Tags and values as columns of `count` rows."""
        tags = np.full(count, self.tag, dtype=np.int32) if self.tags is None else self.tags
        values = self.values
        return tags, np.full(count, values, dtype=np.int64) if isinstance(values, int) else values

    def drop(self, privates: Privates) -> None:
        """Give back the uses of object privates."""
        for number, count in self.held.items():
            privates.drop(number, count)


def as_pfns(pfns: ArrayLike) -> Pfns:
    """A column of pfns from whatever the caller gave.

    Raises:
        PfnError: not integers, or not one-dimensional.
    """
    column = np.asarray(pfns)
    if column.size == 0:
        column = column.astype(np.int64)
    if column.ndim != 1 or column.dtype.kind not in "iu":
        raise PfnError(
            f"pfns: want one column of integers, got {column.dtype} of shape {column.shape}"
        )
    return column.astype(np.int64, copy=False)


def _encode(table: Privates, number: int, privates: Any, count: int, *, hold: bool) -> Keys | None:
    """What to store for `count` pins of owner `number`.

    Args:
        privates: None, one private for all, or one each (an array, list, tuple or range).
        hold: use object privates, adding them to the side table; else only look them up.

    Returns:
        None, only without `hold`: some object private is in no pin at all.

    Raises:
        PinpageError: the number of privates is wrong, or one is not hashable.
    """
    if not count and not isinstance(privates, (np.ndarray, list, tuple, range)):
        return Keys(number << 1, None, 0, {})
    if isinstance(privates, (np.ndarray, list, tuple, range)):
        if len(privates) != count:
            raise PinpageError(
                f"privates: {len(privates)} given for {count} frames; give one each, or one for all"
            )
        column = _int_column(privates)
        if column is not None:
            return Keys(number << 1, None, column, {})
        return _encode_each(table, number, privates, hold=hold)
    value = table.as_int(privates)
    if value is not None:
        return Keys(number << 1, None, value, {})
    at = table.hold(privates, count) if hold else table.number_of(privates)
    if at is None:
        return None
    return Keys(number << 1 | 1, None, at, {at: count} if hold and at != NONE_NUMBER else {})


def _int_column(privates: NDArray[Any] | Sequence[Any]) -> NDArray[np.int64] | None:
    """The privates as int64, or None when some is not an int of 64 bits."""
    if isinstance(privates, np.ndarray):
        if privates.ndim != 1 or privates.dtype.kind not in "iub":
            return None
        if (
            privates.dtype == np.uint64
            and privates.size
            and privates.max() > np.iinfo(np.int64).max
        ):
            return None
        return privates.astype(np.int64, copy=False)
    if isinstance(privates, range) or all(type(private) is int for private in privates):
        try:
            return np.array(privates, dtype=np.int64)
        except OverflowError:
            return None
    return None


def _encode_each(
    table: Privates, number: int, privates: NDArray[Any] | Sequence[Any], *, hold: bool
) -> Keys | None:
    tags = np.empty(len(privates), dtype=np.int32)
    values = np.empty(len(privates), dtype=np.int64)
    keys = Keys(NO_TAG, tags, values, {})
    try:
        for row, private in enumerate(privates):
            value = table.as_int(private)
            tags[row] = number << 1 | (value is None)
            if value is None:
                value = table.hold(private) if hold else table.number_of(private)
                if value is None:
                    return None
                if hold and value != NONE_NUMBER:
                    keys.held[value] = keys.held.get(value, 0) + 1
            values[row] = value
    except PinpageError:
        keys.drop(table)
        raise
    return keys


def keys_to_store(table: Privates, number: int, privates: Any, count: int) -> Keys:
    """What to store for `count` pins of owner `number`; object privates get users.

    Args:
        privates: None, one private for all, or one each (an array, list, tuple or range).

    Raises:
        PinpageError: the number of privates is wrong, or one is not hashable.
    """
    keys = _encode(table, number, privates, count, hold=True)
    if keys is None:
        raise InvariantError("object privates that are held have numbers")
    return keys


def keys_to_find(table: Privates, number: int, privates: Any, count: int) -> Keys | None:
    """What is stored for such pins, or None: some object private is in no pin at all.

    Raises:
        PinpageError: the number of privates is wrong.
    """
    return _encode(table, number, privates, count, hold=False)
