"""From "which frames are free" to "which buddy blocks are there".

Buddies always merge, so the free blocks inside a pageblock are a function of its free frames
alone.  Two forms of that function: one for a pageblock, on its free frames as the bits of one
int (about 3 us for 512 frames, whatever their pattern), and one for a whole machine as numpy
columns (about 10 ns per frame).
"""

import functools
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from pinpage.units import Mask

__all__ = ["decompose_all", "decompose_block", "free_bits", "scatter_orders"]


@functools.cache
def _alignment(order: int, nr_pages: int) -> int:
    """Bits at the multiples of 2^order below `nr_pages`."""
    return sum(1 << bit for bit in range(0, nr_pages, 1 << order))


def free_bits(free: Mask) -> int:
    """A mask of frames as an int: bit i is frame i.  Shape (n,)."""
    return int.from_bytes(np.packbits(free, bitorder="little").tobytes(), "little")


def decompose_block(free: int, pageblock_order: int) -> list[int]:
    """The maximal buddy blocks in one pageblock.

    Args:
        free: bit i is set where frame i of the pageblock is free.
        pageblock_order: log2 of its frames.

    Returns:
        One int per order 0..pageblock_order, its bits the heads of the free blocks of
        exactly that order.

    >>> [bin(heads) for heads in decompose_block(0b1011_1100, 3)]
    ['0b10000000', '0b10100', '0b0', '0b0']
    """
    nr_pages = 1 << pageblock_order
    heads = []
    for order in range(pageblock_order):
        size = 1 << order
        merged = free & (free >> size) & _alignment(order + 1, nr_pages)
        heads.append(free & ~(merged | merged << size))
        free = merged
        if not free:
            break
    else:
        heads.append(free)
    heads.extend([0] * (pageblock_order + 1 - len(heads)))
    return heads


def scatter_orders(heads: list[int], orders: NDArray[np.int8]) -> None:
    """Write the order column of one pageblock: the order on heads, -1 elsewhere.

    Args:
        heads: as `decompose_block` returns them.
        orders: the pageblock's part of `frames.order`; may be shorter at the end of memory.
    """
    nr_pages = len(orders)
    orders.fill(-1)
    scalars = orders.data
    for order, bits in enumerate(heads):
        if bits.bit_count() > 6:
            packed = np.frombuffer(bits.to_bytes(-(-nr_pages // 8), "little"), dtype=np.uint8)
            orders[np.unpackbits(packed, count=nr_pages, bitorder="little").view(np.bool_)] = order
        else:
            for index in _set_bits(bits):
                scalars[index] = order


def _set_bits(bits: int) -> Iterator[int]:
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


def decompose_all(
    free: Mask, max_order: int, may_merge: Callable[[int], Mask], pageblock_order: int
) -> NDArray[np.int8]:
    """The order column of a whole machine from its free frames.

    Args:
        free: which frames are free, shape (nr_frames,).
        max_order: the largest order there is.
        may_merge: order -> per pair of blocks of that order, whether they may form one, with as
            many pairs as make up blocks of `max_order`; asked from the pageblock's order up.
        pageblock_order: log2 of the frames in a pageblock.

    Returns:
        int8[nr_frames]: the order on heads of free blocks, -1 elsewhere.
    """
    nr_frames = len(free)
    orders = np.full(-(-nr_frames >> max_order) << max_order, -1, dtype=np.int8)
    level = np.zeros(len(orders), dtype=np.bool_)
    level[:nr_frames] = free
    for order in range(max_order):
        pairs = level.reshape(-1, 2)
        merged = pairs[:, 0] & pairs[:, 1]
        if order >= pageblock_order:
            merged &= may_merge(order)
        orders[:: 1 << order][level & ~np.repeat(merged, 2)] = order
        level = merged
    orders[:: 1 << max_order][level] = max_order
    return orders[:nr_frames]
