"""What a mapping of an object is: a view of its bytes, until it is unmapped.

Kernel counterpart: zs_map_object() and zs_unmap_object() of mm/zsmalloc.c, v6.1.
"""

import enum

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from mm.state.contents import Contents
from owners.pool.pieces import Piece, read_pieces, view_of, write_pieces

__all__ = ["MapMode", "ZsMapping"]


class MapMode(enum.Enum):
    """What the mapper will do (enum zs_mapmode)."""

    RO = "read only"
    WO = "write only"
    """What is not written is undefined: nothing is copied in."""
    RW = "read and write"


@define(eq=False)
class ZsMapping:
    """One open mapping, from `ZsPool.map` to `ZsPool.unmap`.

    Attributes:
        handle: of the object.
        mode: what it was mapped for.
        view: uint8[n], the object's bytes; read-only under mode RO.  In place, or, where
            the object straddles two pages, a copy that `unmap` writes back.
        is_open: False once unmapped; the view must not be used then.
    """

    handle: int
    mode: MapMode
    view: NDArray[np.uint8]
    _pieces: list[Piece] = field(repr=False)
    _is_copy: bool = field(repr=False)
    is_open: bool = True

    @classmethod
    def open(
        cls, contents: Contents, handle: int, pieces: list[Piece], mode: MapMode
    ) -> "ZsMapping":
        """Map the bytes of `pieces`; they must not move while the mapping is open.

        Args:
            contents: of the frames.
            handle: of the object.
            pieces: its bytes, which must not move while the mapping is open.
            mode: what the mapper will do.
        """
        view = view_of(contents, pieces)
        is_copy = view is None
        if view is None:
            nr_bytes = sum(piece.nr_bytes for piece in pieces)
            view = np.zeros(nr_bytes, dtype=np.uint8)
            if mode is not MapMode.WO:
                view[:] = np.frombuffer(read_pieces(contents, pieces), dtype=np.uint8)
        if mode is MapMode.RO:
            view = view.view()
            view.flags.writeable = False
        return cls(handle, mode, view, pieces, is_copy)

    def close(self, contents: Contents) -> None:
        """Write a copy back, if the mapper was to write."""
        self.is_open = False
        if self._is_copy and self.mode is not MapMode.RO:
            write_pieces(contents, self._pieces, self.view.tobytes())
