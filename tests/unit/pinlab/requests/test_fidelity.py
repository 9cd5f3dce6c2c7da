"""Comparing replays with the kernel: the bars, what was measured, and the table."""

import os
from pathlib import Path

import pytest

from pinlab.requests.fidelity import (
    REQUESTS,
    Case,
    Compared,
    as_json,
    as_text,
    find_cases,
    measured_outcome,
    options_of_kernel,
    replay_cases,
    within_bar,
)
from pinlab.snapshot import image
from pinlab.snapshot.errors import SnapshotError
from pinlab.snapshot.facts import Measured
from pinpage.errors import PinpageError
from tests.kit.pinlab.small import small_recording


@pytest.mark.parametrize(
    ("request_", "measured", "least", "most"),
    [
        ("huge", 100, 80, 120),
        ("huge", 6, 5, 7),
        ("cmphuge", 12, 9, 15),
        ("cmphuge", 200, 194, 206),
        ("offline", 5, 4, 6),
        ("cma", 24_000, 22_800, 25_200),
        ("cma", 0, 0, 0),
        ("giga", 1, 1, 1),
    ],
)
def test_each_bar_ends_where_it_is_said_to(request_, measured, least, most):
    held = [p for p in range(least - 2, most + 3) if within_bar(request_, p, measured)]
    assert held == list(range(least, most + 1))


def measured(operation, steps, huge_pages=None):
    return Measured(
        operation=operation, nr_requested=None, huge_pages=huge_pages, wholly_free_before=0,
        wholly_free_after_compaction=None, pgmigrate_success=0, pgmigrate_fail=0,
        compact_migrate_scanned=0, compact_free_scanned=0, vmstat_delta={}, steps=steps,
    )  # fmt: skip


def test_only_what_succeeded_was_obtained():
    offline = {"offline0": {"rc": -22}, "offline1": {"rc": 0}, "online1": {"rc": 0}}
    assert measured_outcome(measured("offline", offline)) == 1
    cma = {"cma00": {"pages": 16, "rc": 0}, "cma01": {"pages": 128, "rc": -12}}
    assert measured_outcome(measured("cma", cma)) == 16
    assert measured_outcome(measured("giga", {"giga": {"requested": 8, "obtained": 1}})) == 1
    assert measured_outcome(measured("huge", {}, huge_pages=7)) == 7
    with pytest.raises(PinpageError, match="does not say"):
        measured_outcome(measured("huge", {}))


def test_a_kernel_without_movable_operations_here_asked_nobody():
    assert options_of_kernel(small_recording()).design == "unmovable"


def cases(*names):
    return [
        Case(Path(f"{name}.npz"), next(r for r in REQUESTS if r in name.split("-")))
        for name in names
    ]


def compared(name, predicted, measured):
    (case,) = cases(name)
    return Compared(case.name, case.request, "2 MiB pages", predicted, measured)


FOUND = [
    compared("anon-huge-seed1", 190, 196),
    compared("anon-cmphuge-seed1", 255, 247),
    compared("anon-cmphuge-seed2", 249, 249),
]


def test_the_table_shows_each_case_and_the_count_per_request():
    text = as_text(FOUND)
    assert "anon-huge-seed1     huge           190       196  -6 (-3.1%)             yes" in text
    assert "anon-cmphuge-seed1  cmphuge        255       247  +8 (+3.2%)              NO" in text
    assert text.endswith(
        "huge: 1 of 1 within the bar, 0 exactly\ncmphuge: 1 of 2 within the bar, 1 exactly"
    )


def test_json_has_one_object_per_case():
    shown = as_json(FOUND)
    assert [one["difference"] for one in shown] == [-6, 8, 0]
    assert shown[0] == {
        "case": "anon-huge-seed1", "request": "huge", "predicted": 190, "measured": 196,
        "unit": "2 MiB pages", "difference": -6, "within": True,
    }  # fmt: skip


# Folders.


def put(folder, name):
    path = folder / f"{name}.npz"
    image.save(small_recording(), path)
    return path


def test_a_folders_recordings_are_found_by_name_and_others_passed_over(tmp_path):
    for name in ("a-cmphuge-seed1", "a-huge-seed1", "notes"):
        put(tmp_path, name)
    (tmp_path / "README.md").write_text("no recording")
    found = find_cases(tmp_path)
    assert [(case.name, case.request) for case in found] == [
        ("a-cmphuge-seed1", "cmphuge"),
        ("a-huge-seed1", "huge"),
    ]
    assert [case.request for case in find_cases(tmp_path, ["huge"])] == ["huge"]


def test_a_folder_without_what_is_asked_for_is_refused(tmp_path):
    with pytest.raises(PinpageError, match="no recording of any request"):
        find_cases(tmp_path)
    put(tmp_path, "a-huge-seed1")
    with pytest.raises(PinpageError, match="no recording of giga or cma"):
        find_cases(tmp_path, ["giga", "cma"])
    with pytest.raises(PinpageError, match="folder: is none"):
        find_cases(tmp_path / "nowhere")


def test_cases_are_replayed_in_processes_of_their_own_and_told_of(tmp_path):
    put(tmp_path, "a-cmphuge-seed1")
    put(tmp_path, "b-cmphuge-seed2")
    told = []
    found = replay_cases(
        find_cases(tmp_path), nr_jobs=2, progress=lambda *what: told.append((*what, os.getpid()))
    )
    assert [(one.case, one.measured) for one in found] == [
        ("a-cmphuge-seed1", 3),
        ("b-cmphuge-seed2", 3),
    ]
    assert found[0].predicted == found[1].predicted == 2
    assert [what[0] for what in told] == ["a-cmphuge-seed1", "b-cmphuge-seed2"]
    assert {what[3] for what in told} == {os.getpid()}


def test_a_recording_of_something_else_is_named(tmp_path):
    put(tmp_path, "a-giga-seed1")
    with pytest.raises(SnapshotError, match=r"a-giga-seed1.*measured: is no outcome of giga"):
        replay_cases(find_cases(tmp_path))
