"""What a census counts, and what it refuses."""

import numpy as np
import pytest

from mm.planning.census import Census
from mm.state.frames import Frames, FrameState
from mm.state.pageblock import MigrateType
from pinpage.errors import InvariantError, PinpageError

FREE, USED, HOLE, UNKNOWN = (
    FrameState.FREE,
    FrameState.USED,
    FrameState.HOLE,
    FrameState.UNKNOWN,
)


def masks(text):
    """'.' free, 'm' movable, anything else stuck; blanks separate blocks."""
    frames = np.array(list(text.replace(" ", "")))
    return frames == ".", frames == "m"


def test_counts_per_pageblock():
    census = Census(*masks("....mm## mmmmmmmm ........"), nr_pages_per_block=8)
    assert census.nr_free.tolist() == [4, 0, 8]
    assert census.nr_movable.tolist() == [2, 8, 0]
    assert census.nr_stuck.tolist() == [2, 0, 0]
    census.check()


def test_a_last_block_cut_short_lends_frames_but_is_never_cleared():
    census = Census(*masks("mmmm.... ...."), nr_pages_per_block=8)
    assert census.nr_blocks == 2
    assert census.clearable.tolist() == [True, False]
    assert census.nr_free.tolist() == [4, 4]
    assert census.bound() == 1
    census.check()


def test_the_bound_is_per_zone():
    # Eight free frames in all, but four in each zone, and nothing leaves its zone.
    census = Census(*masks("mmmm.... mmmm...."), nr_pages_per_block=8, zone=np.array([0, 1]))
    assert census.bound() == 0


def test_obstacles_name_the_owner_of_stuck_frames_only():
    free, movable = masks("..mm##aa ........")
    owner = np.array([2, 2, 2, 2, 0, 0, 1, 1] + [2] * 8, dtype=np.uint8)
    census = Census(
        free, movable, nr_pages_per_block=8, owner=owner, owner_names=("slab", "gup", "x")
    )
    assert census.obstacles().tolist() == [[2, 2, 0], [0, 0, 0]]


def test_an_owner_code_without_a_name_is_refused():
    owner = np.full(8, 3, dtype=np.uint8)
    census = Census(*masks("########"), nr_pages_per_block=8, owner=owner)
    with pytest.raises(PinpageError, match="owner code 3 has no name"):
        census.obstacles()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nr_pages_per_block": 6}, "power of two"),
        ({"start": 4}, "not the first frame of a pageblock"),
        ({"movable": np.zeros(7, dtype=bool)}, "movable has shape"),
        ({"free": np.zeros(8, dtype=np.uint8)}, "bool columns"),
        ({"movable": np.ones(8, dtype=bool)}, "both free and movable"),
        ({"zone": np.zeros(3, dtype=np.int64)}, "zone must have one row per pageblock"),
        ({"in_movable": np.ones(2, dtype=bool)}, "in_movable must have one row per pageblock"),
        ({"owner": np.zeros(9, dtype=np.uint8)}, "owner has shape"),
    ],
)
def test_columns_that_do_not_fit_are_refused(change, message):
    free, movable = masks("..mm##..")
    columns = {"free": free, "movable": movable, "nr_pages_per_block": 8} | change
    with pytest.raises(PinpageError, match=message):
        Census(**columns)


def test_check_notices_masks_changed_behind_its_back():
    census = Census(*masks("..mm##.."), nr_pages_per_block=8)
    census.check()
    assert census.nr_free.tolist() == [4]
    census.free[0] = False
    with pytest.raises(InvariantError, match="N2"):
        census.check()
    census.free[2] = True
    with pytest.raises(InvariantError, match="N1"):
        census.check()


class TestOfFrames:
    """A census of the machine's columns."""

    def frames(self, states, zone=None):
        frames = Frames(len(states))
        frames.state[:] = states
        if zone is not None:
            frames.zone[:] = zone
        return frames

    def of(self, frames, types, movable=None):
        movable = np.ones(frames.nr_frames, dtype=bool) if movable is None else movable
        types = np.array(types, dtype=np.uint8)
        return Census.of_frames(frames, types, movable, nr_pages_per_block=4)

    def test_only_free_is_free_and_only_used_can_move(self):
        states = [FREE, FrameState.PCP, FrameState.TAKEN, USED, HOLE, UNKNOWN, USED, FREE]
        census = self.of(self.frames(states), [MigrateType.MOVABLE] * 2)
        assert census.free.tolist() == [True] + [False] * 6 + [True]
        assert census.movable.tolist() == [False] * 3 + [True, False, False, True, False]

    def test_targets_of_the_kernel_are_movable_and_cma_blocks(self):
        types = list(MigrateType)
        census = self.of(self.frames([FREE] * 4 * len(types)), types)
        allowed = [types[row] for row in np.flatnonzero(census.target_blocks("movable"))]
        assert allowed == [MigrateType.MOVABLE, MigrateType.CMA]
        assert census.target_blocks("all").all()

    def test_isolated_blocks_belong_to_somebody_else(self):
        census = self.of(self.frames([FREE, USED] * 4), [MigrateType.ISOLATE, MigrateType.MOVABLE])
        assert census.nr_stuck.tolist() == [4, 0]

    def test_a_block_across_a_zone_border_is_never_cleared(self):
        frames = self.frames([FREE] * 8, zone=[0, 0, 0, 1, 1, 1, 1, 1])
        census = self.of(frames, [MigrateType.MOVABLE] * 2)
        assert census.zone.tolist() == [1, 1]
        assert census.nr_free.tolist() == [1, 4]

    def test_leading_holes_do_not_hide_the_zone(self):
        frames = self.frames([HOLE, HOLE, FREE, FREE], zone=[0, 0, 1, 1])
        census = self.of(frames, [MigrateType.MOVABLE])
        assert census.zone.tolist() == [1]
        assert census.nr_free.tolist() == [2]

    def test_one_migratetype_per_pageblock(self):
        with pytest.raises(PinpageError, match="3 migratetypes for 2 pageblocks"):
            self.of(self.frames([FREE] * 7), [MigrateType.MOVABLE] * 3)
