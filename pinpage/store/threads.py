"""The threads that use a registry, and what a child of fork() has to set right.

Owns:    where each thread is in the registry; the list of whatever wants to be told of a fork.
Ignores: what they do there.
Cost:    two attribute look-ups; nothing until a process forks.
Kernel counterpart: current and its preempt count; copy_process: of all threads only the caller
         goes on.
"""

import os
import sys
import threading
from typing import Protocol
from weakref import WeakSet

__all__ = ["RUNS_IN_PARALLEL", "Forked", "Thread", "Threads", "tell_in_child"]

RUNS_IN_PARALLEL: bool = not getattr(sys, "_is_gil_enabled", lambda: True)()
"""Whether two threads can be between two calls at one time: CPython without its global lock."""


class Thread:
    """A thread that uses a registry.

    Attributes:
        ident: as of `threading.get_ident`.
        home: the node that it says it runs on (0 unless told).
        top: one more than the number of the node whose locked section it is in, the last
            one that it entered; 0 outside.  What interrupts it there may enter later ones only.
    """

    __slots__ = ("home", "ident", "top")

    def __init__(self) -> None:
        """The calling one."""
        self.ident = threading.get_ident()
        self.home = self.top = 0


class Threads(threading.local):
    """All threads of a registry.

    Attributes:
        current: the calling one.
    """

    def __init__(self) -> None:
        """Runs in each thread at its first use of the registry."""
        self.current = Thread()


class Forked(Protocol):
    """Who wants to be told."""

    def after_fork(self) -> None:
        """In the child, before anything else: the calling thread is the only one."""


def tell_in_child(who: Forked) -> None:
    """Call `after_fork` in every child that is forked while this lives."""
    _LISTENERS.add(who)


def _tell() -> None:
    for listener in list(_LISTENERS):
        listener.after_fork()


_LISTENERS: "WeakSet[Forked]" = WeakSet()
os.register_at_fork(after_in_child=_tell)
