"""The frontswap budget (T6), the search for used slots, and swapoff (R-15)."""

import numpy as np
import pytest

from mm.paging.shmem import shmem_create, shmem_getpage
from mm.paging.swapfile import (
    Accounting,
    Pending,
    find_next_to_unuse,
    swapoff,
    try_to_unuse,
)
from mm.state.address_space import AddressSpace
from mm.state.errno import Errno
from pinpage.errors import InvariantError
from tests.kit.mm.swap_world import SwapWorld, swapped

# T6 and the loop.


def budget_world() -> tuple[SwapWorld, list[AddressSpace], Pending]:
    """Slots 1..4: freed while we come, shmem's, and two of processes; all in frontswap."""
    world = SwapWorld()
    gone = world.process("gone", b"gone")
    world.swap_out()
    file = shmem_create(world.paging, "tmp", 1)
    shmem_getpage(world.paging, file, 0)
    world.swap_out()
    kept = [world.process(name, name.encode()) for name in ("one", "two")]
    world.swap_out()
    assert [world.offset(space, 0) for space in (gone, file, *kept)] == [1, 2, 3, 4]
    calls = iter((True,))

    def pending() -> bool:
        if next(calls, False):
            world.memory.dontneed(gone, np.array([0]))
        return False

    return world, kept, pending


@pytest.mark.parametrize(
    ("accounting", "left"), [(Accounting.OLD, []), (Accounting.PATCHED, ["one", "two"])]
)
def test_t6_what_the_budget_counts(accounting: Accounting, left: list[str]) -> None:
    world, kept, pending = budget_world()
    error = try_to_unuse(
        world.paging,
        world.area,
        frontswap=True,
        pages_to_unuse=2,
        pending=pending,
        accounting=accounting,
    )
    assert error == Errno.OK
    assert [space.name for space in kept if space.pte[0] < 0] == left
    assert world.init_mm.mm_users == 1
    world.check()


@pytest.mark.parametrize(("budget", "nr_left"), [(0, 0), (1, 2), (3, 0)])
def test_a_budget_of_zero_is_no_limit(budget: int, nr_left: int) -> None:
    world = SwapWorld()
    a = world.process("a", b"x", b"y", b"z")
    world.swap_out()
    try_to_unuse(world.paging, world.area, frontswap=True, pages_to_unuse=budget)
    assert len(a.swapped()) == nr_left
    world.check()


def test_without_frontswap_mode_the_budget_is_ignored() -> None:
    world = SwapWorld()
    a = world.process("a", b"x", b"y", b"z")
    world.swap_out()
    try_to_unuse(world.paging, world.area, pages_to_unuse=1)
    assert len(a.swapped()) == 0


def test_frontswap_mode_leaves_the_disk_alone() -> None:
    world = SwapWorld()
    a = world.process("a", b"disk")
    world.front.refuse = True
    world.swap_out()
    world.front.refuse = False
    b = world.process("b", b"front")
    world.swap_out()
    assert try_to_unuse(world.paging, world.area, frontswap=True) == Errno.OK
    assert (len(a.swapped()), len(b.swapped())) == (1, 0)
    world.check()


def test_the_search_goes_round_once() -> None:
    area = SwapWorld(nr_slots=10_000).area
    area.swap_map[[7, 9_000]] = 1
    area.swap_map[8] = 0x3F
    area.frontswap_map[9_000] = True
    assert [find_next_to_unuse(area, prev) for prev in (0, 7, 9_000, 9_999)] == [7, 9_000, 7, 7]
    assert find_next_to_unuse(area, 9_000, frontswap=True) == 9_000
    area.swap_map[[7, 9_000]] = 0
    assert find_next_to_unuse(area, 5) == 0


# swapoff.


def test_swapoff_brings_everything_back_in_order() -> None:
    world, spaces, _ = swapped("a", "b")
    file = shmem_create(world.paging, "tmp", 1)
    world.contents.write(shmem_getpage(world.paging, file, 0), b"tmpfs")
    world.swap_out()
    world.front.calls.clear()
    assert swapoff(world.paging, 0) == Errno.OK
    assert world.swap.areas == {}
    assert len(world.swap.cache) == 0
    assert [world.read(space, 0) for space in spaces] == [b"shared", b"shared"]
    assert world.contents.read(world.pfn(file, 0))[:5] == b"tmpfs"
    assert world.front.calls[-1] == ("invalidate_area", 0)
    assert {call for call, _ in world.front.calls[:-1]} == {"load", "invalidate"}
    world.check()
    assert swapoff(world.paging, 0) == Errno.EINVAL


def test_swapoff_hands_out_no_slot_meanwhile() -> None:
    world, _, _ = swapped("a")
    slots: list[int] = []
    world.paging.cond_resched = lambda: slots.append(world.swap.get_swap_page())
    assert swapoff(world.paging, 0) == Errno.OK
    assert slots
    assert set(slots) == {-1}


def test_swapoff_interrupted_leaves_a_working_area() -> None:
    world = SwapWorld()
    a = world.process("a", b"x", b"y")
    world.swap_out()
    signals = iter((False, True))
    assert swapoff(world.paging, 0, pending=lambda: next(signals)) == Errno.EINTR
    assert len(a.swapped()) == 1
    assert world.area.writeok
    assert world.init_mm.mm_users == 1
    world.swap_out()
    assert [world.read(a, vpn) for vpn in (0, 1)] == [b"x", b"y"]
    world.check()


def test_swapoff_without_memory_is_enomem_and_loses_nothing() -> None:
    world = SwapWorld(nr_frames=4)
    a = world.process("a", b"x", b"y", b"z")
    world.swap_out()
    taken, world.source.free = world.source.free[:2], world.source.free[2:]
    assert swapoff(world.paging, 0) == Errno.ENOMEM
    world.source.free += taken
    assert world.area.writeok
    assert [world.read(a, vpn) for vpn in (0, 1, 2)] == [b"x", b"y", b"z"]
    world.check()


def test_r15_swapoff_does_not_pull_an_area_from_under_a_holder() -> None:
    world, (a,), _ = swapped("a")
    assert world.area.get_device()
    assert swapoff(world.paging, 0) == Errno.EBUSY
    assert world.swap.areas == {0: world.area}
    world.area.put_device()
    assert swapoff(world.paging, 0) == Errno.OK
    assert not world.area.get_device()  # too late to come in
    assert world.read(a, 0) == b"shared"
    with pytest.raises(InvariantError, match="nobody holds"):
        world.area.put_device()
