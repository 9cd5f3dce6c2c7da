"""zbud: where objects go, how long pages live, what reclaim returns."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mm.state.errno import Errno
from mm.state.frames import MAPCOUNT_NONE, MAPCOUNT_ZBUD, FrameState
from mm.state.gfp import Gfp
from owners.pool.pages import CHUNK_NR_BYTES
from owners.zbud.pool import ZbudOps, ZbudPool
from pinpage.errors import InvariantError, PinpageError
from pinpage.registry import PinRegistry
from pinpage.testing.world import column
from pinpage.topology import Topology
from tests.kit.owners.few_frames import PAGE, FewFrames, fill, live_handles


@pytest.fixture(params=["indirect", "address"])
def pool(request):
    return ZbudPool(FewFrames(32), handles=request.param)


def chunks(count):
    return count * CHUNK_NR_BYTES


def page_of(pool, handle):
    return pool.handles.decode(handle)[0]


def refcount(pool, page_id):
    return int(pool.source.frames.refcount[pool.pages.pfn[page_id]])


def unbuddied(pool):
    """Which unbuddied lists hold which pages, head first."""
    return {k: list(reversed(pages)) for k, pages in enumerate(pool.lists.unbuddied) if k and pages}


def lru(pool):
    """Pages of the LRU, head (newest) first."""
    return list(reversed(pool.lists.lru))


# T1


def test_t1_sizes_and_error_codes(pool):
    assert pool.alloc(3968) > 0
    assert pool.alloc(3969) == Errno.ENOSPC
    assert pool.alloc(0) == Errno.EINVAL
    assert pool.alloc(-1) == Errno.EINVAL
    assert pool.alloc(64, Gfp.HIGHMEM) == Errno.EINVAL
    assert pool.pages_nr == 1


def test_no_page_to_be_had():
    pool = ZbudPool(FewFrames(2))
    assert pool.alloc(3968) > 0
    assert pool.alloc(3968) == Errno.ENOMEM
    pool.check()


# T2


def test_t2_list_placement(pool):
    first = pool.alloc(chunks(20))
    page = page_of(pool, first)
    assert unbuddied(pool) == {43: [page]}
    last = pool.alloc(chunks(43))
    assert pool.handles.decode(last) == (page, 1)
    assert unbuddied(pool) == {}
    assert list(pool.lists.unbuddied[0]) == [page]
    pool.free(first)
    assert unbuddied(pool) == {20: [page]}
    pool.free(last)
    assert (unbuddied(pool), pool.pages_nr, lru(pool)) == ({}, 0, [])
    assert pool.source.nr_free == 31


def test_t2_a_lone_small_object_is_in_list_62(pool):
    page = page_of(pool, pool.alloc(1))
    assert unbuddied(pool) == {62: [page]}


def test_best_fit_across_lists_and_newest_first_within_one(pool):
    roomy, older, newer = (page_of(pool, pool.alloc(chunks(n))) for n in (40, 53, 53))
    assert unbuddied(pool) == {23: [roomy], 10: [newer, older]}
    assert page_of(pool, pool.alloc(chunks(11))) == roomy
    assert page_of(pool, pool.alloc(chunks(10))) == newer
    assert page_of(pool, pool.alloc(chunks(9))) == older


def test_the_freed_first_slot_is_used_again(pool):
    first = pool.alloc(chunks(10))
    page = page_of(pool, first)
    pool.alloc(chunks(10))
    pool.free(first)
    assert pool.handles.decode(pool.alloc(chunks(30))) == (page, 0)
    pool.check()


def test_alloc_moves_to_the_lru_head_and_free_does_not(pool):
    handles = [pool.alloc(chunks(40)) for _ in range(3)]
    a, b, c = (page_of(pool, handle) for handle in handles)
    assert lru(pool) == [c, b, a]
    small = pool.alloc(chunks(23))
    assert page_of(pool, small) == c
    small = pool.alloc(chunks(23))
    assert (page_of(pool, small), lru(pool)) == (b, [b, c, a])
    pool.free(small)
    assert lru(pool) == [b, c, a]


# T3


def evictor(calls, *, failing=(), also=None):
    """An evict callback that frees the object, and notes refcount after each call."""

    def evict(pool, handle):
        page = page_of(pool, handle)
        if also is not None:
            also(pool, handle)
        if handle in failing:
            calls.append((handle, refcount(pool, page)))
            return Errno.EEXIST
        pool.free(handle)
        calls.append((handle, refcount(pool, page) if pool.pages.pfn[page] >= 0 else 0))
        return 0

    return evict


def test_t3_references_of_a_page_from_first_object_to_last_put(pool):
    calls, seen = [], []
    first = pool.alloc(chunks(20))
    page, pfn = page_of(pool, first), int(pool.pages.pfn[page_of(pool, first)])
    assert refcount(pool, page) == 1
    last = pool.alloc(chunks(20))
    assert refcount(pool, page) == 2
    at_start = evictor(calls, also=lambda pool, handle: seen.append(refcount(pool, page)))
    pool.ops = ZbudOps(evict=at_start)
    assert pool.reclaim_lru_page(8) == Errno.OK
    assert seen == [3, 2]
    assert calls == [(first, 2), (last, 1)]
    assert pool.source.frames.state[pfn] == FrameState.FREE
    assert pool.source.frames.mapcount[pfn] == MAPCOUNT_NONE
    assert pool.pages_nr == 0
    pool.check()


def test_t3_emptied_page_is_on_no_list_while_reclaim_holds_it(pool):
    handle = pool.alloc(chunks(20))
    page = page_of(pool, handle)
    steps = pool.reclaim_steps(page, evictor([]))
    next(steps)
    next(steps)
    assert (lru(pool), unbuddied(pool), refcount(pool, page)) == ([], {}, 1)
    pool.check()
    assert list(steps)[-1] is True


def test_t3_an_outsider_keeps_the_page_and_reclaim_still_succeeds(pool):
    handle = pool.alloc(chunks(20))
    pfn = int(pool.pages.pfn[page_of(pool, handle)])
    pool.source.get_page(pfn)
    calls = []
    pool.ops = ZbudOps(evict=evictor(calls))
    assert pool.reclaim_lru_page(8) == Errno.OK
    assert len(calls) == 1
    assert not pool.lock._lock.locked()  # as posted, this success left the lock held
    assert pool.source.frames.refcount[pfn] == 1
    assert pool.source.put_page(pfn)


def test_an_outsider_and_a_single_try_is_no_success(pool):
    handle = pool.alloc(chunks(20))
    pool.source.get_page(int(pool.pages.pfn[page_of(pool, handle)]))
    pool.ops = ZbudOps(evict=evictor([]))
    assert pool.reclaim_lru_page(1) == Errno.EAGAIN


# T4


def test_t4_a_failure_on_first_skips_last_and_the_next_tail_is_tried(pool):
    handles = [pool.alloc(chunks(31)) for _ in range(20)]  # ten pages of two
    pages = [page_of(pool, handle) for handle in handles[::2]]
    assert lru(pool) == pages[::-1]
    calls = []
    pool.ops = ZbudOps(evict=evictor(calls, failing=set(handles[::2])))
    assert pool.reclaim_lru_page(8) == Errno.EAGAIN
    assert calls == [(handle, 3) for handle in handles[:16:2]]
    assert lru(pool) == [*pages[:8][::-1], *pages[8:][::-1]]
    assert [refcount(pool, page) for page in pages] == [2] * 10
    assert pool.nr_callback_failures == 8
    pool.check()


def test_t4_a_failure_on_last_keeps_half_a_page(pool):
    first, last = pool.alloc(chunks(31)), pool.alloc(chunks(31))
    page = page_of(pool, first)
    pool.ops = ZbudOps(evict=evictor([], failing={last}))
    assert pool.reclaim_lru_page(1) == Errno.EAGAIN
    assert live_handles(pool) == {last}
    assert (unbuddied(pool), refcount(pool, page)) == ({32: [page]}, 1)


def test_reclaim_without_callback_pages_or_tries_is_einval(pool):
    pool.ops = ZbudOps(evict=evictor([]))
    assert pool.reclaim_lru_page(8) == Errno.EINVAL
    pool.alloc(64)
    assert pool.reclaim_lru_page(0) == Errno.EINVAL
    pool.ops = ZbudOps()
    assert pool.reclaim_lru_page(8) == Errno.EINVAL


# Races over a callback: whatever another actor does while the lock is dropped, it can do here.


def test_r3_objects_freed_under_a_reclaim_do_not_free_its_page(pool):
    first, last = pool.alloc(chunks(20)), pool.alloc(chunks(20))
    page = page_of(pool, first)
    calls = []
    steps = pool.reclaim_steps(page, evictor(calls))
    next(steps)
    pool.free(first)
    pool.free(last)
    assert pool.pages.pfn[page] >= 0
    assert list(steps)[-1] is True
    assert calls == []
    pool.check()


def test_r4_an_object_that_took_a_dead_one_s_slot_is_not_evicted(pool):
    first, last = pool.alloc(chunks(31)), pool.alloc(chunks(31))
    page = page_of(pool, first)
    calls = []
    steps = pool.reclaim_steps(page, evictor(calls))
    next(steps)
    pool.free(last)
    again = pool.alloc(chunks(31))
    assert pool.handles.decode(again) == (page, 1)
    assert list(steps)[-1] is False
    assert [handle for handle, _ in calls] == [first]
    assert live_handles(pool) == {again}


def test_r5_r6_as_posted_a_page_under_reclaim_is_picked_again_and_takes_objects(pool):
    handle = pool.alloc(chunks(20))
    page = page_of(pool, handle)
    steps = pool.reclaim_steps(page, evictor([]))
    next(steps)
    assert page_of(pool, pool.alloc(chunks(20))) == page
    pool.ops = ZbudOps(evict=evictor([]))
    assert pool.reclaim_lru_page(1) == Errno.EAGAIN  # the first reclaimer still holds it
    assert refcount(pool, page) == 1
    list(steps)
    assert pool.pages_nr == 0


def test_r5_r6_an_exclusive_pool_leaves_a_page_under_reclaim_alone():
    pool = ZbudPool(FewFrames(8), exclusive=True)
    handle = pool.alloc(chunks(20))
    page = page_of(pool, handle)
    pool.ops = ZbudOps(evict=evictor([]))
    steps = pool.reclaim_steps(page, pool.ops.evict)
    next(steps)
    assert page_of(pool, pool.alloc(chunks(20))) != page
    pool.reclaim_lru_page(1)
    assert live_handles(pool) == {handle}
    assert list(steps)[-1] is True


# Moves, as far as the pool's own users can tell.


@pytest.fixture
def movable():
    return ZbudPool(FewFrames(16))


def private_of(pool, page):
    return pool.pages.private(page)


def move(pool, page):
    target = pool.source.new_target()
    pfn = int(pool.pages.pfn[page])
    return pool.source.move(pool.owner, pfn, private_of(pool, page), target)


def read(pool, handle, nr_bytes):
    pfn, offset = pool.map(handle)
    data = pool.source.contents.read(pfn, offset, nr_bytes)
    pool.unmap(handle)
    return data


def test_a_move_changes_no_handle_no_list_and_no_byte(movable):
    handles = [movable.alloc(chunks(n)) for n in (20, 20, 40, 50)]
    for number, handle in enumerate(handles):
        fill(movable, handle, bytes([number]) * 700)
    before = lru(movable), unbuddied(movable), list(movable.lists.unbuddied[0])
    for page in lru(movable):
        assert move(movable, page)
    assert (lru(movable), unbuddied(movable), list(movable.lists.unbuddied[0])) == before
    assert [read(movable, h, 700) for h in handles] == [bytes([n]) * 700 for n in range(4)]
    assert movable.source.nr_free == 15 - 3
    movable.check()


def test_a_page_under_move_takes_no_object_and_no_reclaim(movable):
    handle = movable.alloc(chunks(20))
    page = page_of(movable, handle)
    pfns, privates = column(movable.pages.pfn[page]), column(private_of(movable, page))
    movable.owner.isolate_many(pfns, privates, 0)
    assert page_of(movable, movable.alloc(chunks(20))) != page
    movable.ops = ZbudOps(evict=evictor([]))
    assert movable.reclaim_lru_page(1) == Errno.OK
    assert movable.reclaim_lru_page(8) == Errno.EAGAIN
    assert movable.map(handle) == Errno.EAGAIN
    assert movable.read(handle, 8) == Errno.EAGAIN
    assert live_handles(movable) == {handle}
    movable.owner.putback_many(pfns, privates)
    assert movable.map(handle) != Errno.EAGAIN


def test_a_fresh_page_under_our_callers_own_move_is_given_back():
    """Waiting for that move would be waiting for ourselves, and an unpinned page is no page."""
    registry = PinRegistry(Topology.uniform(nr_frames=8))
    source = FewFrames(8)
    pool = ZbudPool(source, registry=registry)
    everything = np.arange(8)
    registry.marks.begin_move(everything)
    assert pool.alloc(chunks(20)) == Errno.ENOMEM
    assert (pool.pages_nr, source.nr_free, len(registry)) == (0, 7, 0)
    registry.marks.end_move(everything)
    assert pool.alloc(chunks(20)) > 0
    assert len(registry) == 1
    pool.check()


def test_who_waits_for_a_move_does_not_hold_the_pool():
    registry = PinRegistry(Topology.uniform(nr_frames=8))
    pool = ZbudPool(FewFrames(8), registry=registry)
    everything = np.arange(8)
    registry.marks.begin_move(everything)
    with ThreadPoolExecutor(1) as other:
        waiting = other.submit(pool.alloc, chunks(40))
        while not pool.pages_nr and not waiting.done():
            time.sleep(0.001)
        free = pool.lock._lock.acquire(timeout=1)
        if free:
            pool.lock._lock.release()
        is_waiting = not waiting.done()
        registry.marks.end_move(everything)
        assert waiting.result(timeout=10) > 0
    assert (free, is_waiting) == (True, True)
    pool.check()


def begin_move(pool, page):
    """Isolate, freeze and copy; what is left of the move is migrate and rekey."""
    source, target = int(pool.pages.pfn[page]), pool.source.new_target()
    pool.source.take(source)
    pool.owner.isolate_many(column(source), column(private_of(pool, page)), 0)
    pool.source.freeze(source)
    pool.source.contents.copy(column(source), column(target))
    return source, target


def test_an_object_freed_while_the_count_is_frozen_dies_with_the_next_use(movable):
    first, last = movable.alloc(chunks(20)), movable.alloc(chunks(20))
    page = page_of(movable, first)
    source, target = begin_move(movable, page)
    movable.free(first)
    assert live_handles(movable) == {last}
    movable.owner.migrate_many(column(source), column(private_of(movable, page)), column(target))
    movable.free(last)  # not yet rekeyed: the count is still at the source
    assert movable.pages_nr == 1
    movable.source.rekey(source, target)
    movable.settle()
    assert movable.pages_nr == 0
    assert movable.source.nr_free == 15
    movable.check()


def test_between_migrate_and_rekey_the_page_takes_no_object(movable):
    handle = movable.alloc(chunks(20))
    page = page_of(movable, handle)
    source, target = begin_move(movable, page)
    movable.owner.migrate_many(column(source), column(private_of(movable, page)), column(target))
    assert page_of(movable, movable.alloc(chunks(20))) != page
    movable.source.rekey(source, target)
    movable.check()


# Adoption


def used(source, count):
    return np.array([source.alloc_page() for _ in range(count)], dtype=np.int64)


def test_adoption_is_what_allocation_would_have_made(pool):
    pfns = used(pool.source, 4)
    first, last = pool.adopt(
        pfns, np.array([1280, 640, 0, 64], np.int32), np.array([1280, 0, 100, 3840], np.int32)
    )
    assert [list(map(bool, column)) for column in (first.tolist(), last.tolist())] == [
        [True, True, False, True],
        [True, False, True, True],
    ]
    assert pool.source.frames.refcount[pfns].tolist() == [2, 1, 1, 2]
    assert (pool.source.frames.mapcount[pfns] == MAPCOUNT_ZBUD).all()
    a, b, c, d = pool.pages.ids_at(pfns).tolist()
    assert lru(pool) == [d, c, b, a]
    assert list(pool.lists.unbuddied[0]) == [a, d]
    assert unbuddied(pool) == {53: [b], 61: [c]}
    assert live_handles(pool) == {*first.tolist(), *last.tolist()} - {0}
    pool.check()
    for handle in live_handles(pool):
        pool.free(handle)
    assert (pool.pages_nr, pool.source.nr_free) == (0, 31)


@pytest.mark.parametrize(
    ("first", "last", "message"),
    [
        ([0], [0], "do not fit"),
        ([3969], [0], "do not fit"),
        ([2048], [2048], "do not fit"),
        ([-1], [64], "do not fit"),
    ],
)
def test_sizes_that_no_page_has_are_refused_before_anything_changed(pool, first, last, message):
    pfns = used(pool.source, 1)
    with pytest.raises(PinpageError, match=message):
        pool.adopt(pfns, np.array(first, np.int32), np.array(last, np.int32))
    assert (pool.pages_nr, pool.source.frames.mapcount[pfns[0]]) == (0, MAPCOUNT_NONE)


def test_frames_that_are_somebody_s_are_refused(pool):
    sizes = np.array([64], np.int32)
    with pytest.raises(PinpageError, match="pfn 0x9"):
        pool.adopt(column(9), sizes, sizes)
    pfns = used(pool.source, 1)
    pool.adopt(pfns, sizes, sizes)
    with pytest.raises(PinpageError, match="pfn 0x1"):
        pool.adopt(pfns, sizes, sizes)
    more = used(pool.source, 1).repeat(2)
    with pytest.raises(PinpageError, match="without duplicates"):
        pool.adopt(more, sizes.repeat(2), sizes.repeat(2))


# Mistakes


def test_handles_of_the_dead_are_refused(pool):
    handle = pool.alloc(64)
    pool.free(handle)
    for call in (pool.free, pool.map, pool.unmap):
        with pytest.raises(PinpageError, match="names no object"):
            call(handle)
    assert not pool.is_live(handle)


def test_unmap_needs_a_map(pool):
    handle = pool.alloc(64)
    with pytest.raises(PinpageError, match="not mapped"):
        pool.unmap(handle)


def test_a_mapped_object_is_not_freed_and_its_neighbour_is(pool):
    first, last = pool.alloc(64), pool.alloc(64)
    pool.map(first)
    with pytest.raises(PinpageError, match="unmap first"):
        pool.free(first)
    pool.free(last)
    pool.unmap(first)
    pool.free(first)
    assert pool.pages_nr == 0


def test_address_handles_cannot_be_declared_movable():
    with pytest.raises(PinpageError, match="needs handles='indirect'"):
        ZbudPool(FewFrames(4), handles="address", coverage="migrate")
    with pytest.raises(PinpageError, match="use 'indirect'"):
        ZbudPool(FewFrames(4), handles="radix")


# check() finds what it says it finds


@pytest.mark.parametrize(
    ("invariant", "breaks"),
    [
        ("Z1", lambda pool: pool.pages._id_at.fill(0)),
        ("Z2", lambda pool: pool.source.frames.mapcount.fill(-1)),
        ("Z2", lambda pool: pool.source.frames.refcount.fill(1)),
        ("Z3", lambda pool: pool.lists.lru.clear()),
        ("Z4", lambda pool: pool.lists.unbuddied[0].update({7: None})),
        ("Z4", lambda pool: pool.lists.unbuddied[3].update(pool.lists.unbuddied[0])),
        ("Z5", lambda pool: pool.pages.chunks.__setitem__((0, 0), 60)),
        ("Z6", lambda pool: setattr(pool.pages, "nr_pages", 7)),
        ("Z8", lambda pool: (pool.pages.nr_maps.fill(1), pool.pages.moving.fill(True))),
    ],
)
def test_check_names_the_broken_invariant(invariant, breaks):
    pool = ZbudPool(FewFrames(8))
    pool.alloc(chunks(20))
    pool.alloc(chunks(20))
    pool.check()
    breaks(pool)
    with pytest.raises(InvariantError, match=invariant):
        pool.check()


def test_objects_lie_where_the_layout_says():
    pool = ZbudPool(FewFrames(8))
    first, last = pool.alloc(chunks(20)), pool.alloc(chunks(3))
    pfn, offset = pool.map(first)
    assert (offset, pool.map(last)) == (64, (pfn, PAGE - 192))
    extents = pool.extents_of(np.array([last, first]))
    assert extents.head.tolist() == [pfn * PAGE + PAGE - 192, pfn * PAGE + 64]
    assert extents.nr_bytes.tolist() == [192, 1280]
