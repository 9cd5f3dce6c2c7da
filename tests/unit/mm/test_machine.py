"""The machine as a whole: what it wires, what it refuses, what its digest says."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mm.machine import Machine
from mm.move.design import Unmovable
from mm.state.frames import FrameState, PageFlag
from mm.state.gfp import Gfp
from owners.opaque import OpaqueOwner
from pinpage.errors import InvariantError, PinpageError
from pinpage.owner import Mode, Reason
from pinpage.testing.world import column
from tests.kit.mm.machines import Drawn, small_machine

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("nr_pages", [0, -512, 100, 1000])
def test_memory_comes_in_pageblocks(nr_pages):
    with pytest.raises(PinpageError, match=f"nr_pages={nr_pages} .* multiple of 512"):
        Machine.build(nr_pages=nr_pages)


def test_a_node_has_a_pageblock_at_least():
    with pytest.raises(PinpageError, match="less than a pageblock for each of 3 nodes"):
        Machine.build(nr_pages=1024, nr_nodes=3)


def test_contents_as_asked_for():
    assert Machine.build(nr_pages=512).contents.read(0, nr_bytes=4) == bytes(4)
    with pytest.raises(PinpageError, match="arena"):
        Machine.build(nr_pages=512, contents="tags").contents.read(0)


def test_no_such_strategy():
    machine = Machine.build(nr_pages=512, contents="tags")
    with pytest.raises(PinpageError, match="'scan' or 'plan'"):
        machine.compact("guess")


# A source of pages.


def test_references_of_a_page():
    machine = small_machine(2)
    pfn = machine.alloc_page(Gfp.KERNEL)
    machine.get_page(pfn)
    with pytest.raises(PinpageError, match="2 references, not 1"):
        machine.free_page(pfn)
    assert not machine.put_page(pfn)
    machine.free_page(pfn)
    with pytest.raises(PinpageError, match="0 references"):
        machine.free_page(pfn)
    with pytest.raises(PinpageError, match="free or frozen"):
        machine.get_page(pfn)
    machine.check()
    assert machine.counters.pages_freed == 1


def test_a_page_on_the_lru_leaves_it_with_its_last_reference():
    drawn = Drawn("a.......")
    machine = drawn.machine
    machine.get_page(0)
    machine.rmap.unmap_page(drawn.space, 0)
    machine.put_page(0)
    assert machine.lru.nr_pages(active=False) == 1
    assert machine.put_page(0)
    machine.check()


# Under pressure.


def pressed(nr_pages=24, nr_blocks=2, **options):
    """More pages than memory: some are swapped out by the time all are written."""
    machine = small_machine(nr_blocks, **options)
    machine.swap.swapon(64)
    space = machine.memory.mmap("p", nr_pages)
    for vpn in range(nr_pages):
        assert machine.memory.touch(space, vpn, write=True) >= 0
        machine.contents.set_tags(space.pte[vpn : vpn + 1] - 1, column(7000 + vpn).astype("u8"))
        for flag in (PageFlag.REFERENCED, PageFlag.ACTIVE):
            machine.frames.clear_flag(space.pte[vpn : vpn + 1] - 1, flag)
    return machine, space


def test_allocation_reclaims_and_every_page_is_still_there():
    machine, space = pressed()
    assert len(space.swapped()) >= 8
    machine.check()
    tags = []
    for vpn in range(24):
        pfn = machine.memory.touch(space, vpn)
        tags.append(int(machine.contents.tags(column(pfn))[0]))
    assert tags == [7000 + vpn for vpn in range(24)]
    machine.check()


def test_reclaim_leaves_the_page_alone_that_is_being_copied():
    machine, space = pressed(nr_pages=8, nr_blocks=1)
    child = machine.memory.fork(space, "child")
    for vpn in range(8):
        assert machine.memory.touch(child, vpn, write=True) >= 0
        assert child.pte[vpn] != space.pte[vpn]
        machine.check()
        machine.paging.check()


def test_without_swap_there_is_nothing_to_reclaim():
    machine = small_machine(1)
    space = machine.memory.mmap("p", 9)
    got = [machine.memory.touch(space, vpn, write=True) >= 0 for vpn in range(9)]
    assert got == [True] * 8 + [False]
    machine.check()


def test_compaction_serves_a_costly_request_before_anything_is_swapped():
    machine, space = pressed(nr_pages=56, nr_blocks=8)
    machine.memory.dontneed(space, np.arange(0, 56, 2))
    machine.pcp.drain_all()
    assert machine.alloc_pages(4, Gfp.HIGHUSER_MOVABLE) >= 0
    assert len(space.swapped()) == 0
    machine.check()
    assert machine.counters.pages_copied > 0


# Compacting.


@pytest.mark.parametrize("strategy", ["scan", "plan"])
@pytest.mark.parametrize("mode", Mode)
def test_both_strategies_on_two_nodes_in_every_mode(strategy, mode):
    drawn = Drawn(
        "a..a....", "a......#", "....a...", "a..a....", ".a......", "a.......",
        nr_nodes=2,
    )  # fmt: skip
    machine = drawn.machine
    compacted = machine.compact(strategy, mode)
    machine.check()
    drawn.check_contents()
    assert compacted.bound == 4
    emptied = 4 if strategy == "plan" else 3  # the scanner fills the block that is stuck last
    assert compacted.report.pageblocks_emptied == int(machine.buddy.wholly_free().sum()) == emptied
    assert (compacted.plan is None) == (strategy == "scan")
    assert compacted.elapsed_ns == machine.clock.now_ns > 0
    assert compacted.report.refused == {Reason.NO_OWNER: compacted.report.refused.total()}
    assert compacted.report.refusals.by_reason() == compacted.report.refused
    homes = drawn.space.pte[drawn.space.present()] - 1
    assert (homes // 24 == drawn.space.present() // 24).all()  # everybody stayed on its node


def test_frames_on_per_cpu_lists_are_drained_first():
    drawn = Drawn("p.......", "a.......", "a.......")
    drawn.machine.compact()
    assert drawn.picture() == ["........", "........", "aa......"]


def test_locks_and_time_are_counted():
    drawn = Drawn("a.......", "a.......")
    compacted = drawn.machine.compact()
    assert drawn.machine.counters.lock_acquisitions == drawn.machine.buddy.lock_acquisitions - 1
    again = drawn.machine.compact()
    assert again.report.pages_moved == 0
    assert 0 < again.elapsed_ns < compacted.elapsed_ns
    assert drawn.machine.clock.now_ns == compacted.elapsed_ns + again.elapsed_ns


def test_owners_move_within_their_node():
    machine = Machine.build(nr_pages=4 * 512, nr_nodes=2, contents="tags")
    registry = machine.use_registry()
    owner = OpaqueOwner("opaque", movable=True, registry=registry)
    pfns = column(3, 700, 1025, 1999)
    machine.buddy.take(pfns)
    machine.buddy.taken_to_used(pfns)
    owner.adopt(pfns)
    assert machine.design.name == "registry"
    machine.compact()
    machine.check()
    assert owner.pfn_of(np.arange(4)).tolist() == [512, 700, 1536, 1999]
    assert machine.buddy.wholly_free().tolist() == [True, False, True, False]
    machine.design = Unmovable()
    assert machine.bound() == 2


# Invariants and digest.


@pytest.mark.parametrize(
    ("break_it", "which"),
    [
        (lambda m: m.frames.refcount.__setitem__(0, 0), "F2"),
        (lambda m: m.pageblocks.migratetype.__setitem__(0, 9), "PB1"),
        (lambda m: m.frames.isolated.__setitem__(0, True), "V4"),
        (lambda m: m.hugetlb.heads.append(1), "HT1"),
        (lambda m: setattr(m.zones[0], "min", 99), "ZN1"),
        (lambda m: m.frames.set_flag(column(1), PageFlag.LRU), "L1"),
        (lambda m: m.rmap.first_mm.__setitem__(0, -1), "A"),
        (lambda m: m.buddy.nr_free_in_block.__setitem__(0, 3), "B4"),
    ],
)
def test_check_speaks_for_every_part(break_it, which):
    machine = Drawn("a#......").machine
    break_it(machine)
    with pytest.raises(InvariantError, match=f"^{which}"):
        machine.check()


def test_the_registry_is_checked_too(monkeypatch):
    machine = Drawn("x.......", movable=True).machine
    asked = []
    monkeypatch.setattr(machine.registry, "check", lambda: asked.append(1))
    machine.check()
    assert asked == [1]


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.machine.contents.set_tags(column(0), column(1).astype("u8")),
        lambda d: d.machine.get_page(0),
        lambda d: d.machine.frames.set_flag(column(0), PageFlag.DIRTY),
        lambda d: d.machine.buddy.set_migratetype(0, 0),
        lambda d: d.machine.clock.advance(1),
        lambda d: d.machine.memory.fork(d.space, "child"),
        lambda d: d.machine.alloc_page(Gfp.KERNEL),
        lambda d: d.machine.rmap.first_vpn.__setitem__(0, 5),
    ],
)
def test_the_digest_shows_a_change_and_nothing_else(change):
    one, two = Drawn("a#......"), Drawn("a#......")
    assert one.machine.digest() == two.machine.digest()
    assert len(one.machine.digest()) == 32
    change(one)
    assert one.machine.digest() != two.machine.digest()


def test_what_lies_in_free_frames_is_nobodys():
    one, two = Drawn("a#......"), Drawn("a#......")
    one.machine.contents.set_tags(column(5), column(1).astype("u8"))
    assert one.machine.digest() == two.machine.digest()
    assert one.machine.frames.state[5] == FrameState.FREE


RUN = """
import numpy as np
from tests.kit.mm.machines import Drawn
rng = np.random.default_rng(5)
drawn = Drawn(*("".join(rng.choice(list("aax#.."), 8)) for _ in range(40)), movable=True)
drawn.machine.compact("{strategy}")
print(drawn.machine.digest())
"""


@pytest.mark.parametrize("strategy", ["scan", "plan"])
def test_same_seed_same_digest_in_two_processes(strategy):
    digests = {
        subprocess.run(
            [sys.executable, "-c", RUN.format(strategy=strategy)],
            cwd=ROOT, env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(digests) == 1
