"""page_owner text: every kernel's form, hostile lines counted, rows each once."""

import lzma

import numpy as np
import pytest

from mm.state.frames import PageFlag
from pinlab.snapshot.errors import SnapshotError
from pinlab.sources.page_owner import parse_page_owner, read_page_owner
from tests.kit.pinlab.recordings import TESTS_DATA
from tests.kit.pinlab.source_texts import Asked, owner_text

RECORDS = [
    Asked(pfn=512, stack=("__alloc_pages", "zbud_alloc"), command="a) b, ts 1 ns"),
    Asked(pfn=520, order=3, flags="lru|head|uptodate", asked="Movable", pid=9),
    Asked(pfn=1030, stack=("pte_alloc_one", "__pte_alloc"), block_type="CMA"),
]


def parsed(text):
    return parse_page_owner(text.encode().split(b"\n"))


@pytest.mark.parametrize("form", ["4.9", "5.15", "6.1", "6.12"])
def test_every_kernels_form_says_the_same_of_frames(form):
    text = parsed(owner_text(RECORDS, form))
    rows = text.allocations
    assert rows.pfn.tolist() == [512, 520, 1030]
    assert rows.order.tolist() == [0, 3, 0]
    assert [rows.stack_of(number) for number in rows.stack.tolist()] == [r.stack for r in RECORDS]
    assert text.migratetype.tolist() == [0, 1, 0]
    assert text.block_type.tolist() == [0, 0, 4]
    assert text.flags[1] == sum(
        int(flag.mask) for flag in (PageFlag.LRU, PageFlag.COMPOUND_HEAD, PageFlag.UPTODATE)
    )
    assert text.nr_pages_per_block() == 512
    assert text.reading == {"records": 3}


def test_what_a_kernel_does_not_say_is_not_said():
    old = parsed(owner_text(RECORDS, "4.9")).allocations
    assert (old.of(512).pid, old.of(512).command, old.of(512).at_ns) == (None, "", None)
    new = parsed(owner_text(RECORDS, "6.1")).allocations
    asked = new.of(527)
    assert (asked.pfn, asked.order, asked.pid, asked.at_ns) == (520, 3, 9, 1520)
    assert new.of(512).command == "a) b, ts 1 ns"
    assert [new.of(pfn) for pfn in (511, 513, 528, 1031)] == [None] * 4


def test_lines_that_mean_nothing_are_counted_and_passed_over():
    text = owner_text(RECORDS)
    noise = "something else\n" + text.replace("\n\n", "\n!noise\n\n", 1)
    noise += "Page allocated via order 99, mask 0x0()\nPFN 7 type Movable Block 0 type Movable\n"
    found = parsed(noise + "PFN 9 type Movable Block 0 type Movable Flags 0x0()\n")
    assert found.reading == {"records": 3, "lines_not_read": 5}


@pytest.mark.parametrize(
    ("more", "counted"),
    [
        ("Page allocated via order 0, mask 0x0()\n\n", "records_cut"),
        (Asked(pfn=1 << 40).text(), "records_impossible"),
        (Asked(pfn=513, order=1).text(), "records_impossible"),
        (Asked(pfn=521).text(), "records_twice"),
        (Asked(pfn=512, stack=("later",)).text(), "records_twice"),
    ],
)
def test_records_that_cannot_be_are_counted(more, counted):
    found = parsed(owner_text(RECORDS) + more)
    assert {name for name, nr in found.reading.items() if nr} == {"records", counted}
    assert found.reading[counted] == 1
    found.allocations.check(2048, "x")
    assert found.allocations.pfn.tolist() == [512, 520, 1030]
    if counted == "records_twice" and "later" in more:
        assert found.allocations.of(512).stack == ("later",)


def test_a_text_that_is_cut_keeps_what_came_before(tmp_path):
    path = tmp_path / "a"
    packed = lzma.compress(owner_text(Asked(pfn=pfn) for pfn in range(9000)).encode())
    path.write_bytes(packed[: len(packed) // 2])
    found = read_page_owner(path)
    assert found.reading["files_cut_short"] == 1
    assert 100 < found.reading["records"] < 9000
    assert np.array_equal(found.allocations.pfn, np.arange(len(found.allocations)))


def test_no_record_is_one_line(tmp_path):
    path = tmp_path / "a"
    path.write_text("nothing\n" * 200_000)
    with pytest.raises(SnapshotError, match=r"no record in 65,536 lines .*copy page_owner whole"):
        read_page_owner(path)


def test_a_command_that_a_terminal_would_obey_is_made_plain():
    found = parsed(Asked(pfn=0, command="\x1b[31m").text())
    assert found.allocations.of(0).command == "?[31m"
    again = type(found.allocations).from_form(found.allocations.to_form(), 1, "x")
    assert again.of(0) == found.allocations.of(0)


def test_a_recorded_text():
    found = read_page_owner(TESTS_DATA / "page_owner-6.1.xz")
    assert found.reading == {"records": 924}
    assert found.nr_pages_per_block() == 512
    zbud = sum(
        "zbud_zpool_malloc" in found.allocations.stack_of(number)
        for number in found.allocations.stack.tolist()
    )
    assert zbud == 111 + 10 + 357
