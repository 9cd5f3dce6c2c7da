"""R-29: an owner pins a frame between its isolate and its freeze.

Actors: a mover; an owner that joins; the one that was there; real threads.
Bad:    the newcomer's pin stays on the old frame, which is freed.
Rule:   a frame under move parks new pins: they wait, or are told Again; and a pin that is
        there nevertheless stops its frame.
"""

import threading

import numpy as np

from pinlab.races.catalog import race_named
from pinlab.races.race import run_sound
from pinpage.migrate import move_steps
from pinpage.move.steps import Step
from pinpage.owner import Mode, Reason, Verdict
from pinpage.testing.world import WorldTargets, column
from tests.races.bench import Bench


def test_whoever_joins_is_not_left_behind():
    run_sound(race_named("R-29")).require_none()


def moving(bench, source, until):
    """A move of one frame, stopped after its step `until`."""
    steps = move_steps(
        bench.registry, bench.world, column(source), WorldTargets(bench.world), Mode.SYNC
    )
    while next(steps) is not until:
        pass
    return steps


def finish(steps):
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return Reason(int(end.value.reasons[0]))


def test_a_pin_inside_the_movers_own_thread_is_told_again():
    bench = Bench()
    zbud, gup = bench.owner("zbud"), bench.owner("gup")
    source = zbud.keep("h")
    for step in (Step.LOOKUP, Step.ISOLATE, Step.COPY, Step.MIGRATE):
        steps = moving(bench, source, step)
        assert bench.registry.pin(source, gup, "io") is Verdict.AGAIN
        steps.close()
    assert bench.registry.pin(source, gup, "io") is Verdict.YES


def test_a_target_cannot_be_pinned_before_it_is_whole():
    bench = Bench()
    zbud, gup = bench.owner("zbud"), bench.owner("gup")
    steps = moving(bench, zbud.keep("h"), Step.TARGET)
    target = max(pfn for pfn, state in enumerate(bench.world.state) if state.value == "target")
    assert bench.registry.pin(target, gup, "io", wait=False) is Verdict.AGAIN
    assert finish(steps) is Reason.MOVED
    assert zbud.place["h"] == target


def test_a_pin_that_is_there_nevertheless_stops_its_frame(monkeypatch):
    """A registry that forgot to park: the look before the freeze finds the newcomer."""
    bench = Bench()
    zbud, gup = bench.owner("zbud"), bench.owner("gup")
    source = zbud.keep("h")
    steps = moving(bench, source, Step.ISOLATE)
    bench.registry.marks.end_move(column(source))
    gup.share("io", source)
    assert bench.registry.marks.begin_move(column(source)).all()
    assert finish(steps) is Reason.OWNER_AGAIN
    bench.at_rest()


def test_a_pin_by_another_thread_waits_for_the_end_of_the_move():
    bench = Bench()
    zbud, gup = bench.owner("zbud"), bench.owner("gup")
    source = zbud.keep("h", contents=7)
    bench.world.get_page(source)
    started = threading.Event()
    verdicts = []

    def join():
        started.set()
        verdicts.append(bench.registry.pin(source, gup, "io", wait=True))

    steps = moving(bench, source, Step.ISOLATE)
    newcomer = threading.Thread(target=join, daemon=True)
    newcomer.start()
    assert started.wait(timeout=10)
    while not bench.registry.statistics().nr_waits:
        assert newcomer.is_alive(), "it did not wait"
    assert bench.registry.owner_counts(column(source)).tolist() == [1]
    assert finish(steps) is Reason.UNACCOUNTED
    newcomer.join(timeout=10)
    assert verdicts == [Verdict.YES]
    assert bench.registry.owner_counts(np.array([source])).tolist() == [2]
