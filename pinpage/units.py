"""Pages, orders and spans: the units that every other module counts in.

A pfn is a plain int (or an int64 column of them).  A range of pfns is half-open.
"""

from typing import TypeAlias

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from pinpage.errors import PfnError

__all__ = [
    "PAGEBLOCK_NR_PAGES",
    "PAGEBLOCK_ORDER",
    "PAGE_SHIFT",
    "PAGE_SIZE",
    "Mask",
    "Pfns",
    "Span",
]

PAGE_SHIFT = 12
"""log2 of the bytes in a page (x86-64)."""
PAGE_SIZE = 1 << PAGE_SHIFT
"""Bytes in a page."""
PAGEBLOCK_ORDER = 9
"""log2 of the pages in a pageblock with hugetlb or THP configured (2 MiB)."""
PAGEBLOCK_NR_PAGES = 1 << PAGEBLOCK_ORDER
"""Pages in a pageblock."""

Pfns: TypeAlias = NDArray[np.int64]
"""A column of pfns, shape (n,)."""
Mask: TypeAlias = NDArray[np.bool_]
"""A column of yes and no, one per frame asked about."""


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
        """Refuse a span that runs backwards or below zero."""
        if not 0 <= self.start <= self.stop:
            raise PfnError(f"span [{self.start:#x}, {self.stop:#x}) is not a range of pfns")

    @property
    def nr_pages(self) -> int:
        """Pages in the span."""
        return self.stop - self.start

    def __contains__(self, pfn: int) -> bool:
        """Whether `pfn` lies in the span."""
        return self.start <= pfn < self.stop
