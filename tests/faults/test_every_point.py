"""Every fault at every point of every request: nothing is lost, everything is put back.

First a run in which nothing goes wrong says how many points there are; then each is tried.
After the fault everything is checked, and the request is made again.  A run is one fault; two
at once are not tried, but for what the request itself runs into.  By default each fourth point is
tried, which fourth differing from case to case; `make slow` and a mutant try each.
"""

import os
import zlib

import numpy as np
import pytest

from mm.contig.retry import RetryPolicy
from mm.planning.execute import planned_targets
from mm.planning.ranges import cheapest_ranges
from pinpage.units import Span
from tests.faults.harness import KINDS, KINDS_OF_KILL, Fault
from tests.faults.world import SIZE, UNIT, World

STEP = int(os.environ.get("PINPAGE_POINT_STEP", "4"))
FULL = ("xa.yX.A.", "gcdaX.xy", "a..xy...", "#.......", ".a....X.", "..a.#...")
"""No pageblock is free: whoever wants one has to move things."""
HUGE = ("xay.Xc.A", "hhhhhhhh", "gyxdXPXa", "........", ".a....X.", "#.......", *2 * ["........"])
"""A huge page is in the way, which needs another pageblock to go to."""
MIXED = ("gX.aP..y", ".y.x....", "xay.Xc.A", ".y.xydXa", ".a....X.", "#.......")
"""Of three ranges of two pageblocks one can be had; the first looks as if it could."""
REGIONS = (*MIXED, "..a.x...", "......y.")
"""And a second one."""


def compact(world, strategy, retry):
    world.machine.compact(strategy)


def huge2m(world, strategy, retry):
    pool = world.machine.hugetlb
    if strategy == "scan":
        pool.set_max(3)
    else:
        world.machine.planned.compact(world.machine.design, want=2)
        pool.claim(2)


def cma(world, strategy, retry):
    for _ in range(2):
        found = world.machine.cma.request(SIZE, 3, strategy=strategy, retry=retry)
        if found.pfn >= 0:
            world.obtained.append(Span(found.pfn, found.pfn + SIZE))


def contig(world, strategy, retry):
    """From the middle of one pageblock to the middle of the next but one."""
    machine, start = world.machine, UNIT + 2 if strategy == "plan" or not world.has_huge_page else 2
    span = Span(start, start + UNIT)
    if strategy == "scan":
        found = machine.contig.alloc_contig_range(
            span.start, span.stop, machine.design, retry=retry
        )
    else:
        census = machine.planned.census(machine.design, with_released=True)[0]
        made = cheapest_ranges(census, UNIT, candidates=np.array([span.start]))
        with planned_targets(machine.buddy, made.targets) as targets:
            found = machine.contig.alloc_contig_range(
                span.start, span.stop, machine.design, retry=retry, targets=targets
            )
    if found.pfn >= 0:
        world.obtained.append(span)


def offline(world, strategy, retry):
    hotplug = world.machine.hotplug
    hotplug.offline(0, world.machine.design, strategy=strategy, retry=retry)
    hotplug.offline(1, world.machine.design, strategy=strategy, retry=retry)


def huge1g(world, strategy, retry):
    machine = world.machine
    source = machine.hugetlbs.gigantic_of(UNIT)
    if strategy == "plan":
        head = source.alloc_planned(retry=retry)[0].head
    else:
        head = source.walk(knowledge=strategy, retry=retry).head
    if head >= 0:
        world.obtained.append(Span(head, head + UNIT))


def power(world, strategy, retry):
    world.machine.power.consolidate(world.machine.design, strategy=strategy, retry=retry)


REQUESTS = {
    "compact": (compact, ("scan", "plan"), FULL, 0),
    "huge2m": (huge2m, ("scan", "plan"), FULL, 0),
    "cma": (cma, ("scan", "plan"), HUGE, 3),
    "contig": (contig, ("scan", "plan"), MIXED, 0),
    "contig over a huge page": (contig, ("scan",), HUGE, 0),
    "offline": (offline, ("scan", "plan"), HUGE, 0),
    "huge1g": (huge1g, ("frames", "blocks", "plan"), MIXED, 0),
    "power": (power, ("scan", "plan"), REGIONS, 0),
}
"""What to do, by which strategies, to which world, and how much of it is CMA's."""


NO_POINTS = {
    "no huge page": {"compact", "contig", "huge1g", "power", "huge2m plan"},
    "signal": {"compact", "huge2m"},
    "veto": set(REQUESTS) - {"offline"},
    "interrupt an allocation": {
        "compact", "huge2m plan", "contig plan", "huge1g plan", "power plan",
    },
}  # fmt: skip
"""Where there is nothing of that kind to go wrong; everywhere else there is."""
NEVER_WORSE = set(KINDS) - {"raise", "lie", "busy"}
"""After these a second request comes to what an undisturbed one comes to.  An owner that broke
its word is not asked again, and compaction for an order remembers where it failed."""
ALSO_SLOW = {
    ("cma", "plan"), ("contig", "plan"), ("huge1g", "plan"), ("huge1g", "frames"),
    ("power", "plan"), ("power", "scan"),
}  # fmt: skip
"""Requests whose way through mm is that of one that is tried by default: emptying a range."""
CASES = [
    pytest.param(
        name,
        strategy,
        marks=[pytest.mark.slow] if strategy == "blocks" or (name, strategy) in ALSO_SLOW else [],
    )
    for name, (_, strategies, *_) in REQUESTS.items()
    for strategy in strategies
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "strategy"), CASES)
def test_every_point(name, strategy, kind):
    clean = Fault(kind)
    obtained, _ = run(name, strategy, clean)
    has_none = {name, f"{name} {strategy}"} & NO_POINTS.get(kind, set())
    assert bool(clean.nr_events) == (not has_none)
    first = 1 + zlib.crc32(f"{name} {strategy} {kind}".encode()) % STEP
    for at in range(first, clean.nr_events + 1, STEP) or range(1, clean.nr_events + 1):
        fault = Fault(kind, at)
        in_the_end, was_killed = run(name, strategy, fault)
        assert fault.has_struck
        assert was_killed == (kind in KINDS_OF_KILL)
        assert in_the_end >= obtained or kind not in NEVER_WORSE


def run(name, strategy, fault):
    """One request on a fresh machine, everything checked, and the same request once more.

    Returns:
        What an undisturbed request has come to, or both if there is a fault; and whether the
        first was killed.
    """
    serve, _, picture, cma_blocks = REQUESTS[name]
    world = World(*picture, cma_blocks=cma_blocks)
    world.fault = fault
    was_killed = False
    with fault.armed(world.machine):
        try:
            serve(world, strategy, RetryPolicy(nr_tries=2, signal_pending=world.signal_pending))
        except KeyboardInterrupt:
            was_killed = True
            world.check()  # here: nothing may wait until the traceback is gone
    if not was_killed:
        world.check()
    if fault.at:
        assert fault.has_struck
        world.fault = Fault(fault.kind)  # nothing more, though lies go on
        serve(world, strategy, RetryPolicy(nr_tries=2))
        world.check()
    return world.nr_obtained(), was_killed
