"""The 2013 design: which frames it answers for, and what release comes to."""

import numpy as np
import pytest

from mm.move.design import Answer
from mm.state.errno import Errno
from mm.state.frames import FrameState
from owners.zbud.pool import ZbudOps, ZbudPool
from owners.zbud.reclaim import ZbudReclaim
from owners.zswap.zswap import Zswap
from pinpage.move.steps import GivenTargets
from pinpage.owner import Mode, Reason
from pinpage.testing.world import column
from tests.kit.owners.few_frames import FewFrames
from tests.kit.owners.zswap_bench import TYPE, ZswapBench, page


@pytest.fixture(params=["indirect", "address"])
def bench(request):
    """Stored pages 0..5, two each in frames 1, 2 and 3; unuse invalidates, as swap does."""
    bench = ZswapBench(handles=request.param)
    for offset in range(6):
        bench.zswap.store(TYPE, offset, page(offset, noise=1800))
    bench.host.on_unuse = lambda entry: unuse(bench, entry)
    bench.design = ZbudReclaim(bench.source, bench.zswap.pools)
    return bench


def unuse(bench, entry, failing=()):
    offset = entry & 0xFF
    if offset in failing:
        return Errno.ENOMEM
    bench.zswap.invalidate_page(TYPE, offset)
    return Errno.OK


def release(bench, *pfns):
    reasons = bench.design.release(column(*pfns), Mode.SYNC).tolist()
    bench.zswap.check()
    return [Reason(reason) for reason in reasons]


def test_only_zbud_frames_are_claimed_and_released(bench):
    other = bench.source.alloc_page()
    assert bench.design.claims(0, 6).tolist() == [False, True, True, True, False, False]
    answers, reasons = bench.design.ask(column(2, other), Mode.SYNC)
    assert answers.tolist() == [Answer.RELEASE, Answer.NO]
    assert reasons[1] == Reason.NO_OWNER
    report = bench.design.move(column(2), GivenTargets(column(9)), Mode.SYNC)
    assert (report.reasons.tolist(), report.targets.tolist()) == ([Reason.NO_CALLBACK], [-1])


def test_release_unuses_first_then_last_and_frees_the_frame(bench):
    assert release(bench, 2, 1) == [Reason.RELEASED, Reason.RELEASED]
    assert [entry & 0xFF for _, entry in bench.host.events] == [2, 3, 0, 1]
    assert bench.source.frames.state[[1, 2, 3]].tolist() == [
        FrameState.FREE, FrameState.FREE, FrameState.USED,
    ]  # fmt: skip
    assert bench.counters.unused_pages == 4


def test_t7_a_failure_on_last_keeps_the_page_and_reaches_nobody(bench):
    bench.host.on_unuse = lambda entry: unuse(bench, entry, failing={1})
    assert release(bench, 1) == [Reason.OWNER_BUSY]
    assert bench.counters.unused_pages == 2
    assert next(reversed(bench.pool.lists.lru)) == bench.pool.pages.id_at(1)
    assert bench.source.frames.refcount[1] == 1
    assert bench.pool.nr_callback_failures == 1
    assert bench.zswap.load(TYPE, 0) is None
    assert bench.zswap.load(TYPE, 1) == page(1, noise=1800)


def test_t7_a_failure_on_first_skips_last(bench):
    bench.host.on_unuse = lambda entry: unuse(bench, entry, failing={0})
    assert release(bench, 1) == [Reason.OWNER_BUSY]
    assert bench.counters.unused_pages == 1
    assert bench.source.frames.refcount[1] == 2


def test_t7_a_dying_area_cancels_and_counts_nothing(bench):
    bench.host.writeok = False
    assert release(bench, 1) == [Reason.OWNER_BUSY]
    assert (bench.counters.unused_pages, bench.host.events) == (0, [])


def test_frames_that_cannot_be_taken_are_left_alone(bench):
    other = bench.source.alloc_page()
    bench.source.frames.isolated[2] = True
    before = bench.source.frames.refcount.tolist()
    assert release(bench, 2, other, 9) == [
        Reason.ALREADY_ISOLATED, Reason.NO_OWNER, Reason.RACED_FREE,
    ]  # fmt: skip
    bench.source.frames.isolated[2] = False
    assert bench.source.frames.refcount.tolist() == before


def test_a_page_emptied_by_an_earlier_one_s_objects_is_only_put(bench):
    def both(entry):
        for offset in range(6):
            bench.zswap.invalidate_page(TYPE, offset)
        return Errno.OK

    bench.host.on_unuse = both
    assert release(bench, 1, 3) == [Reason.RELEASED, Reason.RELEASED]
    assert len(bench.host.events) == 1
    assert bench.source.nr_free == 63


def test_an_outsider_keeps_the_emptied_frame(bench):
    bench.source.get_page(1)
    assert release(bench, 1) == [Reason.UNACCOUNTED]
    assert bench.source.frames.state[1] == FrameState.USED
    assert bench.source.put_page(1)


def test_a_pool_without_unuse_keeps_its_pages():
    source = FewFrames(8)
    pool = ZbudPool(source, ops=ZbudOps(evict=lambda pool, handle: 0))
    pool.alloc(64)
    reasons = ZbudReclaim(source, [pool]).release(column(1), Mode.SYNC)
    assert reasons.tolist() == [Reason.OWNER_BUSY]
    assert source.frames.refcount[1] == 1


def test_locks_are_the_pools_and_later_pools_are_known(bench):
    assert bench.design.lock_acquisitions == bench.pool.lock.acquisitions > 0
    second = bench.zswap.init(2)
    second.alloc(64)
    assert bench.design.lock_acquisitions == (
        bench.pool.lock.acquisitions + second.lock.acquisitions
    )
    assert isinstance(bench.zswap, Zswap)
    assert np.count_nonzero(bench.design.claims(0, 64)) == 4
