"""Bounds against exhaustive search, and plans against scans, on machines of a few pageblocks.

The search knows nothing of planners: it places units of the request, one after the other, in
every way that there is, and asks of each placement whether memory allows it.  It does if nothing
in the units stays, and there are as many frames that are free or could be given up: what
moves takes one free frame and leaves one, so all that counts is how many there are.
"""

import itertools
import os
from collections import Counter
from functools import cache

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mm.state.nodes import ZoneKind
from pinlab.requests.cma import serve as serve_cma
from pinlab.requests.huge1g import serve as serve_huge1g
from pinlab.requests.huge2m import serve as serve_huge2m
from pinlab.requests.offline import serve as serve_offline
from pinlab.requests.power import serve as serve_power
from pinlab.requests.report import RequestOptions
from tests.kit.mm.whole_machines import SIZE, Layout, layouts

EXAMPLES = settings(max_examples=int(os.environ.get("PINPAGE_NR_MACHINES", "40")), deadline=None)
"""`make slow` tries more machines."""


def most_placed(usable, starts, sizes, room):
    """The most pages that these (size, count) can have, by trying every placement.

    Args:
        usable: by frame, whether it could be had.
        starts: the frames where a unit may start.
        sizes: (pages, how many) each.
        room: frames that are free or could be.
    """

    @cache
    def best(at, counts):
        if at == len(usable):
            return [0]
        found = set(best(at + 1, counts))
        for which, count in enumerate(counts):
            nr_pages = sizes[which][0]
            stop = at + nr_pages
            if count and at in starts and stop <= len(usable) and all(usable[at:stop]):
                rest = (*counts[:which], count - 1, *counts[which + 1 :])
                found |= {nr_pages + more for more in best(stop, rest)}
        return sorted(found)

    return max(n for n in best(0, tuple(count for _, count in sizes)) if n <= room)


@st.composite
def areas(draw, layout):
    """(first pageblock, how many), in one zone and without whole holes."""
    first = draw(st.integers(0, len(layout.blocks) - 1))
    stop = first
    while stop < len(layout.blocks) and layout.zone_of[stop] == layout.zone_of[first]:
        stop += 1
    nr_blocks = draw(st.integers(1, stop - first))
    assume(not any("o" in block for block in layout.blocks[first : first + nr_blocks]))
    assume(layout.zones[layout.zone_of[first]][0] != "Movable")
    return first, nr_blocks


def most_units(layout, units, pool_of, room, *, breaks_up=True):
    """The most of these ranges together, by trying every set of them.

    Args:
        layout: the machine.
        units: (first frame, one past the last) each.
        pool_of: from a range to whose room it takes.
        room: pool -> frames that are free or could be.
        breaks_up: whether large pages of a whole pageblock may be broken up.
    """
    stays = layout.stays(breaks_up=breaks_up)
    units = [unit for unit in units if not any(stays[slice(*unit)])]
    for count in range(len(units), 0, -1):
        for chosen in itertools.combinations(units, count):
            taken = Counter()
            for unit in chosen:
                taken[pool_of(unit)] += unit[1] - unit[0]
            apart = all(a[1] <= b[0] for a, b in itertools.pairwise(chosen))
            if apart and all(taken[pool] <= room[pool] for pool in taken):
                return count
    return 0


def room_by_zone(layout):
    room = Counter()
    for pfn, could in enumerate(layout.may_be_free()):
        room[layout.zone_of[pfn // SIZE]] += could
    return room


def ask(serve, world, strategy, **options):
    report = serve(world.machine, RequestOptions(strategy=strategy, design="registry", **options))
    world.machine.check()
    return report


@EXAMPLES
@given(st.data())
def test_cma(data):
    layout = data.draw(layouts(huge=False))
    area = data.draw(areas(layout))
    nr_pages, count = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 6))
    align_order = data.draw(st.integers(0, 3))
    base, nr_frames = area[0] * SIZE, area[1] * SIZE
    usable = [not stays for stays in layout.stays()][base : base + nr_frames]
    starts = {at for at in range(nr_frames) if (base + at) % (1 << align_order) == 0}
    best = most_placed(usable, starts, [(nr_pages, nr_frames)], sum(layout.may_be_free()))
    asked = {"nr_pages": nr_pages, "count": count, "align_order": align_order}
    planned = ask(serve_cma, layout.build(area), "plan", **asked)
    scanned = ask(serve_cma, layout.build(area), "scan", **asked)
    assert planned.bound == scanned.bound == best
    assert scanned.obtained <= planned.obtained <= min(best, nr_pages * count)


def in_sequence(machine, sizes, strategy):
    """Pages obtained asking for each size until it fails, as the usual sequence goes."""
    obtained = 0
    for nr_pages, count in sizes:
        for _ in range(count):
            if machine.cma.request(nr_pages, strategy=strategy).pfn < 0:
                break
            obtained += nr_pages
    machine.check()
    return obtained


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_cma_in_sequence(data):
    """Powers of two in any order: whoever keeps the large ranges whole loses nothing."""
    layout = data.draw(layouts(huge=False))
    area = data.draw(areas(layout))
    powers, counts = st.sampled_from((1, 2, 4, 8, 16)), st.integers(1, 3)
    sizes = data.draw(st.lists(st.tuples(powers, counts), min_size=1, max_size=4))
    base, nr_frames = area[0] * SIZE, area[1] * SIZE
    usable = [not stays for stays in layout.stays()][base : base + nr_frames]
    best = most_placed(usable, set(range(nr_frames)), sizes, sum(layout.may_be_free()))
    world = layout.build(area)
    assert world.machine.cma.bound(world.area, sizes) == best
    by_plan = in_sequence(world.machine, sizes, "plan")
    assert in_sequence(layout.build(area).machine, sizes, "scan") <= by_plan <= best


@EXAMPLES
@given(st.data())
def test_huge2m(data):
    layout = data.draw(layouts())
    count = data.draw(st.one_of(st.none(), st.integers(1, 6)))
    node = data.draw(st.one_of(st.none(), st.sampled_from(sorted({n for _, n in layout.zones}))))
    blocks = [b for b in range(len(layout.blocks)) if node in (None, layout.node_of(b))]
    units = [(block * SIZE, (block + 1) * SIZE) for block in blocks]
    pool_of, room = (lambda unit: layout.zone_of[unit[0] // SIZE]), room_by_zone(layout)
    best = most_units(layout, units, pool_of, room, breaks_up=False)
    asked = {"count": count, "node": node}
    planned = ask(serve_huge2m, layout.build(), "plan", **asked)
    scanned = ask(serve_huge2m, layout.build(), "scan", **asked)
    assert planned.bound == scanned.bound == best
    assert scanned.obtained <= planned.obtained == min(best, planned.wanted)


@EXAMPLES
@given(st.data())
def test_huge1g(data):
    layout, nr_pages = data.draw(layouts()), data.draw(st.sampled_from((2 * SIZE, 4 * SIZE)))
    node = data.draw(st.one_of(st.none(), st.sampled_from(sorted({n for _, n in layout.zones}))))
    size, units = nr_pages // SIZE, []
    for first in range(0, len(layout.blocks) - size + 1, size):
        zones = set(layout.zone_of[first : first + size])
        name, at = layout.zones[layout.zone_of[first]]
        if len(zones) == 1 and name != "Movable" and node in (None, at):
            units.append((first * SIZE, (first + size) * SIZE))
    room = {0: sum(layout.may_be_free())}
    best = most_units(layout, units, lambda unit: 0, room)
    asked = {"nr_pages": nr_pages, "node": node}
    planned = ask(serve_huge1g, layout.build(), "plan", **asked)
    scanned = ask(serve_huge1g, layout.build(), "scan", **asked)
    assert planned.bound == scanned.bound == best
    assert scanned.obtained <= planned.obtained <= best


@EXAMPLES
@given(st.data())
def test_power(data):
    layout, size = data.draw(layouts(huge=False)), data.draw(st.integers(1, 2))
    region = size * SIZE
    firsts = range(0, len(layout.blocks) - size + 1, size)
    units = [(first * SIZE, first * SIZE + region) for first in firsts]
    best = most_units(layout, units, lambda unit: 0, {0: sum(layout.may_be_free())})
    planned = ask(serve_power, layout.build(), "plan", region_nr_pages=region)
    scanned = ask(serve_power, layout.build(), "scan", region_nr_pages=region)
    starts = range(0, len(layout.text), region)
    with_memory = [at for at in starts if set(layout.text[at : at + region]) != {"o"}]
    assert planned.wanted == scanned.wanted == len(with_memory)
    assert planned.bound == scanned.bound == best
    assert scanned.obtained <= planned.obtained <= best


def kept_from_movable(layout):
    """Frames of kernel zones that the allocator keeps from pages which ZONE_MOVABLE could take."""
    could = layout.may_be_free()
    room = Counter(layout.zone_of[pfn // SIZE] for pfn in range(len(could)) if could[pfn])
    zones = layout.build().machine.zones
    return sum(
        min(room[at], zone.lowmem_reserve[ZoneKind.MOVABLE]) for at, zone in enumerate(zones)
    )


@EXAMPLES
@given(st.data())
def test_offline(data):
    """Each block is brought back before the next: what counts is whether it can go alone."""
    layout, size = data.draw(layouts(huge=False)), data.draw(st.integers(1, 2))
    assume(len(layout.blocks) % size == 0)
    stays, could, best = layout.stays(), layout.may_be_free(), 0
    has_movable = [layout.zones[zone][0] == "Movable" for zone in layout.zone_of]
    for first in range(0, len(layout.blocks), size):
        rows = range(first * SIZE, (first + size) * SIZE)
        if len(set(layout.zone_of[first : first + size])) > 1 or any(stays[pfn] for pfn in rows):
            continue
        to = [
            pfn for pfn in range(len(could)) if has_movable[first] or not has_movable[pfn // SIZE]
        ]
        kept = kept_from_movable(layout) if has_movable[first] else 0
        best += sum(could[pfn] for pfn in to) - kept >= len(rows)
    asked = {"block_nr_pages": size * SIZE, "nr_tries": 4}
    planned = ask(serve_offline, layout.build(), "plan", **asked)
    scanned = ask(serve_offline, layout.build(), "scan", **asked)
    assert planned.bound == scanned.bound == best
    assert scanned.obtained <= planned.obtained <= best


def test_offline_leaves_the_lowmem_reserve_alone():
    """Seven pages have to go, and of the seven free frames elsewhere one is kept for the kernel."""
    blocks = ("PPPPPPPP", "PPPPPPP.", "PPPPP...", "PPPPP...", "aaa.....", "tt....tt")
    layout = Layout(blocks, (0, 0, 1, 1, 1, 1), (("Normal", 0), ("Movable", 0)), movable=False)
    assert kept_from_movable(layout) == 1
    report = ask(serve_offline, layout.build(), "plan", block_nr_pages=2 * SIZE, nr_tries=4)
    assert (report.obtained, report.bound) == (0, 0)


def test_huge2m_gives_up_no_more_than_is_short():
    layout = Layout(("aaaacccc", "accccccc", "cccccccc"), (0, 0, 0), (("Normal", 0),))
    report = ask(serve_huge2m, layout.build(), "plan", count=1)
    assert (report.obtained, report.pages_dropped) == (1, 8)
    assert [attempt.errno for attempt in report.attempts] == ["OK", "OK", "OK"]
    assert ask(serve_huge2m, layout.build(), "plan").pages_dropped == 16


def test_huge2m_asks_the_allocator_for_what_plans_did_not_get():
    world = Layout(("aaaacccc", "accccccc", "cccccccc"), (0, 0, 0), (("Normal", 0),)).build()
    world.machine.planned.give_up = lambda where, count: 0
    report = ask(serve_huge2m, world, "plan", count=1)
    assert (report.obtained, report.bound) == (1, 2)
    assert [attempt.errno for attempt in report.attempts] == ["OK", "OK", "OK", "OK"]


def test_a_hole_is_in_nobodys_way():
    layout = Layout(("oooooooo", "....oooo", "P......."), (0, 0, 0), (("Normal", 0),))
    for strategy in ("scan", "plan"):
        report = ask(serve_power, layout.build(), strategy, region_nr_pages=SIZE)
        assert (report.wanted, report.details["nr_regions"]) == (2, 2)
        assert report.refused == {"unaccounted": 1}
        assert [(each.pfn, each.nr_pages) for each in report.in_the_way] == [(16, 1)]
        gigantic = ask(serve_huge1g, layout.build(), strategy, nr_pages=2 * SIZE)
        assert (gigantic.refused, gigantic.in_the_way) == ({}, ())


def test_power_makes_space():
    """By the plan: what the last resort gets would cost moves in vain."""
    layout = Layout(("P.......", "aaacccca", "........"), (0, 0, 0), (("Normal", 0),))
    machine = layout.build().machine
    machine.power.configure(SIZE)
    done = machine.power.consolidate(machine.design, strategy="plan")
    assert (done.nr_regions_off, done.bound, len(done.plan.spans)) == (2, 2, 2)


def test_power_keeps_its_reserve_by_scan_too():
    blocks = ("P.......", "........", "........")
    for strategy in ("scan", "plan"):
        world = Layout(blocks, (0, 0, 0), (("Normal", 0),)).build()
        world.machine.zones[0].high = 8
        report = ask(serve_power, world, strategy, region_nr_pages=SIZE)
        assert (report.obtained, report.bound) == (1, 1), strategy
