"""Contiguous ranges: all of it or nothing, and everything as before where it is nothing."""

import numpy as np
import pytest

from mm.contig.retry import RetryPolicy
from mm.state.errno import Errno
from mm.state.frames import FrameState
from mm.state.pageblock import MigrateType
from pinpage.errors import PinpageError
from pinpage.move.steps import GivenTargets
from pinpage.owner import Reason
from pinpage.testing.world import column
from tests.kit.mm.machines import ScriptedDesign
from tests.kit.mm.ranges import Ranged, names

M, U, R, CMA = (
    MigrateType.MOVABLE,
    MigrateType.UNMOVABLE,
    MigrateType.RECLAIMABLE,
    MigrateType.CMA,
)


def types(world):
    return world.machine.pageblocks.migratetype.tolist()


def test_the_range_is_the_callers_one_reference_each():
    world = Ranged("aa......", "a.......", "........")
    found = world.contig(0, 16)
    assert (found.errno, found.pfn, found.report.pages_moved) == (Errno.OK, 0, 3)
    frames = world.machine.frames
    assert (frames.state[:16] == FrameState.USED).all()
    assert (frames.refcount[:16] == 1).all()
    assert world.machine.buddy.nr_free() == 5


def test_the_surplus_at_head_and_tail_is_free_again_and_merged():
    world = Ranged("........", "........", "........", "........")
    assert world.contig(5, 19).pfn == 5
    order = world.machine.frames.order
    assert world.picture() == [".....###", "########", "###.....", "........"]
    assert (order[0], order[4], order[19], order[20], order[24]) == (2, 0, 0, 2, 3)
    assert world.machine.contig.free_contig_range(5, 14) == 0
    world.machine.pcp.drain_all()
    world.check()
    assert world.machine.buddy.nr_free() == 32
    assert world.machine.frames.order[0] == world.machine.buddy.max_order


def test_pages_beside_the_range_stay_where_they_are():
    world = Ranged("aa.aa.aa", "........")
    assert world.contig(2, 6).pfn == 2
    assert world.picture()[0] == "aa####aa"


def test_every_pageblock_gets_the_given_type_whatever_it_was():
    world = Ranged("........", "........", "........", types=(U, R, M))
    assert world.contig(4, 20, migratetype=M).errno is Errno.OK
    assert types(world) == [M, M, M]
    world = Ranged("P.......", "........", types=(R, M))
    assert world.contig(0, 8, migratetype=U).errno is Errno.EBUSY
    assert types(world) == [U, M]


@pytest.mark.parametrize("migratetype", [M, CMA])
def test_cma_blocks_are_for_cma_alone(migratetype):
    world = Ranged("a.......", "........", types=(CMA, M))
    found = world.contig(0, 8, migratetype=migratetype)
    assert found.errno is (Errno.OK if migratetype == CMA else Errno.EBUSY)
    assert types(world)[0] == CMA


def test_a_page_that_stays_makes_it_busy_and_what_moved_has_moved():
    world = Ranged("aPa.....", "........")
    found = world.contig(0, 8)
    assert (found.errno, found.pfn, found.report.pages_moved) == (Errno.EBUSY, -1, 2)
    assert names(found.report) == {"home": {"UNACCOUNTED": 1}}
    assert world.picture()[0] == ".a......"
    assert types(world) == [M, M]


def test_busy_is_not_the_last_word():
    """Who refused fifty times may be gone by the time of the test."""
    world = Ranged("#.......", "........")

    asked = []

    def looks_for_signals():
        asked.append(1)
        if len(asked) == 6:  # (before each of the five tries, and once more)
            world.machine.free_page(0)
        return False

    world.machine.design = design = ScriptedDesign(reasons=[Reason.OWNER_AGAIN] * 50)
    found = world.contig(0, 8, design, retry=RetryPolicy(signal_pending=looks_for_signals))
    assert found.report.errno is Errno.EBUSY
    assert (found.errno, found.pfn) == (Errno.OK, 0)


def test_other_errors_are_final():
    world = Ranged("a.......", "########")
    assert world.contig(0, 8).errno is Errno.ENOMEM
    world = Ranged("a.......", "........")
    retry = RetryPolicy(signal_pending=lambda: True)
    assert world.contig(0, 8, retry=retry).errno is Errno.EINTR
    assert types(world) == [M, M]
    assert world.picture() == ["a.......", "........"]


def test_a_page_on_a_per_cpu_list_is_nobodys_and_in_nobodys_way():
    world = Ranged("p.p.....", "........")
    assert world.contig(0, 8).pfn == 0


def test_a_range_that_cannot_be_isolated_is_as_before_and_says_who():
    world = Ranged("aa......", "#.......", "........", types=(R, M, M))
    found = world.contig(0, 24)
    assert (found.errno, found.report.pages_moved) == (Errno.EBUSY, 0)
    assert names(found.report) == {"unknown": {"NO_OWNER": 1}}
    assert world.picture() == ["aa......", "#.......", "........"]
    assert types(world) == [R, M, M]


def test_somebody_elses_range_is_busy():
    world = Ranged("........", "........")
    assert world.isolate(8, 16)
    found = world.contig(4, 12)
    assert found.errno is Errno.EBUSY
    assert names(found.report) == {"unknown": {"ALREADY_ISOLATED": 1}}
    assert types(world)[0] == M


def test_given_targets_are_used():
    world = Ranged("aa......", "........", "........")
    world.machine.buddy.take(column(20, 22))
    assert world.contig(0, 8, targets=GivenTargets(column(20, 22))).errno is Errno.OK
    assert world.picture()[2] == "....a.a."


def test_pages_that_are_still_in_use_are_not_freed():
    world = Ranged("........", "........")
    world.contig(0, 8)
    world.machine.get_page(3)
    assert world.machine.contig.free_contig_range(0, 8) == 1
    assert world.machine.frames.refcount[3] == 1
    world.check()


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (0, 17), (4, 12)])
def test_nonsense_is_refused(start, stop):
    world = Ranged("........", "........", nr_nodes=2)
    with pytest.raises(PinpageError, match="alloc_contig_range"):
        world.contig(start, stop)
    assert types(world) == [M, M]


def test_an_exception_on_the_way_lets_allocations_in_again():
    world = Ranged("a.......", "........")

    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.contig(0, 8, retry=RetryPolicy(signal_pending=interrupt))
    assert types(world) == [M, M]
    world.check()


def test_time_is_charged_for_isolating_too():
    world = Ranged("a.......", "........")
    machine = world.machine
    before, done = machine.clock.now_ns, machine.counted()
    found = world.contig(0, 8)
    assert found.report.elapsed_ns == machine.clock.now_ns - before > 0
    work_ns = machine.costs.cost_of(machine.counted().since(done))
    assert found.report.elapsed_ns == work_ns, "everything once"
    refused = Ranged("#.......", "........")
    found = refused.contig(0, 8)
    assert found.report.elapsed_ns == refused.machine.clock.now_ns
    assert np.count_nonzero(refused.machine.frames.isolated) == 0
