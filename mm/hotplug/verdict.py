"""May this memory go?  The answer before anything is moved, and who is in the way.

Hot-remove finds out by trying: it isolates, moves what it can, meets a page that somebody
has pinned and goes over the rest for ever.  Everything that the answer depends on is known
before: what page tables hold, who registered what, and which pages have more references than
anybody accounts for.

`plan_blocks` answers for all blocks at once: the question of contiguous ranges
(`mm.planning.ranges`), asked of whole memory blocks.  What leaves a block of ZONE_MOVABLE may go
to any zone; what leaves a kernel zone stays in kernel zones, of any node.  Where blocks of both
kinds are asked about at once, each zone is on its own.

Kernel counterpart: none; scan_movable_pages() and has_unmovable_pages() know less.
"""

import numpy as np
from attrs import evolve, field, frozen

from mm.contig.retry import EvacuationReport
from mm.hotplug.host import HotplugHost
from mm.move.design import Design
from mm.move.obstacles import NO_OBSTACLES, Obstacles
from mm.planning.range_plan import RangePlan
from mm.planning.ranges import cheapest_ranges
from mm.state.errno import Errno
from mm.state.nodes import ZoneKind
from mm.state.pageblock import MigrateType
from pinpage.errors import at_least
from pinpage.owner import Mode
from pinpage.units import Pfns, Span

__all__ = ["OfflineResult", "OfflineVerdict", "plan_blocks"]


@frozen(eq=False)
class OfflineVerdict:
    """Whether a memory block could be taken offline, found out without touching it.

    Attributes:
        errno: OK; EINVAL: memory that may never go (holes, two zones); EBUSY: `obstacles`;
            ENOMEM: there is no room elsewhere for what would have to leave.
        block: which.
        nr_moves: frames that would move.
        modelled_ns: what that would cost.
        obstacles: who is in the way.
    """

    errno: Errno
    block: int
    nr_moves: int
    modelled_ns: int
    obstacles: Obstacles

    def __bool__(self) -> bool:
        """Whether it can go."""
        return self.errno is Errno.OK


@frozen(eq=False)
class OfflineResult:
    """What became of one attempt to take a memory block offline.

    Attributes:
        errno: OK; EINVAL: holes, two zones, or it is not online; EBUSY: something in it cannot
            move, or the rounds allowed are used up; EINTR: a signal came, or the time was
            over; ENOMEM: no room elsewhere (plan); else what a notifier answered.
        block, span: which, and its frames.
        report: moves, reasons and time; empty if it never came so far.
        obstacles: frames in the way.  Under `scan` known only where isolation failed (the
            first one) and at the end; under `plan` all of them, before anything moves.
        nr_rounds: how often the whole block was gone over.
        zone_kind: of the zone that it is in, or was; None for memory that may never go.
    """

    errno: Errno
    block: int
    span: Span
    report: EvacuationReport = field(factory=EvacuationReport)
    obstacles: Obstacles = NO_OBSTACLES
    nr_rounds: int = 0
    zone_kind: ZoneKind | None = None

    def __bool__(self) -> bool:
        """Whether the block is offline now."""
        return self.errno is Errno.OK


def plan_blocks(
    host: HotplugHost,
    starts: Pfns,
    nr_pages: int,
    design: Design,
    mode: Mode,
    *,
    want: int | None = 1,
    as_reclaimed: bool = False,
) -> RangePlan:
    """Plan to empty memory blocks; isolates nothing and moves nothing.

    Frames that can only be released count as able to leave, and so do those of huge pages,
    though a huge page in use needs one to go to; one that somebody holds stays.  What the
    allocator gives to nobody who moves a page is no room: HIGHATOMIC pageblocks, and each zone's
    min watermark and lowmem reserve.

    Args:
        host: the machine.
        starts: first pfns of the blocks, ascending.
        nr_pages: pages in a block.
        design: asked about frames that mm cannot move by itself.
        mode: handed to the design.
        want: how many at once; None: as many as can go.
        as_reclaimed: as if all had been given up that can be: whether there can be room.

    Raises:
        PinpageError: a negative `want`.

    Context: drains per-CPU lists and batches of pins.
    Cost: one look at every frame of the machine, counted as scanned.
    """
    if want is not None:
        at_least(0, "memory blocks", want=want)
    host.pcp.drain_all()
    census, _ = host.planned.census(design, mode, with_released=True, as_reclaimed=as_reclaimed)
    host.counters.pages_scanned_migrate += host.frames.nr_frames
    if huge := host.evacuator.parts.hugetlb:
        leaves = huge.could_leave(mode, keep=False)
        census = evolve(census, movable=census.movable | leaves)
    populated = [zone for zone in host.zones if zone.managed_nr_pages]
    concerned = [host.zones[zone] for zone in np.unique(host.frames.zone[starts]).tolist()]
    from_movable = all(zone.kind is ZoneKind.MOVABLE for zone in concerned)
    across = from_movable or not any(zone.kind is ZoneKind.MOVABLE for zone in concerned)
    if across:  # to ZONE_MOVABLE nothing goes but from there
        to = [zone for zone in populated if from_movable or zone.kind is not ZoneKind.MOVABLE]
    else:
        to = concerned
    usable = host.pageblocks.migratetype != MigrateType.HIGHATOMIC
    usable &= np.isin(census.zone, [zone.index for zone in to])
    census = evolve(census, usable=usable)
    highest = ZoneKind.MOVABLE if from_movable else ZoneKind.NORMAL
    nr_usable = np.bincount(census.zone, census.nr_free * census.usable, len(host.zones))
    marks = [
        min(zone.min + zone.lowmem_reserve[highest], int(nr_usable[zone.index])) for zone in to
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
