"""The event loop keeps time, and its account notices what nobody else would."""

import pytest

from mm.state.gfp import Gfp
from pinlab.load.mixed import WORKLOAD_SHARES, run
from pinlab.load.run import LoadRun, make_world
from pinlab.load.workload import Action, Workload
from pinpage.errors import InvariantError, PinpageError
from pinpage.owner import PinOwner

NR_PAGES = 1024
MS = 1_000_000


class Ticker(Workload):
    """Notes the time, every 7 ms exactly."""

    def actions(self):
        while True:
            self.seen.append(self.world.machine.clock.now_ns)
            yield Action("tick", 7 * MS)

    def rest_ns(self):
        self.seen = []
        return 7 * MS

    def read_back(self):
        pass

    def let_go(self):
        pass


def make(*names, design="registry", **kwargs):
    world = make_world(nr_pages=NR_PAGES, design_name=design, seed=0)
    rows = [WORKLOAD_SHARES[name] for name in names]
    workloads = [
        row.make(world, row.name, nr_slots=row.nr_slots(NR_PAGES), pace_ns=row.pace_ns)
        for row in rows
    ]
    return LoadRun(world, workloads, **kwargs)


@pytest.fixture
def scenario():
    made = make("balloon", "zram", "ring")
    made.run(300 * MS)
    made.check()
    return made


def first_pin(scenario, name):
    return next(
        pin for pin in scenario.world.registry.iter_pins(0, NR_PAGES) if pin.owner.name == name
    )


# Time.


def test_actors_go_on_when_they_are_due_and_rest_from_when_they_were_due():
    world = make_world(nr_pages=NR_PAGES, design_name="registry", seed=0)
    ticker = Ticker(world, "ticker", nr_slots=1, pace_ns=1)
    scenario = LoadRun(world, [ticker], strategies=())
    scenario.run(70 * MS)
    assert ticker.seen == [7 * MS * turn for turn in range(1, 11)]
    world.machine.clock.advance(20 * MS)  # somebody took long: late, but none is left out
    scenario.run(15 * MS)
    assert ticker.seen[10:] == [90 * MS] * 2 + [91 * MS, 98 * MS, 105 * MS]


def test_devices_have_done_what_was_due_before_an_actor_goes_on():
    world = make_world(nr_pages=NR_PAGES, design_name="registry", seed=0)
    ticker = Ticker(world, "ticker", nr_slots=1, pace_ns=1)
    scenario = LoadRun(world, [ticker], strategies=())
    world.interrupts.after(10 * MS, lambda: ticker.seen.append("interrupt"))
    scenario.run(20 * MS)
    assert ticker.seen == [7 * MS, "interrupt", 14 * MS]


def test_compactions_come_at_their_period_and_take_turns():
    scenario = make("zram", compact_every_ns=50 * MS)
    scenario.run(500 * MS)
    counts = {kind: n for (name, kind), n in scenario.counts.items() if name == "compaction"}
    assert counts == {"scan": 5, "plan": 5}


def test_no_strategies_no_compaction():
    assert run(nr_pages=NR_PAGES, seconds=0.3, only=["zram"], strategies=()).nr_compactions == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"only": ["zramm"]}, "only='zramm': the workloads are"),
        ({"design": "best"}, "design 'best' is unknown"),
        ({"seed": -1}, "seed=-1"),
        ({"nr_pages": 1000}, "multiple of a pageblock"),
        ({"seconds": -1.0}, "duration_ns=-1000000000"),
        ({"compact_every_ns": 0}, "compact_every_ns=0"),
        ({"compress_with": "rle"}, "compressor 'rle'"),
    ],
)
def test_arguments_without_sense_are_named(arguments, message):
    with pytest.raises(PinpageError, match=message):
        run(**{"nr_pages": NR_PAGES, "seconds": 0.1, "only": ["zram"], **arguments})


def test_a_workload_on_another_world_is_refused(scenario):
    with pytest.raises(PinpageError, match="is on another world"):
        LoadRun(make("zram").world, scenario.workloads)


# The account.


def test_a_frame_that_nobody_holds_is_leaked(scenario):
    scenario.world.machine.alloc_page(Gfp.KERNEL)
    with pytest.raises(InvariantError, match="LR1"):
        scenario.check()
    assert scenario.let_go() == 1


@pytest.mark.parametrize("change", [1, -1])
@pytest.mark.parametrize("name", ["balloon", "zram", "ring"])
def test_a_reference_too_many_or_too_few_is_noticed(scenario, name, change):
    scenario.world.machine.frames.refcount[first_pin(scenario, name).pfn] += change
    with pytest.raises(InvariantError):
        scenario._check_references()


@pytest.mark.parametrize("name", ["balloon", "zram", "ring"])
def test_a_pin_that_got_lost_is_noticed(scenario, name):
    pin = first_pin(scenario, name)
    scenario.world.registry.unpin(pin.pfn, pin.owner, pin.private)
    with pytest.raises(InvariantError, match="LR2"):
        scenario._check_pins(scenario.world.registry)


def test_a_pin_that_nobody_drops_is_noticed(scenario):
    class Stranger(PinOwner):
        name = "stranger"

    stranger = Stranger()
    scenario.world.registry.register(stranger)
    scenario.world.registry.pin(0, stranger)
    with pytest.raises(InvariantError, match="LR2 a pin is left"):
        scenario.let_go()


@pytest.mark.parametrize("design", ["unmovable", "zbud-reclaim", "registry"])
def test_everybody_lets_go_of_everything(design):
    scenario = make("balloon", "zram", "ring", "pagecache", "rdma", design=design)
    scenario.run(200 * MS)
    assert scenario.read_back().bytes_lost == 0
    assert scenario.let_go() == 0
    assert scenario.world.machine.buddy.nr_free() == NR_PAGES
