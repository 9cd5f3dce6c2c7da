"""Nested pins: several pins of get_user_pages and one direct I/O on one page of a process.

Whatever each of them does when it is asked, and whatever happens between two steps of the
move, the page tables and every honest pinner name the same frame afterwards, with the right
bytes in it, and every reference is accounted for.  Not sampled: every assignment of
behaviours to pinners, every event after every step.
"""

import itertools

import numpy as np
import pytest

from mm.state.frames import FrameState
from owners.gup.flags import Foll
from owners.gup.pin_references import IgnoresMoves
from owners.odirect.device import Op, Policy
from pinpage.migrate import move_steps
from pinpage.move.steps import Step
from pinpage.owner import Mode, Reason
from tests.kit.owners.gup_world import AnyFree
from tests.kit.owners.io_world import IoWorld, block_bytes
from tests.kit.owners.misbehave import misbehave

REFUSALS = ("again", "busy", "raise in isolate")
BEHAVIOURS = ("ok", *REFUSALS, "raise in migrate", "raise in putback", "lie")
DEVICE = tuple(Policy) + BEHAVIOURS[3:5] + BEHAVIOURS[6:]
BLOCK = 5


class Nested:
    """One page with k pins by k pinners and one read in flight."""

    def __init__(self, behaviours, device, *, device_last):
        policy = device if isinstance(device, Policy) else Policy.CANCEL
        names = [f"gup{n}" for n in range(len(behaviours))]
        self.world = world = IoWorld(policy, first=names if device_last else ())
        pinners = world.pinners[: len(names)] if device_last else self._later(names)
        self.space = world.process(1)
        self.held = {}
        flags = itertools.cycle((Foll.PIN, Foll.GET))
        for pinner, how in zip(pinners, flags, strict=False):
            (self.held[pinner],) = world.gup.get_user_pages(self.space, 0, 1, pinner, how).pins
        if policy is Policy.RESTART:
            assert world.device.register(self.space, 0, 1) == 0
        world.device.submit(Op.READ, self.space, 0, 1, BLOCK)
        self.source = world.source = world.pfn(self.space)
        world.nr_sneaked = 0
        self.doing = dict(zip(pinners, behaviours, strict=True))
        self.doing[world.device.pinner] = "ok" if isinstance(device, Policy) else device
        for pinner, behaviour in self.doing.items():
            misbehave(world, pinner, behaviour)
        self.refuses = policy is Policy.REFUSE

    def _later(self, names):
        return [self.world.pinner(name, IgnoresMoves()) for name in names]

    def expected(self, reason):
        """Where the page must be, from what everybody does: a plain rereading of the contract."""
        doing = set(self.doing.values())
        if doing & set(REFUSALS) or self.refuses:
            assert reason in (
                Reason.OWNER_AGAIN, Reason.OWNER_BUSY, Reason.PARTNER_REFUSED, Reason.OWNER_FAULTY,
            )  # fmt: skip
            return "source"
        if "raise in migrate" in doing:
            assert reason is Reason.OWNER_FAULTY
            return "source"
        assert reason is (Reason.OWNER_FAULTY if "lie" in doing else Reason.MOVED)
        return "target"

    def judge(self, where):
        """All or none, in every respect that anybody could notice."""
        world, now = self.world, self.world.pfn(self.space)
        assert (now == self.source) is (where == "source"), "some other frame than expected"
        liars = {pinner for pinner, behaviour in self.doing.items() if behaviour == "lie"}
        for pinner, pin_id in self.held.items():
            if pinner not in liars:
                assert pinner.pfn_of(pin_id) == now, f"{pinner.name} was left behind"
            pins = [(pin.owner, pin.private) for pin in world.registry.pins(now)]
            assert (pinner, pin_id) in pins, f"the pin of {pinner.name} was left behind"
        world.machine.check()
        held = sum(nr for pinner in world.pinners for _, nr in pinner.holdings())
        world.machine.paging.check({now: held + world.nr_sneaked})
        if where == "target" and world.nr_sneaked:
            assert world.machine.frames.state[self.source] == FrameState.QUARANTINED
        if world.device.pinner not in liars:
            world.device.drain()
            assert world.memory.read(self.space, 0) == block_bytes(BLOCK)


def check_one(behaviours, device, device_last):
    nested = Nested(behaviours, device, device_last=device_last)
    (reason,) = nested.world.move(nested.source).reasons.tolist()
    nested.judge(nested.expected(Reason(reason)))


def check_all(k, behaviours, devices):
    for doing in itertools.product(behaviours, repeat=k):
        # (Among four pinners the device comes last: that it may come first, fewer have shown.)
        for device, device_last in itertools.product(devices, (False, True)[k == 4 :]):
            try:
                check_one(doing, device, device_last)
            except BaseException as error:
                raise AssertionError(f"{doing}, {device}, {device_last=}: {error}") from error


@pytest.mark.parametrize("k", [1, 2])
def test_every_behaviour_of_every_pinner(k):
    check_all(k, BEHAVIOURS, DEVICE if k == 1 else (Policy.CANCEL, Policy.WAIT))


_BETWEEN = pytest.mark.slow  # what lies between the ends adds time and no new case


@pytest.mark.parametrize("k", [pytest.param(3, marks=_BETWEEN), 4])
def test_one_that_misbehaves_among_many(k):
    for place, behaviour in itertools.product(range(k), BEHAVIOURS):
        doing = ["ok"] * k
        doing[place] = behaviour
        for device in DEVICE:
            check_one(doing, device, device_last=place % 2 == 0)


@pytest.mark.slow
@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_every_behaviour_of_every_pinner_and_of_the_device(k):
    check_all(k, BEHAVIOURS, DEVICE)


# Between two steps.

EVENTS = ("nothing", "io ends", "late pin", "late reference", "drop 0", "drop last")


def happen(nested, event):
    world = nested.world
    if event == "io ends":
        world.events.run_until(world.machine.clock.now_ns + 10_000)
    elif event == "late pin":
        got = world.gup.get_user_pages(nested.space, 0, 1, world.pinners[0], Foll.GET)
        nested.late = got.pins
    elif event == "late reference":
        late = world.pinner("late", registered=False)
        nested.late = world.gup.get_user_pages(nested.space, 0, 1, late, Foll.GET).pins
        nested.held.update(zip([late] * len(nested.late), nested.late, strict=True))
    elif event.startswith("drop"):
        pinner = list(nested.held)[-1 if event == "drop last" else 0]
        world.gup.put_user_pages(pinner, [nested.held.pop(pinner)])


def one_with_an_event(k, policy, event, after, *, refusing):
    """Run a move and let something happen after its n-th step; False if it has fewer steps."""
    nested = Nested(["ok"] * k, policy, device_last=True)
    world = nested.world
    if refusing:
        misbehave(world, list(nested.held)[-1], "raise in migrate")
    source = np.array([nested.source])
    steps = move_steps(
        world.registry, world.machine.mover, source, AnyFree(world.machine), Mode.SYNC
    )
    seen = []
    while True:
        try:
            seen.append(next(steps))
        except StopIteration as end:
            (reason,) = end.value.reasons.tolist()
            break
        if len(seen) == after:
            happen(nested, event)
    registered = [pinner for pinner in nested.held if pinner.registry is not None]
    now = world.pfn(nested.space)
    assert (now != nested.source) is (reason == Reason.MOVED), (Reason(reason), seen)
    for pinner in registered:
        assert pinner.pfn_of(nested.held[pinner]) == now, (event, seen)
    world.check()
    world.device.drain()
    assert world.memory.read(nested.space, 0) == block_bytes(BLOCK), (event, Reason(reason), seen)
    world.check()
    return len(seen) >= after, Step.REKEY in seen


@pytest.mark.parametrize("policy", list(Policy))
@pytest.mark.parametrize(
    "k", [1, 2, pytest.param(3, marks=_BETWEEN), pytest.param(4, marks=_BETWEEN)]
)
def test_every_event_after_every_step(k, policy):
    outcomes = set()
    for event, refusing in itertools.product(EVENTS, (False, True)):
        if event.startswith("drop") and k == 1 and refusing:
            continue
        for after in itertools.count(1):
            is_reached, moved = one_with_an_event(k, policy, event, after, refusing=refusing)
            outcomes.add(moved)
            if not is_reached:
                break
    assert outcomes == {False, True}, "some moves must succeed, and some must not"
