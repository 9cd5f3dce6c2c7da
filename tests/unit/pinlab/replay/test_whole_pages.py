"""Pages of several frames in a recording are pages of several frames in its replay."""

import numpy as np
import pytest
from attrs import evolve

from mm.state.frames import PageFlag
from pinlab.compare.compare import compare
from pinlab.compare.results import Run
from pinlab.procfs.infer import maximal_orders
from pinlab.replay.corpus import Corpus
from pinlab.replay.owners import check_movable, movable_owners
from pinlab.replay.replay import class_counts, replay
from pinlab.replay.whole_pages import huge_pages, large_folios
from pinlab.requests.report import RequestOptions
from pinlab.requests.run import run_request
from pinlab.snapshot.classes import STATE_OF_CLASS, FrameClass
from pinpage.errors import PinpageError
from tests.kit.pinlab.small import BLOCK, small_recording

HEAD, TAIL = PageFlag.COMPOUND_HEAD.mask, PageFlag.COMPOUND_TAIL.mask
K = FrameClass


def with_pages(*pages, mapped=True):
    """The small recording with compound pages at (head, order, class)."""
    recorded = small_recording()
    klass, flags = recorded.klass.copy(), recorded.flags.copy()
    mapcount, refcount = recorded.mapcount.copy(), recorded.refcount.copy()
    for head, order, kind in pages:
        rows = slice(head, head + (1 << order))
        klass[rows], mapcount[rows], refcount[rows] = kind, mapped, mapped
        flags[rows] = TAIL | (PageFlag.ANON.mask if kind == K.ANON else np.uint64(0))
        flags[head] ^= HEAD | TAIL
    zone = evolve(recorded.zones[0], nr_free=int(np.count_nonzero(klass == K.FREE)))
    return evolve(
        recorded, klass=klass, flags=flags, mapcount=mapcount, refcount=refcount,
        state=STATE_OF_CLASS[klass], order=maximal_orders(klass == K.FREE, recorded.zone),
        zones=(zone,),
    )  # fmt: skip


THP, POOLED = (2 * BLOCK, 9, K.ANON), (3 * BLOCK, 9, K.HUGETLB)


@pytest.fixture(scope="module")
def corpus():
    return Corpus.build(seed=1)


def read_back(done):
    machine = done.machine
    found = done.expected.read_back(machine.contents, done.zswap, machine.swap)
    assert found.bytes_lost == 0
    return found.bytes_verified


def test_aligned_compound_pages_of_one_kind_are_whole():
    small, other = (4 * BLOCK, 2, K.ANON), (4 * BLOCK + 8, 3, K.FILE)
    found = large_folios(with_pages(THP, POOLED, small, other))
    assert found.heads.tolist() == [2 * BLOCK, 4 * BLOCK, 4 * BLOCK + 8]
    assert found.orders.tolist() == [9, 2, 3]
    assert found.frames()[[0, -1]].tolist() == [2 * BLOCK, 4 * BLOCK + 15]
    pooled = huge_pages(with_pages(THP, POOLED))
    assert (pooled.heads.tolist(), pooled.used.tolist()) == ([3 * BLOCK], [True])
    assert huge_pages(with_pages(POOLED, mapped=False)).used.tolist() == [False]


def test_what_is_cut_misaligned_or_mixed_is_not():
    cut, mixed = with_pages(THP), with_pages(THP)
    flags, klass = cut.flags.copy(), mixed.klass.copy()
    flags[2 * BLOCK + 100], klass[2 * BLOCK + 1] = 0, K.SLAB
    cut, mixed = evolve(cut, flags=flags), evolve(mixed, klass=klass)
    misaligned = with_pages((4 * BLOCK + 2, 2, K.ANON))
    of_slab = with_pages((4 * BLOCK, 2, K.SLAB))
    for recorded in (cut, misaligned, mixed, of_slab, small_recording()):
        assert not len(large_folios(recorded).heads)
    assert not len(huge_pages(with_pages((3 * BLOCK, 4, K.HUGETLB))).heads), "smaller than a block"


@pytest.mark.parametrize("design", ["unmovable", "registry"])
def test_a_replay_has_them_with_their_holders_and_bytes(corpus, design):
    done = replay(with_pages(THP, POOLED), corpus, design_name=design)
    machine, owner = done.machine, done.hugetlb[BLOCK]
    assert machine.refs.folios.heads_in(np.arange(machine.frames.nr_frames)) == [2 * BLOCK]
    assert machine.hugetlb.heads == [3 * BLOCK]
    assert (machine.hugetlb.nr_users(3 * BLOCK), owner.head_of(0)) == (1, 3 * BLOCK)
    assert "hugetlb" not in done.opaque
    assert class_counts(done)[3, K.HUGETLB] == BLOCK
    owner.check()
    machine.check()
    whole = read_back(done)
    machine.contents.write(3 * BLOCK + 7, b"other bytes")
    found = done.expected.read_back(machine.contents, done.zswap, machine.swap)
    assert (found.bytes_verified, found.bytes_lost) == (whole - 4096, 4096)


def test_a_free_page_of_a_pool_is_free(corpus):
    done = replay(with_pages(POOLED, mapped=False), corpus)
    assert done.machine.hugetlb.nr_free == 1


def test_pieces_of_a_pool_are_frames_that_its_owner_holds(corpus):
    recorded = with_pages(POOLED, (4 * BLOCK, 1, K.HUGETLB))
    done = replay(recorded, corpus)
    assert done.machine.hugetlb.heads == [3 * BLOCK]
    assert done.opaque["hugetlb"].nr_objects == 2
    assert "hugetlb" in movable_owners(recorded)
    read_back(done)


def test_whole_pages_need_no_callback():
    recorded = with_pages(POOLED)
    assert "hugetlb" not in movable_owners(recorded)
    with pytest.raises(PinpageError, match="as a whole, under every design"):
        check_movable(recorded, {"hugetlb"})


def test_a_used_page_leaves_its_memory_block_with_its_bytes(corpus):
    recorded = with_pages(POOLED)
    for strategy in ("scan", "plan"):
        options = RequestOptions(strategy=strategy, block=3, block_nr_pages=BLOCK, nr_tries=3)
        report = run_request("offline", recorded, options)
        assert (report.obtained, report.pages_moved, report.bytes_lost) == (1, BLOCK, 0), strategy


def test_compaction_leaves_both_kinds_alone():
    recorded = with_pages(THP, POOLED)
    for row in compare(recorded, [Run("unmovable"), Run("unmovable", strategy="plan")]).rows:
        assert row.refused["large_page"] == BLOCK
        assert (row.large_pages_split, row.bytes_lost) == (0, 0)
