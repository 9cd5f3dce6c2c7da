"""What consolidating memory into fewer power regions came to, group by group.

Kernel counterpart: none.
"""

from attrs import define, field

from mm.contig.retry import EvacuationReport
from mm.planning.range_plan import RangePlan
from mm.state.errno import Errno
from pinpage.units import Span

__all__ = ["Consolidation", "GroupAttempt", "GroupWatch"]


@define
class GroupAttempt:
    """What became of one group of regions.

    Attributes:
        group: its number in the map.
        span: its range.
        errno: OK: it is off; EBUSY: something in it stays; ENOMEM: no room; EINTR: stopped.
        report: what was moved, and who stayed.
    """

    group: int
    span: Span
    errno: Errno
    report: EvacuationReport = field(factory=EvacuationReport)


@define
class Consolidation:
    """What one round of consolidation came to.

    Attributes:
        attempts: groups that were tried, and under `plan` those that cannot be emptied, with
            the frames in the way.
        nr_regions_off: regions that are off now, those that were before included.
        bound: the most regions that any strategy can have off, from the state before.
        plan: under `plan`, the first that was made.
        nr_not_worth_it: groups left alone by the cost and benefit rule.
        elapsed_ns: simulated time.
    """

    attempts: list[GroupAttempt] = field(factory=list)
    nr_regions_off: int = 0
    bound: int = 0
    plan: RangePlan | None = None
    nr_not_worth_it: int = 0
    elapsed_ns: int = 0

    @property
    def nr_off(self) -> int:
        """Groups that went off in this round."""
        return sum(attempt.errno is Errno.OK for attempt in self.attempts)

    @property
    def pages_moved(self) -> int:
        """Pages whose contents went elsewhere."""
        return sum(attempt.report.pages_moved for attempt in self.attempts)


class GroupWatch:
    """Told of each group as it is tried; does nothing unless overridden."""

    def begin(self, group: int, nr_groups: int) -> None:
        """A group is about to be tried, one of at most so many.

        Args:
            group: number of the group.
            nr_groups: how many there are at most.
        """

    def end(self, attempt: GroupAttempt) -> None:
        """It was tried."""
