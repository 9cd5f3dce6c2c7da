"""Memory in the units in which it comes and goes: memory blocks, and where RAM is at all.

A block is a row in /sys/devices/system/memory.  It is absent until memory is added there,
offline until it is brought online, and only while it is online do its frames have a zone and
a holder.  This module keeps that and nothing else; taking a block offline is
`mm.hotplug.memory_hotplug`.

Kernel counterpart: struct memory_block of drivers/base/memory.c, and the "System RAM"
entries of the resource tree, which walk_system_ram_range() counts.
"""

import enum
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from mm.state.frames import Frames, FrameState
from mm.state.pageblock import Pageblocks
from pinpage.errors import PfnError, PinpageError, require, whole
from pinpage.units import PAGE_SIZE, Mask, Span

__all__ = ["MEMORY_BLOCK_NR_PAGES", "BlockState", "MemoryBlocks", "usual_block_nr_pages"]

MEMORY_BLOCK_NR_PAGES = 32768
"""Pages in a memory block of x86-64 with up to 64 GiB: one section, 128 MiB."""


def usual_block_nr_pages(page_nr_bytes: int, nr_pages_per_block: int) -> int:
    """Pages in a memory block where nothing says how many: a section of 128 MiB.

    A section holds a pageblock at least (arm64's with pages of 64 KiB has 512 MiB).

    Args:
        page_nr_bytes: bytes in a page.
        nr_pages_per_block: pages in a pageblock.

    >>> usual_block_nr_pages(4096, 512), usual_block_nr_pages(65536, 8192)
    (32768, 8192)
    """
    return max(MEMORY_BLOCK_NR_PAGES * PAGE_SIZE // page_nr_bytes, nr_pages_per_block)


class BlockState(enum.IntEnum):
    """What a memory block is."""

    ABSENT = 0
    """No memory here, or none that was added."""
    OFFLINE = 1
    """Memory that nobody uses: its frames are holes."""
    ONLINE = 2


class MemoryBlocks:
    """The memory blocks of one machine.

    Attributes:
        nr_pages: pages in a block, a multiple of a pageblock.  May be set anew for as long
            as no block was added, removed or taken offline.
        states: a `BlockState` per block; one that holds any RAM starts online.

    Invariants, run by `check`:
        MB1 every frame of a block that is offline or absent is a hole.
        MB2 RAM is known as spans that ascend and do not touch.
    """

    def __init__(self, frames: Frames, pageblocks: Pageblocks, nr_pages: int | None = None) -> None:
        """Blocks over frames as they are now: whatever is no hole is RAM.

        Args:
            frames: the columns, one row per frame.
            pageblocks: the types of the pageblocks.
            nr_pages: pages in a memory block; None: as many as usual.

        Raises:
            PinpageError: the size is not a positive multiple of a pageblock.
        """
        self._frames = frames
        self._pageblocks = pageblocks
        self._ram = _runs(frames.state != FrameState.HOLE)
        self._has_changed = False
        self._nr_pages: int = 0
        usual = usual_block_nr_pages(frames.page_nr_bytes, pageblocks.nr_pages_per_block)
        self.nr_pages = usual if nr_pages is None else nr_pages

    @property
    def nr_pages(self) -> int:
        """Pages in a memory block."""
        return self._nr_pages

    @nr_pages.setter
    def nr_pages(self, nr_pages: int) -> None:
        size = self._pageblocks.nr_pages_per_block
        (nr_pages,) = whole("memory block", nr_pages=nr_pages)
        if nr_pages < 1 or nr_pages % size:
            raise PinpageError(
                f"memory block: nr_pages={nr_pages}: give a multiple of a pageblock ({size} pages)"
            )
        if self._has_changed and nr_pages != self._nr_pages:
            raise PinpageError("memory block: nr_pages: blocks have come or gone, their size stays")
        self._nr_pages = nr_pages
        self.states = self._as_found()

    @property
    def nr_blocks(self) -> int:
        """Memory blocks; the last one may reach beyond the machine."""
        return -(-self._frames.nr_frames // self._nr_pages)

    def _as_found(self) -> NDArray[np.uint8]:
        """A block that holds any RAM starts online."""
        states = np.zeros(self.nr_blocks, dtype=np.uint8)
        for span in self._ram:
            states[span.start // self._nr_pages : -(-span.stop // self._nr_pages)] = (
                BlockState.ONLINE
            )
        return states

    def state(self, block: int) -> BlockState:
        """What a block is.

        Raises:
            PfnError: there is no such block.
        """
        return BlockState(int(self.states[self.row_of(block)]))

    def span(self, block: int) -> Span:
        """The pfns of a block, all of them: the last one may reach beyond the machine.

        Raises:
            PfnError: there is no such block.
        """
        start = self.row_of(block) * self._nr_pages
        return Span(start, start + self._nr_pages)

    def block_of(self, pfn: int) -> int:
        """The block that a pfn lies in."""
        return pfn // self._nr_pages

    def online(self) -> list[int]:
        """Blocks that are online, ascending; memory with holes included."""
        return np.flatnonzero(self.states == BlockState.ONLINE).tolist()

    def row_of(self, block: int) -> int:
        """The number of a block, as a plain int.

        Raises:
            PinpageError: there is no such block.
        """
        if type(block) is not int:
            (block,) = whole("memory block", block=block)
        if not 0 <= block < self.nr_blocks:
            raise PfnError(f"memory block {block} is outside the machine (0..{self.nr_blocks - 1})")
        return block

    # Where RAM is.

    @property
    def ram(self) -> tuple[Span, ...]:
        """Where there is RAM, online or not, as spans that ascend and do not touch."""
        return self._ram

    @ram.setter
    def ram(self, spans: Iterable[Span]) -> None:
        """Say so where frames cannot tell: a hole in a section counts as reserved there."""
        self._ram = _joined(spans)
        self.states = self._as_found()

    def nr_ram_pages(self, span: Span) -> int:
        """Pages of RAM in a span (walk_system_ram_range)."""
        return sum(
            max(0, min(span.stop, ram.stop) - max(span.start, ram.start)) for ram in self.ram
        )

    # What hotplug writes.

    def set_state(self, block: int, state: BlockState) -> None:
        """Note what became of a block; its frames are the caller's to change.

        Args:
            block: number of the memory block.
            state: what it is now.
        """
        self.states[self.row_of(block)] = state
        self._has_changed = True

    def add_ram(self, span: Span) -> None:
        """There is RAM now where there was none."""
        self._ram = _joined((*self.ram, span))

    def remove_ram(self, span: Span) -> None:
        """There is none any more."""
        kept: list[Span] = []
        for ram in self.ram:
            left = Span(ram.start, max(ram.start, min(ram.stop, span.start)))
            right = Span(min(ram.stop, max(ram.start, span.stop)), ram.stop)
            kept += [part for part in (left, right) if part.nr_pages]
        self._ram = _joined(kept)

    def check(self) -> None:
        """Run MB1 and MB2; free before anything was hot-plugged.

        Raises:
            InvariantError: one does not hold; names the block.
        """
        if not self._has_changed:
            return
        for block in np.flatnonzero(self.states != BlockState.ONLINE).tolist():
            span = self.span(block)
            there = self._frames.state[span.start : span.stop] != FrameState.HOLE
            require(not there.any(), "MB1 a frame of a block that is not online", block=block)
        for ram, after in zip(self.ram, self.ram[1:], strict=False):
            require(ram.stop < after.start, "MB2 RAM overlaps or touches", pfn=after.start)


def _runs(mask: Mask) -> tuple[Span, ...]:
    """The runs of True, as spans."""
    edges = np.flatnonzero(np.diff(mask, prepend=False, append=False))
    pairs = edges.reshape(-1, 2).tolist()
    return tuple(Span(start, stop) for start, stop in pairs)


def _joined(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Sorted, and what overlaps or touches is one."""
    joined: list[Span] = []
    for span in sorted(spans):
        if joined and span.start <= joined[-1].stop:
            joined[-1] = Span(joined[-1].start, max(joined[-1].stop, span.stop))
        elif span.nr_pages:
            joined.append(span)
    return tuple(joined)
