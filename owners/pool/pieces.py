"""The bytes of one object: they are in the frames, in one piece or, in zsmalloc, in two.

A zspage is one run of bytes only to those who count in it; its frames lie anywhere.  So an
object that straddles two pages has no address, and a mapping of it is a copy, as the
kernel's per-CPU buffer is one.  An object on one page of an arena is mapped in place.
"""

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from mm.state.contents import ArenaContents, Contents
from pinpage.units import PAGE_SHIFT, PAGE_SIZE

__all__ = ["Piece", "pieces_of", "read_pieces", "view_of", "write_pieces"]

_OFFSET_MASK = PAGE_SIZE - 1


@frozen
class Piece:
    """A run of bytes in one frame."""

    pfn: int
    offset: int
    nr_bytes: int


def pieces_of(pfns: list[int], start: int, nr_bytes: int) -> list[Piece]:
    """Bytes [start, start + nr_bytes) of a zspage, frame by frame.

    Args:
        pfns: frames of the zspage, in order.
        start: first byte of the zspage.
        nr_bytes: how many.

    >>> pieces_of([7, 3], 4000, 200)
    [Piece(pfn=7, offset=4000, nr_bytes=96), Piece(pfn=3, offset=0, nr_bytes=104)]
    """
    pieces, stop = [], start + nr_bytes
    while start < stop:
        offset = start & _OFFSET_MASK
        here = min(PAGE_SIZE - offset, stop - start)
        pieces.append(Piece(pfns[start >> PAGE_SHIFT], offset, here))
        start += here
    return pieces


def read_pieces(contents: Contents, pieces: list[Piece]) -> bytes:
    """The bytes, in one piece.

    Args:
        contents: of the frames.
        pieces: in the order of the bytes.
    """
    return b"".join(contents.read(p.pfn, p.offset, p.nr_bytes) for p in pieces)


def write_pieces(contents: Contents, pieces: list[Piece], data: bytes) -> None:
    """Write bytes over the pieces; fewer than they hold leave the rest as it was.

    Args:
        contents: of the frames.
        pieces: in the order of the bytes.
        data: the bytes.
    """
    at = 0
    for piece in pieces:
        part = data[at : at + piece.nr_bytes]
        contents.write(piece.pfn, part, piece.offset)
        at += piece.nr_bytes


def view_of(contents: Contents, pieces: list[Piece]) -> NDArray[np.uint8] | None:
    """The bytes themselves, uint8[n], where they are one run of an arena; else None.

    Args:
        contents: of the frames.
        pieces: in the order of the bytes.
    """
    if len(pieces) != 1 or not isinstance(contents, ArenaContents):
        return None
    piece = pieces[0]
    view: NDArray[np.uint8] = contents.pages[piece.pfn, piece.offset :][: piece.nr_bytes]
    return view
