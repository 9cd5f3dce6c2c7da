"""Two scanners: what they take, in which order, where they stop, and what they remember."""

import numpy as np
import pytest

from mm.compaction.compact_control import CompactControl, CompactReport, CompactResult
from mm.move.design import Answer
from mm.state.pageblock import MigrateType
from pinpage.errors import PinpageError
from pinpage.owner import Mode, Reason
from pinpage.testing.world import column
from tests.kit.mm.machines import Drawn, ScriptedDesign

MOVABLE, UNMOVABLE = MigrateType.MOVABLE, MigrateType.UNMOVABLE


def skipped(drawn):
    return drawn.machine.pageblocks.skip.tolist()


# Sources from the bottom, targets from the top.


def test_sources_go_up_targets_come_down():
    drawn = Drawn("a.a.....", ".a......", "...a....", "......a.")
    report = drawn.compact()
    assert drawn.picture() == ["........", "........", "........", "aaaa..a."]
    assert (report.result, report.pages_moved) == (CompactResult.COMPLETE, 4)
    assert report.pageblocks_emptied == 3


def test_they_meet_and_stop():
    drawn = Drawn("aaaaaa..", "aaaaaa..", "aaaaaa..")
    report = drawn.compact()
    assert drawn.picture() == ["....aa..", "aaaaaaaa", "aaaaaaaa"]
    assert (report.pages_moved, report.refused) == (4, {Reason.NO_TARGET: 2})
    assert report.pages_scanned_migrate == 8


def test_what_cannot_move_is_counted_by_reason_and_its_neighbours_move_anyway():
    drawn = Drawn("a#xr....", "a...#...", "......a.", movable=False)
    drawn.machine.get_page(8)
    report = drawn.compact()
    assert drawn.picture() == [".#xr....", "a...#...", "a.....a."]
    assert report.refused == {
        Reason.NO_OWNER: 2,
        Reason.NO_CALLBACK: 1,
        Reason.UNACCOUNTED: 1,
    }
    assert report.pages_moved == 1


def test_registered_frames_move_where_their_owner_lets_them():
    drawn = Drawn("x.......", "..x.....", "......x.", movable=True)
    assert drawn.compact().pages_moved == 2
    assert drawn.picture() == ["........", "........", "xx....x."]


def test_each_zone_keeps_its_pages():
    drawn = Drawn("a.......", "a.......", "a.......", "a.......", nr_nodes=2)
    machine = drawn.machine
    machine.compact()
    assert drawn.picture() == ["........", "aa......", "........", "aa......"]
    drawn.check_contents()
    machine.check()


def test_released_frames_go_before_anything_moves():
    drawn = Drawn("a#......", "a.......")
    design = ScriptedDesign(Answer.RELEASE, claimed=[0])
    drawn.machine.design = design
    report = drawn.compact()
    assert [call[0] for call in design.calls[:2]] == ["ask", "release"]
    assert design.calls[1][1] == [0, 1]
    assert report.refused[Reason.OWNER_BUSY] == 2


def test_one_node_is_compacted_alone_and_a_plan_is_for_all():
    drawn = Drawn("a.......", "a.......", "a.......", "a.......", nr_nodes=2)
    drawn.machine.compact(node=1)
    assert drawn.picture() == ["a.......", "a.......", "........", "aa......"]
    for strategy, node in (("plan", 0), ("scan", 2)):
        with pytest.raises(PinpageError, match="node"):
            drawn.machine.compact(strategy, node=node)


def test_it_stops_between_blocks_when_told():
    drawn = Drawn(*["a......."] * 6)
    asked = iter((False, True))
    report = drawn.compact(stop=lambda: next(asked))
    assert (report.result, report.pages_moved) == (CompactResult.SUCCESS, 2)
    assert drawn.picture()[5] == "aaa....."


# Modes.


def test_async_on_nobodys_behalf_takes_sources_of_any_type():
    drawn = Drawn("a.......", "a.......", types=[UNMOVABLE, MOVABLE])
    assert drawn.compact(mode=Mode.ASYNC).pages_moved == 1


def test_a_run_on_the_behalf_of_nobody_is_not_all_or_none():
    drawn = Drawn("aaa#....", "a.......")
    assert drawn.compact(mode=Mode.ASYNC).pages_moved == 3


# Skip hints.


def test_blocks_that_yielded_nothing_are_hinted():
    drawn = Drawn("#.#.#.#.", "a.......", "........", "a......#")
    drawn.compact()
    assert skipped(drawn) == [True, False, True, False]


def test_targets_that_ran_out_are_no_reason_for_a_hint():
    drawn = Drawn("aaaaaaaa", "aaaaaaa.", "#.######")
    drawn.compact()
    assert skipped(drawn) == [False, False, False]


@pytest.mark.parametrize("ignore", [True, False])
def test_hints_are_respected_unless_ignored(ignore):
    drawn = Drawn("a.......", "a.......", "a.......")
    drawn.machine.pageblocks.skip[0] = True
    report = drawn.compact(ignore_skip_hint=ignore)
    assert drawn.picture()[0] == ("........" if ignore else "a.......")
    assert report.pages_scanned_migrate == (16 if ignore else 8)


def test_frames_put_aside_do_not_count_as_isolated():
    """As in the 2013 patch: a block of which only zbud pages went is hinted."""
    drawn = Drawn("#.......", "a.......")
    drawn.machine.design = ScriptedDesign(Answer.RELEASE, claimed=[0])
    drawn.compact()
    assert skipped(drawn)[0]


def test_hints_are_forgotten_per_zone_and_when_they_are_stale():
    drawn = Drawn("#.......", "#.......", "#.......", "#.......", nr_nodes=2)
    machine = drawn.machine
    low, high = machine.zones
    for zone in (0, 1):
        drawn.compact(zone=zone)
    assert skipped(drawn) == [True, False, True, False]
    machine.compaction.reset_isolation_suitable(low, only_stale=True)
    assert skipped(drawn) == [True, False, True, False]  # nobody's allocation met its scanners
    drawn.compact(zone=0, order=3)
    machine.compaction.reset_isolation_suitable(high, only_stale=True)
    assert skipped(drawn) == [True, False, True, False]
    machine.compaction.reset_isolation_suitable(low, only_stale=True)
    assert skipped(drawn) == [False, False, True, False]
    machine.compaction.reset_isolation_suitable(high)
    assert skipped(drawn) == [False] * 4


# Reports.


def test_reports_add_up():
    one = CompactReport(pages_moved=3, pages_scanned_free=8)
    reasons = column(Reason.MOVED, Reason.FREED, Reason.RELEASED, Reason.OWNER_BUSY)
    one.absorb(np.arange(4), reasons)
    two = CompactReport(CompactResult.SUCCESS, pages_released=4, pageblocks_emptied=2)
    two.absorb(np.array([7, 8]), column(Reason.OWNER_BUSY, Reason.TIMEOUT))
    two.add(one)
    assert (two.result, two.pages_moved, two.pages_released) == (CompactResult.COMPLETE, 5, 5)
    assert two.refused == {Reason.OWNER_BUSY: 2, Reason.TIMEOUT: 1}
    assert (two.pages_scanned_free, two.pageblocks_emptied) == (8, 2)
    holders = np.array([0, 0, 0, 1, 0, 0, 0, 2, 0], dtype=np.uint8), ("unknown", "slab", "zbud")
    two.count_refusals(lambda: holders, lambda pfns: pfns == 8)
    assert two.refusals.by_owner() == {
        "home": {Reason.TIMEOUT: 1},
        "slab": {Reason.OWNER_BUSY: 1},
        "zbud": {Reason.OWNER_BUSY: 1},
    }


def test_a_frame_is_refused_once_and_not_at_all_if_it_went_in_the_end():
    report = CompactReport()
    report.absorb(np.array([3, 4, 5]), column(*[Reason.OWNER_BUSY] * 3))
    report.absorb(np.array([5, 3]), column(Reason.MOVED, Reason.TIMEOUT))
    unknown = np.zeros(9, dtype=np.uint8), ("unknown",)
    report.count_refusals(lambda: unknown, lambda pfns: pfns < 0)
    assert report.refusals.counts == {
        (Reason.TIMEOUT, "unknown"): 1,
        (Reason.OWNER_BUSY, "unknown"): 1,
    }
    assert report.refused.total() == 4  # attempts


def test_counters_are_the_scanners():
    drawn = Drawn("a.......", "........", "a.......", "a.......")
    report = drawn.compact()
    counters = drawn.machine.counters
    assert (report.pages_scanned_migrate, report.pages_scanned_free) == (24, 8)
    assert counters.pages_scanned == 32
    assert CompactControl(drawn.machine.zones[0]).mode is Mode.SYNC
