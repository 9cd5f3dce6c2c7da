"""Owners and movers: R-1, R-2, R-7, R-8, R-9, R-11, R-20."""

from pinlab.races.bench import NR_FRAMES, Bench
from pinlab.races.broken import Broken
from pinlab.races.race import Race
from pinpage.errors import require
from pinpage.migrate import _freeze, move_many
from pinpage.move.batch import Batch
from pinpage.move.callbacks import Call
from pinpage.owner import Mode, Pin, Reason
from pinpage.store.nodes import Nodes
from pinpage.testing.explore import Actor, Scenario, Until
from pinpage.testing.stepping import in_steps, stop_here
from pinpage.testing.world import WorldTargets, column

__all__ = [
    "LOST_IT",
    "NEVER_HAD_IT",
    "RACES",
    "SUCCESS",
    "free_after_isolate",
    "free_while_moving",
    "gup_on_a_mapped_page",
    "owner_comes_in_again",
    "owner_goes_away",
    "pin_in_a_batch",
    "two_movers_one_frame",
]

SUCCESS = {Reason.MOVED, Reason.FREED}
NEVER_HAD_IT = {Reason.RACED_FREE, Reason.NO_OWNER}
LOST_IT = {Reason.ALREADY_ISOLATED, Reason.RACED_FREE, Reason.NO_OWNER}


def free_while_moving() -> Scenario:
    """R-1: an owner lets go of its page, in two steps, and the frame gets a new user."""
    bench = Bench()
    zbud = bench.owner("zbud")
    pfn, held = zbud.keep("h", contents=7), []

    def free_and_reuse() -> Actor:
        yield from bench.letting_go(zbud, "h")
        yield "drops"
        if bench.world.refcount[pfn] == 0 and pfn in bench.world.free_pfns():
            held.append(bench.world.alloc_page(9, pfn))
            yield "somebody else has the frame now"

    def finish() -> None:
        for new in held:
            require(bench.world.read(new) == 9, "the new user's data are gone")
            require(bench.world.put_page(new), "somebody else holds the new user's page")
        require(len(bench.world.free_pfns()) == NR_FRAMES, "a frame leaked")

    return bench.scenario(finish, mover=bench.mover(pfn), owner=free_and_reuse())


def free_after_isolate() -> Scenario:
    """R-2: an owner lets go of its page in one go, at any step of the move."""
    bench = Bench()
    zbud = bench.owner("zbud")
    pfn = zbud.keep("h", contents=7)

    def letting_go() -> Actor:
        zbud.let_go("h")
        yield "lets go"

    def finish() -> None:
        (reason,) = bench.reasons["mover"]
        is_good = reason in SUCCESS | NEVER_HAD_IT
        require(is_good, "a success was reported as a failure", reason=reason.name)
        require(len(bench.world.free_pfns()) == NR_FRAMES, "a frame leaked")

    return bench.scenario(finish, mover=bench.mover(pfn), owner=letting_go())


def two_movers_one_frame() -> Scenario:
    """R-7: both want it, one has it."""
    bench = Bench()
    zbud = bench.owner("zbud")
    pfn = zbud.keep("h", contents=7)

    def finish() -> None:
        first, second = bench.reasons["one"][0], bench.reasons["two"][0]
        require(min(first, second) is Reason.MOVED, "nobody moved it")
        require(bool({first, second} & LOST_IT), "both moved it")
        require(bench.world.nr_copies == 1, "it was copied twice")
        require(zbud.read("h") == 7, "the page lost its data")

    return bench.scenario(
        finish, one=bench.mover(pfn, name="one"), two=bench.mover(pfn, name="two")
    )


def gup_on_a_mapped_page() -> Scenario:
    """R-8: get_user_pages references a mapped page, pins it, writes by its pfn, and lets go."""
    bench = Bench()
    gup, world = bench.owner("gup"), bench.world
    source = world.alloc_page(contents=1)
    world.map_page(source)
    world.put_page(source)

    def mapped_at() -> int:
        return next(world.in_flight.get(pfn, pfn) for pfn, nr in enumerate(world.home) if nr)

    def dma() -> None:
        while not world.get_page(where := mapped_at()):
            stop_here(Until(lambda: mapped_at() not in world.frozen, "the page is thawed"))
        gup.place["io"] = where
        stop_here(f"references {where}")
        bench.registry.pin(where, gup, "io")
        stop_here("pins")
        while "io" in gup.quiet:
            stop_here(Until(lambda: "io" not in gup.quiet, "the mover lets go"))
        world.write(gup.place["io"], 2)
        stop_here("writes")
        gup.let_go("io")

    def finish() -> None:
        require(world.read(mapped_at()) == 2, "the write went to a frame that nobody maps")

    return bench.scenario(finish, mover=bench.mover(source), gup=in_steps(dma))


def owner_goes_away() -> Scenario:
    """R-9: an owner unregisters while the mover is about to call it, or is calling it."""
    bench = Bench()
    is_gone = False

    def called(_pin: Pin) -> None:
        stop_here("is inside isolate")
        require(not is_gone, "it was called after its unregister had returned")

    zbud, gone = bench.owner("zbud"), bench.owner("gone", strict=False, isolate=[called])
    pages = column(zbud.keep("h", contents=7), gone.keep("g"))

    def moving() -> None:
        report = move_many(bench.registry, bench.world, pages, WorldTargets(bench.world), Mode.SYNC)
        bench.reasons["mover"] = [Reason(int(reason)) for reason in report.reasons]

    def going() -> None:
        nonlocal is_gone
        gone.let_go("g")
        stop_here("lets go")
        bench.registry.unregister(gone)
        is_gone = True

    def finish() -> None:
        require(bench.reasons["mover"][0] is Reason.MOVED, "the other page did not move")

    return bench.scenario(finish, mover=in_steps(moving), owner=in_steps(going))


def owner_comes_in_again() -> Scenario:
    """R-11: a callback pins a page and lets another one go."""
    bench = Bench()

    def comes_in(_pin: Pin) -> None:
        busy.keep("new", contents=3)
        busy.let_go("old")

    busy = bench.owner("busy", isolate=[comes_in, "yes"])
    pfn = busy.keep("h", contents=7)
    busy.keep("old")

    def user() -> Actor:
        busy.keep("more")
        yield "pins one more"

    def finish() -> None:
        require(not bench.registry.is_faulty(busy), "an owner was blamed for coming in again")
        require(bench.reasons["mover"] == [Reason.MOVED], "its page did not move")
        require((busy.read("h"), busy.read("new")) == (7, 3), "data are gone")

    return bench.scenario(finish, mover=bench.mover(pfn), user=user())


def pin_in_a_batch() -> Scenario:
    """R-20: a thread allocates a page and pins it, into its batch; a mover looks at the frame."""
    bench = Bench()
    zbud = bench.owner("zbud")
    source = 0
    has_begun = was_first = False

    def pinning() -> None:
        nonlocal was_first
        zbud.keep("h", contents=7, pfn=source)
        was_first = not has_begun
        stop_here("has a page, its pin is in a batch")
        zbud.keep("i", contents=8)

    def moving() -> Actor:
        nonlocal has_begun
        has_begun = True
        yield from bench.mover(source)

    def finish() -> None:
        (reason,) = bench.reasons["mover"]
        overlooked = was_first and reason is not Reason.MOVED
        require(not overlooked, "a pin in a batch was overlooked", reason=reason.name)
        require(zbud.read("h") == 7, "the page lost its data")

    return bench.scenario(finish, user=in_steps(pinning), mover=moving())


RACES = (
    Race(
        number=1,
        title="freed while it is isolated",
        actors={"mover": "moves the page", "owner": "lets go of it; the frame gets a new user"},
        rule="A",
        make=free_while_moving,
        broken=Broken(
            "a frame that gives no reference is moved nevertheless",
            Batch.take,
            "self.reasons[going[~got]] = reasons[~got]",
            "self.taken[going] = True",
        ),
    ),
    Race(
        number=2,
        title="freed between isolation and migration",
        actors={"mover": "moves the page", "owner": "lets go of it"},
        rule="B",
        make=free_after_isolate,
        broken=Broken(
            "a page that was let go is reported as one that somebody else holds",
            Batch.put_back,
            "self.reasons[held[now_alone & ~pinned]] = Reason.FREED",
            "pass",
        ),
    ),
    Race(
        number=7,
        title="two movers, one page",
        actors={"one": "moves the page", "two": "moves it, too"},
        rule="E",
        make=two_movers_one_frame,
        broken=Broken(
            "whoever comes second at the mark goes on",
            Batch.look_up,
            "self.reasons[~self.marked] = Reason.ALREADY_ISOLATED",
            "self.marked[:] = True",
        ),
    ),
    Race(
        number=8,
        title="pinned while it is looked at",
        actors={"mover": "moves a mapped page", "gup": "references it, pins it, writes to it"},
        rule="F",
        make=gup_on_a_mapped_page,
        max_preemptions=3,
        broken=Broken(
            "a reference that no pin accounts for does not stop the move",
            _freeze,
            "batch.reasons[going[~batch.frozen[going]]] = Reason.UNACCOUNTED",
            "pass",
        ),
    ),
    Race(
        number=9,
        title="unregistered while it is called",
        actors={"mover": "calls the owner", "owner": "lets its page go and unregisters"},
        rule="G",
        make=owner_goes_away,
        broken=Broken(
            "a callback is not announced, so nobody waits for its end",
            Call.make,
            "with held:",
            "if held is not None:",
        ),
    ),
    Race(
        number=11,
        title="an owner that comes in again",
        actors={"mover": "moves the page", "user": "pins one more page of the same owner"},
        rule="I",
        make=owner_comes_in_again,
        broken=Broken(
            "the owner is called with the registry's locks held",
            Call.make,
            "self._guarded(registry, self._call)",
            "registry._nodes.run(registry._nodes.shards, self._guarded, registry, self._call)",
        ),
    ),
    Race(
        number=20,
        title="a pin that is still in a batch",
        actors={"user": "has a page and pins it", "mover": "moves it"},
        rule="Q",
        make=pin_in_a_batch,
        broken=Broken(
            "marking a frame does not store what is still in the batch",
            Nodes.run,
            "shard.drain()",
            "pass",
        ),
    ),
)
