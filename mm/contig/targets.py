"""Destinations for pages that have to leave a range: fresh frames of the page allocator.

Kernel counterpart: alloc_migration_target() in mm/migrate.c.
"""

from collections.abc import Callable

import numpy as np

from mm.buddy.pcp import PerCpuPages
from mm.state.frames import Frames, FrameState
from mm.state.gfp import Gfp
from pinpage.errors import require
from pinpage.units import Pfns, Span

__all__ = ["MIGRATION_GFP", "AllocatedTargets"]

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
        """Allocate with `alloc_page`, for pages of `span`."""
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
