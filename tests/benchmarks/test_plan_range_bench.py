"""Choosing ranges on a machine of 64 GiB: well under a second of CPU, census counts included."""

import time

import numpy as np
import pytest

from mm.planning.census import Census
from mm.planning.ranges import cheapest_ranges
from pinpage.units import Span

pytestmark = pytest.mark.benchmark

NR_FRAMES = 1 << 24
GIB = 1 << 18
MEMORY_BLOCK = 1 << 15
CMA_AREA = Span(1 << 23, (1 << 23) + GIB)


@pytest.fixture(scope="module")
def columns():
    """Half free; a quarter of the machine has kernel pages scattered over it."""
    rng = np.random.default_rng(0)
    drawn = rng.random(NR_FRAMES)
    stuck = np.zeros(NR_FRAMES, dtype=np.bool_)
    stuck[rng.integers(0, NR_FRAMES // 4, 2000)] = True
    free = (drawn < 0.5) & ~stuck
    owner = (drawn > 0.9).astype(np.uint8)
    return {"free": free, "movable": ~free & ~stuck, "owner": owner, "owner_names": ("home", "x")}


@pytest.mark.parametrize(
    ("asked", "options", "nr_ranges", "max_cpu_s"),
    [
        ("a 1 GiB page", {"nr_pages": GIB, "align": GIB}, 1, 0.5),
        ("every 1 GiB page", {"nr_pages": GIB, "align": GIB, "want": None}, 31, 1.0),
        ("four blocks", {"nr_pages": MEMORY_BLOCK, "align": MEMORY_BLOCK, "want": 4}, 4, 0.5),
        ("16 MiB", {"nr_pages": 4096, "align": 512, "candidates": CMA_AREA}, 1, 0.5),
        ("1000 pages anywhere", {"nr_pages": 1000, "candidates": CMA_AREA}, 1, 0.5),
    ],
)
def test_choosing_ranges(columns, asked, options, nr_ranges, max_cpu_s):
    census = Census(**columns)
    started = time.process_time()
    planned = cheapest_ranges(census, **options)
    cpu_s = time.process_time() - started
    print(f"{asked}: {cpu_s:.3f} s of CPU, {planned.nr_moves} moves")
    planned.check()
    assert len(planned.spans) == nr_ranges
    assert cpu_s < max_cpu_s
