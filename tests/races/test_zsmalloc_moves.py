"""zsmalloc in every interleaving with a mover of two pages of one zspage (R-2, R-12, R-35).

Actors: a mover; a user who frees, maps, grows or compacts.
Bad:    a page is walked or freed by a name that it no longer has; an emptied zspage stays;
        a mapping looks at a frame that is gone; migration never succeeds at all.
"""

import functools

import numpy as np
import pytest

from mm.state.errno import Errno
from owners.zsmalloc.classes import size_classes
from pinpage.owner import Mode, Reason
from pinpage.testing.explore import Scenario, explore
from tests.kit.owners.pool_world import noise
from tests.kit.owners.zs_world import ZsWorld

STRADDLING = 2400  # three pages, five objects
SUCCESS = {Reason.MOVED, Reason.FREED}


@functools.cache
def data(number):
    return noise(number, STRADDLING)


class Bench:
    """A pool with `count` objects on zspages of three pages, fresh for each schedule."""

    def __init__(self, count):
        self.world = ZsWorld(nr_blocks=2)
        self.model = {self.world.new(data(n)): data(n) for n in range(count)}
        self.reasons = []

    def mover(self, which, mode=Mode.SYNC):
        """Moves those pages, counted in the order of objects and chosen now."""
        return self._moves(self.world.pfns_of(*self.model)[list(which)], mode)

    def _moves(self, pfns, mode):
        report = yield from self.world.steps(pfns, mode)
        self.reasons = [Reason(int(reason)) for reason in report.reasons]

    def assert_intact(self):
        for handle, expected in self.model.items():
            found = self.world.pool.read(handle, STRADDLING)
            assert found in (expected, Errno.EAGAIN)

    def scenario(self, finish=lambda: None, **actors):
        return Scenario(actors, check=self.step, finish=lambda: (self.at_rest(), finish()))

    def step(self):
        self.world.pool.zspages.check(size_classes())
        self.assert_intact()

    def at_rest(self):
        self.world.check()
        for handle, expected in self.model.items():
            assert self.world.pool.read(handle, STRADDLING) == expected


def freeing(which, nr_left):
    """The user frees two objects one by one, of two or of four: of two, the zspage goes."""
    bench = Bench(nr_left + 2)
    mover = bench.mover(which)

    def user():
        for handle in list(bench.model)[:2]:
            del bench.model[handle]
            bench.world.pool.free(handle)
            yield f"frees {handle & 0xF}"

    def finish():
        assert bench.world.pool.pages_nr == (3 if nr_left else 0), "a zspage was kept"
        good = {Reason.MOVED} if nr_left else SUCCESS
        assert set(bench.reasons) <= good | {Reason.RACED_FREE, Reason.NO_OWNER}

    return bench.scenario(finish, mover=mover, user=user())


@pytest.mark.parametrize("which", [(1,), (0, 2), (2, 1, 0)])
def test_a_zspage_freed_under_its_mover_never_stays(which):
    explore(lambda: freeing(which, 0)).require_none()


def test_objects_freed_from_a_zspage_that_lives_on_do_not_stop_its_move():
    explore(lambda: freeing((0, 1), 2)).require_none()


def mapping():
    """The user maps, writes and unmaps an object that lies on both moving pages."""
    bench = Bench(5)
    handle = list(bench.model)[1]
    mover = bench.mover((0, 1))

    def user():
        opened = bench.world.pool.map(handle)
        yield "maps"
        if isinstance(opened, Errno):
            return
        opened.view[:8] = np.frombuffer(b"written!", dtype=np.uint8)
        yield "writes"
        bench.world.pool.unmap(opened)
        bench.model[handle] = b"written!" + bench.model[handle][8:]
        yield "unmaps"

    def finish():
        assert set(bench.reasons) <= {Reason.MOVED, Reason.OWNER_AGAIN}
        assert len(set(bench.reasons)) == 1, "both pages of one zspage get one answer"

    return Scenario({"mover": mover, "user": user()}, finish=lambda: (bench.at_rest(), finish()))


def test_a_mapping_and_a_move_exclude_each_other():
    explore(mapping).require_none()


def compacting():
    """The user compacts the pool, and allocates from what is left, while a page moves."""
    bench = Bench(10)
    for handle in list(bench.model)[1:9]:
        bench.world.pool.free(handle)
        del bench.model[handle]
    mover = bench.mover((0, 4))

    def user():
        bench.world.pool.compact()
        yield "compacts"
        handle = bench.world.pool.alloc(STRADDLING)
        if handle > 0 and bench.world.pool.write(handle, data(50)) is Errno.OK:
            bench.model[handle] = data(50)
        elif handle > 0:
            bench.world.pool.free(handle)
        yield "allocates"

    return bench.scenario(mover=mover, user=user())


def test_compaction_of_the_pool_and_a_move_do_not_meet():
    explore(compacting).require_none()


def two_movers():
    bench = Bench(5)
    return bench.scenario(one=bench.mover((0, 1)), two=bench.mover((1, 2)))


def test_two_movers_of_one_zspage():
    explore(two_movers, max_preemptions=2).require_none()


@pytest.mark.parametrize("mode", list(Mode))
def test_migration_succeeds_where_nobody_interferes(mode):
    """R-12: what never once succeeds looks like a refusal."""
    bench = Bench(5)
    for _ in bench.mover((0, 1, 2), mode):
        pass
    assert bench.reasons == [Reason.MOVED] * 3
    bench.at_rest()
