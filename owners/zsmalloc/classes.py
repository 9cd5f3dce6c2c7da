"""Size classes: how big an object may be, and how many pages make a zspage of such objects.

Sizes go from 32 to 4096 bytes in steps of 16: 255 of them.  A zspage is one to four pages
taken as one run of bytes; a class has as many pages as leave the smallest share unused, and
an object may straddle two of them.  Sizes that need the same pages for the same number of
objects are one class, the largest of them.

An object starts with a word for its handle, as the kernel's does: 8 bytes of each object are
not the user's.  A huge class (one page, one object) keeps its handle elsewhere, so that a
whole page fits.

Kernel counterpart: set up of size classes in mm/zsmalloc.c of v6.1 (chains of up to four
pages, 4 KiB pages); the share in use is compared in whole percent there, and here.
"""

import functools
from typing import Final

from attrs import frozen

from pinpage.units import PAGE_SIZE

__all__ = [
    "CLASS_DELTA_NR_BYTES",
    "HANDLE_NR_BYTES",
    "MAX_OBJECT_NR_BYTES",
    "MAX_ZSPAGE_NR_PAGES",
    "MIN_CLASS_NR_BYTES",
    "NR_SIZES",
    "SizeClass",
    "class_of",
    "huge_class_nr_bytes",
    "nr_zspage_pages",
    "size_classes",
]

MIN_CLASS_NR_BYTES: Final = 32
"""The smallest class, in bytes, handle included."""
CLASS_DELTA_NR_BYTES: Final = 16
"""From one size to the next, in bytes."""
NR_SIZES: Final = (PAGE_SIZE - MIN_CLASS_NR_BYTES) // CLASS_DELTA_NR_BYTES + 1
"""Sizes, before equal ones are merged."""
MAX_ZSPAGE_NR_PAGES: Final = 4
"""Pages in the longest zspage."""
HANDLE_NR_BYTES: Final = 8
"""What an object's handle takes of it, in bytes."""
MAX_OBJECT_NR_BYTES: Final = PAGE_SIZE
"""The largest object that a user may ask for, in bytes."""


@frozen
class SizeClass:
    """One class of objects.

    Attributes:
        index: of the largest size that is merged into it, 0..254.
        nr_bytes: of one object, its handle included.
        nr_pages: of one zspage.
        nr_objects: in one zspage.
    """

    index: int
    nr_bytes: int
    nr_pages: int
    nr_objects: int

    @property
    def is_huge(self) -> bool:
        """Whether an object has a page to itself, handle not included."""
        return self.nr_pages == 1 and self.nr_objects == 1

    @property
    def header_nr_bytes(self) -> int:
        """Bytes at the start of an object that are not the user's."""
        return 0 if self.is_huge else HANDLE_NR_BYTES

    @property
    def user_nr_bytes(self) -> int:
        """Bytes of an object that are the user's."""
        return self.nr_bytes - self.header_nr_bytes


def nr_zspage_pages(nr_bytes: int) -> int:
    """Pages of a zspage for objects of `nr_bytes`: the fewest with the best share in use.

    >>> [nr_zspage_pages(n) for n in (32, 48, 2448, 3264, 3280)]
    [1, 3, 3, 4, 1]
    """
    return max(
        range(1, MAX_ZSPAGE_NR_PAGES + 1),
        key=lambda pages: (_percent_in_use(nr_bytes, pages), -pages),
    )


def _percent_in_use(nr_bytes: int, nr_pages: int) -> int:
    total = nr_pages * PAGE_SIZE
    return (total - total % nr_bytes) * 100 // total


@functools.cache
def size_classes() -> tuple[SizeClass, ...]:
    """The class of each of the 255 sizes; merged sizes share one, shape (255,)."""
    classes: list[SizeClass] = []
    for index in reversed(range(NR_SIZES)):
        nr_bytes = MIN_CLASS_NR_BYTES + index * CLASS_DELTA_NR_BYTES
        nr_pages = nr_zspage_pages(nr_bytes)
        nr_objects = nr_pages * PAGE_SIZE // nr_bytes
        if classes and (classes[-1].nr_pages, classes[-1].nr_objects) == (nr_pages, nr_objects):
            classes.append(classes[-1])
        else:
            classes.append(SizeClass(index, nr_bytes, nr_pages, nr_objects))
    return tuple(reversed(classes))


@functools.cache
def class_of(nr_bytes: int) -> SizeClass:
    """The class for an object with `nr_bytes` for the user, 1..4096.

    >>> class_of(24).nr_bytes, class_of(25).nr_bytes, class_of(4096).nr_bytes
    (32, 48, 4096)
    """
    size = nr_bytes + HANDLE_NR_BYTES
    index = -(-max(size - MIN_CLASS_NR_BYTES, 0) // CLASS_DELTA_NR_BYTES)
    return size_classes()[min(index, NR_SIZES - 1)]


@functools.cache
def huge_class_nr_bytes() -> int:
    """The fewest bytes whose object gets a page to itself (zs_huge_class_size).

    >>> class_of(huge_class_nr_bytes()).is_huge, class_of(huge_class_nr_bytes() - 1).is_huge
    (True, False)
    """
    largest = max(c.nr_bytes for c in size_classes() if not c.is_huge)
    return largest - HANDLE_NR_BYTES + 1
