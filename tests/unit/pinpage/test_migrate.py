"""The move protocol, outcome by outcome, on a world of a few frames."""

import numpy as np
import pytest

from pinpage.errors import PinpageError
from pinpage.migrate import move_many, move_steps
from pinpage.move.release import release_many
from pinpage.move.steps import GivenTargets, Step
from pinpage.owner import CallbackOwner, Mode, PinOwner, Reason, Verdict
from pinpage.registry import PinRegistry
from pinpage.testing.scripted import ScriptedOwner
from pinpage.testing.world import FrameIs, World, WorldTargets, column
from pinpage.topology import Topology

NR_FRAMES = 12


class Bench:
    """A world, its registry, and the move of some frames."""

    def __init__(self):
        self.world = World(NR_FRAMES)
        self.registry = PinRegistry(Topology.uniform(nr_frames=NR_FRAMES))
        self.targets = WorldTargets(self.world)

    def owner(self, name, **script):
        return ScriptedOwner(name, self.world, self.registry, **script)

    def move(self, *sources):
        report = move_many(self.registry, self.world, column(*sources), self.targets, Mode.SYNC)
        self.check()
        return report

    def move_one(self, source):
        return Reason(int(self.move(source).reasons[0]))

    def check(self):
        self.world.check()
        self.registry.check()
        assert not self.world.taken, "a frame was left taken"

    def pins(self, pfn):
        return [(pin.owner.name, pin.private) for pin in self.registry.pins(pfn)]

    def nr_free(self):
        return len(self.world.free_pfns())


class Dropping(ScriptedOwner):
    """Drops its reference in one callback, and keeps its pin."""

    def __init__(self, bench, *, when="release", answer=Verdict.YES):
        super().__init__("foo", bench.world, bench.registry, strict=False)
        self.when, self.answer = when, answer

    def _drop(self, callback, pin):
        if callback == self.when and self.place.pop(pin.private, None) is not None:
            self._world.put_page(pin.pfn)

    def isolate(self, pin, mode):
        self._drop("isolate", pin)
        return Verdict.YES

    def migrate(self, pin, target):
        self._drop("migrate", pin)
        if pin.private in self.place:
            self.place[pin.private] = target

    def putback(self, pin):
        self._drop("putback", pin)

    def release(self, pin, mode):
        self._drop("release", pin)
        return self.answer

    @property
    def can_release(self):
        return True


@pytest.fixture
def bench():
    return Bench()


def test_one_pin_moves_with_contents_reference_and_record(bench):
    zbud = bench.owner("zbud")
    source = zbud.keep("h", contents=42)
    report = bench.move(source)
    target = int(report.targets[0])
    assert report.counts() == {Reason.MOVED: 1}
    assert zbud.place["h"] == target != source
    assert zbud.read("h") == 42
    assert bench.world.refcount[target] == 1
    assert bench.pins(source) == []
    assert bench.pins(target) == [("zbud", "h")]
    assert source in bench.world.free_pfns()


def test_a_batch_of_several_owners_moves_in_few_steps(bench):
    zbud, gup = bench.owner("zbud"), bench.owner("gup")
    pages = [zbud.keep(i, contents=i) for i in range(3)] + [
        gup.keep(i, contents=9) for i in range(2)
    ]
    steps = move_steps(bench.registry, bench.world, column(*pages), bench.targets, Mode.ASYNC)
    assert list(steps) == [
        Step.LOOKUP, Step.TAKE, Step.ISOLATE, Step.ISOLATE, Step.TARGET, Step.FREEZE,
        Step.COPY, Step.MIGRATE, Step.MIGRATE, Step.REKEY, Step.FREE,
    ]  # fmt: skip
    assert [zbud.read(i) for i in range(3)] == [0, 1, 2]
    assert set(pages) <= set(bench.world.free_pfns().tolist())
    assert bench.world.nr_copies == 5


def test_owners_of_one_frame_are_asked_in_registration_order(bench):
    order = []
    first = bench.owner("first", isolate=[lambda pin: order.append("first")])
    second = bench.owner("second", isolate=[lambda pin: order.append("second")])
    pfn = second.keep("s")
    first.share("f", pfn)
    assert bench.move_one(pfn) is Reason.MOVED
    assert order == ["first", "second"]
    assert first.place["f"] == second.place["s"] != pfn
    assert bench.world.refcount[first.place["f"]] == 2


def test_two_pins_by_one_owner_move_together(bench):
    gup = bench.owner("gup")
    pfn = gup.keep("a")
    gup.share("b", pfn)
    assert bench.move_one(pfn) is Reason.MOVED
    assert gup.place["a"] == gup.place["b"] != pfn


@pytest.mark.parametrize(
    ("word", "reason"), [("again", Reason.OWNER_AGAIN), ("busy", Reason.OWNER_BUSY)]
)
def test_a_refusal_is_a_value_with_the_refusers_name(bench, word, reason):
    zbud = bench.owner("zbud", isolate=[word])
    pfn = zbud.keep("h", contents=1)
    report = bench.move(pfn)
    assert report.counts() == {reason: 1}
    assert report.targets.tolist() == [-1]
    assert (report.refusals[0].owner, report.refusals[0].reason) == ("zbud", reason)
    assert bench.pins(pfn) == [("zbud", "h")]
    assert [callback for callback, _, _ in zbud.log] == ["isolate"]


def test_a_partner_that_said_yes_is_put_back_in_reverse(bench):
    undone = []
    owners = [
        bench.owner(f"o{i}", putback=[lambda pin: undone.append(pin.owner.name)]) for i in range(2)
    ]
    refuser = bench.owner("o2", isolate=["busy"])
    pfn = owners[0].keep(0)
    owners[1].share(1, pfn)
    refuser.share(2, pfn)
    report = bench.move(pfn)
    assert report.counts() == {Reason.PARTNER_REFUSED: 1}
    assert (report.refusals[0].owner, report.refusals[0].reason) == ("o2", Reason.OWNER_BUSY)
    assert undone == ["o1", "o0"]
    assert not owners[0].quiet
    assert not owners[1].quiet


def test_a_frame_that_nobody_knows_stays(bench):
    pfn = bench.world.alloc_page()
    assert bench.move_one(pfn) is Reason.NO_OWNER


def test_a_mapped_frame_moves_without_any_pin(bench):
    pfn = bench.world.alloc_page(contents=7)
    bench.world.map_page(pfn)
    bench.world.put_page(pfn)
    report = bench.move(pfn)
    assert report.counts() == {Reason.MOVED: 1}
    assert bench.world.read(int(report.targets[0])) == 7


def test_a_mapped_frame_with_a_pin_asks_the_pinner(bench):
    gup = bench.owner("gup", isolate=["again", "yes"])
    pfn = bench.world.alloc_page()
    bench.world.map_page(pfn)
    bench.world.put_page(pfn)
    gup.share("io", pfn)
    assert bench.move_one(pfn) is Reason.OWNER_AGAIN
    assert bench.move_one(pfn) is Reason.MOVED
    assert bench.world.home[gup.place["io"]] == 1


def test_an_owner_without_a_callback_is_not_asked(bench):
    silent = PinOwner()
    bench.registry.register(silent)
    pfn = bench.world.alloc_page()
    bench.registry.pin(pfn, silent, 1)
    assert bench.move_one(pfn) is Reason.NO_CALLBACK


def test_a_reference_that_nobody_accounts_for_stops_the_move(bench):
    zbud = bench.owner("zbud")
    pfn = zbud.keep("h")
    bench.world.get_page(pfn)
    assert bench.move_one(pfn) is Reason.UNACCOUNTED
    assert not zbud.quiet
    bench.world.put_page(pfn)
    assert bench.move_one(pfn) is Reason.MOVED


def test_a_free_frame_was_raced(bench):
    zbud = bench.owner("zbud")
    bench.registry.pin(5, zbud, "stale")
    assert bench.move_one(5) is Reason.RACED_FREE


def test_too_few_targets_move_the_first_and_put_back_the_rest(bench):
    zbud = bench.owner("zbud")
    pages = [zbud.keep(i) for i in range(3)]
    report = move_many(
        bench.registry, bench.world, column(*pages), WorldTargets(bench.world, 2), Mode.SYNC
    )
    bench.check()
    assert report.counts() == {Reason.MOVED: 2, Reason.NO_TARGET: 1}
    assert not zbud.quiet


def test_unused_targets_are_given_back(bench):
    zbud = bench.owner("zbud")
    pages = [zbud.keep(i) for i in range(2)]
    bench.world.get_page(pages[1])
    before = bench.nr_free()
    assert bench.move(*pages).counts() == {Reason.MOVED: 1, Reason.UNACCOUNTED: 1}
    assert bench.nr_free() == before


@pytest.mark.parametrize("word", ["raise", "nonsense"])
def test_an_owner_that_fails_to_answer_is_faulty_and_its_frame_put_back(bench, word):
    partner, broken = bench.owner("partner"), bench.owner("broken", isolate=[word])
    pfn = partner.keep("p", contents=3)
    broken.share("b", pfn)
    report = bench.move(pfn)
    assert report.counts() == {Reason.OWNER_FAULTY: 1}
    assert report.refusals[0].owner == "broken"
    assert bench.registry.is_faulty(broken)
    assert not bench.registry.is_faulty(partner)
    assert not partner.quiet
    assert partner.read("p") == 3
    calls = len(broken.log)
    assert bench.move_one(pfn) is Reason.OWNER_FAULTY
    assert len(broken.log) == calls, "a faulty owner is not asked again"


def test_when_migrate_raises_the_others_are_migrated_back(bench):
    a, broken, c = bench.owner("a"), bench.owner("broken", migrate=["raise"]), bench.owner("c")
    pfn = a.keep("a", contents=11)
    broken.share("b", pfn)
    c.share("c", pfn)
    before = bench.nr_free()
    report = bench.move(pfn)
    assert report.counts() == {Reason.OWNER_FAULTY: 1}
    assert (a.place["a"], broken.place["b"], c.place["c"]) == (pfn, pfn, pfn)
    assert [callback for callback, _, _ in a.log] == ["isolate", "migrate", "isolate", "migrate"]
    assert [callback for callback, _, _ in c.log] == ["isolate", "putback"]
    assert not (a.quiet)
    assert not (broken.quiet)
    assert not (c.quiet)
    assert bench.nr_free() == before
    assert a.read("a") == 11


def test_what_the_first_owner_wrote_at_the_target_survives_the_undo(bench):
    a = bench.owner("a")
    bench.owner("broken", migrate=["raise"]).share("b", pfn := a.keep("a", contents=1))
    steps = move_steps(bench.registry, bench.world, column(pfn), bench.targets, Mode.SYNC)
    while next(steps) is not Step.MIGRATE:
        pass
    a.write("a", 2)
    for _ in steps:
        pass
    bench.check()
    assert a.place["a"] == pfn
    assert a.read("a") == 2


def test_pages_moved_before_the_raise_stay_moved(bench):
    zbud = bench.owner("zbud", migrate=["yes", "raise"])
    pages = [zbud.keep(i, contents=i) for i in range(3)]
    assert bench.move(*pages).counts() == {Reason.MOVED: 1, Reason.OWNER_FAULTY: 2}
    assert [zbud.read(i) for i in range(3)] == [0, 1, 2]
    assert not zbud.quiet


def test_a_target_that_a_broken_owner_may_use_is_never_handed_out(bench):
    broken = bench.owner("broken", migrate=["raise"], putback=["raise"])
    pfn = broken.keep("b")
    bench.move(pfn)
    assert len(bench.world.quarantined_pfns()) == 1
    assert bench.world.state[pfn].value == "used"


def test_a_liar_is_faulty_and_its_source_quarantined(bench):
    honest, liar = bench.owner("honest"), bench.owner("liar", migrate=["lie"])
    pfn = honest.keep("h", contents=5)
    liar.share("l", pfn)
    report = bench.move(pfn)
    assert report.counts() == {Reason.OWNER_FAULTY: 1}
    assert report.refusals[0].owner == "liar"
    assert bench.registry.is_faulty(liar)
    assert not bench.registry.is_faulty(honest)
    assert bench.world.quarantined_pfns().tolist() == [pfn]
    assert honest.place["h"] == int(report.targets[0])
    assert honest.read("h") == 5


@pytest.mark.parametrize("callback", ["isolate", "migrate"])
def test_an_owner_that_lets_go_inside_a_callback_has_freed_the_frame(bench, callback):
    zbud = bench.owner("zbud", **{callback: [lambda pin: zbud.let_go(pin.private)]})
    pfn = zbud.keep("h")
    assert bench.move_one(pfn) is Reason.FREED
    assert bench.nr_free() == NR_FRAMES


def test_an_owner_that_lets_go_and_says_no_has_freed_the_frame_too(bench):
    zbud = bench.owner("zbud", isolate=[lambda pin: zbud.let_go(pin.private) or "busy"])
    assert bench.move_one(zbud.keep("h")) is Reason.FREED


def test_a_callback_may_pin_and_unpin_other_frames(bench):
    zbud = bench.owner("zbud")
    other = zbud.keep("other")
    busy = bench.owner(
        "busy", isolate=[lambda pin: (zbud.let_go("other"), busy.keep("new"))[:0] or None]
    )
    pfn = busy.keep("h")
    assert bench.move_one(pfn) is Reason.MOVED
    assert bench.pins(other) == [("busy", "new")]


def test_a_move_closed_half_way_puts_everything_back(bench):
    zbud = bench.owner("zbud")
    pfn = zbud.keep("h", contents=4)
    for stop in (Step.LOOKUP, Step.ISOLATE, Step.FREEZE, Step.COPY, Step.MIGRATE):
        steps = move_steps(bench.registry, bench.world, column(pfn), bench.targets, Mode.SYNC)
        while next(steps) is not stop:
            pass
        steps.close()
        bench.check()
        assert zbud.place["h"] == pfn
        assert zbud.read("h") == 4
        assert not zbud.quiet
        assert bench.nr_free() == NR_FRAMES - 1
    assert bench.move_one(pfn) is Reason.MOVED


def test_only_who_did_something_is_a_step_of_the_undo(bench):
    willing, busy, third = (
        bench.owner("willing"), bench.owner("busy", isolate=["busy"]), bench.owner("third"),
    )  # fmt: skip
    pfn = willing.keep("a", contents=3)
    busy.share("b", pfn)
    third.share("c", pfn)
    steps = move_steps(bench.registry, bench.world, column(pfn), bench.targets, Mode.SYNC)
    assert list(steps) == [Step.LOOKUP, Step.TAKE, Step.ISOLATE, Step.ISOLATE, Step.PUTBACK]
    bench.check()


def test_a_move_closed_after_its_commit_stays_moved(bench):
    zbud = bench.owner("zbud")
    pfn = zbud.keep("h")
    steps = move_steps(bench.registry, bench.world, column(pfn), bench.targets, Mode.SYNC)
    while next(steps) is not Step.REKEY:
        pass
    steps.close()
    bench.check()
    assert zbud.place["h"] != pfn
    assert bench.nr_free() == NR_FRAMES - 1


def test_an_empty_batch_is_a_report_of_nothing(bench):
    assert bench.move().counts() == {}


def test_a_source_given_twice_is_refused_before_anything_happens(bench):
    zbud = bench.owner("zbud")
    pfn = zbud.keep("h")
    with pytest.raises(PinpageError, match="given twice"):
        bench.move(pfn, pfn)
    assert zbud.log == []
    assert bench.move_one(pfn) is Reason.MOVED


def test_targets_come_in_order_and_come_back_in_front():
    targets = GivenTargets(np.array([7, 8, 9]))
    targets.give_back(targets.take(2))
    assert targets.take(9).tolist() == [7, 8, 9]
    with pytest.raises(PinpageError, match="only once"):
        GivenTargets(np.array([7, 7]))


class TestRelease:
    """Giving frames up instead of moving them."""

    def release_one(self, bench, pfn):
        reasons = release_many(bench.registry, bench.world, column(pfn), Mode.SYNC)
        bench.check()
        return Reason(int(reasons[0]))

    def test_yes_frees_the_frame(self, bench):
        zbud = bench.owner("zbud", release=["yes"])
        assert self.release_one(bench, zbud.keep("h")) is Reason.RELEASED
        assert bench.nr_free() == NR_FRAMES

    def test_every_owner_must_give_up(self, bench):
        first, second = (
            bench.owner("first", release=["yes"]),
            bench.owner("second", release=["busy"]),
        )
        pfn = first.keep("f")
        second.share("s", pfn)
        assert self.release_one(bench, pfn) is Reason.OWNER_BUSY
        assert bench.pins(pfn) == [("second", "s")]

    def test_an_owner_that_cannot_release_is_not_asked(self, bench):
        assert self.release_one(bench, bench.owner("zbud").keep("h")) is Reason.NO_CALLBACK

    def test_a_frame_that_nobody_knows_is_no_success(self, bench):
        assert self.release_one(bench, bench.world.alloc_page()) is Reason.NO_OWNER

    def test_yes_with_a_pin_left_is_a_lie(self, bench):
        liar = bench.owner("liar", release=["lie"])
        pfn = liar.keep("h")
        assert self.release_one(bench, pfn) is Reason.OWNER_FAULTY
        assert bench.registry.is_faulty(liar)
        assert bench.pins(pfn) == [("liar", "h")]

    @pytest.mark.parametrize("answer", [Verdict.YES, Verdict.AGAIN, Verdict.BUSY], ids=str)
    def test_a_reference_gone_with_its_pin_left_is_a_lie_whatever_was_said(self, bench, answer):
        foo = Dropping(bench, answer=answer)
        pfn = foo.keep("h")
        assert self.release_one(bench, pfn) is Reason.OWNER_FAULTY
        assert bench.registry.is_faulty(foo)
        assert bench.world.state[pfn] is FrameIs.QUARANTINED
        assert pfn not in bench.world.free_pfns()

    def test_whoever_shared_the_frame_honestly_loses_nothing(self, bench):
        foo, gup = Dropping(bench), bench.owner("gup", release=["busy"])
        pfn = foo.keep("h", contents=7)
        gup.share("g", pfn)
        assert self.release_one(bench, pfn) is Reason.OWNER_FAULTY
        assert bench.world.state[pfn] is FrameIs.USED
        assert gup.read("g") == 7
        assert not bench.registry.is_faulty(gup)

    def test_raising_is_a_fault(self, bench):
        broken = bench.owner("broken", release=["raise"])
        assert self.release_one(bench, broken.keep("h")) is Reason.OWNER_FAULTY

    def test_the_callback_of_the_2013_patch_is_a_release(self, bench):
        def migrate(pfn, private):
            bench.registry.unpin(pfn, foo, private)
            bench.world.put_page(pfn)
            return 0

        foo = CallbackOwner("foo", migrate)
        bench.registry.register(foo)
        pfn = bench.world.alloc_page()
        bench.registry.pin(pfn, foo, 1)
        assert self.release_one(bench, pfn) is Reason.RELEASED


@pytest.mark.parametrize("when", ["isolate", "migrate", "putback"])
def test_a_move_that_finds_a_pin_without_a_reference_sets_the_frame_aside(bench, when):
    foo = Dropping(bench, when=when)
    pfn = foo.keep("h")
    if when == "putback":
        bench.targets = WorldTargets(bench.world, limit=0)
    assert bench.move_one(pfn) is Reason.OWNER_FAULTY
    assert bench.registry.is_faulty(foo)
    assert bench.world.state[pfn] is FrameIs.QUARANTINED
    assert bench.nr_free() == NR_FRAMES - 1, "its target is free, and it is not"


def test_an_owner_may_account_for_more_references_than_pins(bench):
    class TwoEach(ScriptedOwner):
        """A GUP user that holds two references for each of its pins."""

        def references(self, pfns, privates):
            return np.full(len(pfns), 2)

    gup = TwoEach("gup", bench.world, bench.registry)
    pfn = gup.keep("io")
    assert bench.move_one(pfn) is Reason.UNACCOUNTED
    bench.world.get_page(pfn)
    assert bench.move_one(pfn) is Reason.MOVED
    assert bench.world.refcount[gup.place["io"]] == 2
