"""Steps without a lock: nobody comes in between, and what is not simple is left alone."""

import dis
import inspect
from itertools import pairwise

import numpy as np
import pytest

from pinpage import PinOwner, PinRegistry, Topology
from pinpage.store import at_once
from tests.kit import inside
from tests.kit.inside import shards

TAG, FULL, FEW = 2, 5, 700  # a frame of a dense block, one of another


@pytest.fixture
def shard():
    reg, owner = PinRegistry(Topology.uniform(nr_frames=2048), batch_nr_pins=3), PinOwner()
    reg.register(owner)
    reg.pin_range(100, 300, owner, 1)
    return inside.shards(reg)[0]


STEPS = {
    "add": at_once.add,
    "take_from_column": lambda s, pfn, tag, value, seq: at_once.take_from_column(
        s.radix.blocks, s, pfn, tag, value, seq
    ),
    "take_from_table": lambda s, pfn, tag, value, seq: at_once.take_from_table(
        s.radix.blocks, s, pfn, tag, value, seq
    ),
    "take_from_batch": at_once.take_from_batch,
}
STORES = ("STORE_SUBSCR", "DELETE_SUBSCR", "STORE_ATTR")
LOOKS = ("CALL", "RESUME", "JUMP_BACKWARD")  # at signals, and at who else wants to run
MAKES = (
    "BUILD",
    "LIST",
    "DICT",
    "MAP",
    "SET_ADD",
    "SET_UPDATE",
)  # a container: may collect garbage


@pytest.mark.parametrize("name", at_once.__all__)
def test_nobody_comes_between_the_second_look_and_the_end(name):
    """By the instructions: none in between looks at the eval breaker, or makes a container."""
    code = list(dis.get_instructions(getattr(at_once, name)))
    reads = [at for at, op in enumerate(code) if op.opname == "LOAD_ATTR" and op.argval == "seq"]
    assert len(reads) == (2 if name == "add" else 1)  # to the column, or to the batch
    for look, end in pairwise([*reads, len(code)]):
        done = [at for at in range(look, end) if code[at].argval is True][-1]
        between = [op.opname for op in code[look:done]]
        assert any(name in STORES for name in between)
        assert not [name for name in between if any(part in name for part in (*LOOKS, *MAKES))]


def test_every_step_is_tried():
    functions = [name for name, _ in inspect.getmembers(at_once, inspect.isfunction)]
    assert sorted(functions) == sorted(at_once.__all__) == sorted(STEPS)


def state(shard):
    pins = list(shard.radix.pins_in(0, 2048).each())
    return pins, dict(shard.batch), shard.radix.blocks.counts.tolist(), shard.has_further


# What makes a step not simple: (step, what is done before, pfn).


def odd(shard):
    shard.seq |= 1


def somebody_was_there(shard):
    shard.run(lambda: None)


def beside(shard):
    shard.radix.add(110, TAG + 2, 9)


def few(shard):
    """A pin in the table; as it was before whatever the caller knows."""
    shard.radix.add(FEW, TAG, 7)


def odd_with_few(shard):
    few(shard)
    odd(shard)


def few_and_somebody(shard):
    few(shard)
    somebody_was_there(shard)


def few_beside(shard):
    few(shard)
    shard.radix.add(FEW, TAG + 2, 9)


def in_batch(shard):
    shard.batch[FULL] = shard.batch[FEW] = shard.batch[110] = TAG, 7
    shard.has_further = True


def full(shard):
    shard.batch.update(dict.fromkeys((900, 901, 902), (TAG, 7)))


def nothing(shard):
    """All is simple with the node."""


NOT_SIMPLE = {
    "add": {
        "the same, dense": (nothing, 110, 0, 1),
        "several, dense": (beside, 110, TAG + 4, 7),
        "odd, beside, dense": (odd, 110, TAG, 7),
        "somebody was there, beside, dense": (somebody_was_there, 110, TAG, 7),
        "in the batch, beside, dense": (in_batch, 110, TAG, 8),
        "odd, dense": (odd, FULL, TAG, 7),
        "somebody was there, dense": (somebody_was_there, FULL, TAG, 7),
        "in the batch, dense": (in_batch, FULL, TAG, 7),
        "too long, dense": (nothing, FULL, TAG, 1 << 63),
        "too low, dense": (nothing, FULL, TAG, -(1 << 63) - 1),
        "the same": (few, FEW, TAG, 7),
        "several": (few_beside, FEW, TAG + 4, 7),
        "odd": (odd, FEW, TAG, 7),
        "odd, beside": (odd_with_few, FEW, TAG + 2, 7),
        "somebody was there, beside": (few_and_somebody, FEW, TAG + 2, 7),
        "full, beside": (full, 110, TAG, 7),
        "somebody was there": (somebody_was_there, FEW, TAG, 7),
        "in the batch": (in_batch, FEW, TAG, 8),
        "full": (full, FEW, TAG, 7),
        "too long": (nothing, FEW, TAG, 1 << 63),
        "too low": (nothing, FEW, TAG, -(1 << 63) - 1),
    },
    "take_from_column": {
        "few": (nothing, FEW, TAG, 7),
        "another owner": (nothing, 110, TAG, 1),
        "another private": (nothing, 110, 0, 2),
        "odd": (odd, 110, 0, 1),
        "somebody was there": (somebody_was_there, 110, 0, 1),
        "several": (beside, 110, 0, 1),
    },
    "take_from_table": {
        "not there": (nothing, FEW, TAG, 7),
        "dense": (nothing, 110, 0, 1),
        "another owner": (few, FEW, TAG + 2, 7),
        "another private": (few, FEW, TAG, 8),
        "odd": (odd_with_few, FEW, TAG, 7),
        "somebody was there": (few_and_somebody, FEW, TAG, 7),
        "several": (few_beside, FEW, TAG, 7),
    },
    "take_from_batch": {
        "not there": (nothing, FEW, TAG, 7),
        "another owner": (in_batch, FEW, TAG + 2, 7),
        "another private": (in_batch, FEW, TAG, 8),
        "odd": (odd, FEW, TAG, 7),
        "somebody was there": (somebody_was_there, FEW, TAG, 7),
    },
}


@pytest.mark.parametrize(
    ("step", "why"), [(step, why) for step, cases in NOT_SIMPLE.items() for why in cases]
)
def test_what_is_not_simple_is_left_alone(shard, step, why):
    prepare, pfn, tag, value = NOT_SIMPLE[step][why]
    seq = shard.seq
    if why == "odd" and step == "take_from_batch":
        in_batch(shard)
    prepare(shard)
    if why == "somebody was there" and step == "take_from_batch":
        in_batch(shard)
    before = state(shard)
    seq = shard.seq if why.startswith("odd") else seq
    assert not STEPS[step](shard, pfn, tag, value, seq)
    assert state(shard) == before


def test_what_is_simple_is_done(shard):
    seq = shard.seq
    assert STEPS["add"](shard, FULL, TAG, -7, seq)
    assert shard.radix.records_of(FULL) == [(TAG, -7)]
    assert STEPS["add"](shard, FEW, TAG, 7, seq)
    assert shard.batch == {FEW: (TAG, 7)}
    shard.check()
    assert STEPS["take_from_batch"](shard, FEW, TAG, 7, seq)
    assert shard.nr_annihilated == 1
    assert STEPS["take_from_column"](shard, FULL, TAG, -7, seq)
    assert state(shard)[0] == [(pfn, 0, 1) for pfn in range(100, 300)]
    assert shard.seq == seq
    shard.check()


@pytest.mark.parametrize("pfn", [110, FEW])
def test_a_second_pin_waits_in_the_batch_whatever_becomes_of_the_first(shard, pfn):
    shard.radix.add(FEW, 0, 1)
    seq = shard.seq
    for tag, value in ((TAG, 1), (0, 2), (TAG, -7)):  # owner or private, one differs at least
        assert STEPS["add"](shard, pfn, tag, value, seq)
        assert not STEPS["add"](shard, pfn, tag + 4, value, seq)  # a third one
        assert shard.batch == {pfn: (tag, value)}
        assert shard.records_of(pfn) == [(0, 1), (tag, value)]
        shard.check()
        assert STEPS["take_from_batch"](shard, pfn, tag, value, seq)
    assert STEPS["add"](shard, pfn, TAG, 7, seq)
    take = STEPS["take_from_column" if pfn == 110 else "take_from_table"]
    assert take(shard, pfn, 0, 1, seq)
    assert shard.records_of(pfn) == [(TAG, 7)]
    assert not STEPS["add"](shard, pfn, TAG, 7, seq)
    shard.check()
    shard.run(shard.drain)
    assert shard.radix.records_of(pfn) == [(TAG, 7)]
    shard.check()


def test_what_is_simple_is_taken_from_the_table(shard):
    pfns = list(range(600, 664))
    for pfn in pfns:  # as many as a block may have there: some slots follow each other
        shard.radix.add(pfn, TAG, pfn)
    for nr_left, pfn in enumerate(reversed(pfns)):
        assert STEPS["take_from_table"](shard, pfn, TAG, pfn, shard.seq)
        assert not shard.radix.holds(pfn)
        assert shard.radix.nr_pins == 200 + len(pfns) - nr_left - 1
        shard.check()


def test_a_table_that_is_to_shrink_is_left_to_the_lock():
    reg, owner = PinRegistry(Topology.uniform(nr_frames=1 << 22)), PinOwner()
    reg.register(owner)
    frames = np.arange(0, 1 << 22, 256)
    reg.pin_many(frames, owner, 1)
    table = shards(reg)[0].radix.blocks.sparse
    before = table.nr_slots
    for pfn in frames.tolist():
        reg.unpin(pfn, owner, 1)
    assert shards(reg)[0].radix.blocks.sparse.nr_slots < before
    assert len(reg) == 0
    reg.check()


def test_a_block_that_is_left_with_few_pins_is_noted(shard):
    blocks = shard.radix.blocks
    for pfn in range(100, 300 - blocks.sparse_below):
        assert STEPS["take_from_column"](shard, pfn, 0, 1, shard.seq)
    assert not blocks.thin
    assert STEPS["take_from_column"](shard, 299, 0, 1, shard.seq)
    assert list(blocks.thin) == [0]
    shard.run(shard.drain)
    assert not blocks.thin
    assert not np.any(shard.radix.blocks.is_dense)
    shard.check()
