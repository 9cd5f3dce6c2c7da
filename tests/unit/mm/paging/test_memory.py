"""Processes: faults, copy on write, dropping, fork and exit."""

import numpy as np
import pytest

from mm.paging.memory import ProcessMemory, mmput
from mm.paging.paging import bit
from mm.paging.shmem import shmem_create, shmem_getpage
from mm.paging.swap_state import read_swap_cache_async
from mm.state.errno import Errno
from mm.state.frames import PageFlag
from pinpage.errors import InvariantError, PinpageError
from tests.kit.mm.swap_world import SwapWorld

DIRTY, SWAPCACHE = bit(PageFlag.DIRTY), bit(PageFlag.SWAPCACHE)


def test_the_first_touch_gives_zeroes_whatever_the_frame_held() -> None:
    world = SwapWorld()
    world.contents.write(0, b"a secret", 100)
    a = world.memory.mmap("a", 4)
    assert world.memory.touch(a, 3) == 0
    assert world.memory.read(a, 3) == bytes(4096)
    assert (world.frames.refcount[0], world.frames.mapcount[0]) == (1, 0)
    world.check()


def test_tags_serve_as_contents() -> None:
    world = SwapWorld(tags=True)
    a = world.memory.mmap("a", 4)
    pfn = world.memory.touch(a, 0, write=True)
    world.contents.set_tags(np.array([pfn]), np.array([0xABCD], dtype=np.uint64))
    b = world.memory.fork(a, "b")
    world.swap_out()
    assert world.memory.read(b, 0) == (0xABCD).to_bytes(8, "little")
    copy = world.memory.touch(b, 0, write=True)
    assert copy >= 0
    assert world.memory.read(a, 0) == (0xABCD).to_bytes(8, "little")
    world.check()


def test_a_store_after_fork_copies_and_the_other_keeps_its_bytes() -> None:
    world = SwapWorld()
    a = world.process("a", b"before")
    b = world.memory.fork(a, "b")
    assert world.pfn(a, 0) == world.pfn(b, 0)
    assert world.memory.write(b, 0, b"after") == Errno.OK
    assert (world.read(a, 0), world.read(b, 0)) == (b"before", b"aftere")
    pfn = world.pfn(a, 0)
    assert world.memory.write(a, 0, b"again!") == Errno.OK
    assert world.pfn(a, 0) == pfn  # ours alone by now: reused
    world.check()


def test_a_page_shared_through_its_slot_is_copied_too() -> None:
    """One space has the page mapped, the other one names its slot."""
    world = SwapWorld()
    a = world.process("a", b"before")
    b = world.memory.fork(a, "b")
    world.swap_out()
    world.memory.touch(a, 0)
    assert b.pte[0] < 0
    world.memory.write(a, 0, b"AFTER!")
    assert (world.read(a, 0), world.read(b, 0)) == (b"AFTER!", b"before")
    world.check()


def test_a_load_leaves_the_page_cached_and_a_store_takes_it_out() -> None:
    world = SwapWorld()
    a = world.process("a", b"page", b"ballast")
    world.swap_out()
    pfn = world.memory.touch(a, 0)
    assert world.paging.has(pfn, SWAPCACHE)
    assert not world.paging.has(pfn, DIRTY)
    world.check()
    assert world.memory.touch(a, 0, write=True) == pfn
    assert not world.paging.has(pfn, SWAPCACHE)
    assert world.paging.has(pfn, DIRTY)
    assert world.area.inuse_pages == 1  # the ballast's
    world.check()


def test_a_store_under_writeback_keeps_the_slot_and_is_remembered() -> None:
    world = SwapWorld()
    a = world.process("a", b"page", b"ballast")
    world.swap_out()
    pfn = world.memory.touch(a, 0)
    world.paging.set_bits(pfn, bit(PageFlag.WRITEBACK))
    assert world.memory.touch(a, 0, write=True) == pfn
    assert world.paging.has(pfn, SWAPCACHE)
    assert world.paging.has(pfn, DIRTY)
    world.check()


def test_both_sharers_fault_the_same_page_in() -> None:
    world = SwapWorld()
    a = world.process("a", b"page")
    b = world.memory.fork(a, "b")
    world.swap_out()
    assert world.memory.touch(a, 0) == world.memory.touch(b, 0)
    world.check()
    assert world.area.map_byte(1) in {0, 0x40}


def test_a_full_swap_gives_cached_slots_up_at_once() -> None:
    world = SwapWorld(nr_slots=4)
    a = world.process("a", b"x", b"y", b"z")
    world.swap_out()
    assert world.swap.is_full
    pfn = world.memory.touch(a, 0)
    assert not world.paging.has(pfn, SWAPCACHE)
    assert world.paging.has(pfn, DIRTY)
    world.check()


def test_dontneed_frees_pages_and_slots() -> None:
    world = SwapWorld()
    a = world.process("a", b"one", b"two", b"three")
    world.swap_out()
    world.memory.touch(a, 0)  # present and cached
    world.memory.touch(a, 1, write=True)
    assert world.memory.dontneed(a, np.arange(8)) == 3
    assert (world.nr_free, world.area.inuse_pages) == (16, 0)
    assert world.memory.read(a, 2) == bytes(4096)
    world.check()


def test_dropping_a_swapped_pte_frees_the_cached_page_that_nobody_maps() -> None:
    world = SwapWorld()
    a = world.process("a", b"one")
    world.swap_out()
    world.paging.put_page(read_swap_cache_async(world.paging, world.entry(a, 0)))
    assert world.nr_free == 15
    world.memory.dontneed(a, np.array([0]))
    assert (world.nr_free, len(world.swap.cache)) == (16, 0)
    world.check()


def test_a_child_is_listed_behind_its_parent() -> None:
    world = SwapWorld()
    a, b = world.process("a", b"x"), world.process("b", b"y")
    world.swap_out()
    first = world.swap.mmlist.next(world.init_mm)
    child = world.memory.fork(first, "child")
    assert world.swap.mmlist.next(first) is child
    assert world.memory.read(child, 0) == world.memory.read(first, 0)
    assert {first.name} < {a.name, b.name}
    world.check()


def test_exit_leaves_nothing() -> None:
    world = SwapWorld()
    a = world.process("a", b"one", b"two")
    b = world.memory.fork(a, "b")
    world.swap_out()
    world.memory.touch(a, 0)
    for space in (a, b):
        world.memory.exit(space)
        world.check()
    assert (world.nr_free, world.area.inuse_pages, len(world.swap.mmlist)) == (16, 0, 0)
    assert world.rmap.spaces == ()


def test_a_space_lives_as_long_as_it_has_users() -> None:
    world = SwapWorld()
    a = world.process("a", b"one")
    a.mm_users += 1
    world.memory.exit(a)
    assert world.read(a, 0) == b"one"
    world.memory.exit(a)
    assert world.rmap.spaces == ()
    with pytest.raises(PinpageError, match="has exited"):
        world.memory.exit(a)
    with pytest.raises(InvariantError, match="without users"):
        mmput(world.paging, a)


def test_no_memory_is_a_refusal_and_changes_nothing() -> None:
    world = SwapWorld()
    a = world.process("a", b"one", b"two")
    b = world.memory.fork(a, "b")
    world.swap_out()
    world.memory.touch(a, 0)
    taken = world.take_all_frames()
    assert world.memory.touch(a, 5) == Errno.ENOMEM  # a zero page
    assert world.memory.write(a, 1, b"x") == Errno.ENOMEM  # a swapped one
    assert world.memory.write(a, 0, b"x") == Errno.ENOMEM  # a copy
    assert world.memory.read(a, 1) is None
    world.give_back(taken)
    assert [world.read(space, vpn) for space in (a, b) for vpn in (0, 1)] == [b"one", b"two"] * 2
    world.check()


def test_a_fault_that_loses_looks_again() -> None:
    """R-13 from the other side: unuse was quicker while the fault waited for the lock."""
    world = SwapWorld()
    a = world.process("a", b"one")
    world.swap_out()
    entry = world.entry(a, 0)
    pfn = read_swap_cache_async(world.paging, entry)
    world.paging.lock_page(pfn)

    def unuse_is_quicker(page: int, flag: PageFlag) -> None:
        world.swap.clear_pte(a, 0)
        world.paging.get_page(page)
        world.rmap.map_page(a, 0, page)
        world.swap.cache_delete(page)
        world.paging.unlock_page(page)

    world.paging.wait = unuse_is_quicker
    assert world.memory.touch(a, 0) == pfn
    assert world.frames.mapcount[pfn] == 0
    world.check(holders={pfn: 1})


@pytest.mark.parametrize("vpn", [-1, 8])
def test_an_access_outside_is_a_mistake(vpn: int) -> None:
    world = SwapWorld()
    a = world.process("a")
    for call in (
        lambda: world.memory.touch(a, vpn),
        lambda: world.memory.read(a, vpn),
        lambda: world.memory.write(a, vpn, b"x"),
        lambda: world.memory.dontneed(a, np.array([0, vpn])),
    ):
        with pytest.raises(PinpageError, match="outside 'a'"):
            call()
    assert world.nr_free == 16


def test_a_store_beyond_the_page_is_a_mistake() -> None:
    world = SwapWorld()
    a = world.process("a")
    with pytest.raises(PinpageError, match="beyond the page"):
        world.memory.write(a, 0, b"xy", 4095)
    assert world.nr_free == 16


@pytest.mark.parametrize("call", ["touch", "exit", "fork"])
def test_a_file_is_not_a_process(call: str) -> None:
    world = SwapWorld()
    file = shmem_create(world.paging, "tmp", 4)
    argument = {"touch": (0,), "exit": (), "fork": ("child",)}[call]
    with pytest.raises(PinpageError, match="not a process"):
        getattr(ProcessMemory(world.paging), call)(file, *argument)


# shmem.


def test_a_shmem_page_comes_back_to_its_file() -> None:
    world = SwapWorld()
    file = shmem_create(world.paging, "tmp", 4)
    pfn = shmem_getpage(world.paging, file, 1)
    assert world.contents.read(pfn) == bytes(4096)
    world.contents.write(pfn, b"tmpfs")
    assert shmem_getpage(world.paging, file, 1) == pfn
    world.swap_out()
    assert file.pte[1] < 0
    pfn = shmem_getpage(world.paging, file, 1)
    assert world.contents.read(pfn)[:5] == b"tmpfs"
    assert (len(world.swap.cache), world.area.inuse_pages) == (0, 0)
    assert world.paging.has(pfn, DIRTY)  # the only copy
    assert not world.paging.has(pfn, bit(PageFlag.ANON))
    world.check()


def test_shmem_without_memory_or_beyond_its_end() -> None:
    world = SwapWorld()
    file = shmem_create(world.paging, "tmp", 4)
    shmem_getpage(world.paging, file, 0)
    world.swap_out()
    taken = world.take_all_frames()
    assert [shmem_getpage(world.paging, file, index) for index in (0, 1)] == [Errno.ENOMEM] * 2
    world.give_back(taken)
    for space, index in ((file, 4), (world.process("a"), 0)):
        with pytest.raises(PinpageError, match="no file"):
            shmem_getpage(world.paging, space, index)
    world.check()


def test_a_fresh_page_has_only_what_was_stored_whoever_had_its_frame() -> None:
    world = SwapWorld()
    a = world.process("a", b"\xaa" * 4096)
    world.memory.dontneed(a, np.array([0]))
    world.memory.write(a, 0, b"b")
    assert world.memory.read(a, 0) == b"b" + bytes(4095)
