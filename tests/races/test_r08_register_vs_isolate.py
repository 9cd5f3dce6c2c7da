"""R-8: an owner takes a frame and registers it while a mover looks.

Actors: a mover; GUP, which references a mapped page, pins it, writes through its pfn, and
        lets go; an owner whose frame is allocated and not pinned yet.
Bad:    the mover takes the frame for one that nobody else holds: the writes go to the old
        frame; or a frame that nobody knows counts as moved.
Rule:   a reference that no pin accounts for stops the move; a pin is waited for or parked.
"""

from pinlab.races.catalog import race_named
from pinlab.races.race import LOCKING, run_sound
from pinpage.owner import Reason
from pinpage.testing.explore import explore
from pinpage.testing.stepping import in_steps, stop_here, with_stepped_locks
from tests.races.bench import Bench


def allocated_and_not_pinned_yet():
    bench = Bench()
    zbud = bench.owner("zbud")
    pfn = bench.world.alloc_page(contents=7)
    zbud.place["h"] = pfn

    def registering():
        stop_here("looks busy")
        while bench.registry.pin(pfn, zbud, "h"):
            stop_here("is told Again")

    def finish():
        (reason,) = bench.reasons["mover"]
        moved = reason is Reason.MOVED
        assert moved or reason in {Reason.NO_OWNER, Reason.UNACCOUNTED}
        assert moved == (zbud.place["h"] != pfn), "moved without asking"
        assert zbud.read("h") == 7

    return bench.scenario(finish, mover=bench.mover(pfn), owner=in_steps(registering))


def test_no_write_through_a_reference_is_lost():
    run_sound(race_named("R-8")).require_none()


def test_a_frame_that_nobody_knows_is_never_moved():
    with with_stepped_locks(*LOCKING):
        explore(allocated_and_not_pinned_yet, max_preemptions=3).require_none()
