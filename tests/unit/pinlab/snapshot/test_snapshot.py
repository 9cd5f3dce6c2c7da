"""A snapshot's file and its promises: every way in which either can be broken has its line."""

import json
import time
import zipfile
from pathlib import Path

import attrs
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mm.state.frames import FrameState
from pinlab.procfs import infer
from pinlab.snapshot import form, image
from pinlab.snapshot.bundled import BUNDLED_NAME, bundled
from pinlab.snapshot.classes import STATE_OF_CLASS, FrameClass
from pinlab.snapshot.columns import COLUMNS, NOT_KNOWN
from pinlab.snapshot.errors import SnapshotError
from pinlab.snapshot.facts import Provenance, ZoneFacts
from pinlab.snapshot.image import AfterState, Snapshot
from pinlab.snapshot.open import open_snapshot

NR_FRAMES = 40
NR_PAGES_PER_BLOCK = 16
ZONE = ZoneFacts(
    name="Normal",
    node=0,
    start_pfn=0,
    spanned=NR_FRAMES,
    present=NR_FRAMES,
    managed=NR_FRAMES,
    cma=0,
    min=1,
    low=2,
    high=3,
    boost=0,
    nr_free=24,
)


def tiny(of: list[int] | None = None, **changes: object) -> Snapshot:
    """40 frames in pageblocks of 16: slab, a free block of 16, a free rest, anonymous memory."""
    if of is None:
        of = [FrameClass.SLAB] * 8 + [FrameClass.FREE] * 24 + [FrameClass.ANON] * 8
    column = np.array(of, dtype=np.uint8)
    free = column == FrameClass.FREE
    zone = np.zeros(len(column), dtype=np.uint8)
    nr_blocks = -(-len(column) // NR_PAGES_PER_BLOCK)
    columns: dict[str, object] = {
        "state": STATE_OF_CLASS[column],
        "klass": column,
        "order": infer.maximal_orders(free, zone),
        "flags": np.zeros(len(column), dtype=np.uint64),
        "refcount": np.where(free, 0, 1).astype(np.int32),
        "mapcount": np.zeros(len(column), dtype=np.int32),
        "zone": zone,
        "gfp": np.full(len(column), NOT_KNOWN, dtype=np.uint8),
        "guessed": np.zeros(len(column), dtype=np.bool_),
        "block_migratetype": np.ones(nr_blocks, dtype=np.uint8),
        "block_skip": np.zeros(nr_blocks, dtype=np.bool_),
        "pinned_pfns": np.empty(0, dtype=np.int64),
        "zones": (ZONE,),
        "provenance": Provenance(source="made by hand"),
        "nr_pages_per_block": NR_PAGES_PER_BLOCK,
    }
    return Snapshot(**(columns | changes))  # type: ignore[arg-type]  # changes break types on purpose


def same(one: Snapshot, other: Snapshot) -> bool:
    columns = all(
        np.array_equal(getattr(one, column.name), getattr(other, column.name)) for column in COLUMNS
    )
    return columns and one.to_form()[0] == other.to_form()[0]


# The file.


def test_a_snapshot_comes_back_as_it_was(tmp_path):
    snapshot = tiny(
        workload={"zswap_stored_pages": 7},
        after=AfterState(
            "compact", np.zeros((3, len(FrameClass)), np.uint16), np.array([0, 1, 255], np.uint8)
        ),
    )
    image.save(snapshot, tmp_path / "a.npz")
    loaded = image.load(tmp_path / "a.npz")
    assert same(snapshot, loaded)
    assert loaded.after is not None
    assert loaded.after.migratetype.tolist() == [0, 1, 255]
    assert loaded.measured is None


def test_the_same_content_gives_the_same_bytes(tmp_path):
    image.save(tiny(), tmp_path / "a.npz")
    time.sleep(0.01)
    image.save(tiny(), tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_numpy_alone_can_read_the_columns(tmp_path):
    image.save(tiny(), tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        assert archive["klass"].tolist() == tiny().klass.tolist()
        assert json.loads(archive["header"].tobytes())["version"] == form.FORMAT_VERSION


def refused(path: Path, *words: str) -> None:
    """`load` and `validate` say the same one line, and the line names the file."""
    with pytest.raises(SnapshotError) as error:
        image.load(path)
    with pytest.raises(SnapshotError) as again:
        image.validate(path)
    line = str(error.value)
    assert line == str(again.value)
    assert "\n" not in line
    assert line.startswith(str(path))
    assert line.count("; ") >= 1, "says no fix"
    for word in words:
        assert word in line


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "a.npz"
    image.save(tiny(), path)
    return path


def test_a_missing_file(tmp_path):
    refused(tmp_path / "nowhere.npz", "does not exist")


@pytest.mark.parametrize("keep", [0.0, 0.01, 0.5, 0.99])
def test_a_file_cut_short(saved, keep):
    whole = saved.read_bytes()
    saved.write_bytes(whole[: int(len(whole) * keep)])
    refused(saved, "cut short")


def test_any_flipped_byte_of_a_column_is_noticed(saved):
    """Whatever the flip hits, it is refused, or it changed nothing that is read."""
    whole = bytearray(saved.read_bytes())
    unchanged = image.load(saved)
    for at in range(0, len(whole), 97):
        damaged = bytearray(whole)
        damaged[at] ^= 0x55
        saved.write_bytes(damaged)
        try:
            loaded = image.load(saved)
        except SnapshotError as error:
            assert "\n" not in str(error)  # noqa: PT017  (a flip may also do nothing)
        else:
            assert same(loaded, unchanged)


def rewritten(path: Path, **members: object) -> None:
    """The file with members replaced (None: left out), as a hostile hand would do it."""
    with np.load(path) as archive:
        kept = {name: archive[name] for name in archive.files} | members
    np.savez_compressed(path, **{n: m for n, m in kept.items() if m is not None})


def test_a_changed_column_fails_its_checksum(saved):
    flags = np.ones(NR_FRAMES, dtype=np.uint64)
    rewritten(saved, flags=flags)
    refused(saved, "column flags", "checksum")


def test_a_changed_header_fails_its_checksum(saved):
    with np.load(saved) as archive:
        header = archive["header"].copy()
    header[-2] ^= 1
    rewritten(saved, header=header)
    refused(saved, "header", "checksum")


def test_a_column_taken_out(saved):
    rewritten(saved, zone=None)
    refused(saved, "column zone", "is missing")


def test_a_column_put_in(saved):
    rewritten(saved, extra=np.zeros(3))
    refused(saved, "column extra", "not in the header")


def test_a_column_of_another_shape_than_the_header_says(saved):
    rewritten(saved, order=np.zeros(3, dtype=np.int8))
    refused(saved, "column order", "the header says")


def test_a_foreign_npz(tmp_path):
    np.savez(tmp_path / "other.npz", pixels=np.zeros(4))
    refused(tmp_path / "other.npz", "header", "no snapshot")


def test_a_single_array(tmp_path):
    with (tmp_path / "a.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    refused(tmp_path / "a.npz", "no .npz")


def test_a_text(tmp_path):
    (tmp_path / "a.npz").write_text("dear reader")
    refused(tmp_path / "a.npz", "no .npz at all")


def test_a_pickle_is_never_opened(tmp_path):
    np.savez(tmp_path / "p.npz", header=np.array([{"a": 1}], dtype=object))
    refused(tmp_path / "p.npz", "file")


def test_a_zip_of_something_else(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("letter.txt", "dear reader")
    refused(tmp_path / "a.npz")


def with_header(path: Path, **changes: object) -> None:
    """The tiny snapshot under a header with changes, its checksum right; None: left out."""
    header, columns = tiny().to_form()
    full = {name: value for name, value in (header | changes).items() if value is not None}
    form.write(path, full, columns)


def test_a_newer_version(tmp_path):
    with_header(tmp_path / "a.npz", version=form.FORMAT_VERSION + 1)
    refused(tmp_path / "a.npz", "version", "newer", "upgrade pinpage")


def test_another_format(tmp_path):
    with_header(tmp_path / "a.npz", format="somebody-elses")
    refused(tmp_path / "a.npz", "header format")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"provenance": None}, ["provenance"]),
        ({"provenance": {"source": 3}}, ["provenance", "source"]),
        ({"provenance": {}}, ["provenance.source", "is missing"]),
        ({"zones": [{"name": "DMA"}]}, ["zones[0]", "is missing"]),
        ({"zones": "none"}, ["header zones"]),
        ({"ram": [[3, 1]]}, ["header ram"]),
        ({"ram": 7}, ["header ram"]),
        ({"workload": {"a": "b"}}, ["header workload"]),
        ({"measured": {"operation": "huge"}}, ["measured", "is missing"]),
        ({"measured": 12}, ["measured", "not an object"]),
        ({"nr_pages_per_block": 24}, ["nr_pages_per_block", "power of two"]),
        ({"guessed_fields": [1]}, ["guessed_fields"]),
        ({"after": "compact"}, ["after_class_counts", "is missing"]),
        ({"version": "one"}, ["version"]),
    ],
    ids=str,
)
def test_a_header_that_lacks_or_garbles_a_field(tmp_path, changes, words):
    with_header(tmp_path / "a.npz", **changes)
    refused(tmp_path / "a.npz", *words)


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, saved, monkeypatch):
    before = saved.read_bytes()

    def full_disk(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full_disk)
    with pytest.raises(SnapshotError, match="No space left"):
        image.save(tiny(), saved)
    assert saved.read_bytes() == before
    assert list(tmp_path.iterdir()) == [saved]


def test_no_place_to_write(tmp_path):
    with pytest.raises(SnapshotError, match="cannot be written"):
        image.save(tiny(), tmp_path / "no" / "such" / "a.npz")


def test_an_inconsistent_snapshot_is_not_even_saved(tmp_path):
    with pytest.raises(SnapshotError):
        image.save(tiny(order=np.full(NR_FRAMES, -1, dtype=np.int8)), tmp_path / "a.npz")
    assert list(tmp_path.iterdir()) == []


# The promises, SN1..SN7, each broken once.


def changed(name: str, **rows: int) -> dict[str, object]:
    column = getattr(tiny(), name).copy()
    for row, value in rows.items():
        column[int(row[1:])] = value
    return {name: column}


BROKEN = {
    "SN1 a state that no recording has": (changed("state", r0=FrameState.TAKEN), "state", "SN1"),
    "SN1 a class that does not exist": (changed("klass", r0=99), "klass", "SN1"),
    "SN2 slab on a free frame": (changed("klass", r8=FrameClass.SLAB), "klass", "SN2"),
    "SN2 unknown, yet free": (changed("klass", r8=FrameClass.UNKNOWN), "klass", "SN2"),
    "SN3 an order of 11": (changed("order", r16=11), "order", "SN3"),
    "SN3 an order on slab": (changed("order", r0=1), "order", "not free"),
    "SN3 an order inside a block": (changed("order", r20=2), "order", "covers another"),
    "SN3 a block that reaches into slab": (changed("order", r8=4), "order", "aligned"),
    "SN3 a block over used frames": (changed("order", r8=-1, r16=5), "order", "SN3"),
    "SN3 a free frame in no block": (changed("order", r16=3), "order", "misses a free frame"),
    "SN3 a block that is not aligned": (changed("order", r9=2, r8=0), "order", "aligned"),
    "SN3 a block in two zones": (changed("zone", r31=NOT_KNOWN), "order", "zone"),
    "SN4 a reference on a free frame": (changed("refcount", r9=1), "refcount", "SN4"),
    "SN5 a zone that is not there": (changed("zone", r0=1), "zone", "SN5"),
    "SN6 a migratetype that does not exist": (changed("block_migratetype", r1=6), "block_", "SN6"),
    "SN6 a gfp that does not exist": (changed("gfp", r1=9), "gfp", "SN6"),
    "SN7 a pin outside": ({"pinned_pfns": np.array([NR_FRAMES])}, "pinned_pfns", "SN7"),
    "SN7 pins out of order": ({"pinned_pfns": np.array([3, 2])}, "pinned_pfns", "SN7"),
    "SN7 a pin on a free frame": ({"pinned_pfns": np.array([9])}, "pinned_pfns", "not in use"),
    "a column of another dtype": (
        {"mapcount": np.zeros(NR_FRAMES, dtype=np.int64)},
        "mapcount",
        "int32",
    ),
    "a column of another length": (
        {"guessed": np.zeros(3, dtype=np.bool_)},
        "guessed",
        "one row per frame",
    ),
    "too few pageblocks": ({"block_skip": np.zeros(2, dtype=np.bool_)}, "block_skip", "[3]"),
}


@pytest.mark.parametrize("why", BROKEN, ids=str)
def test_a_broken_promise_is_named(why):
    changes, column, word = BROKEN[why]
    with pytest.raises(SnapshotError) as error:
        tiny(**changes).check("file.npz")
    assert str(error.value).startswith(f"file.npz: column {column}")
    assert word in str(error.value)


def test_a_frame_in_use_may_be_of_unknown_class():
    snapshot = tiny(
        [FrameClass.UNKNOWN] * NR_FRAMES,
        state=np.full(NR_FRAMES, FrameState.USED, dtype=np.uint8),
    )
    snapshot.check()


def test_columns_are_read_only():
    with pytest.raises(ValueError, match="read-only"):
        tiny().klass[0] = FrameClass.FREE


# What is derived from the columns, against plain loops.

CLASSES = st.lists(
    st.sampled_from([FrameClass.FREE, FrameClass.ANON, FrameClass.SLAB, FrameClass.HOLE]),
    min_size=1,
    max_size=70,
)


@given(CLASSES)
def test_counts_and_wholly_free_blocks_equal_a_plain_count(klass):
    snapshot = tiny(klass)
    snapshot.check()
    blocks = [klass[i : i + NR_PAGES_PER_BLOCK] for i in range(0, len(klass), NR_PAGES_PER_BLOCK)]
    assert snapshot.class_counts().tolist() == [[b.count(k) for k in FrameClass] for b in blocks]
    assert snapshot.wholly_free().tolist() == [
        b == [FrameClass.FREE] * NR_PAGES_PER_BLOCK for b in blocks
    ]


def merged_plainly(free: list[bool], zone: list[int], max_order: int) -> list[int]:
    """Merge two free buddies at a time until nothing merges."""
    blocks = {pfn: 0 for pfn, is_free in enumerate(free) if is_free}
    changed = True
    while changed:
        changed = False
        for pfn, order in sorted(blocks.items()):
            buddy = pfn ^ (1 << order)
            mergeable = blocks.get(pfn) == order == blocks.get(buddy) and order < max_order
            if mergeable and zone[pfn] == zone[buddy]:
                del blocks[pfn], blocks[buddy]
                blocks[min(pfn, buddy)] = order + 1
                changed = True
    return [blocks.get(pfn, -1) for pfn in range(len(free))]


@given(st.lists(st.booleans(), min_size=1, max_size=70), st.integers(0, 4), st.integers(0, 70))
def test_merging_equals_merging_one_pair_at_a_time(free, max_order, border):
    zone = [int(pfn >= border) for pfn in range(len(free))]
    merged = infer.maximal_orders(np.array(free), np.array(zone, dtype=np.uint8), max_order)
    assert merged.tolist() == merged_plainly(free, zone, max_order)


@example([True] * 16, [4] + [-1] * 7 + [2] + [-1] * 31, 40)  # a head left over in a block
@given(
    st.lists(st.booleans(), min_size=1, max_size=40),
    st.lists(st.integers(-1, 6), min_size=40, max_size=40),
    st.integers(0, 40),
)
def test_settled_orders_always_keep_sn3(free, orders, border):
    """Whatever a recorder wrote down, the settled orders tile the free frames."""
    klass = [FrameClass.FREE if is_free else FrameClass.ANON for is_free in free]
    zone = (np.arange(len(free)) >= border).astype(np.uint8)
    order, guessed = infer.settle_orders(
        np.array(orders[: len(free)], dtype=np.int8), np.array(free), zone
    )
    other = attrs.evolve(ZONE, name="Movable")
    tiny(klass, order=order, zone=zone, zones=(ZONE, other)).check()
    assert not (guessed & ~np.array(free)).any()


def test_sound_orders_are_left_alone():
    snapshot = tiny()
    order, guessed = infer.settle_orders(
        snapshot.order, snapshot.klass == FrameClass.FREE, snapshot.zone
    )
    assert order.tolist() == snapshot.order.tolist()
    assert not guessed.any()


# The bundled recording.


def test_the_bundled_recording_is_what_the_kernel_did():
    snapshot = bundled()
    assert snapshot.name == BUNDLED_NAME
    assert snapshot.nr_frames == 262103
    assert snapshot.nr_frames_of(FrameClass.ZBUD) == 76243
    assert snapshot.workload["zswap_pool_total_size"] == 76243 * 4096
    measured, after = snapshot.measured, snapshot.after
    assert measured is not None
    assert after is not None
    assert (measured.huge_pages, measured.pgmigrate_success) == (12, 33373)
    assert measured.during("compact", "compact_free_scanned") == 67397
    assert int(snapshot.wholly_free().sum()) == measured.wholly_free_before == 6
    wholly_free_after = np.count_nonzero(after.class_counts[:, FrameClass.FREE] == 512)
    assert wholly_free_after == measured.wholly_free_after_compaction == 12


@pytest.mark.benchmark
def test_the_bundled_recording_opens_at_once():
    bundled()  # imports and file cache
    start = time.perf_counter()
    bundled()
    assert time.perf_counter() - start < 0.3


def test_open_tells_recordings_apart_by_what_is_in_them(tmp_path, saved):
    assert open_snapshot().name == open_snapshot(BUNDLED_NAME).name == BUNDLED_NAME
    assert same(open_snapshot(saved), tiny())
    assert same(open_snapshot(str(saved)), tiny())
    np.savez(tmp_path / "other.npz", pixels=np.zeros(4))
    with pytest.raises(SnapshotError, match="neither a snapshot nor a recording"):
        open_snapshot(tmp_path / "other.npz")
    with pytest.raises(SnapshotError, match="does not exist"):
        open_snapshot("zbudfr-cmphuge-seed4")
