"""Which memory blocks can go, at what cost, and who is in the way of the others: one look at all.

The question of contiguous ranges (`mm.planning.ranges`), asked of whole memory blocks.  What leaves
a block of ZONE_MOVABLE may go to any zone of lower kind; what leaves a kernel zone stays in
kernel zones, so where there are both, each zone is on its own.

Kernel counterpart: none.
"""

import numpy as np
from attrs import evolve

from mm.hotplug.host import HotplugHost
from mm.move.design import Design
from mm.planning.ranges import RangePlan, cheapest_ranges
from mm.state.frames import FrameState
from mm.state.nodes import ZoneKind
from mm.state.pageblock import MigrateType
from pinpage.errors import at_least
from pinpage.owner import Mode
from pinpage.units import Pfns

__all__ = ["plan_blocks"]


def plan_blocks(
    host: HotplugHost,
    starts: Pfns,
    nr_pages: int,
    design: Design,
    mode: Mode,
    *,
    want: int | None = 1,
) -> RangePlan:
    """Plan to empty memory blocks; isolates nothing and moves nothing.

    Frames that can only be released count as able to leave, and so do those of huge pages,
    though a huge page in use needs one to go to.  What the allocator gives to nobody who moves
    a page is no room: HIGHATOMIC pageblocks, and each zone's min watermark and lowmem reserve.

    Args:
        host: the machine.
        starts: first pfns of the blocks, ascending.
        nr_pages: pages in a block.
        design: asked about frames that mm cannot move by itself.
        mode: handed to the design.
        want: how many at once; None: as many as can go.

    Raises:
        PinpageError: a negative `want`.

    Context: drains per-CPU lists and batches of pins.
    Cost: one look at every frame of the machine, counted as scanned.
    """
    if want is not None:
        at_least(0, "memory blocks", want=want)
    host.pcp.drain_all()
    census = host.planned.census(design, mode, with_released=True)[0]
    host.counters.pages_scanned_migrate += host.frames.nr_frames
    if huge := host.evacuator.parts.hugetlb:
        used = np.flatnonzero(host.frames.state == FrameState.USED)
        leaves = np.zeros(host.frames.nr_frames, dtype=np.bool_)
        leaves[used[huge.covers(used)]] = True
        census = evolve(census, movable=census.movable | leaves)
    census = evolve(census, lends=host.pageblocks.migratetype != MigrateType.HIGHATOMIC)
    populated = [zone for zone in host.zones if zone.managed_nr_pages]
    concerned = [host.zones[zone] for zone in np.unique(host.frames.zone[starts]).tolist()]
    from_movable = all(zone.kind is ZoneKind.MOVABLE for zone in concerned)
    across = len({zone.kind is ZoneKind.MOVABLE for zone in populated}) == 1 or from_movable
    highest = ZoneKind.MOVABLE if from_movable else ZoneKind.NORMAL
    nr_lent = np.bincount(census.zone, census.nr_free * census.lends, len(host.zones))
    marks = [
        min(zone.min + zone.lowmem_reserve[highest], int(nr_lent[zone.index]))
        for zone in (populated if across else concerned)
    ]
    return cheapest_ranges(
        census,
        nr_pages,
        nr_pages,
        candidates=starts,
        want=want,
        reserve=sum(marks) if across else max(marks, default=0),
        across_zones=across,
        costs=host.costs,
    )
