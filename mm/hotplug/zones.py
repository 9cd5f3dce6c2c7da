"""Pageblocks that join a zone or leave it, and everything that is worked out from a zone's size.

    span              grows to reach what joins; shrinks at its ends, never in the middle
    managed pages     what the buddy allocator was given
    watermarks        each zone's share of what is kept free
    lowmem reserve    what lower zones keep from requests that may go higher
    per-CPU lists     batch and high mark

Zones may overlap afterwards: `FreeArea.zone_of_block` says whose a pageblock is, a span only
where to look.

Kernel counterpart: move_pfn_range_to_zone, remove_pfn_range_from_zone and shrink_zone_span
(mm/memory_hotplug.c), init_per_zone_wmark_min, zone_pcp_update (mm/page_alloc.c) of v6.1.
"""

from collections.abc import Sequence

from mm.buddy.buddy import Buddy
from mm.buddy.pcp import PerCpuPages
from mm.state.nodes import Zone, ZoneKind, min_free_nr_pages, setup_lowmem_reserve, setup_watermarks
from pinpage.units import Span

__all__ = ["ZoneResizer", "zone_for"]


class ZoneResizer:
    """Moves pageblocks between zones.

    Context: no page of a pageblock that changes hands may be on a free list or a per-CPU list.
    Cost: O(pageblocks of the machine) per change.
    """

    def __init__(self, buddy: Buddy, pcp: PerCpuPages) -> None:
        """Borrow the state.

        Args:
            buddy: the free lists.
            pcp: the per-CPU lists.
        """
        self._buddy = buddy
        self._pcp = pcp
        self._min_nr_pages: int | None = None
        self._has_looked = False

    def join(self, span: Span, zone: Zone, nr_pages: int) -> None:
        """Pageblocks come to a zone, and `nr_pages` of theirs to its allocator.

        Args:
            span: whole pageblocks.
            zone: one of the buddy's.
            nr_pages: pages that the allocator is given.
        """
        self._look()
        frames, rows = self._buddy.frames, slice(span.start, span.stop)
        frames.zone[rows] = zone.index
        frames.node[rows] = zone.node
        self._buddy.area.set_zone(self._buddy.pageblocks.blocks_of_span(span), zone.index)
        zone.managed_nr_pages += nr_pages
        self._refresh(zone)

    def leave(self, span: Span, zone: Zone, nr_pages: int) -> None:
        """Pageblocks go, and `nr_pages` of theirs from the zone's allocator.

        Args:
            span: the memory, whole pageblocks.
            zone: the zone that they leave.
            nr_pages: pages that its allocator managed of them.
        """
        self._look()
        self._buddy.frames.zone[span.start : span.stop] = 0
        self._buddy.area.set_zone(self._buddy.pageblocks.blocks_of_span(span), -1)
        zone.managed_nr_pages -= nr_pages
        self._refresh(zone)

    @property
    def min_nr_pages(self) -> int:
        """What the next change shares out anew as min watermarks, in pages, if memory stays.

        By the formula it follows memory of kernel zones.
        """
        by_formula = self._by_formula
        found = self._set_by_hand(by_formula)
        return by_formula if found is None else found

    @property
    def _by_formula(self) -> int:
        return min_free_nr_pages(self._zones, page_nr_bytes=self._buddy.frames.page_nr_bytes)

    def _set_by_hand(self, by_formula: int) -> int | None:
        """What somebody set: the administrator, khugepaged; None: it is by the formula.

        That is asked before the first change, and kept.
        """
        if self._has_looked:
            return self._min_nr_pages
        marks = sum(zone.min for zone in self._zones)
        # Each share was rounded down.
        return None if by_formula - len(self._zones) < marks <= by_formula else marks

    def _look(self) -> None:
        """Before the first change: did somebody set the watermarks, or the formula?"""
        self._min_nr_pages = self._set_by_hand(self._by_formula)
        self._has_looked = True

    @property
    def _zones(self) -> Sequence[Zone]:
        return self._buddy.zones

    def _refresh(self, changed: Zone) -> None:
        size = self._buddy.pageblocks.nr_pages_per_block
        blocks = self._buddy.area.blocks_of_zone(changed.index)
        if len(blocks):
            last = self._buddy.pageblocks.span(int(blocks[-1])).stop
            changed.span = Span(int(blocks[0]) * size, last)
        else:
            changed.span = Span(changed.span.start, changed.span.start)
        setup_watermarks(
            self._zones,
            min_nr_pages=self._min_nr_pages,
            page_nr_bytes=self._buddy.frames.page_nr_bytes,
        )
        setup_lowmem_reserve(self._zones)
        for zone in self._zones:
            self._pcp.resize(zone)


def zone_for(zones: Sequence[Zone], node: int, span: Span, *, movable: bool) -> Zone | None:
    """The zone of a node that memory joins when it comes online; None if there is none.

    A kernel zone that spans some of it already, the lowest first; else the highest
    (default_kernel_zone_for_pfn).  Or ZONE_MOVABLE.

    Args:
        zones: the zones that there are.
        node: the node.
        span: the memory, whole pageblocks.
        movable: whether it is to be ZONE_MOVABLE.
    """
    fits = [z for z in zones if z.node == node and (z.kind is ZoneKind.MOVABLE) == movable]
    around = [z for z in fits if z.span.start < span.stop and span.start < z.span.stop]
    if around:
        return min(around, key=lambda zone: zone.kind)
    return max(fits, key=lambda zone: zone.kind, default=None)
