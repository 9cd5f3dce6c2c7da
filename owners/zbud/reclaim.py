"""The 2013 series as a design: zbud pages are not moved, their contents are unused.

Patch 4 taught compaction and contiguous allocation one special page type.  A zbud page is
known by its mapcount of -127; the scanner takes a reference, and later zswap is asked to
bring each object back to ordinary memory and drop its slot, which empties the page.

Gaps of the patch as posted, and what becomes of them here:

    a  RECLAIMABLE allocation never reaches CMA                kept: the pool's gfp decides
    b  async scans skip such blocks before the hook            kept: the scanner decides
    c  a reference taken on an unverified page                 mended: get unless zero, then
                                                               look at the type again
    d  the abort path leaks the list                           mended: no list outlives a call
    e  such pages do not count as isolated                     kept
    f  reclaim of a page without objects                       mended: the type goes with the
                                                               pool's last reference
    g  snapshot of handles used after unlock                   mended: generations
    h  SWP_WRITEOK is check, then use                          mended by the swap host, which
                                                               holds the device
    i  unuse allocates inside compaction, data expands         kept: it is the design
    j  no destination: data may land in the emptied range      kept: it is the design

Errors of unuse reach no caller, as posted; `ZbudPool.nr_callback_failures` counts them.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mm.buddy.page_source import PageSource
from mm.move.capabilities import Capabilities
from mm.move.design import Answer, Answers
from mm.state.frames import MAPCOUNT_ZBUD, FrameState
from owners.zbud.pool import ZbudPool
from pinpage.move.report import MoveReport
from pinpage.move.steps import TargetSource
from pinpage.owner import Mode, Reason
from pinpage.units import Mask, Pfns, Span

__all__ = ["ZbudReclaim"]


class ZbudReclaim:
    """Implements `mm.move.design.Design` for frames of zbud pools, and for no other."""

    name = "zbud-reclaim"
    capabilities: ClassVar[Capabilities] = Capabilities(
        moves=False,
        several_owners=False,
        second_owner="has no place: the mark names one",
        gup=False,
        knows_target=False,
        knows_mode=False,
        undoes=False,
        lookup="none: the page's mark",
        pin_nr_bytes=0,
        locks="the pool's, per page",
    )

    def __init__(self, source: PageSource, pools: Sequence[ZbudPool]) -> None:
        """`pools` is read at every call: a pool that joins the list later is known.

        Args:
            source: the machine's frames.
            pools: read at every call: one that joins the list later is known.
        """
        self._source = source
        self._pools = pools
        self._nr_callbacks = 0

    @property
    def lock_acquisitions(self) -> int:
        """Pool locks taken so far, by any caller."""
        return sum(pool.lock.acquisitions for pool in self._pools)

    @property
    def nr_callbacks(self) -> int:
        """Pages that a pool was asked to reclaim."""
        return self._nr_callbacks

    def claims(self, start: int, stop: int) -> Mask:
        """Frames typed zbud.

        Args:
            start, stop: the frames, the last one not included.
        """
        is_zbud: Mask = self._source.frames.mapcount[start:stop] == MAPCOUNT_ZBUD
        return is_zbud

    def ask(self, pfns: Pfns, mode: Mode) -> tuple[Answers, NDArray[np.uint8]]:
        """RELEASE for frames typed zbud: a look without locks, and so only a hint.

        Args:
            pfns: which frames, shape (n,).
            mode: how long the caller would wait.
        """
        is_zbud = self._source.frames.mapcount[pfns] == MAPCOUNT_ZBUD
        answers = np.where(is_zbud, Answer.RELEASE, Answer.NO).astype(np.uint8)
        return answers, np.where(is_zbud, Reason.MOVED, Reason.NO_OWNER).astype(np.uint8)

    def holders(
        self, nr_frames: int, within: Span | None = None
    ) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
        """The one owner that this design knows, by the pages' own mark.

        Args:
            nr_frames: of the machine.
            within: the frames that matter; of others nobody is named.  None: all.
        """
        span, codes = within or Span(0, nr_frames), np.zeros(nr_frames, dtype=np.uint8)
        codes[span.start : span.stop] = self.claims(span.start, span.stop)
        return codes, ("unknown", "zbud")

    def move(self, pfns: Pfns, targets: TargetSource, mode: Mode) -> MoveReport:
        """Nothing: the handles embed the frame.

        Args:
            pfns: which frames, shape (n,).
            targets: left alone.
            mode: how long the caller would wait.
        """
        return MoveReport(
            reasons=np.full(len(pfns), Reason.NO_CALLBACK, dtype=np.uint8),
            targets=np.full(len(pfns), -1, dtype=np.int64),
        )

    def release(self, pfns: Pfns, mode: Mode) -> NDArray[np.uint8]:
        """Isolate all, then reclaim one after the other (zbud_reclaim_pages).

        Args:
            pfns: which frames, shape (n,).
            mode: how long the caller would wait.

        Returns:
            RELEASED where the frame is free; OWNER_BUSY where an object stayed, whatever the
            error; UNACCOUNTED where an outsider keeps the emptied frame; RACED_FREE,
            ALREADY_ISOLATED or NO_OWNER where there was nothing to take.
        """
        reasons = self._take(pfns)
        for index in np.flatnonzero(reasons == Reason.RELEASED).tolist():
            if not self._reclaim(pfns[index : index + 1]):
                is_zbud = self._source.frames.mapcount[pfns[index]] == MAPCOUNT_ZBUD
                reasons[index] = Reason.OWNER_BUSY if is_zbud else Reason.UNACCOUNTED
        return reasons

    def _reclaim(self, pfn: Pfns) -> bool:
        """Drop the isolation's reference and unuse what is there; whether that freed it."""
        pool = next((pool for pool in self._pools if pool.holds(pfn)[0]), None)
        if pool is None:  # emptied by what an earlier page's objects brought along
            return self._source.put_page(int(pfn[0]))
        self._nr_callbacks += 1
        return bool(pool.reclaim_pages(pfn)[0])

    def _take(self, pfns: Pfns) -> NDArray[np.uint8]:
        """A reference on each frame that is alive, is no mover's, and is still zbud's."""
        frames = self._source.frames
        reasons = np.full(len(pfns), Reason.RELEASED, dtype=np.uint8)
        reasons[frames.mapcount[pfns] != MAPCOUNT_ZBUD] = Reason.NO_OWNER
        reasons[(frames.state[pfns] != FrameState.USED) | (frames.refcount[pfns] <= 0)] = (
            Reason.RACED_FREE
        )
        reasons[frames.isolated[pfns]] = Reason.ALREADY_ISOLATED
        for pfn in pfns[reasons == Reason.RELEASED].tolist():
            self._source.get_page(pfn)
        return reasons
