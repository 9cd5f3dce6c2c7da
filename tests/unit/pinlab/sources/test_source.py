"""Sources become snapshots: what is said is there, what is not said is unknown, never free."""

import functools
import gzip
import shutil

import numpy as np
import pytest

from mm.state.frames import FrameState, PageFlag
from pinlab.procfs.capture import capture
from pinlab.snapshot import image
from pinlab.snapshot.classes import FrameClass
from pinlab.snapshot.errors import SnapshotError
from pinlab.snapshot.open import open_snapshot
from pinlab.sources.blank import NO_FRAMES
from tests.kit.pinlab.proc_folder import MACHINES, machine
from tests.kit.pinlab.recordings import BESIDE, TESTS_DATA
from tests.kit.pinlab.source_texts import Asked, folder, owner_text, types_text

PROC = TESTS_DATA / "proc-6.1"
OWNERS = TESTS_DATA / "page_owner-6.1.xz"
RAW = BESIDE / "raw-6.1"


def classes(snapshot):
    return {klass: snapshot.nr_frames_of(klass) for klass in snapshot.classes}


@pytest.fixture
def raw(tmp_path):
    """The recorded guest's files, packed as they are, and page_owner under another name."""
    path = tmp_path / "raw"
    shutil.copytree(PROC, path)
    shutil.copyfile(OWNERS, path / "pasted.txt")
    return path


def test_packed_copies_are_read_as_they_are_and_stacks_say_whose_the_silent_are(raw):
    there = open_snapshot(PROC)
    snapshot = open_snapshot(raw)
    before, after = classes(there), classes(snapshot)
    assert after[FrameClass.ZBUD] == 111 + 10 + 357
    moved = sum(after.values()) - sum(min(after[k], before.get(k, 0)) for k in after)
    assert moved == before[FrameClass.UNKNOWN] - after[FrameClass.UNKNOWN]
    assert snapshot.reading["frames_by_stack"] == moved
    assert snapshot.allocations.of(0x2600).stack[:2] == ("get_page_from_freelist", "__alloc_pages")
    assert {k: after[k] for k in (FrameClass.FREE, FrameClass.HOLE)} == {
        k: before[k] for k in (FrameClass.FREE, FrameClass.HOLE)
    }, "nothing is guessed to be free"


def test_what_is_read_can_be_saved_and_is_the_same_again(raw, tmp_path):
    snapshot = open_snapshot(raw)
    image.save(snapshot, tmp_path / "a.npz")
    again = open_snapshot(tmp_path / "a.npz")
    assert again.reading == snapshot.reading
    pfns = range(0x1A00, 0x2800, 97)
    assert [again.allocations.of(pfn) for pfn in pfns] == [
        snapshot.allocations.of(pfn) for pfn in pfns
    ]
    for name, column in snapshot.to_form()[1].items():
        assert np.array_equal(again.to_form()[1][name], column)


@functools.cache
def of_guest(name):
    if not RAW.is_dir():
        pytest.skip("the whole set of the guest is not beside this checkout")
    return open_snapshot(RAW / name)


def test_the_whole_guest_and_its_pool():
    """Its pool held 11,665 pages shortly before, and reclaim went on filling it."""
    snapshot = of_guest("")
    counts = classes(snapshot)
    assert counts[FrameClass.ZBUD] == 12_530
    assert 11_665 < counts[FrameClass.ZBUD] < 1.1 * 11_665
    assert counts[FrameClass.UNKNOWN] < 50
    assert snapshot.reading["records"] == 34_590
    assert "lines_not_read" not in snapshot.reading


def test_page_owner_alone_knows_who_has_what_and_not_what_is_free():
    snapshot = of_guest("page_owner.gz")
    counts = classes(snapshot)
    assert counts[FrameClass.ZBUD] == 12_530
    assert FrameClass.FREE not in counts
    assert counts[FrameClass.UNKNOWN] == np.count_nonzero(snapshot.state == FrameState.UNKNOWN)
    assert {"zones", "order", "refcount", "ram"} <= set(snapshot.unknown_fields)
    full = of_guest("")
    both = (full.klass != FrameClass.UNKNOWN) & (full.klass != FrameClass.FREE)
    both &= full.state == FrameState.USED
    alone = snapshot.klass[: full.nr_frames]
    assert np.mean(full.klass[both] == alone[both]) > 0.98
    told = np.isin(snapshot.block_migratetype, (0, 1, 2))
    assert np.count_nonzero(told) == 74


@pytest.mark.parametrize("name", [name for name in MACHINES if name != "device"])
def test_page_types_of_any_machine_says_what_kpageflags_said(tmp_path, name):
    """Machines of any page and pageblock: the list in place of the binary files."""
    path = MACHINES[name].write(tmp_path / "a")
    wanted = capture(path)
    flags = np.frombuffer((path / "kpageflags").read_bytes(), dtype=np.uint64)
    mappings = np.frombuffer((path / "kpagecount").read_bytes(), dtype=np.uint64)
    (path / "list").write_text(types_text(flags, mappings))
    (path / "kpageflags").unlink()
    found = open_snapshot(path)
    for column in ("state", "klass", "order", "flags", "mapcount", "zone", "block_migratetype"):
        assert np.array_equal(getattr(found, column), getattr(wanted, column)), column
    assert (found.zones, found.geometry, found.ram) == (wanted.zones, wanted.geometry, wanted.ram)


def test_page_types_alone_has_frames_and_no_zones(tmp_path):
    flags = np.zeros(2048, dtype=np.uint64)
    flags[512:] = PageFlag.BUDDY.mask
    (tmp_path / "a").write_text(types_text(flags, ranges=False))
    found = open_snapshot(tmp_path / "a")
    assert found.nr_frames_of(FrameClass.FREE) == 1536
    assert (found.mapcount == -1).all()
    assert {"zones", "ram", "mapcount", "compound", "reserved"} <= set(found.unknown_fields)


def test_compounds_keep_their_shape(tmp_path):
    head, tail, lru, huge = (
        PageFlag[name].mask for name in ("COMPOUND_HEAD", "COMPOUND_TAIL", "LRU", "HUGE")
    )
    flags = np.zeros(2048, dtype=np.uint64)
    flags[512:1024], flags[1024:1536] = tail, tail | huge
    flags[512], flags[1024] = head | lru, head | huge
    (tmp_path / "types").write_text(types_text(flags))
    listed = open_snapshot(tmp_path / "types")
    records = [Asked(pfn=512, order=9, flags="lru|head|swapbacked", asked="Movable")]
    (tmp_path / "owners").write_text(owner_text(records))
    asked = open_snapshot(tmp_path / "owners")
    shape = head | tail
    assert np.array_equal(listed.flags, flags)
    assert np.array_equal(asked.flags[512:1024] & shape, flags[512:1024] & shape)
    assert (asked.flags[512:1024] & PageFlag.THP.mask).all()
    assert (listed.klass[1024:1536] == FrameClass.HUGETLB).all()
    assert (asked.klass[512:1024] == FrameClass.ANON).all()
    assert asked.allocations.of(1000).order == 9


def test_counts_alone_name_no_frame():
    for name in ("buddyinfo", "pagetypeinfo"):
        snapshot = open_snapshot(PROC / name)
        assert NO_FRAMES in snapshot.unknown_fields
        assert snapshot.nr_frames_of(FrameClass.FREE) == 0
    assert snapshot.zones[0].nr_blocks_of_type["Movable"] == 43
    assert snapshot.zones[0].present == 80 * 512
    assert open_snapshot(PROC / "buddyinfo").zones[0].nr_free_blocks[:3] == (15, 18, 15)


def test_both_counts_pasted_into_one_text_and_what_is_written_around_them(tmp_path):
    both = (PROC / "buddyinfo").read_text() + "\n" + (PROC / "pagetypeinfo").read_text()
    (tmp_path / "mail").write_text(
        "Hello list,\r\n\r\n" + both.replace("\n", "\r\n") + "Thanks\r\n"
    )
    snapshot = open_snapshot(tmp_path / "mail")
    zone = snapshot.zones[0]
    assert (zone.nr_free_blocks[0], zone.nr_blocks_of_type["Unmovable"]) == (15, 35)
    assert snapshot.reading == {"rows": 3, "lines_not_read": 2}


def test_zoneinfo_beside_the_counts_says_how_large_zones_are(tmp_path):
    for name in ("buddyinfo", "pagetypeinfo", "zoneinfo"):
        shutil.copyfile(PROC / name, tmp_path / name)
    snapshot = open_snapshot(tmp_path)
    assert snapshot.zones[0].managed == 36_087
    assert NO_FRAMES in snapshot.unknown_fields


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("zoneinfo", None, "zoneinfo alone"),
        ("a", "             flags\tpage-count\n0x0000000000000000\t  7  0  ____\t\n", "no frame"),
        ("a", Asked(pfn=1 << 23).text(), "names pfn 0x800000 in no more than 1 rows"),
        ("a", "Node 0, zone DMA 1 2 99999999999999999999\n", "no number of up to 15 digits"),
        ("a", "Number of blocks type A B\nNode 0, zone DMA 1 2 3\n", "3 counts for 2 types"),
    ],
)
def test_what_cannot_be_used_is_one_line(tmp_path, name, text, words):
    path = tmp_path / name
    path.write_text((PROC / "zoneinfo").read_text() if text is None else text)
    with pytest.raises(SnapshotError, match=words) as caught:
        open_snapshot(path)
    assert str(caught.value).startswith(str(path))


def test_a_recording_among_the_copies_stands_for_none_of_them(raw):
    before = open_snapshot(raw)
    image.save(before, raw / "today.npz")
    again = open_snapshot(raw)
    assert (again.unknown_fields, again.geometry) == (before.unknown_fields, before.geometry)
    for name, column in before.to_form()[1].items():
        assert np.array_equal(again.to_form()[1][name], column)


def test_a_recording_alone_makes_no_folder_of_copies(tmp_path):
    image.save(open_snapshot(None), tmp_path / "today.npz")
    with pytest.raises(SnapshotError, match="nor a folder with kpageflags"):
        open_snapshot(tmp_path)


def test_an_empty_folder_says_what_it_lacks(tmp_path):
    with pytest.raises(SnapshotError, match="nor a folder with kpageflags, page_owner"):
        open_snapshot(tmp_path)


def test_a_frame_that_two_files_disagree_about_stays_free_and_is_counted(tmp_path):
    path = machine().write(tmp_path / "a")
    records = [Asked(pfn=8 * 512, order=2), Asked(pfn=512, stack=("zbud_alloc",), flags="slab")]
    (path / "who").write_text(owner_text(records))
    found = open_snapshot(path)
    assert found.reading["frames_of_two_minds"] == 4
    assert (found.klass[8 * 512 : 8 * 512 + 4] == FrameClass.FREE).all()
    assert (found.gfp[8 * 512 : 8 * 512 + 4] == 255).all()
    assert found.gfp[512] == 0
    assert found.klass[512] == FrameClass.SLAB


def test_an_owner_of_ones_own_becomes_a_label(tmp_path):
    table = tmp_path / "mine.toml"
    table.write_text('[[owner]]\nname = "mine"\nfunctions = ["my_ring*"]\n')
    records = [Asked(pfn=pfn, stack=("__alloc_pages", "my_ring_grow")) for pfn in (7, 8, 30)]
    (tmp_path / "who").write_text(owner_text(records))
    found = open_snapshot(tmp_path / "who", owners_table=table)
    assert [(s.start, s.stop) for s in found.labels["mine"]] == [(7, 9), (30, 31)]
    assert found.klass[[7, 8, 30]].tolist() == [FrameClass.LABELLED] * 3
    assert found.nr_frames_of(FrameClass.LABELLED) == 3


def test_a_packed_column_that_is_cut_is_named(raw):
    packed = (raw / "kpageflags.gz").read_bytes()
    (raw / "kpageflags.gz").write_bytes(packed[:-500])
    with pytest.raises(SnapshotError, match=r"kpageflags\.gz: file: is cut short or damaged"):
        open_snapshot(raw)


def test_a_folder_needs_no_root_and_no_proc(tmp_path):
    path = folder(tmp_path / "a")
    found = open_snapshot(path)
    assert found.nr_frames_of(FrameClass.SLAB) == 100
    assert found.allocations.of(512).stack == ("allocate_slab",)
    with gzip.open(path / "kpageflags.gz", "wb") as file:
        file.write((path / "kpageflags").read_bytes())
    (path / "kpageflags").unlink()
    assert np.array_equal(open_snapshot(path).klass, found.klass)
