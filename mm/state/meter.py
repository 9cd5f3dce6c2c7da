"""Charging work to the simulated clock while it is being done.

A policy that may run for long, or until its patience ends, has to know what time it is: it
takes a lap after every batch, and the clock goes on by what that batch cost.
"""

from collections.abc import Callable

from mm.state.costs import CostModel, Counters, SimClock

__all__ = ["Meter"]


class Meter:
    """Turns what was counted since the last lap into time that has passed.

    Attributes:
        clock: the machine's; forward only.
    """

    def __init__(self, counted: Callable[[], Counters], costs: CostModel, clock: SimClock) -> None:
        """Charge what `counted` counts, at the prices of `costs`, to `clock`."""
        self.clock = clock
        self._counted = counted
        self._costs = costs
        self._last = counted()

    @property
    def now_ns(self) -> int:
        """Simulated time of the last lap."""
        return self.clock.now_ns

    def start(self) -> int:
        """What was done before is somebody else's to charge; the time it is, in ns."""
        self._last = self._counted()
        return self.clock.now_ns

    def lap(self) -> int:
        """Charge what was done since the last lap; the time it is now, in ns."""
        now = self._counted()
        cost_ns = self._costs.cost_of(now.since(self._last))
        self._last = now
        return self.clock.advance(cost_ns)
