"""Verdicts and what is in the way: by hand, and against what recorded kernels then gave."""

import json
import re

import numpy as np
import pytest
from attrs import evolve

from mm.state.pageblock import MigrateType
from pinlab.diagnose.census import areas_of, census_of
from pinlab.diagnose.diagnosis import as_json, diagnose
from pinlab.diagnose.show import as_text, sentence
from pinlab.procfs.linux61 import load_recording
from pinlab.requests.fidelity import within_bar
from pinlab.snapshot.classes import FrameClass
from pinlab.snapshot.facts import CmaFacts, Geometry
from pinlab.snapshot.holdings import LINUX_MOVES
from pinpage.errors import PinpageError
from pinpage.units import PAGE_SIZE, Span
from tests.kit.pinlab.blocks import BLOCK, machine_of, snapshot_of
from tests.kit.pinlab.recordings import BESIDE, IN_TESTS
from tests.kit.pinlab.small import small_recording

OFFLINE = sorted(BESIDE.glob("*-offline-seed1.npz"))
GIGA = sorted(BESIDE.glob("*-giga-seed1.npz"))


@pytest.mark.parametrize(
    ("blocks", "nr_free", "verdict"),
    [
        ([[], ["slab"]], BLOCK, "now"),
        ([[], ["slab"], ["slab"]], 400, "after compaction"),
        ([["slab"], ["slab"], ["slab"]], 400, "after callbacks"),
        ([["reserved"], ["reserved"]], 400, "never"),
        ([["unknown"], ["unknown"]], 400, "never"),
        ([[], []], 100, "never"),
    ],
)
def test_the_verdict(blocks, nr_free, verdict):
    found = diagnose(machine_of(blocks, nr_free=nr_free), order=9)
    assert found.verdict == verdict
    assert sentence(found, PAGE_SIZE)


def test_a_clear_place_without_room_elsewhere_is_said_to_be_one():
    found = diagnose(machine_of([[], []], nr_free=100), order=9)
    assert (found.nr_clear, found.nr_short, found.bound) == (2, 2, 0)
    assert "no room elsewhere" in as_text(found, PAGE_SIZE)


def test_the_nearest_are_those_with_the_fewest_frames_in_the_way():
    found = diagnose(machine_of([["slab"] * 3, ["zbud"], ["reserved"], ["gup", "slab"]]), order=9)
    assert [place.pfn for place in found.nearest] == [BLOCK, 3 * BLOCK, 0, 2 * BLOCK]
    assert found.nearest[0].owners == {"zbud": 1}
    assert found.nearest[0].pfns == (BLOCK,)
    assert found.nearest[1].owners == {"gup": 1, "slab": 1}
    assert found.choice.owners in {("zbud",), ("slab",)}


def test_where_there_is_no_memory_there_is_no_place():
    """Half of the address space of many machines is a hole, and nothing is stuck in it."""
    found = diagnose(machine_of([[], ["hole"] * BLOCK, ["slab"]], nr_free=0), order=9)
    assert (found.nr_candidates, found.nr_clear) == (2, 1)
    assert [place.pfn for place in found.nearest] == [2 * BLOCK]


def test_what_nobody_knows_is_not_said_to_stay_for_ever():
    known, unknown = (
        sentence(diagnose(machine_of([[name], [name]], nr_free=400), order=9), PAGE_SIZE)
        for name in ("reserved", "unknown")
    )
    assert "cannot be had, whoever moves. Something" in known
    both = diagnose(machine_of([["reserved", "unknown"]], nr_free=400), order=9)
    assert "cannot be had, whoever moves. Something" in sentence(both, PAGE_SIZE)
    assert "cannot be had, whoever moves, unless frames of unknown use do. Something" in unknown


def test_numbers_and_names_are_said_as_people_say_them():
    found = diagnose(machine_of([["slab", "zbud", "gup"]] * 2, nr_free=400), order=9)
    text = sentence(found, PAGE_SIZE)
    assert text.endswith("if zbud, gup and slab could move, 1 could be had.")
    one = diagnose(machine_of([["slab"]], nr_free=400), order=9)
    assert re.search(r"stuck in 1 of 1 place[;.]", sentence(one, PAGE_SIZE))


def test_small_pages_have_a_bound_like_large_ones():
    """Two sizes of them fit into what is free, and no more do."""
    found = diagnose(machine_of([["slab"] * 5], nr_free=64), order=3)
    assert "8 at most" in as_text(found, PAGE_SIZE)
    assert "or more" not in as_text(found, PAGE_SIZE)


def test_no_more_than_ten_are_shown():
    assert len(diagnose(machine_of([["slab"]] * 30), order=9).nearest) == 10


def test_frames_of_unknown_use_are_told_as_a_bound():
    found = diagnose(machine_of([["unknown"], ["slab"], []], nr_free=400), order=9)
    assert (found.bound, found.bound_if_known) == (1, 2)
    assert "if they moved, 2 at most" in as_text(found, PAGE_SIZE)


@pytest.mark.parametrize("name", sorted(IN_TESTS))
def test_huge_pages_are_as_many_as_the_kernel_then_gave(name):
    snapshot = IN_TESTS[name]()
    found = diagnose(snapshot, order=9)
    assert within_bar("cmphuge", found.by_scanners, snapshot.measured.huge_pages)
    assert found.nr_free == snapshot.measured.wholly_free_before
    assert found.bound >= found.by_scanners


@pytest.mark.slow
@pytest.mark.parametrize("path", GIGA, ids=lambda path: path.stem)
def test_gigantic_pages_are_as_many_as_the_kernel_then_gave(path):
    snapshot = load_recording(path)
    assert diagnose(snapshot, order=18).bound == snapshot.measured.steps["giga"]["obtained"]


@pytest.mark.slow
@pytest.mark.parametrize("path", OFFLINE, ids=lambda path: path.stem)
def test_a_memory_block_goes_offline_if_nothing_is_stuck_in_it(path):
    """Each of the recorded requests begins with what the one before left: one may differ."""
    snapshot = load_recording(path)
    wrong = [
        block for block in range(7)
        if (snapshot.measured.steps[f"offline{block}"]["rc"] == 0)
        != (diagnose(snapshot, block=block).verdict in {"now", "after compaction"})
    ]  # fmt: skip
    assert len(wrong) <= 1


def test_small_orders_and_large_ones_are_answered():
    snapshot = IN_TESTS["gup2-cmphuge-seed1"]()
    for order in (3, 8, 10, 13, 17):
        found = diagnose(snapshot, order=order)
        assert found.nr_candidates == snapshot.nr_frames >> order
        assert found.nr_free <= found.nr_clear <= found.nr_candidates


def test_of_a_contiguous_area():
    types = [MigrateType.MOVABLE, MigrateType.CMA, MigrateType.CMA, MigrateType.MOVABLE]
    klass = np.full((4, BLOCK), FrameClass.ANON)
    klass[:, 100:] = FrameClass.FREE
    klass[2, 0] = FrameClass.GUP
    snapshot = snapshot_of(klass.reshape(-1), types=types)
    assert areas_of(snapshot) == {"area0": Span(BLOCK, 3 * BLOCK)}
    found = diagnose(snapshot, order=9, area="")
    assert (found.nr_candidates, found.nr_clear, found.verdict) == (2, 1, "after compaction")
    assert found.nearest[0].pfn == 2 * BLOCK
    with pytest.raises(PinpageError, match="order=10 is more than there is of CMA area area0"):
        diagnose(snapshot, order=10, area="area0")


def test_a_range_of_whole_memory_may_not_take_pageblocks_of_cma():
    types = [MigrateType.MOVABLE, MigrateType.CMA]
    snapshot = snapshot_of(np.full(2 * BLOCK, FrameClass.ANON), types=types)
    assert diagnose(snapshot, order=10).nr_clear == 0
    assert diagnose(snapshot, order=9).nr_clear == 2


def test_a_memory_block_to_go_offline():
    geometry = Geometry(memory_block_nr_pages=2 * BLOCK)
    snapshot = evolve(machine_of([[], [], ["slab"], [], ["hole"], []]), geometry=geometry)
    assert [diagnose(snapshot, block=block).verdict for block in range(3)] == [
        "after compaction", "after callbacks", "never",
    ]  # fmt: skip
    assert diagnose(snapshot, block=1).choice.owners == ("slab",)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "give order="),
        ({"order": 9, "block": 0}, "give order="),
        ({"block": 0, "area": ""}, "give order="),
        ({"order": 2}, "order=2 is not within 3 to 18"),
        ({"order": 19}, "order=19 is not within 3 to 18"),
        ({"order": 18}, "order=18 is more than there is of memory"),
        ({"order": 9, "area": ""}, "no contiguous area"),
        ({"block": 0}, "is not there: whole memory blocks, from 0 on: 0"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(options, words):
    with pytest.raises(PinpageError, match=words):
        diagnose(small_recording(), **options)


def test_an_area_is_named_where_there_are_several():
    areas = tuple(CmaFacts(name, start * BLOCK, BLOCK) for name, start in (("a", 1), ("b", 3)))
    snapshot = evolve(machine_of([[]] * 4), geometry=Geometry(cma_areas=areas))
    with pytest.raises(PinpageError, match="area='' is not there: it is one of a, b"):
        diagnose(snapshot, order=9, area="")
    assert diagnose(snapshot, order=9, area="b").nr_candidates == 1


def test_the_census_counts_as_the_holdings_do():
    for snapshot in (small_recording(), *(make() for make in IN_TESTS.values())):
        census = census_of(snapshot, LINUX_MOVES, cma_stays=True)
        census.check()
        listed = snapshot.nr_frames_of(FrameClass.PCP)
        assert int(census.free.sum()) == snapshot.nr_frames_of(FrameClass.FREE) + listed


def test_the_text_is_narrow_and_the_json_is_plain():
    for snapshot in (small_recording(), *(make() for make in IN_TESTS.values())):
        found = diagnose(snapshot, order=9, again=snapshot)
        assert max(map(len, as_text(found, PAGE_SIZE).splitlines())) < 80
        shown = json.loads(json.dumps(as_json(found)))
        assert shown["nearest"][0]["pfns"] == list(found.nearest[0].pfns)
        assert shown["again"]["owners"][0]["held_share"] == 1.0
