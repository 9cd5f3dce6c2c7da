"""What a move gives back, others may have at once: nobody meets it half given.

Actors: a mover that stops before every call of the registry, the memory and the targets; an
        allocator that takes each frame as soon as it is free, and pins it; a second mover.
Bad:    the allocator is told Again for a frame that is its own; the second mover is handed a
        target that is still under the first one's move.
Rule:   the mark goes first, the frame second; a target under another move is not ours yet.
"""

import numpy as np
import pytest

from pinpage.migrate import move_many
from pinpage.move.release import release_many
from pinpage.owner import Mode, Reason, Verdict
from pinpage.testing.explore import Until, explore
from pinpage.testing.stepping import by_calls
from pinpage.testing.world import FrameIs, WorldTargets, column
from tests.kit import inside
from tests.races.bench import Bench

GIVES_BACK = {
    "marks.begin_move",
    "marks.end_move",
    "rekey",
    "marks.rekey_many",
    "free",
    "put",
    "quarantine",
    "give_back",
    "unfreeze",
    "take",
    "still_frozen",
    "only_ours",
    "owner_counts",
}


def moving(bench, *sources, name="mover", limit=None):
    """A mover that stops before each call that gives or takes."""

    def move(registry, world, targets):
        report = move_many(registry, world, column(*sources), targets, Mode.SYNC)
        bench.reasons[name] = [Reason(int(reason)) for reason in report.reasons]

    targets = WorldTargets(bench.world, limit)
    return by_calls(move, bench.registry, bench.world, targets, names=GIVES_BACK)


def releasing(bench, *sources):
    def release(registry, world):
        reasons = release_many(registry, world, column(*sources), Mode.SYNC)
        bench.reasons["mover"] = [Reason(int(reason)) for reason in reasons]

    return by_calls(release, bench.registry, bench.world, names=GIVES_BACK)


def allocating(bench, user, pfn):
    """Has the frame as soon as it is free, pins it, and is told Yes."""
    world = bench.world
    yield Until(lambda: world.state[pfn] is FrameIs.FREE, f"{pfn} is free")
    world.alloc_page(pfn=pfn)
    verdict = bench.registry.pin(pfn, user, "new", wait=False)
    assert verdict is Verdict.YES, f"{pfn} was free and is still under move"
    user.place["new"] = pfn
    yield f"allocates and pins {pfn}"


SCRIPTS = {
    "moves": {},
    "is freed in isolate": {"isolate": [lambda pin: LETS_GO[0].let_go(pin.private)]},
    "is freed with a no": {"isolate": [lambda pin: LETS_GO[0].let_go(pin.private) or "busy"]},
    "is freed in migrate": {"migrate": [lambda pin: LETS_GO[0].let_go(pin.private)]},
    "is given up": {"release": ["yes"]},
}
LETS_GO = [None]


def somebody_allocates(what):
    def make():
        bench = Bench(nr_frames=3)
        zbud = bench.owner("zbud", **SCRIPTS[what])
        LETS_GO[0] = zbud
        user = bench.owner("user")
        source = zbud.keep("h", contents=7)
        mover = (releasing if what == "is given up" else moving)(bench, source)
        return bench.scenario(mover=mover, allocator=allocating(bench, user, source))

    return make


@pytest.mark.parametrize("what", SCRIPTS)
def test_a_frame_that_is_free_can_be_pinned_at_once(what):
    explore(somebody_allocates(what), max_preemptions=2).require_none()


def an_unused_target_is_allocated():
    bench = Bench(nr_frames=2)
    zbud, broken, user = (
        bench.owner("zbud"),
        bench.owner("broken", migrate=["raise"]),
        bench.owner("user"),
    )
    source = zbud.keep("h", contents=7)
    broken.share("b", source)
    allocator = allocating(bench, user, 1 - source)
    return bench.scenario(mover=moving(bench, source), allocator=allocator)


def test_a_target_that_came_back_can_be_pinned_at_once():
    explore(an_unused_target_is_allocated, max_preemptions=2).require_none()


def the_freed_frame_is_the_only_target():
    """One mover gives a frame back that its owner has freed; the other needs a target."""
    bench = Bench(nr_frames=2)
    zbud, gup = bench.owner("zbud"), bench.owner("gup")
    freed, other = zbud.keep("h"), gup.keep("g", contents=5)

    def finish():
        assert gup.read("g") == 5
        assert bench.reasons["second"][0] in {Reason.MOVED, Reason.NO_TARGET}

    return bench.scenario(
        finish,
        first=moving(bench, freed, name="first"),
        owner=bench.letting_go(zbud, "h"),
        second=moving(bench, other, name="second"),
    )


def test_a_target_under_another_move_is_left_alone():
    explore(the_freed_frame_is_the_only_target, max_preemptions=2).require_none()


def an_owner_lets_go_at_any_call():
    bench = Bench(nr_frames=4)
    zbud, gup = bench.owner("zbud"), bench.owner("gup")
    source = zbud.keep("h", contents=7)
    gup.share("g", source)

    def finish():
        assert zbud.read("h") == 7

    return bench.scenario(finish, mover=moving(bench, source), owner=bench.letting_go(gup, "g"))


def the_only_owner_lets_go_at_any_call():
    bench = Bench(nr_frames=4)
    zbud = bench.owner("zbud")
    source = zbud.keep("h", contents=7)

    def finish():
        assert len(bench.world.free_pfns()) == 4

    return bench.scenario(finish, mover=moving(bench, source), owner=bench.letting_go(zbud, "h"))


@pytest.mark.parametrize("make", [an_owner_lets_go_at_any_call, the_only_owner_lets_go_at_any_call])
def test_letting_go_inside_a_step_is_as_good_as_between_two(make):
    explore(make, max_preemptions=2).require_none()


def test_a_mark_that_ends_takes_its_name_along():
    """The name goes before the mark: the next move may give the frame another one."""
    bench = Bench()
    registry = bench.registry
    zbud = bench.owner("zbud")
    source, target = zbud.keep("h"), 3
    registry.marks.begin_move(column(source, target))
    registry.marks.forward_many(column(source), column(target))
    shard = inside.nodes(registry).shard_of(target)
    seen = []

    class Watched(dict):
        def pop(self, target, *default):
            seen.append(target in shard.moving)
            return super().pop(target, *default)

    registry.marks.source_of = Watched({target: source})
    registry.marks.end_move(np.array([target]))
    assert seen == [True]
    registry.marks.end_move(column(source))
