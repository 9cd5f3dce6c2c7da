"""Huge pages in somebody's way: replaced, dissolved, moved with all their bytes, or left."""

import numpy as np
import pytest

from mm.contig.retry import RetryPolicy
from mm.state.errno import Errno
from mm.state.frames import FrameState
from mm.state.gfp import Gfp
from owners.hugetlb_pages import HugetlbPages
from pinpage.owner import Mode
from pinpage.testing.world import column
from pinpage.units import Span
from tests.kit.mm.machines import SIZE, Drawn, small_machine


class Ground:
    """Four free pageblocks, with pages of the pool from the first on."""

    def __init__(self, nr_huge_pages, *, nr_blocks=4, nr_nodes=1):
        self.machine = small_machine(nr_blocks, nr_nodes=nr_nodes, arena=True)
        self.pool = self.machine.hugetlb
        self.pool.claim(nr_huge_pages)
        self.evictor = self.machine.evacuator.parts.hugetlb

    def use(self, head):
        """The page at this head gets a user, and bytes of its own."""
        self.pool.use(head)
        for pfn in range(head, head + SIZE):
            self.machine.contents.write(pfn, bytes([head, pfn]) * 2048)

    def bytes_of(self, head):
        """What the user that was at `head` first reads where it is now: which frames, of whom."""
        return [tuple(self.machine.contents.read(pfn, 0, 2)) for pfn in range(head, head + SIZE)]

    def remove(self, start, stop):
        """As hot-remove empties a block: for as long as it takes, here one round."""
        machine, span = self.machine, Span(start, stop)
        assert machine.evacuator.isolate(span, machine.design, offline=True)
        retry = RetryPolicy(nr_tries=None, timeout_ns=1)
        errno = machine.evacuator.evacuate(span, machine.design, retry=retry).errno
        machine.evacuator.undo(span)
        machine.check()
        return errno

    def allocate(self, start, stop, **how):
        done = self.machine.contig.alloc_contig_range(start, stop, self.machine.design, **how)
        self.machine.check()
        return done


def test_a_free_page_is_replaced_and_the_pool_keeps_its_size():
    ground = Ground(1)
    done = ground.allocate(0, 8)
    assert (done.errno, done.pfn) == (Errno.OK, 0)
    assert ground.pool.heads == [8]
    assert ground.pool.nr_free == 1
    assert ground.machine.counters.pages_copied == 0


def test_a_used_page_goes_to_a_free_one_with_its_user_and_bytes():
    ground = Ground(2)
    ground.use(0)
    gone, moved = [], []
    ground.pool.on_gone, ground.pool.on_moved = gone.append, lambda *pair: moved.append(pair)
    assert ground.allocate(0, 8).pfn == 0
    assert ground.bytes_of(8) == [(0, pfn) for pfn in range(SIZE)]
    assert (ground.pool.nr_users(8), moved, gone) == (1, [(0, 8)], [0])
    assert ground.pool.heads == [8, 16], "a fresh page took the place of the old one"
    assert ground.machine.counters.pages_copied == SIZE


def test_a_used_page_goes_to_a_fresh_one_where_none_is_free():
    ground = Ground(1)
    ground.use(0)
    assert ground.allocate(3, 5).pfn == 3, "half a page in the way is a page in the way"
    assert ground.pool.heads == [8]
    assert ground.bytes_of(8) == [(0, pfn) for pfn in range(SIZE)]
    states = ground.machine.frames.state[:8].tolist()
    free, used = FrameState.FREE, FrameState.USED
    assert states == [free, free, free, used, used, free, free, free]


def test_no_page_of_the_range_takes_the_place_of_another():
    ground = Ground(3)
    ground.use(0)
    ground.use(8)
    assert ground.allocate(0, 24).errno is Errno.ENOMEM, "two users and one block for them"
    assert ground.pool.nr_users(16) == 0
    assert ground.pool.nr_users(24) == 1, "what went before the failure is gone"


def test_a_page_with_a_foreign_reference_stays_until_that_is_dropped():
    ground = Ground(1)
    ground.use(0)
    ground.machine.get_page(5)
    for _ in range(2):
        assert ground.allocate(0, 8).errno is Errno.EBUSY
    assert ground.pool.heads == [0]
    ground.machine.put_page(5)
    assert ground.allocate(0, 8).errno is Errno.OK


def test_a_page_that_only_somebody_else_holds_stays_too():
    ground = Ground(1)
    ground.machine.get_page(0)
    assert ground.allocate(0, 8).errno is Errno.EBUSY
    assert ground.pool.heads == [0]


def test_without_memory_for_another_the_range_is_not_to_be_had():
    ground = Ground(4)
    assert ground.allocate(0, 8).errno is Errno.ENOMEM
    assert ground.pool.heads == [0, 8, 16, 24]


def test_an_asynchronous_request_leaves_used_pages_alone():
    ground = Ground(2)
    ground.use(0)
    assert ground.evictor.vacate(Span(0, 8), Mode.ASYNC) is Errno.EAGAIN
    assert ground.pool.nr_users(0) == 1


def test_the_place_is_taken_on_the_same_node():
    ground = Ground(1, nr_blocks=8, nr_nodes=2)
    ground.machine.alloc_pages(3, Gfp.HIGHUSER_MOVABLE)
    blocks = column(*range(16, 32))
    ground.machine.buddy.take(blocks)
    ground.machine.buddy.taken_to_used(blocks)
    assert ground.allocate(0, 8).errno is Errno.ENOMEM, "node 1 has room, but it is not asked"


def test_gigantic_pages_refuse_contiguous_allocation_and_dissolve_for_hot_remove():
    ground = Ground(0, nr_blocks=8)
    large = ground.machine.hugetlbs.of(4 * SIZE)
    assert large.set_max(1) == 1
    head = large.heads[0]
    assert ground.allocate(head, head + 8).errno is Errno.ENOMEM
    assert ground.remove(head, head + 8) is Errno.OK
    assert (large.heads, ground.machine.buddy.nr_free()) == ([], 64)


def test_hot_remove_moves_users_and_dissolves_what_is_free():
    ground = Ground(3)
    ground.use(0)
    assert ground.remove(0, 16) is Errno.OK
    assert (ground.pool.heads, ground.machine.buddy.nr_free()) == ([16], 24)
    assert ground.pool.nr_users(16) == 1
    assert ground.bytes_of(16) == [(0, pfn) for pfn in range(SIZE)]


def test_hot_remove_needs_no_page_in_place_of_a_free_one():
    ground = Ground(4)
    assert ground.remove(0, 16) is Errno.OK
    assert ground.pool.heads == [16, 24]


def test_a_gigantic_page_in_use_goes_to_a_free_one_or_stays():
    ground = Ground(0, nr_blocks=8)
    large = ground.machine.hugetlbs.of(4 * SIZE)
    large.set_max(1)
    large.use(0)
    assert ground.remove(0, 8) is Errno.ENOMEM
    large.set_max(2)
    assert ground.remove(0, 8) is Errno.OK
    assert (large.heads, large.nr_users(32)) == ([32], 1)


@pytest.mark.parametrize("used", [False, True])
def test_pins_follow_pages_that_make_way(used):
    machine = small_machine(4, arena=True)
    registry = machine.use_registry()
    machine.hugetlb.claim(2)
    owner = HugetlbPages(machine, machine.hugetlb, registry=registry)
    if used:
        owner.use(7)
        assert owner.head_of(7) == 8
    start = 8 if used else 0
    done = machine.contig.alloc_contig_range(start, start + 8, machine.design)
    assert done.errno is Errno.OK
    owner.adopt()
    owner.check()
    machine.check()
    pinned = np.flatnonzero(registry.pinned_mask(0, 32))
    assert pinned.tolist() == sorted(f for h in machine.hugetlb.heads for f in range(h, h + 8))
    if used:
        assert owner.head_of(7) == 0


def test_other_pages_of_the_range_move_as_ever():
    drawn = Drawn("a.a.....", "........", "........", "........")
    machine = drawn.machine
    machine.hugetlb.claim(1)
    head = machine.hugetlb.heads[0]
    span = (0, head + 8)
    done = machine.contig.alloc_contig_range(*span, machine.design, retry=RetryPolicy())
    assert done.errno is Errno.OK
    assert done.report.pages_moved == 2
    drawn.check_contents()
    machine.check()


@pytest.mark.parametrize(("remove", "first"), [(False, 8), (True, 24)])
def test_a_used_page_goes_to_a_free_one_of_any_node(remove, first):
    """Its own node's before others; hot-remove the other way round."""
    for free in ([8, 24], [8], [24]):
        ground = Ground(6, nr_blocks=6, nr_nodes=2)
        ground.use(0)
        for head in {8, 16, 24, 32, 40} - {*free}:
            ground.pool.free_page(head)
        if remove:
            assert ground.remove(0, 8) is Errno.OK
        else:
            assert ground.allocate(0, 8).errno is Errno.OK
        target = first if first in free else free[0]
        assert ground.pool.nr_users(target) == 1, free
        assert ground.bytes_of(target) == [(0, pfn) for pfn in range(SIZE)]


def test_a_fresh_page_comes_from_another_node_where_its_own_has_none():
    ground = Ground(1, nr_nodes=2)
    ground.use(0)
    ground.machine.buddy.claim_block(1)
    assert ground.remove(0, 8) is Errno.OK
    assert ground.pool.heads[0] >= 2 * SIZE


def test_a_surplus_page_is_one_of_the_node_that_it_is_moved_to():
    ground = Ground(0, nr_nodes=2)
    ground.pool.nr_overcommit = 1
    head = ground.pool.alloc_huge_page()
    assert ground.remove(head, head + SIZE) is Errno.OK
    (moved,) = ground.pool.heads
    assert ground.pool.nr_surplus == {0: 0, 1: 1}
    ground.pool.free_huge_page(moved)
    assert (ground.pool.heads, ground.pool.nr_persistent) == ([], 0)
    ground.machine.check()


def test_what_is_moved_is_counted():
    ground = Ground(2)
    ground.use(0)
    assert ground.allocate(0, 8).report.pages_moved == SIZE
