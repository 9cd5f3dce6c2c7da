"""The z3fold pool as an owner of pages: one pin per page, and what it answers when asked.

    headless page            Busy: it never moves
    an object mapped         Again
    under reclaim            Again
    otherwise                Yes; from then on no object comes, and the page is not reclaimed

The kernel asks twice, at isolation and again in migrate, for a user may map an object in
between.  Here map answers EAGAIN from isolation on, so that the second look finds nothing
new.  And the kernel's first version took, in migrate, a page lock that its caller held: no
page ever moved, and nobody noticed (be03074c9af2).  An owner's refusals are not enough to
test; its successes must be counted.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from owners.z3fold.pages import Z3foldPages
from owners.zbud.pages import PageIds
from pinpage.owner import Mode, Pin, PinOwner, Verdict, Verdicts
from pinpage.units import Mask, Pfns

__all__ = ["Z3foldCoverage", "Z3foldOwner"]

Z3foldCoverage: TypeAlias = Literal["migrate", "none"]
"""What a z3fold pool offers the VM: moves (since v5.2), or to be known (before)."""


class Z3foldOwner(PinOwner):
    """Answers for the pages of one pool.

    Cost: isolate, migrate and putback of 512 pages are a few column operations each.
    """

    def __init__(
        self,
        name: str,
        pages: Z3foldPages,
        coverage: Z3foldCoverage,
        lock: AbstractContextManager[object],
        settle: Callable[[], None],
    ) -> None:
        """Answer for `pages`, which `lock` protects: one acquisition per batch.

        `settle()` does the pool's pending work; it is called with the lock held.
        """
        self.name = name
        self.coverage: Z3foldCoverage = coverage
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
        """Busy for headless pages and without coverage, Again while a page has a user."""
        if self.coverage != "migrate":
            return np.full(len(pfns), Verdict.BUSY, dtype=np.uint8)
        pages = self._pages
        with self._lock:
            self._settle()
            page_ids, current = self._resolve(privates)
            headless = current & pages.is_headless(page_ids)
            free = current & ~headless & pages.is_quiet(page_ids)
            pages.moving[page_ids[free]] = True
        refusals = np.where(headless, Verdict.BUSY, Verdict.AGAIN)
        return np.where(free, Verdict.YES, refusals).astype(np.uint8)

    def migrate_many(
        self, pfns: Pfns, privates: Sequence[Any] | NDArray[Any], targets: Pfns
    ) -> None:
        """Repoint: one column, whatever the number of objects.  The move ends here."""
        with self._lock:
            page_ids, current = self._resolve(privates)
            self._pages.repoint(page_ids[current], targets[current])
            self._pages.moving[page_ids[current]] = False

    def putback_many(self, pfns: Pfns, privates: Sequence[Any] | NDArray[Any]) -> None:
        """The pages take objects and reclaims again."""
        with self._lock:
            page_ids, current = self._resolve(privates)
            self._pages.moving[page_ids[current]] = False

    # One page at a time, in terms of the batch.

    def isolate(self, pin: Pin, mode: Mode) -> Verdict:
        """`isolate_many` of one."""
        return Verdict(int(self.isolate_many(_column(pin.pfn), _column(pin.private), mode)[0]))

    def migrate(self, pin: Pin, target: int) -> None:
        """`migrate_many` of one."""
        self.migrate_many(_column(pin.pfn), _column(pin.private), _column(target))

    def putback(self, pin: Pin) -> None:
        """`putback_many` of one."""
        self.putback_many(_column(pin.pfn), _column(pin.private))

    def _resolve(self, privates: Sequence[Any] | NDArray[Any]) -> tuple[PageIds, Mask]:
        return self._pages.from_privates(np.asarray(privates, dtype=np.int64))


def _column(value: int) -> Pfns:
    return np.array([value], dtype=np.int64)
