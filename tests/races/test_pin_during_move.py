"""R-17: somebody pins a page between the mover's look and its copy.

Actors: a mover; get_user_pages of the page, fast and slow path, at every step; a device that
        writes to what it pinned; a process that reads and writes by its page table.
Bad:    the device writes to the old frame, which is somebody else's by now.
Rule:   a reference fails on a frozen frame, a registration on one under move; whatever got in
        before is seen by the mover; and a page that has moved is noticed by the recheck.

And fork, which must not share a page that is being pinned (the sequence count of fork).
"""

import numpy as np
import pytest

from owners.gup.flags import Foll
from owners.gup.gup import GupStep
from owners.gup.pin_references import IgnoresMoves
from pinpage.migrate import move_steps
from pinpage.move.steps import Step
from pinpage.owner import Mode
from pinpage.testing.explore import Scenario, Until, explore
from tests.kit import inside
from tests.kit.owners.gup_world import AnyFree, GupWorld


def moving(world, space, vpn=0):
    """A mover: one attempt at the frame that the page table names now."""
    machine = world.machine
    source = np.array([world.pfn(space, vpn)])
    yield from move_steps(world.registry, machine.mover, source, AnyFree(machine), Mode.SYNC)


def at_rest(world, space):
    """No move and no fork under way: what the slow path really sleeps on."""
    moving = inside.nodes(world.registry).shard_of(0).moving
    return not moving and not space.write_protect_seq & 1


def pinning(world, space, pinner, flags, got, nr_tries=3):
    """Pins as a driver would, waits as the slow path does, then lets its device write."""
    for _ in range(nr_tries):
        steps, pin_id = world.gup.pin_steps(space, 0, pinner, flags), None
        while pin_id is None:
            try:
                step = next(steps)
            except StopIteration as end:
                pin_id = end.value
            else:
                waits = step is GupStep.WAIT
                yield Until(lambda: at_rest(world, space), "at rest") if waits else step
        if pin_id >= 0:
            yield Until(lambda pin=pin_id: pin not in inside.quiet(pinner), "not held still")
            got.append(pin_id)
            world.machine.contents.write(pinner.pfn_of(pin_id), b"DMA")
            yield "device writes"
            return


def pin_against_move(handler, flags):
    def make():
        world = GupWorld(16)
        space = world.process(1)
        driver, got = world.pinner(handler=handler), []

        def finish():
            world.check()
            assert len(got) == 1, "nobody could pin it"
            assert driver.pfn_of(got[0]) == world.pfn(space), "the pin was left behind"
            assert world.memory.read(space, 0) == b"DMA" + b"\x01" * 4093
            world.gup.put_user_pages(driver, got)
            world.check()

        return Scenario(
            {"mover": moving(world, space), "driver": pinning(world, space, driver, flags, got)},
            finish=finish,
        )

    return make


@pytest.mark.parametrize(
    ("handler", "flags"),
    [(None, Foll.GET), (IgnoresMoves(), Foll.PIN | Foll.WRITE)],
    ids=["no callback", "callback"],
)
def test_a_pin_is_on_the_page_wherever_that_went(handler, flags):
    explored = explore(pin_against_move(handler, flags), max_preemptions=3)
    explored.require_none()
    assert explored.nr_schedules > 100


class These:
    """Given free frames as targets."""

    def __init__(self, machine, *pfns):
        self._machine, self._pfns = machine, np.array(pfns)

    def take(self, count):
        self._machine.buddy.take(self._pfns)
        return self._pfns

    def give_back(self, pfns):
        self._machine.buddy.put_taken(pfns)


@pytest.mark.parametrize("stop_after", [Step.TARGET, Step.FREEZE, Step.COPY, Step.REKEY])
def test_a_frame_that_was_freed_and_is_a_target_now_takes_no_reference(stop_after):
    """The page was looked up, moved away, and its old frame is to receive another page."""
    world = GupWorld(16)
    space, driver = world.process(2), world.pinner(handler=IgnoresMoves())
    pinning = world.gup.pin_steps(space, 0, driver, Foll.PIN | Foll.FAST_ONLY)
    assert next(pinning) is GupStep.RESOLVE
    old, other = world.pfn(space, 0), np.array([world.pfn(space, 1)])
    assert world.move(old).nr_moved == 1
    targets = These(world.machine, old)
    mover = move_steps(world.registry, world.machine.mover, other, targets, Mode.SYNC)
    while next(mover) is not stop_after:
        pass
    list(pinning)
    list(mover)
    assert world.pfn(space, 1) == old
    assert len(driver) == 0
    world.check()


def test_a_frame_that_belongs_to_somebody_else_by_now_is_let_go_again():
    world = GupWorld(16)
    space, driver = world.process(1), world.pinner(handler=IgnoresMoves())
    steps, got = world.gup.pin_steps(space, 0, driver, Foll.PIN), []

    def pinning():
        got.append((yield from steps))

    actor = pinning()
    assert next(actor) is GupStep.RESOLVE
    old = world.pfn(space)
    assert world.move(old).nr_moved == 1
    world.process(12, name="next")  # every frame that is free, the old one among them
    assert len(world.machine.rmap.mappers(old)) == 1
    list(actor)
    assert driver.pfn_of(got[0]) == world.pfn(space) != old
    assert world.gup.counters.nr_undone == 1
    world.check()


def test_no_pin_outlives_the_references_that_it_stands_for():
    """The last holder lets go step by step: nobody may be asked about a free frame."""
    world = GupWorld(16)
    space, driver = world.process(1), world.pinner(handler=IgnoresMoves())
    (pin,) = world.gup.get_user_pages(space, 0, 1, driver, Foll.PIN).pins
    pfn = world.pfn(space)
    world.memory.exit(space)
    for _ in world.gup.put_steps(driver, pin):
        is_used = world.machine.frames.refcount[pfn] > 0
        assert is_used or not world.registry.is_pinned(pfn)
    assert world.machine.frames.refcount[pfn] == 0


def unpin_against_move():
    """Two pins of one pinner; one is dropped, step by step, while the page moves."""
    world = GupWorld(16)
    space = world.process(1)
    driver = world.pinner(handler=IgnoresMoves())
    stays, goes = (world.gup.get_user_pages(space, 0, 1, driver, Foll.PIN).pins[0] for _ in "ab")

    def finish():
        world.check()
        assert driver.pfn_of(stays) == world.pfn(space)
        assert world.memory.read(space, 0) == b"\x01" * 4096

    return Scenario(
        {"mover": moving(world, space), "driver": world.gup.put_steps(driver, goes)},
        finish=finish,
    )


def test_a_pin_dropped_during_the_move_takes_its_references_along():
    explore(unpin_against_move).require_none()


def fork_against_pin():
    """A process forks and stores while a driver pins its page and lets a device write."""
    world = GupWorld(16)
    parent, driver, got = world.process(1), world.pinner(), []

    def forking():
        child = yield from world.gup.fork_steps(parent, "child")
        assert child is not None
        yield "returns"
        world.memory.write(parent, 0, b"p", 100)
        yield "parent stores"

    def finish():
        world.check()
        assert driver.pfn_of(got[0]) == world.pfn(parent), "the pin is the child's now"
        assert world.memory.read(parent, 0)[:3] == b"DMA"

    def pin():
        yield from pinning(world, parent, driver, Foll.PIN | Foll.WRITE, got, nr_tries=9)

    return Scenario({"fork": forking(), "driver": pin()}, finish=finish)


def test_fork_leaves_a_page_to_the_parent_that_is_being_pinned():
    explore(fork_against_pin).require_none()
