"""page-types: -l, -L, -r and -M say what kpageflags says, or as much of it as is shown."""

import numpy as np
import pytest

from mm.state.frames import PageFlag
from pinlab.snapshot.errors import SnapshotError
from pinlab.sources.page_types import parse_page_types
from tests.kit.pinlab.source_texts import types_text

RESERVED, HEAD, TAIL = (
    int(PageFlag[name].mask) for name in ("RESERVED", "COMPOUND_HEAD", "COMPOUND_TAIL")
)
ALL = [int(flag.mask) for flag in PageFlag if flag != PageFlag.MLOCKED]
FLAGS = np.array(
    [0, 0, *ALL, *[ALL[5] | ALL[12]] * 40, HEAD | ALL[5], *[TAIL] * 3, RESERVED], dtype=np.uint64
)


def spread(text):
    flags = np.zeros(len(FLAGS), dtype=np.uint64)
    for pfn, nr_pages, word in zip(text.pfn, text.nr_pages, text.flags, strict=True):
        flags[pfn : pfn + nr_pages] = word
    return flags


def parsed(text):
    return parse_page_types(text.encode().split(b"\n"))


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("mapped", [True, False])
def test_raw_flags_come_back_bit_by_bit(ranges, mapped):
    mappings = np.arange(len(FLAGS)) // 7 if mapped else None
    text = parsed(types_text(FLAGS, mappings, ranges=ranges))
    assert np.array_equal(spread(text), FLAGS)
    assert text.is_raw
    assert not text.reading["lines_not_read"]
    assert "totals_apart" not in text.reading
    if mapped:
        assert np.array_equal(np.repeat(text.mappings, text.nr_pages), mappings)
    else:
        assert (text.mappings == -1).all()


def test_without_raw_reserved_pages_and_the_shape_of_most_compounds_are_hidden():
    text = parsed(types_text(FLAGS, raw=False))
    hidden = np.uint64(RESERVED | HEAD | TAIL)
    assert np.array_equal(spread(text), FLAGS & ~hidden)
    assert not text.is_raw


def test_letters_of_older_versions_stand_elsewhere():
    """Before v5.1 no letter for offline or page tables: what follows stands further left."""
    row = "_" * 23 + "_i" + "r_dPpOhcf"
    text = parsed(f"offset\tlen\tflags\n10\t2\t{row}\n")
    assert text.flags.tolist() == [int(PageFlag.IDLE.mask | PageFlag.RESERVED.mask)]


def test_a_cgroup_and_an_address_before_the_page_are_no_page():
    row = "_" * 32
    title = "voffset\tcgroup\tmap-cnt\toffset\tlen\tflags"
    text = parsed(f"{title}\n7f00\t@12\t3\t10\t2\t{row}\n")
    assert (text.pfn.tolist(), text.nr_pages.tolist(), text.mappings.tolist()) == ([16], [2], [3])


@pytest.mark.parametrize(
    ("line", "counted"),
    [
        ("10\t0\t" + "_" * 32, "rows_impossible"),
        ("ffffffffffffff\t1\t" + "_" * 32, "rows_impossible"),
        ("10\t1\t" + "Q" + "_" * 31, "rows_impossible"),
        ("0x10\t1\t" + "_" * 32, "rows_impossible"),
        ("10\t1\t" + "_" * 31 + "w", "rows_of_swap"),
        ("0\t1\t" + "_" * 32, "rows_twice"),
        ("nothing", "lines_not_read"),
    ],
)
def test_rows_that_cannot_be_are_counted(line, counted):
    text = parsed("0\t4\t" + "_" * 32 + f"\n{line}\n")
    assert text.reading[counted] == 1
    assert (text.pfn.tolist(), text.nr_pages.tolist()) == ([0], [4])


def test_a_list_that_its_own_summary_denies_is_counted():
    lines = types_text(FLAGS).split("\n")
    text = parsed("\n".join([lines[0], *lines[2:]]))
    assert text.reading["totals_apart"] == 2


def test_no_row_is_one_line():
    with pytest.raises(SnapshotError, match="no row in 65,536 lines"):
        parsed("x\n" * 100_000)
