"""Object caches: vectors of objects in frames that move, or are emptied."""

import numpy as np
import pytest

from mm.state.errno import Errno
from mm.state.frames import PageFlag
from mm.state.gfp import Gfp
from owners.opaque import OpaqueOwner
from owners.slab.cache import Slabs
from owners.slab.slabs import address_of
from pinpage.errors import InvariantError, PinpageError
from pinpage.owner import Mode, Reason, Verdict
from tests.kit.owners.driver_world import DriverWorld
from tests.kit.owners.slab_world import SlabWorld


@pytest.fixture
def world():
    return SlabWorld()


def test_objects_fill_a_slab_before_there_is_another(world):
    world.fill(17)
    assert (world.cache.nr_slabs, world.cache.objects_per_slab) == (3, 8)
    addresses = [world.table.at[key] for key in range(17)]
    assert len(set(addresses)) == 17
    assert addresses[1] - addresses[0] == 512
    world.check_all()


def test_a_freed_place_is_used_again_and_the_last_object_takes_its_slab_along(world):
    world.fill(16)
    place = world.table.at[3]
    world.table.remove(3)
    assert world.table.add(99) == place
    for key in [0, 1, 2, 99, 4, 5, 6]:
        world.table.remove(key)
    assert world.cache.nr_slabs == 2
    world.table.remove(7)
    assert (world.cache.nr_slabs, world.nr_free) == (1, 63)
    world.check_all()


def test_freeing_what_is_no_object_is_refused(world):
    world.fill(2)
    other = world.slabs.create("others", 64)
    strange = other.alloc()
    for address in (world.table.at[0] + 8, world.table.at[0] + 5 * 512, strange, 4096, 0):
        with pytest.raises(PinpageError, match="slab"):
            world.cache.free(address)
    assert world.cache.nr_objects == 2


def test_a_cache_that_cannot_be_is_refused(world):
    for name, nr_bytes, order, what in [
        ("objects", 64, 0, "already"), ("a", 0, 0, "nr_bytes"), ("b", 4097, 0, "nr_bytes"),
        ("c", 64, 4, "order"), ("d", 64, -1, "order"),
    ]:  # fmt: skip
        with pytest.raises(PinpageError, match=what):
            world.slabs.create(name, nr_bytes, order=order)
    assert world.registry.owners == (world.cache,)


def test_a_cache_is_taken_down_only_when_it_is_empty(world):
    world.fill(1)
    with pytest.raises(PinpageError, match="still has 1 objects"):
        world.slabs.destroy(world.cache)
    assert world.registry.owners == (world.cache,)
    world.table.remove(0)
    world.slabs.destroy(world.cache)
    assert world.registry.owners == ()
    assert world.slabs.create("objects", 64).nr_objects == 0


def test_the_constructor_runs_once_per_object_and_moves_keep_its_work(world):
    made = []

    def ctor():
        made.append(1)
        return b"constructed" + bytes(53)

    cache = world.slabs.create("made", 64, ctor=ctor, ops=world.table)
    first = cache.alloc()
    assert world.slabs.memory.load(first, 11) == b"constructed"
    nr_runs = len(made)
    second = cache.alloc()
    cache.free(second)
    assert cache.alloc() == second
    assert len(made) == nr_runs
    world.table.setting_up = Verdict.YES
    assert world.move(*world.pinned()) == [Reason.MOVED]
    here = {cache.alloc() for _ in range(62)}
    assert all(world.slabs.memory.load(address, 11) == b"constructed" for address in here)
    assert len(made) == nr_runs


def test_memory_that_runs_out_is_a_value(world):
    keys = iter(range(10_000))
    while world.table.add(next(keys)) != Errno.ENOMEM:
        pass
    assert world.cache.nr_slabs == 64
    world.check_all()


def test_a_slab_moves_and_its_objects_keep_their_places(world):
    world.fill(20)
    world.table.remove(5)
    before = dict(world.table.at)
    old = world.pinned()
    assert world.move(*old) == [Reason.MOVED] * 3
    assert not set(world.pinned()) & set(old)
    assert [world.table.at[k] % 4096 for k in before] == [before[k] % 4096 for k in before]
    assert set(world.table.at.values()).isdisjoint(before.values())
    world.check_all()


def test_users_of_one_object_hold_the_page(world):
    world.fill(16)
    first, second = world.pinned().tolist()
    world.table.held = {3}
    assert world.move(first, second) == [Reason.OWNER_BUSY, Reason.MOVED]
    assert world.table.at[3] == address_of(first, 3 * 512)
    world.table.held = set()
    assert world.move(first) == [Reason.MOVED]
    world.check_all()


def test_an_object_that_is_being_set_up_says_again(world):
    world.fill(15)
    address = world.cache.alloc()
    world.table.remove(0)
    world.table.remove(1)
    for key in range(9, 15):
        world.table.remove(key)
    second = world.pinned()[1]
    assert world.move(second) == [Reason.OWNER_AGAIN]
    assert world.release(second) == [Reason.OWNER_AGAIN]
    world.cache.free(address)
    world.check_all()


def test_a_cache_without_callbacks_is_known_and_stays():
    world = SlabWorld(is_movable=False)
    world.fill(9)
    assert world.move(*world.pinned()) == [Reason.NO_CALLBACK] * 2
    assert world.release(*world.pinned()) == [Reason.NO_CALLBACK] * 2
    assert world.cache.isolate(world.registry.pins(world.pinned()[0])[0], Mode.SYNC) is Verdict.BUSY
    assert world.cache.shrink() == 0
    world.check_all()


def test_nothing_is_allocated_on_an_isolated_page_and_nobody_reads_it(world):
    world.fill(1)
    pin = world.registry.pins(world.pinned()[0])[0]
    assert world.cache.isolate(pin, Mode.SYNC) is Verdict.YES
    assert world.cache.isolate(pin, Mode.SYNC) is Verdict.AGAIN
    assert world.cache.release(pin, Mode.SYNC) is Verdict.AGAIN
    world.table.add(1)
    assert world.cache.nr_slabs == 2
    with pytest.raises(InvariantError, match="SL5"):
        world.slabs.memory.load(world.table.at[0], 8)
    world.cache.putback(pin)
    world.check_all()


def test_a_pointer_written_to_an_isolated_page_waits_and_follows_it(world):
    world.fill(1)
    address = world.table.at[0]
    pin = world.registry.pins(world.pinned()[0])[0]
    world.cache.isolate(pin, Mode.SYNC)
    world.slabs.memory.store(address + 8, b"pointer!")
    assert world.contents.read(pin.pfn, 8, 8) == bytes(8)
    world.contents.copy(np.array([pin.pfn]), np.array([40]))
    world.cache.migrate(pin, 40)
    assert world.contents.read(40, 8, 8) == b"pointer!"
    assert world.contents.read(pin.pfn, 8, 8) == bytes(8)
    world.cache.migrate(pin, pin.pfn)
    world.cache.isolate(pin, Mode.SYNC)
    world.slabs.memory.store(address + 16, b"another!")
    world.cache.putback(pin)
    assert world.contents.read(pin.pfn, 16, 8) == b"another!"


def test_the_last_object_freed_under_a_mover_is_a_success(world):
    world.fill(2)
    mover = world.steps(*world.pinned())
    while next(mover).name != "ISOLATE":
        pass
    world.table.remove(0)
    world.table.remove(1)
    assert (world.cache.nr_slabs, len(world.registry)) == (0, 0)
    for _ in mover:
        pass
    assert world.reasons["mover"] == [Reason.FREED]
    assert world.nr_free == 64
    world.check_all()


def test_release_empties_a_page_into_the_others(world):
    world.fill(24)
    for key in [*range(2, 8), *range(12, 16), 20]:
        world.table.remove(key)
    first = world.pinned()[0]
    assert world.release(first) == [Reason.RELEASED]
    assert (world.cache.nr_slabs, world.nr_free) == (2, 62)
    world.check_all()
    full = world.pinned()[0]
    assert world.release(full) == [Reason.OWNER_BUSY], "there is no room, and none is made"
    world.check_all()


def test_the_fullest_slab_is_filled_first(world):
    world.fill(24)
    for key in [*range(7), *range(8, 14), *range(16, 20)]:
        world.table.remove(key)
    third = world.table.at[20] >> 12
    assert world.release(world.pinned()[0]) == [Reason.RELEASED]
    assert world.table.at[7] >> 12 == third
    world.check_all()


def test_release_moves_all_objects_or_none(world):
    world.fill(16)
    world.table.remove(9)
    world.table.held = {0}
    before = dict(world.table.at)
    assert world.release(world.pinned()[0]) == [Reason.OWNER_BUSY]
    world.table.held = set()
    assert world.release(world.pinned()[0]) == [Reason.OWNER_BUSY]
    assert world.table.at == before
    world.check_all()


def test_shrink_gathers_sparse_slabs(world):
    world.fill(64)
    for key in range(64):
        if key % 8 > 1:
            world.table.remove(key)
    assert world.cache.nr_slabs == 8
    assert world.cache.shrink() == 6
    assert (world.cache.nr_slabs, world.nr_free) == (2, 62)
    assert world.cache.shrink() == 0
    world.check_all()


@pytest.mark.parametrize("order", [1, 2])
def test_a_slab_of_several_frames_is_released_but_never_moved(order):
    world = SlabWorld(nr_bytes=1360, order=order)
    per_slab = world.cache.objects_per_slab
    assert per_slab * 1360 > (per_slab * 1360 // 4096) * 4096, "an object straddles two frames"
    world.fill(2 * per_slab)
    for key in range(1, per_slab + 1):
        world.table.remove(key)
    world.check_all()
    frames = world.pinned().tolist()
    assert len(frames) == 2 << order
    assert world.move(*frames) == [Reason.NO_CALLBACK] * len(frames)
    pin = world.registry.pins(frames[0])[0]
    assert world.cache.isolate(pin, Mode.SYNC) is Verdict.BUSY
    assert world.release(frames[1]) == [Reason.RELEASED]
    assert (world.cache.nr_slabs, len(world.pinned())) == (1, 1 << order)
    assert world.nr_free == 64 - (1 << order)
    world.check_all()


def scattered(world):
    """One sparse slab in every run of pages that is free otherwise."""
    keys = iter(range(1000))
    world.scatter(lambda: all(world.table.add(next(keys)) > 0 for _ in range(8)), keep_every=5)


@pytest.mark.parametrize("strategy", ["scan", "plan"])
def test_to_mm_a_slab_page_is_a_page_with_an_owner(strategy):
    """With and without the flag the same frames move to the same places, in the same time."""
    outcomes = []
    for is_flagged in (True, False):
        world = SlabWorld(is_flagged=is_flagged)
        scattered(world)
        slab_flags = world.machine.frames.has_flag(np.arange(64), PageFlag.SLAB)
        assert slab_flags.any() == is_flagged
        done = world.machine.compact(strategy)
        world.check_all()
        assert world.machine.buddy.wholly_free().sum() == done.bound > 0
        outcomes.append((
            done.report, done.elapsed_ns, world.pinned().tolist(), dict(world.table.at),
            world.machine.frames.refcount.tolist(), world.machine.frames.state.tolist(),
        ))  # fmt: skip
    assert outcomes[0] == outcomes[1]


def test_slab_pages_compact_as_well_as_anybody_s():
    """The same frames in the hands of an owner that is no slab: the same result."""
    slab = SlabWorld()
    scattered(slab)
    plain = DriverWorld()
    owner = OpaqueOwner("frames", movable=True, registry=plain.registry)
    taken = {pfn: plain.machine.alloc_page(Gfp.HIGHUSER_MOVABLE) for pfn in range(64)}
    kept = set(slab.pinned().tolist())
    owner.adopt(np.array(sorted(kept)))
    for pfn in set(taken.values()) - kept:
        plain.machine.put_page(pfn)
    plain.machine.pcp.drain_all()
    for world in (slab, plain):
        world.machine.compact("scan")
    assert slab.pinned().tolist() == plain.pinned().tolist()


def test_without_a_registry_a_slab_is_only_memory():
    world = DriverWorld()
    slabs = Slabs(world.machine)
    cache = slabs.create("objects", 512)
    address = cache.alloc()
    pfn = slabs.memory.slab_of(address).pfn
    assert world.move(pfn) == [Reason.NO_OWNER]
    cache.free(address)
    slabs.destroy(cache)
    assert world.nr_free == 64


def test_invariants_notice_what_is_wrong(world):
    world.fill(9)
    first, second = world.cache._slabs.values()
    for what, spoil, repair in [
        ("SL1", lambda: second.live.fill(False), lambda: second.live.__setitem__(0, True)),
        ("SL2", lambda: world.slabs.memory.remove(first), lambda: world.slabs.memory.place(first)),
        ("SL3", lambda: first.waiting.append((0, b"")), first.waiting.clear),
        ("SL4", world.cache._partial.clear, lambda: None),
    ]:  # fmt: skip
        spoil()
        with pytest.raises(InvariantError, match=what):
            world.cache.check()
        repair()
