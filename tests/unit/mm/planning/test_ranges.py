"""Which ranges to empty: choice, ties, targets, reasons, refusals.  Optimality: tests/property."""

import numpy as np
import pytest
from attrs import evolve

from mm.planning.census import Census
from mm.planning.fill import fill
from mm.planning.range_plan import RangeOutcome
from mm.planning.ranges import cheapest_ranges
from mm.state.costs import CostModel
from pinpage.errors import InvariantError, PinpageError
from pinpage.units import Span


def census_of(text, **columns):
    """'.' free, 'm' movable, 'c' movable by a callback, '#' stuck; blocks of eight."""
    frames = np.array(list(text.replace(" ", "")))
    if (frames == "c").any():
        columns |= {"owner": (frames == "c").astype(np.uint8), "owner_names": ("home", "slab")}
    movable = (frames == "m") | (frames == "c")
    return Census(frames == ".", movable, nr_pages_per_block=8, **columns)


def test_the_cheapest_range_into_blocks_that_cannot_be_emptied():
    census = census_of("mmm..... m......m #....... .......m")
    planned = cheapest_ranges(census, 8, 8)
    assert planned.span == Span(24, 32)
    assert (planned.sources.tolist(), planned.targets.tolist()) == ([31], [17])
    planned.check()


def test_a_range_may_start_inside_a_pageblock():
    census = census_of("####.m.. ..mmmm.. ....#### ........")
    planned = cheapest_ranges(census, 8, 2, candidates=Span(0, 24))
    assert planned.starts.tolist() == [0, 2, 4, 6, 8, 10, 12, 14, 16]
    assert planned.span == Span(12, 20)
    assert (planned.sources.tolist(), planned.targets.tolist()) == ([12, 13], [24, 25])
    planned.check()


def test_a_pageblock_that_is_isolated_lends_nothing():
    census = census_of("mmmm.... mmmmmmmm")
    assert cheapest_ranges(census, 4, 4, candidates=Span(0, 4)).spans == ()
    planned = cheapest_ranges(census, 4, 4, candidates=Span(8, 12))
    assert planned.targets.tolist() == [4, 5, 6, 7]


def test_ties_go_to_fewer_callbacks_then_to_the_lower_pfn():
    planned = cheapest_ranges(census_of("c....... m....... m....... ........"), 8, 8, want=2)
    assert planned.spans == (Span(24, 32), Span(8, 16))
    only = cheapest_ranges(census_of("c....... m....... m......."), 8, 8)
    assert only.span == Span(8, 16)


def test_moves_out_of_one_range_do_not_fill_another():
    census = census_of("mmmm.... mmmm.... mmmmmmm. #....... .mmmmmmm")
    planned = cheapest_ranges(census, 8, 8, want=2)
    assert planned.spans == (Span(0, 8), Span(8, 16))
    assert planned.targets.tolist() == [25, 26, 27, 28, 29, 30, 31, 23]
    planned.check()


def test_spare_ranges_are_filled_last():
    """Blocks 2 and 3 make a range of sixteen; block 0 cannot, for block 1 is stuck."""
    census = census_of("......mm #mmmmmmm mmm..... mmmmmm.. mmmmmmmm m......m")
    candidates = np.array([0, 16, 32], dtype=np.int64)
    planned = cheapest_ranges(census, 16, candidates=candidates)
    assert planned.span == Span(16, 32)
    assert planned.targets.tolist() == [0, 1, 2, 3, 4, 5, 41, 42, 43]
    planned.check()


def test_each_candidate_has_an_outcome():
    census = census_of(
        "........ m....... mm...... #....... mmmm....", zone=np.array([0, 0, 0, 0, 1])
    )
    planned = cheapest_ranges(census, 8, 8, want=2)
    assert [planned.outcome_of(start) for start in (0, 8, 16, 24, 32)] == [
        RangeOutcome.CHOSEN,
        RangeOutcome.CHOSEN,
        RangeOutcome.NOT_WANTED,
        RangeOutcome.STUCK,
        RangeOutcome.NOT_WANTED,
    ]
    assert planned.counts()[RangeOutcome.NOT_WANTED] == 2
    assert planned.bound == 4
    assert (planned.moves_of(16), planned.nr_moves) == (2, 1)
    scarce = cheapest_ranges(census, 8, 8, want=None, reserve=20)
    assert (len(scarce.spans), scarce.bound) == (1, 1)
    assert scarce.outcome_of(8) is RangeOutcome.NO_FREE_FRAMES


def test_a_range_does_not_cross_zones():
    census = census_of("........ ........ ........", zone=np.array([0, 1, 1]))
    planned = cheapest_ranges(census, 16, 8)
    assert planned.outcome_of(0) is RangeOutcome.TWO_ZONES
    assert planned.span == Span(8, 24)


def test_a_pageblock_that_may_not_be_isolated_lends_and_is_not_emptied():
    """Its first frame is what isolation would name."""
    isolable = np.array([False, True, True, False])
    census = census_of("m....... mm...... mmmmmmmm .......#", isolable=isolable)
    planned = cheapest_ranges(census, 8, 8, want=None)
    assert (planned.spans, planned.bound) == ((Span(8, 16), Span(16, 24)), 2)
    assert planned.outcome_of(0) is RangeOutcome.STUCK
    assert [planned.in_the_way(Span(at, at + 8)).pfns.tolist() for at in (0, 8, 24)] == [
        [0],
        [],
        [31],
    ]
    assert planned.nearest == Span(8, 16)
    assert set(planned.targets.tolist()) <= {*range(1, 8), *range(24, 31)}
    planned.check()
    everything = evolve(census, isolable=np.ones(4, dtype=bool))
    with pytest.raises(InvariantError, match="Q3 a chosen range may not"):
        evolve(cheapest_ranges(everything, 8, 8), census=census).check()


def test_a_pageblock_that_does_not_lend_is_emptied_and_not_filled():
    census = census_of("mm...... #....... #.......", usable=np.array([False, False, True]))
    planned = cheapest_ranges(census, 8, 8)
    assert (planned.span, planned.targets.tolist()) == (Span(0, 8), [17, 18])
    planned.check()
    nothing = evolve(census, usable=np.zeros(3, dtype=bool))
    assert cheapest_ranges(nothing, 8, 8).outcome_of(0) is RangeOutcome.NO_FREE_FRAMES


def test_a_range_may_begin_in_a_pageblock_that_may_not_be_isolated():
    census = census_of("........ ........ ........", isolable=np.array([False, True, True]))
    planned = cheapest_ranges(census, 8, 4)
    assert planned.spans == (Span(8, 16),)
    assert planned.in_the_way(Span(4, 12)).pfns.tolist() == [0]


def test_zones_on_their_own():
    census = census_of("mmmm.... mmmm.... m....... ........", zone=np.array([0, 0, 1, 1]))
    planned = cheapest_ranges(census, 8, 8, want=None, across_zones=False)
    assert (planned.spans, planned.bound) == ((Span(24, 32), Span(0, 8)), 2)
    assert planned.targets.tolist() == [12, 13, 14, 15]
    both = cheapest_ranges(census, 8, 8, want=None)
    assert both.bound == 2
    assert {span.start for span in both.spans} == {16, 24}


def test_its_own_zone_is_filled_first():
    census = census_of("#....... m....... #.......", zone=np.array([0, 1, 1]))
    planned = cheapest_ranges(census, 8, 8, candidates=Span(8, 16))
    assert planned.targets.tolist() == [17]


def test_the_bound_counts_ranges_that_can_be_had_at_once():
    census = census_of("........ ........ ........ ........")
    planned = cheapest_ranges(census, 8, 4, candidates=Span(0, 16))
    assert planned.starts.tolist() == [0, 4, 8]
    assert planned.bound == 2


def test_what_is_in_the_way():
    owner = np.zeros(24, dtype=np.uint8)
    owner[[1, 2, 17]] = (1, 2, 2)
    census = Census(
        np.zeros(24, dtype=bool),
        ~np.isin(np.arange(24), (1, 2, 3, 17)),
        nr_pages_per_block=8,
        owner=owner,
        owner_names=("unknown", "slab", "gup"),
    )
    planned = cheapest_ranges(census, 8, 8)
    assert (planned.span, planned.nr_moves, planned.bound) == (None, 0, 0)
    assert planned.outcome_of(8) is RangeOutcome.NO_FREE_FRAMES
    way = planned.in_the_way(Span(0, 8))
    assert way.pfns.tolist() == [1, 2, 3]
    assert way.owners == {"unknown": 1, "slab": 1, "gup": 1}
    assert planned.nearest == Span(8, 16)
    stuck_only = cheapest_ranges(census, 8, 16)
    assert stuck_only.nearest == Span(16, 24)
    assert stuck_only.in_the_way(stuck_only.nearest).owners == {"gup": 1}
    with pytest.raises(PinpageError, match="not in the census"):
        planned.in_the_way(Span(16, 32))


def test_no_candidate_at_all():
    planned = cheapest_ranges(census_of("........"), 16)
    assert (planned.span, planned.nearest, planned.bound, planned.counts()) == (None, None, 0, {})
    with pytest.raises(PinpageError, match="no candidate starts"):
        planned.outcome_of(0)


def test_a_census_that_does_not_start_at_zero():
    census = census_of("mm...... #.......", start=80)
    planned = cheapest_ranges(census, 8, 8)
    assert planned.span == Span(80, 88)
    assert (planned.sources.tolist(), planned.targets.tolist()) == ([80, 81], [89, 90])
    assert planned.in_the_way(Span(88, 96)).pfns.tolist() == [88]
    planned.check()


def test_a_last_pageblock_cut_short():
    census = census_of("m....... m...")
    assert cheapest_ranges(census, 8, 8).starts.tolist() == [0]
    planned = cheapest_ranges(census, 4, 4, candidates=Span(8, 12))
    assert (planned.sources.tolist(), planned.targets.tolist()) == ([8], [1])


def test_the_modelled_cost():
    costs = CostModel()
    census = census_of("mmm.c... #....... mmmmmmmm")
    planned = cheapest_ranges(census, 8, 8, costs=costs)
    moves = 4 * (2 * costs.isolate_ns + costs.copy_ns) + 3 * costs.pte_ns
    assert planned.modelled_ns == moves + costs.callback_ns + costs.flush_ns
    assert planned.ns_of(0) == planned.modelled_ns
    assert planned.nr_callbacks == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nr_pages": 0}, "nr_pages=0"),
        ({"align": 0}, "align=0"),
        ({"want": -1}, "want=-1"),
        ({"reserve": -1}, "reserve=-1"),
        ({"nr_pages": 4, "want": 2}, "whole pageblocks"),
        ({"nr_pages": 16, "align": 8, "want": None}, "whole pageblocks"),
        ({"candidates": np.array([8, 0])}, "ascending"),
        ({"candidates": np.array([24])}, "leaves the census"),
    ],
)
def test_nonsense_is_refused(options, message):
    options = {"nr_pages": 8, "align": 8} | options
    with pytest.raises(PinpageError, match=message):
        cheapest_ranges(census_of("........ ........ ........"), **options)


def test_check_notices_a_plan_that_is_not_one():
    census = census_of("mm...... mmmmmmm. #.......")
    planned = cheapest_ranges(census, 8, 8)
    broken = {
        "Q1 sources": {"sources": planned.sources[:1]},
        "Q1 not one": {"targets": planned.targets[:1]},
        "Q1 a target": {"targets": np.array([0, 16])},
        "Q2 a target occurs": {"targets": np.array([17, 17])},
        "Q2 a target lies": {"targets": np.array([2, 17])},
        "Q3 a stuck": {"spans": (Span(16, 24),)},
        "Q3 chosen": {"spans": planned.spans * 2},
    }
    for message, change in broken.items():
        with pytest.raises(InvariantError, match=message):
            evolve(planned, **change).check()


def test_filling_counts_first():
    census = census_of("mmmmmmm.")
    everywhere, nowhere = np.ones(1, dtype=bool), np.zeros(1, dtype=bool)
    with pytest.raises(InvariantError, match="more free frames"):
        fill(census, np.arange(2), everywhere, nowhere)


def test_a_range_pays_with_no_frames_that_nobody_could_have():
    """What is free in the first block is nobody's; the last lends eight, for one range."""
    everything = census_of("........ mmmmmmmm ........ s.......")
    census = evolve(everything, usable=np.array([False, True, True, False]))
    planned = cheapest_ranges(census, 8, 8, want=None)
    assert [span.start for span in planned.spans] == [0, 16]
    assert planned.bound == 2
