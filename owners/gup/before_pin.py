"""What Linux does about long pins instead of asking their owners: nothing, later; much, before.

    look at the range -> all may be pinned here: done
                      -> some may not: drop all pins, migrate those, pin the range again

A page in a CMA area, in a pageblock that is being isolated or in ZONE_MOVABLE is moved out
before it is pinned for long.  From then on nobody can ask for it: as a design it finds nobody,
and is `unmovable` for whatever is pinned already.

Kernel counterpart: check_and_migrate_movable_pages() of mm/gup.c, FOLL_LONGTERM.
"""

from typing import ClassVar

import numpy as np

from mm.move.capabilities import Capabilities
from mm.move.design import Unmovable
from mm.state.errno import Errno
from mm.state.reasons import Refused
from mm.state.rmap import Rmap
from owners.gup.gup import NR_TRIES
from owners.gup.host import GupHost
from owners.gup.longterm import is_longterm_pinnable, migrate_away
from pinpage.units import Pfns

__all__ = ["MigrateBeforePin", "before_pin"]


class MigrateBeforePin(Unmovable):
    """Implements `mm.move.design.Design`; its work is done when a pin is taken."""

    name = "migrate-before-pin"
    capabilities: ClassVar[Capabilities] = Capabilities(
        moves=False,
        several_owners=False,
        second_owner="may pin too; nobody is asked",
        gup=False,
        knows_target=False,
        knows_mode=False,
        undoes=True,
        lookup="none",
        pin_nr_bytes=0,
        locks="none",
    )


def before_pin(host: GupHost, rmap: Rmap, pfns: Pfns) -> tuple[Errno, Pfns, tuple[Refused, ...]]:
    """Move pages that are about to be pinned for long to where they may be.

    Args:
        host: the machine.
        rmap: says where a page is after it has moved.
        pfns: used frames that page tables hold, without duplicates.

    Returns:
        OK, or why it gave up; where the pages are now, in the same order; and those that did
        not move.
    """
    mms, vpns = rmap.first_mm[pfns].copy(), rmap.first_vpn[pfns].copy()
    refused: tuple[Refused, ...] = ()
    for _ in range(NR_TRIES):
        misplaced = pfns[~is_longterm_pinnable(host, pfns)]
        if not len(misplaced):
            return Errno.OK, pfns, ()
        error, refused = migrate_away(host, misplaced)
        pfns = np.array(
            [
                rmap.space(mm).pte.item(vpn) - 1
                for mm, vpn in zip(mms.tolist(), vpns.tolist(), strict=True)
            ],
            dtype=np.int64,
        )
        if error not in (Errno.OK, Errno.EAGAIN):
            return error, pfns, refused
    return Errno.EAGAIN, pfns, refused
