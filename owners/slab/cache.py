"""Object caches as owners of pages: slabs that move, or are emptied, object by object.

Each cache is an owner of its own, for whether its pages can move is its own affair: a cache
with `ObjectOps` can say who points to its objects, one without is known and stays.

=========  =======================================  =========================================
slab of    migrate: the page moves as it is         release: live objects move to free places
                                                    in other slabs of the cache
=========  =======================================  =========================================
1 frame    yes; each object keeps its place         yes
2^n        no: its objects straddle frames, which   yes, and so all of its frames go at once
           would have to stay side by side
=========  =======================================  =========================================

Objects are freed at any time, as kfree cannot fail: one on a page that a mover has only
loses its place in the vector of live objects, and with the last one the page goes at once;
the mover finds that it has succeeded.  A fresh object is as its constructor left it, and must
be so again when it is freed.

To mm a slab page is a frame with an owner.  No flag says "slab" to it: Hansen's remark of
2013, that such a registry could replace PG_slab.

Kernel counterpart: mm/slub.c, v6.1; the object callbacks are those of the slab-movable-objects
series of 2019, which was never merged.
"""

import itertools
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mm.state.errno import Errno
from mm.state.frames import FrameState, PageFlag
from mm.state.gfp import Gfp
from owners.batch_owner import BatchOwner
from owners.forced_out import is_registered, unpin
from owners.slab.slabs import (
    BlockSource,
    Constructor,
    ObjectOps,
    Slab,
    SlabMemory,
    slab_id_of,
)
from pinpage.errors import PinpageError, require
from pinpage.owner import Mode, Pin, Verdict
from pinpage.registry import PinRegistry
from pinpage.units import PAGE_SIZE, Pfns

__all__ = ["SlabCache", "Slabs"]

_ALIGN = 8
_MAX_ORDER = 3
"""Largest order of a slab (PAGE_ALLOC_COSTLY_ORDER)."""


class Slabs:
    """The slab allocator: the memory that caches share, and the caches by name."""

    def __init__(
        self,
        source: BlockSource,
        *,
        registry: PinRegistry | None = None,
        is_flagged: bool = True,
    ) -> None:
        """No caches yet.

        Args:
            registry: where caches register and pin; None pins nothing.
            is_flagged: mark frames with the SLAB flag, for people who read /proc/kpageflags.
        """
        self.memory = SlabMemory(source, threading.RLock(), is_flagged=is_flagged)
        self._registry = registry
        self._caches: dict[str, SlabCache] = {}

    def create(
        self,
        name: str,
        nr_bytes: int,
        *,
        order: int = 0,
        ctor: Constructor | None = None,
        ops: ObjectOps | None = None,
    ) -> "SlabCache":
        """A cache of objects of `nr_bytes` (kmem_cache_create); with `ops` they can move.

        Args:
            name: of the cache and owner.
            nr_bytes: of an object.
            order: 2^order frames to a slab.
            ctor: gives the bytes of a fresh object; None: nothing is written.
            ops: what users do around a move; None: slabs do not move.

        Raises:
            PinpageError: the name is taken, the order is not 0..3, or no object fits a slab.
        """
        if name in self._caches:
            raise PinpageError(f"slab: there is a cache {name!r} already: choose another name")
        if not 0 <= order <= _MAX_ORDER:
            raise PinpageError(f"slab: {name!r}: order={order}: it is 0 to {_MAX_ORDER}")
        if not 1 <= nr_bytes <= PAGE_SIZE << order:
            raise PinpageError(f"slab: {name!r}: nr_bytes={nr_bytes} does not fit order {order}")
        cache = SlabCache(name, self.memory, self._registry, nr_bytes, order, ctor, ops)
        self._caches[name] = cache
        return cache

    def destroy(self, cache: "SlabCache") -> None:
        """Take a cache down (kmem_cache_destroy): empty, then unregistered, then gone (R-10).

        Returns only after callbacks in flight in other threads have ended.

        Raises:
            PinpageError: it still has objects.
        """
        if cache.nr_objects:
            raise PinpageError(f"slab: {cache.name!r} still has {cache.nr_objects} objects")
        if self._registry is not None and is_registered(self._registry, cache):
            self._registry.unregister(cache)
        del self._caches[cache.name]

    def check(self) -> None:
        """Run the invariants of every cache."""
        for cache in self._caches.values():
            cache.check()


class SlabCache(BatchOwner):
    """One cache (struct kmem_cache).

    Cost: alloc and free are a search for a free place in one slab; a move rewrites what its
    `ObjectOps` rewrite.

    Invariants, run by `check`:
        SL1 a slab has at least one live object: an empty one is given back at once.
        SL2 the frames of a slab are used, and addresses in them lead to it.
        SL3 writes wait only while a mover has the page.
        SL4 the partial list holds exactly the slabs with a free place.
        SL5 a page that a mover has is not read (required where it is read).
    """

    def __init__(
        self,
        name: str,
        memory: SlabMemory,
        registry: PinRegistry | None,
        nr_bytes: int,
        order: int,
        ctor: Constructor | None,
        ops: ObjectOps | None,
    ) -> None:
        """Use `Slabs.create`.

        Args:
            name: of the cache and owner.
            memory: where slabs come from.
            registry: where they are pinned; None pins nothing.
            nr_bytes: of an object.
            order: 2^order frames to a slab.
            ctor: gives the bytes of a fresh object; None: nothing is written.
            ops: what users do around a move; None: slabs do not move.
        """
        self.name = name
        self.order = order
        self.stride = -(-nr_bytes // _ALIGN) * _ALIGN
        self.objects_per_slab = (PAGE_SIZE << order) // self.stride
        self.ops = ops
        self._memory = memory
        self._registry = registry
        self._ctor = ctor
        self._slabs: dict[int, Slab] = {}
        self._partial: dict[int, Slab] = {}
        self._ids = itertools.count()
        if registry is not None:
            registry.register(self)

    @property
    def nr_slabs(self) -> int:
        """Slabs that the cache has."""
        return len(self._slabs)

    @property
    def nr_objects(self) -> int:
        """Live objects."""
        return sum(slab.nr_live for slab in self._slabs.values())

    def objects(self) -> list[int]:
        """Addresses of all live objects, in the order of slabs; valid until the next move."""
        with self._memory.lock:
            return [address for slab in self._slabs.values() for address in slab.objects()]

    # kmem_cache_alloc, kmem_cache_free, kmem_cache_shrink.

    def alloc(self) -> int:
        """The address of a constructed object, or ENOMEM.

        No lock is held while a slab is made: allocating may compact, and so move our pages.
        """
        with self._memory.lock:
            slab = next(self._with_free_object(), None)
            if slab is not None:
                return self._take(slab)
        made = self._new_slab()
        if made is None:
            return Errno.ENOMEM
        with self._memory.lock:
            self._slabs[made.slab_id] = self._partial[made.slab_id] = made
            self._memory.place(made)
            return self._take(made)

    def free(self, address: int) -> None:
        """Free an object, also one on a page that a mover has.

        Raises:
            PinpageError: no object of this cache is allocated there.
        """
        with self._memory.lock:
            slab = self._memory.slab_of(address)
            if self._slabs.get(slab.slab_id) is not slab:
                raise PinpageError(f"slab: {address:#x} is not an object of {self.name!r}")
            slab.live[slab.index_of(address)] = False
            self._partial[slab.slab_id] = slab
            if not slab.nr_live:
                self._give_back(slab)

    def shrink(self) -> int:
        """Empty slabs into the free places of fuller ones, the emptiest first; how many went.

        Skips those whose objects may not move, or do not fit elsewhere.
        """
        with self._memory.lock:
            emptiest_first = sorted(self._partial.values(), key=lambda slab: slab.nr_live)
            return sum(
                slab.slab_id in self._partial and self._evacuate(slab, Mode.SYNC) is Verdict.YES
                for slab in emptiest_first
            )

    # Slabs.

    def _new_slab(self) -> Slab | None:
        """A slab of constructed objects, pinned but not ours yet; None where memory is short."""
        gfp = Gfp.HIGHUSER_MOVABLE if self.can_migrate else Gfp.KERNEL
        source = self._memory.source
        pfn = source.alloc_pages(self.order, gfp) if self.order else source.alloc_page(gfp)
        if pfn < 0:
            return None
        live = np.zeros(self.objects_per_slab, dtype=np.bool_)
        slab = Slab(next(self._ids), pfn, self.order, self.stride, live)
        nr_pinned = 0
        try:
            for frame in slab.pfns:
                if not self._pin(slab, frame):
                    return None
                nr_pinned += 1
        finally:  # under a mover of our own, or forced out
            if nr_pinned < len(slab.pfns):
                self._put_frames(slab, nr_pinned)
        if self._memory.is_flagged:
            source.frames.set_flag(np.array(slab.pfns), PageFlag.SLAB)
        if self._ctor is not None:
            self._memory.fill(slab, self._ctor())
        return slab

    def _pin(self, slab: Slab, frame: int) -> bool:
        registry = self._registry
        return registry is None or registry.pin(frame, self, slab.private(frame)) is Verdict.YES

    def _put_frames(self, slab: Slab, nr_pinned: int) -> None:
        """Pins of the first frames, and every reference; the frames are free then."""
        for at, frame in enumerate(slab.pfns):
            if self._registry is not None and at < nr_pinned:
                unpin(self._registry, frame, self, slab.private(frame))
            self._memory.source.put_page(frame)

    def _with_free_object(self) -> Iterator[Slab]:
        """Slabs with a free place that are not under move, oldest first."""
        return (slab for slab in self._partial.values() if not slab.is_isolated)

    def _take(self, slab: Slab) -> int:
        index = int(slab.live.argmin())
        slab.live[index] = True
        if slab.live.all():
            del self._partial[slab.slab_id]
        return slab.address(index)

    def _give_back(self, slab: Slab) -> None:
        """An empty slab goes at once, under a mover too: that finds it freed (R-2)."""
        del self._slabs[slab.slab_id]
        del self._partial[slab.slab_id]
        self._memory.remove(slab)
        self._put_frames(slab, nr_pinned=len(slab.pfns))

    def _evacuate(self, slab: Slab, mode: Mode) -> Verdict:
        """Move every live object elsewhere, or none; the slab is gone then.

        Only into places that are there: to make a slab for it would gain nothing.
        """
        if self.ops is None:
            return Verdict.BUSY
        if slab.is_isolated:
            return Verdict.AGAIN
        objects = slab.objects()
        others = [other for other in self._with_free_object() if other is not slab]
        if sum(other.nr_free for other in others) < len(objects):
            return Verdict.BUSY
        verdict = self.ops.isolate(objects, mode)
        if verdict is not Verdict.YES:
            return verdict
        moved: dict[int, int] = {}
        for other in sorted(others, key=lambda other: other.nr_free):  # fill the fullest first
            while other.nr_free and len(moved) < len(objects):
                old = objects[len(moved)]
                moved[old] = self._take(other)
                self._memory.store(moved[old], self._memory.load(old, self.stride))
        slab.live[:] = False
        self._partial[slab.slab_id] = slab
        self.ops.migrate(moved)
        self._give_back(slab)
        return Verdict.YES

    # The contract.

    @property
    def can_migrate(self) -> bool:
        """With `ops`, and slabs of one frame: several would have to stay side by side."""
        return self.ops is not None and self.order == 0

    @property
    def can_release(self) -> bool:
        """With `ops`."""
        return self.ops is not None

    def isolate(self, pin: Pin, mode: Mode) -> Verdict:
        """Ask the objects' users, one vector per slab; Busy for a cache or a slab that stays."""
        with self._memory.lock:
            slab = self._slab_of(pin.private)
            if slab is None or slab.is_isolated:
                return Verdict.AGAIN
            if self.ops is None or self.order:
                return Verdict.BUSY
            verdict = self.ops.isolate(slab.objects(), mode)
            slab.is_isolated = verdict is Verdict.YES
            return verdict

    def migrate_many(
        self, pfns: Pfns, privates: Sequence[Any] | NDArray[Any], targets: Pfns
    ) -> None:
        """Repoint the slabs, then have the pointers to all of their objects rewritten at once."""
        with self._memory.lock:
            moved: dict[int, int] = {}
            slabs = []
            for private, target in zip(privates, targets.tolist(), strict=True):
                slab = self._slab_of(int(private))
                if slab is not None:
                    olds = slab.objects()
                    self._memory.remove(slab)
                    slab.pfn = target
                    slabs.append(slab)
                    moved.update(zip(olds, slab.objects(), strict=True))
            for slab in slabs:
                self._memory.place(slab)
            for slab in slabs:
                self._memory.end_isolation(slab)
            if self.ops is not None:
                self.ops.migrate(moved)

    def putback(self, pin: Pin) -> None:
        """The page stays where it is; pointers in it that had to wait are rewritten now."""
        with self._memory.lock:
            slab = self._slab_of(pin.private)
            if slab is not None:
                self._memory.end_isolation(slab)

    def release(self, pin: Pin, mode: Mode) -> Verdict:
        """Empty the slab into free places of the others; a larger slab goes with all its frames."""
        with self._memory.lock:
            slab = self._slab_of(pin.private)
            return Verdict.YES if slab is None else self._evacuate(slab, mode)

    def _slab_of(self, private: int) -> Slab | None:
        return self._slabs.get(slab_id_of(private))

    def check(self) -> None:
        """Run SL1..SL4.

        Raises:
            InvariantError: one does not hold.
        """
        memory, state = self._memory, self._memory.source.frames.state
        with memory.lock:
            for slab in self._slabs.values():
                require(slab.nr_live, "SL1 an empty slab was kept", pfn=slab.pfn)
                for pfn in slab.pfns:
                    here = state[pfn] == FrameState.USED and memory.slab_at(pfn) is slab
                    require(here, "SL2 a frame is not where its slab is", pfn=pfn)
                require(
                    slab.is_isolated or not slab.waiting, "SL3 a write still waits", pfn=slab.pfn
                )
            open_slabs = {slab_id for slab_id, slab in self._slabs.items() if slab.nr_free}
            require(
                open_slabs == set(self._partial), "SL4 the partial list is wrong", cache=self.name
            )
