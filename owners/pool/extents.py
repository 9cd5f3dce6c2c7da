"""Where pool objects lie, as columns, and their bytes: one way for every pool.

An object is one run of bytes in a frame, or two runs in two frames where it straddles
(zsmalloc).  Addresses are byte addresses, pfn * 4096 + offset.

Cost: as `owners.pool.zbud_bytes`, to which everything that does not straddle goes.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from mm.state.contents import Contents
from owners.pool import zbud_bytes
from pinpage.errors import PinpageError

__all__ = ["Extents", "read_objects", "read_words", "write_objects", "write_words"]


@frozen(eq=False)
class Extents:
    """Where the bytes of many objects are.

    Attributes:
        head: int64, shape (n,); address of the first byte, a multiple of 8.
        head_nr_bytes: int64, shape (n,); how many lie there in one run, a multiple of 8.
        tail: int64, shape (n,); address at which the rest goes on; -1 where there is none.
        room: int64, shape (n,); bytes of the whole object.
    """

    head: NDArray[np.int64] = field(repr=False)
    head_nr_bytes: NDArray[np.int64] = field(repr=False)
    tail: NDArray[np.int64] = field(repr=False)
    room: NDArray[np.int64] = field(repr=False)

    @classmethod
    def whole(cls, addresses: NDArray[np.int64], room: NDArray[np.int64]) -> "Extents":
        """Objects that never straddle."""
        return cls(addresses, room, np.full(len(addresses), -1, dtype=np.int64), room)

    def after(self, nr_bytes: int) -> "Extents":
        """The same objects without their first bytes; `nr_bytes` is a multiple of 8.

        >>> column = lambda *numbers: np.array(numbers, dtype=np.int64)
        >>> rest = Extents(column(8184), column(8), column(4096), column(32)).after(8)
        >>> rest.head.tolist(), rest.head_nr_bytes.tolist(), rest.tail.tolist()
        ([4096], [24], [-1])
        """
        left = self.head_nr_bytes - nr_bytes
        over = (left <= 0) & (self.tail >= 0)
        room = self.room - nr_bytes
        return Extents(
            np.where(over, self.tail - left, self.head + nr_bytes),
            np.where(over, room, left),
            np.where(over, -1, self.tail),
            room,
        )


def write_objects(contents: Contents, extents: Extents, blobs: Sequence[bytes]) -> None:
    """Write each blob at the start of its object.

    Raises:
        PinpageError: lengths differ, or a blob is larger than its object; nothing is written.
    """
    nr_bytes = np.fromiter(map(len, blobs), dtype=np.int64, count=len(blobs))
    _require_room(extents, nr_bytes)
    split = nr_bytes > extents.head_nr_bytes
    if not split.any():
        zbud_bytes.write_many(contents, extents.head, blobs)
        return
    cuts = np.minimum(nr_bytes, extents.head_nr_bytes).tolist()
    heads = [blob[:cut] for blob, cut in zip(blobs, cuts, strict=True)]
    tails = [blobs[i][cuts[i] :] for i in np.flatnonzero(split).tolist()]
    zbud_bytes.write_many(contents, extents.head, heads)
    zbud_bytes.write_many(contents, extents.tail[split], tails)


def read_objects(
    contents: Contents, extents: Extents, nr_bytes: NDArray[np.int64]
) -> Iterator[bytes]:
    """The first `nr_bytes` of each object, one after the other.

    Raises:
        PinpageError: lengths differ, or bytes beyond an object's end.
    """
    _require_room(extents, nr_bytes)
    split = nr_bytes > extents.head_nr_bytes
    if not split.any():
        yield from zbud_bytes.read_many(contents, extents.head, nr_bytes)
        return
    in_head = np.minimum(nr_bytes, extents.head_nr_bytes)
    heads = zbud_bytes.read_many(contents, extents.head, in_head)
    rest = (nr_bytes - in_head)[split]
    tails = zbud_bytes.read_many(contents, extents.tail[split], rest)
    for head, is_split in zip(heads, split.tolist(), strict=True):
        yield head + next(tails) if is_split else head


def write_words(contents: Contents, extents: Extents, words: NDArray[np.uint64]) -> None:
    """Write one little-endian 64-bit word at the start of each object."""
    zbud_bytes.write_words(contents, extents.head, words)


def read_words(contents: Contents, extents: Extents) -> NDArray[np.uint64]:
    """The little-endian 64-bit word at the start of each object, shape (n,)."""
    return zbud_bytes.read_words(contents, extents.head)


def _require_room(extents: Extents, nr_bytes: NDArray[np.int64]) -> None:
    if len(nr_bytes) != len(extents.head):
        raise PinpageError(f"zpool: {len(nr_bytes)} lengths for {len(extents.head)} objects")
    if (nr_bytes > extents.room).any():
        raise PinpageError("zpool: more bytes than an object has room for")
