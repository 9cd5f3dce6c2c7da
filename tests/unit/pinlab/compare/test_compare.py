"""Comparing: which runs, what they share, what a row says, and what nothing depends on."""

import attrs
import pytest

from mm.state.frames import FrameState
from pinlab.compare.compare import (
    check_runs,
    compare,
    coverage_named,
    default_runs,
    measured_row,
    runs_of,
)
from pinlab.compare.results import Run
from pinlab.replay.corpus import Corpus
from pinlab.replay.replay import replay
from pinlab.snapshot.bundled import bundled
from pinlab.snapshot.classes import STATE_OF_CLASS, FrameClass
from pinpage.errors import PinpageError
from tests.kit.pinlab.small import NR_FRAMES, small_recording

K = FrameClass
ALL = ("gup", "kernel", "pagetable", "slab", "zbud")
RUNS = (
    Run("unmovable"),
    Run("zbud-reclaim"),
    Run("registry", ("zbud",)),
    Run("registry", ("slab", "zbud")),
    Run("registry", (), "plan"),
    Run("registry", ALL, "plan"),
)


@pytest.fixture(scope="module")
def snapshot():
    return small_recording()


@pytest.fixture(scope="module")
def done(snapshot):
    return compare(snapshot, RUNS, nr_jobs=2)


def without(snapshot, klass):
    """The recording with these frames reserved instead."""
    kept = snapshot.klass.copy()
    kept[kept == klass] = K.RESERVED
    return attrs.evolve(snapshot, klass=kept, state=STATE_OF_CLASS[kept])


# Which runs.


def test_by_default_every_design_is_shown_and_both_strategies(snapshot):
    assert default_runs(snapshot) == (
        Run("unmovable"),
        Run("zbud-reclaim"),
        Run("registry", ("zbud",)),
        Run("registry", ("slab", "zbud")),
        Run("registry", (), "plan"),
        Run("registry", ("slab", "zbud"), "plan"),
    )


def test_owners_that_hold_nothing_are_left_out_and_no_run_comes_twice(snapshot):
    runs = default_runs(without(snapshot, K.ZBUD))
    assert {owner for run in runs for owner in run.movable} == {"slab"}
    assert len(set(runs)) == len(runs)


def test_designs_coverages_and_a_strategy_make_every_combination(snapshot):
    runs = runs_of(snapshot, ["unmovable", "registry"], [("zbud",), ()], "plan")
    assert runs == (
        Run("unmovable", (), "plan"),
        Run("registry", ("zbud",), "plan"),
        Run("registry", (), "plan"),
    )
    assert runs_of(snapshot, [], [("zbud", "slab", "zbud")], None) == (
        Run("registry", ("slab", "zbud")),
    )
    assert runs_of(snapshot, ["registry"], [], None) == (Run("registry"),)
    assert {run.strategy for run in runs_of(snapshot, [], [], "plan")} == {"plan"}


@pytest.mark.parametrize(
    ("names", "owners"),
    [("zbud,slab", ("slab", "zbud")), (" zbud , ", ("zbud",)), ("none", ()), ("a,a", ("a",))],
)
def test_a_coverage_by_name(names, owners):
    assert coverage_named(names) == owners


@pytest.mark.parametrize("names", ["", ",", "none,zbud"])
def test_a_coverage_that_names_nobody_is_refused(names):
    with pytest.raises(PinpageError, match="name owners, or none alone"):
        coverage_named(names)


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (Run("rfc9"), "'rfc9' is unknown: it is one of unmovable, zbud-reclaim, .*registry"),
        (Run("registry", ("gpu",)), "'gpu'.*gup, kernel, pagetable, slab, zbud"),
        (Run("unmovable", ("zbud",)), "'unmovable' asks no owner"),
        (Run("registry", (), "guess"), "'guess'.*scan.*plan"),
    ],
)
def test_a_run_that_cannot_be_made_is_refused_before_the_first_one_starts(snapshot, run, words):
    told = []
    with pytest.raises(PinpageError, match=words):
        compare(snapshot, [Run("unmovable"), run], progress=lambda *said: told.append(said))
    assert told == []
    with pytest.raises(PinpageError, match=words):
        check_runs(snapshot, [run])


# What a row says.


def test_nothing_is_lost_and_every_run_reads_as_much_back(done):
    assert [row.bytes_lost for row in done.rows] == [0] * len(RUNS)
    moved_only = {row.bytes_verified for row in done.rows if not row.pages_unused}
    assert len(moved_only) == 1
    assert all(row.bytes_verified > max(moved_only) for row in done.rows if row.pages_unused)


def test_rows_come_in_the_order_of_the_runs(done):
    assert tuple(Run(row.design, row.movable, row.strategy) for row in done.rows) == RUNS


def test_no_run_ends_above_its_bound_and_a_plan_ends_at_it(done):
    for row in done.rows:
        assert row.huge_pages <= row.bound
        if row.strategy == "plan":
            assert row.huge_pages == row.bound


def test_only_reclaim_makes_memory_grow(done):
    grown = {row.design: row.pages_grown for row in done.rows}
    assert grown.pop("zbud-reclaim") > 0
    assert set(grown.values()) == {0}


def test_a_row_equals_what_the_machine_says(snapshot, done):
    machine, untouched = (
        replay(snapshot, Corpus.build(), movable=frozenset(ALL)).machine for _ in range(2)
    )
    untouched.pcp.drain_all()
    bound, free_before = untouched.bound(), int(untouched.buddy.wholly_free().sum())
    compacted = machine.compact("plan")
    row = done.rows[-1]
    assert row.bound == bound
    assert row.pages_moved == compacted.report.pages_moved
    assert row.pageblocks_emptied == int(machine.buddy.wholly_free().sum()) - free_before
    assert row.pages_scanned == machine.frames.nr_frames
    assert row.modelled_ns == compacted.elapsed_ns
    assert sum(row.refused.values()) == sum(compacted.report.refused.values())


def test_refusals_are_named_as_identifiers_and_counted(done):
    for row in done.rows:
        assert all(name.isidentifier() and count > 0 for name, count in row.refused.items())
    assert "no_owner" in done.rows[0].refused
    assert "no_callback" in done.rows[2].refused


def test_modelled_time_charges_what_a_callback_and_a_decompression_cost(done):
    unmovable, reclaim, zbud = done.rows[:3]
    assert reclaim.pages_unused > 0
    # 2.5 us for each page decompressed, 2.1 us for each pin that was called back about.
    assert reclaim.modelled_ns - unmovable.modelled_ns > 2_500 * reclaim.pages_unused
    more = zbud.pages_moved - unmovable.pages_moved
    assert more > 0
    assert zbud.modelled_ns - unmovable.modelled_ns > 2_130 * more


# What nothing depends on.


@pytest.mark.parametrize("nr_jobs", [1, 3])
def test_rows_do_not_depend_on_how_many_run_at_a_time(snapshot, done, nr_jobs):
    assert compare(snapshot, RUNS, nr_jobs=nr_jobs).rows == done.rows


def test_a_run_does_not_depend_on_the_runs_before_it(snapshot, done):
    alone = compare(snapshot, RUNS[3:4])
    assert alone.rows == done.rows[3:4]


def test_where_nothing_forks_the_rows_are_the_same(snapshot, done, monkeypatch):
    monkeypatch.setattr("pinlab.compare.compare.can_fork", lambda: False)
    told = []
    here = compare(snapshot, RUNS[2:4], progress=lambda run, n, total: told.append((run, n, total)))
    assert here.rows == done.rows[2:4]
    assert told == [(RUNS[2], 0, 2), (RUNS[3], 1, 2)]


def test_the_seed_changes_digests_and_nothing_that_is_about_frames(snapshot, done):
    other = compare(snapshot, RUNS, seed=1, nr_jobs=2)
    for one, two in zip(done.rows, other.rows, strict=True):
        assert one.digest != two.digest
        if one.design != "zbud-reclaim":  # which objects share a page is drawn
            assert one.pages_moved == two.pages_moved
            assert one.huge_pages == two.huge_pages


def test_maps_are_kept_when_asked_for(snapshot, done):
    assert done.maps == ()
    (maps,) = compare(snapshot, RUNS[-1:], with_maps=True).maps
    assert maps.before.sum() == maps.after.sum() == -(-NR_FRAMES // 512) * 512


# What was measured.


def test_the_measured_row_is_the_compaction_where_that_was_recorded_alone():
    row = measured_row(bundled())
    assert row == attrs.evolve(
        row, kernel="Linux 6.1", huge_pages=12, pageblocks_emptied=6, pages_moved=33_373
    )


def test_where_the_phases_are_not_told_apart_the_whole_operation_counts(snapshot):
    row = measured_row(snapshot)
    assert (row.huge_pages, row.pages_moved, row.pages_scanned) == (3, 400, 1_700)
    assert row.pageblocks_emptied == 1


@pytest.mark.parametrize("operation", ["offline", "huge", None])
def test_nothing_was_measured_where_another_request_was_recorded(snapshot, operation):
    other = None if operation is None else attrs.evolve(snapshot.measured, operation=operation)
    assert measured_row(attrs.evolve(snapshot, measured=other)) is None


def test_frames_that_were_unknown_stay_unknown_in_every_run(snapshot):
    for run in (RUNS[3], RUNS[5]):
        (maps,) = compare(snapshot, [run], with_maps=True).maps
        assert (maps.before[:, K.UNKNOWN] == maps.after[:, K.UNKNOWN]).all()
    assert (snapshot.state == FrameState.UNKNOWN).any()


@pytest.mark.parametrize(
    ("designs", "coverages", "release"),
    [
        ((), [("slab",)], ("slab",)),
        ((), [("slab", "zbud")], ("slab",)),
        (("unmovable", "zbud-reclaim"), (), ("slab",)),
        ((), [("slab",), ("slab", "zbud")], ("slab",)),
        ((), [("slab",)], ("zbud", "slab")),
    ],
)
def test_a_release_that_no_run_keeps_is_refused(designs, coverages, release):
    with pytest.raises(PinpageError, match="release=slab: in every run"):
        runs_of(small_recording(), designs, coverages, None, release)


def test_a_release_that_a_run_keeps_is_left_out_of_the_others():
    runs = runs_of(small_recording(), (), [("slab",), ("zbud",)], None, ("slab",))
    assert [run.release for run in runs] == [(), ("slab",)]
