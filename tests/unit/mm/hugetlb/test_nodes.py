"""Pools on several nodes: turns, targets, surplus pages, and pages that somebody holds."""

import pytest

from mm.state.frames import PageFlag
from pinpage.errors import InvariantError, NotPinnedError, PinpageError
from pinpage.testing.world import column
from tests.kit.mm.machines import SIZE, Drawn, small_machine


def two_nodes(nr_blocks=8, **build):
    """Blocks 0..n/2-1 on node 0, the others on node 1, all free."""
    return small_machine(nr_blocks, nr_nodes=2, **build)


def on_nodes(pool):
    return [pool.nr_on(node) for node in pool.nodes]


# The size of a pool.


def test_pages_are_allocated_in_turn_from_node_to_node():
    machine = two_nodes()
    pool = machine.hugetlb
    assert pool.set_max(3) == 3
    assert [pool.node_of(head) for head in pool.heads] == [0, 1, 0]
    assert pool.set_max(4) == 4
    assert on_nodes(pool) == [2, 2], "the turn goes on where it ended"
    machine.check()


def test_a_node_that_has_none_is_passed_over_until_no_node_has_one():
    machine = two_nodes()
    machine.buddy.take(column(*range(32, 64)))
    machine.buddy.taken_to_used(column(*range(32, 64)))
    pool = machine.hugetlb
    assert pool.set_max(9, hard=False) == 4
    assert on_nodes(pool) == [4, 0]
    machine.check()


def test_one_node_is_given_its_number_and_the_other_keeps_its_own():
    machine = two_nodes()
    pool = machine.hugetlb
    pool.set_max(2)
    assert pool.set_max(3, node=1) == 4
    assert on_nodes(pool) == [1, 3]
    assert pool.set_max(0, node=1) == 1
    assert on_nodes(pool) == [1, 0]
    assert pool.set_max(9, node=0, hard=False) == 4, "node 1 has room, but was not asked"
    machine.check()


def test_shrinking_takes_free_pages_in_turn():
    machine = two_nodes()
    pool = machine.hugetlb
    pool.set_max(6)
    assert pool.set_max(2) == 2
    assert on_nodes(pool) == [1, 1]
    machine.check()


def test_trying_hard_compacts_and_not_trying_does_not():
    drawn = Drawn(*["a.a.a.a."] * 6)
    pool, counters = drawn.machine.hugetlb, drawn.machine.counters
    assert (pool.grow(1), counters.pages_copied) == (0, 0)
    assert pool.set_max(1, hard=False) == 0
    assert pool.set_max(1) == 1
    assert counters.pages_copied > 0
    drawn.machine.check()
    drawn.check_contents()


@pytest.mark.parametrize(
    ("ask", "problem"),
    [
        (lambda pool: pool.set_max(-1), "-1 pages"),
        (lambda pool: pool.set_max(1, node=2), "node 2"),
        (lambda pool: pool.grow(1, node=7), "node 7"),
        (lambda pool: pool.alloc_huge_page(5), "node 5"),
    ],
)
def test_requests_that_make_no_sense_change_nothing(ask, problem):
    machine = two_nodes()
    with pytest.raises(PinpageError, match=problem):
        ask(machine.hugetlb)
    assert machine.buddy.nr_free() == 64


# Users, and surplus pages.


def test_a_user_gets_the_newest_page_of_the_nearest_node():
    machine = two_nodes()
    pool = machine.hugetlb
    pool.set_max(4)
    assert pool.alloc_huge_page(1) == pool.heads[3]
    assert pool.alloc_huge_page(1) == pool.heads[1]
    assert pool.node_of(pool.alloc_huge_page(1)) == 0, "then the other node's"
    assert (pool.nr_free, pool.nr_huge_pages) == (1, 4)
    machine.check()


def test_without_overcommit_there_are_no_more_than_the_pool_has():
    machine = two_nodes()
    pool = machine.hugetlb
    pool.set_max(1)
    assert pool.alloc_huge_page() >= 0
    assert pool.alloc_huge_page() == -1
    pool.nr_overcommit = 1
    assert pool.alloc_huge_page(1) == 32
    assert pool.alloc_huge_page() == -1
    assert (pool.nr_persistent, pool.nr_surplus) == (1, {0: 0, 1: 1})
    machine.check()


def test_a_surplus_page_goes_with_its_user():
    machine = two_nodes()
    pool = machine.hugetlb
    pool.nr_overcommit = 1
    head = pool.alloc_huge_page()
    pool.share(head)
    pool.free_huge_page(head)
    assert pool.nr_huge_pages == 1, "one of two users is left"
    pool.free_huge_page(head)
    assert (pool.nr_huge_pages, machine.buddy.nr_free()) == (0, 64)
    machine.check()


def test_surplus_pages_become_persistent_when_the_pool_grows():
    machine = two_nodes()
    pool = machine.hugetlb
    pool.nr_overcommit = 2
    heads = [pool.alloc_huge_page(), pool.alloc_huge_page()]
    assert pool.set_max(2) == 2
    assert pool.heads == heads
    for head in heads:
        pool.free_huge_page(head)
    assert (pool.nr_free, pool.nr_huge_pages) == (2, 2)
    machine.check()


def test_used_pages_beyond_a_smaller_size_become_surplus():
    machine = two_nodes()
    pool = machine.hugetlb
    pool.set_max(3)
    heads = [pool.alloc_huge_page() for _ in range(2)]
    assert pool.set_max(0) == 0
    assert (pool.nr_huge_pages, sum(pool.nr_surplus.values())) == (2, 2)
    machine.check()
    for head in heads:
        pool.free_huge_page(head)
    assert (pool.nr_huge_pages, machine.buddy.nr_free()) == (0, 64)
    machine.check()


def test_a_page_nobody_uses_cannot_be_shared_or_dropped():
    pool = two_nodes().hugetlb
    pool.set_max(1)
    for ask in (pool.share, pool.free_huge_page):
        with pytest.raises(PinpageError, match="nobody uses"):
            ask(0)
        with pytest.raises(NotPinnedError, match="pfn 0x8"):
            ask(8)


# Pages that somebody holds.


def test_a_page_with_a_reference_is_not_given_back_before_that_is_dropped():
    machine = two_nodes()
    pool = machine.hugetlb
    pool.set_max(2)
    machine.get_page(3)
    assert (pool.nr_free, pool.shrink(2)) == (1, 1)
    assert pool.heads == [0]
    with pytest.raises(PinpageError, match="0 users and 1 other references"):
        pool.free_page(0)
    assert pool.set_max(0) == 0
    assert pool.nr_surplus == {0: 1, 1: 0}, "as one in use: it goes when it can"
    assert (pool.nr_free, pool.heads) == (0, [0])
    machine.check()
    machine.put_page(3)
    assert pool.nr_free == 0
    assert (pool.nr_huge_pages, machine.buddy.nr_free()) == (0, 64)
    machine.check()


def test_a_pinned_page_lingers_when_its_user_goes():
    machine = two_nodes()
    pool = machine.hugetlb
    pool.set_max(1)
    head = pool.alloc_huge_page()
    machine.get_page(head + 5)
    pool.free_huge_page(head)
    assert (pool.nr_free, pool.alloc_huge_page()) == (0, -1), "still somebody's"
    machine.check()
    machine.put_page(head + 5)
    assert pool.alloc_huge_page() == head
    machine.check()


def test_a_page_in_use_is_not_given_back():
    machine = two_nodes()
    pool = machine.hugetlb
    pool.set_max(1)
    head = pool.alloc_huge_page()
    assert pool.shrink(1) == 0
    with pytest.raises(PinpageError, match="1 users and 0 other"):
        pool.free_page(head)
    assert pool.nr_huge_pages == 1
    machine.check()


def test_a_frame_that_a_mover_has_taken_is_left_to_it():
    machine = two_nodes()
    machine.hugetlb.set_max(1)
    assert machine.mover.take(column(3)).tolist() == [0]
    machine.hugetlb.free_page(0)
    assert machine.buddy.nr_free() == 63
    assert machine.frames.flags[3] == 0, "no page of the pool any more"
    machine.mover.put(column(3))
    machine.pcp.drain_all()
    assert machine.buddy.nr_free() == 64
    machine.check()


# Invariants.


def test_ht3_ht4_and_ht5():
    machine = two_nodes()
    pool = machine.hugetlb
    pool.set_max(2)
    pool._idle[0].remove(0)
    with pytest.raises(InvariantError, match="HT3"):
        pool.check()
    pool._idle[1].append(0)
    with pytest.raises(InvariantError, match="HT3 an idle page on a strange list"):
        pool.check()
    pool._idle[1].remove(0)
    pool._idle[0].append(0)
    pool.nr_surplus[0] = 2
    with pytest.raises(InvariantError, match="HT4"):
        pool.check()
    pool.nr_surplus[0] = 0
    machine.frames.refcount[SIZE - 1] = 0
    with pytest.raises(InvariantError, match="HT5"):
        pool.check()


def test_ht2_counts_the_pages_of_all_sizes():
    machine = two_nodes()
    large = machine.hugetlbs.of(2 * SIZE)
    machine.hugetlb.set_max(1)
    assert large.set_max(1) == 1
    machine.check()
    machine.frames.clear_flag(column(large.heads[0] + 9), PageFlag.HUGE)
    with pytest.raises(InvariantError, match="HT2"):
        machine.hugetlb.check()
