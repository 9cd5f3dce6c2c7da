"""Zones: watermarks against the figures that the kernel's formulas give."""

import pytest

from mm.state.frames import Frames
from mm.state.nodes import (
    Zone,
    ZoneKind,
    min_free_kbytes,
    place_frames,
    setup_lowmem_reserve,
    setup_watermarks,
    watermark_ok,
    zones_for,
)
from mm.state.pageblock import MigrateType
from pinpage.errors import InvariantError, PinpageError
from pinpage.units import Span

FOUR_GIB = 1048576


def test_watermarks_of_a_4_gib_zone():
    (zone,) = zones_for(FOUR_GIB)
    assert min_free_kbytes(FOUR_GIB * 4) == 8192
    assert (zone.min, zone.low, zone.high, zone.promo) == (2048, 3096, 4144, 5192)


def test_watermarks_of_the_same_zone_in_v3_11():
    (zone,) = zones_for(FOUR_GIB)
    setup_watermarks([zone], "3.11")
    assert (zone.min, zone.low, zone.high) == (2048, 2560, 3072)


@pytest.mark.parametrize(
    ("lowmem_kb", "version", "expected"),
    [(512, "6.1", 128), (1 << 40, "6.1", 262144), (1 << 40, "3.11", 65536)],
)
def test_min_free_is_clamped(lowmem_kb, version, expected):
    assert min_free_kbytes(lowmem_kb, version) == expected


def test_zones_share_min_free_by_size():
    zones = zones_for(FOUR_GIB, nr_nodes=2)
    assert [zone.min for zone in zones] == [1024, 1024]
    assert zones[1].span == Span(FOUR_GIB // 2, FOUR_GIB)


def test_lowmem_reserve_is_a_share_of_the_zones_above():
    zones = [
        Zone(0, "DMA", 0, Span(0, 4096)),
        Zone(1, "DMA32", 0, Span(4096, 1048576)),
        Zone(2, "Normal", 0, Span(1048576, 2097152)),
        Zone(3, "Movable", 0, Span(2097152, 3145728)),
        Zone(4, "Normal", 1, Span(3145728, 4194304)),
    ]
    setup_lowmem_reserve(zones)
    dma32, normal, movable = 1048576 - 4096, 1048576, 1048576
    assert zones[0].lowmem_reserve == (
        0,
        dma32 // 256,
        (dma32 + normal) // 256,
        (dma32 + normal + movable) // 256,
    )
    assert zones[1].lowmem_reserve == (0, 0, normal // 256, (normal + movable) // 256)
    assert zones[2].lowmem_reserve == (0, 0, 0, movable // 32)
    assert zones[3].lowmem_reserve == (0, 0, 0, 0)
    assert zones[4].lowmem_reserve == (0, 0, 0, 0), "zones of another node do not count"


class Counts:
    """Free counts as given."""

    def __init__(self, free, orders=(), **by_type):
        self.free, self.orders, self.by_type = free, orders, by_type

    def nr_free(self, zone=None):
        return self.free

    def nr_free_of(self, zone, migratetype):
        return self.by_type.get(MigrateType(migratetype).name, 0)

    def has_free_block(self, zone, migratetype, order):
        return any(mt == migratetype and o >= order for mt, o in self.orders)


def ok(counts, order=0, mark=100, **kwargs):
    return watermark_ok(counts, zones_for(FOUR_GIB)[0], order, mark, **kwargs)


def test_free_pages_must_exceed_the_mark():
    assert not ok(Counts(100))
    assert ok(Counts(101))


def test_an_order_above_zero_needs_its_pages_on_top_and_a_block():
    movable = [(MigrateType.MOVABLE, 3)]
    assert not ok(Counts(107, movable), 3)
    assert ok(Counts(108, movable), 3)
    assert not ok(Counts(200, [(MigrateType.MOVABLE, 2)]), 3)
    assert not ok(Counts(200, [(MigrateType.ISOLATE, 9)]), 3)


def test_cma_pages_count_only_for_those_who_may_use_them():
    counts = Counts(150, [(MigrateType.CMA, 9)], CMA=50)
    assert ok(counts)
    assert not ok(counts, cma=False)
    assert ok(Counts(300, [(MigrateType.CMA, 9)], CMA=50), 3)
    assert not ok(Counts(300, [(MigrateType.CMA, 9)], CMA=50), 3, cma=False)


def test_highatomic_pages_count_only_for_atomic_requests():
    counts = Counts(120, [(MigrateType.HIGHATOMIC, 5)], HIGHATOMIC=30)
    assert not ok(counts)
    assert ok(counts, harder=True)
    assert not ok(Counts(300, [(MigrateType.HIGHATOMIC, 5)], HIGHATOMIC=30), 3)
    assert ok(Counts(300, [(MigrateType.HIGHATOMIC, 5)], HIGHATOMIC=30), 3, harder=True)


def test_urgent_requests_dip_into_the_reserve():
    assert ok(Counts(51), high=True)
    assert not ok(Counts(50), high=True)
    assert ok(Counts(76), harder=True)
    assert not ok(Counts(75), harder=True)


def test_the_compaction_gate_of_the_4_gib_zone():
    (zone,) = zones_for(FOUR_GIB)
    gate = zone.low + 2 * (1 << 9)
    assert gate == 3096 + 1024
    assert not watermark_ok(Counts(gate), zone, 0, gate)


def test_lowmem_reserve_keeps_pages_from_higher_requests():
    zone = Zone(0, "DMA32", 0, Span(0, 4096), lowmem_reserve=(0, 0, 40, 80))
    assert watermark_ok(Counts(101), zone, 0, 100, highest=ZoneKind.DMA32)
    assert not watermark_ok(Counts(140), zone, 0, 100, highest=ZoneKind.NORMAL)
    assert watermark_ok(Counts(141), zone, 0, 100, highest=ZoneKind.NORMAL)


def test_place_frames_writes_zone_and_node():
    frames = Frames(2048)
    place_frames(frames, zones_for(2048, nr_nodes=2))
    assert frames.zone.tolist() == [0] * 1024 + [1] * 1024
    assert frames.node.tolist() == [0] * 1024 + [1] * 1024


def test_less_than_a_pageblock_per_node_is_refused():
    with pytest.raises(PinpageError, match="less than a pageblock"):
        zones_for(1000, nr_nodes=2)


@pytest.mark.parametrize(
    ("zone", "rule"),
    [
        (Zone(0, "Normal", 0, Span(0, 512), min=10, low=5, high=20), "ZN1"),
        (Zone(0, "Normal", 0, Span(0, 512), managed_nr_pages=513), "ZN2"),
    ],
)
def test_broken_zones_are_found(zone, rule):
    with pytest.raises(InvariantError, match=rule):
        zone.check()
