"""Read and write objects of a zsmalloc pool, waiting out a mover in another thread.

The kernel's map sleeps on the zspage's lock.  A move takes microseconds, so here we pause and
ask again.  The mover's own thread, which calls from within its move, could only wait for
itself: it is told at once.
"""

import time
from collections.abc import Iterator

from mm.state.errno import Errno
from owners.zsmalloc.objects import ZsObjects
from pinpage.errors import ContextError

__all__ = ["read_when_still", "write_when_still"]

_NR_TRIES = 20_000
_PAUSE_S = 100e-6


def read_when_still(pool: ZsObjects, handle: int, nr_bytes: int) -> bytes:
    """The first bytes of an object.

    Raises:
        NoZsObjectError: the handle names no object.
        ContextError: its pages are under move by this very thread, or have been under
            another's for two seconds.
    """
    for _ in _pauses(pool, handle):
        data = pool.read(handle, nr_bytes)
        if not isinstance(data, Errno):
            return data
    raise _stuck(handle)


def write_when_still(pool: ZsObjects, handle: int, data: bytes) -> None:
    """Write the first bytes of an object; raises as `read_when_still`."""
    for _ in _pauses(pool, handle):
        if pool.write(handle, data) is Errno.OK:
            return
    raise _stuck(handle)


def _pauses(pool: ZsObjects, handle: int) -> Iterator[None]:
    """One turn at once, then one after each pause, until waiting is hopeless."""
    yield None
    for _ in range(_NR_TRIES):
        if pool.is_under_own_move(handle):
            return
        time.sleep(_PAUSE_S)
        yield None


def _stuck(handle: int) -> ContextError:
    return ContextError(
        f"zsmalloc: the pages of handle {handle:#x} stay under move: "
        "do not use a pool from within a move of its own pages"
    )
