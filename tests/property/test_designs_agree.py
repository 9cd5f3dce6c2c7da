"""One memory under every design: what must be equal, and what must not be worse.

The machines are small and real: a process writes pages, some are swapped out into zswap and
so into zbud, some are dropped, and kernel pages stand between them.  Nothing is read back
before the comparison: a page in memory whose compressed copy stays behind would make unuse
give memory back.
"""

import hypothesis.strategies as st
import pytest
from hypothesis import example, given, settings

from mm.move.design import RegistryDesign, Unmovable
from mm.state.frames import FrameState
from owners.zbud.reclaim import ZbudReclaim
from pinlab.differential.compare import Contender
from pinlab.differential.recipe import Recipe
from pinpage.owner import Mode


def of_the_registry(world):
    return RegistryDesign(world.registry, world.machine.mover)


def reclaiming(world):
    return ZbudReclaim(world.machine, world.pools)


KINDS = {
    "unmovable": Contender(lambda world: Unmovable(), movable=(), registered=False),
    "zbud-reclaim": Contender(reclaiming, movable=(), registered=False),
    "registry:migrate": Contender(of_the_registry, movable=()),
    "registry:unuse": Contender(of_the_registry, movable=(), zbud="unuse"),
    "registry:none": Contender(of_the_registry, movable=(), zbud="none"),
    "registry:migrate+slab": Contender(of_the_registry, movable=("slab",)),
}
RUNS = [(kind, strategy) for kind in KINDS for strategy in ("scan", "plan")]


def build(recipe, kind):
    return KINDS[kind].world(recipe)


def require_whole(world):
    world.check()
    assert (world.lost(), world.missing()) == (None, None)


CROWDED = Recipe(seed=12, nr_blocks=14, nr_pages=160, nr_kernel=4, drop=0.5)
RECIPES = st.builds(
    Recipe,
    seed=st.integers(0, 2**16),
    nr_blocks=st.integers(6, 14),
    nr_pages=st.integers(40, 160),
    nr_kernel=st.integers(0, 12),
    drop=st.sampled_from((0.3, 0.6, 0.8)),
)


@given(recipe=RECIPES)
@example(recipe=CROWDED)
@settings(max_examples=12, deadline=None)
def test_contents_and_frames_survive_every_design(recipe):
    before = build(recipe, "unmovable")
    for kind, strategy in RUNS:
        world = build(recipe, kind)
        require_whole(world)
        assert world.differs_from(before) is None  # the design has not acted yet
        nr_used = world.nr(FrameState.USED)
        report = world.machine.compact(strategy).report
        require_whole(world)
        if report.pages_released == 0 and "reclaim" not in kind and "unuse" not in kind:
            assert world.nr(FrameState.USED) == nr_used


@given(recipe=RECIPES, mode=st.sampled_from(Mode), strategy=st.sampled_from(("scan", "plan")))
@example(recipe=CROWDED, mode=Mode.SYNC, strategy="scan")
@settings(max_examples=25, deadline=None)
def test_the_registry_with_unuse_is_zbud_reclaim_frame_by_frame(recipe, mode, strategy):
    specific, generic = (build(recipe, kind) for kind in ("zbud-reclaim", "registry:unuse"))
    reports = [world.machine.compact(strategy, mode).report for world in (specific, generic)]
    assert specific.differs_from(generic) is None
    assert specific.zswap.counters == generic.zswap.counters
    one, two = reports
    assert (one.pages_moved, one.pages_released) == (two.pages_moved, two.pages_released)
    assert one.pages_scanned_free == two.pages_scanned_free
    require_whole(specific)
    require_whole(generic)


@given(recipe=RECIPES)
@example(recipe=CROWDED)
@settings(max_examples=25, deadline=None)
def test_planning_with_zbud_movable_is_never_behind_zbud_reclaim_and_grows_nothing(recipe):
    planned = build(recipe, "registry:migrate")
    nr_used = planned.nr(FrameState.USED)
    planned.machine.compact("plan")
    assert planned.nr(FrameState.USED) == nr_used
    assert planned.zswap.counters.unused_pages == 0
    require_whole(planned)
    for strategy in ("scan", "plan"):
        reclaimed = build(recipe, "zbud-reclaim")
        reclaimed.machine.compact(strategy)
        assert reclaimed.nr_wholly_free <= planned.nr_wholly_free


@pytest.mark.parametrize("kind", KINDS)
def test_the_worlds_are_worth_comparing(kind):
    """There is zbud in them, under unuse pages come back, and zbud pages do move."""
    world = build(CROWDED, kind)
    nr_zbud = world.zswap.pools[0].pages_nr
    assert nr_zbud >= 8
    assert len(world.space.swapped()) > nr_zbud
    used = world.nr(FrameState.USED)
    homes = world.zswap.pools[0].pages.pfn.copy()
    world.machine.compact("scan")
    unused = world.zswap.counters.unused_pages
    assert (unused > 0) == (kind in ("zbud-reclaim", "registry:unuse"))
    assert (world.nr(FrameState.USED) > used) == (unused > 0)
    moved = (world.zswap.pools[0].pages.pfn != homes).any()
    assert moved == (unused > 0 or "migrate" in kind)


@given(recipe=RECIPES)
@example(recipe=CROWDED)
@settings(max_examples=4, deadline=None)
def test_a_difference_is_found_wherever_it_is(recipe):
    """What `differs_from` compares is all that there is; one place each is enough."""
    ours, theirs = (build(recipe, "registry:none") for _ in range(2))
    assert ours.differs_from(theirs) is None
    pfn = int(theirs.used()[-1])
    theirs.machine.frames.mapcount[pfn] += 1
    assert ours.differs_from(theirs) == f"mapcount {pfn:#x} differs"
    theirs.machine.frames.mapcount[pfn] -= 1
    theirs.machine.contents.write(pfn, b"another", 4000)
    assert ours.differs_from(theirs).startswith("contents of used frame")
