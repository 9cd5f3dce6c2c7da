"""SN13: rows of allocations describe allocations, and come back from a file as they went."""

import numpy as np
import pytest
from attrs import evolve

from pinlab.snapshot.allocations import Allocations
from pinlab.snapshot.errors import SnapshotError


def rows(**changes):
    figures = {
        "pfn": np.array([4, 16, 40], dtype=np.uint32),
        "order": np.array([2, 0, 3], dtype=np.uint8),
        "gfp_mask": np.array([0xCC0, 0, 7], dtype=np.uint32),
        "at_ns": np.array([10, -1, 30], dtype=np.int64),
        "pid": np.array([1, -1, 3], dtype=np.int32),
        "command": np.array([0, -1, 1], dtype=np.int32),
        "stack": np.array([1, -1, 0], dtype=np.int32),
        "commands": ("kworker/0:1 x", "bash"),
        "symbols": ("__alloc_pages", "zbud_alloc", "f"),
        "stack_start": np.array([0, 2, 3], dtype=np.uint32),
        "stack_symbol": np.array([0, 1, 2], dtype=np.uint32),
    }
    return Allocations(**(figures | changes))


def test_each_frame_knows_the_allocation_it_is_part_of():
    found = rows()
    found.check(48, "a")
    assert (found.of(7).pfn, found.of(7).stack, found.of(7).command) == (4, ("f",), "kworker/0:1 x")
    assert found.of(47).stack == ("__alloc_pages", "zbud_alloc")
    assert (found.of(16).at_ns, found.of(16).pid, found.of(16).stack) == (None, None, ())
    assert [found.of(pfn) for pfn in (0, 3, 8, 17, 48)] == [None] * 5


def test_what_goes_into_a_file_comes_back():
    found = Allocations.from_form(rows().to_form(), 48, "a")
    assert [found.of(pfn) for pfn in (4, 16, 40)] == [rows().of(pfn) for pfn in (4, 16, 40)]
    silent = rows().without_texts()
    again = Allocations.from_form(silent.to_form(), 48, "a")
    assert again.of(4) == evolve(rows().of(4), pid=None, command="", stack=())
    assert Allocations.from_form({"flags": silent.pfn}, 48, "a") is None


def of(dtype, *numbers):
    return np.array(numbers, dtype=dtype)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pfn": of("u4", 4, 7, 40)}, "lie in one another"),
        ({"pfn": of("u4", 40, 16, 4)}, "do not ascend"),
        ({"pfn": of("u4", 4, 16, 48)}, "reach beyond memory"),
        ({"order": of("u1", 2, 0, 19)}, "of order 19"),
        ({"pid": of("i4", 1)}, "unequal length"),
        ({"stack": of("i4", 0, 1, 2)}, "name a stack"),
        ({"stack": of("i4", 0, 1, -2)}, "name a stack"),
        ({"command": of("i4", 0, 1, 2)}, "name a command"),
        ({"stack_start": of("u4", 0, 3, 2)}, "do not ascend"),
        ({"stack_start": of("u4", 1, 2, 3)}, "do not ascend"),
        ({"stack_start": of("u4")}, "do not ascend"),
        ({"stack_start": of("u4", 0, 2, 9)}, "reach beyond what is kept"),
        ({"stack_symbol": of("u4", 0, 1, 3)}, "name a function"),
        ({"symbols": ("a", "\x1b", "c")}, "cannot be printed"),
    ],
)
def test_what_describes_no_allocations_is_named(changes, words):
    with pytest.raises(SnapshotError, match=words) as caught:
        rows(**changes).check(48, "a.npz")
    assert "SN13" in str(caught.value)


def test_a_missing_or_odd_column_is_named():
    columns = rows().to_form()
    with pytest.raises(SnapshotError, match="alloc_stack: is missing"):
        Allocations.from_form({k: v for k, v in columns.items() if k != "alloc_stack"}, 48, "a")
    with pytest.raises(SnapshotError, match="alloc_pfn: is missing, or of a wrong form"):
        Allocations.from_form(columns | {"alloc_pfn": columns["alloc_at_ns"]}, 48, "a")
