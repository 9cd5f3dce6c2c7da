"""Free lists rebuilt from recordings are those that the kernel had.

Only the states go in.  Each block comes out where the recording has its head, and of the same
order.  The one exception is memory freed early at boot, of which the recorder noted order 0 for
every frame, heads of large blocks and their tails alike.
"""

from pathlib import Path

import numpy as np
import pytest

from mm.buddy.buddy import Buddy
from mm.state.frames import Frames, FrameState
from mm.state.nodes import Zone
from mm.state.pageblock import NR_MIGRATETYPES, MigrateType, Pageblocks
from pinpage.units import Span

ROOT = Path(__file__).parents[4]
RECORDINGS = sorted([*(ROOT / "tests/data").glob("*.npz"), *(ROOT / "pinlab/data").glob("*.npz")])


def rebuilt(recording):
    nr_frames = len(recording["state"])
    frames, pageblocks = Frames(nr_frames), Pageblocks(nr_frames)
    free = recording["state"] == FrameState.FREE
    frames.state[:] = np.where(free, FrameState.FREE, FrameState.UNKNOWN)
    types = recording["block_migratetype"]
    # The recorder did not see the type of a partial pageblock at the end.
    pageblocks.migratetype[:] = np.where(types < NR_MIGRATETYPES, types, MigrateType.MOVABLE)
    buddy = Buddy(frames, pageblocks, [Zone(0, "DMA32", 0, Span(0, nr_frames))])
    buddy.build()
    buddy.check()
    return buddy


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_free_blocks_are_those_of_linux(path):
    with np.load(path) as recording:
        buddy = rebuilt(recording)
        free = recording["state"] == FrameState.FREE
        recorded = np.where(free, recording["order"], -1)
    heads = np.flatnonzero(buddy.frames.order >= 0)
    same = recorded[heads] == buddy.frames.order[heads]
    assert same.sum() > 40_000
    assert (recorded[heads[~same]] == 0).all()
    assert (~same).sum() <= 11
    tails = np.setdiff1d(np.flatnonzero(recorded >= 0), heads)
    assert (recorded[tails] == 0).all()


def test_there_are_recordings():
    assert len(RECORDINGS) >= 5
