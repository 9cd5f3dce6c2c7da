"""1 GiB pages: on drawn machines with small ones, and on recordings with the kernel's answer."""

import pytest

from pinlab.replay.corpus import Corpus
from pinlab.replay.replay import replay_layout
from pinlab.requests.huge1g import serve
from pinlab.requests.report import RequestOptions
from pinpage.errors import PinpageError
from tests.kit.mm.machines import SIZE, Drawn, small_machine
from tests.kit.mm.ranges import Ranged
from tests.kit.pinlab.recordings import BESIDE, opened

NR_PAGES = 2 * SIZE


def served(drawn, **options):
    return serve(drawn.machine, RequestOptions(nr_pages=NR_PAGES, **options))


def test_pages_are_got_until_one_fails():
    drawn = Drawn("a.......", "........", "........", "......#.", "........", "........")
    report = served(drawn)
    assert (report.wanted, report.obtained, report.bound) == (3, 2, 2)
    assert [(a.name, a.errno, a.start) for a in report.attempts] == [
        ("page 0", "OK", 0),
        ("page 1", "OK", 32),
        ("page 2", "ENOMEM", 32),
    ]
    assert (report.pages_moved, report.refused) == (1, {"no_owner": 1})
    assert report.unit == "64 KiB page"
    drawn.machine.check()


def test_as_many_as_are_asked_for():
    drawn = Drawn(*["........"] * 6)
    report = served(drawn, count=2)
    assert (report.wanted, report.obtained, report.bound) == (2, 2, 3)
    assert drawn.machine.hugetlbs.of(NR_PAGES).nr_huge_pages == 2
    assert not report.partial


def test_what_is_looked_at_either_way_is_counted():
    blocks = ["aaaa....", "...x....", "........", "........"]
    unknowing = served(Drawn(*blocks), count=1)
    knowing = served(Drawn(*blocks, movable=False), count=1)
    assert unknowing.details["probes"] == 2 * NR_PAGES
    assert knowing.details["probes"] == 2 + 1 + 2
    for name, probes in (("probes_by_frames", 2 * NR_PAGES), ("probes_by_blocks", 5)):
        assert knowing.details[name] == probes
    assert unknowing.attempts[0].start == knowing.attempts[0].start == 16
    assert knowing.pages_moved == 0


def test_a_plan_takes_the_cheapest_first_and_refuses_without_a_move():
    drawn = Drawn("aa......", "........", "a.......", "........", "......x.", "........", movable=0)
    report = served(drawn, strategy="plan")
    assert (report.obtained, report.bound, report.details["moves_planned"]) == (2, 2, 3)
    assert [a.start for a in report.attempts] == [16, 0, 32]
    assert report.pages_moved == 3
    assert report.refused_by_owner == {"opaque": {"no_callback": 1}}
    drawn.machine.check()


def test_a_signal_ends_it_and_the_report_is_partial():
    drawn = Ranged("aaaa....", "........", "........", "........")
    asked = iter([False, False, True])
    report = served(drawn, interrupted=lambda: next(asked, True))
    assert report.partial
    assert report.obtained < report.wanted
    drawn.machine.check()


def test_a_signal_inside_an_attempt_is_told():
    answers = iter([False, True])
    drawn = Ranged("aaaa....", "........", "........", "........")
    report = served(drawn, count=1, interrupted=lambda: next(answers, True))
    assert [a.errno for a in report.attempts] == ["EINTR"]
    assert (report.partial, report.obtained) == (True, 0)
    drawn.machine.check()


def test_a_node_of_its_own():
    machine = small_machine(8, nr_nodes=2)
    report = serve(machine, RequestOptions(nr_pages=NR_PAGES, node=1))
    assert (report.obtained, report.bound) == (2, 2)
    assert {a.start for a in report.attempts[:2]} == {32, 48}
    with pytest.raises(PinpageError, match="node 4"):
        serve(machine, RequestOptions(nr_pages=NR_PAGES, node=4))


# The kernel's answer.

MEASURED = {"anon": (1, ()), "zsmalloc": (1, ("zsmalloc",)), "zbud": (0, ()), "gup2": (0, ())}
"""Pages that Linux 6.1 obtained, and owners whose pages it could move."""


def recorded(scenario, design, movable=()):
    """The machine as recorded, layout only; skips where the recording is not there."""
    snapshot = opened(f"{scenario}-giga-seed1")
    if snapshot is None:
        pytest.skip(f"{scenario}-giga-seed1 is not in {BESIDE.name} beside the checkout")
    options = {"design_name": design, "movable": frozenset(movable)}
    return snapshot, replay_layout(snapshot, Corpus.build(), **options)


@pytest.mark.slow
@pytest.mark.parametrize("scenario", sorted(MEASURED))
def test_gigantic_pages_are_obtained_exactly_as_measured(scenario):
    measured, movable = MEASURED[scenario]
    snapshot, replayed = recorded(scenario, "registry" if movable else "unmovable", movable)
    assert snapshot.measured.steps["giga"]["obtained"] == measured
    report = serve(replayed.machine, RequestOptions(count=8))
    assert report.obtained == measured
    assert report.pages_moved == pytest.approx(snapshot.measured.pgmigrate_success, rel=0.001)


@pytest.mark.parametrize(
    ("scenario", "movable", "exist"),
    [
        ("gup2", (), 0),
        pytest.param("gup2", ("gup",), 1, marks=pytest.mark.slow),
        ("zbud", ("slab", "zbud"), 0),
    ],
)
def test_a_plan_obtains_every_page_that_exists(scenario, movable, exist):
    """Exhaustively: a range of which every frame is free or movable, and room for the rest."""
    _, replayed = recorded(scenario, "registry", movable)
    machine = replayed.machine
    census, _ = machine.planned.census(machine.design)
    fits = census.free | census.movable
    nr_pages, nr_free = 1 << 18, int(census.free.sum())
    ranges = range(0, len(fits) - nr_pages + 1, nr_pages)
    assert exist == min(sum(fits[at : at + nr_pages].all() for at in ranges), nr_free // nr_pages)
    report = serve(machine, RequestOptions(count=8, strategy="plan"))
    assert report.obtained == report.bound == exist
    assert exist or report.pages_moved == 0
    assert report.obtained or sum(report.refused.values()) > 0
