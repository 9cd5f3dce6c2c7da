"""Capture from /proc: on files as a kernel wrote them, on hand-made ones, and live as root."""

import gzip
import os
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from mm.state.frames import FrameState, PageFlag
from pinlab.procfs import capture, infer
from pinlab.procfs.capture import record
from pinlab.procfs.iomem import parse_iomem
from pinlab.procfs.proc_text import parse_buddyinfo, parse_pagetypeinfo, parse_zones
from pinlab.snapshot import image
from pinlab.snapshot.bundled import bundled
from pinlab.snapshot.classes import FrameClass
from pinlab.snapshot.columns import NOT_KNOWN
from pinlab.snapshot.errors import SnapshotError
from pinlab.snapshot.facts import Provenance, ZoneFacts
from pinpage.units import Span

RAW = Path(__file__).parents[3] / "data" / "proc-6.1"
TEXTS = ("iomem", "zoneinfo", "buddyinfo", "pagetypeinfo")
BUDDY = 1 << PageFlag.BUDDY
SLAB = 1 << PageFlag.SLAB


@pytest.fixture
def raw(tmp_path):
    """A /proc of a Linux 6.1 guest, as files."""
    directory = tmp_path / "proc"
    directory.mkdir()
    for name in TEXTS:
        shutil.copyfile(RAW / name, directory / name)
    for name in ("kpageflags", "kpagecount"):
        (directory / name).write_bytes(gzip.decompress((RAW / f"{name}.gz").read_bytes()))
    return directory


def test_a_real_proc_becomes_a_snapshot(raw, tmp_path):
    seen = []
    snapshot = record(tmp_path / "a.npz", lambda *at: seen.append(at), proc_directory=raw)
    assert snapshot.nr_frames == 0x9FD1
    flags = np.frombuffer((raw / "kpageflags").read_bytes(), dtype=np.uint64)[:0x9FD1]
    is_slab, is_free = (flags & SLAB) != 0, (flags & BUDDY) != 0
    assert snapshot.nr_frames_of(FrameClass.SLAB) == np.count_nonzero(is_slab) > 2000
    assert snapshot.nr_frames_of(FrameClass.FREE) == np.count_nonzero(is_free) > 1000
    assert seen[-1] == ("kpagecount", 0x9FD1, 0x9FD1)
    assert image.load(tmp_path / "a.npz").klass.tolist() == snapshot.klass.tolist()
    assert snapshot.zones[0].min == 886 - 512
    assert snapshot.provenance.drift_nr_pages == abs(int(is_free.sum()) - 1730)


def test_nothing_unmarked_is_free(raw):
    """zbud pages and per-CPU pages carry no flag; both stay unknown."""
    snapshot = capture.capture(raw)
    marked = (snapshot.flags & PageFlag.BUDDY.mask) != 0
    assert ((snapshot.state == FrameState.FREE) == marked).all()
    silent = (snapshot.flags == 0) & (snapshot.mapcount == 0) & (snapshot.klass != FrameClass.HOLE)
    assert (snapshot.state[silent] == FrameState.UNKNOWN).all()
    assert np.count_nonzero(silent) > 10000


def test_what_is_guessed_and_what_is_not_known_is_said(raw):
    snapshot = capture.capture(raw)
    assert snapshot.guessed[snapshot.order >= 0].all()
    assert {"order", "block_migratetype"} <= set(snapshot.guessed_fields)
    assert {"gfp", "refcount", "block_skip", "pinned_pfns"} == set(snapshot.unknown_fields)
    assert (snapshot.refcount[snapshot.state == FrameState.USED] == -1).all()
    assert (snapshot.gfp == NOT_KNOWN).all()


def test_holes_come_from_iomem(raw):
    snapshot = capture.capture(raw)
    holes = np.flatnonzero(snapshot.state == FrameState.HOLE)
    assert holes.tolist() == [0, *range(0x9F, 0x100)]
    assert [span.start for span in snapshot.ram] == [1, 0x100]


# A machine of 64 frames, by hand.


def machine(marks: dict[int, int], *, nr_free_blocks: tuple[int, ...] = (), counts=None):
    flags = np.zeros(64, dtype=np.uint64)
    for pfn, bits in marks.items():
        flags[pfn] = bits
    mappings = np.zeros(64, dtype=np.uint64)
    for pfn, count in (counts or {}).items():
        mappings[pfn] = count
    zone = ZoneFacts(
        name="Normal",
        node=0,
        start_pfn=0,
        spanned=64,
        present=64,
        managed=64,
        cma=0,
        min=1,
        low=2,
        high=3,
        boost=0,
        nr_free=sum(n << order for order, n in enumerate(nr_free_blocks)),
        nr_free_blocks=nr_free_blocks,
    )
    source = Provenance(source="made by hand")
    return capture.columns_of(flags, mappings, (Span(0, 64),), (zone,), source)


def test_orders_of_a_kernel_that_marks_every_free_frame():
    snapshot = machine(dict.fromkeys(range(8, 14), BUDDY), nr_free_blocks=(0, 1, 1) + (0,) * 8)
    assert snapshot.order[8:14].tolist() == [2, -1, -1, -1, 1, -1]


def test_a_kernel_that_marks_only_heads_and_counts_that_prove_the_rest():
    """Head 8 of order 2 before slab, head 32 of order 3 before a mapped frame."""
    marks = {8: BUDDY, 12: SLAB, 32: BUDDY, 40: SLAB}
    snapshot = machine(marks, nr_free_blocks=(0, 0, 1, 1) + (0,) * 7)
    free = np.flatnonzero(snapshot.state == FrameState.FREE)
    assert free.tolist() == [*range(8, 12), *range(32, 40)]
    assert snapshot.order[[8, 32]].tolist() == [2, 3]
    assert snapshot.guessed[free].all()
    assert snapshot.provenance.drift_nr_pages == 0


def test_a_kernel_that_marks_only_heads_and_counts_that_prove_nothing():
    """Behind head 8 lie three blank frames, but buddyinfo says that the block is of order 1."""
    snapshot = machine({8: BUDDY, 12: SLAB}, nr_free_blocks=(0, 1) + (0,) * 9)
    assert np.flatnonzero(snapshot.state == FrameState.FREE).tolist() == [8]
    assert snapshot.state[[9, 10, 11]].tolist() == [FrameState.UNKNOWN] * 3


@given(st.lists(st.integers(0, 2), min_size=64, max_size=64), st.integers(0, 64), st.integers(1, 4))
def test_claimed_tails_are_blank_and_in_their_head_s_block(kinds, border, order):
    """0 in use and blank, 1 marked head, 2 slab; with the counts that the bounds imply."""
    free, blank = np.array(kinds) == 1, np.array(kinds) == 0
    zone = (np.arange(64) >= border).astype(np.uint8)
    facts = machine({}).zones[0]
    for claim in ((order,), (0, 1), (sum(kinds) % 5, 2, 1)):
        zones = tuple(
            evolve(facts, nr_free_blocks=claim + (0,) * (11 - len(claim))) for _ in range(2)
        )
        tails = infer.unmarked_tails(free, blank, zone, zones)
        assert not (tails & ~blank).any()
        for pfn in np.flatnonzero(tails).tolist():
            head = int(np.flatnonzero(free[:pfn])[-1])
            assert blank[head + 1 : pfn + 1].all()
            assert zone[head] == zone[pfn]


def test_classes_from_flags():
    def bits(*flags):
        return sum(1 << flag for flag in flags)

    f = PageFlag
    marks = {
        0: bits(f.RESERVED),
        1: bits(f.LRU, f.UPTODATE),
        2: bits(f.LRU, f.ANON, f.SWAPBACKED),
        3: bits(f.SLAB, f.ANON),  # a slab's freelist can look like an anonymous mapping
        4: bits(f.PGTABLE),
        5: bits(f.HUGE, f.COMPOUND_HEAD),
        6: bits(f.HWPOISON, f.LRU),
        7: bits(f.NOPAGE),
        8: bits(f.OFFLINE),
        9: bits(f.BUDDY, f.UPTODATE),
        10: bits(f.SLAB, f.COMPOUND_HEAD),
        11: bits(f.COMPOUND_TAIL),
        12: bits(f.THP, f.COMPOUND_TAIL),
        13: bits(f.COMPOUND_HEAD),
        14: bits(f.MMAP),
        15: bits(f.UPTODATE),
    }
    snapshot = machine(marks, nr_free_blocks=(1,) + (0,) * 10, counts={16: 1})
    k = FrameClass
    assert snapshot.klass[:18].tolist() == [
        *(k.RESERVED, k.FILE, k.ANON, k.SLAB, k.PAGETABLE, k.HUGETLB, k.RESERVED, k.HOLE, k.OTHER),
        *(k.FREE, k.SLAB, k.SLAB, k.FILE, k.UNKNOWN, k.UNKNOWN, k.UNKNOWN, k.UNKNOWN, k.UNKNOWN),
    ]
    in_use = (snapshot.state == FrameState.USED)[13:18]
    assert in_use.tolist() == [True, True, False, True, False]
    assert np.flatnonzero(snapshot.guessed).tolist() == [9, 11]


def test_orders_worked_out_from_flags_are_those_that_the_kernel_had():
    """The bundled recording holds both: the kernel's own orders, and kpageflags."""
    snapshot = bundled()
    merged = infer.maximal_orders((snapshot.flags & PageFlag.BUDDY.mask) != 0, snapshot.zone)
    assert np.count_nonzero(merged != snapshot.order) == 0


# The texts.


def test_iomem_rounds_inwards_and_knows_hotplugged_memory():
    text = "00000800-000027ff : System RAM\n100000-1fffff : dax0.0\n"
    text += "  100000-1fffff : System RAM (kmem)\n"
    assert parse_iomem(text) == (Span(1, 2), Span(0x100, 0x200))


def test_zones_of_several_nodes_stay_apart():
    zones = parse_zones(
        (RAW / "zoneinfo").read_text() + (RAW / "zoneinfo").read_text().replace("Node 0", "Node 1"),
        (RAW / "buddyinfo").read_text(),
    )
    assert [(zone.node, zone.name) for zone in zones] == [
        *((0, "DMA32"), (0, "Normal"), (0, "Movable")),
        *((1, "DMA32"), (1, "Normal"), (1, "Movable")),
    ]
    assert zones[0].nr_free_blocks[0] == 15
    assert zones[3].nr_free_blocks == ()


OLD_ZONE = """Node 0, zone   Normal
  pages free     9
        min      5
        low      6
        high     7
        scanned  0 (a: 4 i: 8)
        spanned  64
        present  60
        nr_free_pages 9
        protection: (0, 0)
  pagesets
    cpu: 0 pcp: 0
              count: 3
              high:  6
              batch: 1
    cpu: 0 pcp: 1
              count: 2
  start_pfn:         16
"""
"""As Linux 2.6 and 3.x print it: neither boost nor managed nor cma."""


def test_what_an_old_kernel_does_not_print_is_not_zero():
    (zone,) = parse_zones(OLD_ZONE)
    assert (zone.min, zone.boost, zone.start_pfn, zone.lowmem_reserve) == (5, 0, 16, (0, 0))
    assert (zone.managed, zone.cma) == (None, None)
    assert zone.nr_pages_of_buddy == 60
    assert (zone.pcp_count, zone.pcp_high, zone.pcp_batch) == (5, 6, 1)


def test_a_zone_of_no_pages_has_no_lists_and_starts_nowhere():
    text = OLD_ZONE.split("        nr_free", maxsplit=1)[0].replace("64", "0").replace("60", "0")
    (zone,) = parse_zones(text)
    assert (zone.start_pfn, zone.spanned) == (0, 0)
    assert (zone.pcp_count, zone.pcp_high, zone.pcp_batch) == (None, None, None)


@pytest.mark.parametrize("label", ["start_pfn:", "spanned", "present", "pages free", "min", "high"])
def test_a_zone_without_a_line_that_every_kernel_prints(label):
    text = re.sub(rf"^ +{label} .*\n", "", OLD_ZONE, flags=re.MULTILINE)
    assert text != OLD_ZONE
    with pytest.raises(SnapshotError) as error:
        parse_zones(text)
    assert f"zone Normal: {label.rstrip(':')}: is missing; every kernel prints it" in str(
        error.value
    )
    assert "again" not in str(error.value)


def test_block_types_and_free_blocks():
    assert parse_pagetypeinfo((RAW / "pagetypeinfo").read_text())[0, "DMA32"] == {
        "Unmovable": 35,
        "Movable": 43,
        "Reclaimable": 2,
        "HighAtomic": 0,
        "CMA": 0,
        "Isolate": 0,
    }
    assert parse_buddyinfo((RAW / "buddyinfo").read_text()) == {
        (0, "DMA32"): (15, 18, 15, 18, 20, 6, 4, 0, 2, 0, 0)
    }


# What can go wrong, one line each, and nothing written.


def test_no_kpageflags(raw):
    (raw / "kpageflags").unlink()
    refused(raw, "kpageflags", "does not exist", "CONFIG_PROC_PAGE_MONITOR")


def test_a_short_read(raw):
    path = raw / "kpagecount"
    path.write_bytes(path.read_bytes()[: 0x1000 * 8])
    refused(raw, "kpagecount", "ends at pfn 0x1000 of 0x9fd1")


def test_a_read_that_ends_inside_an_entry(raw):
    path = raw / "kpageflags"
    path.write_bytes(path.read_bytes()[:1001])
    refused(raw, "kpageflags", "ends at pfn")


def test_not_root(raw, monkeypatch):
    really_open = Path.open

    def as_nobody(self, *args, **kwargs):
        if self.name == "kpageflags":
            raise PermissionError(13, "Permission denied")
        return really_open(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", as_nobody)
    refused(raw, "kpageflags", "root's to read", "run it as root")


def test_not_root_and_iomem_hides_its_addresses(raw):
    (raw / "iomem").write_text("00000000-00000000 : System RAM\n00000000-00000000 : Reserved\n")
    refused(raw, "iomem", "hidden", "run it as root")


def test_no_ram_at_all(raw):
    (raw / "iomem").write_text("00000000-00000fff : Reserved\n")
    refused(raw, "iomem", "System RAM")


def test_a_zone_without_a_watermark(raw):
    text = (raw / "zoneinfo").read_text()
    (raw / "zoneinfo").write_text(text.replace("        low      979\n", ""))
    refused(raw, "zoneinfo", "Node 0, zone DMA32: low", "is missing")


@pytest.mark.parametrize("name", [*TEXTS, "kpageflags", "kpagecount"])
def test_a_pipe_in_place_of_a_text(raw, name):
    """Nobody writes to it, so whoever opened it would wait for ever."""
    (raw / name).unlink()
    os.mkfifo(raw / name)
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it waits for a writer"))
    signal.alarm(20)
    try:
        refused(raw, name, "is not a regular file")
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("name", ["iomem", "zoneinfo", "kpageflags"])
def test_a_directory_in_place_of_a_file(raw, name):
    (raw / name).unlink()
    (raw / name).mkdir()
    refused(raw, name, "is not a regular file")


def test_texts_of_any_bytes(raw):
    for name in ("version", "cmdline", "pagetypeinfo"):
        (raw / name).write_bytes(b"Linux version \xff\x00\x1b[31m\n" * 9)
    snapshot = capture.capture(raw, command_line=True)
    assert snapshot.provenance.command_line.isprintable()
    assert snapshot.provenance.command_line
    assert snapshot.provenance.kernel_release == "\ufffd??[31m"
    with (raw / "iomem").open("ab") as file:
        file.truncate(5 << 20)
    refused(raw, "iomem", "larger than the 4,194,304 bytes")


def test_ram_beyond_what_is_read(raw):
    (raw / "iomem").write_text("00001000-ffffffffffffffff : System RAM\n")
    refused(raw, "iomem", "System RAM", "more than the 536,870,912 that are read")
    (raw / "iomem").write_text("00000000-00000020 : System RAM\n")
    refused(raw, "iomem", "ends before the first whole page")


def test_no_proc(tmp_path):
    refused(tmp_path, "iomem", "does not exist")


def refused(directory, *words):
    output = directory / "out.npz"
    with pytest.raises(SnapshotError) as error:
        record(output, proc_directory=directory)
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)
    assert not output.exists()


@pytest.mark.live
def test_this_very_machine(tmp_path):
    if os.geteuid() != 0 or not Path("/proc/kpageflags").exists():
        pytest.skip("needs root and a kernel with /proc/kpageflags")
    snapshot = record(tmp_path / "here.npz")
    assert snapshot.provenance.kernel_release == os.uname().release
    assert snapshot.nr_frames_of(FrameClass.SLAB) > 0
    assert snapshot.nr_frames_of(FrameClass.FREE) > 0
    assert (tmp_path / "here.npz").exists()
