"""Pins of devices, I/O and copying: R-17, R-18, R-19, R-24, R-25, R-27."""

import sys
from types import FrameType
from typing import Any

import numpy as np

from mm.contig.retry import RetryPolicy
from mm.hotplug.forget import FrameForgetter
from mm.hotplug.notify import MemoryAction
from mm.state.address_space import AddressSpace
from mm.state.contents import ArenaContents
from mm.state.errno import Errno
from mm.state.gfp import Gfp
from mm.state.page_ref import Refs
from mm.state.pageblock import MigrateType
from owners.gup.flags import Foll
from owners.gup.gup import GupStep
from owners.gup.longterm import is_longterm_pinnable
from owners.gup.pin_references import IgnoresMoves, Pinner
from owners.odirect.device import Op, Policy
from owners.odirect.events import Constant, EventQueue
from owners.odirect.model import DeviceModel
from owners.odirect.simulated import SimulatedDevice
from pinlab.races.bench import Bench
from pinlab.races.broken import Broken
from pinlab.races.machines import BLOCK_NR_PAGES, PAGE, Small, page, tries_again
from pinlab.races.race import Race
from pinpage.errors import InvariantError, require
from pinpage.owner import Reason
from pinpage.registry import PinRegistry
from pinpage.testing.explore import Actor, Scenario, Until
from pinpage.testing.stepping import in_steps, stop_here

__all__ = [
    "DMA",
    "RACES",
    "QuietCalls",
    "address_that_was_kept",
    "long_pin_in_memory_that_goes",
    "pinned_while_it_is_copied",
    "record_outlives_its_memory",
    "transfer_ends_during_the_move",
    "unpin_from_an_interrupt",
]

DMA = b"DMA"


class QuietCalls(IgnoresMoves):
    """The handler of a driver that notes which pins a mover has quieted."""

    def __init__(self) -> None:
        """None."""
        self.quiet: set[int] = set()

    def quiesce(self, pin_id: int, mode: Any) -> Any:
        """Yes, and nothing is written until `resume`."""
        self.quiet.add(pin_id)
        return super().quiesce(pin_id, mode)

    def resume(self, pin_id: int) -> None:
        """It may write again."""
        self.quiet.discard(pin_id)


def pinned_while_it_is_copied() -> Scenario:
    """R-17: get_user_pages of a page that is on its way; then the device writes."""
    world, handler = Small(), QuietCalls()
    space, driver = world.process(), world.driver(handler)
    mover, got = world.mover(world.pfn(space)), list[int]()

    def pinning() -> Actor:
        for _ in range(4):
            steps = world.gup.pin_steps(space, 0, driver, Foll.PIN | Foll.WRITE)
            pin_id = None
            while pin_id is None:
                try:
                    step = next(steps)
                except StopIteration as end:
                    pin_id = end.value
                else:
                    over = Until(lambda: "mover" in world.reasons, "the move is over")
                    yield over if step is GupStep.WAIT else step
            if pin_id >= 0:
                got.append(pin_id)
                yield Until(lambda: got[0] not in handler.quiet, "the mover lets go")
                world.machine.contents.write(driver.pfn_of(pin_id), DMA)
                yield "the device writes"
                return

    def finish() -> None:
        world.check()
        require(len(got) == 1, "nobody could pin the page")
        require(driver.pfn_of(got[0]) == world.pfn(space), "the pin was left behind")
        _require_dma(world, space)

    return Scenario({"mover": mover, "driver": pinning()}, finish=finish)


def transfer_ends_during_the_move() -> Scenario:
    """R-18: a read from the disk is in flight, and ends at any step of the move."""
    world = Small()
    space, disk = world.process(), ArenaContents(4)
    disk.write(0, page(0x80))
    events = EventQueue(world.machine.clock)
    device = SimulatedDevice(
        "disk", world.gup, disk, events, model=DeviceModel(latency=Constant(1000)),
        rng=np.random.default_rng(0), registry=world.registry, policy=Policy.REFUSE,
    )  # fmt: skip
    world.pinners.append(device.pinner)
    source = world.pfn(space)
    mover = world.mover(source)

    def reading() -> Actor:
        def is_over() -> bool:
            return "mover" in world.reasons

        while device.submit(Op.READ, space, 0, 1, 0) < 0:
            yield Until(is_over, "the move is over")
        yield "asks for a block"
        while device.nr_in_flight:
            events.run_until(world.machine.clock.now_ns + 400)
            yield "time passes"
            if device.nr_in_flight and not events:
                yield Until(lambda: is_over() or bool(events), "the mover lets go")

    def finish() -> None:
        world.check()
        device.check()
        require(len(device.reap()) == 1, "the request did not end")
        moved = world.reasons["mover"] == [Reason.MOVED]
        require((world.pfn(space) != source) is moved, "the mover was told something else")
        found = world.machine.memory.read(space, 0)
        require(found == page(0x80), "the process reads other data than the disk's")

    return Scenario({"device": reading(), "mover": mover}, finish=finish)


def unpin_from_an_interrupt() -> Scenario:
    """R-19: an interrupt comes at any line of a pin, and unpins in the very same thread."""
    bench = Bench()
    gup, late = bench.owner("gup"), bench.owner("late")
    gup.keep("first")
    late.keep("h")
    is_raised = False

    def at_each_line(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal is_raised
        if event == "line":
            sys.settrace(None)  # whatever happens here is not looked at
            stop_here(f"is at line {frame.f_lineno} of the locked section")
            if is_raised:
                is_raised = False
                late.let_go("h")
            sys.settrace(trace)
        return at_each_line

    def trace(frame: FrameType, _event: str, _argument: object) -> Any:
        inside = frame.f_code.co_filename.endswith("shard.py") and frame.f_code.co_name == "pin"
        return at_each_line if inside else None

    def pinning() -> None:
        nonlocal is_raised
        before = sys.gettrace()
        sys.settrace(trace)
        try:
            gup.share("second", pfn=gup.place["first"])
        finally:
            sys.settrace(before)
        if is_raised:
            is_raised = False
            late.let_go("h")

    def interrupt() -> Actor:
        nonlocal is_raised
        is_raised = True
        yield "is raised"

    def finish() -> None:
        if is_raised:  # it came when the other was through
            late.let_go("h")
        require("h" not in late.place, "the unpin was forgotten")
        bench.at_rest()

    return Scenario({"thread": in_steps(pinning), "interrupt": interrupt()}, finish=finish)


def long_pin_in_memory_that_goes() -> Scenario:
    """R-24: a block is being taken offline; a driver pins pages in it for long."""
    world = Small(3 * BLOCK_NR_PAGES)
    hotplug = world.machine.hotplug
    hotplug.blocks.nr_pages = BLOCK_NR_PAGES
    space, driver = world.process(2), world.driver(registered=False)
    block = world.pfn(space) // BLOCK_NR_PAGES
    results: list[bool] = []
    pinned_before: list[bool] = []

    def notifier(action: MemoryAction, _block: int) -> Errno:
        if action is MemoryAction.GOING_OFFLINE:
            stop_here("has isolated the block")
        return Errno.OK

    hotplug.notifiers.add(notifier)

    def removing() -> None:
        retry = RetryPolicy(3, between_tries=tries_again)
        results.append(bool(hotplug.offline(block, world.machine.design, retry=retry)))

    def pinning() -> Actor:
        isolated = world.machine.pageblocks.migratetype[block] == MigrateType.ISOLATE
        got = world.gup.get_user_pages(space, 0, 2, driver, Foll.PIN | Foll.LONGTERM)
        yield f"pins {got.value} pages for long"
        where = driver.pfns_of(got.pins) // BLOCK_NR_PAGES
        if isolated:
            require(not (where == block).any(), "pinned for long in memory that is to go")
        pinned_before.append(not isolated and bool((where == block).any()))

    def finish() -> None:
        world.check()
        came_first = pinned_before == [True]
        require(results == [True] or came_first, "the block did not go, for a pin that came late")

    return Scenario({"hot-remove": in_steps(removing), "driver": pinning()}, finish=finish)


def record_outlives_its_memory() -> Scenario:
    """R-25: an owner drops its page and unpins it afterwards; the memory goes in between."""
    world = Small(3 * BLOCK_NR_PAGES)
    hotplug, machine, registry = world.machine.hotplug, world.machine, world.registry
    hotplug.blocks.nr_pages = BLOCK_NR_PAGES
    owner = Pinner("careless", registry=registry)
    pfn = machine.alloc_page(Gfp.KERNEL)
    registry.pin(pfn, owner, 7)
    block = pfn // BLOCK_NR_PAGES

    def letting_go() -> Actor:
        machine.put_page(pfn)
        yield "drops its page, and has not unpinned it yet"
        registry.unpin(pfn, owner, 7)
        yield "unpins it"

    def removing() -> Actor:
        try:
            went = bool(hotplug.offline(block, machine.design, retry=RetryPolicy(1)))
        except InvariantError:  # it is said that a pin knows the frame: the memory stays
            yield "is refused: a pin knows a frame"
            return
        yield "takes the block offline" if went else "finds the page in use"
        if went:
            require(hotplug.online(block) is Errno.OK, "it does not come back")
            yield "brings it back"
            start = block * BLOCK_NR_PAGES
            knows = registry.pinned_mask(start, start + BLOCK_NR_PAGES).any()
            require(not knows, "an old pin names new memory")

    return Scenario({"owner": letting_go(), "hot-remove": removing()})


def address_that_was_kept() -> Scenario:
    """R-27: a device writes through its pin while, and after, the page moves."""
    world, handler = Small(), QuietCalls()
    space, driver = world.process(), world.driver(handler)
    (pin_id,) = world.gup.get_user_pages(space, 0, 1, driver, Foll.PIN | Foll.WRITE).pins
    source = world.pfn(space)

    def moving() -> Actor:
        yield from world.mover(source)
        if world.pfn(space) != source:
            world.machine.contents.write(source, b"?" * PAGE)  # and nobody may write there again
            yield "fills the old frame with a pattern"

    def writing() -> Actor:
        yield "has a buffer"
        yield Until(lambda: pin_id not in handler.quiet, "the mover lets go")
        world.machine.contents.write(driver.pfn_of(pin_id), DMA)
        yield "the device writes"

    def finish() -> None:
        if world.pfn(space) != source:
            old = world.machine.contents.read(source)
            require(old == b"?" * PAGE, "somebody wrote to the old frame")
        _require_dma(world, space)

    return Scenario({"mover": moving(), "device": writing()}, finish=finish)


def _require_dma(world: Small, space: AddressSpace) -> None:
    found = world.machine.memory.read(space, 0)
    wanted = DMA + page(1)[len(DMA) :]
    require(found == wanted, "what the device wrote is lost to the process")


RACES = (
    Race(
        number=17,
        title="pinned while it is copied",
        actors={"mover": "moves a page of a process", "driver": "pins it; its device writes"},
        rule="N",
        make=pinned_while_it_is_copied,
        max_preemptions=2,
        broken=Broken(
            "a frame whose references are frozen gives one nevertheless",
            Refs.get_page,
            "        if count <= 0 or self._frames.state.item(pfn) != _USED or "
            "pfn in self._source_of:\n            return False\n",
            "        if count < 0:\n            nr_references = -nr_references\n",
        ),
    ),
    Race(
        number=18,
        title="a transfer ends during the move",
        actors={"device": "reads a block into the page", "mover": "moves the page"},
        rule="O",
        make=transfer_ends_during_the_move,
        max_preemptions=2,
        broken=Broken(
            "the device says Yes while it transfers",
            SimulatedDevice._stop,
            "mode is not Mode.SYNC:\n            return False",
            "mode is not Mode.SYNC:\n            return True",
        ),
    ),
    Race(
        number=19,
        title="completion where nobody may wait",
        actors={"thread": "pins a page", "interrupt": "unpins another from inside of that"},
        rule="P",
        make=unpin_from_an_interrupt,
        broken=Broken(
            "an unpin waits for the section that it has interrupted",
            PinRegistry.unpin,
            "if not is_out and self._nodes.threads.current.top > shard.node:",
            "if self._nodes.threads.current.top < 0:",
        ),
    ),
    Race(
        number=24,
        title="a long-term pin in memory that is to go",
        actors={"hot-remove": "takes a block offline", "driver": "pins two pages of it for long"},
        rule="T",
        make=long_pin_in_memory_that_goes,
        broken=Broken(
            "a block that is being isolated is as good as any",
            is_longterm_pinnable,
            "np.isin(types, _FORBIDDEN_TYPES)",
            "np.isin(types, (MigrateType.CMA,))",
        ),
    ),
    Race(
        number=25,
        title="records that outlive their memory",
        actors={"owner": "drops a page and unpins it late", "hot-remove": "takes it off and back"},
        rule="U",
        make=record_outlives_its_memory,
        broken=Broken(
            "nobody looks for pins before memory goes",
            FrameForgetter.require_unknown,
            '        self._require_none(span, self._pinned(span), "a pin")\n',
            "",
        ),
    ),
    Race(
        number=27,
        title="Yes, and a copy of the address kept",
        actors={"mover": "moves the page", "device": "writes to where its driver says it is"},
        rule="V",
        make=address_that_was_kept,
        max_preemptions=2,
        broken=Broken(
            "the owner says Yes and goes on with the old address",
            Pinner.migrate,
            "            self._pfn[pin.private] = target\n",
            "",
        ),
    ),
)
