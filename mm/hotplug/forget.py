"""Nothing about a frame that is gone survives: who could still know it is looked through here.

A record that outlives its frame would one day speak of other memory: the range comes back,
somebody else's page lies there, and the old owner is called back for it (R-25).  So before
frames become holes everything that can name a frame by its pfn is asked, and what does so is
a broken invariant, not a reason to clean up quietly.

Kernel counterpart: what __remove_pages() relies on; CONFIG_DEBUG_VM checks little of it.
"""

import numpy as np

from mm.hotplug.host import HotplugHost
from mm.state.frames import MAPCOUNT_NONE, FrameState, PageFlag
from mm.state.pageblock import MigrateType
from pinpage.errors import require
from pinpage.units import Mask, Span

__all__ = ["FrameForgetter"]

_POISONED = int(PageFlag.HWPOISON.mask) | int(PageFlag.OFFLINE.mask)
"""The only flags that a frame may leave with: nobody will get it again."""


class FrameForgetter:
    """Turns the free frames of an isolated range into holes."""

    def __init__(self, host: HotplugHost) -> None:
        """Borrow the state."""
        self._host = host

    def require_unknown(self, span: Span) -> None:
        """Nobody may know any frame of the span any more; changes nothing.

        Raises:
            InvariantError: HP1, names the frame and who knows it.

        Context: batches of pins are drained.  Cost: a few column lookups.
        """
        host, rows = self._host, slice(span.start, span.stop)
        frames = host.frames
        self._require_none(span, self._pinned(span), "a pin")
        self._require_none(span, host.rmap.first_mm[rows] >= 0, "a page table")
        flags = frames.flags[rows]
        self._require_none(span, (flags & PageFlag.LRU.mask) != 0, "an LRU list")
        self._require_none(span, (flags & PageFlag.SWAPCACHE.mask) != 0, "the swap cache")
        self._require_none(span, (flags & PageFlag.HUGE.mask) != 0, "the hugetlb pool")
        self._require_none(span, frames.state[rows] == FrameState.PCP, "a per-CPU list")
        self._require_none(span, frames.isolated[rows], "a mover")
        poisoned = (flags & np.uint64(_POISONED)) != 0
        self._require_none(span, (frames.refcount[rows] != 0) & ~poisoned, "a reference")

    def _pinned(self, span: Span) -> Mask:
        """Pins under any design, and those in a registry whose design is not in force."""
        pinned = self._host.design.claims(span.start, span.stop)
        if self._host.registry is not None:
            pinned = pinned | self._host.registry.pinned_mask(span.start, span.stop)
        return pinned

    def _require_none(self, span: Span, known: Mask, who: str) -> None:
        if known.any():
            pfn = span.start + int(known.argmax())
            require(False, f"HP1 {who} knows a frame that is going", pfn=pfn)

    def forget(self, span: Span) -> int:
        """Off the free lists, stripped of everything, holes; how many the allocator had.

        Pageblocks are MOVABLE again, as at boot: an isolated one would be somebody's.
        """
        host = self._host
        frames, nr_pages = host.frames, 0
        blocks = host.pageblocks.blocks_of_span(span)
        for block in blocks:
            nr_pages += len(host.buddy.take_free_in(block))
            host.buddy.set_migratetype(block, MigrateType.MOVABLE)
        pfns = np.arange(span.start, span.stop)
        host.contents.forget(pfns)
        frames.state[pfns] = FrameState.HOLE
        frames.order[pfns] = -1
        frames.flags[pfns] = 0
        frames.refcount[pfns] = 0
        frames.mapcount[pfns] = MAPCOUNT_NONE
        host.pageblocks.skip[blocks.start : blocks.stop] = False
        return nr_pages

    def put_back(self, span: Span) -> None:
        """Holes become free memory of the zone that their pageblocks joined, used last.

        Poisoned frames come back too: the kernel keeps a list of them, here nobody does.
        """
        host = self._host
        pfns = np.arange(span.start, span.stop)
        host.frames.state[pfns] = FrameState.TAKEN
        host.frames.refcount[pfns] = 1
        host.buddy.put_taken(pfns)
        host.buddy.area.serve_last(host.pageblocks.blocks_of_span(span), MigrateType.MOVABLE)
