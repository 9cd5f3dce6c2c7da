"""Owners, taint and pins per block: by hand, and by the closed forms of evenly scattered pins."""

import json
from itertools import pairwise

import numpy as np
import pytest

from pinlab.report.taint import (
    clustering,
    owners_of,
    pins_of,
    plain,
    scattered,
    show_owners,
    show_pins,
    show_taint,
    taint_of,
)
from pinlab.snapshot.classes import FrameClass
from tests.kit.pinlab.blocks import BLOCK, machine_of, snapshot_of
from tests.kit.pinlab.recordings import IN_TESTS
from tests.kit.pinlab.small import small_recording


def rows_of(snapshot):
    return {row.owner: row for row in owners_of(snapshot).rows}


@pytest.mark.parametrize(("density", "tainted"), [(1e-4, 0.0499), (1e-3, 0.401), (1e-2, 0.994)])
def test_evenly_scattered_pins_taint_what_the_closed_form_says(density, tainted):
    assert scattered(density, 512) == pytest.approx(tainted, abs=5e-4)
    assert clustering(density, scattered(density, 512), 512) == pytest.approx(1)


def test_the_average_of_a_fleet_is_clustered_86_times():
    assert clustering(0.07, 0.34, 512) == pytest.approx(86, abs=0.5)
    assert clustering(0.07, 0.0, 512) is clustering(0.07, 1.0, 512) is None
    assert scattered(1.0, 512) == 1


def test_owners_by_hand():
    snapshot = machine_of([["slab", "slab", "zbud"], ["slab"], [], ["zbud", "unknown"]])
    rows = rows_of(snapshot)
    slab, zbud, everybody = rows["slab"], rows["zbud"], rows["all"]
    assert (slab.nr_pages, slab.nr_tainted, slab.alone) == (3, 2, 1)
    assert (zbud.nr_pages, zbud.nr_tainted, zbud.alone) == (2, 2, 0)
    assert (everybody.nr_pages, everybody.nr_tainted, everybody.alone) == (5, 3, 2)
    assert slab.density == 3 / (2 * BLOCK)
    assert rows["anon"].moves
    assert list(rows) == ["slab", "zbud", "all", "anon"]


def test_a_scatter_of_pins_is_not_clustered():
    rng = np.random.default_rng(1)
    klass = np.where(rng.random(1024 * BLOCK) < 1e-3, FrameClass.SLAB, FrameClass.ANON)
    assert rows_of(snapshot_of(klass))["slab"].clustering == pytest.approx(1, abs=0.1)


def test_taint_by_order_by_hand():
    klass = np.full(2048, FrameClass.ANON)
    klass[[0, 1, 1024]] = FrameClass.SLAB
    klass[5] = FrameClass.ZBUD
    found = taint_of(snapshot_of(klass))
    assert found.nr_blocks[:4] == (2048, 1024, 512, 256)
    assert found.of_owner["slab"][:3] == (3 / 2048, 2 / 1024, 2 / 512)
    assert found.of_owner["all"][:4] == (4 / 2048, 3 / 1024, 3 / 512, 2 / 256)
    assert found.of_owner["all"][9:] == (2 / 4, 2 / 2, 1 / 1)
    assert found.evenly[0] == pytest.approx(4 / 2048)
    assert list(found.of_owner) == ["slab", "zbud", "all"]


def test_taint_only_grows_with_the_order_on_whole_blocks():
    found = taint_of(IN_TESTS["zbud-cmphuge-seed1"]())
    for shares in found.of_owner.values():
        assert all(a <= b + 1e-12 for a, b in pairwise(shares))


def test_holes_are_no_blocks():
    klass = np.full(2048, FrameClass.HOLE)
    klass[:512] = FrameClass.SLAB
    assert taint_of(snapshot_of(klass)).of_owner["slab"] == (1.0,) * 12


def test_pins_per_block_by_hand():
    found = pins_of(machine_of([["slab"], ["slab"] * 4, [], ["zbud", "slab"], ["slab"] * 100]))
    assert found.counts == (1, 2, 4, 100)
    assert found.percentiles == {10: 1, 25: 1, 50: 2, 75: 4, 90: 100, 99: 100}
    assert "4 of 5 blocks" in show_pins(found)
    assert "Spoilt by a single frame: 1 block." in show_pins(found)


def test_where_nothing_is_stuck_the_text_says_so():
    assert "no block of order 9" in show_pins(pins_of(machine_of([[], []])))


def test_the_texts_are_narrow_and_the_json_is_plain():
    everybody = [["slab", "zbud", "gup", "pagetable", "vmalloc", "kernelstack", "other", "cma"]]
    for snapshot in (small_recording(), machine_of(everybody), IN_TESTS["zbud-cmphuge-seed1"]()):
        for look, show in (
            (owners_of, show_owners), (taint_of, show_taint), (pins_of, show_pins),
        ):  # fmt: skip
            found = look(snapshot)
            assert max(map(len, show(found).splitlines())) < 80
            assert json.loads(json.dumps(plain(found)))["recording"] == snapshot.name


def test_an_odd_number_of_blocks_is_counted_too():
    klass = np.full(3 * BLOCK, FrameClass.ANON)
    klass[-1] = FrameClass.SLAB
    assert taint_of(snapshot_of(klass)).of_owner["slab"][9:] == (1 / 3, 1 / 2)
