"""Long-term pins: not where memory was promised to be movable; moved away first, or not at all."""

import numpy as np
import pytest

from mm.state.errno import Errno
from mm.state.pageblock import MigrateType
from owners.gup.flags import Foll
from owners.gup.longterm import is_longterm_pinnable, migrate_away
from owners.gup.pin_references import IgnoresMoves
from pinpage.owner import Reason
from tests.kit.owners.gup_world import GupWorld

LONG = Foll.PIN | Foll.LONGTERM | Foll.WRITE


def retype(world, migratetype, *blocks):
    for block in blocks:
        world.machine.buddy.set_migratetype(block, migratetype)


def pinnable(world, space, nr_pages):
    pfns = np.array([world.pfn(space, vpn) for vpn in range(nr_pages)])
    return is_longterm_pinnable(world.machine, pfns).tolist()


@pytest.fixture(params=[True, False], ids=["registry", "no registry"])
def world(request):
    made = GupWorld(registry=request.param)
    yield made
    made.check()


@pytest.mark.parametrize("kind", [MigrateType.CMA, MigrateType.ISOLATE])
def test_a_page_in_a_promised_pageblock_is_moved_away_before_it_is_pinned(world, kind):
    space, driver = world.process(3), world.pinner()
    world.machine.pcp.drain_all()
    before = [world.pfn(space, vpn) for vpn in range(3)]
    retype(world, kind, before[0] // 8)
    assert pinnable(world, space, 3) == [False] * 3
    got = world.gup.get_user_pages(space, 0, 3, driver, LONG)
    assert got.value == 3
    assert pinnable(world, space, 3) == [True] * 3
    assert driver.pfns_of(got.pins).tolist() == [world.pfn(space, vpn) for vpn in range(3)]
    assert [world.memory.read(space, vpn)[0] for vpn in range(3)] == [1, 2, 3]
    assert world.gup.counters.nr_migrated == 3


def test_a_page_in_the_movable_zone_is_moved_to_the_normal_one():
    world = GupWorld(nr_movable=32)
    space, driver = world.process(2), world.pinner()
    assert pinnable(world, space, 2) == [False, False]
    assert world.gup.get_user_pages(space, 0, 2, driver, LONG).value == 2
    assert all(world.pfn(space, vpn) < 32 for vpn in range(2))
    world.check()


def test_the_fast_path_leaves_such_a_page_to_the_slow_one():
    world = GupWorld(nr_movable=32)
    space, driver = world.process(1), world.pinner()
    got = world.gup.get_user_pages(space, 0, 1, driver, LONG | Foll.FAST_ONLY)
    assert got.value == Errno.EAGAIN
    assert len(driver) == 0


def test_a_short_pin_stays_where_the_page_is():
    world = GupWorld(nr_movable=32)
    space, driver = world.process(1), world.pinner()
    before = world.pfn(space)
    assert world.gup.get_user_pages(space, 0, 1, driver, Foll.PIN).value == 1
    assert world.pfn(space) == before


def test_a_page_that_somebody_else_pinned_does_not_move_and_nothing_stays_pinned(world):
    space, driver, other = world.process(3), world.pinner(), world.pinner("other")
    world.gup.get_user_pages(space, 1, 1, other, Foll.GET)
    world.machine.pcp.drain_all()
    retype(world, MigrateType.CMA, world.pfn(space) // 8)
    assert world.gup.get_user_pages(space, 0, 3, driver, LONG).value == Errno.ENOMEM
    assert len(driver) == 0


def test_another_pinner_with_a_callback_is_asked_to_move_along():
    world = GupWorld(nr_movable=32)
    space, driver, other = world.process(1), world.pinner(), world.pinner("other", IgnoresMoves())
    (pin,) = world.gup.get_user_pages(space, 0, 1, other, Foll.PIN).pins
    assert world.gup.get_user_pages(space, 0, 1, driver, LONG).value == 1
    assert other.pfn_of(pin) == world.pfn(space) < 32
    world.check()


def test_without_a_frame_to_move_to_the_range_is_not_pinned():
    world = GupWorld(nr_movable=32)
    space, driver = world.process(2), world.pinner()
    hog = world.memory.mmap("hog", 64)
    vpn = 0
    while world.memory.touch(hog, vpn) >= 0:
        vpn += 1
    assert world.gup.get_user_pages(space, 0, 2, driver, LONG).value == Errno.ENOMEM
    assert len(driver) == 0
    world.check()


def test_pinning_that_fails_names_the_pages_in_the_way():
    """A device has a page of the range already, and nobody registered that."""
    world = GupWorld(nr_movable=32)
    space, driver = world.process(3), world.pinner()
    pfn = world.pfn(space, 1)
    world.machine.get_page(pfn)
    got = world.gup.get_user_pages(space, 0, 3, driver, LONG)
    assert (got.value, len(driver)) == (Errno.ENOMEM, 0)
    assert [(each.pfn, each.owner) for each in got.in_the_way] == [(pfn, "home")]
    assert got.in_the_way[0].reason in (Reason.UNACCOUNTED, Reason.NO_OWNER)
    world.machine.put_page(pfn)
    assert world.gup.get_user_pages(space, 0, 3, driver, LONG).in_the_way == ()


def test_a_page_that_another_mover_has_is_tried_again_and_then_given_up():
    world = GupWorld(nr_movable=32)
    space, driver = world.process(1), world.pinner()
    pfns = np.array([world.pfn(space)])
    world.machine.mover.take(pfns)
    error, in_the_way = migrate_away(world.machine, pfns)
    assert error == Errno.EAGAIN
    assert [each.reason for each in in_the_way] == [Reason.ALREADY_ISOLATED]
    assert world.gup.get_user_pages(space, 0, 1, driver, LONG).value == Errno.EAGAIN
    assert len(driver) == 0
    world.machine.mover.put(pfns)
    assert world.gup.get_user_pages(space, 0, 1, driver, LONG).value == 1


def test_hot_remove_is_not_kept_waiting_by_a_pin_that_comes_after_isolation():
    """R-24: the block is isolated, then somebody pins a page in it for good."""
    world = GupWorld()
    space, driver = world.process(2), world.pinner()
    world.machine.pcp.drain_all()
    block = world.pfn(space) // 8
    retype(world, MigrateType.ISOLATE, block)
    assert world.gup.get_user_pages(space, 0, 2, driver, LONG).value == 2
    assert all(world.pfn(space, vpn) // 8 != block for vpn in range(2))
    world.check()
