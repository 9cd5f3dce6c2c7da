"""Who is in the way: frames that have to leave and do not, each with a reason and a holder.

The one place that works it out, for every consumer: before anything moves, from what the design
answers, and after an attempt, for what is left.

Kernel counterpart: none; dump_page() in the log names one page per range.
"""

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from mm.move.design import Answer, Design
from mm.move.move import Mover
from mm.state.frames import Frames, FrameState
from mm.state.reasons import HOME, Refusals, most_first
from pinpage.owner import Mode, Reason
from pinpage.units import Pfns, Span

__all__ = [
    "LEFT_BEHIND",
    "NO_OBSTACLES",
    "PLANNED_AS_STUCK",
    "Obstacle",
    "Obstacles",
    "Unkept",
    "find_obstacles",
]


@frozen
class Obstacle:
    """One frame that cannot leave.

    Attributes:
        pfn: which.
        owner: who holds it: an owner's name, "home" for page tables, or "unknown".
        reason: why it stays.
    """

    pfn: int
    owner: str
    reason: Reason


@frozen(eq=False)
class Obstacles:
    """Frames that cannot leave, as columns.

    Attributes:
        pfns: int64 (n,), ascending.
        reasons: uint8 (n,), a `Reason` each.
        holder: int64 (n,), rows of `names`.
        names: of the holders.
    """

    pfns: Pfns
    reasons: NDArray[np.uint8] = field(repr=False)
    holder: NDArray[np.int64] = field(repr=False)
    names: tuple[str, ...]

    def __len__(self) -> int:
        """How many frames."""
        return len(self.pfns)

    def first(self, count: int) -> tuple[Obstacle, ...]:
        """The lowest few, to be shown to people."""
        columns = (column[:count].tolist() for column in (self.pfns, self.holder, self.reasons))
        return tuple(
            Obstacle(pfn, self.names[who], Reason(why))
            for pfn, who, why in zip(*columns, strict=True)
        )

    def by_owner(self) -> dict[str, int]:
        """Holder -> frames, most first."""
        return most_first(self.names, np.bincount(self.holder, minlength=len(self.names)))

    def refusals(self) -> Refusals:
        """The same as counts by reason and holder."""
        found = Refusals()
        holder_of = np.zeros(int(self.pfns.max(initial=0)) + 1, dtype=np.uint8)
        holder_of[self.pfns] = self.holder
        found.add(self.pfns, self.reasons, (holder_of, self.names))
        return found


NO_OBSTACLES = Obstacles(
    np.empty(0, dtype=np.int64), np.empty(0, dtype=np.uint8), np.empty(0, dtype=np.int64), ()
)
"""Nothing is in the way."""


@frozen
class Unkept:
    """What is said of frames in the way that nothing keeps when they are looked at.

    Attributes:
        moves: of one that would move if it were asked.
        released: of one that its owner would release.
        free: of one that is free: it is its pageblock that is in the way.
        reserved: who holds a reserved frame; None: as the design calls a holder that it does
            not know.
    """

    moves: Reason
    released: Reason
    free: Reason
    reserved: str | None = None


PLANNED_AS_STUCK = Unkept(Reason.NO_OWNER, Reason.NO_CALLBACK, Reason.NO_OWNER)
"""Before anything moves: the plan took it for stuck, because it is not only there."""
LEFT_BEHIND = Unkept(Reason.TIMEOUT, Reason.TIMEOUT, Reason.ALREADY_ISOLATED, "reserved")
"""After an attempt: the time was over; a free frame's pageblock is isolated by somebody else."""


def find_obstacles(
    frames: Frames,
    mover: Mover,
    design: Design,
    pfns: Pfns,
    mode: Mode = Mode.SYNC,
    *,
    unkept: Unkept | None = PLANNED_AS_STUCK,
) -> Obstacles:
    """Say why frames stay, and whose they are; asks, and changes nothing.

    Frames that nobody uses and yet nobody may have (reserved) count as NO_OWNER.  A hole is
    nobody's and in nobody's way: it is left out.

    Args:
        frames: the columns.
        mover: knows what only page tables hold, and which references nobody accounts for.
        design: asked about frames that mm cannot move by itself.
        pfns: ascending.
        mode: handed to the design.
        unkept: what is said of those that nothing keeps; None: they are left out.
    """
    pfns = pfns[frames.state[pfns] != FrameState.HOLE]
    if not len(pfns):
        return NO_OBSTACLES
    states = frames.state[pfns]
    reasons = np.full(len(pfns), Reason.NO_OWNER, dtype=np.uint8)
    reserved = PLANNED_AS_STUCK.reserved if unkept is None else unkept.reserved
    used = np.flatnonzero(states == FrameState.USED)
    if len(used):
        found = mover.classify(pfns[used], design, mode)
        reasons[used] = found.reasons
        if unkept is not None:
            reasons[used[found.answers == Answer.MOVE]] = unkept.moves
            reasons[used[found.answers == Answer.RELEASE]] = unkept.released
    if unkept is not None:
        reasons[states == FrameState.FREE] = unkept.free
    else:
        stays = (reasons > Reason.RELEASED) & (states != FrameState.FREE)
        pfns, reasons, states = pfns[stays], reasons[stays], states[stays]
    if not len(pfns):
        return NO_OBSTACLES
    within = Span(int(pfns[0]), int(pfns[-1]) + 1)
    codes, names = design.holders(frames.nr_frames, within)
    holder = codes[pfns].astype(np.int64)
    holder[(holder == 0) & mover.has_home(pfns)] = len(names)
    if reserved is not None:
        holder[states == FrameState.RESERVED] = len(names) + 1
    return Obstacles(pfns, reasons, holder, (*names, HOME, reserved or HOME))
