"""Hand-made deflate blocks against zlib's own inflater."""

import zlib

import numpy as np
import pytest

from pinlab.replay.deflate import adler32_of_parts, run, stored


@pytest.mark.parametrize("byte", [0, 0x5A, 143])
def test_every_length_of_a_run_inflates_to_it(byte):
    for count in range(1, 4097):
        assert zlib.decompress(run(byte, count), wbits=-15) == bytes([byte]) * count


def test_a_run_is_short():
    # 13 bits per 258 bytes, and a handful around them.
    assert len(run(0x5A, 4096)) <= 32


@pytest.mark.parametrize("size", [0, 1, 8, 4096, 65_535])
def test_stored_blocks_string_together(size):
    data = bytes(index % 251 for index in range(size))
    assert zlib.decompress(stored(data) + stored(b"end", final=True), wbits=-15) == data + b"end"
    assert zlib.decompress(stored(data) + run(7, 3), wbits=-15) == data + b"\7\7\7"


@pytest.mark.parametrize("nr_tail", [1, 100, 4088])
def test_checksums_of_two_parts(nr_tail):
    rng = np.random.default_rng(nr_tail)
    heads = rng.integers(256, size=(50, 8), dtype=np.uint8)
    heads[0] = 255
    tails = rng.integers(256, size=(50, nr_tail), dtype=np.uint8)
    tails[0] = 255
    tail_adler32 = np.array([zlib.adler32(tail.tobytes()) for tail in tails])
    expected = [
        zlib.adler32(head.tobytes() + tail.tobytes())
        for head, tail in zip(heads, tails, strict=True)
    ]
    assert adler32_of_parts(heads, tail_adler32, nr_tail).tolist() == expected
