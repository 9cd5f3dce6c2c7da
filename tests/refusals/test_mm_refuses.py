"""A caller's mistake in mm: one clear line, and nothing has changed.

Each row is a call that makes no sense on a machine where everything is in use a little, and
what the refusal must name.  After it the machine is consistent and, as far as it can be
reached, the same: flags, lists, bitmaps, counts and private state.
"""

import numpy as np
import pytest

from mm.machine import Machine
from mm.paging.shmem import shmem_create
from mm.paging.swapfile import find_next_to_unuse, try_to_unuse, try_to_unuse_swp_entry
from mm.paging.vmscan import shrink_active, shrink_inactive
from mm.state.frames import FrameState
from mm.state.gfp import Gfp
from mm.state.nodes import Zone
from mm.state.pageblock import MigrateType
from mm.swap.swapops import swp_entry
from pinpage.errors import InvariantError, PinpageError
from pinpage.owner import PinOwner
from pinpage.testing.world import column
from pinpage.units import Span
from tests.kit.deep import deep_digest
from tests.kit.mm.machines import SIZE, small_machine

OFF, AWAY, AREA = 0, 14, 12  # pageblocks: switched off, offline, of the device


class Holder(PinOwner):
    """Pins one frame."""

    name = "holder"


class Ground:
    """Sixteen pageblocks of eight frames, something of everything in them."""

    def __init__(self):
        self.machine = m = small_machine(16, arena=True)
        registry = m.use_registry()
        self.area = m.cma.create(Span(AREA * SIZE, (AREA + 2) * SIZE))
        m.power.configure(SIZE)
        m.power.consolidate(m.design, want=1)
        assert m.power.is_off[OFF]
        m.hotplug.blocks.nr_pages = SIZE
        assert m.hotplug.offline(AWAY, m.design)
        m.swap.swapon(20)
        self.process = m.memory.mmap("process", 10)
        for vpn in range(6):
            m.memory.write(self.process, vpn, b"bytes")
        self.gone = m.memory.mmap("gone", 4)
        m.memory.write(self.gone, 0, b"bytes")
        m.memory.exit(self.gone)
        self.file = shmem_create(m.paging, "file", 4)
        m.hugetlb.grow(3)
        self.free, self.used = m.hugetlb.heads[0], m.hugetlb.alloc_huge_page()
        self.device = m.cma.alloc(6)
        m.cma.release(self.device + 4, 2)
        self.dma = m.alloc_page(Gfp.KERNEL)
        self.taken = m.buddy.take_free_in(10, limit=2)
        owner = Holder()
        registry.register(owner)
        registry.pin(self.dma, owner, 1)
        self.elsewhere = Machine.build(nr_pages=512)
        self.stranger = self.elsewhere.memory.mmap("stranger", 4)
        self.lost = self.elsewhere.swap.swapon(4)

    def digest(self):
        return deep_digest(self.machine, self.elsewhere, self.area, self.process, self.file)

    def check(self):
        """Two frames stand for targets of a move; all else must hold."""
        self.machine.buddy.put_taken(self.taken)
        self.machine.check()


def frames(machine, state):
    return np.flatnonzero(machine.frames.state == state)


MEMORY = [
    (lambda g, m: m.memory.mmap("p", -1), "nr_vpns=-1"),
    (lambda g, m: m.memory.mmap("p", 1.5), "nr_vpns=1.5"),
    (lambda g, m: m.memory.mmap("p", 1 << 31), "nr_vpns=2147483648"),
    (lambda g, m: m.memory.write(g.gone, 0, b"x"), "'gone' has exited"),
    (lambda g, m: m.memory.read(g.gone, 0), "'gone' has exited"),
    (lambda g, m: m.memory.touch(g.gone, 0, write=True), "'gone' has exited"),
    (lambda g, m: m.memory.dontneed(g.gone, column(0)), "'gone' has exited"),
    (lambda g, m: m.memory.fork(g.gone, "child"), "'gone' has exited"),
    (lambda g, m: m.memory.exit(g.gone), "'gone' has exited"),
    (lambda g, m: m.memory.write(g.stranger, 0, b"x"), "another machine's"),
    (lambda g, m: m.memory.exit(g.stranger), "another machine's"),
    (lambda g, m: m.memory.exit(g.file), "'file' is a file"),
    (lambda g, m: m.memory.fork(g.file, "child"), "'file' is a file"),
    (lambda g, m: m.memory.dontneed(g.file, column(0)), "'file' is a file"),
    (lambda g, m: m.memory.write(g.process, 10, b"x"), "vpn 0xa is outside"),
    (lambda g, m: m.memory.read(g.process, -1), "vpn -0x1 is outside"),
    (lambda g, m: m.memory.write(g.process, 0, b"x", -1), "at -1: beyond the page"),
    (lambda g, m: m.memory.write(g.process, 0, b"xy", 4095), "at 4095: beyond the page"),
    (lambda g, m: m.memory.dontneed(g.process, column(3, 3)), "vpn 0x3 .* named twice"),
    (lambda g, m: m.memory.dontneed(g.process, column(3, 99)), "vpn 0x63 is outside"),
    (lambda g, m: m.memory.dontneed(g.process, column(-1)), "vpn -0x1 is outside"),
]

CMA = [
    (lambda g, m: m.cma.create(Span(OFF * SIZE, (OFF + 1) * SIZE)), "pageblock 0 is isolated"),
    (lambda g, m: m.cma.create(Span(AWAY * SIZE, (AWAY + 1) * SIZE)), "is offline"),
    (lambda g, m: m.cma.create(Span(12 * SIZE, 13 * SIZE)), "overlaps an area"),
    (lambda g, m: m.cma.create(Span(g.used, g.used + SIZE)), "is in use: create areas at boot"),
    (lambda g, m: m.cma.create(Span(3, 11)), "not whole pageblocks"),
    (lambda g, m: m.cma.create(Span(0, 17 * SIZE)), "not whole pageblocks"),
    (lambda g, m: m.cma.create(Span(11 * SIZE, 12 * SIZE), -1), "order_per_bit=-1"),
    (lambda g, m: m.cma.create(Span(11 * SIZE, 12 * SIZE), 9), "order_per_bit=9"),
    (lambda g, m: m.cma.create(Span(SIZE, 0)), "not a range"),
    (lambda g, m: m.cma.request(0), "count=0"),
    (lambda g, m: m.cma.request(-3), "count=-3"),
    (lambda g, m: m.cma.request(1, -1), "align_order=-1"),
    (lambda g, m: m.cma.request(1, 64), "align_order=64"),
    (lambda g, m: m.cma.request(1, strategy="guess"), "strategy='guess'"),
    (lambda g, m: m.cma.request(1, area=object()), "an area that exists"),
    (lambda g, m: m.cma.release(g.device, 0), "count=0"),
    (lambda g, m: m.cma.release(g.device, -1), "count=-1"),
    (lambda g, m: m.cma.release(g.device + 4, 2), "no device has pfn 0x64"),
    (lambda g, m: m.cma.release(g.device, 6), "no device has pfn 0x64"),
    (lambda g, m: m.cma.release(g.device + 7, 1), "no device has pfn 0x67"),
]

CONTIG = [
    (lambda g, m: m.contig.alloc_contig_range(8, 8, m.design), "is empty"),
    (lambda g, m: m.contig.alloc_contig_range(16, 8, m.design), "not a range"),
    (lambda g, m: m.contig.alloc_contig_range(-8, 8, m.design), "not a range"),
    (lambda g, m: m.contig.alloc_contig_range(120, 129, m.design), "outside memory"),
    (
        lambda g, m: m.contig.alloc_contig_range(AWAY * SIZE, AWAY * SIZE + 4, m.design),
        "is offline",
    ),
    (
        lambda g, m: m.contig.alloc_contig_range(80, 88, m.design, migratetype=MigrateType.ISOLATE),
        "migratetype=",
    ),
    (lambda g, m: m.contig.free_contig_range(g.dma, 0), "nr_pages=0"),
    (lambda g, m: m.contig.free_contig_range(g.dma, -1), "nr_pages=-1"),
    (lambda g, m: m.contig.free_contig_range(-1, 1), "not a range"),
    (lambda g, m: m.contig.free_contig_range(127, 2), "pfn=127"),
    (
        lambda g, m: m.contig.free_contig_range(int(frames(m, FrameState.FREE)[0]), 1),
        "is not in use",
    ),
]

HUGE = [
    (lambda g, m: m.hugetlb.set_max(-1), "-1 pages"),
    (lambda g, m: m.hugetlb.set_max(1, node=7), "node 7"),
    (lambda g, m: m.hugetlb.grow(-1), "count=-1"),
    (lambda g, m: m.hugetlb.grow(1, node=-1), "node -1"),
    (lambda g, m: m.hugetlb.claim(-1), "count=-1"),
    (lambda g, m: m.hugetlbs.of(2 * SIZE).claim(1), "walk for them"),
    (lambda g, m: m.hugetlb.shrink(-1), "count=-1"),
    (lambda g, m: m.hugetlb.alloc_huge_page(3), "node 3"),
    (lambda g, m: m.hugetlb.free_page(g.used), "1 users"),
    (lambda g, m: m.hugetlb.free_page(g.free + 1), "no huge page starts"),
    (lambda g, m: m.hugetlb.give_back(g.used), "1 users"),
    (lambda g, m: m.hugetlb.give_back(1), "no huge page starts"),
    (lambda g, m: m.hugetlb.use(1), "no huge page starts"),
    (lambda g, m: m.hugetlb.unuse(g.free), "nobody uses"),
    (lambda g, m: m.hugetlb.share(g.free), "nobody uses"),
    (lambda g, m: m.hugetlb.free_huge_page(g.free), "nobody uses"),
    (lambda g, m: m.hugetlb.free_huge_page(-8), "no huge page starts"),
    (lambda g, m: m.hugetlb.hand_over(g.free, g.used), "nobody uses"),
    (lambda g, m: m.hugetlb.hand_over(g.used, g.used), "1 users"),
    (lambda g, m: m.hugetlb.adopt(g.free), "are no page"),
    (lambda g, m: m.hugetlb.adopt(g.device), "are no page"),
    (lambda g, m: m.hugetlb.adopt(-8), "head=-8"),
    (lambda g, m: m.hugetlb.adopt(124), "head=124"),
    (lambda g, m: m.hugetlbs.of(0), "0 pages"),
    (lambda g, m: m.hugetlbs.of(-8), "-8 pages"),
    (lambda g, m: m.hugetlbs.of(24), "24 pages"),
    (lambda g, m: m.hugetlbs.gigantic_of(SIZE), "not gigantic"),
    (lambda g, m: m.hugetlbs.gigantic_of(16).walk(9), "node=9"),
    (lambda g, m: m.hugetlbs.gigantic_of(16).walk(knowledge="all"), "knowledge='all'"),
    (lambda g, m: m.hugetlbs.gigantic_of(16).survey(9), "node=9"),
    (lambda g, m: m.hugetlbs.gigantic_of(16).survey(knowledge="all"), "knowledge='all'"),
    (lambda g, m: m.hugetlbs.gigantic_of(16).plan(-1), "want=-1"),
    (lambda g, m: m.hugetlbs.gigantic_of(16).plan(1, 9), "node=9"),
    (lambda g, m: m.hugetlbs.gigantic_of(16).alloc_planned(9), "node=9"),
]

HOTPLUG = [
    (lambda g, m: m.hotplug.offline(-1, m.design), "block -1"),
    (lambda g, m: m.hotplug.offline(16, m.design), "block 16"),
    (lambda g, m: m.hotplug.offline(1, m.design, strategy="guess"), "strategy='guess'"),
    (lambda g, m: m.hotplug.verdict(99, m.design), "block 99"),
    (lambda g, m: m.hotplug.refusal(-1), "block -1"),
    (lambda g, m: m.hotplug.cheapest(m.design, want=-1), "want=-1"),
    (lambda g, m: m.hotplug.online(99), "block 99"),
    (lambda g, m: m.hotplug.online(AWAY, kind="warm"), "kind='warm'"),
    (lambda g, m: m.hotplug.add(16), "block 16"),
    (lambda g, m: m.hotplug.remove(-1), "block -1"),
    (lambda g, m: setattr(m.hotplug.blocks, "nr_pages", 2 * SIZE), "their size stays"),
    (lambda g, m: setattr(m.hotplug.blocks, "nr_pages", 0), "nr_pages=0"),
]

POWER = [
    (lambda g, m: m.power.configure(SIZE), "switch every region on"),
    (lambda g, m: m.power.configure(0), "region_nr_pages=0"),
    (lambda g, m: m.power.configure(-SIZE), "region_nr_pages=-8"),
    (lambda g, m: m.power.configure(3), "region_nr_pages=3"),
    (lambda g, m: m.power.configure(SIZE, nr_interleaved=0), "nr_interleaved=0"),
    (lambda g, m: m.power.consolidate(m.design, strategy="guess"), "strategy='guess'"),
    (lambda g, m: m.power.consolidate(m.design, want=-1), "want=-1"),
    (lambda g, m: m.power.consolidate(m.design, expected_idle_ns=-1), "expected_idle_ns=-1"),
    (lambda g, m: m.power.consolidate(m.design, reserve=-1), "reserve=-1"),
    (lambda g, m: m.power.power_on(16), "group 16"),
    (lambda g, m: m.power.power_on(-1), "group -1"),
    (lambda g, m: m.power.relieve(-1), "nr_pages=-1"),
]

SWAP = [
    (lambda g, m: m.swap.swapon(1), "nr_slots=1"),
    (lambda g, m: m.swap.swapon(-5), "nr_slots=-5"),
    (lambda g, m: find_next_to_unuse(m.swap.areas[0], -1), "prev=-1"),
    (lambda g, m: find_next_to_unuse(m.swap.areas[0], 20), "prev=20"),
    (lambda g, m: try_to_unuse(m.paging, m.swap.areas[0], pages_to_unuse=-1), "pages_to_unuse=-1"),
    (lambda g, m: try_to_unuse(m.paging, g.lost), "another machine's"),
    (
        lambda g, m: try_to_unuse_swp_entry(
            m.paging, m.swap.mmlist.init_mm, m.swap.areas[0], swp_entry(1, 2)
        ),
        "names no slot of area 0",
    ),
    (
        lambda g, m: try_to_unuse_swp_entry(
            m.paging, m.swap.mmlist.init_mm, m.swap.areas[0], swp_entry(0, 20)
        ),
        "names no slot of area 0",
    ),
    (
        lambda g, m: try_to_unuse_swp_entry(
            m.paging, m.swap.mmlist.init_mm, g.lost, swp_entry(0, 1)
        ),
        "another machine's",
    ),
    (
        lambda g, m: try_to_unuse_swp_entry(m.paging, g.process, m.swap.areas[0], swp_entry(0, 1)),
        "not in the mmlist",
    ),
    (lambda g, m: m.reclaimer.shrink(-1), "nr_to_scan=-1"),
    (lambda g, m: shrink_inactive(m.paging, -1), "nr_to_scan=-1"),
    (lambda g, m: shrink_active(m.paging, -1), "nr_to_scan=-1"),
]

ALLOCATION = [
    (lambda g, m: m.alloc_pages(-1, Gfp.KERNEL), "order=-1"),
    (lambda g, m: m.alloc_pages(11, Gfp.KERNEL), "order=11"),
    (lambda g, m: m.allocator.alloc_pages(0, Gfp.KERNEL, 4), "node=4"),
    (lambda g, m: m.allocator.add_zone(m.zones[0]), "index=0"),
    (lambda g, m: m.add_zone(m.zones[0]), "index"),
    (lambda g, m: m.add_zone(Zone(3, "Normal", 0, Span(0, 0), 0)), "index"),
    (lambda g, m: m.free_page(-1), "pfn=-1"),
    (lambda g, m: m.free_page(128), "pfn=128"),
    (lambda g, m: m.free_page(int(frames(m, FrameState.FREE)[0])), "has 0 references"),
    (lambda g, m: m.get_page(-1), "pfn=-1"),
    (lambda g, m: m.get_page(128), "pfn=128"),
    (lambda g, m: m.get_page(int(frames(m, FrameState.FREE)[0])), "is free or frozen"),
    (lambda g, m: m.put_page(-1), "pfn=-1"),
    (lambda g, m: m.put_page(128), "pfn=128"),
    (lambda g, m: m.put_page(1.5), "pfn=1.5"),
    (lambda g, m: m.compact("guess"), "strategy='guess'"),
    (lambda g, m: m.compact("scan", node=5), "node=5"),
    (lambda g, m: m.compact("plan", node=0), "node=0"),
    (lambda g, m: m.use_registry(), "1 pins stand"),
    (lambda g, m: Machine.build(nr_pages=0), "nr_pages=0"),
    (lambda g, m: Machine.build(nr_pages=512, nr_nodes=0), "nr_nodes=0"),
    (lambda g, m: Machine.build(nr_pages=512, nr_nodes=2), "node"),
    (lambda g, m: Machine.build(nr_pages=512, nr_cpus=0), "nr_cpus=0"),
    (lambda g, m: Machine.build(nr_pages=512, contents="none"), "contents='none'"),
    (lambda g, m: m.buddy.alloc(-1, 0), "order=-1"),
    (lambda g, m: m.buddy.alloc(11, 0), "order=11"),
    (lambda g, m: m.buddy.alloc(0, MigrateType.CMA), "migratetype=4"),
    (lambda g, m: m.buddy.alloc(0, 0, zone=1), "zone=1"),
    (lambda g, m: m.buddy.alloc(0, 0, zone=-1), "zone=-1"),
    (lambda g, m: m.buddy.alloc_many(-1, 0), "count=-1"),
    (lambda g, m: m.buddy.alloc_many(2, 0, zone=5), "zone=5"),
    (lambda g, m: m.buddy.alloc_many(2, 5), "migratetype=5"),
    (lambda g, m: m.buddy.free(-1), "outside the machine"),
    (lambda g, m: m.buddy.free(0, -1), "outside the machine"),
    (lambda g, m: m.buddy.free(128), "outside the machine"),
    (lambda g, m: m.buddy.free(1, 1), "not aligned"),
    (lambda g, m: m.buddy.free(int(frames(m, FrameState.FREE)[0])), "is FREE"),
    (lambda g, m: m.buddy.free_many(column(g.dma, g.dma)), "named twice"),
    (lambda g, m: m.buddy.free_many(np.array([g.dma + 0.5])), "one column of integers"),
    (lambda g, m: m.buddy.free_many(column(g.dma, 128)), "outside the machine"),
    (lambda g, m: m.buddy.put_taken(column(g.dma)), "is USED"),
    (lambda g, m: m.buddy.take(column(g.dma)), "is USED"),
    (lambda g, m: m.buddy.take(frames(m, FrameState.FREE)[[0, 0]]), "named twice"),
    (lambda g, m: m.buddy.take_free_in(-1), "block=-1"),
    (lambda g, m: m.buddy.take_free_in(16), "block=16"),
    (lambda g, m: m.buddy.taken_to_used(column(g.dma)), "is USED"),
    (lambda g, m: m.buddy.taken_to_used(g.taken[[0, 0]]), "named twice"),
    (lambda g, m: m.buddy.taken_to_used(column(-1)), "outside the machine"),
    (lambda g, m: m.buddy.claim_block(-1), "block=-1"),
    (lambda g, m: m.buddy.claim_block(16), "block=16"),
    (lambda g, m: m.buddy.set_migratetype(-1, 0), "block=-1"),
    (lambda g, m: m.buddy.set_migratetype(0, 6), "6 is no migratetype"),
    (lambda g, m: m.pcp.alloc(3), "migratetype=3"),
    (lambda g, m: m.pcp.alloc(0, 2), "cpu=2"),
    (lambda g, m: m.pcp.alloc(0, -1), "cpu=-1"),
    (lambda g, m: m.pcp.alloc(0, zone=1), "zone=1"),
    (lambda g, m: m.pcp.alloc(0, zone=-1), "zone=-1"),
    (lambda g, m: m.pcp.free(g.dma, 2), "cpu=2"),
    (lambda g, m: m.pcp.free(g.dma, -1), "cpu=-1"),
    (lambda g, m: m.pcp.free(-1), "outside the machine"),
    (lambda g, m: m.pcp.free(int(frames(m, FrameState.FREE)[0])), "is FREE"),
    (lambda g, m: m.pcp.adopt(column(g.dma), 2), "cpu=2"),
    (lambda g, m: m.pcp.adopt(column(g.dma, g.dma)), "named twice"),
]

LISTS = [
    (lambda g, m: m.lru.add_many(column(g.dma, g.dma)), "named twice"),
    (lambda g, m: m.lru.add_many(column(-1)), "outside the machine"),
    (lambda g, m: m.lru.add_many(column(128)), "outside the machine"),
    (lambda g, m: m.lru.add_many(frames(m, FrameState.FREE)[:2]), "is not used"),
    (lambda g, m: m.lru.add_many(m.lru.members(active=False)), "on a list already"),
    (lambda g, m: m.lru.add_page(int(m.lru.members(active=False)[0])), "on a list already"),
    (lambda g, m: m.lru.add_page(int(frames(m, FrameState.FREE)[0])), "is not used"),
    (lambda g, m: m.lru.del_many(m.lru.members(active=False)[[0, 1, 0]]), "named twice"),
    (lambda g, m: m.lru.del_many(column(g.dma)), "on no list"),
    (lambda g, m: m.lru.del_page(g.dma), "on no list"),
    (lambda g, m: m.lru.activate(m.lru.members(active=False)[[0, 0]]), "named twice"),
    (lambda g, m: m.lru.oldest(-1), "count=-1"),
]

DAEMONS = [
    (lambda g, m: m.kcompactd[0].run(-1), "order=-1"),
    (lambda g, m: m.kcompactd[0].run(11), "order=11"),
    (lambda g, m: m.start_daemons().wake(-1, m.zones), "order=-1"),
    (lambda g, m: m.start_daemons().wake(11, m.zones), "order=11"),
]

ROWS = [*MEMORY, *CMA, *CONTIG, *HUGE, *HOTPLUG, *POWER, *SWAP, *ALLOCATION, *LISTS, *DAEMONS]


@pytest.fixture(scope="module")
def ground():
    """One machine for all rows: whatever a refusal changes is found at once."""
    ground = Ground()
    ground.machine.start_daemons()
    for nr_pages in (16,):
        ground.machine.hugetlbs.of(nr_pages)
    return ground


@pytest.mark.parametrize(
    ("call", "says"), ROWS, ids=[f"{at}-{says}" for at, (_, says) in enumerate(ROWS)]
)
def test_it_is_refused_before_anything_has_changed(ground, call, says):
    before = ground.digest()
    with pytest.raises(PinpageError, match=says) as caught:
        call(ground, ground.machine)
    assert "\n" not in str(caught.value)
    assert ground.digest() == before


def test_the_machine_is_consistent_after_all_of_them():
    ground = Ground()
    for call, _ in ROWS:
        with pytest.raises(PinpageError):
            call(ground, ground.machine)
    ground.check()


def test_a_page_of_tags_has_no_bytes_to_write():
    machine = small_machine(4)
    process = machine.memory.mmap("process", 4)
    before = deep_digest(machine)
    with pytest.raises(PinpageError, match="keeps a tag per page"):
        machine.memory.write(process, 0, b"x")
    assert deep_digest(machine) == before


def test_a_percentage_that_is_none_is_told_before_the_next_look_is_set():
    machine = small_machine(4)
    kcompactd = machine.kcompactd[0]
    kcompactd.proactiveness = 200
    before = deep_digest(machine)
    with pytest.raises(PinpageError, match="proactiveness=200"):
        kcompactd.look(1 << 40)
    assert deep_digest(machine) == before


def test_runs_that_make_too_many_areas_are_not_adopted_by_half():
    machine = small_machine(20)
    for block in range(0, 20, 2):
        machine.buddy.set_migratetype(block, MigrateType.CMA)
    before = deep_digest(machine)
    with pytest.raises(PinpageError, match="there are 8 areas already"):
        machine.cma.adopt()
    assert deep_digest(machine) == before


def test_a_part_of_a_bit_is_lent_again_with_its_last_page():
    machine = small_machine(4)
    area = machine.cma.create(Span(0, 2 * SIZE), order_per_bit=2)
    pfn = machine.cma.alloc(6)
    assert area.bitmap.tolist() == [True, True, False, False]
    machine.cma.release(pfn, 3)
    assert area.bitmap[0], "its last page is still the device's"
    with pytest.raises(PinpageError, match="no device has pfn 0x6"):
        machine.cma.release(pfn + 3, 5)
    machine.cma.release(pfn + 3, 3)
    assert not area.bitmap.any()
    machine.check()


def test_bits_of_nobodys_pages_are_found():
    machine = small_machine(4)
    area = machine.cma.create(Span(0, 2 * SIZE))
    pfn = machine.cma.alloc(2)
    area.handed[pfn] = False
    with pytest.raises(InvariantError, match="CM5"):
        machine.check()
