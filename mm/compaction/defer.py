"""How often compaction of a zone is left out after it has failed.

Each failure doubles the attempts that are skipped, up to 63 of 64; an allocation that
succeeds forgets them all.

Kernel counterpart: defer_compaction, compaction_deferred, compaction_defer_reset and
compaction_restarting (mm/compaction.c of v6.1).
"""

from attrs import define

from mm.buddy.free_area import NR_ORDERS

__all__ = ["MAX_DEFER_SHIFT", "Deferral"]

MAX_DEFER_SHIFT = 6
"""Compaction that keeps failing is tried once in 2^6 times, not less often."""


@define
class Deferral:
    """One zone's account.

    Attributes:
        shift: of 2^shift attempts one runs.
        considered: attempts since the last failure.
        failed_order: the lowest order that failed; attempts below it always run.
    """

    shift: int = 0
    considered: int = 0
    failed_order: int = NR_ORDERS

    def defers(self, order: int) -> bool:
        """Count an attempt; whether it is to be skipped."""
        if order < self.failed_order:
            return False
        self.considered += 1
        if self.considered >= 1 << self.shift:
            self.considered = 1 << self.shift
            return False
        return True

    def fail(self, order: int) -> None:
        """A synchronous attempt failed: skip twice as many."""
        self.considered = 0
        self.shift = min(self.shift + 1, MAX_DEFER_SHIFT)
        self.failed_order = min(self.failed_order, order)

    def succeed(self, order: int) -> None:
        """An allocation of this order went well."""
        self.shift = self.considered = 0
        self.expect(order)

    def expect(self, order: int) -> None:
        """Compaction made a block of this order, whoever gets it."""
        self.failed_order = max(self.failed_order, order + 1)

    def is_restarting(self, order: int) -> bool:
        """Whether this attempt follows as many skipped ones as there can be."""
        longest = self.shift == MAX_DEFER_SHIFT and self.considered >= 1 << self.shift
        return longest and order >= self.failed_order
