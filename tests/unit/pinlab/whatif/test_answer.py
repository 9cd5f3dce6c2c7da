"""The whole answer: the table of recorded layouts, words, JSON, pictures."""

import json

import pytest
from attrs import evolve

from mm.planning.blocks import plan
from pinlab.diagnose.census import census_of
from pinlab.report.blocks import blocks_of
from pinlab.snapshot.holdings import LINUX_MOVES
from pinlab.whatif.answer import as_json, what_if
from pinlab.whatif.show import as_text, draw
from pinpage.errors import PinpageError
from tests.kit.pinlab.blocks import machine_of
from tests.kit.pinlab.recordings import IN_TESTS, opened

LAYOUTS = {
    "anon-cmphuge-seed1": (15, 15, 14),
    "zbud-cmphuge-seed1": (290, 290, 167),
    "gup2-cmphuge-seed1": (436, 15, 14),
    "slab-cmphuge-seed1": (119, 119, 108),
}
"""Recording -> pageblocks of 491 that nobody moves, zbud and gup ignored, slab too."""


def mixed():
    return machine_of([["slab", "zbud"]] * 5 + [["slab"], ["unknown"], [], ["mine"]], nr_free=400)


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_recorded_layouts_come_out_as_counted_in_the_guest(name):
    snapshot = opened(name)
    row = blocks_of(snapshot).rows[0]
    usable = row.nr_blocks - row.cut
    there = {"zbud", "gup", "slab"} & set(row.of_owner)
    stuck = [row.tainted]
    for wanted in (there - {"slab"}, there):
        clean = 491 - row.tainted
        if wanted:
            clean = what_if(snapshot, movable=tuple(wanted)).orders[0].after.clean_lo
        stuck.append(usable - clean)
    assert usable == 491
    assert tuple(stuck) == LAYOUTS[name]


@pytest.mark.parametrize("name", sorted(IN_TESTS))
def test_what_can_be_had_is_what_the_planner_reaches(name):
    snapshot = IN_TESTS[name]()
    answer = what_if(snapshot, movable=("slab",))
    for moved, told in (
        (LINUX_MOVES, answer.orders[0].before),
        ((*LINUX_MOVES, "slab"), answer.orders[0].after),
    ):
        census = census_of(snapshot, moved, cma_stays=False)
        assert plan(census).nr_wholly_free == plan(census).bound == told.obtained_lo


def test_every_order_is_told_and_bounds_hold():
    answer = what_if(IN_TESTS["zbud-cmphuge-seed1"]())
    assert [row.order for row in answer.orders] == list(range(9, 18))
    for row in answer.orders:
        for counted in (row.before, row.after):
            assert counted.obtained_lo <= counted.clean_lo <= counted.clean_hi
            assert counted.obtained_lo <= counted.obtained_hi <= counted.clean_hi
        assert row.free <= row.before.obtained_lo <= row.after.obtained_lo


def test_a_group_is_all_of_its_owners_and_labels_are_owners():
    snapshot = machine_of([["vmalloc", "other"], ["mine"], []], nr_free=400)
    assert what_if(snapshot, movable=("kernel",)).movable == ("vmalloc", "other")
    assert what_if(snapshot, movable=("mine",)).orders[0].after.clean_lo == 2


def test_without_names_everybody_joins():
    assert what_if(mixed()).movable == ("zbud", "slab", "mine")


def test_the_cheapest_set_is_looked_for_among_all_in_the_way():
    answer = what_if(mixed(), movable=("mine",), want=2)
    assert answer.choice.owners == ("slab",)
    assert what_if(mixed(), want=2, costs={"slab": 9.0}).choice.owners == ("mine",)
    assert what_if(mixed(), want=9).choice is None


def test_compaction_is_followed_for_pageblocks_alone():
    assert what_if(mixed()).compacted_before is not None
    assert what_if(mixed(), order=10).compacted_before is None
    assert what_if(mixed(), released=("slab",)).compacted_after is None


def test_what_is_not_certain_is_said_as_a_range():
    machine = machine_of([[]] * 40)
    zones = (evolve(machine.zones[0], pcp_batch=63, pcp_high=3520),)
    answer = what_if(evolve(machine, zones=zones))
    assert (answer.compacted_least, answer.compacted_before) == (16, 20)
    assert "would leave 16 to 20 of them" in as_text(answer)
    assert "would leave about 20 of them" in as_text(what_if(machine))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"movable": ("gup",)}, "movable=gup: holds nothing here; it is one of anon, zbud, slab"),
        ({"released": ("kernel",)}, "release=kernel: holds nothing"),
        ({"movable": ("slab",), "released": ("slab",)}, "slab is to move and to give up"),
        ({"order": 8}, "order=8 is not within 9 to 18"),
        ({"order": 19}, "order=19 is not within 9 to 18"),
        ({"order": 18}, "order=18 is more than the 4,608 frames"),
        ({"costs": {"slab": 1.0}}, "say want="),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(options, words):
    with pytest.raises(PinpageError, match=words):
        what_if(mixed(), **options)


@pytest.mark.parametrize("options", [{}, {"want": 2}, {"want": 9}, {"released": ("slab",)}])
def test_the_text_is_narrow_and_the_json_is_plain(options):
    for snapshot in (mixed(), IN_TESTS["zbud-cmphuge-seed1"]()):
        answer = what_if(snapshot, **options)
        assert max(map(len, as_text(answer).splitlines())) < 80
        shown = json.loads(json.dumps(as_json(answer)))
        assert [row["after"]["clean_lo"] for row in shown["orders"]] == [
            row.after.clean_lo for row in answer.orders
        ]
        assert [(pair["together"], pair["beyond_each"]) for pair in shown["pairs"]] == [
            pair[2:] for pair in answer.pairs
        ]


def test_the_text_says_what_only_a_pair_gains():
    text = as_text(what_if(IN_TESTS["zbud-cmphuge-seed1"](), movable=("zbud", "slab"), want=220))
    assert "zbud+slab                 123                121" in text
    assert "One at a time they clean 2 blocks of 2 MiB, all together 123." in text
    assert "220 blocks of 2 MiB: cheapest set zbud+slab, cost 2, gives 233." in text


@pytest.mark.parametrize("form", ["svg", "pdf"])
def test_the_picture_is_the_same_bytes_each_time(tmp_path, form):
    pytest.importorskip("matplotlib", reason="the extra pinpage[plot] is not installed")
    answer = what_if(mixed())
    for name in ("a", "b"):
        draw(answer, tmp_path / f"{name}.{form}")
    first, second = ((tmp_path / f"{name}.{form}").read_bytes() for name in "ab")
    assert first == second
    start = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF-"}[form]
    assert first.startswith(start)
