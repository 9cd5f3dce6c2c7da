"""Pools of huge pages, grown and shrunk at run time, node by node.

One pool per size: 2 MiB from the page allocator (`BuddySource`), 1 GiB from a walk over
memory (`mm.hugetlb.gigantic`).  Three ways to get pages: `set_max` is a write to nr_hugepages,
tries hard and turns from node to node; `grow` takes what is there without trying; `claim` takes
pageblocks that a plan has emptied, as contiguous allocation takes its range, and no
watermark is asked.  How a page makes way for somebody who wants its frames is
`mm.hugetlb.evict`'s.

A page of a pool is

    free        nobody uses or holds it; handed out newest first
    in use      some mapping has it: one reference on its head for each user
    lingering   no user has it any more, or never had, but somebody else holds a reference (a
                pin, say); free from the moment at which the last of these is dropped

and only a free one is given back to the allocator or handed out.  A free page keeps one
reference on each of its frames, the pool's own (the kernel keeps none); the reference of a
mover that has taken a frame is not somebody else's.

Looking changes nothing.  A page becomes free in one of two moments, and only then is it asked
whether it goes back to the allocator: its last user leaves (`unuse`), or the last reference of
somebody else is dropped (`on_put`, which whoever drops references calls).

Kernel counterpart: set_max_huge_pages, alloc_pool_huge_page, alloc_surplus_huge_page,
alloc_buddy_huge_page, update_and_free_page, enqueue_huge_page,
dequeue_huge_page_node_exact and free_huge_page of mm/hugetlb.c (v6.1).
Reservations of mappings that are not touched yet are not modelled.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np

from mm.allocator.page_alloc import PageAllocator
from mm.buddy.buddy import Buddy
from mm.state.frames import Frames, FrameState, PageFlag
from mm.state.gfp import Gfp
from mm.state.pageblock import MigrateType
from pinpage.errors import NotPinnedError, PinpageError, at_least, require, whole, within
from pinpage.units import Mask, Pfns

__all__ = ["BuddySource", "HugePool", "HugeSource"]


class HugeSource(Protocol):
    """Where the pages of a pool come from, and go back to."""

    @property
    def nr_pages(self) -> int:
        """Frames of one huge page."""

    def alloc(self, node: int, *, hard: bool) -> int:
        """A page on this very node: its head, or -1.  `hard`: compact and reclaim for it.

        Args:
            node: the node.
            hard: whether to compact and reclaim for it.
        """

    def free(self, pfns: Pfns) -> None:
        """Frames of a page back to the free lists."""


class BuddySource:
    """Pages of one pageblock from the page allocator; its watermarks hold.

    Attributes:
        nr_pages: frames of one.
    """

    def __init__(self, buddy: Buddy, allocator: PageAllocator) -> None:
        """Borrow the free lists and who decides about them.

        Args:
            buddy: the free lists.
            allocator: allocates from the free lists.
        """
        self.nr_pages = buddy.pageblocks.nr_pages_per_block
        self._buddy = buddy
        self._allocator = allocator

    def alloc(self, node: int, *, hard: bool) -> int:
        """See `HugeSource`; not `hard` means neither compaction nor reclaim.

        Args:
            node: the node.
            hard: whether to compact and reclaim for it.
        """
        gfp = Gfp.HIGHUSER_MOVABLE | Gfp.COMP | Gfp.NOWARN | Gfp.THISNODE
        gfp = gfp | Gfp.RETRY_MAYFAIL if hard else (gfp | Gfp.NORETRY) & ~Gfp.RECLAIM
        return self._allocator.alloc_pages(self._buddy.pageblock_order, gfp, node, lets_run=hard)

    def free(self, pfns: Pfns) -> None:
        """See `HugeSource`."""
        self._buddy.free_many(pfns)


def _ignore(*_heads: int) -> None:
    """The default of both callbacks."""


class HugePool:
    """Huge pages of one size (struct hstate).

    Attributes:
        frames: the columns.
        buddy: the free lists.
        source: where they come from.
        nr_pages: frames of one huge page.
        nodes: the nodes that there are, ascending.
        heads: pfns of the head frames, in the order in which they were obtained.
        all_sizes: the pools of all sizes, this one among them.
        nr_surplus: pages by node that go back to the allocator when they become free.
        nr_overcommit: how many surplus pages there may be (nr_overcommit_hugepages).
        on_gone, on_moved: told when a page is given back (its head) or its users have another
            (old head, new head); for whoever keeps a record of them.

    Invariants, run by `check`:
        HT1 every huge page is aligned to its size.
        HT2 its frames are used, carry the HUGE flag, and no other page's.
        HT3 a page has users, or stands on the list of its node.
        HT4 no node has more surplus pages than pages.
        HT5 the pool holds a reference on each frame, and one on the head for every user.
    """

    def __init__(
        self,
        frames: Frames,
        buddy: Buddy,
        source: HugeSource,
        all_sizes: "list[HugePool] | None" = None,
    ) -> None:
        """An empty pool.

        Args:
            frames: the columns.
            buddy: the free lists.
            source: where pages come from and go back to.
            all_sizes: the pools of all sizes, to which this one is added; what carries the
                HUGE flag is some page of one of them.
        """
        self.frames = frames
        self.buddy = buddy
        self.source = source
        self.nr_pages = source.nr_pages
        self._release = source.free
        self.nodes = tuple(sorted({zone.node for zone in buddy.zones}))
        self.heads: list[int] = []
        self.nr_surplus = dict.fromkeys(self.nodes, 0)
        self.nr_overcommit = 0
        self.on_gone: Callable[[int], None] = _ignore
        self.on_moved: Callable[[int, int], None] = _ignore
        self._next_node = {"alloc": 0, "free": 0}
        self._idle: dict[int, list[int]] = {node: [] for node in self.nodes}  # free or lingering
        self._nr_users: dict[int, int] = {}  # of every page
        self.all_sizes = [] if all_sizes is None else all_sizes
        self.all_sizes.append(self)

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
        (count,) = whole("nr_hugepages", count=count)
        if count < 0:
            raise PinpageError(f"nr_hugepages: {count} pages: give 0 or more")
        nodes = self.nodes_for(node)
        if node is not None:  # the others keep what they have
            (node,) = nodes
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
        (count,) = at_least(0, "hugetlb: grow", count=count)
        nodes = self.nodes_for(node)
        given_up = set() if given_up is None else given_up
        for obtained in range(count):
            head = self._fresh(nodes, given_up, hard=hard)
            if head < 0:
                return obtained
            self.adopt(head)
        return count

    def claim(self, count: int, node: int | None = None) -> int:
        """Take up to `count` wholly free pageblocks, lowest first; how many there were.

        Args:
            count: pages, at most.
            node: only this node's; None: any.

        Raises:
            PinpageError: a negative count, the pool's pages are no pageblocks, or no such node.
        """
        (count,) = at_least(0, "hugetlb: claim", count=count)
        if self.nr_pages != self.buddy.pageblocks.nr_pages_per_block:
            raise PinpageError(f"hugetlb: claim: pages of {self.nr_pages} frames: walk for them")
        pageblocks = self.buddy.pageblocks
        isolated = pageblocks.migratetype == MigrateType.ISOLATE  # somebody else's range
        blocks = np.flatnonzero(self.buddy.wholly_free() & ~isolated)
        nodes = self.frames.node[blocks * self.nr_pages]
        blocks = blocks[np.isin(nodes, self.nodes_for(node))][:count]
        for block in blocks.tolist():
            self.adopt(self.buddy.claim_block(block))
        return len(blocks)

    def shrink(self, count: int) -> int:
        """Give up to `count` free pages back, newest first; how many.

        Pages that somebody uses or holds a reference on stay.

        Raises:
            PinpageError: a negative count.
        """
        (count,) = at_least(0, "hugetlb: shrink", count=count)
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
        self.use(self.require_used(head))

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
        (node,) = whole("hugetlb", node=node)
        if node not in self.nodes:
            known = ", ".join(map(str, self.nodes))
            raise PinpageError(f"hugetlb: node {node}: give node= as one of {known}")
        return (node,)

    def _in_turn(self, what: str, nodes: Sequence[int]) -> Iterator[int]:
        """Each of these nodes once, going on where the last turn ended (next_nid_to_alloc)."""
        for _ in nodes:
            ahead = self._next_node[what]
            node = min(nodes, key=lambda n: (n < ahead, n))
            self._next_node[what] = node + 1
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

    # Looking.

    @property
    def nr_huge_pages(self) -> int:
        """Pages, surplus ones included (nr_hugepages)."""
        return len(self.heads)

    @property
    def nr_free(self) -> int:
        """Pages that nobody uses or references (free_hugepages)."""
        return sum(len(self.free_on(node)) for node in self.nodes)

    def free_on(self, node: int) -> list[int]:
        """Free pages of a node, the one that is handed out first last; a copy.

        Cost: about 3 us per 2 MiB page that is free or lingering.
        """
        return [head for head in self._idle[node] if not self.nr_foreign(head)]

    def has(self, head: int) -> bool:
        """Whether one of its pages starts there."""
        return head in self._nr_users

    def is_free(self, head: int) -> bool:
        """Whether the pool has the page, and nobody uses it or holds a reference."""
        return self._nr_users.get(head) == 0 and not self.nr_foreign(head)

    def node_of(self, head: int) -> int:
        """The node that a page lies on."""
        return int(self.frames.node[head])

    def nr_on(self, node: int) -> int:
        """Pages on a node, surplus ones included."""
        heads = np.array(self.heads, dtype=np.int64)
        return int(np.count_nonzero(self.frames.node[heads] == node))

    def nr_users(self, head: int) -> int:
        """How many users a page has; 0 for one that is free or lingering."""
        return self._nr_users.get(head, 0)

    def nr_foreign(self, head: int) -> int:
        """References on its frames that neither the pool, its users nor a mover hold."""
        if type(head) is not int:
            (head,) = whole("hugetlb", head=head)
        rows = slice(head, head + self.nr_pages)
        held, taken = self.frames.refcount[rows], self.frames.isolated[rows]
        return int(held.sum()) - int(taken.sum()) - self.nr_pages - self.nr_users(head)

    def frames_of(self, head: int) -> Pfns:
        """The frames of a page, ascending."""
        (head,) = whole("hugetlb", head=head)
        return np.arange(head, head + self.nr_pages)

    def heads_in(self, start: int, stop: int) -> list[int]:
        """Pages with a frame in [start, stop), lowest first.

        Args:
            start: first pfn of the range.
            stop: first pfn behind the range.
        """
        return sorted(head for head in self.heads if start - self.nr_pages < head < stop)

    # Changing.

    def adopt(self, head: int) -> None:
        """Frames that were just allocated become a free page.

        Raises:
            PinpageError: no page can start there, a frame of it is not allocated, or is some
                page's already.
        """
        head = self._require_adoptable(head)
        frames = self.frames_of(head)
        self.frames.set_flag(frames, PageFlag.HUGE)
        self.frames.set_flag(frames[:1], PageFlag.COMPOUND_HEAD)
        self.frames.set_flag(frames[1:], PageFlag.COMPOUND_TAIL)
        self.heads.append(head)
        self._nr_users[head] = 0
        self._idle[self.node_of(head)].append(head)

    def give_back(self, head: int) -> None:
        """A free page goes back to the allocator.

        A frame that a mover has taken meanwhile is left to it: its reference is the last one.

        Raises:
            NotPinnedError, PinpageError: no such page, or it is not free.
        """
        head = self.require_free(head)
        self._idle[self.node_of(head)].remove(head)
        self.on_gone(head)
        self.heads.remove(head)
        del self._nr_users[head]
        pfns = self.frames_of(head)
        self.frames.flags[pfns] = 0
        taken = self.frames.isolated[pfns]
        self.frames.add_references(pfns[taken], -1)
        self._release(pfns[~taken] if taken.any() else pfns)

    def use(self, head: int) -> None:
        """A user takes a page, free or in use: one reference on its head.

        Raises:
            NotPinnedError: no such page.
        """
        head = self.require_ours(head)
        if not self._nr_users[head]:
            self._idle[self.node_of(head)].remove(head)
        self._nr_users[head] += 1
        self.frames.add_reference(head, 1)

    def unuse(self, head: int) -> None:
        """A user drops a page in use; the last one frees it if nobody else holds it.

        Raises:
            NotPinnedError, PinpageError: no such page, or nobody uses it.
        """
        head = self.require_used(head)
        self._nr_users[head] -= 1
        self.frames.add_reference(head, -1)
        if not self._nr_users[head]:
            self._idle[self.node_of(head)].append(head)
            self._free_unless_held(head)

    def hand_over(self, head: int, target: int) -> None:
        """The users of one page have another, a free one, from here on; the first is free.

        Where the first's node has surplus pages and the other is elsewhere, one of them is there
        now (`move_hugetlb_state`).

        Args:
            head: pfn of the page's first frame.
            target: head of the page that they get.

        Raises:
            NotPinnedError, PinpageError: no such pages, nobody uses the first, or the other is
                not free.
        """
        head = self.require_used(head)
        target = self.require_free(target)
        users, self._nr_users[head] = self._nr_users[head], 0
        node, other = self.node_of(head), self.node_of(target)
        if node != other and self.nr_surplus[node]:
            self.nr_surplus[node] -= 1
            self.nr_surplus[other] += 1
        self._idle[other].remove(target)
        self._idle[node].append(head)
        self._nr_users[target] = users
        self.frames.add_reference(head, -users)
        self.frames.add_reference(target, users)
        self.on_moved(head, target)

    def on_put(self, pfn: int) -> None:
        """Somebody dropped a reference of a frame; if it was the last on a page, that is free."""
        if type(pfn) is not int:
            (pfn,) = whole("hugetlb", pfn=pfn)
        head = pfn - pfn % self.nr_pages
        if self._nr_users.get(head) == 0:
            self._free_unless_held(head)

    def _free_unless_held(self, head: int) -> None:
        """A page without users: the next to be handed out, or back where there is surplus."""
        if self.nr_foreign(head):
            return
        node = self.node_of(head)
        self._idle[node].remove(head)
        self._idle[node].append(head)
        if self.nr_surplus[node]:
            self.nr_surplus[node] -= 1
            self.give_back(head)

    def require_ours(self, head: int) -> int:
        """Refuse a pfn at which no page starts.

        Returns:
            The pfn as a plain int: 512.0 finds the page of 512 too, and no frame.

        Raises:
            NotPinnedError, PinpageError: that is so, or it is no pfn at all.
        """
        if type(head) is not int:
            (head,) = whole("hugetlb", head=head)
        if head not in self._nr_users:
            raise NotPinnedError(f"hugetlb: no huge page starts at pfn {head:#x}")
        return head

    def require_used(self, head: int) -> int:
        """Refuse a page without users; the pfn as of `require_ours`.

        Raises:
            NotPinnedError, PinpageError: no such page, or nobody uses it.
        """
        head = self.require_ours(head)
        if not self.nr_users(head):
            raise PinpageError(f"hugetlb: nobody uses the page at pfn {head:#x}")
        return head

    def require_free(self, head: int) -> int:
        """Refuse a page that somebody has; the pfn as of `require_ours`.

        Raises:
            NotPinnedError, PinpageError: no such page, or somebody uses or holds it.
        """
        head = self.require_ours(head)
        if not self.is_free(head):
            raise PinpageError(
                f"hugetlb: the page at pfn {head:#x} has {self.nr_users(head)} users and "
                f"{self.nr_foreign(head)} other references: drop them first"
            )
        return head

    def _require_adoptable(self, head: int) -> int:
        (head,) = within(self.frames.nr_frames - self.nr_pages + 1, "hugetlb: adopt", head=head)
        rows = slice(head, head + self.nr_pages)
        fits = self.frames.state[rows] == FrameState.USED
        fits &= (self.frames.flags[rows] & PageFlag.HUGE.mask) == 0
        if head % self.nr_pages or not fits.all():
            raise PinpageError(
                f"hugetlb: the {self.nr_pages} frames at pfn {head:#x} are no page: "
                "allocate them, aligned"
            )
        return head

    def check(self) -> None:
        """Run HT1..HT5.

        Raises:
            InvariantError: one does not hold.
        """
        for head in self.heads:
            require(head % self.nr_pages == 0, "HT1 a huge page is not aligned", pfn=head)
            fine = self._are_fine(self.frames_of(head))
            require(fine.all(), "HT2 a frame of a huge page is something else", pfn=head)
            require(self.nr_foreign(head) >= 0, "HT5 a reference of the pool is gone", pfn=head)
        nr_huge = int(np.count_nonzero(self.frames.flags & PageFlag.HUGE.mask))
        expected = sum(len(pool.heads) * pool.nr_pages for pool in self.all_sizes)
        require(nr_huge == expected, "HT2 the HUGE flag on a strange frame", nr_huge=nr_huge)
        listed = [head for heads in self._idle.values() for head in heads]
        known = sorted([*listed, *(head for head, users in self._nr_users.items() if users)])
        require(known == sorted(self.heads), "HT3 idle and used pages are not all pages")
        for node, heads in self._idle.items():
            strays = [head for head in heads if self.node_of(head) != node]
            require(not strays, "HT3 an idle page on a strange list", node=node, pfns=strays)
            fits = 0 <= self.nr_surplus[node] <= self.nr_on(node)
            require(fits, "HT4 more surplus pages than pages", node=node)

    def _are_fine(self, frames: Pfns) -> Mask:
        used: Mask = self.frames.state[frames] == FrameState.USED
        return used & self.frames.has_flag(frames, PageFlag.HUGE)
