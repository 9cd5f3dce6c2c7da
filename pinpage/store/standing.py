"""Two names for one frame: the time between an owner's migrate and the end of the move.

An owner that was told its new place knows the frame by its target, the one that was not told
yet by its source; the pins change their pfn only when all have been told.  An owner may let
go at any moment, and uses the name that it knows.  So until the pins are rekeyed a target
*stands for* its source.

Owns:    target -> source of the moves in flight.
Cost:    one look into a dict that is nearly always empty.
Context: any thread; each operation is a single one on a dict.
"""

import numpy as np

from pinpage.units import Pfns

__all__ = ["Standing"]


class Standing:
    """Targets in flight and the sources that they stand for."""

    __slots__ = ("_source_of",)

    def __init__(self) -> None:
        """Nothing is in flight."""
        self._source_of: dict[int, int] = {}

    def __bool__(self) -> bool:
        """Whether anything is in flight."""
        return bool(self._source_of)

    def add(self, sources: Pfns, targets: Pfns) -> None:
        """From now on each target stands for its source."""
        self._source_of.update(zip(targets.tolist(), sources.tolist(), strict=True))

    def remove(self, targets: Pfns) -> None:
        """These stand for themselves (again); others than targets in flight are ignored."""
        if self._source_of:
            for target in targets.tolist():
                self._source_of.pop(target, None)

    def source_of(self, pfn: int) -> int | None:
        """The frame whose pins a target stands for, or None."""
        return self._source_of.get(pfn)

    def renamed(self, pfns: Pfns) -> Pfns:
        """A column in which targets in flight are replaced by their sources."""
        if not self._source_of:
            return pfns
        return np.array([self._source_of.get(pfn, pfn) for pfn in pfns.tolist()], dtype=np.int64)
