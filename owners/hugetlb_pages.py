"""Pages of the hugetlb pool as an owner: known by name, and given up when that is wanted.

Without it a huge page is 512 frames that nobody registered: mm can only say "unknown" of
them, or know of hugetlb by a flag.  With it they are pinned, a range of 512 per huge page.

=====================  ============================================================
a page of the pool     when asked to release any of its frames
=====================  ============================================================
free                   is dissolved: 512 free frames
in use, another free   its contents and its user go to the free one, and it is dissolved
in use, none free      Busy
=====================  ============================================================

Never `migrate`: that would need an aligned target of order 9, and a move offers single
frames.  The kernel migrates a used huge page to a free one of the pool, as here; but it
replaces a free one before it dissolves it, and so keeps the pool's size.  Here the pool
shrinks by one.  Nothing is released unless `may_dissolve` says so: compaction must leave the
pool alone, offlining memory and contiguous allocation must not.

Kernel counterpart: dissolve_free_huge_page(), isolate_hugetlb() and
isolate_or_dissolve_huge_page() of mm/hugetlb.c, v6.1.
"""

import threading
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mm.api import PageSource
from mm.errno import Errno
from pinpage.errors import PinpageError, require
from pinpage.owner import Mode, Pin, PinOwner, Verdict
from pinpage.registry import PinRegistry
from pinpage.units import PAGEBLOCK_NR_PAGES, Pfns

__all__ = ["HugePageList", "HugetlbPages"]


class HugePageList(Protocol):
    """What the owner needs of the pool (`mm.hugetlb.HugePool`)."""

    heads: list[int]
    """Pfns of the first frames, in the order in which the pages were obtained."""


class HugetlbPages(PinOwner):
    """The pool's pages and who uses them.

    Attributes:
        may_dissolve: whether pages are given up on request.

    Invariants, run by `check`:
        HP1 every page that we know is in the pool, and the other way round.
        HP2 each user has one page, and no page has two users.
    """

    name = "hugetlb"

    def __init__(
        self,
        source: PageSource,
        pool: HugePageList,
        *,
        registry: PinRegistry | None = None,
        nr_pages_per_huge_page: int = PAGEBLOCK_NR_PAGES,
    ) -> None:
        """Adopt the pages that the pool has; they are all free."""
        self.may_dissolve = False
        self._source = source
        self._pool = pool
        self._registry = registry
        self._size = nr_pages_per_huge_page
        self._users: dict[int, int] = {}  # user -> head
        self._free: list[int] = []
        self._lock = threading.Lock()
        if registry is not None:
            registry.register(self)
        self.adopt()

    @property
    def nr_free(self) -> int:
        """Pages of the pool that nobody uses (free_hugepages)."""
        return len(self._free)

    def adopt(self) -> int:
        """Take over pages that the pool has obtained since; how many.  By one thread at a time."""
        with self._lock:
            known = {*self._free, *self._users.values()}
        fresh = [head for head in self._pool.heads if head not in known]
        for head in fresh:
            if self._registry is not None:  # without the lock: it may wait for a mover
                self._registry.pin_range(head, head + self._size, self, head)
            with self._lock:
                self._free.append(head)
        return len(fresh)

    def use(self, user: int) -> int:
        """Give a user a page; its head, or ENOMEM.

        Raises:
            PinpageError: the user has one.
        """
        with self._lock:
            if user in self._users:
                raise PinpageError(f"hugetlb: user {user} has a page already")
            if not self._free:
                return Errno.ENOMEM
            self._users[user] = self._free.pop()
            return self._users[user]

    def unuse(self, user: int) -> None:
        """Take it back.

        Raises:
            PinpageError: the user has none.
        """
        with self._lock:
            if user not in self._users:
                raise PinpageError(f"hugetlb: user {user} has no page")
            self._free.append(self._users.pop(user))

    def head_of(self, user: int) -> int:
        """Where the page of a user is now."""
        return self._users[user]

    # The contract.

    @property
    def can_release(self) -> bool:
        """As `may_dissolve` says."""
        return self.may_dissolve

    def release(self, pin: Pin, mode: Mode) -> Verdict:
        """Dissolve the page that the frame is part of; a used one makes way first."""
        with self._lock:
            head = pin.private
            if head not in self._free and head not in self._users.values():
                return Verdict.YES  # dissolved already: another of its frames was asked for
            if not self.may_dissolve or (head not in self._free and not self._replace(head)):
                return Verdict.BUSY
            self._free.remove(head)
            self._dissolve(head)
            return Verdict.YES

    def _replace(self, head: int) -> bool:
        """Move a used page to a free one; now that is used, and `head` is free."""
        if not self._free:
            return False
        target = self._free.pop()
        self._source.contents.copy(self._frames(head), self._frames(target))
        user = next(user for user, used in self._users.items() if used == head)
        self._users[user] = target
        self._free.append(head)
        return True

    def _dissolve(self, head: int) -> None:
        """512 single frames, each with its last reference dropped."""
        self._pool.heads.remove(head)
        frames = self._frames(head)
        if self._registry is not None:
            self._registry.unpin_range(head, head + self._size, self, head)
        self._source.frames.flags[frames] = 0
        for pfn in frames.tolist():
            self._source.put_page(pfn)

    def _frames(self, head: int) -> Pfns:
        return np.arange(head, head + self._size)

    def release_many(
        self, pfns: Pfns, privates: Sequence[Any] | NDArray[Any], mode: Mode
    ) -> NDArray[np.uint8]:
        """Frame by frame; the first of a page decides for the others."""
        pins = [Pin(int(p), self, int(head)) for p, head in zip(pfns, privates, strict=True)]
        return np.array([self.release(pin, mode) for pin in pins], dtype=np.uint8)

    def check(self) -> None:
        """Run HP1 and HP2.

        Raises:
            InvariantError: one does not hold.
        """
        used = list(self._users.values())
        require(len(set(used)) == len(used), "HP2 a huge page has two users")
        known = sorted(self._free + used)
        require(known == sorted(self._pool.heads), "HP1 the pool has other pages", known=known)
