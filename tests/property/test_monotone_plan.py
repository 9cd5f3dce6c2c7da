"""Under `plan`, one owner more with a callback never costs any consumer anything.

And what is planned happens, which is where the proof meets the executor.  Why, and where it
ends: docs/explanation/planner.md.
"""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mm.state.pageblock import MigrateType
from pinlab.differential.requests import gigantic
from tests.property.monotone import CONSUMERS, UNIT, Case, World, coverages

LENT = Case(
    (
        *("aaa....x", "aaaaa..."),
        *("aaaaaaaa", "aaaaaaaa"),
        *("aaaaaaaa", "aaaaa..."),
        *("aa......", "aaaaaaaa"),
    ),
    cma_blocks=1,
    movable=frozenset(),
    added="x",
)
"""Once x can move, the first pair is the cheapest, and isolation refuses it for its CMA block."""

SHORT = Case(
    ("aaaaaaaa", "XXXXXXX.", "aaaaa...", "aaaaa...", "aaaa....", "aaa....."),
    cma_blocks=0,
    movable=frozenset(),
    added="x",
    marks=(2, 3, 3),
)
"""Of the last pair seven must go and there are seven places, watermarks given up."""


@pytest.mark.parametrize("consumer", CONSUMERS)
@settings(max_examples=40, deadline=None)
@example(case=LENT)
@given(case=coverages())
def test_one_callback_more_never_costs_anything(consumer, case):
    without, given_one = case.obtained(consumer, "plan")
    assert given_one >= without


@pytest.mark.parametrize("consumer", CONSUMERS)
@settings(max_examples=30, deadline=None)
@given(case=coverages())
def test_scan_changes_no_byte_either(consumer, case):
    case.obtained(consumer, "scan")


# What is planned happens: the executor refuses nothing that a plan of honest owners counts on.


def drawn_of(case):
    return World(case.blocks, case.movable, cma_blocks=case.cma_blocks, marks=case.marks)


@settings(max_examples=40, deadline=None)
@example(case=LENT)
@given(case=coverages())
def test_as_many_regions_go_off_as_were_promised(case):
    world = drawn_of(case)
    world.machine.power.configure(UNIT)
    done = world.machine.power.consolidate(world.machine.design)
    assert done.nr_regions_off == done.bound == len(done.plan.spans)
    assert done.pages_moved == done.plan.nr_moves
    world.check()


@settings(max_examples=40, deadline=None)
@example(case=LENT)
@example(case=SHORT)
@given(case=coverages())
def test_as_many_gigantic_pages_as_were_promised(case):
    """The first with the watermarks kept; then without, for as long as there is room."""
    world = drawn_of(case)
    pages = gigantic(world.machine)
    kept, given_up, most = pages.plan(None).bound, pages.plan(None, reserve=0).bound, pages.bound()
    walks = [pages.alloc_planned()[0] for _ in range(most + 1)]
    nr_had = sum(walk.head >= 0 for walk in walks)
    assert kept <= given_up <= nr_had <= most
    assert [walk.head >= 0 for walk in walks] == [True] * nr_had + [False] * (most + 1 - nr_had)
    assert all(len(walk.candidates) == 1 for walk in walks[:kept])
    assert any(case.marks) or nr_had == kept
    world.check()


@settings(max_examples=40, deadline=None)
@example(case=LENT, atomic={4})
@given(case=coverages(), atomic=st.sets(st.integers(0, 9), max_size=3))
def test_a_memory_block_goes_if_and_only_if_the_verdict_says_so(case, atomic):
    world = drawn_of(case)
    for block in sorted(atomic & set(range(case.cma_blocks, len(case.blocks)))):
        world.machine.buddy.set_migratetype(block, MigrateType.HIGHATOMIC)
    hotplug, design = world.machine.hotplug, world.machine.design
    hotplug.blocks.nr_pages = UNIT
    for block in range(len(case.blocks) // 2):
        verdict = hotplug.verdict(block, design)
        result = hotplug.offline(block, design)
        assert bool(result) == bool(verdict)
        assert not verdict or result.report.pages_moved == verdict.nr_moves
    world.check()
