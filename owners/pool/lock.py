"""The lock of a pool.

Kernel counterpart: the spinlock in struct zbud_pool, z3fold_pool and zs_pool.
"""

import threading
from typing import Self

__all__ = ["PoolLock"]


class PoolLock:
    """The pool's spinlock, and how often it was taken."""

    __slots__ = ("_lock", "acquisitions")

    def __init__(self) -> None:
        """Free, never taken."""
        self._lock = threading.Lock()
        self.acquisitions = 0

    def __enter__(self) -> Self:
        """Take it."""
        self._lock.acquire()
        self.acquisitions += 1
        return self

    def __exit__(self, *exc: object) -> None:
        """Release it."""
        self._lock.release()
