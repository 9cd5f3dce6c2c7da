"""May this memory go?  The answer before anything is moved, and who is in the way.

Hot-remove finds out by trying: it isolates, moves what it can, meets a page that somebody
has pinned and goes over the rest for ever.  Everything that the answer depends on is known
before: what page tables hold, who registered what, and which pages have more references than
anybody accounts for.

`BlockPlanner` answers for all blocks at once: the question of contiguous ranges
(`mm.planning.ranges`), asked of whole memory blocks (`mm.hotplug.together`).  What leaves a block
of ZONE_MOVABLE may go to any zone; what leaves a kernel zone stays in kernel zones, of any node.

There are three answers.  What trying alone can tell is told as such: whether compaction makes a
huge page for one that has to go, and whether reclaim, or what per-CPU lists hold, makes the room
that is short; by scan reclaim cannot have what is isolated already, as in the kernel.

Kernel counterpart: none; scan_movable_pages() and has_unmovable_pages() know less.
"""

from functools import cached_property

import numpy as np
from attrs import evolve, field, frozen

from mm.contig.retry import EvacuationReport
from mm.hotplug.host import HotplugHost
from mm.hotplug.needs import BlockNeeds, lends, needs_of
from mm.hotplug.together import Alone, alone, bound_of, choose_certain, may_go_later
from mm.move.design import Answer, Design
from mm.move.obstacles import NO_OBSTACLES, Obstacles
from mm.planning.census import Census
from mm.planning.range_plan import RangePlan
from mm.planning.ranges import RangeChoice, RangeCounts, Ranked, cheapest_ranges
from mm.state.errno import Errno
from mm.state.frames import FrameState
from mm.state.nodes import Zone, ZoneKind
from mm.state.pageblock import MigrateType
from pinpage.errors import at_least
from pinpage.owner import Mode
from pinpage.units import Mask, Pfns, Span

__all__ = [
    "BlockLook",
    "BlockPlanner",
    "OfflineResult",
    "OfflineVerdict",
    "look_at_block",
    "nr_kept_back",
    "nr_short",
    "nr_small_moves",
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
        needs_huge_page: it goes only if compaction, which reclaim may help, makes a huge page
            for one in use.
        needs_space: it goes only if what is short of free frames can be had: reclaim frees
            them, or a per-CPU list gives them up.
    """

    errno: Errno
    block: int
    nr_moves: int
    modelled_ns: int
    obstacles: Obstacles
    needs_huge_page: bool = False
    needs_space: bool = False

    def __bool__(self) -> bool:
        """Whether it can go, for certain or not."""
        return self.errno is Errno.OK

    @property
    def certain(self) -> bool:
        """Whether trying comes to what is said here, by either strategy."""
        return not (self.needs_huge_page or self.needs_space)

    @property
    def answer(self) -> str:
        """In words: yes, no, or if what."""
        if not self:
            return "no"
        conditions = ["a huge page can be made"] * self.needs_huge_page
        conditions += ["there is room when it is wanted"] * self.needs_space
        return f"if {' and '.join(conditions)}" if conditions else "yes"


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

    What is found is what `BlockPlanner` finds for it, whose look is at the whole machine.

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


def nr_short(host: HotplugHost, span: Span, nr_moves: int) -> int:
    """How many free frames elsewhere are missing for what would leave, marks and reserves kept.

    Args:
        host: the machine.
        span: the block, of one zone.
        nr_moves: frames that would leave it.

    Returns:
        0 or less where there are enough.

    Cost: O(zones) and the block's pageblocks.
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


def nr_kept_back(host: HotplugHost, span: Span) -> int:
    """Free frames elsewhere that per-CPU lists may hold when what leaves a block wants them.

    Args:
        host: the machine.
        span: the block, of one zone.
    """
    own = host.zones[int(host.frames.zone[span.start])]  # whose lists are switched off
    zones = [zone for zone in _pool(host, [own])[0] if zone is not own]
    return sum(max(host.pcp.batches[zone.index] - 1, 0) for zone in zones)


class BlockPlanner:
    """Answers about several memory blocks from a look at all memory; moves nothing.

    Frames that can only be released count as able to leave.  A free huge page dissolves where it
    is; one in use needs one to go to, free or fresh; one that somebody holds stays.  What the
    allocator gives to nobody who moves a page is no room: HIGHATOMIC pageblocks, and each zone's
    min watermark and lowmem reserve.

    Attributes:
        starts: first pfns of the blocks, ascending.
        nr_pages: pages in a block.
    """

    def __init__(
        self,
        host: HotplugHost,
        starts: Pfns,
        nr_pages: int,
        design: Design,
        mode: Mode,
        *,
        min_nr_pages: int,
    ) -> None:
        """Look when asked.

        Args:
            host: the machine.
            starts: first pfns of the blocks, ascending.
            nr_pages: pages in a block.
            design: asked about frames that mm cannot move by itself.
            mode: handed to the design.
            min_nr_pages: what min watermarks will be shares of, once memory has changed.

        Context: drains per-CPU lists and batches of pins.
        """
        self.starts = starts
        self.nr_pages = nr_pages
        self._host = host
        self._design = design
        self._mode = mode
        self._min_nr_pages = min_nr_pages

    def plan(self, want: int | None = 1, *, with_bound: bool = True) -> RangePlan:
        """The blocks that go together for certain.

        Args:
            want: how many at once; None: as many as can go.
            with_bound: say how many any strategy could have; else as many as are chosen.

        Raises:
            PinpageError: a negative `want`.

        Cost: one look at every frame of the machine, counted as scanned; two with the bound.
        """
        if want is not None:
            (want,) = at_least(0, "memory blocks", want=want)
        census, needs = self._now
        leaves = None
        if huge := self._host.evacuator.parts.hugetlb:
            leaves = huge.could_leave(self._mode, keep=False)
            stays_free = huge.dissolves(Span(0, self._host.frames.nr_frames))
            census = _with_huge(census, leaves, stays_free)
        usable = lends(self._host, census)
        in_movable = needs.zones.is_movable[census.zone]

        def choose(found: RangeCounts) -> RangeChoice:
            chosen, others = choose_certain(needs, found, want)
            bound = self._bound(found.clear) if with_bound else len(chosen)
            return RangeChoice(chosen, others, bound, above=in_movable)

        return cheapest_ranges(
            evolve(census, usable=usable),
            self.nr_pages,
            self.nr_pages,
            candidates=Ranked(self.starts, whole=leaves, choose=choose),
            want=want,
            costs=self._host.costs,
        )

    def goes(self) -> Mask:
        """Which blocks may go, each alone, if nothing is stuck in them.

        As if all had been given up that can be, and compaction made every huge page that it may.

        Cost: one look at every frame of the machine, counted as scanned.
        """
        return alone(self._most[1], for_certain=False).may_go(with_swap=self._with_swap)

    def may_go_later(self, clear: Mask) -> Mask:
        """Which blocks may go at some time, others having gone and come back before.

        Args:
            clear: blocks in which nothing is stuck.
        """
        return may_go_later(self._most[1], clear, with_swap=self._with_swap, come_back=True)

    def certain(self) -> Alone:
        """What is known of each alone, as memory is now; looked at for `plan`."""
        return alone(self._now[1], for_certain=True)

    def _bound(self, clear: Mask) -> int:
        return bound_of(self._most[1], clear, with_swap=self._with_swap)

    @property
    def _with_swap(self) -> bool:
        """Room for as long as swap lasts."""
        return bool(self._host.swap.areas)

    @cached_property
    def _now(self) -> tuple[Census, BlockNeeds]:
        return self._look(as_reclaimed=False)

    @cached_property
    def _most(self) -> tuple[Census, BlockNeeds]:
        return self._look(as_reclaimed=True)

    def _look(self, *, as_reclaimed: bool) -> tuple[Census, BlockNeeds]:
        """What is free and can move, huge pages left out, and what that comes to."""
        host = self._host
        host.pcp.drain_all()
        census, _ = host.planned.census(
            self._design, self._mode, with_released=True, for_ranges=True,
            as_reclaimed=as_reclaimed,
        )  # fmt: skip
        host.counters.pages_scanned_migrate += host.frames.nr_frames
        huge = host.evacuator.parts.hugetlb
        inside = () if huge is None else huge.within(self.starts, self.nr_pages)
        needs = needs_of(
            host, census, self.starts, self.nr_pages, inside, min_nr_pages=self._min_nr_pages
        )
        return census, needs


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
