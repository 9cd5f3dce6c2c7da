"""Pageblocks and largest free blocks of any size: bounds, plans, scans, and no page lost.

The count knows nothing of planners: blocks that hold what stays can never be had, and of the
others as many as the free frames make.
"""

import numpy as np
import pytest

from mm.machine import Machine
from mm.state.contents import TagContents
from mm.state.frames import Frames, FrameState
from mm.state.nodes import zones_for
from mm.state.pageblock import Pageblocks
from tests.kit.mm.machines import Drawn

SHAPES = [
    (order, max_order) for order in (1, 2, 4, 6) for max_order in (order, order + 1, order + 3)
]
SEEDS = range(4)


def drawn(seed, order, max_order):
    """Seven pageblocks: free, a process's, and a little that stays; each its own share."""
    rng = np.random.default_rng([seed, order])
    size = 1 << order
    share = rng.choice([0.0, 0.3, 0.6, 1.0], 7)
    stuck = rng.choice([0.0, 0.0, 0.2], 7)
    signs = np.where(rng.random((7, size)) < share[:, None], "a", ".")
    signs[rng.random((7, size)) < stuck[:, None]] = "r"
    return Drawn(*("".join(row) for row in signs), size=size, max_order=max_order), signs


def most(signs):
    """Wholly free pageblocks, at the best."""
    nr_free, size = int(np.count_nonzero(signs == ".")), signs.shape[1]
    return min(int(np.count_nonzero((signs != "r").all(axis=1))), nr_free // size)


@pytest.mark.parametrize(("order", "max_order"), SHAPES)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_bound_is_what_counting_says_and_a_plan_reaches_it(seed, order, max_order):
    world, signs = drawn(seed, order, max_order)
    machine = world.machine
    assert machine.bound() == most(signs)
    machine.compact("plan")
    assert machine.hugetlb.claim(7) == most(signs)
    machine.check()
    world.check_contents()


@pytest.mark.parametrize(("order", "max_order"), SHAPES)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_scan_gets_no_more_and_loses_nothing(seed, order, max_order):
    world, signs = drawn(seed, order, max_order)
    before = int(np.count_nonzero((signs == ".").all(axis=1)))
    world.machine.compact("scan")
    assert before <= int(np.count_nonzero(world.machine.buddy.wholly_free())) <= most(signs)
    world.machine.check()
    world.check_contents()


@pytest.mark.parametrize(("order", "max_order"), SHAPES)
def test_memory_that_is_all_free_is_blocks_of_the_largest_order(order, max_order):
    nr_frames = 3 << max_order
    frames = Frames(nr_frames)
    frames.state[:] = FrameState.FREE
    blocks = Pageblocks(nr_frames, 1 << order, max_order)
    zones = zones_for(nr_frames, nr_pages_per_block=1 << order)
    machine = Machine(frames, blocks, zones, TagContents(nr_frames))
    assert machine.buddy.nr_free_by_order(0)[:, max_order].sum() == 3
    pfn = machine.buddy.alloc(0, 1)
    machine.check()
    machine.buddy.free(pfn)
    assert machine.buddy.nr_free_by_order(0)[:, max_order].sum() == 3
    machine.check()
