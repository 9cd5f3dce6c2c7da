"""The LRU against plain lists, and its invariants."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from mm.state.frames import Frames, FrameState, PageFlag
from mm.state.lru import Lru
from pinpage.errors import InvariantError, PinpageError
from pinpage.testing.world import column


def new_lru(nr_frames: int = 8) -> Lru:
    frames = Frames(nr_frames)
    frames.state[:] = FrameState.USED
    frames.refcount[:] = 1
    return Lru(frames)


def test_oldest_comes_first_and_stays() -> None:
    lru = new_lru()
    lru.add_many(column(5, 2, 7))
    lru.add_page(1)
    assert lru.oldest(2).tolist() == lru.oldest(2).tolist() == [5, 2]
    assert lru.oldest(9).tolist() == [5, 2, 7, 1]
    lru.check()


def test_an_isolated_page_is_found_no_more_and_comes_back_young() -> None:
    lru = new_lru()
    lru.add_many(column(5, 2, 7))
    lru.del_many(column(5))
    assert not lru.frames.has_flag(column(5), PageFlag.LRU)[0]
    assert lru.oldest(9).tolist() == [2, 7]
    lru.putback_many(column(5))
    assert lru.oldest(9).tolist() == [2, 7, 5]
    lru.check()


def test_an_active_page_stays_active_while_it_is_isolated() -> None:
    lru = new_lru()
    lru.add_many(column(5, 2))
    lru.activate(column(5))
    lru.del_page(5)
    assert lru.frames.has_flag(column(5), PageFlag.ACTIVE)[0]
    lru.putback_page(5)
    lru.add_many(column(3), active=True)
    assert lru.oldest(9, active=True).tolist() == [5, 3]
    assert lru.oldest(9).tolist() == [2]
    assert (lru.nr_pages(active=True), lru.nr_pages(active=False)) == (2, 1)
    lru.check()


def test_a_batch_goes_back_to_the_lists_it_came_from() -> None:
    lru = new_lru()
    lru.add_many(column(5, 2))
    lru.add_many(column(3), active=True)
    lru.del_many(column(3, 5))
    lru.putback_many(column(3, 5))
    assert (lru.oldest(9).tolist(), lru.oldest(9, active=True).tolist()) == ([2, 5], [3])
    lru.check()


@pytest.mark.parametrize("call", ["add_many", "del_many", "add_page", "del_page"])
def test_twice_is_a_mistake_and_changes_nothing(call: str) -> None:
    lru = new_lru()
    lru.add_many(column(1, 2))
    wrong = 4 if call.startswith("del") else 2
    argument = column(1 if call.startswith("del") else 5, wrong) if call.endswith("many") else wrong
    with pytest.raises(PinpageError, match=f"pfn 0x{wrong:x} is on"):
        getattr(lru, call)(argument)
    assert lru.oldest(9).tolist() == [1, 2]
    lru.check()


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(("add", "add active", "del", "activate", "look")),
        st.lists(st.integers(0, 7), min_size=1, max_size=4, unique=True),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(OPERATIONS)
def test_it_behaves_as_two_plain_lists(operations: list[tuple[str, list[int]]]) -> None:
    lru, model = new_lru(), ([], [])  # type: tuple[Lru, tuple[list[int], list[int]]]
    for what, pages in operations:
        on_list = [pfn for pfn in pages if pfn in model[0] + model[1]]
        fresh = [pfn for pfn in pages if pfn not in on_list]
        if what.startswith("add"):
            active = what == "add active"
            lru.add_many(column(*fresh), active)
            model[active].extend(fresh)
        elif what != "look":
            for pages_of in model:
                pages_of[:] = [pfn for pfn in pages_of if pfn not in on_list]
            lru.del_many(column(*on_list))
            if what == "activate":
                lru.add_many(column(*on_list), active=True)
                model[True].extend(on_list)
        for active in (False, True):
            assert lru.oldest(len(pages), active).tolist() == model[active][: len(pages)]
    lru.check()


def test_places_are_reused_however_long_it_runs() -> None:
    """Rotating 600 pages 50 times takes no more room than a few times 600 places."""
    lru = new_lru(1000)
    lru.add_many(np.arange(1000))
    kept = column(0)  # the oldest stays where it is, and stale places pile up behind it
    for _ in range(50):
        pages = np.setdiff1d(lru.oldest(601), kept)
        lru.del_many(pages)
        lru.add_many(pages)
        assert lru.oldest(1).tolist() == [0]
    assert sum(len(places.pfns) for places in lru._lists) <= 8 * 1024
    lru.check()


def _lost_flag(lru: Lru) -> None:
    lru.frames.clear_flag(column(1), PageFlag.LRU)


def _another_flag(lru: Lru) -> None:
    lru.frames.clear_flag(column(1), PageFlag.LRU)
    lru.frames.set_flag(column(5), PageFlag.LRU)


def _freed(lru: Lru) -> None:
    lru.frames.state[1] = FrameState.FREE


def _wrong_list(lru: Lru) -> None:
    lru.frames.set_flag(column(1), PageFlag.ACTIVE)


def _wrong_count(lru: Lru) -> None:
    lru._lists[0].nr_pages += 1


@pytest.mark.parametrize(
    ("damage", "invariant"),
    [
        (_lost_flag, "L1"),
        (_another_flag, "L1"),
        (_freed, "L2"),
        (_wrong_list, "L2"),
        (_wrong_count, "L3"),
    ],
)
def test_check_sees_the_damage(damage: object, invariant: str) -> None:
    lru = new_lru()
    lru.add_many(column(1, 2))
    damage(lru)  # type: ignore[operator]  # one of the functions above
    with pytest.raises(InvariantError, match=invariant):
        lru.check()
