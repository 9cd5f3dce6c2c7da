"""Memory hotplug in worlds of every shape: what plan foretells is what scan finds out by trying,
an attempt that fails leaves all as it was, and faults at any point do too.
"""

from itertools import permutations
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mm.contig.retry import RetryPolicy
from mm.hotplug import together
from mm.hotplug.memory_block import BlockState
from mm.state.errno import Errno
from mm.state.frames import FrameState
from mm.state.nodes import ZoneKind
from owners.opaque import OpaqueOwner
from pinpage.owner import Verdict
from pinpage.units import Span
from tests.kit.mm.whole_machines import FOUR_ROUNDS, Layout, blocks_of, goes, layouts, whole_of
from tests.property.monotone import SIZE, UNIT, World

PAGEBLOCKS = st.text(alphabet="...aaxyX#", min_size=SIZE, max_size=SIZE)
OTHERS = st.text(alphabet="....aaxyX", min_size=SIZE, max_size=SIZE)
"""Without the kernel's own pages: most blocks of a real machine have none."""


def pictures(most=8):
    block = st.one_of(OTHERS, OTHERS, PAGEBLOCKS, st.just("." * SIZE))
    return st.lists(block, min_size=4, max_size=most).map(lambda b: b[: len(b) // 2 * 2])


def world_of(picture, movable, owner=OpaqueOwner):
    world = World(picture, movable, owner=owner)
    world.machine.hotplug.blocks.nr_pages = UNIT
    return world


def columns(machine):
    """Where everything is, and every figure that hotplug changes."""
    frames = machine.frames
    return (
        frames.state.tolist(), frames.refcount.tolist(), frames.zone.tolist(),
        machine.pageblocks.migratetype.tolist(), machine.buddy.nr_free(),
        [(z.managed_nr_pages, z.span, z.min, z.low, z.high) for z in machine.zones],
        machine.pcp.batches[:], machine.pcp.highs[:],
    )  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(pictures(), st.sets(st.sampled_from("xyz")), st.data())
def test_the_verdict_is_what_trying_comes_to(picture, movable, data):
    block = data.draw(st.integers(0, len(picture) // 2 - 1))
    tried, asked = world_of(picture, movable), world_of(picture, movable)
    verdict = asked.machine.hotplug.verdict(block, asked.machine.design)
    result = tried.machine.hotplug.offline(block, tried.machine.design)
    assert bool(verdict) == bool(result), (verdict.errno, result.errno)
    if result:
        assert verdict.nr_moves == result.report.pages_moved
    for world in (tried, asked):
        world.check()
    assert asked.machine.counters.pages_copied == 0


@settings(max_examples=100, deadline=None)
@given(pictures(), st.sets(st.sampled_from("xyz")), st.data())
def test_by_plan_a_refusal_changes_nothing_and_names_who_is_in_the_way(picture, movable, data):
    block = data.draw(st.integers(0, len(picture) // 2 - 1))
    world = world_of(picture, movable)
    before = columns(world.machine)
    result = world.machine.hotplug.offline(block, world.machine.design, strategy="plan")
    world.check()
    if result:
        return
    assert columns(world.machine) == before
    signs = "".join(picture)[block * UNIT : (block + 1) * UNIT]
    stuck = {"#"} | {sign for sign in "xy" if sign not in movable}
    stuck |= set() if {"x", "y"} <= movable else {"X"}
    expected = [block * UNIT + at for at, sign in enumerate(signs) if sign in stuck]
    assert result.obstacles.pfns.tolist() == expected
    assert (result.errno is Errno.ENOMEM) == (not expected)


# On machines of several nodes and zones, with page cache, holes, pins and huge pages.


@st.composite
def asked_blocks(draw):
    """A layout of whole memory blocks, their pageblocks, and one that is asked for."""
    size = draw(st.integers(1, 2))
    layout = draw(layouts().filter(lambda made: len(made.blocks) % size == 0))
    return layout, size, draw(st.integers(0, len(layout.blocks) // size - 1))


@settings(max_examples=80, deadline=None)
@given(asked_blocks())
def test_the_verdict_is_the_outcome_whatever_is_in_memory(asked):
    """By plan the errno is the same, who may go goes, and so it does by scan.

    Where trying alone can tell, the verdict says so.
    """
    layout, size, block = asked
    machine, scanned, planned = (whole_of(layout, size) for _ in range(3))
    hotplug, design = machine.hotplug, machine.design
    verdict = hotplug.verdict(block, design)
    assert (block in hotplug.removable(design)) == bool(verdict)
    certain = block in hotplug.removable(design, for_certain=True)
    assert certain == (bool(verdict) and verdict.certain)
    by_scan = scanned.hotplug.offline(block, scanned.design, retry=FOUR_ROUNDS)
    by_plan = planned.hotplug.offline(block, planned.design, retry=FOUR_ROUNDS, strategy="plan")
    for each in (machine, scanned, planned):
        each.check()
    if not verdict:
        assert verdict.certain
        assert by_plan.errno is verdict.errno
        assert not by_scan
        assert (by_scan.errno is Errno.EINVAL) == (verdict.errno is Errno.EINVAL)
    elif not verdict.needs_huge_page:
        assert by_plan, "what reclaim has to give up, a plan has it give up beforehand"
        assert by_scan or not verdict.certain


_COMPACTION, _ROOM = "a huge page can be made", "there is room when it is wanted"
_TWO_NODES = ((0, 1, 1, 1), (("Normal", 0), ("Normal", 1)))


@pytest.mark.parametrize(
    ("blocks", "answer", "by_scan", "by_plan"),
    [
        (("HHHHHHHH", "FFFFFFFF"), "yes", True, True),
        (("HHHHHHHH", "....a...", "........"), "yes", True, True),
        (("HHHHHHHH", "PPPPPPPP", "PPPPPPPP"), "no", False, False),
        (("HHHHHHHH", "aa......", "......aa", "...aa..."), f"if {_COMPACTION}", True, True),
        (("HHHHHHHH", "a.......", ".......a"), f"if {_COMPACTION}", False, False),
        (("HHHHHHHH", "tt....tt", "tt....tt", "tt....tt"), f"if {_COMPACTION}", False, False),
        (("HHHHHHHHaaaaaaaa", "........", "P......."), "no", False, False),
        (("aa......", "PPPPPPcc"), f"if {_ROOM}", True, True),
        (("cccccccc", "PPPPPPPP"), f"if {_ROOM}", False, True),
        (("HHHHHHHH", "cccccccc"), f"if {_COMPACTION}", True, True),
        (("HHHHHHHHaa......", "c" * 8, "c" * 8), f"if {_COMPACTION} and {_ROOM}", True, True),
    ],
)
def test_a_verdict_says_what_it_hangs_on(blocks, answer, by_scan, by_plan):
    size = len(blocks[0]) // SIZE
    blocks = tuple(text[at : at + SIZE] for text in blocks for at in range(0, len(text), SIZE))
    zones = _TWO_NODES if "tt" in blocks[1] else ((0,) * len(blocks), (("Normal", 0),))
    machine = whole_of(Layout(blocks, *zones), size)
    verdict = machine.hotplug.verdict(0, machine.design)
    assert verdict.answer == answer
    assert verdict.certain == (answer in ("yes", "no"))
    for strategy, expected in (("scan", by_scan), ("plan", by_plan)):
        tried = whole_of(Layout(blocks, *zones), size)
        done = tried.hotplug.offline(0, tried.design, retry=FOUR_ROUNDS, strategy=strategy)
        assert bool(done) is expected


def cheapest_go_together(asked):
    """Those that are named go, and with those that go after them no more than there can be."""
    layout, size, _ = asked
    machine = whole_of(layout, size)
    keeps_a_reserve = any(any(zone.lowmem_reserve) for zone in machine.zones)
    plan = machine.hotplug.cheapest(machine.design, want=None)
    plan.check()
    assert (machine.frames.state[plan.targets] == FrameState.FREE).all(), "and of no huge page"
    is_movable = np.array([zone.kind is ZoneKind.MOVABLE for zone in machine.zones])
    goes_up = is_movable[machine.frames.zone[plan.targets]]
    assert not (goes_up & ~is_movable[machine.frames.zone[plan.sources]]).any()
    blocks = blocks_of(machine, plan)
    some = machine.hotplug.cheapest(machine.design, want=len(blocks) - 1 if blocks else 1)
    assert len(some.spans) == max(len(blocks) - 1, 0)
    gone = [block for block in blocks if goes(machine, block)]
    assert gone == blocks
    rest = all_that_go(machine)
    machine.check()
    assert len(gone + rest) <= plan.bound
    # Clean cache that leaves is not dropped: it may take the frame that another page needed.
    takes_room = "c" in layout.text and is_movable.any() and not is_movable.all()
    if "H" not in layout.text and not takes_room:
        assert len(gone + rest) == plan.bound
        may_wait = keeps_a_reserve or "c" in layout.text
        assert len(gone) == plan.bound or may_wait
    return plan


def all_that_go(machine):
    """Blocks that go one after the other, until none does: one that goes may make another go."""
    gone = []
    while more := [block for block in machine.hotplug.blocks.online() if goes(machine, block)]:
        gone += more
    return gone


@settings(max_examples=80, deadline=None)
@given(asked_blocks())
def test_the_cheapest_blocks_go_together_and_no_more_could(asked):
    cheapest_go_together(asked)


@settings(max_examples=40, deadline=None)
@given(asked_blocks())
def test_so_they_do_where_blocks_are_too_many_to_try_every_set(asked):
    layout, size, _ = asked
    machine = whole_of(layout, size)
    exact = machine.hotplug.cheapest(machine.design, want=None)
    with mock.patch.object(together, "MOST_TRIED", 0):
        plan = cheapest_go_together(asked)
    assert plan.bound >= exact.bound
    assert len(plan.spans) <= len(exact.spans)


@settings(max_examples=30, deadline=None)
@given(asked_blocks().filter(lambda asked: len(asked[0].blocks) <= 3 * asked[1]))
def test_no_order_of_memory_blocks_gets_more_than_the_bound(asked):
    layout, size, _ = asked
    machine = whole_of(layout, size)
    bound = machine.hotplug.cheapest(machine.design, want=None).bound
    for order in permutations(machine.hotplug.blocks.online()):
        tried = whole_of(layout, size)
        assert sum(goes(tried, block) for block in order) <= bound


@pytest.mark.parametrize(
    ("blocks", "size", "named", "bound"),
    [
        (("HHHHHHHH", "........", "HHHHHHHH", "........", "FFFFFFFF", "P......."), 2, 1, 1),
        (("HHHHHHHH", "aaaaaaaa", "HHHHHHHH", "........", "FFFFFFFF", "P......."), 2, 1, 1),
        (("HHHHHHHH", "HHHHHHHH", "FFFFFFFF", "PPPPPPPP"), 1, 1, 1),  # the same free one
        (("FFFFFFFF", "HHHHHHHH"), 1, 1, 1),  # it goes with its block
        (("FFFFFFFF", "HHHHHHHH", "FFFFFFFF"), 1, 2, 2),
        (("HHHHHHHH", "HHHHHHHH", "........", "PPPPPPPP"), 1, 1, 1),  # the same free pageblock
        (("HHHHHHHH", "aaaaaaaa", "FFFFFFFF", "........"), 1, 2, 2),
        (("HHHHHHHH", "HHHHHHHH", "P.......", "P.......", "........"), 1, 1, 1),
        (("cccccccc", "cccccccc", "PPPPPPPP"), 1, 0, 2),  # reclaim may give all of it
    ],
)
def test_huge_pages_and_room_are_counted_for_all_blocks_together(blocks, size, named, bound):
    for most_tried in (together.MOST_TRIED, 0):
        machine = whole_of(Layout(blocks, (0,) * len(blocks), (("Normal", 0),)), size)
        with mock.patch.object(together, "MOST_TRIED", most_tried):
            plan = machine.hotplug.cheapest(machine.design, want=None)
        assert len(plan.spans) == named
        assert plan.bound == bound if most_tried else plan.bound >= bound
        assert all(goes(machine, block) for block in blocks_of(machine, plan))


_TWO = (("Normal", 0), ("Normal", 1))
_ONE_NODE = (("Normal", 0), ("Movable", 0))
_MOVABLE = (("Normal", 0), ("Movable", 1))
_THREE = (("Normal", 0), ("Normal", 1), ("Movable", 1))


@pytest.mark.parametrize(
    ("blocks", "size", "zone_of", "zones", "named"),
    [
        # Both could go, did the fourth's cache give way instead of taking what another page needs.
        (("PPPPP..c", "aaa.....", "PPPP....", "aaaca..."), 1, (0, 0, 1, 1), _ONE_NODE, [3]),
        # ZONE_MOVABLE has no room, the kernel's zone has.
        (("P.......",) * 3 + ("aaaaaaaa",) * 2, 1, (0, 0, 0, 1, 1), _ONE_NODE, [3, 4]),
        # What leaves ZONE_MOVABLE goes to another node first, where others need the room.
        (("aaaa....", "PPPP....", "aa......", "PPPPPP.."), 1, (0, 0, 1, 1), _MOVABLE, [0, 2]),
        # It finds room where what left a kernel zone is not already.
        (("aa......", "P.......", "aaaa....", "PPPPPP.."), 1, (0, 0, 1, 1), _MOVABLE, [0, 2]),
        # Kernel zones of another node have room; the fuller ZONE_MOVABLE has none for it.
        (("aaaaaaaa", "PPPPPPP.", "P.......", "Paaa...."), 1, (0, 0, 1, 2), _THREE, [0]),
        # A third block of the kernel zone does not go, a fourth of the other does.
        (
            ("a.......", "aa......", "aaa.....", "PPPPPPP.", "aaaa....", "P......."),
            1, (0, 0, 0, 0, 1, 1), _MOVABLE, [0, 1, 4],
        ),
        # No target lies in a free huge page, though that could dissolve.
        (
            ("aaaaaaaa", "a.......", "FFFFFFFF", "PPPPPP..", "PPPPPP..", "........"),
            2, (0,) * 6, (("Normal", 0),), [0],
        ),
        # The fourth block's pages fit once the fifth has gone: of the reserve against
        # ZONE_MOVABLE, which shrinks with it.  Nothing of that is counted for certain.
        (("PPPPPPP.",) * 3 + ("aaa.....", "FFFFFFFF"), 1, (0, 1, 1, 1, 1), _ONE_NODE, [4]),
        (("PPPPPPP.",) * 3 + ("aaa.....", "........"), 1, (0, 1, 1, 1, 1), _ONE_NODE, [4]),
        (
            ("PPPPPPP.", "PPPPPPP.", "PPPPPP..", "aaa.....", "a......."),
            1, (0, 1, 1, 1, 1), _ONE_NODE, [4],
        ),
        (
            ("PPPPPPP.",) * 3 + ("PPP.....", "aaaaaaaa", "FFFFFFFF"),
            1, (0, 0, 1, 1, 1, 1), _ONE_NODE, [5],
        ),
    ],
)  # fmt: skip
def test_where_what_leaves_several_blocks_goes(blocks, size, zone_of, zones, named):
    asked = (Layout(blocks, zone_of, zones), size, 0)
    plan = cheapest_go_together(asked)
    assert [span.start // (size * SIZE) for span in plan.spans] == named


@pytest.mark.parametrize("huge", [False, True])
@pytest.mark.parametrize("strategy", ["scan", "plan"])
def test_what_a_per_cpu_list_keeps_back_may_be_missing(strategy, huge):
    """Three frames are free elsewhere, and a list takes all of them for the first that leaves."""
    blocks = ("aaa.....", "PPPPP...", "FFFFFFFF")
    size, zone_of = (1, (0, 1, 1)) if not huge else (2, (0, 0, 1, 1))
    blocks = blocks if not huge else ("HHHHHHHH", *blocks)
    for batch, answer in ((1, "yes"), (4, f"if {_ROOM}")):
        machine = whole_of(Layout(blocks, zone_of, (("Normal", 0), ("Normal", 1))), size)
        machine.pcp.batches[1] = batch
        assert machine.hotplug.verdict(0, machine.design).answer == answer
        done = machine.hotplug.offline(0, machine.design, retry=FOUR_ROUNDS, strategy=strategy)
        assert bool(done) is (batch == 1)
    machine.pcp.batches = [4, 1]
    assert machine.hotplug.verdict(0, machine.design).certain, (
        "its own zone's lists are switched off"
    )


@pytest.mark.parametrize(
    ("beside", "errno"),
    [("........", Errno.OK), ("..oooooo", Errno.ENOMEM), ("........#.......", Errno.OK)],
)
def test_a_fresh_huge_page_may_come_from_zone_movable(beside, errno):
    """Where no small page of an ordinary zone goes."""
    blocks = ("HHHHHHHH", *(beside[at : at + 8] for at in range(0, len(beside), 8)))
    zones = (("Normal", 0), ("Movable", 0))
    for strategy in ("scan", "plan"):
        machine = whole_of(Layout(blocks, (0,) + (1,) * (len(blocks) - 1), zones), 1)
        assert machine.hotplug.verdict(0, machine.design).errno is errno
        assert bool(machine.hotplug.offline(0, machine.design, strategy=strategy)) is (not errno)


@pytest.mark.parametrize("nr_blocks", [1, 3])
def test_the_last_memory_block_may_be_cut_off_with_huge_pages_in_it(nr_blocks):
    layout = Layout(
        ("HHHHHHHH",) + ("........",) * (nr_blocks - 1), (0,) * nr_blocks, (("Normal", 0),)
    )
    machine = whole_of(layout, 2)
    machine.hotplug.blocks.ram = (Span(0, 1 << 20),)
    assert len(layout.blocks) // 2 not in machine.hotplug.removable(machine.design)
    machine.check()


@pytest.mark.parametrize("strategy", ["scan", "plan"])
def test_a_block_that_stays_keeps_its_free_huge_pages(strategy):
    """They dissolve when all else has gone (the last step of offline_pages)."""
    machine = whole_of(Layout(("FFFFFFFF", "aaPPPPPP", "........"), (0, 0, 1), _TWO), 2)
    (pool,) = machine.evacuator.parts.hugetlb.pools
    done = machine.hotplug.offline(0, machine.design, retry=FOUR_ROUNDS, strategy=strategy)
    assert not done
    assert pool.nr_huge_pages == 1
    assert done.obstacles.pfns.tolist() == list(range(10, 16)), "what dissolves is in nobody's way"


def test_a_free_huge_page_dissolves_where_it_is():
    machine = whole_of(Layout(("FFFFFFFF", "PPPPPPPP"), (0, 0), (("Normal", 0),)), 1)
    assert machine.hotplug.verdict(0, machine.design).nr_moves == 0
    assert machine.hotplug.offline(0, machine.design, strategy="plan")


@pytest.mark.parametrize(
    ("blocks", "errno"),
    [
        (("HHHHHHHH", "FFFFFFFF"), Errno.OK),  # no frame is free, and none is needed
        (("HHHHHHHH", "....oooo", "....oooo"), Errno.ENOMEM),  # nor do free frames help
        (("HHHHHHHH", "HHHHHHHH", "FFFFFFFF"), Errno.ENOMEM),
        (("HHHHHHHH", "........"), Errno.OK),
    ],
)
def test_a_huge_page_in_use_needs_one_to_go_to(blocks, errno):
    size = 2 if blocks[1:2] == ("HHHHHHHH",) else 1
    layout = Layout(blocks, (0,) * len(blocks), (("Normal", 0),))
    for strategy in ("scan", "plan"):
        machine = whole_of(layout, size)
        assert machine.hotplug.verdict(0, machine.design).errno is errno
        done = machine.hotplug.offline(0, machine.design, retry=FOUR_ROUNDS, strategy=strategy)
        assert bool(done) == (errno is Errno.OK)


@pytest.mark.parametrize(
    ("blocks", "size", "block"),
    [
        (("PPPPPPPP", "PPPPPPPP", ".......c"), 1, 2),
        (("FFFFFFFF", "cccccccc", "HHHHHHHH", "PPPPPPPP"), 2, 0),  # with a huge page beside it
        (("HHHHHHHH", "cccccccc", "FFFFFFFF", "PPPPPPPP"), 2, 0),
    ],
)
def test_by_plan_cache_of_the_block_itself_makes_the_room_that_is_short(blocks, size, block):
    machine = whole_of(Layout(blocks, (0,) * len(blocks), (("Normal", 0),)), size)
    assert machine.hotplug.verdict(block, machine.design)
    assert machine.hotplug.offline(block, machine.design, retry=FOUR_ROUNDS, strategy="plan")
    machine.check()


# Faults at every point, one after the other.

BUSY_WORLD = ("a.x.aX..", "yaa...xa", "........", "..a....x", "........", "........")


class _Refuses(OpaqueOwner):
    """Says no the n-th time that it is asked."""

    left = 10**9

    def isolate_many(self, pfns, privates, mode):
        verdicts = super().isolate_many(pfns, privates, mode)
        for at in range(len(pfns)):
            type(self).left -= 1
            if type(self).left == 0:
                verdicts[at] = Verdict.BUSY
        return verdicts

    def isolate(self, pin, mode):
        return Verdict(int(self.isolate_many(np.array([pin.pfn]), [pin.private], mode)[0]))


def attempt(world, **retry):
    retry = {"nr_tries": 2} | retry
    result = world.machine.hotplug.offline(0, world.machine.design, retry=RetryPolicy(**retry))
    world.check()
    hotplug = world.machine.hotplug
    if result:
        assert hotplug.blocks.state(0) is BlockState.OFFLINE
        assert hotplug.online(0) is Errno.OK
    else:
        assert hotplug.blocks.state(0) is BlockState.ONLINE
        assert (world.machine.pageblocks.migratetype == 1).all()
        assert world.machine.zones[0].managed_nr_pages == len(BUSY_WORLD) * SIZE
    world.check()
    return result


@pytest.mark.parametrize("at", range(1, 12))
def test_the_nth_owner_that_is_asked_says_no(at):
    world = world_of(BUSY_WORLD, {"x", "y"}, owner=_Refuses)
    _Refuses.left = at
    try:
        assert attempt(world, nr_tries=3), "it says yes when it is asked again"
    finally:
        _Refuses.left = 10**9


@pytest.mark.parametrize("at", range(12))
def test_the_nth_destination_is_not_there(at):
    world = world_of(BUSY_WORLD, {"x", "y"})
    allocator, nr_given = world.machine.allocator, 0
    really = allocator.alloc_pages

    def fails_once(*args, **kwargs):
        nonlocal nr_given
        nr_given += 1
        return -1 if nr_given == at + 1 else really(*args, **kwargs)

    allocator.alloc_pages = fails_once
    attempt(world)


@pytest.mark.parametrize("at", range(6))
def test_a_signal_before_the_nth_round(at):
    world = world_of(BUSY_WORLD, {"x"})  # y stays, so it goes on and on
    world.machine.frames.refcount[0] += 1
    nr_asked = 0

    def signal_pending():
        nonlocal nr_asked
        nr_asked += 1
        return nr_asked > at

    world.owners["y"].movable = True
    result = attempt(world, nr_tries=None, signal_pending=signal_pending)
    assert result.errno is Errno.EINTR
    assert result.nr_rounds == at
    world.machine.frames.refcount[0] -= 1


# Going and coming in any order.


class HotplugMachine(RuleBasedStateMachine):
    """Blocks go and come, by either strategy and as either kind of memory, and are unplugged."""

    @initialize(picture=pictures(10), movable=st.sets(st.sampled_from("xyz")))
    def begin(self, picture, movable):
        self.world = world_of(picture, movable)
        self.hotplug = self.world.machine.hotplug
        self.nr_blocks = len(picture) // 2
        self.nr_used = self._nr_used()

    def _nr_used(self):
        return int((self.world.machine.frames.state == FrameState.USED).sum())

    def _blocks(self, state):
        return [b for b in range(self.nr_blocks) if self.hotplug.blocks.state(b) is state]

    @rule(data=st.data(), strategy=st.sampled_from(["scan", "plan"]))
    def offline(self, data, strategy):
        block = data.draw(st.integers(0, self.nr_blocks - 1))
        foretold = self.hotplug.verdict(block, self.world.machine.design)
        removable = self.hotplug.removable(self.world.machine.design)
        assert (block in removable) == bool(foretold)
        result = self.hotplug.offline(block, self.world.machine.design, strategy=strategy)
        if foretold:
            assert result

    @precondition(lambda self: self._blocks(BlockState.OFFLINE))
    @rule(data=st.data(), kind=st.sampled_from(["kernel", "movable"]))
    def online(self, data, kind):
        block = data.draw(st.sampled_from(self._blocks(BlockState.OFFLINE)))
        assert self.hotplug.online(block, kind=kind) is Errno.OK
        start = self.hotplug.blocks.span(block).start
        zone = self.world.machine.zones[self.world.machine.frames.zone.item(start)]
        assert zone.kind.name == ("MOVABLE" if kind == "movable" else "NORMAL")

    @precondition(lambda self: self._blocks(BlockState.OFFLINE))
    @rule(data=st.data())
    def replug(self, data):
        block = data.draw(st.sampled_from(self._blocks(BlockState.OFFLINE)))
        assert self.hotplug.remove(block) is Errno.OK
        assert self.hotplug.add(block) is Errno.OK

    @rule()
    def compact(self):
        self.world.machine.compact()

    @invariant()
    def whole(self):
        self.world.check()
        assert self._nr_used() == self.nr_used


TestHotplugMachine = HotplugMachine.TestCase
TestHotplugMachine.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
