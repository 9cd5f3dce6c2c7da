"""Every invariant of the buddy finds the damage that it names."""

import numpy as np
import pytest

from mm.state.frames import FrameState, PageFlag
from pinpage.errors import InvariantError
from tests.kit.mm.free_blocks import free_pattern


def world():
    buddy = free_pattern("#.......", "........", "........", "##.#.##.")
    buddy.check()
    return buddy


def misaligned(buddy):
    buddy.frames.order[5] = 1


def holds_a_used_frame(buddy):
    buddy.frames.state[6] = FrameState.USED


def lost(buddy):
    buddy.frames.order[1] = -1


def twice(buddy):
    buddy.frames.order[3] = 0


def unmerged(buddy):
    buddy.frames.order[[2, 3]] = 0


def miscounted_order(buddy):
    buddy.nr_free_blocks[3, 0] += 1


def miscounted_block(buddy):
    buddy.nr_free_in_block[1] -= 1


def miscounted_list(buddy):
    buddy.area.nr_blocks_on[0, 1, 2] += 1


def miscounted_pages(buddy):
    buddy.area._nr_pages[1] += 1


def not_on_its_list(buddy):
    del buddy.area._lists[1 * 11 + 0][3]


def referenced(buddy):
    buddy.frames.refcount[12] = 1


def flagged(buddy):
    buddy.frames.set_flag(np.array([12]), PageFlag.LRU)


@pytest.mark.parametrize(
    ("damage", "rule"),
    [
        (misaligned, "B1"),
        (holds_a_used_frame, "B1"),
        (lost, "B2"),
        (twice, "B2"),
        (unmerged, "B3"),
        (miscounted_order, "B4"),
        (miscounted_block, "B4"),
        (miscounted_list, "B4"),
        (miscounted_pages, "B4"),
        (not_on_its_list, "B5"),
        (referenced, "B6"),
        (flagged, "B6"),
    ],
)
def test_damage_is_named(damage, rule):
    buddy = world()
    damage(buddy)
    with pytest.raises(InvariantError, match=rule):
        buddy.check()
