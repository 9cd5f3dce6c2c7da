"""One machine: memory, the policies over it, and the design in force.

This is what scripts hold.  It wires the parts and owns no logic of its own: each policy
gets the state that it needs, and `check` and `digest` speak for the whole.
"""

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Literal, Protocol, Self

import numpy as np
from attrs import define

from mm.allocator.kswapd import Kswapd
from mm.allocator.page_alloc import PageAllocator
from mm.buddy.buddy import Buddy
from mm.buddy.pcp import PerCpuPages
from mm.compaction.compact_control import CompactControl, CompactReport
from mm.compaction.compaction import Compaction
from mm.compaction.kcompactd import Kcompactd
from mm.contig.cma import Cma
from mm.contig.contig import Contig
from mm.contig.evacuate import Evacuator
from mm.contig.range_walk import Parts
from mm.hotplug.memory_hotplug import MemoryHotplug
from mm.hugetlb.evict import HugeEvictor
from mm.hugetlb.hugetlb import BuddySource, HugePool
from mm.hugetlb.sizes import HugeSizes
from mm.move.design import Design, RegistryDesign, Strategy, Unmovable
from mm.move.move import Mover
from mm.paging.memory import ProcessMemory
from mm.paging.paging import Paging, no_wait
from mm.paging.swap_core import SwapCore
from mm.paging.vmscan import Reclaimer
from mm.planning.blocks import Plan
from mm.planning.execute import PlannedCompaction
from mm.power.power import PowerManagement
from mm.state.contents import ArenaContents, Contents, TagContents
from mm.state.costs import CostModel, Counters, Meter, SimClock
from mm.state.frames import Frames, FrameState, PageFlag
from mm.state.gfp import Gfp
from mm.state.lru import Lru
from mm.state.nodes import Zone, place_frames, zones_for
from mm.state.page_ref import Refs
from mm.state.pageblock import MAX_PAGEBLOCK_ORDER, Pageblocks
from mm.state.rmap import Rmap
from mm.swap.swap import Swap
from pinpage.errors import PinpageError, at_least, one_of, whole, within
from pinpage.owner import Mode
from pinpage.registry import DEFAULT_BATCH_NR_PINS, PinRegistry
from pinpage.topology import Topology
from pinpage.units import PAGE_SIZE, PAGEBLOCK_NR_PAGES, PAGEBLOCK_ORDER, Span

__all__ = ["Compacted", "Machine"]


class _Checked(Protocol):
    def check(self) -> None: ...


@define
class Compacted:
    """What compacting the machine came to.

    Attributes:
        report: counts over all zones.
        bound: the most wholly free pageblocks that any strategy can reach from the state
            before, with what this design can move; -1 for a scan that was not asked for it.
        plan: the plan, under strategy `plan`.
        elapsed_ns: simulated time.
    """

    report: CompactReport
    bound: int
    plan: Plan | None
    elapsed_ns: int


class Machine:
    """Memory with everything that acts on it.

    Attributes:
        frames, pageblocks, zones, contents: the columns.
        buddy, pcp, rmap, lru, swap, refs: the state over them.
        mover, compaction, planned, allocator, hugetlb, evacuator, power, hotplug: the policies.
        paging, memory, swap_core: the process side: what faults and unuse share, processes,
            and what a compressed cache asks of swap.
        design: how frames are treated that mm cannot move by itself; may be replaced.
        reclaimer, kcompactd, kswapd: who frees and compacts: on an allocation's behalf, per node,
            and beside the allocations once `start_daemons` was called (else None).
        registry: who pins what, under a registry design; else None.
        counters, costs, clock: what was done, what that costs, and the time it is.
    """

    def __init__(
        self,
        frames: Frames,
        pageblocks: Pageblocks,
        zones: Sequence[Zone],
        contents: Contents,
        *,
        nr_cpus: int = 2,
        costs: CostModel | None = None,
    ) -> None:
        """Wire a machine over columns that say which frames are free; builds the free lists.

        Args:
            frames: the columns, one row per frame.
            pageblocks: the types of the pageblocks.
            zones: the zones, by `Frames.zone`.
            contents: real bytes ("arena"), or a tag for each frame ("tags").
            nr_cpus: CPUs of the machine.
            costs: what things cost in simulated time; None: the usual, for pages of this size.

        Raises:
            PinpageError: frames and contents differ in the size of a page.
        """
        if frames.page_nr_bytes != contents.page_nr_bytes:
            raise PinpageError(
                f"machine: frames of {frames.page_nr_bytes} bytes with contents of "
                f"{contents.page_nr_bytes}: make both of one size"
            )
        self.frames = frames
        self.pageblocks = pageblocks
        self.zones = tuple(zones)
        self.contents = contents
        self.costs = costs or CostModel().for_pages_of(frames.page_nr_bytes)
        self.counters = Counters()
        self.clock = SimClock()
        self._absorbed = Counters()
        self._beside = Counters()
        self.kswapd: Kswapd | None = None
        self.design: Design = Unmovable()
        self.registry: PinRegistry | None = None
        self.buddy = Buddy(frames, pageblocks, self.zones)
        self.buddy.build()
        self.pcp = PerCpuPages(self.buddy, nr_cpus=nr_cpus)
        self.rmap = Rmap(frames)
        self.lru = Lru(frames)
        self.swap = Swap(frames, self.rmap)
        self.refs = Refs(frames, self.lru, self.pcp.free, self.counters)
        self.mover = Mover(
            frames, contents, self.buddy, self.rmap, self.lru, self.swap.cache, self.refs,
            counters=self.counters,
        )  # fmt: skip
        parts = (frames, pageblocks, self.buddy, self.mover, self.counters)
        self.compaction = Compaction(*parts)
        self.planned = PlannedCompaction(*parts)
        self.allocator = PageAllocator(
            self.zones, self.buddy, self.pcp, self.compaction, self.counters, lambda: self.design
        )
        self.hugetlb = HugePool(frames, self.buddy, BuddySource(self.buddy, self.allocator))
        self.paging = Paging(
            self, self.refs, self.rmap, self.lru, self.swap,
            wait=self._wait_for_io, cond_resched=self.catch_up,
        )  # fmt: skip
        self.memory = ProcessMemory(self.paging)
        self.swap_core = SwapCore(self.paging)
        self.reclaimer = Reclaimer(self.paging)
        self.allocator.reclaim = self._reclaim
        self.allocator.reclaimable = self._nr_reclaimable
        self.mover.wait_on_page = self.paging.wait_on_page
        self._wire_consumers()

    def _wire_consumers(self) -> None:
        """Those who need memory moved, over the one engine that empties ranges."""
        meter = self._meter = Meter(self.counted, self.costs, self.clock, self.catch_up)
        ours = (self.buddy, self.pcp, self.rmap, self.lru, self.mover, self.counters, meter)
        huge = HugeEvictor(
            self.frames, self.pageblocks, self.contents, self.counters, [self.hugetlb]
        )
        self.allocator.meter = meter
        self.evacuator = Evacuator(Parts(*ours, hugetlb=huge), self.allocator.alloc_pages)
        self.contig = Contig(self.evacuator)
        self.planned.could_free = self.reclaimer.could_free
        self.planned.give_up = self.reclaimer.give_up
        self.planned.reclaim = self._reclaim_to_free_lists
        self.planned.could_leave = huge.could_leave
        self.cma = Cma(self.contig, lambda: self.design, self.planned)
        self.hugetlbs = HugeSizes(
            self.hugetlb, huge, self.contig, self.planned, lambda: self.zones, lambda: self.design
        )
        self.refs.on_huge_put = self.hugetlbs.on_put
        self.power = PowerManagement(
            Parts(*ours), self.evacuator, self.planned, lambda: self.zones, self.costs
        )
        self.hotplug = MemoryHotplug(self)
        self.kcompactd = self._kcompactds()

    def _kcompactds(self) -> dict[int, Kcompactd]:
        """The compaction daemon of each node."""
        return {
            node: Kcompactd(
                node, lambda: self.zones, self.buddy, self.pcp, self.compaction,
                self.allocator.deferral, lambda: self.design,
            )
            for node in sorted({zone.node for zone in self.zones})
        }  # fmt: skip

    @classmethod
    def build(
        cls,
        *,
        nr_pages: int,
        nr_nodes: int = 1,
        contents: Literal["arena", "tags"] = "arena",
        nr_cpus: int = 2,
        page_nr_bytes: int = PAGE_SIZE,
        pageblock_order: int = PAGEBLOCK_ORDER,
        max_order: int | None = None,
    ) -> Self:
        """A machine of `nr_pages` free frames, one Normal zone per node.

        Args:
            nr_pages: frames, a multiple of a pageblock.
            nr_nodes: nodes, alike in size.
            contents: real bytes ("arena"), or a tag for each frame ("tags").
            nr_cpus: CPUs of the machine.
            page_nr_bytes: bytes in a page.
            pageblock_order: log2 of the pages in a pageblock.
            max_order: order of the largest free block; None: the usual one.

        Raises:
            PinpageError: not a positive multiple of a pageblock, or less than one per node; no
                such contents; sizes of pages or blocks that no machine has.

        >>> Machine.build(nr_pages=1024, contents="tags").buddy.nr_free()
        1024
        """
        one_of(("arena", "tags"), "machine", contents=contents)
        nr_nodes, nr_cpus = at_least(1, "machine", nr_nodes=nr_nodes, nr_cpus=nr_cpus)
        (nr_pages,) = whole("machine", nr_pages=nr_pages)
        (pageblock_order,) = within(
            MAX_PAGEBLOCK_ORDER + 1, "machine", pageblock_order=pageblock_order
        )
        size = 1 << pageblock_order
        if nr_pages < 1 or nr_pages % size:
            raise PinpageError(
                f"machine: nr_pages={nr_pages} is not a multiple of a pageblock: "
                f"give a multiple of {size}"
            )
        frames = Frames(nr_pages, page_nr_bytes)
        frames.state[:] = FrameState.FREE
        page_nr_bytes = frames.page_nr_bytes
        zones = zones_for(nr_pages, nr_nodes, nr_pages_per_block=size, page_nr_bytes=page_nr_bytes)
        place_frames(frames, zones)
        make = ArenaContents if contents == "arena" else TagContents
        return cls(
            frames,
            Pageblocks(nr_pages, size, max_order),
            zones,
            make(nr_pages, page_nr_bytes),
            nr_cpus=nr_cpus,
        )

    def use_registry(self, *, batch_nr_pins: int = DEFAULT_BATCH_NR_PINS) -> PinRegistry:
        """Put the registry design in force; returns its registry, in which owners register.

        Raises:
            PinpageError: there is one in force, with pins: they would be forgotten.
        """
        if self.registry is not None and len(self.registry):
            raise PinpageError(f"use_registry: {len(self.registry)} pins stand: go on with it")
        spans = tuple(_node_spans(self.zones, self.frames.nr_frames))
        self.registry = PinRegistry(Topology(spans), batch_nr_pins=batch_nr_pins)
        self.design = RegistryDesign(self.registry, self.mover)
        return self.registry

    def add_zone(self, zone: Zone) -> None:
        """One zone more, without memory, known to all who look at zones; its index is the next."""
        self.buddy.add_zone(zone)
        self.zones = (*self.zones, zone)
        self.pcp.add_zone(zone)
        self.allocator.add_zone(zone)

    # mm.buddy.page_source.PageSource

    def alloc_page(self, gfp: Gfp) -> int:
        """One frame with one reference, or -1."""
        return self.allocator.alloc_pages(0, gfp)

    def alloc_pages(self, order: int, gfp: Gfp) -> int:
        """One block of 2^order frames: its head, or -1 (-ENOMEM).

        Args:
            order: log2 of the pages wanted.
            gfp: what the caller allows.
        """
        return self.allocator.alloc_pages(order, gfp)

    def free_page(self, pfn: int) -> None:
        """Drop the last reference and free.

        Raises:
            PinpageError: it is not allocated, or others hold references too.
        """
        (pfn,) = within(self.frames.nr_frames, "free_page", pfn=pfn)
        if self.frames.state[pfn] != FrameState.USED or self.frames.refcount[pfn] != 1:
            raise PinpageError(
                f"free_page: pfn {pfn:#x} has {self.frames.refcount[pfn]} references, not 1"
            )
        self.put_page(pfn)

    def get_page(self, pfn: int) -> None:
        """One reference more.

        Raises:
            PinpageError: nobody holds the frame, or it is frozen for a move.
        """
        (pfn,) = within(self.frames.nr_frames, "get_page", pfn=pfn)
        if not self.refs.get_page(pfn):
            raise PinpageError(f"get_page: pfn {pfn:#x} is free or frozen")

    def put_page(self, pfn: int) -> bool:
        """One reference less; True when that was the last one and the frame is free now."""
        (pfn,) = within(self.frames.nr_frames, "put_page", pfn=pfn)
        return self.refs.put_page(pfn)

    def _reclaim(self, nr_pages: int) -> int:
        """Direct reclaim for the allocator: pages that were off, or that it freed."""
        return self.power.relieve(nr_pages) or self.reclaimer.shrink(nr_pages)

    def _reclaim_to_free_lists(self, nr_pages: int) -> int:
        nr_freed = self._reclaim(nr_pages)
        self.pcp.drain_all()
        return nr_freed

    def _nr_reclaimable(self) -> int:
        self.reclaimer.count()
        return self.power.nr_pages_off + self.reclaimer.nr_reclaimable()

    def start_daemons(self) -> Kswapd:
        """Run background reclaim and compaction beside the allocations; until then neither does.

        Returns:
            The one that reclaims, for its counts; `kcompactd` holds one of the other per node.
        """
        if self.kswapd is None:
            self.kswapd = Kswapd(
                lambda: self.zones, self.buddy, self.reclaimer, self.compaction,
                tuple(self.kcompactd.values()), self._counted_by_all, self.costs,
            )  # fmt: skip
            self.allocator.background = self.kswapd
            self.reclaimer.count()
        return self.kswapd

    # What users of memory ask for.

    def bound(
        self, mode: Mode = Mode.SYNC, *, node: int | None = None, with_reclaim: bool = False
    ) -> int:
        """The most pageblocks that any strategy can have wholly free, under this design.

        Args:
            mode: how long to wait.
            node: only that node's; None: anywhere.
            with_reclaim: whether what can be given up may be; else by moving alone.
        """
        census, _ = self.planned.census(
            self.design, mode, with_released=True, as_reclaimed=with_reclaim
        )
        return census.bound(self.zones_of(node))

    def zones_of(self, node: int | None) -> list[int]:
        """The numbers of a node's zones; None: of all zones."""
        return [zone.index for zone in self.zones if node in (None, zone.node)]

    def compact(
        self,
        strategy: Strategy = "scan",
        mode: Mode = Mode.SYNC,
        node: int | None = None,
        *,
        with_bound: bool = True,
    ) -> Compacted:
        """Compact all memory, as `echo 1 > /proc/sys/vm/compact_memory` asks for.

        Args:
            strategy: "scan", the kernel's two scanners; or "plan".
            mode: how long to wait.
            node: only that node's zones, as a write to its own file in sysfs; a plan is for all.
            with_bound: whether a scan, too, says what was possible; that takes a census.

        Raises:
            PinpageError: no such strategy or node, or a plan for one node.
        """
        one_of(("scan", "plan"), "compact", strategy=strategy)
        if node is not None:
            (node,) = whole("compact", node=node)
        if node is not None and (strategy == "plan" or node not in self.kcompactd):
            raise PinpageError(
                f"compact: node={node} by {strategy}: "
                f"scan one of the nodes {tuple(self.kcompactd)}, or plan for all"
            )
        started_ns = self._meter.start()
        elsewhere = self._counted_elsewhere()
        self.pcp.drain_all()
        if strategy == "plan":
            report, made = self.planned.compact(
                self.design, mode=mode, between_blocks=self._meter.cond_resched
            )
            compacted = Compacted(report, made.bound, made, 0)
        else:
            bound = self.bound(mode) if with_bound else -1
            compacted = Compacted(CompactReport(), bound, None, 0)
            for zone in (z for z in self.zones if node in (None, z.node)):
                control = CompactControl(zone, mode, stop=self._let_others_run)
                compacted.report.add(self.compaction.compact_zone(control, self.design))
        absorbed = self._counted_elsewhere().since(elsewhere)
        self.counters.add(absorbed)
        self._absorbed.add(absorbed)
        compacted.elapsed_ns = self._meter.lap() - started_ns
        # After the counting: what it costs to name the holders is no work of the request.
        holders = partial(self.design.holders, self.frames.nr_frames)
        compacted.report.count_refusals(holders, self.mover.has_home)
        return compacted

    def counted(self) -> Counters:
        """Everything done so far, wherever it is counted; to subtract under one design.

        What the daemons did beside it is theirs (`Kswapd.done`), and so is what others did while
        somebody let them go on (`catch_up`).
        """
        total = self._counted_by_all().since(self._beside)
        return total if self.kswapd is None else total.since(self.kswapd.done)

    # Time.

    def catch_up(self) -> None:
        """Let happen what is due by now: devices, timers, processes that are planned.

        Whoever is under way calls it, through `Meter.cond_resched`, where no move is; what the
        others do then is not counted as his.
        """
        due_ns = self.clock.next_ns()
        if due_ns is not None and due_ns <= self.clock.now_ns:
            self.sleep(0)

    def sleep(self, ns: int) -> None:
        """Let `ns` pass, and happen whatever is due meanwhile; none of it counts as the caller's.

        Raises:
            PinpageError: time runs backwards, or is not whole nanoseconds.
        """
        (ns,) = at_least(0, "sleep", ns=ns)
        with self._others():
            self.clock.run_until(self.clock.now_ns + ns)

    @contextmanager
    def _others(self) -> Iterator[None]:
        """What is done inside counts as others'."""
        before = self.counted()
        try:
            yield
        finally:
            self._beside.add(self.counted().since(before))

    def _wait_for_io(self, pfn: int, flag: PageFlag) -> None:
        """Let time pass until the next interrupt; in the middle of a move no process goes on."""
        with self._others():
            happened = self.clock.step(interrupts_only=True)
        if not happened:
            no_wait(pfn, flag)

    def _let_others_run(self) -> bool:
        """Between two pageblocks of a compaction; never a reason to stop."""
        self._meter.cond_resched()
        return False

    def _counted_by_all(self) -> Counters:
        """The daemons' work included."""
        total = self.counters.copy()
        total.add(self._counted_elsewhere().since(self._absorbed))
        return total

    def _counted_elsewhere(self) -> Counters:
        """What the parts count for themselves, as it stands."""
        areas = self.swap.areas.values()
        return Counters(
            lock_acquisitions=self.buddy.lock_acquisitions + self.design.lock_acquisitions,
            callbacks=self.design.nr_callbacks,
            pages_compressed=sum(area.nr_stored for area in areas),
            pages_decompressed=sum(area.nr_loaded for area in areas),
            ptes_rewritten=self.paging.nr_ptes_unused,
        )

    # The whole.

    def check(self) -> None:
        """Run every numbered invariant of every part.

        Raises:
            InvariantError: one does not hold.
        """
        parts: tuple[_Checked, ...] = (
            self.frames, self.pageblocks, self.buddy, self.pcp, self.lru, self.rmap, self.swap,
            self.mover, self.hugetlbs, self.cma, self.power, self.hotplug, self.refs.folios,
            self.reclaimer,
            *self.zones,
        )  # fmt: skip
        for part in parts:
            part.check()
        if self.registry is not None:
            self.registry.check()

    def digest(self) -> str:
        """32 hex digits of everything that a run can change; equal runs, equal digests."""
        frames, found = self.frames, hashlib.blake2b(digest_size=16)
        used = np.flatnonzero(frames.state == FrameState.USED)
        columns = (
            frames.state, frames.order, frames.flags, frames.refcount, frames.mapcount,
            self.pageblocks.migratetype, self.rmap.first_mm, self.rmap.first_vpn,
            self.contents.tags(used),
        )  # fmt: skip
        for column in columns:
            found.update(column.tobytes())
        found.update(self.clock.now_ns.to_bytes(8, "little"))
        return found.hexdigest()


def _node_spans(zones: Sequence[Zone], nr_frames: int) -> list[Span]:
    """One span per node, without gaps, from the zones' nodes.

    The registry has a lock for every node, and leaves of a fixed size: one that two nodes share,
    where pageblocks are smaller, goes to the later.
    """
    leaf = PAGEBLOCK_NR_PAGES
    firsts = {min(z.span.start for z in zones if z.node == zone.node) for zone in zones}
    starts = [first // leaf * leaf for first in sorted(firsts)]
    borders = [0, *starts[1:], nr_frames]
    return [Span(a, b) for a, b in itertools.pairwise(borders)]
