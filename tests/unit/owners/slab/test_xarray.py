"""Trees whose nodes move under them: every pointer is found and rewritten."""

import itertools

import pytest

from mm.state.errno import Errno
from owners.slab.cache import Slabs
from owners.slab.xarray import XArrays
from pinpage.errors import InvariantError, PinpageError
from pinpage.owner import Mode, Reason, Verdict
from tests.kit.owners.driver_world import DriverWorld

SPREAD = [0, 1, 63, 64, 65, 4095, 4096, 70_000, 262_143, 262_144, 1 << 40]


class Trees(DriverWorld):
    def __init__(self, nr_pages=64, order=0):
        super().__init__(nr_pages)
        self.slabs = Slabs(self.machine, registry=self.registry)
        self.xa = XArrays(self.slabs, order=order)

    def check_all(self):
        self.slabs.check()
        self.xa.check()
        self.check()


@pytest.fixture
def trees():
    return Trees()


def test_values_are_found_where_they_were_put(trees):
    for order in (SPREAD, SPREAD[::-1], SPREAD[::2] + SPREAD[1::2]):
        tree = order[0] % 7 + len(order)
        for index in order:
            assert trees.xa.store(tree, index, index * 3 + 1) == Errno.OK
            trees.check_all()
        assert list(trees.xa.items(tree)) == [(i, i * 3 + 1) for i in SPREAD]
        assert [trees.xa.load(tree, i) for i in SPREAD] == [i * 3 + 1 for i in SPREAD]
        for index in (2, 62, 4097, 262_145, 1 << 41, 1 << 61):
            assert trees.xa.load(tree, index) == Errno.ENOENT
            assert trees.xa.erase(tree, index) == Errno.ENOENT


def test_erasing_gives_every_node_back_as_it_was_constructed(trees):
    for tree, index in itertools.product((1, 2), SPREAD):
        trees.xa.store(tree, index, 5)
    for tree, index in itertools.product((2, 1), SPREAD):
        assert trees.xa.erase(tree, index) == Errno.OK
        trees.check_all()
    trees.xa.drain_reserve()
    assert trees.xa.cache.nr_objects == 0
    assert trees.nr_free == 64


def test_a_node_that_was_used_before_comes_constructed(trees):
    for index in SPREAD:
        trees.xa.store(1, index, 5)
    for index in SPREAD[3:]:
        trees.xa.erase(1, index)
        trees.xa.store(2, index + 1, 7)
        trees.check_all()
    assert dict(trees.xa.items(2)) == {index + 1: 7 for index in SPREAD[3:]}


def test_a_value_is_replaced_in_place(trees):
    trees.xa.store(1, 7, 10)
    trees.xa.store(1, 7, 0)
    assert trees.xa.load(1, 7) == 0
    assert trees.xa.erase(1, 7) == Errno.OK
    assert trees.xa.load(1, 7) == Errno.ENOENT
    trees.check_all()


def test_what_does_not_fit_is_refused(trees):
    for index, value in [(-1, 0), (0, -1), (1 << 62, 0), (0, 1 << 62)]:
        with pytest.raises(PinpageError, match="xarray"):
            trees.xa.store(1, index, value)
    assert trees.xa.load(1, 0) == Errno.ENOENT


def test_memory_that_runs_out_leaves_the_tree_whole(trees):
    stored = []
    for index in itertools.count(0, 4096):
        if trees.xa.store(1, index, index) == Errno.ENOMEM:
            break
        stored.append((index, index))
    assert list(trees.xa.items(1)) == stored
    trees.check_all()


def full_tree(trees, tree=1):
    for index in range(0, 64 * 40, 64):
        assert trees.xa.store(tree, index, index + 1) == Errno.OK
    return [(index, index + 1) for index in range(0, 64 * 40, 64)]


def test_parents_and_children_move_together(trees):
    items = full_tree(trees)
    pages = trees.pinned()
    assert len(pages) == 6
    assert trees.move(*pages) == [Reason.MOVED] * 6
    assert not set(pages) & set(trees.pinned())
    assert list(trees.xa.items(1)) == items
    trees.check_all()


@pytest.mark.parametrize("which", range(6))
def test_each_page_moves_on_its_own(trees, which):
    items = full_tree(trees)
    assert trees.move(trees.pinned()[which]) == [Reason.MOVED]
    assert list(trees.xa.items(1)) == items
    trees.check_all()


def test_two_movers_at_once_each_with_half_of_a_tree(trees):
    """A pointer between the halves is rewritten when its page has settled."""
    items = full_tree(trees)
    pages = trees.pinned()
    movers = [trees.steps(*pages[::2], name="even"), trees.steps(*pages[1::2], name="odd")]
    for mover in movers:
        while next(mover).name != "ISOLATE":
            pass
    for mover in movers:
        for _ in mover:
            pass
    assert trees.reasons == {"even": [Reason.MOVED] * 3, "odd": [Reason.MOVED] * 3}
    assert list(trees.xa.items(1)) == items
    trees.check_all()


def test_an_operation_on_the_way_through_a_moving_page_is_again_and_changes_nothing(trees):
    items = full_tree(trees)
    pin = trees.registry.pins(trees.pinned()[0])[0]  # the root's page
    assert trees.xa.cache.isolate(pin, Mode.ASYNC) is Verdict.YES
    assert trees.xa.store(1, 5, 5) == Errno.EAGAIN
    assert trees.xa.load(1, 0) == Errno.EAGAIN
    assert trees.xa.erase(1, 0) == Errno.EAGAIN
    assert trees.xa.store(2, 5, 5) == Errno.OK, "another tree does not wait"
    trees.xa.cache.putback(pin)
    assert list(trees.xa.items(1)) == items
    trees.check_all()


def test_nodes_in_reserve_move_too(trees):
    trees.xa.store(1, 0, 1)
    node = trees.xa.cache.alloc()
    trees.xa._reserve.append(node)
    trees.move(*trees.pinned())
    assert trees.xa._reserve != [node]
    trees.xa.store(2, 0, 2)
    assert trees.xa._reserve == []
    assert (trees.xa.load(1, 0), trees.xa.load(2, 0)) == (1, 2)
    trees.check_all()


def test_a_reserved_node_under_move_is_passed_over(trees):
    trees.xa._reserve.append(trees.xa.cache.alloc())
    pin = trees.registry.pins(trees.pinned()[0])[0]
    trees.xa.cache.isolate(pin, Mode.SYNC)
    assert trees.xa.store(1, 0, 1) == Errno.OK
    assert len(trees.xa._reserve) == 1
    trees.xa.cache.putback(pin)
    trees.check_all()


@pytest.mark.parametrize("order", [0, 1])
def test_a_sparse_page_is_emptied_into_the_others(order):
    trees = Trees(order=order)
    items = [item for item in full_tree(trees) if item[0] % 256 == 0]
    for index in range(0, 64 * 40, 64):
        if index % 256:
            trees.xa.erase(1, index)
    nr_before = trees.xa.cache.nr_slabs
    first = trees.pinned()[0]  # the root lies here
    assert trees.release(first) == [Reason.RELEASED]
    assert trees.xa.cache.nr_slabs == nr_before - 1
    trees.check_all()
    assert trees.xa.cache.shrink() > 0
    assert list(trees.xa.items(1)) == items
    trees.check_all()


def test_invariants_notice_what_is_wrong(trees):
    full_tree(trees)
    root, first, *_ = sorted(trees.xa.cache.objects())
    memory = trees.slabs.memory
    for address, at, what in [(first, 8, "XA1"), (first, 1, "XA1"), (root, 2, "XA2")]:
        old = memory.load(address + at, 1)
        memory.store(address + at, bytes([old[0] ^ 8]))
        with pytest.raises(InvariantError, match=what):
            trees.xa.check()
        memory.store(address + at, old)
    leaked = trees.xa.cache.alloc()
    with pytest.raises(InvariantError, match="XA3"):
        trees.xa.check()
    memory.store(leaked, b"x")
    trees.xa._reserve.append(leaked)
    with pytest.raises(InvariantError, match="not as constructed"):
        trees.xa.store(3, 0, 0)
