"""The zsmalloc pool as an owner of pages: one pin per page, and what it answers when asked.

A page does not move while any object of its zspage is mapped, for an object may straddle two
pages.  Isolation in turn keeps objects of the zspage from being mapped, and new ones from
being placed there.  Objects may be freed meanwhile: their places are columns, not bytes.

The emptied zspage goes at once, pages under move included: its pins and references are gone,
and the move finds that it has succeeded.  The kernel keeps such a zspage until the mover
comes back; whoever forgets to look again then, in migrate and in putback alike, keeps it for
good (the leak of 2019).  Here there is nothing left to forget.

Kernel counterpart: zs_page_isolate, zs_page_migrate and zs_page_putback of mm/zsmalloc.c.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from owners.zsmalloc.zspages import ZsPageIds, Zspages
from pinpage.owner import Mode, Pin, PinOwner, Verdict, Verdicts
from pinpage.units import Mask, Pfns

__all__ = ["ZsCoverage", "ZsOwner"]

ZsCoverage: TypeAlias = Literal["migrate", "none"]
"""What a zsmalloc pool offers the VM: moves (since v4.8), or to be known (before)."""


class ZsOwner(PinOwner):
    """Answers for the pages of one pool.

    Cost: isolate, migrate and putback of 512 pages are a few column operations each.
    """

    def __init__(
        self,
        name: str,
        zspages: Zspages,
        coverage: ZsCoverage,
        lock: AbstractContextManager[object],
    ) -> None:
        """Answer for `zspages`, which `lock` protects: one acquisition per batch."""
        self.name = name
        self.coverage: ZsCoverage = coverage
        self._zspages = zspages
        self._lock = lock

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
        """Again while an object of the zspage is mapped, Busy without coverage."""
        if self.coverage != "migrate":
            return np.full(len(pfns), Verdict.BUSY, dtype=np.uint8)
        zspages = self._zspages
        with self._lock:
            page_ids, current = self._resolve(privates)
            quiet = current & zspages.is_quiet(page_ids)
            zspages.set_moving(page_ids[quiet], moving=True)
        return np.where(quiet, Verdict.YES, Verdict.AGAIN).astype(np.uint8)

    def migrate_many(
        self, pfns: Pfns, privates: Sequence[Any] | NDArray[Any], targets: Pfns
    ) -> None:
        """Repoint the page tables: one entry per page, whatever the number of objects."""
        with self._lock:
            page_ids, current = self._resolve(privates)
            self._zspages.repoint(page_ids[current], targets[current])
            self._zspages.set_moving(page_ids[current], moving=False)

    def putback_many(self, pfns: Pfns, privates: Sequence[Any] | NDArray[Any]) -> None:
        """The zspages take and show objects again."""
        with self._lock:
            page_ids, current = self._resolve(privates)
            self._zspages.set_moving(page_ids[current], moving=False)

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

    def _resolve(self, privates: Sequence[Any] | NDArray[Any]) -> tuple[ZsPageIds, Mask]:
        return self._zspages.from_privates(np.asarray(privates, dtype=np.int64))


def _column(value: int) -> Pfns:
    return np.array([value], dtype=np.int64)
