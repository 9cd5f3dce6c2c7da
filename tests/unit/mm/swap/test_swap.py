"""The swap cache, the mmlist, and swapped PTEs, single and adopted in bulk."""

import pytest

from mm.state.errno import Errno
from mm.swap.swapops import SWAP_HAS_CACHE, swp_entry
from pinpage.errors import InvariantError, PinpageError
from pinpage.testing.world import column
from tests.kit.mm.swap_world import SwapWorld

# The swap cache.


def test_the_cache_holds_a_reference_and_moves_with_the_page() -> None:
    world = SwapWorld()
    a = world.process("a", b"page", b"other")
    pfn, other = world.pfn(a, 0), world.pfn(a, 1)
    entry = world.swap.get_swap_page()
    world.swap.cache.add(entry, pfn)
    assert world.frames.refcount[pfn] == 2
    world.check()
    for name in ("state", "refcount", "mapcount", "flags"):
        values = getattr(world.frames, name)
        values[12], values[13] = values[pfn], values[other]
    stamps = world.lru._stamp
    stamps[[12, 13]] = stamps[[pfn, other]]
    world.rmap.move_many(column(pfn, other), column(12, 13))
    world.swap.cache.move_many(column(pfn, other), column(12, 13))
    assert world.swap.cache.lookup(entry) == 12
    assert world.swap.cache.entry_of[[pfn, other, 12, 13]].tolist() == [-1, -1, entry, -1]
    world.frames.flags[[pfn, other]] = 0
    world.swap.cache.check()


def test_a_slot_has_one_page() -> None:
    world = SwapWorld()
    entry = world.swap.get_swap_page()
    world.swap.cache.add(entry, world.source.alloc_page(0))
    with pytest.raises(InvariantError, match="SC1"):
        world.swap.cache.add(entry, world.source.alloc_page(0))
    with pytest.raises(InvariantError, match="SC1"):
        world.swap.cache.delete(9)


def test_areas_fill_in_order_of_type_and_names_are_reused() -> None:
    world = SwapWorld(nr_slots=2)
    second = world.swap.swapon(2)
    assert second.type == 1
    assert [world.swap.get_swap_page() for _ in range(3)] == [1, swp_entry(1, 1), -1]
    assert world.swap.is_full
    del world.swap.areas[0]
    assert world.swap.swapon(2).type == 0
    with pytest.raises(PinpageError, match="no area of type 5"):
        world.swap.area_of(swp_entry(5, 1))


# The mmlist.


def test_the_ring_puts_new_spaces_behind_init_mm_and_children_behind_parents() -> None:
    world = SwapWorld()
    ring, a, b, c = world.swap.mmlist, *(world.rmap.create(name, 1) for name in "abc")
    ring.add(a)
    ring.add(b)
    ring.add(c, after=b)
    ring.add(a, after=c)  # in already: stays
    order, space = [], ring.init_mm
    while (space := ring.next(space)) is not ring.init_mm:
        order.append(space.name)
    assert order == ["b", "c", "a"]
    ring.remove(c)
    assert ring.next(b) is a
    assert len(ring) == 2
    ring.check()
    with pytest.raises(PinpageError, match="not in the mmlist"):
        ring.next(c)


# Adoption.


def test_adoption_equals_one_pte_at_a_time() -> None:
    world, loop = SwapWorld(nr_slots=32), SwapWorld(nr_slots=32)
    vpns = column(6, 0, 3)
    a, b = world.memory.mmap("a", 8), loop.memory.mmap("a", 8)
    entries = world.swap.adopt(a, vpns)
    for vpn in vpns.tolist():
        offset = loop.area.alloc_slot(usage=SWAP_HAS_CACHE)
        assert loop.swap.set_pte(b, vpn, swp_entry(0, offset)) == Errno.OK
        loop.area.free_one(offset, SWAP_HAS_CACHE)
    assert a.pte.tolist() == b.pte.tolist()
    assert entries.tolist() == [1, 2, 3]
    assert world.area.swap_map.tolist() == loop.area.swap_map.tolist()
    assert [world.area.users(i) for i in (1, 2)] == [loop.area.users(i) for i in (1, 2)]
    assert world.area.frontswap_map[1:4].all()
    assert a in world.swap.mmlist
    world.check()


def test_adoption_fits_or_changes_nothing() -> None:
    world = SwapWorld(nr_slots=4)
    a = world.process("a", b"present")
    file = world.rmap.create("file", 4, kind="file")
    for space, vpns, message in (
        (a, (0,), "has a PTE"),
        (a, (1, 1), "given twice"),
        (a, (8,), "outside"),
        (a, (1, 2, 3, 4), "3 free slots"),
        (file, (0,), "not a process"),
    ):
        with pytest.raises(PinpageError, match=message):
            world.swap.adopt(space, column(*vpns))
    assert world.area.inuse_pages == 0
    world.check()


def test_check_sees_a_pte_that_names_another_slot() -> None:
    world = SwapWorld()
    a = world.memory.mmap("a", 4)
    world.swap.adopt(a, column(0, 1))
    a.pte[[0, 1]] = a.pte[[1, 0]]
    with pytest.raises(InvariantError, match="SP2"):
        world.check()


def test_check_sees_a_cache_flag_without_a_page() -> None:
    world = SwapWorld()
    a = world.process("a", b"page")
    world.swap.cache.add(world.swap.get_swap_page(), world.pfn(a, 0))
    world.check()
    world.area.swap_map[[1, 2]] = 0, SWAP_HAS_CACHE
    with pytest.raises(InvariantError, match="SP1"):
        world.check()


def test_check_sees_a_swapped_space_outside_the_ring() -> None:
    world = SwapWorld()
    a = world.memory.mmap("a", 4)
    world.swap.adopt(a, column(0, 1))
    world.swap.mmlist.remove(a)
    with pytest.raises(InvariantError, match="SP3"):
        world.check()


def test_check_sees_a_reference_that_nothing_accounts_for() -> None:
    world = SwapWorld()
    a = world.process("a", b"page")
    world.paging.get_page(world.pfn(a, 0))
    world.check(holders={world.pfn(a, 0): 1})
    with pytest.raises(InvariantError, match="SP4"):
        world.check()
