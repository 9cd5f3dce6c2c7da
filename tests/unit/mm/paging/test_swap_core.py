"""The swap core as a compressed cache uses it: to disk, back to memory, and swapoff between."""

import numpy as np
import pytest

from mm.paging.swap_core import SwapCore
from mm.state.errno import Errno
from mm.state.frames import PageFlag
from mm.swap.swapops import SWAP_HAS_CACHE
from tests.kit.mm.swap_world import SwapWorld, swapped


@pytest.fixture
def cached():
    """A page that frontswap holds for two processes; the core that frontswap calls."""
    world, spaces, entry = swapped("a", "b")
    return world, spaces, entry, SwapCore(world.paging)


def test_a_new_cache_page_is_the_slots_own(cached):
    world, _, entry, core = cached
    pfn = core.get_cache_page(entry)
    assert world.swap.cache.lookup(entry) == pfn
    assert world.frames.has_flag(np.array([pfn]), PageFlag.SWAPCACHE).all()
    assert world.area.map_byte(1) & SWAP_HAS_CACHE
    core.drop_cache_page(entry, pfn)
    assert world.swap.cache.lookup(entry) == -1
    assert world.nr_free == 16
    world.check()


def test_a_slot_has_one_cache_page(cached):
    world, _, entry, core = cached
    pfn = core.get_cache_page(entry)
    before = int(world.frames.refcount[pfn])
    taken = world.take_all_frames()  # it is not even tried to allocate another
    assert core.get_cache_page(entry) == Errno.EEXIST
    assert world.frames.refcount[pfn] == before
    world.give_back(taken)


def test_no_memory(cached):
    world, _, entry, core = cached
    taken = world.take_all_frames()
    assert core.get_cache_page(entry) == Errno.ENOMEM
    assert world.area.map_byte(1) & SWAP_HAS_CACHE == 0
    world.give_back(taken)


def test_written_pages_are_read_from_the_disk_from_then_on(cached):
    world, (a, b), entry, core = cached
    pfn = core.get_cache_page(entry)
    page = b"shared".ljust(4096, b"\0")
    core.write_page(entry, pfn, page)
    assert world.area.disk[1] == page
    assert world.nr_free == 16  # reclaimed at once
    world.front.pages.clear()  # the compressed copy is gone
    world.check()
    assert world.read(a, 0) == world.read(b, 0) == b"shared"
    world.check()


def test_unuse_repoints_every_user_and_leaves_no_user_counts_behind(cached):
    world, (a, b), entry, core = cached
    assert core.unuse(entry) == Errno.OK
    assert a.pte[0] == b.pte[0] > 0
    assert world.init_mm.mm_users == a.mm_users == b.mm_users == 1
    assert world.area.map_byte(1) == 0
    world.check()


def test_a_signal_interrupts_unuse(cached):
    world, (a, _), entry, _ = cached
    assert SwapCore(world.paging, pending=lambda: True).unuse(entry) == Errno.EINTR
    assert a.pte[0] < 0
    assert world.init_mm.mm_users == 1


def test_a_device_is_held_until_swapoff_begins():
    world = SwapWorld()
    core = SwapCore(world.paging)
    assert core.get_device(0)
    core.put_device(0)
    assert not core.get_device(7)
    world.area.writeok = False
    assert not core.get_device(0)
