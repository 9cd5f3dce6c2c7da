"""Reclaim: what goes, what stays, and that it never runs inside itself."""

import numpy as np

from mm.paging.paging import bit
from mm.paging.shmem import shmem_create, shmem_getpage
from mm.paging.vmscan import Reclaimed, shrink_active, shrink_inactive
from mm.state.frames import PageFlag
from tests.kit.mm.swap_world import SwapWorld

LOCKED = bit(PageFlag.LOCKED)


def test_the_oldest_go_first_and_only_as_many_as_asked_for() -> None:
    world = SwapWorld()
    a = world.process("a", b"x", b"y", b"z")
    world.frames.clear_flag(np.arange(16), PageFlag.REFERENCED)
    assert shrink_inactive(world.paging, 2) == Reclaimed(
        nr_scanned=2, nr_reclaimed=2, nr_frontswap=2
    )
    assert a.swapped().tolist() == [0, 1]
    assert world.nr_free == 15
    world.check()


def test_what_frontswap_declines_goes_to_disk() -> None:
    world = SwapWorld()
    a = world.process("a", b"x", b"y")
    world.front.refuse = True
    assert world.swap_out() == Reclaimed(nr_scanned=2, nr_reclaimed=2, nr_disk=2)
    assert world.read(a, 1) == b"y"
    world.check()


def test_a_shared_page_goes_from_every_page_table() -> None:
    world = SwapWorld()
    a = world.process("a", b"x")
    b = world.memory.fork(a, "b")
    assert world.swap_out().nr_reclaimed == 1
    assert world.entry(a, 0) == world.entry(b, 0)
    assert world.area.count(1) == 2
    world.check()


def test_a_clean_cached_page_is_not_written_again() -> None:
    world = SwapWorld()
    a = world.process("a", b"x", b"ballast")
    world.swap_out()
    world.memory.touch(a, 0)
    assert world.swap_out() == Reclaimed(nr_scanned=1, nr_reclaimed=1)
    assert world.read(a, 0) == b"x"
    world.check()


def test_a_dirtied_page_is_written_again() -> None:
    world = SwapWorld()
    a = world.process("a", b"x", b"ballast")
    world.swap_out()
    world.memory.write(a, 0, b"z")
    assert world.swap_out().nr_frontswap == 1
    assert world.read(a, 0) == b"z"
    world.check()


def test_a_referenced_page_gets_a_second_chance() -> None:
    world = SwapWorld()
    a = world.process("a", b"x")
    assert shrink_inactive(world.paging, 9) == Reclaimed(nr_scanned=1, nr_activated=1)
    assert world.lru.nr_pages(active=True) == 1
    assert shrink_inactive(world.paging, 9) == Reclaimed()
    assert shrink_active(world.paging, 9) == 1
    assert shrink_inactive(world.paging, 9).nr_reclaimed == 1
    assert world.read(a, 0) == b"x"
    world.check()


def test_what_somebody_holds_stays() -> None:
    world = SwapWorld()
    a = world.process("a", b"pinned", b"locked", b"isolated", b"unevictable", b"free to go")
    pinned, locked, isolated, unevictable = (world.pfn(a, vpn) for vpn in range(4))
    world.paging.get_page(pinned)
    world.paging.lock_page(locked)
    world.frames.isolated[isolated] = True
    world.frames.set_flag(np.array([unevictable]), PageFlag.UNEVICTABLE)
    assert world.swap_out() == Reclaimed(nr_scanned=5, nr_reclaimed=1, nr_frontswap=1, nr_busy=4)
    assert a.swapped().tolist() == [4]
    assert world.lru.nr_pages(active=False) == 4
    world.check(holders={pinned: 1})


def test_page_cache_and_shared_shmem_stay() -> None:
    world = SwapWorld()
    cache = world.rmap.create("page cache", 1, kind="file")
    pfn = world.source.alloc_page(0)
    world.rmap.map_page(cache, 0, pfn)
    world.lru.add_page(pfn)
    file = shmem_create(world.paging, "tmp", 1)
    a = world.process("a")
    shared = shmem_getpage(world.paging, file, 0)
    world.rmap.map_page(a, 0, shared)
    assert world.swap_out() == Reclaimed(nr_scanned=2, nr_busy=2)
    world.check()


def test_a_full_swap_leaves_the_rest_in_memory() -> None:
    world = SwapWorld(nr_slots=2)
    a = world.process("a", b"x", b"y")
    assert world.swap_out() == Reclaimed(nr_scanned=2, nr_reclaimed=1, nr_frontswap=1, nr_no_slot=1)
    assert (world.read(a, 0), world.read(a, 1)) == (b"x", b"y")
    world.check()


def test_a_page_that_is_taken_while_the_one_before_is_written_stays() -> None:
    world = SwapWorld()
    a = world.process("a", b"x", b"y", b"z")
    second, third = (int(pte) - 1 for pte in a.pte[1:3])
    world.front.on_store = lambda: world.paging.get_page(second)
    world.forget_references()
    world.frames.set_flag(np.array([third]), PageFlag.LOCKED)
    done = shrink_inactive(world.paging, 9)
    assert done == Reclaimed(nr_scanned=3, nr_reclaimed=1, nr_frontswap=1, nr_busy=2)
    assert world.paging.lru.oldest(9).tolist() == [third, second]
    world.paging.put_page(second)
    world.frames.clear_flag(np.array([third]), PageFlag.LOCKED)
    assert world.read(a, 1) == b"y"
    world.check()


def test_reclaim_does_not_recurse() -> None:
    world = SwapWorld()
    world.process("a", b"x", b"y")
    inner: list[Reclaimed] = []
    world.front.on_store = lambda: inner.append(shrink_inactive(world.paging, 9))
    world.forget_references()
    assert shrink_inactive(world.paging, 1).nr_reclaimed == 1  # the other page is still there
    assert inner == [Reclaimed()]
    assert not world.paging.in_reclaim
    world.check()


def test_a_store_that_takes_a_reference_keeps_the_page() -> None:
    """Somebody looked the page up in the swap cache while it was written."""
    world = SwapWorld()
    a = world.process("a", b"x")
    pfn = world.pfn(a, 0)
    world.front.on_store = lambda: world.paging.get_page(pfn)
    done = world.swap_out()
    assert (done.nr_reclaimed, done.nr_frontswap) == (0, 1)
    assert world.swap.cache.lookup(world.entry(a, 0)) == pfn
    assert world.lru.nr_pages(active=False) == 1
    world.check(holders={pfn: 1})
    assert world.memory.touch(a, 0) == pfn


def test_a_cached_page_that_nobody_wants_is_just_freed() -> None:
    world = SwapWorld()
    a = world.process("a", b"x")
    pfn = world.pfn(a, 0)
    world.front.on_store = lambda: world.paging.get_page(pfn)
    world.swap_out()
    world.paging.put_page(pfn)
    world.swap.clear_pte(a, 0)
    assert world.swap_out() == Reclaimed(nr_scanned=1, nr_reclaimed=1)
    assert (world.nr_free, world.area.inuse_pages) == (16, 0)
    world.check()
