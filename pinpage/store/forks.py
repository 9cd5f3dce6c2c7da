"""What a child of fork() has to set right: locks that other threads held, and what they began.

Owns:    the list of whatever wants to be told.
Ignores: what they do.
Cost:    nothing until a process forks.
Kernel counterpart: copy_process: of all threads only the caller goes on.
"""

import os
from typing import Protocol
from weakref import WeakSet

__all__ = ["Forked", "tell_in_child"]


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
