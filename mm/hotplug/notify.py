"""Who is told before memory goes or comes, and may say no.

Whoever keeps something per memory block (page_ext, a balloon, a driver with DMA maps) adds a
notifier.  A GOING_ step may be vetoed; then everybody is told that it was cancelled, those
who were not asked yet included.

Kernel counterpart: memory_notify() and register_memory_notifier() (drivers/base/memory.c).
"""

import enum
from collections.abc import Callable

from mm.state.errno import Errno

__all__ = ["MemoryAction", "MemoryNotifiers", "Notifier"]


class MemoryAction(enum.Enum):
    """What is about to happen to a memory block, or has happened (MEM_ of v6.1)."""

    GOING_OFFLINE = "going offline"
    """Isolated, still full; may be vetoed."""
    CANCEL_OFFLINE = "cancel offline"
    OFFLINE = "offline"
    """Gone: its frames are holes."""
    GOING_ONLINE = "going online"
    """Not there yet; may be vetoed."""
    CANCEL_ONLINE = "cancel online"
    ONLINE = "online"


Notifier = Callable[[MemoryAction, int], Errno]
"""(what, which memory block) -> OK, or why not; what it answers to an accomplished fact is lost."""


class MemoryNotifiers:
    """The chain, in the order in which they were added."""

    def __init__(self) -> None:
        """Nobody."""
        self._chain: list[Notifier] = []

    def add(self, notifier: Notifier) -> None:
        """Tell this one too, from now on."""
        self._chain.append(notifier)

    def remove(self, notifier: Notifier) -> None:
        """Tell this one no more.

        Raises:
            ValueError: it was not added.
        """
        self._chain.remove(notifier)

    def ask(self, action: MemoryAction, cancel: MemoryAction, block: int) -> Errno:
        """Tell everybody of a step that may be vetoed; after a veto, all that it is cancelled.

        Args:
            action: what is going to happen, or has.
            cancel: what is told to those already asked after a veto.
            block: number of the memory block.

        Raises:
            BaseException: what a notifier raised, which is a veto as well.
        """
        agreed = False
        try:
            for notifier in tuple(self._chain):
                errno = notifier(action, block)
                if errno is not Errno.OK:
                    return errno
            agreed = True
        finally:
            if not agreed:
                self.notify(cancel, block)
        return Errno.OK

    def notify(self, action: MemoryAction, block: int) -> None:
        """Tell everybody what has happened.

        Args:
            action: what is going to happen, or has.
            block: number of the memory block.
        """
        for notifier in tuple(self._chain):
            notifier(action, block)
