"""A recorded pool gets objects: as many as recorded, on every page, with bytes that fit."""

import attrs
import numpy as np
import pytest

from mm.state.contents import ArenaContents
from owners.zpool import ZPOOLS, make_zpool
from pinlab.replay.contents import plan_pages
from pinlab.replay.corpus import Corpus
from pinlab.replay.pools import _pick_zspages, fill_pool
from pinlab.replay.replay import class_counts, replay, replay_over
from pinlab.snapshot.classes import FrameClass
from pinpage.errors import PinpageError
from pinpage.owner import Reason
from tests.kit.owners.few_frames import FewFrames
from tests.kit.pinlab.small import NR_ZBUD_PAGES, small_recording

HEADER = 8


@pytest.fixture(scope="module")
def corpus():
    return Corpus.build(nr_pages=64)


def stocked(zpool, corpus, nr_pages, nr_objects, seed=0):
    source = FewFrames(nr_pages + 1)
    pfns = np.array([source.alloc_page() for _ in range(nr_pages)], dtype=np.int64)
    pool = make_zpool(zpool, source)
    rng = np.random.default_rng(seed)
    held = fill_pool(
        pool, pfns, corpus, rng, nr_objects=nr_objects, first=5, header_nr_bytes=HEADER
    )  # fmt: skip
    return pool, held


@pytest.mark.parametrize(
    ("zpool", "per_page"),
    [
        ("zbud", 1.0),
        ("zbud", 2.0),
        ("z3fold", 1.0),
        ("z3fold", 2.5),
        ("z3fold", 3.0),
        ("zsmalloc", 1.0),
        ("zsmalloc", 1.5),
    ],
)
@pytest.mark.parametrize("nr_pages", [1, 13, 200])
def test_as_many_objects_as_asked_for_and_each_has_room(corpus, zpool, per_page, nr_pages):
    nr_objects = int(per_page * nr_pages)
    pool, held = stocked(zpool, corpus, nr_pages, nr_objects)
    pool.check()
    assert pool.pages_nr == nr_pages
    if zpool != "zsmalloc":
        assert len(held.handles) == nr_objects
    assert len(np.unique(held.handles)) == len(held.handles)
    assert len(np.unique(held.serials)) == len(held.serials)
    room = pool.extents_of(held.handles).nr_bytes
    assert (room >= corpus.blob_nr_bytes(held.serials) + HEADER).all()


def test_too_many_or_too_few_objects(corpus):
    for zpool, nr_objects in (("z3fold", 31), ("z3fold", 9), ("zbud", 21), ("zbud", 9)):
        with pytest.raises(PinpageError, match="pages; each page holds"):
            stocked(zpool, corpus, 10, nr_objects)


def test_pages_that_no_zspages_of_the_corpus_make_up():
    of_three_pages = np.array([2400])
    rng = np.random.default_rng(0)
    _pick_zspages(of_three_pages, rng, 6, 2)
    with pytest.raises(PinpageError, match="no zspages of the corpus have 7 pages"):
        _pick_zspages(of_three_pages, rng, 7, 2)


def test_the_same_seed_gives_the_same_stock(corpus):
    for zpool in ZPOOLS:
        one, two, other = (stocked(zpool, corpus, 60, 70, seed)[1] for seed in (1, 1, 2))
        assert (one.serials == two.serials).all()
        assert len(other.serials) != len(one.serials) or (other.serials != one.serials).any()


# Whole recordings.


def recording_of(klass):
    """The small recording, its compressed pages of another kind."""
    small = small_recording()
    klasses = np.where(small.klass == FrameClass.ZBUD, klass, small.klass).astype(np.uint8)
    return attrs.evolve(small, klass=klasses)


@pytest.mark.parametrize(
    ("klass", "zpool"), [(FrameClass.Z3FOLD, "z3fold"), (FrameClass.ZSMALLOC, "zsmalloc")]
)
@pytest.mark.parametrize("is_movable", [False, True])
def test_a_recorded_pool_is_real_and_moves_if_it_is_declared_movable(
    corpus, klass, zpool, is_movable
):
    snapshot = recording_of(klass)
    pfns = np.flatnonzero(snapshot.klass == klass)
    replayed = replay(snapshot, corpus, movable={zpool, "slab"} if is_movable else {"slab"})
    machine, pool = replayed.machine, replayed.pool
    assert zpool not in replayed.opaque
    assert pool.holds(pfns).all()
    assert pool.pages_nr == NR_ZBUD_PAGES
    assert class_counts(replayed)[:, klass].sum() == NR_ZBUD_PAGES
    replayed.zswap.check()
    machine.check()
    machine.compact("scan")
    moved = not pool.holds(pfns).all()
    assert moved == is_movable
    read = replayed.expected.read_back(machine.contents, replayed.zswap, machine.swap)
    assert (read.bytes_lost, read.bytes_verified > 0) == (0, True)
    replayed.zswap.check()
    machine.check()


def test_no_page_of_a_recorded_z3fold_pool_is_headless(corpus):
    replayed = replay(recording_of(FrameClass.Z3FOLD), corpus, movable={"z3fold"})
    assert replayed.pool.stats().nr_headless == 0
    report = replayed.machine.compact("scan").report
    assert report.pages_moved > 0
    assert Reason.OWNER_BUSY not in report.refused


@pytest.mark.parametrize("design_name", ["unmovable", "zbud-reclaim"])
def test_other_designs_leave_such_a_pool_alone(corpus, design_name):
    snapshot = recording_of(FrameClass.Z3FOLD)
    pfns = np.flatnonzero(snapshot.klass == FrameClass.Z3FOLD)
    replayed = replay(snapshot, corpus, design_name=design_name)
    replayed.machine.compact("scan")
    assert replayed.pool.holds(pfns).all()


def test_contents_filled_before_serve_another_run(corpus):
    snapshot = recording_of(FrameClass.Z3FOLD)
    contents = ArenaContents(7 * 512)
    pages = plan_pages(snapshot, corpus)
    pages.write(contents, corpus)
    again = replay_over(
        contents, pages, snapshot, corpus, design_name="registry", movable={"z3fold"}
    )
    again.zswap.check()
    read = again.expected.read_back(contents, again.zswap, again.machine.swap)
    assert read.bytes_lost == 0
