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
from mm.move.design import Answer, Design
from mm.move.obstacles import NO_OBSTACLES, Obstacles
from mm.planning.census import Census
from mm.planning.range_plan import RangePlan
from mm.planning.ranges import Ranked, cheapest_ranges
from mm.state.errno import Errno
from mm.state.frames import FrameState
from mm.state.nodes import Zone, ZoneKind
from mm.state.pageblock import MigrateType
from pinpage.errors import at_least
from pinpage.owner import Mode
from pinpage.units import Mask, Pfns, Span

__all__ = [
    "BlockLook",
    "OfflineResult",
    "OfflineVerdict",
    "has_space",
    "look_at_block",
    "nr_short",
    "nr_small_moves",
    "plan_blocks",
]


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


@frozen(eq=False)
class BlockLook:
    """What one memory block shows of itself.

    Attributes:
        stuck: frames that cannot leave, ascending.
        nr_moves: frames that would move.
        nr_callbacks: those of them that somebody besides page tables holds.
    """

    stuck: Pfns
    nr_moves: int
    nr_callbacks: int


def look_at_block(host: HotplugHost, span: Span, design: Design, mode: Mode) -> BlockLook | None:
    """Look at one block of one zone; None where it takes more to know, for huge pages are in it.

    What is found is what `plan_blocks` finds for it, whose look is at the whole machine.

    Args:
        host: the machine.
        span: the block.
        design: asked about frames that mm cannot move by itself.
        mode: handed to the design.

    Context: drains per-CPU lists and batches of pins.
    Cost: one look at every frame of the block, counted as scanned.
    """
    host.pcp.drain_all()
    frames, huge = host.frames, host.evacuator.parts.hugetlb
    host.counters.pages_scanned_migrate += span.nr_pages
    states = frames.state[span.start : span.stop]
    used = span.start + np.flatnonzero(states == FrameState.USED)
    if huge is not None and bool(huge.covers(used).any()):
        return None
    types = host.pageblocks.types_of(np.arange(span.start, span.stop))
    stays = (states != FrameState.FREE) | (types == MigrateType.ISOLATE)
    used = _that_leave(host, used, design, mode)
    leaves = used[types[used - span.start] != MigrateType.ISOLATE]
    stays[leaves - span.start] = False
    if not stays.any():
        first_of_block = np.arange(span.nr_pages) % host.pageblocks.nr_pages_per_block == 0
        stays = (types == MigrateType.CMA) & first_of_block  # its pageblock does
    owner, _ = design.holders(frames.nr_frames, span)
    nr_callbacks = int(np.count_nonzero(owner[leaves]))
    return BlockLook(span.start + np.flatnonzero(stays), len(leaves), nr_callbacks)


def nr_small_moves(host: HotplugHost, span: Span, design: Design, mode: Mode) -> int:
    """How many frames of a block take a free one each: huge pages in it no mover takes apart.

    Args:
        host: the machine.
        span: the block, of one zone.
        design: asked about frames that mm cannot move by itself.
        mode: handed to the design.

    Cost: one look at every frame of the block, which `look_at_block` has counted.
    """
    used = span.start + np.flatnonzero(host.frames.state[span.start : span.stop] == FrameState.USED)
    return len(_that_leave(host, used, design, mode))


def _that_leave(host: HotplugHost, used: Pfns, design: Design, mode: Mode) -> Pfns:
    """Those of some frames in use that a mover or their owners take away."""
    if not len(used):
        return used
    leaving: Pfns = used[host.mover.classify(used, design, mode).answers != Answer.NO]
    return leaving


def has_space(host: HotplugHost, span: Span, nr_moves: int) -> bool:
    """Whether free memory elsewhere is enough for what would leave, marks and reserves kept.

    Args:
        host: the machine.
        span: the block, of one zone.
        nr_moves: frames that would leave it.

    Cost: O(zones) and the block's pageblocks.
    """
    return nr_short(host, span, nr_moves) <= 0


def nr_short(host: HotplugHost, span: Span, nr_moves: int) -> int:
    """How many free frames elsewhere are missing; 0 or less: `has_space`.

    Args:
        host: the machine.
        span: the block, of one zone.
        nr_moves: frames that would leave it.
    """
    buddy, of_block = host.buddy, int(host.frames.zone[span.start])
    concerned = [host.zones[of_block]]
    zones, across, highest = _pool(host, concerned)
    usable = [
        buddy.nr_free(zone.index) - buddy.nr_free_of(zone.index, MigrateType.HIGHATOMIC)
        for zone in zones
    ]
    marks = [
        min(_mark(zone, highest), nr_free) for zone, nr_free in zip(zones, usable, strict=True)
    ]
    blocks = host.pageblocks.blocks_of_span(span)
    own = buddy.nr_free_in_block[blocks.start : blocks.stop]
    types = host.pageblocks.migratetype[blocks.start : blocks.stop]
    shut = (types == MigrateType.HIGHATOMIC) | (types == MigrateType.ISOLATE)
    reserve = sum(marks) if across else max(marks, default=0)
    return nr_moves - max(sum(usable) - reserve, 0) + int(own[~shut].sum())


def _pool(host: HotplugHost, concerned: list[Zone]) -> tuple[list[Zone], bool, ZoneKind]:
    """Zones that what leaves may go to, whether that is any, and what it counts as there."""
    populated = [zone for zone in host.zones if zone.managed_nr_pages]
    from_movable = all(zone.kind is ZoneKind.MOVABLE for zone in concerned)
    across = from_movable or not any(zone.kind is ZoneKind.MOVABLE for zone in concerned)
    zones = concerned
    if across:  # to ZONE_MOVABLE nothing goes but from there
        zones = [zone for zone in populated if from_movable or zone.kind is not ZoneKind.MOVABLE]
    return zones, across, ZoneKind.MOVABLE if from_movable else ZoneKind.NORMAL


def _mark(zone: Zone, highest: ZoneKind) -> int:
    """Free frames of a zone that the allocator keeps from whoever may use zones up to `highest`."""
    return zone.min + zone.lowmem_reserve[highest]


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

    Frames that can only be released count as able to leave.  A free huge page dissolves where it
    is; one in use needs one to go to, free or fresh; one that somebody holds stays.  What the
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
    census, _ = host.planned.census(
        design, mode, with_released=True, for_ranges=True, as_reclaimed=as_reclaimed
    )
    host.counters.pages_scanned_migrate += host.frames.nr_frames
    concerned = [host.zones[zone] for zone in np.unique(host.frames.zone[starts]).tolist()]
    zones, across, highest = _pool(host, concerned)
    fewer = leaves = None
    if huge := host.evacuator.parts.hugetlb:
        leaves, stays_free = huge.could_leave(mode, keep=False), huge.dissolves()
        left = _blocks_left(host, census, starts, nr_pages)
        beside = _nr_blocks_beside(host, census, zones)
        census = _with_huge(census, leaves, stays_free)
        fewer = huge.space_for(starts, nr_pages, left, beside)
    usable = census.usable & (host.pageblocks.migratetype != MigrateType.HIGHATOMIC)
    usable &= np.isin(census.zone, [zone.index for zone in zones])
    census = evolve(census, usable=usable)
    nr_usable = np.bincount(census.zone, census.nr_free * census.usable, len(host.zones))
    marks = [min(_mark(zone, highest), int(nr_usable[zone.index])) for zone in zones]
    return cheapest_ranges(
        census,
        nr_pages,
        nr_pages,
        candidates=Ranked(starts, fewer=fewer, whole=leaves),
        want=want,
        reserve=sum(marks) if across else max(marks, default=0),
        across_zones=across,
        costs=host.costs,
    )


def _with_huge(census: Census, leaves: Mask, dissolves: Mask) -> Census:
    """Huge pages that are free as frames that are, but which nobody can be given."""
    free = census.free | dissolves
    held = census.by_block(dissolves).any(axis=1)
    return evolve(
        census,
        free=free,
        movable=(census.movable | leaves) & ~free,
        usable=census.usable & ~held,
    )


def _blocks_left(host: HotplugHost, census: Census, starts: Pfns, nr_pages: int) -> Pfns:
    """Pageblocks outside of each memory block that could become free, by their own frames."""
    before = np.concatenate(([0], np.cumsum(census.clearable)))
    size = host.pageblocks.nr_pages_per_block
    inside = before[(starts + nr_pages) // size] - before[starts // size]
    left: Pfns = before[-1] - inside
    return left


def _nr_blocks_beside(host: HotplugHost, census: Census, zones: list[Zone]) -> int:
    """Pageblocks that a fresh huge page may have, and no small page of the memory blocks.

    ZONE_MOVABLE, for memory of other zones: a huge page may be anywhere (`htlb_alloc_mask`).
    """
    size, mine = host.pageblocks.nr_pages_per_block, {zone.index for zone in zones}
    nr_clearable = np.bincount(census.zone, census.clearable, len(host.zones)).astype(np.int64)
    count = 0
    for zone in host.zones:
        if zone.managed_nr_pages and zone.index not in mine:
            spare = host.buddy.nr_free(zone.index) - _mark(zone, ZoneKind.MOVABLE)
            count += min(int(nr_clearable[zone.index]), max(spare, 0) // size)
    return count
