"""The allocator: which zone, when it compacts, when it reclaims, and when it stops trying."""

import pytest

from mm.allocator.page_alloc import PageAllocator
from mm.compaction.compact_control import COSTLY_ORDER, WHOLE_ZONE, CompactReport, CompactResult
from mm.compaction.suitable import MAX_DEFER_SHIFT, compaction_suitable
from mm.machine import Machine
from mm.state.gfp import Gfp
from mm.state.nodes import Zone, setup_lowmem_reserve
from pinpage.owner import Mode
from pinpage.testing.world import column
from pinpage.units import Span
from tests.kit.mm.machines import Drawn, small_machine

USER = Gfp.HIGHUSER_MOVABLE
NO_WAIT = Gfp.HIGHUSER_MOVABLE & ~Gfp.RECLAIM


class Recorder:
    """Stands for the compaction of a machine; ends each scan as told, by default for nothing."""

    def __init__(self, machine, result=CompactResult.COMPLETE):
        self.controls, self.resets, self.result = [], [], result
        self.on_compact = lambda: None
        machine.allocator._compaction = self

    def compact_zone(self, control, design):
        self.controls.append(control)
        self.on_compact()
        return CompactReport(self.result)

    def reset_isolation_suitable(self, zone, *, only_stale=False):
        self.resets.append((zone.index, only_stale))

    @property
    def modes(self):
        return [control.mode for control in self.controls]


class NeverDeferred:
    """Compaction as if it had never failed."""

    def defers(self, order):
        return False

    is_restarting = defers

    def fail(self, order):
        """Forget it."""

    expect = fail


def fragmented(nr_blocks=8, **build):
    """Every second frame is free: plenty of memory, no block above order 0."""
    return Drawn(*["#.#.#.#."] * nr_blocks, **build)


# Zones and watermarks.


def test_order_0_comes_from_the_per_cpu_lists_and_larger_blocks_do_not():
    machine = small_machine(4)
    machine.alloc_page(USER)
    nr_listed = machine.pcp.nr_pages
    assert machine.buddy.nr_free() + nr_listed == 31
    machine.alloc_pages(2, USER)
    assert machine.pcp.nr_pages == nr_listed
    assert machine.counters.pages_allocated == 5
    machine.check()


def test_the_first_node_is_served_first_and_the_next_one_when_it_is_low():
    machine = small_machine(4, nr_nodes=2, marks=(2, 4, 6))
    nodes = [machine.alloc_pages(1, NO_WAIT) // 16 for _ in range(15)]
    # Down to low on each, then down to min, then nothing.
    assert nodes == [0] * 6 + [1] * 6 + [0, 1, -1]
    assert [machine.buddy.nr_free(zone) for zone in (0, 1)] == [2, 2]


def zoned():
    """Normal and Movable on one node."""
    machine = small_machine(4, nr_nodes=2)
    zones = [Zone(0, "Normal", 0, Span(0, 16)), Zone(1, "Movable", 0, Span(16, 32))]
    setup_lowmem_reserve(zones)
    machine.frames.node[:] = 0
    return Machine(machine.frames, machine.pageblocks, zones, machine.contents)


def test_the_movable_zone_takes_movable_requests_and_is_asked_first():
    machine = zoned()
    assert machine.alloc_pages(1, USER) >= 16
    assert machine.alloc_pages(1, Gfp.KERNEL) < 16
    for _ in range(7):
        assert machine.alloc_pages(1, USER) >= 16
    assert machine.alloc_pages(1, USER) < 16
    machine.check()


# Direct compaction.


def test_the_slow_path_makes_the_block_that_was_asked_for():
    drawn = Drawn(*["a.a.a.a."] * 8)
    assert drawn.machine.alloc_pages(3, USER) == 0
    drawn.machine.check()
    drawn.check_contents()


def test_without_direct_reclaim_there_is_no_slow_path():
    drawn = Drawn(*["a.a.a.a."] * 4, "#.#.#.#.")
    assert drawn.machine.alloc_pages(3, NO_WAIT) == -1
    assert drawn.machine.counters.pages_scanned == 0


@pytest.mark.parametrize("order", [4, 3])
@pytest.mark.parametrize("gfp", [Gfp.KERNEL, USER])
def test_async_comes_first_for_costly_orders_and_kernel_requests(order, gfp):
    """Movable requests for cheap orders reclaim first; none of them is ever SYNC."""
    drawn = fragmented(16)
    recorder = Recorder(drawn.machine)
    drawn.machine.allocator._deferrals[0] = NeverDeferred()
    drawn.machine.allocator.reclaim = lambda nr_pages: 1
    assert drawn.machine.alloc_pages(order, gfp | Gfp.RETRY_MAYFAIL) == -1
    first = [Mode.ASYNC] if order == 4 or gfp == Gfp.KERNEL else []
    fulls = [control.ignore_skip_hint for control in recorder.controls]
    assert recorder.modes == first + [Mode.SYNC_LIGHT] * (1 if order == 4 else 2)
    assert fulls.count(True) == (order == 3)
    assert {control.order for control in recorder.controls} == {order}
    for control in recorder.controls:
        assert control.ignore_skip_hint == control.any_target == control.whole_zone


def test_order_0_is_not_compacted_for():
    drawn = Drawn("########")
    recorder = Recorder(drawn.machine)
    assert drawn.machine.alloc_page(USER) == -1
    assert recorder.controls == []


def test_every_zone_of_the_zonelist_is_compacted_nearest_first():
    drawn = fragmented(8, nr_nodes=2)
    recorder = Recorder(drawn.machine)
    drawn.machine.alloc_pages(2, USER)
    assert [control.zone.index for control in recorder.controls] == [0, 1]


@pytest.mark.parametrize(
    ("order", "gfp", "nr_light", "nr_full"),
    [
        (2, USER, 17, 17),
        (4, USER | Gfp.RETRY_MAYFAIL, 5, 0),
        (4, USER, 1, 0),
        (2, USER | Gfp.NORETRY, 1, 0),
    ],
)
def test_progress_is_worth_16_retries_or_4_and_then_more_effort(order, gfp, nr_light, nr_full):
    """Each attempt makes a block that somebody else takes; costly orders want to be asked hard."""
    drawn = fragmented(16)
    machine = drawn.machine
    recorder = Recorder(machine, CompactResult.SUCCESS)
    machine.allocator._deferrals[0] = NeverDeferred()
    machine.allocator.reclaim = lambda nr_pages: 1
    assert machine.alloc_pages(order, gfp) == -1
    modes = recorder.modes[1:] if order == 4 else recorder.modes
    assert modes == [Mode.SYNC_LIGHT] * (nr_light + nr_full)
    assert sum(control.ignore_skip_hint for control in recorder.controls) == nr_full


def test_a_costly_request_without_retry_stays_asynchronous():
    drawn = fragmented(16)
    recorder = Recorder(drawn.machine)
    drawn.machine.allocator.reclaim = lambda nr_pages: 1
    assert drawn.machine.alloc_pages(4, USER | Gfp.NORETRY) == -1
    assert recorder.modes == [Mode.ASYNC, Mode.ASYNC]


def test_a_costly_request_without_retry_gives_up_where_compaction_is_left_out():
    drawn = fragmented(16)
    recorder, asked = Recorder(drawn.machine), []
    drawn.machine.allocator._deferrals[0].fail(4)
    drawn.machine.allocator.reclaim = lambda nr_pages: asked.append(nr_pages) or 1
    assert drawn.machine.alloc_pages(4, USER | Gfp.NORETRY) == -1
    assert (recorder.controls, asked) == ([], [])


def test_no_progress_ends_the_tries():
    drawn = fragmented()
    recorder, asked = Recorder(drawn.machine), []
    drawn.machine.allocator.reclaim = lambda nr_pages: asked.append(nr_pages) or 0
    assert drawn.machine.alloc_pages(2, USER) == -1
    assert (len(asked), len(recorder.controls)) == (1, 1)


def test_a_failed_attempt_is_followed_by_a_harder_one_while_reclaim_makes_progress():
    drawn = fragmented()
    recorder, asked = Recorder(drawn.machine), []
    drawn.machine.allocator._deferrals[0] = NeverDeferred()
    drawn.machine.allocator.reclaim = lambda nr_pages: asked.append(nr_pages) or 1
    assert drawn.machine.alloc_pages(2, USER) == -1
    assert asked == [32, 32]
    assert [control.ignore_skip_hint for control in recorder.controls] == [False, True]


def test_reclaim_for_a_costly_order_is_left_out_where_compaction_has_all_it_needs():
    """More than high + 2 * 2^order pages are free: what is missing is a block, not pages."""
    for nr_blocks, asks in ((16, False), (9, True)):
        drawn = fragmented(nr_blocks, marks=(1, 2, 4))
        recorder, asked = Recorder(drawn.machine), []
        drawn.machine.allocator.reclaim = lambda nr_pages, asked=asked: asked.append(nr_pages) or 0
        drawn.machine.alloc_pages(4, USER)
        assert bool(asked) == asks
        assert recorder.controls


def test_single_pages_are_reclaimed_for_as_long_as_there_is_something_to_reclaim():
    drawn = Drawn("########")
    left = [3]

    def reclaim(nr_pages):
        left[0] -= 1
        return 1

    drawn.machine.allocator.reclaim = reclaim
    drawn.machine.allocator.reclaimable = lambda: max(left[0], 0)
    assert drawn.machine.alloc_page(USER) == -1
    assert left == [0]
    left[0] = 40
    drawn.machine.allocator.reclaim = lambda nr_pages: left.append(nr_pages) or 0
    assert drawn.machine.alloc_page(USER) == -1
    assert len(left) - 1 == 17  # 16 rounds in vain, and the one after


def test_what_reclaim_freed_is_allocated():
    drawn = Drawn("aaaaaaaa", "########")
    machine = drawn.machine

    def reclaim(nr_pages):
        machine.memory.dontneed(drawn.space, column(*range(8)))
        return 8

    machine.allocator.reclaim = reclaim
    assert machine.alloc_pages(3, USER) == 0
    machine.check()


def test_compaction_and_reclaim_do_not_nest():
    """An allocation from inside the slow path fails at once (PF_MEMALLOC)."""
    drawn = fragmented()
    machine = drawn.machine
    recorder, inner = Recorder(machine), []
    recorder.on_compact = lambda: inner.append(machine.alloc_pages(3, USER))
    machine.allocator.reclaim = lambda nr_pages: inner.append(machine.alloc_pages(3, USER)) or 0
    assert machine.alloc_pages(2, Gfp.KERNEL) == -1
    assert inner == [-1, -1, -1]
    assert len(recorder.controls) == 2
    assert machine.alloc_pages(2, Gfp.KERNEL) == -1  # and the guard is gone afterwards
    assert len(recorder.controls) > 2


def test_what_runs_beside_is_woken_and_catches_up_after_each_compaction():
    drawn = fragmented(16)
    recorder, told = Recorder(drawn.machine), []

    class Beside:
        def wake(self, order, zones):
            told.append(("wake", order, [zone.index for zone in zones]))

        def catch_up(self):
            told.append("catch up")

    drawn.machine.allocator.background = Beside()
    drawn.machine.alloc_pages(4, USER)
    assert told == [("wake", 4, [0]), "catch up", "catch up"]
    drawn.machine.alloc_pages(4, USER & ~Gfp.KSWAPD_RECLAIM)
    assert ("wake", 4, [0]) not in told[3:]
    assert recorder.resets == []


def test_stale_hints_are_forgotten_when_a_slow_path_begins():
    drawn = fragmented(8, nr_nodes=2)
    recorder = Recorder(drawn.machine)
    drawn.machine.alloc_pages(2, USER)
    assert recorder.resets == [(0, True), (1, True)]


# Suitability.


def suitable(machine, order):
    """Whether compaction would go ahead (None), as far as memory is concerned."""
    zone = machine.zones[0]
    mark = 1 << 20  # the block itself is never there
    return compaction_suitable(machine.buddy, zone, order, mark=mark, highest=zone.kind) is None


def test_nothing_is_compacted_for_a_block_that_is_there_and_everything_for_whole_memory():
    machine = small_machine(8)
    zone = machine.zones[0]
    found = compaction_suitable(machine.buddy, zone, 3, mark=0)
    assert found is CompactResult.SUCCESS
    assert compaction_suitable(machine.buddy, zone, WHOLE_ZONE, mark=1 << 20) is None


@pytest.mark.parametrize("order", [1, COSTLY_ORDER, COSTLY_ORDER + 1])
def test_compaction_needs_twice_the_block_above_a_mark(order):
    """More than min (low for costly orders) + 2 * 2^order pages must be free."""
    needs = (20 if order > COSTLY_ORDER else 10) + (2 << order)
    for nr_free, expected in ((needs, False), (needs + 1, True)):
        drawn = Drawn(*["........"] * 16, marks=(10, 20, 30))
        machine = drawn.machine
        machine.buddy.take(column(*range(128)))
        scattered = column(*[pfn ^ (pfn >> 6) for pfn in range(0, 2 * nr_free, 2)])
        machine.buddy.put_taken(scattered)
        assert machine.buddy.nr_free() == nr_free
        assert suitable(machine, order) == expected


def test_costly_orders_ask_whether_memory_is_scattered_or_short():
    """Scattered pages: compact.  A few blocks one order below: too little memory, reclaim."""
    scattered = Drawn(*["#.#.#.#."] * 32)
    assert suitable(scattered.machine, 4)
    short = Drawn(*["........", "########"] * 8)
    assert not suitable(short.machine, 4)
    one_left = Drawn("........", *["########"] * 15)
    assert not suitable(one_left.machine, 4)


# Deferral.


def test_after_63_skipped_the_64th_attempt_runs():
    deferral = PageAllocator(*[[Zone(0, "Normal", 0, Span(0, 8))], *[None] * 5])._deferrals[0]
    for shift in range(1, MAX_DEFER_SHIFT + 3):
        deferral.fail(2)
        nr_skipped = min(1 << shift, 1 << MAX_DEFER_SHIFT) - 1
        assert [deferral.defers(2) for _ in range(nr_skipped)] == [True] * nr_skipped
        assert not deferral.defers(2)
        assert deferral.is_restarting(2) == (shift >= MAX_DEFER_SHIFT)


def test_only_orders_that_failed_are_deferred():
    deferral = PageAllocator(*[[Zone(0, "Normal", 0, Span(0, 8))], *[None] * 5])._deferrals[0]
    deferral.fail(3)
    deferral.fail(2)
    assert not deferral.defers(1)
    assert deferral.defers(2)
    deferral.expect(2)
    assert not deferral.defers(2)
    assert deferral.defers(3)
    deferral.succeed(3)
    assert (deferral.shift, deferral.considered, deferral.failed_order) == (0, 0, 4)


def test_synchronous_failures_defer_and_success_ends_it():
    drawn = fragmented()
    machine = drawn.machine
    recorder, ran = Recorder(machine), []
    for _ in range(8):
        before = len(recorder.controls)
        machine.alloc_pages(2, Gfp.KERNEL)
        ran.append(len(recorder.controls) - before)
    # Each request considers twice; shift grows at every synchronous attempt that ran.
    assert ran == [2, 1, 0, 1, 0, 0, 0, 1]
    recorder.on_compact = lambda: machine.buddy.free_many(column(0, 2, 4, 6))
    while machine.alloc_pages(2, Gfp.KERNEL) < 0:
        pass
    assert machine.allocator._deferrals[0].shift == 0


def test_a_block_that_somebody_else_takes_defers_nothing():
    drawn = fragmented()
    recorder = Recorder(drawn.machine, CompactResult.SUCCESS)
    for _ in range(3):
        drawn.machine.alloc_pages(2, Gfp.KERNEL)
    assert len(recorder.controls) == 6


def test_hints_are_reset_when_the_longest_deferral_ends():
    drawn = fragmented()
    machine = drawn.machine
    recorder = Recorder(machine)
    deferral = machine.allocator._deferrals[0]
    for _ in range(MAX_DEFER_SHIFT):
        deferral.fail(2)
    deferral.considered = (1 << MAX_DEFER_SHIFT) - 2
    machine.alloc_pages(2, Gfp.KERNEL)
    assert recorder.resets == [(0, True), (0, False)]
    assert recorder.modes == [Mode.SYNC_LIGHT]


def test_unsuitable_zones_are_not_scanned():
    drawn = Drawn("#.######", *["########"] * 7)
    recorder = Recorder(drawn.machine)
    assert drawn.machine.alloc_pages(1, USER) == -1
    assert recorder.controls == []
