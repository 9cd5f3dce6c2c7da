"""What memory hotplug needs of a machine: everything that may know a frame, and must not.

`mm.machine.Machine` satisfies `HotplugHost`.
"""

from collections.abc import Sequence
from typing import Protocol

from mm.buddy import Buddy
from mm.compaction import Compaction
from mm.contents import Contents
from mm.costs import CostModel, Counters, SimClock
from mm.design import Design
from mm.evacuate import Evacuator
from mm.frames import Frames
from mm.lru import Lru
from mm.move import Mover
from mm.nodes import Zone
from mm.page_alloc import PageAllocator
from mm.pageblock import Pageblocks
from mm.pcp import PerCpuPages
from mm.planned import PlannedCompaction
from mm.rmap import Rmap
from mm.swap import Swap
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
