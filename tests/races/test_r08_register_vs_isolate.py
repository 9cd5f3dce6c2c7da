"""R-8: an owner takes a frame and registers it while a mover looks.

Actors: a mover; GUP, which references a mapped page, pins it, writes through its pfn, and
        lets go; an owner whose frame is allocated and not pinned yet.
Bad:    the mover takes the frame for one that nobody else holds: the writes go to the old
        frame; or a frame that nobody knows counts as moved.
Rule:   a reference that no pin accounts for stops the move; a pin is waited for or parked.
"""

from pinpage.owner import Reason
from pinpage.testing.explore import Until, explore
from tests.races.bench import Bench


def gup_on_a_mapped_page():
    bench = Bench()
    gup = bench.owner("gup")
    world = bench.world
    source = world.alloc_page(contents=1)
    world.map_page(source)
    world.put_page(source)

    def dma():
        while True:
            where = mapped_at()
            if world.get_page(where):  # GUP-fast: reference, then see whether it is still there
                break
            yield Until(lambda where=where: where not in world.frozen, "the page is thawed")
        yield f"references {where}"
        gup.place["io"] = where
        while bench.registry.pin(where, gup, "io", wait=False):
            yield bench.until_unmarked(where)
        yield "pins"
        while "io" in gup.quiet:
            yield Until(lambda: "io" not in gup.quiet, "the mover lets go")
        world.write(gup.place["io"], 2)
        yield "writes"
        gup.let_go("io")

    def mapped_at():
        return next(world.in_flight.get(pfn, pfn) for pfn, nr in enumerate(world.home) if nr)

    def finish():
        assert world.read(mapped_at()) == 2, "the write went to a frame that nobody maps"

    return bench.scenario(finish, mover=bench.mover(source), gup=dma())


def allocated_and_not_pinned_yet():
    bench = Bench()
    zbud = bench.owner("zbud")
    pfn = bench.world.alloc_page(contents=7)
    zbud.place["h"] = pfn

    def registering():
        yield "looks busy"
        while bench.registry.pin(pfn, zbud, "h", wait=False):
            yield bench.until_unmarked(pfn)
        yield "pins"

    def finish():
        (reason,) = bench.reasons["mover"]
        moved = reason is Reason.MOVED
        assert moved or reason in {Reason.NO_OWNER, Reason.UNACCOUNTED}
        assert moved == (zbud.place["h"] != pfn), "moved without asking"
        assert zbud.read("h") == 7

    return bench.scenario(finish, mover=bench.mover(pfn), owner=registering())


def test_no_write_through_a_reference_is_lost():
    explore(gup_on_a_mapped_page, max_preemptions=3).require_none()


def test_a_frame_that_nobody_knows_is_never_moved():
    explore(allocated_and_not_pinned_yet, max_preemptions=3).require_none()
