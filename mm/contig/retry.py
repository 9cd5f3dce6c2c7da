"""How long an evacuation goes on, and what it came to.

Kernel counterpart: the tries of __alloc_contig_migrate_range(), the signals that
alloc_contig_range() and offline_pages() look for; the simulated time limit is ours.
"""

from collections.abc import Callable

import numpy as np
from attrs import define, field, frozen

from mm.state.errno import Errno
from mm.state.reasons import Refusals
from pinpage.errors import PinpageError
from pinpage.units import Pfns

__all__ = ["NR_CONTIG_TRIES", "EvacuationReport", "RetryPolicy"]

NR_CONTIG_TRIES = 5
"""Migrate calls for one batch before contiguous allocation gives up."""


def _never() -> bool:
    return False


def _nothing() -> None:
    return


def _no_pfns() -> Pfns:
    return np.empty(0, dtype=np.int64)


@frozen
class RetryPolicy:
    """When to give up.

    Attributes:
        nr_tries: migrate calls for one batch; None: go over the range for ever.
        timeout_ns: simulated ns from the start; None: no limit.
        signal_pending: asked before each batch and each try; True ends it with EINTR.
        between_tries: called before a try that follows a failed one: the world goes on.
    """

    nr_tries: int | None = NR_CONTIG_TRIES
    timeout_ns: int | None = None
    signal_pending: Callable[[], bool] = field(default=_never, eq=False)
    between_tries: Callable[[], None] = field(default=_nothing, eq=False)

    def __attrs_post_init__(self) -> None:
        """Refuse limits below 1.

        Raises:
            PinpageError: names the field.
        """
        for name in ("nr_tries", "timeout_ns"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise PinpageError(f"RetryPolicy: {name}={value}: at least 1, or None for no limit")

    @property
    def is_alone(self) -> bool:
        """Whether nothing happens between two tries: then what is immovable stays so."""
        return self.between_tries is _nothing

    @property
    def can_end(self) -> bool:
        """Whether a range that never empties is given up some day."""
        signalled = self.signal_pending is not _never
        limited = self.nr_tries is not None or self.timeout_ns is not None
        return limited or signalled or not self.is_alone


@define
class EvacuationReport:
    """What an evacuation came to.  Counts are pages.

    Attributes:
        errno: OK: everything that could be asked was; EBUSY: tries or time are used up;
            ENOMEM: no destination; EINTR: signalled.  OK does not promise an empty range:
            whoever cannot move at all is passed over, and the caller tests.
        pages_moved: contents went elsewhere.
        pages_freed: freed by somebody else meanwhile.
        pages_released: given up by their owners.
        pages_dropped: clean page cache given up.
        nr_tries: migrate calls made.
        refusals: frames that were tried and stayed, by the reason of the last try; those not
            tried because the time was over count as TIMEOUT.
        left: frames of the range that are still in use, ascending.
        immovable: those among them that had no way to move at all when they were last asked.
        elapsed_ns: simulated time.
        timed_out: whether EBUSY means that the time was over.
    """

    errno: Errno = Errno.OK
    pages_moved: int = 0
    pages_freed: int = 0
    pages_released: int = 0
    pages_dropped: int = 0
    nr_tries: int = 0
    refusals: Refusals = field(factory=Refusals)
    left: Pfns = field(factory=_no_pfns, eq=False)
    immovable: Pfns = field(factory=_no_pfns, eq=False)
    elapsed_ns: int = 0
    timed_out: bool = False

    def add(self, other: "EvacuationReport") -> None:
        """Add what was done for another range; how it ended is the other's."""
        self.errno, self.timed_out = other.errno, other.timed_out
        self.left, self.immovable = other.left, other.immovable
        self.pages_moved += other.pages_moved
        self.pages_freed += other.pages_freed
        self.pages_released += other.pages_released
        self.pages_dropped += other.pages_dropped
        self.nr_tries += other.nr_tries
        self.elapsed_ns += other.elapsed_ns
        self.refusals.update(other.refusals)
