"""Background reclaim: when it wakes, how far it goes, and that its time is its own."""

import numpy as np

from mm.allocator.kswapd import MAX_FAILURES, Kswapd
from mm.state.costs import CostModel, Counters
from mm.state.frames import PageFlag
from mm.state.gfp import Gfp
from tests.kit.mm.machines import Drawn

SPARSE = "a.a.a.a."
FULL = "aaaaaaaa"
MARKS = (4, 8, 16)


class Lru:
    """Stands for reclaim: `nr_pages` there are, each batch frees what `frees` says."""

    def __init__(self, drawn, nr_pages, frees):
        self.nr_pages, self.frees, self.scans, self.machine = nr_pages, frees, [], drawn.machine

    def nr_reclaimable(self):
        return self.nr_pages

    def shrink(self, nr_to_scan):
        self.scans.append(nr_to_scan)
        self.machine.counters.pages_freed += 1
        return self.frees(nr_to_scan)


def daemon(drawn, shrinker, kcompactds=()):
    machine = drawn.machine
    return Kswapd(
        lambda: machine.zones, machine.buddy, shrinker, machine.compaction,
        kcompactds, machine.counted, CostModel(),
    )  # fmt: skip


def finish(kswapd, drawn):
    """Let the others use up time until it sleeps."""
    while kswapd.is_running:
        drawn.machine.counters.pages_copied += 1
        kswapd.catch_up()


def test_each_round_scans_twice_as_much_until_two_blocks_worth_is_freed():
    drawn = Drawn(*[FULL] * 8, *["#.#.#.#."] * 8, marks=MARKS)
    lru = Lru(drawn, 1 << 13, lambda nr: min(nr, 4))
    kswapd = daemon(drawn, lru)
    kswapd.wake(3, drawn.machine.zones)
    finish(kswapd, drawn)
    # 2^13 pages: 2, 4, 8, 16; by then 2 + 4 + 4 + 4 are freed: 16 = 2 * 2^3 come in the next.
    assert lru.scans == [2, 4, 8, 16, 32]
    assert (kswapd.nr_runs, kswapd.nr_reclaimed, kswapd.nr_failures) == (1, 18, 0)


def test_it_scans_in_batches_of_32():
    drawn = Drawn(*[FULL] * 8, *["#.#.#.#."] * 8, marks=MARKS)
    lru = Lru(drawn, 100 << 12, lambda nr: nr)
    kswapd = daemon(drawn, lru)
    kswapd.wake(3, drawn.machine.zones)
    finish(kswapd, drawn)
    assert lru.scans == [32, 32, 32, 4]


def test_sixteen_runs_in_vain_and_it_is_not_woken_any_more():
    drawn = Drawn(*[FULL] * 16, marks=MARKS)
    lru = Lru(drawn, 1 << 13, lambda nr: 0)
    kswapd = daemon(drawn, lru)
    for _ in range(MAX_FAILURES + 4):
        kswapd.wake(3, drawn.machine.zones)
        finish(kswapd, drawn)
    assert (kswapd.nr_runs, kswapd.nr_failures) == (MAX_FAILURES, MAX_FAILURES)


def test_progress_forgives_runs_in_vain():
    drawn = Drawn(*[FULL] * 16, marks=MARKS)
    lru = Lru(drawn, 1 << 13, lambda nr: 0)
    kswapd = daemon(drawn, lru)
    kswapd.nr_failures = MAX_FAILURES - 1
    lru.frees = lambda nr: nr
    kswapd.wake(3, drawn.machine.zones)
    finish(kswapd, drawn)
    assert kswapd.nr_failures == 0


def test_it_is_not_woken_where_a_block_is_left_above_the_high_watermark():
    drawn = Drawn(*["........"] * 4, marks=MARKS)
    kswapd = daemon(drawn, Lru(drawn, 1 << 13, lambda nr: nr))
    kswapd.wake(3, drawn.machine.zones)
    assert (kswapd.is_running, kswapd.nr_runs) == (False, 0)


def test_it_works_no_faster_than_the_others_use_time():
    drawn = Drawn(*[FULL] * 16, marks=MARKS)
    lru = Lru(drawn, 1 << 16, lambda nr: 1)
    kswapd = daemon(drawn, lru)
    kswapd.wake(9, drawn.machine.zones)
    assert len(lru.scans) == 1  # a batch may begin; then it waits for time to pass
    kswapd.catch_up()
    assert len(lru.scans) == 1
    drawn.machine.counters.pages_scanned_free += 10
    kswapd.catch_up()
    costs = CostModel()
    budget = 10 * costs.scan_ns
    assert len(lru.scans) == 1 + budget // costs.free_ns


def test_what_it_does_is_not_charged_to_the_others():
    drawn = Drawn(*[SPARSE] * 8, marks=MARKS)
    machine = drawn.machine
    kswapd = machine.start_daemons()
    assert machine.start_daemons() is kswapd
    before = machine.counted()
    kswapd._shrinker = Lru(drawn, 1 << 13, lambda nr: 8)
    kswapd.wake(3, machine.zones)
    assert kswapd.done.pages_freed >= 1
    assert machine.counted().since(before) == Counters()


def test_before_it_sleeps_stale_hints_go_and_kcompactd_gets_the_order():
    drawn = Drawn(*["#.#.#.#."] * 16, marks=MARKS)
    machine, zone = drawn.machine, drawn.machine.zones[0]
    machine.compaction.hints(zone).is_stale = True
    machine.pageblocks.skip[:] = True
    handed = []

    class Next:
        def run(self, order):
            handed.append(order)

    kswapd = daemon(drawn, Lru(drawn, 1 << 13, lambda nr: nr), [Next()])
    kswapd.wake(2, machine.zones)
    finish(kswapd, drawn)
    assert not machine.pageblocks.skip.any()
    assert handed == []  # nobody asked again while it was awake
    kswapd.wake(2, machine.zones)
    kswapd.wake(3, machine.zones)
    finish(kswapd, drawn)
    assert handed == [3]


def test_a_machine_under_pressure_is_served_with_daemons_beside_it():
    """Page cache is dropped in the background; what is asked for comes; nothing is lost."""
    drawn = Drawn(*[SPARSE] * 12, *[FULL] * 4, marks=(2, 3, 4))
    machine = drawn.machine
    machine.swap.swapon(200)
    kswapd = machine.start_daemons()
    got = 0
    while machine.alloc_pages(3, Gfp.HIGHUSER_MOVABLE | Gfp.RETRY_MAYFAIL) >= 0:
        got += 1
    assert got >= 5
    assert kswapd.nr_runs >= 1
    machine.check()
    drawn.check_contents()


# The reclaimer.


def cache_of(drawn, pfns):
    """Pages become clean page cache."""
    machine = drawn.machine
    machine.memory.dontneed(drawn.space, pfns)
    machine.pcp.drain_all()
    cache = machine.rmap.create("cache", len(pfns), kind="file")
    machine.buddy.take(pfns)
    machine.buddy.taken_to_used(pfns)
    machine.rmap.map_many(cache, np.arange(len(pfns)), pfns)
    machine.frames.set_flag(pfns, PageFlag.UPTODATE)
    machine.lru.add_many(pfns)
    return cache


def test_without_swap_clean_cache_is_dropped_the_oldest_first_and_nothing_else():
    drawn = Drawn(*[FULL] * 4)
    machine = drawn.machine
    cache_of(drawn, np.arange(8, 16))
    reclaimer = machine.reclaimer
    assert (reclaimer.may_swap, reclaimer.nr_reclaimable()) == (False, 8)
    assert reclaimer.shrink(3) == 3
    machine.pcp.drain_all()
    assert drawn.picture()[1] == "...aaaaa"
    assert reclaimer.shrink(32) == 5
    assert reclaimer.shrink(32) == 0
    assert reclaimer.nr_dropped == machine.counters.pages_freed - 8 == 8
    machine.check()


def test_dirty_and_referenced_cache_stays():
    drawn = Drawn(*[FULL] * 4)
    machine = drawn.machine
    cache_of(drawn, np.arange(8, 16))
    machine.frames.set_flag(np.array([8]), PageFlag.DIRTY)
    machine.get_page(9)
    assert machine.reclaimer.nr_reclaimable() == 6
    machine.paging.in_reclaim = True
    assert machine.reclaimer.shrink(2) == 0
    machine.paging.in_reclaim = False
    machine.lru.activate(np.arange(10, 16))
    assert machine.reclaimer.shrink(2) == 2  # the active list, where the other has none


def test_with_swap_anonymous_pages_go_there():
    drawn = Drawn(*[FULL] * 4)
    machine = drawn.machine
    machine.swap.swapon(64)
    assert machine.reclaimer.nr_reclaimable() == 32
    assert machine.reclaimer.shrink(8) == 8
    assert len(drawn.space.swapped()) == 8
    machine.paging.in_reclaim = True
    assert machine.reclaimer.shrink(8) == 0
