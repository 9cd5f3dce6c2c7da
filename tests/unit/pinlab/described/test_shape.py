"""Where pages of a description lie, and how full its pools are."""

import numpy as np
import pytest

from pinlab.compare.compare import compare
from pinlab.compare.results import Run
from pinlab.described.shape import MOST, USUAL, draw_nr_objects, in_shape
from pinlab.described.synthetic import describe_machine
from pinlab.snapshot.classes import FrameClass
from pinpage.errors import PinpageError


@pytest.mark.parametrize("shape", ["even", "clusters", "ages"])
def test_each_place_is_given_out_once(shape):
    pfns = np.arange(100, 5000, 3)
    given = in_shape(pfns, shape, np.random.default_rng(1))
    assert sorted(given.tolist()) == pfns.tolist()
    assert not np.array_equal(given, pfns)
    again = in_shape(pfns, shape, np.random.default_rng(1))
    assert np.array_equal(given, again)


def mean_run(memory, first=0.0, last=1.0):
    """Frames of anonymous memory in a row, on average, in a part of the machine."""
    rows = slice(int(first * memory.nr_frames), int(last * memory.nr_frames))
    anon = memory.klass[rows] == FrameClass.ANON
    return anon.sum() / np.count_nonzero(np.diff(anon.astype(np.int8)) == 1)


def test_clusters_are_runs_and_ages_are_longer_ones_higher_up():
    even, clusters, ages = (
        describe_machine(f"scenario:64MiB,anon=40%,shape={shape}", seed=2)
        for shape in ("even", "clusters", "ages")
    )
    assert mean_run(even) < 2
    assert mean_run(clusters) > 20
    assert mean_run(ages, 0.05, 0.2) < 5
    assert mean_run(ages, 0.8, 1.0) > 30
    nr_frames = {memory.nr_frames_of(FrameClass.ANON) for memory in (even, clusters, ages)}
    assert len(nr_frames) == 1


@pytest.mark.parametrize("pool", list(MOST))
def test_a_pool_holds_what_recorded_ones_do_unless_told_otherwise(pool):
    memory = describe_machine(f"scenario:64MiB,{pool}=20%", seed=0)
    nr_pages = memory.nr_frames_of(FrameClass[pool.upper()])
    assert memory.workload["zswap_stored_pages"] / nr_pages == pytest.approx(USUAL[pool], rel=0.05)
    told = describe_machine(f"scenario:64MiB,{pool}=20%,objects=1", seed=0)
    assert told.workload["zswap_stored_pages"] == nr_pages
    assert np.array_equal(memory.klass, told.klass)
    full = draw_nr_objects(pool, 100, str(MOST[pool]), np.random.default_rng(0))
    assert full == 100 * MOST[pool]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("zbud=10%,objects=2.5", "from 1 to 2 for zbud"),
        ("z3fold=10%,objects=many", "from 1 to 3 for z3fold"),
        ("zbud=10%,objects=nan", "from 1 to 2"),
        ("anon=10%,shape=round", "shape='round'"),
    ],
)
def test_what_is_no_law_is_refused(text, words):
    with pytest.raises(PinpageError, match=words):
        describe_machine(f"scenario:64MiB,{text}")


def test_unusing_a_described_pool_takes_more_pages_than_it_frees():
    """Two objects of a page come back as two pages: reclaim for compaction grows memory."""
    memory = describe_machine("scenario:64MiB,anon=22%,zbud=29%,slab=2%", seed=0)
    (row,) = compare(memory, [Run("zbud-reclaim")]).rows
    assert row.pages_grown > 0
    one_each = describe_machine("scenario:64MiB,anon=22%,zbud=29%,slab=2%,objects=1", seed=0)
    (row,) = compare(one_each, [Run("zbud-reclaim")]).rows
    assert row.pages_grown == 0
