"""R-20: pins and unpins that are still in some thread's batch when a mover looks.

Actors: owners that pin and unpin in other threads, without filling a batch; a mover.
Bad:    the pin is invisible and the frame moves unasked (or counts as nobody's); the pin is
        stale and the owner is called about a page that it has let go.
Rule:   marking frames drains the batches first; an unpin is never delayed.
"""

import threading

import pytest

from pinpage.migrate import move_many
from pinpage.move.release import release_many
from pinpage.owner import Mode, Reason
from pinpage.testing.explore import explore
from pinpage.testing.world import WorldTargets, column
from tests.races.bench import Bench


def in_another_thread(action):
    """Run to the end in a thread of its own, and so through a batch of its own."""
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    thread.join(timeout=10)
    assert not thread.is_alive()


def test_a_pin_in_the_batch_of_another_thread_is_asked():
    bench = Bench()
    zbud = bench.owner("zbud")
    in_another_thread(lambda: zbud.keep("h", contents=7))
    assert bench.registry.statistics().nr_drained == 0, "the pin must still be in its batch"
    source = zbud.place["h"]
    for _ in bench.mover(source):
        pass
    assert bench.reasons["mover"] == [Reason.MOVED]
    assert zbud.place["h"] != source
    bench.at_rest()


def test_a_second_pin_in_a_batch_is_asked_too():
    """One pin is stored, the other is not: who asks only the first one loses the second."""
    bench = Bench()
    zbud, gup = bench.owner("zbud"), bench.owner("gup", isolate=["busy"])
    source = zbud.keep("h")
    bench.registry.flush()
    in_another_thread(lambda: gup.share("io", source))
    for _ in bench.mover(source):
        pass
    assert bench.reasons["mover"] == [Reason.PARTNER_REFUSED]


def test_an_unpin_in_a_batch_is_not_forgotten():
    bench = Bench()
    zbud = bench.owner("zbud")
    source = zbud.keep("h")
    bench.registry.flush()
    in_another_thread(lambda: zbud.let_go("h"))
    for _ in bench.mover(source):
        pass
    assert bench.reasons["mover"] == [Reason.NO_OWNER]
    assert zbud.log == []


@pytest.mark.parametrize("how", ["move", "release"])
def test_a_batch_that_moves_and_batches_that_fill(how):
    bench = Bench(nr_frames=64)
    zbud = bench.owner("zbud", release=["yes"])
    in_another_thread(lambda: [zbud.keep(n, contents=n) for n in range(20)])
    sources = column(*zbud.place.values())
    if how == "move":
        report = move_many(
            bench.registry, bench.world, sources, WorldTargets(bench.world), Mode.SYNC
        )
        assert report.counts() == {Reason.MOVED: 20}
        assert [zbud.read(n) for n in range(20)] == list(range(20))
    else:
        reasons = release_many(bench.registry, bench.world, sources, Mode.SYNC)
        assert set(reasons.tolist()) == {Reason.RELEASED}
    bench.at_rest()


def pin_and_unpin_while_moving():
    """Annihilation in the batch while a mover comes by."""
    bench = Bench()
    zbud, gup = bench.owner("zbud"), bench.owner("gup")
    source = zbud.keep("h", contents=7)

    def user():
        other = gup.keep("io")
        yield f"pins {other}"
        gup.let_go("io")
        yield "unpins"
        gup.keep("again")

    return bench.scenario(mover=bench.mover(source), user=user())


def test_pins_that_come_and_go_in_the_batch_disturb_nobody():
    explore(pin_and_unpin_while_moving).require_none()
