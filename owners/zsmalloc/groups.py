"""Fullness groups: where a zspage with a free object is found.

Each class keeps its zspages in lists by how full they are.  New objects go to the almost full
ones first, so that the almost empty ones drain; compaction empties those into the others.

Kernel counterpart: get_fullness_group() and the fullness lists of mm/zsmalloc.c, v6.1.  A
zspage counts as almost empty up to three quarters (a comment there speaks of one).  Lists are
last in, first out; the kernel's puts a zspage behind the head if it has fewer objects.
"""

import enum
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from owners.zsmalloc.classes import NR_SIZES, SizeClass
from pinpage.errors import require

__all__ = ["Fullness", "FullnessGroups", "fullness"]


class Fullness(enum.IntEnum):
    """How full a zspage is."""

    EMPTY = 0
    ALMOST_EMPTY = 1
    """Up to three quarters of its objects are in use."""
    ALMOST_FULL = 2
    FULL = 3


_ALMOST_EMPTY_QUARTERS = 3


def fullness(inuse: int, nr_objects: int) -> Fullness:
    """The group of a zspage with `inuse` of `nr_objects` objects.

    >>> [fullness(n, 8).name for n in (0, 1, 6, 7, 8)]
    ['EMPTY', 'ALMOST_EMPTY', 'ALMOST_EMPTY', 'ALMOST_FULL', 'FULL']
    """
    if inuse == 0:
        return Fullness.EMPTY
    if inuse == nr_objects:
        return Fullness.FULL
    if 4 * inuse <= _ALMOST_EMPTY_QUARTERS * nr_objects:
        return Fullness.ALMOST_EMPTY
    return Fullness.ALMOST_FULL


class FullnessGroups:
    """The lists of every class, and how much of each class is in use.

    Attributes:
        nr_zspages: int64, shape (255,); zspages by class.
        nr_used: int64, shape (255,); objects in use by class.
    """

    __slots__ = ("_lists", "nr_used", "nr_zspages")

    def __init__(self) -> None:
        """Nothing filed."""
        # A dict without values is an ordered set.
        self._lists: list[list[dict[int, None]]] = [[{} for _ in Fullness] for _ in range(NR_SIZES)]
        self.nr_zspages: NDArray[np.int64] = np.zeros(NR_SIZES, dtype=np.int64)
        self.nr_used: NDArray[np.int64] = np.zeros(NR_SIZES, dtype=np.int64)

    def file(self, size_class: SizeClass, zspage: int, inuse: int) -> None:
        """A zspage joins the list that its number of objects names.

        Args:
            size_class: of the zspage.
            zspage: its id.
            inuse: objects in it.
        """
        group = fullness(inuse, size_class.nr_objects)
        self._lists[size_class.index][group][zspage] = None
        self.nr_zspages[size_class.index] += 1
        self.nr_used[size_class.index] += inuse

    def unfile(self, size_class: SizeClass, zspage: int, inuse: int) -> None:
        """It leaves that list.

        Args:
            size_class: of the zspage.
            zspage: its id.
            inuse: objects in it.
        """
        group = fullness(inuse, size_class.nr_objects)
        del self._lists[size_class.index][group][zspage]
        self.nr_zspages[size_class.index] -= 1
        self.nr_used[size_class.index] -= inuse

    def refile(self, size_class: SizeClass, zspage: int, before: int, after: int) -> None:
        """Its number of objects has changed (fix_fullness_group).

        Args:
            size_class: of the zspage.
            zspage: its id.
            before, after: objects in it.
        """
        old = fullness(before, size_class.nr_objects)
        new = fullness(after, size_class.nr_objects)
        if old != new:
            lists = self._lists[size_class.index]
            del lists[old][zspage]
            lists[new][zspage] = None
        self.nr_used[size_class.index] += after - before

    def with_free_object(self, size_class: SizeClass) -> Iterator[int]:
        """Zspages that a new object may go to, the best first."""
        yield from self.members(size_class, Fullness.ALMOST_FULL)
        yield from self.members(size_class, Fullness.ALMOST_EMPTY)

    def to_drain(self, size_class: SizeClass) -> Iterator[int]:
        """Zspages that compaction may empty, the best first."""
        yield from self.members(size_class, Fullness.ALMOST_EMPTY)
        yield from self.members(size_class, Fullness.ALMOST_FULL)

    def members(self, size_class: SizeClass, group: Fullness) -> Iterator[int]:
        """Zspages of one list, last in first.

        Args:
            size_class: which class.
            group: which list of it.
        """
        return reversed(self._lists[size_class.index][group])

    def nr_members(self, size_class: SizeClass, group: Fullness) -> int:
        """How many zspages one list has.

        Args:
            size_class: which class.
            group: which list of it.
        """
        return len(self._lists[size_class.index][group])

    def nr_freeable_pages(self, size_class: SizeClass) -> int:
        """Pages that compacting the class can free at most (zs_can_compact)."""
        index = size_class.index
        nr_fit = self.nr_zspages.item(index) * size_class.nr_objects
        nr_wasted = nr_fit - self.nr_used.item(index)
        return nr_wasted // size_class.nr_objects * size_class.nr_pages

    def check(self, size_class: SizeClass, inuse: dict[int, int]) -> None:
        """Run ZS6 of `ZsPool` for a class, given its zspages and their numbers of objects.

        Args:
            size_class: which class.
            inuse: objects in each zspage of the class, by id.

        Raises:
            InvariantError: it does not hold.
        """
        for group in Fullness:
            expected = {z for z, n in inuse.items() if fullness(n, size_class.nr_objects) == group}
            require(
                set(self.members(size_class, group)) == expected,
                "ZS6 a zspage is on the wrong list",
                size=size_class.nr_bytes,
                group=group.name,
            )
        index = size_class.index
        require(
            self.nr_zspages[index] == len(inuse) and self.nr_used[index] == sum(inuse.values()),
            "ZS6 the counts of a class",
            size=size_class.nr_bytes,
        )
