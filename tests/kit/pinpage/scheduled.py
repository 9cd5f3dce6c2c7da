"""Real threads, one at a time, under a schedule that somebody draws; what fails can be shrunk.

Each thread stops wherever CPython could let another one in (`places`), and goes on when the
schedule says so.  A schedule is a list of (how many places one thread goes on, who is next): the
empty one lets each run to its end, and whatever makes it shorter or its numbers smaller has
fewer preemptions, earlier ones.  So a property test that draws schedules shrinks to the fewest
switches that break it.

Locks are those of the explorer: who waits is not scheduled, and if all wait that is a deadlock.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType

from pinpage.testing.explore import Actors
from pinpage.testing.stepping import in_steps, stop_here, with_stepped_locks
from tests.kit.pinpage.places import at_places

__all__ = ["run_scheduled"]


def run_scheduled(
    make: Callable[[], Sequence[Callable[[], object]]],
    schedule: Iterable[tuple[int, int]],
    is_looked_at: Callable[[str], bool],
    locking: Sequence[ModuleType],
) -> list[str]:
    """Run each function in a thread of its own, as the schedule says; what was done, in order.

    Args:
        make: the functions, in a fresh world: called when its locks are the explorer's.
        schedule: (places to pass, number of the thread to go on with), one after the other.
        is_looked_at: says of the path of a file whether threads stop in it; not of one that makes
            them stop.
        locking: modules that make locks there.

    Raises:
        AssertionError: everybody waits for somebody else.
        BaseException: whatever a function raises.
    """
    with with_stepped_locks(*locking):
        functions = make()
        steps = [in_steps(lambda f=f: _traced(f, is_looked_at)) for f in functions]
        actors = Actors({str(number): actor for number, actor in enumerate(steps)})
        turns = _Turns(actors)
        try:
            for nr_places, number in schedule:
                turns.go_on(nr_places)
                turns.switch(number)
            while actors.live:
                turns.go_on(sys.maxsize)
                turns.switch(0)
        finally:
            actors.close()
    return turns.log


def _traced(function: Callable[[], object], is_looked_at: Callable[[str], bool]) -> object:
    before = sys.gettrace()
    sys.settrace(at_places(is_looked_at, _stop, every=True))
    try:
        return function()
    finally:
        sys.settrace(before)


def _stop(frame) -> None:
    name = frame.f_code.co_filename.rpartition("/")[2]
    stop_here(f"{name}:{frame.f_lineno} {frame.f_code.co_name}")


class _Turns:
    """Whose turn it is."""

    def __init__(self, actors: Actors) -> None:
        self.actors = actors
        self.log: list[str] = []
        self._names = list(actors.live)
        self._current = self._names[0]

    def switch(self, number: int) -> None:
        """To one of those that are ready, counted round from the current one."""
        ready = self.actors.ready()
        if ready:
            at = self._names.index(self._current) + 1
            order = [name for name in self._names[at:] + self._names[:at] if name in ready]
            self._current = order[number % len(order)]

    def go_on(self, nr_places: int) -> None:
        """The current thread passes so many places, unless it ends or waits before."""
        for _ in range(nr_places):
            if self._current not in self.actors.ready():
                return
            self.log.append(f"{self._current}: {self.actors.step(self._current)}")
