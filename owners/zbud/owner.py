"""The zbud pool as an owner of pages: what zbud adds to `owners.pool.owner`.

A page has a reference for each object, and its objects can be unused instead of moved.

Kernel counterpart: patches 1 and 4 of the 2013 series.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from owners.pool.owner import Coverage, PoolOwner
from owners.zbud.pages import ZbudPages
from pinpage.owner import Mode, Pin, Verdict, Verdicts
from pinpage.units import Pfns

__all__ = ["ZbudOwner"]


class ZbudOwner(PoolOwner):
    """Answers for the pages of one zbud pool."""

    def __init__(
        self,
        name: str,
        pages: ZbudPages,
        coverage: Coverage,
        lock: AbstractContextManager[object],
        reclaim: Callable[[int], bool],
    ) -> None:
        """Answer for `pages`, which `lock` protects: one acquisition per batch.

        Args:
            name, pages, coverage, lock: as for `PoolOwner`.
            reclaim: `reclaim(page_id)` unuses the objects of a page; True if that freed it.
        """
        super().__init__(name, pages, coverage, lock)
        self._zbud_pages = pages
        self._reclaim = reclaim

    @property
    def can_release(self) -> bool:
        """Only under coverage `unuse`."""
        return self.coverage == "unuse"

    def references(self, pfns: Pfns, privates: Sequence[Any] | NDArray[Any]) -> NDArray[np.int64]:
        """Live objects plus reclaims in flight, per page; 0 for a page that is gone."""
        with self._lock:
            page_ids, current = self._resolve(privates)
            return np.where(current, self._zbud_pages.nr_own_references(page_ids), 0)

    def release_many(
        self, pfns: Pfns, privates: Sequence[Any] | NDArray[Any], mode: Mode
    ) -> Verdicts:
        """Unuse first, then last; Yes where the page is not the pool's any more."""
        if self.coverage != "unuse":
            return np.full(len(pfns), Verdict.BUSY, dtype=np.uint8)
        answers = map(self._release, np.asarray(privates).tolist())
        return np.fromiter(answers, dtype=np.uint8, count=len(pfns))

    def release(self, pin: Pin, mode: Mode) -> Verdict:
        """`release_many` of one."""
        return Verdict(int(self.release_many(np.array([pin.pfn]), [pin.private], mode)[0]))

    def _release(self, private: int) -> int:
        page_ids, current = self._resolve([private])
        if not current[0]:  # freed since the caller looked: what was asked for
            return Verdict.YES
        return Verdict.YES if self._reclaim(int(page_ids[0])) else Verdict.BUSY
