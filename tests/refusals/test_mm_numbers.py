"""Numbers that callers give to mm: orders, pfns, CPUs, types, nodes, counts and limits.

What numpy has for a whole number does what the plain int does, to the last bit of state,
however narrow it is: orders are kept in an int8 column, and `1 << order` overflows in that.
What merely equals the number (a float, True) or is none is refused before anything has changed.
"""

from collections import deque

import numpy as np
import pytest

from mm.buddy.fragindex import extfrag_percent, fragmentation_index, unusable_free_index
from mm.compaction.compact_control import CompactControl
from mm.compaction.suitable import compact_gap, compaction_suitable
from mm.machine import Machine
from mm.paging.shmem import shmem_create
from mm.paging.swapfile import find_next_to_unuse, try_to_unuse
from mm.paging.vmscan import shrink_active, shrink_inactive
from mm.power.regions import PowerMap
from mm.state.errno import Errno
from mm.state.frames import Frames, FrameState
from mm.state.gfp import Gfp
from mm.state.nodes import watermark_ok
from mm.state.pageblock import MigrateType, Pageblocks
from mm.swap.swap_area import SwapArea
from pinpage.errors import PinpageError, one_of
from pinpage.units import Span
from tests.kit.deep import deep_digest, reachable

SIZE = 512
"""Pages in a pageblock."""
AREA, AWAY, GONE = 12, 14, 15
"""Pageblocks: of the device, offline, removed."""
INT_TYPES = (np.int8, np.uint8, np.int16, np.int64, np.uint64)


class World:
    """Sixteen pageblocks of 512 frames, something of everything in them."""

    def __init__(self):
        self.machine = m = Machine.build(nr_pages=16 * SIZE, contents="tags")
        m.use_registry()
        self.low = m.buddy.alloc(7, 0)
        self.area = m.cma.create(Span(AREA * SIZE, (AREA + 2) * SIZE))
        self.power = Machine.build(nr_pages=8 * SIZE, contents="tags")
        self.power.power.configure(SIZE)
        assert self.power.power.consolidate(self.power.design, want=2).nr_off == 2
        m.hotplug.blocks.nr_pages = SIZE
        for block in (AWAY, GONE):
            assert m.hotplug.offline(block, m.design).errno is Errno.OK
        m.hotplug.remove(GONE)
        m.hugetlbs.of(2 * SIZE)
        m.swap.swapon(20)
        self.slots = SwapArea(3, 200)
        self.slot = self.slots.alloc_slot(1)
        self.slots.add_user(self.slot, 1, 1)
        self.process = m.memory.mmap("process", 10)
        for vpn in range(6):
            m.memory.touch(self.process, vpn, write=True)
        self.file = shmem_create(m.paging, "file", 4)
        m.hugetlb.grow(3)
        self.idle, self.used = m.hugetlb.heads[0], m.hugetlb.alloc_huge_page()
        self.block = m.buddy.alloc(9, 1)
        self.device = m.cma.alloc(6)
        m.refs.folios.adopt(np.array([self.low, self.block]), np.array([7, 9]))
        self.page = m.alloc_page(Gfp.KERNEL)
        self.taken = m.buddy.take_free_in(9, limit=2)
        self.shared = m.alloc_page(Gfp.KERNEL)
        m.refs.get_page(self.shared, 199)
        self.told = []
        m.hugetlb.on_gone = self.told.append
        m.hugetlb.on_moved = lambda *heads: self.told.extend(heads)
        m.start_daemons()

    def roots(self):
        return self.machine, self.power, self.area, self.process, self.file, self.slots, self.told

    def digest(self, *more):
        """Of two worlds, too: what an LRU list has places for and no pages is left out."""
        return deep_digest(*self.roots(), more, without=("_List",))

    def check(self):
        """Two frames stand for targets of a move; all else must hold."""
        self.machine.buddy.put_taken(self.taken)
        for part in (self.machine, self.power, self.slots):
            part.check()


def numpy_scalars(*roots):
    """What is kept somewhere as numpy had it."""
    found = []
    for thing in reachable(*roots):
        parts = list(thing) if isinstance(thing, (list, tuple, set, deque)) else []
        parts += [*thing, *thing.values()] if isinstance(thing, dict) else []
        parts += list(getattr(thing, "__dict__", {}).values())
        names = getattr(type(thing), "__slots__", ())
        parts += [getattr(thing, name, None) for name in names if name != "__weakref__"]
        found += [part for part in parts if isinstance(part, np.generic)]
    return found


def first_free(world):
    return np.flatnonzero(world.machine.frames.state == FrameState.FREE)[:2].tolist()


def plain(number):
    return lambda _: number


BUDDY = [
    ("alloc-order", lambda w, m, n: m.buddy.alloc(n, 0), plain(7)),
    ("alloc-large-order", lambda w, m, n: m.buddy.alloc(n, 1), plain(10)),
    ("alloc-type", lambda w, m, n: m.buddy.alloc(0, n), plain(1)),
    ("alloc-zone", lambda w, m, n: m.buddy.alloc(0, 0, zone=n), plain(0)),
    ("free-order", lambda w, m, n: m.buddy.free(w.low, n), plain(7)),
    ("free-pfn", lambda w, m, n: m.buddy.free(n, 7), lambda w: w.low),
    ("alloc-many-count", lambda w, m, n: m.buddy.alloc_many(n, 0), plain(100)),
    ("alloc-many-type", lambda w, m, n: m.buddy.alloc_many(2, n), plain(2)),
    ("alloc-many-zone", lambda w, m, n: m.buddy.alloc_many(2, 0, zone=n), plain(0)),
    ("take-free-in", lambda w, m, n: m.buddy.take_free_in(n), plain(10)),
    ("take-free-in-limit", lambda w, m, n: m.buddy.take_free_in(10, limit=n), plain(100)),
    ("claim-block", lambda w, m, n: m.buddy.claim_block(n), plain(10)),
    ("set-migratetype-block", lambda w, m, n: m.buddy.set_migratetype(n, 0), plain(10)),
    ("set-migratetype", lambda w, m, n: m.buddy.set_migratetype(10, n), plain(2)),
    ("pcp-alloc-type", lambda w, m, n: m.pcp.alloc(n), plain(0)),
    ("pcp-alloc-cpu", lambda w, m, n: m.pcp.alloc(0, n), plain(1)),
    ("pcp-alloc-zone", lambda w, m, n: m.pcp.alloc(0, zone=n), plain(0)),
    ("pcp-free-pfn", lambda w, m, n: m.pcp.free(n), lambda w: w.page),
    ("pcp-free-cpu", lambda w, m, n: m.pcp.free(w.page, n), plain(1)),
    ("pcp-adopt-cpu", lambda w, m, n: m.pcp.adopt(w.taken, n), plain(1)),
]

LOOKS = [
    ("nr-free", lambda w, m, n: m.buddy.nr_free(n), plain(0)),
    ("nr-free-of-zone", lambda w, m, n: m.buddy.nr_free_of(n, 1), plain(0)),
    ("nr-free-of-type", lambda w, m, n: m.buddy.nr_free_of(0, n), plain(1)),
    ("has-free-block-in", lambda w, m, n: m.buddy.has_free_block(n, 1, 3), plain(0)),
    ("has-free-block-of", lambda w, m, n: m.buddy.has_free_block(0, n, 3), plain(1)),
    ("has-free-block", lambda w, m, n: m.buddy.has_free_block(0, 1, n), plain(3)),
    ("watermark", lambda w, m, n: watermark_ok(m.buddy, m.zones[0], n, 2 * SIZE), plain(8)),
    ("gap", lambda w, m, n: compact_gap(n), plain(8)),
    ("suitable", lambda w, m, n: compaction_suitable(m.buddy, m.zones[0], n, mark=0), plain(8)),
    ("fragmentation", lambda w, m, n: fragmentation_index([500, 3], n), plain(8)),
    ("extfrag", lambda w, m, n: extfrag_percent([500, 3], n), plain(8)),
    ("unusable", lambda w, m, n: unusable_free_index([500, 3], n), plain(8)),
    ("control", lambda w, m, n: CompactControl(m.zones[0], order=n), plain(8)),
    ("pageblock", lambda w, m, n: m.pageblocks.span(n), plain(8)),
    ("due-look", lambda w, m, n: m.kcompactd[0].look(n), plain(100)),
    ("folio", lambda w, m, n: m.refs.folios.frames_of(n), lambda w: w.block),
    ("folio-split", lambda w, m, n: m.refs.folios.split(n), lambda w: w.block),
    ("low-folio-split", lambda w, m, n: m.refs.folios.split(n), lambda w: w.low),
]

ALLOCATION = [
    ("alloc-pages-order", lambda w, m, n: m.alloc_pages(n, Gfp.KERNEL), plain(7)),
    ("alloc-pages-node", lambda w, m, n: m.allocator.alloc_pages(0, Gfp.KERNEL, n), plain(0)),
    ("free-page", lambda w, m, n: m.free_page(n), lambda w: w.page),
    ("get-page", lambda w, m, n: m.get_page(n), lambda w: w.page),
    ("put-page", lambda w, m, n: m.put_page(n), lambda w: w.page),
    ("compact-node", lambda w, m, n: m.compact(node=n), plain(0)),
    ("sleep", lambda w, m, n: m.sleep(n), plain(100)),
    ("kswapd", lambda w, m, n: m.kswapd.wake(n, m.zones), plain(9)),
    ("kcompactd", lambda w, m, n: m.kcompactd[0].run(n), plain(9)),
    ("shrink", lambda w, m, n: m.reclaimer.shrink(n), plain(3)),
    ("shrink-inactive", lambda w, m, n: shrink_inactive(m.paging, n), plain(3)),
    ("shrink-active", lambda w, m, n: shrink_active(m.paging, n), plain(3)),
    (
        "give-up",
        lambda w, m, n: m.reclaimer.give_up(np.ones(m.frames.nr_frames, np.bool_), n),
        plain(3),
    ),
]

CONTIG = [
    ("contig-start", lambda w, m, n: m.contig.alloc_contig_range(n, 5200, m.design), plain(5150)),
    ("contig-stop", lambda w, m, n: m.contig.alloc_contig_range(5150, n, m.design), plain(5200)),
    (
        "contig-type",
        lambda w, m, n: m.contig.alloc_contig_range(5150, 5200, m.design, migratetype=n),
        plain(1),
    ),
    ("free-contig-pfn", lambda w, m, n: m.contig.free_contig_range(n, 128), lambda w: w.low),
    ("free-contig-count", lambda w, m, n: m.contig.free_contig_range(w.low, n), plain(100)),
    ("cma-count", lambda w, m, n: m.cma.request(n), plain(100)),
    ("cma-count-by-plan", lambda w, m, n: m.cma.request(n, strategy="plan"), plain(100)),
    ("cma-align", lambda w, m, n: m.cma.request(5, n), plain(7)),
    ("cma-release-pfn", lambda w, m, n: m.cma.release(n, 6), lambda w: w.device),
    ("cma-release-count", lambda w, m, n: m.cma.release(w.device, n), plain(6)),
    ("cma-bit", lambda w, m, n: m.cma.create(Span(10 * SIZE, 11 * SIZE), n), plain(7)),
    ("cma-start", lambda w, m, n: m.cma.create(Span(n, 11 * SIZE)), plain(10 * SIZE)),
    ("cma-stop", lambda w, m, n: m.cma.create(Span(10 * SIZE, n)), plain(11 * SIZE)),
]

HUGE = [
    ("set-max", lambda w, m, n: m.hugetlb.set_max(n), plain(4)),
    ("set-max-node", lambda w, m, n: m.hugetlb.set_max(4, node=n), plain(0)),
    ("grow", lambda w, m, n: m.hugetlb.grow(n), plain(1)),
    ("grow-node", lambda w, m, n: m.hugetlb.grow(1, node=n), plain(0)),
    ("claim", lambda w, m, n: m.hugetlb.claim(n), plain(1)),
    ("claim-node", lambda w, m, n: m.hugetlb.claim(1, n), plain(0)),
    ("shrink-pool", lambda w, m, n: m.hugetlb.shrink(n), plain(1)),
    ("alloc-huge-page", lambda w, m, n: m.hugetlb.alloc_huge_page(n), plain(0)),
    ("free-page-of-pool", lambda w, m, n: m.hugetlb.free_page(n), lambda w: w.idle),
    ("give-back", lambda w, m, n: m.hugetlb.give_back(n), lambda w: w.idle),
    ("use", lambda w, m, n: m.hugetlb.use(n), lambda w: w.idle),
    ("use-again", lambda w, m, n: m.hugetlb.use(n), lambda w: w.used),
    ("unuse", lambda w, m, n: m.hugetlb.unuse(n), lambda w: w.used),
    ("share", lambda w, m, n: m.hugetlb.share(n), lambda w: w.used),
    ("free-huge-page", lambda w, m, n: m.hugetlb.free_huge_page(n), lambda w: w.used),
    ("hand-over", lambda w, m, n: m.hugetlb.hand_over(n, w.idle), lambda w: w.used),
    ("hand-over-to", lambda w, m, n: m.hugetlb.hand_over(w.used, n), lambda w: w.idle),
    ("adopt", lambda w, m, n: m.hugetlb.adopt(n), lambda w: w.block),
    ("on-put", lambda w, m, n: m.hugetlb.on_put(n), lambda w: w.idle),
    ("frames-of", lambda w, m, n: m.hugetlb.frames_of(n), lambda w: w.idle),
    ("nr-foreign", lambda w, m, n: m.hugetlb.nr_foreign(n), lambda w: w.idle),
    ("pool-of", lambda w, m, n: m.hugetlbs.of(n).nr_pages, plain(4 * SIZE)),
    ("gigantic-of", lambda w, m, n: m.hugetlbs.gigantic_of(n).nr_pages, plain(2 * SIZE)),
    ("walk-node", lambda w, m, n: m.hugetlbs.gigantic_of(2 * SIZE).survey(n), plain(0)),
    ("gigantic-want", lambda w, m, n: m.hugetlbs.gigantic_of(2 * SIZE).plan(n), plain(1)),
]

HOTPLUG = [
    ("offline", lambda w, m, n: m.hotplug.offline(n, m.design), plain(10)),
    (
        "offline-by-plan",
        lambda w, m, n: m.hotplug.offline(n, m.design, strategy="plan"),
        plain(10),
    ),
    ("verdict", lambda w, m, n: m.hotplug.verdict(n, m.design), plain(10)),
    ("refusal", lambda w, m, n: m.hotplug.refusal(n), plain(10)),
    ("cheapest", lambda w, m, n: m.hotplug.cheapest(m.design, want=n).spans, plain(1)),
    ("online", lambda w, m, n: m.hotplug.online(n), plain(AWAY)),
    ("remove", lambda w, m, n: m.hotplug.remove(n), plain(AWAY)),
    ("add", lambda w, m, n: m.hotplug.add(n), plain(GONE)),
    ("add-to-node", lambda w, m, n: m.hotplug.add(GONE, node=n), plain(0)),
    ("block-state", lambda w, m, n: m.hotplug.blocks.state(n), plain(AWAY)),
    ("block-span", lambda w, m, n: m.hotplug.blocks.span(n), plain(AWAY)),
    ("region", lambda w, m, n: m.power.configure(n), plain(SIZE)),
    ("interleaved", lambda w, m, n: m.power.configure(SIZE, nr_interleaved=n), plain(2)),
    ("want", lambda w, m, n: w.power.power.consolidate(w.power.design, want=n), plain(1)),
    (
        "idle",
        lambda w, m, n: w.power.power.consolidate(w.power.design, expected_idle_ns=n),
        plain(100),
    ),
    ("reserve", lambda w, m, n: w.power.power.consolidate(w.power.design, reserve=n), plain(100)),
    ("power-on", lambda w, m, n: w.power.power.power_on(n), plain(7)),
    ("power-map", lambda w, m, n: PowerMap(8 * SIZE, n), plain(SIZE)),
    ("power-span", lambda w, m, n: w.power.power.map.span(n), plain(7)),
    ("relieve", lambda w, m, n: w.power.power.relieve(n), plain(100)),
]

PROCESSES = [
    ("mmap", lambda w, m, n: m.memory.mmap("another", n), plain(100)),
    ("touch", lambda w, m, n: m.memory.touch(w.process, n), plain(8)),
    ("map-vpn", lambda w, m, n: m.rmap.map_page(w.process, n, w.page), plain(9)),
    ("map-pfn", lambda w, m, n: m.rmap.map_page(w.process, 9, n), lambda w: w.low + 127),
    ("unmap", lambda w, m, n: m.rmap.unmap_page(w.process, n), plain(3)),
    ("lru-add", lambda w, m, n: m.lru.add_page(n), lambda w: w.page),
    ("lru-del", lambda w, m, n: m.lru.del_page(n), lambda w: int(w.process.pte[0]) - 1),
    ("lru-putback", lambda w, m, n: m.lru.putback_page(n), lambda w: w.page),
    ("lru-oldest", lambda w, m, n: m.lru.oldest(n), plain(100)),
    ("references", lambda w, m, n: m.refs.get_page(w.page, n), plain(127)),
    ("referenced", lambda w, m, n: m.refs.get_page(n, 1), lambda w: w.page),
    ("references-of-many", lambda w, m, n: m.refs.get_many(np.array([w.page]), n), plain(5)),
    ("dropped", lambda w, m, n: m.refs.put_page(n), lambda w: w.page),
    ("references-dropped", lambda w, m, n: m.refs.put_page(w.shared, n), plain(127)),
    ("dropped-of-many", lambda w, m, n: m.refs.put_many(np.array([w.page]), n), plain(1)),
    ("swapon", lambda w, m, n: m.swap.swapon(n).nr_slots, plain(100)),
    ("slots", lambda w, m, n: w.slots.alloc_many(n), plain(3)),
    ("duplicate", lambda w, m, n: w.slots.duplicate(n), lambda w: w.slot),
    ("free-one", lambda w, m, n: w.slots.free_one(n), lambda w: w.slot),
    ("next-to-unuse", lambda w, m, n: find_next_to_unuse(w.slots, n), plain(127)),
    (
        "unuse-count",
        lambda w, m, n: try_to_unuse(m.paging, m.swap.areas[0], pages_to_unuse=n),
        plain(3),
    ),
    ("advance", lambda w, m, n: m.clock.advance(n), plain(100)),
    ("run-until", lambda w, m, n: m.clock.run_until(n), plain(100)),
    ("plan-at", lambda w, m, n: m.clock.plan(n, print), plain(100)),
    ("plan-rank", lambda w, m, n: m.clock.plan(100, print, n), plain(3)),
]

ROWS = [*BUDDY, *LOOKS, *ALLOCATION, *CONTIG, *HUGE, *HOTPLUG, *PROCESSES]
OR_NONE = {
    "take-free-in-limit", "alloc-pages-node", "compact-node", "set-max-node", "grow-node",
    "claim-node", "alloc-huge-page", "walk-node", "gigantic-want", "cheapest", "want", "idle",
    "reserve", "nr-free",
}  # fmt: skip
every_row = pytest.mark.parametrize(("name", "call", "value"), ROWS, ids=[row[0] for row in ROWS])


@every_row
def test_what_numpy_has_for_a_number_does_what_the_number_does(name, call, value):
    world = World()
    number = value(world)
    expected = world.digest(call(world, world.machine, number))
    for kind in INT_TYPES:
        if number <= np.iinfo(kind).max:
            world = World()
            result = call(world, world.machine, kind(number))
            assert world.digest(result) == expected, kind
            assert not numpy_scalars(*world.roots(), (result,)), kind


@pytest.fixture(scope="module")
def world():
    """One for all rows: whatever a refusal changes is found at once."""
    return World()


def bad_values(name, number):
    yield from (1.5, float(number), np.float64(number), True, False, np.True_, "1")
    yield from ([number], np.array([number, number]), np.array(float(number)))
    if name not in OR_NONE:
        yield None


@every_row
def test_what_is_no_whole_number_is_refused_before_anything_has_changed(world, name, call, value):
    before, number = world.digest(), value(world)
    for bad in bad_values(name, number):
        with pytest.raises(PinpageError) as caught:
            call(world, world.machine, bad)
        assert repr(bad) in str(caught.value), "it says what it was given"
        assert world.digest() == before, bad


def test_the_machine_is_consistent_after_all_of_them():
    world = World()
    for name, call, value in ROWS:
        for bad in bad_values(name, value(world)):
            with pytest.raises(PinpageError):
                call(world, world.machine, bad)
    world.check()


COLUMNS = [
    ("free-many", lambda w, m, c: m.buddy.free_many(c), lambda w: [w.page, w.low]),
    ("put-taken", lambda w, m, c: m.buddy.put_taken(c), lambda w: w.taken.tolist()),
    ("taken-to-used", lambda w, m, c: m.buddy.taken_to_used(c), lambda w: w.taken.tolist()),
    ("take", lambda w, m, c: m.buddy.take(c), first_free),
    ("pcp-adopt", lambda w, m, c: m.pcp.adopt(c), lambda w: w.taken.tolist()),
    ("lru-add", lambda w, m, c: m.lru.add_many(c), lambda w: [w.page, w.low]),
    ("lru-putback", lambda w, m, c: m.lru.putback_many(c), lambda w: [w.page, w.low]),
    ("lru-del", lambda w, m, c: m.lru.del_many(c), lambda w: (w.process.pte[:2] - 1).tolist()),
    ("activate", lambda w, m, c: m.lru.activate(c), lambda w: (w.process.pte[:2] - 1).tolist()),
    ("dontneed", lambda w, m, c: m.memory.dontneed(w.process, c), lambda _: [1, 3]),
    (
        "map-vpns",
        lambda w, m, c: m.rmap.map_many(w.process, c, np.array([w.low, w.page])),
        lambda _: [7, 8],
    ),
    (
        "map-pfns",
        lambda w, m, c: m.rmap.map_many(w.process, np.array([7, 8]), c),
        lambda w: [w.low, w.low + 127],
    ),
]


every_column = pytest.mark.parametrize(
    ("name", "call", "values"), COLUMNS, ids=[column[0] for column in COLUMNS]
)


@every_column
def test_a_column_of_any_integers_does_what_a_wide_one_does(name, call, values):
    world = World()
    numbers = values(world)
    expected = world.digest(call(world, world.machine, np.array(numbers)))
    for kind in INT_TYPES:
        if max(numbers) <= np.iinfo(kind).max:
            world = World()
            assert world.digest(call(world, world.machine, np.array(numbers, kind))) == expected
    world = World()
    assert world.digest(call(world, world.machine, numbers)) == expected


@every_column
def test_what_is_no_column_of_integers_is_refused_before_anything_has_changed(
    world, name, call, values
):
    before, good = world.digest(), np.array(values(world))
    bad = [good.astype(float), good[:, None], good.reshape(1, -1), good[0], good > 0, [1, True]]
    for column in bad:
        with pytest.raises(PinpageError, match="one column of integers"):
            call(world, world.machine, column)
        assert world.digest() == before, column


BUILD = {
    "nr_pages": 4096,
    "nr_nodes": 2,
    "nr_cpus": 4,
    "page_nr_bytes": 8192,
    "pageblock_order": 6,
    "max_order": 7,
}


@pytest.mark.parametrize("name", BUILD)
def test_a_machine_is_built_of_whole_numbers(name):
    for kind in INT_TYPES:
        if BUILD[name] <= np.iinfo(kind).max:
            given = {**BUILD, name: kind(BUILD[name])}
            machine = Machine.build(**given, contents="tags")
            assert not numpy_scalars(machine)
            assert machine.digest() == Machine.build(**BUILD, contents="tags").digest()
    for bad in (1.5, float(BUILD[name]), True, "1", np.array([1, 2])):
        with pytest.raises(PinpageError, match=name):
            Machine.build(**{**BUILD, name: bad}, contents="tags")


def test_bytes_go_where_a_whole_number_says():
    machine = Machine.build(nr_pages=SIZE)
    process = machine.memory.mmap("process", 4)
    machine.memory.write(process, 0, b"xy", np.int8(100))
    assert machine.memory.read(process, 0)[100:102] == b"xy"
    before = machine.digest()
    with pytest.raises(PinpageError, match=r"offset=0\.5"):
        machine.memory.write(process, 1, b"xy", 0.5)
    assert machine.digest() == before, "no page was touched for it"


def test_the_smallest_frames_columns_are_of_whole_numbers():
    assert type(Frames(np.int16(100)).nr_frames) is int
    assert type(Pageblocks(np.int16(100), np.int8(64)).nr_pages_per_block) is int
    for bad in (1.5, 64.0, True, None):
        for make in (Frames, Pageblocks, lambda n: Pageblocks(100, n)):
            with pytest.raises(PinpageError, match="whole number"):
                make(bad)


def test_a_choice_is_the_one_that_was_offered():
    kinds = tuple(MigrateType)
    assert one_of(kinds, "call", kind=np.int8(1))[0] is MigrateType.MOVABLE
    assert one_of((None, True, False), "call", flag=False) == (False,)
    for bad in (1.0, True, np.float64(1), "1", None, [1]):
        with pytest.raises(PinpageError, match="call: kind="):
            one_of(kinds, "call", kind=bad)
    for bad in (1, 0.0, "", np.array([True, False])):
        with pytest.raises(PinpageError, match="call: flag="):
            one_of((None, True, False), "call", flag=bad)
