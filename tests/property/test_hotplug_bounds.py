"""No order of attempts, failed ones included, takes more memory blocks than the bound says.

An attempt by scan that fails leaves what has moved where it is: room that was nobody's comes to
be somebody's.  And marks change as memory goes: min watermarks are shared out anew, and a zone
reserves less against zones above it that shrink.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm.state.nodes import setup_watermarks
from tests.kit.mm.whole_machines import Layout, blocks_of, goes, layouts, whole_of

FULL = "aaaaaaaa"
TWO = (("Normal", 0), ("Normal", 1))
BELOW = (("Normal", 0), ("Movable", 0))


def machine_of(layout, size, marks=()):
    """Memory blocks of `size` pageblocks, and min watermarks: one for each zone, or in all."""
    machine = whole_of(layout, size)
    if isinstance(marks, int):
        setup_watermarks(machine.zones, min_nr_pages=marks)
    for zone, mark in zip(machine.zones, marks if isinstance(marks, tuple) else (), strict=False):
        zone.min = zone.low = zone.high = zone.promo = mark
    return machine


def bound_and_named(machine):
    plan = machine.hotplug.cheapest(machine.design, want=None)
    return plan.bound, blocks_of(machine, plan)


@st.composite
def attempts(draw):
    """A layout, marks, and attempts at its blocks."""
    size = draw(st.integers(1, 2))
    layout = draw(layouts().filter(lambda made: len(made.blocks) % size == 0))
    nr_zones, nr_blocks = len(layout.zones), len(layout.blocks) // size
    each = st.lists(st.integers(0, 3), min_size=nr_zones, max_size=nr_zones).map(tuple)
    marks = draw(st.one_of(st.just(()), st.integers(1, 8), each))
    one = st.tuples(st.integers(0, nr_blocks - 1), st.sampled_from(["scan", "plan"]))
    return layout, size, marks, draw(st.lists(one, min_size=1, max_size=3 * nr_blocks))


@settings(max_examples=120, deadline=None)
@given(attempts())
def test_no_attempts_take_more_than_the_bound(asked):
    layout, size, marks, tried = asked
    machine = machine_of(layout, size, marks)
    bound, named = bound_and_named(machine)
    gone = set()
    for block, strategy in tried:
        if block not in gone and goes(machine, block, strategy):
            gone.add(block)
    machine.check()
    assert len(gone) <= bound
    machine = machine_of(layout, size, marks)
    assert [block for block in named if goes(machine, block, "plan")] == named


@pytest.mark.parametrize(
    ("blocks", "size", "zone_of", "zones", "marks", "order"),
    [
        # What is in use moves up to ZONE_MOVABLE, and kernel memory has a pageblock more.
        (
            ("HHHHHHHH", "PPPPPPPP", "aaaa....", "........", "........", "PPPPPPPP"),
            2, (0, 0, 0, 0, 1, 1), BELOW, (), (1, 0, 1),
        ),
        # It could not before somebody had left ZONE_MOVABLE.
        (
            ("aaac....", "........", "acaaca..", "a.c.a.xa", "HHHHHHHH", "PPPPP..."),
            2, (0, 0, 1, 1, 2, 2), (*BELOW, ("Normal", 1)), 4, (2, 1, 0),
        ),
        # A block's own free frames stand for its zone's mark while others fill the rest.
        (("PPPP....", "aaaa....", "aaaaaaaP", "PPPP...."), 1, (0, 0, 1, 1), TWO, 6, (1, 2, 1)),
    ],
)  # fmt: skip
def test_attempts_that_fail_make_room(blocks, size, zone_of, zones, marks, order):
    machine = machine_of(Layout(blocks, zone_of, zones, movable=False), size, marks)
    bound, _ = bound_and_named(machine)
    done = [goes(machine, block, "scan") for block in order]
    assert not done[0]
    assert sum(done) == bound == 1


_SHARES = (*(("Normal", node) for node in range(4)), ("Normal", 4))


@pytest.mark.parametrize(
    ("blocks", "zone_of", "zones", "marks"),
    [
        # Each share was rounded down: 0.97 pages were none, and are one when there is less memory.
        (
            ("PP......",) * 4 + ("aaaaaaaa",) * 3 + ("PPPPPPPP",) * 26,
            (0, 1, 2, 3) + (4,) * 29, _SHARES, 32,
        ),
        # These were no shares at all: they are once memory has changed.
        (
            ("PPPPPPP.", "........", "PPPP....", "PPPPPP..", FULL, "P.......", FULL, FULL),
            (0, 1, 1, 2, 3, 3, 3, 3), _SHARES[:4], (3, 1, 3, 0),
        ),
        (
            ("PPP.....", "P.......", "P.......", "PP......", FULL, FULL, "PPPPPPPP", FULL),
            (0, 0, 1, 2, 3, 3, 3, 3), (*_SHARES[:3], ("Movable", 2)), (6, 3, 7, 3),
        ),
    ],
)  # fmt: skip
def test_watermarks_are_shared_out_anew(blocks, zone_of, zones, marks):
    """What goes for certain goes with the new ones, and no more than the bound with any."""
    layout = Layout(blocks, zone_of, zones)
    machine = machine_of(layout, 1, marks)
    bound, named = bound_and_named(machine)
    assert [block for block in named if goes(machine, block, "plan")] == named
    tried = machine_of(layout, 1, marks)
    assert sum(goes(tried, block, "plan") for block in range(len(blocks))) <= bound
