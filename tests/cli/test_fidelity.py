"""`pinpage fidelity DIR`: case by case beside the kernel."""

import json
import shutil

import pytest

from pinlab.requests.fidelity import find_cases, replay_case
from tests.kit.command import check_one_line
from tests.kit.pinlab.recordings import BESIDE


@pytest.fixture
def folder(tmp_path, small):
    shutil.copyfile(small, tmp_path / "small-cmphuge-seed1.npz")
    shutil.copyfile(small, tmp_path / "small-cmphuge-seed2.npz")
    return tmp_path


def test_json_is_a_list_of_cases(pinpage, folder):
    done = pinpage("fidelity", folder, "--json")
    assert (done.code, done.err) == (0, "")
    shown = json.loads(done.out)
    assert [one["case"] for one in shown] == ["small-cmphuge-seed1", "small-cmphuge-seed2"]
    assert {one["request"] for one in shown} == {"cmphuge"}
    assert all((one["predicted"], one["measured"]) == (2, 3) for one in shown)


def test_a_person_gets_a_table(pinpage, folder):
    done = pinpage("fidelity", folder, "--only", "cmphuge", "--jobs", 1)
    assert done.code == 0
    assert "cmphuge: 2 of 2 within the bar, 0 exactly" in done.out


def test_wrong_calls_are_one_line(pinpage, folder):
    check_one_line(pinpage("fidelity"), 2, "fidelity --help")
    check_one_line(pinpage("fidelity", folder / "no"), 1, "folder: is none")
    check_one_line(pinpage("fidelity", folder, "--only", "giga"), 2, "no recording of giga")
    check_one_line(pinpage("fidelity", folder, "--only", "all"), 2, "--only", "'cmphuge'")
    check_one_line(pinpage("fidelity", folder, "--jobs", "0"), 2, "--jobs")


def test_a_damaged_recording_is_a_failure_that_names_it(pinpage, folder):
    damaged = folder / "small-cmphuge-seed2.npz"
    damaged.write_bytes(damaged.read_bytes()[:-2000])
    check_one_line(pinpage("fidelity", folder), 1, "small-cmphuge-seed2.npz", "cut short")


# What a person gets who asks the recorded machine without naming a design.

ASKED_AS = {"huge": "huge2m", "offline": "offline", "cma": "cma", "giga": "huge1g"}
AT_ONCE = "zsmalloc-offline-seed2"
"""Five blocks go, and only two if zsmalloc stays."""


def cases_beside():
    if not BESIDE.is_dir():
        pytest.skip(f"no recordings in {BESIDE.parent.name}/{BESIDE.name} beside the checkout")
    return find_cases(BESIDE, tuple(ASKED_AS))


def by_request(pinpage, case, *options):
    done = pinpage("request", ASKED_AS[case.request], case.path, "--json", *options)
    assert (done.code, done.err) == (0, "")
    return json.loads(done.out)["obtained"]


def test_a_request_gives_the_figure_of_fidelity(pinpage):
    (case,) = [case for case in cases_beside() if case.name == AT_ONCE] or [None]
    if case is None:
        pytest.skip(f"{AT_ONCE}.npz is not beside the checkout")
    assert by_request(pinpage, case, "--layout-only") == 5  # as `fidelity` and Linux have it


@pytest.mark.slow
def test_every_request_gives_the_figure_of_fidelity(pinpage):
    """With real bytes, where `fidelity` moves only frames; `huge` has bytes in both."""
    differ = {
        case.name: (asked, predicted)
        for case in cases_beside()
        if (asked := by_request(pinpage, case)) != (predicted := replay_case(case).predicted)
    }
    assert differ == {}
