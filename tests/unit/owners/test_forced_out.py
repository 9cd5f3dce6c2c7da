"""Owners that are forced out of the registry while they hold pages: everything comes back."""

import types

import numpy as np
import pytest

from mm.machine import Machine
from mm.state.errno import Errno
from mm.state.gfp import Gfp
from owners.aio.ring_format import IoEvent
from owners.aio.rings import AioRings
from owners.balloon import Balloon
from owners.forced_out import is_registered, require_registered, unpin, unpin_many, unpin_range
from owners.gup.flags import Foll
from owners.gup.pin_references import IgnoresMoves
from owners.hugetlb_pages import HugetlbPages
from owners.mlock import Mlock
from owners.odirect.device import Op, Policy
from owners.slab.cache import Slabs
from owners.z3fold.pool import Z3foldPool
from owners.zbud.pool import ZbudPool
from owners.zsmalloc.pool import ZsPool
from pinpage.errors import NotPinnedError, OwnerError, PinpageError
from pinpage.migrate import move_steps
from pinpage.move.steps import Step
from pinpage.owner import Mode, PinOwner, Reason
from pinpage.registry import PinRegistry
from pinpage.testing.world import column
from pinpage.topology import Topology
from tests.kit.mm.machines import small_machine
from tests.kit.owners.driver_world import DriverWorld, FreeFrames
from tests.kit.owners.io_world import IoWorld, block_bytes

# How an owner unpins that may be out.


def test_an_owner_that_is_in_must_have_what_it_unpins():
    registry, owner = PinRegistry(Topology.uniform(nr_frames=64)), PinOwner()
    registry.register(owner)
    registry.pin(1, owner, 7)
    for wrong in (
        lambda: unpin(registry, 1, owner, 8),
        lambda: unpin_many(registry, [1, 2], owner, 7),
        lambda: unpin_range(registry, 1, 3, owner, 7),
    ):
        with pytest.raises(NotPinnedError):
            wrong()
    unpin(registry, 1, owner, 7)
    assert len(registry) == 0


def test_an_owner_that_is_out_has_nothing_left_to_unpin():
    registry, owner = PinRegistry(Topology.uniform(nr_frames=64)), PinOwner()
    registry.register(owner)
    registry.pin_range(1, 4, owner, 7)
    assert is_registered(registry, owner)
    registry.unregister(owner, force=True)
    assert not is_registered(registry, owner)
    unpin(registry, 1, owner, 7)
    unpin_many(registry, [2, 3], owner, 7)
    unpin_range(registry, 1, 4, owner, 7)
    with pytest.raises(OwnerError, match="is not registered"):
        require_registered(registry, owner)
    require_registered(None, owner)


def test_an_owner_that_goes_out_at_this_very_moment_is_out(monkeypatch):
    """Its number is looked up, and then the pins go: it is told that there was no such pin."""
    registry, owner = PinRegistry(Topology.uniform(nr_frames=64)), PinOwner()
    registry.register(owner)
    registry.pin(1, owner, 7)

    def late(*_args):
        registry.unregister(owner, force=True)
        raise NotPinnedError("pfn 0x1 is not pinned")

    monkeypatch.setattr(registry, "unpin", late)
    unpin(registry, 1, owner, 7)


# Owners with pages of their own: fill, force out, empty.


class Filled:
    """An owner with pages, how it lets go of all, and how it would take more."""

    def __init__(self, world, owner, empty, more):
        self.world, self.owner, self.empty, self.more = world, owner, empty, more


def filled_rings():
    world = DriverWorld()
    rings = AioRings(world.machine, registry=world.registry)
    made = [rings.setup(200) for _ in range(3)]

    def empty():
        assert [rings.destroy(ring) for ring in made] == [Errno.OK] * 3

    return Filled(world, rings, empty, lambda: rings.setup(200))


def filled_balloon():
    world = DriverWorld()
    balloon = Balloon(world.machine, registry=world.registry)
    assert balloon.inflate(9) == 9
    return Filled(world, balloon, lambda: balloon.deflate(9), lambda: balloon.inflate(1))


def filled_slabs():
    world = DriverWorld()
    caches = Slabs(world.machine, registry=world.registry)
    cache = caches.create("things", 1000, order=1)
    made = [cache.alloc() for _ in range(20)]

    def empty():
        for address in made:
            cache.free(address)
        caches.destroy(cache)
        caches.check()

    def more():
        while True:  # until it needs a slab
            made.append(cache.alloc())

    return Filled(world, cache, empty, more)


def filled_pool(make, nr_bytes):
    world = DriverWorld()
    pool = make(world.machine, world.registry)
    handles = [pool.alloc(nr_bytes, Gfp.KERNEL) for _ in range(9)]
    assert min(handles) > 0

    def empty():
        pool.check()
        for handle in handles:
            pool.free(handle)
        pool.check()

    def more():
        while True:
            handles.append(pool.alloc(nr_bytes, Gfp.KERNEL))

    return Filled(world, pool.owner, empty, more)


def filled_hugetlb():
    machine = small_machine(4)
    registry = machine.use_registry()
    pool = machine.hugetlb
    pool.set_max(2)
    pages = HugetlbPages(machine, pool, registry=registry)
    pages.use(7)
    world = types.SimpleNamespace(machine=machine, registry=registry)

    def empty():
        pages.unuse(7)
        pool.set_max(0)
        pages.check()

    return Filled(world, pages, empty, lambda: pages.use(8))


def filled_pinner(flags):
    world = IoWorld()
    space, pinner = world.process(4), world.pinner("driver", IgnoresMoves())
    pins = world.gup.get_user_pages(space, 0, 3, pinner, flags).pins

    def empty():
        world.check()
        world.gup.put_user_pages(pinner, pins, dirty=True)
        world.check()
        world.memory.exit(space)

    return Filled(
        world, pinner, empty, lambda: world.gup.get_user_pages(space, 3, 1, pinner, flags)
    )


def filled_mlock():
    world = IoWorld()
    space = world.process(4)
    mlock = Mlock(world.machine.frames, world.registry)
    mlock.lock(space, column(0, 1))

    def empty():
        mlock.check()
        mlock.unlock(space, column(0, 1))
        mlock.check()
        world.memory.exit(space)

    return Filled(world, mlock, empty, lambda: mlock.lock(space, column(2)))


OWNERS = {
    "aio": filled_rings,
    "balloon": filled_balloon,
    "slab": filled_slabs,
    "zbud": lambda: filled_pool(lambda m, r: ZbudPool(m, registry=r), 1500),
    "z3fold": lambda: filled_pool(lambda m, r: Z3foldPool(m, registry=r), 1000),
    "zsmalloc": lambda: filled_pool(lambda m, r: ZsPool(m, registry=r), 1000),
    "hugetlb": filled_hugetlb,
    "a pinner, GET": lambda: filled_pinner(Foll.GET),
    "a pinner, PIN": lambda: filled_pinner(Foll.PIN),
    "a pinner, LONGTERM": lambda: filled_pinner(Foll.PIN | Foll.LONGTERM | Foll.WRITE),
    "mlock": filled_mlock,
}


def nr_used(world):
    world.machine.pcp.drain_all()
    return world.machine.frames.nr_frames - int(world.machine.buddy.nr_free())


@pytest.mark.parametrize("name", OWNERS)
def test_it_takes_nothing_new_and_gives_back_everything(name):
    filled = OWNERS[name]()
    world, held = filled.world, nr_used(filled.world)
    world.registry.unregister(filled.owner, force=True)
    assert len(world.registry) == 0
    with pytest.raises(OwnerError):
        filled.more()
    assert nr_used(world) == held, "what could not be pinned was kept"
    filled.empty()
    world.machine.check()
    assert nr_used(world) == 0, "a reference is left"


@pytest.mark.parametrize("name", sorted(set(OWNERS) - {"mlock", "hugetlb"}))
def test_nothing_of_it_moves_any_more(name):
    """Its references are nobody's that could be asked."""
    filled = OWNERS[name]()
    world = filled.world
    pfns = np.flatnonzero(world.registry.pinned_mask(0, world.machine.frames.nr_frames))
    world.registry.unregister(filled.owner, force=True)
    found = world.machine.mover.classify(pfns, world.machine.design, Mode.SYNC)
    report = world.machine.mover.migrate(
        pfns, found.alone, FreeFrames(world.machine), world.machine.design, Mode.SYNC
    )
    assert not set(report.reasons.tolist()) & {Reason.MOVED, Reason.FREED}
    filled.empty()
    assert nr_used(world) == 0


# Out in the middle of a move that had asked it to hold still.


def forced_out_after(world, owner, step, *pfns):
    """A move of some frames, whose owner is forced out when it has got that far."""
    steps = move_steps(
        world.registry, world.machine.mover, column(*pfns), FreeFrames(world.machine), Mode.SYNC
    )
    for done in steps:
        if done is step:
            world.registry.unregister(owner, force=True)
            break
    for _ in steps:
        pass
    world.machine.check()


@pytest.mark.parametrize("step", [Step.ISOLATE, Step.TARGET, Step.FREEZE, Step.COPY, Step.MIGRATE])
def test_a_ring_that_was_quiet_goes_on(step):
    world = DriverWorld()
    rings = AioRings(world.machine, registry=world.registry)
    ring = rings.setup(200)
    for number in range(130):
        rings.complete(ring, IoEvent(number, 0, 0))
    forced_out_after(world, rings, step, *rings.pages_of(ring))
    assert rings.complete(ring, IoEvent(130, 0, 0)) == Errno.OK
    assert [event.data for event in rings.get_events(ring, 999)] == list(range(131))
    rings.check()
    assert rings.destroy(ring) == Errno.OK
    assert nr_used(world) == 0


@pytest.mark.parametrize("step", [Step.ISOLATE, Step.FREEZE, Step.COPY, Step.MIGRATE])
def test_a_balloon_deflates(step):
    world = DriverWorld()
    balloon = Balloon(world.machine, registry=world.registry)
    balloon.inflate(4)
    forced_out_after(world, balloon, step, *balloon.host)
    balloon.check()
    assert balloon.deflate(4) == 4
    assert nr_used(world) == 0


@pytest.mark.parametrize("step", [Step.ISOLATE, Step.FREEZE, Step.COPY, Step.MIGRATE])
@pytest.mark.parametrize("name", ["zbud", "z3fold", "zsmalloc"])
def test_objects_of_a_pool_can_be_read(name, step):
    world = DriverWorld()
    make = {"zbud": ZbudPool, "z3fold": Z3foldPool, "zsmalloc": ZsPool}[name]
    pool = make(world.machine, registry=world.registry)
    handle = pool.alloc(1000, Gfp.KERNEL)
    pool.write(handle, b"x" * 1000)
    pfns = np.flatnonzero(world.registry.pinned_mask(0, 64))
    forced_out_after(world, pool.owner, step, *pfns)
    assert pool.read(handle, 1000) == b"x" * 1000
    pool.check()
    pool.free(handle)
    assert nr_used(world) == 0


# Devices with requests in flight.


@pytest.mark.parametrize("op", list(Op))
@pytest.mark.parametrize("policy", list(Policy))
def test_a_disk_ends_what_is_in_flight_and_takes_no_more(policy, op):
    world = IoWorld(policy, queue_depth=1)
    space, device = world.process(3), world.device
    if policy is Policy.RESTART:
        assert device.register(space, 0, 3) == 0
    for vpn in range(2):
        device.submit(op, space, vpn, 1, 4 + vpn)
    world.registry.unregister(device.pinner, force=True)
    world.check()
    with pytest.raises(OwnerError):
        device.submit(op, space, 2, 1, 0)
    with pytest.raises(OwnerError):
        device.register(space, 2, 1) if policy is not Policy.RESTART else device.submit(
            op, space, 0, 1, 0
        )
    assert world.move(world.pfn(space)).nr_moved == 0, "a page moved that the disk may write"
    device.drain()
    assert [done.error for done in device.reap()] == [0, 0]
    if policy is Policy.RESTART:
        device.unregister(space, 0)
    world.check()
    for vpn in range(2):
        page = world.memory.read(space, vpn)
        assert page == (block_bytes(4 + vpn) if op is Op.READ else world.disk.read(4 + vpn))
    world.memory.exit(space)
    assert nr_used(world) == 0


@pytest.mark.parametrize("policy", [Policy.CANCEL, Policy.RESTART])
@pytest.mark.parametrize("step", [Step.ISOLATE, Step.FREEZE, Step.COPY, Step.MIGRATE])
def test_a_request_that_a_move_holds_goes_on(policy, step):
    world = IoWorld(policy)
    space, device = world.process(1), world.device
    if policy is Policy.RESTART:
        assert device.register(space, 0, 1) == 0
    device.submit(Op.READ, space, 0, 1, 5)
    forced_out_after(world, device.pinner, step, world.pfn(space))
    world.check()
    device.drain()
    assert [done.error for done in device.reap()] == [0]
    assert world.memory.read(space, 0) == block_bytes(5)
    if policy is Policy.RESTART:
        device.unregister(space, 0)
    world.check()
    world.memory.exit(space)
    assert nr_used(world) == 0


def test_a_transfer_that_found_its_page_away_begins_again():
    world = IoWorld(Policy.RESTART)
    space, device = world.process(1), world.device
    device.register(space, 0, 1)
    device.submit(Op.READ, space, 0, 1, 5)
    ((pin, _),) = device.pinner.holdings()
    device.quiesce(pin, Mode.SYNC)
    world.events.run_until(5000)
    assert device.counters.nr_restarted == 1
    world.registry.unregister(device.pinner, force=True)
    device.drain()
    assert world.memory.read(space, 0) == block_bytes(5)
    world.check()


def test_forced_out_between_the_reference_and_the_pin(monkeypatch):
    """The registry says no with an error: the reference that was taken for it is dropped."""
    world = IoWorld()
    space, pinner = world.process(2), world.pinner("driver", IgnoresMoves())
    before = world.machine.frames.refcount.tobytes()
    pin = world.registry.pin

    def late(pfn, owner, private=None, *, wait=True):
        if private:
            world.registry.unregister(pinner, force=True)
        return pin(pfn, owner, private, wait=wait)

    monkeypatch.setattr(world.registry, "pin", late)
    with pytest.raises(OwnerError):
        world.gup.get_user_pages(space, 0, 2, pinner, Foll.GET)
    assert world.machine.frames.refcount.tobytes() == before
    assert len(pinner) == 0
    assert isinstance(OwnerError("x"), PinpageError)


def test_a_machine_that_is_compacted_leaves_the_pages_of_whoever_is_out():
    machine = Machine.build(nr_pages=512)
    registry = machine.use_registry()
    balloon = Balloon(machine, registry=registry)
    balloon.inflate(20)
    for pfn, number in zip(sorted(balloon.host), range(20), strict=True):
        machine.contents.write(pfn, bytes([number]) * 8)
    registry.unregister(balloon, force=True)
    where = set(balloon.host)
    machine.compact()
    assert balloon.host == where
    assert balloon.deflate(20) == 20
    machine.check()
