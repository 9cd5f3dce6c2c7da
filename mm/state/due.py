"""What is going to happen, in the order of its times; whose clock it is says when.

Two kinds, as on a real machine:

    interrupt   a device has ended, a timer is over: may come at any moment at which somebody
                waits, also in the middle of a move
    turn        a process goes on: not in the middle of anybody's move, for it may do anything

At one time interrupts come first, then turns by rank; of equal ones the first planned.

Kernel counterpart: the timer queues of kernel/time/hrtimer.c beside the run queue.
"""

import heapq
from collections.abc import Callable

from pinpage.errors import InvariantError

__all__ = ["INTERRUPT", "Due"]

INTERRUPT = 0
"""The rank of what a device does; turns have higher ones."""

_Entry = tuple[int, int, int]
"""(time in ns, rank, id)."""


class Due:
    """Actions by the time at which they are due.

    Cost: about 1 us per action.
    """

    def __init__(self) -> None:
        """Nothing planned."""
        self._interrupts: list[_Entry] = []
        self._turns: list[_Entry] = []
        self._actions: dict[int, Callable[[], None]] = {}
        self._next_id = 0

    def __len__(self) -> int:
        """How many actions are planned."""
        return len(self._actions)

    def __contains__(self, event_id: int) -> bool:
        """Whether an action is still to happen."""
        return event_id in self._actions

    def plan(self, time_ns: int, action: Callable[[], None], rank: int = INTERRUPT) -> int:
        """Plan an action; an id to cancel it by.

        Args:
            time_ns: when.
            action: what.
            rank: `INTERRUPT`, or that of a turn.
        """
        event_id = self._next_id
        self._next_id = event_id + 1
        heap = self._turns if rank else self._interrupts
        heapq.heappush(heap, (time_ns, rank, event_id))
        self._actions[event_id] = action  # from here on it is planned
        return event_id

    def cancel(self, event_id: int) -> bool:
        """Forget an action; False if it has happened."""
        return self._actions.pop(event_id, None) is not None

    def next_ns(self, *, interrupts_only: bool = False) -> int | None:
        """When the next action is due; None if nothing is planned.

        Args:
            interrupts_only: pass over turns, as somebody in the middle of a move has to.
        """
        first = self._first(interrupts_only=interrupts_only)
        return None if first is None else first[0]

    def take(self, *, interrupts_only: bool = False) -> Callable[[], None]:
        """The next action, planned no longer: call it at once, or it is lost.

        Args:
            interrupts_only: pass over turns.

        Raises:
            InvariantError: nothing is planned.
        """
        first = self._first(interrupts_only=interrupts_only)
        if first is None:
            raise InvariantError("an action is taken where none is planned")
        return self._actions.pop(first[2])

    def _first(self, *, interrupts_only: bool) -> _Entry | None:
        heaps = (self._interrupts,) if interrupts_only else (self._interrupts, self._turns)
        for heap in heaps:
            while heap and heap[0][2] not in self._actions:  # cancelled, or taken
                heapq.heappop(heap)
        return min((heap[0] for heap in heaps if heap), default=None)
