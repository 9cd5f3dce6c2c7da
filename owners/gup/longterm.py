"""Pins for as long as user space likes: only where memory need not stay movable.

A frame in a CMA area, in a pageblock that is being isolated or in ZONE_MOVABLE was promised
to a user as movable.  Linux does not ask such a pin to leave later; it moves the page out
*before* pinning it.  All pins are dropped for that, and the whole range is pinned again.

Kernel counterpart: check_and_migrate_movable_pages() in mm/gup.c, is_longterm_pinnable_page()
in include/linux/mm.h (6.1).
"""

import numpy as np
from numpy.typing import NDArray

from mm.move.design import Answer
from mm.state.errno import Errno
from mm.state.frames import MAPCOUNT_NONE
from mm.state.gfp import Gfp
from mm.state.nodes import ZoneKind
from mm.state.pageblock import MigrateType
from mm.state.reasons import HOME, Refused
from owners.gup.host import GupHost
from pinpage.owner import Mode, Reason
from pinpage.units import Mask, Pfns

__all__ = ["is_longterm_pinnable", "migrate_away"]

_FORBIDDEN_TYPES = (MigrateType.CMA, MigrateType.ISOLATE)
_LOST_RACE = (Reason.ALREADY_ISOLATED, Reason.RACED_FREE)


def is_longterm_pinnable(host: GupHost, pfns: Pfns) -> Mask:
    """Which frames may be pinned for long, bool[n].  Cost: three column lookups.

    Args:
        host: the machine.
        pfns: which frames, shape (n,).
    """
    types = host.pageblocks.types_of(pfns)
    is_movable_zone = np.array([zone.kind == ZoneKind.MOVABLE for zone in host.zones])
    mask: Mask = ~np.isin(types, _FORBIDDEN_TYPES) & ~is_movable_zone[host.frames.zone[pfns]]
    return mask


class _PinnableTargets:
    """Fresh frames of requests that are not movable: never in CMA, never in ZONE_MOVABLE."""

    def __init__(self, host: GupHost) -> None:
        self._host = host

    def take(self, count: int) -> Pfns:
        found: list[int] = []
        while len(found) < count and (pfn := self._host.alloc_page(Gfp.USER | Gfp.NOWARN)) >= 0:
            found.append(pfn)
        return np.array(found, dtype=np.int64)

    def give_back(self, pfns: Pfns) -> None:
        for pfn in pfns.tolist():
            self._host.free_page(pfn)


def migrate_away(host: GupHost, pfns: Pfns) -> tuple[Errno, tuple[Refused, ...]]:
    """Move pages, on which the caller has no pin any more, to where they may be pinned.

    Args:
        host: the machine.
        pfns: used frames without duplicates, in any order.

    Returns:
        OK or EAGAIN (another mover has one of them at this moment): look the range up again.
        ENOMEM if one of them does not move, whatever the reason, as in the kernel.  And the
        pages that did not move.
    """
    ascending = np.sort(pfns)
    taken = host.frames.isolated[ascending]
    if bool(taken.any()):
        busy = np.full(int(taken.sum()), Reason.ALREADY_ISOLATED, dtype=np.uint8)
        return Errno.EAGAIN, _named(host, ascending[taken], busy)
    found = host.mover.classify(ascending, host.design, Mode.SYNC)
    stay = found.answers != Answer.MOVE
    if bool(stay.any()):
        reasons = found.reasons[stay]
        reasons[reasons <= Reason.RELEASED] = Reason.NO_CALLBACK  # it could only be given up
        return Errno.ENOMEM, _named(host, ascending[stay], reasons)
    report = host.mover.migrate(
        ascending, found.alone, _PinnableTargets(host), host.design, Mode.SYNC
    )
    stayed = report.reasons > Reason.RELEASED
    failed = report.reasons[stayed]
    if not len(failed):
        return Errno.OK, ()
    lost = bool(np.isin(failed, _LOST_RACE).all())
    return Errno.EAGAIN if lost else Errno.ENOMEM, _named(host, ascending[stayed], failed)


def _named(host: GupHost, pfns: Pfns, reasons: NDArray[np.uint8]) -> tuple[Refused, ...]:
    """Each page with its holder and why it stays."""
    codes, names = host.design.holders(host.frames.nr_frames)
    mapped = host.frames.mapcount[pfns] > MAPCOUNT_NONE
    rows = zip(pfns.tolist(), codes[pfns].tolist(), mapped.tolist(), reasons.tolist(), strict=True)
    return tuple(
        Refused(pfn, 1, HOME if at_home and not code else names[code], Reason(reason))
        for pfn, code, at_home, reason in rows
    )
