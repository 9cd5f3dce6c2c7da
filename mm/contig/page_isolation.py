"""Isolating a range: mark its pageblocks so that nothing is allocated there, then empty it.

Isolating moves a block's free pages to the ISOLATE lists; a page freed into it goes there
directly, past the per-CPU lists.  Pages that stood on a per-CPU list before stay invisible
until the caller drains, which is its next step.

Kernel counterpart: mm/page_isolation.c of v6.1 (start_isolate_page_range,
undo_isolate_page_range, has_unmovable_pages, test_pages_isolated).
"""

from collections.abc import Callable

import numpy as np
from attrs import frozen

from mm.buddy.buddy import Buddy
from mm.state.errno import Errno
from mm.state.frames import Frames, FrameState, PageFlag
from mm.state.nodes import Zone, ZoneKind
from mm.state.pageblock import MigrateType
from pinpage.errors import PinpageError
from pinpage.units import Mask, Pfns, Span

__all__ = [
    "HasUnmovable",
    "Isolation",
    "first_not_isolated",
    "has_unmovable_pages",
    "start_isolate_page_range",
    "undo_isolate_page_range",
]

HasUnmovable = Callable[[Span], int]
"""(frames of one pageblock) -> the first pfn that cannot be moved away, or -1."""


@frozen
class Isolation:
    """How an attempt to isolate a range ended.

    Attributes:
        errno: OK, or EBUSY; then nothing is isolated that was not before.
        pfn: the frame in the way (the first of its pageblock if that was isolated already), or -1.
    """

    errno: Errno
    pfn: int = -1

    def __bool__(self) -> bool:
        """Whether the range is isolated."""
        return self.errno is Errno.OK


def start_isolate_page_range(buddy: Buddy, span: Span, has_unmovable: HasUnmovable) -> Isolation:
    """Mark every pageblock that the span touches ISOLATE, or none.

    A block that is isolated already refuses: it is another caller's, and undoing twice
    would let allocations in.  Their types before are kept in `pageblocks.saved_type`.

    Args:
        buddy: the allocator; one lock acquisition per pageblock.
        span: the range; rounded out to pageblocks.
        has_unmovable: asked about each block before it is marked.

    Raises:
        PinpageError: the span is empty or leaves the machine.
    """
    pageblocks = buddy.pageblocks
    if not span.nr_pages or span.stop > pageblocks.nr_frames:
        raise PinpageError(
            f"isolate: [{span.start:#x}, {span.stop:#x}) must hold a frame "
            f"and end by {pageblocks.nr_frames:#x}"
        )
    done: list[int] = []
    all_done = False
    try:
        for block in pageblocks.blocks_of_span(span):
            frames = pageblocks.span(block)
            blocker = frames.start
            if pageblocks.migratetype[block] != MigrateType.ISOLATE:
                blocker = has_unmovable(frames)
            if blocker >= 0:
                return Isolation(Errno.EBUSY, blocker)
            buddy.lock_acquisitions += 1
            pageblocks.saved_type[block] = pageblocks.migratetype[block]
            buddy.set_migratetype(block, MigrateType.ISOLATE)
            done.append(block)
        all_done = True
    finally:  # in the way, or interrupted while it was asked
        for earlier in () if all_done else done:
            _restore(buddy, earlier)
    return Isolation(Errno.OK)


def undo_isolate_page_range(buddy: Buddy, span: Span, migratetype: int | None = None) -> None:
    """Let allocations in again; blocks that are not isolated are left alone.

    Args:
        buddy: the allocator.
        span: as given to `start_isolate_page_range`.
        migratetype: the type to give the blocks, as in the kernel; None restores each one's own.
    """
    for block in buddy.pageblocks.blocks_of_span(span):
        if buddy.pageblocks.migratetype[block] == MigrateType.ISOLATE:
            _restore(buddy, block, migratetype)


def _restore(buddy: Buddy, block: int, migratetype: int | None = None) -> None:
    buddy.lock_acquisitions += 1
    saved = int(buddy.pageblocks.saved_type[block])
    buddy.set_migratetype(block, saved if migratetype is None else migratetype)


def first_not_isolated(buddy: Buddy, span: Span, *, offline: bool = False) -> int:
    """The first frame of the span that is not free in an isolated pageblock, or -1 if all are.

    Args:
        buddy: the allocator.
        span: exactly the frames asked about; not rounded.
        offline: for hot-remove: frames that are poisoned, or offline and unreferenced, count
            as gone.
    """
    frames = buddy.frames
    pfns = np.arange(span.start, span.stop)
    gone = frames.state[pfns] == FrameState.FREE
    if offline:
        gone |= frames.has_flag(pfns, PageFlag.HWPOISON)
        gone |= frames.has_flag(pfns, PageFlag.OFFLINE) & (frames.refcount[pfns] == 0)
    gone &= buddy.pageblocks.types_of(pfns) == MigrateType.ISOLATE
    return _first(pfns, ~gone)


def has_unmovable_pages(
    buddy: Buddy,
    span: Span,
    *,
    movable_ops: Callable[[Pfns], Mask] | None = None,
    for_cma: bool = False,
    offline: bool = False,
) -> int:
    """The first frame of a pageblock that surely cannot be moved, or -1.

    A first look, not a promise: an LRU page passes although it may be pinned, and then fails
    to move later.  In a MOVABLE zone everything but reserved frames is taken on trust.

    Args:
        buddy: the allocator, for its columns.
        span: frames of one pageblock.
        movable_ops: which used frames off the LRU could be moved by their owner; none if not given.
        for_cma: the caller is CMA, so a CMA block is fine without looking.
        offline: the caller is hot-remove, so poisoned and offline frames are fine.
    """
    frames, block = buddy.frames, span.start >> buddy.pageblocks.order
    if buddy.pageblocks.migratetype[block] == MigrateType.CMA:
        return -1 if for_cma else span.start
    pfns = np.arange(span.start, span.stop)
    stuck = _never_moves(frames, pfns)
    if not _trusted(buddy.zones, int(buddy.area.zone_of_block[block])):
        used = (frames.state[pfns] == FrameState.USED) & (frames.refcount[pfns] > 0)
        used &= ~frames.has_flag(pfns, PageFlag.LRU)
        asked = pfns[used]
        if movable_ops is not None and len(asked):
            used[asked[movable_ops(asked)] - span.start] = False
        stuck |= used
    if offline:
        stuck &= ~(
            frames.has_flag(pfns, PageFlag.HWPOISON) | frames.has_flag(pfns, PageFlag.OFFLINE)
        )
    return _first(pfns, stuck)


def _never_moves(frames: Frames, pfns: Pfns) -> Mask:
    states = (FrameState.RESERVED, FrameState.HOLE, FrameState.UNKNOWN, FrameState.QUARANTINED)
    return np.isin(frames.state[pfns], states)


def _trusted(zones: tuple[Zone, ...], zone: int) -> bool:
    return zone >= 0 and zones[zone].kind == ZoneKind.MOVABLE


def _first(pfns: Pfns, mask: Mask) -> int:
    at = int(mask.argmax()) if len(mask) else 0
    return int(pfns[at]) if len(mask) and mask[at] else -1
