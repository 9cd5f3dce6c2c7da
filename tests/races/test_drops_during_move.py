"""Mappings, references and pins that go at any callback of a move.

Actors: an owner's or a device's callback; the process that maps the page.
Bad:    a page that is still held loses its flags, its place on the LRU or its bytes, or is
        freed; one that nobody holds stays.
Rule:   one pair takes and drops references for everybody, and knows frozen counts and the two
        names of a frame (`mm.state.page_ref`).
"""

import pytest

from owners.gup.flags import Foll
from tests.races.drops import ENDINGS, Bench, events_of

ASKED = {
    "moves": {"isolate", "references", "migrate"},
    "partner is busy": {"isolate"},
    "partner raises": {"isolate", "references", "migrate", "putback"},
    "partner is interrupted": {"isolate", "references", "migrate", "putback"},
    "no target": {"isolate", "putback"},
}
DEVICES = {"quiesce", "resume"}


def without_a_move(event, kind, ending="moves", **build):
    """What must come of it."""
    bench = Bench(kind, ending, **build)
    event(bench)
    if build.get("releasing"):
        bench.give_up()
    bench.machine.check()
    state = bench.state()
    bench.finish()
    return state


def callbacks_of(kind, ending, **build):
    """The callbacks of a move at which nothing happens, in order."""
    bench = Bench(kind, ending, **build)
    bench.move()
    bench.finish()
    return bench.log


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    ("kind", "flags", "partner_first"),
    [
        ("lru", Foll.PIN, False),
        ("lru", Foll.PIN, True),
        ("lru", Foll.GET, False),
        ("cached", Foll.PIN, True),
        ("plain", Foll.PIN, False),
        ("plain", Foll.PIN, True),
    ],
)
def test_the_page_is_as_without_a_move(kind, flags, ending, partner_first):
    build = {"partner_first": partner_first, "flags": flags}
    callbacks = callbacks_of(kind, ending, **build)
    assert set(callbacks) - DEVICES >= ASKED[ending] - ({"putback"} if partner_first else set())
    for event in events_of(kind):
        expected = without_a_move(event, kind, **build)
        for number, where in enumerate(callbacks):
            bench = Bench(kind, ending, **build)
            bench.when, bench.event = number, event
            bench.move()
            assert len(bench.log) > number
            assert bench.state() == expected, (event.__name__, number, where)
            bench.finish()


@pytest.mark.parametrize("ending", ["moves", "partner is busy"])
@pytest.mark.parametrize("kind", ["mapped", "plain"])
def test_a_page_that_is_asked_for_is_as_if_its_owners_had_given_it_up_unasked(kind, ending):
    callbacks = callbacks_of(kind, ending, releasing=True)
    assert callbacks[0] == "release"
    for event in events_of(kind):
        expected = without_a_move(event, kind, ending, releasing=True)
        for number in range(len(callbacks)):
            bench = Bench(kind, ending, releasing=True)
            bench.when, bench.event = number, event
            bench.move()
            assert bench.state() == expected, (event.__name__, number)
            bench.finish()
