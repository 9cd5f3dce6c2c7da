"""Owners: their numbers, their faults, and their callbacks in flight.

Owns:    owner <-> number, the mark "faulty", how many callbacks each thread has in flight.
Ignores: pins; whether an owner still has some is for the registry to find out.
Cost:    a lock and a dict look-up per batch of callbacks; nothing per pin.
Kernel counterpart: try_module_get and the wait in unregister; SRCU around the callback.

A callback in flight is a lock that its thread holds, one per owner and thread: a lock made
in C is released whatever ends the callback, where a count might not be (`pinpage.move.interrupts`).
For the same reason whatever belongs together is stored without a call in between.
"""

import threading
from contextlib import AbstractContextManager
from typing import Any

from pinpage.errors import OwnerError, require
from pinpage.owner import PinOwner
from pinpage.store.sparse import NR_TAG_BITS
from pinpage.store.threads import tell_in_child

__all__ = ["OwnerTable"]

_MAX_NR_NUMBERS = 1 << (NR_TAG_BITS - 1)


class OwnerTable:
    """Registered owners by number; numbers grow and are never used twice.

    An owner is known by identity, whatever its `__eq__` says.

    Attributes:
        number_of, tag_of: by identity of the owner: its number, and twice that.
        welcome: numbers of owners that may have pins.

    Invariants, run by `check`:
        O1 both directions agree; numbers are in registration order.
        O2 a callback in flight belongs to an owner that was registered once.
    """

    def __init__(self) -> None:
        """No owners."""
        self._lock = threading.RLock()
        self._owners: dict[int, PinOwner] = {}
        self.number_of: dict[int, int] = {}
        self.tag_of: dict[int, int] = {}
        self.welcome: dict[int, bool] = {}
        self._leaving: dict[int, PinOwner] = {}
        self._faults: dict[int, str] = {}
        self._in_flight: dict[tuple[int, int], AbstractContextManager[Any]] = {}
        self._next_number = 0
        tell_in_child(self)

    def after_fork(self) -> None:
        """In the child of a fork, where they have ended: nobody waits for them."""
        self._lock = threading.RLock()
        me = threading.get_ident()
        self._in_flight = {key: held for key, held in self._in_flight.items() if key[1] == me}

    @property
    def owners(self) -> tuple[PinOwner, ...]:
        """Registered owners in registration order."""
        return tuple(self._owners.values())

    def numbered(self) -> list[tuple[int, PinOwner]]:
        """Registered owners and their numbers, in registration order."""
        return list(self._owners.items())

    @property
    def nr_numbers(self) -> int:
        """Numbers given out so far."""
        return self._next_number

    def add(self, owner: PinOwner) -> int:
        """Register; returns the number.

        Raises:
            OwnerError: it is no owner, is registered, or is the 2**23rd.
        """
        if not isinstance(owner, PinOwner):
            raise OwnerError(f"owner: {owner!r} is no PinOwner; subclass PinOwner")
        key = id(owner)
        with self._lock:
            if key in self.number_of:
                raise OwnerError(f"owner {owner.name!r} is registered already")
            number = self._next_number
            if number >= _MAX_NR_NUMBERS:
                raise OwnerError(f"owner {owner.name!r} is one too many: {number} have registered")
            # No call from here on: an interrupt finds an owner that is registered, or none.
            self._next_number += 1
            self._owners[number] = owner
            self.welcome[number] = True
            self.number_of[key] = number
            self.tag_of[key] = number << 1
            return number

    def number(self, owner: Any) -> int:
        """The number of a registered owner.

        Raises:
            OwnerError: it is not registered.
        """
        number = self.number_of.get(id(owner))
        if number is None:
            raise OwnerError(
                f"owner {getattr(owner, 'name', owner)!r} is not registered; call register first"
            )
        return number

    def by_number(self, number: int) -> PinOwner:
        """The owner with a number, also one that is leaving.

        Raises:
            OwnerError: nobody has this number.
        """
        owner = self.find(number)
        if owner is None:
            raise OwnerError(f"no owner has number {number}")
        return owner

    def find(self, number: int) -> PinOwner | None:
        """The owner with a number, also one that is leaving; None for one that is gone."""
        owner = self._owners.get(number)
        return self._leaving.get(number) if owner is None else owner

    def start_leaving(self, owner: PinOwner) -> int:
        """From now on not registered and not welcome, though still known by its number."""
        key = id(owner)
        with self._lock:
            number = self.number(owner)
            # No call from here on.
            del self.number_of[key], self.tag_of[key]
            self._leaving[number] = self._owners[number]  # in one of the two at any moment
            del self._owners[number], self.welcome[number]
            return number

    def finish_leaving(self, number: int) -> None:
        """Wait until no other thread has a callback of this owner in flight, then forget it."""
        me = threading.get_ident()
        calls = [(key, held) for key, held in list(self._in_flight.items()) if key[0] == number]
        try:
            for (_, thread), held in calls:
                if thread != me:
                    with held:  # it is over, or has not begun and finds the owner gone
                        pass
        finally:
            self._leaving.pop(number, None)
            self._faults.pop(number, None)
            for key, _ in calls:
                self._in_flight.pop(key, None)

    def calling(self, owner: PinOwner) -> AbstractContextManager[Any]:
        """While inside, the owner's `unregister` waits (unless it is this thread's own).

        The owner may have left between this call and the entering: whoever is inside asks
        once more before it calls it, and is given the very same.

        Raises:
            OwnerError: the owner is not registered: it must not be called any more.
        """
        key = self.number(owner), threading.get_ident()
        held = self._in_flight.get(key)
        return self._in_flight.setdefault(key, threading.RLock()) if held is None else held

    def fault(self, owner: PinOwner, why: str) -> None:
        """Mark a registered owner faulty; the first reason stays.  One that left is past caring.

        Args:
            owner: whom.
            why: in words; shown by `why_faulty`.
        """
        number = self.number_of.get(id(owner))
        if number is not None:
            self._faults.setdefault(number, why)

    def why_faulty(self, owner: PinOwner) -> str | None:
        """Why the owner is not asked any more, or None."""
        return self._faults.get(self.number_of.get(id(owner), -1))

    def check(self) -> None:
        """Run O1 and O2.

        Raises:
            InvariantError: one does not hold.
        """
        back = {id(owner): number for number, owner in self._owners.items()}
        require(back == self.number_of, "O1 owners and their numbers differ")
        require(list(self._owners) == sorted(self._owners), "O1 owners out of registration order")
        for number, _ in list(self._in_flight):
            # An owner that unregisters from inside its own callback is gone before it returns.
            require(
                number < self._next_number,
                "O2 a callback of an owner that never was",
                number=number,
            )
