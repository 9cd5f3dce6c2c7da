"""What a recording says beside what its kernel said: nothing is counted twice or made up."""

import json
import re

import pytest
from attrs import evolve

from pinlab.procfs.capture import capture
from pinlab.report.trust import Bound, TrustRow, as_json, as_text, trust_of, unknown_in_words
from pinlab.snapshot.bundled import bundled
from pinlab.snapshot.classes import FrameClass
from tests.kit.pinlab.proc_folder import MACHINES, InventedZone, machine
from tests.kit.pinlab.small import small_recording

BLOCK = 512


def rows_of(snapshot):
    return {row.use: row for row in trust_of(snapshot).rows}


def uncertain(**changes):
    """Of 32 pageblocks: 8 never managed, 4 of unknown use, of which 30 frames are on lists."""
    figures = {
        "zones": (InventedZone("Normal", 0, 32 * BLOCK, on_lists=(10, 20)),),
        "free": ((BLOCK + 100, 2 * BLOCK), (8 * BLOCK, 16 * BLOCK)),
        "anon": ((2 * BLOCK, 8 * BLOCK),),
        "slab": ((BLOCK, BLOCK + 100), (20 * BLOCK, 24 * BLOCK)),
        "late": ((24 * BLOCK, 32 * BLOCK),),
    }
    return machine(**(figures | changes))


def test_what_is_on_lists_or_not_managed_is_not_of_unknown_use(tmp_path):
    rows = rows_of(capture(uncertain().write(tmp_path)))
    assert rows["on per-CPU lists"].recorded == rows["on per-CPU lists"].zoneinfo == 30
    assert rows["not managed"].recorded == rows["not managed"].zoneinfo == 8 * BLOCK
    assert rows["unknown"].recorded == 4 * BLOCK - 30


def test_the_line_before_the_table_tells_how_its_number_comes_about(tmp_path):
    snapshot = capture(uncertain(late=()).write(tmp_path))
    nr_unknown = snapshot.nr_frames_of(FrameClass.UNKNOWN)
    rows = rows_of(snapshot)
    assert nr_unknown == rows["unknown"].recorded + 30
    said = f"{nr_unknown:,d} of unknown use, 30 of them free on per-CPU lists"
    assert unknown_in_words(snapshot) == said
    assert unknown_in_words(bundled()) == "0 of unknown use"


def test_the_totals_stand_beside_each_other(tmp_path):
    rows = rows_of(capture(uncertain(page_nr_bytes=16 << 10).write(tmp_path)))
    managed = 32 * BLOCK - BLOCK - 8 * BLOCK
    assert (rows["managed"].zoneinfo, rows["managed"].meminfo) == (managed, managed)
    assert (rows["memory"].recorded, rows["memory"].zoneinfo) == (32 * BLOCK, 32 * BLOCK)
    free = 9 * BLOCK - 100
    assert (rows["free"].recorded, rows["free"].zoneinfo, rows["free"].meminfo) == (free,) * 3
    assert (rows["anonymous"].recorded, rows["anonymous"].meminfo) == (6 * BLOCK, 6 * BLOCK)
    assert rows["page cache"].meminfo is None


@pytest.mark.parametrize("name", MACHINES)
def test_every_frame_is_counted_once(tmp_path, name):
    every_frame_once(capture(MACHINES[name].write(tmp_path)))


def test_every_frame_of_a_recording_made_inside_the_kernel_is_counted_once():
    every_frame_once(bundled())
    every_frame_once(small_recording())


def test_every_frame_is_counted_once_where_the_lists_hold_more_than_is_unknown(tmp_path):
    """The files are not of one instant: more frames can be on lists than look like it."""
    zones = (InventedZone("Normal", 0, 32 * BLOCK, on_lists=(9000,)),)
    snapshot = capture(uncertain(zones=zones).write(tmp_path))
    every_frame_once(snapshot)
    assert rows_of(snapshot)["unknown"].recorded == 0


def every_frame_once(snapshot):
    total, *others = trust_of(snapshot).rows
    assert sum(row.recorded or 0 for row in others) == total.recorded
    assert all((row.recorded or 0) >= 0 for row in others)


def test_what_a_kernel_does_not_count_is_left_open(tmp_path):
    directory = uncertain().write(tmp_path)
    text = re.sub(r" +(managed|count:|cma) .*\n", "", (directory / "zoneinfo").read_text())
    (directory / "zoneinfo").write_text(text)
    (directory / "meminfo").unlink()
    rows = rows_of(capture(directory))
    assert (rows["managed"].zoneinfo, rows["managed"].meminfo) == (None, None)
    assert (rows["on per-CPU lists"].recorded, rows["on per-CPU lists"].zoneinfo) == (None, None)
    assert rows["unknown"].recorded == 12 * BLOCK


def test_bounds_with_the_unknown_staying_and_moving(tmp_path):
    """Eight pageblocks are free, six can move into them, of four nothing is known."""
    trust = trust_of(capture(uncertain(memory_block_nr_bytes=8 << 20).write(tmp_path)))
    assert trust.bounds == (
        Bound("pageblock", BLOCK, 8, 8),
        Bound("memory block", 4 * BLOCK, 2, 2),
    )


def test_the_unknown_makes_the_difference_where_all_else_has_slab_in_it(tmp_path):
    spans = [(nth * BLOCK, nth * BLOCK + 1) for nth in range(8, 16)]
    few = uncertain(
        free=tuple((stop, stop + BLOCK - 1) for _, stop in spans),
        anon=(),
        slab=(*spans, (BLOCK, 8 * BLOCK), (20 * BLOCK, 24 * BLOCK)),
    )
    (bound, _) = trust_of(capture(few.write(tmp_path))).bounds
    assert (bound.unknown_stays, bound.unknown_moves) == (0, 4)


def test_a_sentence_for_each_thing_that_limits_it(tmp_path):
    directory = uncertain().write(tmp_path)
    (directory / "pagetypeinfo").unlink()
    text = " ".join(as_text(trust_of(capture(directory, look_twice=True))).split())
    assert "0 frames changed their use while it was taken." in text
    assert "No file says how large a pageblock is; the usual is assumed." in text
    assert "can be emptied if what is unknown stays" in text
    assert "Room elsewhere for what would move is not counted in that" in text
    assert "changed" not in as_text(trust_of(capture(directory)))


def test_json_has_the_same(tmp_path):
    trust = trust_of(capture(uncertain().write(tmp_path)))
    shown = json.loads(json.dumps(as_json(trust)))
    assert shown["rows"][0] == {
        "use": "memory", "recorded": 32 * BLOCK, "zoneinfo": 32 * BLOCK, "meminfo": None,
    }  # fmt: skip
    assert shown["bounds"][0]["unknown_stays"] == trust.bounds[0].unknown_stays


def test_ballooned_frames_are_a_use_of_their_own(tmp_path):
    directory = uncertain().write(tmp_path)
    with (directory / "kpageflags").open("r+b") as file:
        file.seek(16 * BLOCK * 8)
        file.write((1 << 23).to_bytes(8, "little") * 40)
    snapshot = capture(directory)
    assert rows_of(snapshot)["ballooned"].recorded == 40
    assert snapshot.nr_frames_of(FrameClass.OTHER) == 40
    assert rows_of(snapshot)["other, of the kernel"].recorded == 0


def lines_of(trust):
    return as_text(trust).split("\n\n")[1]


def test_no_sentence_is_wider_than_a_mail(tmp_path):
    for snapshot in (capture(uncertain().write(tmp_path)), small_recording()):
        assert max(map(len, as_text(trust_of(snapshot)).split("\n"))) < 80


def test_totals_agree_within_the_drift_or_the_text_says_by_how_much_not_and_why(tmp_path):
    directory = uncertain().write(tmp_path)
    meminfo = (directory / "meminfo").read_text()
    (directory / "meminfo").write_text(re.sub("Slab: *[0-9]+", "Slab: 0", meminfo))
    trust = trust_of(capture(directory))
    slab = next(row for row in trust.rows if row.use == "slab")
    apart = lines_of(trust)
    assert slab.recorded > trust.drift_nr_pages
    assert f"slab: {slab.recorded:,d} more than the kernel counts" in " ".join(apart.split())
    agreed = evolve(trust, drift_nr_pages=10**6)
    assert re.search(r"All [0-9]+ totals agree with the kernel's within that", lines_of(agreed))
    assert "more than the kernel counts" not in lines_of(agreed)


def test_memory_that_is_yet_to_be_initialised_is_why_meminfo_counts_more(tmp_path):
    late = trust_of(capture(uncertain(is_late_counted=True).write(tmp_path)))
    words = " ".join(lines_of(late).split())
    assert "managed: 4,096 fewer than meminfo counts (16 MiB); MemTotal counts what the" in words
    assert "free: 4,096 fewer than the kernel counts (16 MiB); so does MemFree." in words
    without = evolve(late, rows=tuple(row for row in late.rows if row.use != "managed"))
    assert "MemFree" not in lines_of(without)
    managed, free = (
        next(row for row in late.rows if row.use == use) for use in ("managed", "free")
    )
    more = evolve(late, rows=(evolve(managed, zoneinfo=managed.meminfo + 99), free))
    said = " ".join(lines_of(more).split())
    assert "managed: 99 more than meminfo counts (396 KiB); memory came or went" in said
    assert "free: 4,096 fewer than the kernel counts (16 MiB); memory was taken" in said


def test_memory_that_is_not_the_allocators_is_said_to_be_so():
    row = TrustRow("not managed", 262_144, 262_144)
    trust = evolve(trust_of(small_recording()), rows=(row,))
    words = " ".join(lines_of(trust).split())
    assert "not managed: 262,144 frames (1 GiB), present, and not the allocator's" in words
    none = evolve(trust, rows=(evolve(row, recorded=0),))
    assert "not managed" not in lines_of(none)


def test_without_zoneinfo_nothing_is_said_of_the_files_disagreeing():
    trust = trust_of(evolve(small_recording(), zones=()))
    free = next(row for row in trust.rows if row.use == "free")
    assert free.zoneinfo is None
    assert "disagree" not in lines_of(trust)
