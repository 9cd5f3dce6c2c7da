"""Does asking again help?  Two recordings of one machine, taken apart, tell as far as they can.

A frame that was in the way and is still the same owner's is held for long; one that has been
let go, or is somebody else's by now, was in the way for a moment.  Whoever took a frame back
in between looks as if it had never let go, so the share held for long is an upper bound.

Owns: that comparison.
Ignores: how long "apart" was.
Cost: a pass over the frames that were in the way.
"""

import numpy as np
from attrs import frozen

from pinlab.snapshot.holdings import codes_of
from pinlab.snapshot.image import Snapshot
from pinpage.errors import PinpageError
from pinpage.units import Mask, Pfns

__all__ = ["Again", "OwnerAgain", "compare_again"]


@frozen
class OwnerAgain:
    """Frames of one owner that were in the way, and how many of them it still holds."""

    owner: str
    nr_pages: int
    nr_held: int

    @property
    def held_share(self) -> float:
        """Of its frames, the share that it still holds."""
        return self.nr_held / self.nr_pages if self.nr_pages else 0.0


@frozen
class Again:
    """What a later recording says about what was in the way.

    Attributes:
        recording: the later one's name.
        owners: those that were in the way, most frames first.
        nr_stuck: candidates that something was stuck in.
        nr_clear: of these, those that nothing is stuck in by then.
    """

    recording: str
    owners: tuple[OwnerAgain, ...]
    nr_stuck: int
    nr_clear: int


def compare_again(
    first: Snapshot, later: Snapshot, stuck: Mask, starts: Pfns, nr_pages: int, later_stuck: Mask
) -> Again:
    """Whether what was in the way of these ranges still is.

    Args:
        first: the recording that the ranges are of.
        later: the same machine, later.
        stuck: bool (nr_frames,), frames that could not move then.
        starts: int64 (n,), first pfns of the ranges that had one.
        nr_pages: frames of a range.
        later_stuck: bool (nr_frames,), frames that cannot move in the later recording.

    Raises:
        PinpageError: the two are not of one machine: their frames differ in number.
    """
    if first.nr_frames != later.nr_frames:
        raise PinpageError(
            f"again={later.name}: has {later.nr_frames:,d} frames, not {first.nr_frames:,d}: "
            "give a later recording of the same machine"
        )
    codes, names = codes_of(first)
    codes_later, names_later = codes_of(later)
    in_range = np.zeros(first.nr_frames + 1, dtype=np.int64)
    np.add.at(in_range, starts, 1)
    np.add.at(in_range, np.minimum(starts + nr_pages, first.nr_frames), -1)
    pfns = np.flatnonzero(stuck & (np.cumsum(in_range)[:-1] > 0))
    same_name = np.array(names)[codes[pfns]] == np.array(names_later)[codes_later[pfns]]
    held = same_name & later_stuck[pfns]
    counts = np.bincount(codes[pfns], minlength=len(names))
    nr_held = np.bincount(codes[pfns[held]], minlength=len(names))
    order = [code for code in np.argsort(-counts, kind="stable").tolist() if counts[code]]
    running = np.concatenate([[0], np.cumsum(later_stuck)])
    clear = running[np.minimum(starts + nr_pages, first.nr_frames)] == running[starts]
    return Again(
        recording=later.name,
        owners=tuple(OwnerAgain(names[c], int(counts[c]), int(nr_held[c])) for c in order),
        nr_stuck=len(starts),
        nr_clear=int(np.count_nonzero(clear)),
    )
