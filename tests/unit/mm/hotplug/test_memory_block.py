"""Memory blocks: which there are, where RAM is, what cannot be meant."""

import numpy as np
import pytest

from mm.hotplug.memory_block import BlockState, MemoryBlocks
from mm.state.frames import Frames, FrameState
from mm.state.pageblock import Pageblocks
from pinpage.errors import InvariantError, PfnError, PinpageError
from pinpage.units import Span


def blocks_of(picture, nr_pages=8):
    """`-` is a hole; four frames to a pageblock."""
    frames = Frames(len(picture))
    frames.state[np.array(list(picture)) != "-"] = FrameState.FREE
    return MemoryBlocks(frames, Pageblocks(len(picture), 4), nr_pages)


def test_a_block_with_any_ram_is_online_and_the_last_may_reach_beyond_the_machine():
    blocks = blocks_of("........----....--------....")
    assert [blocks.state(block).name for block in range(4)] == [
        "ONLINE", "ONLINE", "ABSENT", "ONLINE"
    ]  # fmt: skip
    assert blocks.ram == (Span(0, 8), Span(12, 16), Span(24, 28))
    assert blocks.span(3) == Span(24, 32)
    assert [blocks.nr_ram_pages(blocks.span(b)) for b in range(4)] == [8, 4, 0, 4]
    assert blocks.online() == [0, 1, 3]
    assert blocks.block_of(15) == 1


def test_ram_can_be_told_where_frames_cannot_say():
    blocks = blocks_of("." * 16)
    blocks.ram = [Span(9, 16), Span(0, 5), Span(5, 6)]
    assert blocks.ram == (Span(0, 6), Span(9, 16))
    assert blocks.nr_ram_pages(Span(0, 8)) == 6


def test_ram_comes_and_goes():
    blocks = blocks_of("." * 16 + "-" * 8)
    blocks.remove_ram(Span(4, 12))
    assert blocks.ram == (Span(0, 4), Span(12, 16))
    blocks.add_ram(Span(16, 24))
    assert blocks.ram == (Span(0, 4), Span(12, 24))
    blocks.remove_ram(Span(0, 24))
    assert blocks.ram == ()


@pytest.mark.parametrize("nr_pages", [0, 2, 6])
def test_a_block_is_whole_pageblocks(nr_pages):
    with pytest.raises(PinpageError, match="multiple of a pageblock"):
        blocks_of("." * 16, nr_pages)


def test_the_size_stays_once_blocks_have_come_or_gone():
    blocks = blocks_of("." * 16)
    blocks.nr_pages = 4
    assert blocks.nr_blocks == 4
    blocks.set_state(1, BlockState.OFFLINE)
    with pytest.raises(PinpageError, match="their size stays"):
        blocks.nr_pages = 8


@pytest.mark.parametrize("block", [-1, 2])
def test_there_are_no_other_blocks(block):
    with pytest.raises(PfnError, match="outside the machine"):
        blocks_of("." * 16).span(block)


def test_a_frame_of_a_block_that_is_gone_is_a_hole():
    blocks = blocks_of("." * 16)
    blocks.check()
    blocks.set_state(1, BlockState.OFFLINE)
    with pytest.raises(InvariantError, match="MB1"):
        blocks.check()
