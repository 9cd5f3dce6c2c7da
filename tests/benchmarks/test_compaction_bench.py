"""Whole-zone compaction of a 4 GiB machine: exact work, and time per page moved.

A real 6.18 kernel took 2.1 us per page on such a machine, copying included.  The bar is
2 us; CPU time is held to it, for wall time on a shared machine says more about the
neighbours.  Wall time and the ratio to a plain loop over the same work are reported.
"""

import time

import numpy as np
import pytest

from mm.compaction.compact_control import CompactControl, CompactResult
from mm.machine import Machine
from mm.state.frames import FrameState, PageFlag
from mm.state.pageblock import MigrateType

pytestmark = pytest.mark.benchmark

NR_PAGES = 1 << 20
NR_LOOP_PAGES = 1 << 14
MAX_CPU_US_PER_PAGE = 2.0


def scattered(nr_pages, *, registry=False):
    """Half of memory is one process's, in random places, each page with a tag of its own."""
    rng = np.random.default_rng(1)
    machine = Machine.build(nr_pages=nr_pages, contents="tags")
    if registry:
        machine.use_registry()
    pfns = np.sort(machine.buddy.alloc_many(nr_pages, MigrateType.MOVABLE))
    space = machine.rmap.create("anon", nr_pages)
    machine.rmap.map_many(space, rng.permutation(nr_pages), pfns)
    anon = PageFlag.UPTODATE, PageFlag.ANON, PageFlag.SWAPBACKED
    machine.frames.flags[pfns] |= sum(int(flag.mask) for flag in anon)
    machine.lru.add_many(rng.permutation(pfns))
    dropped = space.pte[rng.permutation(nr_pages)[: nr_pages // 2]] - 1
    machine.lru.del_many(dropped)
    machine.rmap.unmap_many(dropped)
    machine.frames.flags[dropped] = 0
    machine.buddy.free_many(dropped)
    vpns = space.present()
    machine.contents.set_tags(space.pte[vpns] - 1, vpns.astype(np.uint64))
    return machine, space


def compact(machine):
    """The report, and wall and CPU time in us per page moved."""
    control = CompactControl(machine.zones[0])
    wall, cpu = time.perf_counter(), time.process_time()
    report = machine.compaction.compact_zone(control, machine.design)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return report, wall * 1e6 / report.pages_moved, cpu * 1e6 / report.pages_moved


def loop_us_per_page(machine, space):
    """The same moves of a few pageblocks, one page at a time in plain Python."""
    pte, tags = space.pte.tolist(), machine.contents.words.tolist()
    vpn_of = {pfn - 1: vpn for vpn, pfn in enumerate(pte) if pfn > 0}
    sources = sorted(vpn_of)[:NR_LOOP_PAGES]
    targets = [pfn for pfn in range(len(tags) - 1, 0, -1) if pfn not in vpn_of][:NR_LOOP_PAGES]
    started = time.process_time()
    for source, target in zip(sources, targets, strict=True):
        vpn = vpn_of.pop(source)
        tags[target] = tags[source]
        pte[vpn] = target + 1
        vpn_of[target] = vpn
    return (time.process_time() - started) * 1e6 / NR_LOOP_PAGES


@pytest.mark.parametrize("registry", [False, True], ids=["unmovable", "registry"])
def test_whole_zone_of_4_gib(registry, record_property):
    machine, space = scattered(NR_PAGES, registry=registry)
    used_before = machine.frames.state == FrameState.USED
    loop = loop_us_per_page(machine, space)
    report, wall, cpu = compact(machine)
    for name, value in (("wall_us", wall), ("cpu_us", cpu), ("ratio_to_loop", cpu / loop)):
        record_property(name, round(value, 2))
    print(f"\n{report.pages_moved} pages: {wall:.2f} us wall, {cpu:.2f} us CPU, loop {loop:.2f} us")
    # Every page below where they met moved, once; no frame was looked at twice.
    met = report.pages_scanned_migrate // 512
    assert report.pages_moved == np.count_nonzero(used_before[: met * 512])
    assert report.result is CompactResult.COMPLETE
    assert report.refused == {}
    assert report.pages_scanned_migrate + report.pages_scanned_free == NR_PAGES
    assert machine.counters.pages_copied == report.pages_moved
    assert machine.counters.pages_isolated == 2 * report.pages_moved
    assert machine.counters.ptes_rewritten == report.pages_moved
    assert machine.buddy.nr_free() == NR_PAGES // 2
    assert report.pageblocks_emptied == met == NR_PAGES // 512 // 2
    assert np.array_equal(
        machine.contents.tags(space.pte[space.present()] - 1), space.present().astype(np.uint64)
    )
    machine.check()
    assert cpu <= MAX_CPU_US_PER_PAGE
