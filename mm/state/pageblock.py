"""Pageblocks: which kind of page each of them, 2 MiB with pages of 4 KiB, is meant for.

Grouping by mobility keeps unmovable pages together, so that other blocks can be emptied.
The type of a pageblock decides on whose free lists its free pages stand; change it through
`mm.buddy.buddy.Buddy.set_migratetype`, which moves them along.

Kernel counterpart: pageblock flags (three type bits and a skip bit) and enum migratetype.
"""

import enum

import numpy as np
from numpy.typing import NDArray

from pinpage.errors import PfnError, PinpageError, at_least, require, whole, within
from pinpage.units import PAGEBLOCK_NR_PAGES, Mask, Pfns, Span

__all__ = [
    "MAX_PAGEBLOCK_ORDER",
    "MIGRATETYPE_FORMS",
    "MOST_NR_ORDERS",
    "NR_MIGRATETYPES",
    "NR_PCPTYPES",
    "USUAL_MAX_ORDER",
    "MigrateType",
    "Pageblocks",
]

MAX_PAGEBLOCK_ORDER = 13
"""The largest pageblock: 512 MiB, arm64's with pages of 64 KiB."""
USUAL_MAX_ORDER = 10
"""The largest free block of most machines: 4 MiB with pages of 4 KiB.

It is MAX_ORDER - 1 in kernels before 6.4; arm64 has 11 with pages of 16 KiB and 13 with 64.
"""
MOST_NR_ORDERS = 17
"""Orders 0 to 16: more than any configuration of the kernel has."""


class MigrateType(enum.IntEnum):
    """The types of v6.1, in its order (v3.11 had RESERVE, and RECLAIMABLE before MOVABLE)."""

    UNMOVABLE = 0
    MOVABLE = 1
    RECLAIMABLE = 2
    HIGHATOMIC = 3
    """A small reserve for high-order atomic requests."""
    CMA = 4
    """Lent to movable pages until the area's device wants it."""
    ISOLATE = 5
    """Being emptied: nothing is allocated from it."""


MIGRATETYPE_FORMS = (int, MigrateType)
"""What a type comes as where somebody asks often, and fit to compute with; all else is checked."""
NR_MIGRATETYPES = len(MigrateType)
"""Types with free lists of their own."""
NR_PCPTYPES = 3
"""UNMOVABLE, MOVABLE, RECLAIMABLE: they have per-CPU lists and merge with each other."""


class Pageblocks:
    """Per-pageblock columns, each of shape (nr_blocks,).

    Attributes:
        nr_frames: frames covered; the last pageblock may be partial.
        nr_pages_per_block: frames in a pageblock, a power of two.
        order: log2 of `nr_pages_per_block`.
        max_order: order of the largest free block that there can be.
        migratetype: uint8, a `MigrateType`.
        skip: bool, compaction's hint to pass over the block.
        saved_type: uint8, the type that a block had before it was isolated.

    Invariants, run by `check`:
        PB1 every type is a `MigrateType`.
        PB2 no block remembers ISOLATE as the type to go back to.
    """

    def __init__(
        self,
        nr_frames: int,
        nr_pages_per_block: int = PAGEBLOCK_NR_PAGES,
        max_order: int | None = None,
    ) -> None:
        """All blocks start MOVABLE, as at boot.

        Args:
            nr_frames: frames of the machine.
            nr_pages_per_block: pages in a pageblock.
            max_order: order of the largest free block, at least a pageblock's; None: the usual
                one, or that of two pageblocks where these are small.

        Raises:
            PinpageError: no frames, a block size that is not a power of two of at most 8192,
                or free blocks smaller than a pageblock.
        """
        (nr_frames,) = at_least(1, "pageblocks", nr_frames=nr_frames)
        (nr_pages_per_block,) = whole("pageblocks", nr_pages_per_block=nr_pages_per_block)
        most = 1 << MAX_PAGEBLOCK_ORDER
        if not 1 <= nr_pages_per_block <= most or nr_pages_per_block & (nr_pages_per_block - 1):
            raise PinpageError(
                f"pageblocks: nr_pages_per_block={nr_pages_per_block}: "
                f"must be a power of two of at most {most}"
            )
        self.nr_frames = nr_frames
        self.nr_pages_per_block = nr_pages_per_block
        self.order = nr_pages_per_block.bit_length() - 1
        if max_order is None:
            max_order = max(min(USUAL_MAX_ORDER, self.order + 1), self.order)
        (max_order,) = within(MOST_NR_ORDERS, "pageblocks", max_order=max_order)
        at_least(self.order, "pageblocks", max_order=max_order)
        self.max_order = max_order
        self.nr_blocks = -(-nr_frames // nr_pages_per_block)
        self.migratetype: NDArray[np.uint8] = np.full(
            self.nr_blocks, MigrateType.MOVABLE, dtype=np.uint8
        )
        self.saved_type: NDArray[np.uint8] = np.full(
            self.nr_blocks, MigrateType.MOVABLE, dtype=np.uint8
        )
        self.skip: Mask = np.zeros(self.nr_blocks, dtype=np.bool_)

    def span(self, block: int) -> Span:
        """The frames of a pageblock; shorter at the end of memory.

        Raises:
            PfnError: no such pageblock.
        """
        if type(block) is not int:
            (block,) = whole("pageblock", block=block)
        if not 0 <= block < self.nr_blocks:
            raise PfnError(f"pageblock {block} is outside the machine (0..{self.nr_blocks - 1})")
        start = block << self.order
        return Span(start, min(start + self.nr_pages_per_block, self.nr_frames))

    def block_of(self, pfns: Pfns) -> NDArray[np.int64]:
        """The pageblock of each pfn, shape (n,).  Costs about 1 ns per pfn."""
        return pfns >> self.order

    def blocks_of_span(self, span: Span) -> range:
        """Every pageblock that the span touches, ascending."""
        return range(span.start >> self.order, -(-span.stop // self.nr_pages_per_block))

    def types_of(self, pfns: Pfns) -> NDArray[np.uint8]:
        """The `MigrateType` of each pfn's pageblock, shape (n,)."""
        types: NDArray[np.uint8] = self.migratetype[pfns >> self.order]
        return types

    def check(self) -> None:
        """Run PB1 and PB2.

        Raises:
            InvariantError: one does not hold; names the first block.
        """
        odd = self.migratetype >= NR_MIGRATETYPES
        require(not odd.any(), "PB1 a pageblock of no known type", block=int(odd.argmax()))
        lost = self.saved_type >= MigrateType.ISOLATE
        require(
            not lost.any(), "PB2 a pageblock would go back to ISOLATE", block=int(lost.argmax())
        )
