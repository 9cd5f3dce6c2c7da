"""Large pages on a whole machine: passed over, moved as one, or split and counted."""

import itertools

import numpy as np
import pytest

from mm.contig.retry import RetryPolicy
from mm.state.errno import Errno
from mm.state.frames import FrameState
from mm.state.gfp import Gfp
from mm.state.reasons import HOME
from pinlab.requests.huge2m import serve as serve_huge2m
from pinlab.requests.offline import serve as serve_offline
from pinlab.requests.report import RequestOptions
from pinpage.owner import Mode, Reason
from pinpage.testing.world import column
from pinpage.units import Span
from tests.kit.mm.ranges import names
from tests.kit.mm.whole_machines import SIZE, Layout


def world_of(*blocks, nodes=None):
    nodes = nodes or [0] * len(blocks)
    zones = tuple(("Normal", node) for node in sorted(set(nodes)))
    return Layout(blocks, tuple(nodes), zones).build()


def heads(world):
    """Where large pages start."""
    return world.folios.heads_in(np.arange(world.machine.frames.nr_frames))


# Compaction.


def test_compaction_passes_over_large_pages():
    world = world_of("TTTTTTTT", "tt..a...", "..tt....", "a.......", "........")
    done = world.machine.compact("scan")
    world.check()
    assert heads(world) == [0, 8, 18], "none has moved"
    assert done.report.refused[Reason.LARGE_PAGE] == 12
    assert done.report.refusals.by_owner() == {HOME: {Reason.LARGE_PAGE: 12}}
    assert not world.folios.nr_split


def test_an_allocation_that_compacts_passes_over_them():
    world = world_of("tt..aa..", "..tt..aa", "a..a..a.")
    assert world.machine.alloc_pages(2, Gfp.HIGHUSER_MOVABLE) >= 0
    world.check()
    assert heads(world) == [0, 10]
    assert not world.folios.nr_split


@pytest.mark.parametrize(("strategy", "obtained"), [("scan", 1), ("plan", 2)])
def test_nobody_breaks_up_a_huge_page_to_gain_one(strategy, obtained):
    world = world_of("TTTTTTTT", "a.......", ".a......", "..a.....")
    report = serve_huge2m(world.machine, RequestOptions(strategy=strategy))
    assert (report.obtained, report.bound) == (obtained, 2)
    assert heads(world) == [0]
    assert report.details["huge_pages_split"] == 0
    assert report.details["large_pages_split"] == 0


def test_a_plan_may_break_up_smaller_ones_and_says_so():
    world = world_of("tt......", ".a.a.a.a", "a.a.a.a.")
    report = serve_huge2m(world.machine, RequestOptions(strategy="plan"))
    world.check()
    assert (report.obtained, report.bound) == (1, 1)
    assert report.details["large_pages_split"] == 1
    assert report.details["huge_pages_split"] == 0


def test_a_plan_counts_the_frames_of_huge_pages_as_a_scan_does():
    world = world_of("TTTTTTTT", "a.......", ".a......")
    report = world.machine.compact("plan").report
    assert report.refused[Reason.LARGE_PAGE] == SIZE


# Ranges.


def test_a_large_page_leaves_a_range_as_one():
    world = world_of("TTTTTTTT", "a.......", "........", "tt......")
    report = world.evacuate(0, 8)
    assert (report.errno, report.pages_moved) == (Errno.OK, SIZE)
    assert heads(world) == [16, 24]
    assert not world.folios.nr_split


def test_half_of_it_in_the_range_takes_all_of_it_away():
    world = world_of("aaTTTTTTTT"[2:], "........", "........")
    found = world.contig(3, 5)
    assert (found.errno, found.pfn) == (Errno.OK, 3)
    assert heads(world)[0] >= SIZE
    free = world.machine.frames.state[:SIZE] == FrameState.FREE
    assert free.tolist() == [True] * 3 + [False] * 2 + [True] * 3


def test_without_a_free_block_it_is_split_and_counted():
    world = world_of("TTTTTTTT", "a.....a.", ".a....a.")
    report = world.evacuate(0, 8)
    assert (report.errno, report.pages_moved) == (Errno.OK, SIZE)
    assert world.folios.nr_split == {3: 1}
    assert heads(world) == []


def test_one_that_somebody_holds_a_frame_of_stays_as_one():
    world = world_of("TTTTTTTT", "........", "........")
    world.machine.get_page(5)
    report = world.evacuate(0, 8)
    assert report.left.tolist() == list(range(8))
    assert names(report) == {HOME: {"UNACCOUNTED": 8}}
    assert heads(world) == [0]
    assert not world.folios.nr_split
    world.machine.put_page(5)
    assert world.evacuate(0, 8).errno is Errno.OK
    assert heads(world) != [0]


def test_of_a_page_that_is_only_partly_looked_at_the_rest_counts_too():
    world = world_of("TTTTTTTT", "........")
    world.machine.get_page(7)
    machine = world.machine
    found = machine.mover.classify(np.arange(3), machine.design, Mode.SYNC)
    assert found.answers.tolist() == [0] * 3
    assert found.reasons.tolist() == [Reason.UNACCOUNTED] * 3


def test_clean_page_cache_goes_as_one_too():
    for text, dropped in (("cccccccc", SIZE), ("cccdcccc", 0)):
        world = world_of(text, "........", "........")
        world.folios.adopt(column(0), column(3))
        report = world.evacuate(0, 8)
        assert (report.errno, report.pages_dropped) == (Errno.OK, dropped)
        assert len(heads(world)) == (not dropped)
        assert not world.folios.nr_split


def test_a_page_of_which_one_frame_is_freed_is_split():
    world = world_of("TTTTTTTT", "tt......")
    world.free_of(3)
    assert world.folios.nr_split == {3: 1}
    world.free_of(8, 9)
    assert heads(world) == []
    assert world.folios.nr_split == {3: 1, 1: 1}, "freed one by one"


@pytest.mark.parametrize("strategy", ["scan", "plan"])
def test_hot_remove_moves_them_or_splits_them(strategy):
    asked = RequestOptions(
        strategy=strategy, design="registry", block=0, block_nr_pages=8, nr_tries=3
    )
    for third, split in (("........", 0), ("a.......", 1)):
        world = world_of("TTTTTTTT", "a.......", third)
        report = serve_offline(world.machine, asked)
        assert report.obtained == 1, (strategy, third)
        assert report.details["huge_pages_split"] == split, (strategy, third)


def test_hot_remove_begins_with_other_nodes_and_contiguous_allocation_with_its_own():
    world = world_of("TTTTTTTT", "........", "........", nodes=[0, 0, 1])
    assert world.contig(0, 8).errno is Errno.OK
    assert heads(world) == [8]
    world = world_of("TTTTTTTT", "........", "........", nodes=[0, 0, 1])
    world.evacuate(0, 8, retry=RetryPolicy(nr_tries=None, timeout_ns=1_000_000))
    assert heads(world) == [16]


def test_hot_remove_does_not_try_the_pieces_of_one_that_somebody_holds():
    world = world_of("TTTTTTTT", "........", "........")
    world.machine.get_page(5)
    patient = RetryPolicy(nr_tries=None, timeout_ns=1_000_000)
    world.evacuate(0, 8, retry=patient)
    assert heads(world) == [0]
    world.machine.put_page(5)


def test_what_finds_no_room_at_all_stays_one_page():
    world = world_of("TTTTTTTT", "aaaaaaaa")
    assert world.evacuate(0, 8).errno is Errno.ENOMEM
    assert heads(world) == [0]


def test_a_memory_block_with_one_can_go_though_no_huge_page_can_be_gained_there():
    world = world_of("TTTTTTTT", "#.......", "#.......")
    machine = world.machine
    machine.hotplug.blocks.nr_pages = SIZE
    assert machine.hotplug.cheapest(machine.design, want=None).bound == 1
    report = serve_huge2m(machine, RequestOptions(strategy="plan"))
    assert (report.obtained, report.bound) == (0, 0)
    assert heads(world) == [0]


# Through each step of a move.


def _drop_one(world):
    world.machine.memory.dontneed(world.space, column(3))


def _drop_all(world):
    world.machine.memory.dontneed(world.space, np.arange(8))


def _hold_one(world):
    world.machine.get_page(6)


def _stop(world):
    raise KeyboardInterrupt


def _nothing(world):
    pass


_EVENTS = (_nothing, _drop_one, _drop_all, _hold_one, _stop)
_MOMENTS = [
    *itertools.product(("take", "freeze"), _EVENTS),
    # From the copy on nobody else runs, but for a signal.
    *itertools.product(("copy_contents", "rekey", "free"), (_nothing, _stop)),
]


@pytest.mark.parametrize(("step", "event"), _MOMENTS)
def test_whatever_happens_in_a_move_it_is_one_page_or_split_and_counted(step, event):
    """Before each step of the move something happens; then all is looked at."""
    world = world_of("TTTTTTTT", "a.......", "........")
    machine, mover = world.machine, world.machine.mover
    original = getattr(mover, step)

    def interrupted(*args):
        setattr(mover, step, original)
        event(world)
        return original(*args)

    setattr(mover, step, interrupted)
    span = Span(0, 8)
    assert machine.evacuator.isolate(span, machine.design)
    nr_used = np.count_nonzero(machine.frames.state == FrameState.USED)
    try:
        machine.evacuator.evacuate(span, machine.design)
    except KeyboardInterrupt:
        assert event is _stop
    if event is _hold_one:
        held = int(world.space.pte[6]) - 1
        machine.put_page(held)
    machine.evacuator.undo(span)
    machine.pcp.drain_all()
    world.check()
    nr_gone = {_drop_one: 1, _drop_all: 8}.get(event, 0)
    assert np.count_nonzero(machine.frames.state == FrameState.USED) == nr_used - nr_gone
    if event in (_nothing, _stop):
        assert len(heads(world)) == 1
        assert not world.folios.nr_split
    elif not heads(world) and event is not _drop_all:
        assert world.folios.nr_split == {3: 1}
