"""Clean page cache: what may be dropped, and what only looks like it."""

import numpy as np
import pytest

from mm.paging.clean_pages import is_clean_cache, reclaim_clean_pages
from mm.state.frames import PageFlag
from pinpage.testing.world import column
from tests.kit.mm.ranges import Ranged


def drop(world, *pfns):
    machine = world.machine
    dropped = reclaim_clean_pages(machine.frames, machine.rmap, machine.refs, column(*pfns))
    return dropped.tolist()


def test_clean_pages_of_the_cache_go_and_nothing_else_does():
    world = Ranged("cdaQ....")
    assert drop(world, 0, 1, 2, 3) == [True, False, False, False]
    assert world.cache.pte[0] == 0
    world.check()
    assert world.picture() == ["paaa...."]


@pytest.mark.parametrize(
    "flag",
    [
        PageFlag.WRITEBACK,
        PageFlag.SWAPBACKED,
        PageFlag.UNEVICTABLE,
        PageFlag.MLOCKED,
        PageFlag.LOCKED,
        PageFlag.DIRTY,
    ],
)
def test_a_page_in_use_or_without_a_second_copy_stays(flag):
    world = Ranged("c.......")
    world.machine.frames.set_flag(column(0), flag)
    assert drop(world, 0) == [False]
    assert world.cache.pte[0] == 1


def test_a_page_that_a_process_maps_too_stays():
    world = Ranged("c.......")
    world.machine.rmap.map_many(world.space, column(0), column(0))
    assert drop(world, 0) == [False]
    world.check()


def test_a_page_that_a_mover_has_stays():
    world = Ranged("c.......")
    world.machine.mover.take(column(0))
    frames, rmap = world.machine.frames, world.machine.rmap
    assert not is_clean_cache(frames, rmap, column(0)).any()
    world.machine.mover.put(column(0))


def test_an_anonymous_page_without_its_flag_is_not_the_caches():
    world = Ranged("a.......")
    world.machine.frames.flags[0] = PageFlag.LRU.mask | PageFlag.UPTODATE.mask
    assert drop(world, 0) == [False]


def test_in_an_isolated_block_it_is_free_at_once():
    world = Ranged("c.......", "........")
    assert world.isolate(0, 8)
    assert drop(world, 0) == [True]
    assert world.picture()[0] == "........"
    assert np.count_nonzero(world.machine.frames.flags) == 0
    world.machine.evacuator.undo(world.machine.pageblocks.span(0))
    world.check()
