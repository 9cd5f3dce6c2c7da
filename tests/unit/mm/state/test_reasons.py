"""Refusals: counted once, by reason and by holder, and they add up."""

import numpy as np
import pytest

from mm.state.reasons import Refusals
from pinpage.errors import PinpageError
from pinpage.owner import Reason
from pinpage.testing.world import column

HOLDERS = (np.array([0, 1, 2, 1, 0], dtype=np.uint8), ("unknown", "slab", "zbud"))


def reasons(*found):
    return np.array(found, dtype=np.uint8)


def counted():
    refusals = Refusals()
    refusals.add(
        column(0, 1, 2, 3, 4),
        reasons(*[Reason.NO_OWNER, Reason.OWNER_BUSY, Reason.OWNER_BUSY, Reason.NO_CALLBACK],
                Reason.UNACCOUNTED),
        HOLDERS,
        at_home=np.array([False, True, False, False, True]),
    )  # fmt: skip
    return refusals


def test_each_frame_counts_under_its_reason_and_its_holder():
    assert counted().by_owner() == {
        "home": {Reason.UNACCOUNTED: 1},
        "slab": {Reason.NO_CALLBACK: 1, Reason.OWNER_BUSY: 1},
        "unknown": {Reason.NO_OWNER: 1},
        "zbud": {Reason.OWNER_BUSY: 1},
    }


def test_reasons_come_in_the_order_of_the_taxonomy_and_sum_up_to_the_frames():
    by_reason = counted().by_reason()
    assert list(by_reason) == sorted(by_reason)
    assert by_reason[Reason.OWNER_BUSY] == 2
    assert sum(by_reason.values()) == counted().total == 5


def test_an_owner_that_is_known_is_named_even_where_page_tables_know_the_frame_too():
    refusals = Refusals()
    refusals.add(column(1), reasons(Reason.OWNER_AGAIN), HOLDERS, at_home=np.array([True]))
    assert list(refusals.by_owner()) == ["slab"]


def test_frames_alike_count_each():
    refusals = Refusals()
    refusals.add(column(1, 3), reasons(Reason.OWNER_BUSY, Reason.OWNER_BUSY), HOLDERS)
    assert refusals.by_owner() == {"slab": {Reason.OWNER_BUSY: 2}}


def test_requests_add_up():
    both = counted()
    both.update(counted())
    assert both.total == 10
    assert both.by_owner()["zbud"] == {Reason.OWNER_BUSY: 2}


@pytest.mark.parametrize("success", [Reason.MOVED, Reason.FREED, Reason.RELEASED])
def test_a_success_is_no_refusal(success):
    refusals = counted()
    with pytest.raises(PinpageError, match=success.name):
        refusals.add(column(0, 1), reasons(Reason.NO_OWNER, success), HOLDERS)
    assert refusals.total == 5


def test_the_frames_are_known_each_once_and_those_alike_together():
    refusals = Refusals()
    refusals.add(column(3, 1, 2), reasons(*[Reason.OWNER_BUSY] * 3), HOLDERS)
    other = Refusals()
    other.add(column(3), reasons(Reason.NO_TARGET), HOLDERS)
    refusals.update(other)
    codes, names = HOLDERS
    expected, before = [], None
    for pfn, reason in ((1, Reason.OWNER_BUSY), (2, Reason.OWNER_BUSY), (3, Reason.NO_TARGET)):
        owner = names[codes[pfn]]
        if before == (owner, reason):
            expected[-1][1] += 1
        else:
            expected.append([pfn, 1, owner, reason])
        before = owner, reason
    found = [[each.pfn, each.nr_pages, each.owner, each.reason] for each in refusals.frames()]
    assert found == expected
    refusals.forget_counts()
    assert (refusals.total, len(refusals.frames())) == (0, len(expected))
