"""The importer of in-guest recordings: on a hand-made one, and on the real ones where they are."""

import os
from pathlib import Path

import numpy as np
import pytest

from mm.state.frames import FrameState
from pinlab.procfs.linux61 import load_recording
from pinlab.snapshot import image
from pinlab.snapshot.bundled import bundled
from pinlab.snapshot.classes import FrameClass
from pinlab.snapshot.columns import NOT_KNOWN
from pinlab.snapshot.errors import SnapshotError
from pinlab.snapshot.open import open_snapshot
from pinpage.units import Span
from tests.kit.pinlab.in_guest import NR_FRAMES, PAGETYPEINFO, arrays_and_meta, recorded

DATA = Path(__file__).parents[3] / "data"
RECORDINGS = Path(
    os.environ.get("PINPAGE_RECORDINGS", Path(__file__).parents[5] / "shared" / "data")
)


@pytest.fixture
def world(tmp_path):
    arrays, meta = arrays_and_meta()
    return tmp_path / "r.npz", arrays, meta


def test_where_ram_is_comes_from_iomem_if_that_was_recorded(world):
    path, arrays, meta = world
    assert load_recording(recorded(path, arrays, meta)).ram == ()
    meta["text"]["iomem"] = "00001000-0009fbff : System RAM\n00100000-002fffff : System RAM\n"
    snapshot = load_recording(recorded(path, arrays, meta))
    assert snapshot.ram == (Span(1, 0x9F), Span(0x100, 0x300)), "whole pages only"
    image.save(snapshot, path.with_name("again.npz"))
    assert image.load(path.with_name("again.npz")).ram == snapshot.ram


def test_every_column_finds_its_place(world):
    path, arrays, meta = world
    arrays["S0_bits"][:512] |= 32
    snapshot = load_recording(recorded(path, arrays, meta))
    assert snapshot.name == "zbud-cmphuge-seed9"
    assert snapshot.klass[[0, 512, 562, 602, 610]].tolist() == [
        FrameClass.FREE,
        FrameClass.ZBUD,
        FrameClass.ANON,
        FrameClass.FILE,
        FrameClass.PCP,
    ]
    assert snapshot.state[[0, 512, 610]].tolist() == [
        FrameState.FREE,
        FrameState.USED,
        FrameState.PCP,
    ]
    assert snapshot.gfp[[0, 512, 562]].tolist() == [NOT_KNOWN, 0, 1]
    assert snapshot.block_skip.tolist() == [True, False]
    assert snapshot.pinned_pfns.tolist() == [598, 600]
    assert snapshot.workload == {
        "nr_mlock": 3,
        "swap_size_kb": 1000,
        "swap_used_kb": 40,
        "zswap_stored_pages": 90,
    }
    assert snapshot.measured is not None
    assert snapshot.measured.huge_pages == 1
    assert snapshot.measured.pgmigrate_success == 6
    assert snapshot.measured.during("compact", "pgmigrate_success") == 4
    assert snapshot.measured.during("request", "pgmigrate_success") is None
    assert snapshot.measured.wholly_free_after_compaction == 1


def test_watermarks_come_without_the_boost(world):
    (zone,) = load_recording(recorded(*world)).zones
    assert (zone.min, zone.low, zone.high, zone.boost) == (8, 18, 28, 12)
    assert (zone.pcp_high, zone.pcp_batch) == (99, 7)


def test_the_partial_last_pageblock_gets_the_type_that_is_left_over(world):
    snapshot = load_recording(recorded(*world))
    assert snapshot.block_migratetype.tolist() == [1, 0]
    assert snapshot.guessed_fields == ("block_migratetype",)


def test_the_last_pageblock_stays_unknown_when_the_counts_disagree(world):
    path, arrays, meta = world
    meta["text"]["S0/pagetypeinfo"] = PAGETYPEINFO.replace("1            1", "2            1")
    snapshot = load_recording(recorded(path, arrays, meta))
    assert snapshot.block_migratetype.tolist() == [1, NOT_KNOWN]


def test_page_cache_that_the_kernel_cannot_move_is_other(world):
    path, arrays, meta = world
    arrays["S0_mov"][602] = 3
    snapshot = load_recording(recorded(path, arrays, meta))
    assert snapshot.klass[[602, 603]].tolist() == [FrameClass.OTHER, FrameClass.FILE]


def test_a_stale_order_inside_a_block_is_dropped(world):
    path, arrays, meta = world
    arrays["S0_order"][64] = 5
    snapshot = load_recording(recorded(path, arrays, meta))
    assert snapshot.order[[0, 64]].tolist() == [9, -1]
    assert "order" not in snapshot.guessed_fields


def test_an_order_that_is_wrong_is_worked_out_and_marked(world):
    path, arrays, meta = world
    arrays["S0_order"][0] = 10  # its second half is in use
    snapshot = load_recording(recorded(path, arrays, meta))
    assert snapshot.order[0] == 9
    assert snapshot.guessed[:512].all()
    assert not snapshot.guessed[512:].any()
    assert "order" in snapshot.guessed_fields


def test_open_recognises_it_by_its_arrays(world):
    path, arrays, meta = world
    odd = path.with_suffix(".recording")
    recorded(path, arrays, meta).rename(odd)
    assert open_snapshot(odd).name == "zbud-cmphuge-seed9"


def drop(name):
    def change(arrays, meta):
        del arrays[name]

    return change


def shorten(name):
    def change(arrays, meta):
        arrays[name] = arrays[name][:-5]

    return change


def lack(*keys):
    def change(arrays, meta):
        for key in keys[:-1]:
            meta = meta[key]
        del meta[keys[-1]]

    return change


def put(name, value):
    def change(arrays, meta):
        arrays[name] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop("S0_mov"), ["S0_mov", "is missing"]),
        (drop("pinned_pfns"), ["pinned_pfns", "is missing"]),
        (shorten("S0_flags"), ["S0_flags", "607"]),
        (put("S0_class", np.full(NR_FRAMES, 77, dtype=np.uint8)), ["S0_class", "77"]),
        (put("S0_order", np.zeros(NR_FRAMES)), ["S0_order", "float64"]),
        (lack("scenario"), ["meta_json", "scenario"]),
        (lack("text", "S0/zoneinfo"), ["meta_json", "zoneinfo"]),
        (put("pinned_pfns", np.array([NR_FRAMES])), ["pinned_pfns", "outside"]),
    ],
)
def test_a_recording_that_is_none(world, change, words):
    path, arrays, meta = world
    change(arrays, meta)
    with pytest.raises(SnapshotError) as error:
        load_recording(recorded(path, arrays, meta))
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_meta_that_is_no_json(world):
    path, arrays, _ = world
    np.savez(path, meta_json=np.array("{"), **arrays)
    with pytest.raises(SnapshotError, match="not JSON"):
        load_recording(path)


# The real recordings.


@pytest.mark.parametrize("path", sorted(DATA.glob("*.npz")), ids=lambda path: path.stem)
def test_the_default_suite_s_recordings_load_and_keep_their_promises(path):
    snapshot = image.load(path)
    assert snapshot.name == path.stem
    assert snapshot.measured is not None
    assert int(snapshot.wholly_free().sum()) == snapshot.measured.wholly_free_before


def test_pinned_frames_are_those_of_class_gup():
    snapshot = image.load(DATA / "gup2-cmphuge-seed1.npz")
    pinned = np.flatnonzero(snapshot.klass == FrameClass.GUP)
    assert snapshot.pinned_pfns.tolist() == pinned.tolist()
    assert (snapshot.refcount[pinned] > 1024).all()


def test_the_real_orders_need_no_guess_and_agree_with_buddyinfo():
    """buddyinfo was read a moment away from the frames, so a few pages of drift remain."""
    snapshot = bundled()
    assert not snapshot.guessed.any()
    counts = np.bincount(snapshot.order[snapshot.order >= 0], minlength=11)
    drift = np.abs(counts - snapshot.zones[0].nr_free_blocks) << np.arange(11)
    assert drift.sum() < 0.02 * snapshot.nr_frames_of(FrameClass.FREE)


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason=f"no recordings in {RECORDINGS}")
@pytest.mark.parametrize(
    "path", sorted(RECORDINGS.glob("*-seed[13].npz")), ids=lambda path: path.stem
)
def test_every_recording_imports(path):
    snapshot = load_recording(path)
    assert snapshot.measured is not None
    assert int(snapshot.wholly_free().sum()) == snapshot.measured.wholly_free_before
    if snapshot.measured.operation == "cmphuge":
        obtained, possible = (
            snapshot.measured.huge_pages,
            snapshot.measured.wholly_free_after_compaction,
        )
        assert obtained is not None
        assert possible is not None
        assert abs(obtained - possible) <= max(2, 0.025 * possible)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("S0_class", -1),
        ("S0_bits", 256 << 6),
        ("S0_gfpmt", 256),
        ("S0_mov", -253),
        ("S0_order", -256),
        ("S0_block_mt", -1),
        ("S0_refcount", 1 << 31),
        ("S0_flags", -1),
        ("pinned_pfns", -1),
    ],
)
def test_a_value_that_would_wrap_is_named(world, name, value):
    path, arrays, meta = world
    arrays[name] = arrays[name].astype(np.int64)
    arrays[name][0] = value
    with pytest.raises(SnapshotError, match=f"array {name}: holds {value}, outside"):
        load_recording(recorded(path, arrays, meta))


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("S0/swaps", "Filename\n/dev/vda partition\n"),
        ("S0/swaps", "Filename\n/dev/vda partition many few -2\n"),
        ("S0/zram_mm_stat", "1 2 x"),
        ("S0/zswap_stored_pages", "²"),
        ("S0/zswap_stored_pages", "1" * 5000),
        ("S0/buddyinfo", "Node 0, zone DMA32 x"),
        ("S0/zoneinfo", 7),
    ],
)
def test_a_text_that_is_none_of_the_kernel_s_is_one_line(world, key, text):
    path, arrays, meta = world
    meta["text"][key] = text
    with pytest.raises(SnapshotError) as caught:
        load_recording(recorded(path, arrays, meta))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
