"""From (owner, privates) to what is stored: tags and values, one for all or in columns.

Owns:    nothing; object privates live in the side table (`pinpage.store.privates`).
Ignores: frames.
Cost:    an array of ints is taken as it is; a list is looked through once; every object
         private costs one look into the side table.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from operator import index
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import ArrayLike, NDArray

from pinpage.errors import InvariantError, PfnError, PinpageError
from pinpage.store.batch import Thread
from pinpage.store.privates import NONE_NUMBER, Privates, as_int
from pinpage.store.rows import PinRows
from pinpage.store.sparse import NO_TAG
from pinpage.units import Pfns

__all__ = ["Keys", "as_pfn", "as_pfns", "keys_to_find", "keys_to_store", "objects_of"]

_Values = int | NDArray[np.int64]


@frozen(eq=False)
class Keys:
    """What is stored for some pins of one owner.

    Attributes:
        tag: owner number and kind of private; NO_TAG when `tags` has one for each pin.
        tags: int32[n], or None when all are `tag`.
        values: one for all, or int64[n].
    """

    tag: int
    tags: NDArray[np.int32] | None
    values: _Values

    def columns(self, count: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Tags and values as columns of `count` rows."""
        tags = np.full(count, self.tag, dtype=np.int32) if self.tags is None else self.tags
        values = self.values
        return tags, np.full(count, values, dtype=np.int64) if isinstance(values, int) else values

    def objects(self, count: int) -> dict[int, int]:
        """The object privates among them, by number: how many of `count` pins refer to each."""
        if self.tags is None:
            if not self.tag & 1 or not isinstance(self.values, int) or self.values == NONE_NUMBER:
                return {}
            return {self.values: count}
        return objects_of(*self.columns(count))

    def at(self, order: NDArray[np.int64]) -> "Keys":
        """The keys in another order."""
        tags = None if self.tags is None else self.tags[order]
        values = self.values if isinstance(self.values, int) else self.values[order]
        return Keys(self.tag, tags, values)

    def values_of(self, start: int, stop: int) -> _Values:
        """The values of some of the rows."""
        return self.values if isinstance(self.values, int) else self.values[start:stop]

    def rows(self, first: int, start: int, stop: int) -> PinRows:
        """The pins of the frames of [start, stop), where row 0 is that of the frame `first`."""
        values = np.asarray(self.values_of(start - first, stop - first), dtype=np.int64)
        tags = np.full(stop - start, self.tag, dtype=np.int32)
        return PinRows(np.arange(start, stop), tags, np.broadcast_to(values, stop - start))


def objects_of(tags: NDArray[np.int32], values: NDArray[np.int64]) -> dict[int, int]:
    """The object privates of some pins, by number: how many of the pins refer to each."""
    numbers = values[tags & 1 == 1].tolist()
    return Counter(number for number in numbers if number != NONE_NUMBER)


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


def keys_to_store(
    table: Privates, number: int, privates: Any, count: int, held: dict[int, int], thread: Thread
) -> Keys:
    """What to store for some pins of one owner; object privates get users.

    Args:
        table: of object privates.
        number: of the owner.
        privates: None, one private for all, or one each (an array, list, tuple or range).
        count: of the pins.
        held: gets the uses of object privates, by number: the caller's to give back when the
            pins do not come about.
        thread: the calling one.

    Raises:
        PinpageError: the number of privates is wrong, or one is not hashable.
    """
    keys = _encode(number, privates, count, lambda private, n: table.hold(private, held, thread, n))
    if keys is None:
        raise InvariantError("object privates that are held have numbers")
    return keys


def keys_to_find(table: Privates, number: int, privates: Any, count: int) -> Keys | None:
    """What is stored for such pins, or None: some object private is in no pin at all.

    Args:
        table, number, privates, count: as for `keys_to_store`.

    Raises:
        PinpageError: the number of privates is wrong, or one is not hashable.
    """
    return _encode(number, privates, count, lambda private, _: table.number_of(private))


def _encode(
    number: int, privates: Any, count: int, number_of: Callable[[Any, int], int | None]
) -> Keys | None:
    """What is stored; `number_of` numbers an object private of so many pins, None ends it."""
    if not isinstance(privates, (np.ndarray, list, tuple, range)):
        value = as_int(privates)
        if value is not None or not count:
            return Keys(number << 1, None, value or 0)
        at = number_of(privates, count)
        return None if at is None else Keys(number << 1 | 1, None, at)
    shape = privates.shape if isinstance(privates, np.ndarray) else (len(privates),)
    if shape != (count,):
        raise PinpageError(
            f"privates: {' x '.join(map(str, shape))} given for {count} frames; "
            "give one each, or one for all"
        )
    column = _int_column(privates)
    if column is not None:
        return Keys(number << 1, None, column)
    rows = []
    for private in privates:
        value = as_int(private)
        at = number_of(private, 1) if value is None else value
        if at is None:
            return None
        rows.append((number << 1 | (value is None), at))
    tags, values = zip(*rows, strict=True)
    return Keys(NO_TAG, np.array(tags, dtype=np.int32), np.array(values, dtype=np.int64))


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
