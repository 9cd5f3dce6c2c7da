"""CMA: areas, the walk over them, and the plan."""

import numpy as np
import pytest

from mm.contig.cma import MAX_CMA_AREAS
from mm.contig.cma_area import CmaArea
from mm.contig.retry import RetryPolicy
from mm.move.design import Answer
from mm.state.errno import Errno
from mm.state.gfp import Gfp
from mm.state.pageblock import MigrateType
from pinpage.errors import InvariantError, PinpageError
from pinpage.owner import Reason
from pinpage.testing.world import column
from pinpage.units import Span
from tests.kit.mm.machines import ScriptedDesign
from tests.kit.mm.ranges import Ranged, names

FREE = "........"


def area_of(*blocks, spare=2, **how):
    """An area of these blocks from pfn 0, with free memory behind it."""
    order_per_bit = how.pop("order_per_bit", 0)
    world = Ranged(*blocks, *[FREE] * spare, **how)
    return world, world.cma(0, len(blocks), order_per_bit=order_per_bit)


# The bitmap.


def test_aligned_runs_count_from_pfn_0_not_from_the_area():
    area = CmaArea(Span(24, 64))
    assert area.find(4, 0, 4) == 8  # pfn 32
    assert area.clear_runs(8, 4).tolist() == [8, 24]
    area.bitmap[9] = True
    assert area.find(4, 0, 4) == 24
    assert area.find(16, 0, 4) == 24
    assert area.find(17, 0, 4) == -1


def test_bits_stand_for_several_pages():
    area = CmaArea(Span(0, 64), order_per_bit=2)
    assert area.nr_bits == 16
    assert [area.bits_for(n) for n in (1, 4, 5, 8)] == [1, 1, 2, 2]
    assert area.align_mask(1) == 0
    assert area.align_mask(4) == 3
    area.bitmap[0] = True
    assert area.pfn_of(area.find(1, 0, 3)) == 8
    assert area.nr_free_pages == 60


@pytest.mark.parametrize("nr_bits", [1, 3, 5])
@pytest.mark.parametrize("align_order", [0, 2])
def test_the_first_run_is_that_of_the_plain_loop(nr_bits, align_order):
    rng = np.random.default_rng(nr_bits * 8 + align_order)
    for _ in range(50):
        area = CmaArea(Span(4 * int(rng.integers(4)), 40))
        area.bitmap[:] = rng.random(area.nr_bits) < 0.3
        expected = [
            bit
            for bit in range(area.nr_bits - nr_bits + 1)
            if (area.span.start + bit) % (1 << align_order) == 0
            and not area.bitmap[bit : bit + nr_bits].any()
        ]
        assert area.clear_runs(nr_bits, align_order).tolist() == expected
        start = int(rng.integers(area.nr_bits))
        later = [bit for bit in expected if bit >= start]
        assert area.find(nr_bits, start, align_order) == (later[0] if later else -1)


@pytest.mark.parametrize(("start", "stop", "order"), [(0, 0, 0), (2, 6, 2), (0, 6, 2), (0, 8, -1)])
def test_an_area_of_part_of_a_bit_is_refused(start, stop, order):
    with pytest.raises(PinpageError, match="order_per_bit"):
        CmaArea(Span(start, stop), order)


# Areas.


def test_an_area_is_lent_to_movable_pages_and_to_nobody_else():
    world = Ranged(*[FREE] * 3)
    world.machine.cma.create(Span(8, 16))
    kernel = [world.machine.alloc_page(Gfp.KERNEL) for _ in range(24)]
    assert not any(pfn in Span(8, 16) for pfn in kernel)
    assert world.machine.alloc_page(Gfp.HIGHUSER_MOVABLE) in Span(8, 16)
    world.check()


@pytest.mark.parametrize(
    ("span", "message"),
    [
        (Span(0, 4), "whole pageblocks"),
        (Span(4, 16), "whole pageblocks"),
        (Span(24, 48), "whole pageblocks"),
        (Span(8, 24), "crosses zones"),
        (Span(24, 32), "in use"),
        (Span(0, 8), "overlaps"),
    ],
)
def test_what_cannot_be_an_area_is_refused(span, message):
    world = Ranged(FREE, FREE, FREE, "a.......", nr_nodes=2)
    world.machine.cma.create(Span(0, 8))
    before = world.machine.pageblocks.migratetype.tolist()
    with pytest.raises(PinpageError, match=message):
        world.machine.cma.create(span)
    assert world.machine.pageblocks.migratetype.tolist() == before
    world.check()


def test_there_is_room_for_the_first_area_and_seven_more():
    assert MAX_CMA_AREAS == 1 + 7
    world = Ranged(*[FREE] * (MAX_CMA_AREAS + 1))
    for block in range(MAX_CMA_AREAS):
        world.machine.cma.create(Span(8 * block, 8 * block + 8))
    with pytest.raises(PinpageError, match="MAX_CMA_AREAS"):
        world.machine.cma.create(Span(8 * MAX_CMA_AREAS, 8 * MAX_CMA_AREAS + 8))


def test_areas_are_adopted_from_the_pageblocks_of_a_recording():
    world = Ranged(FREE, "a.......", FREE, FREE, FREE)
    for block in (1, 2, 4):
        world.machine.buddy.set_migratetype(block, MigrateType.CMA)
    assert [area.span for area in world.machine.cma.adopt()] == [Span(8, 24), Span(32, 40)]
    assert world.machine.cma.adopt() == []
    world.check()


# The walk.


def test_pages_of_movable_users_make_way():
    world, area = area_of("aaPa....", FREE)
    assert world.machine.cma.alloc(2) == 0
    assert area.bitmap.tolist()[:4] == [True, True, False, False]
    assert world.machine.cma.alloc(1) == 3
    assert world.machine.cma.nr_alloc_success == 2
    world.check()


def test_the_vector_of_the_reference_pfn_20_busy():
    """Area of 64 pages, 16 wanted aligned to 16: 0..15, not 16..31, 32..47, 48..63, none."""
    blocks = [FREE, FREE, "....P...", *[FREE] * 5]
    world, area = area_of(*blocks)
    cma = world.machine.cma
    found = [cma.request(16, 4) for _ in range(4)]
    assert [result.pfn for result in found] == [0, 32, 48, -1]
    assert [result.nr_ranges for result in found] == [1, 2, 2, 1]
    assert found[-1].errno is Errno.ENOMEM
    assert names(found[-1].report) == {"home": {"UNACCOUNTED": 1}}
    assert np.flatnonzero(~area.bitmap).tolist() == list(range(16, 32))
    assert (cma.nr_alloc_success, cma.nr_alloc_fail) == (3, 1)
    world.check()


def test_without_alignment_the_walk_goes_on_one_page_later():
    world, _ = area_of("..P.....", "...P....")
    goes_on = RetryPolicy(between_tries=lambda: None)
    found = world.machine.cma.request(8, retry=goes_on)
    assert (found.pfn, found.nr_ranges, found.nr_skipped) == (3, 4, 0)
    world.check()


def test_ranges_around_a_immovable_page_are_skipped():
    world, _ = area_of("..P.....", "...P....")
    found = world.machine.cma.request(8)
    assert (found.pfn, found.nr_ranges, found.nr_skipped) == (3, 3, 1)


def test_who_is_in_the_way_is_told_of_the_last_range():
    world, _ = area_of("P.......", "PP......")
    found = world.machine.cma.request(8, 3)
    assert names(found.report) == {"home": {"UNACCOUNTED": 2}}
    assert found.span == Span(8, 16)


def test_an_error_other_than_busy_stops_the_walk():
    world, area = area_of("a.......", FREE, spare=0)
    world.machine.alloc_page(Gfp.HIGHUSER_MOVABLE)
    signal = RetryPolicy(signal_pending=lambda: True)
    found = world.machine.cma.request(4, retry=signal)
    assert (found.errno, found.nr_ranges) == (Errno.EINTR, 1)
    assert not area.bitmap.any()
    full, area = area_of("aaaaaaaa", "aaaaaaaa", spare=0)
    found = full.machine.cma.request(4)
    assert (found.errno, found.nr_ranges) == (Errno.ENOMEM, 1)
    assert not area.bitmap.any()


def test_there_is_no_second_round():
    """What comes free behind the walk is not seen by it."""
    world, area = area_of("Q.......", "Q.......")
    tries = []

    def world_goes_on():
        tries.append(1)
        if len(tries) == 5:  # (four between the tries at the first range)
            world.machine.put_page(int(world.cache.pte[0]) - 1)

    found = world.machine.cma.request(8, 3, retry=RetryPolicy(between_tries=world_goes_on))
    assert (found.pfn, found.nr_ranges, found.errno) == (-1, 2, Errno.ENOMEM)
    assert not area.bitmap.any()
    assert world.machine.cma.alloc(8, 3) == 0
    world.check()


def test_the_bits_are_set_before_anything_is_moved():
    world, area = area_of("#.......", FREE)
    seen = []

    class Looks(ScriptedDesign):
        def move(self, pfns, targets, mode):
            seen.append(area.bitmap[:4].tolist())
            return super().move(pfns, targets, mode)

    world.machine.design = Looks(reasons=[Reason.OWNER_BUSY] * 5)
    assert world.machine.cma.alloc(4) == 1
    assert seen[0] == [True] * 4
    assert area.bitmap[:6].tolist() == [False, True, True, True, True, False]


def test_a_request_inside_a_request_gets_another_range():
    """The bits keep the second away from what the first is emptying."""
    world, _ = area_of("Q.......", FREE, FREE)
    got = []

    def world_goes_on():
        if not got:
            got.append(world.machine.cma.alloc(4))
            world.unpin()

    outer = world.machine.cma.request(4, retry=RetryPolicy(between_tries=world_goes_on))
    assert (outer.pfn, got) == (0, [8])
    world.check()


def test_less_than_a_bit_takes_the_whole_bit():
    world, area = area_of(FREE, FREE, order_per_bit=2)
    assert [world.machine.cma.alloc(n) for n in (3, 5)] == [0, 4]
    assert area.bitmap.tolist() == [True, True, True, False]
    assert world.machine.cma.release(4, 5)
    assert area.bitmap.tolist() == [True, False, False, False]
    world.check()


def test_released_pages_are_lent_again():
    world, area = area_of(FREE, FREE)
    pfn = world.machine.cma.alloc(12)
    assert world.machine.cma.release(pfn, 12)
    assert not area.bitmap.any()
    world.machine.pcp.drain_all()
    assert world.machine.buddy.nr_free() == 32
    world.check()


@pytest.mark.parametrize(("pfn", "count"), [(32, 1), (12, 8)])
def test_pages_of_no_area_are_not_released(pfn, count):
    world, area = area_of(FREE, FREE)
    world.machine.cma.alloc(16)
    assert not world.machine.cma.release(pfn, count)
    assert area.bitmap.all()


@pytest.mark.parametrize("wrong", [{"count": 0}, {"count": 1, "align_order": -1}])
def test_nonsense_is_refused(wrong):
    world, _ = area_of(FREE)
    with pytest.raises(PinpageError, match="ask for a page or more"):
        world.machine.cma.request(**wrong)
    with pytest.raises(PinpageError, match="0 areas"):
        Ranged(FREE).machine.cma.alloc(1)


def test_a_request_larger_than_the_area_is_no_memory_at_once():
    world, _ = area_of(FREE)
    found = world.machine.cma.request(9)
    assert (found.errno, found.nr_ranges, found.span) == (Errno.ENOMEM, 0, None)


def test_movable_pages_leave_for_memory_outside_of_the_area_first():
    world, _ = area_of("aaaa....", spare=2)
    world.machine.cma.alloc(4)
    assert world.picture()[0] == "####...."


def test_an_exception_on_the_way_clears_the_bits():
    world, area = area_of("a.......", FREE)

    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.machine.cma.request(4, retry=RetryPolicy(signal_pending=interrupt))
    assert not area.bitmap.any()
    world.check()


# The plan.


def test_the_plan_takes_the_cheapest_range():
    world, _ = area_of("aaa.....", "aa......", "a.......")
    found = world.machine.cma.request(8, 3, strategy="plan")
    assert (found.pfn, found.report.pages_moved, found.nr_ranges) == (16, 1, 1)
    world.check()


def test_the_plan_refuses_without_a_move_and_names_who_is_in_the_way():
    world, area = area_of("aPPa....", "a..P....", movable=True)
    before = world.picture()
    found = world.machine.cma.request(8, 3, strategy="plan")
    assert (found.errno, found.nr_ranges, found.report.pages_moved) == (Errno.ENOMEM, 0, 0)
    assert world.picture() == before
    assert found.span == Span(8, 16), "where the fewest are in the way"
    assert found.report.left.tolist() == [11]
    assert names(found.report) == {"home": {"UNACCOUNTED": 1}}
    assert not area.bitmap.any()
    world.check()


def test_the_plan_goes_around_a_page_that_refuses_all_the_same():
    world, _ = area_of("x.......", "aa......", movable=True)
    world.owner.movable = False
    world.machine.design.ask = lambda pfns, mode: (
        np.ones(len(pfns), np.uint8),
        np.zeros(len(pfns), np.uint8),
    )
    found = world.machine.cma.request(8, 3, strategy="plan")
    assert (found.pfn, found.nr_ranges) == (8, 2)
    world.check()


def test_the_plan_sees_no_range_that_a_device_has():
    world, _ = area_of(FREE, "aa......")
    assert world.machine.cma.request(8, 3, strategy="plan").pfn == 0
    assert world.machine.cma.request(8, 3, strategy="plan").pfn == 8
    assert world.machine.cma.request(8, 3, strategy="plan").pfn == -1


def test_nor_one_whose_pages_could_move():
    """A device's pages are not for taking, callback or not."""
    world, _ = area_of(FREE, movable=True)
    pfn = world.machine.cma.alloc(8)
    world.owner.adopt(np.arange(pfn, pfn + 8))
    assert world.machine.cma.request(8, 3, strategy="plan").pfn == -1


def test_the_plan_counts_pages_on_per_cpu_lists_as_free():
    world, _ = area_of("aa......")
    world.machine.memory.dontneed(world.space, column(0, 1))
    found = world.machine.cma.request(8, 3, strategy="plan")
    assert (found.pfn, found.report.pages_moved) == (0, 0)


# The invariants.


def test_an_area_that_is_not_cmas_any_more_is_found():
    world, _ = area_of(FREE, FREE)
    world.machine.buddy.set_migratetype(1, MigrateType.MOVABLE)
    with pytest.raises(InvariantError, match="CM3"):
        world.machine.cma.check()


def test_a_devices_page_that_is_free_is_found():
    world, area = area_of(FREE, FREE)
    area.bitmap[3] = True
    with pytest.raises(InvariantError, match="CM4"):
        world.machine.check()


def test_overlapping_areas_are_found():
    world, area = area_of(FREE, FREE)
    world.machine.cma.areas.append(CmaArea(Span(8, 16)))
    with pytest.raises(InvariantError, match="CM3 areas overlap"):
        world.machine.cma.check()
    world.machine.cma.areas.pop()
    area.bitmap = area.bitmap[:-1]
    with pytest.raises(InvariantError, match="CM2"):
        world.machine.cma.check()


# What the walk makes go, a plan makes go as well.


def test_a_plan_keeps_the_largest_range_whole():
    world, _ = area_of("..#aaaaa", FREE, FREE, spare=2)
    assert world.machine.cma.request(2, strategy="plan").pfn == 0
    assert world.machine.cma.request(2, strategy="plan").pfn == 19, "16 stay below"
    assert world.machine.cma.request(16, strategy="plan").pfn == 3


def test_a_plan_makes_room():
    world, _ = area_of("aaaaaaaa", "cccccccc", spare=0)
    found = world.machine.cma.request(8, strategy="plan")
    assert (found.errno, found.pfn >= 0) == (Errno.OK, True)
    world, _ = area_of("aaaa####", spare=0)
    assert world.machine.cma.request(4, strategy="plan").errno is Errno.ENOMEM


def test_a_plan_tries_what_it_did_not_foresee():
    """Ranges that refuse when their turn comes cost eight plans; the others are still there."""
    world, _ = area_of(*["########"] * 12, spare=3)
    refusing = ScriptedDesign(reasons=[Reason.OWNER_BUSY] * 400)
    world.machine.design = refusing
    before = world.machine.cma.request(8, 3, strategy="plan")
    assert (before.errno, before.nr_ranges) == (Errno.ENOMEM, 12)


def test_a_plan_releases():
    class Gives(ScriptedDesign):
        def release(self, pfns, mode):
            world.machine.refs.put_many(pfns)
            return np.full(len(pfns), Reason.RELEASED, dtype=np.uint8)

    world, _ = area_of("..#.....", spare=0)
    world.machine.design = Gives(answer=Answer.RELEASE)
    found = world.machine.cma.request(8, strategy="plan")
    assert (found.errno, found.report.pages_released) == (Errno.OK, 1)


def test_a_plan_takes_huge_pages_away():
    world, _ = area_of("########", spare=2)
    world.machine.hugetlb.adopt(0)
    found = world.machine.cma.request(8, strategy="plan")
    assert (found.errno, found.pfn) == (Errno.OK, 0)
    assert world.machine.hugetlb.nr_huge_pages == 1


def test_a_plan_moves_what_fits_beside():
    """Isolation would shut the free frames behind the range; what leaves goes there before."""
    world, _ = area_of("P.aaa...", "PPPPPPPP", spare=0)
    found = world.machine.cma.request(4, strategy="plan")
    assert (found.errno, found.pfn, found.report.pages_moved) == (Errno.OK, 4, 1)
