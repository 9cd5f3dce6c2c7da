"""A huge page becomes free in one moment: when its user leaves, or the last reference goes.

Whoever looks changes nothing, and whoever looks and then acts finds what he saw.
"""

import pytest

from mm.state.errno import Errno
from mm.state.gfp import Gfp
from owners.hugetlb_pages import HugetlbPages
from pinpage.errors import NotPinnedError
from pinpage.owner import Mode, Pin
from pinpage.units import Span
from tests.kit.mm.machines import SIZE, small_machine

GIGANTIC = 4 * SIZE


class World:
    """A surplus page whose user has gone, and whose last reference, a stranger's, goes next."""

    def __init__(self, *, owned=False, gigantic=False):
        self.machine = small_machine(16)
        self.machine.hotplug.blocks.nr_pages = GIGANTIC
        registry = self.machine.use_registry() if owned else None
        pools = self.machine.hugetlbs
        self.pool = pools.of(GIGANTIC) if gigantic else self.machine.hugetlb
        self.pool.nr_overcommit = 2
        self.owner = None
        if owned:
            self.owner = HugetlbPages(self.machine, self.pool, registry=registry)
            self.owner.may_dissolve = True
            self.head = self.owner.use(1)
        elif gigantic:
            self.pool.grow(1)
            self.head = self.pool.alloc_huge_page()
            self.pool.set_max(0)
        else:
            self.head = self.pool.alloc_huge_page()
        assert sum(self.pool.nr_surplus.values()) == 1
        self.machine.get_page(self.head + 1)
        if self.owner is not None:
            self.owner.unuse(1)
        else:
            self.pool.free_huge_page(self.head)
        assert self.pool.heads == [self.head], "a stranger has it"

    def drop(self):
        return self.machine.put_page(self.head + 1)

    def contig(self):
        machine = self.machine
        span = Span(self.head, self.head + SIZE)
        return machine.contig.alloc_contig_range(span.start, span.stop, machine.design).errno

    def offline(self):
        return self.machine.hotplug.offline(self.head // GIGANTIC, self.machine.design).errno

    def check(self):
        self.machine.check()
        if self.owner is not None:
            self.owner.check()


@pytest.mark.parametrize("owned", [False, True])
@pytest.mark.parametrize("gigantic", [False, True])
def test_the_last_reference_gives_it_back_before_anybody_looks(owned, gigantic):
    world = World(owned=owned, gigantic=gigantic and not owned)
    assert world.drop(), "the frame is free now"
    assert (world.pool.heads, sum(world.pool.nr_surplus.values())) == ([], 0)
    assert world.machine.buddy.nr_free() == 16 * SIZE
    world.check()


def test_a_reference_that_is_not_the_last_leaves_it():
    world = World()
    world.machine.get_page(world.head)
    assert not world.drop()
    assert (world.pool.heads, world.pool.nr_free) == ([world.head], 0)
    assert world.machine.put_page(world.head)
    assert world.pool.heads == []
    world.check()


@pytest.mark.parametrize("gigantic", [False, True])
@pytest.mark.parametrize("what", ["contig", "offline"])
def test_a_range_over_it_is_had_at_once(what, gigantic):
    world = World(gigantic=gigantic)
    world.drop()
    assert getattr(world, what)() is Errno.OK
    world.check()


def test_while_somebody_holds_it_it_is_in_the_way():
    world = World()
    assert world.contig() is Errno.EBUSY
    assert world.offline() is Errno.EBUSY
    assert world.pool.shrink(1) == 0
    assert (world.pool.nr_free, world.pool.nr_persistent) == (0, 0)
    world.check()


def test_its_owner_is_asked_for_a_page_that_has_gone():
    world = World(owned=True)
    world.drop()
    assert world.owner.release(Pin(world.head, world.owner, world.head), Mode.SYNC) == 0
    world.check()


@pytest.mark.parametrize("ask", ["free_page", "share", "free_huge_page"])
def test_a_page_that_has_gone_is_nobodys(ask):
    world = World()
    world.drop()
    with pytest.raises(NotPinnedError, match="no huge page starts"):
        getattr(world.pool, ask)(world.head)


def test_all_of_it_can_be_had():
    world = World()
    world.drop()
    nr_had = 0
    while world.machine.alloc_page(Gfp.KERNEL) >= 0:
        nr_had += 1
    assert nr_had == 16 * SIZE


def test_a_persistent_page_is_the_next_to_be_handed_out():
    pool = (machine := small_machine(4)).hugetlb
    pool.grow(2)
    machine.get_page(pool.heads[0] + 3)
    assert pool.free_on(0) == [pool.heads[1]]
    machine.put_page(pool.heads[0] + 3)
    assert pool.alloc_huge_page() == pool.heads[0], "the one that became free last"
    machine.check()


# Others run while a page's replacement is looked for.


class Interrupted:
    """Three pages of a pool, of which something becomes when it looks for memory."""

    def __init__(self, nr_used):
        self.machine = small_machine(8)
        self.pool = self.machine.hugetlb
        self.pool.nr_overcommit = 3
        self.heads = [self.pool.alloc_huge_page() for _ in range(3)]
        self.pool.set_max(3)
        for head in self.heads[nr_used:]:
            self.pool.free_huge_page(head)
        self.source, self.pool.source = self.pool.source, self
        self.nr_pages = SIZE
        self.event = lambda: None

    def alloc(self, node, *, hard):
        event, self.event = self.event, lambda: None
        event()
        return self.source.alloc(node, hard=hard)

    def want(self, nr_heads):
        span = (min(self.heads), min(self.heads) + nr_heads * SIZE)
        got = self.machine.contig.alloc_contig_range(*span, self.machine.design)
        self.machine.check()
        return got.errno


def test_a_free_page_that_goes_meanwhile_is_not_given_back_twice():
    world = Interrupted(0)
    world.event = lambda: world.pool.free_page(world.heads[0])
    assert world.want(1) is Errno.OK
    assert sorted(world.pool.heads) == world.heads[1:], "and no other took its place"


def test_a_page_further_on_that_goes_meanwhile():
    world = Interrupted(3)
    world.machine.get_page(world.heads[1])
    world.pool.free_huge_page(world.heads[1])
    world.pool.nr_surplus[0] = 1
    world.event = lambda: world.machine.put_page(world.heads[1])
    assert world.want(2) is Errno.OK
    assert not {world.heads[0], world.heads[1]} & set(world.pool.heads)


def test_a_free_page_that_is_taken_meanwhile_stays():
    world = Interrupted(0)
    world.event = lambda: [world.pool.use(head) for head in world.heads]
    assert world.want(1) is Errno.EAGAIN
    assert world.pool.nr_users(world.heads[0]) == 1
    assert world.pool.heads == world.heads, "the fresh one is not left in the pool"


def test_a_used_page_that_is_pinned_meanwhile_stays():
    world = Interrupted(3)
    world.event = lambda: world.machine.get_page(world.heads[0] + 2)
    assert world.want(1) is Errno.EAGAIN
    assert world.pool.nr_users(world.heads[0]) == 1
    assert world.machine.put_page(world.heads[0] + 2) is False


def test_a_used_page_whose_user_leaves_meanwhile():
    world = Interrupted(3)
    world.event = lambda: world.pool.free_huge_page(world.heads[0])
    assert world.want(1) is Errno.EAGAIN
    assert world.want(1) is Errno.OK
