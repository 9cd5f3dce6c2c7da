"""Runs of an area that could be had: how many allocations fit, and where one does least harm.

A run is a stretch of bits that no device has and in whose pages nothing is stuck.  What is
allocated lies inside one run, so its length decides, and an allocation in its middle leaves
two short runs where there was a long one.

Why best fit loses nothing.  Count, for each power of two, the ranges of that size that the
runs still hold.  An allocation of a power of two takes what it is long from each smaller size,
and from a larger size at most one, and only where nothing shorter is left to break; the start
that `waste` puts first loses the fewest at every size at once.  So no order of requests for
powers of two gets more, whoever chooses the starts.  For one size, whichever it is, each
allocation costs exactly one.

Kernel counterpart: none; cma_alloc takes the first run that is long enough.
Cost: one pass over the bits for each size.
"""

from collections.abc import Iterable

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from pinpage.units import Mask, Pfns

__all__ = ["Runs", "most_pages"]

_Rows = NDArray[np.int64]
_NR_SIZES = 25
"""Powers of two that are kept whole: up to 64 GiB of 4 KiB pages; two bits of `waste` each."""


@frozen(eq=False)
class Runs:
    """Maximal runs of bits, in order.

    Attributes:
        starts, stops: int64 (n,), the first bit of each run and the one behind its last.
        step: bits between two starts of an allocation.
        first: the first bit where one may start, of all.
    """

    starts: _Rows
    stops: _Rows
    step: int = 1
    first: int = 0

    @classmethod
    def of(cls, usable: Mask, step: int = 1, first: int = 0) -> "Runs":
        """The runs of a mask.

        Args:
            usable: bool (nr_bits,), bits that could be had.
            step: bits between two starts of an allocation.
            first: the first bit where one may start.
        """
        edges = np.flatnonzero(np.diff(np.concatenate(([0], usable, [0])).astype(np.int8)))
        return cls(edges[0::2].astype(np.int64), edges[1::2].astype(np.int64), step, first)

    def aligned(self, bits: _Rows) -> _Rows:
        """Each bit, or the next one where an allocation may start."""
        up: _Rows = bits + (self.first - bits) % self.step
        return up

    def capacity(self, starts: _Rows, stops: _Rows, nr_bits: int) -> _Rows:
        """How many allocations of `nr_bits` fit into [start, stop), for columns of these.

        Args:
            starts: int64 (n,), first bits.
            stops: int64 (n,), bits behind the last ones.
            nr_bits: bits of an allocation.
        """
        stride = -(-nr_bits // self.step) * self.step
        slack = stops - self.aligned(starts) - nr_bits
        count: _Rows = np.where(slack >= 0, slack // stride + 1, 0)
        return count

    def waste(self, bits: Pfns, nr_bits: int) -> _Rows:
        """What is lost beyond the bits taken, by start: less leaves larger ranges whole.

        Args:
            bits: int64 (n,), starts of runs of clear bits.
            nr_bits: bits of the allocation.

        Returns:
            int64 (n,); of starts that no run has room for the number means nothing.
        """
        if not len(self.starts):
            return np.zeros(len(bits), dtype=np.int64)
        row = np.maximum(np.searchsorted(self.starts, bits, side="right") - 1, 0)
        low, high = self.starts[row], self.stops[row]
        behind = bits + nr_bits
        left, right = np.maximum(bits - low, 0), np.maximum(high - behind, 0)
        lost = self.capacity(low, high, nr_bits) - self.capacity(low, bits, nr_bits)
        lost -= self.capacity(behind, np.maximum(high, behind), nr_bits)
        waste = np.clip(lost - 1, 0, 3) << (2 * _NR_SIZES)
        for size in range(_NR_SIZES):
            cut = ((1 << size) - 1) & left, ((1 << size) - 1) & right, ((1 << size) - 1) & nr_bits
            waste += (sum(cut) >> size) << (2 * size)
        found: _Rows = waste
        return found


def most_pages(
    runs: Runs, sizes: Iterable[tuple[int, int]], nr_free: int, *, nr_pages_per_bit: int = 1
) -> int:
    """The most pages that allocations of these sizes can have together, whoever places them.

    The largest first: where each size divides the next, one of these is never worth less than
    what else its place could hold.

    Args:
        runs: where they may lie.
        sizes: (pages of one, how many of them).
        nr_free: free frames once all that reclaim could free is; each page taken is one fewer.
        nr_pages_per_bit: pages that one bit stands for.
    """
    starts, obtained = runs.starts.copy(), 0
    for nr_pages, count in sorted(sizes, reverse=True):
        nr_bits = -(-nr_pages // nr_pages_per_bit)
        left = min(count, (nr_free - obtained) // nr_pages)
        fits = runs.capacity(starts, runs.stops, nr_bits)
        before = np.cumsum(fits) - fits
        taken = np.clip(left - before, 0, fits)
        stride = -(-nr_bits // runs.step) * runs.step
        starts = np.where(taken > 0, runs.aligned(starts) + taken * stride, starts)
        obtained += int(taken.sum()) * nr_pages
    return obtained
