"""Simulated time for devices: events on the machine's clock, and how long a request takes.

An event is due at a simulated time; it happens when time passes up to there.
Two events at one time happen in the order in which they were planned.

Kernel counterpart: hrtimer as the null block device uses it (drivers/block/null_blk).
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from attrs import field, frozen
from numpy.typing import ArrayLike, NDArray

from mm.state.costs import SimClock
from pinpage.errors import PinpageError

__all__ = ["Constant", "EventQueue", "Histogram", "Latency", "Lognormal"]


class EventQueue:
    """What devices are going to do, on a `SimClock`.

    The plans are the clock's: two queues over one clock are one, and a request that lets time
    pass lets happen what is due.

    >>> events, seen = EventQueue(SimClock()), []
    >>> _ = events.after(20, lambda: seen.append("b")), events.after(10, lambda: seen.append("a"))
    >>> events.run_until(15), seen, events.clock.now_ns
    (1, ['a'], 15)

    Cost: about 1 us per event.
    """

    def __init__(self, clock: SimClock) -> None:
        """Events of that clock.  It may be moved on by others; then events are late."""
        self.clock = clock

    def __len__(self) -> int:
        """How many events are planned."""
        return self.clock.nr_planned

    def __contains__(self, event_id: int) -> bool:
        """Whether an event is still to happen."""
        return self.clock.is_planned(event_id)

    @property
    def next_ns(self) -> int | None:
        """When the next event is due; None if nothing is planned."""
        return self.clock.next_ns()

    def after(self, delay_ns: int, action: Callable[[], None]) -> int:
        """Plan `action` in `delay_ns`; an id to cancel it by.

        Args:
            delay_ns: from now on.
            action: what happens.  It may come while a move waits: a process that goes on
                is planned with the clock's `plan` and a rank.

        Raises:
            PinpageError: it would have happened already.
        """
        if not delay_ns >= 0:
            raise PinpageError(f"events: delay_ns={delay_ns}: nothing is planned for the past")
        return self.clock.plan(self.clock.now_ns + delay_ns, action)

    def cancel(self, event_id: int) -> bool:
        """Forget an event; False if it has happened."""
        return self.clock.cancel(event_id)

    def step(self) -> bool:
        """Let time pass until the next event and let that happen; False if there is none."""
        return self.clock.step()

    def run_until(self, time_ns: int) -> int:
        """Let time pass until `time_ns` at least; how many events happened."""
        return self.clock.run_until(time_ns)


class Latency(Protocol):
    """How long requests take at the device."""

    def draw(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        """Service times in ns, int64[count], none negative.

        Args:
            rng: where chance comes from.
            count: how many.
        """


@frozen
class Constant:
    """Every request takes `ns`."""

    ns: int = field()

    @ns.validator
    def _check(self, _attribute: object, value: int) -> None:
        if value < 0:
            raise PinpageError(f"latency: ns={value}: a request cannot end before it began")

    def draw(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        """The same each time.

        Args:
            rng: where chance comes from.
            count: how many.
        """
        return np.full(count, self.ns, dtype=np.int64)


@frozen
class Lognormal:
    """Half of the requests take less than `median_ns`; `sigma` of the logarithm is the spread."""

    median_ns: int = field()
    sigma: float = field(default=0.5)

    @median_ns.validator
    def _check(self, _attribute: object, value: int) -> None:
        if value < 1 or self.sigma < 0:
            raise PinpageError(f"latency: median_ns={value}, sigma={self.sigma}: must be positive")

    def draw(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        """Rounded to whole nanoseconds.

        Args:
            rng: where chance comes from.
            count: how many.
        """
        return rng.lognormal(np.log(self.median_ns), self.sigma, count).astype(np.int64)


def _column(values: ArrayLike) -> NDArray[np.int64]:
    return np.asarray(values, dtype=np.int64)


@frozen(eq=False)
class Histogram:
    """A recorded distribution: as often as it was seen, anywhere within its bin.

    Attributes:
        edges_ns: int64[n + 1], ascending: the borders of the bins (fio and biolatency print such).
        counts: int64[n], how often.
    """

    edges_ns: NDArray[np.int64] = field(converter=_column)
    counts: NDArray[np.int64] = field(converter=_column)

    def __attrs_post_init__(self) -> None:
        """Refuse what is no histogram."""
        edges, counts = self.edges_ns, self.counts
        if len(edges) != len(counts) + 1 or not len(counts):
            raise PinpageError(f"latency: {len(edges)} edges for {len(counts)} counts: one more")
        if bool((np.diff(edges) <= 0).any()) or edges[0] < 0:
            raise PinpageError("latency: edges_ns must ascend and not be negative")
        if bool((counts < 0).any()) or not counts.any():
            raise PinpageError("latency: counts must not be negative, nor all zero")

    def draw(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        """A bin by its weight, then a time within it, evenly.

        Args:
            rng: where chance comes from.
            count: how many.
        """
        bins = rng.choice(len(self.counts), size=count, p=self.counts / self.counts.sum())
        return rng.integers(self.edges_ns[bins], self.edges_ns[bins + 1], dtype=np.int64)
