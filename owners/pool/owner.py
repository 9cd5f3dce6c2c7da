"""A pool as an owner of pages: one pin per page, and what it answers when asked.

=========  =====================================  ===========================================
coverage   what the VM may do                      which kernel that is
=========  =====================================  ===========================================
migrate    move the page; the pool's user does     z3fold since v5.2, zsmalloc since v4.8; of
           not notice                              zbud the to-do of the 2013 cover letter
unuse      have the objects unused, never move     the 2013 series itself (patch 4), asked
           (zbud alone)                            through the registry
none       know who holds the page, and no more    before that
=========  =====================================  ===========================================

    an object of the page mapped, or the page under reclaim   AGAIN
    a page that never moves (headless in z3fold)              BUSY
    otherwise                                                 YES

After YES the page takes no new objects, is not picked for reclaim, and cannot be mapped, until
migrate or putback.  Objects may be freed meanwhile; if that was the last, the pin is gone and
so is the page, and the move finds that it has succeeded.

The kernel asks twice, at isolation and again in migrate, for a user may map an object in
between.  Here map answers EAGAIN from isolation on, so that the second look finds nothing new.
And z3fold's first version took, in migrate, a page lock that its caller held: no page ever
moved, and it went unnoticed (be03074c9af2).  An owner's refusals are not enough to test; its
successes must be counted.

Kernel counterpart: z3fold_page_isolate and its two sisters of mm/z3fold.c; zs_page_isolate,
zs_page_migrate and zs_page_putback of mm/zsmalloc.c.  zsmalloc keeps an emptied zspage until
its mover comes back; code that forgets to look again then, in migrate and in putback
alike, keeps it for good (the leak of 2019).  Here there is nothing left to forget.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from owners.batch_owner import BatchOwner
from owners.pool.pages import PageIds
from pinpage.owner import Mode, Verdict, Verdicts
from pinpage.units import Mask, Pfns

__all__ = ["Coverage", "MovablePages", "MoveCoverage", "PoolOwner"]

Coverage: TypeAlias = Literal["migrate", "unuse", "none"]
"""What a pool offers the VM."""
MoveCoverage: TypeAlias = Literal["migrate", "none"]
"""What a pool whose objects cannot be unused offers the VM."""


class MovablePages(Protocol):
    """The pages of a pool, as far as a move is concerned.  All under the pool's lock."""

    mover: NDArray[np.int64]
    """Thread that isolated a page last; by page id, or by id of the zspage."""

    def from_privates(self, privates: NDArray[np.int64]) -> tuple[PageIds, Mask]:
        """Ids that the privates of pins name, and whether those are still the same pages."""

    def may_move(self, page_ids: PageIds) -> Verdicts:
        """What to answer a mover, shape (n,)."""

    def set_moving(self, page_ids: PageIds, moving: bool) -> None:
        """A mover, this thread, has the pages, or has them no more."""

    def repoint(self, page_ids: PageIds, targets: Pfns) -> None:
        """The pages are at `targets` now."""


class PoolOwner(BatchOwner):
    """Answers for the pages of one pool.

    Cost: isolate, migrate and putback of 512 pages take well under 1 us per page.
    """

    def __init__(
        self,
        name: str,
        pages: MovablePages,
        coverage: Coverage,
        lock: AbstractContextManager[object],
        settle: Callable[[], None] | None = None,
    ) -> None:
        """Answer for the pages of one pool.

        Args:
            name: of the owner.
            pages: of the pool.
            coverage: what the VM may do with them.
            lock: protects `pages`: one acquisition per batch.
            settle: does the pool's pending work first; called with the lock held.
        """
        self.name = name
        self.coverage: Coverage = coverage
        self._pages = pages
        self._lock = lock
        self._settle = settle

    @property
    def can_migrate(self) -> bool:
        """Only under coverage `migrate`."""
        return self.coverage == "migrate"

    def references(self, pfns: Pfns, privates: Sequence[Any] | NDArray[Any]) -> NDArray[np.int64]:
        """One per page, whatever the number of objects; 0 for a page that is gone."""
        with self._lock:
            _, current = self._resolve(privates)
        return current.astype(np.int64)

    def isolate_many(
        self, pfns: Pfns, privates: Sequence[Any] | NDArray[Any], mode: Mode
    ) -> Verdicts:
        """As the pages say; AGAIN for one that is gone, BUSY without coverage."""
        if self.coverage != "migrate":
            return np.full(len(pfns), Verdict.BUSY, dtype=np.uint8)
        with self._lock:
            if self._settle is not None:
                self._settle()
            page_ids, current = self._resolve(privates)
            verdicts = np.where(current, self._pages.may_move(page_ids), Verdict.AGAIN)
            self._pages.set_moving(page_ids[verdicts == Verdict.YES], moving=True)
        return verdicts.astype(np.uint8)

    def migrate_many(
        self, pfns: Pfns, privates: Sequence[Any] | NDArray[Any], targets: Pfns
    ) -> None:
        """Repoint: one column, whatever the number of objects.  The move ends here."""
        with self._lock:
            page_ids, current = self._resolve(privates)
            self._pages.repoint(page_ids[current], targets[current])
            self._pages.set_moving(page_ids[current], moving=False)

    def putback_many(self, pfns: Pfns, privates: Sequence[Any] | NDArray[Any]) -> None:
        """The pages take objects, mappings and reclaims again."""
        with self._lock:
            page_ids, current = self._resolve(privates)
            self._pages.set_moving(page_ids[current], moving=False)

    def _resolve(self, privates: Sequence[Any] | NDArray[Any]) -> tuple[PageIds, Mask]:
        return self._pages.from_privates(np.asarray(privates, dtype=np.int64))
