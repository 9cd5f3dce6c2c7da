"""Bugs planted in what makes the suite give the same answer everywhere."""

from tests.mutants.mutant import planted

__all__ = ["MUTANTS"]

SAME = "tests/property/test_same_examples.py"

MUTANTS = [
    planted(
        "draws-depend-on-what-is-loaded", "the same examples everywhere", "conftest.py",
        'if PROFILE != "fuzz":', 'if PROFILE == "fuzz":',
        f"{SAME}::test_what_is_loaded_decides_nothing",
    ),
    planted(
        "draws-differ-from-run-to-run", "the same examples everywhere", "conftest.py",
        "derandomize=True", "derandomize=False",
        f"{SAME}::test_neither_does_the_process",
    ),
]  # fmt: skip
