"""Blocks by what can be made of them: each is one thing, and each owner is counted where it is."""

import json

import pytest

from pinlab.report.blocks import as_json, as_text, blocks_of
from pinpage.errors import PinpageError
from tests.kit.pinlab.blocks import BLOCK, machine_of
from tests.kit.pinlab.recordings import IN_TESTS
from tests.kit.pinlab.small import small_recording


def known():
    """Three blockers of 1024-frame blocks, and one block of each other kind."""
    return machine_of(
        [
            ["slab", "slab", "zbud"], [],
            [], ["gup"],
            ["unknown"], [],
            ["reserved", "slab"], [],
            [], [],
        ]
    )  # fmt: skip


def test_each_block_is_one_of_five_things():
    for snapshot in (known(), small_recording(), IN_TESTS["slab-cmphuge-seed1"]()):
        for row in blocks_of(snapshot).rows:
            parts = (row.free, row.clearable, row.tainted, row.unknown, row.cut)
            assert sum(parts) == row.nr_blocks


def test_what_they_are_on_a_machine_that_is_known():
    row = blocks_of(known()).rows[1]
    assert (row.order, row.nr_blocks) == (10, 5)
    assert (row.free, row.clearable, row.tainted, row.unknown, row.cut) == (0, 1, 2, 1, 1)
    assert row.of_owner == {"slab": 2, "gup": 1, "zbud": 1}


def test_one_by_one_the_table_is_exact():
    blocks = blocks_of(known(), 10).blocks
    assert [(block.pfn, block.state) for block in blocks] == [
        (0, "tainted"), (1024, "tainted"), (2048, "unknown"), (3072, "cut"), (4096, "clearable"),
    ]  # fmt: skip
    first = blocks[0]
    assert first.owners == {"slab": 2, "zbud": 1}
    assert (first.free, first.movable) == (BLOCK, BLOCK - 3)
    assert blocks[2].unknown == blocks[3].cut == 1


def test_a_wholly_free_block_is_free_and_a_hole_is_none():
    row = blocks_of(machine_of([[], ["hole"] * BLOCK], nr_free=BLOCK)).rows[0]
    assert (row.nr_blocks, row.free) == (1, 1)


def test_pages_of_the_pool_stand_in_small_blocks_and_leave_larger_ones():
    """Linux moves a page of the pool out of a block that is larger; no cell then."""
    found = blocks_of(machine_of([["hugetlb"] * 512, [], ["slab"], []]))
    assert [row.of_owner.get("hugetlb") for row in found.rows] == [1, None, None]
    text = as_text(found)
    assert "hugetlb 1 - -" in " ".join(text.split())
    assert "Linux moves such pages out of blocks that are larger" in text
    assert "Linux moves such" not in as_text(blocks_of(known()))


@pytest.mark.parametrize("order", [8, 19])
def test_an_order_that_is_not_told_is_refused(order):
    with pytest.raises(PinpageError, match=f"order={order} is not within 9 to 18"):
        blocks_of(known(), order)


def test_the_text_is_narrow_and_the_json_is_plain():
    for snapshot in (known(), IN_TESTS["zbud-cmphuge-seed1"]()):
        found = blocks_of(snapshot, 9)
        assert max(map(len, as_text(found).splitlines())) < 80
        assert json.loads(json.dumps(as_json(found)))["rows"][0]["of_owner"]
    assert "more blocks)" in as_text(found)
