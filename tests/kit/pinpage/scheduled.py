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

from pinpage.testing.explore import Actor, Until
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
        threads = _Threads([in_steps(lambda f=f: _traced(f, is_looked_at)) for f in functions])
        try:
            for nr_places, number in schedule:
                threads.go_on(nr_places)
                threads.switch(number)
            while threads.live:
                threads.go_on(sys.maxsize)
                threads.switch(0)
        finally:
            for actor in threads.live.values():
                actor.close()
    return threads.log


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


class _Threads:
    """Who lives, whose turn it is, and who waits."""

    def __init__(self, actors: Sequence[Actor]) -> None:
        self.live = dict(enumerate(actors))
        self.current = 0
        self.log: list[str] = []
        self._waits: dict[int, Until] = {}

    def ready(self) -> list[int]:
        """Those that could go on."""
        ready = [n for n in self.live if n not in self._waits or self._waits[n].holds()]
        if self.live and not ready:
            raise AssertionError(f"deadlock: {[str(until) for until in self._waits.values()]}")
        return ready

    def switch(self, number: int) -> None:
        """Whose turn it is: of those that are ready, counted round from the current one."""
        ready = self.ready()
        if ready:
            later = [n for n in ready if n > self.current]
            order = [*later, *(n for n in ready if n <= self.current)]
            self.current = order[number % len(order)]

    def go_on(self, nr_places: int) -> None:
        """The current thread passes so many places, unless it ends or waits before."""
        for _ in range(nr_places):
            if self.current not in self.ready():
                return
            self._waits.pop(self.current, None)
            try:
                place = next(self.live[self.current])
            except StopIteration:
                del self.live[self.current]
                self.log.append(f"{self.current}: ends")
                return
            except BaseException:
                del self.live[self.current]
                raise
            if isinstance(place, Until):
                self._waits[self.current] = place
            self.log.append(f"{self.current}: {place}")
