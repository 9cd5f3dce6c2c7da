"""R-2, R-10 and R-11 for slab pages: objects come and go, and point to each other, under a mover.

Actors: a mover of every page of the cache, or two movers with a part each; a user of the
        trees; somebody who unmounts or shrinks.
Bad:    a pointer to the old place of an object survives the move; an object is allocated on a
        page after its copy; an emptied page is kept, or migrated as garbage.
Rule:   nobody reads or writes a page that a mover has; pointers into it wait until it has
        settled; with its last object a page goes at once.
"""

import pytest

from mm.state.errno import Errno
from owners.slab.cache import Slabs
from owners.slab.dentry import Dentries
from owners.slab.xarray import XArrays
from pinpage.owner import Reason
from pinpage.testing.explore import explore
from tests.kit.owners.driver_world import DriverWorld
from tests.kit.owners.slab_world import SlabWorld

SUCCESS = {Reason.MOVED, Reason.FREED}
GONE = {Reason.RACED_FREE, Reason.NO_OWNER}


def objects_come_and_go():
    world = SlabWorld(16, nr_bytes=2048)
    world.fill(4)

    def user():
        world.table.remove(0)
        yield "frees one object"
        world.table.remove(1)
        yield "frees the last one of its page"
        answer = world.table.add(7)
        assert answer > 0 or answer == Errno.ENOMEM  # a mover of this thread still has the frame
        yield "allocates one"

    def finish():
        world.table.read_all()
        assert set(world.reasons["mover"]) <= SUCCESS | GONE | {Reason.UNACCOUNTED}

    pages = world.pinned()
    return world.scenario(world.slabs, finish, mover=world.steps(*pages), user=user())


def half_a_tree_each():
    world, xa = tree(12)
    pages = world.pinned()
    movers = {f"mover {n}": world.steps(pages[n], name=f"mover {n}") for n in range(2)}
    return tree_scenario(world, xa, 12, **movers)


def stores_while_it_moves():
    world, xa = tree(6)
    done = []

    def user():
        for index in (0, 64 * 7):
            answer = xa.store(1, index, index + 1)
            assert answer in (Errno.OK, Errno.EAGAIN)
            done.append((index, answer))
            yield f"stores {index}: {answer.name}"
        answer = xa.erase(1, 64)
        yield f"erases: {answer.name}"
        done.append((64, Errno.EAGAIN))  # to be stored again at the end

    def finish():
        late = {index for index, answer in done if answer == Errno.EAGAIN}
        for index in late:
            assert xa.store(1, index, index + 1) == Errno.OK
        assert dict(xa.items(1)) == {i * 64: i * 64 + 1 for i in (*range(6), 7)}

    mover = world.steps(*world.pinned())
    return tree_scenario(world, xa, None, finish, mover=mover, user=user())


def shrinks_while_it_moves():
    world, xa = tree(14)
    for index in range(0, 14, 3):
        xa.erase(1, index * 64)

    def shrinker():
        xa.cache.shrink()
        yield "shrinks"

    left = [i for i in range(14) if i % 3]

    def finish():
        assert dict(xa.items(1)) == {i * 64: i * 64 + 1 for i in left}

    mover = world.steps(*world.pinned())
    return tree_scenario(world, xa, None, finish, mover=mover, shrinker=shrinker())


def unmounts_while_it_moves():
    world = DriverWorld(16)
    slabs = Slabs(world.machine, registry=world.registry)
    dentries = Dentries(slabs)
    stays, goes = dentries.mount(), dentries.mount()
    for n in range(40):
        assert dentries.create(goes if n % 8 else stays, f"/{n}") == Errno.OK

    def user():
        assert dentries.umount(goes) == Errno.OK
        yield "unmounts"
        held = dentries.get(stays, "/8")
        yield f"gets one: {held > 0}"
        if held > 0:
            assert dentries.name_of(held) == "8"
            dentries.put(held)

    mover = world.steps(*world.pinned())
    return tree_scenario(world, dentries, None, mover=mover, user=user())


def tree(nr_leaves):
    world = DriverWorld(16)
    xa = XArrays(Slabs(world.machine, registry=world.registry))
    for n in range(nr_leaves):
        assert xa.store(1, 64 * n, 64 * n + 1) == Errno.OK
    return world, xa


def tree_scenario(world, owner, nr_leaves, finish=lambda: None, **actors):
    def at_the_end():
        owner.cache.check()
        finish()
        owner.check()
        if nr_leaves is not None:
            assert dict(owner.items(1)) == {64 * n: 64 * n + 1 for n in range(nr_leaves)}
            moved = {reason for reasons in world.reasons.values() for reason in reasons}
            assert moved == {Reason.MOVED}

    return world.scenario(owner, at_the_end, **actors)


@pytest.mark.parametrize(
    ("make", "max_preemptions"),
    [
        (objects_come_and_go, 2),
        (half_a_tree_each, 2),
        (stores_while_it_moves, 2),
        (shrinks_while_it_moves, 2),
        (unmounts_while_it_moves, 2),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_objects_survive_every_schedule(make, max_preemptions):
    explore(make, max_preemptions=max_preemptions).require_none()


def test_allocating_an_object_may_move_its_own_cache():
    """R-11: the allocation compacts, and so calls the cache back from inside of `store`."""
    world, xa = tree(20)
    source = world.machine

    class Compacting:
        frames, contents, put_page = source.frames, source.contents, source.put_page

        def alloc_page(self, gfp):
            assert set(world.move(*world.pinned())) == {Reason.MOVED}
            return source.alloc_page(gfp)

    before = world.pinned().tolist()
    memory = xa._memory
    memory.source = Compacting()
    assert xa.store(2, 1 << 30, 1) == Errno.OK
    memory.source = source
    assert world.pinned().tolist() != before
    assert xa.load(2, 1 << 30) == 1
    assert dict(xa.items(1)) == {64 * n: 64 * n + 1 for n in range(20)}
    xa.check()
    xa.cache.check()


def test_a_cache_goes_only_after_its_pages_did():
    """R-10: taken down between isolate and migrate, it is unregistered with nothing left."""
    world = SlabWorld(16)
    world.fill(1)
    mover = world.steps(*world.pinned())
    while next(mover).name != "ISOLATE":
        pass
    world.table.remove(0)
    world.slabs.destroy(world.cache)
    for _ in mover:
        pass
    assert world.reasons["mover"] == [Reason.FREED]
    assert (world.nr_free, world.registry.owners) == (16, ())
