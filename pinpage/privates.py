"""The side table for privates that are not plain 64-bit ints.

A pin stores one int64 for its private.  An int is stored as itself.  Anything else is kept
here once, under a number, for as long as some pin refers to it; one bit of the pin's tag
says which of the two the number is.

Owns:    the number of every object private, and how many pins (or pins in the making)
         refer to it.
Ignores: who the pins belong to and where they live.
Cost:    one dict operation under its own lock per object private; nothing for ints and None.
Kernel counterpart: none needed, a void pointer is 64 bits.  The xarray has the same split
         between values and pointers, told apart by one low bit.
"""

import threading
from collections.abc import Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinpage.errors import PinpageError, require

__all__ = ["NONE_NUMBER", "Privates", "Seen"]

NONE_NUMBER = 0
"""The number of `None`, by far the commonest object; it is never counted."""

_INT64_MIN, _INT64_MAX = -(1 << 63), (1 << 63) - 1


class Privates:
    """Object privates by number.

    Two object privates are one private when they are equal (`==` and hash).  An int (bools
    and numpy integers become one) never equals an object private.

    Invariants, run by `check`:
        P1 both directions agree and every object is referred to.
        P2 the count of each object is the number of pins that refer to it.
    """

    def __init__(self) -> None:
        """A table that knows only None."""
        self._lock = threading.Lock()
        self._number_of: dict[Hashable, int] = {}
        self._object_at: dict[int, Any] = {}
        self._nr_users: dict[int, int] = {}
        self._next_number = NONE_NUMBER + 1

    def __len__(self) -> int:
        """Objects in the table, None not among them."""
        return len(self._object_at)

    @staticmethod
    def as_int(private: Any) -> int | None:
        """The private as an int of 64 bits, or None when it is an object private."""
        if isinstance(private, (int, np.integer)) and _INT64_MIN <= private <= _INT64_MAX:
            return int(private)
        return None

    def hold(self, private: Any, count: int = 1) -> int:
        """The number of an object private, with `count` more users.

        Raises:
            PinpageError: the private is not hashable.
        """
        if private is None:
            return NONE_NUMBER
        with self._lock:
            try:
                number = self._number_of.setdefault(private, self._next_number)
            except TypeError:
                raise PinpageError(
                    f"private: {type(private).__name__} is not hashable; give an int or a tuple"
                ) from None
            if number == self._next_number:
                self._next_number += 1
                self._object_at[number] = private
            self._nr_users[number] = self._nr_users.get(number, 0) + count
        return number

    def number_of(self, private: Any) -> int | None:
        """The number of an object private, or None when no pin refers to it."""
        if private is None:
            return NONE_NUMBER
        try:
            return self._number_of.get(private)
        except TypeError:
            return None

    def drop(self, number: int, count: int = 1) -> None:
        """`count` users less; the last one takes the object out."""
        if number == NONE_NUMBER:
            return
        with self._lock:
            self._nr_users[number] -= count
            if not self._nr_users[number]:
                del self._nr_users[number]
                del self._number_of[self._object_at.pop(number)]

    def object_at(self, number: int) -> Any:
        """The object with this number; None for a number that is gone."""
        return self._object_at.get(number)

    def check(self, nr_users: dict[int, int]) -> None:
        """Run P1 and P2.

        Args:
            nr_users: how many pins refer to each number, as counted by the caller.

        Raises:
            InvariantError: one does not hold.
        """
        back = {number: self._number_of.get(private) for private, number in self._number_of.items()}
        require(
            back.keys() == self._object_at.keys(), "P1 object privates: the two directions differ"
        )
        counted = {number: count for number, count in nr_users.items() if number != NONE_NUMBER}
        require(
            counted == self._nr_users,
            "P2 users of an object private",
            counted=counted,
            kept=self._nr_users,
        )


class Seen:
    """Object privates of records that a reader has seen.

    A number means its object only while a pin refers to it.  So this is called with the
    records under the lock that keeps their pins in place, and asked for the objects later.
    """

    __slots__ = ("_object_at", "_privates")

    def __init__(self, privates: Privates) -> None:
        """Nothing seen yet."""
        self._privates = privates
        self._object_at: dict[int, Any] = {}

    def __call__(self, tags: NDArray[np.int32], values: NDArray[np.int64]) -> None:
        """Remember the objects of these records."""
        for number in values[_is_object(tags)].tolist():
            self._object_at[number] = self._privates.object_at(number)

    def privates_of(
        self, tags: NDArray[np.int32], values: NDArray[np.int64]
    ) -> NDArray[np.int64] | list[Any]:
        """The privates of records: int64[n] where all are ints, else a list."""
        rows = np.flatnonzero(_is_object(tags)).tolist()
        if not rows:
            return values
        privates: list[Any] = values.tolist()
        for row in rows:
            privates[row] = self._object_at[privates[row]]
        return privates


def _is_object(tags: NDArray[np.int32]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = (tags & 1 == 1) & (tags >= 0)
    return found
