"""What a suite has covered, in numbers."""

import numpy as np
from attrs import define

from pinpage.move.steps import Reasons
from pinpage.owner import Reason

__all__ = ["Counts"]


@define
class Counts:
    """What a suite has covered.

    Attributes:
        nr_plans: plans run.
        nr_schedules: interleavings run.
        nr_moved, nr_refused, nr_freed: frames, by how the attempts to move or release ended.
    """

    nr_plans: int = 0
    nr_schedules: int = 0
    nr_moved: int = 0
    nr_refused: int = 0
    nr_freed: int = 0

    def add(self, reasons: Reasons) -> None:
        """Count one report."""
        moved = int(np.count_nonzero(reasons == Reason.MOVED))
        freed = int(np.count_nonzero(reasons <= Reason.RELEASED)) - moved
        self.nr_moved += moved
        self.nr_freed += freed
        self.nr_refused += len(reasons) - moved - freed
