"""Pieces of deflate streams (RFC 1951, RFC 1950), put together by hand.

A deflate stream is a row of blocks, and blocks that start on a byte border can be
composed like bricks.  Two kinds are enough here:

    stored   bytes as they are, behind five bytes of header
    run      one byte repeated, in the fixed Huffman code: 13 bits per 258 bytes

Written out here rather than asked of zlib, whose output differs between versions and
builds: what is made of these pieces has the same size on every machine.
"""

import struct

import numpy as np
from numpy.typing import NDArray

__all__ = ["STORED_HEADER_NR_BYTES", "ZLIB_HEADER", "adler32_of_parts", "run", "stored"]

STORED_HEADER_NR_BYTES = 5
"""Block type (3 bits, padded to a byte), length, and its complement."""
ZLIB_HEADER = b"\x78\x01"
"""Deflate with a 32 KiB window, fastest level, no dictionary (RFC 1950)."""

_ADLER_BASE = 65521
_LONGEST_MATCH = 258


def stored(data: bytes, *, final: bool = False) -> bytes:
    """A stored block of up to 65,535 bytes.  Must start on a byte border, and ends on one.

    Args:
        data: bytes to store.
        final: whether it is the last one.

    >>> import zlib
    >>> zlib.decompress(stored(b"ab") + stored(b"c", final=True), wbits=-15)
    b'abc'
    """
    return struct.pack("<BHH", final, len(data), len(data) ^ 0xFFFF) + data


def run(byte: int, count: int) -> bytes:
    """A final block of `count` times `byte`, in the fixed Huffman code.

    The byte must be below 144, where its code has eight bits; count is 1 or more.

    >>> import zlib
    >>> zlib.decompress(run(0x5A, 4096), wbits=-15) == bytes([0x5A]) * 4096
    True
    """
    bits = _Bits()
    bits.plain(1, 1)  # the last block
    bits.plain(1, 2)  # fixed codes
    bits.code(0x30 + byte, 8)
    left = count - 1
    while left >= 3:
        length = min(left, _LONGEST_MATCH)
        _match(bits, length)
        left -= length
    for _ in range(left):
        bits.code(0x30 + byte, 8)
    bits.code(0, 7)  # end of block
    return bits.to_bytes()


def _match(bits: "_Bits", length: int) -> None:
    """Repeat the last byte `length` (3..258) times."""
    if length == _LONGEST_MATCH:
        symbol, nr_extra, extra = 285, 0, 0
    else:
        beyond = length - 3
        nr_extra = max(beyond.bit_length() - 3, 0)
        symbol = 257 + 4 * nr_extra + (beyond >> nr_extra)
        extra = beyond & ((1 << nr_extra) - 1)
    if symbol < 280:
        bits.code(symbol - 256, 7)
    else:
        bits.code(0xC0 + symbol - 280, 8)
    bits.plain(extra, nr_extra)
    bits.code(0, 5)  # distance 1


class _Bits:
    """A stream of bits, first bit lowest."""

    def __init__(self) -> None:
        """Empty."""
        self._value = 0
        self._nr_bits = 0

    def plain(self, value: int, nr_bits: int) -> None:
        """Append a number, lowest bit first."""
        self._value |= value << self._nr_bits
        self._nr_bits += nr_bits

    def code(self, value: int, nr_bits: int) -> None:
        """Append a Huffman code, highest bit first."""
        for at in range(nr_bits - 1, -1, -1):
            self.plain(value >> at & 1, 1)

    def to_bytes(self) -> bytes:
        """The stream, its last byte filled up with zeros."""
        return self._value.to_bytes((self._nr_bits + 7) // 8, "little")


def adler32_of_parts(
    heads: NDArray[np.uint8], tail_adler32: NDArray[np.int64], tail_nr_bytes: int
) -> NDArray[np.uint32]:
    """Checksums of head + tail, many at once, from the tails' own checksums.

    Args:
        heads: uint8 (n, k), the first k bytes of each.
        tail_adler32: int64 (n,), zlib.adler32 of each tail.
        tail_nr_bytes: length of every tail.
    """
    nr_head = heads.shape[1]
    head = heads.astype(np.int64)
    low = 1 + head.sum(axis=1)
    high = nr_head + (head * np.arange(nr_head, 0, -1)).sum(axis=1)
    tail_low, tail_high = tail_adler32 & 0xFFFF, tail_adler32 >> 16
    high = high + tail_nr_bytes * (low - 1) + tail_high
    low = low + tail_low - 1
    combined: NDArray[np.uint32] = ((high % _ADLER_BASE) << 16 | low % _ADLER_BASE).astype(
        np.uint32
    )
    return combined
