"""What keeping unmovable pages together buys on a machine that grows old: pageblocks tainted.

On recorded memory `confinement` can show nothing: where pages lie was decided when they were
allocated.  Here the same load runs twice from boot: processes and a page cache that fill memory,
and a kernel that takes pages, keeps some for long and gives most of them back.  Once they come
from the machine, once from a region of their own (`mm.designs.confinement`).

    tainted   pageblocks with one of the kernel's pages in them
    fewest    what so many pages need if nothing else is between them: ceil(U / n)

Kernel counterpart: none; the measurement is that of Contiguitas, in small.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from attrs import frozen

from mm.designs.confinement import ConfinedPages
from mm.state.gfp import Gfp
from pinlab.load.mixed import WORKLOAD_SHARES
from pinlab.load.run import LoadRun, make_world
from pinlab.load.workload import NOTHING, Action, Holding, LoadedMachine, Workload
from pinpage.errors import PinpageError, at_least
from pinpage.units import Pfns

__all__ = ["Growth", "KernelPages", "growth"]

_NR_SAMPLES: Final = 20
_KERNEL_SHARE: Final = 250
_KERNEL_PACE_NS: Final = 500_000
_LONG_LIVED: Final = 8
"""Of so many pages one is kept for long: it is given back by one draw in so many."""


class KernelPages(Workload):
    """Pages of the kernel that come, stay and go, and do not move.

    Attributes:
        region: where they come from; None: from wherever the machine has one.
    """

    def __init__(
        self,
        world: LoadedMachine,
        name: str,
        *,
        nr_slots: int,
        pace_ns: int,
        region: ConfinedPages | None = None,
    ) -> None:
        """At most `nr_slots` pages.

        Args:
            world: the machine, and what all workloads on it share.
            name: unique in a run; names its random stream.
            nr_slots: how much it works with, in its own units.
            pace_ns: mean rest between two actions, in simulated ns.
            region: where they come from; None: from wherever the machine has one.
        """
        super().__init__(world, name, nr_slots=nr_slots, pace_ns=pace_ns)
        self.region = region
        self._pfn: Pfns = np.full(nr_slots, NOTHING, dtype=np.int64)

    @property
    def pfns(self) -> Pfns:
        """Its pages, without order."""
        held: Pfns = self._pfn[self._pfn != NOTHING]
        return held

    def actions(self) -> Iterator[Action]:
        """An empty slot gets a page; a full one gives it back, a long-lived one seldom."""
        while True:
            slot, serial = self.any_slot()
            if self._pfn.item(slot) == NOTHING:
                yield self.act("alloc", done=self._alloc(slot, serial))
            elif slot % _LONG_LIVED or self.below(_LONG_LIVED) == 0:
                self._free(slot)
                yield self.act("free")
            else:
                yield self.act("keep")

    def _alloc(self, slot: int, serial: int) -> bool:
        source = self.region or self.world.machine
        pfn = source.alloc_page(Gfp.KERNEL)
        if pfn >= 0:
            self.world.machine.contents.write(pfn, self.pages.page(serial))
            self._pfn[slot] = pfn
            self.pages.store(slot, serial)
        return pfn >= 0

    def _free(self, slot: int) -> None:
        pfn = self._pfn.item(slot)
        self.pages.compare(slot, self.world.machine.contents.read(pfn))
        (self.region or self.world.machine).put_page(pfn)
        self._pfn[slot] = NOTHING
        self.pages.drop(slot)

    def read_back(self) -> None:
        """Every page, where it was written."""
        slots = self.pages.stored()
        self.pages.compare_frames(self.world.machine.contents, slots, self._pfn[slots])

    def holdings(self) -> Iterator[Holding]:
        """Its pages, and those that its region keeps free."""
        yield Holding(self.pfns, is_registered=False)
        if self.region is not None:
            size = self.world.machine.pageblocks.nr_pages_per_block
            first = self.region.first_block * size
            within = np.arange(first, first + self.region.nr_blocks * size)
            yield Holding(np.setdiff1d(within, self.pfns), is_registered=False)

    def let_go(self) -> None:
        """All of them."""
        for slot in self.pages.stored().tolist():
            self._free(slot)

    def check(self) -> None:
        """The region's own invariants."""
        if self.region is not None:
            self.region.check()


@frozen
class Growth:
    """What a run came to; means over samples of it.

    Attributes:
        confined: whether unmovable pages had a region of their own.
        nr_blocks: of the machine.
        nr_unmovable: pages that the kernel had.
        tainted: pageblocks with one of them.
        fewest: pageblocks that so many pages need.
        nr_outside: pages for which the region had no place, and could make none; in all.
        bytes_lost: of everybody.
        frames_leaked: in use after everybody has let go.
    """

    confined: bool
    nr_blocks: int
    nr_unmovable: float
    tainted: float
    fewest: float
    nr_outside: int
    bytes_lost: int
    frames_leaked: int

    @property
    def excess(self) -> float:
        """How many times more pageblocks than they need."""
        return self.tainted / self.fewest if self.fewest else 1.0


def growth(
    *, nr_pages: int = 4096, seconds: float = 3.0, seed: int = 0, confined: bool = True
) -> Growth:
    """Let a machine grow old from boot, and count tainted pageblocks on the way.

    Args:
        nr_pages: of the machine, whole pageblocks.
        seconds: simulated time; samples are taken in the second half of it.
        seed: of the load, which is the same with a region and without.
        confined: whether unmovable pages come from a region of their own.

    Raises:
        PinpageError: no time, or part of a pageblock.
        InvariantError: the machine, a workload or the accounts are inconsistent.

    >>> growth(nr_pages=2048, seconds=0.1).bytes_lost
    0
    """
    if seconds <= 0:
        raise PinpageError(f"growth: seconds={seconds}: give more than 0")
    at_least(0, "growth", seed=seed)
    world = make_world(nr_pages=nr_pages, design_name="confinement", seed=seed)
    region = ConfinedPages(world.machine, 0) if confined else None
    kernel = KernelPages(
        world,
        "kernel",
        nr_slots=max(nr_pages * _KERNEL_SHARE // 1000, 8),
        pace_ns=_KERNEL_PACE_NS,
        region=region,
    )
    others = [
        row.make(world, row.name, nr_slots=row.nr_slots(nr_pages), pace_ns=row.pace_ns)
        for row in (WORKLOAD_SHARES["pagecache"], WORKLOAD_SHARES["processes"])
    ]
    scenario = LoadRun(world, [*others, kernel], strategies=("scan",))
    samples = [
        _sample(scenario, kernel, seconds / (2 * _NR_SAMPLES)) for _ in range(2 * _NR_SAMPLES)
    ]
    scenario.check()
    found = scenario.read_back()
    late = np.array(samples[_NR_SAMPLES:], dtype=np.float64).mean(axis=0)
    return Growth(
        confined=confined,
        nr_blocks=world.machine.pageblocks.nr_blocks,
        nr_unmovable=late.item(0),
        tainted=late.item(1),
        fewest=late.item(2),
        nr_outside=region.nr_outside if region else 0,
        bytes_lost=found.bytes_lost,
        frames_leaked=scenario.let_go(),
    )


def _sample(scenario: LoadRun, kernel: KernelPages, seconds: float) -> tuple[int, int, int]:
    """Let time pass; pages of the kernel, pageblocks they are in, and the fewest they could be."""
    scenario.run(int(seconds * 1_000_000_000))
    size = kernel.world.machine.pageblocks.nr_pages_per_block
    pfns = kernel.pfns
    return len(pfns), len(np.unique(pfns // size)), -(-len(pfns) // size)
