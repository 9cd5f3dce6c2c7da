"""What is due during a request happens in it: pins end while others wait for them."""

import numpy as np
import pytest

from mm.contig.retry import RetryPolicy
from mm.machine import Machine
from mm.move.design import Unmovable
from mm.state.errno import Errno
from mm.state.frames import FrameState, PageFlag
from mm.state.gfp import Gfp
from owners.odirect.device import Op, Policy
from pinpage.errors import InvariantError
from pinpage.move.steps import GivenTargets
from pinpage.owner import Mode, Reason
from pinpage.units import Span
from tests.kit.owners.io_world import IoWorld

NR_PAGES = 4096
MS = 1_000_000


class Pinned:
    """A machine with pages of a process that somebody refers to.

    Args:
        ends_ns: when each reference goes; None: never.
        nr_pages: of the process.
        area: whether the upper half is a contiguous area, with the pages in it.
    """

    def __init__(self, ends_ns, nr_pages=1200, *, area=True):
        self.machine = machine = Machine.build(nr_pages=NR_PAGES, contents="tags")
        if area:
            machine.cma.create(Span(NR_PAGES // 2, NR_PAGES))
        space = machine.memory.mmap("p", nr_pages)
        for vpn in range(nr_pages):
            machine.memory.touch(space, vpn, write=True)
        pfns = np.sort(space.pte - 1)
        inside = pfns[pfns >= NR_PAGES // 2] if area else pfns
        self.held = inside[50 :: len(inside) // len(ends_ns)][: len(ends_ns)].tolist()
        self.put = []
        for pfn, end_ns in zip(self.held, ends_ns, strict=True):
            machine.get_page(pfn)
            if end_ns is not None:
                machine.clock.plan(end_ns, lambda pfn=pfn: self._put(pfn))

    def _put(self, pfn):
        self.put.append(self.machine.clock.now_ns)
        self.machine.put_page(pfn)

    def ask(self, count=2000, **options):
        return self.machine.cma.request(count, **options)


# Contiguous areas.


@pytest.mark.parametrize("strategy", ["scan", "plan"])
def test_pins_that_pass_within_the_walk_do_not_hold_an_area_up(strategy):
    made = Pinned([20_000] * 4)
    made.machine.sleep(10_000)
    found = made.ask(2048)
    assert found.errno is Errno.OK
    assert found.nr_ranges == 1
    made.machine.check()


def test_what_lasts_a_little_longer_is_gone_at_a_later_range():
    made = Pinned([600_000] * 4, nr_pages=600)
    found = made.ask()
    assert found.errno is Errno.OK
    assert found.nr_ranges + found.nr_skipped > 1
    assert all(600_000 <= now_ns < MS for now_ns in made.put)
    made.machine.check()


def test_what_lasts_longer_than_the_walk_ends_in_a_pause():
    made = Pinned([50 * MS] * 4)
    assert made.ask().errno is Errno.ENOMEM
    assert made.ask().errno is Errno.ENOMEM
    made.machine.sleep(50 * MS)
    assert made.ask().errno is Errno.OK


def test_what_never_ends_does_not_end_in_a_pause():
    made = Pinned([None])
    assert made.ask(2048).errno is Errno.ENOMEM
    made.machine.sleep(3_600_000 * MS)
    assert made.ask(2048).errno is Errno.ENOMEM


def walked():
    """When the first range had failed, and when the walk was over, where nothing ever ends."""
    first, whole = Pinned([None], nr_pages=300), Pinned([None], nr_pages=300)
    seen = []
    signal = RetryPolicy(signal_pending=lambda: seen.append(first.machine.clock.now_ns))
    first.ask(retry=signal)
    whole.ask()
    return seen[-2], whole.machine.clock.now_ns


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 2.0])
def test_ranges_that_are_skipped_come_to_what_trying_each_does(share):
    """Up to when it is due; then it is tried, as the kernel would."""
    began_ns, over_ns = walked()
    end_ns = began_ns + int(share * (over_ns - began_ns))
    quick, whole = Pinned([end_ns], nr_pages=300), Pinned([end_ns], nr_pages=300)
    found = quick.ask()
    tried = whole.ask(retry=RetryPolicy(between_tries=lambda: None))
    assert tried.nr_skipped == 0
    assert found.errno == tried.errno
    # A range that is skipped takes as long as the one after it would, which is not exact.
    assert abs(found.pfn - tried.pfn) <= 16
    assert abs(found.nr_ranges + found.nr_skipped - tried.nr_ranges) <= 16


def test_where_nothing_is_planned_every_range_but_the_last_is_skipped():
    made = Pinned([None])
    found = made.ask()
    assert (found.errno, found.nr_ranges) == (Errno.ENOMEM, 2)


# Memory blocks.


def offline(end_ns, **policy):
    """The block that a page is in until its reference goes; the machine, and what came of it."""
    made = Pinned([end_ns], area=False)
    hotplug = made.machine.hotplug
    hotplug.blocks.nr_pages = 1024
    retry = RetryPolicy(nr_tries=None, timeout_ns=1000 * MS, **policy)
    return made, hotplug.offline(made.held[0] // 1024, Unmovable(), retry=retry)


@pytest.mark.parametrize("end_ns", [100_000, 7 * MS, 900 * MS])
def test_a_block_goes_as_soon_as_its_pin_does(end_ns):
    made, result = offline(end_ns)
    assert result.errno is Errno.OK
    assert end_ns <= made.machine.clock.now_ns < end_ns + 4 * MS
    made.machine.check()


def test_a_block_stays_where_the_pin_outlasts_the_timeout():
    made, result = offline(1001 * MS)
    assert result.errno is Errno.EINTR
    assert result.report.timed_out
    assert 1000 * MS <= made.machine.clock.now_ns < 1001 * MS


def test_time_that_rounds_took_is_counted_once():
    made = Pinned([None], area=False)
    made.machine.clock.plan(300 * MS, lambda: None)
    made.machine.hotplug.blocks.nr_pages = 1024
    retry = RetryPolicy(nr_tries=None, timeout_ns=1000 * MS)
    result = made.machine.hotplug.offline(made.held[0] // 1024, Unmovable(), retry=retry)
    assert result.errno is Errno.EINTR
    assert made.machine.clock.now_ns >= 1000 * MS


def test_rounds_that_are_only_counted_are_those_that_would_be_made():
    _, first = offline(5 * MS)
    _, second = offline(5 * MS, between_tries=lambda: None)
    assert second.nr_rounds > 10
    assert (first.errno, first.nr_rounds) == (second.errno, second.nr_rounds)
    assert first.report.elapsed_ns == second.report.elapsed_ns


# Who goes on, and where.


@pytest.mark.parametrize("strategy", ["scan", "plan"])
def test_a_process_goes_on_between_the_blocks_of_a_compaction(strategy):
    machine = Machine.build(nr_pages=NR_PAGES, contents="tags")
    space, seen = machine.memory.mmap("p", 3000), []
    for vpn in range(3000):
        machine.memory.touch(space, vpn, write=True)
    machine.memory.dontneed(space, np.arange(0, 3000, 2))

    def turn():
        assert not machine.frames.isolated.any()
        assert len(seen) < 1000
        seen.append(machine.clock.now_ns)
        machine.clock.plan(machine.clock.now_ns + 50_000, turn, 1)

    began_ns = machine.clock.now_ns
    machine.clock.plan(began_ns, turn, 1)
    took_ns = machine.compact(strategy).elapsed_ns
    assert machine.clock.now_ns == began_ns + took_ns
    assert len(seen) > 1
    machine.check()


def test_what_others_do_meanwhile_is_not_counted_as_the_callers():
    machine = Machine.build(nr_pages=1024, contents="tags")
    before = machine.counted()
    machine.clock.plan(10, lambda: [machine.alloc_page(Gfp.KERNEL) for _ in range(5)])
    machine.sleep(20)
    assert machine.counted() == before
    assert machine.counters.pages_allocated == 5
    assert machine.clock.now_ns == 20


def test_a_process_does_not_go_on_while_a_move_waits_for_a_device():
    world, seen = IoWorld(Policy.WAIT), []
    space, clock = world.process(1), world.machine.clock
    world.device.submit(Op.READ, space, 0, 1, 5)
    clock.plan(clock.now_ns + 10, lambda: seen.append(bool(world.machine.frames.isolated.any())), 1)
    assert world.move(world.pfn(space)).reasons.tolist() == [Reason.MOVED]
    assert clock.now_ns >= 1000
    assert seen == []
    clock.catch_up()
    assert seen == [False]
    world.check()


def test_a_wait_for_a_page_lets_time_pass_until_its_io_is_over():
    machine = Machine.build(nr_pages=1024, contents="tags")
    pfn = machine.alloc_page(Gfp.KERNEL)
    machine.frames.set_flag(np.array([pfn]), PageFlag.WRITEBACK)
    ended = [pfn]
    machine.clock.plan(700, lambda: machine.frames.clear_flag(ended, PageFlag.WRITEBACK))
    machine.paging.wait_on_page(pfn, PageFlag.WRITEBACK)
    assert machine.clock.now_ns == 700
    machine.frames.set_flag(np.array([pfn]), PageFlag.WRITEBACK)
    with pytest.raises(InvariantError, match="a wait that nobody ends"):
        machine.paging.wait_on_page(pfn, PageFlag.WRITEBACK)


def test_others_go_on_between_the_passes_of_one_try():
    made, seen = Pinned([None], area=False), []
    machine, pfn = made.machine, made.held[0]
    pfns, reasons = np.array([pfn]), []
    target = machine.alloc_page(Gfp.KERNEL)
    machine.frames.state[target] = FrameState.TAKEN

    def pass_over():
        assert not machine.frames.isolated.any()
        seen.append(len(seen))
        if len(seen) == 3:
            machine.put_page(pfn)

    report = machine.mover.migrate(
        pfns, np.array([True]), GivenTargets(np.array([target])), Unmovable(), Mode.SYNC, pass_over
    )
    reasons.extend(report.reasons.tolist())
    assert (seen, reasons) == ([0, 1, 2], [Reason.MOVED])


def test_a_try_of_ten_passes_charges_and_looks_up_between_them():
    """A request of one try succeeds where the reference goes within its passes."""
    made = Pinned([5_000], area=False)
    machine, pfn = made.machine, made.held[0]
    span = Span(pfn, pfn + 1)
    assert machine.evacuator.isolate(span, Unmovable())
    report = machine.evacuator.sweep(span, Unmovable())
    machine.evacuator.undo(span)
    assert report.pages_moved == 1
    assert machine.clock.now_ns >= 5_000


def test_others_go_on_between_the_rounds_of_an_allocation_in_the_middle_of_nothing():
    def short_of_memory(*, lets_run):
        machine = Machine.build(nr_pages=1024, contents="tags")
        held = []
        while (pfn := machine.alloc_page(Gfp.KERNEL)) >= 0:
            held.append(pfn)
        machine.allocator.reclaim = lambda nr_pages: 0  # to no avail, but there is hope
        machine.allocator.reclaimable = lambda: 1000
        machine.clock.plan(0, lambda: [machine.put_page(pfn) for pfn in held[:200]])
        return machine.allocator.alloc_pages(0, Gfp.KERNEL, lets_run=lets_run)

    assert short_of_memory(lets_run=True) >= 0
    assert short_of_memory(lets_run=False) < 0


def test_others_go_on_between_the_blocks_of_a_round():
    made, seen = Pinned([None], area=False), []
    machine, span = made.machine, Span(0, 1024)
    machine.put_page(made.held[0])
    used = np.flatnonzero(machine.frames.state[span.start : span.stop] == FrameState.USED)
    assert len(np.unique(used // 512)) > 1
    machine.clock.plan(0, lambda: seen.append(machine.clock.now_ns))
    assert machine.evacuator.isolate(span, Unmovable())
    machine.evacuator.sweep(span, Unmovable())
    machine.evacuator.undo(span)
    assert len(seen) == 1
