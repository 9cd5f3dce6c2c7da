"""One walk over a range that is to be emptied: its batches, and one try at each.

A try drops what is clean page cache, releases what its owners would rather give up, and
migrates the rest.  How often a batch is tried, and what then, is `mm.contig.evacuate`'s to decide.

Kernel counterparts: isolate_migratepages_range() of mm/compaction.c and the body of the
loops in __alloc_contig_migrate_range() and do_migrate_range().
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray

from mm.buddy.buddy import Buddy
from mm.buddy.pcp import PerCpuPages
from mm.contig.retry import EvacuationReport, RetryPolicy
from mm.move.design import Answer, Design
from mm.move.move import Classification, Mover
from mm.paging.clean_pages import is_clean_cache, reclaim_clean_pages
from mm.state.costs import Counters, Meter
from mm.state.errno import Errno
from mm.state.frames import Frames, FrameState, PageFlag
from mm.state.lru import Lru
from mm.state.rmap import Rmap
from pinpage.errors import require
from pinpage.move.steps import GivenTargets, TargetSource
from pinpage.owner import Mode, Reason
from pinpage.units import Mask, Pfns, Span

__all__ = ["EvictsHugePages", "HugeInRanges", "Parts", "RangeWalk", "nr_steps"]

_UNASKED = 255
"""In a column of reasons: nobody has tried to move this frame."""


def nr_steps(frames: Frames, span: Span) -> int:
    """Frames that a scanner looks at: it jumps over all but the head of a free block.

    Args:
        frames: the columns, one row per frame.
        span: the range of frames.
    """
    heads = frames.order[span.start : span.stop] >= 0
    free = frames.state[span.start : span.stop] == FrameState.FREE
    return span.nr_pages - int(np.count_nonzero(free & ~heads))


def _no_block(_order: int) -> int:
    """The default of `RangeWalk.alloc_block`: there is none."""
    return -1


@frozen(eq=False)
class HugeInRanges:
    """Huge pages of one size, and how many of them have a frame in each of some ranges.

    Attributes:
        nr_pages: frames of one.
        is_gigantic: larger than a pageblock: nobody makes another one.
        nr_free: those that nobody uses or holds, wherever they are.
        nr_in_use: the others, wherever they are.
        free, used: int64 (nr_ranges,), of each kind, with a frame in the range.
    """

    nr_pages: int
    is_gigantic: bool
    nr_free: int
    nr_in_use: int
    free: NDArray[np.int64]
    used: NDArray[np.int64]


class EvictsHugePages(Protocol):
    """Who takes huge pages out of a range: they do not move frame by frame.

    Attributes:
        nr_pages_moved: frames whose contents went to another page so far.
    """

    nr_pages_moved: int

    def covers(self, pfns: Pfns) -> Mask:
        """Which used frames belong to huge pages that `vacate` looks after, bool[n]."""

    def could_leave(self, mode: Mode, *, keep: bool) -> Mask:
        """Frames of huge pages that `vacate` could take away, given room, bool (nr_frames,).

        Args:
            mode: as handed to `vacate`.
            keep: whether the pools keep their sizes.
        """

    def dissolves(self, span: Span) -> Mask:
        """Frames of free huge pages, which `dissolve` gives back, bool (span.nr_pages,)."""

    def within(self, starts: Pfns, nr_pages: int) -> "tuple[HugeInRanges, ...]":
        """What is in each of these ranges, by size of huge page.

        Args:
            starts: first pfns of the ranges, ascending.
            nr_pages: pages of each.
        """

    def vacate(self, span: Span, mode: Mode, *, keep: bool) -> Errno:
        """Make huge pages of the range go, and `keep` their number; OK, EBUSY or ENOMEM.

        Args:
            span: the range of frames.
            mode: how long to wait for one frame.
            keep: whether the pools keep their sizes; else free ones are left to `dissolve`.
        """

    def dissolve(self, span: Span) -> Errno:
        """Give back the free huge pages of a range, once all else has gone; OK or EBUSY."""


@define
class Parts:
    """The state that every walk works on.

    Attributes:
        buddy, pcp, rmap, lru, mover: as in the machine.
        counters: what is done is counted here.
        meter: and charged here, after every try.
        hugetlb: looks after huge pages; None: there are none to care for.
    """

    buddy: Buddy
    pcp: PerCpuPages
    rmap: Rmap
    lru: Lru
    mover: Mover
    counters: Counters
    meter: Meter
    hugetlb: EvictsHugePages | None = None


@frozen
class _Row:
    """What is to be done with each frame of a batch; parallel columns, written in place."""

    pfns: Pfns
    alone: Mask
    answers: NDArray[np.uint8]
    reasons: NDArray[np.uint8]


@define
class RangeWalk:
    """One evacuation under way.

    Attributes:
        parts: the state.
        span: the frames to empty.
        design: moves what mm cannot move by itself.
        mode: how long to wait for one frame.
        targets: where to.
        drop_clean: give clean page cache up instead of moving it.
        looks_first: pass over anonymous pages that look pinned, as compaction does.
        alloc_block: gives a free block of that order outside of the span, TAKEN: its first pfn,
            or -1.
        report: what was done so far.
        last: uint8 (nr_pages of the span,), how the last try at each frame ended.
        immovable: bool (nr_pages of the span,), had no way to move when last asked.
        started_ns: simulated time.
    """

    parts: Parts
    span: Span
    design: Design
    mode: Mode
    targets: TargetSource
    drop_clean: bool
    looks_first: bool
    alloc_block: Callable[[int], int] = _no_block
    report: EvacuationReport = field(factory=EvacuationReport)
    last: NDArray[np.uint8] = field(init=False)
    immovable: Mask = field(init=False)
    started_ns: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Nothing tried yet; time counts from here."""
        self.last = np.full(self.span.nr_pages, _UNASKED, dtype=np.uint8)
        self.immovable = np.zeros(self.span.nr_pages, dtype=np.bool_)
        self.started_ns = self.parts.meter.start()

    def ends(self, retry: RetryPolicy) -> Errno | None:
        """Whether it is time to give up, and with what."""
        if retry.signal_pending():
            return Errno.EINTR
        elapsed_ns = self.parts.meter.now_ns - self.started_ns
        if retry.timeout_ns is not None and elapsed_ns >= retry.timeout_ns:
            self.report.timed_out = True
            return Errno.EBUSY
        return None

    def next_batch(self, position: int, most: int) -> tuple[Pfns, int]:
        """Up to `most` used frames from `position` on, of one pageblock; where to go on."""
        frames, size = self.parts.buddy.frames, self.parts.buddy.pageblocks.nr_pages_per_block
        stop = min((position // size + 1) * size, self.span.stop)
        used = np.flatnonzero(frames.state[position:stop] == FrameState.USED) + position
        if self.parts.hugetlb is not None and len(used):
            used = used[~self.parts.hugetlb.covers(used)]
        if len(used) > most:
            used = used[:most]
            stop = int(used[-1]) + 1
        self.parts.counters.pages_scanned_migrate += nr_steps(frames, Span(position, stop))
        return used, stop

    def attempt(self, batch: Pfns) -> Pfns:
        """One migrate call for a batch; the frames that may be tried again.

        Frames that have no way to move are noted and passed over.
        """
        states = self.parts.buddy.frames.state
        batch = batch[states[batch] == FrameState.USED]
        if not len(batch):
            return batch
        self.report.nr_tries += 1
        rows = self._rows(batch, self.parts.mover.classify(batch, self.design, self.mode))
        self._move_large(rows)
        self._try_what_looks_pinned(rows)
        tried = rows.answers != Answer.NO
        again = self.last[batch - self.span.start] != _UNASKED
        self.parts.counters.pages_retried += int(np.count_nonzero(again & tried))
        self.immovable[batch - self.span.start] = ~tried
        self._drop(rows)
        self._release(rows)
        self._migrate(rows)
        self.last[batch - self.span.start] = rows.reasons
        self.parts.meter.lap()
        stayed = tried & (rows.reasons > Reason.RELEASED) & (states[batch] == FrameState.USED)
        left: Pfns = batch[stayed]
        return left

    def has_no_target(self, batch: Pfns) -> bool:
        """Whether one of these frames found no destination in its last try."""
        return bool((self.last[batch - self.span.start] == Reason.NO_TARGET).any())

    def finish(self, errno: Errno) -> EvacuationReport:
        """Look at what is left, count each refusal once, and charge what is still to charge."""
        report, span, frames = self.report, self.span, self.parts.buddy.frames
        report.errno = errno
        used = frames.state[span.start : span.stop] == FrameState.USED
        if self.parts.hugetlb is not None and not self.looks_first:
            used &= ~self.parts.hugetlb.dissolves(span)  # in nobody's way
        report.left = np.flatnonzero(used) + span.start
        report.immovable = report.left[self.immovable[report.left - span.start]]
        reasons = self.last[report.left - span.start]
        if report.timed_out or errno is Errno.EINTR:
            reasons[reasons == _UNASKED] = Reason.TIMEOUT
        asked = (reasons != _UNASKED) & (reasons > Reason.RELEASED)
        if asked.any():
            stayed = report.left[asked]
            holders = self.design.holders(frames.nr_frames, span)
            at_home = self.parts.mover.has_home(stayed)
            report.refusals.add(stayed, reasons[asked], holders, at_home=at_home)
        report.elapsed_ns = self.parts.meter.lap() - self.started_ns
        return report

    # One try.

    def _rows(self, batch: Pfns, found: Classification) -> _Row:
        return _Row(batch, found.alone.copy(), found.answers.copy(), found.reasons.copy())

    def _move_large(self, rows: _Row) -> None:
        """Large pages go whole, all of their frames, whether these lie in the span or not.

        One without a free block of its order goes frame by frame, which splits it.
        """
        folios = self.parts.mover.refs.folios
        if not len(folios):
            return
        for head in folios.heads_in(rows.pfns[rows.answers == Answer.MOVE]):
            frames = folios.frames_of(head)
            found = self.parts.mover.classify(frames, self.design, self.mode)
            if self._drop_large(frames, found):
                moved = np.full(len(frames), Reason.FREED, dtype=np.uint8)
                self.report.pages_dropped += len(frames)
            else:
                moved = self._move_block(frames, found, folios.order_of(head))
            if (moved == Reason.NO_TARGET).all():
                continue
            mine = np.flatnonzero((rows.pfns >= frames[0]) & (rows.pfns <= frames[-1]))
            rows.reasons[mine], rows.answers[mine] = moved[rows.pfns[mine] - head], Answer.NO
            rows.alone[mine] = False

    def _drop_large(self, frames: Pfns, found: Classification) -> bool:
        """Give up a large page of which every frame is clean page cache."""
        parts = self.parts
        if not self.drop_clean or not found.alone.all():
            return False
        if not is_clean_cache(parts.buddy.frames, parts.rmap, frames).all():
            return False
        reclaim_clean_pages(parts.buddy.frames, parts.rmap, parts.mover.refs, frames)
        return True

    def _move_block(self, frames: Pfns, found: Classification, order: int) -> NDArray[np.uint8]:
        """Move all these frames to one free block, if there is one; a `Reason` each."""
        parts = self.parts
        target = self.alloc_block(order)
        if target < 0:
            return np.full(len(frames), Reason.NO_TARGET, dtype=np.uint8)
        require(not self.span.start <= target < self.span.stop, "EV2 a block of the range")
        given = GivenTargets(np.arange(target, target + len(frames)))
        try:
            moved = parts.mover.migrate(
                frames, found.alone, given, self.design, self.mode, parts.meter.cond_resched
            )
        finally:
            if len(given.remaining):
                parts.buddy.put_taken(given.remaining)
        self.report.pages_moved += moved.nr_moved
        self.report.pages_freed += moved.nr_freed
        return moved.reasons

    def _try_what_looks_pinned(self, rows: _Row) -> None:
        """An LRU page with a reference too many is tried, for that may go meanwhile.

        Contiguous allocation does not isolate anonymous ones that look pinned; hot-remove
        does not look.
        """
        frames = self.parts.buddy.frames
        odd = (rows.reasons == Reason.UNACCOUNTED) & (rows.answers == Answer.NO)
        odd &= frames.has_flag(rows.pfns, PageFlag.LRU)
        odd &= ~self.parts.mover.refs.folios.covers(rows.pfns)  # as one, or not at all
        if self.looks_first:
            in_cache = frames.has_flag(rows.pfns, PageFlag.SWAPCACHE)
            odd &= in_cache | ~frames.has_flag(rows.pfns, PageFlag.ANON)
        rows.alone[odd] = True
        rows.answers[odd] = Answer.MOVE

    def _drop(self, rows: _Row) -> None:
        alone = np.flatnonzero(rows.alone)
        if not self.drop_clean or not len(alone):
            return
        parts = self.parts
        clean = reclaim_clean_pages(
            parts.buddy.frames, parts.rmap, parts.mover.refs, rows.pfns[alone]
        )
        dropped = alone[clean]
        rows.answers[dropped], rows.reasons[dropped] = Answer.NO, Reason.FREED
        self.report.pages_dropped += len(dropped)

    def _release(self, rows: _Row) -> None:
        chosen = np.flatnonzero(rows.answers == Answer.RELEASE)
        if len(chosen):
            rows.reasons[chosen] = self.design.release(rows.pfns[chosen], self.mode)
            self.report.pages_released += int((rows.reasons[chosen] == Reason.RELEASED).sum())

    def _migrate(self, rows: _Row) -> None:
        chosen = np.flatnonzero(rows.answers == Answer.MOVE)
        if len(chosen):
            moved = self.parts.mover.migrate(
                rows.pfns[chosen], rows.alone[chosen], self.targets, self.design, self.mode,
                self.parts.meter.cond_resched,
            )  # fmt: skip
            rows.reasons[chosen] = moved.reasons
            self.report.pages_moved += moved.nr_moved
            self.report.pages_freed += moved.nr_freed
