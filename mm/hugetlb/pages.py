"""The pages of a hugetlb pool and who has them.  Data: it decides nothing.

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

Kernel counterpart: the lists and counts of struct hstate, enqueue_huge_page,
dequeue_huge_page_node_exact and free_huge_page of mm/hugetlb.c (v6.1).
"""

from collections.abc import Callable

import numpy as np

from mm.state.frames import Frames, FrameState, PageFlag
from pinpage.errors import NotPinnedError, PinpageError, require, within
from pinpage.units import Mask, Pfns

__all__ = ["HugePages"]


def _nobody_minds(*_heads: int) -> None:
    return


class HugePages:
    """Huge pages of one size.

    Attributes:
        frames: the columns.
        nr_pages: frames of one huge page.
        nodes: the nodes that there are, ascending.
        heads: pfns of the head frames, in the order in which they were obtained.
        kin: the pools of all sizes, this one among them.
        nr_surplus: pages by node that go back to the allocator when they become free.
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
        nr_pages: int,
        nodes: tuple[int, ...],
        release: Callable[[Pfns], None],
        kin: "list[HugePages]",
    ) -> None:
        """No pages.

        Args:
            frames: the columns.
            nr_pages: frames of one huge page.
            nodes: the nodes that there are.
            release: gives frames back to the free lists.
            kin: the pools of all sizes, to which this one is added; what carries the HUGE
                flag is some page of one of them.
        """
        self.frames = frames
        self.nr_pages = nr_pages
        self.nodes = nodes
        self.heads: list[int] = []
        self.nr_surplus = dict.fromkeys(nodes, 0)
        self.on_gone: Callable[[int], None] = _nobody_minds
        self.on_moved: Callable[[int, int], None] = _nobody_minds
        self._release = release
        self._idle: dict[int, list[int]] = {node: [] for node in nodes}  # free or lingering
        self._nr_users: dict[int, int] = {}  # of every page
        self.kin = kin
        kin.append(self)

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
        rows = slice(head, head + self.nr_pages)
        held, taken = self.frames.refcount[rows], self.frames.isolated[rows]
        return int(held.sum()) - int(taken.sum()) - self.nr_pages - self.nr_users(head)

    def frames_of(self, head: int) -> Pfns:
        """The frames of a page, ascending."""
        return np.arange(head, head + self.nr_pages)

    def heads_in(self, start: int, stop: int) -> list[int]:
        """Pages with a frame in [start, stop), lowest first."""
        return sorted(head for head in self.heads if start - self.nr_pages < head < stop)

    # Changing.

    def adopt(self, head: int) -> None:
        """Frames that were just allocated become a free page.

        Raises:
            PinpageError: no page can start there, a frame of it is not allocated, or is some
                page's already.
        """
        self._require_adoptable(head)
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
        self.require_free(head)
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
        self.require_ours(head)
        if not self._nr_users[head]:
            self._idle[self.node_of(head)].remove(head)
        self._nr_users[head] += 1
        self.frames.add_reference(head, 1)

    def unuse(self, head: int) -> None:
        """A user drops a page in use; the last one frees it if nobody else holds it.

        Raises:
            NotPinnedError, PinpageError: no such page, or nobody uses it.
        """
        self.require_used(head)
        self._nr_users[head] -= 1
        self.frames.add_reference(head, -1)
        if not self._nr_users[head]:
            self._idle[self.node_of(head)].append(head)
            self._free_unless_held(head)

    def hand_over(self, head: int, target: int) -> None:
        """The users of one page have another, a free one, from here on; the first is free.

        Raises:
            NotPinnedError, PinpageError: no such pages, nobody uses the first, or the other is
                not free.
        """
        self.require_used(head)
        self.require_free(target)
        users, self._nr_users[head] = self._nr_users[head], 0
        self._idle[self.node_of(target)].remove(target)
        self._idle[self.node_of(head)].append(head)
        self._nr_users[target] = users
        self.frames.add_reference(head, -users)
        self.frames.add_reference(target, users)
        self.on_moved(head, target)

    def on_put(self, pfn: int) -> None:
        """Somebody dropped a reference of a frame; if it was the last on a page, that is free."""
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

    def require_ours(self, head: int) -> None:
        """Refuse a pfn at which no page starts.

        Raises:
            NotPinnedError: that is so.
        """
        if head not in self._nr_users:
            raise NotPinnedError(f"hugetlb: no huge page starts at pfn {head:#x}")

    def require_used(self, head: int) -> None:
        """Refuse a page without users.

        Raises:
            NotPinnedError, PinpageError: no such page, or nobody uses it.
        """
        self.require_ours(head)
        if not self.nr_users(head):
            raise PinpageError(f"hugetlb: nobody uses the page at pfn {head:#x}")

    def require_free(self, head: int) -> None:
        """Refuse a page that somebody has.

        Raises:
            NotPinnedError, PinpageError: no such page, or somebody uses or holds it.
        """
        self.require_ours(head)
        if not self.is_free(head):
            raise PinpageError(
                f"hugetlb: the page at pfn {head:#x} has {self.nr_users(head)} users and "
                f"{self.nr_foreign(head)} other references: drop them first"
            )

    def _require_adoptable(self, head: int) -> None:
        within(self.frames.nr_frames - self.nr_pages + 1, "hugetlb: adopt", head=head)
        rows = slice(head, head + self.nr_pages)
        fits = self.frames.state[rows] == FrameState.USED
        fits &= (self.frames.flags[rows] & PageFlag.HUGE.mask) == 0
        if head % self.nr_pages or not fits.all():
            raise PinpageError(
                f"hugetlb: the {self.nr_pages} frames at pfn {head:#x} are no page: "
                "allocate them, aligned"
            )

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
        expected = sum(len(pool.heads) * pool.nr_pages for pool in self.kin)
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
