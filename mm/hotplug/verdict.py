"""May this memory go?  The answer before anything is moved, and who is in the way.

Hot-remove finds out by trying: it isolates, moves what it can, meets a page that somebody
has pinned and goes over the rest for ever.  Everything that the answer depends on is known
before: what page tables hold, who registered what, and which pages have more references than
anybody accounts for.

`plan_blocks` answers for all blocks at once: the question of contiguous ranges
(`mm.planning.ranges`), asked of whole memory blocks.  What leaves a block of ZONE_MOVABLE may go
to any zone of lower kind; what leaves a kernel zone stays in kernel zones, so where there are
both, each zone is on its own.

Kernel counterpart: none; scan_movable_pages() and has_unmovable_pages() know less.
"""

import numpy as np
from attrs import evolve, field, frozen
from numpy.typing import NDArray

from mm.contig.retry import EvacuationReport
from mm.hotplug.host import HotplugHost
from mm.move.design import Design
from mm.move.move import Mover
from mm.planning.range_plan import RangePlan
from mm.planning.ranges import cheapest_ranges
from mm.state.errno import Errno
from mm.state.frames import Frames, FrameState
from mm.state.nodes import ZoneKind
from mm.state.pageblock import MigrateType
from mm.state.reasons import HOME, Refusals
from pinpage.errors import at_least
from pinpage.owner import Mode, Reason
from pinpage.units import Pfns, Span

__all__ = [
    "NO_OBSTACLES",
    "Obstacle",
    "Obstacles",
    "OfflineResult",
    "OfflineVerdict",
    "in_the_way",
    "plan_blocks",
]


@frozen
class Obstacle:
    """One frame that cannot leave.

    Attributes:
        pfn: which.
        owner: who holds it: an owner's name, "home" for page tables, or "unknown".
        reason: why it stays.
    """

    pfn: int
    owner: str
    reason: Reason


@frozen(eq=False)
class Obstacles:
    """Frames that cannot leave, as columns.

    Attributes:
        pfns: int64 (n,), ascending.
        reasons: uint8 (n,), a `Reason` each.
        holder: int64 (n,), rows of `names`.
        names: of the holders.
    """

    pfns: Pfns
    reasons: NDArray[np.uint8] = field(repr=False)
    holder: NDArray[np.int64] = field(repr=False)
    names: tuple[str, ...]

    def __len__(self) -> int:
        """How many frames."""
        return len(self.pfns)

    def first(self, count: int) -> tuple[Obstacle, ...]:
        """The lowest few, to be shown to people."""
        columns = (column[:count].tolist() for column in (self.pfns, self.holder, self.reasons))
        return tuple(
            Obstacle(pfn, self.names[who], Reason(why))
            for pfn, who, why in zip(*columns, strict=True)
        )

    def by_owner(self) -> dict[str, int]:
        """Holder -> frames, most first."""
        counts = np.bincount(self.holder, minlength=len(self.names))
        order = np.argsort(-counts, kind="stable")
        return {self.names[row]: int(counts[row]) for row in order if counts[row]}

    def refusals(self) -> Refusals:
        """The same as counts by reason and holder."""
        found = Refusals()
        found.add(self.pfns, self.reasons, (self._codes(), self.names))
        return found

    def _codes(self) -> NDArray[np.uint8]:
        codes = np.zeros(int(self.pfns.max(initial=0)) + 1, dtype=np.uint8)
        codes[self.pfns] = self.holder
        return codes


NO_OBSTACLES = Obstacles(
    np.empty(0, dtype=np.int64), np.empty(0, dtype=np.uint8), np.empty(0, dtype=np.int64), ()
)
"""Nothing is in the way."""


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


def in_the_way(frames: Frames, mover: Mover, stuck: Pfns, design: Design, mode: Mode) -> Obstacles:
    """Say why frames are stuck, and whose they are.

    One that would move if it were asked once more is there because the time was over; one
    that is free belongs to somebody else, who isolated its pageblock.

    Args:
        frames: the columns.
        mover: knows what only page tables hold, and which references nobody accounts for.
        stuck: their pfns, ascending.
        design: asked about frames that mm cannot move by itself.
        mode: handed to the design.
    """
    reasons = np.full(len(stuck), Reason.NO_OWNER, dtype=np.uint8)
    reasons[frames.state[stuck] == FrameState.FREE] = Reason.ALREADY_ISOLATED
    codes, names = design.holders(frames.nr_frames)
    holder = codes[stuck].astype(np.int64)
    reserved = frames.state[stuck] == FrameState.RESERVED
    used = np.flatnonzero(frames.state[stuck] == FrameState.USED)
    if len(used):
        found = mover.classify(stuck[used], design, mode)
        refused = found.reasons > Reason.RELEASED
        reasons[used] = np.where(refused, found.reasons, Reason.TIMEOUT)
        at_home = mover.has_home(stuck[used]) & (holder[used] == 0)
        holder[used[at_home]] = len(names)
    holder[reserved] = len(names) + 1
    return Obstacles(stuck, reasons, holder, (*names, HOME, "reserved"))


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
    census = evolve(census, usable=host.pageblocks.migratetype != MigrateType.HIGHATOMIC)
    populated = [zone for zone in host.zones if zone.managed_nr_pages]
    concerned = [host.zones[zone] for zone in np.unique(host.frames.zone[starts]).tolist()]
    from_movable = all(zone.kind is ZoneKind.MOVABLE for zone in concerned)
    across = len({zone.kind is ZoneKind.MOVABLE for zone in populated}) == 1 or from_movable
    highest = ZoneKind.MOVABLE if from_movable else ZoneKind.NORMAL
    nr_usable = np.bincount(census.zone, census.nr_free * census.usable, len(host.zones))
    marks = [
        min(zone.min + zone.lowmem_reserve[highest], int(nr_usable[zone.index]))
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
