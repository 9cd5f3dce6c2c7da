"""The kit's lab over a whole machine: real bytes, buddy lists, page tables, per-CPU lists.

It speaks the language of `pinpage.testing.conformance.lab.WorldLab` (alloc, get, put, read,
write), so an owner tried there is tried here by one line:

    ring.make_lab = MachineLab          # a factory's attribute, for `pinpage check`

An owner that knows more of mm than single pages gets `lab.pages`, which is what drivers see of
a machine (`mm.buddy.page_source.PageSource`), watched; users of memory have all of `lab.machine`.

Ignores: which frames an owner gets (`pinlab.lab.own` hands out those of a recording).
Cost: a machine of 32 frames is made in 1 ms.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mm.machine import Machine
from mm.state.contents import ArenaContents, Contents, TagContents
from mm.state.frames import Frames, FrameState
from mm.state.gfp import Gfp
from mm.state.nodes import place_frames, zones_for
from mm.state.pageblock import Pageblocks
from pinpage.move.steps import Memory, TargetSource
from pinpage.registry import PinRegistry
from pinpage.testing.conformance.lab import DATA_NR_BYTES, Observer
from pinpage.units import Pfns

__all__ = ["FreeFrames", "MachineLab", "WatchedPages"]

_NR_BLOCKS = 4
_BLOCK_NR_PAGES = 8


class MachineLab:
    """A machine as an owner's world; a `Lab`, and a `PageLab` for owners of single pages.

    >>> lab = MachineLab()
    >>> pfn = lab.alloc(b"a page 0")
    >>> lab.read(pfn), lab.references(pfn)
    (b'a page 0', 1)

    Attributes:
        machine: all of it, for users of memory.
        registry: where the owner registers and pins.
        memory: the VM's side of a move.
        observer: told of every access through the lab.
        pages: what an owner sees of the machine, watched.
    """

    def __init__(self, machine: Machine | None = None, registry: PinRegistry | None = None) -> None:
        """Over that machine.

        Args:
            machine: whose pages; None: 32 free frames in pageblocks of eight.
            registry: where owners register; None: the machine's own, put in force.
        """
        self.machine = _small_machine() if machine is None else machine
        self.registry = self.machine.use_registry() if registry is None else registry
        self.memory: Memory = self.machine.mover
        self.observer: Observer = lambda _pfn, _does: None
        self.pages = WatchedPages(self)

    def tell(self, pfns: Iterable[int], does: str) -> None:
        """Have the observer know what an owner is going to do.

        Args:
            pfns: the frames.
            does: "reads", "writes", "references" or "allocates".
        """
        for pfn in pfns:
            self.observer(int(pfn), does)

    # What an owner may do.

    def alloc(self, data: bytes = bytes(DATA_NR_BYTES)) -> int:
        """A frame with one reference that holds `data`; -1 when there is none."""
        pfn = self.pages.alloc_page(Gfp.KERNEL)
        if pfn >= 0:
            _put_data(self.machine.contents, pfn, data)
        return pfn

    def get(self, pfn: int) -> bool:
        """One reference more, unless the frame is free or frozen."""
        self.tell([pfn], "references")
        return self.machine.refs.get_page(pfn)

    def put(self, pfn: int) -> None:
        """One reference less; the last one frees the frame."""
        self.machine.put_page(pfn)

    def read(self, pfn: int) -> bytes:
        """The first 8 bytes of a frame."""
        self.tell([pfn], "reads")
        return _data_of(self.machine.contents, pfn)

    def write(self, pfn: int, data: bytes) -> None:
        """Store 8 bytes.

        Args:
            pfn: a frame in use.
            data: 8 bytes.
        """
        self.tell([pfn], "writes")
        _put_data(self.machine.contents, pfn, data)

    # What a suite asks.

    def targets(self, limit: int | None = None) -> TargetSource:
        """Free frames, the highest first, at most `limit` of them."""
        return FreeFrames(self.machine, limit)

    def sneak(self, pfn: int) -> None:
        """A reference that nobody granted."""
        refcount = self.machine.frames.refcount
        refcount[pfn] += -1 if refcount[pfn] < 0 else 1  # a frozen count is kept negated

    def references(self, pfn: int) -> int:
        """References that page tables do not account for."""
        if not self.machine.frames.refcount[pfn]:
            return 0
        home = int(self.machine.mover.home_references(np.array([pfn]))[0])
        return abs(int(self.machine.frames.refcount[pfn])) - home

    def snapshot(self, pfn: int) -> bytes:
        """Everything in the frame, unobserved."""
        if isinstance(self.machine.contents, TagContents):
            return _data_of(self.machine.contents, pfn)
        return self.machine.contents.read(pfn)

    def is_under_move(self, pfn: int) -> bool:
        """What the page lock would say: for owners of whose inside nothing is known."""
        frames = self.machine.frames
        return bool(frames.isolated[pfn]) or frames.state[pfn] != FrameState.USED

    def check(self) -> None:
        """Run the invariants of the machine, its registry's among them."""
        self.machine.check()


class WatchedPages:
    """The machine as an owner sees it: all of it, with accesses that are told of first."""

    def __init__(self, lab: MachineLab) -> None:
        """As `lab` has it."""
        self._lab = lab
        self.contents: Any = _WatchedContents(lab)

    def __getattr__(self, name: str) -> Any:
        """What is not watched is the machine's."""
        return getattr(self._lab.machine, name)

    def alloc_page(self, gfp: Gfp) -> int:
        """One frame with one reference, or -1."""
        return self.alloc_pages(0, gfp)

    def alloc_pages(self, order: int, gfp: Gfp) -> int:
        """One block of 2^order frames: its head, or -1.

        Args:
            order: log2 of the pages wanted.
            gfp: what the caller allows.
        """
        pfn = self._lab.machine.alloc_pages(order, gfp)
        if pfn >= 0:
            self._lab.tell(range(pfn, pfn + (1 << order)), "allocates")
        return pfn

    def get_page(self, pfn: int) -> None:
        """One reference more."""
        self._lab.tell([pfn], "references")
        self._lab.machine.get_page(pfn)


class _WatchedContents:
    """Contents that tell before they let an owner at them."""

    def __init__(self, lab: MachineLab) -> None:
        self._lab = lab

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lab.machine.contents, name)

    def read(self, pfn: int, *where: int) -> bytes:
        self._lab.tell([pfn], "reads")
        return self._lab.machine.contents.read(pfn, *where)

    def write(self, pfn: int, data: bytes, offset: int = 0) -> None:
        self._lab.tell([pfn], "writes")
        self._lab.machine.contents.write(pfn, data, offset)

    def read_many(self, pfns: Pfns, *where: Any) -> NDArray[np.uint8]:
        self._lab.tell(pfns.tolist(), "reads")
        return self._lab.machine.contents.read_many(pfns, *where)

    def write_many(self, pfns: Pfns, *what: Any) -> None:
        self._lab.tell(pfns.tolist(), "writes")
        self._lab.machine.contents.write_many(pfns, *what)


class FreeFrames:
    """Targets: free frames, the highest first, at most `limit` at any time."""

    def __init__(self, machine: Machine, limit: int | None = None) -> None:
        """Take from that machine.

        Args:
            machine: whose free frames.
            limit: the most that are out at a time; None: all.
        """
        self._machine = machine
        self._left = machine.frames.nr_frames if limit is None else limit

    def take(self, count: int) -> Pfns:
        """Up to `count` frames."""
        self._machine.pcp.drain_all()
        free = np.flatnonzero(self._machine.frames.state == FrameState.FREE)[::-1]
        chosen = np.sort(free[: min(count, self._left)])
        self._left -= len(chosen)
        self._machine.buddy.take(chosen)
        return chosen

    def give_back(self, pfns: Pfns) -> None:
        """Frames that were not used."""
        self._left += len(pfns)
        if len(pfns):
            self._machine.buddy.put_taken(pfns)


def _small_machine() -> Machine:
    """Free frames with real bytes, in pageblocks so small that every search passes over several."""
    nr_frames = _NR_BLOCKS * _BLOCK_NR_PAGES
    frames = Frames(nr_frames)
    frames.state[:] = FrameState.FREE
    zones = zones_for(nr_frames, nr_pages_per_block=_BLOCK_NR_PAGES)
    for zone in zones:
        zone.min = zone.low = zone.high = 0
    place_frames(frames, zones)
    pageblocks = Pageblocks(nr_frames, _BLOCK_NR_PAGES)
    return Machine(frames, pageblocks, zones, ArenaContents(nr_frames))


def _put_data(contents: Contents, pfn: int, data: bytes) -> None:
    """The first 8 bytes; where a frame has a tag in place of bytes, that is 8 bytes, too."""
    if isinstance(contents, TagContents):
        word = int.from_bytes(data[:DATA_NR_BYTES].ljust(DATA_NR_BYTES, b"\0"), "little")
        contents.set_tags(np.array([pfn]), np.array([word], dtype=np.uint64))
    else:
        contents.write(pfn, data[:DATA_NR_BYTES])


def _data_of(contents: Contents, pfn: int) -> bytes:
    if isinstance(contents, TagContents):
        return int(contents.tags(np.array([pfn]))[0]).to_bytes(DATA_NR_BYTES, "little")
    return contents.read(pfn, 0, DATA_NR_BYTES)
