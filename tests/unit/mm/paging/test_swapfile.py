"""try_to_unuse_swp_entry, branch by branch (T5)."""

import numpy as np
import pytest

from mm.paging.memory import mmput
from mm.paging.paging import bit
from mm.paging.shmem import shmem_create, shmem_getpage
from mm.paging.swap_state import read_swap_cache_async
from mm.paging.swapfile import try_to_unuse_swp_entry
from mm.state.address_space import AddressSpace
from mm.state.errno import Errno
from mm.state.frames import PageFlag
from mm.swap.swapops import SWAP_HAS_CACHE, swp_entry
from pinpage.errors import PinpageError
from tests.kit.mm.swap_world import SwapWorld, swapped, unuse

LOCKED = bit(PageFlag.LOCKED)
DIRTY = bit(PageFlag.DIRTY)


def ring(world: SwapWorld) -> list[str]:
    order, space = [], world.init_mm
    while (space := world.swap.mmlist.next(space)) is not world.init_mm:
        order.append(space.name)
    return order


# The plain case.


def test_unuse_maps_the_page_and_frees_the_slot() -> None:
    world, (a,), entry = swapped("a")
    assert unuse(world, entry)[0] == Errno.OK
    assert world.read(a, 0) == b"shared"
    assert world.area.map_byte(1) == 0
    assert world.front.calls[-1] == ("invalidate", 1)
    pfn = world.pfn(a, 0)
    assert world.paging.has(pfn, DIRTY)
    assert not world.paging.has(pfn, LOCKED)
    assert (world.frames.refcount[pfn], world.frames.mapcount[pfn]) == (1, 0)
    world.check()


def test_every_user_gets_the_same_page() -> None:
    world, spaces, entry = swapped("a", "b", "c")
    assert unuse(world, entry)[0] == Errno.OK
    assert len({world.pfn(space, 0) for space in spaces}) == 1
    assert world.frames.refcount[world.pfn(spaces[0], 0)] == 3
    assert [space.mm_users for space in [*spaces, world.init_mm]] == [1, 1, 1, 1]
    world.check()


def test_a_page_in_the_swap_cache_is_used_as_it_is() -> None:
    world, (a,), entry = swapped("a")
    pfn = read_swap_cache_async(world.paging, entry)
    world.front.calls.clear()
    assert unuse(world, entry)[0] == Errno.OK
    assert world.pfn(a, 0) == pfn
    assert ("load", 1) not in world.front.calls
    world.check(holders={pfn: 1})


def test_a_start_mm_outside_the_ring_is_a_mistake() -> None:
    world, _, entry = swapped("a")
    stranger = world.rmap.create("stranger", 1)
    with pytest.raises(PinpageError, match="not in the mmlist"):
        try_to_unuse_swp_entry(world.paging, stranger, world.area, entry)


# T5, branch by branch.


def test_t5a_a_pending_signal_stops_before_anything_is_read() -> None:
    world, (a,), entry = swapped("a")
    world.front.calls.clear()
    nr_free, users = world.nr_free, world.init_mm.mm_users
    assert unuse(world, entry, pending=lambda: True) == (Errno.EINTR, world.init_mm)
    assert (world.nr_free, world.init_mm.mm_users, world.front.calls) == (nr_free, users, [])
    assert world.entry(a, 0) == entry
    world.check()


def test_t5b_a_slot_freed_meanwhile_is_a_success() -> None:
    world, (a,), entry = swapped("a")
    world.memory.dontneed(a, np.array([0]))
    nr_free = world.nr_free
    assert unuse(world, entry)[0] == Errno.OK
    assert world.nr_free == nr_free  # the page read into came back
    world.check()


def test_t5c_a_live_slot_without_memory_is_enomem() -> None:
    world, (a,), entry = swapped("a")
    taken = world.take_all_frames()
    assert unuse(world, entry)[0] == Errno.ENOMEM
    world.give_back(taken)
    assert world.entry(a, 0) == entry
    assert world.read(a, 0) == b"shared"
    world.check()


@pytest.mark.parametrize("answer", [Errno.OK, Errno.ENOMEM])
def test_t5d_shmem_answers_for_its_slots_and_releases_the_page(answer: Errno) -> None:
    world = SwapWorld()
    file = shmem_create(world.paging, "tmp", 4)
    world.contents.write(shmem_getpage(world.paging, file, 2), b"tmpfs")
    world.swap_out()
    entry = world.entry(file, 2)
    assert world.area.map_byte(1) == 0xBF
    world.paging.charge = lambda space: answer
    assert unuse(world, entry)[0] == answer
    world.paging.charge = lambda space: Errno.OK
    assert not (world.frames.flags & PageFlag.LOCKED.mask).any()
    world.check()  # above all: nobody kept a reference
    if answer == Errno.OK:
        assert world.contents.read(world.pfn(file, 2))[:5] == b"tmpfs"
        assert world.area.map_byte(1) == 0
        assert world.paging.has(world.pfn(file, 2), DIRTY)
    else:
        assert world.area.map_byte(1) == 0xBF | SWAP_HAS_CACHE


def test_t5d_shmem_truncated_meanwhile_is_a_success() -> None:
    world = SwapWorld()
    file = shmem_create(world.paging, "tmp", 4)
    shmem_getpage(world.paging, file, 2)
    world.swap_out()
    entry = world.entry(file, 2)
    pfn = read_swap_cache_async(world.paging, entry)
    world.swap.clear_pte(file, 2)
    assert unuse(world, entry)[0] == Errno.OK
    world.paging.put_page(pfn)
    world.check()


def test_t5e_the_first_space_that_lowers_the_count_becomes_start_mm() -> None:
    """start_mm owns nothing, so its failure arms the choice; three others share the slot."""
    world, spaces, entry = swapped("a", "b", "c")
    other = world.memory.mmap("other", 2)
    world.swap.mmlist.add(other)
    assert ring(world) == ["other", *ring(world)[1:]]
    first_user = ring(world)[1]
    _, start_mm = unuse(world, entry, other)
    assert start_mm.name == first_user
    assert [space.mm_users for space in (*spaces, other, world.init_mm)] == [1] * 5
    world.check()


def test_t5e_a_start_mm_that_helped_stays() -> None:
    """It lowered the count itself, so the ring is walked without arming; init_mm comes last."""
    world, _, entry = swapped("a", "b", "c")
    start_mm = world.swap.mmlist.next(world.init_mm)
    order = ring(world)
    assert unuse(world, entry, start_mm)[1].name == order[0]
    world.check()


def test_t5e_passing_init_mm_arms_the_choice_again() -> None:
    """b helps and would stay start_mm; but a comes after init_mm in the ring."""
    world, _, entry = swapped("a", "b")
    order = ring(world)
    last = next(space for space in world.rmap.spaces if space.name == order[-1])
    assert unuse(world, entry, last)[1].name == order[0]
    world.check()


def test_a_space_without_users_is_skipped() -> None:
    world, (a, b), entry = swapped("a", "b")
    dying = world.swap.mmlist.next(world.init_mm)
    dying.mm_users = 0
    living = b if dying is a else a
    assert unuse(world, entry)[0] == Errno.OK
    assert world.rmap.mappers(world.pfn(living, 0)) == [(living, 0)]
    assert world.entry(dying, 0) == entry
    assert world.area.count(1) == 1
    assert dying.mm_users == 0


def test_an_exiting_start_mm_is_let_go_and_init_mm_takes_its_place() -> None:
    world, (a, b), entry = swapped("a", "b")
    a.mm_users += 1
    world.memory.exit(a)  # ours is the last user count
    asked: list[str] = []
    world.paging.charge = lambda space: asked.append(space.name) or Errno.OK
    error, start_mm = try_to_unuse_swp_entry(world.paging, a, world.area, entry)
    assert error == Errno.OK
    assert start_mm is b
    mmput(world.paging, start_mm)
    assert a not in world.rmap.spaces
    assert asked == ["b"]  # nothing was brought back for the dying one
    assert (b.mm_users, world.init_mm.mm_users) == (1, 1)
    world.check()


@pytest.mark.parametrize("start", ["init", "owner"])
def test_an_error_from_a_space_is_returned_and_nothing_is_held(start: str) -> None:
    world, (a, b), entry = swapped("a", "b")
    world.paging.charge = lambda space: Errno.ENOMEM
    assert unuse(world, entry, a if start == "owner" else None)[0] == Errno.ENOMEM
    assert [space.mm_users for space in (a, b, world.init_mm)] == [1, 1, 1]
    assert not (world.frames.flags & PageFlag.LOCKED.mask).any()
    assert world.area.map_byte(1) == SWAP_HAS_CACHE | 2  # the page stays cached
    world.check()


def test_the_walk_stops_at_the_first_error() -> None:
    world, _, entry = swapped("a", "b", "c")
    asked: list[str] = []

    def charge(space: AddressSpace) -> Errno:
        asked.append(space.name)
        return Errno.ENOMEM if len(asked) == 2 else Errno.OK

    world.paging.charge = charge
    assert unuse(world, entry)[0] == Errno.ENOMEM
    assert asked == ring(world)[:2]
    assert world.area.count(1) == 2
    world.check()


def leftover() -> tuple[SwapWorld, AddressSpace, AddressSpace, int, int]:
    """b is being torn down and is skipped, and the page is dirty: (world, a, b, entry, pfn)."""
    world, (a, b), entry = swapped("a", "b")
    b.mm_users = 0
    pfn = read_swap_cache_async(world.paging, entry)
    world.contents.write(pfn, b"changed")
    world.paging.set_bits(pfn, DIRTY)
    world.paging.put_page(pfn)
    return world, a, b, entry, pfn


def test_t5f_what_is_left_is_saved_before_the_cached_copy_goes() -> None:
    world, a, b, entry, pfn = leftover()
    assert unuse(world, entry)[0] == Errno.OK
    assert world.swap.cache.lookup(entry) == -1
    assert world.pfn(a, 0) == pfn
    b.mm_users = 1
    assert world.read(b, 0) == world.read(a, 0) == b"changed"  # two pages now
    assert world.pfn(b, 0) != pfn
    world.check()


def test_t5f_a_clean_leftover_is_not_written_again() -> None:
    world, _, _, entry, pfn = leftover()
    world.paging.clear_bits(pfn, DIRTY)
    world.front.calls.clear()
    unuse(world, entry)
    assert ("store", 1) not in world.front.calls
    assert world.swap.cache.lookup(entry) == -1
    assert world.paging.has(pfn, DIRTY)  # always dirty afterwards


def test_t5g_a_page_that_became_another_slots_stays_cached_and_is_dirtied() -> None:
    world, (a,), entry = swapped("a")
    pfn = read_swap_cache_async(world.paging, entry)
    other = swp_entry(0, world.area.alloc_slot())
    world.paging.lock_page(pfn)

    def recache(page: int, flag: PageFlag) -> None:
        world.swap.cache_delete(page)
        world.swap.cache.add(other, page)
        world.paging.clear_bits(page, DIRTY)
        world.paging.unlock_page(page)

    world.paging.wait = recache
    assert unuse(world, entry)[0] == Errno.OK
    assert world.swap.cache.lookup(other) == pfn
    assert world.paging.has(pfn, DIRTY)
    assert world.entry(a, 0) == entry  # what the page holds now is not a's
    world.check(holders={pfn: 1})
