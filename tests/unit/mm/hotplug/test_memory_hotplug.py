"""Memory hotplug on machines small enough to draw: blocks of two pageblocks of eight frames."""

import numpy as np
import pytest

from mm.contig.retry import RetryPolicy
from mm.hotplug.memory_block import BlockState
from mm.hotplug.notify import MemoryAction
from mm.move.design import Answer
from mm.state.errno import Errno
from mm.state.frames import FrameState
from mm.state.gfp import Gfp
from mm.state.nodes import ZoneKind
from mm.state.pageblock import MigrateType
from owners.opaque import OpaqueOwner
from pinpage.errors import InvariantError, PfnError, PinpageError
from pinpage.owner import Reason
from pinpage.testing.world import column
from pinpage.units import Span
from tests.kit.mm.machines import SIZE, Drawn, ScriptedDesign

BLOCK = 2 * SIZE
FREE = "." * SIZE


def drawn(*blocks, nr_pages=BLOCK, **how):
    """A machine with memory blocks of two pageblocks."""
    world = Drawn(*blocks, **how)
    world.machine.hotplug.blocks.nr_pages = nr_pages
    return world


def offline(world, block, **how):
    """One attempt; the machine is whole afterwards, whatever came of it."""
    machine = world.machine
    result = machine.hotplug.offline(block, machine.design, **how)
    machine.check()
    world.check_contents()
    return result


def columns(machine):
    """All that an attempt that failed may not change, where pages stayed put."""
    frames = machine.frames
    return [
        frames.state.tolist(), frames.refcount.tolist(), frames.flags.tolist(),
        frames.order.tolist(), machine.pageblocks.migratetype.tolist(),
        frames.zone.tolist(), [zone.managed_nr_pages for zone in machine.zones],
        [(zone.min, zone.low, zone.high, zone.span) for zone in machine.zones],
        machine.pcp.batches[:], machine.pcp.highs[:],
    ]  # fmt: skip


# Going.


def test_a_block_goes_and_what_was_in_it_is_elsewhere():
    world = drawn("a.a.....", ".aa....a", FREE, FREE)
    machine = world.machine
    result = offline(world, 0)
    assert result.errno is Errno.OK
    assert (result.report.pages_moved, result.nr_rounds) == (5, 1)
    assert world.picture()[:2] == ["????????"] * 2
    assert (machine.frames.state[:BLOCK] == FrameState.HOLE).all()
    assert machine.hotplug.blocks.state(0) is BlockState.OFFLINE
    assert machine.buddy.nr_free() == BLOCK - 5
    assert machine.alloc_pages(0, Gfp.HIGHUSER_MOVABLE) >= BLOCK


def test_counts_and_watermarks_follow():
    world = drawn(*["." * 512] * 16, size=512, nr_pages=4 * 512)
    machine = world.machine
    machine.zones[0].min, machine.zones[0].low, machine.zones[0].high = 1600, 2000, 2400
    world.machine.hotplug.offline(3, machine.design)
    zone = machine.zones[0]
    assert zone.managed_nr_pages == 12 * 512
    assert zone.span == Span(0, 12 * 512), "the last one is gone"
    assert (zone.min, zone.low) == (1600, 2000), "what is kept free was set by somebody"
    machine.hotplug.offline(1, machine.design)
    assert zone.span == Span(0, 12 * 512), "a hole in the middle"
    assert zone.managed_nr_pages == 8 * 512
    machine.check()


def test_what_is_not_whole_may_not_go():
    world = drawn("........", "...-....", FREE, FREE, FREE)
    machine = world.machine
    machine.frames.state[11] = FrameState.HOLE
    machine.frames.refcount[11] = 0
    machine.hotplug.blocks.ram = [Span(0, 11), Span(12, machine.frames.nr_frames)]
    before = columns(machine)
    assert offline(world, 0).errno is Errno.EINVAL, "a hole"
    assert offline(world, 2).errno is Errno.EINVAL, "half of it lies beyond the machine"
    assert columns(machine) == before


def test_two_zones_in_a_block_may_not_go():
    world = drawn(FREE, FREE, FREE, FREE, FREE, FREE, nr_nodes=2)
    assert offline(world, 1).errno is Errno.EINVAL
    assert offline(world, 0).errno is Errno.OK


def test_ram_that_is_not_there_is_a_hole_although_its_frames_look_reserved():
    world = drawn(FREE, FREE, FREE, FREE)
    world.machine.hotplug.blocks.ram = [Span(0, 4), Span(6, 32)]
    assert offline(world, 0).errno is Errno.EINVAL
    assert offline(world, 1)


@pytest.mark.parametrize("kind", ["#", "r"])
def test_a_kernel_page_stops_it_before_anything_moves(kind):
    world = drawn("a.a.....", f".aa...{kind}a", FREE, FREE)
    before = columns(world.machine)
    result = offline(world, 0)
    assert result.errno is Errno.EBUSY
    assert result.report.pages_moved == 0
    assert result.obstacles.pfns.tolist() == [14]
    assert columns(world.machine) == before


def test_memory_of_another_that_is_isolated_is_in_the_way():
    world = drawn(FREE, FREE, FREE, FREE)
    evacuator = world.machine.evacuator
    assert evacuator.isolate(Span(8, 16), world.machine.design)
    assert offline(world, 0).errno is Errno.EBUSY
    assert world.machine.pageblocks.migratetype.tolist() == [1, MigrateType.ISOLATE, 1, 1]
    evacuator.undo(Span(8, 16))


def test_a_page_whose_owner_can_move_it_moves():
    world = drawn("x.......", FREE, FREE, FREE, movable=True)
    assert offline(world, 0)
    assert world.owner.pfn_of(column(0))[0] >= BLOCK


def test_frames_on_a_per_cpu_list_are_free():
    world = drawn("p..pp...", "a......p", FREE, FREE)
    assert offline(world, 0)
    assert world.machine.pcp.nr_pages == 0


def test_a_page_freed_before_is_drained_before_anybody_looks():
    world = drawn("#.......", FREE, FREE, FREE)
    assert offline(world, 0).errno is Errno.EBUSY
    world.machine.put_page(0)
    assert world.machine.pcp.nr_pages == 1
    assert offline(world, 0)


# Going, for ever.


def pinned(*blocks, **how):
    """Like `drawn`; the frame at pfn 0 has a reference that nobody accounts for."""
    world = drawn(*blocks, **how)
    assert world.machine.refs.get_page(0)
    return world


def test_a_pinned_page_is_accepted_and_spins_until_a_signal():
    world = pinned("a.aa....", FREE, FREE, FREE)
    nr_asked = 0

    def signal_pending():
        nonlocal nr_asked
        nr_asked += 1
        return nr_asked > 40

    retry = RetryPolicy(nr_tries=None, signal_pending=signal_pending)
    result = offline(world, 0, retry=retry)
    assert result.errno is Errno.EINTR
    assert result.nr_rounds == 40
    assert result.report.pages_moved == 2, "its neighbours left for nothing"
    assert result.report.refusals.by_owner() == {"home": {Reason.UNACCOUNTED: 1}}
    assert result.obstacles.pfns.tolist() == [0]
    assert not result.report.timed_out
    assert (world.machine.pageblocks.migratetype == MigrateType.MOVABLE).all()
    world.machine.put_page(0)


def test_time_ends_it_as_timeout_does():
    world = pinned("a.aa....", FREE, FREE, FREE)
    result = offline(world, 0, retry=RetryPolicy(nr_tries=None, timeout_ns=1_000_000))
    assert result.errno is Errno.EINTR
    assert result.report.timed_out
    assert 1_000_000 <= result.report.elapsed_ns < 1_100_000
    assert result.nr_rounds > 10
    world.machine.put_page(0)


@pytest.mark.parametrize("limit", [{"timeout_ns": 300_000}, {"timeout_ns": 301_999}])
def test_rounds_that_are_only_counted_come_to_the_same(limit):
    ends = []
    for how in ({}, {"between_tries": lambda: None}):  # made, if anything might have happened
        world = pinned("a.aa....", FREE, FREE, FREE)
        machine = world.machine
        result = offline(world, 0, retry=RetryPolicy(nr_tries=None, **limit, **how))
        ends.append((
            result.errno, result.nr_rounds, result.report.elapsed_ns, machine.clock.now_ns,
            machine.counted(), machine.digest(),
        ))  # fmt: skip
        machine.put_page(0)
    assert ends[0] == ends[1]
    assert ends[0][1] > 20


def test_a_bounded_attempt_gives_up_after_its_rounds():
    world = pinned("a.aa....", FREE, FREE, FREE)
    result = offline(world, 0, retry=RetryPolicy(nr_tries=3))
    assert (result.errno, result.nr_rounds) == (Errno.EBUSY, 3)
    assert offline(world, 0).nr_rounds == 5, "as in v3.11"
    world.machine.put_page(0)


def test_a_pin_that_ends_lets_it_end():
    world = pinned("a.aa....", FREE, FREE, FREE)
    nr_waits = 0

    def io_completes():
        nonlocal nr_waits
        nr_waits += 1
        if nr_waits == 7:
            world.machine.put_page(0)

    result = offline(world, 0, retry=RetryPolicy(nr_tries=None, between_tries=io_completes))
    assert result
    assert (result.nr_rounds, result.report.refusals.total) == (8, 0)


def test_with_a_callback_the_pinned_page_moves_at_once():
    world = drawn("a.aa....", FREE, FREE, FREE, movable=False)
    machine = world.machine
    gup = OpaqueOwner("gup", movable=True, references=1, registry=machine.registry)
    assert machine.refs.get_page(0)
    gup.adopt(column(0))
    result = offline(world, 0)
    assert (result.errno, result.nr_rounds, result.report.pages_moved) == (Errno.OK, 1, 3)
    assert gup.pfn_of(column(0))[0] >= BLOCK


def test_a_pinner_without_a_callback_is_named_when_the_time_is_over():
    world = drawn("a.aa....", FREE, FREE, FREE, movable=False)
    machine = world.machine
    gup = OpaqueOwner("gup", movable=False, references=1, registry=machine.registry)
    assert machine.refs.get_page(0)
    gup.adopt(column(0))
    result = offline(world, 0, retry=RetryPolicy(nr_tries=None, timeout_ns=10**6))
    assert (result.errno, result.report.timed_out) == (Errno.EINTR, True)
    assert result.report.refusals.by_owner() == {"gup": {Reason.NO_CALLBACK: 1}}
    assert [obstacle.owner for obstacle in result.obstacles.first(2)] == ["gup"]


def test_a_patience_without_end_is_refused_before_anything_happens():
    world = drawn(FREE, FREE, FREE, FREE)
    with pytest.raises(PinpageError, match="nothing ends it"):
        offline(world, 0, retry=RetryPolicy(nr_tries=None))
    with pytest.raises(PinpageError, match="strategy='hope'"):
        offline(world, 0, strategy="hope")
    with pytest.raises(PfnError, match="memory block 7"):
        offline(world, 7)


def test_without_room_elsewhere_it_goes_on_until_the_rounds_are_over():
    world = drawn("aaaa....", FREE, "########", "#####...")
    result = offline(world, 0, retry=RetryPolicy(nr_tries=2))
    assert result.errno is Errno.EBUSY
    assert result.report.refusals.by_reason() == {Reason.NO_TARGET: 1}
    assert (world.machine.pageblocks.migratetype == MigrateType.MOVABLE).all()


def test_pages_leave_for_another_node_if_there_is_one():
    world = drawn("aa......", FREE, FREE, FREE, nr_nodes=2)
    world.machine.hotplug.blocks.nr_pages = SIZE
    assert offline(world, 0)
    assert (world.machine.frames.node[world.space.pte[:2] - 1] == 1).all()


def test_a_veto_leaves_all_as_it_was_and_everybody_hears_of_it():
    world = drawn("a.a.....", FREE, FREE, FREE)
    heard = []

    def first(action, block):
        heard.append(("first", action, block))
        return Errno.OK

    def second(action, block):
        heard.append(("second", action, block))
        return Errno.EBUSY if action is MemoryAction.GOING_OFFLINE else Errno.OK

    notifiers = world.machine.hotplug.notifiers
    notifiers.add(first)
    notifiers.add(second)
    before = columns(world.machine)
    result = offline(world, 0)
    assert result.errno is Errno.EBUSY
    assert result.report.pages_moved == 0
    assert columns(world.machine) == before
    going, cancel = MemoryAction.GOING_OFFLINE, MemoryAction.CANCEL_OFFLINE
    assert heard == [
        ("first", going, 0), ("second", going, 0), ("first", cancel, 0), ("second", cancel, 0)
    ]  # fmt: skip
    notifiers.remove(second)
    heard.clear()
    assert offline(world, 0)
    assert heard == [("first", going, 0), ("first", MemoryAction.OFFLINE, 0)]


def test_an_interrupt_puts_everything_back():
    world = pinned("a.aa....", FREE, FREE, FREE)
    heard = []
    world.machine.hotplug.notifiers.add(lambda action, _: heard.append(action) or Errno.OK)

    def interrupt():
        raise KeyboardInterrupt

    retry = RetryPolicy(nr_tries=None, between_tries=interrupt)
    with pytest.raises(KeyboardInterrupt):
        world.machine.hotplug.offline(0, world.machine.design, retry=retry)
    world.machine.check()
    assert (world.machine.pageblocks.migratetype == MigrateType.MOVABLE).all()
    assert world.machine.pcp.highs[0] > 0, "per-CPU lists work again"
    assert heard == [MemoryAction.GOING_OFFLINE, MemoryAction.CANCEL_OFFLINE]
    world.machine.put_page(0)


# Huge pages.


def huge(*blocks):
    """One huge page in the first pageblock."""
    world = drawn(*blocks)
    pool = world.machine.hugetlb
    assert pool.set_max(1) == 1
    head = pool.heads[0]
    assert head // BLOCK == 0, "a test of memory block 0"
    return world, pool, head


def test_a_free_huge_page_is_dissolved():
    world, pool, _ = huge(FREE, "aaaaaaaa", FREE, FREE)
    assert offline(world, 0, strategy="plan")
    assert pool.nr_huge_pages == 0


def test_a_huge_page_in_use_moves_as_a_whole():
    world, pool, head = huge(FREE, "aaaaaaaa", FREE, FREE, FREE, FREE)
    assert pool.alloc_huge_page() == head
    assert offline(world, 0)
    assert pool.nr_huge_pages == 1
    assert pool.heads[0] >= BLOCK
    pool.free_huge_page(pool.heads[0])


@pytest.mark.parametrize("retry", [{"nr_tries": 4}, {"nr_tries": None, "timeout_ns": 10**6}])
def test_a_huge_page_that_somebody_has_pinned_keeps_it_going(retry):
    world, pool, head = huge(FREE, "aaaaaaaa", FREE, FREE, FREE, FREE)
    pool.alloc_huge_page()
    world.machine.refs.get_page(head)
    result = offline(world, 0, retry=RetryPolicy(**retry))
    if retry["nr_tries"]:
        assert (result.errno, result.nr_rounds) == (Errno.EBUSY, 4)
    else:
        assert result.errno is Errno.EINTR
        assert 10**6 <= result.report.elapsed_ns < 1.1 * 10**6
    world.machine.put_page(head)
    assert offline(world, 0)
    pool.free_huge_page(pool.heads[0])


# Nothing survives.


def test_a_pin_that_outlives_its_frame_is_found_before_the_frame_goes():
    world = drawn("........", FREE, FREE, FREE, movable=True)
    machine = world.machine
    machine.registry.pin(3, world.owner, 99)
    with pytest.raises(InvariantError, match="HP1 a pin knows a frame that is going") as found:
        machine.hotplug.offline(0, machine.design)
    assert "pfn=0x3" in str(found.value)
    assert machine.hotplug.blocks.state(0) is BlockState.ONLINE
    machine.registry.unpin(3, world.owner, 99)
    machine.check()
    assert offline(world, 0)


def test_a_pin_that_comes_when_the_frame_is_gone_is_found_by_check():
    world = drawn("........", FREE, FREE, FREE, movable=True)
    machine = world.machine
    assert offline(world, 0)
    machine.registry.pin(3, world.owner, 99)
    with pytest.raises(InvariantError, match="HP1 a pin knows"):
        machine.check()


def test_pages_that_were_swapped_cached_and_listed_leave_no_trace():
    world = drawn("aaaa....", FREE, FREE, FREE)
    machine = world.machine
    machine.lru.activate(column(1))
    assert offline(world, 0)
    gone = np.arange(BLOCK)
    assert (machine.rmap.first_mm[gone] == -1).all()
    assert not machine.frames.flags[gone].any()
    assert not np.isin(machine.lru.oldest(99), gone).any()
    assert not np.isin(machine.lru.oldest(99, active=True), gone).any()
    assert machine.contents.tags(gone).tolist() == [0] * BLOCK


# Foresight.


def test_plan_names_who_is_in_the_way_and_moves_nothing():
    world = pinned("a.aa...x", FREE, FREE, FREE, movable=False)
    machine = world.machine
    copied, before = machine.counters.pages_copied, columns(machine)
    result = offline(world, 0, strategy="plan")
    assert result.errno is Errno.EBUSY
    assert [(o.pfn, o.owner, o.reason) for o in result.obstacles.first(9)] == [
        (0, "home", Reason.UNACCOUNTED),
        (7, "opaque", Reason.NO_CALLBACK),
    ]
    assert result.obstacles.by_owner() == {"opaque": 1, "home": 1}
    assert result.report.refusals.by_reason() == {Reason.NO_CALLBACK: 1, Reason.UNACCOUNTED: 1}
    assert machine.counters.pages_copied == copied
    assert columns(machine) == before
    machine.put_page(0)


def test_plan_goes_where_it_can():
    world = drawn("a.aa...x", FREE, FREE, FREE, movable=True)
    verdict = world.machine.hotplug.verdict(0, world.machine.design)
    assert verdict
    assert verdict.nr_moves == 4
    assert offline(world, 0, strategy="plan").report.pages_moved == 4
    assert world.machine.hotplug.verdict(0, world.machine.design).errno is Errno.EINVAL


@pytest.mark.parametrize(("answer", "goes"), [(Answer.RELEASE, True), (Answer.NO, False)])
def test_what_can_only_be_given_up_can_leave(answer, goes):
    machine = drawn("x.......", FREE, FREE, FREE, movable=True).machine
    assert (0 in machine.hotplug.removable(ScriptedDesign(answer))) is goes


def test_plan_knows_when_there_is_no_room():
    world = drawn("aaaa....", FREE, "########", "#####...")
    result = offline(world, 0, strategy="plan")
    assert (result.errno, result.report.pages_moved) == (Errno.ENOMEM, 0)


@pytest.mark.parametrize("strategy", ["scan", "plan"])
def test_a_block_with_cma_pageblocks_stays_and_the_verdict_knows(strategy):
    world = drawn("a.......", FREE, FREE, FREE)
    hotplug, design = world.machine.hotplug, world.machine.design
    world.machine.buddy.set_migratetype(1, MigrateType.CMA)
    assert hotplug.verdict(0, design).errno is Errno.EBUSY
    assert hotplug.removable(design) == [1]
    assert [span.start for span in hotplug.cheapest(design, want=None).spans] == [BLOCK]
    result = offline(world, 0, strategy=strategy)
    assert (result.errno, result.report.pages_moved) == (Errno.EBUSY, 0)
    assert [obstacle.pfn for obstacle in result.obstacles.first(9)] == [8]


@pytest.mark.parametrize("strategy", ["scan", "plan"])
def test_highatomic_pageblocks_are_no_room_for_what_leaves(strategy):
    """The allocator gives them to atomic requests alone; the block's own never were room."""
    world = drawn("aaaa....", "a.......", FREE, FREE, "#.......", "########")
    for block in (1, 2, 3):
        world.machine.buddy.set_migratetype(block, MigrateType.HIGHATOMIC)
    hotplug, design = world.machine.hotplug, world.machine.design
    assert hotplug.verdict(0, design)
    world.machine.buddy.set_migratetype(4, MigrateType.HIGHATOMIC)
    assert hotplug.verdict(0, design).errno is Errno.ENOMEM
    result = offline(world, 0, strategy=strategy)
    assert (bool(result), result.report.pages_moved) == (False, 0)
    assert hotplug.verdict(1, design)  # nothing in it
    if strategy == "plan":
        assert result.errno is Errno.ENOMEM


@pytest.mark.parametrize("strategy", ["scan", "plan"])
@pytest.mark.parametrize(("reserve", "goes"), [(5, True), (6, False)])
def test_a_lowmem_reserve_is_no_room_for_what_leaves_zone_movable(strategy, reserve, goes):
    world = drawn("########", FREE, FREE, FREE)
    machine = world.machine
    assert offline(world, 1)
    assert machine.hotplug.online(1, kind="movable") is Errno.OK
    pfns = column(*[machine.alloc_pages(0, Gfp.HIGHUSER_MOVABLE) for _ in range(3)])
    machine.contents.set_tags(pfns, 1000 + pfns.astype(np.uint64))
    world.map_anon(pfns)
    machine.zones[0].lowmem_reserve = (0, 0, 0, reserve)  # 8 frames are free there
    assert bool(machine.hotplug.verdict(1, machine.design)) == goes
    result = offline(world, 1, strategy=strategy)
    assert bool(result) == goes
    assert goes or strategy == "scan" or result.report.pages_moved == 0


def test_the_cheapest_block_goes_first_and_those_that_cannot_are_known():
    world = drawn("a.a....a", "aa......", "a.......", FREE, "#.......", FREE, FREE, FREE)
    plan = world.machine.hotplug.cheapest(world.machine.design, want=None)
    starts = [span.start // BLOCK for span in plan.spans]
    assert starts == [3, 1, 0]
    assert plan.in_the_way(Span(2 * BLOCK, 3 * BLOCK)).pfns.tolist() == [32]
    assert world.machine.hotplug.removable(world.machine.design) == [0, 1, 3]


# Coming back.


def test_memory_comes_back_free_and_movable_and_is_used_last():
    world = drawn("a.a.....", FREE, FREE, FREE, types=[MigrateType.UNMOVABLE])
    machine = world.machine
    before = [(z.managed_nr_pages, z.span, z.min) for z in machine.zones]
    assert offline(world, 0)
    assert machine.hotplug.online(0) is Errno.OK
    machine.check()
    assert machine.hotplug.online(0) is Errno.EINVAL
    assert [(z.managed_nr_pages, z.span, z.min) for z in machine.zones] == before
    assert machine.pageblocks.migratetype.tolist() == [MigrateType.MOVABLE] * 4
    assert machine.buddy.nr_free() == 2 * BLOCK - 2
    given = [machine.alloc_pages(0, Gfp.HIGHUSER_MOVABLE) for _ in range(BLOCK - 2)]
    assert min(given) >= BLOCK
    assert machine.alloc_pages(0, Gfp.HIGHUSER_MOVABLE) < BLOCK


def test_what_came_back_is_used_after_blocks_as_large():
    world = drawn(FREE, FREE, FREE, FREE, FREE, FREE)
    machine = world.machine
    assert offline(world, 1)
    assert machine.hotplug.online(1) is Errno.OK
    given = [machine.alloc_pages(0, Gfp.HIGHUSER_MOVABLE) for _ in range(3 * BLOCK)]
    assert {pfn // BLOCK for pfn in given[: 2 * BLOCK]} == {0, 2}


def test_online_movable_makes_the_zone_that_only_movable_pages_enter():
    world = drawn(FREE, FREE, FREE, FREE, FREE, FREE)
    machine = world.machine
    assert offline(world, 1)
    assert machine.hotplug.online(1, kind="movable") is Errno.OK
    machine.check()
    movable = machine.zones[1]
    assert (movable.kind, movable.span) == (ZoneKind.MOVABLE, Span(BLOCK, 2 * BLOCK))
    assert set(machine.frames.zone[BLOCK : 2 * BLOCK].tolist()) == {1}
    kernel = [machine.alloc_pages(0, Gfp.KERNEL) for _ in range(2 * BLOCK)]
    assert not any(BLOCK <= pfn < 2 * BLOCK for pfn in kernel)
    assert BLOCK <= machine.alloc_pages(0, Gfp.HIGHUSER_MOVABLE) < 2 * BLOCK
    machine.check()


def test_what_is_in_zone_movable_goes_again_and_comes_back_as_kernel_memory():
    world = drawn(FREE, FREE, FREE, FREE)
    machine = world.machine
    assert offline(world, 0)
    assert machine.hotplug.online(0, kind="movable") is Errno.OK
    pfns = column(*[machine.alloc_pages(0, Gfp.HIGHUSER_MOVABLE) for _ in range(3)])
    assert (pfns < BLOCK).all(), "the highest zone first"
    machine.contents.set_tags(pfns, 1000 + pfns.astype(np.uint64))
    world.map_anon(pfns)
    assert offline(world, 0), "fallback goes down, into the kernel zone"
    assert machine.hotplug.online(0) is Errno.OK
    assert [zone.managed_nr_pages for zone in machine.zones] == [2 * BLOCK, 0]
    machine.check()


def test_pages_of_a_kernel_zone_do_not_leave_for_zone_movable():
    world = drawn(FREE, FREE, "aaa.....", FREE)
    machine = world.machine
    assert offline(world, 0)
    assert machine.hotplug.online(0, kind="movable") is Errno.OK
    result = offline(world, 1, retry=RetryPolicy(nr_tries=2))
    assert result.errno is Errno.EBUSY
    assert result.report.refusals.by_reason() == {Reason.NO_TARGET: 3}
    assert offline(world, 1, strategy="plan").errno is Errno.ENOMEM
    assert machine.hotplug.removable(machine.design) == [0]


def test_what_plan_promises_across_zones():
    """Blocks 0 and 1 are kernel memory, 2 is movable; only downward is there a way."""
    world = drawn("aaa.....", FREE, FREE, "########", FREE, FREE)
    machine = world.machine
    assert offline(world, 2)
    assert machine.hotplug.online(2, kind="movable") is Errno.OK
    pfns = column(*[machine.alloc_pages(0, Gfp.HIGHUSER_MOVABLE) for _ in range(12)])
    machine.contents.set_tags(pfns, 1000 + pfns.astype(np.uint64))
    world.map_anon(pfns)
    design = machine.design
    assert machine.hotplug.removable(design) == [0, 2]
    filled = [machine.alloc_pages(0, Gfp.KERNEL) for _ in range(20)]
    assert max(filled) < 2 * BLOCK
    assert machine.hotplug.removable(design) == [], "one frame is free in the kernel zone"
    assert machine.hotplug.cheapest(design, want=None).spans == ()
    assert offline(world, 2, retry=RetryPolicy(nr_tries=2)).errno is Errno.EBUSY


def test_overlapping_zones_are_compacted_each_in_its_own_blocks():
    world = drawn("aa......", FREE, FREE, FREE, "aaaaaaaa", "aaaaaaaa")
    machine = world.machine
    assert offline(world, 1)
    assert machine.hotplug.online(1, kind="movable") is Errno.OK
    pfns = column(*[machine.alloc_pages(0, Gfp.HIGHUSER_MOVABLE) for _ in range(2)])
    assert ((pfns >= BLOCK) & (pfns < 2 * BLOCK)).all()
    machine.contents.set_tags(pfns, 1000 + pfns.astype(np.uint64))
    world.map_anon(pfns)
    zone_of_vpn = machine.frames.zone[world.space.pte[world.space.present()] - 1]
    for zone in machine.zones:
        world.compact(zone=zone.index)
        now = machine.frames.zone[world.space.pte[world.space.present()] - 1]
        assert (now == zone_of_vpn).all(), "no page left its zone"


def test_a_veto_keeps_memory_offline():
    world = drawn(FREE, FREE, FREE, FREE)
    machine = world.machine
    assert offline(world, 0)
    going = MemoryAction.GOING_ONLINE
    machine.hotplug.notifiers.add(lambda a, _: Errno.ENOMEM if a is going else Errno.OK)
    assert machine.hotplug.online(0) is Errno.ENOMEM
    assert machine.hotplug.blocks.state(0) is BlockState.OFFLINE
    machine.check()


def test_memory_is_unplugged_and_other_memory_plugged_in():
    world = drawn(FREE, FREE, FREE, FREE)
    hotplug = world.machine.hotplug
    assert hotplug.remove(0) is Errno.EBUSY
    assert hotplug.add(0) is Errno.EEXIST
    assert offline(world, 0)
    assert hotplug.remove(0) is Errno.OK
    assert hotplug.remove(0) is Errno.EINVAL
    assert hotplug.online(0) is Errno.EINVAL
    assert offline(world, 0).errno is Errno.EINVAL
    assert hotplug.add(0) is Errno.OK
    assert hotplug.online(0) is Errno.OK
    world.machine.check()
    assert world.machine.buddy.nr_free() == 2 * BLOCK


def test_blocks_go_one_after_the_other_until_one_is_left():
    world = drawn("a.......", FREE, ".a......", FREE, "......a.", FREE)
    assert [offline(world, block).errno.name for block in range(3)] == ["OK", "OK", "EBUSY"]
    assert [world.machine.hotplug.online(block).name for block in range(3)] == [
        "OK", "OK", "EINVAL"
    ]  # fmt: skip
    world.machine.check()
