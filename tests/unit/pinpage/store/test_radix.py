"""Blocks take the form that fits, and `check` notices what does not fit."""

import numpy as np
import pytest

from pinpage import InvariantError, PinOwner, PinpageError, PinRegistry, Span, Topology
from pinpage.store.radix import Radix
from pinpage.store.rows import PinRows


def run_of(start, stop, values):
    """Pins of a range with tag 2: one value for all, or one each."""
    return PinRows.of(
        (pfn, 2, v)
        for pfn, v in zip(
            range(start, stop), np.broadcast_to(values, stop - start).tolist(), strict=True
        )
    )


def radix():
    return Radix(Span(512, 2048), dense_above=4, sparse_below=2)


def dense_blocks(tree):
    return [block for block, is_dense in enumerate(tree.blocks.is_dense) if is_dense]


def test_a_crowded_block_turns_dense_and_a_deserted_one_is_given_back():
    tree = radix()
    for pfn in range(600, 605):
        assert not any(tree.blocks.is_dense)
        tree.add(pfn, 2, pfn)
    assert dense_blocks(tree) == [1]
    assert tree.blocks.sparse.nr_live == 0
    for pfn in range(600, 604):
        assert dense_blocks(tree) == [1]
        tree.discard(pfn, 2, pfn)
    assert tree.records_of(604) == [(2, 604)]
    tree.check()
    tree.blocks.trim()  # pin by pin they are only noted, so that coming and going does not thrash
    assert not any(tree.blocks.is_dense)
    assert tree.records_of(604) == [(2, 604)]
    assert tree.blocks.nr_conversions == 2
    tree.check()


def test_a_range_makes_its_blocks_dense_and_gives_them_back():
    tree = radix()
    tree.blocks.add_many(run_of(1000, 1100, 7))
    assert dense_blocks(tree) == [1, 2]
    tree.add(1200, 4, 7)
    assert tree.has_pins(run_of(1000, 1100, 7)).all()
    assert tree.has_pins(run_of(1000, 1101, 7)).tolist() == [True] * 100 + [False]
    assert not tree.has_pins(run_of(1000, 1100, 8)).any()
    tree.blocks.remove_many(np.arange(1000, 1100))
    assert tree.blocks.first_pins(512, 2048).pfns.tolist() == [1200]
    assert not any(tree.blocks.is_dense)
    tree.check()


def test_the_next_pin_moves_up_when_the_first_goes():
    tree = radix()
    for value in (1, 2, 3):
        assert tree.add(700, 2, value)
    assert not tree.add(700, 2, 2)
    assert tree.discard(700, 2, 1)
    assert tree.records_of(700) == [(2, 2), (2, 3)]
    assert tree.blocks.get(700) == (2, 2)
    assert not tree.discard(700, 2, 1)
    tree.check()


def test_next_pinned_jumps_over_empty_blocks():
    tree = Radix(Span(0, 512 * 700))
    tree.add(512 * 650 + 3, 2, 0)
    assert tree.blocks.next_pinned(5, 512 * 700) == 512 * 650 + 3
    assert tree.blocks.next_pinned(5, 512 * 650 + 3) is None
    assert tree.blocks.next_pinned(512 * 650 + 4, 512 * 700) is None


def add_extra(tree):
    tree.extras[900] = [(2, 1)]
    tree.nr_extra += 1


BREAKS = {
    "X1 frames per block": lambda tree: tree.blocks.counts.__setitem__(0, 9),
    "X2": lambda tree: tree.blocks.sparse.put(1530, 2, 1),
    "X3 extras without": add_extra,
    "X3 a pin twice": lambda tree: tree.extras.__setitem__(600, [(2, 1)]),
    "X4 an empty": lambda tree: tree.extras.__setitem__(600, []),
    "X4 extras": lambda tree: setattr(tree, "nr_extra", 9),
    "X5": lambda tree: tree.blocks.sparse.put(100, 2, 1),
    "X6 a crowded": lambda tree: setattr(tree.blocks, "dense_above", 0),
    "X6 a dense block of too few": lambda tree: setattr(tree.blocks, "sparse_below", 99),
}


@pytest.mark.parametrize("name", BREAKS)
def test_check_notices(name):
    tree = radix()
    tree.add(600, 2, 1)
    tree.blocks.add_many(run_of(1024, 1034, 1))
    tree.check()
    BREAKS[name](tree)
    with pytest.raises(InvariantError, match=name):
        tree.check()


def test_unsorted_and_repeated_frames_can_be_asked_for():
    tree = radix()
    tree.blocks.add_many(run_of(1024, 1034, np.arange(10)))
    tree.add(600, 4, 5)
    tags, values = tree.blocks.find_many(np.array([1030, 600, 601, 1030]))
    assert tags.tolist() == [2, 4, -1, 2]
    assert values[[0, 1, 3]].tolist() == [6, 5, 6]


@pytest.mark.parametrize(("sparse_below", "dense_above"), [(0, 4), (5, 4), (4, 512), (600, 600)])
def test_thresholds_that_cross_or_leave_a_full_block_in_the_table_are_refused(
    sparse_below, dense_above
):
    topology = Topology.uniform(nr_frames=2048)
    with pytest.raises(PinpageError, match=f"dense_above={dense_above}: want 1 <= "):
        PinRegistry(topology, sparse_below=sparse_below, dense_above=dense_above)


def test_a_range_of_blocks_that_were_filled_frame_by_frame_goes_at_the_highest_threshold():
    reg, owner = PinRegistry(Topology.uniform(nr_frames=4096), dense_above=511), PinOwner()
    reg.register(owner)
    for first in (0, 1):
        reg.pin_many(np.arange(first, 1536, 2), owner)
    reg.unpin_range(0, 1536, owner)
    assert len(reg) == 0
    assert not reg.pinned_mask(0, 4096).any()
    reg.check()
