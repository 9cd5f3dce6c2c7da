"""Pins of one thread that have not reached their node yet.

Owns:    one dict per thread and node; who may touch it when.
Ignores: what becomes of a pin once it is drained (`pinpage.shard`).
Cost:    a dict store per pin, and one lock acquisition per full batch instead of per pin.
Kernel counterpart: the per-CPU page lists and the LRU batches (pagevec).  As there, the
         batch delays the *list*, never the *mark*: the claim in the shard's table, made by
         one atomic step before the pin is batched, plays the part of the page flag.
"""

import threading
import weakref
from typing import TypeAlias

__all__ = ["Batch", "Entry"]


Entry: TypeAlias = "tuple[int, int, Batch]"
"""(tag, value, batch): one pin in a batch, known by identity (each pin makes its own)."""


class Batch:
    """Pins of one thread on one node.

    Only its own thread adds to `pending`.  Anybody may take out: its own thread without a
    lock (a pin undone in its batch), others and every drain under the node's lock.  Each
    of these is one atomic dict operation, so exactly one of them gets an entry.

    Attributes:
        pending: entries by pfn; at most one per frame over all batches of a node.
        refused: entries that a drain found to have lost a race: handed back to the thread,
            which is still inside `pin` and looks here before it returns.
    """

    __slots__ = ("_thread", "nr_annihilated", "pending", "refused")

    def __init__(self) -> None:
        """An empty batch of the calling thread."""
        self.pending: dict[int, Entry] = {}
        self.refused: list[Entry] = []
        self.nr_annihilated = 0
        self._thread = weakref.ref(threading.current_thread())

    @property
    def is_abandoned(self) -> bool:
        """Whether its thread has ended."""
        thread = self._thread()
        return thread is None or not thread.is_alive()
