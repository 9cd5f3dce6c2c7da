"""The balloon: pages given to the host, which move and come back."""

import pytest

from mm.state.gfp import Gfp
from owners.balloon import Balloon
from pinpage.errors import InvariantError
from pinpage.owner import Mode, Pin, Reason, Verdict
from tests.kit.owners.driver_world import DriverWorld


@pytest.fixture
def world():
    return DriverWorld()


@pytest.fixture
def balloon(world):
    return Balloon(world.machine, registry=world.registry)


def test_inflate_takes_pages_and_deflate_gives_them_back(world, balloon):
    assert balloon.inflate(5) == 5
    assert (balloon.nr_pages, world.nr_free) == (5, 59)
    assert sorted(balloon.host) == world.pinned().tolist()
    assert balloon.deflate(2) == 2
    assert (balloon.nr_pages, world.nr_free) == (3, 61)
    balloon.check()
    world.check()
    assert balloon.deflate(9) == 3
    assert world.nr_free == 64


def test_deflate_takes_the_oldest_page_first(world, balloon):
    balloon.inflate(3)
    oldest = next(pin.pfn for pfn in balloon.host for pin in world.registry.pins(pfn)
                  if pin.private == 0)  # fmt: skip
    balloon.deflate(1)
    assert oldest not in balloon.host


def test_inflate_ends_where_memory_ends(world, balloon):
    assert balloon.inflate(100) == 64
    assert balloon.inflate(1) == 0
    assert balloon.deflate(64) == 64


def test_a_page_moves_and_the_host_is_told(world, balloon):
    balloon.inflate(4)
    before = sorted(balloon.host)
    assert world.move(*before) == [Reason.MOVED] * 4
    assert not balloon.host & set(before)
    balloon.check()
    world.check()
    assert balloon.deflate(4) == 4
    assert world.nr_free == 64


def test_deflate_skips_what_a_mover_has(world, balloon):
    balloon.inflate(3)
    first = min(balloon.host)
    pin = world.registry.pins(first)[0]
    assert balloon.isolate(pin, Mode.ASYNC) is Verdict.YES
    with pytest.raises(InvariantError, match="BA2"):
        balloon.check()
    assert balloon.deflate(3) == 2
    assert balloon.host == {first}
    balloon.putback(pin)
    assert balloon.deflate(3) == 1


def test_a_page_deflated_since_the_mover_looked_is_refused(world, balloon):
    balloon.inflate(1)
    pin = world.registry.pins(min(balloon.host))[0]
    balloon.deflate(1)
    assert balloon.isolate(pin, Mode.SYNC) is Verdict.BUSY
    assert balloon.release(pin, Mode.SYNC) is Verdict.YES
    balloon.check()


def test_release_deflates_that_very_page(world, balloon):
    balloon.inflate(4)
    chosen = sorted(balloon.host)[1:3]
    assert world.release(*chosen) == [Reason.RELEASED] * 2
    assert (balloon.nr_pages, world.nr_free) == (2, 62)
    assert not balloon.host & set(chosen)
    world.check()


def test_a_host_with_another_page_is_noticed(world, balloon):
    balloon.inflate(1)
    balloon.host.add(63)
    with pytest.raises(InvariantError, match="BA1"):
        balloon.check()


def test_without_a_registry_it_is_only_an_allocation(world):
    balloon = Balloon(world.machine)
    balloon.inflate(2)
    assert world.move(*balloon.host) == [Reason.NO_OWNER] * 2
    assert balloon.deflate(2) == 2
    assert world.nr_free == 64


@pytest.mark.parametrize("strategy", ["scan", "plan"])
def test_compaction_gathers_scattered_balloon_pages(world, balloon, strategy):
    world.scatter(lambda: balloon.inflate(1))
    assert world.machine.buddy.wholly_free().sum() == 0
    bound = world.machine.bound()
    world.machine.compact(strategy)
    assert world.machine.buddy.wholly_free().sum() == bound == 8 - -(-balloon.nr_pages // 8)
    balloon.check()
    world.check()


def test_inflating_may_compact_and_so_move_this_balloon(world, balloon):
    """The allocation inside `inflate` calls back into it: a lock held there would never end."""
    world.scatter(lambda: balloon.inflate(1))
    before = sorted(balloon.host)

    class Compacting:
        def alloc_page(self, gfp):
            assert world.machine.alloc_pages(3, Gfp.KERNEL) >= 0  # one pageblock, so it compacts
            return world.machine.alloc_page(gfp)

    balloon._source = Compacting()
    assert balloon.inflate(1) == 1
    assert len(balloon.host & set(before)) < len(before), "nothing moved meanwhile"
    assert Pin in {type(pin) for pfn in balloon.host for pin in world.registry.pins(pfn)}
    balloon.check()
    world.machine.check()
