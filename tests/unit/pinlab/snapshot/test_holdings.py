"""Frames counted by whose they are: every frame once, and orders that add up."""

import numpy as np
import pytest
from attrs import evolve

from mm.state.pageblock import MigrateType
from pinlab.replay.owners import OPAQUE_OWNERS
from pinlab.report.trust import trust_of
from pinlab.snapshot.classes import FrameClass
from pinlab.snapshot.holdings import codes_of, holdings_of, names_of
from pinpage.errors import PinpageError
from tests.kit.pinlab.blocks import BLOCK, machine_of, snapshot_of
from tests.kit.pinlab.recordings import IN_TESTS
from tests.kit.pinlab.small import NR_FRAMES, small_recording


def every_frame_once(blocks, nr_frames):
    nr_missing = blocks.nr_blocks * blocks.nr_pages - nr_frames
    total = blocks.nr_frames.sum(axis=1) + blocks.nr_free + blocks.nr_unknown + blocks.nr_never
    assert (total == blocks.nr_pages).all()
    assert nr_missing <= blocks.nr_never[-1]


@pytest.mark.parametrize("order", [3, 9, 10, 12])
def test_every_frame_is_counted_once_at_each_order(order):
    every_frame_once(holdings_of(small_recording(), order), NR_FRAMES)


@pytest.mark.parametrize("order", [10, 11, 13])
def test_counted_at_an_order_is_added_up_to_it(order):
    for snapshot in (small_recording(), IN_TESTS["zbud-cmphuge-seed1"]()):
        direct, added = holdings_of(snapshot, order), holdings_of(snapshot).at(order)
        assert direct.owner_names == added.owner_names
        for column in (
            "nr_frames", "nr_free", "nr_unknown", "nr_never", "in_cma", "whole", "wholly_free",
        ):  # fmt: skip
            assert np.array_equal(getattr(direct, column), getattr(added, column)), column


def test_a_lower_order_than_was_counted_is_refused():
    with pytest.raises(PinpageError, match="order=8 is below the 9"):
        holdings_of(small_recording()).at(8)


def test_totals_are_those_that_the_kernel_counted():
    for make in IN_TESTS.values():
        snapshot = make()
        blocks = holdings_of(snapshot)
        rows = {row.use: row.recorded for row in trust_of(snapshot).rows}
        for owner, use in (("slab", "slab"), ("pagetable", "page tables"), ("file", "page cache")):
            assert blocks.nr_frames[:, blocks.columns_of([owner])].sum() == rows[use]


def test_a_process_s_frame_that_is_pinned_is_its_pinner_s():
    snapshot = machine_of([[], []])
    pinned = evolve(snapshot, pinned_pfns=np.array([3, 5, 400]))  # (400 is free: nobody's)
    codes, _ = codes_of(pinned)
    assert np.flatnonzero(codes == FrameClass.GUP).tolist() == [3, 5]
    assert np.array_equal(snapshot.klass, pinned.klass)


def test_labels_are_told_apart():
    blocks = holdings_of(machine_of([["b", "a", "a"], ["b"]]))
    assert blocks.owner_names == ("anon", "a", "b")
    assert blocks.nr_frames[:, 1:].tolist() == [[2, 1], [0, 1]]


def test_groups_are_spelled_out_and_strangers_named():
    blocks = holdings_of(machine_of([["vmalloc", "slab"]]))
    assert names_of(blocks, ("kernel", "slab", "slab"), "movable") == ("slab", "vmalloc")
    with pytest.raises(PinpageError, match="movable=gup: holds nothing here"):
        names_of(blocks, ("gup",), "movable")


def test_the_kernel_s_own_are_those_of_the_replay():
    of_it = {klass.name.lower() for klass, name in OPAQUE_OWNERS.items() if name == "kernel"}
    blocks = holdings_of(machine_of([sorted(of_it)]))
    assert set(names_of(blocks, ("kernel",), "movable")) == of_it


def test_a_huge_page_leaves_what_is_larger_than_itself():
    units = holdings_of(snapshot_of(np.repeat([FrameClass.HUGETLB, FrameClass.FREE], BLOCK)))
    assert units.in_the_way() == ("hugetlb",)
    assert units.at(10).in_the_way() == ()


def test_pageblocks_of_cma_are_nobody_else_s_range():
    types = [MigrateType.MOVABLE, MigrateType.CMA]
    units = holdings_of(snapshot_of(np.full(2 * BLOCK, FrameClass.FREE), types=types))
    assert units.whole.tolist() == [True, True]
    assert units.at(10).whole.tolist() == [False]
    assert holdings_of(snapshot_of(np.full(2 * BLOCK, FrameClass.FREE), types=types), 8).whole.all()
