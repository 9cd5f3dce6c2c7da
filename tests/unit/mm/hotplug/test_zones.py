"""Zones that gain and lose pageblocks: spans, figures worked out from them, free lists."""

import numpy as np
import pytest

from mm.buddy.buddy import Buddy
from mm.buddy.pcp import PerCpuPages, pcp_batch
from mm.hotplug.zones import ZoneResizer
from mm.state.frames import Frames, FrameState
from mm.state.nodes import Zone, place_frames, setup_lowmem_reserve, setup_watermarks
from mm.state.pageblock import MigrateType, Pageblocks
from pinpage.errors import PinpageError
from pinpage.units import Span

SIZE = 512
NORMAL, MOVABLE = 0, 1


def world(nr_blocks=8, *, marks=None):
    """One Normal zone, all free, and an empty Movable one."""
    frames = Frames(nr_blocks * SIZE)
    frames.state[:] = FrameState.FREE
    zones = [Zone(NORMAL, "Normal", 0, Span(0, nr_blocks * SIZE))]
    setup_watermarks(zones, min_nr_pages=marks)
    place_frames(frames, zones)
    buddy = Buddy(frames, Pageblocks(frames.nr_frames, SIZE), zones)
    buddy.build()
    pcp = PerCpuPages(buddy)
    movable = Zone(MOVABLE, "Movable", 0, Span(0, 0))
    buddy.add_zone(movable)
    pcp.add_zone(movable)
    return buddy, pcp, ZoneResizer(buddy, pcp)


def take(buddy, first, stop):
    """The free frames of these pageblocks, off the lists; how many."""
    return sum(len(buddy.take_free_in(block)) for block in range(first, stop))


def move(buddy, resizer, first, stop, target):
    """Wholly free pageblocks from zone 0 to another."""
    span = Span(first * SIZE, stop * SIZE)
    taken = take(buddy, first, stop)
    resizer.leave(span, buddy.zones[NORMAL], taken)
    resizer.join(span, buddy.zones[target], taken)
    buddy.put_taken(np.arange(span.start, span.stop))


def test_a_hole_in_the_middle_leaves_the_span_and_one_at_an_end_shrinks_it():
    buddy, _, resizer = world()
    zone = buddy.zones[NORMAL]
    resizer.leave(Span(3 * SIZE, 4 * SIZE), zone, take(buddy, 3, 4))
    assert zone.span == Span(0, 8 * SIZE)
    resizer.leave(Span(4 * SIZE, 8 * SIZE), zone, take(buddy, 4, 8))
    assert zone.span == Span(0, 3 * SIZE), "down to what is left, the old hole too"
    resizer.leave(Span(0, 3 * SIZE), zone, take(buddy, 0, 3))
    assert (zone.span.nr_pages, zone.managed_nr_pages) == (0, 0)
    assert (buddy.area.zone_of_block == -1).all()


def test_zones_may_overlap_and_the_free_lists_know_whose_a_block_is():
    buddy, _, resizer = world()
    move(buddy, resizer, 2, 4, MOVABLE)
    move(buddy, resizer, 6, 7, MOVABLE)
    normal, movable = buddy.zones
    assert movable.span == Span(2 * SIZE, 7 * SIZE)
    assert normal.span == Span(0, 8 * SIZE)
    assert (buddy.nr_free(NORMAL), buddy.nr_free(MOVABLE)) == (5 * SIZE, 3 * SIZE)
    assert set(buddy.frames.zone[movable.span.start : 4 * SIZE].tolist()) == {MOVABLE}
    given = buddy.alloc_many(3 * SIZE, MigrateType.MOVABLE, zone=MOVABLE)
    assert set((given // SIZE).tolist()) == {2, 3, 6}
    assert buddy.alloc(0, MigrateType.MOVABLE, zone=MOVABLE) == -1
    buddy.check()
    for zone in buddy.zones:
        zone.check()


def test_blocks_of_two_zones_do_not_merge():
    buddy, _, resizer = world(4)
    move(buddy, resizer, 1, 2, MOVABLE)
    assert buddy.frames.order[0] == 9
    assert buddy.frames.order[SIZE] == 9
    assert buddy.frames.order[2 * SIZE] == 10
    buddy.check()


def test_watermarks_reserves_and_lists_follow_the_size():
    buddy, pcp, resizer = world(64)
    move(buddy, resizer, 32, 64, MOVABLE)
    fresh = [Zone(i, z.name, 0, z.span, z.managed_nr_pages) for i, z in enumerate(buddy.zones)]
    setup_watermarks(fresh)
    setup_lowmem_reserve(fresh)
    for zone, expected in zip(buddy.zones, fresh, strict=True):
        assert (zone.min, zone.low, zone.high) == (expected.min, expected.low, expected.high)
        assert zone.lowmem_reserve == expected.lowmem_reserve
        assert pcp.batches[zone.index] == pcp_batch(32 * SIZE)
    assert buddy.zones[NORMAL].lowmem_reserve[-1] == 32 * SIZE // 32


def test_what_somebody_set_to_be_kept_free_is_shared_out_anew():
    buddy, _, resizer = world(64, marks=5632)
    move(buddy, resizer, 48, 64, MOVABLE)
    assert [zone.min for zone in buddy.zones] == [5632 * 3 // 4, 5632 // 4]


def test_frames_on_a_free_list_cannot_change_hands():
    buddy, _, resizer = world()
    with pytest.raises(PinpageError, match="free frames"):
        resizer.leave(Span(0, SIZE), buddy.zones[NORMAL], SIZE)


def test_a_new_zone_comes_last():
    buddy, _, _ = world()
    with pytest.raises(PinpageError, match="would be number 2"):
        buddy.add_zone(Zone(5, "Movable", 0, Span(0, 0)))


def test_memory_that_is_served_last_is_given_out_after_all_other():
    buddy, _, _ = world(8)
    buddy.area.serve_last(range(4, 8), MigrateType.MOVABLE)
    first = [buddy.alloc(9, MigrateType.MOVABLE) // SIZE for _ in range(4)]
    assert sorted(first) == [0, 1, 2, 3]
    assert buddy.alloc(9, MigrateType.MOVABLE) // SIZE == 4
    buddy.check()
