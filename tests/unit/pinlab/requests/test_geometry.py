"""Machines with other pages and pageblocks are asked for what they are; answers counted by hand.

Eight pageblocks: half of the first is the kernel's, a quarter of the second is slab, half of
the third and of the sixth are a process's, and the rest is free.  So six can be had, two of them
by moving half a pageblock each; without moving, four.
"""

import numpy as np
import pytest

from mm.power.energy import EnergyModel
from mm.state.costs import CostModel
from pinlab.compare.compare import compare
from pinlab.compare.results import Run
from pinlab.described.synthetic import describe_machine
from pinlab.procfs.capture import capture
from pinlab.replay.corpus import Corpus
from pinlab.replay.replay import replay_layout
from pinlab.report.tables import as_markdown
from pinlab.requests.report import RequestOptions
from pinlab.requests.run import SERVERS, run_request
from pinlab.snapshot.errors import SnapshotError
from pinpage.errors import PinpageError
from tests.kit.mm.whole_machines import SIZE, Layout
from tests.kit.pinlab.proc_folder import blocks

SIZES = {
    # order of the pageblock, KiB in a page: a huge page, pages in one
    (5, 64): ("2 MiB page", 32),
    (8, 4): ("1 MiB page", 256),
    (10, 4): ("4 MiB page", 1024),
    (11, 16): ("32 MiB page", 2048),
    (13, 64): ("512 MiB page", 8192),
}


CORPUS = Corpus.build(nr_pages=16)


@pytest.fixture(params=SIZES, ids=lambda sizes: f"order{sizes[0]}-{sizes[1]}KiB")
def sizes(request):
    return request.param


def recording(directory, sizes, **changes):
    order, nr_kib = sizes
    return capture(blocks(order, page_nr_bytes=nr_kib << 10, **changes).write(directory))


def served(request, snapshot, **options):
    machine = replay_layout(snapshot, CORPUS).machine
    report = SERVERS[request](machine, RequestOptions(**options))
    machine.check()
    return report


def test_huge_pages_are_pageblocks(tmp_path, sizes):
    unit, size = SIZES[sizes]
    snapshot = recording(tmp_path, sizes)
    for strategy, obtained in (("scan", 4), ("plan", 6)):
        report = served("huge2m", snapshot, strategy=strategy)
        assert (report.unit, report.bound, report.wanted) == (unit, 6, 8)
        # By scan the watermarks hold, or there is no room to compact in: nobody has told it where.
        assert report.obtained >= obtained
        assert report.obtained <= 6
        heads = [attempt.start for attempt in report.attempts if attempt.start >= 0]
        assert not any(head % size for head in heads)
    assert report.obtained == 6
    assert report.pages_moved == size


def test_memory_blocks_of_a_pageblock_each(tmp_path, sizes):
    _, size = SIZES[sizes]
    snapshot = recording(tmp_path, sizes)
    for strategy in ("scan", "plan"):
        report = served("offline", snapshot, strategy=strategy, block_nr_pages=size)
        assert (report.wanted, report.bound, report.obtained) == (8, 6, 6)
        together = served("offline", snapshot, strategy=strategy, block_nr_pages=size, count=8)
        # 6.25 of them are free in all.  What moves leaves 64 pages free, the watermark; what is
        # empty asks for none, so another order than either strategy's might get more.
        most = min(6, (size * 25 // 4 - 64) // size)
        assert (together.bound, together.certain, together.obtained) == (6, most, most)


def test_contiguous_memory_of_two_pageblocks(tmp_path, sizes):
    """Half of one of them is a process's, and moves out."""
    _, size = SIZES[sizes]
    snapshot = recording(tmp_path, sizes, areas={"camera": (4 * size, 6 * size)})
    for strategy in ("scan", "plan"):
        report = served("cma", snapshot, strategy=strategy, nr_pages=size, count=2)
        assert (report.bound, report.obtained) == (2 * size, 2 * size)
        assert report.pages_moved == size // 2
        assert [attempt.start for attempt in report.attempts] == [4 * size, 5 * size]


def test_power_regions_are_pageblocks_at_least(tmp_path, sizes):
    _, size = SIZES[sizes]
    report = served("power", recording(tmp_path, sizes), strategy="plan")
    assert report.details["region_nr_pages"] == size
    assert report.obtained == report.bound


def test_pages_of_1_gib_are_as_many_frames_as_that_takes(tmp_path):
    """4 GiB, and the first of them holds what stays."""
    report = served("huge1g", recording(tmp_path, (13, 64)), strategy="plan")
    assert (report.unit, report.bound, report.obtained) == ("1 GiB page", 3, 3)
    assert report.details["nr_pages"] == 16384


def test_memory_blocks_are_those_that_the_file_says(tmp_path):
    snapshot = recording(tmp_path, (11, 16))
    machine = replay_layout(snapshot, CORPUS).machine
    assert machine.hotplug.blocks.nr_pages == snapshot.geometry.memory_block_nr_pages == 8192
    described = describe_machine("scenario:1GiB,page_size=64KiB")
    machine = replay_layout(described, CORPUS).machine
    assert machine.hotplug.blocks.nr_pages == 8192  # (a section holds a pageblock)


def test_every_byte_of_a_large_page_is_there_afterwards(tmp_path):
    """A quarter of 32 + 64 pages of 64 KiB moves, and is read back whole."""
    snapshot = recording(tmp_path, (5, 64))
    report = run_request("huge2m", snapshot, RequestOptions(strategy="plan"))
    assert (report.obtained, report.pages_moved, report.bytes_lost) == (6, 32, 0)
    nr_stored = int(np.count_nonzero(snapshot.mapcount)) + 8  # slab
    assert report.bytes_verified == nr_stored * (64 << 10)


def test_a_table_names_the_size_of_a_huge_page(tmp_path):
    runs = (Run("unmovable"), Run("registry", (), "plan"))
    compared = compare(recording(tmp_path, (11, 16)), runs, layout_only=True, nr_jobs=1)
    assert "| 32 MiB pages |" in as_markdown(compared)
    assert [row.bound for row in compared.rows] == [6, 6]
    assert compared.rows[1].huge_pages == 6


def test_a_description_says_its_sizes():
    snapshot = describe_machine("scenario:1GiB,page_size=16KiB,anon=10%,movable=64MiB")
    assert (snapshot.nr_frames, snapshot.nr_pages_per_block) == (65536, 2048)
    assert snapshot.geometry.page_nr_bytes == 16 << 10
    assert snapshot.zones[1].present == 4096
    small = describe_machine("scenario:64MiB,pageblock_order=8")
    assert (small.nr_blocks, small.geometry.max_order) == (64, 10)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("64MiB,page_size=5KiB", "page_size='5KiB': give one of 4KiB, 16KiB, 64KiB"),
        ("64MiB,page_size=50%", "give one of 4KiB"),
        ("64MiB,pageblock_order=3", "pageblock_order=3: give a whole number, 4 to 13"),
        ("64MiB,pageblock_order=14", "pageblock_order=14: give a whole number, 4 to 13"),
        ("64MiB,pageblock_order=x", "pageblock_order=x: give a whole number, 4 to 13"),
        ("64MiB,page_size=64KiB", "give a multiple of 512MiB"),
    ],
)
def test_sizes_that_no_machine_has(given, words):
    with pytest.raises(PinpageError, match=words):
        describe_machine(f"scenario:{given}")


def test_how_objects_are_packed_is_known_for_usual_pages_only():
    snapshot = describe_machine("scenario:256MiB,page_size=16KiB,zsmalloc=5%")
    with pytest.raises(SnapshotError, match="of 16 KiB, and how zsmalloc packs its objects"):
        served("huge2m", snapshot)


def test_pageblocks_beyond_what_a_replay_has_are_refused(tmp_path):
    snapshot = capture(blocks(14, page_nr_bytes=4096).write(tmp_path))
    with pytest.raises(SnapshotError, match="is 16384, and at most 8192 are replayed"):
        served("huge2m", snapshot)


def test_what_goes_by_the_byte_costs_by_the_byte():
    usual, larger = CostModel(), CostModel().for_pages_of(64 << 10)
    assert CostModel().for_pages_of(4096) == usual
    assert larger.copy_ns == usual.copy_ns + 15 * 600
    assert larger.compress_ns == 16 * usual.compress_ns
    assert larger.scan_ns == usual.scan_ns


def test_energy_goes_by_the_byte(tmp_path):
    report = served("power", recording(tmp_path, (11, 16)), strategy="plan", count=1)
    nr_bytes = report.details["region_nr_pages"] * (16 << 10)
    saved = EnergyModel().saved_pj(nr_bytes, report.details["idle_ms"] * 10**6)
    assert report.details["saved_uj"] == saved // 10**6


@pytest.mark.parametrize("strategy", ["scan", "plan"])
def test_nobody_wants_a_huge_page_of_a_hole_or_of_another_node(strategy):
    zones = (("Normal", 0), ("Normal", 1))
    pictures = ("." * SIZE, "o" * SIZE, "o" * SIZE, "o" * SIZE, "....oooo", "." * SIZE)
    layout = Layout(pictures, (0, 0, 0, 0, 0, 1), zones)
    for request, of_all, nr_pages in (("huge2m", 3, None), ("huge1g", 2, 2 * SIZE)):
        for node, wanted in ((None, of_all), (0, of_all - (request == "huge2m")), (1, 1)):
            options = RequestOptions(strategy=strategy, node=node, nr_pages=nr_pages)
            assert SERVERS[request](layout.build().machine, options).wanted == wanted
