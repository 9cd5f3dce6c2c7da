"""Whoever asks for memory, on machines of a few pageblocks.

A 1 GiB page, a memory block and a power region are two pageblocks here, whatever these hold.

Kernel counterpart: as of `mm.contig`, `mm.hotplug`, `mm.hugetlb` and `mm.power`, in small.
"""

from collections.abc import Callable
from typing import Final

import numpy as np

from mm.hugetlb.gigantic import GiganticPages
from mm.machine import Machine
from mm.move.design import Strategy
from mm.state.pageblock import MigrateType
from pinpage.units import Span

__all__ = ["REQUESTS", "Request", "gigantic"]

Request = Callable[[Machine, Strategy], int]
"""Asks until there is no more; how many it obtained."""

_NR_BLOCKS: Final = 2
_CMA_ALIGN: Final = 3


def _unit(machine: Machine) -> int:
    return _NR_BLOCKS * machine.pageblocks.nr_pages_per_block


def _huge2m(machine: Machine, strategy: Strategy) -> int:
    """Wholly free pageblocks after compaction."""
    machine.compact(strategy)
    return int(machine.buddy.wholly_free().sum())


def _cma(machine: Machine, strategy: Strategy) -> int:
    """Allocations of a pageblock from the area at the start of memory."""
    size = machine.pageblocks.nr_pages_per_block
    nr_blocks = int(np.count_nonzero(machine.pageblocks.migratetype == MigrateType.CMA))
    if not nr_blocks:
        return 0
    area, obtained = machine.cma.create(Span(0, nr_blocks * size)), 0
    while machine.cma.request(size, _CMA_ALIGN, area=area, strategy=strategy).pfn >= 0:
        obtained += 1
    return obtained


def _offline(machine: Machine, strategy: Strategy) -> int:
    """Each memory block in turn."""
    hotplug = machine.hotplug
    hotplug.blocks.nr_pages = _unit(machine)
    results = [
        hotplug.offline(block, machine.design, strategy=strategy)
        for block in range(machine.frames.nr_frames // _unit(machine))
    ]
    return sum(result.errno == 0 for result in results)


def gigantic(machine: Machine) -> GiganticPages:
    """Pages of two pageblocks, as the machine would give those of 1 GiB."""
    return GiganticPages(
        machine.contig,
        machine.planned,
        lambda: machine.zones,
        lambda: machine.design,
        _unit(machine),
    )


def _huge1g(machine: Machine, strategy: Strategy) -> int:
    """Gigantic pages, one after the other."""
    pages, obtained = gigantic(machine), 0
    while True:
        got = pages.alloc_planned()[0] if strategy == "plan" else pages.walk()
        if got.head < 0:
            return obtained
        obtained += 1


def _power(machine: Machine, strategy: Strategy) -> int:
    """Regions off after one consolidation."""
    machine.power.configure(_unit(machine))
    return machine.power.consolidate(machine.design, strategy=strategy).nr_regions_off


REQUESTS: dict[str, Request] = {
    "huge2m": _huge2m,
    "cma": _cma,
    "offline": _offline,
    "huge1g": _huge1g,
    "power": _power,
}
"""By name, the names of `pinpage request`."""
