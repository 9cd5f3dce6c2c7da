"""Memory that goes and comes back: taking memory blocks offline, and online again.

    validate   whole, without holes, one zone                                 else EINVAL
    isolate    nothing in it may surely be unmovable                          else EBUSY
    ask        every notifier                                                 else its errno
    empty      over and over: LRU pages, movable_operations, huge pages; a signal ends it: EINTR
    forget     nobody knows any of its frames; they become holes, the zone shrinks

The kernel's loop has neither a limit nor a clock: a page that somebody has pinned passes the
isolation check, cannot be moved, and keeps it going until a signal comes.  A `RetryPolicy` says
how long that is here: `timeout_ns` stands for `timeout 8 sh -c "echo offline > state"`,
`signal_pending` for the signal itself, and `nr_tries` bounds the rounds, which no kernel
since v4.19 does.  Under strategy `plan` the verdict comes first, and without a move.

Kernel counterpart: mm/memory_hotplug.c of v6.1 (offline_pages, do_migrate_range,
online_pages, zone_for_pfn_range).  Differences: a failed attempt gives each pageblock its own
type back, the kernel makes all of them MOVABLE; a kernel zone that memory has left entirely
takes it back, the kernel may hand it to ZONE_NORMAL.
"""

from typing import Literal

import numpy as np
from attrs import frozen

from mm.contig.retry import EvacuationReport, RetryPolicy
from mm.hotplug.forget import FrameForgetter
from mm.hotplug.host import HotplugHost
from mm.hotplug.memory_block import BlockState, MemoryBlocks
from mm.hotplug.notify import MemoryAction, MemoryNotifiers
from mm.hotplug.offline_loop import OfflineLoop
from mm.hotplug.verdict import (
    BlockPlanner,
    OfflineResult,
    OfflineVerdict,
    look_at_block,
    nr_kept_back,
    nr_short,
    nr_small_moves,
)
from mm.hotplug.zones import ZoneResizer, zone_for
from mm.move.design import Design, Strategy
from mm.move.obstacles import LEFT_BEHIND, NO_OBSTACLES, Obstacles, find_obstacles
from mm.planning.fill import evacuation_ns
from mm.planning.range_plan import RangeOutcome, RangePlan
from mm.state.errno import Errno
from mm.state.nodes import Zone, ZoneKind
from mm.state.pageblock import MigrateType
from pinpage.errors import PinpageError, one_of, require, whole
from pinpage.owner import Mode
from pinpage.units import Pfns, Span

__all__ = ["NR_BOUNDED_TRIES", "MemoryHotplug", "OnlineKind"]

OnlineKind = Literal["kernel", "movable"]
"""online_kernel, or online_movable: into ZONE_MOVABLE, from where it can be taken away again."""

NR_BOUNDED_TRIES = 5
"""Rounds that leave something behind, where nobody says how patient to be (as in v3.11)."""


@frozen
class _Gone:
    """Where memory that is offline was, and how much of it the allocator had."""

    zone: Zone
    nr_pages: int


class MemoryHotplug:
    """Takes memory blocks of one machine offline and online.

    >>> from mm.hotplug.memory_block import MEMORY_BLOCK_NR_PAGES
    >>> from mm.machine import Machine
    >>> machine = Machine.build(nr_pages=4 * MEMORY_BLOCK_NR_PAGES, contents="tags")
    >>> machine.hotplug.offline(1, machine.design).errno.name
    'OK'
    >>> machine.buddy.nr_free() // MEMORY_BLOCK_NR_PAGES
    3
    >>> machine.hotplug.online(1, kind="movable").name
    'OK'
    >>> [(zone.name, zone.managed_nr_pages) for zone in machine.zones]
    [('Normal', 98304), ('Movable', 32768)]

    Attributes:
        blocks: the memory blocks and where RAM is.
        notifiers: who is asked and told.

    Invariants, run by `check`:
        HP1 nobody knows a frame that is gone: no pin, mapping, list, cache or reference names
            it (also required before it goes: R-25).
        HP2 what the zones manage and what is gone add up to what there was.
        HP3 a pageblock of memory that is gone has no zone, and is not isolated.
    """

    def __init__(self, host: HotplugHost, block_nr_pages: int | None = None) -> None:
        """Serve `host`: what of its frames is no hole now is RAM.

        Args:
            host: the machine.
            block_nr_pages: pages in a memory block; None: as many as usual; `blocks.nr_pages`
                may be set later.
        """
        self._host = host
        self.blocks = MemoryBlocks(host.frames, host.pageblocks, block_nr_pages)
        self.notifiers = MemoryNotifiers()
        self._resizer = ZoneResizer(host.buddy, host.pcp)
        self._forgetter = FrameForgetter(host)
        self._gone: dict[int, _Gone] = {}
        self._nr_managed = -1  # of all zones and what is gone; counted at the first change

    # Away.

    def offline(
        self,
        block: int,
        design: Design,
        *,
        retry: RetryPolicy | None = None,
        strategy: Strategy = "scan",
        mode: Mode = Mode.SYNC,
    ) -> OfflineResult:
        """Take one memory block offline, or change nothing but where pages are.

        Args:
            block: its number.
            design: asked about frames that mm cannot move by itself.
            retry: when to give up; five rounds by default.  nr_tries=None is the kernel's:
                for ever, so give it timeout_ns, signal_pending or between_tries.
            strategy: "scan", the kernel's; or "plan": no move unless it can succeed.
            mode: how long to wait for one frame.

        Raises:
            PinpageError: no such block or strategy, or a `retry` that could never end.
            InvariantError: HP1, somebody still knows a frame of a block that is empty.
        """
        retry = retry or RetryPolicy(nr_tries=NR_BOUNDED_TRIES)
        _require_sense(retry, strategy)
        block = self.blocks.row_of(block)
        span, started_ns = self.blocks.span(block), self._host.clock.now_ns
        errno = self.refusal(block)
        if errno is not Errno.OK:
            return OfflineResult(errno, block, span)
        zone = self._zone_of(span)
        if strategy == "plan":
            no = self.verdict(block, design, mode)
            if not no:
                report = EvacuationReport(no.errno, refusals=no.obstacles.refusals())
                return OfflineResult(no.errno, block, span, report, no.obstacles, 0, zone.kind)
            self._make_space(span, design, mode)
        loop = OfflineLoop(self._host, span, design, retry, mode)
        with self._host.pcp.disabled(zone):
            errno, obstacles = self._leave(block, zone, loop)
        if errno is Errno.OK:
            self._resizer.leave(span, zone, self._gone[block].nr_pages)
            self.notifiers.notify(MemoryAction.OFFLINE, block)
        elapsed_ns = self._host.clock.now_ns - started_ns
        loop.report.errno, loop.report.elapsed_ns = errno, elapsed_ns
        return OfflineResult(errno, block, span, loop.report, obstacles, loop.nr_rounds, zone.kind)

    def _make_space(self, span: Span, design: Design, mode: Mode) -> None:
        """Reclaim what is short beforehand: what is isolated to move is out of reclaim's reach."""
        look = look_at_block(self._host, span, design, mode)
        nr_moves = nr_small_moves(self._host, span, design, mode) if look is None else look.nr_moves
        if (short := nr_short(self._host, span, nr_moves)) > 0:
            self._host.planned.reclaim(short)

    def _leave(self, block: int, zone: Zone, loop: OfflineLoop) -> tuple[Errno, Obstacles]:
        """Isolate, ask, empty, forget; if it comes to nothing, let allocations in again."""
        span, evacuator = loop.span, self._host.evacuator
        found = evacuator.isolate(span, loop.design, mode=loop.mode, offline=True)
        if not found:
            return found.errno, self._explain(np.array([found.pfn]), loop.design, loop.mode)
        agreed = False
        try:
            errno = self.notifiers.ask(
                MemoryAction.GOING_OFFLINE, MemoryAction.CANCEL_OFFLINE, block
            )
            agreed = errno is Errno.OK
            if not agreed:
                return errno, NO_OBSTACLES
            errno = loop.run()
            if errno is not Errno.OK:
                return errno, self._explain(loop.report.left, loop.design, loop.mode)
            self._forgetter.require_unknown(span)
            self._note_managed()
            self._gone[block] = _Gone(zone, self._forgetter.forget(span))
            self.blocks.set_state(block, BlockState.OFFLINE)
            self._host.compaction.reset_isolation_suitable(zone)
        finally:
            if block not in self._gone:
                evacuator.undo(span)
                if agreed:
                    self.notifiers.notify(MemoryAction.CANCEL_OFFLINE, block)
        return Errno.OK, NO_OBSTACLES

    def _explain(self, stuck: Pfns, design: Design, mode: Mode) -> Obstacles:
        return find_obstacles(
            self._host.frames, self._host.mover, design, stuck, mode, unkept=LEFT_BEHIND
        )

    def refusal(self, block: int) -> Errno:
        """EINVAL for memory that may not go, whatever is in it: not online, holes, two zones.

        Raises:
            PfnError: there is no such block.
        """
        span = self.blocks.span(block)
        if self.blocks.state(block) is not BlockState.ONLINE:
            return Errno.EINVAL
        is_cut_off = span.stop > self._host.frames.nr_frames  # whatever is said of RAM there
        if is_cut_off or self.blocks.nr_ram_pages(span) != span.nr_pages:
            return Errno.EINVAL
        in_block = self._host.pageblocks.blocks_of_span(span)
        zones = np.unique(self._host.buddy.area.zone_of_block[in_block.start : in_block.stop])
        return Errno.OK if len(zones) == 1 and zones[0] >= 0 else Errno.EINVAL

    # Foresight.

    def verdict(self, block: int, design: Design, mode: Mode = Mode.SYNC) -> OfflineVerdict:
        """Whether a memory block can go; nothing is isolated, nothing moves.

        A frame with references that nobody accounts for is in the way: whoever has them may
        keep them for ever.  What only trying can tell is in the verdict, too: it is `certain`,
        or goes if compaction makes a huge page for one in use, or if there is room when it is
        wanted, from reclaim or per-CPU lists.

        Args:
            block: number of the memory block.
            design: what is done with frames that mm cannot move by itself.
            mode: how long to wait for one frame.

        Raises:
            PfnError: there is no such block.

        Context: drains per-CPU lists and batches of pins.
        Cost: one look at every frame of the block, counted as scanned; at every frame of the
            machine too where huge pages are in it, or room elsewhere is short.
        """
        block = self.blocks.row_of(block)
        span = self.blocks.span(block)
        errno = self.refusal(block)
        if errno is not Errno.OK:
            return OfflineVerdict(errno, block, 0, 0, NO_OBSTACLES)
        look = look_at_block(self._host, span, design, mode)
        if look is not None:
            if len(look.stuck):
                in_the_way = self._explain(look.stuck, design, mode)
                return OfflineVerdict(Errno.EBUSY, block, look.nr_moves, 0, in_the_way)
            if (short := nr_short(self._host, span, look.nr_moves)) <= 0:
                moves, callbacks = np.array([look.nr_moves]), np.array([look.nr_callbacks])
                modelled_ns = int(evacuation_ns(self._host.costs, moves, callbacks)[0])
                kept_back = nr_kept_back(self._host, span) if look.nr_moves else 0
                return OfflineVerdict(
                    Errno.OK, block, look.nr_moves, modelled_ns, NO_OBSTACLES,
                    needs_space=short + kept_back > 0,
                )  # fmt: skip
        return self._verdict_of_all(block, span, design, mode)

    def _verdict_of_all(self, block: int, span: Span, design: Design, mode: Mode) -> OfflineVerdict:
        """As memory is now; where that is not enough, as it might be."""
        planner = self._planner_of(np.array([span.start]), design, mode)
        plan = planner.plan(with_bound=False)
        outcome, nr_moves = plan.outcome_of(span.start), plan.moves_of(span.start)
        if outcome is RangeOutcome.STUCK:
            in_the_way = self._explain(plan.in_the_way(span).pfns, design, mode)
            return OfflineVerdict(Errno.EBUSY, block, nr_moves, 0, in_the_way)
        known = planner.certain()
        if outcome is not RangeOutcome.CHOSEN and not planner.goes()[0]:
            return OfflineVerdict(Errno.ENOMEM, block, nr_moves, 0, NO_OBSTACLES)
        return OfflineVerdict(
            Errno.OK, block, nr_moves, plan.ns_of(span.start), NO_OBSTACLES,
            needs_huge_page=not known.has_huge_pages[0], needs_space=not known.has_space[0],
        )  # fmt: skip

    def cheapest(
        self, design: Design, *, want: int | None = 1, mode: Mode = Mode.SYNC
    ) -> RangePlan:
        """Which memory blocks to take offline, where it may be any: those with the fewest moves.

        `spans` of the plan are blocks that go together for certain if they are taken by plan in
        that order: those of other zones first, for what leaves ZONE_MOVABLE may fill these, and
        of each kind the cheapest first.  `bound` is the most that could be away at once, if
        reclaim gave all that it can, and compaction a huge page for each in use; with huge pages
        in use in more than a dozen blocks it may be more than anybody gets.  `in_the_way` says
        why one is not.

        Args:
            design: what is done with frames that mm cannot move by itself.
            want: how many; None: as many as go for certain.
            mode: how long to wait for one frame.

        Raises:
            PinpageError: a negative `want`.

        Context as for `verdict`.  Cost: two looks at every frame of the machine.
        """
        return self.planner(design, mode).plan(want)

    def removable(
        self, design: Design, mode: Mode = Mode.SYNC, *, for_certain: bool = False
    ) -> list[int]:
        """The memory blocks of which each, taken alone, could go; ascending.

        Args:
            design: what is done with frames that mm cannot move by itself.
            mode: how long to wait for one frame.
            for_certain: only those that go for certain.

        Context as for `verdict`.  Cost: one look at every frame of the machine, two if not
            `for_certain`.
        """
        planner = self.planner(design, mode)
        goes = planner.certain().goes if for_certain else planner.goes()
        goes &= planner.plan(with_bound=False).is_clear
        return [self.blocks.block_of(start) for start in planner.starts[goes].tolist()]

    def planner(self, design: Design, mode: Mode = Mode.SYNC) -> BlockPlanner:
        """For whoever asks several questions about all memory blocks of this moment.

        Args:
            design: what is done with frames that mm cannot move by itself.
            mode: how long to wait for one frame.
        """
        return self._planner_of(self._candidates(), design, mode)

    def _planner_of(self, starts: Pfns, design: Design, mode: Mode) -> BlockPlanner:
        kept = self._resizer.min_nr_pages
        return BlockPlanner(
            self._host, starts, self.blocks.nr_pages, design, mode, min_nr_pages=kept
        )

    def _candidates(self) -> Pfns:
        """First pfns of the blocks that may go at all."""
        may = [block for block in self.blocks.online() if self.refusal(block) is Errno.OK]
        return np.array([self.blocks.span(block).start for block in may], dtype=np.int64)

    # Back.

    def online(self, block: int, *, kind: OnlineKind = "kernel") -> Errno:
        """Bring a memory block online, as free memory that is used after all other.

        Args:
            block: its number.
            kind: "kernel": the zone that it was in; "movable": ZONE_MOVABLE of its node, which
                takes no pins for long and no kernel pages.

        Returns:
            OK; EINVAL: it is not offline; else what a notifier answered, and it stays offline.

        Raises:
            PinpageError: no such block or kind.
        """
        one_of(("kernel", "movable"), "online", kind=kind)
        block = self.blocks.row_of(block)
        if self.blocks.state(block) is not BlockState.OFFLINE:
            return Errno.EINVAL
        errno = self.notifiers.ask(MemoryAction.GOING_ONLINE, MemoryAction.CANCEL_ONLINE, block)
        if errno is not Errno.OK:
            return errno
        span, gone = self.blocks.span(block), self._gone[block]
        zone = self._zone_to_join(span, gone.zone, kind)
        del self._gone[block]
        self._nr_managed += span.nr_pages - gone.nr_pages  # (poisoned frames come back too)
        self._resizer.join(span, zone, span.nr_pages)
        self._forgetter.put_back(span)
        self.blocks.set_state(block, BlockState.ONLINE)
        self._host.compaction.reset_isolation_suitable(zone)
        self.notifiers.notify(MemoryAction.ONLINE, block)
        return Errno.OK

    def _zone_to_join(self, span: Span, home: Zone, kind: OnlineKind) -> Zone:
        """Home if it is of that kind; else the node's zone of that kind, made if there is none."""
        wants_movable = kind == "movable"
        if (home.kind is ZoneKind.MOVABLE) == wants_movable:
            return home
        zone = zone_for(self._host.zones, home.node, span, movable=wants_movable)
        if zone is None:
            name = "Movable" if wants_movable else "Normal"
            empty = Span(span.start, span.start)
            zone = Zone(len(self._host.zones), name, home.node, empty, 0)
            self._host.add_zone(zone)
        return zone

    def add(self, block: int, *, node: int = 0) -> Errno:
        """Plug memory in where there is none: the block is offline then (add_memory).

        Returns:
            OK, or EEXIST: there is memory already.

        Args:
            block: its number.
            node: the NUMA node that it belongs to.

        Raises:
            PinpageError: no such block, it reaches beyond the machine, or no such node.
        """
        block = self.blocks.row_of(block)
        (node,) = whole("memory block", node=node)
        span = self.blocks.span(block)
        if self.blocks.state(block) is not BlockState.ABSENT:
            return Errno.EEXIST
        if span.stop > self._host.frames.nr_frames:
            raise PinpageError(f"memory block {block} reaches beyond the machine's frames")
        home = zone_for(self._host.zones, node, span, movable=False)
        if home is None:
            raise PinpageError(f"memory block {block}: node {node} has no zone for it")
        self._note_managed()
        self._gone[block] = _Gone(home, 0)
        self.blocks.add_ram(span)
        self.blocks.set_state(block, BlockState.OFFLINE)
        self._resizer.leave(span, home, 0)
        return Errno.OK

    def remove(self, block: int) -> Errno:
        """Unplug memory that is offline (try_remove_memory).

        Returns:
            OK; EBUSY: it is online; EINVAL: there is none.

        Raises:
            PfnError: there is no such block.
        """
        block = self.blocks.row_of(block)
        state = self.blocks.state(block)
        if state is not BlockState.OFFLINE:
            return Errno.EBUSY if state is BlockState.ONLINE else Errno.EINVAL
        self._nr_managed -= self._gone.pop(block).nr_pages
        self.blocks.remove_ram(self.blocks.span(block))
        self.blocks.set_state(block, BlockState.ABSENT)
        return Errno.OK

    # Inside.

    def _zone_of(self, span: Span) -> Zone:
        return self._host.zones[self._host.frames.zone.item(span.start)]

    def _note_managed(self) -> None:
        """Before the first change: what there is."""
        if self._nr_managed < 0:
            self._nr_managed = sum(zone.managed_nr_pages for zone in self._host.zones)

    def check(self) -> None:
        """Run HP1 to HP3, and those of the memory blocks; free before anything was hot-plugged.

        Raises:
            InvariantError: one does not hold.
        """
        self.blocks.check()
        for block in self._gone:
            span = self.blocks.span(block)
            self._forgetter.require_unknown(span)
            rows = self._host.pageblocks.blocks_of_span(span)
            zones = self._host.buddy.area.zone_of_block[rows.start : rows.stop]
            types = self._host.pageblocks.migratetype[rows.start : rows.stop]
            without_zone = (zones < 0).all() and (types != MigrateType.ISOLATE).all()
            require(bool(without_zone), "HP3 memory that is gone has a zone", block=block)
        if self._nr_managed >= 0:
            managed = sum(zone.managed_nr_pages for zone in self._host.zones)
            managed += sum(gone.nr_pages for gone in self._gone.values())
            require(managed == self._nr_managed, "HP2 pages got lost", managed=managed)


def _require_sense(retry: RetryPolicy, strategy: Strategy) -> None:
    if not retry.can_end:
        raise PinpageError("offline: retry=: nothing ends it: give timeout_ns or a signal")
    one_of(("scan", "plan"), "offline", strategy=strategy)
