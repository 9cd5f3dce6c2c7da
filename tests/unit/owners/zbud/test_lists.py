"""Lists built at once are the lists that one page after the other would make."""

import numpy as np
import pytest

from owners.zbud.lists import ZbudLists
from pinpage.errors import InvariantError


def one_by_one(ids, chunks):
    lists = ZbudLists()
    for page, (first, last) in zip(ids.tolist(), chunks.tolist(), strict=True):
        lists.file(page, first, last)
        lists.touch(page)
    return lists


def order(lists):
    return list(lists.lru), list(lists.buddied), [list(pages) for pages in lists.unbuddied]


@pytest.mark.parametrize("seed", range(5))
def test_adoption_is_filing_one_by_one(seed):
    rng = np.random.default_rng(seed)
    chunks = rng.integers(1, 31, size=(40, 2)).astype(np.uint8)
    chunks[rng.random(40) < 0.3, 0] = 0
    chunks[(rng.random(40) < 0.3) & (chunks[:, 0] > 0), 1] = 0
    ids = rng.permutation(40).astype(np.int64)
    lists = ZbudLists()
    lists.adopt(ids, chunks)
    assert order(lists) == order(one_by_one(ids, chunks))
    lists.check(ids, chunks)


def test_room_is_found_best_fit_first_and_newest_first():
    lists = ZbudLists()
    for page, first in ((1, 50), (2, 40), (3, 50), (4, 62)):
        lists.file(page, first, 0)
    assert list(lists.with_room(10)) == [3, 1, 2]
    assert list(lists.with_room(1)) == [4, 3, 1, 2]
    assert list(lists.with_room(24)) == []


def test_check_wants_every_page_on_the_list_that_its_chunks_name():
    ids, chunks = np.array([1, 2]), np.array([[5, 0], [5, 6]], np.uint8)
    lists = one_by_one(ids, chunks)
    lists.check(ids, chunks)
    lists.unfile(1, 5, 0)
    lists.file(1, 6, 0)
    with pytest.raises(InvariantError, match="Z4 a page on the wrong"):
        lists.check(ids, chunks)
