"""The two indices that debugfs shows, from what a recording counts."""

import json

import numpy as np
import pytest
from attrs import evolve

from pinlab.report.fragmentation import as_json, as_text, fragmentation_of
from pinlab.snapshot.classes import FrameClass
from tests.kit.pinlab.blocks import snapshot_of
from tests.kit.pinlab.recordings import IN_TESTS


def test_what_buddyinfo_counts_goes_before_what_the_columns_do():
    snapshot = snapshot_of(np.full(2048, FrameClass.FREE))
    from_columns = fragmentation_of(snapshot).rows[0]
    assert from_columns.nr_free_blocks == (0,) * 10 + (2,)
    singles = evolve(snapshot.zones[0], nr_free_blocks=(100,) + (0,) * 10)
    row = fragmentation_of(evolve(snapshot, zones=(singles,))).rows[0]
    assert row.nr_free_blocks[0] == 100
    assert (row.extfrag[0], row.extfrag[3], row.unusable[3]) == (-1000, 865, 1000)


def test_unusable_only_grows_with_the_order():
    for make in IN_TESTS.values():
        for row in fragmentation_of(make()).rows:
            assert list(row.unusable) == sorted(row.unusable)
            assert row.unusable[0] == 0


def test_zones_are_apart_and_those_without_free_memory_left_out():
    klass = np.full(4096, FrameClass.FREE)
    klass[1024:2048:2] = FrameClass.SLAB
    klass[2048:] = FrameClass.ANON
    zone = np.repeat([0, 1, 2], (1024, 1024, 2048)).astype(np.uint8)
    rows = fragmentation_of(snapshot_of(klass, zone=zone)).rows
    assert [row.zone for row in rows] == ["node 0, Zone0", "node 0, Zone1"]
    assert rows[1].nr_free_blocks[0] == 512
    assert rows[1].unusable[1] == 1000


def test_the_text_is_narrow_and_says_as_debugfs_does():
    found = fragmentation_of(IN_TESTS["zbud-cmphuge-seed1"]())
    assert max(map(len, as_text(found).splitlines())) < 80
    assert "-1.000" in as_text(found)
    assert json.loads(json.dumps(as_json(found)))["rows"][0]["zone"] == "node 0, DMA32"


@pytest.mark.parametrize("klass", [FrameClass.SLAB, FrameClass.ANON])
def test_memory_without_a_free_frame_has_no_zone_to_show(klass):
    assert "No zone has free blocks." in as_text(fragmentation_of(snapshot_of(np.full(512, klass))))
