"""Pins and contiguous areas: a long one leaves first, a short one stays and is in the way."""

import pytest

from mm.state.errno import Errno
from mm.state.pageblock import MigrateType
from owners.gup.flags import Foll
from owners.gup.pin_references import IgnoresMoves
from pinpage.owner import Reason
from pinpage.units import Span
from tests.kit.owners.gup_world import GupWorld

AREA = Span(24, 64)
LONG = Foll.PIN | Foll.LONGTERM | Foll.WRITE


@pytest.fixture
def world():
    """More than half of what is free is CMA's, so that movable pages go there first."""
    made = GupWorld()
    made.machine.cma.create(AREA)
    yield made
    made.check()


def in_area(world, space, nr_pages):
    return [world.pfn(space, vpn) in AREA for vpn in range(nr_pages)]


def take_area(world):
    return world.machine.cma.request(AREA.nr_pages, 3)


def test_movable_pages_fall_into_the_area_first(world):
    assert in_area(world, world.process(3), 3) == [True] * 3


def test_the_vector_of_the_reference_a_long_pin_in_a_cma_block(world):
    """First round: moved out; second round: pinned elsewhere.  The area is whole afterwards."""
    space, driver = world.process(3), world.pinner()
    got = world.gup.get_user_pages(space, 0, 3, driver, LONG)
    assert got.value == 3
    assert in_area(world, space, 3) == [False] * 3
    assert world.gup.counters.nr_migrated == 3
    assert take_area(world).pfn == AREA.start
    assert [world.memory.read(space, vpn)[0] for vpn in range(3)] == [1, 2, 3]


def test_pages_for_long_pins_never_come_from_the_area(world):
    """Even where nothing else is left they are not taken from there."""
    hogs = []
    while (pfn := world.machine.alloc_page(0)) >= 0:
        hogs.append(pfn)
    assert not any(pfn in AREA for pfn in hogs)
    space, driver = world.process(1), world.pinner()
    assert world.gup.get_user_pages(space, 0, 1, driver, LONG).value == Errno.ENOMEM
    assert in_area(world, space, 1) == [True]
    assert len(driver) == 0
    for pfn in hogs:
        world.machine.free_page(pfn)


@pytest.mark.parametrize("flags", [Foll.GET, Foll.PIN])
def test_a_short_pin_stays_in_the_area_and_is_in_the_way(world, flags):
    space, driver = world.process(2), world.pinner()
    world.gup.get_user_pages(space, 0, 2, driver, flags)
    assert in_area(world, space, 2) == [True] * 2
    found = take_area(world)
    assert found.errno is Errno.ENOMEM
    assert sum(found.report.refusals.by_reason().values()) == 2
    types = world.machine.pageblocks.migratetype[AREA.start // 8 :]
    assert (types == MigrateType.CMA).all()


def test_a_pinner_with_a_callback_makes_way(world):
    space, driver = world.process(2), world.pinner("driver", IgnoresMoves())
    pins = world.gup.get_user_pages(space, 0, 2, driver, Foll.PIN).pins
    assert take_area(world).pfn == AREA.start
    assert in_area(world, space, 2) == [False] * 2
    assert driver.pfns_of(pins).tolist() == [world.pfn(space, vpn) for vpn in range(2)]


def test_an_unregistered_pinner_is_unaccounted_a_registered_one_is_named():
    reasons = []
    for registered in (False, True):
        world = GupWorld()
        world.machine.cma.create(AREA)
        space, driver = world.process(1), world.pinner(registered=registered)
        world.gup.get_user_pages(space, 0, 1, driver, Foll.PIN)
        reasons.append(take_area(world).report.refusals.by_owner())
        world.check()
    assert reasons[0] == {"home": {Reason.UNACCOUNTED: 1}}
    assert list(reasons[1]) == ["driver"]


def test_what_the_area_was_lent_for_comes_back_after_release(world):
    assert take_area(world).pfn == AREA.start

    assert world.machine.cma.release(AREA.start, AREA.nr_pages)
    assert in_area(world, world.process(2), 2) == [True] * 2
