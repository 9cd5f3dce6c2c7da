"""R-18: the end of an I/O meets a move of its page; R-19: from where nobody may wait.

Actors: a mover; a device with a request in flight, whose end is an event of its own; a second
        owner that lets the move happen or fails half way.
Bad:    the device writes the old frame after the copy; the end of the request drops a pin on
        the new frame that it never took.
Rule:   isolate drains, takes back or answers Again; a pin is dropped by its record, wherever
        that is by now.
"""

import numpy as np
import pytest

from owners.gup.flags import Foll
from owners.gup.pin_references import IgnoresMoves
from owners.odirect.device import Op, Policy
from pinpage.migrate import move_steps
from pinpage.owner import Mode, Reason
from pinpage.testing.explore import Scenario, Until, explore
from tests.kit import inside
from tests.kit.owners.gup_world import AnyFree
from tests.kit.owners.io_world import IoWorld, block_bytes
from tests.kit.owners.misbehave import misbehave

BLOCK = 5


def doing_io(world, space, op):
    """Submits one request as soon as that works, and lets time pass until it has ended."""

    def at_rest():
        return not inside.nodes(world.registry).shard_of(0).moving

    while world.device.submit(op, space, 0, 1, BLOCK) < 0:
        yield Until(at_rest, "no move")
    yield "submits"
    while world.device.nr_in_flight:
        world.events.run_until(world.machine.clock.now_ns + 400)
        yield "time passes"
        if world.device.nr_in_flight and not world.events:
            yield Until(lambda: at_rest() or world.events, "the mover lets go")


def io_against_move(policy, op, partner):
    def make():
        world = IoWorld(policy)
        space, reasons = world.process(1), []
        if policy is Policy.RESTART:
            world.device.register(space, 0, 1)
        other = world.pinner("partner", IgnoresMoves())
        world.gup.get_user_pages(space, 0, 1, other, Foll.PIN)
        misbehave(world, other, partner)
        source = np.array([world.pfn(space)])

        def mover():
            for _ in range(2):
                report = yield from move_steps(
                    world.registry, world.machine.mover, source, AnyFree(world.machine), Mode.SYNC
                )
                reasons.extend(report.reasons.tolist())
                if report.nr_moved or partner != "ok":
                    return

        def finish():
            world.check()
            assert len(world.device.reap()) == 1
            moved = Reason.MOVED in reasons
            assert (world.pfn(space) != int(source[0])) is moved
            if op is Op.READ:
                assert world.memory.read(space, 0) == block_bytes(BLOCK)
            else:
                assert world.disk.read(BLOCK) == b"\x01" * 4096

        return Scenario({"device": doing_io(world, space, op), "mover": mover()}, finish=finish)

    return make


@pytest.mark.parametrize("policy", list(Policy))
@pytest.mark.parametrize("op", list(Op))
def test_the_data_arrive_whenever_the_request_ends(policy, op):
    bound = 2 if op is Op.READ else 1
    explore(io_against_move(policy, op, "ok"), max_preemptions=bound).require_none()


@pytest.mark.parametrize("policy", [Policy.CANCEL, Policy.RESTART])
def test_also_when_a_partner_fails_half_way(policy):
    explore(io_against_move(policy, Op.READ, "raise in migrate"), max_preemptions=2).require_none()


def test_a_request_may_end_in_a_callback_where_nobody_may_wait():
    """R-19: WAIT lets the request end inside isolate; its unpin neither waits nor calls back."""
    world = IoWorld(Policy.WAIT)
    space = world.process(1)
    world.device.submit(Op.READ, space, 0, 1, BLOCK)
    nr_waits = world.registry.statistics().nr_waits
    assert world.move(world.pfn(space)).nr_moved == 1
    assert world.registry.statistics().nr_waits == nr_waits
    assert world.memory.read(space, 0) == block_bytes(BLOCK)
    world.check()
