"""Bytes of many objects: the flat view of an arena is the loop over frames."""

import numpy as np
import pytest

from mm.state.contents import ArenaContents, TagContents
from owners.pool.extents import Extents, read_runs, read_words, write_runs, write_words
from pinpage.errors import PinpageError


class OnlyTheProtocol:
    """Contents that are no arena, so that the slow path is taken."""

    def __init__(self, inner):
        self.write, self.read = inner.write, inner.read


ADDRESSES = np.array([3 * 4096 + 64, 4096 - 192, 2 * 4096 + 128])
BLOBS = [b"a" * 100, b"b" * 192, b"c"]


@pytest.mark.parametrize("wrap", [lambda arena: arena, OnlyTheProtocol])
def test_what_is_written_lies_in_its_frame_and_is_read_back(wrap):
    arena = ArenaContents(4)
    contents = wrap(arena)
    write_runs(contents, ADDRESSES, BLOBS)
    assert arena.read(3, 64, 100) == BLOBS[0]
    assert arena.read(0, 4096 - 192, 192) == BLOBS[1]
    lengths = np.array([len(blob) for blob in BLOBS])
    assert list(read_runs(contents, ADDRESSES, lengths)) == BLOBS
    words = np.array([1, 1 << 63, 0xABCD], dtype=np.uint64)
    extents = Extents.whole(ADDRESSES, lengths)
    write_words(contents, extents, words)
    assert arena.read(0, 4096 - 192, 8) == (1 << 63).to_bytes(8, "little")
    assert read_words(contents, extents).tolist() == words.tolist()
    touched = np.zeros(4 * 4096, dtype=bool)
    for address, blob in zip(ADDRESSES.tolist(), BLOBS, strict=True):
        touched[address : address + max(8, len(blob))] = True
    assert not arena.pages.reshape(-1)[~touched].any()


def test_tags_have_no_bytes():
    with pytest.raises(PinpageError, match="arena"):
        write_runs(TagContents(4), ADDRESSES, BLOBS)


def test_every_object_gets_a_blob():
    with pytest.raises(PinpageError, match="2 blobs for 3"):
        write_runs(ArenaContents(4), ADDRESSES, BLOBS[:2])
