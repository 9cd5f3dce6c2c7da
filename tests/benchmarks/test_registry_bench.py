"""The registry beside a dict and a SortedDict, each under one lock, in one process and run.

Work first, time second: the tests assert the number of pins and locks, then ratios.  Each
round visits all three structures with the same frames; a ratio is the median over rounds of
the ratios within a round, in CPU time of this thread, so that a busy machine slows both.
Run with `-s` to see the table.
"""

import gc
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from pinpage import PinOwner, PinRegistry, Topology
from tests.benchmarks.baselines import DictRegistry, SortedDictRegistry

pytestmark = pytest.mark.benchmark

NR_PINS = 1_000_000
NR_FRAMES = 1 << 24  # 64 GiB
NR_ROUNDS = 15
NR_SINGLES, NR_MANY, NR_CALLS, NR_BLOCKS = 4000, 4096, 8, 64
LAYOUTS = ("contiguous", "scattered")

FASTER_THAN_DICT = {
    # (layout, operation): how many times faster the registry must be
    ("contiguous", "pin range 2 MiB"): 10,
    ("contiguous", "unpin range 2 MiB"): 10,
    ("contiguous", "mask of a full block"): 10,
    ("contiguous", "pins of a full block"): 2.5,
    ("contiguous", "pin"): 0.5,
    ("contiguous", "unpin"): 0.5,
    ("contiguous", "lookup"): 0.5,
    ("scattered", "pin many"): 1.5,
    ("scattered", "pin"): 0.5,
    ("scattered", "unpin"): 0.5,
    ("scattered", "lookup"): 0.5,
}


class Subject:
    """One structure with a million pins, and how it is called."""

    def __init__(self, name, target, owner, pfns):
        self.name, self.target, self.owner = name, target, owner
        self.is_registry = name == "registry"
        for start in range(0, len(pfns), NR_MANY):
            part = pfns[start : start + NR_MANY]
            self.many(target.pin_many, part, part * 7)

    def many(self, call, pfns, privates):
        if self.is_registry:
            call(pfns, self.owner, privates)
        else:
            call(pfns.tolist(), self.owner, privates.tolist())

    def each(self, call, rows):
        for row in rows:
            call(*row)

    def columns(self, call, pfns, privates):
        for start in range(0, len(pfns), NR_MANY):
            self.many(call, pfns[start : start + NR_MANY], privates[start : start + NR_MANY])

    def ranges(self, single, many, blocks):
        for block in blocks:
            if self.is_registry:
                single(block, block + 512, self.owner, 3)
            else:
                many(range(block, block + 512), self.owner, [3] * 512)

    def scans(self, call, blocks):
        for block in blocks:
            call(block, block + 512)


def measure(subject, frames, clock):
    """One round: every operation, with its cost per unit."""
    target, owner = subject.target, subject.owner
    rows = [(pfn, owner, pfn * 7) for pfn in frames["some"]]
    clock("lookup", len(rows), lambda: subject.each(target.is_pinned, [row[:1] for row in rows]))
    clock("pins", len(rows), lambda: subject.each(target.pins, [row[:1] for row in rows]))
    clock("unpin", len(rows), lambda: subject.each(target.unpin, rows))
    clock("pin", len(rows), lambda: subject.each(target.pin, rows))
    free = frames["free"]
    clock("pin many", len(free), lambda: subject.columns(target.pin_many, free, free))
    clock("unpin many", len(free), lambda: subject.columns(target.unpin_many, free, free))
    empty, full = frames["empty blocks"], frames["full blocks"]
    if subject.is_registry:
        pin, unpin, mask, pins = (
            target.pin_range,
            target.unpin_range,
            target.pinned_mask,
            target.pin_columns,
        )
    else:
        pin, unpin, mask, pins = None, None, target.scan, target.scan_pins
    if len(empty):
        clock(
            "pin range 2 MiB", 512 * len(empty), lambda: subject.ranges(pin, target.pin_many, empty)
        )
        clock(
            "unpin range 2 MiB",
            512 * len(empty),
            lambda: subject.ranges(unpin, target.unpin_many, empty),
        )
    clock("mask of a full block", len(full), lambda: subject.scans(mask, full))
    clock("pins of a full block", len(full), lambda: subject.scans(pins, full))


def frames_of(layout, pinned, rng):
    """The frames of one round."""
    is_free = np.ones(NR_FRAMES, dtype=np.bool_)
    is_free[pinned] = False
    empty_blocks = (
        rng.choice(2048, NR_BLOCKS, replace=False) * 512 if layout == "contiguous" else []
    )
    blocks = pinned // 512 * 512
    return {
        "some": rng.choice(pinned, NR_SINGLES, replace=False).tolist(),
        "free": rng.choice(is_free.nonzero()[0], NR_MANY * NR_CALLS, replace=False),
        "empty blocks": [int(block) for block in empty_blocks],
        "full blocks": rng.choice(np.unique(blocks)[1:-1], NR_BLOCKS, replace=False).tolist(),
    }


@pytest.fixture(scope="module", params=LAYOUTS)
def costs(request):
    """ns per unit by operation and structure, one value per round; and the registry."""
    layout, rng = request.param, np.random.default_rng(7)
    if layout == "contiguous":
        pinned = np.arange(1 << 20, (1 << 20) + NR_PINS)
    else:
        pinned = np.sort(rng.choice(NR_FRAMES, NR_PINS, replace=False))
    owner = PinOwner()
    registry = PinRegistry(Topology.uniform(nr_frames=NR_FRAMES))
    registry.register(owner)
    subjects = [
        Subject("dict", DictRegistry(), owner, pinned),
        Subject("SortedDict", SortedDictRegistry(), owner, pinned),
        Subject("registry", registry, owner, pinned),
    ]
    found = defaultdict(lambda: defaultdict(list))
    gc.collect()
    gc.disable()
    try:
        for _ in range(NR_ROUNDS):
            frames = frames_of(layout, pinned, rng)
            for subject in subjects:

                def clock(operation, nr_units, work, name=subject.name):
                    start = time.thread_time_ns()
                    work()
                    found[operation][name].append((time.thread_time_ns() - start) / nr_units)

                measure(subject, frames, clock)
    finally:
        gc.enable()
    assert len(registry) == NR_PINS
    registry.check()
    return layout, found


def test_the_registry_beside_a_dict(costs):
    layout, found = costs
    missed = []
    print(f"\n{layout}: CPU ns, min of {NR_ROUNDS} rounds; times faster than the dict, median")
    for operation, by_name in found.items():
        ratio = statistics.median(
            a / b for a, b in zip(by_name["dict"], by_name["registry"], strict=True)
        )
        shown = "  ".join(f"{name} {min(values):9.1f}" for name, values in by_name.items())
        print(f"{operation:22} {shown}   {ratio:6.2f}x")
        wanted = FASTER_THAN_DICT.get((layout, operation))
        if wanted and ratio < wanted:
            missed.append(f"{operation}: {ratio:.2f}x, not {wanted}x")
    assert not missed


MEMORY = """
import sys, resource, numpy as np
sys.path.insert(0, sys.argv[3])
from pinpage import PinOwner, PinRegistry, Topology
from tests.benchmarks.baselines import DictRegistry
def rss():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
kind, layout, nr = sys.argv[1], *sys.argv[2].split(":")
nr, owner = int(nr), PinOwner()
rng = np.random.default_rng(3)
warm = PinRegistry(Topology.uniform(nr_frames=1 << 24)); warm.register(owner)
warm.pin_many(np.arange(5), owner)
if layout == "contiguous":
    pfns = np.arange(1 << 20, (1 << 20) + nr)
else:
    pfns = rng.choice(1 << 24, nr, replace=False)
before = rss()
if kind == "dict":
    target = DictRegistry()
    for start in range(0, nr, 4096):
        part = pfns[start : start + 4096]
        target.pin_many(part.tolist(), owner, (part * 7).tolist())
else:
    target = PinRegistry(Topology.uniform(nr_frames=1 << 24)); target.register(owner)
    for start in range(0, nr, 4096):
        part = pfns[start : start + 4096]
        target.pin_many(part, owner, part * 7)
print((rss() - before) / nr)
"""


def bytes_per_pin(kind, layout, nr_pins):
    root = str(Path(__file__).parents[2])
    found = subprocess.run(
        [sys.executable, "-c", MEMORY, kind, f"{layout}:{nr_pins}", root],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(found.stdout)


@pytest.mark.parametrize(
    ("layout", "nr_pins", "limit"),
    [("contiguous", NR_PINS, 20), ("scattered", 10_000, None), ("scattered", NR_PINS, None)],
)
def test_bytes_per_pin(layout, nr_pins, limit):
    """Growth of resident memory in a fresh process; each pin with a private of its own."""
    ours, dicts = (bytes_per_pin(kind, layout, nr_pins) for kind in ("registry", "dict"))
    print(f"\n{layout} {nr_pins}: registry {ours:.1f}, dict {dicts:.1f} bytes per pin")
    assert ours <= (limit or dicts)
