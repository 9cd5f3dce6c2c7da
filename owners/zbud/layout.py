"""How two objects share one page: chunks, and nothing but arithmetic.

    | header | first object ->        hole        <- last object |
    0        64                                                 4096 bytes

The first object lies left-justified behind the header, the last one right-justified at
the end of the page; the hole between them is one piece.  Sizes are counted in chunks.

Kernel counterpart: mm/zbud.c of v3.11, where the header is subtracted from the free
chunks of a page (NCHUNKS is 64; since 2014 it is 63 with the header left out).
"""

from typing import Final

from owners.pool.pages import CHUNK_NR_BYTES, CHUNK_SHIFT
from pinpage.units import PAGE_SIZE

__all__ = [
    "FIRST",
    "HEADER_NR_BYTES",
    "LAST",
    "MAX_NR_CHUNKS",
    "MAX_OBJECT_NR_BYTES",
    "NCHUNKS",
    "nr_chunks",
    "nr_free_chunks",
    "slot_offset",
]

NCHUNKS: Final = PAGE_SIZE >> CHUNK_SHIFT
"""Chunks in a page, the header's included (v3.11)."""
HEADER_NR_BYTES: Final = CHUNK_NR_BYTES
"""The header takes exactly chunk 0."""
MAX_OBJECT_NR_BYTES: Final = PAGE_SIZE - HEADER_NR_BYTES - CHUNK_NR_BYTES
"""Largest object, in bytes: one chunk is kept free beside the header, so that the last
object can never start where the first one does."""
MAX_NR_CHUNKS: Final = MAX_OBJECT_NR_BYTES >> CHUNK_SHIFT
"""Largest object, in chunks."""
FIRST: Final = 0
"""Slot of the object behind the header."""
LAST: Final = 1
"""Slot of the object at the end of the page."""


def nr_chunks(nr_bytes: int) -> int:
    """Chunks that an object of `nr_bytes` takes.

    >>> [nr_chunks(n) for n in (1, 64, 65, 3968)]
    [1, 1, 2, 62]
    """
    return (nr_bytes + CHUNK_NR_BYTES - 1) >> CHUNK_SHIFT


def nr_free_chunks(first: int, last: int) -> int:
    """Chunks that another object could take; 0 if both slots are taken.

    Args:
        first, last: chunks of the objects there are, 0 none.
    """
    return 0 if first and last else NCHUNKS - first - last - 1


def slot_offset(slot: int, chunks: int) -> int:
    """Byte in the page at which an object starts.

    Args:
        slot: FIRST or LAST.
        chunks: that it takes.

    >>> slot_offset(FIRST, 20), slot_offset(LAST, 62), slot_offset(LAST, 1)
    (64, 128, 4032)
    """
    return HEADER_NR_BYTES if slot == FIRST else PAGE_SIZE - (chunks << CHUNK_SHIFT)
