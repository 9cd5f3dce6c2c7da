"""The simulated disk: data, queue, and what each policy makes of a move during I/O."""

import numpy as np
import pytest

from mm.state.contents import ArenaContents, TagContents
from mm.state.errno import Errno
from owners.gup.flags import Foll
from owners.odirect.device import Op, Policy, cost_since
from owners.odirect.events import Constant
from owners.odirect.model import DeviceModel
from owners.odirect.simulated import SimulatedDevice
from pinpage.errors import InvariantError, PinpageError
from pinpage.migrate import move_steps
from pinpage.move.steps import Step
from pinpage.owner import Mode, Reason, Verdict
from tests.kit.owners.gup_world import AnyFree
from tests.kit.owners.io_world import IoWorld, block_bytes

SHORT_PINS = [Policy.REFUSE, Policy.WAIT, Policy.CANCEL]


@pytest.mark.parametrize("flags", [Foll.GET, Foll.PIN])
def test_what_is_read_is_in_memory_and_what_is_written_is_on_the_disk(flags):
    world = IoWorld(flags=flags)
    space, device = world.process(4), world.device
    first = device.submit(Op.READ, space, 0, 2, 5)
    second = device.submit(Op.WRITE, space, 2, 2, 9)
    world.check()
    assert world.memory.read(space, 0) == b"\x01" * 4096
    device.drain()
    assert [done.request for done in device.reap()] == [first, second]
    assert [world.memory.read(space, vpn) for vpn in (0, 1)] == [block_bytes(5), block_bytes(6)]
    assert [world.disk.read(block) for block in (9, 10)] == [b"\x03" * 4096, b"\x04" * 4096]
    assert device.reap() == []
    assert len(world.registry) == 0
    world.check()


def test_a_machine_of_tags_has_a_disk_of_tags():
    world = IoWorld(contents=TagContents)
    space = world.memory.mmap("p", 1)
    world.disk.set_tags(np.array([3]), np.array([77], dtype=np.uint64))
    world.device.submit(Op.READ, space, 0, 1, 3)
    world.device.drain()
    assert world.machine.contents.tags(np.array([world.pfn(space)])).tolist() == [77]
    with pytest.raises(PinpageError, match="the machine's kind of contents"):
        SimulatedDevice(
            "d", world.gup, ArenaContents(1), world.events,
            model=DeviceModel(Constant(1)), rng=np.random.default_rng(0),
        )  # fmt: skip


def test_more_than_the_queue_depth_waits_its_turn():
    world = IoWorld(queue_depth=2)
    space, device = world.process(5), world.device
    for vpn in range(5):
        device.submit(Op.READ, space, vpn, 1, vpn)
    assert (device.nr_in_flight, len(world.events)) == (5, 2)
    device.drain()
    done = device.reap()
    assert [one.latency_ns for one in done] == [1000, 1000, 2000, 2000, 3000]
    assert {one.service_ns for one in done} == {1000}
    world.check()


def test_errors_of_get_user_pages_leave_nothing_pinned():
    world = IoWorld()
    space = world.process(2)
    assert world.device.submit(Op.READ, space, 1, 2, 0) == Errno.EFAULT
    assert len(world.device.pinner) == world.device.nr_in_flight == 0
    world.check()


@pytest.mark.parametrize(("nr_pages", "block"), [(0, 0), (1, 16), (2, 15), (1, -1)])
def test_a_request_beyond_the_device_is_a_mistake(nr_pages, block):
    world = IoWorld()
    with pytest.raises(PinpageError, match=r"are not within 0\.\.16"):
        world.device.submit(Op.READ, world.process(4), 0, nr_pages, block)


def test_a_device_that_could_do_nothing_is_a_mistake():
    with pytest.raises(PinpageError, match="queue_depth=0"):
        DeviceModel(Constant(1), queue_depth=0)
    with pytest.raises(PinpageError, match=r"exactly one of Foll\.GET"):
        DeviceModel(Constant(1), flags=Foll.WRITE)


# A move while a request is at the device.


def io_and_move(policy, mode, op=Op.READ, **model):
    """One page read or written, moved before it ends; the world and the move's reason."""
    world = IoWorld(policy, **model)
    space = world.process(1)
    if policy is Policy.RESTART:
        assert world.device.register(space, 0, 1) == 0
    world.device.submit(op, space, 0, 1, 5)
    before = world.pfn(space)
    reason = Reason(int(world.move(before, mode=mode).reasons[0]))
    return world, space, before, reason


@pytest.mark.parametrize("op", list(Op))
@pytest.mark.parametrize(
    ("policy", "mode", "reason"),
    [
        (Policy.REFUSE, Mode.SYNC, Reason.OWNER_AGAIN),
        (Policy.WAIT, Mode.ASYNC, Reason.OWNER_AGAIN),
        (Policy.WAIT, Mode.SYNC_LIGHT, Reason.OWNER_AGAIN),
        (Policy.WAIT, Mode.SYNC, Reason.MOVED),
        (Policy.CANCEL, Mode.ASYNC, Reason.MOVED),
        (Policy.RESTART, Mode.ASYNC, Reason.MOVED),
    ],
)
def test_the_data_arrive_whatever_the_policy(policy, mode, reason, op):
    world, space, before, got = io_and_move(policy, mode, op)
    assert got is reason
    assert (world.pfn(space) != before) is (reason is Reason.MOVED)
    world.check()
    world.memory.write(space, 0, b"later")  # a user's store at any time is no harm to anybody
    world.device.drain()
    assert len(world.device.reap()) == 1
    if op is Op.WRITE:
        assert world.disk.read(5)[5:] == b"\x01" * 4091
    elif policy is Policy.WAIT and mode is Mode.SYNC:
        assert world.memory.read(space, 0) == b"later" + block_bytes(5)[5:]
    else:
        assert world.memory.read(space, 0) == block_bytes(5)
    world.check()


def test_without_a_registration_the_page_in_flight_is_an_unexpected_reference():
    world = IoWorld(registered=False)
    space = world.process(1)
    world.device.submit(Op.READ, space, 0, 1, 5)
    assert world.move(world.pfn(space)).reasons.tolist() == [Reason.UNACCOUNTED]
    world.device.drain()
    assert world.memory.read(space, 0) == block_bytes(5)


def test_a_move_that_forgot_to_ask_is_caught_by_the_data():
    """What all this is against: the DMA goes where the page was."""
    world = IoWorld(Policy.REFUSE)
    space = world.process(1)
    world.device.submit(Op.READ, space, 0, 1, 5)
    before = world.pfn(space)
    world.device._stop = lambda request, mode: True
    assert world.move(before).nr_moved == 1
    world.device.drain()
    assert world.memory.read(space, 0) == b"\x01" * 4096
    assert world.machine.contents.read(before) == block_bytes(5)


def test_a_device_that_says_yes_without_stopping_breaks_its_own_invariant():
    world = IoWorld(Policy.REFUSE)
    space = world.process(1)
    world.device.submit(Op.READ, space, 0, 1, 5)
    world.device._stop = lambda request, mode: True
    world.move(world.pfn(space))
    with pytest.raises(InvariantError, match="OD2"):
        world.device.check()


@pytest.mark.parametrize("policy", SHORT_PINS)
def test_a_queued_request_lets_its_page_move_under_any_policy(policy):
    world = IoWorld(policy, queue_depth=1)
    space = world.process(2)
    for vpn in range(2):
        world.device.submit(Op.READ, space, vpn, 1, vpn)
    assert world.move(world.pfn(space, 1), mode=Mode.ASYNC).nr_moved == 1
    world.check()
    world.device.drain()
    assert [world.memory.read(space, v) for v in range(2)] == [block_bytes(0), block_bytes(1)]


@pytest.mark.parametrize("policy", [Policy.WAIT, Policy.CANCEL])
def test_a_request_of_several_pages_that_move_in_turn(policy):
    world = IoWorld(policy)
    space = world.process(4)
    world.device.submit(Op.READ, space, 0, 4, 2)
    assert world.move(*(world.pfn(space, vpn) for vpn in range(4))).nr_moved == 4
    world.check()
    world.device.drain()
    assert [world.memory.read(space, v) for v in range(4)] == [block_bytes(2 + v) for v in range(4)]
    assert len(world.device.reap()) == 1


def test_waiting_costs_the_mover_time_and_is_bounded():
    world, _, _, reason = io_and_move(Policy.WAIT, Mode.SYNC)
    assert reason is Reason.MOVED
    assert (world.device.counters.nr_waited, world.device.counters.wait_ns) == (1, 1000)
    world, _, _, reason = io_and_move(Policy.WAIT, Mode.SYNC, wait_bound_ns=60)
    assert reason is Reason.OWNER_AGAIN  # ten passes of 60 ns are not enough for 1000
    assert (world.device.counters.nr_waited, world.device.counters.wait_ns) == (10, 600)
    world, _, _, reason = io_and_move(Policy.WAIT, Mode.SYNC, wait_bound_ns=100)
    assert reason is Reason.MOVED


def test_cancelling_costs_the_request_time():
    world = IoWorld(Policy.CANCEL)
    space = world.process(1)
    world.device.submit(Op.READ, space, 0, 1, 5)
    world.events.run_until(900)
    assert world.move(world.pfn(space)).nr_moved == 1
    world.device.drain()
    (done,) = world.device.reap()
    assert (done.latency_ns, done.service_ns) == (1900, 1000)
    assert world.device.counters.nr_cancelled == 1


def test_a_refused_move_leaves_a_cancelled_request_to_go_on():
    world = IoWorld(Policy.CANCEL)
    space, other = world.process(1), world.pinner("other", NeverMoves())
    world.gup.get_user_pages(space, 0, 1, other, Foll.PIN)
    world.device.submit(Op.READ, space, 0, 1, 5)
    assert world.move(world.pfn(space)).reasons.tolist() == [Reason.PARTNER_REFUSED]
    world.check()
    world.device.drain()
    assert world.memory.read(space, 0) == block_bytes(5)


def test_a_request_that_was_held_does_not_start_before_the_move_is_over():
    """It would start on the new frame, and a partner's failure takes the page back."""
    world = IoWorld(Policy.REFUSE, queue_depth=1)
    space, partner = world.process(2), world.pinner("partner", NeverMoves(Verdict.YES))
    world.gup.get_user_pages(space, 0, 1, partner, Foll.PIN)
    world.device.submit(Op.READ, space, 1, 1, 4)
    world.device.submit(Op.READ, space, 0, 1, 5)  # waits in the queue, so it lets its page move
    partner.migrate = NeverMoves.fail
    source = np.array([world.pfn(space)])
    targets = AnyFree(world.machine)
    for step in move_steps(world.registry, world.machine.mover, source, targets, Mode.SYNC):
        if step is Step.FREEZE:
            world.events.run_until(1000)  # the first request ends: there is room at the device
    assert world.pfn(space) == int(source[0])
    world.device.check()
    world.device.drain()
    assert world.memory.read(space, 0) == block_bytes(5)


class NeverMoves:
    def __init__(self, verdict=Verdict.BUSY):
        self.verdict = verdict

    @staticmethod
    def fail(pin, target):
        raise RuntimeError("the partner fails")

    def quiesce(self, pin_id, mode):
        return self.verdict

    def resume(self, pin_id):
        assert self.verdict is Verdict.YES, "resumed though it never stopped"


# Buffers registered for long.


def test_restart_pins_once_however_many_requests():
    world = IoWorld(Policy.RESTART)
    space, device = world.process(2), world.device
    assert device.register(space, 0, 2) == 0
    for _ in range(5):
        device.submit(Op.READ, space, 1, 1, 3)
        world.move(world.pfn(space, 1))
        device.drain()
    assert device.counters.nr_pins == 0
    assert len(world.registry) == 2
    assert world.memory.read(space, 1) == block_bytes(3)
    device.unregister(space, 0)
    assert len(world.registry) == 0
    world.check()


def test_a_transfer_that_finds_its_page_away_starts_again():
    world = IoWorld(Policy.RESTART)
    space, device = world.process(1), world.device
    device.register(space, 0, 1)
    device.submit(Op.READ, space, 0, 1, 5)
    ((pin, _),) = device.pinner.holdings()
    assert device.quiesce(pin, Mode.SYNC) is Verdict.YES
    world.events.run_until(5000)
    assert device.counters.nr_restarted == 1
    assert world.memory.read(space, 0) == b"\x01" * 4096
    device.resume(pin)
    device.drain()
    assert world.memory.read(space, 0) == block_bytes(5)
    world.check()


def test_mistakes_with_registered_buffers():
    world = IoWorld(Policy.RESTART)
    space, device = world.process(3), world.device
    with pytest.raises(PinpageError, match="in no registered buffer"):
        device.submit(Op.READ, space, 0, 1, 0)
    assert device.register(space, 2, 2) == Errno.EFAULT
    assert device.register(space, 0, 2) == Errno.OK
    with pytest.raises(PinpageError, match="is registered at vpn 0x0"):
        device.register(space, 0, 1)
    with pytest.raises(PinpageError, match="in no registered buffer"):
        device.submit(Op.READ, space, 1, 2, 0)
    device.submit(Op.READ, space, 1, 1, 0)
    with pytest.raises(PinpageError, match="drain first"):
        device.unregister(space, 0)
    device.drain()
    device.unregister(space, 0)
    with pytest.raises(PinpageError, match="no buffer is registered"):
        device.unregister(space, 0)
    world.check()


def test_a_pin_that_no_request_has_yet_is_in_use():
    world = IoWorld(Policy.CANCEL)
    space = world.process(1)
    (pin,) = world.gup.get_user_pages(space, 0, 1, world.device.pinner, Foll.GET).pins
    assert world.device.quiesce(pin, Mode.SYNC) is Verdict.AGAIN
    world.gup.put_user_pages(world.device.pinner, [pin])


def test_check_finds_what_is_wrong():
    world = IoWorld(queue_depth=2)
    space, device = world.process(2), world.device
    device.submit(Op.READ, space, 0, 1, 0)
    (request,) = device._in_flight.values()
    device._nr_started = 2
    with pytest.raises(InvariantError, match="OD1"):
        device.check()
    device._nr_started = 1
    request.nr_held = 1
    with pytest.raises(InvariantError, match="OD3"):
        device.check()
    request.nr_held = 0
    device._away.add(99)
    with pytest.raises(InvariantError, match="OD4"):
        device.check()
    device._away.clear()
    world.gup.get_user_pages(space, 1, 1, device.pinner, Foll.GET)
    with pytest.raises(InvariantError, match="OD5"):
        device.check()


def test_what_registering_costs_is_counted():
    world = IoWorld()
    space, before = world.process(4), world.registry.statistics()
    for vpn in range(4):
        world.device.submit(Op.READ, space, vpn, 1, vpn)
    world.move(world.pfn(space, 3))
    world.device.drain()
    cost = cost_since(world.registry, before, world.device.counters.nr_pins)
    assert cost.nr_pins == 4
    assert cost.nr_annihilated + cost.nr_drained == 4
    assert cost.nr_locks > 0
    assert cost.locks_per_pin == cost.nr_locks / 4
    assert cost.lock_free_share == cost.nr_annihilated / 4
