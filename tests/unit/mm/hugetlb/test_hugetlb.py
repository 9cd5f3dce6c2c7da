"""The pool of huge pages: where they come from, and that they go back whole."""

import pytest

from mm.state.frames import FrameState, PageFlag
from mm.state.pageblock import MigrateType
from pinpage.errors import InvariantError, NotPinnedError
from pinpage.testing.world import column
from tests.kit.mm.machines import Drawn


def test_claim_takes_wholly_free_blocks_lowest_first():
    drawn = Drawn("........", "a.......", "........", "........")
    pool = drawn.machine.hugetlb
    assert pool.claim(2) == 2
    assert pool.heads == [0, 16]
    assert pool.claim(5) == 1
    assert drawn.machine.frames.flags[17] == PageFlag.HUGE.mask | PageFlag.COMPOUND_TAIL.mask
    drawn.machine.check()


def test_claim_leaves_isolated_blocks_to_whoever_isolated_them():
    drawn = Drawn("........", "........", types=[MigrateType.ISOLATE, MigrateType.MOVABLE])
    pool = drawn.machine.hugetlb
    assert (pool.claim(2), pool.heads) == (1, [8])
    drawn.machine.check()


@pytest.mark.parametrize(("marks", "obtained"), [((0, 0, 0), 2), ((1, 2, 3), 1)])
def test_growing_keeps_the_watermark_and_stops_at_the_first_failure(marks, obtained):
    drawn = Drawn("........", "a.a.a.a.", "........", "########", marks=marks)
    machine = drawn.machine
    machine.buddy.take(column(9, 11, 13, 15))
    assert machine.hugetlb.grow(9) == machine.hugetlb.nr_huge_pages == obtained
    machine.buddy.put_taken(column(9, 11, 13, 15))
    machine.check()
    assert machine.counters.pages_scanned == 0


def test_growing_does_not_compact():
    drawn = Drawn(*["a.a.a.a."] * 6)
    assert drawn.machine.hugetlb.grow(1) == 0
    assert drawn.machine.counters.pages_scanned == 0


def test_huge_pages_do_not_move_and_are_no_targets():
    drawn = Drawn("........", "a.......", "a.......")
    drawn.machine.hugetlb.claim(1)
    report = drawn.compact()
    assert drawn.picture() == ["########", "........", "aa......"]
    assert report.pages_moved == 1
    assert drawn.machine.bound() == 1


def test_shrinking_gives_the_newest_back_whole():
    drawn = Drawn("........", "........", "........")
    pool, frames = drawn.machine.hugetlb, drawn.machine.frames
    pool.claim(3)
    assert pool.shrink(2) == 2
    assert pool.heads == [0]
    assert (frames.state[8:] == FrameState.FREE).all()
    pool.free_page(0)
    assert pool.shrink(1) == 0
    drawn.machine.check()
    assert drawn.machine.buddy.nr_free() == 24


def test_a_page_that_is_not_there():
    drawn = Drawn("........", "........")
    drawn.machine.hugetlb.claim(2)
    with pytest.raises(NotPinnedError, match="pfn 0x4"):
        drawn.machine.hugetlb.free_page(4)
    drawn.machine.hugetlb.free_page(0)
    assert drawn.machine.hugetlb.heads == [8]
    drawn.machine.check()


def test_ht1_and_ht2():
    drawn = Drawn("........", "........")
    pool, frames = drawn.machine.hugetlb, drawn.machine.frames
    pool.claim(1)
    pool.heads[0] = 4
    with pytest.raises(InvariantError, match="HT1"):
        pool.check()
    pool.heads[0] = 0
    frames.flags[12] |= PageFlag.HUGE.mask
    with pytest.raises(InvariantError, match="HT2"):
        pool.check()
    frames.clear_flag(column(12), PageFlag.HUGE)
    frames.state[3] = FrameState.QUARANTINED
    with pytest.raises(InvariantError, match="HT2"):
        pool.check()
