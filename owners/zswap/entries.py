"""zswap's own index: which handle holds the page of which swap slot, and who uses the entry.

An entry is a row.  The tree of a swap type maps offsets to rows and holds one reference to
each; a caller that looks one up holds another until it puts it.

    Rule M  the caller that takes an entry out of the tree drops the tree's reference;
            every other drops only its own; the last one frees.  (v3.11 lets writeback drop both
            and reads 1, 0 and -1 out of the result; that was mended later.)

Kernel counterpart: struct zswap_entry and zswap_tree in mm/zswap.c of v3.11, where the tree
is red-black; nothing here needs its order.
Cost:  25 bytes per entry in columns, and a dict entry in the tree; adoption 0.2 us each.
"""

import threading

import numpy as np
from numpy.typing import NDArray

from owners.pool.handles import Handles
from owners.zpool import Zpool
from pinpage.errors import PinpageError, require

__all__ = ["NO_ENTRY", "ZswapEntries", "ZswapTree"]

NO_ENTRY = -1
"""The row of no entry."""

_FIRST_CAPACITY = 64


class ZswapTree:
    """The entries of one swap type, and the pool that holds their objects."""

    __slots__ = ("lock", "pool", "rows", "swap_type")

    def __init__(self, swap_type: int, pool: Zpool) -> None:
        """Empty.  `lock` protects `rows` and the reference counts of the entries.

        Args:
            swap_type: whose entries.
            pool: where their objects are.
        """
        self.swap_type = swap_type
        self.pool = pool
        self.rows: dict[int, int] = {}
        self.lock = threading.Lock()


class ZswapEntries:
    """Entries as columns by row; rows of freed entries are used again, latest first.

    Attributes:
        offset: int64, the slot within its swap type.
        handle: int64, the object in the type's pool.
        length: int32, compressed bytes, the blob's header not counted.
        refcount: int32, 0 for a row not in use.
        swap_type: uint8.
        nr_entries: rows in use.
    """

    __slots__ = (
        "_free",
        "_lock",
        "_top",
        "handle",
        "length",
        "nr_entries",
        "offset",
        "refcount",
        "swap_type",
    )

    def __init__(self) -> None:
        """No entries."""
        self._lock = threading.Lock()
        self._free: list[int] = []
        self._top = 0
        self.nr_entries = 0
        self.offset: NDArray[np.int64] = np.zeros(_FIRST_CAPACITY, dtype=np.int64)
        self.handle: NDArray[np.int64] = np.zeros(_FIRST_CAPACITY, dtype=np.int64)
        self.length: NDArray[np.int32] = np.zeros(_FIRST_CAPACITY, dtype=np.int32)
        self.refcount: NDArray[np.int32] = np.zeros(_FIRST_CAPACITY, dtype=np.int32)
        self.swap_type: NDArray[np.uint8] = np.zeros(_FIRST_CAPACITY, dtype=np.uint8)

    def add(self, swap_type: int, offset: int, handle: int, length: int) -> int:
        """A row with one reference, the tree's, for an entry not in the tree yet.

        Args:
            swap_type, offset: the slot.
            handle: of the object in the type's pool.
            length: compressed bytes, the header not counted.
        """
        with self._lock:
            if self._free:
                row = self._free.pop()
            else:
                row = self._top
                self._reserve(row + 1)
                self._top += 1
            self.offset[row], self.handle[row], self.length[row] = offset, handle, length
            self.swap_type[row], self.refcount[row] = swap_type, 1
            self.nr_entries += 1
        return row

    def adopt(
        self,
        tree: ZswapTree,
        offsets: NDArray[np.int64],
        handles: Handles,
        lengths: NDArray[np.int32],
    ) -> None:
        """Add and insert many entries, one reference each; arrays of shape (n,).

        Args:
            tree: of the swap type.
            offsets, handles, lengths: slot, object and compressed bytes of each; shape (n,).

        Raises:
            PinpageError: an offset twice, or in the tree already; nothing has changed then.
        """
        with self._lock:
            rows = range(self._top, self._top + len(offsets))
            new = dict(zip(offsets.tolist(), rows, strict=True))
            if len(new) != len(offsets) or not tree.rows.keys().isdisjoint(new):
                raise PinpageError("zswap: adopt: an offset is given twice or stored already")
            self._reserve(rows.stop)
            part = slice(rows.start, rows.stop)
            self.offset[part], self.handle[part], self.length[part] = offsets, handles, lengths
            self.swap_type[part], self.refcount[part] = tree.swap_type, 1
            self._top = rows.stop
            self.nr_entries += len(rows)
            tree.rows.update(new)

    def get(self, row: int) -> None:
        """One reference more."""
        with self._lock:
            self.refcount[row] += 1

    def put(self, row: int) -> int:
        """One reference less; how many are left.  With 0 left the caller frees the entry."""
        with self._lock:
            left = self.refcount.item(row) - 1
            require(left >= 0, "E1 a reference to an entry was dropped twice", row=row)
            self.refcount[row] = left
        return left

    def remove(self, row: int) -> None:
        """The row is free; its handle has been freed."""
        with self._lock:
            self._free.append(row)
            self.nr_entries -= 1

    def _reserve(self, nr_rows: int) -> None:
        capacity = len(self.offset)
        if nr_rows <= capacity:
            return
        more = max(nr_rows, 2 * capacity) - capacity
        self.offset = np.concatenate((self.offset, np.zeros(more, dtype=np.int64)))
        self.handle = np.concatenate((self.handle, np.zeros(more, dtype=np.int64)))
        self.length = np.concatenate((self.length, np.zeros(more, dtype=np.int32)))
        self.refcount = np.concatenate((self.refcount, np.zeros(more, dtype=np.int32)))
        self.swap_type = np.concatenate((self.swap_type, np.zeros(more, dtype=np.uint8)))
