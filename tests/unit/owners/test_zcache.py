"""zcache: clean pages kept while nobody needs the memory, and dropped the moment somebody does."""

import numpy as np
import pytest

from mm.state.errno import Errno
from pinpage.errors import InvariantError, PinpageError
from pinpage.migrate import move_many
from pinpage.move.release import release_many
from pinpage.owner import Mode, Reason
from tests.kit.owners.pool_world import Spare, noise
from tests.kit.owners.zcache_world import PAGE, ZcacheWorld, page


@pytest.fixture
def world():
    return ZcacheWorld()


@pytest.mark.parametrize("name", ["zlib", "lz4", "zstd"])
@pytest.mark.parametrize("nr_noisy", [0, 17, 1000, 3500])
def test_what_was_put_is_got(name, nr_noisy):
    world = ZcacheWorld(name)
    assert world.cache.put(world.key(3), page(1, nr_noisy))
    world.cache.check()
    assert world.cache.get(world.key(3)) == page(1, nr_noisy)


def test_a_get_from_a_private_pool_is_the_last_one(world):
    for pool, again in ((world.pool, None), (world.shared, page(1))):
        key = world.key(7, pool=pool)
        world.cache.put(key, page(1))
        assert world.cache.get(key) == page(1)
        assert world.cache.get(key) == again
    counters = world.cache.counters
    assert (counters.puts, counters.hits, counters.misses) == (2, 3, 1)
    assert counters.stored_pages == 1


def test_a_later_put_replaces(world):
    for number in (1, 2):
        world.cache.put(world.key(7), page(number))
    assert world.cache.read_back() == {world.key(7): page(2)}
    assert world.cache.counters.replaced == 1
    world.cache.check()


def test_a_put_that_fails_leaves_no_older_copy(world):
    world.cache.put(world.key(7), page(1))
    assert not world.cache.put(world.key(7), noise(2, PAGE))
    assert world.cache.get(world.key(7)) is None
    assert world.cache.counters.reject_compress_poor == 1
    world.cache.check()


def test_invalidation_by_page_inode_and_pool(world):
    keys = [world.key(i, inode, pool) for pool in (0, 1) for inode in (1, 2) for i in (1, 2)]
    for number, key in enumerate(keys):
        world.cache.put(key, page(number))
    world.cache.invalidate_page(world.key(1, 1, 0))
    assert set(world.cache.read_back()) == set(keys[1:])
    world.cache.invalidate_inode(0, 2)
    assert set(world.cache.read_back()) == {keys[1], *keys[4:]}
    world.cache.invalidate_pool(1)
    assert set(world.cache.read_back()) == {keys[1]}
    assert world.cache.counters.invalidated == 7
    world.cache.invalidate_page(world.key(99))
    assert world.cache.counters.invalidated == 7
    with pytest.raises(PinpageError, match="no pool 1"):
        world.cache.put(keys[4], page(0))
    assert world.cache.init_pool() == 2
    world.cache.check()


def test_mistakes_are_named(world):
    with pytest.raises(PinpageError, match="not a page"):
        world.cache.put(world.key(1), b"short")
    for call in (world.cache.get, world.cache.invalidate_page):
        with pytest.raises(PinpageError, match="init_pool"):
            call(world.key(1, pool=9))


# Memory.


def test_the_oldest_go_when_the_limit_is_reached():
    world = ZcacheWorld(max_nr_pages=3)
    for index in range(12):
        assert world.cache.put(world.key(index), page(index, 1500))
    world.cache.check()
    assert world.cache.zbud.pages_nr == 3
    assert [key.index for key in world.cache.read_back()] == [6, 7, 8, 9, 10, 11]
    assert world.cache.counters.dropped == 6


def test_a_cache_of_no_pages_refuses():
    world = ZcacheWorld(max_nr_pages=0)
    assert not world.cache.put(world.key(1), page(1))
    assert world.cache.counters.reject_alloc_fail == 1


def test_without_memory_a_put_is_refused(world):
    while world.machine.alloc_page(0) >= 0:
        pass
    assert not world.cache.put(world.key(1), page(1))
    assert world.cache.counters.reject_alloc_fail == 1
    world.cache.check()


def test_shrinking_drops_oldest_first_and_needs_no_memory(world):
    for index in range(10):
        world.cache.put(world.key(index), page(index, 1500))
    while world.machine.alloc_page(0) >= 0:
        pass
    assert world.cache.shrink(2) == 2
    assert [key.index for key in world.cache.read_back()] == list(range(4, 10))
    assert world.cache.shrink(99) == 3
    assert world.cache.zbud.pages_nr == 0
    world.cache.check()


def test_release_drops_and_frees_every_frame_asked_for_at_no_cost(world):
    for index in range(10):
        world.cache.put(world.key(index), page(index, 1500))
    asked = world.pfns[1:4]
    while world.machine.alloc_page(0) >= 0:
        pass
    copies = world.machine.contents.pages.copy()
    reasons = release_many(world.registry, world.machine.mover, asked, Mode.ASYNC)
    assert {Reason(int(reason)) for reason in reasons} == {Reason.RELEASED}
    assert len(world.cache.read_back()) == 4
    kept = world.pfns
    assert (world.machine.contents.pages[kept] == copies[kept]).all()
    assert world.cache.counters.dropped == 6
    world.cache.check()


def test_under_coverage_migrate_the_cache_survives_a_move():
    world = ZcacheWorld(coverage="migrate")
    for index in range(6):
        world.cache.put(world.key(index), page(index))
    before = world.pfns.copy()
    report = move_many(world.registry, world.machine.mover, before, Spare(world.machine), Mode.SYNC)
    assert report.nr_moved == len(before)
    assert world.cache.read_back() == {world.key(n): page(n) for n in range(6)}
    world.cache.check()


def test_a_frame_under_move_is_a_miss_and_its_objects_are_not_dropped():
    world = ZcacheWorld(coverage="migrate")
    world.cache.put(world.key(1), page(1))
    zbud = world.cache.zbud
    handle = zbud.handles.encode(0, 0)
    pfns, privates = world.pfns, zbud.pages.privates(np.array([0]))
    zbud.owner.isolate_many(pfns, privates, Mode.SYNC)
    assert world.cache.get(world.key(1)) is None
    assert zbud.ops.evict(zbud, handle) == Errno.EAGAIN
    zbud.owner.putback_many(pfns, privates)
    assert world.cache.get(world.key(1)) == page(1)


def test_eviction_leaves_what_another_took_out_of_the_index(world):
    """Rule M: who takes the key out frees the object, and the other must not."""
    world.cache.put(world.key(1), page(1))
    zbud, handle = world.cache.zbud, world.cache.zbud.handles.encode(0, 0)
    assert world.cache._pop(world.key(1)) == handle
    assert zbud.ops.evict(zbud, handle) == Errno.EBUSY
    assert zbud.is_live(handle)
    zbud.free(handle)
    assert zbud.ops.evict(zbud, handle) == Errno.OK
    world.cache.check()


@pytest.mark.parametrize(
    ("number", "spoil"),
    [
        ("ZC1", lambda c: c._index[0][1].__setitem__(2, c._index[0][1][1])),
        ("ZC2", lambda c: c.zbud.write(c.zbud.handles.encode(0, 0), b"\x09" * 8)),
        ("ZC3", lambda c: setattr(c.counters, "stored_pages", 9)),
        ("ZC4", lambda c: setattr(c, "_max_nr_pages", 0)),
    ],
)
def test_check_notices(world, number, spoil):
    world.cache.put(world.key(1), page(1))
    world.cache.check()
    spoil(world.cache)
    with pytest.raises(InvariantError, match=number):
        world.cache.check()
