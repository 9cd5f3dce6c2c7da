"""One memory, small and real, and whoever holds a part of it.

process   writes pages; some are swapped out into zswap, and so into zbud, some are dropped
slab      kernel pages between them
driver, partner   share each of their pages
gup       pages of the process that are pinned as well
(nobody)  pages with a reference that no one registered

Every holder says in the registry what it holds, whatever the design (unless the world is made
otherwise): it may look at as much of that as it likes.  Nothing is read back while a world is
built: a page in memory whose compressed copy stays behind would make unuse give memory back.

Kernel counterpart: none.
"""

import hashlib
import random
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mm.machine import Machine
from mm.move.design import Design
from mm.paging.vmscan import shrink_inactive
from mm.state.errno import Errno
from mm.state.frames import FrameState, PageFlag
from mm.state.gfp import Gfp
from mm.state.pageblock import MigrateType
from owners.compress import compressor
from owners.opaque import OpaqueOwner
from owners.pool.owner import Coverage
from owners.zbud.pool import ZbudPool
from owners.zswap.zswap import Zswap
from pinlab.differential.recipe import Recipe
from pinpage.errors import PinpageError, require
from pinpage.owner import Mode, Verdict, Verdicts
from pinpage.registry import PinRegistry
from pinpage.topology import Topology
from pinpage.units import PAGE_SIZE, Pfns, Span

__all__ = ["OWNERS", "DesignWorld", "MakeDesign"]

OWNERS: Final = ("slab", "driver", "partner", "gup")
"""Who holds single pages, by name."""

_NR_SLOTS: Final = 128
_BLOCK_ORDER: Final = 3
_FIRST_TAG: Final = {name: 1000 * nth + 500 for nth, name in enumerate(OWNERS)}
_STRANGERS_TAG: Final = 9000
_NR_LOADS: Final = 12


class _Moody(OpaqueOwner):
    """Has callbacks; while it is busy it refuses every other object."""

    is_busy = False

    def isolate_many(
        self, pfns: Pfns, privates: Sequence[Any] | NDArray[Any], mode: Mode
    ) -> Verdicts:
        verdicts = super().isolate_many(pfns, privates, mode)
        if self.is_busy:
            verdicts[np.asarray(privates, dtype=np.int64) % 2 == 0] = Verdict.BUSY
        return verdicts


class DesignWorld:
    """The memory of a recipe with a design in force; before that acts, all are alike.

    Attributes:
        machine, registry: as always.
        zswap, space: of the one process.
        pages: vpn -> bytes that it wrote last.
        owners: those of `OWNERS`, by name.
        strangers: frames that nobody knows.
        nr_refused: writes for which there was no memory.

    Invariants, run by `check`:
        DW1 every holder of a single page has its pin on it, and a reference.
    """

    def __init__(
        self,
        recipe: Recipe,
        make: "MakeDesign",
        *,
        movable: Collection[str] = OWNERS,
        zbud: Coverage = "migrate",
        registered: bool = True,
        reclaims: bool = False,
    ) -> None:
        """Fill memory; only then is the design made.

        Args:
            recipe: what there is.
            make: gets this world, returns the design.
            movable: those of `OWNERS` that have a callback.
            zbud: the coverage of zbud: "migrate", "unuse" or "none".
            registered: whether the holders say anything at all.
            reclaims: whether allocations may push pages out to swap afterwards.  False: what
                compaction brings back, it may not push out again.

        Raises:
            PinpageError: an owner that there is not.
        """
        if unknown := sorted(set(movable) - set(OWNERS)):
            raise PinpageError(f"world: movable={unknown[0]!r}: the owners are {', '.join(OWNERS)}")
        self.machine = Machine.build(nr_pages=recipe.nr_blocks << _BLOCK_ORDER, pageblock_order=3)
        for zone in self.machine.zones:
            zone.min = zone.low = zone.high = 0
        for block in range(recipe.nr_cma_blocks):
            self.machine.buddy.set_migratetype(block, MigrateType.CMA)
        spans = (Span(0, self.machine.frames.nr_frames),)
        self.registry = self.machine.use_registry() if registered else PinRegistry(Topology(spans))
        told = self.registry if registered else None
        self.zswap = Zswap(
            self.machine,
            compressor("zlib"),
            host=self.machine.swap_core,
            registry=told,
            coverage=zbud if registered else None,
            max_pool_percent=50,
        )
        self.zswap.init(0)
        self.machine.swap.swapon(_NR_SLOTS, self.zswap)
        self.owners = {
            name: _Moody(name, movable=name in movable, registry=told) for name in OWNERS
        }
        self.space = self.machine.memory.mmap("process", recipe.nr_pages)
        self.pages: dict[int, bytes] = {}
        self.strangers: list[int] = []
        self.nr_refused = 0
        self._recipe = recipe
        self._fill(random.Random(recipe.seed))
        if not reclaims:
            self.machine.allocator.reclaim = None
        self.machine.design = make(self)

    @property
    def pools(self) -> list[ZbudPool]:
        """Of zbud."""
        return [pool for pool in self.zswap.pools if isinstance(pool, ZbudPool)]

    # What is there.

    def _fill(self, rng: random.Random) -> None:
        recipe = self._recipe
        kernel = [rng.randrange(recipe.nr_pages) for _ in range(recipe.nr_kernel)]
        others = random.Random(f"{recipe.seed} others")
        shared, strange = (
            [others.randrange(recipe.nr_pages) for _ in range(count)]
            for count in (recipe.nr_shared, recipe.nr_strangers)
        )
        for vpn in range(recipe.nr_pages):
            for _ in range(kernel.count(vpn)):
                self._adopt(self._kernel_page(), "slab")
            for _ in range(shared.count(vpn)):
                self._adopt(self._kernel_page(), "driver", "partner")
            for _ in range(strange.count(vpn)):
                self._leave(self._kernel_page())
            self._write(vpn, rng)
            if rng.random() < 0.3:
                self._push_out()
        dropped = [vpn for vpn in self.pages if rng.random() < recipe.drop]
        self.drop(dropped)
        self._pin(others)
        self.machine.pcp.drain_all()

    def _kernel_page(self) -> int:
        return self.machine.alloc_page(Gfp.KERNEL)

    def _adopt(self, pfn: int, *names: str) -> None:
        """The first of them reads the bytes; each has a reference."""
        if pfn < 0:
            return
        for nth, name in enumerate(names):
            if nth:
                self.machine.get_page(pfn)
            ids = self.owners[name].adopt(_one(pfn))
            if not nth:
                tags = (ids + _FIRST_TAG[name]).astype(np.uint64)
                self.machine.contents.set_tags(_one(pfn), tags)

    def _leave(self, pfn: int) -> None:
        if pfn >= 0:
            tag = np.array([_STRANGERS_TAG + len(self.strangers)], dtype=np.uint64)
            self.machine.contents.set_tags(_one(pfn), tag)
            self.strangers.append(pfn)

    def _pin(self, rng: random.Random) -> None:
        present = [vpn for vpn in self.pages if self.space.pte.item(vpn) > 0]
        for vpn in rng.sample(present, min(self._recipe.nr_pinned, len(present))):
            pfn = self.space.pte.item(vpn) - 1
            self.machine.get_page(pfn)
            self.owners["gup"].adopt(_one(pfn))

    def _write(self, vpn: int, rng: random.Random) -> None:
        """Compresses to 100 ... 2500 bytes, now and then not at all."""
        nr_random = rng.choice((64, 600, 1300, 2400, 4080))
        text = (vpn.to_bytes(8, "little") + rng.randbytes(nr_random)).ljust(PAGE_SIZE, b"\7")
        if self.machine.memory.write(self.space, vpn, text) == Errno.OK:
            self.pages[vpn] = text
        else:
            self.nr_refused += 1

    def drop(self, vpns: list[int]) -> None:
        """The process gives pages back.

        Args:
            vpns: which, without duplicates; it has them.
        """
        self.machine.memory.dontneed(self.space, np.array(vpns, dtype=np.int64))
        for vpn in vpns:
            del self.pages[vpn]

    def _push_out(self) -> None:
        """Nobody looked at any page lately; four of them go to swap."""
        machine = self.machine
        for flag in (PageFlag.REFERENCED, PageFlag.ACTIVE):
            pfns = np.flatnonzero(machine.frames.flags & flag.mask)
            on_lru = pfns[machine.frames.has_flag(pfns, PageFlag.LRU)]
            machine.lru.del_many(on_lru)
            machine.frames.clear_flag(pfns, flag)
            machine.lru.add_many(on_lru)
        shrink_inactive(machine.paging, 4)

    def load(self, turn: int) -> None:
        """The process goes on: writes, reads, drops, and is pushed out now and then.

        In every other turn all owners are busy: they have callbacks, and refuse.

        Args:
            turn: names the draw; the same turn does the same, whatever was refused before.
        """
        rng = random.Random(f"{self._recipe.seed} load {turn}")
        for owner in self.owners.values():
            owner.is_busy = turn % 2 == 0
        pinned = set(self.owners["gup"].pfn_of(np.arange(self.owners["gup"].nr_objects)).tolist())
        for _ in range(_NR_LOADS):
            vpn, kind = rng.randrange(self._recipe.nr_pages), rng.randrange(6)
            if kind < 3:
                self._write(vpn, rng)
            elif kind < 5:
                if vpn in self.pages:
                    self.machine.memory.touch(self.space, vpn)
            elif vpn in self.pages and self.space.pte.item(vpn) - 1 not in pinned:
                self.drop([vpn])
            if rng.random() < 0.2:
                self._push_out()

    # What must be true of it.

    def nr(self, *states: FrameState) -> int:
        """Frames in one of these states."""
        return int(np.isin(self.machine.frames.state, states).sum())

    @property
    def nr_in_use(self) -> int:
        """Frames in use."""
        return self.nr(FrameState.USED)

    def used(self) -> list[int]:
        """Frames in use, ascending."""
        return np.flatnonzero(self.machine.frames.state == FrameState.USED).tolist()

    @property
    def nr_wholly_free(self) -> int:
        """Pageblocks without a frame in use."""
        return int(self.machine.buddy.wholly_free().sum())

    def page_at(self, vpn: int) -> bytes:
        """A page's bytes, wherever it is; changes nothing."""
        pte = self.space.pte.item(vpn)
        swap = self.machine.swap
        pfn = pte - 1 if pte > 0 else swap.cache.lookup(-pte - 1)
        if pfn >= 0:
            return self.machine.contents.read(pfn)
        area, offset = swap.locate(-pte - 1)
        return area.read_page(offset)

    def lost(self) -> str | None:
        """Whose bytes are not what was written, or None."""
        there = np.flatnonzero(self.space.pte).tolist()
        if there != sorted(self.pages):
            return f"the process has {len(there)} pages, and wrote {len(self.pages)}"
        for vpn, text in self.pages.items():
            if self.page_at(vpn) != text:
                return f"the process reads other bytes in its page {vpn}"
        for name in ("slab", "driver"):
            ids = np.arange(self.owners[name].nr_objects)
            tags = self.machine.contents.tags(self.owners[name].pfn_of(ids))
            for which in np.flatnonzero(tags != (ids + _FIRST_TAG[name]).astype(np.uint64)):
                return f"{name} reads other bytes in its object {which}"
        return self._lost_pin() or self._lost_stranger()

    def _lost_pin(self) -> str | None:
        """Two holders of one page are at the same place."""
        both = [self.owners[name] for name in ("driver", "partner")]
        places = [owner.pfn_of(np.arange(owner.nr_objects)).tolist() for owner in both]
        if places[0] != places[1]:
            return "driver and partner shared their pages, and are at different ones"
        gup = self.owners["gup"]
        mapped = set((self.space.pte - 1).tolist())
        for which, pfn in enumerate(gup.pfn_of(np.arange(gup.nr_objects)).tolist()):
            if pfn not in mapped:
                return f"gup has pinned page {which}, and the process has another"
        return None

    def _lost_stranger(self) -> str | None:
        frames, contents = self.machine.frames, self.machine.contents
        for nth, pfn in enumerate(self.strangers):
            tag = contents.tags(_one(pfn)).item(0)
            if frames.state.item(pfn) != FrameState.USED or tag != _STRANGERS_TAG + nth:
                return f"pfn {pfn:#x} went, and nobody had registered it"
        return None

    def missing(self) -> str | None:
        """Frames that are neither free nor in use nor with a request, in words; or None."""
        kept = (FrameState.FREE, FrameState.PCP, FrameState.USED)
        nr_lost = self.machine.frames.nr_frames - self.nr(*kept)
        return f"{nr_lost} frames are neither free nor in use" if nr_lost else None

    def check(self) -> None:
        """Every invariant of the machine, the registry, zswap, and DW1.

        Raises:
            InvariantError: one does not hold.
        """
        self.machine.check()
        self.zswap.check()
        for name, owner in self.owners.items():
            for which, pfn in enumerate(owner.pfn_of(np.arange(owner.nr_objects)).tolist()):
                pins = [(pin.owner, pin.private) for pin in self.registry.pins(pfn)]
                has_pin = (owner, which) in pins or self.machine.registry is None
                has_page = self.machine.frames.refcount.item(pfn) >= max(len(pins), 1)
                require(
                    has_pin and has_page,
                    "DW1 a holder's pin or its reference is gone",
                    holder=name,
                    pfn=pfn,
                )

    def columns(self) -> Iterator[tuple[str, Sequence[object]]]:
        """Everything that a design could have left different, by name."""
        machine, frames = self.machine, self.machine.frames
        for name in ("state", "order", "flags", "refcount", "mapcount"):
            yield name, getattr(frames, name).tolist()
        yield "rmap's process", machine.rmap.first_mm.tolist()
        yield "rmap's page", machine.rmap.first_vpn.tolist()
        used = np.flatnonzero(frames.state == FrameState.USED)
        yield "frame in use", used.tolist()
        contents = machine.contents.read_many(used)
        yield "contents of used frame", [row.tobytes() for row in contents]
        yield "page table", self.space.pte.tolist()
        yield "swap slot", [machine.swap.area_of(0).map_byte(slot) for slot in range(_NR_SLOTS)]

    def differs_from(self, other: "DesignWorld") -> str | None:
        """The first difference between two worlds, frame by frame; or None.

        Args:
            other: of the same recipe.
        """
        for (name, ours), (_, theirs) in zip(self.columns(), other.columns(), strict=True):
            if ours != theirs:
                at = next(
                    (at for at, pair in enumerate(zip(ours, theirs, strict=False))
                     if pair[0] != pair[1]),
                    min(len(ours), len(theirs)),
                )  # fmt: skip
                return f"{name} {at:#x} differs"
        return None

    def digest(self) -> str:
        """32 hex digits of the machine and of what the process believes."""
        found = hashlib.blake2b(self.machine.digest().encode(), digest_size=16)
        found.update(repr((self.nr_refused, self.zswap.counters)).encode())
        for name, column in self.columns():
            found.update(repr((name, column)).encode())
        return found.hexdigest()

    def let_go(self) -> int:
        """Everybody gives everything up; frames that are not free afterwards."""
        machine = self.machine
        for owner in self.owners.values():
            for which, pfn in enumerate(owner.pfn_of(np.arange(owner.nr_objects)).tolist()):
                if self.machine.registry is not None:
                    self.registry.unpin(pfn, owner, which)
                machine.put_page(pfn)
        for pfn in self.strangers:
            machine.put_page(pfn)
        machine.memory.exit(self.space)
        self.registry.flush()
        machine.pcp.drain_all()
        return machine.frames.nr_frames - self.nr(FrameState.FREE)


MakeDesign = Callable[[DesignWorld], Design]
"""Makes a design for a world; what takes a `DesignLab` of the design kit will do."""


def _one(pfn: int) -> Pfns:
    return np.array([pfn], dtype=np.int64)
