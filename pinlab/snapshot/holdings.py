"""Who has frames in each block of memory, counted: what reports and what-ifs start from.

A block here is an aligned range of 2^order frames, of any order.  Each frame is free, an
owner's, of unknown use, or nobody's to move: reserved, never managed, a hole, beyond the end.

    owner         its frames
    ----------    -------------------------------------------------
    a class       by name: slab, pagetable, zbud, gup, anon ...
    a label       those that the recording's labels name
    kernel        a word for kernelstack, vmalloc, other and cma together

Owns: the counts, and how blocks of one order add up to those of a higher one.
Ignores: what moves (`pinlab.whatif.game`).
Cost: a few passes over the frames, once; then O(blocks x owners).
"""

from collections.abc import Iterable
from typing import Final, Self

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from mm.state.pageblock import MigrateType
from pinlab.snapshot.classes import KERNEL, NR_CLASSES, FrameClass
from pinlab.snapshot.image import Snapshot
from pinpage.errors import PinpageError, several
from pinpage.units import Mask

__all__ = [
    "LINUX_MOVES",
    "MOST_ORDER",
    "NOBODY",
    "UNIT_ORDER",
    "Holdings",
    "codes_of",
    "holdings_of",
    "names_of",
]

MOST_ORDER: Final = 18
"""The largest blocks that reports speak of: 1 GiB with pages of 4 KiB."""
UNIT_ORDER: Final = 9
"""What reports start from: 2 MiB with pages of 4 KiB."""
_GROUPS: Final = {KERNEL: ("kernelstack", "vmalloc", "other", "cma")}
NOBODY: Final = frozenset(
    {
        FrameClass.UNKNOWN, FrameClass.HOLE, FrameClass.FREE, FrameClass.PCP,
        FrameClass.RESERVED, FrameClass.UNMANAGED, FrameClass.LABELLED,
    }
)  # fmt: skip
"""Classes that are no owner of their own: nobody's, or several owners'."""
LINUX_MOVES: Final = ("anon", "file", "z3fold", "zsmalloc", "zram")
"""Owners whose frames Linux 6.1 migrates one by one: the LRU, and movable_operations."""
_CMA: Final = int(MigrateType.CMA)
_NEVER: Final = [FrameClass.HOLE, FrameClass.RESERVED, FrameClass.UNMANAGED]
_Counts = NDArray[np.int64]


@frozen(eq=False)
class Holdings:
    """Frames per block of one order, by whose they are.

    Attributes:
        order: log2 of the frames of a block.
        owner_names: who has frames anywhere, by class, then labels by name.
        nr_frames: int64 (nr_blocks, len(owner_names)).
        nr_free: int64 (nr_blocks,), in the buddy lists or on a per-CPU list.
        nr_unknown: int64 (nr_blocks,), of which nothing is known.
        nr_never: int64 (nr_blocks,), that no owner could move: reserved, holes, never managed.
        in_cma: bool (nr_blocks,), whether a pageblock of it is CMA's.
        lowest_zone, highest_zone: uint8 (nr_blocks,), of the frames in it.
        pageblock_order: of the machine.
    """

    order: int
    owner_names: tuple[str, ...]
    nr_frames: _Counts = field(repr=False)
    nr_free: _Counts = field(repr=False)
    nr_unknown: _Counts = field(repr=False)
    nr_never: _Counts = field(repr=False)
    in_cma: Mask = field(repr=False)
    lowest_zone: NDArray[np.uint8] = field(repr=False)
    highest_zone: NDArray[np.uint8] = field(repr=False)
    pageblock_order: int

    @property
    def nr_blocks(self) -> int:
        """Blocks, a last one that memory ends in included."""
        return len(self.nr_free)

    @property
    def nr_pages(self) -> int:
        """Frames of a block."""
        return 1 << self.order

    @property
    def whole(self) -> Mask:
        """Blocks of one zone that could be handed out, were nothing in them."""
        one_zone: Mask = (self.lowest_zone == self.highest_zone) & (self.nr_never < self.nr_pages)
        return one_zone & ~(self.in_cma & (self.order > self.pageblock_order))

    @property
    def wholly_free(self) -> Mask:
        """Blocks of one zone in which nothing is in use."""
        free: Mask = (self.nr_free == self.nr_pages) & (self.lowest_zone == self.highest_zone)
        return free

    def moved_by_linux(self) -> tuple[str, ...]:
        """Owners among them whose frames the kernel moves out of a block of this order.

        A page of the hugetlb pool leaves a block that is larger than itself.
        """
        more = ("hugetlb",) if self.order > self.pageblock_order else ()
        return tuple(name for name in self.owner_names if name in LINUX_MOVES + more)

    def in_the_way(self) -> tuple[str, ...]:
        """The others, whose frames keep a block of this order."""
        moves = self.moved_by_linux()
        return tuple(name for name in self.owner_names if name not in moves)

    def at(self, order: int) -> Self:
        """The same of blocks of a higher order.

        Args:
            order: log2 of the frames of a block; this one's, or more.

        Raises:
            PinpageError: a lower one.
        """
        if order < self.order:
            raise PinpageError(f"holdings: order={order} is below the {self.order} counted by")
        step = 1 << (order - self.order)
        nr_missing = -self.nr_blocks % step * self.nr_pages

        def added(column: _Counts) -> _Counts:
            starts = np.arange(0, self.nr_blocks, step)
            sums: _Counts = np.add.reduceat(column, starts, axis=0)
            return sums

        nr_never = added(self.nr_never)
        nr_never[-1:] += nr_missing
        starts = np.arange(0, self.nr_blocks, step)
        return type(self)(
            order=order,
            owner_names=self.owner_names,
            nr_frames=added(self.nr_frames),
            nr_free=added(self.nr_free),
            nr_unknown=added(self.nr_unknown),
            nr_never=nr_never,
            in_cma=np.logical_or.reduceat(self.in_cma, starts),
            lowest_zone=np.minimum.reduceat(self.lowest_zone, starts),
            highest_zone=np.maximum.reduceat(self.highest_zone, starts),
            pageblock_order=self.pageblock_order,
        )

    def columns_of(self, names: Iterable[str]) -> list[int]:
        """Columns of `nr_frames` that are these owners'."""
        wanted = set(names)
        return [i for i, name in enumerate(self.owner_names) if name in wanted]


def names_of(holdings: Holdings, named: Iterable[str], argument: str) -> tuple[str, ...]:
    """Owners as somebody named them: groups spelled out, each once, in the order of the columns.

    Args:
        holdings: who there is.
        named: owners, or groups such as kernel.
        argument: where they were given, for the message.

    Raises:
        PinpageError: one has no frame here; names it, and those that there are.
    """
    several("owners", **{argument: named})
    wanted: set[str] = set()
    for name in named:
        of_it = {*_GROUPS.get(name, (name,))} & {*holdings.owner_names}
        if not of_it:
            known = ", ".join(holdings.owner_names) or "nobody"
            raise PinpageError(f"{argument}={name}: holds nothing here; it is one of {known}")
        wanted |= of_it
    return tuple(name for name in holdings.owner_names if name in wanted)


def codes_of(snapshot: Snapshot) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Whose each frame is: a `FrameClass`, or `NR_CLASSES` and more for a label.

    Returns:
        uint8 (nr_frames,), and the names of all codes.

    Raises:
        PinpageError: more labels than a byte can tell apart.
    """
    labels = sorted(snapshot.labels)
    names = (*(klass.name.lower() for klass in FrameClass), *labels)
    if len(names) > np.iinfo(np.uint8).max:
        raise PinpageError(f"holdings: {len(labels)} labels; there is room for 200, join some")
    codes = snapshot.klass
    pinned = snapshot.pinned_pfns
    if labels or len(pinned):
        codes = codes.copy()
        for code, label in enumerate(labels, start=NR_CLASSES):
            for span in snapshot.labels[label]:
                codes[span.start : span.stop] = code
        processes = np.isin(codes[pinned], (FrameClass.ANON, FrameClass.FILE))
        codes[pinned[processes]] = FrameClass.GUP
    return codes, names


def holdings_of(snapshot: Snapshot, order: int = UNIT_ORDER) -> Holdings:
    """Count a recording, block by block.

    Args:
        snapshot: the recording.
        order: log2 of the frames of a block.

    Raises:
        PinpageError: see `codes_of`.
    """
    codes, names = codes_of(snapshot)
    size = 1 << order
    nr_blocks = -(-len(codes) // size)
    cell = np.arange(len(codes)) >> order
    cell *= len(names)
    cell += codes
    counts = np.bincount(cell, minlength=nr_blocks * len(names)).reshape(nr_blocks, len(names))
    owners = [
        code for code in range(len(names))
        if counts[:, code].any() and (code >= NR_CLASSES or FrameClass(code) not in NOBODY)
    ]  # fmt: skip
    nr_never = counts[:, _NEVER].sum(axis=1)
    nr_never[-1:] += nr_blocks * size - len(codes)
    lowest, highest = _zones_of(snapshot, size)
    return Holdings(
        order=order,
        owner_names=tuple(names[code] for code in owners),
        nr_frames=counts[:, owners].astype(np.int64),
        nr_free=counts[:, [FrameClass.FREE, FrameClass.PCP]].sum(axis=1),
        nr_unknown=counts[:, FrameClass.UNKNOWN].astype(np.int64),
        nr_never=nr_never,
        in_cma=_cma_of(snapshot, size, nr_blocks),
        lowest_zone=lowest,
        highest_zone=highest,
        pageblock_order=snapshot.nr_pages_per_block.bit_length() - 1,
    )


def _zones_of(snapshot: Snapshot, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The lowest and the highest zone of the frames of each block; 255 and 0 where none is."""
    starts = np.arange(0, snapshot.nr_frames, size)
    hole = snapshot.klass == FrameClass.HOLE
    lowest = np.minimum.reduceat(np.where(hole, np.uint8(255), snapshot.zone), starts)
    highest = np.maximum.reduceat(np.where(hole, np.uint8(0), snapshot.zone), starts)
    return lowest, highest


def _cma_of(snapshot: Snapshot, size: int, nr_blocks: int) -> Mask:
    """Blocks that touch a pageblock of CMA."""
    cma = snapshot.block_migratetype == _CMA
    per_block = snapshot.nr_pages_per_block
    if size >= per_block:
        found: Mask = np.logical_or.reduceat(cma, np.arange(0, len(cma), size // per_block))
        return found[:nr_blocks]
    within: Mask = np.repeat(cma, per_block // size)[:nr_blocks]
    return within
