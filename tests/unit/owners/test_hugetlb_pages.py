"""Huge pages with an owner: known, left alone, and given up when that is wanted."""

import numpy as np
import pytest

from mm.contig.retry import RetryPolicy
from mm.machine import Machine
from mm.state.errno import Errno
from owners.hugetlb_pages import HugetlbPages
from pinpage.errors import InvariantError, PinpageError
from pinpage.move.release import release_many
from pinpage.owner import Mode, Pin, Reason, Verdict
from pinpage.units import Span


class Pool:
    def __init__(self, nr_huge_pages=3):
        self.machine = Machine.build(nr_pages=4096)
        self.registry = self.machine.use_registry()
        assert self.machine.hugetlb.claim(nr_huge_pages) == nr_huge_pages
        self.owner = HugetlbPages(self.machine, self.machine.hugetlb, registry=self.registry)

    def release(self, *pfns):
        reasons = release_many(self.registry, self.machine.mover, np.array(pfns), Mode.SYNC)
        return [Reason(int(reason)) for reason in reasons]

    def check(self):
        self.owner.check()
        self.machine.check()
        assert len(self.registry) == 512 * self.machine.hugetlb.nr_huge_pages


@pytest.fixture
def pool():
    return Pool()


def test_every_frame_is_pinned_under_its_huge_page(pool):
    assert (len(pool.registry), pool.owner.nr_free) == (3 * 512, 3)
    head = pool.machine.hugetlb.heads[1]
    assert pool.registry.pins(head + 77) == [Pin(head + 77, pool.owner, head)]
    pool.check()


def test_pages_that_the_pool_obtains_later_are_adopted(pool):
    pool.machine.hugetlb.claim(2)
    with pytest.raises(InvariantError, match="HO1"):
        pool.owner.check()
    assert pool.owner.adopt() == 2
    assert pool.owner.adopt() == 0
    pool.check()


def test_a_page_under_our_callers_own_move_is_adopted_later_and_used_by_nobody_before(pool):
    for user in range(3):
        pool.owner.use(user)
    pool.machine.hugetlb.claim(1)
    marked = np.array([pool.machine.hugetlb.heads[-1] + 5])
    pool.registry.marks.begin_move(marked)
    assert pool.owner.adopt() == 0
    assert pool.owner.use(7) == Errno.ENOMEM
    pool.registry.marks.end_move(marked)
    assert pool.owner.adopt() == 1
    assert pool.owner.use(7) == marked[0] - 5
    pool.check()


def test_a_user_gets_the_very_page_that_he_asks_for(pool):
    first, second, _ = pool.machine.hugetlb.heads
    pool.owner.use_page(7, second)
    assert pool.owner.head_of(7) == second
    assert pool.machine.hugetlb.nr_users(second) == 1
    for user, head in ((7, first), (8, second), (8, first + 1)):
        with pytest.raises(PinpageError, match="hugetlb: "):
            pool.owner.use_page(user, head)
    assert pool.owner.nr_free == 2
    pool.check()


def test_a_page_that_is_made_for_a_move_is_ours(pool):
    head = pool.machine.hugetlb.heads[0]
    pool.owner.use_page(7, head)
    for other in pool.machine.hugetlb.heads[1:]:
        pool.machine.hugetlb.free_page(other)
    machine = pool.machine
    assert machine.evacuator.isolate(Span(head, head + 512), machine.design)
    retry = RetryPolicy(nr_tries=None, timeout_ns=1_000_000)
    machine.evacuator.evacuate(Span(head, head + 512), machine.design, retry=retry)
    assert machine.hugetlb.heads == [pool.owner.head_of(7)] != [head]
    pool.check()


def test_compaction_leaves_the_pool_alone_and_knows_whose_it_is(pool):
    for strategy in ("scan", "plan"):
        done = pool.machine.compact(strategy)
        assert strategy == "plan" or done.report.refused[Reason.NO_CALLBACK] == 3 * 512
    assert pool.machine.hugetlb.nr_huge_pages == 3
    _, names = pool.machine.design.holders(4096)
    assert names == ("unknown", "hugetlb")
    pool.check()


def test_a_free_page_is_dissolved_when_any_of_its_frames_is_asked_for(pool):
    pool.owner.may_dissolve = True
    head = pool.machine.hugetlb.heads[0]
    assert pool.release(head + 300) == [Reason.RELEASED]
    assert pool.machine.hugetlb.nr_huge_pages == 2
    pool.machine.pcp.drain_all()
    assert pool.machine.buddy.nr_free() == 4096 - 1024
    pool.check()


def test_a_batch_that_names_a_page_twice_dissolves_it_once(pool):
    pool.owner.may_dissolve = True
    head = pool.machine.hugetlb.heads[0]
    assert pool.release(head + 1, head + 2) == [Reason.RELEASED] * 2
    assert pool.machine.hugetlb.nr_huge_pages == 2
    pool.check()


def test_a_used_page_makes_way_with_all_its_bytes(pool):
    pool.owner.may_dissolve = True
    heads = [pool.owner.use(user) for user in (1, 2)]
    for user, head in enumerate(heads, start=1):
        for at in range(0, 512, 73):
            pool.machine.contents.write(head + at, bytes([user, at % 251]) * 2048)
    assert pool.release(heads[0] + 511) == [Reason.RELEASED]
    assert pool.owner.head_of(1) not in heads
    for user in (1, 2):
        for at in range(0, 512, 73):
            page = pool.machine.contents.read(pool.owner.head_of(user) + at)
            assert page == bytes([user, at % 251]) * 2048
    pool.check()
    assert pool.release(heads[1]) == [Reason.OWNER_BUSY], "none is free to take its place"
    assert pool.owner.head_of(2) == heads[1]
    pool.check()


def test_nothing_is_dissolved_unless_it_may_be(pool):
    head = pool.machine.hugetlb.heads[0]
    assert pool.release(head) == [Reason.NO_CALLBACK]
    assert pool.owner.release(Pin(head, pool.owner, head), Mode.SYNC) is Verdict.BUSY
    assert pool.machine.hugetlb.nr_huge_pages == 3


def test_a_range_is_emptied_by_releasing_what_lies_in_it(pool):
    """As contiguous allocation would: the design offers RELEASE for such frames."""
    pool.owner.may_dissolve = True
    head = pool.machine.hugetlb.heads[2]
    frames = np.arange(head, head + 512)
    answers, _ = pool.machine.design.ask(frames, Mode.SYNC)
    assert set(answers.tolist()) == {2}
    pool.machine.design.release(frames[:1], Mode.SYNC)
    pool.machine.pcp.drain_all()
    assert pool.machine.buddy.wholly_free()[head // 512]
    pool.check()


def test_users_have_one_page_each(pool):
    pool.owner.use(1)
    with pytest.raises(PinpageError, match="already"):
        pool.owner.use(1)
    with pytest.raises(PinpageError, match="no page"):
        pool.owner.unuse(2)
    pool.owner.use(2)
    pool.owner.use(3)
    assert pool.owner.use(4) == Errno.ENOMEM
    pool.owner.unuse(2)
    assert pool.owner.use(4) > 0
    pool.owner._users[9] = pool.owner.head_of(1)
    with pytest.raises(InvariantError, match="HO2"):
        pool.owner.check()
