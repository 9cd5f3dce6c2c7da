"""Tiny machines for the tests of mm's state."""

import numpy as np

from mm.buddy.buddy import Buddy
from mm.state.frames import Frames, FrameState
from mm.state.nodes import Zone, place_frames
from mm.state.pageblock import Pageblocks
from pinpage.units import Span

__all__ = ["SIZE", "all_free", "buddy_of", "free_pattern"]

SIZE = 8
"""Frames in the pageblocks of these machines (order 3), so that an eye can check them."""


def buddy_of(free, size=SIZE, zones=None):
    """A built allocator whose free frames are given as a mask; all else is USED."""
    free = np.asarray(free, dtype=bool)
    frames = Frames(len(free))
    frames.state[:] = np.where(free, FrameState.FREE, FrameState.USED)
    frames.refcount[~free] = 1
    zones = zones or [Zone(0, "Normal", 0, Span(0, len(free)))]
    place_frames(frames, zones)
    buddy = Buddy(frames, Pageblocks(len(free), size), zones)
    buddy.build()
    return buddy


def free_pattern(*blocks, size=SIZE):
    """A machine drawn as one string per pageblock: "." is free, "#" is used."""
    assert all(len(block) == size for block in blocks[:-1])
    return buddy_of([frame == "." for block in blocks for frame in block], size)


def all_free(nr_blocks, size=SIZE):
    """Nothing allocated."""
    return buddy_of(np.ones(nr_blocks * size, dtype=bool), size)
