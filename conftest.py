"""What the whole suite shares: hypothesis profiles, time limits, the examples in the documents.

    same     the default: the same examples on every run and every machine
    fuzz     new ones, from `--hypothesis-seed` (make fuzz)
    mutant   `same` without shrinking, for a planted bug needs to be found, not explained

HYPOTHESIS_PROFILE chooses another one.
"""

import os
import signal

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.internal.conjecture import providers

from tests.docs.collect import collect_file

LONG_S = 3600
"""The time limit of tests that are long by intent."""
# What depends on how fast the machine is does not decide.
settings.register_profile("fuzz", deadline=None, database=None, print_blob=True,
                          suppress_health_check=[HealthCheck.too_slow])  # fmt: skip
settings.register_profile("same", parent=settings.get_profile("fuzz"), derandomize=True)
settings.register_profile(
    "mutant", parent=settings.get_profile("same"), phases=(Phase.explicit, Phase.generate)
)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE") or "same"
settings.load_profile(PROFILE)
if PROFILE != "fuzz":
    # Hypothesis tries constants out of the modules that happen to be loaded: which, depends on
    # where the checkout lies and on which tests ran before in this process.
    providers._get_local_constants = lambda: providers._local_constants

pytest_collect_file = collect_file


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that are long by intent have another limit than the rest."""
    for item in items:
        if any(item.get_closest_marker(name) for name in ("slow", "benchmark", "fuzz", "mutant")):
            item.add_marker(pytest.mark.timeout(LONG_S))


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c_is_heard() -> None:
    """Whoever runs the suite in the background has Ctrl-C ignored; some tests press it."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
