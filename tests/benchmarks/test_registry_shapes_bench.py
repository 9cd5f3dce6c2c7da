"""No pattern of pins is a cliff: every shape beside a dict under one lock, in one run.

For each size every shape of column is pinned, masked, listed and unpinned, by the registry
and by the dict; the figures are CPU time per pin.  The work is asserted in
tests/unit/pinpage/test_shapes.py; here only that all pins came and went, and the table is
printed (`-s`), with the worst and the best shape of each operation.  1,000,000 pins at the
most, unless PINPAGE_SHAPES_PINS says 10000000.

Both hold the same pins of one owner, with the garbage collector on, as in anybody's program: it
goes over the dict's records again and again while they come.  PINPAGE_SHAPES_GC=0 is without.
"""

import gc
import os
import time

import numpy as np
import pytest

from pinpage import PinOwner, PinRegistry, Topology
from tests.benchmarks.baselines import DictRegistry

pytestmark = pytest.mark.benchmark

SIZES = [10**3, 10**4, 10**5, 10**6, 10**7]
MOST_NR_PINS = int(os.environ.get("PINPAGE_SHAPES_PINS", "1000000"))
IS_GC_ON = os.environ.get("PINPAGE_SHAPES_GC", "1") == "1"
OPERATIONS = ("pin_many", "pinned_mask", "iter_pins", "unpin_many")
COLUMN_NR_PINS = 4096


def nr_frames_of(nr_pins):
    """The machine that a size is tried on: the same for all its shapes."""
    return min(max(64 * nr_pins, 1 << 22), 1 << 30)


def shapes_of(nr_pins, rng):
    """(name, pfns, pins in a column) of each shape that fits the machine."""
    nr_frames = nr_frames_of(nr_pins)
    start = 12345
    contiguous = np.arange(start, start + nr_pins)
    yield "contiguous", contiguous, nr_pins
    yield "contiguous, columns of 4096", contiguous, COLUMN_NR_PINS
    yield "descending", contiguous[::-1].copy(), nr_pins
    yield "shuffled", rng.permutation(contiguous), nr_pins
    for k in (2, 3, 7, 8, 9, 13, 63, 64, 512, 513, 1023):
        if start + k * nr_pins < nr_frames:
            yield f"every {k}", start + k * np.arange(nr_pins), nr_pins
    for density in (0.5, 0.13, 0.02):
        if nr_pins / density < nr_frames:
            some = rng.choice(int(nr_pins / density), nr_pins, replace=False)
            yield f"random, {density:.0%}", np.sort(some), nr_pins
            yield f"random, {density:.0%}, columns of 4096", some, COLUMN_NR_PINS
    for distance in (2, 89, 127):
        rows = np.arange(-(-nr_pins // 512)) * 512 * distance
        if len(rows) and rows[-1] + 512 < nr_frames:
            whole = (rows[:, None] + np.arange(512)).ravel()[:nr_pins]
            yield f"whole blocks, {distance} apart", whole, nr_pins


def cost(call, nr_pins):
    """CPU ns per pin of one call."""
    start = time.thread_time_ns()
    call()
    return (time.thread_time_ns() - start) / nr_pins


def columns(pfns, length):
    return [pfns[at : at + length] for at in range(0, len(pfns), length)]


def of_registry(pfns, length, nr_frames):
    registry, owner = PinRegistry(Topology.uniform(nr_frames=nr_frames)), PinOwner()
    registry.register(owner)
    parts, nr = columns(pfns, length), len(pfns)
    found = {"pin_many": cost(lambda: [registry.pin_many(p, owner, p) for p in parts], nr)}
    found["pinned_mask"] = cost(lambda: registry.pinned_mask(0, nr_frames), nr)
    found["iter_pins"] = cost(lambda: [None for _ in registry.iter_pins()], nr)
    assert len(registry) == nr
    found["unpin_many"] = cost(lambda: [registry.unpin_many(p, owner, p) for p in parts], nr)
    assert len(registry) == 0
    return found


def of_dict(pfns, length, nr_frames):
    """The same from lists, which is what a dict wants; its mask is made as fast as it can be."""
    held, owner = DictRegistry(), PinOwner()
    parts, nr = [part.tolist() for part in columns(pfns, length)], len(pfns)

    def mask():
        found = np.zeros(nr_frames, dtype=np.bool_)
        found[np.fromiter(held.held, np.int64, nr)] = True

    found = {"pin_many": cost(lambda: [held.pin_many(p, owner, p) for p in parts], nr)}
    found["pinned_mask"] = cost(mask, nr)
    found["iter_pins"] = cost(lambda: [(k, *held.held[k]) for k in sorted(held.held)], nr)
    found["unpin_many"] = cost(lambda: [held.unpin_many(p, owner, p) for p in parts], nr)
    return found


def best_of(measure, nr_rounds, *args):
    rounds = [measure(*args) for _ in range(nr_rounds)]
    return {name: min(each[name] for each in rounds) for name in OPERATIONS}


@pytest.mark.parametrize("nr_pins", [size for size in SIZES if size <= MOST_NR_PINS])
def test_no_shape_is_a_cliff(nr_pins):
    rng = np.random.default_rng(9)
    nr_rounds = 5 if nr_pins <= 10**5 else 2 if nr_pins == 10**6 else 1
    nr_frames, table = nr_frames_of(nr_pins), {}
    gc.collect()
    if not IS_GC_ON:
        gc.disable()
    try:
        for name, pfns, length in shapes_of(nr_pins, rng):
            ours = best_of(of_registry, nr_rounds, pfns, length, nr_frames)
            table[name] = ours, best_of(of_dict, nr_rounds, pfns, length, nr_frames)
    finally:
        gc.enable()
    print(f"\n{nr_pins} pins, CPU ns a pin: registry / dict")
    for name, (ours, theirs) in table.items():
        shown = "  ".join(f"{op} {ours[op]:7.1f} /{theirs[op]:7.1f}" for op in OPERATIONS)
        print(f"{name:34} {shown}")
    for operation in OPERATIONS:
        costs = {name: ours[operation] for name, (ours, _) in table.items()}
        worst, best = max(costs, key=costs.get), min(costs, key=costs.get)
        print(f"{operation:12} worst {worst} {costs[worst]:.1f}, best {best} {costs[best]:.1f}")
