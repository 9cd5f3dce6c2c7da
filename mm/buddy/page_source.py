"""What an owner may ask of mm.

A subsystem that holds pages gets them from somewhere and puts its data into them; that is
all it knows of memory management.  `mm.machine.Machine` satisfies this protocol.
"""

from typing import Protocol

from mm.state.contents import Contents
from mm.state.frames import Frames
from mm.state.gfp import Gfp

__all__ = ["PageSource"]


class PageSource(Protocol):
    """Single pages, their references and their bytes."""

    @property
    def frames(self) -> Frames:
        """The columns; owners read them and write none but marks of their own."""

    @property
    def contents(self) -> Contents:
        """The bytes."""

    def alloc_page(self, gfp: Gfp) -> int:
        """One frame with one reference, or -1 when there is none for such a request."""

    def free_page(self, pfn: int) -> None:
        """Drop the last reference and free.

        Raises:
            PinpageError: the frame is not allocated, or others still hold references.
        """

    def get_page(self, pfn: int) -> None:
        """One reference more.

        Raises:
            PinpageError: nobody holds the frame; a reference cannot start from nothing.
        """

    def put_page(self, pfn: int) -> bool:
        """One reference less; True when that was the last one and the frame is free now."""
