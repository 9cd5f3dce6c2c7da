"""Slabs, addresses of objects, and the memory that they lie in.

An object is known by its address in the direct map, as in the kernel: that is what other
objects hold in their bytes, and what has to be rewritten when its page moves.

`SlabMemory` is what all caches share: from an address to its slab, reading, and writing.
A pointer in an object whose page a mover has cannot be rewritten at once, for it may not
write there.  Such writes wait with the slab, and are done when its page is back or has moved.

Kernel counterpart: struct slab and virt_to_slab() of mm/slab.h; the waiting writes have none.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
from attrs import define, field

from mm.buddy.page_source import PageSource
from mm.state.gfp import Gfp
from owners.arguments import require_usual_pages
from pinpage.errors import PinpageError, require
from pinpage.owner import Mode, Verdict
from pinpage.units import PAGE_SHIFT, PAGE_SIZE, Mask

__all__ = [
    "BlockSource",
    "Constructor",
    "ObjectOps",
    "Slab",
    "SlabMemory",
    "address_of",
    "slab_id_of",
]

_DIRECT_MAP = 0xFFFF_8880_0000_0000
"""Where x86-64 maps all of memory (page_offset_base with four levels, not randomised)."""

_INDEX_BITS = 4
"""Bits of a private that hold the index of the frame in its slab."""

Constructor = Callable[[], bytes]
"""The bytes of a fresh object.  Run once per object when its slab is made, never on alloc."""


def address_of(pfn: int, offset: int = 0) -> int:
    """The address of a byte in a frame; never 0, which is NULL.

    Args:
        pfn: the frame.
        offset: byte in it.

    >>> hex(address_of(2, 0x40))
    '0xffff888000002040'
    """
    return _DIRECT_MAP + (pfn << PAGE_SHIFT) + offset


def slab_id_of(private: int) -> int:
    """The slab that the pin with this private belongs to."""
    return private >> _INDEX_BITS


class BlockSource(PageSource, Protocol):
    """A page source that has larger blocks too."""

    def alloc_pages(self, order: int, gfp: Gfp) -> int:
        """A block of 2^order frames with a reference each: its first pfn, or -1.

        Args:
            order: 2^order frames.
            gfp: what the allocator may do.
        """


class ObjectOps(Protocol):
    """What a cache must be able to do for its objects to move.

    The callbacks of the slab-movable-objects series, over vectors of objects.
    Context: the memory's lock is held; neither allocates.
    """

    def isolate(self, objects: Sequence[int], mode: Mode) -> Verdict:
        """May these objects move?  Yes: only other objects hold their addresses.

        Not called when it comes to nothing, so it must leave no mark.

        Args:
            objects: addresses of live objects of one slab.
            mode: how long the mover would wait.
        """

    def migrate(self, moved: Mapping[int, int]) -> None:
        """The bytes of each object (key) are at a new address (value): rewrite what points there.

        Writes go through `SlabMemory.store`.  Objects in `moved` may point to each other.
        """


@define(eq=False)
class Slab:
    """2^order frames full of objects of one size.

    Attributes:
        slab_id: its number in its cache; never used again.
        pfn: of its first frame.
        order: log2 of its frames.
        stride: bytes from one object to the next.
        live: bool, which objects are allocated, shape (nr_objects,).
        is_isolated: a mover has its frame; it is neither read nor written.
        waiting: (offset, bytes) to be written when the mover is done, in order.
    """

    slab_id: int
    pfn: int
    order: int
    stride: int
    live: Mask = field(repr=False)
    is_isolated: bool = False
    waiting: list[tuple[int, bytes]] = field(factory=list)

    @property
    def pfns(self) -> range:
        """Its frames, ascending."""
        return range(self.pfn, self.pfn + (1 << self.order))

    def private(self, pfn: int) -> int:
        """The private of the pin of one of its frames."""
        return self.slab_id << _INDEX_BITS | (pfn - self.pfn)

    @property
    def nr_live(self) -> int:
        """Allocated objects."""
        return int(np.count_nonzero(self.live))

    @property
    def nr_free(self) -> int:
        """Objects that could be allocated."""
        return len(self.live) - self.nr_live

    def address(self, index: int) -> int:
        """Of one object."""
        return address_of(self.pfn, index * self.stride)

    def objects(self) -> list[int]:
        """Addresses of the live objects, ascending."""
        return [self.address(index) for index in np.flatnonzero(self.live).tolist()]

    def index_of(self, address: int) -> int:
        """Which live object starts at this address.

        Raises:
            PinpageError: none does.
        """
        index, inside = divmod(address - address_of(self.pfn), self.stride)
        if inside or not 0 <= index < len(self.live) or not self.live[index]:
            raise PinpageError(f"slab: no object is allocated at {address:#x}")
        return index


class SlabMemory:
    """Where every slab of every cache lies.

    Attributes:
        source: where frames come from, and the bytes in them.
        is_flagged: whether frames carry the SLAB flag; nothing in mm looks at it.
        lock: held by every operation on slabs and objects, never while allocating or pinning;
            re-entrant, for the callbacks of a cache come back here.
    """

    def __init__(
        self, source: BlockSource, lock: AbstractContextManager[object], *, is_flagged: bool
    ) -> None:
        """No slabs yet.

        Args:
            source: where frames come from.
            lock: of all caches that share it.
            is_flagged: whether frames carry the SLAB flag.

        Raises:
            PinpageError: the machine's pages are not of 4 KiB.
        """
        require_usual_pages("slab", source.frames)
        self.source = source
        self.lock = lock
        self.is_flagged = is_flagged
        self._slab_at: dict[int, Slab] = {}

    def place(self, slab: Slab) -> None:
        """From now on addresses in its frames are its objects'."""
        for pfn in slab.pfns:
            self._slab_at[pfn] = slab

    def remove(self, slab: Slab) -> None:
        """Its frames hold no objects any more."""
        for pfn in slab.pfns:
            del self._slab_at[pfn]

    def slab_of(self, address: int) -> Slab:
        """The slab that an address lies in.

        Raises:
            PinpageError: none.
        """
        slab = self._slab_at.get((address - _DIRECT_MAP) >> PAGE_SHIFT)
        if slab is None:
            raise PinpageError(f"slab: {address:#x} is in no slab")
        return slab

    def slab_at(self, pfn: int) -> Slab | None:
        """The slab that has this frame, if any."""
        return self._slab_at.get(pfn)

    def is_quiet(self, address: int) -> bool:
        """Whether a mover has the page: users must come again later."""
        return self.slab_of(address).is_isolated

    def load(self, address: int, nr_bytes: int) -> bytes:
        """Bytes of an object, whose page no mover has.

        Args:
            address: in a slab.
            nr_bytes: how many.
        """
        slab = self.slab_of(address)
        require(not slab.is_isolated, "SL5 a page that a mover has is read", address=address)
        contents = self.source.contents
        return b"".join(
            contents.read(pfn, offset, nr)
            for pfn, offset, nr in _pieces(address - _DIRECT_MAP, nr_bytes)
        )

    def store(self, address: int, data: bytes) -> None:
        """Write into an object; later, if a mover has its page.

        Args:
            address: in a slab.
            data: the bytes.
        """
        slab = self.slab_of(address)
        if slab.is_isolated:
            slab.waiting.append((address - address_of(slab.pfn), data))
            return
        self._write(address, data)

    def _write(self, address: int, data: bytes) -> None:
        done = 0
        for pfn, offset, nr_bytes in _pieces(address - _DIRECT_MAP, len(data)):
            self.source.contents.write(pfn, data[done : done + nr_bytes], offset)
            done += nr_bytes

    def fill(self, slab: Slab, data: bytes) -> None:
        """Write the same bytes into every object of a slab that is not placed yet.

        Args:
            slab: a fresh one.
            data: of each object.
        """
        for index in range(len(slab.live)):
            self._write(slab.address(index), data)

    def end_isolation(self, slab: Slab) -> None:
        """The page is ours again, wherever it is now: do what waited."""
        slab.is_isolated = False
        waiting, slab.waiting = slab.waiting, []
        for offset, data in waiting:
            self.store(address_of(slab.pfn, offset), data)


def _pieces(at: int, nr_bytes: int) -> list[tuple[int, int, int]]:
    """(pfn, offset, bytes) of a stretch of the direct map; an object may straddle frames."""
    pieces = []
    while nr_bytes:
        pfn, offset = divmod(at, PAGE_SIZE)
        nr = min(nr_bytes, PAGE_SIZE - offset)
        pieces.append((pfn, offset, nr))
        at, nr_bytes = at + nr, nr_bytes - nr
    return pieces
