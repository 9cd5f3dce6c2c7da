"""An actor for the explorer that stops before each call it makes of something.

A move is a generator of steps, and does nothing between two of them; but within one it gives
several things back, and others may come in between.  `by_calls` runs any function in a thread
of its own, on behalf of an actor: before each call of a method of what is lent to it, it
stops, and the explorer may let somebody else go on.  One of the two threads runs at a time, so
the same schedule does the same again.

    by_calls(lambda registry, world: move_many(registry, world, ...), registry, world)

`in_steps` does the same for a function that says itself where others may come in, by calling
`stop_here` from however deep: from a callback, from a hook, from a `SteppedLock`, which is a
lock that the explorer knows of.  So code that locks and waits is explored as it stands, and two
who wait for each other are a violation, not a test that hangs.

Cost: two switches of threads per call, about 20 us.
"""

import contextlib
import threading
from collections.abc import Callable, Collection, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any, Self

from pinpage.testing.explore import Actor, Until

__all__ = ["SteppedLock", "by_calls", "in_steps", "stop_here", "with_stepped_locks"]


class _Cancelled(BaseException):
    """The explorer is done with this schedule."""


class _Baton:
    """Says whose turn it is: the explorer's, or the thread's."""

    def __init__(self) -> None:
        self.go_on, self.stopped = threading.Semaphore(0), threading.Semaphore(0)
        self.comes_to: object = ""
        self.is_cancelled = self.is_over = False
        self.error: BaseException | None = None
        self.result: Any = None

    def run(self, function: Callable[[], Any]) -> None:
        """In the thread: all of it, from the first turn on."""
        self.go_on.acquire()
        _here.baton = self
        try:
            if not self.is_cancelled:
                self.result = function()
        except _Cancelled:
            pass
        except BaseException as error:  # noqa: BLE001 - raised by the actor
            self.error = error
        self.is_over = True
        self.stopped.release()

    def stop_at(self, place: object) -> None:
        """In the thread: the explorer's turn; `place` is a name, or an `Until`."""
        if self.is_cancelled:  # it is being undone: let it
            return
        self.comes_to = place
        self.stopped.release()
        self.go_on.acquire()
        if self.is_cancelled:
            raise _Cancelled

    def take_turn(self) -> None:
        """In the explorer: the thread's turn, until it stops or is over."""
        self.go_on.release()
        self.stopped.acquire()


class _Here(threading.local):
    """Whose thread this is."""

    baton: _Baton | None = None


_here = _Here()


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
            self._baton.stop_at(f"comes to {name}")
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
    return (yield from _turns(baton, lambda: function(*lent)))


def in_steps(function: Callable[[], Any]) -> Actor:
    """Run `function()`, stopping wherever it, or what it calls, comes to `stop_here`.

    Yields:
        What `stop_here` was given.

    Returns:
        What the function returned.
    """
    return (yield from _turns(_Baton(), function))


def stop_here(place: object) -> bool:
    """In a thread of `in_steps`: others may come in; elsewhere nothing happens.

    Args:
        place: the name of what is about to happen, or an `Until` to wait for.

    Returns:
        Whether this is such a thread, and not one that is being undone.
    """
    baton = _here.baton
    if baton is None or baton.is_cancelled:
        return False
    baton.stop_at(place)
    return True


class SteppedLock:
    """A lock, plain or re-entrant, that the explorer sees somebody wait for."""

    def __init__(self, *, reentrant: bool = False, is_place: bool = False) -> None:
        """Free.

        Args:
            reentrant: whoever has it may take it again.
            is_place: others may come in before each time that it is taken.
        """
        self._reentrant, self._is_place = reentrant, is_place
        self._owner: int | None = None
        self._depth = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take it, as soon as it is free.

        Args:
            blocking: whether to wait for it.
            timeout: not looked at: here no time goes by.

        Raises:
            AssertionError: it is not free, and the caller is nobody who could wait.
        """
        me = threading.get_ident()
        if self._is_place:
            stop_here("comes to a lock")
        while not (self._owner is None or (self._reentrant and self._owner == me)):
            if not blocking:
                return False
            if not stop_here(Until(lambda: self._owner is None, "the lock is free")):
                raise AssertionError("a lock that is taken, and nobody here who could wait for it")
        self._owner, self._depth = me, self._depth + 1
        return True

    def release(self) -> None:
        """Give it back."""
        self._depth -= 1
        if not self._depth:
            self._owner = None

    def locked(self) -> bool:
        """Whether somebody has it."""
        return self._owner is not None

    def __enter__(self) -> Self:
        """Take it."""
        self.acquire()
        return self

    def __exit__(self, *exc: object) -> None:
        """Give it back."""
        self.release()


@contextlib.contextmanager
def with_stepped_locks(*modules: ModuleType, is_place: bool = False) -> Iterator[None]:
    """While inside, whatever these modules lock with is a `SteppedLock`.

    Args:
        modules: that say `threading.Lock()` or `threading.RLock()`.
        is_place: see `SteppedLock`.
    """

    def lock() -> SteppedLock:
        return SteppedLock(is_place=is_place)

    def rlock() -> SteppedLock:
        return SteppedLock(reentrant=True, is_place=is_place)

    before = [vars(module)["threading"] for module in modules]
    for module, real in zip(modules, before, strict=True):
        vars(module)["threading"] = SimpleNamespace(**{**vars(real), "Lock": lock, "RLock": rlock})
    try:
        yield
    finally:
        for module, real in zip(modules, before, strict=True):
            vars(module)["threading"] = real


def _turns(baton: _Baton, function: Callable[[], Any]) -> Actor:
    """Let it run in a thread of its own, from one stop to the next."""
    thread = threading.Thread(target=baton.run, args=(function,), daemon=True)
    thread.start()
    try:
        baton.take_turn()
        while not baton.is_over:
            yield baton.comes_to
            baton.take_turn()
    finally:
        if not baton.is_over:
            baton.is_cancelled = True
            baton.take_turn()
        thread.join()
    if baton.error is not None:
        raise baton.error
    return baton.result
