"""Small machines: a few frames, a registry, processes, drivers, pools and swap, all real."""

import numpy as np

from mm.machine import Machine
from mm.paging.vmscan import shrink_inactive
from mm.state.address_space import AddressSpace
from mm.state.contents import ArenaContents
from mm.state.errno import Errno
from mm.state.frames import Frames, FrameState, PageFlag
from mm.state.nodes import Zone, place_frames
from mm.state.pageblock import Pageblocks
from mm.swap.swap_area import SwapArea
from owners.compress import compressor
from owners.gup.gup import Gup
from owners.gup.pin_references import MoveHandler, Pinner
from owners.pool.owner import Coverage
from owners.zswap.zswap import Zswap
from pinpage.errors import require
from pinpage.migrate import move_many, move_steps
from pinpage.owner import Mode, Reason
from pinpage.testing.explore import Actor, Until
from pinpage.testing.stepping import stop_here
from pinpage.testing.world import column
from pinpage.units import Pfns, Span

__all__ = ["BLOCK_NR_PAGES", "PAGE", "AnyFree", "Small", "SwapMachine", "page", "tries_again"]

PAGE = 4096
BLOCK_NR_PAGES = 8


def page(number: int) -> bytes:
    """A page that begins with its number and compresses well."""
    return bytes([number]) * PAGE


def tries_again() -> None:
    """For a `RetryPolicy`: others go on between two tries."""
    stop_here("tries again")


class AnyFree:
    """Targets: the highest free frames."""

    def __init__(self, machine: Machine) -> None:
        """Of this machine."""
        self._machine = machine

    def take(self, count: int) -> Pfns:
        """Up to `count` of them."""
        free = np.flatnonzero(self._machine.frames.state == FrameState.FREE)[::-1]
        chosen: Pfns = np.sort(free[:count])
        self._machine.buddy.take(chosen)
        return chosen

    def give_back(self, pfns: Pfns) -> None:
        """Those that were not used."""
        if len(pfns):
            self._machine.buddy.put_taken(pfns)


class Small:
    """A machine of pageblocks of eight frames, with a registry.

    Attributes:
        machine, registry: both real.
        gup: get_user_pages.
        pinners: drivers that hold pages; their references are accounted for by `check`.
        reasons: name of a mover -> what became of its frames.
    """

    def __init__(self, nr_pages: int = 16) -> None:
        """All frames free."""
        frames = Frames(nr_pages)
        frames.state[:] = FrameState.FREE
        zones = [Zone(0, "Normal", 0, Span(0, nr_pages))]
        place_frames(frames, zones)
        blocks = Pageblocks(nr_pages, nr_pages_per_block=BLOCK_NR_PAGES)
        self.machine = Machine(frames, blocks, zones, ArenaContents(nr_pages), nr_cpus=1)
        self.registry = self.machine.use_registry()
        self.gup = Gup(self.machine)
        self.pinners: list[Pinner] = []
        self.reasons: dict[str, list[Reason]] = {}

    # Who uses memory.

    def process(self, nr_pages: int = 1, name: str = "p", nr_vpns: int = 0) -> AddressSpace:
        """A process whose page i is `page(i + 1)`.

        Args:
            nr_pages: that it has written.
            name: of the process.
            nr_vpns: size of its address space; 0: just those pages.
        """
        space = self.machine.memory.mmap(name, nr_vpns or nr_pages)
        for vpn in range(nr_pages):
            require(self.machine.memory.write(space, vpn, page(vpn + 1)) == 0, "no memory")
        return space

    def driver(self, handler: MoveHandler | None = None, *, registered: bool = True) -> Pinner:
        """Somebody who pins pages of processes.

        Args:
            handler: what it does around a move; None: its pages stay.
            registered: whether movers can find it.
        """
        made = Pinner("driver", registry=self.registry if registered else None, handler=handler)
        self.pinners.append(made)
        return made

    def pfn(self, space: AddressSpace, vpn: int = 0) -> int:
        """Where a page of a process is.

        Args:
            space: the process.
            vpn: which page of it.
        """
        return int(space.pte[vpn]) - 1

    # Movers.

    def mover(self, *pfns: int, name: str = "mover") -> Actor:
        """A move as an actor; what became of the frames is in `reasons[name]`.

        Args:
            pfns: the frames.
            name: of the mover.
        """
        report = yield from move_steps(
            self.registry, self.machine.mover, column(*pfns), AnyFree(self.machine), Mode.SYNC
        )
        self.reasons[name] = [Reason(int(reason)) for reason in report.reasons]

    def move(self, *pfns: int, name: str = "mover") -> list[Reason]:
        """The same move at once; one reason per frame.

        Args:
            pfns: the frames.
            name: of the mover.
        """
        report = move_many(
            self.registry, self.machine.mover, column(*pfns), AnyFree(self.machine), Mode.SYNC
        )
        self.reasons[name] = [Reason(int(reason)) for reason in report.reasons]
        return self.reasons[name]

    # What must hold.

    @property
    def nr_free(self) -> int:
        """Free frames, those on per-CPU lists included."""
        free = (FrameState.FREE, FrameState.PCP)
        return int(np.isin(self.machine.frames.state, free).sum())

    def check(self) -> None:
        """Every invariant, and every reference of a process's page accounted for.

        Raises:
            InvariantError: one does not hold.
        """
        self.machine.check()
        self.gup.check(self.pinners)
        held: dict[int, int] = {}
        for pinner in self.pinners:
            for pfn, nr_references in pinner.holdings():
                held[pfn] = held.get(pfn, 0) + nr_references
        self.machine.paging.check(held)


class SwapMachine(Small):
    """The same with a swap area, in front of which there may be zswap.

    Whoever waits for a page lock waits as an actor; whoever lets others run is a stop.

    Attributes:
        area: of 16 slots.
        zswap: before the disk, or None.
    """

    def __init__(
        self, nr_pages: int = 16, *, zswap: bool = False, coverage: Coverage = "migrate"
    ) -> None:
        """Nothing swapped out.

        Args:
            nr_pages: of the machine.
            zswap: whether there is one.
            coverage: what its pool offers movers.
        """
        super().__init__(nr_pages)
        machine = self.machine
        self.paging = machine.paging
        self.paging.wait = self._wait
        self.paging.cond_resched = self._let_others_run
        self.zswap: Zswap | None = None
        if zswap:
            self.zswap = Zswap(
                machine, compressor("zlib"), host=machine.swap_core, registry=self.registry,
                coverage=coverage, max_pool_percent=90,
            )  # fmt: skip
        self.area: SwapArea = machine.swap.swapon(16, self.zswap)
        if self.zswap is not None:
            self.zswap.init(self.area.type)

    def _wait(self, pfn: int, flag: PageFlag) -> None:
        def is_over() -> bool:
            return pfn < 0 or not self.paging.has(pfn, 1 << flag)

        waited = stop_here(Until(is_over, f"{flag.name} of page {pfn} clears"))
        require(waited, "a wait that nobody ends", pfn=pfn, flag=flag.name)

    def _let_others_run(self) -> None:
        stop_here("lets others run")

    def swap_out(self) -> None:
        """Every page of a process that can go, out."""
        frames, lru = self.machine.frames, self.machine.lru
        for flag in (PageFlag.REFERENCED, PageFlag.ACTIVE):
            used = np.flatnonzero(frames.flags & flag.mask)
            on_lru = frames.has_flag(used, PageFlag.LRU)
            lru.del_many(used[on_lru])
            frames.clear_flag(used, flag)
            lru.add_many(used[on_lru])
        shrink_inactive(self.paging, frames.nr_frames)

    def swapped(self, *names: str) -> tuple[list[AddressSpace], int]:
        """Processes that share one page, swapped out: they, and the entry.

        Args:
            names: of the processes; the first made the page, the others are its children.
        """
        spaces = [self.process(1, names[0], nr_vpns=4)]
        for name in names[1:]:
            child = self.machine.memory.fork(spaces[0], name)
            assert child is not None
            spaces.append(child)
        self.swap_out()
        require(spaces[0].pte[0] < 0, "the page was not swapped out")
        return spaces, -int(spaces[0].pte[0]) - 1

    def require_reads(self, space: AddressSpace, number: int = 1) -> None:
        """The first page of a process is `page(number)`; reads it.

        Args:
            space: the process.
            number: of the page.
        """
        found = self.machine.memory.read(space, 0)
        require(found == page(number), "a process reads other data", process=space.name)

    def unuse(self, entry: int) -> Errno:
        """What zswap asks for: have an entry's users map the page."""
        return self.machine.swap_core.unuse(entry)
