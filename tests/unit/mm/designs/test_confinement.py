"""A region of unmovable pages: it costs as few pageblocks as there can be, grows, and shrinks."""

import pytest

from mm.designs.confinement import ConfinedPages
from mm.machine import Machine
from mm.state.frames import FrameState
from mm.state.gfp import Gfp
from mm.state.pageblock import MigrateType
from pinpage.errors import InvariantError, PinpageError

BLOCK = 512


@pytest.fixture
def machine():
    return Machine.build(nr_pages=8 * BLOCK, contents="tags")


@pytest.fixture
def pages(machine):
    return ConfinedPages(machine, 0)


@pytest.mark.parametrize("nr_pages", [1, 512, 513, 1200])
def test_unmovable_pages_cost_the_fewest_pageblocks(machine, pages, nr_pages):
    got = [pages.alloc_page(Gfp.KERNEL) for _ in range(nr_pages)]
    assert len({pfn // BLOCK for pfn in got}) == pages.nr_blocks == -(-nr_pages // BLOCK)
    assert (pages.nr_pages_used, pages.nr_outside) == (nr_pages, 0)
    pages.check()
    machine.check()


def test_it_grows_over_movable_pages_and_shrinks_when_its_end_is_free(machine, pages):
    space = machine.memory.mmap("p", 900)
    for vpn in range(900):
        machine.memory.touch(space, vpn, write=True)
    got = [pages.alloc_page(Gfp.KERNEL) for _ in range(2 * BLOCK)]
    assert set(got) == set(range(2 * BLOCK))
    assert space.nr_vpns == 900
    assert all(pte > 2 * BLOCK for pte in space.pte[:900].tolist())
    for pfn in got[BLOCK:]:
        pages.free_page(pfn)
    assert pages.nr_blocks == 1
    assert machine.pageblocks.migratetype[1] == MigrateType.MOVABLE
    for pfn in got[:BLOCK]:
        assert pages.put_page(pfn)
    assert pages.nr_blocks == 0
    machine.check()


def test_the_lowest_free_page_goes_first_so_that_the_end_empties(machine, pages):
    got = [pages.alloc_page(Gfp.KERNEL) for _ in range(BLOCK + 1)]
    pages.free_page(got[3])
    assert pages.alloc_page(Gfp.KERNEL) == got[3]
    pages.free_page(got[BLOCK])
    assert pages.nr_blocks == 1
    machine.check()


def test_movable_pages_come_from_elsewhere(machine, pages):
    assert machine.frames.state[pages.alloc_page(Gfp.HIGHUSER_MOVABLE)] == FrameState.USED
    assert pages.nr_blocks == 0


def test_where_it_cannot_grow_the_page_comes_from_anywhere(machine, pages):
    for start in (0, BLOCK):
        machine.contig.alloc_contig_range(start, start + 1, machine.design)
    assert pages.alloc_page(Gfp.KERNEL) >= 0
    assert (pages.nr_blocks, pages.nr_outside) == (0, 1)


def test_references_are_those_of_any_page(machine, pages):
    pfn = pages.alloc_page(Gfp.KERNEL)
    pages.get_page(pfn)
    assert not pages.put_page(pfn)
    with pytest.raises(PinpageError, match="is free"):
        pages.get_page(pfn + 1)
    with pytest.raises(PinpageError, match="is free"):
        pages.free_page(pfn + 1)
    pages.get_page(pfn)
    with pytest.raises(PinpageError, match="has 2 references"):
        pages.free_page(pfn)
    with pytest.raises(PinpageError, match="first_block=8"):
        ConfinedPages(machine, 8)


def test_a_free_page_that_somebody_has_is_found(machine, pages):
    pfn = pages.alloc_page(Gfp.KERNEL)
    machine.get_page(pfn + 1)
    with pytest.raises(InvariantError, match="CF1"):
        pages.check()
