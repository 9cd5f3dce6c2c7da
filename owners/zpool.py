"""One protocol for pools of compressed objects, so that their user need not know which it has.

=========  ===================  =======================  ==============================
pool       objects per page     evicts to free space     its pages
=========  ===================  =======================  ==============================
zbud       two                  yes, and unuse (2013)    move with indirect handles
z3fold     three                yes                      move, headless ones do not
zsmalloc   as many as fit       no                       move; allocated as MOVABLE
=========  ===================  =======================  ==============================

The user gets a handle for so many bytes and reads and writes by handle.  Handles stay while
the VM moves pages: a pool that cannot promise that does not let its pages move.

Kernel counterpart: include/linux/zpool.h of v6.1 by behaviour: malloc, free, map and unmap
(here read and write, which need no mapping), shrink, total size, and whether the pool can
use movable memory.  zpool went away in v6.18.
"""

from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeAlias

from mm.buddy.page_source import PageSource
from mm.state.errno import Errno
from mm.state.gfp import Gfp
from owners.pool.extents import Extents
from owners.pool.handles import HandleName, Handles
from owners.pool.lock import PoolLock
from owners.pool.owner import Coverage
from owners.z3fold.pool import Z3foldPool
from owners.zbud.pool import ZbudOps, ZbudPool
from owners.zsmalloc.pool import ZsPool
from pinpage.errors import PinpageError
from pinpage.owner import PinOwner
from pinpage.registry import PinRegistry
from pinpage.units import Mask, Pfns

__all__ = ["ZPOOLS", "Zpool", "ZpoolCallback", "ZpoolName", "make_zpool", "zpool_gfp"]

ZpoolName: TypeAlias = Literal["zbud", "z3fold", "zsmalloc"]
"""The name of a kind of pool."""
ZPOOLS: tuple[ZpoolName, ...] = ("zbud", "z3fold", "zsmalloc")
"""Every kind of pool."""
ZpoolCallback: TypeAlias = Callable[[Any, int], int]
"""Called with pool and handle, without the pool's lock; 0 for success."""

_MOVABLE = {"zsmalloc": Gfp.HIGHMEM | Gfp.MOVABLE}


class Zpool(Protocol):
    """A pool of objects."""

    kind: str
    """The kind of pool, for messages."""

    @property
    def lock(self) -> PoolLock:
        """The pool's lock, which counts how often it was taken."""

    @property
    def owner(self) -> PinOwner:
        """Answers the VM for the pool's pages."""

    @property
    def pages_nr(self) -> int:
        """Pages that the pool has."""

    @property
    def nr_objects(self) -> int:
        """Objects in the pool."""

    def alloc(self, nr_bytes: int, gfp: Gfp = ...) -> int:
        """Place an object; its handle (> 0), or a negative `Errno`.

        Args:
            nr_bytes: of the object.
            gfp: for new pages, if any are needed.
        """

    def free(self, handle: int) -> None:
        """Forget an object.

        Raises:
            PinpageError: the handle names none.
        """

    def read(self, handle: int, nr_bytes: int, offset: int = 0) -> bytes | Errno:
        """Bytes of an object; EAGAIN while it is under move.

        Args:
            handle: of the object.
            nr_bytes, offset: how many bytes, from which one on.

        Raises:
            PinpageError: the handle names none, or the bytes are beyond its end.
        """

    def write(self, handle: int, data: bytes, offset: int = 0) -> Errno:
        """Write bytes into an object; returns and raises as `read`.

        Args:
            handle: of the object.
            data: the bytes.
            offset: byte of the object that the first goes to.
        """

    def is_live(self, handle: int) -> bool:
        """Whether the handle names an object now."""

    def is_under_own_move(self, handle: int) -> bool:
        """Whether this very thread has the object's page under move.

        Raises:
            PinpageError: the handle names none.
        """

    def extents_of(self, handles: Handles) -> Extents:
        """Where the bytes of many objects are now.

        Raises:
            PinpageError: one handle names no object.
        """

    def reclaim_lru_page(self, retries: int) -> Errno:
        """Have objects evicted until a page is free; EINVAL where the pool does not evict."""

    def holds(self, pfns: Pfns) -> Mask:
        """Which frames are this pool's, shape (n,)."""

    def check(self) -> None:
        """Run the pool's invariants.

        Raises:
            InvariantError: one does not hold.
        """


def make_zpool(
    name: ZpoolName,
    source: PageSource,
    *,
    registry: PinRegistry | None = None,
    coverage: Coverage | None = None,
    handles: HandleName = "indirect",
    evict: ZpoolCallback | None = None,
    unuse: ZpoolCallback | None = None,
) -> Zpool:
    """An empty pool of that kind.

    Args:
        name: one of `ZPOOLS`.
        source: where pages come from.
        registry: where pages are pinned; None pins nothing.
        coverage: what the pool offers the VM; None: to move its pages, if its handles allow.
        handles: of zbud; the others have one form, which stays.
        evict: writes an object back and frees it.  zsmalloc never calls it.
        unuse: brings an object back to ordinary memory and frees it.  Only zbud calls it.

    Raises:
        PinpageError: no such pool, or a coverage or handles that it does not have.
    """
    if name == "zbud":
        ops = ZbudOps(evict=evict, unuse=unuse)
        return ZbudPool(source, registry=registry, handles=handles, coverage=coverage, ops=ops)
    if name not in ZPOOLS:
        raise PinpageError(f"zpool {name!r}: use one of {', '.join(ZPOOLS)}")
    if handles != "indirect":
        raise PinpageError(f"zpool {name!r}: handles={handles!r}: only zbud has that form")
    covered = coverage or "migrate"
    if covered == "unuse":
        raise PinpageError(f"zpool {name!r}: coverage='unuse': only zbud's objects are unused")
    if name == "z3fold":
        return Z3foldPool(source, registry=registry, coverage=covered, evict=evict)
    return ZsPool(source, registry=registry, coverage=covered)


def zpool_gfp(name: ZpoolName) -> Gfp:
    """What the pool's user adds to its gfp: MOVABLE memory where the pool can move its pages.

    z3fold can, but never says so: its pages sit in UNMOVABLE pageblocks.
    """
    return _MOVABLE.get(name, Gfp.NONE)
