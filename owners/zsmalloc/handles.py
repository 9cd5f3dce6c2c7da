"""Handles of a zsmalloc pool: a number for the user, and the object it stands for now.

A handle names a slot of this table, and the slot says zspage and index.  The kernel's slot
says frame and index: there a move of a page rewrites the slot of every object that starts on
it (up to 128), found by walking the page.  Here frames are named by the zspage's page table
and nowhere else, so a move rewrites one entry of that and no slot.  What the user holds does
not change under either; slots are rewritten when compaction puts an object elsewhere.

The road not taken saves one load on each map, where a Python call costs a hundred times that.

Cost: 18 bytes per handle.
"""

import numpy as np
from numpy.typing import NDArray

from pinpage.errors import PinpageError, require

__all__ = ["NoZsObjectError", "ZsHandles"]

_FIRST_CAPACITY = 256
_SLOT_BITS = 32
_SLOT_MASK = (1 << _SLOT_BITS) - 1
_INDEX_BITS = 9
_INDEX_MASK = (1 << _INDEX_BITS) - 1
_MAX_GENERATION = 0x3FFFFFFF
_UNUSED = -1


class NoZsObjectError(PinpageError):
    """A handle that names no object: freed, or never given out."""


class ZsHandles:
    """Slots, most recently freed first.

    Attributes:
        nr_handles: slots in use.
        nr_maps: int16, shape (capacity,); mappings of the object that are open.
    """

    __slots__ = ("_free", "_generation", "_nr_slots", "_place", "nr_handles", "nr_maps")

    def __init__(self) -> None:
        """No handles."""
        self._free: list[int] = []
        self._nr_slots = 0
        self._place: NDArray[np.int64] = np.full(_FIRST_CAPACITY, _UNUSED, dtype=np.int64)
        self._generation: NDArray[np.int32] = np.ones(_FIRST_CAPACITY, dtype=np.int32)
        self.nr_maps: NDArray[np.int16] = np.zeros(_FIRST_CAPACITY, dtype=np.int16)
        self.nr_handles = 0

    def new_slot(self) -> int:
        """A slot that stands for nothing yet."""
        self.nr_handles += 1
        if self._free:
            return self._free.pop()
        if self._nr_slots == len(self._place):
            self._double()
        self._nr_slots += 1
        return self._nr_slots - 1

    def drop(self, slot: int) -> None:
        """Forget a slot; its handle names nothing from now on."""
        self._place[slot] = _UNUSED
        self._generation[slot] = self._generation.item(slot) % _MAX_GENERATION + 1
        self._free.append(slot)
        self.nr_handles -= 1

    def record(self, slot: int, zspage: int, index: int) -> None:
        """The slot stands for this object (record_obj)."""
        self._place[slot] = zspage << _INDEX_BITS | index

    def encode(self, slot: int) -> int:
        """The handle of a slot: generation << 32 | slot, never 0."""
        return self._generation.item(slot) << _SLOT_BITS | slot

    def decode(self, handle: int) -> tuple[int, int, int]:
        """Slot, zspage and index that a handle names.

        Raises:
            NoZsObjectError: it names no object.
        """
        slot = handle & _SLOT_MASK
        if (
            not 0 <= slot < self._nr_slots
            or self._generation.item(slot) != handle >> _SLOT_BITS
            or (place := self._place.item(slot)) == _UNUSED
        ):
            raise NoZsObjectError(
                f"zsmalloc: handle {handle:#x} names no object; it was freed, or never given out"
            )
        return slot, place >> _INDEX_BITS, place & _INDEX_MASK

    def check(
        self, slots: NDArray[np.int64], zspages: NDArray[np.int64], indexes: NDArray[np.int64]
    ) -> None:
        """Run A3 of `ZsPool`, given what every cell in use says.

        Args:
            slots, zspages, indexes: slot in the cell, and the cell's own place; shape (n,).

        Raises:
            InvariantError: it does not hold.
        """
        places = zspages << _INDEX_BITS | indexes
        require(
            bool((self._place[slots] == places).all()), "A3 a handle does not lead to its object"
        )
        nr_used = int(np.count_nonzero(self._place != _UNUSED))
        require(
            nr_used == len(slots) == self.nr_handles,
            "A3 a handle without object, or an object without",
            handles=self.nr_handles,
            objects=len(slots),
        )

    def _double(self) -> None:
        n = len(self._place)
        self._place = np.concatenate((self._place, np.full(n, _UNUSED, dtype=np.int64)))
        self._generation = np.concatenate((self._generation, np.ones(n, dtype=np.int32)))
        self.nr_maps = np.concatenate((self.nr_maps, np.zeros(n, dtype=np.int16)))
