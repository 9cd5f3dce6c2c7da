"""Pins of one thread that have not reached their node yet.

Owns:    one dict per thread and node; who may touch it when.
Ignores: what becomes of a pin once it is drained (`pinpage.store.shard`).
Cost:    a dict store per pin, and one lock acquisition per full batch instead of per pin.
Kernel counterpart: the per-CPU page lists and the LRU batches (pagevec).  As there, the
         batch delays the *list*, never the *mark*: the claim in the shard's table, made by
         one atomic step before the pin is batched, plays the part of the page flag.
"""

import threading
import weakref
from typing import TypeAlias

__all__ = ["Batch", "Entry", "Thread"]


Entry: TypeAlias = "tuple[int, int, Batch]"
"""(tag, value, batch): one pin in a batch, known by identity (each pin makes its own)."""


class Thread:
    """A thread that uses a registry.

    Attributes:
        ident: as of `threading.get_ident`.
        home: the node that it says it runs on (0 unless told).
        top: one more than the number of the node whose locked section it is in, the last
            one that it entered; 0 outside.  What interrupts it there may enter later ones only.
    """

    __slots__ = ("_thread", "home", "ident", "top")

    def __init__(self) -> None:
        """The calling one."""
        self.ident = threading.get_ident()
        self.home = 0
        self.top = 0
        self._thread = weakref.ref(threading.current_thread())

    @property
    def has_ended(self) -> bool:
        """Whether nobody will add to its batches any more."""
        thread = self._thread()
        return thread is None or not thread.is_alive()


class Batch:
    """Pins of one thread on one node.

    Only its own thread adds to `pending`.  Anybody may take out: its own thread without a
    lock (a pin undone in its batch), others and every drain under the node's lock.  Each
    of these is one atomic dict operation, so exactly one of them gets an entry.

    Attributes:
        thread: whose it is.
        pending: entries by pfn; at most one per frame over all batches of a node.
        refused: entries that a drain found to have lost a race: handed back to the thread,
            which is still inside `pin` and looks here before it returns.
    """

    __slots__ = ("nr_annihilated", "pending", "refused", "thread")

    def __init__(self, thread: Thread) -> None:
        """An empty batch of this thread."""
        self.thread = thread
        self.pending: dict[int, Entry] = {}
        self.refused: list[Entry] = []
        self.nr_annihilated = 0
