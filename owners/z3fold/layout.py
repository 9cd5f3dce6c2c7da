"""How three objects share one page: chunks, and nothing but arithmetic.

    | header | first ->   gap   [middle]   gap   <- last |
    0        128                                      4096 bytes

The first object lies behind the header and the last one at the end of the page, as in zbud.
The middle one starts where the first ended when it came, and may have a gap on either side
later.  An object that leaves no chunk beside it takes the whole page, header's
place included: the page is headless.

Kernel counterpart: mm/z3fold.c of v6.1, 64-bit, where the header takes two chunks of 64.
"""

from collections.abc import Sequence
from typing import Final

from owners.pool.pages import CHUNK_NR_BYTES, CHUNK_SHIFT
from pinpage.units import PAGE_SIZE

__all__ = [
    "FIRST",
    "HEADER_NR_CHUNKS",
    "HEADLESS",
    "LAST",
    "MAX_SHARED_NR_BYTES",
    "MIDDLE",
    "NCHUNKS",
    "NR_SLOTS",
    "TOTAL_NR_CHUNKS",
    "free_slot",
    "nr_chunks",
    "nr_free_chunks",
    "settled_middle",
    "slot_chunk",
]

TOTAL_NR_CHUNKS: Final = PAGE_SIZE >> CHUNK_SHIFT
"""Chunks in a page."""
HEADER_NR_CHUNKS: Final = 2
"""Chunks of the header."""
NCHUNKS: Final = TOTAL_NR_CHUNKS - HEADER_NR_CHUNKS
"""Chunks for objects in a page with a header."""
MAX_SHARED_NR_BYTES: Final = (NCHUNKS - 1) << CHUNK_SHIFT
"""Largest object that can share a page, in bytes; a larger one makes the page headless."""
HEADLESS: Final = TOTAL_NR_CHUNKS
"""Chunks of the object of a headless page: all of them, and no other object has so many."""
FIRST: Final = 0
"""Slot of the object behind the header; the one of a headless page too."""
MIDDLE: Final = 1
"""Slot of the object between the other two."""
LAST: Final = 2
"""Slot of the object at the end of the page."""
NR_SLOTS: Final = 3
"""Objects that fit a page at most."""

_BIG_GAP_NR_CHUNKS: Final = 3
"""A smaller gap beside the middle object is not worth a copy."""


def nr_chunks(nr_bytes: int) -> int:
    """Chunks that an object of `nr_bytes` takes.

    >>> [nr_chunks(n) for n in (1, 64, 65, 3904, 3905, 4096)]
    [1, 1, 2, 61, 64, 64]
    """
    if nr_bytes > MAX_SHARED_NR_BYTES:
        return HEADLESS
    return (nr_bytes + CHUNK_NR_BYTES - 1) >> CHUNK_SHIFT


def nr_free_chunks(chunks: Sequence[int], start_middle: int) -> int:
    """The largest run of chunks that a slot of its own could take; 0 if no slot is free.

    Args:
        chunks: of first, middle and last, 0 where there is no object.
        start_middle: chunk at which the middle object starts.

    >>> nr_free_chunks((20, 0, 10), 0), nr_free_chunks((0, 10, 5), 22), nr_free_chunks((1, 1, 1), 3)
    (32, 20, 0)
    """
    first, middle, last = chunks
    if first == HEADLESS:
        return 0
    if not middle:
        return NCHUNKS - first - last
    before = 0 if first else start_middle - HEADER_NR_CHUNKS
    after = 0 if last else TOTAL_NR_CHUNKS - start_middle - middle
    return max(before, after)


def free_slot(chunks: Sequence[int], start_middle: int, wanted: int) -> int:
    """The slot that an object of `wanted` chunks goes to, on a page that has the gap.

    Args:
        chunks: of first, middle and last, 0 where there is no object.
        start_middle: chunk at which the middle object starts.
        wanted: chunks of the object to place.

    >>> free_slot((0, 0, 0), 0, 9), free_slot((9, 0, 0), 0, 9), free_slot((9, 0, 9), 0, 9)
    (0, 2, 1)
    >>> free_slot((0, 10, 0), 12, 11)
    2
    """
    first, middle, last = chunks
    if not first and (not middle or wanted <= start_middle - HEADER_NR_CHUNKS):
        return FIRST
    return MIDDLE if last else LAST


def slot_chunk(slot: int, chunks: int, start_middle: int) -> int:
    """Chunk of the page at which the object of `chunks` chunks in `slot` starts.

    Args:
        slot: FIRST, MIDDLE or LAST.
        chunks: of the object.
        start_middle: chunk at which the middle object starts.

    >>> slot_chunk(FIRST, 20, 0), slot_chunk(LAST, 20, 0), slot_chunk(FIRST, HEADLESS, 0)
    (2, 44, 0)
    """
    if slot == LAST:
        return TOTAL_NR_CHUNKS - chunks
    if slot == MIDDLE:
        return start_middle
    return 0 if chunks == HEADLESS else HEADER_NR_CHUNKS


def settled_middle(chunks: Sequence[int], start_middle: int) -> tuple[int, int] | None:
    """Where the middle object should go to make one gap of two: slot and start chunk.

    Alone on its page it becomes the first object; with one neighbour it moves up to it, if
    that is worth a copy; between two it stays.  None: nothing to do.

    Args:
        chunks: of first, middle and last, 0 where there is no object.
        start_middle: chunk at which the middle object starts.

    >>> settled_middle((0, 10, 0), 22), settled_middle((9, 10, 0), 22)
    ((0, 2), (1, 11))
    >>> settled_middle((9, 1, 0), 13), settled_middle((0, 10, 9), 22)
    (None, (1, 45))
    """
    first, middle, last = chunks
    if not middle or (first and last):
        return None
    if not first and not last:
        return FIRST, HEADER_NR_CHUNKS
    start = HEADER_NR_CHUNKS + first if first else TOTAL_NR_CHUNKS - last - middle
    return (MIDDLE, start) if abs(start - start_middle) >= _BIG_GAP_NR_CHUNKS else None
