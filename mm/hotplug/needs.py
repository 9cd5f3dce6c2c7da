"""What taking memory blocks offline needs and what there is: columns by block and by zone.

A block needs a free frame elsewhere for each small page in it, and one huge page elsewhere for
each that somebody uses: one that is free, else a fresh one, which takes a pageblock.  What it
takes with it, others cannot have: its own free frames, its free huge pages, its pageblocks.

Kernel counterpart: none.
"""

from collections.abc import Iterable

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from mm.contig.range_walk import HugeInRanges
from mm.hotplug.host import HotplugHost
from mm.planning.census import Census
from mm.state.nodes import ZoneKind
from mm.state.pageblock import MigrateType
from pinpage.units import Mask, Pfns

__all__ = ["BlockNeeds", "ZoneSpace", "lends", "needs_of"]

_Rows = NDArray[np.int64]


@frozen(eq=False)
class ZoneSpace:
    """What the zones have, one row each.

    Attributes:
        is_movable: ZONE_MOVABLE.
        is_populated: the allocator has memory there.
        nr_free: frames that whoever moves a page can have, marks and reserves not subtracted.
        min: of these, kept from everybody who moves a page.
        kernel_reserve, movable_reserve: kept besides from pages of kernel zones, and of
            ZONE_MOVABLE.
        nr_managed: pages that the zone has.
        shared: its share, by these, of what min watermarks will be once memory has changed.
        reserve_ratio: reserves are a page in so many of the zones above it in its node; 0: none.
        nr_listed: frames that a per-CPU list may keep back when they are wanted.
        nr_empty: pageblocks that are wholly free.
        nr_clearable: those with nothing in them that compaction surely could not move.
    """

    is_movable: Mask
    is_populated: Mask
    nr_free: _Rows
    min: _Rows
    kernel_reserve: _Rows
    movable_reserve: _Rows
    nr_managed: _Rows
    shared: NDArray[np.float64]
    reserve_ratio: _Rows
    nr_listed: _Rows
    nr_empty: _Rows
    nr_clearable: _Rows

    @property
    def kernel_mark(self) -> _Rows:
        """Free frames that pages of kernel zones leave where they are."""
        return self.min + self.kernel_reserve

    @property
    def movable_mark(self) -> _Rows:
        """Free frames that pages of ZONE_MOVABLE leave where they are."""
        return self.min + self.movable_reserve


@frozen(eq=False)
class BlockNeeds:
    """What memory blocks need and take with them, one row each.

    Attributes:
        nr_pages: pages of a block.
        nr_pages_per_block: pages of a pageblock, and of a fresh huge page.
        zone: row of its zone in `zones`.
        nr_moves: small pages, and what else takes a free frame for each frame.
        nr_lent: free frames of its own.
        nr_empty, nr_clearable: pageblocks of its own, as in `zones`.
        huge: its huge pages, by size.
        zones: what there is, the blocks' own included.
    """

    nr_pages: int
    nr_pages_per_block: int
    zone: _Rows
    nr_moves: _Rows
    nr_lent: _Rows
    nr_empty: _Rows
    nr_clearable: _Rows
    huge: tuple[HugeInRanges, ...]
    zones: ZoneSpace

    @property
    def in_movable(self) -> Mask:
        """Which blocks are of ZONE_MOVABLE."""
        found: Mask = self.zones.is_movable[self.zone]
        return found

    @property
    def nr_beside(self) -> int:
        """Fresh huge pages that ZONE_MOVABLE may have room for.

        A huge page may be anywhere (`htlb_alloc_mask`), small pages of kernel zones may not.
        """
        zones = self.zones
        spare = np.maximum(zones.nr_free - zones.movable_mark, 0) // self.nr_pages_per_block
        return int(
            np.minimum(zones.nr_clearable, spare)[zones.is_movable & zones.is_populated].sum()
        )


def _zones_of(host: HotplugHost, census: Census, min_nr_pages: int) -> ZoneSpace:
    """What the zones have."""
    zones, nr_zones = host.zones, len(host.zones)
    size = census.nr_pages_per_block
    usable = census.nr_free * lends(host, census)
    nr_managed = max(sum(zone.managed_nr_pages for zone in zones), 1)

    def by_zone(column: NDArray[np.generic]) -> _Rows:
        return np.bincount(census.zone, column, nr_zones).astype(np.int64)

    return ZoneSpace(
        is_movable=np.array([zone.kind is ZoneKind.MOVABLE for zone in zones], dtype=np.bool_),
        is_populated=np.array([zone.managed_nr_pages > 0 for zone in zones], dtype=np.bool_),
        nr_free=by_zone(usable),
        min=_column(zone.min for zone in zones),
        kernel_reserve=_column(zone.lowmem_reserve[ZoneKind.NORMAL] for zone in zones),
        movable_reserve=_column(zone.lowmem_reserve[ZoneKind.MOVABLE] for zone in zones),
        nr_managed=_column(zone.managed_nr_pages for zone in zones),
        shared=_column(zone.managed_nr_pages for zone in zones) * min_nr_pages / nr_managed,
        reserve_ratio=_column(zone.kind.lowmem_reserve_ratio for zone in zones),
        nr_listed=_column(max(host.pcp.batches[zone.index] - 1, 0) for zone in zones),
        nr_empty=by_zone(usable == size),
        nr_clearable=by_zone(census.clearable),
    )


def needs_of(
    host: HotplugHost,
    census: Census,
    starts: Pfns,
    nr_pages: int,
    huge: tuple[HugeInRanges, ...],
    *,
    min_nr_pages: int,
) -> BlockNeeds:
    """What these memory blocks need and take with them.

    Args:
        host: the machine.
        census: what is free and what can move, huge pages left out.
        starts: first pfns of the blocks, ascending.
        nr_pages: pages of each.
        huge: what is in them of each size of huge page.
        min_nr_pages: what min watermarks will be shares of, once memory has changed.
    """
    size = census.nr_pages_per_block
    lent = census.nr_free * lends(host, census)

    def within(column: NDArray[np.generic]) -> _Rows:
        before = np.concatenate(([0], np.cumsum(column.astype(np.int64))))
        found: _Rows = before[(starts + nr_pages) // size] - before[starts // size]
        return found

    return BlockNeeds(
        nr_pages=nr_pages,
        nr_pages_per_block=size,
        zone=census.zone[starts // size],
        nr_moves=within(census.nr_movable),
        nr_lent=within(lent),
        nr_empty=within(np.equal(lent, size)),
        nr_clearable=within(census.clearable),
        huge=huge,
        zones=_zones_of(host, census, min_nr_pages),
    )


def lends(host: HotplugHost, census: Census) -> Mask:
    """Pageblocks whose free frames somebody who moves a page may have.

    Args:
        host: the machine.
        census: what is free.
    """
    found: Mask = census.usable & (host.pageblocks.migratetype != MigrateType.HIGHATOMIC)
    return found


def _column(values: Iterable[int]) -> _Rows:
    return np.array(list(values), dtype=np.int64)
