"""Privates as they are stored, and the side table for those that are not plain 64-bit ints.

A pin stores one int64 for its private.  An int is stored as itself.  Anything else is kept
here once, under a number, for as long as some pin refers to it; one bit of the pin's tag
says which of the two the number is.

What a private's `__hash__` and `__eq__` do is somebody else's code: it runs before anything
has changed, it may raise, and it may not use the registry.  A table of buckets by hash is kept
instead of a dict by private, so that taking an object out calls neither.

Owns:    the number of every object private, and how many pins (or pins in the making)
         refer to it.
Ignores: who the pins belong to and where they live.
Cost:    two dict operations under its own lock per object private; nothing for ints and None:
         an array of ints is taken as it is, a list is looked through once.
Kernel counterpart: none needed, a void pointer is 64 bits.  The xarray has the same split
         between values and pointers, told apart by one low bit.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinpage.errors import ContextError, InvariantError, PinpageError, require
from pinpage.store.rows import PinRows
from pinpage.store.threads import Threads, tell_in_child
from pinpage.units import Pfns

__all__ = [
    "INT64_MAX",
    "INT64_MIN",
    "NONE_NUMBER",
    "Privates",
    "Seen",
    "as_int",
    "objects_of",
    "pins_to_find",
    "pins_to_store",
]

NONE_NUMBER = 0
"""The number of `None`, by far the commonest object; it is never counted."""

INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1
"""Ints between the two are stored as they are, all others as objects."""

_TOP = 1 << 16  # the side table is entered last: after the sections of all nodes


def as_int(private: Any) -> int | None:
    """The private as an int of 64 bits, or None when it is an object private.

    Bools and numpy's integers and bools are the ints that they equal; a duration, which numpy
    counts among its integers, equals none.
    """
    if type(private) is not int:
        if not isinstance(private, (int, np.integer, np.bool_)):
            return None
        if isinstance(private, np.timedelta64):
            return None
        private = int(private)
    return private if INT64_MIN <= private <= INT64_MAX else None


class Privates:
    """Object privates by number.

    Two object privates are one private when they are the same object or equal (`==`, and the
    same hash), as in a dict.  An int never equals an object private.

    Attributes:
        nr_doubts: operations on object privates that are under way, or were interrupted: of
            each an object that no pin refers to may stay in the table.

    Invariants, run by `check`:
        P1 both directions agree and every object is referred to.
        P2 the count of each object is the number of pins that refer to it, unless there are
           doubts, and never less.
    """

    def __init__(self, threads: Threads) -> None:
        """A table that knows only None, used by these threads."""
        self._threads = threads
        self._lock = threading.Lock()
        self._by_hash: dict[int, tuple[tuple[Any, int], ...]] = {}
        self._object_at: dict[int, tuple[int, Any]] = {}
        self._nr_users: dict[int, int] = {}
        self._next_number = NONE_NUMBER + 1
        self._late: deque[tuple[int, int]] = deque()
        self.nr_doubts = 0
        tell_in_child(self)

    def __len__(self) -> int:
        """Objects in the table, None not among them."""
        return len(self._object_at)

    def hold(self, private: Any, held: dict[int, int], count: int = 1) -> int:
        """The number of an object private, with more users.

        Args:
            private: hashable.
            held: what the caller holds so far, by number; `count` more from now on, in the
                same moment, so that whatever is raised later can be given back.
            count: users more.

        Raises:
            PinpageError: the private is not hashable.
            ContextError: called by the `__hash__` or `__eq__` of another private.
        """
        if private is None:
            return NONE_NUMBER
        key, thread = _hash_of(private), self._threads.current
        outer = thread.top
        if outer == _TOP:
            raise ContextError("a private's __hash__ and __eq__ may not use the registry")
        with self._lock:
            thread.top = _TOP
            try:
                number = self._find(key, private)
                bucket = self._by_hash.get(key, ())
                if number is None:
                    number, nr_users = self._next_number, count
                    self._next_number = number + 1
                    entry, longer = (key, private), (*bucket, (private, number))
                    # No call from here on: the object is in all tables, or in none.
                    try:
                        held[number] = count
                        self._object_at[number] = entry
                        self._nr_users[number] = nr_users
                        self._by_hash[key] = longer
                    except MemoryError:
                        self._leave_out(number, held)
                        raise
                else:
                    nr_users = self._nr_users[number] + count
                    more = held[number] + count if number in held else count
                    # No call from here on.
                    held[number] = more
                    self._nr_users[number] = nr_users
            finally:
                thread.top = outer
        if self._late:
            self.drop(NONE_NUMBER)
        return number

    def _leave_out(self, number: int, held: dict[int, int]) -> None:
        """Take a number out of tables that it may have got into, the last one not among them."""
        for table in (held, self._object_at, self._nr_users):
            table.pop(number, None)

    def _find(self, key: int, private: Any) -> int | None:
        for other, number in self._by_hash.get(key, ()):
            if other is private or other == private:
                return number
        return None

    def number_of(self, private: Any) -> int | None:
        """The number of an object private, or None when no pin refers to it.

        Raises:
            PinpageError: the private is not hashable.
        """
        return NONE_NUMBER if private is None else self._find(_hash_of(private), private)

    def drop(self, number: int, count: int = 1) -> None:
        """Users less; the last one takes the object out.

        Context: also a finalizer or signal handler that interrupted this table.

        Args:
            number: of the object.
            count: users less.
        """
        if number != NONE_NUMBER:
            self._late.append((number, count))
        thread = self._threads.current
        outer = thread.top
        if outer == _TOP:
            return  # whoever was interrupted does it
        with self._lock:
            thread.top = _TOP
            try:
                while self._late:
                    self._drop(*self._late.popleft())
            finally:
                thread.top = outer

    def after_fork(self) -> None:
        """In a child: no other thread holds the table."""
        self._lock = threading.Lock()

    def _drop(self, number: int, count: int) -> None:
        left = self._nr_users[number] - count
        if left:
            self._nr_users[number] = left
            return
        key, _ = self._object_at[number]
        bucket = tuple(entry for entry in self._by_hash[key] if entry[1] != number)
        # No call from here on.
        if bucket:
            self._by_hash[key] = bucket
        else:
            del self._by_hash[key]
        del self._object_at[number]
        del self._nr_users[number]

    def object_at(self, number: int) -> Any:
        """The object with this number; None for a number that is gone."""
        return self._object_at.get(number, (0, None))[1]

    def check(self, nr_users: dict[int, int]) -> None:
        """Run P1 and P2.

        Args:
            nr_users: how many pins refer to each number, as counted by the caller.

        Raises:
            InvariantError: one does not hold.
        """
        back = {number: key for key, rows in self._by_hash.items() for _, number in rows}
        there = {number: key for number, (key, _) in self._object_at.items()}
        require(back == there, "P1 object privates: the two directions differ")
        require(there.keys() == self._nr_users.keys(), "P1 an object that nobody refers to")
        counted = {number: count for number, count in nr_users.items() if number != NONE_NUMBER}
        kept = self._nr_users
        if self.nr_doubts:
            kept = {number: min(kept.get(number, 0), count) for number, count in counted.items()}
        require(counted == kept, "P2 users of an object private", counted=counted, kept=kept)


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
        for number in values[_objects_among(tags)].tolist():
            self._object_at[number] = self._privates.object_at(number)

    def privates_of(
        self, tags: NDArray[np.int32], values: NDArray[np.int64]
    ) -> NDArray[np.int64] | list[Any]:
        """The privates of records: int64[n] where all are ints, else a list.

        Args:
            tags, values: of the records, shape (n,) each.
        """
        rows = _objects_among(tags).tolist() if self._object_at else []
        if not rows:
            return values
        privates: list[Any] = values.tolist()
        for row in rows:
            privates[row] = self._object_at[privates[row]]
        return privates


def _hash_of(private: Any) -> int:
    try:
        return hash(private)
    except TypeError:
        raise PinpageError(
            f"private: {type(private).__name__} is not hashable; give an int or a tuple"
        ) from None


def _objects_among(tags: NDArray[np.int32]) -> NDArray[np.int64]:
    """Which of some tags are those of object privates; or of no pin, of which nobody asks."""
    return (tags & 1).nonzero()[0]


def objects_of(pins: PinRows) -> dict[int, int]:
    """The object privates of some pins, by number: how many of the pins refer to each."""
    is_object = (pins.tags & 1 == 1) & (pins.values != NONE_NUMBER)
    if not np.count_nonzero(is_object):
        return {}
    numbers, counts = np.unique(pins.values[is_object], return_counts=True)
    return dict(zip(numbers.tolist(), counts.tolist(), strict=True))


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
        return PinRows.alike(pfns, tag, value or 0)
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
