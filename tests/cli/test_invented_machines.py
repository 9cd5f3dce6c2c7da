"""Copies of /proc of machines that were never built: recorded, reported and asked."""

import json

import pytest

from pinlab.snapshot import image
from tests.kit.command import check_one_line
from tests.kit.pinlab.proc_folder import MACHINES, InventedZone, machine

REPLAYED = ("order 8", "order 10", "16 KiB", "device", "two areas", "boot alias")
BY_LAYOUT = {"64 KiB": "512 MiB page"}
"""Too large for their bytes, in a test -> the huge page that is meant."""
REFUSED = {
    "HighMem": "is no place for kernel memory",
}


@pytest.fixture
def recorded(pinpage, tmp_path):
    """Records an invented machine by name, and gives the file."""

    def record(name):
        directory = MACHINES[name].write(tmp_path / "proc")
        done = pinpage("record", "-o", tmp_path / "a.npz", "--proc", directory)
        assert (done.code, done.err) == (0, "")
        assert "on per-CPU lists" in done.out
        return tmp_path / "a.npz"

    return record


def test_every_machine_is_asked_or_refused():
    assert {*REPLAYED, *BY_LAYOUT, *REFUSED} == set(MACHINES)


@pytest.mark.parametrize("name", MACHINES)
def test_a_map_and_a_table_of_trust(pinpage, recorded, name):
    path, invented = recorded(name), MACHINES[name]
    drawn = pinpage("report", "heatmap", path)
    nr_bytes = invented.nr_frames * invented.page_nr_bytes
    assert (drawn.code, drawn.err) == (0, "")
    assert f"{nr_bytes >> 20} MiB of physical addresses" in drawn.out
    cell = invented.page_nr_bytes << invented.pageblock_order
    assert f"Cell = {cell >> 20} MiB" in drawn.out
    told = json.loads(pinpage("report", "trust", path, "--json").out)
    assert told["page_nr_bytes"] == invented.page_nr_bytes
    assert f"frames of {invented.page_nr_bytes >> 10} KiB" in pinpage("report", "trust", path).out


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize(
    "asked", [("request", "huge2m"), ("request", "offline"), ("request", "power"), ("compare",)]
)
def test_what_no_replay_knows_is_refused_in_words_that_say_what_works(
    pinpage, recorded, name, asked
):
    done = pinpage(*asked, recorded(name))
    check_one_line(done, done.code, REFUSED[name], "`pinpage report` shows it")
    assert done.code in {1, 2}


@pytest.mark.parametrize("name", BY_LAYOUT)
def test_a_large_machine_is_asked_by_its_layout(pinpage, recorded, name):
    asked = ("request", "huge2m", recorded(name), "--layout-only", "--strategy", "plan", "--json")
    shown = json.loads(pinpage(*asked).out)
    assert shown["unit"] == BY_LAYOUT[name]
    assert shown["obtained"] == shown["bound"] == 6


def test_sizes_are_given_in_bytes_and_are_whole_pages(pinpage, recorded):
    path = recorded("16 KiB")
    asked = ("request", "offline", path, "--layout-only")
    shown = json.loads(pinpage(*asked, "--block-size", "32MiB", "--json").out)
    assert (shown["wanted"], shown["obtained"]) == (8, 6)
    done = pinpage(*asked, "--block-size", "8KiB")
    check_one_line(done, 2, "--block-size '8KiB': give whole pages")


def test_free_blocks_of_four_pageblocks_are_merged(pinpage, tmp_path):
    """As where the largest free block is far larger than a pageblock."""
    directory = machine(max_order=12, free=((16 * 512, 32 * 512),), anon=(), slab=()).write(
        tmp_path / "proc"
    )
    pinpage("record", "-o", tmp_path / "a.npz", "--proc", directory)
    asked = ("request", "huge2m", tmp_path / "a.npz", "--layout-only", "--json")
    assert json.loads(pinpage(*asked).out)["obtained"] == 15  # the watermarks take one


@pytest.mark.parametrize("name", REPLAYED)
def test_what_a_replay_knows_is_asked(pinpage, recorded, name):
    """20 pageblocks are free; what is in the other ones has no better place to go to."""
    shown = json.loads(pinpage("request", "huge2m", recorded(name), "--json").out)
    assert shown["obtained"] > 0
    assert shown["bytes_lost"] == 0


def test_an_area_is_asked_by_its_name(pinpage, recorded):
    path = recorded("two areas")
    done = pinpage("request", "cma", path)
    check_one_line(
        done,
        2,
        "--area names one of the 2 areas: linux,cma (8,192 KiB at pfn 0x1000), "
        "camera (4,096 KiB at pfn 0x1800)",
    )
    check_one_line(pinpage("request", "cma", path, "--area", "x"), 2, "--area 'x' is not there")
    asked = ("request", "cma", path, "--area", "camera", "--pages", "1024", "--json")
    shown = json.loads(pinpage(*asked).out)
    assert shown["obtained"] == 1024
    assert shown["attempts"][0]["start"] == 12 * 512
    done = pinpage("request", "huge2m", path, "--area", "camera")
    check_one_line(done, 2, "--area is for cma")


def test_a_machine_has_as_many_areas_as_its_kernel_was_built_for(pinpage, tmp_path):
    areas = {f"area{nr}": (nr * 512, (nr + 1) * 512) for nr in range(8, 20)}
    pinpage(
        "record", "-o", tmp_path / "a.npz", "--proc", machine(areas=areas).write(tmp_path / "p")
    )
    asked = ("request", "cma", tmp_path / "a.npz", "--area", "area19", "--pages", "512", "--json")
    assert json.loads(pinpage(*asked).out)["obtained"] == 512


def test_an_area_in_two_zones_is_no_area(pinpage, tmp_path):
    zones = (InventedZone("DMA32", 0, 10 * 512), InventedZone("Normal", 10 * 512, 32 * 512))
    invented = machine(zones=zones, areas={"wide": (8 * 512, 12 * 512)})
    pinpage("record", "-o", tmp_path / "a.npz", "--proc", invented.write(tmp_path / "p"))
    for asked in (("request", "offline"), ("compare",)):
        done = pinpage(*asked, tmp_path / "a.npz")
        check_one_line(done, done.code, "area wide: lies at 0x1000-0x1800", "inside of one zone")


def test_areas_whose_place_is_not_known_are_asked_for(pinpage, tmp_path):
    directory = MACHINES["two areas"].write(tmp_path / "proc")
    (directory / "cma").rename(tmp_path / "elsewhere")
    pinpage("record", "-o", tmp_path / "a.npz", "--proc", directory)
    done = pinpage("request", "cma", tmp_path / "a.npz")
    check_one_line(done, 2, "no file says where", "/sys/kernel/debug/cma")


def test_memory_blocks_are_as_large_as_the_machine_has_them(pinpage, tmp_path):
    directory = machine(memory_block_nr_bytes=16 << 20).write(tmp_path / "proc")
    pinpage("record", "-o", tmp_path / "a.npz", "--proc", directory)
    shown = json.loads(pinpage("request", "offline", tmp_path / "a.npz", "--json").out)
    assert shown["wanted"] == 4
    asked = ("request", "offline", tmp_path / "a.npz", "--block-size", "32MiB", "--json")
    assert json.loads(pinpage(*asked).out)["wanted"] == 2


def test_the_command_line_is_kept_only_where_it_is_asked_for(pinpage, tmp_path):
    directory = machine().write(tmp_path / "proc")
    for options, is_kept in (((), False), (("--cmdline",), True)):
        pinpage("record", "-o", tmp_path / "a.npz", "--proc", directory, *options)
        kept = image.load(tmp_path / "a.npz").provenance.command_line
        assert bool(kept) == is_kept


def test_a_label_is_an_owner_that_can_be_declared_movable(pinpage, tmp_path):
    directory = machine(anon=((2 * 512, 8 * 512),)).write(tmp_path / "proc")
    label = ("--label", "mine=0x2800-0x2fff")
    done = pinpage("record", "-o", tmp_path / "a.npz", "--proc", directory, *label)
    assert (done.code, done.err) == (0, "")
    asked = ("request", "offline", tmp_path / "a.npz", "--block-size", "8MiB", "--json")
    shown = json.loads(pinpage(*asked).out)
    assert shown["refused_by_owner"]["mine"]
    shown = json.loads(pinpage(*asked, "--movable", "mine").out)
    assert "mine" not in shown["refused_by_owner"]
    pinpage("record", "-o", tmp_path / "b.npz", "--proc", directory)
    for name in ("request", "compare"):
        words = (name, "huge2m") if name == "request" else (name,)
        done = pinpage(*words, tmp_path / "b.npz", *label, "--movable", "mine", "--json")
        assert (done.code, done.err) == (0, "")
        done = pinpage(*words, tmp_path / "b.npz", "--label", "mine=0x1000")
        check_one_line(done, 2, "label mine: 1 of 1 frames are not the kernel's own")


def test_what_linux_moves_moves_without_being_told_to(pinpage):
    """zsmalloc has movable_operations; whoever names a design decides for himself."""
    asked = ("request", "offline", "scenario:256MiB,zsmalloc=10%", "--layout-only", "--json")
    shown = json.loads(pinpage(*asked).out)
    assert (shown["design"], shown["movable"]) == ("registry", ["zsmalloc"])
    told = json.loads(pinpage(*asked, "--movable", "none").out)
    assert told["movable"] == json.loads(pinpage(*asked, "--design", "registry").out)["movable"]
    assert told["movable"] == []
    assert shown["obtained"] > told["obtained"] == 0
