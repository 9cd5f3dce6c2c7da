"""Files from somebody else: bounded before they are inflated, parsed or built, one line each.

`make fuzz` draws such files for as long as one likes; the first few of each kind are drawn here.
"""

import json
import os
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from attrs import evolve

from pinlab.described.synthetic import describe_machine
from pinlab.files import npz
from pinlab.files.available import nr_bytes_available
from pinlab.files.careful import awry, load_json, one_line, read_bytes
from pinlab.procfs.iomem import parse_iomem
from pinlab.procfs.proc_text import parse_pagetypeinfo, parse_zones
from pinlab.replay.corpus import Corpus
from pinlab.replay.replay import replay_layout
from pinlab.replay.replayable import (
    MAX_NR_FURTHER_MAPPINGS,
    MAX_NR_PROCESSES,
    check_replayable,
    nr_swap_slots,
)
from pinlab.requests import reasons
from pinlab.requests.fidelity import find_cases
from pinlab.snapshot import form, image
from pinlab.snapshot.classes import FrameClass
from pinlab.snapshot.errors import SnapshotError
from pinlab.snapshot.open import open_snapshot
from pinpage.errors import PinpageError
from pinpage.units import Span
from tests.kit.pinlab.hostile_files import KINDS, run_case
from tests.kit.pinlab.small import NR_FRAMES, small_recording

ROOT = Path(__file__).resolve().parents[3]
PEAK = """
import re, sys
from pinlab.snapshot.open import open_snapshot
try: open_snapshot(sys.argv[1])
except ValueError: pass
print(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
"""


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_hostile_files_of_each_kind(kind, tmp_path):
    ends = set()
    for number in range(12):
        folder = tmp_path / str(number)
        folder.mkdir()
        ends.add(run_case(kind, number, folder))
    assert len(ends) > 1, "draws nothing but the same"


# Sizes, before anything is inflated.


def member(shape, descr="'<u8'", data=b""):
    """An array's bytes under a header that may claim anything."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


def zipped(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


def saved(path, columns=None, **facts):
    """The small recording, written whatever is wrong with it."""
    header, there = small_recording().to_form()
    form.write(path, header | facts, there | (columns or {}))
    return path


def refused(path, *words):
    with pytest.raises(SnapshotError) as caught:
        open_snapshot(path)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(str(path))
    for word in words:
        assert word in line


def peak_nr_bytes(path):
    """The most memory that a process of its own takes to open a file, or to refuse it."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, path], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return int(done.stdout) << 10


def test_a_small_file_that_would_inflate_to_much_costs_little(tmp_path):
    """128 MiB of zeros in 128 KiB: beside the columns, in place of one, as the header."""
    zeros = np.zeros(1 << 27, dtype=np.uint8)
    plain = peak_nr_bytes(saved(tmp_path / "a.npz"))
    bombs = {
        "extra": saved(tmp_path / "extra.npz", {"extra": zeros}),
        "flags": saved(tmp_path / "flags.npz", {"flags": zeros.view(np.uint64)}),
        "header": zipped(tmp_path / "h.npz", header=member("(134217728,)", "'|u1'", zeros.data)),
        "meta": zipped(tmp_path / "m.npz", meta_json=member("()", "'<U33554432'", zeros.data)),
    }
    for path in bombs.values():
        assert path.stat().st_size < 1 << 18
        assert peak_nr_bytes(path) < plain + (32 << 20)
    refused(bombs["extra"], "extra", "more than 3,484 frames justify")
    refused(bombs["flags"], "flags", "more than 3,484 frames justify")
    refused(bombs["header"], "header", "more than any header has")


def test_many_columns_are_no_way_around_the_bound(tmp_path):
    columns = {f"c{i}": np.zeros(NR_FRAMES) for i in range(20)}
    refused(saved(tmp_path / "a.npz", {n: c.view("<u8") for n, c in columns.items()}), "columns")


def test_more_frames_than_are_read_or_fit_are_refused_unread(tmp_path, monkeypatch):
    with pytest.raises(SnapshotError, match="more than the 536,870,912 that are read"):
        npz.require_frames(npz.MAX_NR_FRAMES_READ + 1, "a.npz")
    monkeypatch.setattr(npz, "nr_bytes_available", lambda: 1 << 16)
    refused(saved(tmp_path / "a.npz"), "state", "are available", "use a larger machine")
    with pytest.raises(PinpageError, match="use a larger machine"):
        describe_machine("scenario:16MiB")


def test_the_limit_of_the_process_counts_as_memory(tmp_path):
    unlimited = nr_bytes_available(tmp_path / "nowhere")
    assert unlimited is None or resource.getrlimit(resource.RLIMIT_AS)[0] > 0
    program = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "from pinlab.files.available import nr_bytes_available; print(nr_bytes_available())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert 0 < int(done.stdout) < 1 << 30


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is no array"),
        (member("(3,)", "'|O'"), "is no array"),
        (member("(3,)", "'<M8[s]'", bytes(24)), "is no array"),
        (member("(3,)", "[('a', '<u8')]", bytes(24)), "is no array"),
        (member("(3,)", "'<u3'", bytes(24)), "is no array"),
        (member("(-3,)"), "is no array"),
        (member("(3,)" + " " * 20_000), "is no array"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(5000), "is no array"),
        (member("(3,)", data=bytes(23)), "says 24 bytes"),
        (member("(3,)", data=bytes(25)), "says 24 bytes"),
        (member("(99999999999999,)"), "says 799,999,999,999,992 bytes"),
    ],
    ids=range(11),
)
def test_a_member_that_is_no_array_or_of_another_size(tmp_path, content, words):
    refused(zipped(tmp_path / "a.npz", header=content), "array header", words)


def test_a_name_used_twice_and_a_packing_that_takes_memory(tmp_path):
    path = zipped(tmp_path / "a.npz", header=member("(0,)"))
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("header.npy", b"")
    refused(path, "array header", "is there twice")
    path = tmp_path / "b.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("header.npy", member("(0,)"))
    refused(path, "neither stored nor deflated")


def test_a_directory_of_a_hundred_thousand_names_is_not_read(tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(20_000):
            archive.writestr(f"{number:060d}", b"")
    refused(path, "file", "a directory of")


def test_an_array_stored_by_columns_is_read_as_it_was(tmp_path):
    np.savez(tmp_path / "a.npz", grid=np.asfortranarray(np.arange(6).reshape(2, 3)))
    with npz.opened(tmp_path / "a.npz") as archive:
        assert archive.read("grid").tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.npz")
    refused(tmp_path / "a.npz", "is not a regular file")
    with pytest.raises(OSError, match="is not a regular file"):
        read_bytes(tmp_path / "a.npz")
    (tmp_path / "large").write_bytes(bytes(11))
    with pytest.raises(OSError, match="larger than the 10 bytes"):
        read_bytes(tmp_path / "large", 10)


# What a header says.


def test_json_nested_too_deeply_is_an_error_like_any_other():
    with pytest.raises(ValueError, match="too deeply"):
        load_json("[" * 100_000)
    assert awry(load_json("[" * 40 + "]" * 40)) == ("[0]" * 33, "is nested too deeply")


@pytest.mark.parametrize("value", ["\ud800", "\x1b[2J", "a\nb", 1 << 63, float("nan"), 1e300])
def test_what_cannot_be_printed_or_counted_is_found_wherever_it_is(value, tmp_path):
    assert awry({"a": [0, {"b": value}]}) is not None
    found = awry({"a": [0, {"b": value}]}) or ("", "")
    assert found[0] == "a[1].b"
    header, columns = small_recording().to_form()
    header["provenance"]["parameters"] = {"x": value}
    form.write(tmp_path / "a.npz", header, columns)
    refused(tmp_path / "a.npz", "header provenance.parameters.x")


def test_lines_and_long_messages():
    assert awry("two\nlines", lines=True) is None
    assert awry("two\x07lines", lines=True) is not None
    assert len(one_line("x" * 10**6)) < 2100


def with_zone(**facts):
    snapshot = small_recording()
    return evolve(snapshot, zones=(evolve(snapshot.zones[0], **facts),))


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"low": 19}, "out of order"),
        ({"high": 24}, "out of order"),
        ({"min": -1}, "min=-1"),
        ({"managed": NR_FRAMES + 1}, "manages"),
        ({"present": NR_FRAMES + 1}, "manages"),
        ({"start_pfn": (1 << 52) - 5}, "beyond any memory"),
        ({"start_pfn": -1}, "start_pfn"),
        ({"lowmem_reserve": (0, -1)}, "lowmem_reserve"),
        ({"nr_free_blocks": (0,) * 65}, "nr_free_blocks"),
        ({"nr_blocks_of_type": {"Movable": -1}}, "Movable"),
        ({"node": 1024}, "node outside"),
        ({"name": ""}, "no name"),
        ({"name": "a\x00"}, "no name"),
        ({"name": "a" * 33}, "no name"),
    ],
)
def test_a_zone_that_no_machine_has_is_named(facts, words):
    with pytest.raises(SnapshotError, match=r"SN9 .*" + words):
        with_zone(**facts).check()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"zones": small_recording().zones * 256}, "there are 256"),
        ({"ram": (Span(0, 9), Span(8, 12))}, "SN10"),
        ({"ram": (Span(0, (1 << 52) + 1),)}, "SN10"),
        ({"nr_pages_per_block": 8}, "not within 16 to 65536"),
        ({"nr_pages_per_block": 1 << 17}, "not within 16 to 65536"),
        ({"mapcount": np.full(NR_FRAMES, -2, dtype=np.int32)}, "SN8"),
    ],
)
def test_facts_beyond_any_machine_are_named(changes, words):
    with pytest.raises(SnapshotError, match=words):
        evolve(small_recording(), **changes).check()


def test_what_is_saved_can_be_loaded_again(tmp_path):
    snapshot = small_recording()
    odd = evolve(snapshot, provenance=evolve(snapshot.provenance, scenario="a\x1bb"))
    with pytest.raises(SnapshotError, match=r"header provenance\.scenario"):
        image.save(odd, tmp_path / "a.npz")
    with pytest.raises(SnapshotError, match="none of compact, request"):
        open_snapshot(saved(tmp_path / "a.npz", after="later"))
    with pytest.raises(SnapshotError, match="output: is a directory"):
        image.save(snapshot, Path())


# What a replay makes of it.


def mapped(nr_times, nr_pages=1):
    snapshot = small_recording()
    mapcount = snapshot.mapcount.copy()
    mapcount[np.flatnonzero(snapshot.klass == FrameClass.ANON)[:nr_pages]] = nr_times
    return evolve(snapshot, mapcount=mapcount)


def replayed(snapshot):
    return replay_layout(snapshot, Corpus.build(nr_pages=64))


def test_mappings_are_made_one_by_one_up_to_a_bound():
    done = replayed(mapped(700, nr_pages=2))
    done.machine.check()
    spaces = [space for space in done.machine.rmap.spaces if space.kind == "process"]
    assert len(spaces) == 700
    assert [space.nr_vpns for space in spaces[5:]] == [2] * 695
    with pytest.raises(SnapshotError, match=r"1,000,000 times; up to 32,768"):
        check_replayable(mapped(1_000_000))
    check_replayable(mapped(MAX_NR_PROCESSES))
    each = MAX_NR_PROCESSES
    with pytest.raises(SnapshotError, match="shares anonymous pages"):
        check_replayable(mapped(each, nr_pages=MAX_NR_FURTHER_MAPPINGS // each + 2))


def test_swap_beyond_what_can_be_told_apart_is_not_made():
    disk = 1 << 31
    snapshot = evolve(small_recording(), workload={"swap_size_kb": disk, "zswap_stored_pages": 400})
    assert nr_swap_slots(snapshot, 400) == 4 * (NR_FRAMES + 400)
    (area,) = replayed(snapshot).machine.swap.areas.values()
    assert area.nr_slots == 4 * (NR_FRAMES + 400)
    assert nr_swap_slots(evolve(snapshot, workload={"swap_size_kb": 4000}), 400) == 1000
    assert nr_swap_slots(evolve(snapshot, workload={"swap_size_kb": -7}), 400) == 501


@pytest.mark.parametrize(
    ("snapshot", "words"),
    [
        (with_zone(start_pfn=500), "manages 3,384 pages, of which 2,984 are there"),
        (with_zone(managed=512, present=512, spanned=512), "outside of every zone"),
        (with_zone(node=256), "beyond the 256"),
    ],
)
def test_zones_that_do_not_fit_the_frames_are_not_replayed(snapshot, words):
    snapshot.check()
    with pytest.raises(SnapshotError, match=words):
        replayed(snapshot)


@pytest.mark.parametrize("nr_pages", [16, 1 << 14])
def test_pageblocks_of_another_size_are_replayed_up_to_what_any_kernel_has(nr_pages):
    nr_blocks = -(-NR_FRAMES // nr_pages)
    blocks = {
        "block_migratetype": np.ones(nr_blocks, dtype=np.uint8),
        "block_skip": np.zeros(nr_blocks, dtype=np.bool_),
    }
    other = evolve(small_recording(), nr_pages_per_block=nr_pages, **blocks)
    other.check()
    if nr_pages == 16:
        assert replayed(other)
    else:
        with pytest.raises(SnapshotError, match="is 16384, and at most 8192 are replayed"):
            replayed(other)


# Texts.

ZONE = (
    "Node 0, zone   Normal\n  pages free 1\n        boost 0\n        min 1\n        low 2\n"
    "        high 3\n        spanned 64\n        present 64\n        managed 60\n"
    "  start_pfn: 0\n"
)


def test_lines_of_proc_that_cannot_be_are_named_with_file_and_line():
    for text, words in (
        (ZONE.replace("min 1", "min " + "1" * 5000), r"zoneinfo: line 4: .*no number"),
        (ZONE + "        protection: (0, ,)\n", r"zoneinfo: line 11: '' is no number"),
        (ZONE.replace("Node 0", "Node " + "1" * 5000), r"zoneinfo: line 1: "),
        (ZONE.replace("boost 0", "boost 2"), "min=-1"),
        (ZONE.replace("managed 60", "managed 65"), "manages"),
        (ZONE.replace("Normal", "Nor\x07mal"), "no name"),
    ):
        with pytest.raises(SnapshotError, match=words):
            parse_zones(text)
    with pytest.raises(SnapshotError, match=r"^buddyinfo: line 2: '-1' is no number"):
        parse_zones(ZONE, "\nNode 0, zone   Normal -1\n")
    with pytest.raises(SnapshotError, match=r"^pagetypeinfo: line 2: "):
        parse_pagetypeinfo("Number of blocks type Movable\nNode 0, zone Normal 1e3\n")
    for text in ("0-" + "f" * 17, "zz-ff", "2000-1000", "ff"):
        with pytest.raises(SnapshotError, match="iomem: line 1: "):
            parse_iomem(f"{text} : System RAM\n")


def test_blanks_by_the_hundred_thousand_cost_a_pass_and_no_more():
    blanks = "\n" * 300_000 + " " * 300_000
    assert parse_zones(blanks + "\n" + ZONE + blanks)[0].managed == 60
    assert parse_iomem(blanks + "\n1000-1fff : System RAM\n" + blanks) == (Span(1, 2),)
    with pytest.raises(SnapshotError, match="no number"):
        parse_zones(ZONE, f"Node 0, zone {blanks[300_000:]}Normal {blanks[300_000:]}x\n")


def test_zones_without_memory_are_left_out_where_there_are_too_many():
    empty = ZONE.replace("64", "0").replace("60", "0")
    assert len(parse_zones(empty * 5 + ZONE)) == 6
    assert len(parse_zones(empty * 300 + ZONE)) == 1
    with pytest.raises(SnapshotError, match="there are 256"):
        parse_zones(ZONE * 256)


def test_ram_inside_ram_is_listed_once():
    assert parse_iomem("1000-8fff : System RAM\n  2000-2fff : System RAM\n") == (Span(1, 9),)
    text = "1000-1fff : System RAM\n2000-2fff : System RAM\n"
    assert parse_iomem(text) == (Span(1, 2), Span(2, 3)), "neighbours stay two"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("12MiB,scatter=1GiB", "scatter='1GiB': give an amount such as 5%"),
        ("99999999999999999999TiB", "size="),
        ("1023TiB", "more than the 536,870,912 that are read"),
        ("12MiB,reserved=99999TiB", "is more than all"),
        ("12MiB,nodes=²", "nodes=²: give a whole number"),
        ("2GiB,nodes=255", "nodes=255: give 254 at most"),
        ("8MiB,anon=" + "9" * 5000 + "%", "anon="),
    ],
)
def test_a_description_beyond_bounds_is_refused_before_anything_is_made(text, words):
    with pytest.raises(PinpageError) as caught:
        describe_machine(f"scenario:{text}")
    assert words in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_description_nested_too_deeply(tmp_path):
    (tmp_path / "a.toml").write_text("a = " + "[" * 100_000)
    with pytest.raises(PinpageError, match="is not TOML"):
        describe_machine(str(tmp_path / "a.toml"))


def test_a_report_that_is_awry():
    for text in ("[" * 100_000, json.dumps({"refused_by_owner": {"\ud800": {"pinned": 1}}})):
        with pytest.raises(PinpageError, match=r"^a\.json: "):
            reasons.read(text, "a.json")


def test_a_name_too_long_for_any_file_is_one_line():
    name = "a" * 5000
    with pytest.raises(SnapshotError, match="cannot be read"):
        open_snapshot(name)
    with pytest.raises(PinpageError, match="too long; give another folder"):
        find_cases(Path(name))
    with pytest.raises(PinpageError, match="too long; give the path"):
        describe_machine(f"{name}.toml")
