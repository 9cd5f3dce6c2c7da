"""Power regions: what is emptied, what stays on, what wakes up, and what it comes to."""

import numpy as np
import pytest

from mm.contig.retry import RetryPolicy
from mm.machine import Machine
from mm.move.obstacles import find_obstacles
from mm.power.energy import EnergyAccount, EnergyModel
from mm.power.regions import PowerMap
from mm.power.report import GroupWatch
from mm.state.contents import TagContents
from mm.state.errno import Errno
from mm.state.frames import Frames, FrameState
from mm.state.gfp import Gfp
from mm.state.nodes import place_frames, zones_for
from mm.state.pageblock import MigrateType, Pageblocks
from owners.opaque import OpaqueOwner
from pinpage.errors import InvariantError, PinpageError
from pinpage.owner import Reason, Verdict
from pinpage.testing.world import column
from pinpage.units import Span
from tests.kit.mm.machines import SIZE, Drawn

REGION = 2 * SIZE


def consolidate(drawn, region=REGION, nr_interleaved=1, **options):
    machine = drawn.machine
    if not machine.power.is_off.any():
        machine.power.configure(region, nr_interleaved=nr_interleaved)
    done = machine.power.consolidate(machine.design, **options)
    machine.check()
    drawn.check_contents()
    return done


HALF_EMPTY = (
    *("aa......", "........", "a.......", "a......."),
    *("#aaaa...", "........", "a.aaaa.a", "aaaa...."),
)
"""Four regions of two blocks: 2, 2, stuck, and 10 frames used."""


@pytest.mark.parametrize(("strategy", "off"), [("plan", [0, 1]), ("scan", [1, 3])])
def test_regions_are_emptied_and_off(strategy, off):
    drawn = Drawn(*HALF_EMPTY)
    done = consolidate(drawn, strategy=strategy)
    assert np.flatnonzero(drawn.machine.power.is_off).tolist() == off
    assert (done.nr_regions_off, done.bound) == (2, 2)
    assert (done.pages_moved == 4) == (strategy == "plan")
    stuck = [attempt for attempt in done.attempts if attempt.errno is Errno.EBUSY]
    assert [attempt.group for attempt in stuck] == [2]
    assert stuck[0].report.refusals.counts == {(Reason.NO_OWNER, "unknown"): 1}
    assert stuck[0].report.pages_moved == 0


def test_under_plan_nothing_moves_out_of_a_region_that_stays():
    drawn = Drawn("#a......", "aaaaaaaa", "#a......", "aaaa....")
    done = consolidate(drawn)
    assert (done.pages_moved, done.bound, done.nr_regions_off) == (0, 0, 0)
    assert drawn.picture() == ["#a......", "aaaaaaaa", "#a......", "aaaa...."]


def test_interleaved_regions_go_off_together_or_not_at_all():
    plain = Drawn(*HALF_EMPTY)
    assert consolidate(plain).nr_regions_off == 2
    pairs = Drawn(*HALF_EMPTY)
    done = consolidate(pairs, nr_interleaved=2)
    assert (done.nr_regions_off, done.bound, done.pages_moved) == (2, 2, 4)
    assert pairs.machine.power.is_off.tolist() == [True, False]
    all_four = Drawn(*HALF_EMPTY)
    done = consolidate(all_four, nr_interleaved=4)
    assert (done.nr_regions_off, done.bound, done.pages_moved) == (0, 0, 0)


def test_a_reserve_stays_on():
    picture = ("........", "........", "........", "........", "#.......", "........")
    assert consolidate(Drawn(*picture)).nr_regions_off == 2
    assert consolidate(Drawn(*picture), reserve=16).nr_regions_off == 1
    assert consolidate(Drawn(*picture, marks=(1, 2, 40))).nr_regions_off == 0


def test_as_many_as_wanted_and_the_rest_may_be_filled():
    drawn = Drawn("a.......", "........", "aa......", "........", "aaaaaaaa", "aaaaaaaa")
    done = consolidate(drawn, want=1)
    assert drawn.machine.power.is_off.tolist() == [True, False, False]
    assert (done.pages_moved, done.bound) == (1, 1)
    scanned = Drawn("a.......", "........", "........", "........", "........", "........")
    consolidate(scanned, want=1, strategy="scan")
    assert scanned.machine.power.is_off.tolist() == [False, False, True]


def test_cost_and_benefit():
    """A region of 16 pages saves (156 - 75) * 16 / 2^18 mW; a move costs micro-joules."""
    for strategy in ("plan", "scan"):
        picture = (
            "........",
            "........",
            "aaaa....",
            "........",
            "aa......",
            "........",
            "#.......",
            "........",
        )
        drawn = Drawn(*picture)
        done = consolidate(drawn, strategy=strategy, expected_idle_ns=1_000_000_000)
        assert drawn.machine.power.is_off.tolist() == [True, False, False, False]
        assert (done.nr_not_worth_it, done.pages_moved) == (2 if strategy == "plan" else 3, 0)
        drawn = Drawn(*picture)
        consolidate(drawn, strategy=strategy, expected_idle_ns=10**13)
        assert drawn.machine.power.is_off.tolist() == [True, True, True, False]


def test_allocation_prefers_what_is_on_and_wakes_the_rest():
    drawn = Drawn("a.......", *["........"] * 7, "#.......", *["........"] * 3)
    machine = drawn.machine
    consolidate(drawn, region=4 * SIZE)
    assert machine.power.is_off.tolist() == [True, True, False]
    given = [machine.alloc_page(Gfp.HIGHUSER_MOVABLE) for _ in range(30)]
    assert min(given) >= 2 * 4 * SIZE
    assert machine.power.nr_regions_off == 2
    now_ns = machine.clock.now_ns
    woken = machine.alloc_page(Gfp.HIGHUSER_MOVABLE)
    assert 0 <= woken < 4 * SIZE
    assert machine.power.is_off.tolist() == [False, True, False]
    assert machine.clock.now_ns >= now_ns + machine.power.energy.wake_ns
    machine.check()


def test_switching_on_by_hand():
    drawn = Drawn("a.......", "........", "#.......", "........")
    power = drawn.machine.power
    consolidate(drawn)
    assert power.power_on(0) == REGION
    assert power.power_on(0) == 0
    with pytest.raises(PinpageError, match="group 2 of 2"):
        power.power_on(2)
    assert power.relieve(1) == 0
    assert not (drawn.machine.pageblocks.migratetype == MigrateType.ISOLATE).any()


def test_a_second_round_leaves_what_is_off_alone():
    drawn = Drawn("a.......", "........", "a.......", "........", "#.......", "........")
    consolidate(drawn, want=1)
    done = consolidate(drawn)
    assert (done.nr_regions_off, done.bound) == (2, 2)
    assert consolidate(drawn, strategy="scan").nr_regions_off == 2


class Picky(OpaqueOwner):
    """Promises to move, and does not."""

    def isolate_many(self, pfns, privates, mode):
        return np.full(len(pfns), Verdict.BUSY, dtype=np.uint8)


def test_a_region_that_resists_stays_on_and_gives_its_targets_back():
    drawn = Drawn(
        "a#......", "........", "a.......", "........", "##......", "........", movable=True
    )
    picky = Picky("picky", movable=True, registry=drawn.machine.registry)
    picky.adopt(column(1))
    done = consolidate(drawn)
    assert drawn.machine.power.is_off.tolist() == [False, True, False]
    resisting = done.attempts[-1]
    assert (resisting.group, resisting.errno) == (0, Errno.EBUSY)
    assert resisting.report.refusals.counts == {(Reason.OWNER_BUSY, "picky"): 1}
    assert not (drawn.machine.pageblocks.migratetype[:2] == MigrateType.ISOLATE).any()


def test_a_page_that_somebody_references_keeps_its_region_on():
    """Isolation lets it pass and evacuation passes over it, so it is the last look that counts."""
    for strategy in ("scan", "plan"):
        drawn = Drawn("a.......", "........", "a.......", "........", "#.......", "........")
        drawn.machine.frames.refcount[0] += 1
        done = consolidate(drawn, strategy=strategy)
        assert drawn.machine.power.is_off.tolist() == [False, True, False]
        errnos = {attempt.group: attempt.errno for attempt in done.attempts}
        assert errnos[0] is Errno.EBUSY
        assert drawn.picture()[0][0] == "a"


def test_another_region_takes_the_place_of_one_that_resists():
    """Region 0 promises, region 1 would cost more: it is tried once region 0 has refused."""
    drawn = Drawn(
        *("a#......", "........", "aaa.....", "........"), "########", "####...a", movable=True
    )
    picky = Picky("picky", movable=True, registry=drawn.machine.registry)
    picky.adopt(column(1))
    done = consolidate(drawn, reserve=8)
    assert done.bound == 1
    assert drawn.machine.power.is_off.tolist() == [False, True, False]
    assert [(a.group, a.errno.name) for a in done.attempts[1:]] == [(0, "EBUSY"), (1, "OK")]


@pytest.mark.parametrize("want", [1, 2])
def test_no_more_regions_than_wanted_when_planned_again(want):
    drawn = Drawn(
        *("#.......", "........", "a.......", "........"),
        *("aa......", "........", "aaa.....", "........"),
        *("########", "##......"),
        movable=True,
    )
    picky = Picky("picky", movable=True, registry=drawn.machine.registry)
    picky.adopt(column(0))
    done = consolidate(drawn, want=want)
    assert np.flatnonzero(drawn.machine.power.is_off).tolist() == [1, 2][:want]
    assert done.nr_regions_off == want


@pytest.mark.parametrize("strategy", ["plan", "scan"])
def test_a_cma_pageblock_keeps_its_region_on(strategy):
    """Isolation refuses it, so a plan neither counts on it nor moves anything out of it."""
    drawn = Drawn("a.......", "........", "aaaa....", "........", "########", "###.....")
    drawn.machine.buddy.set_migratetype(0, MigrateType.CMA)
    done = consolidate(drawn, strategy=strategy)
    assert drawn.machine.power.is_off.tolist() == [False, True, False]
    assert (done.bound, done.pages_moved) == (1, 4)
    errnos = {attempt.group: attempt.errno for attempt in done.attempts}
    assert errnos[0] is Errno.EBUSY


class Thrower(GroupWatch):
    """Throws at the n-th call."""

    def __init__(self, nth):
        self.left = nth

    def begin(self, group, nr_groups):
        self.left -= 1
        if not self.left:
            raise RuntimeError

    def end(self, attempt):
        self.begin(attempt.group, 0)


@pytest.mark.parametrize("strategy", ["plan", "scan"])
@pytest.mark.parametrize("nth", [1, 2, 3, 4, 5])
def test_nothing_stays_isolated_that_is_not_off(strategy, nth):
    drawn = Drawn("a.......", "........", "a.......", "........", "#.......", "........")
    with pytest.raises(RuntimeError):
        consolidate(drawn, strategy=strategy, watch=Thrower(nth))
    machine = drawn.machine
    machine.check()
    drawn.check_contents()
    isolated = (machine.pageblocks.migratetype == MigrateType.ISOLATE).reshape(-1, 2)
    assert isolated.tolist() == [[off, off] for off in machine.power.is_off.tolist()]


def test_a_throw_in_the_middle_of_a_move():
    for strategy in ("plan", "scan"):
        drawn = Drawn("a.......", "........", "a.......", "........", "#.......", "........")

        def throw(*_args, **_options):
            raise RuntimeError

        drawn.machine.mover.migrate = throw
        with pytest.raises(RuntimeError):
            consolidate(drawn, strategy=strategy)
        drawn.machine.check()
        assert not (drawn.machine.pageblocks.migratetype == MigrateType.ISOLATE).any()


def test_a_signal_ends_it_consistently():
    for strategy in ("plan", "scan"):
        drawn = Drawn("#.......", "........", "a.......", "........", "a.......", "........")
        retry = RetryPolicy(nr_tries=1, signal_pending=lambda: True)
        done = consolidate(drawn, strategy=strategy, retry=retry)
        assert done.nr_regions_off == 0
        ended = [attempt.errno for attempt in done.attempts]
        assert ended.count(Errno.EINTR) == 1, "whoever is killed begins nothing more"
        assert not (drawn.machine.pageblocks.migratetype == MigrateType.ISOLATE).any()


def test_whoever_watches_is_told():
    told = []

    class Watcher(GroupWatch):
        def begin(self, group, nr_groups):
            told.append(("begin", group, nr_groups))

        def end(self, attempt):
            told.append(("end", attempt.group, attempt.errno))

    consolidate(Drawn("a.......", "........", "#.......", "........"), watch=Watcher())
    assert told == [
        ("begin", 1, 2),
        ("end", 1, Errno.EBUSY),
        ("begin", 0, 2),
        ("end", 0, Errno.OK),
    ]


def test_the_account_goes_on_with_the_clock():
    drawn = Drawn("a.......", "........", "........", "........", "#.......", "........")
    machine, model = drawn.machine, EnergyModel()
    done = consolidate(drawn)
    before = machine.power.account()
    machine.clock.advance(1_000)
    after = machine.power.account()
    assert after.region_ns_off - before.region_ns_off == 2_000
    assert after.page_ns_off - before.page_ns_off == 2_000 * REGION
    assert after.saved_pj == model.saved_pj(4096, after.page_ns_off)
    assert (
        (after.pages_moved, after.moving_ns)
        == (done.pages_moved, done.elapsed_ns)
        == (1, after.moving_ns)
    )
    assert after.spent_pj == model.moving_pj(4096, done.elapsed_ns) == before.spent_pj
    machine.power.power_on(0)
    machine.clock.advance(1_000)
    assert machine.power.account().region_ns_off - after.region_ns_off == 1_000 + model.wake_ns


def test_check_notices_use_of_what_is_off():
    drawn = Drawn("a.......", "........", "#.......", "........")
    consolidate(drawn)
    drawn.machine.pageblocks.migratetype[0] = MigrateType.MOVABLE
    with pytest.raises(InvariantError, match="PW1"):
        drawn.machine.power.check()
    drawn.machine.pageblocks.migratetype[0] = MigrateType.ISOLATE
    drawn.machine.clock.now_ns = 0
    with pytest.raises(InvariantError, match="PW2"):
        drawn.machine.power.check()


def test_nonsense_is_refused():
    drawn = Drawn("........", "........", "#.......", "........")
    power = drawn.machine.power
    with pytest.raises(PinpageError, match="a multiple of 8"):
        power.configure(12)
    with pytest.raises(PinpageError, match="there are 2 regions"):
        power.configure(16, nr_interleaved=3)
    with pytest.raises(PinpageError, match="strategy='guess'"):
        power.consolidate(drawn.machine.design, strategy="guess")
    consolidate(drawn)
    with pytest.raises(PinpageError, match="switch every region on"):
        power.configure(8)


def test_a_map():
    plain, pairs = PowerMap(100, 16), PowerMap(100, 16, 2)
    assert (plain.nr_regions, plain.nr_groups) == (7, 7)
    assert (pairs.nr_groups, pairs.starts.tolist()) == (4, [0, 32, 64, 96])
    assert (pairs.span(3), pairs.nr_regions_of(3)) == (Span(96, 100), 1)
    assert pairs.nr_regions_of(0) == 2
    with pytest.raises(PinpageError, match="region_nr_pages=0"):
        PowerMap(100, 0)


def test_the_energy_model():
    model = EnergyModel(on_mw_per_gib=100, off_mw_per_gib=36, core_mw=2, dram_pj_per_byte=1)
    assert model.saved_pj(1 << 30, 10) == 640
    assert model.moving_pj(3 * 4096, 50) == 3 * 8192 + 100
    assert model.break_even_ns(1 << 30, 641) == 11
    assert EnergyAccount(region_ns_off=5 * 10**8, saved_pj=3, spent_pj=5).net_pj == -2
    assert EnergyAccount(region_ns_off=5 * 10**8).region_seconds_off == 0.5
    with pytest.raises(PinpageError, match="above off"):
        EnergyModel(on_mw_per_gib=5, off_mw_per_gib=5).break_even_ns(1, 1)
    with pytest.raises(PinpageError, match="core_mw=-1"):
        EnergyModel(core_mw=-1)


def test_reasons_of_frames_in_the_way():
    drawn = Drawn("xa#r....", movable=False)
    machine = drawn.machine
    found = find_obstacles(
        machine.frames,
        machine.mover,
        machine.design,
        np.array([0, 2, 3]),
    ).refusals()
    assert found.counts == {
        (Reason.NO_CALLBACK, "opaque"): 1,
        (Reason.NO_OWNER, "unknown"): 2,
    }
    nothing = find_obstacles(machine.frames, machine.mover, machine.design, column()).refusals()
    assert nothing.total == 0


@pytest.mark.parametrize("strategy", ["scan", "plan"])
def test_memory_that_ends_within_a_pageblock_is_one_region_that_stays_on(strategy):
    frames = Frames(3 * SIZE + 5)
    frames.state[:] = FrameState.FREE
    zones = zones_for(frames.nr_frames, 1, nr_pages_per_block=SIZE)
    place_frames(frames, zones)
    contents = TagContents(frames.nr_frames)
    machine = Machine(frames, Pageblocks(frames.nr_frames, SIZE), zones, contents)
    assert machine.power.consolidate(machine.design, strategy=strategy).nr_regions_off == 0
    machine.check()
