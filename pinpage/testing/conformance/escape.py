"""What leaves an owner's code and is no plain exception: an exit is a fault like any other.

SystemExit, GeneratorExit and the rest pass every `except Exception` on their way out, so a
suite that lets them go on ends with the exit code of the owner under test.  Ctrl-C is the
user's: it arrives in the main thread and nowhere else, and a suite runs in another.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

__all__ = ["EscapedError", "contained", "exits_are_raised", "is_users", "what_it_says"]

_exit_at_once = os._exit
_held: set[tuple[int, int]] = set()
"""(process, thread) of everybody whose `os._exit` is raised; a forked child is another."""


class EscapedError(RuntimeError):
    """Stands for what is no `Exception`, so that whoever asked the owner goes on."""


def is_users(error: BaseException) -> bool:
    """Whether it is the user who wants out, and not the owner."""
    at_the_keyboard = threading.current_thread() is threading.main_thread()
    return isinstance(error, KeyboardInterrupt) and at_the_keyboard


def contained(error: BaseException) -> BaseException:
    """The error itself where it may go on, else one that an `except Exception` stops."""
    if isinstance(error, Exception) or is_users(error):
        return error
    return EscapedError(what_it_says(error))


def what_it_says(error: BaseException) -> str:
    """Name and first line of an error, for a report."""
    first = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


@contextmanager
def exits_are_raised() -> Iterator[None]:
    """Until it ends, `os._exit` in this thread raises SystemExit; in others it is itself.

    Code that has taken `_exit` out of `os` before is not stopped, nor is a signal.
    """
    me = os.getpid(), threading.get_ident()
    is_nested = me in _held
    _held.add(me)
    os._exit = _raise_or_exit
    try:
        yield
    finally:
        if not is_nested:
            _held.discard(me)
        if not _held:
            os._exit = _exit_at_once


def _raise_or_exit(status: int) -> NoReturn:
    if (os.getpid(), threading.get_ident()) in _held:
        raise SystemExit(status)
    _exit_at_once(status)
