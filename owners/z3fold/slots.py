"""Handles of a z3fold pool: a number for the user, and the object it stands for now.

The kernel gives out the address of a slot, and the slot says where the object is; what the
user holds stays the same when the page moves, and when the page's middle object becomes its
first.  Here the slot says page id and place in the page; frames are named by the page's own
column, so a move rewrites no slot at all.

    handle = generation << 32 | slot

A generation that does not fit tells a handle that outlived its object.
Cost: 12 bytes per handle.
"""

import numpy as np
from numpy.typing import NDArray

from owners.zbud.handles import Handles, NoObjectError
from pinpage.errors import require

__all__ = ["Z3foldSlots"]

_FIRST_CAPACITY = 256
_SLOT_BITS = 32
_SLOT_MASK = (1 << _SLOT_BITS) - 1
_BUDDY_BITS = 2
_BUDDY_MASK = (1 << _BUDDY_BITS) - 1
_MAX_GENERATION = 0x3FFFFFFF
_UNUSED = -1


class Z3foldSlots:
    """The table; most recently freed slots first.  `nr_handles`: slots in use."""

    __slots__ = ("_free", "_generation", "_place", "_top", "nr_handles")

    def __init__(self) -> None:
        """No handles."""
        self._free: list[int] = []
        self._top = 0
        self.nr_handles = 0
        self._place: NDArray[np.int64] = np.full(_FIRST_CAPACITY, _UNUSED, dtype=np.int64)
        self._generation: NDArray[np.int32] = np.ones(_FIRST_CAPACITY, dtype=np.int32)

    def add(self, page_id: int, buddy: int) -> int:
        """A slot for the object in place `buddy` of a page."""
        if self._free:
            slot = self._free.pop()
        else:
            slot = self._top
            self._reserve(slot + 1)
            self._top += 1
        self.record(slot, page_id, buddy)
        self.nr_handles += 1
        return slot

    def add_many(
        self, page_ids: NDArray[np.int64], buddies: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Fresh slots for many objects, shape (n,)."""
        slots = np.arange(self._top, self._top + len(page_ids), dtype=np.int64)
        self._reserve(self._top + len(page_ids))
        self._place[slots] = page_ids << _BUDDY_BITS | buddies
        self._top += len(page_ids)
        self.nr_handles += len(page_ids)
        return slots

    def record(self, slot: int, page_id: int, buddy: int) -> None:
        """The slot stands for this object from now on."""
        self._place[slot] = page_id << _BUDDY_BITS | buddy

    def drop(self, slot: int) -> None:
        """Its object is gone; the handle names nothing from now on."""
        self._place[slot] = _UNUSED
        self._generation[slot] = self._generation.item(slot) % _MAX_GENERATION + 1
        self._free.append(slot)
        self.nr_handles -= 1

    def encode(self, slot: int) -> int:
        """The handle of a slot, never 0."""
        return self._generation.item(slot) << _SLOT_BITS | slot

    def encode_many(self, slots: NDArray[np.int64]) -> Handles:
        """`encode` for many slots, shape (n,)."""
        generations: NDArray[np.int64] = self._generation[slots].astype(np.int64)
        return generations << _SLOT_BITS | slots

    def decode(self, handle: int) -> tuple[int, int]:
        """Page id and place in the page of the object that a handle names.

        Raises:
            NoObjectError: it names none.
        """
        slot = handle & _SLOT_MASK
        if (
            slot >= self._top
            or self._generation.item(slot) != handle >> _SLOT_BITS
            or (place := self._place.item(slot)) == _UNUSED
        ):
            raise _no_object(handle)
        return place >> _BUDDY_BITS, place & _BUDDY_MASK

    def decode_many(self, handles: Handles) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """`decode` for many handles: page ids and places, shape (n,) each.

        Raises:
            NoObjectError: one names no object; the first of them is shown.
        """
        slots = handles & _SLOT_MASK
        known = np.minimum(slots, len(self._place) - 1)
        places = self._place[known]
        live = (known == slots) & (places != _UNUSED)
        live &= self._generation[known] == handles >> _SLOT_BITS
        if not live.all():
            raise _no_object(int(handles[int(live.argmin())]))
        return places >> _BUDDY_BITS, places & _BUDDY_MASK

    def check(
        self, slots: NDArray[np.int64], page_ids: NDArray[np.int64], buddies: NDArray[np.int64]
    ) -> None:
        """Run T4 of `Z3foldPool`, given the slots that pages name for their objects, shape (n,).

        Raises:
            InvariantError: it does not hold.
        """
        places = page_ids << _BUDDY_BITS | buddies
        require(
            bool((self._place[slots] == places).all()), "T4 a handle does not lead to its object"
        )
        nr_used = int(np.count_nonzero(self._place != _UNUSED))
        require(
            nr_used == len(slots) == self.nr_handles,
            "T4 a handle without object, or an object without",
            handles=self.nr_handles,
            objects=len(slots),
        )

    def _reserve(self, nr_slots: int) -> None:
        capacity = len(self._place)
        if nr_slots <= capacity:
            return
        more = max(nr_slots, 2 * capacity) - capacity
        self._place = np.concatenate((self._place, np.full(more, _UNUSED, dtype=np.int64)))
        self._generation = np.concatenate((self._generation, np.ones(more, dtype=np.int32)))


def _no_object(handle: int) -> NoObjectError:
    return NoObjectError(
        f"z3fold: handle {handle:#x} names no object; it was freed, or never given out"
    )
