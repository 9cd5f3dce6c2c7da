"""The zbud pool as an owner of pages: one pin per page, and what it answers when asked.

=========  =====================================  ===========================================
coverage   what the VM may do                      which proposal that is
=========  =====================================  ===========================================
migrate    move the page; zswap is told nothing    the to-do of the 2013 cover letter
unuse      have both objects unused, never move    the 2013 series itself (patch 4), asked
                                                   through the registry
none       know who holds the page, and no more    coverage without a callback
=========  =====================================  ===========================================
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from owners.zbud.pages import PageIds, ZbudPages
from pinpage.owner import Mode, Pin, PinOwner, Verdict, Verdicts
from pinpage.units import Mask, Pfns

__all__ = ["Coverage", "ZbudOwner"]

Coverage: TypeAlias = Literal["migrate", "unuse", "none"]
"""What a zbud pool offers the VM."""


class ZbudOwner(PinOwner):
    """Answers for the pages of one pool.

    A page is not isolated while one of its objects is mapped or while it is under reclaim
    (Again); a page under move takes no new objects and is not picked for reclaim.  Objects
    may be freed meanwhile; if that was the last, the pin is gone and so is the page.

    Cost: isolate, migrate and putback of 512 pages take well under 1 us per page.
    """

    def __init__(
        self,
        name: str,
        pages: ZbudPages,
        coverage: Coverage,
        lock: AbstractContextManager[object],
        reclaim: Callable[[int], bool],
    ) -> None:
        """Answer for `pages`, which `lock` protects: one acquisition per batch.

        `reclaim(page_id)` unuses the objects of a page; True if the pool let go of it.
        """
        self.name = name
        self.coverage: Coverage = coverage
        self._pages = pages
        self._lock = lock
        self._reclaim = reclaim

    @property
    def can_migrate(self) -> bool:
        """Only under coverage `migrate`."""
        return self.coverage == "migrate"

    @property
    def can_release(self) -> bool:
        """Only under coverage `unuse`."""
        return self.coverage == "unuse"

    def references(self, pfns: Pfns, privates: Sequence[Any] | NDArray[Any]) -> NDArray[np.int64]:
        """Live objects plus reclaims in flight, per page; 0 for a page that is gone."""
        with self._lock:
            page_ids, current = self._resolve(privates)
            return np.where(current, self._pages.nr_own_references(page_ids), 0)

    def isolate_many(
        self, pfns: Pfns, privates: Sequence[Any] | NDArray[Any], mode: Mode
    ) -> Verdicts:
        """Again for a page that is mapped or under reclaim, Busy without coverage."""
        if self.coverage != "migrate":
            return np.full(len(pfns), Verdict.BUSY, dtype=np.uint8)
        pages = self._pages
        with self._lock:
            page_ids, current = self._resolve(privates)
            quiet = current & pages.is_quiet(page_ids)
            pages.moving[page_ids[quiet]] = True
        return np.where(quiet, Verdict.YES, Verdict.AGAIN).astype(np.uint8)

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

    def release_many(
        self, pfns: Pfns, privates: Sequence[Any] | NDArray[Any], mode: Mode
    ) -> Verdicts:
        """Unuse first, then last; Yes where the pool let go of the page."""
        if self.coverage != "unuse":
            return np.full(len(pfns), Verdict.BUSY, dtype=np.uint8)
        return np.fromiter(
            (self._release(private) for private in np.asarray(privates).tolist()),
            dtype=np.uint8,
            count=len(pfns),
        )

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

    def release(self, pin: Pin, mode: Mode) -> Verdict:
        """`release_many` of one."""
        return Verdict(int(self.release_many(_column(pin.pfn), _column(pin.private), mode)[0]))

    def _release(self, private: int) -> int:
        page_ids, current = self._resolve([private])
        if not current[0]:  # let go of since the caller looked: what was asked for
            return Verdict.YES
        return Verdict.YES if self._reclaim(int(page_ids[0])) else Verdict.BUSY

    def _resolve(self, privates: Sequence[Any] | NDArray[Any]) -> tuple[PageIds, Mask]:
        return self._pages.from_privates(np.asarray(privates, dtype=np.int64))


def _column(value: int) -> Pfns:
    return np.array([value], dtype=np.int64)
