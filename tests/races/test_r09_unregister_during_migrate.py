"""R-9: an owner unregisters and goes away while the mover is about to call it, or is calling it.

Actors: a mover; an owner that lets go of its page and unregisters, between any two steps;
        real threads, where the mover is inside the callback.
Bad:    the mover calls through an owner that is gone.
Rule:   every callback follows a fresh look and is announced; unregister returns only after
        the callbacks in flight have ended.
"""

import threading

import pytest

from pinpage.migrate import move_many
from pinpage.move.release import release_many
from pinpage.owner import Mode, Reason
from pinpage.testing.explore import explore
from pinpage.testing.world import WorldTargets, column
from tests.races.bench import Bench


def owner_goes_away():
    bench = Bench()
    zbud, gone = bench.owner("zbud"), bench.owner("gone")
    pages = [zbud.keep("h", contents=7), gone.keep("g")]

    def going():
        gone.let_go("g")
        yield "lets go"
        bench.registry.unregister(gone)
        nr_calls = len(gone.log)
        yield "unregisters"
        assert len(gone.log) == nr_calls, "called after it was unregistered"

    def finish():
        assert bench.reasons["mover"][0] is Reason.MOVED

    return bench.scenario(finish, mover=bench.mover(*pages), owner=going())


def test_an_owner_that_has_gone_is_not_called():
    explore(owner_goes_away).require_none()


@pytest.mark.parametrize("callback", ["isolate", "migrate", "putback", "release"])
def test_unregister_waits_for_the_callback_in_flight(callback):
    bench = Bench()
    inside, leave, unregistered = (threading.Event() for _ in range(3))
    order = []

    def stay_inside(pin):
        inside.set()
        assert leave.wait(timeout=10)
        order.append("callback ends")

    script = {callback: [stay_inside]}
    zbud = bench.owner("zbud", strict=False, **script)
    pfn = zbud.keep("h")
    if callback == "putback":
        bench.world.get_page(pfn)  # so that the freeze fails

    def move():
        if callback == "release":
            release_many(bench.registry, bench.world, column(pfn), Mode.SYNC)
        else:
            move_many(
                bench.registry, bench.world, column(pfn), WorldTargets(bench.world), Mode.SYNC
            )

    def unregister():
        bench.registry.unregister(zbud, force=True)
        order.append("unregister returns")
        unregistered.set()

    mover = threading.Thread(target=move, daemon=True)
    mover.start()
    assert inside.wait(timeout=10)
    leaver = threading.Thread(target=unregister, daemon=True)
    leaver.start()
    while zbud in bench.registry.owners:  # it has begun to leave, and may not be done
        assert leaver.is_alive()
    assert not unregistered.wait(timeout=0.05), "it did not wait for its callback"
    leave.set()
    for thread in (mover, leaver):
        thread.join(timeout=10)
        assert not thread.is_alive()
    assert order == ["callback ends", "unregister returns"]
