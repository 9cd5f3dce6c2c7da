"""Machines that are not 4 KiB, order-9, x86 ones: each size comes from the file that says it."""

import re
import struct

import pytest
from attrs import evolve

from mm.state.frames import FrameState
from mm.state.pageblock import MigrateType
from pinlab.procfs.capture import capture, record
from pinlab.procfs.iomem import parse_iomem
from pinlab.procfs.proc_text import parse_zones
from pinlab.snapshot import image
from pinlab.snapshot.classes import FrameClass
from pinlab.snapshot.columns import NOT_KNOWN
from pinlab.snapshot.errors import SnapshotError
from pinlab.snapshot.facts import CmaFacts
from pinpage.units import Span
from tests.kit.pinlab.proc_folder import MACHINES, InventedZone, machine


@pytest.fixture(params=MACHINES)
def invented(request):
    return MACHINES[request.param]


def test_every_machine_is_recorded_as_it_is(invented, tmp_path):
    snapshot = record(tmp_path / "a.npz", proc_directory=invented.write(tmp_path / "proc"))
    assert snapshot.nr_frames == invented.nr_frames
    assert snapshot.ram == tuple(Span(*span) for span in invented.ram)
    assert snapshot.nr_pages_per_block == 1 << invented.pageblock_order
    assert snapshot.geometry.page_nr_bytes == invented.page_nr_bytes
    assert snapshot.geometry.max_order == invented.max_order
    block = invented.memory_block_nr_bytes // invented.page_nr_bytes
    assert snapshot.geometry.memory_block_nr_pages == block
    assert [(zone.name, zone.spanned) for zone in snapshot.zones] == [
        (zone.name, zone.stop - zone.start) for zone in invented.zones
    ]
    for klass, spans in (
        (FrameClass.FREE, invented.free),
        (FrameClass.ANON, invented.anon),
        (FrameClass.SLAB, invented.slab),
    ):
        assert snapshot.nr_frames_of(klass) == sum(stop - start for start, stop in spans)
    assert snapshot.provenance.drift_nr_pages == 0
    assert image.load(tmp_path / "a.npz").geometry == snapshot.geometry


def test_free_blocks_are_as_large_as_the_machine_has_them(tmp_path):
    """With pages of 64 KiB the largest is of order 13."""
    snapshot = capture(MACHINES["64 KiB"].write(tmp_path))
    assert snapshot.order.max() == 13
    assert snapshot.zones[0].nr_free_blocks[13] == (snapshot.order == 13).sum()


def test_two_areas_side_by_side_stay_two_and_keep_their_names(tmp_path):
    snapshot = capture(MACHINES["two areas"].write(tmp_path))
    assert snapshot.geometry.cma_areas == (
        CmaFacts("linux,cma", 8 * 512, 4 * 512),
        CmaFacts("camera", 12 * 512, 2 * 512),
    )
    assert (snapshot.block_migratetype[8:14] == MigrateType.CMA).all()
    assert "cma_areas" not in snapshot.unknown_fields


def test_areas_of_which_no_file_says_where_they_lie(tmp_path):
    directory = MACHINES["two areas"].write(tmp_path)
    for name in ("base_pfn", "count", "order_per_bit"):
        (directory / "cma" / "camera" / name).unlink()
    (directory / "cma" / "camera").rmdir()
    snapshot = capture(directory)
    assert [area.name for area in snapshot.geometry.cma_areas] == ["linux,cma"]
    assert "cma_areas" in snapshot.unknown_fields


def test_an_area_in_several_ranges_has_no_one_place(tmp_path):
    directory = MACHINES["two areas"].write(tmp_path)
    (directory / "cma" / "camera" / "ranges" / "1").mkdir(parents=True)
    assert "cma_areas" in capture(directory).unknown_fields


# What a file does not say.


def test_a_pageblock_that_nobody_states_is_the_usual_one_and_said_to_be_unknown(tmp_path):
    for name, order in (("order 10", 9), ("16 KiB", 11), ("64 KiB", 13)):
        directory = MACHINES[name].write(tmp_path / name)
        (directory / "pagetypeinfo").unlink()
        snapshot = capture(directory)
        assert snapshot.nr_pages_per_block == 1 << order
        assert "nr_pages_per_block" in snapshot.unknown_fields


@pytest.mark.parametrize("size", [4 << 10, 16 << 10, 64 << 10])
def test_the_page_is_worked_out_where_only_iomem_and_zoneinfo_are_there(tmp_path, size):
    directory = machine(page_nr_bytes=size).write(tmp_path)
    (directory / "meminfo").unlink()
    snapshot = capture(directory)
    assert snapshot.geometry.page_nr_bytes == size
    assert "page_nr_bytes" not in snapshot.unknown_fields


def auxv(size, word):
    return struct.pack(f"<6{word}", 6, size, 17, 100, 0, 0)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("auxv", auxv(16 << 10, "Q")),
        ("auxv", auxv(16 << 10, "I") + bytes(8)),
        ("page_size", b"16384\n"),
        ("smaps", b"KernelPageSize:     2048 kB\nKernelPageSize:       16 kB\n"),
    ],
    ids=["auxv-64", "auxv-32", "page_size", "smaps"],
)
def test_whatever_says_the_page_size_must_agree(tmp_path, name, content):
    directory = machine(page_nr_bytes=16 << 10).write(tmp_path)
    (directory / name).write_bytes(content)
    assert capture(directory).geometry.page_nr_bytes == 16 << 10
    contradicted = machine().write(tmp_path)
    (contradicted / name).write_bytes(content)
    refused(contradicted, f"{name}: pages: are of 16 KiB, and of 4 KiB by", "meminfo", "zoneinfo")


def half_initialised(**changes):
    """A kernel that initialises memory when it is needed: of 31 pageblocks it manages half."""
    block = 512
    figures = {
        "free": ((block + 100, 2 * block), (8 * block, 16 * block)),
        "anon": ((2 * block, 8 * block), (16 * block, 16 * block + 256)),
        "late": ((16 * block + 256, 32 * block),),
        "is_late_counted": True,
    }
    return machine(**(figures | changes))


@pytest.mark.parametrize("says", ["KernelPageSize:        4 kB\n", ""])
def test_memory_that_is_yet_to_be_initialised_makes_no_page_larger(tmp_path, says):
    directory = half_initialised().write(tmp_path)
    (directory / "smaps").write_text(says)
    snapshot = capture(directory)
    assert snapshot.geometry.page_nr_bytes == 4 << 10
    assert snapshot.nr_frames_of(FrameClass.UNMANAGED) == 15 * 512 + 256


def test_memory_that_is_off_makes_no_page_larger(tmp_path):
    """iomem lists it, and no zone has it present."""
    directory = machine().write(tmp_path)
    more = f"{32 * 512 * 4096:08x}-{64 * 512 * 4096 - 1:08x} : System RAM\n"
    (directory / "iomem").write_text((directory / "iomem").read_text() + more)
    with (directory / "kpageflags").open("ab") as flags, (directory / "kpagecount").open("ab") as n:
        flags.write((1 << 20).to_bytes(8, "little") * 32 * 512)
        n.write(bytes(8 * 32 * 512))
    assert capture(directory).geometry.page_nr_bytes == 4 << 10


def test_totals_that_no_late_memory_explains(tmp_path):
    """Fewer bytes than there are pages; and two totals that agree with one another."""
    directory = half_initialised().write(tmp_path)
    (directory / "page_size").write_text("16384\n")
    refused(directory, "page_size: pages: are of 16 KiB, and of 8 KiB by", "meminfo", "zoneinfo")
    whole = machine(page_nr_bytes=16 << 10).write(tmp_path / "whole")
    (whole / "page_size").write_text("4096\n")
    refused(whole, "page_size: pages: are of 4 KiB, and of 16 KiB by", "meminfo", "zoneinfo")


# What contradicts another file.


def refused(directory, *words):
    with pytest.raises(SnapshotError) as error:
        capture(directory)
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)
    assert "copy it again" not in str(error.value)


def rewrite(path, old, new):
    text = path.read_text()
    assert re.search(old, text)
    path.write_text(re.sub(old, new, text))


def test_two_lines_about_pageblocks(tmp_path):
    rewrite(machine().write(tmp_path) / "pagetypeinfo", "block:  512", "block:  1024")
    refused(tmp_path, "pagetypeinfo", "Page block order: is 9, and Pages per block is 1024")


def test_more_pageblocks_than_the_zone_spans(tmp_path):
    rewrite(machine().write(tmp_path) / "pagetypeinfo", "(zone .*) 30 ", r"\1 64 ")
    refused(tmp_path, "pagetypeinfo", "pageblocks of 512 pages", "zoneinfo", "span 32")


def test_more_memory_than_iomem_lists(tmp_path):
    rewrite(machine().write(tmp_path) / "iomem", "01|03ffffff", "00ffffff")
    refused(tmp_path, "zoneinfo", "16,384 pages of 4 KiB present", "iomem", "4,096 of RAM")


def test_a_memory_block_smaller_than_a_pageblock(tmp_path):
    (machine().write(tmp_path) / "block_size_bytes").write_text("100000\n")
    refused(tmp_path, "block_size_bytes", "256 pages", "pageblock of 512", "pagetypeinfo")


@pytest.mark.parametrize(("file", "number"), [("base_pfn", 12 * 512 + 64), ("count", 2 * 512 - 1)])
def test_an_area_that_is_no_whole_pageblocks(tmp_path, file, number):
    directory = MACHINES["two areas"].write(tmp_path)
    (directory / "cma" / "camera" / file).write_text(f"{number}\n")
    refused(
        tmp_path, "cma/camera", "not whole pageblocks", "512 pages by", "pagetypeinfo", "copy all"
    )
    (directory / "pagetypeinfo").unlink()
    refused(tmp_path, "cma/camera", "512 pages as usual", "copy pagetypeinfo, too")


def test_areas_of_more_pages_than_the_zones_count(tmp_path):
    directory = MACHINES["two areas"].write(tmp_path)
    (directory / "cma" / "camera" / "count").write_text("1536\n")
    refused(tmp_path, "cma", "have 3,584 pages", "zoneinfo", "counts 3,072")


def test_free_blocks_of_a_zone_that_is_not_there(tmp_path):
    rewrite(machine().write(tmp_path) / "buddyinfo", "DMA32", "Normal")
    refused(tmp_path, "buddyinfo: Node 0, zone Normal", "is not in", "zoneinfo")


def test_a_row_of_pagetypeinfo_that_ends_early(tmp_path):
    rewrite(machine().write(tmp_path) / "pagetypeinfo", "(zone .*) 0\n", r"\1\n")
    refused(tmp_path, "pagetypeinfo", "5 counts for 6 types")


# Kernels of long ago.


def test_a_kernel_that_does_not_count_what_it_manages(tmp_path):
    directory = machine(release="3.4.113").write(tmp_path)
    rewrite(directory / "zoneinfo", r" +(managed|cma|boost) .*\n", "")
    (zone,) = capture(directory).zones
    assert (zone.managed, zone.cma, zone.boost) == (None, None, 0)
    assert zone.nr_pages_of_buddy == zone.present


@pytest.mark.parametrize(("release", "is_read"), [("2.6.30.5", False), ("2.6.32", True)])
def test_a_kernel_whose_kpageflags_say_too_little(tmp_path, release, is_read):
    directory = machine(release=release).write(tmp_path)
    if is_read:
        assert capture(directory).provenance.kernel_release == release
    else:
        refused(directory, "version: Linux 2.6.30.5", "record a kernel of 2.6.31 or later")


# Rows of iomem.


@pytest.mark.parametrize(
    ("more", "spans"),
    [
        ("  00002000-00003fff : System RAM\n", ((0, 16),)),
        ("  00002000-00003fff : System RAM (kmem)\n  00006000-00007fff : System RAM\n", ((0, 16),)),
        ("80000000-8000ffff : System RAM (boot alias)\n", ((0, 16),)),
        ("80000000-8000ffff : System RAM (virtio_mem)\n", ((0, 16), (0x80000, 0x80010))),
        ("80000000-8000ffff : System RAM disk\n", ((0, 16),)),
        ("0000e000-00011fff : System RAM\n", ((0, 18),)),
    ],
)
def test_ram_counts_once_whatever_it_is_called(more, spans):
    found = parse_iomem("00000000-0000ffff : System RAM\n" + more)
    assert found == tuple(Span(*span) for span in spans)


# Which zone a frame is of.


def test_where_two_nodes_with_holes_interleave_nothing_says_whose_a_frame_is(tmp_path):
    block = 512
    zones = (
        InventedZone("Normal", 0, 24 * block, node=0),
        InventedZone("Normal", 16 * block, 32 * block, node=1),
    )
    directory = machine(zones=zones).write(tmp_path)
    rewrite(directory / "zoneinfo", "present  [0-9]+", "present  7000")
    rewrite(directory / "zoneinfo", "managed  [0-9]+", "managed  6500")
    zone = capture(directory).zone
    assert set(zone[: 16 * block]) == {0}
    assert set(zone[16 * block : 24 * block]) == {NOT_KNOWN}
    assert set(zone[24 * block :]) == {1}


def test_a_zone_that_is_all_present_owns_what_it_spans(tmp_path):
    block = 512
    zones = (InventedZone("Normal", 0, 32 * block), InventedZone("Movable", 8 * block, 16 * block))
    directory = machine(zones=zones).write(tmp_path)
    text = (directory / "zoneinfo").read_text()
    (directory / "zoneinfo").write_text(text.replace("present  16384", "present  16000", 1))
    zone = capture(directory).zone
    assert set(zone[8 * block : 16 * block]) == {1}
    assert set(zone[: 8 * block]) == {0}


# Memory that the allocator does not have.


def test_memory_that_was_never_given_to_the_allocator_is_a_class_of_its_own(tmp_path):
    block = 512
    late = machine(
        free=((block + 100, 2 * block), (8 * block, 20 * block)), late=((24 * block, 32 * block),)
    )
    snapshot = capture(late.write(tmp_path))
    assert snapshot.nr_frames_of(FrameClass.UNMANAGED) == 8 * block
    assert (snapshot.klass[24 * block :] == FrameClass.UNMANAGED).all()
    assert (snapshot.state[24 * block :] == FrameState.UNKNOWN).all()
    assert snapshot.guessed[24 * block :].all()


def test_a_count_that_no_run_adds_up_to_proves_nothing(tmp_path):
    block = 512
    late = machine(free=((8 * block, 20 * block),), late=((24 * block, 32 * block),))
    directory = late.write(tmp_path)
    text = (directory / "zoneinfo").read_text()
    managed = int(re.search("managed +([0-9]+)", text)[1])
    (directory / "zoneinfo").write_text(
        text.replace(f"managed  {managed}", f"managed  {managed + 1}")
    )
    (directory / "meminfo").unlink()
    assert capture(directory).nr_frames_of(FrameClass.UNMANAGED) == 0


# How a recording is kept.


def test_a_recording_is_its_owner_s_alone_and_holds_no_command_line(tmp_path):
    directory = machine().write(tmp_path / "proc")
    (tmp_path / "a.npz").write_text("old")
    (tmp_path / "a.npz").chmod(0o644)
    record(tmp_path / "a.npz", proc_directory=directory)
    assert (tmp_path / "a.npz").stat().st_mode & 0o777 == 0o600
    assert image.load(tmp_path / "a.npz").provenance.command_line == ""
    record(tmp_path / "b.npz", proc_directory=directory, command_line=True)
    assert "swordfish" in image.load(tmp_path / "b.npz").provenance.command_line


def test_what_changed_while_it_was_read_is_counted(tmp_path):
    directory = machine().write(tmp_path)
    assert capture(directory).provenance.changed_nr_frames is None
    assert capture(directory, look_twice=True).provenance.changed_nr_frames == 0

    def meanwhile(name, done, _total):
        if name == "kpagecount" and done:
            with (directory / "kpageflags").open("r+b") as file:
                file.seek(8 * 512 * 8)
                file.write(bytes(5 * 8))

    assert capture(directory, meanwhile, look_twice=True).provenance.changed_nr_frames == 5


def test_zones_of_the_machines_read_back(invented, tmp_path):
    directory = invented.write(tmp_path)
    zones = parse_zones((directory / "zoneinfo").read_text())
    assert [zone.pcp_count for zone in zones] == [sum(zone.on_lists) for zone in invented.zones]
    assert evolve(zones[0], node=1).nr_pages_of_buddy == zones[0].managed


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"page_nr_bytes": 5000}, "pages of 5000 bytes"),
        ({"max_order": 17}, "free blocks of order 17"),
        ({"memory_block_nr_pages": 256}, "memory blocks of 256 pages"),
        ({"memory_block_nr_pages": 3 * 512}, "memory blocks of 1536 pages"),
        ({"cma_areas": (CmaFacts("a", 0, 512), CmaFacts("b", 511, 9))}, "area b outside of"),
        ({"cma_areas": (CmaFacts("a", 0, 512), CmaFacts("a", 512, 9))}, "two areas of one name"),
        ({"cma_areas": (CmaFacts("a", 1 << 20, 512),)}, "area a outside of memory"),
        ({"cma_areas": (CmaFacts("a", 0, 512, 99),)}, "pages of order 99"),
        ({"cma_areas": (CmaFacts("a", 0, 512, 10),)}, "inside of a page of order 10"),
        ({"cma_areas": (CmaFacts("a", 512, 512), CmaFacts("b", 1024, 9))}, "area b, which is not"),
        ({"cma_areas": (CmaFacts("a", 64, 512),)}, "area a, which is not whole pageblocks"),
    ],
)
def test_sizes_and_areas_that_no_machine_has(tmp_path, changes, words):
    snapshot = capture(machine().write(tmp_path))
    other = evolve(snapshot, geometry=evolve(snapshot.geometry, **changes))
    with pytest.raises(SnapshotError, match=f"SN11 .*{words}"):
        other.check()
