"""R-22, R-24, R-25: memory that goes, against those who pin, free and forget meanwhile.

A notifier runs when the block is isolated and still full: whatever it does there is what a
process does on another CPU at that moment.
"""

import numpy as np
import pytest

from mm.contig.retry import RetryPolicy
from mm.hotplug.notify import MemoryAction
from mm.move.design import Unmovable
from mm.state.errno import Errno
from mm.state.frames import FrameState
from mm.state.gfp import Gfp
from owners.gup.flags import Foll
from owners.gup.pin_references import IgnoresMoves
from pinpage.errors import InvariantError
from pinpage.owner import PinOwner, Reason, Verdict
from tests.kit.owners.gup_world import GupWorld

BLOCK = 16


@pytest.fixture
def world():
    made = GupWorld()
    made.machine.hotplug.blocks.nr_pages = BLOCK
    yield made
    made.check()


def meanwhile(world, what):
    """Once the block that goes is isolated, `what()` happens."""

    def notifier(action, _block):
        if action is MemoryAction.GOING_OFFLINE:
            what()
        return Errno.OK

    world.machine.hotplug.notifiers.add(notifier)


def block_of(world, space):
    """The memory block that holds the process's first page."""
    return world.pfn(space) // BLOCK


def offline(world, block, **retry):
    hotplug = world.machine.hotplug
    return hotplug.offline(block, world.machine.design, retry=RetryPolicy(**retry))


# allocation is blocked there, pinning what is there already is not.


@pytest.mark.parametrize("registered", [True, False])
def test_a_long_pin_that_comes_too_late_moves_its_page_out_first(world, registered):
    space, driver = world.process(3), world.pinner(registered=registered)
    block = block_of(world, space)
    got = []

    def pin():
        got.append(world.gup.get_user_pages(space, 0, 2, driver, Foll.PIN | Foll.LONGTERM))

    meanwhile(world, pin)
    result = offline(world, block, nr_tries=5)
    assert got[0].value == 2
    assert result, "the pinned pages were gone before anybody looked"
    assert all(pfn // BLOCK != block for pfn in driver.pfns_of(got[0].pins).tolist())
    assert world.gup.counters.nr_migrated == 2
    world.gup.put_user_pages(driver, got[0].pins)


def test_a_short_pin_is_waited_for(world):
    space, driver = world.process(3), world.pinner(registered=False)
    block, got = block_of(world, space), []
    meanwhile(world, lambda: got.append(world.gup.get_user_pages(space, 0, 1, driver, Foll.PIN)))
    nr_rounds = 0

    def io_goes_on():
        nonlocal nr_rounds
        nr_rounds += 1
        if nr_rounds == 4:
            world.gup.put_user_pages(driver, got[0].pins)

    result = offline(world, block, nr_tries=None, between_tries=io_goes_on)
    assert result
    assert result.nr_rounds == 5


def test_a_short_pin_without_end_spins_until_the_patience_is_over(world):
    space, driver = world.process(3), world.pinner(registered=False)
    pins = world.gup.get_user_pages(space, 0, 1, driver, Foll.PIN).pins
    result = offline(world, block_of(world, space), nr_tries=None, timeout_ns=2_000_000)
    assert result.errno is Errno.EINTR
    assert result.report.timed_out
    assert result.report.refusals.by_owner() == {"home": {Reason.UNACCOUNTED: 1}}
    assert result.report.pages_moved == 2
    world.gup.put_user_pages(driver, pins)


def test_time_and_io_go_on_together(world):
    """A limit of time does not mean that nothing happens until then."""
    space, driver = world.process(3), world.pinner(registered=False)
    pins, nr_rounds = world.gup.get_user_pages(space, 0, 1, driver, Foll.PIN).pins, 0

    def io_goes_on():
        nonlocal nr_rounds
        nr_rounds += 1
        if nr_rounds == 4:
            world.gup.put_user_pages(driver, pins)

    block = block_of(world, space)
    assert offline(world, block, nr_tries=None, timeout_ns=10**9, between_tries=io_goes_on)


def test_pages_that_nobody_can_move_are_not_taken_for_gone(world):
    """It turns up behind the isolation check: nothing left that could move, but not empty."""
    machine, got = world.machine, []
    space = world.process(3)
    block = block_of(world, space)

    def becomes_a_kernel_page():
        pfn = world.pfn(space, 1)
        machine.refs.get_page(pfn)
        world.memory.dontneed(space, np.array([1]))
        machine.lru.del_many(np.array([pfn]))
        got.append(pfn)

    meanwhile(world, becomes_a_kernel_page)
    result = offline(world, block, nr_tries=4)
    assert (result.errno, result.nr_rounds) == (Errno.EBUSY, 4)
    assert result.report.refusals.total == 1
    assert result.obstacles.pfns.tolist() == got
    machine.put_page(got[0])


def test_a_pinner_with_a_callback_lets_go_at_once(world):
    space, driver = world.process(3), world.pinner(handler=IgnoresMoves())
    pins = world.gup.get_user_pages(space, 0, 1, driver, Foll.PIN).pins
    block = block_of(world, space)
    result = offline(world, block, nr_tries=1)
    assert result
    assert world.pfn(space) == driver.pfns_of(pins)[0]
    assert block_of(world, space) != block
    world.gup.put_user_pages(driver, pins)


def test_no_long_pin_enters_what_came_back_as_movable():
    world = GupWorld()
    machine, hotplug = world.machine, world.machine.hotplug
    hotplug.blocks.nr_pages = BLOCK
    assert offline(world, 3, nr_tries=1)
    assert hotplug.online(3, kind="movable") is Errno.OK
    space, driver = world.memory.mmap("p", 2), world.pinner()
    for vpn in range(2):
        world.memory.write(space, vpn, b"x")
    assert block_of(world, space) == 3, "user memory comes from the highest zone"
    got = world.gup.get_user_pages(space, 0, 2, driver, Foll.PIN | Foll.LONGTERM)
    assert got.value == 2
    assert not (machine.frames.zone[driver.pfns_of(got.pins)] == 1).any()
    assert offline(world, 3, nr_tries=1), "so it can go again"
    world.gup.put_user_pages(driver, got.pins)
    world.check()


# what is freed meanwhile must not hide on a per-CPU list.


def test_pages_freed_while_the_block_is_emptied_are_found(world):
    machine = world.machine
    space = world.process(BLOCK + 4)
    blocks = {world.pfn(space, vpn) // BLOCK for vpn in range(BLOCK + 4)}
    assert len(blocks) == 2

    def exits():
        world.memory.dontneed(space, np.arange(BLOCK + 4))
        assert machine.pcp.nr_pages == 0, "no list keeps anything while a block goes"

    meanwhile(world, exits)
    result = offline(world, min(blocks), nr_tries=1)
    assert result
    assert result.report.pages_moved == 0


def test_nothing_is_allocated_where_it_is_being_emptied(world):
    machine, got = world.machine, []

    def takes_all_it_can():
        while (pfn := machine.alloc_page(Gfp.KERNEL | Gfp.NOWARN)) >= 0:
            got.append(pfn)

    meanwhile(world, takes_all_it_can)
    assert offline(world, 1, nr_tries=1)
    assert len(got) == 3 * BLOCK
    for pfn in got:
        machine.put_page(pfn)


# no record survives its frame.


def test_memory_that_comes_back_knows_nothing_of_before(world):
    machine, registry = world.machine, world.registry
    space, driver = world.process(3), world.pinner(handler=IgnoresMoves())
    pins = world.gup.get_user_pages(space, 0, 3, driver, Foll.PIN).pins
    block = block_of(world, space)
    start = block * BLOCK
    assert offline(world, block, nr_tries=1)
    assert not registry.pinned_mask(start, start + BLOCK).any()
    assert (machine.frames.state[start : start + BLOCK] == FrameState.HOLE).all()
    assert machine.hotplug.online(block) is Errno.OK
    world.check()
    everything = [machine.alloc_page(Gfp.KERNEL) for _ in range(machine.buddy.nr_free())]
    assert {*range(start, start + BLOCK)} <= {*everything}
    assert all(registry.pins(pfn) == [] for pfn in range(start, start + BLOCK))
    assert machine.contents.read(start + 1) == bytes(4096), "not even its bytes"
    for pfn in everything:
        machine.put_page(pfn)
    world.gup.put_user_pages(driver, pins)


def test_a_pin_that_is_still_in_its_threads_batch_is_a_record_too(world):
    driver = world.pinner()
    world.registry.pin(3, driver, 7)  # of a frame that is free: a bug of the driver
    with pytest.raises(InvariantError, match="HP1 a pin knows"):
        offline(world, 0, nr_tries=1)
    world.registry.unpin(3, driver, 7)


def test_a_record_counts_whatever_design_is_in_force(world):
    driver = world.pinner()
    world.registry.pin(3, driver, 7)
    world.machine.design = Unmovable()
    with pytest.raises(InvariantError, match="HP1 a pin knows"):
        offline(world, 0, nr_tries=1)
    world.registry.unpin(3, driver, 7)


def test_no_bytes_come_back(world):
    machine = world.machine
    machine.contents.write(5, b"left behind by a device")
    assert offline(world, 0, nr_tries=1)
    assert machine.hotplug.online(0) is Errno.OK
    assert machine.contents.read(5) == bytes(4096)


class GivesUp(PinOwner):
    """Cannot move anything, but gives up what it is asked for."""

    name = "gives up"

    def __init__(self, world):
        self.world = world
        world.registry.register(self)

    def release(self, pin, mode):
        self.world.registry.unpin(pin.pfn, self, pin.private)
        self.world.machine.put_page(pin.pfn)
        return Verdict.YES


def test_what_can_only_be_released_can_leave(world):
    owner, machine = GivesUp(world), world.machine
    pfn = machine.alloc_page(Gfp.KERNEL)
    world.registry.pin(pfn, owner, 0)
    block = pfn // BLOCK
    assert machine.hotplug.verdict(block, machine.design)
    result = offline(world, block, nr_tries=2)
    assert result
    assert (result.report.pages_released, result.report.pages_moved) == (1, 0)
