"""A design that is looked at whenever it says that it has moved or given up a frame.

Kernel counterpart: none.
"""

import numpy as np
from numpy.typing import NDArray

from mm.move.design import Answers, Design
from mm.state.frames import Frames, FrameState
from pinpage.errors import require
from pinpage.move.report import MoveReport
from pinpage.move.steps import TargetSource
from pinpage.owner import Mode, Reason
from pinpage.units import Mask, Pfns, Span

__all__ = ["Watched"]


class Watched:
    """Does what another design does.

    Invariants, run after each move and release:
        WD1 a frame that is said to have gone is no longer in use.  Of a release that is asked
            of the last frame alone: what comes back may lie where an earlier one was.
    """

    def __init__(self, design: Design, frames: Frames) -> None:
        """Stand in for a design.

        Args:
            design: whom to ask.
            frames: of its machine.
        """
        self._design = design
        self._frames = frames

    @property
    def name(self) -> str:
        """The design's."""
        return self._design.name

    @property
    def lock_acquisitions(self) -> int:
        """The design's."""
        return self._design.lock_acquisitions

    @property
    def nr_callbacks(self) -> int:
        """The design's."""
        return self._design.nr_callbacks

    def claims(self, start: int, stop: int) -> Mask:
        """As the design.

        Args:
            start: first pfn of the range.
            stop: first pfn behind the range.
        """
        return self._design.claims(start, stop)

    def ask(self, pfns: Pfns, mode: Mode) -> tuple[Answers, NDArray[np.uint8]]:
        """As the design.

        Args:
            pfns: int64 (n,), the frames.
            mode: how long to wait for one frame.
        """
        return self._design.ask(pfns, mode)

    def holders(
        self, nr_frames: int, within: Span | None = None
    ) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
        """As the design.

        Args:
            nr_frames: of the machine.
            within: the frames that matter; of others nobody is named.  None: all.
        """
        return self._design.holders(nr_frames, within)

    def move(self, pfns: Pfns, targets: TargetSource, mode: Mode) -> MoveReport:
        """As the design; then look.

        Args:
            pfns: int64 (n,), the frames.
            targets: where to; what is not used is given back.
            mode: how long to wait for one frame.

        Raises:
            InvariantError: WD1 does not hold.
        """
        report = self._design.move(pfns, targets, mode)
        self._require_so(pfns, report.reasons)
        return report

    def release(self, pfns: Pfns, mode: Mode) -> NDArray[np.uint8]:
        """As the design; then look.

        Args:
            pfns: int64 (n,), the frames.
            mode: how long to wait for one frame.

        Raises:
            InvariantError: WD1 does not hold.
        """
        reasons = self._design.release(pfns, mode)
        self._require_so(pfns[-1:], reasons[-1:])
        return reasons

    def _require_so(self, pfns: Pfns, reasons: NDArray[np.uint8]) -> None:
        stays = self._frames.state[pfns] == FrameState.USED
        wrong = np.flatnonzero((reasons <= Reason.RELEASED) & stays)
        for row in wrong[:1].tolist():
            require(
                condition=False,
                message="WD1 a frame that is said to have gone is in use",
                pfn=int(pfns[row]),
                reason=Reason(int(reasons[row])).name,
            )
