"""Emptying a range: the one engine under CMA, hot-remove, gigantic pages and power regions.

    isolate    mark the range's pageblocks, drain the per-CPU lists
    evacuate   batch by batch: drop clean page cache, release, migrate; try again what failed
    undo       let allocations in again

Two ways to try again.  Contiguous allocation tries each batch five times, ten passes each,
and then gives up; hot-remove goes over the whole range again and again until it is empty,
somebody signals, or, in our bounded form, a simulated time is over.

Before each try others go on, as far as time has come (`Meter.cond_resched`): a device that is
done lets its pages go, and the try that follows may succeed.

Invariants (required as it runs):
    EV1 only an isolated range is evacuated: else it would fill again behind the scanner.
    EV2 no target lies in the range (`mm.contig.evacuate`).

Kernel counterparts: __alloc_contig_migrate_range() in mm/page_alloc.c, and the inner loop of
offline_pages() in mm/memory_hotplug.c.
"""

from collections.abc import Callable
from functools import partial
from typing import Protocol

import numpy as np

from mm.buddy.pcp import PerCpuPages
from mm.contig.page_isolation import (
    Isolation,
    has_unmovable_pages,
    start_isolate_page_range,
    undo_isolate_page_range,
)
from mm.contig.range_walk import Parts, RangeWalk
from mm.contig.retry import EvacuationReport, RetryPolicy
from mm.move.design import Answer, Design
from mm.move.move import COMPACT_CLUSTER_MAX
from mm.state.errno import Errno
from mm.state.frames import Frames, FrameState
from mm.state.gfp import Gfp
from mm.state.nodes import Zone, ZoneKind
from mm.state.pageblock import MigrateType
from pinpage.errors import PinpageError, require
from pinpage.move.steps import TargetSource
from pinpage.owner import Mode
from pinpage.units import Mask, Pfns, Span

__all__ = ["MIGRATION_GFP", "AllocPages", "AllocatedTargets", "Evacuator"]

MIGRATION_GFP = Gfp.USER | Gfp.MOVABLE | Gfp.RETRY_MAYFAIL | Gfp.NOWARN
"""What such a page is asked for with; pages of ZONE_MOVABLE may go there again (HIGHMEM)."""


class AllocatedTargets:
    """A `pinpage.migrate.TargetSource`: one allocation per page, none of them in the range.

    The range is isolated, so the allocator cannot give out its frames; a frame of it would
    mean that the range is filled while it is being emptied (required by `take`).
    """

    def __init__(
        self,
        alloc_page: Callable[[Gfp], int],
        frames: Frames,
        pcp: PerCpuPages,
        span: Span,
        gfp: Gfp = MIGRATION_GFP,
    ) -> None:
        """Allocate with `alloc_page`, for pages of `span`.

        Args:
            alloc_page: gives one frame for these flags, or -1.
            frames: the columns, one row per frame.
            pcp: the per-CPU lists.
            span: the range that is emptied: no target lies in it.
            gfp: what the caller allows.
        """
        self._alloc_page = alloc_page
        self._frames = frames
        self._pcp = pcp
        self._span = span
        self._gfp = gfp

    def take(self, count: int) -> Pfns:
        """Up to `count` frames, TAKEN; fewer when there is no memory (-ENOMEM)."""
        found: list[int] = []
        try:
            while len(found) < count and (pfn := self._alloc_page(self._gfp)) >= 0:
                require(pfn not in self._span, "a target in the range that is emptied", pfn=pfn)
                found.append(pfn)
        except BaseException:  # reclaim calls others back, and may be interrupted in them
            self.give_back(np.array(found, dtype=np.int64))
            raise
        pfns = np.array(found, dtype=np.int64)
        self._frames.state[pfns] = FrameState.TAKEN
        return pfns

    def give_back(self, pfns: Pfns) -> None:
        """Free what was not used."""
        for pfn in pfns.tolist():
            self._pcp.free(pfn)


class AllocPages(Protocol):
    """The page allocator, as far as an evacuation needs it."""

    def __call__(self, order: int, gfp: Gfp, node: int | None) -> int:
        """A block of 2^order frames of that node, or of any: its head, or -1."""


class Evacuator:
    """Empties isolated ranges.

    Attributes:
        parts: the state; whoever looks after huge pages sets `parts.hugetlb`.
    """

    def __init__(self, parts: Parts, alloc_pages: AllocPages) -> None:
        """Borrow the state; `alloc_pages` gives destinations.

        Args:
            parts: the state that is worked on.
            alloc_pages: gives destinations.
        """
        self.parts = parts
        self._buddy = parts.buddy
        self._alloc_pages = alloc_pages

    # The range.

    def isolate(
        self,
        span: Span,
        design: Design,
        *,
        mode: Mode = Mode.SYNC,
        for_cma: bool = False,
        offline: bool = False,
    ) -> Isolation:
        """Mark every pageblock of the span ISOLATE, or none; then drain the per-CPU lists.

        Used frames off the LRU are the design's to judge.  That is a first look: what passes
        may still refuse when its turn comes.

        Args:
            span: rounded out to pageblocks.
            design: asked about frames that mm cannot move by itself.
            mode: handed to the design.
            for_cma: CMA blocks are fine, without looking into them.
            offline: poisoned and offline frames are fine.

        Raises:
            PinpageError: the span is empty or leaves the machine.
        """
        self.parts.meter.start()
        has_unmovable = partial(
            has_unmovable_pages,
            self._buddy,
            movable_ops=partial(self._has_way_out, design, mode),
            for_cma=for_cma,
            offline=offline,
        )
        found = start_isolate_page_range(self._buddy, span, has_unmovable)
        if found:
            self.parts.pcp.drain_all()
        self.parts.meter.lap()
        return found

    def _has_way_out(self, design: Design, mode: Mode, pfns: Pfns) -> Mask:
        way_out: Mask = design.ask(pfns, mode)[0] != Answer.NO
        if self.parts.hugetlb is not None:
            way_out |= self.parts.hugetlb.covers(pfns)
        return way_out

    def undo(self, span: Span, migratetype: int | None = None) -> None:
        """Let allocations into the span's pageblocks again.

        Args:
            span: as isolated.
            migratetype: the type to give them; None: each its own.
        """
        undo_isolate_page_range(self._buddy, span, migratetype)

    # Emptying it.

    def evacuate(
        self,
        span: Span,
        design: Design,
        *,
        retry: RetryPolicy | None = None,
        mode: Mode = Mode.SYNC,
        targets: TargetSource | None = None,
        drop_clean: bool = True,
    ) -> EvacuationReport:
        """Move what is in the span elsewhere; frames that cannot move are passed over.

        Args:
            span: exactly the frames to empty, in isolated pageblocks.
            design: moves what mm cannot move by itself.
            retry: contiguous allocation's (five tries) by default.
            mode: how long to wait for one frame.
            targets: destinations; the page allocator by default.
            drop_clean: give clean page cache up instead of moving it.

        Raises:
            PinpageError: a pageblock is not isolated, or `retry` could never end.
        """
        retry = retry or RetryPolicy()
        if not retry.can_end:
            raise PinpageError("evacuate: retry=: nothing ends it: give timeout_ns or a signal")
        keep = retry.nr_tries is not None  # hot-remove takes memory, so pools may shrink
        walk = self._walk(span, design, mode, targets, drop_clean, looks_first=keep)
        huge = self.parts.hugetlb
        if huge is not None:
            before = huge.nr_pages_moved
            errno = huge.vacate(span, mode, keep=keep)
            walk.report.pages_moved += huge.nr_pages_moved - before
            if errno is not Errno.OK:
                return walk.finish(errno)
        errno = (_batch_by_batch if keep else _over_and_over)(walk, retry)
        if errno is Errno.OK and huge is not None and not keep:
            errno = huge.dissolve(span)
        return walk.finish(errno)

    def sweep(
        self,
        span: Span,
        design: Design,
        *,
        mode: Mode = Mode.SYNC,
        targets: TargetSource | None = None,
        drop_clean: bool = False,
    ) -> EvacuationReport:
        """Go over the span once, one migrate call per pageblock; what fails stays as it was.

        One round of hot-remove, for a caller that has a loop of its own.

        Args:
            span: exactly the frames to empty, in isolated pageblocks.
            design: what is done with frames that mm cannot move by itself.
            mode: how long to wait for one frame.
            targets: where to; what is not used is given back.
            drop_clean: give clean page cache up instead of moving it.

        Raises:
            PinpageError: a pageblock is not isolated.
        """
        walk = self._walk(span, design, mode, targets, drop_clean, looks_first=False)
        _sweep(walk)
        return walk.finish(Errno.OK)

    def _walk(
        self,
        span: Span,
        design: Design,
        mode: Mode,
        targets: TargetSource | None,
        drop_clean: bool,
        looks_first: bool,
    ) -> RangeWalk:
        pageblocks = self._buddy.pageblocks
        for block in pageblocks.blocks_of_span(span):
            if pageblocks.migratetype[block] != MigrateType.ISOLATE:
                raise PinpageError(f"evacuate: pageblock {block} is not isolated: isolate it first")
        gfp = self._gfp_for(span)
        if targets is None:
            targets = self._targets(span, gfp)
        alloc_block = partial(self._alloc_block, span, gfp, leaves_node=not looks_first)
        return RangeWalk(
            self.parts, span, design, mode, targets, drop_clean, looks_first, alloc_block
        )

    def _zone_of(self, span: Span) -> Zone:
        buddy = self._buddy
        return buddy.zones[int(buddy.area.zone_of_block[span.start >> buddy.pageblock_order])]

    def _gfp_for(self, span: Span) -> Gfp:
        """What leaves ZONE_MOVABLE may go there again."""
        is_movable = self._zone_of(span).kind == ZoneKind.MOVABLE
        return MIGRATION_GFP | Gfp.HIGHMEM if is_movable else MIGRATION_GFP

    def _alloc_block(self, span: Span, gfp: Gfp, order: int, *, leaves_node: bool) -> int:
        """A free block for a large page, TAKEN: its first pfn, or -1; nobody is pressed for it.

        Of the span's own node while that has one, then of any; hot-remove begins with the others.
        """
        own = self._zone_of(span).node
        others = sorted({zone.node for zone in self._buddy.zones} - {own})
        for node in (*others, own) if leaves_node else (own, *others):
            head = self._alloc_pages(order, gfp & ~Gfp.RECLAIM, node)
            if head >= 0:
                self._buddy.frames.state[head : head + (1 << order)] = FrameState.TAKEN
                return head
        return -1

    def _targets(self, span: Span, gfp: Gfp) -> AllocatedTargets:
        """Fresh frames of the span's own node while it has some, then of any."""
        buddy, zone = self._buddy, self._zone_of(span)
        is_numa = any(other.node != zone.node for other in buddy.zones)

        def alloc_page(gfp: Gfp) -> int:
            pfn = self._alloc_pages(0, gfp & ~Gfp.RECLAIM, zone.node) if is_numa else -1
            return pfn if pfn >= 0 else self._alloc_pages(0, gfp, None)

        return AllocatedTargets(alloc_page, buddy.frames, self.parts.pcp, span, gfp)


def _batch_by_batch(walk: RangeWalk, retry: RetryPolicy) -> Errno:
    """Batches of 32 from the bottom up, each until it is gone or its tries are used up."""
    position = walk.span.start
    while position < walk.span.stop:
        batch, position = walk.next_batch(position, COMPACT_CLUSTER_MAX)
        nr_tries = 0
        while len(batch):
            walk.parts.meter.cond_resched()
            if (ends := walk.ends(retry)) is not None:
                return ends
            if nr_tries == retry.nr_tries:
                return Errno.EBUSY
            if nr_tries:
                retry.between_tries()
            batch = walk.attempt(batch)
            if walk.has_no_target(batch):
                return Errno.ENOMEM
            nr_tries += 1
    return Errno.OK


def _over_and_over(walk: RangeWalk, retry: RetryPolicy) -> Errno:
    """The whole range, until a round leaves nothing that could move."""
    while (ends := walk.ends(retry)) is None:
        if not _sweep(walk):
            return Errno.OK
        retry.between_tries()
    return ends


def _sweep(walk: RangeWalk) -> int:
    """One round, a pageblock at a time; how many frames were tried and stayed."""
    position, nr_left = walk.span.start, 0
    while position < walk.span.stop:
        walk.parts.meter.cond_resched()
        batch, position = walk.next_batch(position, walk.parts.buddy.pageblocks.nr_pages_per_block)
        nr_left += len(walk.attempt(batch))
    return nr_left
