"""References: what is given, what is dropped, and what frees; one by one and by the column."""

import numpy as np
import pytest

from mm.state.frames import FrameState, PageFlag
from pinpage.errors import InvariantError
from pinpage.testing.world import column
from tests.kit.mm.machines import Drawn


def counts(drawn, *pfns):
    return drawn.machine.frames.refcount[list(pfns)].tolist()


def frozen(drawn, pfn, references):
    """A frame in a mover's hands, its count frozen."""
    mover = drawn.machine.mover
    mover.take(column(pfn))
    assert mover.freeze(column(pfn), column(references)).all()


def test_only_used_frames_whose_counts_are_not_frozen_give_references():
    drawn = Drawn("#x.#p...", movable=True)
    frozen(drawn, 1, references=1)
    drawn.machine.frames.state[3] = FrameState.QUARANTINED
    given = drawn.machine.refs.get_many(column(0, 1, 2, 3, 4), np.array([5, 5, 5, 5, 5]))
    assert given.tolist() == [True, False, False, False, False]
    assert counts(drawn, 0, 1, 2, 3, 4) == [6, -2, 0, 1, 0]
    assert [drawn.machine.refs.get_page(pfn) for pfn in range(5)] == given.tolist()


@pytest.mark.parametrize("state", [FrameState.TAKEN, FrameState.USED])
@pytest.mark.parametrize("many", [False, True])
def test_a_target_gives_no_reference_before_it_is_whole(state, many):
    """However its source of targets marks it."""
    drawn = Drawn("x...#...", movable=True)
    refs = drawn.machine.refs
    frozen(drawn, 0, references=1)
    drawn.machine.frames.state[4] = state
    drawn.machine.mover.copy(column(0), column(4))
    assert not (refs.get_many(column(4)).any() if many else refs.get_page(4))
    assert counts(drawn, 4) == [1]


def test_references_are_dropped_by_either_name_and_the_last_one_frees():
    drawn = Drawn("x#a.#...", movable=True)
    machine, refs = drawn.machine, drawn.machine.refs
    refs.get_page(1)
    frozen(drawn, 0, references=1)
    machine.mover.copy(column(0), column(4))
    machine.rmap.unmap_many(column(2))
    assert refs.put_many(column(4, 1, 2)).tolist() == [False, False, True]
    assert counts(drawn, 0, 1, 2, 4) == [-1, 1, 0, 1]
    assert machine.frames.state[2] == FrameState.PCP
    assert machine.lru.nr_pages(active=False) == 0
    assert machine.counters.pages_freed == 1
    machine.mover.unfreeze(column(0))
    assert refs.nr_aliases == 0


@pytest.mark.parametrize(("nr_references", "broken"), [((1, 2), "V2"), ((1, 1), "V3")])
def test_a_column_of_drops_is_refused_as_a_whole(nr_references, broken):
    drawn = Drawn("##......")
    if broken == "V3":
        drawn.machine.frames.isolated[1] = True
    with pytest.raises(InvariantError, match=broken):
        drawn.machine.refs.put_many(column(0, 1), np.array(nr_references))
    assert counts(drawn, 0, 1) == [1, 1]


def test_whoever_lets_go_of_a_frame_that_was_set_aside_does_no_harm():
    drawn = Drawn("##......")
    refs, pfns = drawn.machine.refs, column(0, 1)
    drawn.machine.mover.quarantine(pfns)
    assert not refs.put_page(0)
    assert not refs.put_many(pfns).any()
    assert counts(drawn, 0, 1) == [0, 0]
    assert (drawn.machine.frames.state[pfns] == FrameState.QUARANTINED).all()


def test_what_is_said_of_a_target_is_said_of_its_source():
    drawn = Drawn("x...#...", movable=True)
    machine = drawn.machine
    assert machine.refs.copies_of(0) == (0,)
    frozen(drawn, 0, references=1)
    machine.mover.copy(column(0), column(4))
    machine.refs.set_flag(4, PageFlag.DIRTY)
    assert machine.frames.has_flag(column(0, 4), PageFlag.DIRTY).tolist() == [True, False]
    assert machine.refs.copies_of(0) == (0, 4)
    machine.mover.rekey(column(0), column(4))
    assert machine.frames.has_flag(column(0, 4), PageFlag.DIRTY).tolist() == [False, True]


def test_those_of_a_batch_that_do_not_move_keep_their_targets_names():
    refs = Drawn("##......").machine.refs
    refs.freeze(column(0, 1), 1)
    refs.hold_page(0)
    refs.hold_page(1)
    refs.stand_for(column(0, 1), column(4, 5))
    refs.carry_over(column(0), column(4))
    assert [refs.copies_of(0), refs.copies_of(1)] == [(0,), (1, 5)]
    assert refs.nr_aliases == 1
    assert not refs.put_page(5)
    assert refs.counts(column(1, 5)).tolist() == [1, 0]


def test_what_has_moved_gives_no_reference_at_its_old_place():
    refs = Drawn("#.......").machine.refs
    refs.freeze(column(0), 1)
    refs.hold_page(0)
    refs.carry_over(column(0), column(4))
    assert not refs.get_page(0)
    assert not refs.get_many(column(0)).any()


@pytest.mark.parametrize("change", [1, -1, 3])
def test_homes_come_and_go_while_a_count_is_frozen(change):
    drawn = Drawn("x#......", movable=True)
    frames = drawn.machine.frames
    frames.add_reference(1, 4)
    frames.add_reference(0, 4)
    frozen(drawn, 0, references=5)
    frames.add_references(column(0, 1), change)
    assert counts(drawn, 0, 1) == [-6 - change, 5 + change]
    frames.add_reference(0, change)
    assert counts(drawn, 0) == [-6 - 2 * change]
