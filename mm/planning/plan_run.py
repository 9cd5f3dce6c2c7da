"""Between a range plan and the engine that carries it out.

A plan names its targets; they are taken off the free lists before anything moves, so that no
allocation in between can spoil it, and what is not used goes back at the end.  A plan that
finds nothing moves nothing, and its answer is the frames in the way, each under its reason.

Kernel counterpart: none.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from mm.buddy.buddy import Buddy
from mm.move.design import Answer, Design
from mm.move.move import Mover
from mm.state.frames import Frames, FrameState
from mm.state.reasons import Refusals
from pinpage.migrate import GivenTargets
from pinpage.owner import Mode, Reason
from pinpage.units import Pfns

__all__ = ["planned_targets", "refusals_in_the_way"]


@contextmanager
def planned_targets(buddy: Buddy, targets: Pfns) -> Iterator[GivenTargets]:
    """The targets of a plan, off the free lists while the block runs; the rest goes back.

    Args:
        buddy: the allocator; no watermark is asked, for what moves frees as much as it takes.
        targets: free pfns, without duplicates; given out in this order.

    Raises:
        PinpageError: one is not free: the plan is not of this moment.
    """
    if len(targets):
        buddy.take(targets)
    given = GivenTargets(targets)
    try:
        yield given
    finally:
        if len(given.remaining):
            buddy.put_taken(given.remaining)


def refusals_in_the_way(
    frames: Frames, mover: Mover, design: Design, pfns: Pfns, mode: Mode = Mode.SYNC
) -> Refusals:
    """Why each of these frames cannot move, by reason and holder; asks, and changes nothing.

    Frames that nobody uses and yet nobody may have (reserved, holes) count as NO_OWNER, and so
    does one that would move after all: a plan took it for stuck because it was not only there.

    Args:
        frames: the columns.
        mover: classifies.
        design: asked about frames that mm cannot move by itself.
        pfns: ascending, such as `RangePlan.in_the_way(span).pfns`.
        mode: handed to the design.
    """
    refusals = Refusals()
    if not len(pfns):
        return refusals
    reasons = np.full(len(pfns), Reason.NO_OWNER, dtype=np.uint8)
    used = np.flatnonzero(frames.state[pfns] == FrameState.USED)
    if len(used):
        found = mover.classify(pfns[used], design, mode)
        stays = found.answers == Answer.NO
        reasons[used[stays]] = found.reasons[stays]
        reasons[used[found.answers == Answer.RELEASE]] = Reason.NO_CALLBACK
    refusals.add(pfns, reasons, design.holders(frames.nr_frames), at_home=mover.has_home(pfns))
    return refusals
