"""Pools of huge pages, grown and shrunk at run time, node by node.

One pool per size: 2 MiB from the page allocator (`BuddySource`), 1 GiB from a walk over
memory (`mm.hugetlb.gigantic`).  Three ways to get pages: `set_max` is a write to nr_hugepages,
tries hard and turns from node to node; `grow` takes what is there without trying; `claim` takes
pageblocks that a plan has emptied, as contiguous allocation takes its range, and no
watermark is asked.  Who has which page is `mm.hugetlb.pages`'s; how a page makes way for
somebody who wants its frames, `mm.hugetlb.evict`'s.

Kernel counterpart: set_max_huge_pages, alloc_pool_huge_page, alloc_surplus_huge_page,
alloc_buddy_huge_page, update_and_free_page and free_huge_page of mm/hugetlb.c (v6.1).
Reservations of mappings that are not touched yet are not modelled.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from mm.allocator.page_alloc import PageAllocator
from mm.buddy.buddy import Buddy
from mm.hugetlb.pages import HugePages
from mm.state.frames import Frames
from mm.state.gfp import Gfp
from mm.state.pageblock import MigrateType
from pinpage.errors import PinpageError, at_least
from pinpage.units import Pfns

__all__ = ["BuddySource", "HugePool", "HugeSource"]


class HugeSource(Protocol):
    """Where the pages of a pool come from, and go back to."""

    @property
    def nr_pages(self) -> int:
        """Frames of one huge page."""

    def alloc(self, node: int, *, hard: bool) -> int:
        """A page on this very node: its head, or -1.  `hard`: compact and reclaim for it."""

    def free(self, pfns: Pfns) -> None:
        """Frames of a page back to the free lists."""


class BuddySource:
    """Pages of one pageblock from the page allocator; its watermarks hold.

    Attributes:
        nr_pages: frames of one.
    """

    def __init__(self, buddy: Buddy, allocator: PageAllocator) -> None:
        """Borrow the free lists and who decides about them."""
        self.nr_pages = buddy.pageblocks.nr_pages_per_block
        self._buddy = buddy
        self._allocator = allocator

    def alloc(self, node: int, *, hard: bool) -> int:
        """See `HugeSource`; not `hard` means neither compaction nor reclaim."""
        gfp = Gfp.HIGHUSER_MOVABLE | Gfp.COMP | Gfp.NOWARN | Gfp.THISNODE
        gfp = gfp | Gfp.RETRY_MAYFAIL if hard else (gfp | Gfp.NORETRY) & ~Gfp.RECLAIM
        return self._allocator.alloc_pages(self._buddy.pageblock_order, gfp, node)

    def free(self, pfns: Pfns) -> None:
        """See `HugeSource`."""
        self._buddy.free_many(pfns)


class HugePool(HugePages):
    """Huge pages of one size (struct hstate).

    Attributes:
        source: where they come from.
        buddy: the free lists.
        nr_overcommit: how many surplus pages there may be (nr_overcommit_hugepages).
    """

    def __init__(
        self, frames: Frames, buddy: Buddy, source: HugeSource, kin: list[HugePages] | None = None
    ) -> None:
        """An empty pool over these frames; `kin` as in `HugePages`."""
        nodes = tuple(sorted({zone.node for zone in buddy.zones}))
        kin = [] if kin is None else kin
        super().__init__(frames, source.nr_pages, nodes, source.free, kin)
        self.source = source
        self.nr_overcommit = 0
        self.buddy = buddy
        self._turn = {"alloc": 0, "free": 0}

    @property
    def nr_persistent(self) -> int:
        """Pages that stay when their user goes."""
        return len(self.heads) - sum(self.nr_surplus.values())

    # Its size.

    def set_max(self, count: int, *, node: int | None = None, hard: bool = True) -> int:
        """Make the pool hold `count` persistent pages, as far as that goes (nr_hugepages).

        Growing turns surplus pages into persistent ones first, then allocates, node by node in
        turn, and stops when no node has another.  Shrinking gives free pages back, node by node
        in turn; where all that are left are in use, they become surplus and go with their users.

        Args:
            count: pages wanted: in all, or on `node`.
            node: the only node to change; None for all.
            hard: whether to compact and reclaim for them, on each node until that has failed.

        Returns:
            Persistent pages now, in all.

        Raises:
            PinpageError: a negative count, or no such node; nothing has changed.
        """
        if count < 0:
            raise PinpageError(f"nr_hugepages: {count} pages: give 0 or more")
        nodes = self.nodes_for(node)
        if node is not None:  # the others keep what they have
            count += self.nr_persistent - (self.nr_on(node) - self.nr_surplus[node])
        while self.nr_persistent < count and self._adjust_surplus(-1, nodes):
            pass
        self.grow(max(count - self.nr_persistent, 0), node=node, hard=hard)
        while self.nr_persistent > count and self._remove_one(nodes):
            pass
        while self.nr_persistent > count and self._adjust_surplus(1, nodes):
            pass
        return self.nr_persistent

    def grow(
        self,
        count: int,
        *,
        node: int | None = None,
        hard: bool = False,
        given_up: set[int] | None = None,
    ) -> int:
        """Allocate up to `count` pages, node by node in turn; how many there were.

        Without `hard` nothing is compacted or reclaimed: the request that the recordings hold
        compacted all memory first, and what it then obtained were the wholly free blocks.

        Args:
            count: pages wanted.
            node: the only node to take from; None for all.
            hard: whether to compact and reclaim for them.
            given_up: nodes not to be pressed any more; those that fail are added.  Whoever
                makes one request of several calls hands the same set to each.

        Raises:
            PinpageError: a negative count, or no such node.
        """
        at_least(0, "hugetlb: grow", count=count)
        nodes = self.nodes_for(node)
        given_up = set() if given_up is None else given_up
        for obtained in range(count):
            head = self._fresh(nodes, given_up, hard=hard)
            if head < 0:
                return obtained
            self.adopt(head)
        return count

    def claim(self, count: int) -> int:
        """Take up to `count` wholly free pageblocks, lowest first; how many there were.

        Raises:
            PinpageError: a negative count, or the pool's pages are no pageblocks.
        """
        at_least(0, "hugetlb: claim", count=count)
        if self.nr_pages != self.buddy.pageblocks.nr_pages_per_block:
            raise PinpageError(f"hugetlb: claim: pages of {self.nr_pages} frames: walk for them")
        pageblocks = self.buddy.pageblocks
        isolated = pageblocks.migratetype == MigrateType.ISOLATE  # somebody else's range
        blocks = np.flatnonzero(self.buddy.wholly_free() & ~isolated)[:count]
        for block in blocks.tolist():
            self.adopt(self.buddy.claim_block(block))
        return len(blocks)

    def shrink(self, count: int) -> int:
        """Give up to `count` free pages back, newest first; how many.

        Pages that somebody uses or holds a reference on stay.

        Raises:
            PinpageError: a negative count.
        """
        at_least(0, "hugetlb: shrink", count=count)
        free = [head for head in reversed(self.heads) if self.is_free(head)][:count]
        for head in free:
            self.give_back(head)
        return len(free)

    def free_page(self, head: int) -> None:
        """Give back the page with this head.

        Raises:
            NotPinnedError: the pool has no such page.
            PinpageError: somebody uses it or holds a reference; nothing has changed.
        """
        self.require_ours(head)
        self.require_free(head)
        self.give_back(head)

    # Its users.

    def alloc_huge_page(self, node: int | None = None) -> int:
        """A page for a user: a free one, of the given node first, else a surplus one; or -1.

        A surplus page beyond `nr_overcommit` is not made.

        Raises:
            PinpageError: no such node.
        """
        first = self.nodes[0] if node is None else self.nodes_for(node)[0]
        nearest = sorted(self.nodes, key=lambda other: (other != first, other))
        for other in nearest:
            if free := self.free_on(other):
                self.use(free[-1])
                return free[-1]
        if sum(self.nr_surplus.values()) >= self.nr_overcommit:
            return -1
        for other in nearest:
            head = self.source.alloc(other, hard=True)
            if head >= 0:
                self.adopt(head)
                self.use(head)
                self.nr_surplus[other] += 1
                return head
        return -1

    def share(self, head: int) -> None:
        """One user more of a page in use (fork).

        Raises:
            NotPinnedError, PinpageError: no such page, or nobody uses it.
        """
        self.require_used(head)
        self.use(head)

    def free_huge_page(self, head: int) -> None:
        """A user drops a page.  The last one frees it, unless somebody else still holds it.

        A page of a node that has surplus ones goes back to the allocator.

        Raises:
            NotPinnedError, PinpageError: no such page, or nobody uses it.
        """
        self.unuse(head)

    # Node by node.

    def nodes_for(self, node: int | None) -> tuple[int, ...]:
        """The nodes that a request may use: the one given, or all.

        Raises:
            PinpageError: no such node.
        """
        if node is None:
            return self.nodes
        if node not in self.nodes:
            raise PinpageError(f"hugetlb: node {node}: the machine has nodes {self.nodes}")
        return (node,)

    def _in_turn(self, what: str, nodes: Sequence[int]) -> Iterator[int]:
        """Each of these nodes once, going on where the last turn ended (next_nid_to_alloc)."""
        for _ in nodes:
            ahead = self._turn[what]
            node = min(nodes, key=lambda n: (n < ahead, n))
            self._turn[what] = node + 1
            yield node

    def _fresh(self, nodes: Sequence[int], given_up: set[int], *, hard: bool) -> int:
        """A page from the next node that has one, or -1; nodes that failed are not pressed again.

        (alloc_pool_huge_page and its node_alloc_noretry.)
        """
        for node in self._in_turn("alloc", nodes):
            head = self.source.alloc(node, hard=hard and node not in given_up)
            if head >= 0:
                return head
            given_up.add(node)
        return -1

    def _remove_one(self, nodes: Sequence[int]) -> bool:
        """Give back a free page of the next node that has one (remove_pool_huge_page)."""
        for node in self._in_turn("free", nodes):
            if free := self.free_on(node):
                self.give_back(free[-1])
                return True
        return False

    def _adjust_surplus(self, delta: int, nodes: Sequence[int]) -> bool:
        """One page more or less is surplus, on the next node where one can be."""
        for node in self._in_turn("alloc" if delta < 0 else "free", nodes):
            if 0 <= self.nr_surplus[node] + delta <= self.nr_on(node):
                self.nr_surplus[node] += delta
                return True
        return False
