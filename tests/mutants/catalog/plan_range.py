"""Bugs planted in the choice of ranges, in the order of filling, and in what plans promise."""

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

RANGE, FILL, VALUE, RUN = (
    "mm/planning/ranges.py",
    "mm/planning/fill.py",
    "mm/planning/range_plan.py",
    "mm/planning/execute.py",
)
UNIT = "tests/unit/mm/planning/test_ranges.py"
POWER = "tests/unit/mm/power/test_power.py"
HOTPLUG = "tests/unit/mm/hotplug/test_memory_hotplug.py"
GIGANTIC = "tests/unit/mm/hugetlb/test_gigantic.py"
OPTIMAL = "tests/property/test_plan_range_optimal.py"
PROGRAM = f"{OPTIMAL}::test_as_good_as_the_integer_program"
LOOPS = f"{OPTIMAL}::test_one_range_anywhere_against_plain_loops"
SEARCH = f"{OPTIMAL}::test_no_sequence_of_moves_gets_more_ranges"
MONOTONE = "tests/property/test_monotone_plan.py"

MUTANTS: list[Mutant] = [
    Mutant(
        name="range-stuck-frames-forgotten",
        guards="Q3",
        file=RANGE,
        old="clear=np.equal(nr_stuck, 0) & one_zone,",
        new="clear=np.less_equal(nr_stuck, 1) & one_zone,",
        tests=(LOOPS,),
    ),
    Mutant(
        name="range-crosses-zones",
        guards="a contiguous range lies in one zone",
        file=RANGE,
        old="clear=np.equal(nr_stuck, 0) & one_zone,",
        new="clear=np.equal(nr_stuck, 0),",
        tests=(LOOPS, UNIT),
    ),
    Mutant(
        name="range-isolated-pageblock-lends",
        guards="Q2, planner optimality (point 3)",
        file=RANGE,
        old="<= capacity[found.pool] - found.free_isolated)",
        new="<= capacity[found.pool])",
        tests=(LOOPS,),
    ),
    Mutant(
        name="range-dearest-first",
        guards="fewest moves",
        file=RANGE,
        old="by = (found.nr_callbacks[rows], found.nr_movable[rows], found.taken[rows])",
        new="by = (found.nr_callbacks[rows], -found.nr_movable[rows], found.taken[rows])",
        tests=(PROGRAM,),
    ),
    Mutant(
        name="range-moves-of-one-fill-another",
        guards="Q2: targets outside every chosen range",
        file=RANGE,
        old="        isolated[blocks_of(census, start, stop)] = True\n",
        new="        isolated[:] = False\n        isolated[start // 8] = True\n",
        tests=(UNIT, PROGRAM),
    ),
    Mutant(
        name="range-one-too-many",
        guards="planner optimality (point 1: the bound)",
        file=RANGE,
        old="_taken_up_to(found, order) <= capacity[found.pool[order]]]",
        new="_taken_up_to(found, order) < capacity[found.pool[order]] + nr_pages]",
        tests=(PROGRAM,),
    ),
    Mutant(
        name="range-reserve-forgotten",
        guards="a reserve stays",
        file=RANGE,
        old="capacity = np.maximum(found.free_in_pool - reserve, 0)",
        new="capacity = np.maximum(found.free_in_pool, 0)",
        tests=(PROGRAM, LOOPS),
    ),
    Mutant(
        name="range-overlapping-counted-twice",
        guards="the bound counts ranges that can be had at once",
        file=RANGE,
        old="        row = int(np.searchsorted(starts, starts[row] + nr_pages))\n",
        new="        row += 1\n",
        tests=(UNIT,),
    ),
    Mutant(
        name="range-callbacks-cost-nothing",
        guards="ties go to fewer callbacks",
        file=RANGE,
        old="        for column in (*first, found.nr_movable, found.nr_callbacks):\n",
        new="        for column in (*first, found.nr_movable):\n",
        tests=(LOOPS, UNIT),
    ),
    Mutant(
        name="range-shared-pageblocks-accepted",
        guards="several ranges at once are whole pageblocks",
        file=RANGE,
        old="    if want != 1:\n        _refuse_shared_pageblocks(census, starts, nr_pages)\n",
        new="",
        tests=(UNIT,),
    ),
    Mutant(
        name="fill-leaves-the-zone",
        guards="across_zones",
        file=FILL,
        old="        here = fillable & (census.zone == zone)\n",
        new="        here = fillable\n",
        tests=(PROGRAM,),
    ),
    Mutant(
        name="fill-spare-blocks-first",
        guards="the next request's ranges are filled last",
        file=FILL,
        old="*(mask[blocks] for mask in put_off)",
        new="*(~mask[blocks] for mask in put_off)",
        tests=(UNIT,),
    ),
    Mutant(
        name="in-the-way-counts-movable-frames",
        guards="an impossibility names the frames in the way",
        file=VALUE,
        old="~(census.free[first:last] | census.movable[first:last])",
        new="~census.free[first:last]",
        tests=(UNIT,),
    ),
    Mutant(
        name="nearest-is-the-cheapest",
        guards="the shortest list of frames in the way",
        file=VALUE,
        old="np.lexsort((self.costs_nr_moves, self.nr_stuck))",
        new="np.lexsort((self.nr_stuck, self.costs_nr_moves))",
        tests=(UNIT,),
    ),
    Mutant(
        name="planned-targets-kept",
        guards="targets that were not used go back (V4)",
        file=RUN,
        old="            buddy.put_taken(given.remaining)\n",
        new="            pass\n",
        tests=(POWER,),
    ),
    Mutant(
        name="released-frames-count-as-movable",
        guards="monotone: a release is no promise",
        file="mm/planning/execute.py",
        old="(found.answers == Answer.MOVE) | (released & with_released)",
        new="(found.answers == Answer.MOVE) | released",
        tests=("tests/property/test_monotone_limits.py", "tests/unit/mm/planning/test_execute.py"),
    ),
    Mutant(
        name="plan-fills-what-it-will-empty",
        guards="monotone: targets outside everything that is to be emptied",
        file=RANGE,
        old="fill(census, sources, census.usable & ~isolated, spare,",
        new="fill(census, sources, np.ones_like(isolated), spare,",
        tests=(MONOTONE, UNIT),
    ),
    Mutant(
        name="plan-counts-on-cma-pageblocks",
        guards="monotone: what is planned is what isolation lets pass",
        file="mm/planning/census.py",
        old="            isolable=migratetype != MigrateType.CMA,\n",
        new="",
        tests=(MONOTONE, POWER, HOTPLUG, GIGANTIC),
    ),
    Mutant(
        name="range-in-a-pageblock-that-may-not-be-isolated",
        guards="Q3",
        file=RANGE,
        old=" + _between(shut, first_block, stop_block)",
        new="",
        tests=(MONOTONE, UNIT),
    ),
    Mutant(
        name="range-not-isolable-names-nobody",
        guards="an impossibility names the frames in the way",
        file=VALUE,
        old="        if not len(stuck):\n",
        new="        if False:\n",
        tests=(UNIT, HOTPLUG),
    ),
    Mutant(
        name="offline-plan-counts-on-highatomic",
        guards="a verdict is what the allocator can do",
        file="mm/hotplug/needs.py",
        old="(host.pageblocks.migratetype != MigrateType.HIGHATOMIC)",
        new="(host.pageblocks.migratetype != MigrateType.ISOLATE)",
        tests=(HOTPLUG,),
    ),
    Mutant(
        name="offline-plan-forgets-the-lowmem-reserve",
        guards="a verdict is what the allocator can do",
        file="mm/hotplug/verdict.py",
        old="zone.min + zone.lowmem_reserve[highest]",
        new="zone.min",
        tests=(HOTPLUG,),
    ),
    Mutant(
        name="range-fills-what-does-not-lend",
        guards="targets that whoever moves can have",
        file=RANGE,
        old="fill(census, sources, census.usable & ~isolated, spare,",
        new="fill(census, sources, ~isolated, spare,",
        tests=(UNIT,),
    ),
]
