"""Confinement on growth (C10): the same load from boot, with a region and without."""

from pathlib import Path

import numpy as np
import pytest

from mm.designs.confinement import ConfinedPages
from pinlab.load.growth import KernelPages, growth
from pinlab.load.run import LoadRun, make_world
from pinpage.errors import PinpageError

ROOT = Path(__file__).resolve().parents[4]
BLOCK = 512


def test_c10_a_region_of_their_own_costs_the_fewest_pageblocks():
    spread, kept = (growth(confined=confined) for confined in (False, True))
    assert (spread.bytes_lost, kept.bytes_lost, kept.nr_outside) == (0, 0, 0)
    assert (spread.frames_leaked, kept.frames_leaked) == (0, 0)
    assert kept.nr_unmovable == pytest.approx(spread.nr_unmovable, rel=0.05)
    assert kept.tainted == kept.fewest
    assert kept.excess == 1
    assert spread.excess > 3
    text = (ROOT / "docs" / "explanation" / "designs.md").read_text()
    assert f"taint {spread.tainted:.1f} of its {spread.nr_blocks} pageblocks" in text
    assert f"in a region of their own {kept.tainted:.0f}" in text


def test_the_same_seed_is_the_same_growth():
    runs = [growth(nr_pages=2048, seconds=0.3, seed=3) for _ in range(2)]
    assert runs[0] == runs[1]
    assert runs[0].nr_unmovable > 100


def test_what_a_region_keeps_free_is_accounted_for_and_goes_with_it():
    world = make_world(nr_pages=4 * BLOCK, design_name="confinement", seed=1)
    region = ConfinedPages(world.machine, 1)
    kernel = KernelPages(world, "kernel", nr_slots=BLOCK + 8, pace_ns=1000, region=region)
    scenario = LoadRun(world, [kernel], strategies=())
    scenario.run(3_000_000)
    assert region.nr_pages_used == len(kernel.pfns) > BLOCK // 2
    assert set((kernel.pfns // BLOCK).tolist()) <= {1, 2}
    scenario.check()
    assert scenario.read_back().bytes_lost == 0
    world.machine.contents.write(int(kernel.pfns[0]), b"another")
    assert scenario.read_back().bytes_lost > 0
    assert scenario.let_go() == 0
    assert (region.nr_blocks, np.size(kernel.pfns)) == (0, 0)


def test_no_time_is_no_growth():
    with pytest.raises(PinpageError, match="seconds=0"):
        growth(seconds=0)
