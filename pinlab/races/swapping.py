"""Swap: R-13 to R-16, R-36.  Actors stop before each call that they make of the paging state."""

from mm.machine import Machine
from mm.paging.memory import ProcessMemory
from mm.paging.swap_core import SwapCore
from mm.paging.swap_state import get_swap_cache_page, read_swap_cache_async
from mm.paging.swapfile import _finish, swapoff
from mm.state.address_space import AddressSpace
from mm.state.errno import Errno
from mm.state.frames import PageFlag
from mm.state.gfp import Gfp
from owners.zswap.zswap import Zswap
from pinlab.races.broken import Broken
from pinlab.races.machines import SwapMachine, page
from pinlab.races.race import Race
from pinpage.errors import require
from pinpage.move.release import release_many
from pinpage.owner import Mode, Reason
from pinpage.testing.explore import Actor, Scenario
from pinpage.testing.stepping import by_calls, in_steps, stop_here
from pinpage.testing.world import column

__all__ = [
    "RACES",
    "STOPS",
    "fault_against_unuse",
    "faulting",
    "memory_to_free_memory",
    "swapoff_against_unuse",
    "three_let_go_of_one_entry",
    "unusing",
    "user_not_found",
]

STOPS = frozenset({"lock_page", "wait_on_page", "unlock_page", "put_page"})
"""Calls of the paging state before which others may come in."""


def faulting(world: SwapMachine, space: AddressSpace) -> Actor:
    """A process loads its first page.

    Args:
        world: the machine.
        space: the process.
    """

    def fault(paging: object) -> None:
        ProcessMemory(paging).touch(space, 0)  # type: ignore[arg-type]  # lent, not itself

    return by_calls(fault, world.paging, names=STOPS)


def unusing(world: SwapMachine, entry: int, answers: list[Errno]) -> Actor:
    """An entry's users are to map its page.

    Args:
        world: the machine.
        entry: which.
        answers: what unuse says goes here.
    """

    def unuse(paging: object) -> None:
        answers.append(SwapCore(paging).unuse(entry))  # type: ignore[arg-type]

    return by_calls(unuse, world.paging, names=STOPS)


def fault_against_unuse() -> Scenario:
    """R-13: one of two processes faults on the page while unuse goes through both."""
    world = SwapMachine()
    (one, two), entry = world.swapped("one", "two")
    answers: list[Errno] = []

    def finish() -> None:
        require(answers == [Errno.OK], "unuse failed")
        world.check()
        require(one.pte[0] == two.pte[0] > 0, "two pages were made of one entry")
        world.require_reads(one)
        world.require_reads(two)

    return Scenario(
        {"unuse": unusing(world, entry, answers), "fault": faulting(world, one)}, finish=finish
    )


def user_not_found() -> Scenario:
    """R-14: a fork has counted a user of the slot that no page table names yet."""
    world = SwapMachine()
    (space,), entry = world.swapped("parent")
    area = world.area
    offset = entry & 0xFFFF
    pfn = read_swap_cache_async(world.paging, entry)
    world.machine.contents.write(pfn, page(9))  # newer than what is in the slot
    world.paging.set_bits(pfn, int(PageFlag.DIRTY.mask))
    world.paging.put_page(pfn)
    child = world.machine.memory.mmap("child", 4)
    answers: list[Errno] = []

    def forking() -> None:
        is_there = area.duplicate(offset) is Errno.OK
        stop_here("counts a user more" if is_there else "finds no entry any more")
        if is_there:
            if child not in world.machine.swap.mmlist:
                world.machine.swap.mmlist.add(child)
            require(not world.machine.swap.set_pte(child, 0, entry), "the entry is gone")
            area.free_one(offset)
            stop_here("lets the child's page table name it")
            world.require_reads(child, 9)

    def finish() -> None:
        require(answers == [Errno.OK], "unuse failed")
        world.check()
        world.require_reads(space, 9)

    unuse = unusing(world, entry, answers)
    return Scenario({"unuse": unuse, "fork": in_steps(forking)}, finish=finish)


def swapoff_against_unuse() -> Scenario:
    """R-15: zswap unuses an entry of an area that swapoff is about to take away."""
    world = SwapMachine(zswap=True, coverage="unuse")
    (space,), entry = world.swapped("p")
    core = world.machine.swap_core
    ends: list[Errno] = []

    def unuse() -> None:
        if not core.get_device(world.area.type):
            return
        stop_here("has the area")
        try:
            core.unuse(entry)
        finally:
            core.put_device(world.area.type)

    def going() -> None:
        ends.append(swapoff(world.paging, world.area.type))

    def finish() -> None:
        require(ends[0] in (Errno.OK, Errno.EBUSY), "swapoff failed", why=ends[0].name)
        world.check()
        world.require_reads(space)

    return Scenario({"zswap": in_steps(unuse), "swapoff": in_steps(going)}, finish=finish)


def three_let_go_of_one_entry() -> Scenario:
    """R-16: writeback, a load and the exit of the process meet at one compressed page."""
    world = SwapMachine(zswap=True)
    (space,), entry = world.swapped("p")
    zswap = world.zswap
    assert zswap is not None
    (pool,) = zswap.pools
    offset = entry & 0xFFFF
    (handle,) = _handles(zswap)

    def loading() -> Actor:
        found = yield from zswap.load_steps(world.area.type, offset)
        require(found in (None, page(1)), "a load got other data")

    def exiting() -> Actor:
        world.machine.memory.exit(space)
        yield "exits: the slot is free"

    def finish() -> None:
        zswap.check()
        world.check()
        require(zswap.counters.stored_pages == 0, "an entry is kept that nobody needs")
        require(pool.pages_nr == 0, "a page of the pool leaked")
        require(world.nr_free == world.machine.frames.nr_frames, "a page leaked")

    return Scenario(
        {"load": loading(), "writeback": zswap.writeback_steps(pool, handle), "exit": exiting()},
        finish=finish,
    )


def _handles(zswap: Zswap) -> list[int]:
    """Of every object of its one pool."""
    (pool,) = zswap.pools
    pages = pool.pages  # type: ignore[attr-defined]  # a zbud pool
    return [
        pool.handles.encode(int(i), slot)  # type: ignore[attr-defined]
        for i in pages.in_use()
        for slot in (0, 1)
        if pages.chunks[i, slot]
    ]


def memory_to_free_memory() -> Scenario:
    """R-36: a pool's page is to be given up, for which its objects need pages of their own."""
    world = SwapMachine(zswap=True, coverage="unuse")
    (space,), _ = world.swapped("p")
    machine: Machine = world.machine
    zswap = world.zswap
    assert zswap is not None
    (pool,) = zswap.pools
    held: list[int] = []

    def allocating() -> Actor:
        for nr_pages in (machine.buddy.nr_free() + machine.pcp.nr_pages, 1):
            got = [machine.alloc_page(Gfp.HIGHUSER_MOVABLE | Gfp.NOWARN) for _ in range(nr_pages)]
            held.extend(pfn for pfn in got if pfn >= 0)
            yield "takes all memory there is"

    def releasing() -> Actor:
        pfns = column(*pool.pages.pfn[pool.pages.in_use()].tolist())  # type: ignore[attr-defined]
        reasons = release_many(world.registry, machine.mover, pfns, Mode.SYNC)
        yield f"gives up: {Reason(int(reasons[0])).name}"

    def finish() -> None:
        machine.swap.check()
        zswap.check()
        for pfn in held:
            machine.put_page(pfn)
        world.require_reads(space)
        machine.check()

    return Scenario({"owner": releasing(), "others": allocating()}, finish=finish)


_ALLOCATES = """\
            new_pfn = paging.alloc_page()
            if new_pfn < 0:
                break
"""
"""Lines of `get_swap_cache_page`."""

RACES = (
    Race(
        number=13,
        title="a fault while the slot is unused",
        actors={"unuse": "brings the page back for two processes", "fault": "loads it for one"},
        rule="K",
        make=fault_against_unuse,
        max_preemptions=3,
        broken=Broken(
            "a fault trusts the page table entry that it saw before it waited",
            ProcessMemory._swap_in,
            "if not ours or space.pte.item(vpn) != swap_pte(entry):",
            "if pfn < 0:",
        ),
    ),
    Race(
        number=14,
        title="a user that was not found",
        actors={"unuse": "brings a page back", "fork": "has counted a user, and names it later"},
        rule="L",
        make=user_not_found,
        max_preemptions=3,
        broken=Broken(
            "the cached copy goes although it is the only one that is up to date",
            _finish,
            "    _save_leftover(paging, area, swp_offset(entry), pfn)\n",
            "",
        ),
    ),
    Race(
        number=15,
        title="swapoff while a slot is unused",
        actors={"zswap": "has an entry unused", "swapoff": "takes the area away"},
        rule="GH",
        make=swapoff_against_unuse,
        broken=Broken(
            "swapoff does not look whether somebody holds the area",
            swapoff,
            "        error = Errno.EBUSY\n",
            "        error = Errno.OK\n",
        ),
    ),
    Race(
        number=16,
        title="three who let go of one entry",
        actors={"load": "reads it", "writeback": "writes it to the disk", "exit": "frees the slot"},
        rule="M",
        make=three_let_go_of_one_entry,
        max_preemptions=3,
        broken=Broken(
            "writeback drops the index's reference though somebody else took the entry out",
            Zswap.writeback_steps,
            "            if tree.rows.get(offset) == row:\n                del tree.rows[offset]\n",
            "            if tree.rows.pop(offset, row) >= 0:\n",
        ),
    ),
    Race(
        number=36,
        title="memory that is needed to free memory",
        actors={"owner": "gives a page up by decompressing it", "others": "take all memory"},
        rule="S",
        make=memory_to_free_memory,
        broken=Broken(
            "the slot is claimed before there is a page for it",
            get_swap_cache_page,
            f"{_ALLOCATES}        error = area.duplicate(offset, SWAP_HAS_CACHE)\n",
            f"            error = area.duplicate(offset, SWAP_HAS_CACHE)\n{_ALLOCATES}",
        ),
    ),
)
