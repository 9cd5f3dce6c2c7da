"""One contiguous area: which of its pages a device has, as a bitmap.

Kernel counterpart: struct cma, cma_bitmap_aligned_mask() and its neighbours in mm/cma.c,
bitmap_find_next_zero_area_off() in lib/bitmap.c.
"""

import numpy as np
from attrs import define, field

from pinpage.errors import PinpageError, require, whole
from pinpage.units import Mask, Pfns, Span

__all__ = ["CmaArea"]


@define(eq=False)
class CmaArea:
    """An area and its bitmap.

    Attributes:
        span: its frames.
        order_per_bit: log2 of the pages that one bit stands for.
        name: of the area; empty where nothing named it.
        bitmap: bool (nr_bits,), set where the pages are a device's, or about to be.
        handed: bool (nr_pages,), the pages that a device has; a bit may be used in part.

    Invariants, run by `check`:
        CM1 the span is whole bits.
        CM2 there is one bit for each of them.
    """

    span: Span
    order_per_bit: int = 0
    name: str = ""
    bitmap: Mask = field(init=False, repr=False)
    handed: Mask = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        """No page is a device's yet.

        Raises:
            PinpageError: an area of no pages, or of part of a bit.
        """
        (self.order_per_bit,) = whole("cma", order_per_bit=self.order_per_bit)
        size = 1 << max(self.order_per_bit, 0)
        nr_pages = self.span.nr_pages
        if self.order_per_bit < 0 or not nr_pages or nr_pages % size or self.span.start % size:
            raise PinpageError(
                f"cma: [{self.span.start:#x}, {self.span.stop:#x}) is not a whole number of bits"
                f" of order_per_bit={self.order_per_bit}"
            )
        self.bitmap = np.zeros(nr_pages // size, dtype=np.bool_)
        self.handed = np.zeros(nr_pages, dtype=np.bool_)

    @property
    def nr_bits(self) -> int:
        """Bits in the bitmap."""
        return len(self.bitmap)

    @property
    def nr_free_pages(self) -> int:
        """Pages that no device has; some of them may be lent to movable users."""
        return int(np.count_nonzero(~self.bitmap)) << self.order_per_bit

    def bits_for(self, nr_pages: int) -> int:
        """Bits that so many pages take; the last one may be used in part."""
        return -(-nr_pages >> self.order_per_bit)

    def align_mask(self, align_order: int) -> int:
        """Bits per alignment step, less one."""
        return max((1 << max(align_order - self.order_per_bit, 0)) - 1, 0)

    def pfn_of(self, bit: int) -> int:
        """The first frame of a bit."""
        return self.span.start + (bit << self.order_per_bit)

    def bit_of(self, pfn: int) -> int:
        """The bit that a frame of the area belongs to."""
        return (pfn - self.span.start) >> self.order_per_bit

    def mark(self, span: Span, *, on: bool) -> None:
        """Set or clear the bits of a range that is wanted, or was wanted in vain.

        Args:
            span: the range of frames.
            on: whether the bits are set or cleared.
        """
        first = self.bit_of(span.start)
        self.bitmap[first : first + self.bits_for(span.nr_pages)] = on

    def hand_out(self, span: Span) -> None:
        """These pages are a device's; their bits are set."""
        self.handed[span.start - self.span.start : span.stop - self.span.start] = True

    def take_back(self, span: Span) -> None:
        """They are not any more: a bit of which no page is a device's is clear.

        Raises:
            PinpageError: no device has one of them; nothing has changed.
        """
        rows = slice(span.start - self.span.start, span.stop - self.span.start)
        if not self.handed[rows].all():
            pfn = span.start + int(self.handed[rows].argmin())
            raise PinpageError(f"cma: no device has pfn {pfn:#x}: released twice, or never had?")
        self.handed[rows] = False
        self.bitmap[self.bit_of(span.start) : self.bit_of(span.stop - 1) + 1] = False
        self.bitmap[self.has_handed()] = True

    def has_handed(self) -> Mask:
        """By bit: whether a device has one of its pages."""
        by_bit = self.handed.reshape(-1, 1 << self.order_per_bit)
        has: Mask = np.logical_or.reduce(by_bit, axis=1)
        return has

    def find(self, nr_bits: int, start: int, align_order: int) -> int:
        """The first run of clear bits from `start` on whose first pfn is aligned, or -1.

        Args:
            nr_bits: bits in a row.
            start: the first bit that may begin a run.
            align_order: log2 of the pages that the first pfn is a multiple of.
        """
        runs = self.clear_runs(nr_bits, align_order, start)
        return int(runs[0]) if len(runs) else -1

    def clear_runs(
        self, nr_bits: int, align_order: int, start: int = 0, last: int | None = None
    ) -> Pfns:
        """Every bit of [start, last] whose pfn is aligned and that begins a run of clear bits.

        Args:
            nr_bits: bits in a row.
            align_order: log2 of the pages that the first pfn is a multiple of.
            start: the first bit that may begin a run.
            last: the last bit that may begin a run.

        Cost: one pass over the bitmap.
        """
        step = self.align_mask(align_order) + 1
        first = -(self.span.start >> self.order_per_bit) % step
        starts = np.arange(first, self.nr_bits - nr_bits + 1, step, dtype=np.int64)
        starts = starts[starts >= start]
        if last is not None:
            starts = starts[starts <= last]
        nr_set = np.concatenate(([0], np.cumsum(self.bitmap)))
        runs: Pfns = starts[nr_set[starts + nr_bits] == nr_set[starts]]
        return runs

    def check(self) -> None:
        """Run CM1 and CM2.

        Raises:
            InvariantError: one does not hold.
        """
        size = 1 << self.order_per_bit
        require(self.span.nr_pages % size == 0, "CM1 an area of part of a bit")
        require(self.nr_bits * size == self.span.nr_pages, "CM2 bits and pages disagree")
