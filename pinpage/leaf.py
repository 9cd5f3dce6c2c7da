"""Leaves of many pins: one pageblock, one slot per frame, columns that start as constants.

Most dense blocks belong to one owner, and many carry one private: a driver pins a buffer,
a pool pins its pages.  So each column of a leaf starts as a single int, and becomes an
array of 512 only when a pin comes that does not agree.  Which frames are pinned is one
byte each, for `bytearray` finds, counts and fills at memory speed, and numpy reads it as a
mask without a copy.

Owns:    (offset -> tag, value) of one pageblock.
Ignores: second pins of a frame, which block it is, locks.
Cost:    a run by one owner about 0.8 KiB (1.6 bytes per pin); with a private each 9.6,
         with mixed owners 13.7 bytes per pin.  Filling or scanning all 512: below 1 us.
Kernel counterpart: an xarray multi-index entry for the run, a node for the rest.
"""

from array import array
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from pinpage.errors import require
from pinpage.units import PAGEBLOCK_NR_PAGES, Mask

__all__ = ["DenseLeaf"]

_ONES = b"\1" * PAGEBLOCK_NR_PAGES
_Column: TypeAlias = "int | array[int]"


class DenseLeaf:
    """One pageblock with a slot per frame.

    Attributes:
        present: one byte per frame, 1 where it is pinned.
        tags, values: an int while all present frames agree on it, else an array of 512.

    Invariants, run by `check`:
        L1 a column that is an array has one row per frame.
        L2 `present` holds zeros and ones only.
    """

    __slots__ = ("present", "tags", "values")

    def __init__(self, tag: int, value: int) -> None:
        """An empty leaf whose first pins are expected to have this tag and value."""
        self.present = bytearray(PAGEBLOCK_NR_PAGES)
        self.tags: _Column = tag
        self.values: _Column = value

    # One frame.

    def get(self, offset: int) -> tuple[int, int] | None:
        """(tag, value) of the frame, or None.  Safe without the lock."""
        if not self.present[offset]:
            return None
        tags, values = self.tags, self.values
        return (
            tags if isinstance(tags, int) else tags[offset],
            values if isinstance(values, int) else values[offset],
        )

    def put(self, offset: int, tag: int, value: int) -> bool:
        """Store a pin; False (and nothing stored) when the frame has one."""
        present = self.present
        if present[offset]:
            return False
        tags, values = self.tags, self.values
        if tags == tag and type(values) is array:  # one owner, a private each: without a call
            values[offset] = value
        else:
            self.replace(offset, tag, value)
        present[offset] = 1
        return True

    def replace(self, offset: int, tag: int, value: int) -> None:
        """Write the record of one frame, present or not."""
        column = self.tags
        if isinstance(column, int):
            if column != tag:
                self.tags = column = _widened("i", column)
                column[offset] = tag
        else:
            column[offset] = tag
        column = self.values
        if isinstance(column, int):
            if column != value:
                self.values = column = _widened("q", column)
                column[offset] = value
        else:
            column[offset] = value

    def discard(self, offset: int, tag: int, value: int) -> bool:
        """Drop the frame's pin; False (and nothing dropped) when it is another or none."""
        if not self.present[offset]:
            return False
        there = self.tags
        if (there if isinstance(there, int) else there[offset]) != tag:
            return False
        there = self.values
        if (there if isinstance(there, int) else there[offset]) != value:
            return False
        self.present[offset] = 0
        return True

    # Many frames.

    def mask(self) -> Mask:
        """`present` as booleans, shape (512,): a view, valid while the lock is held."""
        return np.frombuffer(self.present, dtype=np.bool_)

    def tags_at(self, offsets: NDArray[np.int64]) -> NDArray[np.int32]:
        """The tags of frames that are pinned, shape (n,); a fresh array."""
        if isinstance(self.tags, int):
            return np.full(len(offsets), self.tags, dtype=np.int32)
        return np.frombuffer(self.tags, dtype=np.int32)[offsets]

    def values_at(self, offsets: NDArray[np.int64]) -> NDArray[np.int64]:
        """The values of frames that are pinned, shape (n,); a fresh array."""
        if isinstance(self.values, int):
            return np.full(len(offsets), self.values, dtype=np.int64)
        return np.frombuffer(self.values, dtype=np.int64)[offsets]

    def put_many(
        self, offsets: NDArray[np.int64], tags: NDArray[np.int32], values: NDArray[np.int64]
    ) -> None:
        """Store the pins of distinct frames that have none."""
        self._agree_on_tags(tags)
        self._agree_on_values(values)
        if isinstance(self.tags, array):
            np.frombuffer(self.tags, dtype=np.int32)[offsets] = tags
        if isinstance(self.values, array):
            np.frombuffer(self.values, dtype=np.int64)[offsets] = values
        np.frombuffer(self.present, dtype=np.bool_)[offsets] = True

    def put_run(self, start: int, stop: int, tag: int, values: int | NDArray[np.int64]) -> None:
        """Store pins with one tag for the frames at offsets [start, stop), none of them pinned.

        Args:
            values: one for all, or an array of shape (stop - start,).
        """
        if isinstance(self.tags, int) and self.tags != tag:
            self.tags = _widened("i", self.tags)
        if isinstance(self.tags, array):
            np.frombuffer(self.tags, dtype=np.int32)[start:stop] = tag
        if isinstance(self.values, int) and (not isinstance(values, int) or self.values != values):
            self.values = _widened("q", self.values)
        if isinstance(self.values, array):
            np.frombuffer(self.values, dtype=np.int64)[start:stop] = values
        self.present[start:stop] = _ONES[start:stop]

    def holds_run(self, start: int, stop: int, tag: int, values: int | NDArray[np.int64]) -> bool:
        """Whether every frame at offsets [start, stop) has exactly this pin."""
        if self.present.find(0, start, stop) >= 0:
            return False
        if isinstance(self.tags, int):
            if self.tags != tag:
                return False
        elif not (np.frombuffer(self.tags, dtype=np.int32)[start:stop] == tag).all():
            return False
        if isinstance(self.values, int):
            return bool(np.all(values == self.values))
        return bool((np.frombuffer(self.values, dtype=np.int64)[start:stop] == values).all())

    def remove_many(self, offsets: NDArray[np.int64]) -> None:
        """Drop the pins of distinct frames that have one."""
        np.frombuffer(self.present, dtype=np.bool_)[offsets] = False

    def remove_run(self, start: int, stop: int) -> None:
        """Drop the pins of the frames at offsets [start, stop), all of which have one."""
        self.present[start:stop] = bytes(stop - start)

    @property
    def is_run(self) -> bool:
        """Whether one owner holds all of it."""
        return isinstance(self.tags, int)

    def _agree_on_tags(self, tags: NDArray[np.int32]) -> None:
        if isinstance(self.tags, int) and not (tags == self.tags).all():
            self.tags = _widened("i", self.tags)

    def _agree_on_values(self, values: NDArray[np.int64]) -> None:
        if isinstance(self.values, int) and not (values == self.values).all():
            self.values = _widened("q", self.values)

    def check(self) -> None:
        """Run L1 and L2.

        Raises:
            InvariantError: one does not hold.
        """
        for column in (self.tags, self.values):
            require(
                isinstance(column, int) or len(column) == PAGEBLOCK_NR_PAGES,
                "L1 rows of a leaf's column",
            )
        nr_known = self.present.count(0) + self.present.count(1)
        require(len(self.present) == nr_known == PAGEBLOCK_NR_PAGES, "L2 present bytes of a leaf")


def _widened(typecode: str, constant: int) -> "array[int]":
    return array(typecode, (constant,)) * PAGEBLOCK_NR_PAGES
