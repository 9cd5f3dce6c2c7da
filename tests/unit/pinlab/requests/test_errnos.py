"""Every cell of the table of errnos, provoked: who is asked, for which cause, by which strategy."""

import itertools

import pytest

from mm.contig.retry import RetryPolicy
from owners.gup.flags import Foll
from pinlab.requests.report import RequestOptions
from pinlab.requests.run import SERVERS
from pinpage.errors import PinpageError
from tests.kit.mm.whole_machines import SIZE, Layout
from tests.kit.owners.gup_world import GupWorld
from tests.kit.pinlab.errnos import CAUSES, TABLE

PICTURES = {
    "unmovable": ("#aaa....",) * 4,
    "busy": ("Paa.....",) * 4,
    "no memory": ("aaaaaaaa",) * 4,
    "taken": ("........",) * 4,
    "interrupted": ("aaa.....",) * 8,
    "impossible": ("ooaaa...",) * 4,
}
UNITS = {
    "cma": {"nr_pages": SIZE, "count": 1},
    "huge1g": {"nr_pages": 2 * SIZE},
    "offline": {"block_nr_pages": 2 * SIZE, "block": 0},
    "power": {"region_nr_pages": 2 * SIZE},
}
CELLS = [
    (asked, strategy, cause, value)
    for (asked, strategy), row in TABLE.items()
    for cause, value in row.items()
    if value
]


def world_for(asked, cause):
    """The machine in which this is the only cause there can be."""
    zones = ((("Normal", 0), ("Normal", 1)), (0, 1, 1, 1)) if asked == "huge1g" else None
    picture, area = PICTURES[cause], (0, 4) if asked == "cma" else None
    if cause == "impossible" and zones:
        return Layout(picture[:1] * 2, (0, 1), zones[0]).build()  # a page would cross the border
    world = Layout(picture, (0,) * len(picture), (("Normal", 0),)).build(area)
    world.machine.hotplug.blocks.nr_pages = 2 * SIZE
    if cause == "taken" and asked != "range":
        take_all(world.machine, asked)
    return world


def take_all(machine, asked):
    """Whoever is asked has nothing left to give."""
    if asked == "cma":
        assert machine.cma.request(4 * SIZE)
    elif asked == "power":
        machine.power.configure(2 * SIZE)
        assert machine.power.consolidate(machine.design).nr_regions_off
    elif asked in ("huge2m", "huge1g"):
        machine.hugetlbs.of({"huge2m": SIZE, "huge1g": 2 * SIZE}[asked]).grow(4)
    else:
        assert machine.hotplug.offline(0, machine.design)


def serve(asked, strategy, world, **options):
    """The codes that attempts ended with, but OK; by scan the last one is the request's."""
    if asked == "cma" and options.pop("too_large", False):
        options["nr_pages"] = 5 * SIZE
    how = {"strategy": strategy, "design": "registry"} | UNITS.get(asked, {}) | options
    try:
        report = SERVERS[asked](world.machine, RequestOptions(**how))
    except PinpageError:
        return {"refused"}, None
    world.machine.check()
    return {attempt.errno for attempt in report.attempts} - {"OK"}, report


def interrupted_after(nr_asked):
    """Nobody presses Ctrl-C before it has been looked for so often."""
    asked = itertools.count()
    return lambda: next(asked) >= nr_asked


def codes(asked, strategy, cause):
    """What the attempts of a request ended with."""
    if cause == "interrupted":
        found = set()
        for nr_asked in range(4):
            ended, report = serve(
                asked, strategy, world_for(asked, cause), interrupted=interrupted_after(nr_asked)
            )
            found |= ended if report.partial else set()
        return found - ({"ENOMEM"} if asked == "huge2m" else set())
    too_large = {"too_large": True} if (asked, cause) == ("cma", "impossible") else {}
    return serve(asked, strategy, world_for(asked, cause), **too_large)[0]


def of_a_range(_strategy, cause):
    world = world_for("range", cause)
    machine, retry = world.machine, RetryPolicy()
    if cause == "taken":  # by another, who is at it
        world.isolate(0, SIZE)
    if cause == "interrupted":
        retry = RetryPolicy(signal_pending=lambda: True)
    if cause == "impossible":
        machine = world_for("huge1g", cause).machine
    try:
        found = machine.contig.alloc_contig_range(0, 2 * SIZE, machine.design, retry=retry)
    except PinpageError:
        return {"refused"}
    return {found.errno.name}


def of_a_verdict(_strategy, cause):
    machine = world_for("offline", cause).machine
    return {machine.hotplug.verdict(0, machine.design).errno.name}


def of_a_long_term_pin(_strategy, cause):
    world = GupWorld(nr_movable=32)
    space, driver = world.process(2), world.pinner()
    first = 0
    if cause == "busy":
        world.machine.get_page(world.pfn(space))
    elif cause == "no memory":
        hog, vpns = world.memory.mmap("hog", 64), itertools.count()
        while world.memory.touch(hog, next(vpns)) >= 0:
            pass
    else:
        first = 2
    long = Foll.PIN | Foll.LONGTERM | Foll.WRITE
    return {world.gup.get_user_pages(space, first, 1, driver, long).error.name}


GIVE = {"range": of_a_range, "verdict": of_a_verdict, "longterm": of_a_long_term_pin}


@pytest.mark.parametrize(("asked", "strategy", "cause", "value"), CELLS)
def test_a_cause_gives_the_code_that_the_table_says(asked, strategy, cause, value):
    given = GIVE[asked](strategy, cause) if asked in GIVE else codes(asked, strategy, cause)
    assert given == ({value} - {"nothing"})


def test_the_table_speaks_of_every_consumer_by_every_strategy():
    assert {who for who, _ in TABLE} >= SERVERS.keys()
    for consumer in SERVERS:
        assert {how for who, how in TABLE if who == consumer} == {"scan", "plan"}
    assert all(row.keys() == CAUSES.keys() for row in TABLE.values())
