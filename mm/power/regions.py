"""Which memory can be switched off by itself: power regions and how addresses spread over them.

A power region is the unit that the hardware can switch: a rank or a DIMM.  On a plain map each
region is one range of pfns.  On an interleaved one the controller spreads consecutive cache
lines over several regions, so that every page has a part in each of them: those regions are
busy as long as one page of their common range is.

    plain           | r0 | r1 | r2 | r3 |            four ranges, each a region of its own
    interleaved x2  |  r0+r1  |  r2+r3  |            two ranges, two regions each
    interleaved x4  |    r0+r1+r2+r3    |            one range: all or nothing

So what can be switched off is a *group*: the regions of one interleave set, and their range.
Maps that interleave whole pages are not modelled: there, too, a pageblock is in every region.

Kernel counterpart: the memory regions of the power management patches of 2011 to 2013, never
merged, which the firmware was to report (ACPI 5.0 MPST).
"""

import numpy as np
from attrs import frozen

from pinpage.errors import PinpageError, at_least, whole
from pinpage.units import Pfns, Span

__all__ = ["PowerMap"]


@frozen
class PowerMap:
    """Power regions over the frames of a machine.

    Attributes:
        nr_frames: of the machine; a last group may be cut short by the end of memory.
        region_nr_pages: capacity of a region.
        nr_interleaved: regions that share each page; 1 on a plain map.

    >>> PowerMap(4096, 1024, nr_interleaved=2).nr_groups
    2
    """

    nr_frames: int
    region_nr_pages: int
    nr_interleaved: int = 1

    def __attrs_post_init__(self) -> None:
        """Refuse a map that fits no hardware.

        Raises:
            PinpageError: names the field.
        """
        for name in ("nr_frames", "region_nr_pages", "nr_interleaved"):
            (number,) = at_least(1, "power map", **{name: getattr(self, name)})
            object.__setattr__(self, name, number)  # (frozen from here on)
        if self.nr_interleaved > self.nr_regions:
            raise PinpageError(
                f"power map: nr_interleaved={self.nr_interleaved}, but there are "
                f"{self.nr_regions} regions"
            )

    @property
    def nr_regions(self) -> int:
        """Regions, a last one cut short included."""
        return -(-self.nr_frames // self.region_nr_pages)

    @property
    def group_nr_pages(self) -> int:
        """Pages in a range that goes off at once."""
        return self.region_nr_pages * self.nr_interleaved

    @property
    def nr_groups(self) -> int:
        """Ranges that can go off by themselves."""
        return -(-self.nr_frames // self.group_nr_pages)

    @property
    def starts(self) -> Pfns:
        """First pfn of each group, shape (nr_groups,)."""
        return np.arange(self.nr_groups, dtype=np.int64) * self.group_nr_pages

    def span(self, group: int) -> Span:
        """The range of a group.

        Raises:
            PinpageError: no such group.
        """
        (group,) = whole("power map", group=group)
        if not 0 <= group < self.nr_groups:
            raise PinpageError(f"power map: group {group} of {self.nr_groups}")
        start = group * self.group_nr_pages
        return Span(start, min(start + self.group_nr_pages, self.nr_frames))

    def nr_regions_of(self, group: int) -> int:
        """Regions that go off with a group."""
        span = self.span(group)
        return min(self.nr_interleaved, -(-span.nr_pages // self.region_nr_pages))
