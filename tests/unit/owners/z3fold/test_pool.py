"""z3fold: arithmetic, lists, handles that stay, and who refuses to move."""

import numpy as np
import pytest

from mm.state.errno import Errno
from mm.state.gfp import Gfp
from owners.pool.handles import NoObjectError
from owners.z3fold.layout import FIRST, LAST, MIDDLE, nr_free_chunks
from owners.z3fold.pool import Z3foldPool
from pinpage.errors import InvariantError, PinpageError
from pinpage.move.steps import Step
from pinpage.owner import Mode, Reason
from pinpage.testing.world import column
from tests.kit.owners.few_frames import FewFrames
from tests.kit.owners.pool_world import noise
from tests.kit.owners.z3_world import Z3World

CHUNK = 64


@pytest.fixture
def world():
    return Z3World()


def three(world, sizes=(20, 10, 15)):
    """First, last and middle object of one page, in the order of allocation."""
    return [world.new(noise(n, chunks * CHUNK)) for n, chunks in enumerate(sizes)]


def slots_of(world, handles):
    return [world.place(handle)[1] for handle in handles]


# Placing objects.


def test_three_objects_share_a_page_first_last_middle(world):
    handles = three(world)
    assert [world.place(h) for h in handles] == [
        (0, FIRST, 128),
        (0, LAST, 4096 - 10 * CHUNK),
        (0, MIDDLE, 128 + 20 * CHUNK),
    ]
    assert world.pool.pages_nr == 1
    world.check()


@pytest.mark.parametrize(
    ("nr_bytes", "errno"), [(0, Errno.EINVAL), (-1, Errno.EINVAL), (4097, Errno.ENOSPC)]
)
def test_sizes_that_are_refused(world, nr_bytes, errno):
    assert world.pool.alloc(nr_bytes) == errno
    assert world.pool.pages_nr == 0


def test_highmem_is_refused(world):
    assert world.pool.alloc(64, Gfp.HIGHMEM) == Errno.EINVAL


@pytest.mark.parametrize(("nr_bytes", "headless"), [(3904, False), (3905, True), (4096, True)])
def test_an_object_that_leaves_no_chunk_beside_it_is_headless(world, nr_bytes, headless):
    handle = world.new(noise(1, nr_bytes))
    assert world.pool.stats().nr_headless == headless
    assert world.place(handle)[2] == (0 if headless else 128)
    assert world.pool.read(handle, nr_bytes) == noise(1, nr_bytes)
    small = world.new(b"x" * CHUNK)
    assert (world.pfn(small) == world.pfn(handle)) is not headless
    world.check()


def test_best_fit_newest_first(world):
    wide = world.new(bytes(20 * CHUNK))
    tight = world.new(bytes(50 * CHUNK))
    other = world.new(bytes(50 * CHUNK))
    assert len({world.pfn(h) for h in (wide, tight, other)}) == 3
    assert world.pfn(world.new(bytes(12 * CHUNK))) == world.pfn(other)
    assert world.pfn(world.new(bytes(13 * CHUNK))) == world.pfn(wide)


def test_an_object_goes_before_the_middle_one_only_if_it_fits_there(world):
    first, last, middle = three(world, (10, 20, 30))
    world.pool.map(middle)  # so that the middle object stays where it is
    world.pool.free(first)
    world.pool.free(last)
    assert world.place(middle)[1:] == (MIDDLE, 128 + 10 * CHUNK)
    assert slots_of(world, [world.new(bytes(11 * CHUNK))]) == [LAST]
    assert slots_of(world, [world.new(bytes(10 * CHUNK))]) == [FIRST]


@pytest.mark.parametrize(
    ("chunks", "start_middle", "free"),
    [
        ((0, 0, 0), 0, 62),
        ((64, 0, 0), 0, 0),
        ((5, 10, 3), 20, 0),  # gaps, but no slot to fill them with
        ((5, 10, 0), 20, 34),
        ((0, 10, 3), 20, 18),
        ((0, 10, 0), 40, 38),
    ],
)
def test_a_gap_counts_if_a_slot_is_free_that_can_take_it(chunks, start_middle, free):
    assert nr_free_chunks(chunks, start_middle) == free


def test_without_memory_there_is_no_object():
    source = FewFrames(2)
    pool = Z3foldPool(source)
    assert pool.alloc(4096) > 0
    assert pool.alloc(64) == Errno.ENOMEM
    pool.check()


# Tidying up.


def test_a_lonely_middle_object_becomes_the_first_and_keeps_its_handle(world):
    first, last, middle = three(world)
    world.pool.free(first)
    world.pool.free(last)
    assert world.place(middle) == (0, FIRST, 128)
    assert world.pool.read(middle, 15 * CHUNK) == noise(2, 15 * CHUNK)
    world.check()


def test_the_middle_object_moves_up_to_the_neighbour_that_stayed(world):
    first, last, middle = three(world)
    world.pool.free(first)
    assert world.place(middle)[1:] == (MIDDLE, 4096 - 25 * CHUNK)
    assert world.pool.read(middle, 15 * CHUNK) == noise(2, 15 * CHUNK)
    assert world.pool.read(last, 10 * CHUNK) == noise(1, 10 * CHUNK)
    assert world.pool.pages.nr_free_chunks(0) == 37
    world.check()


def test_a_small_gap_is_not_worth_a_copy(world):
    first, _, middle = three(world, (2, 40, 15))
    assert world.pool.pages.nr_free_chunks(0) == 0
    world.pool.free(first)
    moved = world.place(middle)
    assert moved[1:] == (MIDDLE, 4096 - 55 * CHUNK)  # 7 chunks to go
    tight = Z3World()
    first, _, middle = three(tight, (1, 45, 15))
    tight.pool.free(first)
    assert tight.place(middle)[1:] == (MIDDLE, 128 + CHUNK)  # 1 chunk to go
    tight.check()


def test_tidying_waits_for_whoever_maps_the_page(world):
    first, last, middle = three(world)
    world.pool.map(last)
    world.pool.free(first)
    assert world.place(middle)[1:] == (MIDDLE, 128 + 20 * CHUNK)
    world.pool.unmap(last)
    assert world.place(middle)[1:] == (MIDDLE, 4096 - 25 * CHUNK)
    assert world.pool.nr_compactions == 1


# Handles and callers' mistakes.


def test_a_handle_that_outlived_its_object_names_nothing(world):
    handle = world.new(b"a" * 100)
    world.pool.free(handle)
    again = world.new(b"b" * 100)
    assert handle != again
    for use in (world.pool.free, world.pool.map, world.pool.unmap):
        with pytest.raises(NoObjectError, match="names no object"):
            use(handle)
    with pytest.raises(NoObjectError):
        world.pool.extents_of(column(handle, again))
    assert (world.pool.is_live(handle), world.pool.is_live(again)) == (False, True)


def test_a_mapped_object_is_not_freed(world):
    handle = world.new(b"a" * 100)
    world.pool.map(handle)
    with pytest.raises(PinpageError, match="unmap first"):
        world.pool.free(handle)
    world.pool.unmap(handle)
    with pytest.raises(PinpageError, match="not mapped"):
        world.pool.unmap(handle)


@pytest.mark.parametrize(("offset", "nr_bytes"), [(-1, 2), (0, 129), (128, 1)])
def test_bytes_beyond_an_object(world, offset, nr_bytes):
    handle = world.new(bytes(100))
    with pytest.raises(PinpageError, match="an object of 128"):
        world.pool.read(handle, nr_bytes, offset)
    with pytest.raises(PinpageError, match="an object of 128"):
        world.pool.write(handle, bytes(max(nr_bytes, 0)), offset)


# Moves.


def test_a_page_of_three_moves_and_no_handle_changes(world):
    handles = three(world)
    before = world.pfn(handles[0])
    assert world.move(before) == [Reason.MOVED]
    assert world.pfn(handles[0]) != before
    for n, (handle, chunks) in enumerate(zip(handles, (20, 10, 15), strict=True)):
        assert world.pool.read(handle, chunks * CHUNK) == noise(n, chunks * CHUNK)
    world.check()


@pytest.mark.parametrize("mode", list(Mode))
def test_success_is_reachable_in_every_mode_with_nothing_in_the_way(world, mode):
    """be03074c9af2: the owner took a lock that its caller held, and no page ever moved."""
    pages = [world.pfn(world.new(noise(n, 40 * CHUNK))) for n in range(6)]
    assert world.move(*pages, mode=mode) == [Reason.MOVED] * 6


@pytest.mark.parametrize("mode", list(Mode))
def test_compaction_of_the_machine_moves_pages_of_the_pool(mode):
    world = Z3World(nr_blocks=8)
    handles = [world.new(noise(n, 3000)) for n in range(30)]
    for handle in handles[::2]:
        world.pool.free(handle)
    homes = [world.pfn(h) for h in handles[1::2]]
    world.machine.compact("plan", mode)
    assert [world.pfn(h) for h in handles[1::2]] != homes
    for n, handle in enumerate(handles):
        if n % 2:
            assert world.pool.read(handle, 3000) == noise(n, 3000)
    world.check()


def test_headless_pages_refuse_for_good(world):
    handle = world.new(noise(1, 4096))
    small = world.new(noise(2, 100))
    reasons = world.move(world.pfn(handle), world.pfn(small))
    assert reasons == [Reason.OWNER_BUSY, Reason.MOVED]
    world.check()


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_page_with_any_object_mapped_refuses_until_it_is_not(world, which):
    handles = three(world)
    world.pool.map(handles[which])
    pfn = world.pfn(handles[0])
    assert world.move(pfn) == [Reason.OWNER_AGAIN]
    world.pool.unmap(handles[which])
    assert world.move(pfn) == [Reason.MOVED]


def test_from_isolation_to_the_end_of_the_move_nobody_touches_the_page(world):
    handle = world.new(noise(1, 1000))
    steps, seen = world.steps(world.pfn(handle)), []
    for step in steps:
        if step is Step.TARGET:
            assert world.pool.map(handle) == Errno.EAGAIN
            assert world.pool.write(handle, b"late") == Errno.EAGAIN
            assert world.place(world.new(bytes(64)))[0] != world.place(handle)[0]
        seen.append((step, world.pool.read(handle, 1000)))
    assert [data for _, data in seen if data != Errno.EAGAIN][-1] == noise(1, 1000)
    assert Step.TARGET in dict(seen)
    assert world.pool.read(handle, 1000) == noise(1, 1000)
    world.check()


def nr_steps():
    world = Z3World()
    return len(list(world.steps(world.pfn(three(world)[0]))))


@pytest.mark.parametrize("freed", [(0,), (1,), (2,), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("at", range(nr_steps()))
def test_objects_may_be_freed_at_every_step_of_a_move(at, freed):
    world = Z3World()
    handles = three(world)
    steps = world.steps(world.pfn(handles[0]))
    for n, _ in enumerate(steps):
        if n == at:
            for which in freed:
                world.pool.free(handles[which])
    world.pool.settle()
    for n, (handle, chunks) in enumerate(zip(handles, (20, 10, 15), strict=True)):
        if n not in freed:
            assert world.pool.read(handle, chunks * CHUNK) == noise(n, chunks * CHUNK)
    assert world.pool.pages_nr == (len(freed) < 3)
    world.check()


def test_without_coverage_nothing_moves():
    world = Z3World(coverage="none")
    assert world.move(world.pfn(world.new(bytes(10)))) == [Reason.NO_CALLBACK]
    assert not world.pool.owner.can_migrate


# Reclaim.


def freeing(order):
    def evict(pool, handle):
        order.append(handle)
        pool.free(handle)
        return 0

    return evict


def test_reclaim_evicts_middle_first_last_of_the_oldest_page(world):
    first, last, middle = three(world)
    newer = world.new(bytes(4096))
    order = []
    world.pool.evict = freeing(order)
    assert world.pool.reclaim_lru_page(8) == Errno.OK
    assert order == [middle, first, last]
    assert world.pool.is_live(newer)
    assert world.pool.reclaim_lru_page(8) == Errno.OK
    assert order[3:] == [newer]
    assert world.pool.reclaim_lru_page(8) == Errno.EINVAL
    world.check()


def test_reclaim_says_why_not(world):
    assert world.pool.reclaim_lru_page(8) == Errno.EINVAL
    handles = three(world)
    assert world.pool.reclaim_lru_page(8) == Errno.EINVAL
    asked = []
    world.pool.evict = lambda _pool, handle: asked.append(handle) or Errno.EEXIST
    assert world.pool.reclaim_lru_page(0) == Errno.EINVAL
    assert world.pool.reclaim_lru_page(3) == Errno.EAGAIN
    assert asked == [handles[2]] * 3  # a failure ends the page's turn
    world.check()


def test_a_page_under_reclaim_neither_moves_nor_takes_objects(world):
    handle = world.new(bytes(64))
    seen = []

    def evict(pool, victim):
        seen.append(world.move(world.pfn(victim)))
        seen.append(world.place(world.new(bytes(64)))[0] != world.place(victim)[0])
        seen.append(pool.reclaim_lru_page(1) if len(seen) < 3 else None)
        return Errno.EAGAIN

    world.pool.evict = evict
    assert world.pool.reclaim_lru_page(1) == Errno.EAGAIN
    assert seen[0] == [Reason.OWNER_AGAIN]
    assert seen[1] is True
    assert world.pool.is_live(handle)
    world.pool.check()


# Adoption.


def adoptable(nr_pages):
    source = FewFrames(64)
    return source, np.array([source.alloc_page() for _ in range(nr_pages)], dtype=np.int64)


def test_adopted_pages_are_as_if_allocated():
    source, pfns = adoptable(4)
    sizes = np.array([[640, 64, 100], [4096, 0, 0], [0, 0, 900], [1000, 0, 0]], dtype=np.int32)
    pool = Z3foldPool(source)
    handles = pool.adopt(pfns, sizes)
    assert ((handles != 0) == (sizes != 0)).all()
    pool.check()
    extents = pool.extents_of(handles[handles != 0])
    offsets = (extents.head % 4096).tolist()
    assert offsets == [128, 128 + 640, 4096 - 128, 0, 4096 - 15 * 64, 128]
    assert (extents.head // 4096).tolist() == np.repeat(pfns, [3, 1, 1, 1]).tolist()
    assert list(pool.lists.lru) == [0, 1, 2, 3]
    assert pool.pages.nr_free_chunks(2) == 47
    assert pool.handles.decode(pool.alloc(47 * 64))[0] == 3 - 1
    for handle in handles[handles != 0].tolist():
        pool.free(handle)
    pool.check()


@pytest.mark.parametrize(
    "sizes",
    [
        [[0, 0, 0]],
        [[4096, 0, 64]],
        [[0, 0, 4096]],
        [[2000, 64, 1921]],
        [[0, 64, 0]],
        [[-1, 0, 0]],
        [[4097, 0, 0]],
        [[64, 0]],
    ],
)
def test_what_does_not_fit_is_not_adopted(sizes):
    source, pfns = adoptable(1)
    pool = Z3foldPool(source)
    with pytest.raises(PinpageError, match="z3fold: adopt"):
        pool.adopt(pfns, np.array(sizes, dtype=np.int32))
    assert pool.pages_nr == 0
    pool.check()


def test_frames_of_others_are_not_adopted():
    source, pfns = adoptable(2)
    pool = Z3foldPool(source)
    one = np.array([[64, 0, 0]], dtype=np.int32)
    with pytest.raises(PinpageError, match="not a plain used frame"):
        pool.adopt(column(60), one)
    with pytest.raises(PinpageError, match="without duplicates"):
        pool.adopt(pfns[[0, 0]], np.repeat(one, 2, axis=0))
    pool.adopt(pfns[:1], one)
    with pytest.raises(PinpageError, match="not a plain used frame"):
        pool.adopt(pfns, np.repeat(one, 2, axis=0))
    pool.check()


# The checks themselves.


@pytest.mark.parametrize(
    ("number", "spoil"),
    [
        ("T1", lambda p: p.pages._id_at.__setitem__(int(p.pages.pfn[0]), 0)),
        ("T2", lambda p: p.source.frames.mapcount.__setitem__(int(p.pages.pfn[0]), 0)),
        ("T3", lambda p: p.lists.lru.clear()),
        ("T3", lambda p: p.lists.unfile(0)),
        ("T4", lambda p: p.handles.record(0, 0, LAST)),
        ("T4", lambda p: p.handles.record(p.handles.add(), 0, FIRST)),
        ("T5", lambda p: p.pages.start_middle.__setitem__(0, 3)),
        ("T7", lambda p: p._registry.unpin(int(p.pages.pfn[0]), p.owner, p.pages.private(0))),
        ("T8", lambda p: (p.pages.moving.__setitem__(0, True), p.pages.nr_maps.fill(1))),
    ],
)
def test_check_notices(world, number, spoil):
    first, _, _ = three(world, (20, 10, 5))
    if number == "T3":
        world.pool.free(first)
    world.pool.check()
    spoil(world.pool)
    with pytest.raises(InvariantError, match=number):
        world.pool.check()
