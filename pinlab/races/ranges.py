"""A range that is being emptied: R-21 to R-23, R-32 to R-34."""

import numpy as np

from mm.buddy.pcp import PerCpuPages
from mm.contig.evacuate import Evacuator, _batch_by_batch
from mm.contig.page_isolation import first_not_isolated, start_isolate_page_range
from mm.contig.retry import RetryPolicy
from mm.move.move import Mover
from mm.state.errno import Errno
from mm.state.frames import PageFlag
from mm.state.gfp import Gfp
from owners.gup.flags import Foll
from pinlab.races.broken import Broken
from pinlab.races.machines import BLOCK_NR_PAGES, Small, page, tries_again
from pinlab.races.race import Race
from pinpage.errors import require
from pinpage.owner import Mode, Verdict
from pinpage.testing.explore import Actor, Scenario
from pinpage.testing.stepping import in_steps
from pinpage.testing.world import column
from pinpage.units import Span

__all__ = [
    "MOST_ASKED",
    "RACES",
    "RangeBench",
    "SaysAgain",
    "again_for_ever",
    "allocated_from_the_range",
    "freed_into_the_range",
    "given_up_half_way",
]

MOST_ASKED = 5 * 10
"""Five tries of ten passes."""


class RangeBench(Small):
    """A process has pages in the block that is emptied.

    Attributes:
        span: the block.
        is_isolated, is_emptied: how far `emptier` is.
    """

    def __init__(self, nr_pages: int = 3) -> None:
        """So many pages of a process."""
        super().__init__(3 * BLOCK_NR_PAGES)
        self.space = self.process(nr_pages)
        start = self.pfn(self.space) // BLOCK_NR_PAGES * BLOCK_NR_PAGES
        self.span = Span(start, start + BLOCK_NR_PAGES)
        self.is_isolated = self.is_emptied = False

    def emptier(self) -> Actor:
        """alloc_contig_range in its steps."""
        machine, evacuator = self.machine, self.machine.evacuator
        require(bool(evacuator.isolate(self.span, machine.design)), "it cannot be isolated")
        self.is_isolated = True
        yield "isolates and drains"
        for _ in range(2):
            evacuator.sweep(self.span, machine.design)
            yield "moves what is there"
        self.is_emptied = first_not_isolated(machine.buddy, self.span) < 0
        evacuator.undo(self.span)
        self.is_isolated = False
        yield "lets allocations in"

    def freer(self) -> Actor:
        """The process drops two pages: they go to the per-CPU lists."""
        for vpn in (0, 1):
            self.machine.memory.dontneed(self.space, column(vpn))
            yield f"drops page {vpn}"

    def allocating(self, gfp: Gfp = Gfp.KERNEL | Gfp.NOWARN) -> Actor:
        """Somebody takes two pages, of the range only while that is no range."""
        for _ in range(2):
            pfn = self.machine.alloc_page(gfp)
            late = self.is_isolated and pfn in self.span
            require(not late, "a page of the range was allocated", pfn=pfn)
            if pfn in self.span:  # before anything was isolated: it is none of ours
                self.machine.put_page(pfn)
                pfn = -1
            yield f"allocates {pfn}" if pfn >= 0 else "allocates a page and frees it again"

    def finish(self) -> None:
        """The range came free, and the process has what it had."""
        self.machine.check()
        require(self.is_emptied, "the range did not come free")
        found = self.machine.memory.read(self.space, 2)
        require(found == page(3), "the process lost a page")


def freed_into_the_range() -> Scenario:
    """R-21, R-22: pages are freed before, while and after the range is drained."""
    bench = RangeBench()
    return Scenario({"emptier": bench.emptier(), "process": bench.freer()}, finish=bench.finish)


def allocated_from_the_range() -> Scenario:
    """R-23: somebody allocates while the range is emptied."""
    bench = RangeBench()
    return Scenario({"emptier": bench.emptier(), "others": bench.allocating()}, finish=bench.finish)


class SaysAgain:
    """The handler of a driver whose transfer does not end; counts how often it is asked."""

    def __init__(self) -> None:
        """Never asked."""
        self.nr_asked = 0

    def quiesce(self, pin_id: int, mode: Mode) -> Verdict:
        """Not now."""
        self.nr_asked += 1
        return Verdict.AGAIN

    def resume(self, pin_id: int) -> None:
        """Nothing was stopped."""


def again_for_ever() -> Scenario:
    """R-32: a driver says Again; it lets go at some time, or only when all is over."""
    bench, handler = RangeBench(), SaysAgain()
    driver = bench.driver(handler)
    pins = bench.gup.get_user_pages(bench.space, 0, 1, driver, Foll.PIN).pins
    ends: list[Errno] = []

    def wanting() -> None:
        retry = RetryPolicy(between_tries=tries_again)
        machine = bench.machine
        found = machine.contig.alloc_contig_range(
            bench.span.start, bench.span.stop, machine.design, retry=retry
        )
        ends.append(found.errno)

    def letting_go() -> Actor:
        bench.gup.put_user_pages(driver, pins)
        yield "its transfer has ended"

    def finish() -> None:
        bench.machine.check()
        require(ends[0] in (Errno.OK, Errno.EBUSY), "it ended otherwise", why=ends[0].name)
        is_bounded = handler.nr_asked <= MOST_ASKED
        require(is_bounded, "a driver was asked too often", times=handler.nr_asked)

    return Scenario({"wants memory": in_steps(wanting), "driver": letting_go()}, finish=finish)


def given_up_half_way() -> Scenario:
    """R-33, R-34: an attempt is given up; active and inactive pages have been taken for it."""
    bench, handler = RangeBench(4), SaysAgain()
    machine, space = bench.machine, bench.space
    driver = bench.driver(handler)
    pins = bench.gup.get_user_pages(space, 0, 2, driver, Foll.PIN).pins
    machine.lru.activate(column(bench.pfn(space, 0)))
    before = [machine.lru.nr_pages(active=active) for active in (False, True)]

    def wanting() -> None:
        retry = RetryPolicy(2, between_tries=tries_again)
        machine.contig.alloc_contig_range(
            bench.span.start, bench.span.stop, machine.design, retry=retry
        )

    def touching() -> Actor:
        for vpn in (1, 3):
            machine.memory.touch(space, vpn, write=True)
            yield f"stores to page {vpn}"

    def finish() -> None:
        bench.check()
        pages = space.pte[space.present()] - 1
        on_list = machine.frames.has_flag(pages, PageFlag.LRU)
        require(bool(on_list.all()), "a page was put back on no list")
        require(not machine.frames.isolated.any(), "a page is isolated and nobody has it")
        after = [machine.lru.nr_pages(active=active) for active in (False, True)]
        require(after == before, "a page was put back as another kind", before=str(before))
        is_active = machine.frames.has_flag(machine.lru.members(active=True), PageFlag.ACTIVE)
        require(bool(np.all(is_active)), "a list holds pages of the other kind")
        bench.gup.put_user_pages(driver, pins)

    return Scenario({"wants memory": in_steps(wanting), "process": touching()}, finish=finish)


RACES = (
    Race(
        number=21,
        title="drained and filled again",
        actors={"emptier": "isolates a range, drains, empties it", "process": "drops two pages"},
        rule="R",
        make=freed_into_the_range,
        broken=Broken(
            "a page that is freed into the range goes onto a per-CPU list",
            PerCpuPages.free,
            "if migratetype == MigrateType.ISOLATE:",
            "if migratetype < 0:",
        ),
    ),
    Race(
        number=22,
        title="a free page that looks busy",
        actors={"emptier": "isolates a range, drains, empties it", "process": "drops two pages"},
        rule="QR",
        make=freed_into_the_range,
        broken=Broken(
            "the per-CPU lists are not drained once the range is isolated",
            Evacuator.isolate,
            "self.parts.pcp.drain_all()",
            "pass",
        ),
    ),
    Race(
        number=23,
        title="allocated where it is being emptied",
        actors={"emptier": "isolates a range, drains, empties it", "others": "allocate two pages"},
        rule="S",
        make=allocated_from_the_range,
        broken=Broken(
            "a pageblock is called isolated, and its free pages stay where they were",
            start_isolate_page_range,
            "buddy.set_migratetype(block, MigrateType.ISOLATE)",
            "pageblocks.migratetype[block] = MigrateType.ISOLATE",
        ),
    ),
    Race(
        number=32,
        title="never done",
        actors={"wants memory": "tries to empty a range", "driver": "lets its page go some day"},
        rule="Y",
        make=again_for_ever,
        max_slices=40,
        broken=Broken(
            "nobody counts the tries",
            _batch_by_batch,
            "if nr_tries == retry.nr_tries:",
            "if nr_tries < 0:",
        ),
    ),
    Race(
        number=33,
        title="forgotten on the way back",
        actors={"wants memory": "gives up a range half-way", "process": "stores to its pages"},
        rule="Z",
        make=given_up_half_way,
        broken=Broken(
            "pages that were taken from the LRU are not put back",
            Mover.put,
            "        self._lru.putback_many(pfns[~gone & self._from_lru[pfns]])\n",
            "",
        ),
    ),
    Race(
        number=34,
        title="counted as another kind",
        actors={"wants memory": "gives up a range half-way", "process": "stores to its pages"},
        rule="Z",
        make=given_up_half_way,
        broken=Broken(
            "what comes back counts as inactive, whatever it was",
            Mover.put,
            "        self._lru.putback_many(pfns[~gone & self._from_lru[pfns]])\n",
            "        frames.clear_flag(pfns, PageFlag.ACTIVE)\n"
            "        self._lru.putback_many(pfns[~gone & self._from_lru[pfns]])\n",
        ),
    ),
)
