"""What the whole suite shares: the hypothesis profiles, and the examples in the documents.

Profile `dev` draws new examples on every run; `ci` (chosen where the environment says CI)
draws the same ones each time; `mutant` is `ci` without shrinking, for a planted bug needs to
be found, not explained.  HYPOTHESIS_PROFILE chooses another one.
"""

import os
import signal

import pytest
from hypothesis import Phase, settings

from tests.docs.collect import collect_file

settings.register_profile("dev", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, database=None, print_blob=True)
settings.register_profile(
    "mutant", parent=settings.get_profile("ci"), phases=(Phase.explicit, Phase.generate)
)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev")
)

pytest_collect_file = collect_file


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c_is_heard() -> None:
    """Whoever runs the suite in the background has Ctrl-C ignored; some tests press it."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
