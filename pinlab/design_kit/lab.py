"""A small real machine with every kind of holder on it, for trying designs.

process    pages that page tables hold
gup        pages of the process that are pinned as well
driver     one page each; agrees to every move
busy       one page each; has callbacks, and refuses
fixed      one page each; has no callback
partner    shares each of its pages with the driver, and refuses every other one
zbud, z3fold   pools of compressed pages, which move
(nobody)   pages with a reference that no one registered
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mm.machine import Machine
from mm.state.frames import FrameState
from mm.state.gfp import Gfp
from owners.opaque import OpaqueOwner
from owners.z3fold.pool import Z3foldPool
from owners.zbud.pool import ZbudPool
from pinpage.owner import Mode, Verdict, Verdicts
from pinpage.registry import PinRegistry
from pinpage.units import PAGEBLOCK_NR_PAGES, Pfns

__all__ = ["DesignLab"]

_NR_BLOCKS = 4
_NR_KINDS = 9
_NR_PAGES = 480


class _Refuses(OpaqueOwner):
    """Has callbacks; says Busy for every `period`-th object."""

    def __init__(self, name: str, registry: PinRegistry, period: int) -> None:
        super().__init__(name, movable=True, registry=registry)
        self.period = period

    def isolate_many(
        self, pfns: Pfns, privates: Sequence[Any] | NDArray[Any], mode: Mode
    ) -> Verdicts:
        ids = np.asarray(privates, dtype=np.int64)
        return np.where(ids % self.period == 0, Verdict.BUSY, Verdict.YES).astype(np.uint8)


class DesignLab:
    """What a design is made for, and what is in it.

    Attributes:
        machine: its memory; whoever made the lab puts the design in force.
        registry: what all owners say; a design may see as little of it as it likes.
        pools: of zbud.
        strangers: frames that nobody knows.
    """

    def __init__(self, seed: int) -> None:
        """Fill memory; the same seed gives the same.

        Args:
            seed: of who has which page, and of all bytes.
        """
        rng = np.random.default_rng(seed)
        self.machine = Machine.build(nr_pages=_NR_BLOCKS * PAGEBLOCK_NR_PAGES)
        self.registry = self.machine.use_registry()
        self.pools = [ZbudPool(self.machine, registry=self.registry)]
        self._z3fold = Z3foldPool(self.machine, registry=self.registry)
        self._rng = rng
        self._objects: dict[str, OpaqueOwner] = {
            "driver": OpaqueOwner("driver", movable=True, registry=self.registry),
            "busy": _Refuses("busy", self.registry, 1),
            "fixed": OpaqueOwner("fixed", movable=False, registry=self.registry),
            "partner": _Refuses("partner", self.registry, 2),
            "gup": OpaqueOwner("gup", movable=True, registry=self.registry),
        }
        self._kept: dict[tuple[str, int], bytes] = {}
        self._blobs: list[tuple[ZbudPool | Z3foldPool, int, bytes]] = []
        self._pages: dict[int, bytes] = {}
        self.strangers: list[int] = []
        self._space = self.machine.memory.mmap("process", _NR_PAGES)
        self._fill(rng.integers(_NR_KINDS, size=_NR_PAGES).tolist())
        self.machine.pcp.drain_all()
        self._stranger_bytes = {pfn: self._read(pfn) for pfn in self.strangers}

    def _fill(self, kinds: list[int]) -> None:
        names = ("driver", "busy", "fixed", "partner")
        for vpn, kind in enumerate(kinds):
            if kind < len(names):
                self._one_object(names[kind])
            elif kind == 4:
                self._one_stranger()
            elif kind in (5, 8):
                self._one_blob(self.pools[0] if kind == 5 else self._z3fold)
            else:
                self._one_page(vpn, is_pinned=kind == 7)

    def _one_object(self, name: str) -> None:
        pfn, text = self._new_page()
        self._adopt(name, pfn, text)
        if name == "partner":
            self.machine.get_page(pfn)
            self._adopt("driver", pfn, text)

    def _adopt(self, name: str, pfn: int, text: bytes) -> None:
        which = self._objects[name].adopt(np.array([pfn], dtype=np.int64)).item(0)
        self._kept[name, which] = text

    def _one_stranger(self) -> None:
        self.strangers.append(self._new_page()[0])

    def _one_blob(self, pool: ZbudPool | Z3foldPool) -> None:
        text = self._rng.bytes(int(self._rng.integers(64, 2000)))
        handle = pool.alloc(len(text))
        pool.write(handle, text)
        self._blobs.append((pool, handle, text))

    def _one_page(self, vpn: int, *, is_pinned: bool) -> None:
        text = self._rng.bytes(64)
        self.machine.memory.write(self._space, vpn, text)
        self._pages[vpn] = text
        if is_pinned:
            pfn = self._space.pte.item(vpn) - 1
            self.machine.get_page(pfn)
            self._adopt("gup", pfn, text)

    def _new_page(self) -> tuple[int, bytes]:
        pfn, text = self.machine.alloc_page(Gfp.KERNEL), self._rng.bytes(64)
        self.machine.contents.write(pfn, text)
        return pfn, text

    def _read(self, pfn: int) -> bytes:
        return self.machine.contents.read(pfn, 0, 64)

    @property
    def used(self) -> Pfns:
        """Frames in use, ascending."""
        return np.flatnonzero(self.machine.frames.state == FrameState.USED)

    def places_of(self, name: str) -> Pfns:
        """Where the objects of an owner of single pages are now, shape (n,)."""
        owner = self._objects[name]
        return owner.pfn_of(np.arange(owner.nr_objects))

    def lost(self) -> str | None:
        """Whose bytes are not what was written, or None."""
        for (name, which), text in self._kept.items():
            pfn = self._objects[name].pfn_of(np.array([which])).item(0)
            if self._read(pfn) != text:
                return f"{name} reads other bytes in its object {which}"
        for vpn, text in self._pages.items():
            pfn = self._space.pte.item(vpn) - 1
            if pfn < 0 or self._read(pfn) != text:
                return f"the process reads other bytes in its page {vpn}"
        for pool, handle, text in self._blobs:
            if pool.read(handle, len(text)) != text:
                return f"{pool.kind} reads other bytes in its object {handle:#x}"
        return None

    def missing(self) -> str | None:
        """Which frame that nobody knows is not as it was, or None."""
        frames = self.machine.frames
        for pfn, text in self._stranger_bytes.items():
            is_used = frames.state.item(pfn) == FrameState.USED
            if not is_used or self._read(pfn) != text:
                return f"pfn {pfn:#x} went, and nobody had registered it"
        return None

    def facts(self) -> tuple[object, ...]:
        """Everything that asking must not change, comparable."""
        frames, pins = (
            self.machine.frames,
            self.registry.pin_columns(0, self.machine.frames.nr_frames),
        )
        columns = (frames.state, frames.flags, frames.refcount, frames.mapcount, frames.isolated)
        return (
            *(column.tobytes() for column in columns),
            self.machine.contents.read_many(self.used).tobytes(),
            pins.pfns.tobytes(),
            pins.owner_ids.tobytes(),
            np.asarray(pins.privates).tobytes(),
        )

    def facts_of(self, pfn: int) -> tuple[object, ...]:
        """What a refusal must leave of one frame."""
        frames = self.machine.frames
        pins = [(pin.owner.name, pin.private) for pin in self.registry.pins(pfn)]
        count, mapped = frames.refcount.item(pfn), frames.mapcount.item(pfn)
        return (frames.state.item(pfn), count, mapped, pins, frames.isolated.item(pfn))
