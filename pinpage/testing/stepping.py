"""An actor for the explorer that stops before each call it makes of something.

A move is a generator of steps, and does nothing between two of them; but within one it gives
several things back, and others may come in between.  `by_calls` runs any function in a thread
of its own, on behalf of an actor: before each call of a method of what is lent to it, it
stops, and the explorer may let somebody else go on.  One of the two threads runs at a time, so
the same schedule does the same again.

    by_calls(lambda registry, world: move_many(registry, world, ...), registry, world)

Cost: two switches of threads per call, about 20 us.
"""

import threading
from collections.abc import Callable, Collection
from typing import Any

from pinpage.testing.explore import Actor

__all__ = ["by_calls"]


class _Cancelled(BaseException):
    """The explorer is done with this schedule."""


class _Baton:
    """Says whose turn it is: the explorer's, or the thread's."""

    def __init__(self) -> None:
        self.go_on, self.stopped = threading.Semaphore(0), threading.Semaphore(0)
        self.next_call = ""
        self.is_cancelled = self.is_over = False
        self.error: BaseException | None = None
        self.result: Any = None

    def run(self, function: Callable[[], Any]) -> None:
        """In the thread: all of it, from the first turn on."""
        self.go_on.acquire()
        try:
            if not self.is_cancelled:
                self.result = function()
        except _Cancelled:
            pass
        except BaseException as error:  # noqa: BLE001 - raised by the actor
            self.error = error
        self.is_over = True
        self.stopped.release()

    def stop_before(self, call: str) -> None:
        """In the thread: the explorer's turn."""
        if self.is_cancelled:  # it is being undone: let it
            return
        self.next_call = call
        self.stopped.release()
        self.go_on.acquire()
        if self.is_cancelled:
            raise _Cancelled

    def take_turn(self) -> None:
        """In the explorer: the thread's turn, until it stops or is over."""
        self.go_on.release()
        self.stopped.acquire()


class _Lent:
    """What is lent: the thing itself, but each call of a method is announced."""

    def __init__(self, thing: object, baton: _Baton, names: Collection[str]) -> None:
        self._thing, self._baton, self._names = thing, baton, names

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._thing, name)
        of_part = {n.removeprefix(f"{name}.") for n in self._names if n.startswith(f"{name}.")}
        if of_part:
            return _Lent(value, self._baton, of_part)
        if name not in self._names:
            return value

        def announced(*args: Any, **kwargs: Any) -> Any:
            self._baton.stop_before(name)
            return value(*args, **kwargs)

        return announced


def by_calls(function: Callable[..., Any], *things: object, names: Collection[str]) -> Actor:
    """Run `function(*lent)`, stopping before each call of the named methods.

    Args:
        function: what the actor does.
        things: what is lent to it; others go on using the things themselves.
        names: methods before which it stops; "marks.end_move" is one of a part.

    Yields:
        The name of the method that it is about to call.

    Returns:
        What the function returned.
    """
    baton = _Baton()
    lent = [_Lent(thing, baton, names) for thing in things]
    thread = threading.Thread(target=baton.run, args=(lambda: function(*lent),), daemon=True)
    thread.start()
    try:
        baton.take_turn()
        while not baton.is_over:
            yield f"comes to {baton.next_call}"
            baton.take_turn()
    finally:
        if not baton.is_over:
            baton.is_cancelled = True
            baton.take_turn()
        thread.join()
    if baton.error is not None:
        raise baton.error
    return baton.result
