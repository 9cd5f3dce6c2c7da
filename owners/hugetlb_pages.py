"""Pages of the hugetlb pool as an owner: known by name, and given up when that is wanted.

Without it a huge page is 512 frames that no owner registered: mm can only say "unknown" of
them, or know of hugetlb by a flag.  With it they are pinned, a range of 512 per huge page.

=====================  ============================================================
a page of the pool     when asked to release any of its frames
=====================  ============================================================
free                   is dissolved: 512 free frames
in use, another free   its contents and its user go to the free one, and it is dissolved
in use, none free      Busy
=====================  ============================================================

Never `migrate`: that would need an aligned target of order 9, and a move offers single
frames.  Nothing is released unless `may_dissolve` says so: compaction must leave the pool
alone.  Contiguous allocation and hot-remove do not come this way: they know huge pages, and
replace, dissolve or move them as a whole (`mm.hugetlb.evict`); the pool tells us, and the
pins follow.

Kernel counterpart: dissolve_free_huge_page(), isolate_hugetlb() and
isolate_or_dissolve_huge_page() of mm/hugetlb.c, v6.1.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mm.buddy.page_source import PageSource
from mm.state.errno import Errno
from owners.forced_out import require_registered, unpin_range
from pinpage.errors import PinpageError, require
from pinpage.owner import Mode, Pin, PinOwner, Verdict
from pinpage.registry import PinRegistry
from pinpage.units import Pfns

__all__ = ["HugePageList", "HugetlbPages"]


class HugePageList(Protocol):
    """What the owner needs of the pool (`mm.hugetlb.hugetlb.HugePool`)."""

    heads: list[int]
    nr_pages: int
    on_gone: Callable[[int], None]
    on_moved: Callable[[int, int], None]

    @property
    def nr_free(self) -> int:
        """Pages without users and references."""

    def node_of(self, head: int) -> int:
        """The node of a page."""

    def free_on(self, node: int) -> list[int]:
        """Free pages of a node, the next to be handed out last."""

    def is_free(self, head: int) -> bool:
        """Whether the page has neither users nor references."""

    def nr_users(self, head: int) -> int:
        """Users of a page."""

    def nr_foreign(self, head: int) -> int:
        """References that neither the pool, a user nor a mover holds."""

    def frames_of(self, head: int) -> Pfns:
        """The frames of a page."""

    def alloc_huge_page(self, node: int | None = None) -> int:
        """A page for a user; or -1."""

    def free_huge_page(self, head: int) -> None:
        """A user drops a page."""

    def use(self, head: int) -> None:
        """A user takes this very page."""

    def hand_over(self, head: int, target: int) -> None:
        """The users of one page have another from here on.

        Args:
            head: of the page that has them.
            target: head of the page that gets them.
        """

    def give_back(self, head: int) -> None:
        """A free page goes back to the allocator."""


class HugetlbPages(PinOwner):
    """The pool's pages and who uses them.

    Attributes:
        may_dissolve: whether pages are given up on request.

    Invariants, run by `check`:
        HO1 every page that we know is in the pool, and the other way round.
        HO2 each user has one page, and no page has two users.
    """

    name = "hugetlb"

    def __init__(
        self, source: PageSource, pool: HugePageList, *, registry: PinRegistry | None = None
    ) -> None:
        """Adopt the pages that the pool has, and follow what becomes of them.

        Args:
            source: the machine's frames.
            pool: of huge pages.
            registry: where they are pinned.
        """
        self.may_dissolve = False
        self._source = source
        self._pool = pool
        self._registry = registry
        self._known: set[int] = set()
        self._users: dict[int, int] = {}  # user -> head
        self._lock = threading.RLock()
        pool.on_gone, pool.on_moved = self._forget, self._follow
        if registry is not None:
            registry.register(self)
        self.adopt()

    @property
    def nr_free(self) -> int:
        """Pages of the pool without users (free_hugepages)."""
        return self._pool.nr_free

    def adopt(self) -> int:
        """Take over pages that the pool has obtained since; how many.  By one thread at a time.

        One that the move we are called from has marked is left for the next call.
        """
        nr_adopted = 0
        for head in [head for head in self._pool.heads if head not in self._known]:
            if self._pin(head):  # without the lock: it may wait for a mover
                nr_adopted += 1
                with self._lock:
                    self._known.add(head)
        return nr_adopted

    def _pin(self, head: int) -> bool:
        if self._registry is None:
            return True
        verdict = self._registry.pin_range(head, head + self._pool.nr_pages, self, head)
        return verdict is Verdict.YES

    def use(self, user: int) -> int:
        """Give a user a page; its head, or ENOMEM.

        Raises:
            PinpageError: the user has one.
            OwnerError: the owner was forced out of the registry.
        """
        require_registered(self._registry, self)
        with self._lock:
            if user in self._users:
                raise PinpageError(f"hugetlb: user {user} has a page already")
            head = self._pool.alloc_huge_page()
            if head < 0:
                return Errno.ENOMEM
            self._users[user] = head
        self.adopt()  # it may be a surplus page, made for this user
        if head in self._known:
            return head
        self.unuse(user)  # a user of a page has it pinned
        return Errno.ENOMEM

    def use_page(self, user: int, head: int) -> None:
        """Give a user this very page, a free one.

        Args:
            user: who has none yet.
            head: of a page that we know.

        Raises:
            PinpageError: the user has one, or the page is not free or not known.
            OwnerError: the owner was forced out of the registry.
        """
        require_registered(self._registry, self)
        with self._lock:
            if user in self._users:
                raise PinpageError(f"hugetlb: user {user} has a page already")
            if head not in self._known or not self._pool.is_free(head):
                raise PinpageError(f"hugetlb: the page at pfn {head:#x} is not free, or not ours")
            self._pool.use(head)
            self._users[user] = head

    def unuse(self, user: int) -> None:
        """Take it back.

        Raises:
            PinpageError: the user has none.
        """
        with self._lock:
            self._require_user(user)
            self._pool.free_huge_page(self._users.pop(user))

    def head_of(self, user: int) -> int:
        """Where the page of a user is now.

        Raises:
            PinpageError: the user has none.
        """
        self._require_user(user)
        return self._users[user]

    def _require_user(self, user: int) -> None:
        if user not in self._users:
            raise PinpageError(f"hugetlb: user {user} has no page")

    # What the pool tells.

    def _forget(self, head: int) -> None:
        with self._lock:
            if head in self._known:
                self._known.remove(head)
                if self._registry is not None:
                    unpin_range(self._registry, head, head + self._pool.nr_pages, self, head)

    def _follow(self, head: int, target: int) -> None:
        with self._lock:
            for user in [user for user, used in self._users.items() if used == head]:
                self._users[user] = target
            # A page that was made for the move is the pool's from here on, and so ours.
            if target not in self._known and self._pin(target):
                self._known.add(target)

    # The contract.

    @property
    def can_release(self) -> bool:
        """As `may_dissolve` says."""
        return self.may_dissolve

    def release(self, pin: Pin, mode: Mode) -> Verdict:
        """Dissolve the page that the frame is part of; a used one makes way first."""
        with self._lock:
            head = pin.private
            if head not in self._known:
                return Verdict.YES  # dissolved already: another of its frames was asked for
            if not self.may_dissolve or not self._vacate(head):
                return Verdict.BUSY
            self._pool.give_back(head)
            return Verdict.YES

    def references(self, pfns: Pfns, privates: Sequence[Any] | NDArray[Any]) -> NDArray[np.int64]:
        """The pool's own, and on a head one for each user."""
        references = np.ones(len(pfns), dtype=np.int64)
        for row in np.flatnonzero(pfns == np.asarray(privates, dtype=np.int64)).tolist():
            references[row] += self._pool.nr_users(int(pfns[row]))
        return references

    def _vacate(self, head: int) -> bool:
        """Whether the page is free, or is so now that its users have another free one."""
        pool = self._pool
        if pool.is_free(head):
            return True
        free = pool.free_on(pool.node_of(head))
        if not free or not pool.nr_users(head) or pool.nr_foreign(head):
            return False
        self._source.contents.copy(pool.frames_of(head), pool.frames_of(free[-1]))
        pool.hand_over(head, free[-1])
        return True

    def release_many(
        self, pfns: Pfns, privates: Sequence[Any] | NDArray[Any], mode: Mode
    ) -> NDArray[np.uint8]:
        """Frame by frame; the first of a page decides for the others."""
        pins = [Pin(int(p), self, int(head)) for p, head in zip(pfns, privates, strict=True)]
        return np.array([self.release(pin, mode) for pin in pins], dtype=np.uint8)

    def check(self) -> None:
        """Run HO1 and HO2.

        Raises:
            InvariantError: one does not hold.
        """
        used = list(self._users.values())
        require(len(set(used)) == len(used), "HO2 a huge page has two users")
        strays = self._known.symmetric_difference(self._pool.heads)
        require(not strays, "HO1 the pool has other pages", pfns=sorted(strays))
        unused = [head for head in used if not self._pool.nr_users(head)]
        require(not unused, "HO1 the pool does not know of a user", pfns=unused)
