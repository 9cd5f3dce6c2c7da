"""Unuse against faults, writeback, exits and slots that change hands (R-13, R-14)."""

import pytest

from mm.paging.paging import bit
from mm.paging.swap_state import read_swap_cache_async
from mm.paging.vmscan import shrink_inactive
from mm.state.address_space import AddressSpace
from mm.state.errno import Errno
from mm.state.frames import PageFlag
from mm.swap.swapops import SWAP_HAS_CACHE
from pinpage.errors import InvariantError
from tests.kit.mm.swap_world import swapped, unuse

LOCKED = bit(PageFlag.LOCKED)
WRITEBACK = bit(PageFlag.WRITEBACK)


def test_r13_a_fault_that_wins_the_lock_leaves_nothing_to_do() -> None:
    world, (a,), entry = swapped("a")
    pfn = read_swap_cache_async(world.paging, entry)
    world.paging.lock_page(pfn)

    def the_fault_goes_on(page: int, flag: PageFlag) -> None:
        world.paging.unlock_page(page)
        world.memory.touch(a, 0, write=True)

    world.paging.wait = the_fault_goes_on
    assert unuse(world, entry)[0] == Errno.OK
    assert world.pfn(a, 0) == pfn
    assert (world.area.map_byte(1), world.frames.mapcount[pfn]) == (0, 0)
    world.check(holders={pfn: 1})


def test_r13_a_fault_between_finding_and_mapping_is_seen_in_the_pte() -> None:
    world, (a,), entry = swapped("a")

    def fault_meanwhile(space: AddressSpace) -> Errno:
        pfn = world.swap.cache.lookup(entry)
        world.swap.clear_pte(space, 0)
        world.paging.get_page(pfn)
        world.rmap.map_page(space, 0, pfn)
        return Errno.OK

    world.paging.charge = fault_meanwhile
    assert unuse(world, entry)[0] == Errno.OK
    assert world.frames.mapcount[world.pfn(a, 0)] == 0
    world.check()


def test_r13_writeback_that_starts_again_is_waited_for_under_the_lock() -> None:
    world, (a,), entry = swapped("a")
    pfn = read_swap_cache_async(world.paging, entry)
    world.paging.set_bits(pfn, LOCKED)
    next_state = iter((WRITEBACK, LOCKED, WRITEBACK, 0))
    waited: list[str] = []

    def somebody_else(page: int, flag: PageFlag) -> None:
        """Unlock, write back, lock again, write back again."""
        waited.append(flag.name)
        assert len(waited) < 4 or world.paging.has(page, LOCKED)  # by then the lock is ours
        world.paging.clear_bits(page, bit(flag))
        world.paging.set_bits(page, next(next_state))

    world.paging.wait = somebody_else
    assert unuse(world, entry)[0] == Errno.OK
    assert waited == ["LOCKED", "WRITEBACK", "LOCKED", "WRITEBACK"]
    assert world.pfn(a, 0) == pfn
    world.check(holders={pfn: 1})


def test_a_slot_on_its_way_is_waited_for() -> None:
    """Somebody has SWAP_HAS_CACHE and has not added the page yet."""
    world, (a,), entry = swapped("a")
    world.area.duplicate(1, SWAP_HAS_CACHE)
    waited: list[int] = []

    def the_other_gives_up(page: int, flag: PageFlag) -> None:
        waited.append(page)
        world.area.free_one(1, SWAP_HAS_CACHE)

    world.paging.wait = the_other_gives_up
    assert unuse(world, entry)[0] == Errno.OK
    assert waited == [-1]
    assert world.read(a, 0) == b"shared"
    world.check()


def test_a_wait_that_nobody_ends_is_a_bug() -> None:
    world, _, entry = swapped("a")
    pfn = read_swap_cache_async(world.paging, entry)
    world.paging.lock_page(pfn)
    with pytest.raises(InvariantError, match="nobody ends"):
        unuse(world, entry)


def test_a_slot_that_changed_hands_does_not_get_the_old_page() -> None:
    """zswap unuses with SWP_WRITEOK set: the slot may be freed and used anew while we wait."""
    world, (a,), entry = swapped("a")
    b = world.process("b", b"new owner")
    pfn = read_swap_cache_async(world.paging, entry)
    world.paging.lock_page(pfn)

    def change_hands(page: int, flag: PageFlag) -> None:
        world.swap.clear_pte(a, 0)
        world.paging.try_to_free_swap(page)
        world.paging.unlock_page(page)
        world.area._next = 1
        world.forget_references()
        shrink_inactive(world.paging, 16)

    world.paging.wait = change_hands
    assert unuse(world, entry)[0] == Errno.OK
    world.paging.put_page(pfn)
    assert world.read(b, 0) == b"new owner"
    world.check()


def test_others_run_between_spaces_and_may_exit() -> None:
    world, spaces, entry = swapped("a", "b", "c")
    exiting = iter(spaces)

    def one_exits() -> None:
        for space in exiting:
            world.memory.exit(space)
            break

    world.paging.cond_resched = one_exits
    assert unuse(world, entry)[0] == Errno.OK
    assert world.area.map_byte(1) == 0
    world.paging.cond_resched = lambda: None
    for space in exiting:
        world.memory.exit(space)
    assert world.rmap.spaces == ()
    world.check()
    assert world.nr_free == 16
