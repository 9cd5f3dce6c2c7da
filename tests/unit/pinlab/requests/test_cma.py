"""The cma request: the sequence of sizes, what it counts, and when it stops."""

import pytest

from mm.state.pageblock import MigrateType
from pinlab.requests.cma import USUAL_SIZES, serve
from pinlab.requests.report import RequestOptions, RequestReport
from pinlab.requests.run import open_memory, run_request
from pinlab.requests.show import as_text
from pinpage.errors import PinpageError
from pinpage.testing.world import column
from tests.kit.mm.ranges import Ranged

FREE = "........"


def area(*blocks, **how):
    world = Ranged(*blocks, FREE, FREE, **how)
    for block in range(len(blocks)):
        world.machine.buddy.set_migratetype(block, MigrateType.CMA)
    return world


def options(**what):
    return RequestOptions(**what)


def outcome(report):
    return [(attempt.name, attempt.errno) for attempt in report.attempts]


def test_a_size_that_fails_is_not_asked_for_again():
    report = serve(area("aa......", FREE).machine, options())
    assert outcome(report) == [
        *[("1 page", "OK")] * 4,
        ("16 pages", "ENOMEM"),
        *[(f"{nr_pages} pages", "ENOMEM") for nr_pages, _ in USUAL_SIZES[2:6]],
        ("16 pages", "ENOMEM"),
    ]
    assert (report.obtained, report.wanted) == (4, 29284)
    assert (report.bound, report.pages_moved) == (16, 2)


def test_given_sizes_and_alignment():
    report = serve(area("P.......", FREE).machine, options(count=3, nr_pages=4, align_order=2))
    assert [(a.start, a.stop) for a in report.attempts] == [(4, 8), (8, 12), (12, 16)]
    assert (report.wanted, report.obtained, report.bound) == (12, 12, 12)
    assert report.details == {"ranges_tried": 6, "ranges_skipped": 0}
    assert report.refused == {}


def test_refusals_of_the_last_range_are_told_by_owner():
    report = serve(area("P..x....", movable=False).machine, options(count=1, nr_pages=8))
    assert report.obtained == 0
    assert report.refused_by_owner == {"home": {"unaccounted": 1}, "opaque": {"no_callback": 1}}


def test_the_bound_counts_pages_on_per_cpu_lists():
    world = area("aaP.....", FREE)
    world.machine.cma.adopt()
    world.machine.memory.dontneed(world.space, column(0, 1))
    assert serve(world.machine, options(count=1, nr_pages=1)).bound == 15


def test_by_plan_nothing_is_moved_for_nothing():
    world = area("P..aa...")
    report = serve(world.machine, options(count=1, nr_pages=8, strategy="plan"))
    assert (report.obtained, report.pages_moved) == (0, 0)
    assert (report.attempts[0].start, report.attempts[0].errno) == (0, "ENOMEM")
    assert report.refused == {"unaccounted": 1}


@pytest.mark.parametrize(("nr_asked", "obtained"), [(1, 0), (2, 0), (3, 2), (4, 4)])
def test_it_is_interrupted_between_attempts_and_between_tries(nr_asked, obtained):
    world = area("aa..aa..", FREE)
    asked = []

    def interrupted():
        asked.append(1)
        return len(asked) >= nr_asked

    report = serve(world.machine, options(count=4, nr_pages=2, interrupted=interrupted))
    assert report.partial
    assert report.obtained == obtained
    world.check()


def test_a_signal_inside_an_attempt_is_told():
    answers = iter([False, True])
    told = options(count=1, nr_pages=2, interrupted=lambda: next(answers, True))
    report = serve(area("aa......", FREE).machine, told)
    assert outcome(report) == [("2 pages", "EINTR")]
    assert report.partial


def test_memory_without_an_area_is_refused():
    with pytest.raises(PinpageError, match="no contiguous area"):
        serve(Ranged(FREE).machine, options())


def test_nothing_stored_is_lost_and_dropped_cache_is_on_disk():
    snapshot = open_memory("cma", "scenario:64MiB,anon=40%,file=20%,cma=16MiB", seed=3)
    report = run_request("cma", snapshot, options(count=4, nr_pages=1024))
    assert (report.obtained, report.bytes_lost) == (4096, 0)
    assert report.bytes_verified > 0


@pytest.mark.parametrize("strategy", ["scan", "plan"])
def test_frames_in_the_way_are_named(strategy):
    """Of every range that failed, in text the first ten, in JSON all."""
    world = area(*["...P...."] * 12)
    report = serve(world.machine, options(count=1, nr_pages=8, strategy=strategy))
    named = [(each.pfn, each.nr_pages, each.owner, each.reason) for each in report.in_the_way]
    pins = [8 * block + 3 for block in range(12)]
    expected = pins if strategy == "scan" else pins[:1]
    assert named == [(pfn, 1, "home", "unaccounted") for pfn in expected]
    assert [row["pfn"] for row in report.as_json()["in_the_way"]] == expected
    text = as_text(report)
    assert f"Frames in the way: {len(expected)}" in text
    assert ("0x4b" in text, "0x53" in text) == (strategy == "scan", False)
    assert ("... and 2 more, which the JSON has" in text) == (strategy == "scan")
    assert RequestReport.from_json(report.as_json()) == report


def test_what_was_obtained_had_nothing_in_the_way():
    report = serve(area("...P....", FREE).machine, options(count=1, nr_pages=8))
    assert (report.obtained, report.in_the_way) == (8, ())
