"""Bugs in the library that compares two designs."""

from tests.mutants.mutant import Mutant, planted

_LAWS = "tests/unit/pinlab/differential/test_compare.py"
_BROKEN = f"{_LAWS}::test_a_broken_design_is_told_its_law"
_AGREE = "tests/property/test_designs_agree.py"
_COMPARE, _WORLD = "pinlab/differential/compare.py", "pinlab/differential/world.py"

MUTANTS: list[Mutant] = [
    planted(
        "laws-start-from-two-memories", "DL1", _COMPARE,
        "    if found := one.differs_from(two):\n        raise _BrokenError(Law.DL1",
        "    if found := None:\n        raise _BrokenError(Law.DL1",
        _BROKEN,
    ),
    planted(
        "laws-read-nothing-back", "DL2", _COMPARE,
        "if lost := world.lost():", "if lost := None:",
        _BROKEN,
    ),
    planted(
        "laws-forget-strangers", "DL2", _WORLD,
        "return self._lost_pin() or self._lost_stranger()", "return self._lost_pin()",
        _BROKEN,
    ),
    planted(
        "laws-leave-while-frames-are-held", "DL3", _COMPARE,
        "if nr_left := world.let_go():", "if nr_left := world.let_go() * 0:",
        _BROKEN,
    ),
    planted(
        "laws-believe-reports", "DL4", "pinlab/differential/watched.py",
        "(reasons <= Reason.RELEASED) & stays", "(reasons > Reason.LARGE_PAGE) & stays",
        _BROKEN,
    ),
    planted(
        "laws-forget-pins", "DL4", _WORLD,
        "                    has_pin and has_page,\n", "                    has_page,\n",
        _BROKEN,
    ),
    planted(
        "laws-let-the-wider-have-less", "DL5", _COMPARE,
        'if strategy == "plan":', 'if strategy == "by plan":',
        f"{_LAWS}::test_a_wider_design_that_does_less_is_told_so",
    ),
    planted(
        "laws-forbid-less-by-scan", "DL5", _COMPARE,
        'if strategy == "plan":', "if strategy:",
        f"{_LAWS}::test_by_scan_less_is_no_broken_law",
    ),
    planted(
        "laws-run-a-seed-once", "DL6", _COMPARE,
        "    if first != second:\n", "    if first is None:\n",
        _BROKEN,
    ),
    planted(
        "laws-contain-anything", "DL7", _COMPARE,
        "            if found := one.differs_from(two):\n                raise",
        "            if found := None:\n                raise",
        f"{_LAWS}::test_zbud_reclaim_is_contained_in_the_registry_with_unuse",
    ),
    planted(
        "differences-skip-contents", "DL1, DL7", _WORLD,
        '        yield "contents of used frame", [row.tobytes() for row in contents]\n', "",
        f"{_AGREE}::test_a_difference_is_found_wherever_it_is",
    ),
]  # fmt: skip
