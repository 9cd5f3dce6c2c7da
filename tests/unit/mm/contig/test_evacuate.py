"""Emptying a range: budgets, what is passed over, what is given up, and who is told."""

import numpy as np
import pytest

from mm.contig.retry import NR_CONTIG_TRIES, RetryPolicy
from mm.move.design import Answer
from mm.paging.paging import ANON_BITS
from mm.state.errno import Errno
from mm.state.frames import FrameState
from mm.state.pageblock import MigrateType
from pinpage.errors import InvariantError, PinpageError
from pinpage.move.steps import GivenTargets
from pinpage.owner import Mode, Reason
from pinpage.testing.world import column
from pinpage.units import Span
from tests.kit.mm.machines import ScriptedDesign
from tests.kit.mm.ranges import Ranged, names

FOR_EVER = 1_000


def moves_of(design):
    return [call[1] for call in design.calls if call[0] == "move"]


# The range.


def test_pages_on_per_cpu_lists_are_free_once_the_range_is_isolated():
    """R-22: free, and yet neither counted nor merged."""
    world = Ranged("pp.p....", "........")
    assert world.isolate(0, 8)
    assert world.machine.buddy.nr_free_in_block[0] == 8
    assert world.machine.pcp.nr_pages == 0


def test_what_is_freed_into_an_isolated_range_is_free_at_once():
    """R-21: draining once is enough, for the lists never hold its pages again."""
    world = Ranged("aa......", "aa......")
    assert world.isolate(0, 8)
    world.machine.memory.dontneed(world.space, column(0, 8))
    assert world.picture() == [".a......", "pa......"]


def test_nothing_is_allocated_from_an_isolated_range():
    """R-23: neither pages nor destinations."""
    world = Ranged("........", "........", "........")
    assert world.isolate(8, 16)
    got = [world.machine.alloc_page(1 << 3) for _ in range(20)]
    assert sorted(pfn for pfn in got if pfn >= 0) == [*range(8), *range(16, 24)]


def test_frames_that_the_design_can_move_pass_and_others_do_not():
    assert Ranged("x.......", movable=True).isolate(0, 8)
    refused = Ranged("........", "..x.....", movable=False)
    found = refused.isolate(0, 16)
    assert (found.errno, found.pfn) == (Errno.EBUSY, 10)
    assert refused.machine.pageblocks.migratetype.tolist() == [MigrateType.MOVABLE] * 2


def test_only_an_isolated_range_is_evacuated():
    world = Ranged("a.......", "........")
    assert world.isolate(0, 8)
    with pytest.raises(PinpageError, match="pageblock 1 is not isolated"):
        world.machine.evacuator.evacuate(Span(0, 16), world.machine.design)
    with pytest.raises(PinpageError, match="pageblock 1 is not isolated"):
        world.machine.evacuator.sweep(Span(8, 16), world.machine.design)
    assert world.picture() == ["a.......", "........"]


def test_a_target_in_the_range_is_a_broken_promise():
    world = Ranged("a.......", "........")
    assert world.isolate(0, 8)
    evacuator = world.machine.evacuator
    evacuator._alloc_pages = lambda order, gfp, node: 5
    with pytest.raises(InvariantError, match="in the range"):
        evacuator.evacuate(Span(0, 8), world.machine.design)


# What goes where.


def test_everything_that_can_move_is_elsewhere_with_its_bytes():
    world = Ranged("aadaa.aa", "a.......", "........")
    report = world.evacuate(0, 8)
    assert report.errno is Errno.OK
    assert (report.pages_moved, len(report.left), report.refusals.total) == (7, 0, 0)
    assert world.picture()[0] == "........"


def test_only_the_range_itself_is_emptied():
    world = Ranged("aaaaaaaa", "........")
    report = world.evacuate(2, 5)
    assert report.pages_moved == 3
    assert world.picture()[0] == "aa...aaa"


def test_owners_pages_move_by_their_callback():
    world = Ranged("xaxx....", "........", movable=True)
    assert world.evacuate(0, 8).pages_moved == 4
    assert world.picture()[0] == "........"


def test_clean_page_cache_is_dropped_and_counted():
    world = Ranged("cadc....", "........")
    report = world.evacuate(0, 8)
    assert (report.pages_moved, report.pages_dropped) == (2, 2)
    assert world.cache.pte[[0, 3]].tolist() == [0, 0]
    assert world.picture() == ["........", "aa......"]


def test_hot_remove_drops_nothing():
    world = Ranged("cadc....", "........")
    report = world.evacuate(0, 8, drop_clean=False)
    assert (report.pages_moved, report.pages_dropped) == (4, 0)


def test_what_an_owner_would_rather_give_up_is_released():
    world = Ranged("##......", "........")

    class Gives(ScriptedDesign):
        def release(self, pfns, mode):
            for pfn in pfns.tolist():
                world.machine.free_page(pfn)
            return np.full(len(pfns), Reason.RELEASED, dtype=np.uint8)

    design = Gives(Answer.RELEASE)
    world.machine.design = design
    report = world.evacuate(0, 8)
    assert (report.pages_released, report.pages_moved, len(report.left)) == (2, 0, 0)


def test_given_targets_are_used():
    world = Ranged("aa......", "........", "........")
    world.machine.buddy.take(column(20, 22))
    assert world.evacuate(0, 8, targets=GivenTargets(column(20, 22))).pages_moved == 2
    assert world.picture()[2] == "....a.a."


def test_pages_that_were_freed_meanwhile_count_as_freed():
    world = Ranged("xx......", "........", movable=True)
    world.owner.isolate_many = lambda pfns, privates, mode: _let_go(world, pfns, privates)
    report = world.evacuate(0, 8)
    assert (report.pages_freed, report.pages_moved, len(report.left)) == (2, 0, 0)


def _let_go(world, pfns, privates):
    for pfn, private in zip(pfns.tolist(), list(privates), strict=True):
        world.machine.registry.unpin(pfn, world.owner, private)
        world.machine.put_page(pfn)
    return np.zeros(len(pfns), dtype=np.uint8)


@pytest.mark.parametrize(("node", "elsewhere"), [(0, "........"), (1, "........")])
def test_destinations_are_of_the_same_node_while_it_has_some(node, elsewhere):
    blocks = [elsewhere, elsewhere, elsewhere, elsewhere]
    blocks[2 * node] = "aaa....."
    world = Ranged(*blocks, nr_nodes=2)
    assert world.evacuate(16 * node, 16 * node + 8).pages_moved == 3
    pfns = world.space.pte[world.space.present()] - 1
    assert (world.machine.frames.node[pfns] == node).all()


def test_and_of_another_one_when_it_has_none():
    world = Ranged("aaa.....", "#######.", "........", "........", nr_nodes=2)
    assert world.evacuate(0, 8).pages_moved == 3
    pfns = world.space.pte[world.space.present()] - 1
    assert sorted(world.machine.frames.node[pfns].tolist()) == [0, 1, 1]


# Budgets.


def test_again_for_ever_is_five_calls_of_ten_passes():
    """R-32, and the test vector of the reference: 50 attempts, then -EBUSY."""
    world = Ranged("#.......", "........")
    design = ScriptedDesign(reasons=[Reason.OWNER_AGAIN] * FOR_EVER)
    world.machine.design = design
    report = world.evacuate(0, 8)
    assert moves_of(design) == [[0]] * 50
    assert (report.errno, report.nr_tries) == (Errno.EBUSY, NR_CONTIG_TRIES)
    assert report.left.tolist() == [0]
    assert names(report) == {"unknown": {"OWNER_AGAIN": 1}}
    assert world.machine.counters.pages_retried == 49


def test_a_firm_no_is_asked_once_in_each_call():
    world = Ranged("#.......", "........")
    design = ScriptedDesign(reasons=[Reason.OWNER_BUSY] * FOR_EVER)
    world.machine.design = design
    assert world.evacuate(0, 8).errno is Errno.EBUSY
    assert moves_of(design) == [[0]] * 5


def test_giving_up_leaves_the_rest_of_the_range_alone():
    world = Ranged("#.......", "aa......", "........")
    design = ScriptedDesign(reasons=[Reason.OWNER_BUSY] * FOR_EVER)
    world.machine.design = design
    report = world.evacuate(0, 16)
    assert (report.errno, report.pages_moved) == (Errno.EBUSY, 0)
    assert report.left.tolist() == [0, 8, 9]
    assert report.refusals.total == 1


def test_each_batch_has_its_own_five_tries():
    world = Ranged("aa......", "#.......", "........")
    design = ScriptedDesign(reasons=[Reason.OWNER_BUSY] * FOR_EVER)
    world.machine.design = design
    report = world.evacuate(0, 16)
    assert (report.errno, report.nr_tries, len(moves_of(design))) == (Errno.EBUSY, 6, 5)


def test_who_says_yes_later_is_moved_in_the_same_batch():
    world = Ranged("x.......", "........", movable=False)
    nr_asked = []
    world.machine.design.ask = lambda pfns, mode: (
        np.full(len(pfns), Answer.MOVE, np.uint8),
        np.zeros(len(pfns), np.uint8),
    )

    def world_goes_on():
        nr_asked.append(1)
        world.owner.movable = len(nr_asked) == 3

    report = world.evacuate(0, 8, retry=RetryPolicy(between_tries=world_goes_on))
    assert (report.errno, report.pages_moved, len(nr_asked)) == (Errno.OK, 1, 3)


def test_batches_are_of_32_frames():
    world = Ranged("#" * 8, *["#" * 8] * 5, *["." * 8] * 6)
    design = ScriptedDesign(reasons=[Reason.OWNER_BUSY] * FOR_EVER)
    world.machine.design = design
    world.evacuate(0, 48, retry=RetryPolicy(nr_tries=1))
    assert moves_of(design) == [list(range(8))], "one pageblock at most, and 32 frames"
    large = Ranged("#" * 64, "." * 64, size=64)
    design = ScriptedDesign(reasons=[Reason.OWNER_BUSY] * FOR_EVER)
    large.machine.design = design
    large.evacuate(0, 64, retry=RetryPolicy(nr_tries=1))
    assert moves_of(design) == [list(range(32))]


def test_without_a_destination_everything_stops():
    world = Ranged("aaa.....", "........", "########")
    world.isolate(8, 16)
    report = world.evacuate(0, 8)
    assert (report.errno, report.pages_moved) == (Errno.ENOMEM, 0)
    assert names(report) == {"home": {"NO_TARGET": 3}}


def test_the_first_page_without_a_destination_ends_it():
    world = Ranged("aaa.....", "########", "aaaaaa..")
    report = world.evacuate(0, 8)
    assert (report.errno, report.pages_moved) == (Errno.ENOMEM, 2)
    assert names(report) == {"home": {"NO_TARGET": 1}}


def test_a_fatal_signal_ends_it_and_what_was_not_reached_ran_out_of_time():
    world = Ranged("a.......", "aa......", "........")
    answers = iter([False, True])
    report = world.evacuate(0, 16, retry=RetryPolicy(signal_pending=lambda: next(answers)))
    assert (report.errno, report.pages_moved) == (Errno.EINTR, 1)
    assert names(report) == {"home": {"TIMEOUT": 2}}
    assert not report.timed_out


def test_a_timeout_counts_simulated_time():
    world = Ranged("a.......", "aa......", "........")
    report = world.evacuate(0, 16, retry=RetryPolicy(timeout_ns=1))
    assert (report.errno, report.timed_out, report.pages_moved) == (Errno.EBUSY, True, 1)
    assert names(report) == {"home": {"TIMEOUT": 2}}


def test_the_clock_goes_on_by_what_was_done():
    world = Ranged("aaaa....", "........")
    before = world.machine.clock.now_ns
    report = world.evacuate(0, 8)
    assert report.elapsed_ns >= 4 * world.machine.costs.copy_ns
    assert world.machine.clock.now_ns - before >= report.elapsed_ns


# Pages that look pinned.


def test_a_pinned_anonymous_page_passes_isolation_and_is_passed_over():
    """Its references show before it is taken: contiguous allocation does not even try."""
    world = Ranged("aP......", "........")
    report = world.evacuate(0, 8)
    assert (report.errno, report.pages_moved) == (Errno.OK, 1)
    assert names(report) == {"home": {"UNACCOUNTED": 1}}
    assert report.immovable.tolist() == report.left.tolist() == [1]
    assert world.machine.counters.pages_retried == 0


def test_a_pinned_page_of_the_cache_is_tried_fifty_times():
    world = Ranged("Q.......", "........")
    report = world.evacuate(0, 8)
    assert (report.errno, report.nr_tries) == (Errno.EBUSY, 5)
    assert names(report) == {"home": {"UNACCOUNTED": 1}}
    assert not len(report.immovable)
    assert world.machine.counters.pages_retried == 49


def test_so_is_an_anonymous_one_in_the_swap_cache():
    world = Ranged("a.......", "........")
    area = world.machine.swap.swapon(4)
    offset = area.alloc_slot()
    world.machine.swap.cache.add((area.type << 40) | offset, 0)
    world.machine.get_page(0)
    assert world.isolate(0, 8)
    report = world.machine.evacuator.evacuate(Span(0, 8), world.machine.design)
    assert report.nr_tries == 5


def test_a_short_pin_that_ends_is_waited_for():
    world = Ranged("Q.......", "........")
    report = world.evacuate(0, 8, retry=RetryPolicy(between_tries=world.unpin), drop_clean=False)
    assert (report.errno, report.pages_moved, report.nr_tries) == (Errno.OK, 1, 2)


def test_hot_remove_tries_pinned_pages_until_its_patience_ends():
    world = Ranged("P.......", "........")
    report = world.evacuate(0, 8, retry=RetryPolicy(None, timeout_ns=100_000))
    assert (report.errno, report.timed_out) == (Errno.EBUSY, True)
    assert names(report) == {"home": {"UNACCOUNTED": 1}}
    assert report.elapsed_ns >= 100_000


def test_and_is_done_once_they_are_unpinned():
    world = Ranged("PPa.....", "........")
    report = world.evacuate(0, 8, retry=RetryPolicy(None, between_tries=world.unpin))
    assert (report.errno, report.pages_moved, len(report.left)) == (Errno.OK, 3, 0)


def test_with_a_callback_of_the_pinner_it_moves():
    world = Ranged("........", "........", movable=True)
    pfn = world.machine.alloc_page(1 << 3)
    world.machine.rmap.map_many(world.space, column(0), column(pfn))
    world.machine.contents.set_tags(column(pfn), np.array([1000], dtype=np.uint64))
    world.machine.frames.flags[pfn] = ANON_BITS
    world.machine.lru.add_many(column(pfn))
    world.machine.get_page(pfn)
    world.owner.adopt(column(pfn))
    block = pfn // 8 * 8
    assert world.evacuate(block, block + 8).pages_moved == 1
    assert world.machine.registry.is_pinned(int(world.space.pte[0]) - 1)


def test_for_ever_with_nobody_to_end_it_is_refused():
    world = Ranged("a.......", "........")
    assert world.isolate(0, 8)
    with pytest.raises(PinpageError, match="nothing ends it"):
        world.machine.evacuator.evacuate(Span(0, 8), world.machine.design, retry=RetryPolicy(None))


def test_a_sweep_is_one_round_over_everything():
    world = Ranged("Pa......", "aa......", "........")
    assert world.isolate(0, 16)
    report = world.machine.evacuator.sweep(Span(0, 16), world.machine.design)
    assert (report.errno, report.pages_moved, report.nr_tries) == (Errno.OK, 3, 2)
    assert report.left.tolist() == [0]


# Huge pages.


class Huge:
    """Looks after pfns 0..3; vacates by freeing them, or says no."""

    def __init__(self, world, errno=Errno.OK):
        self.world, self.errno, self.calls = world, errno, []
        self.nr_pages_moved = 0

    def covers(self, pfns):
        return pfns < 4

    def vacate(self, span, mode, *, keep):
        self.calls.append((span, mode))
        if self.errno is Errno.OK:
            for pfn in range(4):
                self.world.machine.put_page(pfn)
        return self.errno


def test_huge_pages_go_first_and_not_frame_by_frame():
    world = Ranged("####aa..", "........")
    world.machine.evacuator.parts.hugetlb = huge = Huge(world)
    report = world.evacuate(0, 8, mode=Mode.SYNC_LIGHT)
    assert huge.calls == [(Span(0, 8), Mode.SYNC_LIGHT)]
    assert (report.errno, report.pages_moved) == (Errno.OK, 2)
    assert world.picture()[0] == "........"


def test_a_huge_page_that_cannot_go_ends_it_before_anything_moved():
    world = Ranged("####aa..", "........")
    world.machine.evacuator.parts.hugetlb = Huge(world, Errno.ENOMEM)
    report = world.evacuate(0, 8)
    assert (report.errno, report.pages_moved) == (Errno.ENOMEM, 0)
    assert world.picture()[0] == "####aa.."


def test_a_huge_page_that_is_left_is_passed_over():
    world = Ranged("aaaaaa..", "........")
    world.machine.evacuator.parts.hugetlb = huge = Huge(world)
    huge.vacate = lambda *_, **__: Errno.OK
    assert world.evacuate(0, 8).pages_moved == 2
    assert world.picture()[0] == "aaaa...."


# At the end.


def test_everything_that_was_taken_is_put_back():
    """R-33: nothing stays isolated; R-34: a page goes back to the list that it came from."""
    world = Ranged("QdaQ....", "#######.", "########")
    lru = world.machine.lru
    lru.activate(column(0, 2))
    before = [lru.nr_pages(active=active) for active in (False, True)]
    report = world.evacuate(0, 8, drop_clean=False)
    assert report.errno is Errno.ENOMEM or report.errno is Errno.EBUSY
    assert not world.machine.frames.isolated.any()
    assert not (world.machine.frames.state == FrameState.TAKEN).any()
    assert [lru.nr_pages(active=active) for active in (False, True)] == before
