"""Read and write objects of a pool, waiting out a mover in another thread.

The kernel's map sleeps on the page's or the zspage's lock.  A move takes microseconds, so here
we pause and ask again.  The mover's own thread, which calls from within its move, could only
wait for itself: it gets an error at once.

A caller that need not have the bytes does not wait: `owners.zcache` takes EAGAIN for a miss.

Kernel counterpart: the page lock that z3fold_map waits for, the lock of a zspage.
"""

import time
from collections.abc import Iterator
from typing import Protocol

from mm.state.errno import Errno
from pinpage.errors import ContextError

__all__ = ["StillPool", "read_when_still", "write_when_still"]

_PAUSE_S = 100e-6
_NR_PAUSES = 20_000


class StillPool(Protocol):
    """A pool, as far as waiting for its movers is concerned."""

    kind: str
    """Begins messages."""

    def read(self, handle: int, nr_bytes: int, offset: int = 0) -> bytes | Errno:
        """Bytes of an object; EAGAIN while it is under move."""

    def write(self, handle: int, data: bytes, offset: int = 0) -> Errno:
        """Write bytes into an object; EAGAIN while it is under move."""

    def is_under_own_move(self, handle: int) -> bool:
        """Whether the thread that asks has the object's page under move."""


def read_when_still(pool: StillPool, handle: int, nr_bytes: int, offset: int = 0) -> bytes:
    """Bytes of an object.

    Args:
        pool: where it is.
        handle: of the object.
        nr_bytes, offset: how many bytes, from which one on.

    Raises:
        NoObjectError: the handle names no object.
        ContextError: its page is under move by this very thread, or has been under
            another's for two seconds.
    """
    for _ in _tries(pool, handle):
        data = pool.read(handle, nr_bytes, offset)
        if not isinstance(data, Errno):
            return data
    raise _still_moving(pool, handle)


def write_when_still(pool: StillPool, handle: int, data: bytes) -> None:
    """Write the first bytes of an object; raises as `read_when_still`.

    Args:
        pool: where it is.
        handle: of the object.
        data: the bytes.
    """
    for _ in _tries(pool, handle):
        if pool.write(handle, data) is Errno.OK:
            return
    raise _still_moving(pool, handle)


def _tries(pool: StillPool, handle: int) -> Iterator[None]:
    """One turn at once, then one after each pause, for as long as that can help."""
    yield None
    for _ in range(_NR_PAUSES):
        if pool.is_under_own_move(handle):
            return
        time.sleep(_PAUSE_S)
        yield None


def _still_moving(pool: StillPool, handle: int) -> ContextError:
    return ContextError(
        f"{pool.kind}: the pages of handle {handle:#x} stay under move: "
        "do not use a pool from within a move of its own pages"
    )
