"""The sizes of huge page that a machine has, one pool each.

Kernel counterpart: the array of hstates, and hugepagesz= on the command line.
"""

from collections.abc import Callable, Sequence

from mm.contig.contig import Contig
from mm.hugetlb.evict import HugeEvictor
from mm.hugetlb.gigantic import GiganticPages
from mm.hugetlb.hugetlb import HugePool
from mm.move.design import Design
from mm.planning.execute import PlannedCompaction
from mm.state.nodes import Zone
from pinpage.errors import PinpageError, whole

__all__ = ["HugeSizes"]


class HugeSizes:
    """Pools by size; gigantic ones are made when they are first asked for.

    Attributes:
        pools: frames of one page -> pool.
        gigantic: frames of one page -> where its pool gets its pages.
    """

    def __init__(
        self,
        pool: HugePool,
        evictor: HugeEvictor,
        contig: Contig,
        planned: PlannedCompaction,
        zones: Callable[[], Sequence[Zone]],
        design: Callable[[], Design],
    ) -> None:
        """Begin with the pool of pages of one pageblock; the rest is for `GiganticPages`.

        Args:
            pool: the pool.
            evictor: takes huge pages out of a range.
            contig: takes ranges.
            planned: compacts by plan.
            zones: gives the zones that there are now.
            design: gives the design in force.
        """
        self.pools: dict[int, HugePool] = {pool.nr_pages: pool}
        self.gigantic: dict[int, GiganticPages] = {}
        self._first = pool
        self._evictor = evictor
        self._parts = (contig, planned, zones, design)

    def of(self, nr_pages: int) -> HugePool:
        """The pool of pages of this many frames.

        Raises:
            PinpageError: no size that there can be.
        """
        (nr_pages,) = whole("hugepagesz", nr_pages=nr_pages)
        if nr_pages not in self.pools:
            source = GiganticPages(*self._parts, nr_pages=nr_pages)
            pool = HugePool(self._first.frames, self._first.buddy, source, self._first.all_sizes)
            self.pools[nr_pages], self.gigantic[nr_pages] = pool, source
            self._evictor.pools.append(pool)
        return self.pools[nr_pages]

    def gigantic_of(self, nr_pages: int) -> GiganticPages:
        """Where the pool of this size gets its pages.

        Raises:
            PinpageError: no size that there can be, or not a gigantic one.
        """
        nr_pages = self.of(nr_pages).nr_pages
        if nr_pages not in self.gigantic:
            raise PinpageError(
                f"hugepagesz: pages of {nr_pages} frames are not gigantic: "
                "they come from the page allocator"
            )
        return self.gigantic[nr_pages]

    def on_put(self, pfn: int) -> None:
        """Somebody dropped a reference of a frame that carries the HUGE flag (free_huge_page)."""
        for pool in self.pools.values():
            pool.on_put(pfn)

    def check(self) -> None:
        """Run every pool's invariants.

        Raises:
            InvariantError: one does not hold.
        """
        for pool in self.pools.values():
            pool.check()
