"""Lists built at once are the lists that one page after the other would make."""

import numpy as np
import pytest

from owners.pool.lists import BuddyLists
from pinpage.errors import InvariantError

LABELS = ("Z3", "Z4")


def one_by_one(ids, free):
    lists = BuddyLists(63)
    for page, gap in zip(ids.tolist(), free.tolist(), strict=True):
        lists.file(page, gap)
        lists.touch(page)
    return lists


def order(lists):
    return list(lists.lru), [list(pages) for pages in lists.unbuddied]


@pytest.mark.parametrize("seed", range(5))
def test_adoption_is_filing_one_by_one(seed):
    rng = np.random.default_rng(seed)
    free = rng.integers(1, 31, size=40)
    free[rng.random(40) < 0.3] = 0
    ids = rng.permutation(40).astype(np.int64)
    lists = BuddyLists(63)
    lists.adopt(ids, free)
    assert order(lists) == order(one_by_one(ids, free))
    lists.check(ids, free, LABELS)


def test_a_gap_is_found_best_fit_first_and_newest_first():
    lists = BuddyLists(63)
    for page, gap in ((1, 13), (2, 23), (3, 13), (4, 1), (5, 0)):
        lists.file(page, gap)
    assert list(lists.with_gap(10)) == [3, 1, 2]
    assert list(lists.with_gap(1)) == [4, 3, 1, 2]
    assert list(lists.with_gap(24)) == []


def test_check_wants_every_page_on_the_list_that_its_gap_names():
    ids, free = np.array([1, 2]), np.array([58, 0])
    lists = one_by_one(ids, free)
    lists.check(ids, free, LABELS)
    lists.file(1, 57)
    with pytest.raises(InvariantError, match="Z4 a page on the wrong"):
        lists.check(ids, free, LABELS)
