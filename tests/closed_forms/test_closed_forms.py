"""What can be computed beside what the library does (C1, C2, C5, C9 to C13).

Each says how much memory or how many trials it takes, and how far the two may be apart: four
standard deviations of what is counted, unless the two must be equal.  Every draw is seeded.
C7, the probes of a hash of 1024 buckets, stands beside the registry's probes and with the other
objections of 2013 in tests/unit/pinlab/defects/test_measure.py; C10 as a machine grows, in
tests/unit/pinlab/load/test_growth.py.
"""

import numpy as np
import pytest
from scipy import stats

from mm.buddy.fragindex import fragmentation_index, unusable_free, unusable_free_index
from mm.machine import Machine
from mm.move.design import Unmovable
from mm.state.frames import FrameState
from mm.state.gfp import Gfp
from owners.opaque import OpaqueOwner
from owners.zbud.pool import ZbudPool
from owners.zsmalloc.pool import ZsPool
from pinpage.owner import Mode
from pinpage.registry import PinRegistry
from pinpage.topology import Topology
from pinpage.units import Span
from tests.kit.mm.machines import Drawn, small_machine

BLOCK = 512
NR_SIGMAS = 4


def require_share(nr_hits, nr_trials, expected):
    """So many of so many, where each has the expected chance."""
    sigma = np.sqrt(expected * (1 - expected) / nr_trials)
    assert abs(nr_hits / nr_trials - expected) <= NR_SIGMAS * sigma + 1 / nr_trials


def taken(nr_blocks, pfns):
    """A machine of so many pageblocks in which these frames are in use."""
    machine = Machine.build(nr_pages=nr_blocks * BLOCK, contents="tags")
    machine.buddy.take(np.sort(pfns))
    machine.buddy.taken_to_used(np.sort(pfns))
    return machine


@pytest.mark.parametrize("share", [1e-4, 1e-3, 5e-3])
def test_c1_blocks_that_uniform_pins_leave_whole(share):
    """(1 - p)^n of 2,048 pageblocks are free from end to end, by the buddy's own lists."""
    nr_blocks = 2048
    rng = np.random.default_rng(1)
    machine = taken(nr_blocks, np.flatnonzero(rng.random(nr_blocks * BLOCK) < share))
    nr_whole = np.count_nonzero(machine.buddy.wholly_free())
    require_share(nr_whole, nr_blocks, (1 - share) ** BLOCK)


def test_c1_a_fixed_number_of_pins_is_hypergeometric():
    """64 blocks, 50 pins: whole ones over 30 layouts; the exact form, without replacement."""
    nr_blocks, nr_pins, nr_layouts = 64, 50, 30
    nr_frames, nr_whole = nr_blocks * BLOCK, 0
    rng = np.random.default_rng(2)
    for _ in range(nr_layouts):
        machine = taken(nr_blocks, rng.choice(nr_frames, nr_pins, replace=False))
        nr_whole += np.count_nonzero(machine.buddy.wholly_free())
    exact = stats.hypergeom(nr_frames, nr_pins, BLOCK).pmf(0)
    require_share(nr_whole, nr_blocks * nr_layouts, exact)


def test_c2_seven_hundred_pins_in_a_tebibyte_leave_half_of_its_gibibytes():
    """1,024 gibibytes, looked through by the registry's own walk."""
    order = 18
    nr_gib = 1024
    density = 1 - 0.5 ** (1 / 2**order)
    nr_pins = round(density * nr_gib * 2**order)
    assert 705 <= nr_pins <= 715
    registry = PinRegistry(Topology.uniform(nr_frames=nr_gib << order))
    owner = OpaqueOwner("driver", movable=False, registry=registry)
    pfns = np.random.default_rng(3).choice(nr_gib << order, nr_pins, replace=False)
    registry.pin_many(np.sort(pfns), owner, np.arange(nr_pins))
    following = [registry.next_pinned(gib << order) for gib in range(nr_gib)]
    nr_clean = sum(pfn is None or pfn >> order > gib for gib, pfn in enumerate(following))
    require_share(nr_clean, nr_gib, 0.5)


@pytest.mark.parametrize("movable_share", [0.0, 0.5, 0.9])
def test_c5_what_if_one_owner_let_its_pins_move(movable_share):
    """(1 - p(1 - s))^n of 1,024 pageblocks can be emptied: the census's bound."""
    nr_blocks, density = 1024, 2e-3
    rng = np.random.default_rng(4)
    pfns = np.flatnonzero(rng.random(nr_blocks * BLOCK) < density)
    machine = taken(nr_blocks, pfns)
    registry = machine.use_registry()
    is_movable = rng.random(len(pfns)) < movable_share
    for name, mine in (("moves", is_movable), ("stays", ~is_movable)):
        owner = OpaqueOwner(name, movable=name == "moves", registry=registry)
        owner.adopt(pfns[mine])
    expected = (1 - density * (1 - movable_share)) ** BLOCK
    require_share(machine.bound(Mode.SYNC), nr_blocks, expected)


@pytest.mark.parametrize(("nr_retries", "busy"), [(1, 0.05), (3, 0.05), (5, 0.1)])
def test_c9_a_range_of_pages_that_are_busy_now_and_then(nr_retries, busy):
    """1 - (1 - (1 - q)^n)^R: 32 pages, isolated wholly or not at all, 400 requests."""
    nr_pages, nr_requests = 32, 400
    machine = small_machine(5)
    frames, span, design = machine.frames, Span(0, nr_pages), Unmovable()
    pfns = np.arange(nr_pages)
    machine.buddy.take(pfns)
    rng = np.random.default_rng(5)
    nr_obtained = 0
    for _ in range(nr_requests):
        for _ in range(nr_retries):
            is_busy = rng.random(nr_pages) < busy
            frames.state[pfns] = np.where(is_busy, FrameState.USED, FrameState.TAKEN)
            frames.refcount[pfns] = is_busy
            found = machine.evacuator.isolate(span, design)
            if found:
                machine.evacuator.undo(span)
                nr_obtained += 1
                break
            assert is_busy[found.pfn], "the frame in the way is one that is busy"
    expected = 1 - (1 - (1 - busy) ** nr_pages) ** nr_retries
    require_share(nr_obtained, nr_requests, expected)


def test_c10_what_is_kept_together_costs_the_fewest_blocks():
    """5,000 kernel pages: ceil(U / n) blocks by the allocator; scattered, all that are hit."""
    nr_blocks, nr_pages = 64, 5000
    machine = Machine.build(nr_pages=nr_blocks * BLOCK, contents="tags")
    for _ in range(nr_pages):
        machine.alloc_page(Gfp.KERNEL)
    machine.pcp.drain_all()
    nr_tainted = nr_blocks - np.count_nonzero(machine.buddy.wholly_free())
    assert nr_tainted == -(-nr_pages // BLOCK)
    rng = np.random.default_rng(6)
    few = 100
    scattered = taken(nr_blocks, rng.choice(nr_blocks * BLOCK, few, replace=False))
    nr_whole = np.count_nonzero(scattered.buddy.wholly_free())
    require_share(nr_whole, nr_blocks, (1 - 1 / nr_blocks) ** few)


def test_c11_a_zbud_page_is_empty_when_both_of_its_objects_are():
    """f^2 of 1,500 full pages go when each object is freed with chance f."""
    nr_pages, share = 1500, 0.6
    machine = Machine.build(nr_pages=4 * BLOCK, contents="tags")
    pool = ZbudPool(machine)
    handles = [pool.alloc(1900) for _ in range(2 * nr_pages)]
    assert pool.pages_nr == nr_pages
    for handle, goes in zip(handles, np.random.default_rng(7).random(len(handles)), strict=True):
        if goes < share:
            pool.free(handle)
    require_share(nr_pages - pool.pages_nr, nr_pages, share**2)


def test_c11_a_zspage_of_five_objects_rarely_is():
    """f^5 of 300 full zspages of three pages."""
    nr_zspages, share = 300, 0.8
    machine = Machine.build(nr_pages=4 * BLOCK, contents="tags")
    pool = ZsPool(machine)
    handles = [pool.alloc(2400) for _ in range(5 * nr_zspages)]
    assert pool.pages_nr == 3 * nr_zspages
    for handle, goes in zip(handles, np.random.default_rng(8).random(len(handles)), strict=True):
        if goes < share:
            pool.free(handle)
    require_share(nr_zspages - pool.pages_nr // 3, nr_zspages, share**5)


def test_c12_the_time_of_a_move_is_linear_in_pages_and_in_batches():
    """n (u + c) + ceil(n / b) F and a fixed cost per call, to the nanosecond, as really counted."""
    without_flushes = {}
    for nr_pages in (1, 2, 7, 8, 32, 33, 64, 65, 100):
        machine = Drawn(*["a" * 8] * 13, *["." * 8] * 14).machine
        before = machine.counted()
        report = machine.mover.move_home(np.arange(nr_pages), Free(machine))
        assert report.nr_moved == nr_pages
        done = machine.counted().since(before)
        assert done.flushes == -(-nr_pages // 32)
        flushes_ns = done.flushes * machine.costs.flush_ns
        without_flushes[nr_pages] = machine.costs.cost_of(done) - flushes_ns
    per_page_ns = without_flushes[2] - without_flushes[1]
    fixed_ns = without_flushes[1] - per_page_ns
    assert 0 <= fixed_ns < per_page_ns
    for nr_pages, rest_ns in without_flushes.items():
        assert rest_ns == fixed_ns + nr_pages * per_page_ns


class Free:
    """Free frames from the top."""

    def __init__(self, machine):
        self._machine = machine

    def take(self, count):
        free = np.flatnonzero(self._machine.frames.state == FrameState.FREE)[::-1][:count]
        self._machine.buddy.take(free)
        return free

    def give_back(self, pfns):
        self._machine.buddy.put_taken(pfns)


def test_c13_gormans_indices_of_a_real_layout():
    """Fu and the fragmentation index of 40 layouts, from the free frames themselves."""
    rng = np.random.default_rng(9)
    for share in np.linspace(0.01, 0.9, 40):
        machine = taken(8, np.flatnonzero(rng.random(8 * BLOCK) < share))
        is_free = machine.frames.state == FrameState.FREE
        by_order = machine.buddy.nr_free_by_order().sum(axis=0)
        before = 0.0
        for order in range(10):
            nr_cut = int(is_free.reshape(-1, 1 << order).all(axis=1).sum())
            nr_free = int(is_free.sum())
            usable = nr_cut << order
            exact = (nr_free - usable) / nr_free
            assert unusable_free(by_order, order) == pytest.approx(exact, abs=1e-12)
            assert unusable_free_index(by_order, order) == (nr_free - usable) * 1000 // nr_free
            assert before <= exact <= 1
            before = exact
            index = fragmentation_index(by_order, order)
            nr_blocks = int(by_order.sum())
            if nr_cut:
                assert index == -1000
            else:
                ideal = 1000 * (1 - (1 + nr_free / (1 << order)) / nr_blocks)
                assert abs(index - ideal) <= 1 + 1000 / nr_blocks
