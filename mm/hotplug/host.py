"""What memory hotplug needs of a machine: everything that may know a frame, and must not.

`mm.machine.Machine` satisfies `HotplugHost`.
"""

from collections.abc import Sequence
from typing import Protocol

from mm.allocator.page_alloc import PageAllocator
from mm.buddy.buddy import Buddy
from mm.buddy.pcp import PerCpuPages
from mm.compaction.compaction import Compaction
from mm.contig.evacuate import Evacuator
from mm.move.design import Design
from mm.move.move import Mover
from mm.planning.execute import PlannedCompaction
from mm.state.contents import Contents
from mm.state.costs import CostModel, Counters, SimClock
from mm.state.frames import Frames
from mm.state.lru import Lru
from mm.state.nodes import Zone
from mm.state.pageblock import Pageblocks
from mm.state.rmap import Rmap
from mm.swap.swap import Swap
from pinpage.registry import PinRegistry

__all__ = ["HotplugHost"]


class HotplugHost(Protocol):
    """A machine whose memory comes and goes."""

    frames: Frames
    pageblocks: Pageblocks
    contents: Contents
    buddy: Buddy
    pcp: PerCpuPages
    rmap: Rmap
    lru: Lru
    swap: Swap
    mover: Mover
    compaction: Compaction
    planned: PlannedCompaction
    allocator: PageAllocator
    evacuator: Evacuator
    counters: Counters
    costs: CostModel
    clock: SimClock
    design: Design
    registry: PinRegistry | None

    @property
    def zones(self) -> Sequence[Zone]:
        """By `Frames.zone`."""

    def counted(self) -> Counters:
        """Everything done so far, wherever it is counted."""

    def add_zone(self, zone: Zone) -> None:
        """One zone more, without memory, known to everybody who has to know."""
