"""The table of a zram device: one row per page of the disk.

A row is empty, or says where its page is: a handle and a length; a word, for a page that
repeats one; or a block of the backing store.  Its version changes with it, so that a reader who
worked on a row without the lock can tell whether it is still the same page.

Kernel counterpart: struct zram_table_entry and the flags of drivers/block/zram, v6.1.
Cost: 25 bytes per page of the disk.
"""

import enum

import numpy as np
from numpy.typing import NDArray

from pinpage.errors import require

__all__ = ["NO_HANDLE", "SlotFlag", "ZramTable"]

NO_HANDLE = 0
"""The handle of a row whose page is not in the pool."""


class SlotFlag(enum.IntFlag):
    """What a row says about its page."""

    NONE = 0
    STORED = 1 << 0
    """The row is not empty."""
    SAME = 1 << 1
    """The page is one 64-bit word again and again; `element` is the word."""
    HUGE = 1 << 2
    """It did not compress: the object is the page itself."""
    WRITTEN_BACK = 1 << 3
    """It is in the backing store; `element` is the block."""
    IDLE = 1 << 4
    """Not used since it was marked."""


class ZramTable:
    """The columns, each of shape (nr_slots,).

    Attributes:
        handle: int64, of the object; NO_HANDLE if there is none.
        nr_bytes: int32, of the object.
        flags: uint8, `SlotFlag` bits.
        element: uint64, the repeated word or the block.
        version: int32, raised at every change of the row.
    """

    __slots__ = ("element", "flags", "handle", "nr_bytes", "version")

    def __init__(self, nr_slots: int) -> None:
        """All rows empty."""
        self.handle: NDArray[np.int64] = np.zeros(nr_slots, dtype=np.int64)
        self.nr_bytes: NDArray[np.int32] = np.zeros(nr_slots, dtype=np.int32)
        self.flags: NDArray[np.uint8] = np.zeros(nr_slots, dtype=np.uint8)
        self.element: NDArray[np.uint64] = np.zeros(nr_slots, dtype=np.uint64)
        self.version: NDArray[np.int32] = np.zeros(nr_slots, dtype=np.int32)

    def fill(
        self,
        slot: int,
        flags: SlotFlag,
        *,
        handle: int = NO_HANDLE,
        nr_bytes: int = 0,
        element: int = 0,
    ) -> None:
        """Make a row say where its page is now.

        Args:
            slot: which row.
            flags: what its page is; STORED is added.
            handle: of its object.
            nr_bytes: of its object.
            element: the word that fills the page, or the block.
        """
        self.handle[slot] = handle
        self.nr_bytes[slot] = nr_bytes
        self.flags[slot] = flags | SlotFlag.STORED
        self.element[slot] = element
        self._touch(slot)

    def clear(self, slot: int) -> None:
        """Make a row empty."""
        self.handle[slot], self.nr_bytes[slot], self.element[slot] = NO_HANDLE, 0, 0
        self.flags[slot] = SlotFlag.NONE
        self._touch(slot)

    def has(self, slot: int, flag: SlotFlag) -> bool:
        """Whether a row has all of these flags.

        Args:
            slot: which row.
            flag: all of these flags.
        """
        return self.flags.item(slot) & flag == flag

    def with_flags(self, flags: SlotFlag, but_not: SlotFlag = SlotFlag.NONE) -> NDArray[np.int64]:
        """Rows with all of `flags` and none of `but_not`, ascending."""
        return np.flatnonzero((self.flags & (flags | but_not)) == int(flags))

    def check(self) -> None:
        """Run ZR1 of `Zram`.

        Raises:
            InvariantError: it does not hold.
        """
        flags = self.flags
        stored = (flags & SlotFlag.STORED) != 0
        elsewhere = (flags & (SlotFlag.SAME | SlotFlag.WRITTEN_BACK)) != 0
        in_pool = self.handle != NO_HANDLE
        require(
            bool((in_pool == (stored & ~elsewhere)).all()), "ZR1 a page is in no place, or in two"
        )
        require(bool(((self.nr_bytes > 0) == in_pool).all()), "ZR1 a length without an object")
        require(
            bool(((flags & SlotFlag.HUGE) == 0)[~in_pool].all()),
            "ZR1 a huge page without an object",
        )
        require(not flags[~stored].any(), "ZR1 an empty row has flags")

    def _touch(self, slot: int) -> None:
        self.version[slot] = (self.version.item(slot) + 1) & 0x7FFFFFFF
