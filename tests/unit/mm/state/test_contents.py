"""Bytes, tags, and machines that share a template."""

import os
from pathlib import Path

import numpy as np
import pytest

from mm.state.contents import ArenaContents, TagContents
from pinpage.errors import PfnError, PinpageError


def frames(*pfns):
    return np.array(pfns, dtype=np.int64)


def resident_nr_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("contents", [ArenaContents(300), TagContents(300)])
def test_copy_moves_tags_and_leaves_the_source(contents):
    sources, targets = np.arange(100), np.arange(299, 199, -1)
    contents.set_tags(sources, np.arange(1, 101, dtype=np.uint64))
    contents.copy(sources, targets)
    assert contents.tags(targets).tolist() == list(range(1, 101))
    assert contents.tags(sources).tolist() == list(range(1, 101))
    with pytest.raises(PinpageError, match="1 sources but 2 targets"):
        contents.copy(frames(1), frames(2, 3))


def test_copy_of_bytes_is_whole():
    arena = ArenaContents(200)
    pages = np.random.default_rng(1).integers(0, 256, (70, 4096), dtype=np.uint8)
    arena.write_many(np.arange(70), pages)
    arena.copy(np.arange(70), np.arange(100, 170))
    assert (arena.read_many(np.arange(100, 170)) == pages).all()
    assert arena.read(169) == pages[69].tobytes()


def test_a_tag_is_the_first_word_of_the_bytes():
    arena = ArenaContents(2)
    arena.write(1, bytes([1, 2, 3, 4, 5, 6, 7, 8]))
    assert arena.tags(frames(1)).tolist() == [0x0807060504030201]
    arena.set_tags(frames(0), np.array([0xFF00], dtype=np.uint64))
    assert arena.read(0, 0, 3) == b"\x00\xff\x00"


def test_bytes_at_an_offset():
    arena = ArenaContents(2)
    arena.write(1, b"abc", offset=4093)
    assert arena.read(1, 4092, 4) == b"\0abc"
    assert arena.read(1, 4093) == b"abc"


@pytest.mark.parametrize("pfn", [2, -1])
def test_bytes_of_no_frame_are_refused(pfn):
    arena = ArenaContents(2)
    with pytest.raises(PfnError, match="of 2 frames"):
        arena.read(pfn)
    with pytest.raises(PfnError, match="of 2 frames"):
        arena.write(pfn, b"")


@pytest.mark.parametrize(("offset", "data"), [(4094, b"abc"), (-1, b"a")])
def test_bytes_beyond_the_frame_are_refused_and_the_next_frame_is_untouched(offset, data):
    arena = ArenaContents(3)
    with pytest.raises(PinpageError, match="not within a frame"):
        arena.write(1, data, offset)
    with pytest.raises(PinpageError, match="not within a frame"):
        arena.read(1, offset, len(data))
    assert not arena.pages.any()


def test_an_arena_costs_what_is_touched():
    before = resident_nr_bytes()
    arena = ArenaContents(1 << 18)
    arena.write(5, b"x")
    assert resident_nr_bytes() - before < 64 << 20, "a GiB became resident"
    assert arena.pages.shape == (1 << 18, 4096)


def test_what_is_forgotten_reads_as_zeros_and_its_neighbours_stay():
    for contents in (ArenaContents(8), TagContents(8)):
        contents.set_tags(np.arange(8), np.arange(1, 9, dtype=np.uint64))
        contents.forget(np.array([1, 2, 5]))
        contents.forget(np.array([], dtype=np.int64))
        assert contents.tags(np.arange(8)).tolist() == [1, 0, 0, 4, 5, 0, 7, 8]


def test_forgetting_gives_the_memory_back():
    arena = ArenaContents(1 << 14)
    arena.pages[:] = 1
    full = resident_nr_bytes()
    arena.forget(np.arange(1 << 13))
    assert full - resident_nr_bytes() > 28 << 20, "32 MiB were forgotten"


def test_tags_have_no_bytes_and_say_what_to_do():
    tags = TagContents(4)
    for call in (
        lambda: tags.read(0),
        lambda: tags.write(0, b"x"),
        lambda: tags.read_many(frames(0)),
        lambda: tags.write_many(frames(0), np.zeros((1, 4096), dtype=np.uint8)),
    ):
        with pytest.raises(PinpageError, match='contents="arena"'):
            call()


@pytest.mark.parametrize("kind", [ArenaContents, TagContents])
def test_no_frames_no_contents(kind):
    with pytest.raises(PinpageError, match="nr_frames=0"):
        kind(0)
