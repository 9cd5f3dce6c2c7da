"""Pages, orders and spans: the units that every other module counts in.

A pfn is a plain int (or an int64 column of them).  A range of pfns is half-open.
"""

import mmap
import sys
from typing import TypeAlias

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from pinpage.errors import PfnError, PinpageError, plain_int, whole

__all__ = [
    "MAP_NORESERVE",
    "MAX_PAGE_SIZE",
    "PAGEBLOCK_NR_PAGES",
    "PAGEBLOCK_ORDER",
    "PAGE_SHIFT",
    "PAGE_SIZE",
    "Mask",
    "Pfns",
    "Span",
    "in_words",
    "require_page_size",
]

PAGE_SHIFT = 12
"""log2 of the bytes in a page, where nothing says otherwise (x86-64)."""
PAGE_SIZE = 1 << PAGE_SHIFT
"""Bytes in a page, where nothing says otherwise."""
PAGEBLOCK_ORDER = 9
"""log2 of the pages in a pageblock, where nothing says otherwise (2 MiB; a leaf of the store)."""
PAGEBLOCK_NR_PAGES = 1 << PAGEBLOCK_ORDER
"""Pages in a pageblock, where nothing says otherwise; and always those of a leaf of the store."""
MAX_PAGE_SIZE = 1 << 18
"""Bytes of the largest page that any architecture has."""

MAP_NORESERVE: int = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)
"""For a mapping of which little is ever touched: the host is not asked to promise all of it (mmap
has the name since Python 3.13; it is 0x4000 on most architectures of Linux)."""

Pfns: TypeAlias = NDArray[np.int64]
"""A column of pfns, shape (n,)."""
Mask: TypeAlias = NDArray[np.bool_]
"""A column of yes and no, one per frame asked about."""


def require_page_size(page_nr_bytes: int, whose: str) -> int:
    """Refuse a page of a size that no machine has.

    Args:
        page_nr_bytes: bytes in a page.
        whose: begins the message.

    Returns:
        The size, as a plain int.

    Raises:
        PinpageError: not a power of two, or out of bounds.
    """
    (page_nr_bytes,) = whole(whose, page_nr_bytes=page_nr_bytes)
    if not PAGE_SIZE <= page_nr_bytes <= MAX_PAGE_SIZE or page_nr_bytes & (page_nr_bytes - 1):
        raise PinpageError(
            f"{whose}: page_nr_bytes={page_nr_bytes}: "
            f"give a power of two, {PAGE_SIZE} to {MAX_PAGE_SIZE}"
        )
    return page_nr_bytes


def in_words(nr_bytes: int) -> str:
    """A size in the largest unit that divides it.

    >>> in_words(2 << 20), in_words(1536 << 20), in_words(64 << 10)
    ('2 MiB', '1536 MiB', '64 KiB')
    """
    for shift, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if nr_bytes and not nr_bytes % (1 << shift):
            return f"{nr_bytes >> shift} {unit}"
    return f"{nr_bytes} bytes"


@frozen(order=True)
class Span:
    """A half-open range of pfns, in pages: `start <= pfn < stop`.

    >>> Span(0x200, 0x400).nr_pages
    512
    >>> 0x400 in Span(0x200, 0x400)
    False
    """

    start: int
    stop: int

    def __attrs_post_init__(self) -> None:
        """Refuse a span that runs backwards or below zero; its ends are plain ints."""
        if type(self.start) is not int or type(self.stop) is not int:
            self._make_plain()
        if not 0 <= self.start <= self.stop:
            raise PfnError(f"span [{self.start:#x}, {self.stop:#x}) is not a range of pfns")

    def _make_plain(self) -> None:
        for name in ("start", "stop"):
            end = plain_int(getattr(self, name))
            if end is None:
                given = f"[{self.start!r}, {self.stop!r})"
                raise PfnError(f"span {given} is not a range of pfns: give whole numbers")
            object.__setattr__(self, name, end)  # (frozen from here on)

    @property
    def nr_pages(self) -> int:
        """Pages in the span."""
        return self.stop - self.start

    def __contains__(self, pfn: int) -> bool:
        """Whether `pfn` lies in the span."""
        return self.start <= pfn < self.stop
