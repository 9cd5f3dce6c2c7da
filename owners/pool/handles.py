"""Handles of a pool: a number for the user, and the object that it stands for now.

A handle names a slot of a table, and the slot says page and index in the page.  The kernel's
slot says frame and index: there a move of a page rewrites the slot of every object on it (up
to 128 in zsmalloc).  Here frames are named by the page's own column and nowhere else, so a
move rewrites that and no slot.  What the user holds does not change under either; slots are
rewritten when an object is put elsewhere.

    handle = generation << 32 | slot

A generation that does not fit tells a handle that outlived its object.  zbud needs no table,
see `owners.zbud.handles`.

Kernel counterpart: the handles of mm/zsmalloc.c and the slots of mm/z3fold.c, v6.1.
Cost: 12 bytes per handle.
"""

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pinpage.errors import PinpageError, require

__all__ = ["HandleName", "HandleTable", "Handles", "NoObjectError", "no_object", "require_all_live"]

Handles = NDArray[np.int64]
"""A column of handles; 0 is no handle."""
HandleName: TypeAlias = Literal["indirect", "address"]
"""The name of a form of handle; `address` is zbud's alone."""

_FIRST_CAPACITY = 256
_SLOT_BITS = 32
_SLOT_MASK = (1 << _SLOT_BITS) - 1
_MAX_GENERATION = 0x3FFFFFFF
_UNUSED = -1


class NoObjectError(PinpageError):
    """A handle that names no object: freed, or never given out."""


def no_object(kind: str, handle: int) -> NoObjectError:
    """The error for a handle of a pool of that kind.

    Args:
        kind: of pool; begins the message.
        handle: what was given.
    """
    return NoObjectError(
        f"{kind}: handle {handle:#x} names no object; it was freed, or never given out"
    )


def require_all_live(kind: str, live: NDArray[np.bool_], handles: Handles) -> None:
    """Refuse a column of handles of which one names no object.

    Args:
        kind: of pool; begins the message.
        live: which handles name an object, shape (n,).
        handles: the column, shape (n,).

    Raises:
        NoObjectError: for the first that names none.
    """
    if not live.all():
        raise no_object(kind, int(handles[int(live.argmin())]))


class HandleTable:
    """Slots, most recently freed first.  `nr_handles`: slots in use."""

    __slots__ = ("_free", "_generation", "_index_bits", "_kind", "_place", "_top", "nr_handles")

    def __init__(self, kind: str, index_bits: int) -> None:
        """No handles.

        Args:
            kind: of pool; begins messages.
            index_bits: an object's index in its page is less than 1 << index_bits.
        """
        self._kind = kind
        self._index_bits = index_bits
        self._free: list[int] = []
        self._top = 0
        self.nr_handles = 0
        self._place: NDArray[np.int64] = np.full(_FIRST_CAPACITY, _UNUSED, dtype=np.int64)
        self._generation: NDArray[np.int32] = np.ones(_FIRST_CAPACITY, dtype=np.int32)

    def add(self) -> int:
        """A slot that stands for nothing yet."""
        self.nr_handles += 1
        if self._free:
            return self._free.pop()
        self._top += 1
        self._reserve(self._top)
        return self._top - 1

    def add_many(
        self, page_ids: NDArray[np.int64], indexes: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Fresh slots for many objects.

        Args:
            page_ids, indexes: page, and place in the page, of each; shape (n,).
        """
        slots = np.arange(self._top, self._top + len(page_ids), dtype=np.int64)
        self._top += len(page_ids)
        self._reserve(self._top)
        self._place[slots] = page_ids << self._index_bits | indexes
        self.nr_handles += len(page_ids)
        return slots

    def record(self, slot: int, page_id: int, index: int) -> None:
        """The slot stands for this object from now on (record_obj).

        Args:
            slot: one in use.
            page_id, index: the object's page, and its place there.
        """
        self._place[slot] = page_id << self._index_bits | index

    def drop(self, slot: int) -> None:
        """Forget a slot; its handle names nothing from now on."""
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
        """Page id and index of the object that a handle names.

        Raises:
            NoObjectError: it names none.
        """
        slot = self.slot_of(handle)
        if (
            slot >= self._top
            or self._generation.item(slot) != handle >> _SLOT_BITS
            or (place := self._place.item(slot)) == _UNUSED
        ):
            raise no_object(self._kind, handle)
        return place >> self._index_bits, place & ((1 << self._index_bits) - 1)

    def decode_many(self, handles: Handles) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """`decode` for many handles: page ids and indexes, shape (n,) each.

        Raises:
            NoObjectError: one names no object; the first of them is shown.
        """
        slots = handles & _SLOT_MASK
        known = np.minimum(slots, len(self._place) - 1)
        places = self._place[known]
        live = (known == slots) & (places != _UNUSED)
        live &= self._generation[known] == handles >> _SLOT_BITS
        require_all_live(self._kind, live, handles)
        return places >> self._index_bits, places & ((1 << self._index_bits) - 1)

    @staticmethod
    def slot_of(handle: int) -> int:
        """The slot that a live handle names."""
        return handle & _SLOT_MASK

    def check(
        self,
        label: str,
        slots: NDArray[np.int64],
        page_ids: NDArray[np.int64],
        indexes: NDArray[np.int64],
    ) -> None:
        """Hold the table against what the pages say of their objects.

        Args:
            label: of the pool's invariant.
            slots: that pages name for their objects, shape (n,).
            page_ids, indexes: where those objects are, shape (n,).

        Raises:
            InvariantError: a handle and its object do not name each other.
        """
        places = page_ids << self._index_bits | indexes
        require(
            bool((self._place[slots] == places).all()),
            f"{label} a handle does not lead to its object",
        )
        nr_used = int(np.count_nonzero(self._place != _UNUSED))
        require(
            nr_used == len(slots) == self.nr_handles,
            f"{label} a handle without object, or an object without",
            handles=self.nr_handles,
            objects=len(slots),
        )

    def _reserve(self, nr_slots: int) -> None:
        capacity = len(self._place)
        if nr_slots > capacity:
            more = max(nr_slots, 2 * capacity) - capacity
            self._place = np.concatenate((self._place, np.full(more, _UNUSED, dtype=np.int64)))
            self._generation = np.concatenate((self._generation, np.ones(more, dtype=np.int32)))
