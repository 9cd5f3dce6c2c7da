"""R-1: an owner frees its page while a mover is about to take it.

Actors: a mover; an owner that lets go of its page; whoever gets the frame next.
Bad:    the mover takes a reference of a page that has none (and frees it twice), calls the
        owner about a page that is gone, or calls it about somebody else's page.
Rule:   take is get-unless-zero and tells; every callback follows a fresh look at the pins.
"""

from pinlab.races.catalog import race_named
from pinlab.races.race import run_sound
from pinpage.owner import Reason
from pinpage.testing.explore import explore
from tests.races.bench import Bench


def free_while_moving():
    bench = Bench()
    zbud = bench.owner("zbud")
    pfn = zbud.keep("h", contents=7)
    return bench.scenario(mover=bench.mover(pfn), owner=bench.letting_go(zbud, "h"))


def free_while_several_owners_are_asked():
    bench = Bench()
    first, second = bench.owner("first"), bench.owner("second")
    pfn = first.keep("f", contents=7)
    second.share("s", pfn)

    def finish():
        assert second.read("s") == 7
        assert bench.world.refcount[second.place["s"]] == 1

    return bench.scenario(finish, mover=bench.mover(pfn), first=bench.letting_go(first, "f"))


def test_nobody_is_called_about_a_page_that_is_gone():
    explore(free_while_moving).require_none()


def test_a_partner_that_lets_go_is_left_out_and_the_other_keeps_its_page():
    explore(free_while_several_owners_are_asked).require_none()


def test_a_frame_that_was_reused_is_not_moved_for_its_new_user():
    run_sound(race_named("R-1")).require_none()


def test_a_page_freed_before_it_is_taken_was_raced():
    bench = Bench()
    zbud = bench.owner("zbud")
    pfn = zbud.keep("h")
    mover = bench.mover(pfn)
    next(mover)
    zbud.let_go("h")
    for _ in mover:
        pass
    assert bench.reasons == {"mover": [Reason.RACED_FREE]}
