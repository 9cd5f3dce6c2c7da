"""A dense leaf equals a dict of offsets, however its columns widen."""

import numpy as np
import pytest

from pinpage import InvariantError
from pinpage.leaf import DenseLeaf


def contents(leaf):
    return {offset: leaf.get(offset) for offset in range(512) if leaf.get(offset)}


@pytest.mark.parametrize("others", [[(2, 5)], [(3, 4)], [(2, 4)], []], ids=str)
def test_columns_widen_only_for_what_differs(others):
    leaf = DenseLeaf(2, 4)
    leaf.put_run(10, 500, 2, 4)
    for offset, record in enumerate(others):
        assert leaf.put(offset, *record)
    assert isinstance(leaf.tags, int) == all(tag == 2 for tag, _ in others)
    assert isinstance(leaf.values, int) == all(value == 4 for _, value in others)
    assert contents(leaf) == {**dict.fromkeys(range(10, 500), (2, 4)), **dict(enumerate(others))}
    leaf.check()


def test_a_frame_has_one_record():
    leaf = DenseLeaf(2, 4)
    assert leaf.put(7, 2, 4)
    assert not leaf.put(7, 2, 5)
    for wrong in ((3, 4), (2, 5)):
        assert not leaf.discard(7, *wrong)
    assert leaf.discard(7, 2, 4)
    assert not leaf.discard(7, 2, 4)


@pytest.mark.parametrize("values", [9, np.arange(100, 164)], ids=["one", "each"])
def test_runs_go_in_and_are_recognised(values):
    leaf = DenseLeaf(1, 0)
    leaf.put(0, 5, 6)
    leaf.put_run(8, 72, 3, values)
    column = np.broadcast_to(values, 64).tolist()
    assert contents(leaf) == {0: (5, 6), **{8 + i: (3, column[i]) for i in range(64)}}
    assert leaf.holds_run(8, 72, 3, values)
    assert not leaf.holds_run(7, 72, 3, 9)
    assert not leaf.holds_run(8, 72, 5, values)
    assert not leaf.holds_run(8, 72, 3, 10)
    leaf.remove_run(9, 72)
    assert sorted(contents(leaf)) == [0, 8]


def test_columns_go_in_and_out():
    leaf = DenseLeaf(1, 0)
    offsets, tags = np.array([3, 511]), np.array([1, 2], dtype=np.int32)
    leaf.put_many(offsets, tags, np.array([0, -5]))
    assert contents(leaf) == {3: (1, 0), 511: (2, -5)}
    assert leaf.tags_at(offsets).tolist() == [1, 2]
    assert leaf.values_at(offsets).tolist() == [0, -5]
    leaf.remove_many(offsets[:1])
    assert contents(leaf) == {511: (2, -5)}


def test_check_notices_a_short_column():
    leaf = DenseLeaf(1, 0)
    leaf.put(3, 2, 0)
    del leaf.tags[-1]
    with pytest.raises(InvariantError, match="L1"):
        leaf.check()


def test_check_notices_a_strange_byte():
    leaf = DenseLeaf(1, 0)
    leaf.present[3] = 2
    with pytest.raises(InvariantError, match="L2"):
        leaf.check()
