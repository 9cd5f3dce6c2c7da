"""Bugs planted in the planner, its census and the cost model."""

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

CENSUS, FRONTIER, PLAN, COSTS = (
    "mm/planning/census.py",
    "mm/planning/frontier.py",
    "mm/planning/blocks.py",
    "mm/state/costs.py",
)
BRUTE_FORCE = "tests/property/test_plan_bruteforce.py"
UNIT = "tests/unit/mm/planning/test_blocks.py"
UNIT_CENSUS = "tests/unit/mm/planning/test_census.py"
UNIT_COSTS = "tests/unit/mm/state/test_costs.py"
SIX = f"{BRUTE_FORCE}::test_every_machine_of_up_to_six_pageblocks"
RESTRICTED = f"{BRUTE_FORCE}::test_every_machine_of_up_to_five_pageblocks_with_restricted_targets"
SEARCH = f"{BRUTE_FORCE}::test_no_sequence_of_moves_does_better"
SHARE = f"{BRUTE_FORCE}::test_wanted_blocks_come_from_the_zones_where_they_cost_least"

MUTANTS: list[Mutant] = [
    Mutant(
        name="plan-reservoir-forgotten",
        guards="planner optimality (point 4: lowest)",
        file=FRONTIER,
        old="    i = np.maximum(merged, lowest)\n",
        new="    i = merged\n",
        tests=(RESTRICTED,),
    ),
    Mutant(
        name="plan-closed-blocks-always-first",
        guards="planner optimality (point 4: merged)",
        file=FRONTIER,
        old="    i = np.maximum(merged, lowest)\n",
        new="    i = np.maximum(np.minimum(k, nr_closed[row_zone]), lowest)\n",
        tests=(RESTRICTED, SEARCH),
    ),
    Mutant(
        name="plan-one-block-too-few",
        guards="planner optimality (point 2: the bound is reached)",
        file=FRONTIER,
        old="found = np.searchsorted(gain + closed_zone * lift, ",
        new="found = np.searchsorted(gain + closed_zone * lift, 1 + ",
        tests=(SIX,),
    ),
    Mutant(
        name="plan-zones-run-into-each-other",
        guards="planner optimality (per zone)",
        file=FRONTIER,
        old="    lift = int(gain.max(initial=0)) + 1\n",
        new="    lift = 0\n",
        tests=(RESTRICTED,),
    ),
    Mutant(
        name="plan-fullest-first",
        guards="fewest moves",
        file=PLAN,
        old="np.lexsort((census.nr_movable[candidates], zone_row[candidates]))",
        new="np.lexsort((-census.nr_movable[candidates], zone_row[candidates]))",
        tests=(SIX, UNIT),
    ),
    Mutant(
        name="plan-zones-shared-greedily",
        guards="fewest moves over zones",
        file=PLAN,
        old="        better = offer < joined[reach]\n",
        new="        better = joined[reach] == np.iinfo(np.int64).max\n",
        tests=(SHARE,),
    ),
    Mutant(
        name="plan-fills-blocks-it-empties",
        guards="PL3",
        file=PLAN,
        old="is_open & ~chosen, zone_row)",
        new="is_open, zone_row)",
        tests=(UNIT, SIX),
    ),
    Mutant(
        name="plan-fills-closed-blocks",
        guards="PL2",
        file=PLAN,
        old="_targets(census, sources, is_open & ~chosen",
        new="_targets(census, sources, ~chosen",
        tests=(UNIT, RESTRICTED),
    ),
    Mutant(
        name="plan-targets-of-another-zone",
        guards="PL2",
        file=PLAN,
        old="    target[by_zone] = free[",
        new="    target[:] = free[",
        tests=(UNIT,),
    ),
    Mutant(
        name="plan-fills-clearable-blocks-first",
        guards="order of targets",
        file=PLAN,
        old="census.clearable[fillable], zone_row",
        new="~census.clearable[fillable], zone_row",
        tests=(UNIT,),
    ),
    Mutant(
        name="plan-fills-emptiest-first",
        guards="order of targets",
        file=PLAN,
        old="keys = (fillable, -census",
        new="keys = (fillable, census",
        tests=(UNIT,),
    ),
    Mutant(
        name="plan-restriction-not-named",
        guards="reasons",
        file=PLAN,
        old="    reason[most < anywhere] = Outcome.TARGETS_RESTRICTED\n",
        new="",
        tests=(UNIT,),
    ),
    Mutant(
        name="plan-reservoir-called-free",
        guards="PL4",
        file=PLAN,
        old="    wholly[target // size] = False\n",
        new="",
        tests=(UNIT, SEARCH),
    ),
    Mutant(
        name="plan-check-skips-duplicate-sources",
        guards="PL1",
        file=PLAN,
        old='np.count_nonzero(after) == nr_free + len(source), "PL1',
        new='np.count_nonzero(after) >= 0, "PL1',
        tests=(UNIT,),
    ),
    Mutant(
        name="plan-check-skips-duplicate-targets",
        guards="PL1",
        file=PLAN,
        old='np.count_nonzero(after) == nr_free, "PL1',
        new='np.count_nonzero(after) >= 0, "PL1',
        tests=(UNIT,),
    ),
    Mutant(
        name="census-partial-block-cleared",
        guards="N2",
        file=CENSUS,
        old="        return self.nr_pages_per_block - self.nr_free - self.nr_movable\n",
        new="        return _count(~self.by_block(self.free | self.movable)[:, :0])\n",
        tests=(UNIT_CENSUS,),
    ),
    Mutant(
        name="census-cached-page-is-free",
        guards="a frame on a per-CPU list is no target",
        file=CENSUS,
        old="free=(frames.state == FrameState.FREE) & ours_flat",
        new="free=np.isin(frames.state, (FrameState.FREE, FrameState.PCP)) & ours_flat",
        tests=(UNIT_CENSUS,),
    ),
    Mutant(
        name="census-unknown-can-move",
        guards="a frame of which nothing is known is stuck",
        file=CENSUS,
        old="movable=movable & (frames.state == FrameState.USED) & ours_flat",
        new="movable=movable & (frames.state != FrameState.FREE) & ours_flat",
        tests=(UNIT_CENSUS,),
    ),
    Mutant(
        name="census-crosses-zones",
        guards="pages stay in their zone",
        file=CENSUS,
        old="== zone[:, None]) & usable",
        new=">= 0) & usable",
        tests=(UNIT_CENSUS,),
    ),
    Mutant(
        name="census-overlap-accepted",
        guards="N1",
        file=CENSUS,
        old="        if (self.free & self.movable).any():\n            raise",
        new="        if False:\n            raise",
        tests=(UNIT_CENSUS,),
    ),
    Mutant(
        name="plan-flushes-per-page",
        guards="modelled cost of a range",
        file="mm/planning/fill.py",
        old="    flushes = -(-nr_moves // costs.flush_batch_nr_pages)\n",
        new="    flushes = nr_moves\n",
        tests=("tests/unit/mm/planning/test_ranges.py",),
    ),
    Mutant(
        name="costs-free-scan-not-counted",
        guards="calibration: scanning included",
        file=COSTS,
        old="        return self.pages_scanned_migrate + self.pages_scanned_free\n",
        new="        return self.pages_scanned_migrate\n",
        tests=(UNIT_COSTS,),
    ),
    Mutant(
        name="clock-runs-backwards",
        guards="simulated time goes forward",
        file=COSTS,
        old="        if passed is None or passed < 0:\n",
        new="        if passed is None:\n",
        tests=(UNIT_COSTS,),
    ),
]
