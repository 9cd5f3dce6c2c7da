"""A zsmalloc pool by itself: objects, mappings, groups, compaction, statistics, invariants."""

import numpy as np
import pytest

from mm.state.errno import Errno
from mm.state.gfp import Gfp
from owners.pool.handles import NoObjectError
from owners.zsmalloc.classes import class_of
from owners.zsmalloc.groups import Fullness
from owners.zsmalloc.mapping import MapMode
from owners.zsmalloc.pool import ZsPool
from pinpage.errors import InvariantError, PinpageError
from tests.kit.owners.few_frames import FewFrames
from tests.kit.owners.pool_world import noise
from tests.kit.owners.zs_world import ZsWorld

STRADDLING = 2400
"""A size whose zspage has three pages for five objects: two of the five lie on two pages."""


def filled(world, nr_bytes, count):
    """Handle -> bytes of `count` objects."""
    return {world.new(data): data for data in (noise(n, nr_bytes) for n in range(count))}


def assert_intact(world, model):
    for handle, data in model.items():
        assert world.pool.read(handle, len(data)) == data


# Objects.


def test_objects_of_every_class_keep_their_bytes():
    world = ZsWorld(nr_blocks=32)
    model = {}
    for nr_bytes in (1, 24, 25, 56, 1000, 1528, 2008, 2400, 3000, 3256, 3257, 4096):
        model |= filled(world, nr_bytes, 3)
    assert_intact(world, model)
    world.check()
    for handle in model:
        world.pool.free(handle)
    world.check()
    assert world.pool.pages_nr == 0


def test_an_object_may_straddle_two_frames_that_are_not_neighbours():
    world = ZsWorld()
    model = filled(world, STRADDLING, 5)
    assert world.pool.pages_nr == 3
    world.move(world.pfns_of(*model)[1:2])  # the middle page goes far away
    assert sorted(np.diff(world.pfns_of(*model)).tolist()) != [1, 1]
    assert_intact(world, model)
    world.check()


def test_neighbours_do_not_overlap():
    world = ZsWorld()
    size_class = class_of(STRADDLING)
    handles = [world.pool.alloc(STRADDLING) for _ in range(5)]
    for n, handle in enumerate(handles):
        world.pool.write(handle, bytes([n + 1]) * size_class.user_nr_bytes)
    for n, handle in enumerate(handles):
        found = world.pool.read(handle, size_class.user_nr_bytes)
        assert found == bytes([n + 1]) * size_class.user_nr_bytes


@pytest.mark.parametrize("nr_bytes", [0, -1, 4097])
def test_a_size_that_no_class_has_is_refused(nr_bytes):
    assert ZsWorld().pool.alloc(nr_bytes) == Errno.EINVAL


def test_without_memory_no_part_of_a_zspage_is_kept():
    source = FewFrames(6)
    pool = ZsPool(source)
    assert [pool.alloc(4096) > 0 for _ in range(3)] == [True] * 3
    assert pool.alloc(STRADDLING) == Errno.ENOMEM  # two frames are free, it takes three
    assert (source.nr_free, pool.pages_nr) == (2, 3)
    pool.check()


def test_a_handle_that_outlived_its_object_names_nothing():
    world = ZsWorld()
    handle = world.new(b"gone")
    world.pool.free(handle)
    again = world.new(b"here")
    assert handle != again
    for use in (world.pool.free, world.pool.map, lambda h: world.pool.read(h, 1)):
        with pytest.raises(NoObjectError, match=f"{handle:#x}"):
            use(handle)
    assert (world.pool.is_live(handle), world.pool.is_live(again)) == (False, True)
    with pytest.raises(NoObjectError):
        world.pool.free(0)


def test_reading_beyond_an_object_is_a_mistake_and_changes_nothing():
    world = ZsWorld()
    handle = world.new(b"x" * 24)
    for offset, nr_bytes in ((0, 25), (24, 1), (-1, 2), (3, -1)):
        with pytest.raises(PinpageError, match="an object of 24"):
            world.pool.read(handle, nr_bytes, offset)
    with pytest.raises(PinpageError):
        world.pool.write(handle, b"y" * 25)
    assert world.pool.read(handle, 3, 21) == b"xxx"
    assert world.pool.write(handle, b"yz", 10) == 0
    assert world.pool.read(handle, 24) == b"x" * 10 + b"yz" + b"x" * 12


def test_pages_that_cannot_move_are_not_taken_from_where_memory_is_kept_movable():
    asked = []

    class Source(FewFrames):
        def alloc_page(self, gfp=Gfp.NONE):
            asked.append(gfp)
            return super().alloc_page(gfp)

    ZsPool(Source(8)).alloc(4096, Gfp.HIGHUSER_MOVABLE)
    assert asked == [Gfp.HIGHUSER]
    world = ZsWorld(coverage="none")
    world.pool.source = Source(8)
    world.pool.alloc(4096, Gfp.HIGHUSER_MOVABLE)
    world = ZsWorld()
    world.pool.source = Source(8)
    world.pool.alloc(4096, Gfp.HIGHUSER_MOVABLE)
    assert asked[1:] == [Gfp.HIGHUSER, Gfp.HIGHUSER_MOVABLE]


def test_the_pool_knows_its_frames():
    world = ZsWorld()
    handle = world.new(noise(0, STRADDLING))
    mine = world.pfns_of(handle)
    everywhere = np.arange(world.nr_frames)
    assert np.flatnonzero(world.pool.holds(everywhere)).tolist() == sorted(mine.tolist())


# Mappings.


@pytest.mark.parametrize("index", range(5))
def test_what_is_written_through_a_view_is_in_the_object(index):
    world = ZsWorld()
    model = filled(world, STRADDLING, 5)
    handle = list(model)[index]
    mapping = world.pool.map(handle, MapMode.RW)
    assert bytes(mapping.view[:STRADDLING]) == model[handle]
    mapping.view[:STRADDLING] = np.frombuffer(noise(99, STRADDLING), dtype=np.uint8)
    world.pool.unmap(mapping)
    model[handle] = noise(99, STRADDLING)
    assert_intact(world, model)


@pytest.mark.parametrize("index", range(5))
def test_a_read_only_view_cannot_be_written(index):
    world = ZsWorld()
    model = filled(world, STRADDLING, 5)
    mapping = world.pool.map(list(model)[index], MapMode.RO)
    with pytest.raises(ValueError, match="read-only"):
        mapping.view[0] = 1
    world.pool.unmap(mapping)
    assert_intact(world, model)


@pytest.mark.parametrize("index", range(5))
def test_a_view_for_writing_need_not_show_what_was_there(index):
    world = ZsWorld()
    model = filled(world, STRADDLING, 5)
    handle = list(model)[index]
    mapping = world.pool.map(handle, MapMode.WO)
    mapping.view[:] = 7
    world.pool.unmap(mapping)
    model[handle] = b"\x07" * STRADDLING
    assert_intact(world, model)


def test_an_object_on_one_page_of_an_arena_is_mapped_in_place():
    world = ZsWorld()
    handle = world.new(b"before")
    mapping = world.pool.map(handle)
    assert np.shares_memory(mapping.view, world.machine.contents.pages)
    assert len(mapping.view) == class_of(6).user_nr_bytes


def test_a_mapped_object_is_not_freed_and_not_unmapped_twice():
    world = ZsWorld()
    handle = world.new(b"data")
    one, two = world.pool.map(handle), world.pool.map(handle)
    world.pool.unmap(one)
    with pytest.raises(PinpageError, match="unmap first"):
        world.pool.free(handle)
    with pytest.raises(PinpageError, match="done before"):
        world.pool.unmap(one)
    world.pool.unmap(two)
    world.pool.free(handle)
    world.check()


# Groups.


def test_new_objects_go_to_almost_full_zspages_first():
    world = ZsWorld(nr_blocks=8)
    handles = [world.pool.alloc(500) for _ in range(24)]  # eight to a page
    size_class = class_of(500)
    assert size_class.nr_objects == 8
    for handle in (*handles[0:4], handles[8]):
        world.pool.free(handle)
    groups = world.pool.groups
    assert list(groups.members(size_class, Fullness.ALMOST_EMPTY)) == [0]
    assert list(groups.members(size_class, Fullness.ALMOST_FULL)) == [1]
    assert list(groups.members(size_class, Fullness.FULL)) == [2]
    placed = [world.zspage_of(world.pool.alloc(500)) for _ in range(5)]
    assert placed == [1, 0, 0, 0, 0]
    assert world.pool.alloc(500) > 0
    assert world.pool.pages_nr == 4
    world.check()


# Compaction and shrinker.


def scattered(world, nr_bytes, count, keep):
    """Objects of which only every `keep`-th is left."""
    model = filled(world, nr_bytes, count)
    for n, handle in enumerate(list(model)):
        if n % keep:
            world.pool.free(handle)
            del model[handle]
    return model


@pytest.mark.parametrize("nr_bytes", [100, 500, STRADDLING, 3000])
def test_compaction_leaves_as_few_zspages_as_the_objects_need(nr_bytes):
    world = ZsWorld(nr_blocks=16)
    size_class = class_of(nr_bytes)
    model = scattered(world, nr_bytes, 12 * size_class.nr_objects, keep=5)
    before, most = world.pool.pages_nr, world.pool.count_objects()
    freed = world.pool.compact()
    assert before - world.pool.pages_nr == freed == world.pool.pages_compacted == most > 0
    nr_zspages = -(-len(model) // size_class.nr_objects)
    assert world.pool.pages_nr == nr_zspages * size_class.nr_pages
    assert world.pool.count_objects() == 0
    assert_intact(world, model)
    world.check()
    assert world.pool.compact() == 0


def test_the_shrinker_stops_when_it_has_what_was_asked_for():
    world = ZsWorld(nr_blocks=8)
    model = scattered(world, 500, 64, keep=4)
    assert world.pool.count_objects() == 6
    assert world.pool.scan_objects(2) == 2
    assert (world.pool.pages_nr, world.pool.count_objects()) == (6, 4)
    assert_intact(world, model)


def test_compaction_leaves_mapped_zspages_alone_both_ways():
    world = ZsWorld()
    model = scattered(world, 500, 24, keep=4)
    first, *_, last = model
    mapping = world.pool.map(first)
    place = world.pool.handles.decode(first)
    assert world.pool.compact() == 1
    assert world.pool.handles.decode(first) == place
    assert {world.zspage_of(h) for h in model} == {place[1], world.zspage_of(last)}
    world.pool.unmap(mapping)
    assert world.pool.compact() == 1
    assert_intact(world, model)
    world.check()


def test_compaction_leaves_zspages_under_move_alone():
    world = ZsWorld()
    model = scattered(world, 500, 16, keep=4)
    steps = world.steps(world.pfns_of(next(iter(model))))
    for step in steps:
        if step.name in ("ISOLATE", "FREEZE", "COPY", "MIGRATE"):
            assert world.pool.compact() == 0, step
    assert world.pool.compact() == 1
    assert_intact(world, model)
    world.check()


# Statistics.


def test_statistics_of_classes():
    world = ZsWorld(nr_blocks=8)
    model = filled(world, 500, 20)
    filled(world, STRADDLING, 5)
    for handle in list(model)[:6]:
        world.pool.free(handle)
    small, large = world.pool.class_stats()
    assert (small.nr_bytes, small.pages_used, small.nr_pages_per_zspage) == (512, 3, 1)
    assert (small.obj_allocated, small.obj_used, small.freeable) == (24, 14, 1)
    assert (small.almost_full, small.almost_empty) == (0, 2)
    assert (large.nr_bytes, large.pages_used, large.nr_pages_per_zspage) == (2448, 3, 3)
    assert (large.obj_allocated, large.obj_used, large.freeable) == (5, 5, 0)


# Invariants: each is seen to fail.


def corrupt_zs1(pool):
    pool.zspages.pfn[0, 1] = pool.zspages.pfn[0, 0]


def corrupt_zs1_count(pool):
    pool.zspages.nr_pages += 1


def corrupt_zs2(pool):
    pool.source.frames.refcount[pool.zspages.pfn[0, 0]] = 0


def corrupt_zs3(pool):
    pool.handles.record(0, 0, 3)


def corrupt_zs3_lost(pool):
    pool.handles.add()


def corrupt_zs4(pool):
    pool.zspages.first_free[0] = 0


def corrupt_zs4_lost(pool):
    pool.zspages.first_free[0] = 5


def corrupt_zs5(pool):
    pool.zspages.inuse[0] += 1


def corrupt_zs6(pool):
    pool.groups.unfile(pool.class_at(0), 0, 3)


def corrupt_zs6_count(pool):
    pool.groups.nr_used[pool.class_at(0).index] += 1


def corrupt_zs7(pool):
    pfn, private = pool.zspages.pfn[0, 2], pool.zspages.privates(pool.zspages.page_ids(0))[2]
    pool._registry.unpin(int(pfn), pool.owner, int(private))


def corrupt_zs8(pool):
    pool.zspages.nr_maps[0] = 1


def corrupt_zs8_moving(pool):
    pool.map(pool.handles.encode(0))
    pool.zspages.moving[0, 1] = True


@pytest.mark.parametrize(
    "corrupt",
    [value for name, value in sorted(globals().items()) if name.startswith("corrupt_")],
    ids=lambda corrupt: corrupt.__name__,
)
def test_check_names_what_is_broken(corrupt):
    world = ZsWorld()
    filled(world, STRADDLING, 3)
    world.pool.check()
    corrupt(world.pool)
    with pytest.raises(InvariantError, match=corrupt.__name__.split("_")[1].upper()):
        world.pool.check()
