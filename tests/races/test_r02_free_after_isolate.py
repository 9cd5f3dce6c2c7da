"""R-2: the owner frees its page after it was isolated, before it is migrated.

Actors: a mover; an owner that lets go at any point of the move, in one go or in two.
Bad:    garbage is migrated, a success is reported as a failure, or the frame leaks.
Rule:   a frame that only the mover holds is a success; its target goes back.
"""

import pytest

from pinlab.races.catalog import race_named
from pinlab.races.race import run_sound
from pinpage.move.steps import Step
from pinpage.owner import Reason
from pinpage.testing.explore import explore
from tests.races.bench import NR_FRAMES, Bench

SUCCESS = {Reason.MOVED, Reason.FREED}
NEVER_HAD_IT = {Reason.RACED_FREE, Reason.NO_OWNER}


def free_in_two_steps():
    """Between unpin and drop the reference is nobody's: the mover may say so, and must not move."""
    bench = Bench()
    zbud = bench.owner("zbud")
    pages = [zbud.keep(i, contents=i) for i in range(2)]

    def finish():
        freed, stays = bench.reasons["mover"]
        assert freed in SUCCESS | NEVER_HAD_IT | {Reason.UNACCOUNTED}
        assert stays is Reason.MOVED, "the other frame of the batch must not suffer"
        assert zbud.read(1) == 1
        assert len(bench.world.free_pfns()) == NR_FRAMES - 1, "a frame leaked"

    return bench.scenario(finish, mover=bench.mover(*pages), owner=bench.letting_go(zbud, 0))


@pytest.mark.parametrize("callback", ["isolate", "migrate"])
def test_letting_go_inside_a_callback_is_a_success(callback):
    bench = Bench()
    zbud = bench.owner("zbud", **{callback: [lambda pin: zbud.let_go(pin.private)]})
    for _ in bench.mover(zbud.keep("h")):
        bench.world.check()
    bench.at_rest()
    assert bench.reasons == {"mover": [Reason.FREED]}


def test_freed_in_one_go_is_a_success_at_every_step():
    run_sound(race_named("R-2")).require_none()


def test_freed_in_two_steps_never_leaks_and_never_moves_garbage():
    explore(free_in_two_steps).require_none()


def test_what_was_freed_before_the_freeze_is_not_copied():
    bench = Bench()
    zbud = bench.owner("zbud")
    mover = bench.mover(zbud.keep("h"))
    while next(mover) is not Step.TARGET:
        pass
    zbud.let_go("h")
    for _ in mover:
        pass
    assert (bench.reasons["mover"], bench.world.nr_copies) == ([Reason.FREED], 0)
