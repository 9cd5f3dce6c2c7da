"""Gigantic pages: the walk, what it looks at either way, and the plan."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from mm.contig.retry import RetryPolicy
from mm.state.errno import Errno
from mm.state.frames import FrameState
from mm.state.nodes import Zone
from mm.state.pageblock import MigrateType
from pinpage.errors import PinpageError
from pinpage.owner import Reason, Verdict
from tests.kit.mm.machines import SIZE, Drawn, small_machine
from tests.kit.mm.ranges import Ranged

NR_PAGES = 2 * SIZE
"""A gigantic page of two pageblocks."""


def pages_of(machine):
    return machine.hugetlbs.gigantic_of(NR_PAGES)


def told(walk):
    """(first pfn, probes, errno, whether it was tried) of each candidate."""
    return [(c.span.start, c.probes, c.errno, c.report is not None) for c in walk.candidates]


# The walk by frames.


def test_the_first_range_that_can_be_emptied_wins():
    drawn = Drawn("a.......", "#.......", "aa......", ".a......", "........", "........")
    walk = pages_of(drawn.machine).walk()
    assert (walk.head, walk.errno) == (16, Errno.OK)
    assert told(walk) == [(0, 16, Errno.EBUSY, True), (16, 16, Errno.OK, True)]
    assert walk.probes == 32
    assert drawn.machine.frames.refcount[16:32].tolist() == [1] * 16
    drawn.machine.check()
    drawn.check_contents()


def test_what_rules_a_range_out_is_looked_for_frame_by_frame():
    drawn = Drawn(*["........"] * 10)
    machine = drawn.machine
    machine.hugetlb.claim(1)
    machine.buddy.take(np.array([21, 38]))
    machine.buddy.taken_to_used(np.array([21, 38]))
    machine.frames.state[21] = FrameState.RESERVED
    machine.frames.state[38] = FrameState.HOLE
    machine.frames.refcount[38] = 0
    machine.frames.zone[48 + 7] = 1
    pages = pages_of(machine)
    assert (pages.survey(None, "frames"), pages.survey(None, "blocks")) == (38, 6)
    walk = pages.walk()
    assert (walk.head, [c.probes for c in walk.candidates]) == (64, [1, 6, 7, 8, 16])


def test_ranges_are_aligned_and_lie_whole_in_their_zone():
    machine = small_machine(8)
    odd = [Zone(0, "DMA32", 0, _span(8, 40)), Zone(1, "Normal", 0, _span(40, 64))]
    pages = pages_of(machine)
    pages._zones = lambda: odd
    assert [span.start for _, span in pages.ranges()] == [48, 16], "NORMAL first, then below"
    odd[1] = Zone(1, "Movable", 0, _span(40, 64))
    assert [span.start for _, span in pages.ranges()] == [16], "never ZONE_MOVABLE"


def _span(start, stop):
    return type(small_machine(1).zones[0].span)(start, stop)


def test_a_walk_keeps_to_the_node_that_it_is_given():
    machine = small_machine(8, nr_nodes=2)
    pages = pages_of(machine)
    assert pages.walk(1).head == 32
    assert pages.walk(0).head == 0
    assert pages.walk().head == 16, "any node: the first that has one"
    pool = machine.hugetlbs.of(NR_PAGES)
    assert pool.set_max(1, node=1) == 1
    assert pool.heads == [48]


def test_a_failed_attempt_is_not_the_end_but_a_signal_is():
    drawn = Ranged("P.......", "........", "........", "........")
    pages = pages_of(drawn.machine)
    pages.retry = RetryPolicy(signal_pending=lambda: True)
    walk = pages.walk()
    assert (walk.head, walk.errno, len(walk.candidates)) == (-1, Errno.EINTR, 1)
    walk = pages.walk(retry=RetryPolicy())
    assert (walk.head, told(walk)[0][2]) == (16, Errno.EBUSY)
    drawn.machine.check()


def test_the_frames_in_the_way_are_counted_under_their_reasons():
    drawn = Ranged("P.......", "........", "#.......", "........")
    walk = pages_of(drawn.machine).walk()
    assert walk.errno is Errno.ENOMEM
    assert walk.refusals.by_owner() == {
        "home": {Reason.UNACCOUNTED: 1},
        "unknown": {Reason.NO_OWNER: 1},
    }


# What is known of pageblocks.


def test_a_pin_that_stays_rules_its_range_out_without_a_move():
    drawn = Drawn("aaaa....", "....x..x", "a.......", "........", movable=False)
    pages = pages_of(drawn.machine)
    walk = pages.walk(None, "blocks")
    assert told(walk) == [(0, 3, Errno.EBUSY, False), (16, 2, Errno.OK, True)]
    assert walk.candidates[0].pfn == 12
    assert (walk.head, walk.report.pages_moved) == (16, 1)
    drawn.machine.check()


def test_pins_that_would_move_are_asked_about_and_rule_nothing_out():
    drawn = Drawn("x.x.....", "......x.", "........", "........", movable=True)
    walk = pages_of(drawn.machine).walk(None, "blocks")
    assert told(walk) == [(0, 2 + 3, Errno.OK, True)]
    assert walk.report.pages_moved == 3
    drawn.machine.check()


def test_a_walk_by_blocks_says_who_was_in_its_way():
    drawn = Drawn("........", "....xxx.", "x.......", "........", movable=False)
    walk = pages_of(drawn.machine).walk(None, "blocks")
    assert (walk.head, walk.errno) == (-1, Errno.ENOMEM)
    assert walk.refusals.by_owner() == {"opaque": {Reason.NO_CALLBACK: 2}}


def test_surveying_counts_what_a_walk_would_look_at_and_changes_nothing():
    drawn = Drawn("........", "....xxx.", "a.......", "........", movable=False)
    pages, before = pages_of(drawn.machine), drawn.machine.digest()
    assert (pages.survey(), pages.survey(None, "blocks")) == (32, 3 + 2)
    assert drawn.machine.digest() == before


_BLOCK = st.text("........aax#", min_size=SIZE, max_size=SIZE)


@settings(max_examples=60, deadline=None)
@given(st.lists(_BLOCK, min_size=4, max_size=8), st.booleans())
def test_knowledge_gives_the_answer_that_trying_gives(blocks, movable):
    """Unless trying has filled memory in vain: then knowledge may still find one."""
    blocks = blocks[: len(blocks) // 2 * 2]
    by_frames, by_blocks = (Drawn(*blocks, movable=movable) for _ in range(2))
    tried = pages_of(by_frames.machine).walk()
    known = pages_of(by_blocks.machine).walk(None, "blocks")
    wasted = any(c.report is not None and c.report.pages_moved for c in tried.candidates[:-1])
    assert tried.head == known.head or wasted
    assert known.probes <= tried.probes
    assert known.report.pages_moved <= tried.report.pages_moved or tried.head != known.head
    for drawn in (by_frames, by_blocks):
        drawn.machine.check()
        drawn.check_contents()


# The plan.


def test_a_plan_takes_the_cheapest_range_and_a_walk_the_first():
    drawn = Drawn("aaa.....", "........", "a.......", "........")
    walk, made = pages_of(drawn.machine).alloc_planned()
    assert (walk.head, made.nr_moves, made.bound) == (16, 1, 1)
    assert walk.report.pages_moved == 1
    drawn.machine.check()
    drawn.check_contents()


def test_a_plan_that_finds_nothing_moves_nothing_and_says_why():
    drawn = Ranged("Paaaaaaa", "........", "##......", "aaaa....")
    walk, made = pages_of(drawn.machine).alloc_planned()
    assert (walk.head, walk.errno, made.bound) == (-1, Errno.ENOMEM, 0)
    assert made.nearest.start == 0
    assert walk.refusals.by_owner() == {"home": {Reason.UNACCOUNTED: 1}}
    assert drawn.machine.counters.pages_copied == 0


def test_a_range_that_refuses_when_its_turn_comes_costs_no_more_than_itself():
    drawn = Drawn("x.......", "........", "xx......", "........", movable=True)
    agrees = drawn.owner.isolate_many

    def refuses_below_16(pfns, privates, mode):
        return np.where(pfns < 16, np.uint8(Verdict.BUSY), agrees(pfns, privates, mode))

    drawn.owner.isolate_many = refuses_below_16
    walk, made = pages_of(drawn.machine).alloc_planned()
    assert (made.spans[0].start, walk.head) == (0, 16)
    assert [c.errno for c in walk.candidates] == [Errno.EBUSY, Errno.OK]
    assert walk.refusals.by_owner() == {"opaque": {Reason.OWNER_BUSY: 1}}
    drawn.machine.check()


def test_a_plan_does_not_count_on_cma_pageblocks():
    """Only CMA isolates them, so a walk tries the range in vain and a plan does not."""
    drawn = Drawn("a.......", "........", "aaa.....", "........")
    drawn.machine.buddy.set_migratetype(1, MigrateType.CMA)
    walk, made = pages_of(drawn.machine).alloc_planned()
    assert (walk.head, made.bound, len(walk.candidates)) == (16, 1, 1)
    assert walk.report.pages_moved == 3
    drawn.machine.check()
    drawn.check_contents()


def test_a_plan_keeps_the_min_watermark():
    blocks = ["........", "........", "aaaaaaaa", "........"]
    assert pages_of(Drawn(*blocks, marks=(8, 9, 10)).machine).alloc_planned()[0].head == 0
    walk, made = pages_of(Drawn(*blocks, marks=(9, 9, 10)).machine).alloc_planned()
    assert (walk.head, made.bound) == (0, 0), "but for want of another range"
    assert pages_of(Drawn(*blocks, marks=(9, 9, 10)).machine).walk().head == 0, "as a walk does"


def test_planned_pages_do_not_get_into_each_others_way():
    drawn = Drawn("aa......", "........", "a.......", "........", "......##", "........")
    pages = pages_of(drawn.machine)
    heads = [pages.alloc_planned()[0].head for _ in range(3)]
    assert heads == [16, 0, -1]
    assert drawn.machine.counters.pages_copied == 3, "nothing moved twice"
    drawn.machine.check()
    drawn.check_contents()


@settings(max_examples=60, deadline=None)
@given(st.lists(_BLOCK, min_size=4, max_size=8), st.booleans())
def test_planning_obtains_every_page_that_exists(blocks, movable):
    """The exhaustive answer: the most ranges without a stuck frame that free memory makes."""
    blocks = blocks[: len(blocks) // 2 * 2]
    drawn = Drawn(*blocks, movable=movable)
    stuck = "#" if movable else "#x"
    ranges = ["".join(blocks[at : at + 2]) for at in range(0, len(blocks), 2)]
    clear = sum(not set(text) & set(stuck) for text in ranges)
    exist = min(clear, "".join(blocks).count(".") // NR_PAGES)
    pages, obtained = pages_of(drawn.machine), 0
    while pages.alloc_planned()[0].head >= 0:
        obtained += 1
    assert obtained == exist
    drawn.machine.check()
    drawn.check_contents()


# The source of a pool.


def test_a_pool_of_gigantic_pages_grows_and_shrinks():
    drawn = Drawn("a.......", "........", "........", "......#.", "........", "........")
    pool = drawn.machine.hugetlbs.of(NR_PAGES)
    assert pool.set_max(8) == 2
    assert pool.heads == [0, 32]
    drawn.machine.check()
    assert pool.set_max(1) == 1
    assert drawn.machine.buddy.nr_free() == 6 * SIZE - 2 - NR_PAGES
    drawn.machine.check()
    drawn.check_contents()


def test_a_gigantic_page_of_cma_pageblocks_is_not_to_be_had():
    types = [MigrateType.CMA, MigrateType.CMA]
    machine = Drawn("........", "........", types=types).machine
    assert pages_of(machine).walk().head == -1


@pytest.mark.parametrize("nr_pages", [4, 24, SIZE])
def test_sizes_that_there_cannot_be(nr_pages):
    machine = small_machine(4)
    with pytest.raises(PinpageError, match="hugepagesz"):
        machine.hugetlbs.gigantic_of(nr_pages)
