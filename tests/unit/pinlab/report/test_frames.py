"""Everything about a frame: what the columns say, in words, and runs of like frames."""

import json

import pytest
from attrs import evolve

from pinlab.report.frames import as_json, as_text, frames_of, parse_range
from pinpage.errors import PinpageError
from pinpage.units import Span
from tests.kit.pinlab.blocks import BLOCK, machine_of
from tests.kit.pinlab.recordings import IN_TESTS
from tests.kit.pinlab.small import NR_FRAMES, small_recording


def test_runs_of_like_frames_cover_the_range_once():
    for snapshot in (small_recording(), IN_TESTS["gup2-cmphuge-seed1"]()):
        span = Span(100, NR_FRAMES - 1)
        found = frames_of(snapshot, span)
        reached = span.start
        for row in found.rows:
            assert row.first == reached
            reached = row.last + 1
        assert reached == span.stop
        assert sum(found.owners.values()) == span.nr_pages


def test_what_is_said_of_one_frame():
    snapshot = machine_of([["slab", "mine"], []])
    slab, mine, anon = (frames_of(snapshot, Span(pfn, pfn + 1)).rows[0] for pfn in range(3))
    assert (slab.owner, slab.state, slab.moves, slab.references) == ("slab", "used", False, 1)
    assert (mine.owner, mine.moves) == ("mine", False)
    assert (anon.owner, anon.moves, anon.pinned) == ("anon", True, False)
    free = frames_of(snapshot, Span(BLOCK // 2, BLOCK // 2 + 1)).rows[0]
    assert (free.owner, free.moves, free.order) == ("free", None, 8)


def test_a_pinned_frame_is_pinned_and_stays():
    snapshot = IN_TESTS["gup2-cmphuge-seed1"]()
    pfn = int(snapshot.pinned_pfns[0])
    row = frames_of(snapshot, Span(pfn, pfn + 1)).rows[0]
    assert (row.owner, row.pinned, row.moves) == ("gup", True, False)
    assert "anon" in row.flags
    assert row.references > 1024


def test_the_pageblocks_that_a_range_touches_are_named():
    found = frames_of(machine_of([[]] * 6), Span(BLOCK - 1, 5 * BLOCK + 1))
    assert list(found.pageblocks) == [0, 1, 2, 3, 4, 5]
    assert "and 2 more" in as_text(found)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0x", "is no pfn"),
        ("5-", "is no pfn"),
        ("9-5", "give 5-9"),
        ("0-0x1000000", "is not within 0 to 0xfff"),
        ("4096", "is not within 0 to 0xfff"),
    ],
)
def test_a_range_that_is_none_is_refused(text, words):
    with pytest.raises(PinpageError, match=words):
        parse_range(text, 4096)


def test_more_frames_than_anybody_reads_are_refused():
    with pytest.raises(PinpageError, match="more than 1,048,576 frames"):
        parse_range("0-0x100000", 1 << 30)


def test_the_text_is_narrow_and_the_json_is_plain():
    for snapshot in (small_recording(), IN_TESTS["gup2-cmphuge-seed1"]()):
        found = frames_of(snapshot, Span(0, NR_FRAMES))
        assert max(map(len, as_text(found).splitlines())) < 80
        assert json.loads(json.dumps(as_json(found)))["span"] == [0, NR_FRAMES]
    assert "more runs of like frames" in as_text(found)


def test_a_run_ends_where_anything_differs():
    snapshot = machine_of([["slab"] * 4, []])
    references = snapshot.refcount.copy()
    references[2] = 7
    rows = frames_of(evolve(snapshot, refcount=references), Span(0, 4)).rows
    assert [(row.first, row.last, row.references) for row in rows] == [
        (0, 1, 1), (2, 2, 7), (3, 3, 1),
    ]  # fmt: skip
