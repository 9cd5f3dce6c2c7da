"""When an allocation that failed tries again: pure decisions of the slow path.

Kernel counterpart: should_compact_retry and should_reclaim_retry (mm/page_alloc.c of v6.1).
"""

from attrs import define

from mm.compaction.compact_control import COSTLY_ORDER, CompactPriority, CompactResult

__all__ = ["MAX_COMPACT_RETRIES", "MAX_RECLAIM_RETRIES", "Retries"]

MAX_COMPACT_RETRIES = 16
"""Attempts that made progress and yet came away with nothing, before trying harder."""
MAX_RECLAIM_RETRIES = 16
"""Rounds of reclaim without progress before giving up."""


@define
class Retries:
    """What an allocation has behind it, and how hard it compacts next.

    Attributes:
        order: log2 of the pages wanted.
        priority: of the next compaction.
        nr_compactions: attempts at this priority that made progress.
        nr_in_vain: rounds of reclaim without progress (all of them, for costly orders).
    """

    order: int
    priority: CompactPriority = CompactPriority.SYNC_LIGHT
    nr_compactions: int = 0
    nr_in_vain: int = 0

    @property
    def hardest(self) -> CompactPriority:
        """Costly orders stop short of the highest priority."""
        costly = self.order > COSTLY_ORDER
        return CompactPriority.SYNC_LIGHT if costly else CompactPriority.SYNC_FULL

    def compact_again(self, result: CompactResult, *, reclaim_may_help: bool) -> bool:
        """Whether to compact once more; may raise the priority.

        Args:
            result: of the last attempt.
            reclaim_may_help: whether compaction would have room if all that can be reclaimed
                were.
        """
        if self.order == 0:
            return False
        if result is CompactResult.SUCCESS:
            self.nr_compactions += 1
            most = MAX_COMPACT_RETRIES // (4 if self.order > COSTLY_ORDER else 1)
            if self.nr_compactions <= most:
                return True
        elif result is CompactResult.SKIPPED:
            return reclaim_may_help
        return self._try_harder()

    def _try_harder(self) -> bool:
        if self.priority <= self.hardest:
            return False
        self.priority = CompactPriority(self.priority - 1)
        self.nr_compactions = 0
        return True

    def reclaim_again(self, *, progress: bool, would_suffice: bool) -> bool:
        """Whether to reclaim once more.

        Args:
            progress: whether the last round freed anything.
            would_suffice: whether the request would pass if all that can be reclaimed were.
        """
        if progress and self.order <= COSTLY_ORDER:
            self.nr_in_vain = 0
        else:
            self.nr_in_vain += 1
        return self.nr_in_vain <= MAX_RECLAIM_RETRIES and would_suffice
