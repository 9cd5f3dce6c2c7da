"""Bugs in bounds, in what plans give up, and in the names of the frames in the way."""

from tests.mutants.mutant import Mutant, planted

__all__ = ["MUTANTS"]

_BOUNDS = "tests/property/test_bounds_exhaustive.py"
_PLANNED = "mm/planning/execute.py"
_T_PLANNED = "tests/unit/mm/planning/test_execute.py"
_HUGE2M = "pinlab/requests/huge2m.py"

_HUGE = [
    planted(
        "huge2m-plan-gives-nothing-up", "plan >= scan", _HUGE2M,
        "        if _nr_ready(machine, options) >= most or not _press(account, options, most):\n",
        "        if most >= 0:\n", f"{_BOUNDS}::test_huge2m_gives_up_no_more_than_is_short",
    ),
    planted(
        "huge2m-plan-never-asks-the-allocator", "plan >= scan", _HUGE2M,
        "        if presses and obtained < most and not account.interrupted:\n",
        "        if not presses and obtained < most:\n",
        f"{_BOUNDS}::test_huge2m_asks_the_allocator_for_what_plans_did_not_get",
    ),
    planted(
        "huge2m-bound-of-every-node", "inside its node", "mm/planning/census.py",
        "most.sum() if only is None else", "most.sum() if only != () else",
        f"{_BOUNDS}::test_huge2m",
    ),
    planted(
        "huge2m-plan-takes-from-every-node", "inside its node", "mm/hugetlb/hugetlb.py",
        "        blocks = blocks[np.isin(nodes, self.nodes_for(node))][:count]\n",
        "        blocks = blocks[np.isin(nodes, self.nodes_for(None))][:count]\n",
        f"{_BOUNDS}::test_huge2m",
    ),
    planted(
        "huge2m-bound-by-moving-alone", "any strategy reclaims", _HUGE2M,
        "with_reclaim=presses)", "with_reclaim=False)", f"{_BOUNDS}::test_huge2m",
    ),
    planted(
        "room-made-by-dropping-all", "no more than is short", _PLANNED,
        "self.give_up((goes & now.movable) | large, max(short, in_the_way))",
        "self.give_up((goes & now.movable) | large, len(goes))",
        f"{_BOUNDS}::test_huge2m_gives_up_no_more_than_is_short",
    ),
    planted(
        "room-made-without-owners", "a plan knows releasing", _PLANNED,
        "        done.absorb(released, design.release(released, mode))\n", "",
        f"{_T_PLANNED}::test_owners_release_what_stands_in_the_emptiest_blocks",
    ),
    planted(
        "room-made-in-the-fullest-blocks", "the emptiest first", _PLANNED,
        'np.argsort(nr_to_release[blocks], kind="stable")',
        'np.argsort(-nr_to_release[blocks], kind="stable")',
        f"{_T_PLANNED}::test_owners_release_what_stands_in_the_emptiest_blocks",
    ),
]  # fmt: skip

_CMA = "tests/unit/pinlab/requests/test_cma.py"
_HOLE = f"{_BOUNDS}::test_a_hole_is_in_nobodys_way"

_NAMES = [
    planted(
        "in-the-way-of-the-last-range-only", "names in answers", "mm/state/reasons.py",
        "        self._frames = [self._last_said()] if self._frames else []\n",
        "        self._frames = []\n", f"{_CMA}::test_frames_in_the_way_are_named",
    ),
    planted(
        "in-the-way-of-what-was-obtained", "names in answers", "pinlab/requests/account.py",
        "        if errno is not Errno.OK:\n            self._in_the_way",
        "        if errno is not None:\n            self._in_the_way",
        f"{_CMA}::test_what_was_obtained_had_nothing_in_the_way",
    ),
    planted(
        "in-the-way-unnamed-in-text", "names in answers", "pinlab/requests/show.py",
        "    if report.in_the_way:\n", "    if report.in_the_way is None:\n",
        f"{_CMA}::test_frames_in_the_way_are_named",
    ),
    planted(
        "longterm-pins-fail-without-a-name", "names in answers", "owners/gup/gup.py",
        "return Got([], error, in_the_way)", "return Got([], error)",
        "tests/unit/owners/gup/test_longterm.py",
    ),
    planted(
        "hole-in-the-way", "a hole is a hole", "mm/move/obstacles.py",
        "    pfns = pfns[frames.state[pfns] != FrameState.HOLE]\n", "", _HOLE,
    ),
    planted(
        "hole-is-a-region", "a hole is a hole", "mm/power/power.py",
        "np.flatnonzero(self._nr_present() > 0)", "np.flatnonzero(self._nr_present() >= 0)", _HOLE,
    ),
]  # fmt: skip

_RANGES = [
    planted(
        "huge1g-bound-without-reclaim", "any strategy reclaims", "mm/hugetlb/gigantic.py",
        "reserve=0, as_reclaimed=True).bound", "reserve=0).bound", f"{_BOUNDS}::test_huge1g",
    ),
    planted(
        "power-bound-without-reclaim", "any strategy reclaims", "mm/power/power.py",
        "candidates, as_reclaimed=True).bound", "candidates).bound", f"{_BOUNDS}::test_power",
    ),
    planted(
        "power-plan-makes-no-space", "plan >= scan", "mm/power/power.py",
        "        for _ in range(NR_PLAN_ROUNDS if now.expected_idle_ns is None else 0):\n",
        "        for _ in range(0):\n", f"{_BOUNDS}::test_power_makes_space",
    ),
    planted(
        "power-scan-ignores-the-reserve", "the reserve is kept on", "mm/power/power.py",
        "        return nr_free >= now.reserve\n", "        return nr_free >= 0\n",
        f"{_BOUNDS}::test_power_keeps_its_reserve_by_scan_too",
    ),
    planted(
        "power-regions-end-at-zones", "hardware knows of no zones", "mm/power/power.py",
        "census = evolve(census, zone=np.zeros_like(census.zone))", "census = census",
        f"{_BOUNDS}::test_power",
    ),
    planted(
        "offline-bound-without-reclaim", "any strategy reclaims", "mm/hotplug/verdict.py",
        "return self._look(as_reclaimed=True)", "return self._look(as_reclaimed=False)",
        f"{_BOUNDS}::test_offline",
    ),
]  # fmt: skip

MUTANTS: list[Mutant] = [*_HUGE, *_NAMES, *_RANGES]
