"""How close `unmovable` under `scan` comes to what Linux 6.1 did with the same frames.

Every recording of compact-then-ask whose pages this project models: 2 MiB pages within 3 % or 3
pages of what was obtained (5 % where all is anonymous memory), pages moved within 5 % of
pgmigrate_success.
"""

import pytest

from pinlab.compare.compare import compare
from pinlab.compare.results import Run
from pinlab.snapshot.bundled import BUNDLED_NAME, bundled
from tests.kit.pinlab.recordings import BESIDE, IN_TESTS, opened

SCENARIOS = ("anon", "gup05", "gup2", "slab", "zbud", "zbudfr")
NAMES = sorted(
    {BUNDLED_NAME, *IN_TESTS}
    | {f"{scenario}-cmphuge-seed{seed}" for scenario in SCENARIOS[:5] for seed in (1, 2)}
)


@pytest.mark.parametrize("name", NAMES)
def test_the_model_makes_what_linux_made(name):
    snapshot = bundled() if name == BUNDLED_NAME else opened(name)
    if snapshot is None:
        pytest.skip(f"{name}.npz is not in {BESIDE.parent.name}/{BESIDE.name} beside the checkout")
    done = compare(snapshot, [Run("unmovable")])
    (row,), measured = done.rows, done.measured
    share = 0.05 if name.startswith("anon") else 0.03
    assert abs(row.huge_pages - measured.huge_pages) <= max(share * measured.huge_pages, 3)
    assert abs(row.pages_moved - measured.pages_moved) <= 0.05 * measured.pages_moved
    assert row.bytes_lost == 0
    assert row.pages_unused == 0


def test_the_recordings_that_travel_are_there():
    assert {name.partition("-")[0] for name in IN_TESTS} >= {"anon", "gup2", "slab", "zbud"}
