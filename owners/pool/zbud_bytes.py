"""The bytes of pool objects, one object or many: they are in the frames and nowhere else.

Addresses are byte addresses, pfn * 4096 + offset, as `ZbudPool.locate_many` gives them.
Writes and reads of real arenas go through one flat view of it; any other contents are asked
one object at a time.

Cost: in an arena about 0.4 us per object and 0.1 us per KiB; first touches of frames extra.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from mm.state.contents import ArenaContents, Contents
from pinpage.errors import PinpageError
from pinpage.units import PAGE_SHIFT, PAGE_SIZE

__all__ = ["read_many", "read_words", "write_many", "write_words"]

_OFFSET_MASK = PAGE_SIZE - 1


def write_many(contents: Contents, addresses: NDArray[np.int64], blobs: Sequence[bytes]) -> None:
    """Write one blob at each address; none may cross the end of its frame.

    Raises:
        PinpageError: lengths differ.
    """
    if len(addresses) != len(blobs):
        raise PinpageError(f"zbud: {len(blobs)} blobs for {len(addresses)} objects")
    if isinstance(contents, ArenaContents):
        flat = contents.pages.reshape(-1).data
        for address, blob in zip(addresses.tolist(), blobs, strict=True):
            flat[address : address + len(blob)] = blob
        return
    for address, blob in zip(addresses.tolist(), blobs, strict=True):
        contents.write(address >> PAGE_SHIFT, blob, address & _OFFSET_MASK)


def read_many(
    contents: Contents, addresses: NDArray[np.int64], nr_bytes: NDArray[np.int64]
) -> Iterator[bytes]:
    """The bytes at each address, one after the other."""
    if isinstance(contents, ArenaContents):
        flat = contents.pages.reshape(-1).data
        for address, length in zip(addresses.tolist(), nr_bytes.tolist(), strict=True):
            yield bytes(flat[address : address + length])
        return
    for address, length in zip(addresses.tolist(), nr_bytes.tolist(), strict=True):
        yield contents.read(address >> PAGE_SHIFT, address & _OFFSET_MASK, length)


def write_words(
    contents: Contents, addresses: NDArray[np.int64], words: NDArray[np.uint64]
) -> None:
    """Write one little-endian 64-bit word at each address, which is a multiple of 8."""
    if isinstance(contents, ArenaContents):
        contents.pages.reshape(-1).view("<u8")[addresses >> 3] = words
        return
    write_many(contents, addresses, [word.tobytes() for word in words.astype("<u8")])


def read_words(contents: Contents, addresses: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The little-endian 64-bit word at each address, which is a multiple of 8, shape (n,)."""
    if isinstance(contents, ArenaContents):
        words: NDArray[np.uint64] = contents.pages.reshape(-1).view("<u8")[addresses >> 3]
        return words
    eight = np.full(len(addresses), 8, dtype=np.int64)
    return np.frombuffer(b"".join(read_many(contents, addresses, eight)), dtype="<u8")
