"""On a CPython without its global lock nothing is a single step: whoever comes takes the lock."""

import random

import numpy as np
import pytest

from pinpage import AlreadyPinnedError, NotPinnedError, PinOwner, PinRegistry, Topology
from pinpage.store import shard
from tests.kit import inside

NR_FRAMES = 2048


def registry(**options):
    reg = PinRegistry(Topology.uniform(nr_frames=NR_FRAMES, nr_nodes=2), **options)
    owner = PinOwner()
    reg.register(owner)
    return reg, owner


@pytest.fixture
def parallel(monkeypatch):
    monkeypatch.setattr(shard, "RUNS_IN_PARALLEL", True)
    return registry()


CALLS = {
    "pin": lambda reg, owner: reg.pin(700, owner, 7),
    "pin in a dense block": lambda reg, owner: reg.pin(300, owner, 7),
    "pin with an object": lambda reg, owner: reg.pin(701, owner, "key"),
    "is it pinned": lambda reg, owner: reg.is_pinned(5),
    "pins": lambda reg, owner: reg.pins(5),
    "mask": lambda reg, owner: reg.pinned_mask(0, 512),
    "unpin": lambda reg, owner: reg.unpin(1500, owner, 7),
    "unpin in a dense block": lambda reg, owner: reg.unpin(5, owner, 1),
    "unpin an object": lambda reg, owner: reg.unpin(1501, owner, "key"),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("after", ["nothing", "a scan", "a move"])
def test_each_single_call_takes_the_lock(parallel, name, after):
    reg, owner = parallel
    reg.pin_range(0, 200, owner, 1)
    reg.pin(1500, owner, 7)
    reg.pin(1501, owner, "key")
    if after == "a scan":
        with reg.scanning():
            pass
    elif after == "a move":
        reg.marks.begin_move(np.array([9, 1100]))
        reg.marks.end_move(np.array([9, 1100]))
    nr_locks = reg.statistics().lock_acquisitions
    CALLS[name](reg, owner)
    assert reg.statistics().lock_acquisitions > nr_locks
    assert reg.statistics().nr_annihilated == 0
    assert all(not each.batch for each in inside.shards(reg))
    reg.check()


def do(reg, owner, number, pfn, private):
    """One drawn call, and what it answered."""
    try:
        if number == 0:
            return reg.pin(pfn, owner, private)
        if number == 1:
            return reg.unpin(pfn, owner, private)
        if number == 2:
            return reg.pin_range(pfn, min(pfn + 90, NR_FRAMES), owner, private)
        return [(pin.pfn, pin.private) for pin in reg.pins(pfn)], len(reg)
    except (AlreadyPinnedError, NotPinnedError) as error:
        return type(error)


def test_the_answers_are_the_same(parallel, monkeypatch):
    monkeypatch.undo()
    twin, rng = registry(), random.Random(7)
    for _ in range(2000):
        call = rng.randrange(4), rng.randrange(NR_FRAMES), rng.choice((None, 1, "key"))
        assert do(*parallel, *call) == do(*twin, *call)
    assert list(map(tuple, _rows(parallel[0]))) == list(map(tuple, _rows(twin[0])))
    parallel[0].check()


def _rows(reg):
    return [(pin.pfn, pin.private) for pin in reg.iter_pins()]
