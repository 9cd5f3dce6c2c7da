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
        "self.give_up(goes & now.movable, max(short, 0))",
        "self.give_up(goes & now.movable, len(goes))",
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

MUTANTS: list[Mutant] = [*_HUGE]
