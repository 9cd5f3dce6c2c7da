"""zswap: store, load, invalidate, writeback and unuse, and who may free an entry."""

import numpy as np
import pytest

from mm.state.errno import Errno
from mm.state.frames import FrameState
from mm.swap.swapops import swp_entry
from owners.compress import Compressor, compressor
from owners.zswap.zswap import BLOB_HEADER_NR_BYTES, Zswap
from pinpage.errors import ContextError, InvariantError, PinpageError
from pinpage.move.steps import run_out
from tests.kit.owners.few_frames import PAGE, FewFrames, live_handles
from tests.kit.owners.zswap_bench import TYPE, ZswapBench, page


@pytest.fixture
def bench():
    return ZswapBench()


@pytest.mark.parametrize("handles", ["indirect", "address"])
def test_what_was_stored_is_loaded_and_stays(handles):
    bench = ZswapBench(handles=handles)
    for offset in range(5):
        assert bench.zswap.store(TYPE, offset, page(offset))
    for offset in (3, 3, 0):
        assert bench.zswap.load(TYPE, offset) == page(offset)
    assert bench.counters.stored_pages == 5
    bench.zswap.check()


def test_a_blob_names_its_swap_entry(bench):
    bench.zswap.store(TYPE, 9, page(1))
    pfn, offset = bench.pool.map(bench.handle(9))
    header = bench.source.contents.read(pfn, offset, BLOB_HEADER_NR_BYTES)
    assert int.from_bytes(header, "little") == swp_entry(TYPE, 9)


def test_without_a_tree_there_is_nothing(bench):
    assert bench.zswap.store_page(2, 0, page(0)) == Errno.ENODEV
    assert bench.zswap.load(2, 0) is None
    assert bench.zswap.load(TYPE, 0) is None
    bench.zswap.invalidate_page(2, 0)
    bench.zswap.invalidate_area(2)
    with pytest.raises(PinpageError, match="set up before"):
        bench.zswap.init(TYPE)


def test_a_second_store_of_a_slot_replaces_the_first(bench):
    bench.zswap.store(TYPE, 4, page(1))
    bench.zswap.store(TYPE, 4, page(2))
    assert bench.zswap.load(TYPE, 4) == page(2)
    assert (bench.counters.duplicate_entry, bench.counters.stored_pages) == (1, 1)
    bench.zswap.check()


def test_invalidation_frees_and_may_come_twice(bench):
    for offset in range(4):
        bench.zswap.store(TYPE, offset, page(offset))
    bench.zswap.invalidate_page(TYPE, 2)
    bench.zswap.invalidate_page(TYPE, 2)
    assert bench.zswap.load(TYPE, 2) is None
    assert bench.counters.stored_pages == 3
    bench.zswap.check()
    bench.zswap.invalidate_area(TYPE)
    assert (bench.counters.stored_pages, bench.pool.pages_nr) == (0, 0)
    assert bench.source.nr_free == 63


def test_rejections_are_counted_by_their_reason(bench):
    noise = np.random.default_rng(1).bytes(PAGE)
    assert bench.zswap.store_page(TYPE, 0, noise) == Errno.ENOSPC
    assert bench.counters.reject_compress_poor == 1
    bench.source.frames.state[bench.source.frames.state == FrameState.FREE] = FrameState.HOLE
    assert bench.zswap.store_page(TYPE, 0, page(0)) == Errno.ENOMEM
    assert bench.counters.reject_alloc_fail == 1
    assert not bench.zswap.store(TYPE, 0, page(0))
    bench.zswap.check()


def test_a_full_pool_writes_its_oldest_page_back():
    bench = ZswapBench(nr_frames=11, max_pool_percent=30)  # ten pages of memory: three for the pool
    for offset in range(7):
        assert bench.zswap.store(TYPE, offset, page(offset, noise=1800))
    assert bench.pool.pages_nr == 4  # full is "more than", and is asked before the store
    assert bench.counters.pool_limit_hit == 0
    assert bench.zswap.store(TYPE, 7, page(7, noise=1800))
    assert (bench.counters.pool_limit_hit, bench.counters.written_back_pages) == (1, 2)
    assert bench.host.disk == {swp_entry(TYPE, n): page(n, noise=1800) for n in (0, 1)}
    assert bench.zswap.load(TYPE, 0) is None
    bench.zswap.check()


def test_t4_eight_failures_and_the_store_is_refused():
    bench = ZswapBench(nr_frames=51, max_pool_percent=18)
    for offset in range(19):
        bench.zswap.store(TYPE, offset, page(offset, noise=1800))
    assert bench.pool.pages_nr == 10
    bench.host.cache_error = Errno.EEXIST
    before = list(bench.pool.lists.lru)
    assert bench.zswap.store_page(TYPE, 99, page(99)) == Errno.ENOMEM
    assert bench.counters.reject_reclaim_fail == 1
    assert len(bench.host.events) == 8
    assert list(bench.pool.lists.lru) == before[8:] + before[:8]
    assert bench.counters.written_back_pages == 0
    bench.zswap.check()


# Writeback, and R-16: the last one frees, whoever that is.


def test_writeback_writes_the_page_and_forgets_it(bench):
    bench.zswap.store(TYPE, 5, page(5))
    assert bench.writeback(5) == Errno.OK
    assert bench.host.disk == {swp_entry(TYPE, 5): page(5)}
    assert (bench.counters.written_back_pages, bench.counters.stored_pages) == (1, 0)
    assert bench.pool.pages_nr == 0


@pytest.mark.parametrize("error", [Errno.ENOMEM, Errno.EEXIST])
def test_writeback_without_a_cache_page_changes_nothing(bench, error):
    bench.zswap.store(TYPE, 5, page(5))
    bench.host.cache_error = error
    assert bench.writeback(5) == error
    assert bench.zswap.load(TYPE, 5) == page(5)
    bench.zswap.check()


def test_writeback_of_a_slot_that_was_invalidated_before_it_looked_is_done(bench):
    bench.zswap.store(TYPE, 5, page(5))
    load = bench.zswap.load_steps(TYPE, 5)  # keeps the object alive
    next(load)
    handle = bench.handle(5)
    bench.zswap.invalidate_page(TYPE, 5)
    assert bench.zswap.writeback_entry(bench.pool, handle) == Errno.OK
    assert bench.host.events == []
    assert run_out(load) == page(5)
    assert bench.counters.stored_pages == 0


@pytest.mark.parametrize("restored", [False, True])
def test_a_slot_that_changed_hands_meanwhile_is_not_written(bench, restored):
    def invalidate(entry):
        bench.zswap.invalidate_page(TYPE, 5)
        if restored:
            bench.zswap.store(TYPE, 5, page(6))

    bench.zswap.store(TYPE, 5, page(5))
    bench.host.on_cache_page = invalidate
    assert bench.writeback(5) == Errno.OK
    assert [event for event, _ in bench.host.events] == ["cache", "drop"]
    assert bench.zswap.load(TYPE, 5) == (page(6) if restored else None)
    assert bench.counters.stored_pages == restored
    bench.zswap.check()


def test_a_failed_writeback_of_an_invalidated_entry_frees_it(bench):
    bench.zswap.store(TYPE, 5, page(5))
    bench.host.cache_error = Errno.EEXIST
    bench.host.on_cache_page = lambda entry: bench.zswap.invalidate_page(TYPE, 5)
    assert bench.writeback(5) == Errno.EEXIST
    assert (bench.counters.stored_pages, bench.pool.pages_nr) == (0, 0)


def every_merge(lengths):
    """Every order of so many steps of each actor."""
    if not any(lengths):
        yield ()
    for actor, left in enumerate(lengths):
        if left:
            rest = tuple(n - (i == actor) for i, n in enumerate(lengths))
            yield from ((actor, *tail) for tail in every_merge(rest))


def test_r16_writeback_load_and_invalidate_in_every_order():
    for order in every_merge((5, 3, 1)):
        bench = ZswapBench(nr_frames=8)
        bench.zswap.store(TYPE, 5, page(5))
        outcome = {}

        def actor(name, steps, outcome=outcome):
            outcome[name] = yield from steps

        def invalidate(zswap=bench.zswap):
            zswap.invalidate_page(TYPE, 5)
            yield

        reclaim = bench.pool.reclaim_steps(0, lambda pool, handle: 0)
        next(reclaim)
        actors = [
            actor("writeback", bench.zswap.writeback_steps(bench.pool, bench.handle(5))),
            actor("load", bench.zswap.load_steps(TYPE, 5)),
            invalidate(),
        ]
        for who in order:
            next(actors[who], None)
        list(reclaim)
        assert outcome["load"] in (page(5), None), order
        assert outcome["writeback"] in (Errno.OK, Errno.EAGAIN), order
        assert (bench.counters.stored_pages, bench.pool.pages_nr) == (0, 0), order
        assert bench.source.nr_free == 7, order
        bench.zswap.check()


def test_a_load_in_progress_frees_what_writeback_wrote(bench):
    bench.zswap.store(TYPE, 5, page(5))
    load = bench.zswap.load_steps(TYPE, 5)
    next(load)
    assert bench.writeback(5) == Errno.EAGAIN
    assert bench.counters.stored_pages == 1
    assert run_out(load) == page(5)
    assert (bench.counters.stored_pages, bench.pool.pages_nr) == (0, 0)


def test_a_load_of_a_page_under_our_own_move_is_a_mistake(bench, monkeypatch):
    monkeypatch.setattr("owners.pool.wait.time.sleep", lambda _: pytest.fail("it waits"))
    bench.zswap.store(TYPE, 5, page(5))
    bench.pool.pages.set_moving([0], moving=True)
    with pytest.raises(ContextError, match="under move"):
        bench.zswap.load(TYPE, 5)
    bench.pool.pages.moving[0] = False
    bench.zswap.invalidate_page(TYPE, 5)
    assert (bench.counters.stored_pages, bench.pool.pages_nr) == (0, 0)


def test_a_store_that_is_given_up_keeps_no_object(bench, monkeypatch):
    monkeypatch.setattr(bench.pool, "write", lambda *_: Errno.EAGAIN)
    monkeypatch.setattr("owners.pool.wait.time.sleep", lambda _: None)
    with pytest.raises(ContextError, match="under move"):
        bench.zswap.store(TYPE, 5, page(5))
    assert (bench.counters.stored_pages, bench.pool.pages_nr) == (0, 0)


def test_a_writeback_that_is_given_up_keeps_neither_page_nor_entry(bench):
    bench.zswap.store(TYPE, 5, page(5))

    def begin_to_move(_entry):
        bench.pool.pages.set_moving([0], moving=True)

    bench.host.on_cache_page = begin_to_move
    with pytest.raises(ContextError, match="under move"):
        bench.writeback(5)
    assert bench.host.events[-1] == ("drop", swp_entry(TYPE, 5))
    bench.pool.pages.moving[0] = False
    bench.zswap.invalidate_page(TYPE, 5)
    assert (bench.counters.stored_pages, bench.pool.pages_nr) == (0, 0)


# Unuse


def test_unused_pages_counts_attempts_and_a_dying_area_is_none(bench):
    bench.zswap.store(TYPE, 5, page(5))
    handle = bench.handle(5)
    bench.host.on_unuse = lambda entry: Errno.ENOMEM
    assert bench.zswap.unuse_entry(bench.pool, handle) == Errno.ENOMEM
    assert bench.counters.unused_pages == 1
    bench.host.writeok = False
    assert bench.zswap.unuse_entry(bench.pool, handle) == Errno.ECANCELED
    assert bench.counters.unused_pages == 1
    assert bench.host.events == [("unuse", swp_entry(TYPE, 5))]
    assert bench.host.nr_holders == 0


def test_an_object_of_another_pool_is_a_bug_of_ours(bench):
    bench.zswap.store(TYPE, 5, page(5))
    other = bench.zswap.init(0)
    handle = other.alloc(64)
    pfn, offset = other.map(handle)
    bench.source.contents.write(pfn, swp_entry(TYPE, 5).to_bytes(8, "little"), offset)
    other.unmap(handle)
    with pytest.raises(InvariantError, match="E4"):
        bench.zswap.unuse_entry(other, handle)


def test_without_a_host_nothing_leads_out():
    zswap = Zswap(FewFrames(8), compressor("zlib"))
    pool = zswap.init(0)
    zswap.store(0, 1, page(1))
    (handle,) = live_handles(pool)
    with pytest.raises(PinpageError, match="host=None"):
        zswap.writeback_entry(pool, handle)


# Bulk


def adopted(bench, count=6):
    """`count` stored pages, adopted; what they are as {offset: compressed}."""
    blobs = {n: compressor("zlib").compress(page(n)) for n in range(count)}
    sizes = np.array([len(blob) + BLOB_HEADER_NR_BYTES for blob in blobs.values()], np.int32)
    pfns = np.array([bench.source.alloc_page() for _ in range(count // 2)])
    first, last = bench.pool.adopt(pfns, sizes[: count // 2], sizes[count // 2 :])
    handles = np.concatenate((first, last))
    bench.zswap.fill(TYPE, np.arange(count), handles, list(blobs.values()))
    return blobs


def test_adopted_pages_load_and_read_back(bench):
    blobs = adopted(bench)
    bench.zswap.check()
    assert {(t, n): blob for t, n, blob in bench.zswap.read_back()} == {
        (TYPE, n): blob for n, blob in blobs.items()
    }
    assert [bench.zswap.load(TYPE, n) for n in range(6)] == [page(n) for n in range(6)]
    bench.zswap.invalidate_area(TYPE)
    assert bench.pool.pages_nr == 0


def test_adoption_refuses_before_anything_changed(bench):
    adopted(bench)
    handles = np.array([bench.pool.alloc(100)])
    for offsets, lengths, message in (([2], [50], "stored already"), ([7], [200], "larger than")):
        with pytest.raises(PinpageError, match=message):
            bench.zswap.adopt(TYPE, np.array(offsets), handles, np.array(lengths, np.int32))
    with pytest.raises(PinpageError, match="differ in number"):
        bench.zswap.adopt(TYPE, np.array([7, 8]), handles, np.array([1], np.int32))
    with pytest.raises(PinpageError, match=r"init\(3\)"):
        bench.zswap.adopt(3, np.array([7]), handles, np.array([1], np.int32))
    assert bench.counters.stored_pages == 6


@pytest.mark.parametrize(
    ("invariant", "breaks"),
    [
        ("E1", lambda b: b.zswap._entries.offset.fill(3)),
        ("E1", lambda b: b.zswap._entries.refcount.fill(0)),
        ("E2", lambda b: setattr(b.counters, "stored_pages", 9)),
        ("E3", lambda b: b.zswap._entries.handle.fill(b.handle(0))),
        ("E4", lambda b: b.source.contents.pages.fill(0)),
        ("E4", lambda b: b.zswap._entries.length.fill(3900)),
    ],
)
def test_check_names_the_broken_invariant(bench, invariant, breaks):
    for offset in range(3):
        bench.zswap.store(TYPE, offset, page(offset))
    breaks(bench)
    with pytest.raises(InvariantError, match=invariant):
        bench.zswap.check()


def test_a_double_put_is_found(bench):
    bench.zswap.store(TYPE, 5, page(5))
    row = bench.zswap._trees[TYPE].rows[5]
    bench.zswap._entries.put(row)
    with pytest.raises(InvariantError, match="E1"):
        bench.zswap._entries.put(row)


def test_the_compressor_is_the_one_given():
    zswap = Zswap(FewFrames(8), Compressor("rot", lambda p: p[:40], lambda d: d * 102 + d[:16]))
    zswap.init(0)
    zswap.store(0, 1, b"0123456789" * 409 + b"012345")
    assert zswap.load(0, 1) == bytes(b"0123456789" * 4) * 102 + b"0123456789012345"
