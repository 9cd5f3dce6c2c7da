"""A balloon against a plain count of pages, in any order of inflating, deflating and moving."""

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from owners.balloon import Balloon
from pinpage.owner import Mode, Reason
from tests.kit.owners.driver_world import DriverWorld

NR_FRAMES = 32
FEW = st.integers(1, 12)


class BalloonAgainstACount(RuleBasedStateMachine):
    """Which pages are isolated is the model's to know, from what the mover was told."""

    def __init__(self):
        super().__init__()
        self.world = DriverWorld(NR_FRAMES)
        self.balloon = Balloon(self.world.machine, registry=self.world.registry)
        self.nr_pages = 0
        self.mover = None
        self.last = None
        self.nr_isolated = 0  # pages that the mover has, and the guest cannot take back
        self.nr_without_target = 0
        self.taken_back = False

    @rule(count=FEW)
    def inflate(self, count):
        obtained = self.balloon.inflate(count)
        assert obtained == count or self.world.machine.buddy.nr_free() == 0
        self.nr_pages += obtained

    @rule(count=FEW)
    def deflate(self, count):
        expected = min(count, self.nr_pages - self.nr_isolated)
        assert self.balloon.deflate(count) == expected
        self.nr_pages -= expected
        self.taken_back = self.taken_back or expected > 0

    @precondition(lambda self: self.mover is None and self.nr_pages)
    @rule(data=st.data())
    def begin_move(self, data):
        pages = st.sampled_from(sorted(self.balloon.host))
        asked = sorted(data.draw(st.lists(pages, min_size=1, max_size=4, unique=True)))
        self.mover, self.nr_isolated = self.world.steps(*asked), len(asked)
        self.taken_back = False
        for step in self.mover:
            self.last = step.name
            if self.last == "ISOLATE":
                break

    @precondition(lambda self: self.mover is not None)
    @rule()
    def go_on(self):
        nr_free = self.world.machine.buddy.nr_free()
        step, before = next(self.mover, None), self.last
        self.last = step and step.name
        if before == "ISOLATE":
            self.nr_without_target = max(0, self.nr_isolated - nr_free)
        if self.last == "MIGRATE":  # who found no target stays with the mover until the end
            self.nr_isolated = self.nr_without_target
        elif self.last in ("PUTBACK", None):
            self.nr_isolated = 0
        if step is None:
            # A page that the guest takes back once the move has told its new place is gone
            # under the mover: that is a success too, and only then.
            freed = {Reason.FREED} if self.taken_back else set()
            assert set(self.world.reasons["mover"]) <= {Reason.MOVED, Reason.NO_TARGET} | freed
            self.mover = None

    @precondition(lambda self: self.mover is None and self.nr_pages)
    @rule(data=st.data())
    def release(self, data):
        page = data.draw(st.sampled_from(sorted(self.balloon.host)))
        assert self.world.release(page, mode=Mode.SYNC) == [Reason.RELEASED]
        assert page not in self.balloon.host
        self.nr_pages -= 1

    @precondition(lambda self: self.mover is None)
    @rule(strategy=st.sampled_from(["scan", "plan"]))
    def compact(self, strategy):
        bound = self.world.machine.bound()
        self.world.machine.compact(strategy)
        emptied = int(self.world.machine.buddy.wholly_free().sum())
        assert emptied <= bound <= (NR_FRAMES - self.nr_pages) // 8
        assert strategy == "scan" or emptied == bound

    @invariant()
    def agrees(self):
        assert self.balloon.nr_pages == self.nr_pages
        if self.mover is None:
            self.balloon.check()
            self.world.check()
            assert self.world.nr_free == NR_FRAMES - self.nr_pages

    def teardown(self):
        while self.mover is not None:
            self.go_on()
        assert self.balloon.deflate(NR_FRAMES) == self.nr_pages
        assert self.world.nr_free == NR_FRAMES


TestBalloon = BalloonAgainstACount.TestCase
TestBalloon.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
