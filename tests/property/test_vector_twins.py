"""Fast paths against plain loops: batches against single frames, scanners against a bare model."""

import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings

from mm.compaction.compact_control import CompactControl
from mm.state.frames import PageFlag
from mm.state.pageblock import MigrateType
from pinpage.move.steps import GivenTargets
from pinpage.testing.world import column
from tests.kit.mm.machines import SIZE, Drawn

SUITABLE = (MigrateType.MOVABLE, MigrateType.CMA)
BLOCK = st.text(alphabet="..aax#r", min_size=SIZE, max_size=SIZE)
TYPE = st.sampled_from([MigrateType.MOVABLE] * 3 + [MigrateType.UNMOVABLE, MigrateType.CMA])


@given(st.data(), st.lists(BLOCK, min_size=2, max_size=4), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_a_batch_moves_as_its_frames_would_one_by_one(data, blocks, random):
    machines = [Drawn(*blocks, movable=True) for _ in range(2)]
    at = {sign: [p for p, s in enumerate("".join(blocks)) if s == sign] for sign in "a."}
    sources = data.draw(st.lists(st.sampled_from(at["a"]), unique=True)) if at["a"] else []
    targets = data.draw(st.lists(st.sampled_from(at["."]), unique=True)) if at["."] else []
    sources.sort()
    shared = [pfn for pfn in sources if random.random() < 0.3]
    active = [pfn for pfn in sources if random.random() < 0.3]
    held = [pfn for pfn in sources if random.random() < 0.2]
    for drawn in machines:
        child = drawn.machine.rmap.create("child", 64)
        drawn.machine.rmap.map_many(child, column(*shared), column(*shared))
        drawn.machine.lru.activate(column(*active))
        drawn.machine.frames.set_flag(column(*active), PageFlag.DIRTY)
        for pfn in held:
            drawn.machine.get_page(pfn)
        drawn.machine.buddy.take(column(*targets))
    batch, single = machines
    given_targets = GivenTargets(column(*targets))
    report = batch.machine.mover.move_home(column(*sources), given_targets)
    batch.machine.buddy.put_taken(given_targets.remaining)
    left = list(targets)
    for row, pfn in enumerate(sources):
        one = GivenTargets(column(*left[:1]))
        alone = single.machine.mover.move_home(column(pfn), one)
        assert alone.reasons[0] == report.reasons[row]
        assert alone.targets[0] == report.targets[row]
        left = left[1:] if alone.targets[0] >= 0 else left
    single.machine.buddy.put_taken(column(*left))
    assert batch.machine.digest() == single.machine.digest()
    assert batch.machine.frames.refcount.tolist() == single.machine.frames.refcount.tolist()
    lists = [[sorted(d.machine.lru.oldest(64, active)) for active in (0, 1)] for d in machines]
    assert lists[0] == lists[1]
    assert len(lists[0][0]) + len(lists[0][1]) == len(at["a"])  # nobody fell off
    for drawn in machines:
        drawn.machine.check()
        drawn.check_contents()


def bare_scan(blocks, types):
    """Two scanners on strings: sources bottom-up, targets top-down; final picture and moves."""
    frames = list("".join(blocks))
    free_block, held, moves = len(blocks) - 1, [], 0
    for block in range(len(blocks)):
        if block >= free_block + bool(held):
            break
        span = range(block * SIZE, block * SIZE + SIZE)
        for sign in "ax":  # what page tables hold goes first, then what owners pinned
            gone = []
            for pfn in [p for p in span if frames[p] == sign]:
                while not held and free_block > block:
                    inside = range(free_block * SIZE, free_block * SIZE + SIZE)
                    free = [p for p in inside if frames[p] == "."]
                    spare = frames.count(".") - 1  # one page stays, whatever the watermark
                    if len(free) < SIZE and types[free_block] in SUITABLE:
                        held = free[:spare]
                    free_block -= 1
                if held:
                    frames[held.pop(0)] = sign
                    gone.append(pfn)
            moves += len(gone)
            for pfn in gone:  # a batch frees its sources at its end
                frames[pfn] = "."
    return ["".join(frames[b * SIZE : b * SIZE + SIZE]) for b in range(len(blocks))], moves


@given(st.lists(st.tuples(BLOCK, TYPE), min_size=1, max_size=8))
@settings(max_examples=200, deadline=None)
def test_scanning_does_what_the_bare_model_does(world):
    blocks, types = (list(column) for column in zip(*world, strict=True))
    drawn = Drawn(*blocks, types=types, movable=True)
    machine = drawn.machine
    report = machine.compaction.compact_zone(CompactControl(machine.zones[0]), machine.design)
    machine.check()
    drawn.check_contents()
    assert (drawn.picture(), report.pages_moved) == bare_scan(blocks, types)
    wholly_free = [block == "." * SIZE for block in drawn.picture()]
    assert machine.buddy.wholly_free().tolist() == wholly_free


@given(st.lists(BLOCK, min_size=1, max_size=6))
@settings(max_examples=100, deadline=None)
def test_planning_never_does_worse_than_scanning(blocks):
    scanned, planned = Drawn(*blocks, movable=True), Drawn(*blocks, movable=True)
    bound = scanned.machine.compact("scan").bound
    compacted = planned.machine.compact("plan")
    reached = [int(np.count_nonzero(d.machine.buddy.wholly_free())) for d in (scanned, planned)]
    assert reached[0] <= reached[1] == bound == compacted.bound
    assert compacted.report.pages_moved == compacted.plan.nr_moves
    for drawn in (scanned, planned):
        drawn.machine.check()
        drawn.check_contents()
