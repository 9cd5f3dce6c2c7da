"""Nodes and zones: spans and numbers, never pages.

Kernel counterpart: struct zone, its watermarks (setup_per_zone_wmarks) and lowmem reserve
(setup_per_zone_lowmem_reserve), and __zone_watermark_ok.  Figures are those of v6.1; the
string "3.11" asks for the kernel of the 2013 thread.
"""

import enum
import math
from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias

from attrs import define, field

from mm.state.frames import Frames
from mm.state.pageblock import NR_PCPTYPES, MigrateType
from pinpage.errors import PinpageError, require, whole
from pinpage.units import PAGE_SIZE, PAGEBLOCK_NR_PAGES, Span

__all__ = [
    "FreeCounts",
    "KernelVersion",
    "Zone",
    "ZoneKind",
    "min_free_kbytes",
    "min_free_nr_pages",
    "place_frames",
    "setup_lowmem_reserve",
    "setup_watermarks",
    "watermark_ok",
    "zones_for",
]

KernelVersion: TypeAlias = Literal["6.1", "3.11"]
"""Whose formulas to use."""

_MAX_MIN_FREE_KBYTES = {"6.1": 262144, "3.11": 65536}
_WATERMARK_SCALE_FACTOR = 10
"""Distance between watermarks, in units of 1/10000 of the zone."""


class ZoneKind(enum.IntEnum):
    """The kinds of zone of x86-64, low to high; a request falls back downward."""

    DMA = 0
    """Below 16 MiB."""
    DMA32 = 1
    """Below 4 GiB."""
    NORMAL = 2
    MOVABLE = 3
    """Movable pages only, so that it can be emptied."""

    @property
    def lowmem_reserve_ratio(self) -> int:
        """One page in this many is kept from requests that could have gone higher (0: none)."""
        return (256, 256, 32, 0)[self]


def _zone_kind(zone: "Zone") -> ZoneKind:
    kinds = {
        "DMA": ZoneKind.DMA,
        "DMA32": ZoneKind.DMA32,
        "Movable": ZoneKind.MOVABLE,
        "MOVABLE": ZoneKind.MOVABLE,
    }
    return kinds.get(zone.name, ZoneKind.NORMAL)


@define(eq=False)
class Zone:
    """One zone of one node.

    Attributes:
        index: position in the machine's list of zones.
        name: as in /proc/zoneinfo: "DMA", "DMA32", "Normal", "Movable".
        node: NUMA node.
        span: its pfns; may have holes; borders lie on pageblocks (the end of memory excepted).
        managed_nr_pages: pages that the buddy allocator was given; all of the span if not said.
        min, low, high, promo: watermarks, in pages.
        lowmem_reserve: pages kept from a request whose highest zone has that `ZoneKind`.
        kind: the `ZoneKind` that the name stands for.

    Invariants, run by `check`:
        ZN1 min <= low <= high.
        ZN2 managed pages fit in the span.
    """

    index: int
    name: str
    node: int
    span: Span
    managed_nr_pages: int = -1
    min: int = 0
    low: int = 0
    high: int = 0
    promo: int = 0
    lowmem_reserve: tuple[int, ...] = (0, 0, 0, 0)
    kind: ZoneKind = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Fill in what was not said."""
        if self.managed_nr_pages < 0:
            self.managed_nr_pages = self.span.nr_pages
        self.kind = _zone_kind(self)

    def check(self) -> None:
        """Run ZN1 and ZN2.

        Raises:
            InvariantError: one does not hold.
        """
        require(
            0 <= self.min <= self.low <= self.high, "ZN1 watermarks out of order", zone=self.name
        )
        require(
            self.managed_nr_pages <= self.span.nr_pages,
            "ZN2 a zone manages more pages than it spans",
            zone=self.name,
            managed=self.managed_nr_pages,
        )


def zones_for(
    nr_frames: int,
    nr_nodes: int = 1,
    *,
    nr_pages_per_block: int = PAGEBLOCK_NR_PAGES,
    page_nr_bytes: int = PAGE_SIZE,
) -> list[Zone]:
    """One Normal zone per node, of equal size, with watermarks; the last takes the rest.

    Args:
        nr_frames: frames of the machine.
        nr_nodes: nodes.
        nr_pages_per_block: pages in a pageblock.
        page_nr_bytes: bytes in a page.

    Raises:
        PinpageError: less than a pageblock for each node.
    """
    step = nr_frames // nr_nodes // nr_pages_per_block * nr_pages_per_block
    if step == 0:
        raise PinpageError(
            f"zones: {nr_frames} frames are less than a pageblock for each of {nr_nodes} nodes"
        )
    borders = [node * step for node in range(nr_nodes)] + [nr_frames]
    zones = [
        Zone(node, "Normal", node, Span(borders[node], borders[node + 1]))
        for node in range(nr_nodes)
    ]
    setup_watermarks(zones, page_nr_bytes=page_nr_bytes)
    setup_lowmem_reserve(zones)
    return zones


def place_frames(frames: Frames, zones: Sequence[Zone]) -> None:
    """Write the `zone` and `node` columns of the frames that the zones span.

    Only where they differ: fresh columns are zeros that cost no memory until written.

    Args:
        frames: the columns, one row per frame.
        zones: the zones, by `Frames.zone`.
    """
    for zone in zones:
        for column, value in ((frames.zone, zone.index), (frames.node, zone.node)):
            rows = column[zone.span.start : zone.span.stop]
            if (rows != value).any():
                rows[:] = value


def min_free_kbytes(lowmem_kb: int, version: KernelVersion = "6.1") -> int:
    """How much the kernel wants to keep free, in KiB: the square root of 16 times lowmem, clamped.

    Args:
        lowmem_kb: directly mapped memory, in KiB.
        version: of the kernel whose rule it is.

    >>> min_free_kbytes(4 << 20)
    8192
    """
    return min(max(math.isqrt(lowmem_kb * 16), 128), _MAX_MIN_FREE_KBYTES[version])


def min_free_nr_pages(
    zones: Sequence[Zone], version: KernelVersion = "6.1", *, page_nr_bytes: int = PAGE_SIZE
) -> int:
    """What `min_free_kbytes` comes to for these zones, in pages; ZONE_MOVABLE does not count.

    Args:
        zones: the zones, by `Frames.zone`.
        version: of the kernel whose rule it is.
        page_nr_bytes: bytes in a page.
    """
    buffer_pages = sum(zone.managed_nr_pages for zone in zones if zone.kind <= ZoneKind.NORMAL)
    page_kb = page_nr_bytes >> 10
    return min_free_kbytes(buffer_pages * page_kb, version) // page_kb


def setup_watermarks(
    zones: Sequence[Zone],
    version: KernelVersion = "6.1",
    *,
    min_nr_pages: int | None = None,
    page_nr_bytes: int = PAGE_SIZE,
) -> None:
    """Set min, low, high and promo of each zone from its share of min_free_kbytes.

    v6.1 spaces them by a quarter of min or 0.1 % of the zone, whichever is more; v3.11 by a
    quarter of min.

    Args:
        zones: all of the machine's.
        version: whose formulas.
        min_nr_pages: what is to be kept free in all, in pages, where somebody set it (the
            administrator, khugepaged); None: `min_free_nr_pages`.
        page_nr_bytes: bytes in a page.
    """
    total_pages = sum(zone.managed_nr_pages for zone in zones)
    min_pages = min_nr_pages
    if min_pages is None:
        min_pages = min_free_nr_pages(zones, version, page_nr_bytes=page_nr_bytes)
    for zone in zones:
        zone.min = min_pages * zone.managed_nr_pages // max(total_pages, 1)
        step = zone.min >> 2
        if version == "6.1":
            step = max(step, zone.managed_nr_pages * _WATERMARK_SCALE_FACTOR // 10000)
        zone.low, zone.high, zone.promo = (zone.min + k * step for k in (1, 2, 3))


def setup_lowmem_reserve(zones: Sequence[Zone]) -> None:
    """Set what each zone keeps from requests that may also go to higher zones of its node."""
    for zone in zones:
        ratio = zone.kind.lowmem_reserve_ratio
        above = [
            sum(
                z.managed_nr_pages
                for z in zones
                if z.node == zone.node and zone.kind < z.kind <= kind
            )
            for kind in ZoneKind
        ]
        zone.lowmem_reserve = tuple(pages // ratio if ratio else 0 for pages in above)


class FreeCounts(Protocol):
    """What a watermark check needs to know of the free lists; `mm.buddy.buddy.Buddy` has it."""

    def nr_free(self, zone: int | None = None) -> int:
        """Free pages, those of isolated pageblocks left out."""

    def nr_free_of(self, zone: int, migratetype: int) -> int:
        """Free pages on the lists of one type.

        Args:
            zone: the zone's row in `Frames.zone`.
            migratetype: a `MigrateType`.
        """

    def has_free_block(self, zone: int, migratetype: int, order: int) -> bool:
        """Whether a free block of at least this order stands on a list of the type.

        Args:
            zone: the zone's row in `Frames.zone`.
            migratetype: a `MigrateType`.
            order: log2 of the pages that it has at least.
        """


def watermark_ok(
    counts: FreeCounts,
    zone: Zone,
    order: int,
    mark: int,
    *,
    highest: ZoneKind = ZoneKind.NORMAL,
    cma: bool = True,
    harder: bool = False,
    high: bool = False,
) -> bool:
    """Whether the zone may serve a request of this order and stay above `mark`.

    Args:
        counts: the free lists.
        zone: the zone asked.
        order: log2 of the pages wanted.
        mark: a watermark, in pages.
        highest: the highest zone that the request may use; decides the lowmem reserve.
        cma: whether it may use CMA pages (ALLOC_CMA).
        harder: an atomic request: HIGHATOMIC blocks and a quarter of the mark (ALLOC_HARDER).
        high: may use half of the mark (ALLOC_HIGH).

    Raises:
        PinpageError: an order that is no whole number.

    Cost: about 2 us.
    """
    if type(order) is not int:
        (order,) = whole("watermark", order=order)
    free = counts.nr_free(zone.index) - ((1 << order) - 1)
    if not harder:
        free -= counts.nr_free_of(zone.index, MigrateType.HIGHATOMIC)
    if not cma:
        free -= counts.nr_free_of(zone.index, MigrateType.CMA)
    if high:
        mark -= mark // 2
    if harder:
        mark -= mark // 4
    if free <= mark + zone.lowmem_reserve[highest]:
        return False
    if order == 0:
        return True
    usable = [
        *range(NR_PCPTYPES),
        *([MigrateType.CMA] if cma else []),
        *([MigrateType.HIGHATOMIC] if harder else []),
    ]
    return any(counts.has_free_block(zone.index, migratetype, order) for migratetype in usable)
