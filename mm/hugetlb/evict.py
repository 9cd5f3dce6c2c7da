"""Huge pages that are in somebody's way: replaced, dissolved, or moved as a whole.

==================  ======================================  ============================
a page of the pool  contiguous allocation (`keep`)          hot-remove
==================  ======================================  ============================
free                a fresh one replaces it, it dissolves   dissolves once all else has
                                                            gone: one page fewer
in use              moves to a free one of any node, or a   likewise, to other nodes first;
                    fresh one; then as a free one           then as a free one
gigantic            ENOMEM: nobody looks for another        a free one dissolves; one in
                                                            use moves to a free one
==================  ======================================  ============================

A page that anybody but the pool and its users holds a reference on stays: EBUSY.

Kernel counterpart: isolate_or_dissolve_huge_page, isolate_hugetlb and
dissolve_free_huge_pages of mm/hugetlb.c, unmap_and_move_huge_page of mm/migrate.c (v6.1).
"""

from collections.abc import Sequence

import numpy as np

from mm.contig.range_walk import HugeInRanges
from mm.hugetlb.hugetlb import HugePool
from mm.state.contents import Contents
from mm.state.costs import Counters
from mm.state.errno import Errno
from mm.state.frames import Frames, PageFlag
from mm.state.pageblock import MigrateType, Pageblocks
from pinpage.owner import Mode
from pinpage.units import Mask, Pfns, Span

__all__ = ["HugeEvictor"]


class HugeEvictor:
    """Takes the pages of all pools out of a range (a `mm.contig.range_walk.EvictsHugePages`).

    Attributes:
        pools: those looked after; pages of more than one pageblock are gigantic.
        nr_pages_moved: frames whose contents went to another page so far.
    """

    def __init__(
        self,
        frames: Frames,
        pageblocks: Pageblocks,
        contents: Contents,
        counters: Counters,
        pools: Sequence[HugePool],
    ) -> None:
        """Look after these pools.

        Args:
            frames: the columns, one row per frame.
            pageblocks: the types of the pageblocks.
            contents: what the frames hold.
            counters: what is done is counted here.
            pools: those looked after.
        """
        self._frames = frames
        self._pageblocks = pageblocks
        self._contents = contents
        self._counters = counters
        self.pools = list(pools)
        self.nr_pages_moved = 0

    def covers(self, pfns: Pfns) -> Mask:
        """Which of these frames belong to a huge page."""
        return self._frames.has_flag(pfns, PageFlag.HUGE)

    def could_leave(self, mode: Mode, *, keep: bool = True) -> Mask:
        """Frames of huge pages that `vacate` could take away, given room, bool (nr_frames,).

        Args:
            mode: as handed to `vacate`.
            keep: whether the pools keep their sizes, as for contiguous allocation.
        """
        found = np.zeros(self._frames.nr_frames, dtype=np.bool_)
        for pool in self.pools:
            if keep and self._is_gigantic(pool):
                continue
            for head in pool.heads:
                waits = mode == Mode.ASYNC and not pool.is_free(head)
                found[pool.frames_of(head)] = not pool.nr_foreign(head) and not waits
        return found

    def dissolves(self, span: Span) -> Mask:
        """Frames of free huge pages, which hot-remove gives back, bool (span.nr_pages,)."""
        found = np.zeros(span.nr_pages, dtype=np.bool_)
        for pool in self.pools:
            for head in filter(pool.is_free, pool.heads_in(span.start, span.stop)):
                at = head - span.start
                found[max(at, 0) : at + pool.nr_pages] = True
        return found

    def within(self, starts: Pfns, nr_pages: int) -> tuple[HugeInRanges, ...]:
        """What is in each of these ranges, by size of huge page.

        Args:
            starts: first pfns of the ranges, ascending.
            nr_pages: pages of each.
        """
        found = []
        for pool in self.pools:
            free = [head for head in pool.heads if pool.is_free(head)]
            used = [head for head in pool.heads if not pool.is_free(head)]
            found.append(
                HugeInRanges(
                    nr_pages=pool.nr_pages,
                    is_gigantic=self._is_gigantic(pool),
                    nr_free=len(free),
                    nr_in_use=len(used),
                    free=_nr_within(free, pool.nr_pages, starts, nr_pages),
                    used=_nr_within(used, pool.nr_pages, starts, nr_pages),
                )
            )
        return tuple(found)

    def vacate(self, span: Span, mode: Mode, *, keep: bool = True) -> Errno:
        """Make every huge page with a frame in the span go.

        Args:
            span: in isolated pageblocks.
            mode: ASYNC leaves used pages alone: their users would have to wait.
            keep: whether the pools keep their sizes, as for contiguous allocation; else, as for
                hot-remove, those that are free are left to `dissolve`.

        Returns:
            OK; ENOMEM: no page to take its place, or it is gigantic; EBUSY: somebody holds it;
            EAGAIN: somebody took it meanwhile.  Pages below the first that stays are gone.
        """
        for pool in self.pools:
            for head in pool.heads_in(span.start, span.stop):
                if keep and self._is_gigantic(pool):
                    return Errno.ENOMEM
                errno = self._clear(pool, head, mode, keep=keep)
                if errno is not Errno.OK:
                    return errno
        return Errno.OK

    def dissolve(self, span: Span) -> Errno:
        """Give back every free huge page with a frame in the span; the pools shrink.

        Hot-remove does so last of all, so where it fails before, they keep their pages.

        Args:
            span: in isolated pageblocks, with no other huge page in it.

        Returns:
            OK; EBUSY: somebody has taken one meanwhile.
        """
        for pool in self.pools:
            for head in pool.heads_in(span.start, span.stop):
                if not pool.is_free(head):
                    return Errno.EBUSY
                pool.give_back(head)
        return Errno.OK

    def _clear(self, pool: HugePool, head: int, mode: Mode, *, keep: bool) -> Errno:
        made: list[int] = []
        near_first = [pool.node_of(head), *(n for n in pool.nodes if n != pool.node_of(head))]
        nodes = near_first if keep else [*near_first[1:], near_first[0]]
        errno = Errno.OK
        if not pool.is_free(head):
            errno = self._move(pool, head, mode, made, nodes)
        if errno is Errno.OK and not keep and not made:
            return Errno.OK  # free, and in the pool until `dissolve`
        if errno is Errno.OK and not made and self._fresh(pool, near_first[:1], made) < 0:
            errno = Errno.ENOMEM
        if errno is Errno.OK and pool.is_free(head):
            pool.give_back(head)
            return Errno.OK
        # Others ran while memory was found: the page may have gone by now, or be somebody's.
        for fresh in made:
            if pool.is_free(fresh):
                pool.give_back(fresh)
        if not pool.has(head):
            return Errno.OK
        return Errno.EAGAIN if errno is Errno.OK else errno

    def _move(
        self, pool: HugePool, head: int, mode: Mode, made: list[int], nodes: Sequence[int]
    ) -> Errno:
        """Contents and users to another page, of the first of these nodes that has one."""
        if mode == Mode.ASYNC:
            return Errno.EAGAIN
        if not _may_move(pool, head):
            return Errno.EBUSY
        target = self._target_for(pool, made, nodes)
        if target < 0:
            return Errno.ENOMEM
        if not _may_move(pool, head):  # any more: others ran
            return Errno.EAGAIN
        self._contents.copy(pool.frames_of(head), pool.frames_of(target))
        self._counters.pages_copied += pool.nr_pages
        self.nr_pages_moved += pool.nr_pages
        self._counters.flushes += 1
        self._counters.ptes_rewritten += pool.nr_users(head)
        pool.hand_over(head, target)
        return Errno.OK

    def _target_for(self, pool: HugePool, made: list[int], nodes: Sequence[int]) -> int:
        """A free page outside of isolated pageblocks, else a fresh one unless gigantic; or -1."""
        for node in nodes:
            for other in reversed(pool.free_on(node)):
                types = self._pageblocks.types_of(pool.frames_of(other))
                if not np.equal(types, MigrateType.ISOLATE).any():
                    return other
        return -1 if self._is_gigantic(pool) else self._fresh(pool, nodes, made)

    def _fresh(self, pool: HugePool, nodes: Sequence[int], made: list[int]) -> int:
        """One page more in the pool, of the first node that has one, noted in `made`; or -1."""
        for node in nodes:
            fresh = pool.source.alloc(node, hard=True)
            if fresh >= 0:
                pool.adopt(fresh)
                made.append(fresh)
                return fresh
        return -1

    def _is_gigantic(self, pool: HugePool) -> bool:
        return pool.nr_pages > self._pageblocks.nr_pages_per_block


def _may_move(pool: HugePool, head: int) -> bool:
    """Whether the page has users, and nobody else holds it."""
    return pool.nr_users(head) > 0 and not pool.nr_foreign(head)


def _nr_within(heads: Sequence[int], size: int, starts: Pfns, nr_pages: int) -> Pfns:
    """How many pages of `size` frames have one in each of [start, start + nr_pages)."""
    ascending = np.sort(np.array(heads, dtype=np.int64))
    until = np.searchsorted(ascending, starts + nr_pages)
    found: Pfns = until - np.searchsorted(ascending, starts - size, side="right")
    return found
