"""Where two scanners would stop, against what recorded kernels then had."""

import numpy as np
import pytest

from mm.state.pageblock import MigrateType
from pinlab.procfs.linux61 import load_recording
from pinlab.requests.fidelity import within_bar
from pinlab.snapshot.classes import FrameClass
from pinlab.snapshot.holdings import holdings_of
from pinlab.whatif.scanners import sweep
from tests.kit.pinlab.blocks import BLOCK, machine_of, snapshot_of
from tests.kit.pinlab.recordings import BESIDE, IN_TESTS

COMPACTED = sorted(BESIDE.glob("*-cmphuge-*.npz")) + sorted(BESIDE.glob("6.12/*-cmphuge-*.npz"))
FULL_OF_THP = "thp-cmphuge-seed11"
"""Two blocks' worth of memory to move: one pageblock predicted, none emptied."""
FREES_WHILE_IT_MOVES = {
    "z3fold-cmphuge-seed1", "z3fold-cmphuge-seed2", "z3fold-cmphuge-seed11", "zram-cmphuge-seed1",
    "zsmalloc-cmphuge-seed1", FULL_OF_THP,
}  # fmt: skip
"""More than 3 % off, as the replay is on such pages; at most 12 %."""


def swept(snapshot):
    return sweep(snapshot, holdings_of(snapshot))


def precision_and_recall(snapshot):
    after = snapshot.after.class_counts[:, FrameClass.FREE] == BLOCK
    emptied = set(np.flatnonzero(after & ~snapshot.wholly_free()).tolist())
    predicted = set(swept(snapshot).emptied.tolist())
    both = len(emptied & predicted)
    return both / len(predicted), both / max(len(emptied), 1)


@pytest.mark.parametrize("name", sorted(IN_TESTS))
def test_the_pageblocks_that_the_kernel_emptied(name):
    snapshot = IN_TESTS[name]()
    assert min(precision_and_recall(snapshot)) >= 0.98
    assert within_bar("cmphuge", swept(snapshot).obtained, snapshot.measured.huge_pages)


@pytest.mark.slow
@pytest.mark.parametrize("path", COMPACTED, ids=lambda path: path.stem)
def test_the_pageblocks_that_any_recorded_kernel_emptied(path):
    snapshot = load_recording(path)
    if path.stem != FULL_OF_THP:
        precision, recall = precision_and_recall(snapshot)
        assert precision >= 0.9
        assert recall >= 0.9
    predicted, measured = swept(snapshot).obtained, snapshot.measured.huge_pages
    if path.stem in FREES_WHILE_IT_MOVES:
        assert abs(predicted - measured) <= 0.12 * measured
    else:
        assert within_bar("cmphuge", predicted, measured)


def test_they_stop_where_they_meet():
    """Each block has 256 to move and 256 free: the upper half is filled by the lower one."""
    done = swept(machine_of([[]] * 8))
    assert done.emptied.tolist() == [0, 1, 2, 3]
    assert (done.nr_moves, done.obtained) == (4 * 256, 4)
    assert swept(machine_of([[]] * 7)).emptied.tolist() == [0, 1, 2]  # the fourth fills itself


def test_what_stays_keeps_its_block_and_its_neighbours_move_for_nothing():
    done = swept(machine_of([["slab"], [], [], []]))
    assert done.emptied.tolist() == [1]
    assert done.nr_moves == 255 + 256


def test_only_movable_and_cma_pageblocks_are_filled_and_no_free_one_is():
    types = [MigrateType.MOVABLE] * 2 + [MigrateType.UNMOVABLE, MigrateType.CMA]
    half = [FrameClass.ANON] * 256 + [FrameClass.FREE] * 256
    klass = np.array([*half, *half, *half, *half, *[FrameClass.FREE] * BLOCK])
    snapshot = snapshot_of(klass, types=[*types, MigrateType.MOVABLE])
    done = swept(snapshot)
    assert done.emptied.tolist() == [0]
    assert np.flatnonzero(done.wholly_free).tolist() == [0, 4]


def test_each_zone_has_its_own_two():
    half = np.repeat([FrameClass.ANON, FrameClass.FREE], 256)
    zone = np.repeat([0, 1], 2 * BLOCK).astype(np.uint8)
    assert swept(snapshot_of(np.tile(half, 4), zone=zone)).emptied.tolist() == [0, 2]


def test_the_watermark_is_left_alone():
    klass = np.full(4 * BLOCK, FrameClass.FREE)
    assert swept(snapshot_of(klass)).obtained == 4
    assert swept(snapshot_of(klass, reserve=BLOCK)).obtained == 3
    assert swept(snapshot_of(klass, reserve=1)).obtained == 4
