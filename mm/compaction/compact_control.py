"""What compaction is asked and what it answers: plain data, for every caller.

    caller                      mode        order  whole zone  skip hints   targets
    --------------------------  ----------  -----  ----------  -----------  ----------------
    direct, ASYNC               ASYNC       n      no          respected    MOVABLE and CMA
    direct, SYNC_LIGHT          SYNC_LIGHT  n      no          respected    MOVABLE and CMA
    direct, SYNC_FULL           SYNC_LIGHT  n      yes         ignored      any type
    kcompactd                   SYNC_LIGHT  n      no          respected    MOVABLE and CMA
    proactive                   SYNC_LIGHT  -1     yes         ignored      MOVABLE and CMA
    compact_memory, sysfs       SYNC        -1     yes         ignored      MOVABLE and CMA

Kernel counterpart: struct compact_control, enum compact_result and enum compact_priority
(mm/internal.h, include/linux/compaction.h), of v6.1.
"""

import enum
from collections import Counter
from collections.abc import Callable
from typing import Self

import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray

from mm.state.nodes import Zone
from mm.state.pageblock import MigrateType
from mm.state.reasons import Holders, Refusals
from pinpage.errors import whole
from pinpage.owner import Mode, Reason
from pinpage.units import Mask, Pfns

__all__ = [
    "COSTLY_ORDER",
    "WHOLE_ZONE",
    "CompactControl",
    "CompactPriority",
    "CompactReport",
    "CompactResult",
]

COSTLY_ORDER = 3
"""Above this order the allocator gives up early rather than reclaim for long."""

WHOLE_ZONE = -1
"""The order that means: compact everything, whatever comes free (echo 1 > compact_memory)."""


class CompactResult(enum.IntEnum):
    """How compaction of one zone ended, in the kernel's order: over several zones the most counts.

    Which of these make a retry sensible is for `mm.allocator.page_alloc.Retries` to say.
    """

    SKIPPED = 1
    """Too little memory to move things to, or no fragmentation to blame: reclaim instead."""
    DEFERRED = 2
    """It failed lately; not now."""
    COMPLETE = 5
    """The scanners met after a scan of the whole zone."""
    PARTIAL_SKIPPED = 6
    """They met, but the scan had not begun at the ends of the zone."""
    CONTENDED = 7
    """Given up midway: a signal, or a free scanner that may take nothing more."""
    SUCCESS = 8
    """A free block of the order asked for is there."""


def _never() -> bool:
    return False


@frozen
class CompactControl:
    """One request (struct compact_control).

    Attributes:
        zone: where.
        mode: how long to wait.
        order: the order wanted, or `WHOLE_ZONE`.
        migratetype: on whose behalf, where an order is wanted.
        ignore_skip_hint: scan blocks that yielded nothing before.  Whoever scans sets hints.
        whole_zone: start at the ends of the zone, not where the last scan left off.
        any_target: also take targets in pageblocks that are not MOVABLE (only the highest
            priority of direct compaction does so).
        direct: on behalf of an allocation that waits; kcompactd clears it.
        stop: asked after each pageblock: True ends it with CONTENDED (a fatal signal), or,
            where no order is wanted, with SUCCESS (the score is low enough).
    """

    zone: Zone
    mode: Mode = Mode.SYNC
    order: int = WHOLE_ZONE
    migratetype: MigrateType = MigrateType.MOVABLE
    ignore_skip_hint: bool = True
    whole_zone: bool = False
    any_target: bool = False
    direct: bool = True
    stop: Callable[[], bool] = field(default=_never, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        """Keep the order as a plain int.

        Raises:
            PinpageError: it is no whole number.
        """
        (order,) = whole("compaction", order=self.order)
        object.__setattr__(self, "order", order)  # (frozen from here on)

    @property
    def is_direct(self) -> bool:
        """On behalf of an allocation, which wants one block of some order."""
        return self.direct and self.order != WHOLE_ZONE

    @property
    def is_async_direct(self) -> bool:
        """Asynchronous on behalf of an allocation: the pickiest form."""
        return self.mode == Mode.ASYNC and self.is_direct

    @classmethod
    def of_kcompactd(cls, zone: Zone, order: int) -> Self:
        """In the background, for a request that could not wait.

        Args:
            zone: the zone.
            order: log2 of the pages wanted.
        """
        return cls(
            zone, Mode.SYNC_LIGHT, order, MigrateType.MOVABLE,
            ignore_skip_hint=False, direct=False,
        )  # fmt: skip

    @classmethod
    def proactive(cls, zone: Zone, stop: Callable[[], bool]) -> Self:
        """Before anybody asks, until the zone's score is low enough.

        Args:
            zone: the zone.
            stop: asked after each pageblock: True ends it.
        """
        return cls(zone, Mode.SYNC_LIGHT, whole_zone=True, direct=False, stop=stop)


class CompactPriority(enum.IntEnum):
    """How hard direct compaction tries (enum compact_priority): the lower, the harder."""

    SYNC_FULL = 0
    """The whole zone, hints and types ignored; still does not wait for I/O."""
    SYNC_LIGHT = 1
    """As hard as a costly order ever gets."""
    ASYNC = 2

    def control(self, zone: Zone, order: int, migratetype: MigrateType) -> CompactControl:
        """What it asks of one zone.

        Args:
            zone: the zone.
            order: log2 of the pages wanted.
            migratetype: a `MigrateType`.
        """
        full = self is CompactPriority.SYNC_FULL
        mode = Mode.ASYNC if self is CompactPriority.ASYNC else Mode.SYNC_LIGHT
        return CompactControl(
            zone, mode, order, migratetype,
            ignore_skip_hint=full, whole_zone=full, any_target=full,
        )  # fmt: skip


@define
class CompactReport:
    """What compacting did.  Counts are pages unless the name says otherwise.

    Attributes:
        refused: tries that failed, by reason: a frame counts each time that it is tried.
        refusals: frames that stayed, each once and under the reason of its last attempt, by
            reason and holder; filled in by `count_refusals`, when all is over.
    """

    result: CompactResult = CompactResult.COMPLETE
    pages_scanned_migrate: int = 0
    pages_scanned_free: int = 0
    pages_moved: int = 0
    pages_released: int = 0
    pages_dropped: int = 0
    pageblocks_emptied: int = 0
    refused: Counter[Reason] = field(factory=Counter)
    refusals: Refusals = field(factory=Refusals)
    _attempts: list[tuple[Pfns, NDArray[np.uint8]]] = field(factory=list, repr=False, eq=False)

    def absorb(self, pfns: Pfns, reasons: NDArray[np.uint8]) -> None:
        """Count how the attempts on some frames ended (a frame left alone is no attempt).

        Args:
            pfns: int64 (n,).
            reasons: one `Reason` each.
        """
        self._attempts.append((pfns, reasons))
        counts = np.bincount(reasons, minlength=len(Reason))
        self.pages_moved += int(counts[Reason.MOVED] + counts[Reason.FREED])
        self.pages_released += int(counts[Reason.RELEASED])
        for code in np.flatnonzero(counts).tolist():
            reason = Reason(code)
            if not reason.is_success:
                self.refused[reason] += int(counts[code])

    def count_refusals(
        self, holders: Callable[[], Holders], has_home: Callable[[Pfns], Mask]
    ) -> None:
        """Count the frames that stayed, as every other request does.

        Args:
            holders: gives what `mm.move.design.Design.holders` does; asked if a frame stayed.
            has_home: which frames page tables or the swap cache know.
        """
        if not self._attempts:
            return
        pfns, reasons = (np.concatenate(parts) for parts in zip(*self._attempts, strict=True))
        # The last attempt counts: unique takes the first of equal ones, so look backwards.
        _, rows = np.unique(pfns[::-1], return_index=True)
        pfns, reasons = pfns[::-1][rows], reasons[::-1][rows]
        stayed = reasons > Reason.RELEASED
        pfns, reasons = pfns[stayed], reasons[stayed]
        if len(pfns):
            self.refusals.add(pfns, reasons, holders(), at_home=has_home(pfns))
        self._attempts.clear()

    def add(self, other: "CompactReport") -> None:
        """Add what was done in another zone; the result stays that of the last one."""
        self.result = other.result
        self.pages_scanned_migrate += other.pages_scanned_migrate
        self.pages_scanned_free += other.pages_scanned_free
        self.pages_moved += other.pages_moved
        self.pages_released += other.pages_released
        self.pages_dropped += other.pages_dropped
        self.pageblocks_emptied += other.pageblocks_emptied
        self.refused.update(other.refused)
        self.refusals.update(other.refusals)
        self._attempts += other._attempts
