"""Which frames make up one page: adopted, moved, freed, split, and never in two pieces."""

import numpy as np
import pytest

from mm.state.folios import Folios
from mm.state.frames import Frames, FrameState, PageFlag
from pinpage.errors import InvariantError, PinpageError
from pinpage.testing.world import column


def drawn(*pages, nr_frames=32):
    """Used frames, with large pages at (head, order)."""
    frames = Frames(nr_frames)
    frames.state[:] = FrameState.USED
    frames.refcount[:] = 1
    folios = Folios(frames)
    adopt(folios, *pages)
    return frames, folios


def adopt(folios, *pages):
    folios.adopt(column(*(h for h, _ in pages)), column(*(order for _, order in pages)))


def test_a_machine_without_large_pages_knows_none():
    _, folios = drawn()
    assert len(folios) == 0
    assert not folios.covers(np.arange(32)).any()
    assert folios.heads_of(column(3, 9)).tolist() == [3, 9]
    folios.on_gone(column(1, 2))
    folios.on_moved(column(1), column(5))
    folios.check()


def test_what_is_known_of_each_frame():
    _, folios = drawn((0, 1), (8, 3))
    assert len(folios) == 2
    assert folios.orders_of(column(0, 1, 2, 15)).tolist() == [1, 1, 0, 3]
    assert folios.covers(column(1, 9), 2).tolist() == [False, True]
    assert folios.heads_of(column(1, 2, 13)).tolist() == [0, 2, 8]
    assert folios.heads_in(np.arange(1, 10)) == [0, 8]
    assert folios.frames_of(8).tolist() == list(range(8, 16))


@pytest.mark.parametrize("page", [(2, 2), (0, 0), (24, 4), (-8, 3), (8, 1), (16, 1), (20, 1)])
def test_what_can_be_no_large_page_is_refused_before_anything_changed(page):
    frames, folios = drawn((8, 3))
    frames.state[17] = FrameState.FREE
    frames.flags[21] = PageFlag.HUGE.mask
    with pytest.raises(PinpageError, match="folios: "):
        adopt(folios, (0, 1), page)
    assert len(folios) == 1
    assert folios.order_of(0) == 0


def test_a_page_of_which_all_moves_to_a_block_in_order_is_there_now():
    _, folios = drawn((8, 2))
    folios.on_moved(np.arange(8, 12), np.arange(16, 20))
    assert (folios.order_of(8), folios.order_of(16), len(folios)) == (0, 2, 1)
    assert not folios.nr_split
    folios.check()


@pytest.mark.parametrize(
    ("sources", "targets"),
    [
        ((8, 9, 10), (16, 17, 18)),  # not all of it
        ((8, 9, 10, 11), (17, 18, 19, 20)),  # misaligned
        ((8, 9, 10, 11), (16, 17, 19, 18)),  # out of order
        ((8, 9, 10, 11), (16, 17, 20, 21)),  # in two places
    ],
)
def test_any_other_move_splits_it_and_counts(sources, targets):
    _, folios = drawn((8, 2), (0, 1))
    folios.on_moved(column(*sources), column(*targets))
    assert folios.nr_split == {2: 1}
    assert not folios.covers(np.arange(8, 32)).any()
    assert len(folios) == 1
    folios.check()


def test_two_pages_in_one_batch_are_told_apart():
    _, folios = drawn((8, 2), (12, 2))
    folios.on_moved(np.arange(8, 16), np.concatenate((np.arange(20, 24), np.arange(25, 29))))
    assert folios.heads_in(np.arange(32)) == [20]
    assert folios.nr_split == {2: 1}


def test_a_page_that_is_freed_at_once_is_gone_and_one_that_loses_a_frame_is_split():
    _, folios = drawn((8, 2), (12, 2))
    folios.on_gone(column(8, 9, 10, 11, 13))
    assert len(folios) == 0
    assert folios.nr_split == {2: 1}, "the first was not broken up"
    folios.check()


def test_what_is_no_large_page_cannot_be_split():
    _, folios = drawn((8, 2))
    for pfn in (9, 0):
        with pytest.raises(PinpageError, match="no large page starts"):
            folios.split(pfn)
    folios.split(8)
    assert folios.nr_split == {2: 1}


def _lose_a_frame(frames, folios):
    frames.state[9] = FrameState.FREE


def _join_a_pool(frames, folios):
    frames.flags[9] = PageFlag.HUGE.mask


def _forget_a_frame(frames, folios):
    folios._orders[9] = 0


def _shift(frames, folios):
    folios._orders[8:13] = (0, 2, 2, 2, 2)


@pytest.mark.parametrize(
    ("broken", "label"),
    [(_lose_a_frame, "FO2"), (_join_a_pool, "FO2"), (_forget_a_frame, "FO3"), (_shift, "FO1")],
)
def test_what_is_broken_is_found(broken, label):
    frames, folios = drawn((8, 2))
    folios.check()
    broken(frames, folios)
    with pytest.raises(InvariantError, match=label):
        folios.check()
