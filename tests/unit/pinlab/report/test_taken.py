"""Since when a frame is held and by which function: what page_owner kept, frame by frame."""

import numpy as np
import pytest
from attrs import evolve

from pinlab.report.frames import as_json, as_text, frames_of
from pinlab.report.taken import asker_of, taken_in
from pinlab.snapshot.allocations import Allocations
from pinlab.sources.redact import redacted
from pinpage.units import Span
from tests.kit.pinlab.blocks import machine_of
from tests.kit.pinlab.small import small_recording


def allocations_of(rows):
    """Rows are (pfn, order, at_ns, functions); nobody is named."""
    symbols = list(dict.fromkeys(name for *_, stack in rows for name in stack))
    starts = np.cumsum([0, *(len(stack) for *_, stack in rows)])
    nobody = np.full(len(rows), -1, dtype=np.int32)
    return Allocations(
        pfn=np.array([row[0] for row in rows], dtype=np.uint32),
        order=np.array([row[1] for row in rows], dtype=np.uint8),
        gfp_mask=np.zeros(len(rows), dtype=np.uint32),
        at_ns=np.array([row[2] for row in rows], dtype=np.int64),
        pid=nobody,
        command=nobody,
        stack=np.array([i if row[3] else -1 for i, row in enumerate(rows)], dtype=np.int32),
        commands=(),
        symbols=tuple(symbols),
        stack_start=starts.astype(np.uint32),
        stack_symbol=np.array(
            [symbols.index(name) for *_, stack in rows for name in stack], dtype=np.uint32
        ),
    )


ALLOCATOR = ("post_alloc_hook", "get_page_from_freelist", "__alloc_pages_slowpath.constprop.0")
ROWS = [
    (8, 2, 5_000_000_000, (*ALLOCATOR, "new_slab")),
    (16, 0, 1_500_000_000, (*ALLOCATOR, "zbud_alloc.part.0", "zswap_store")),
    (17, 0, 2_500_000_000, (*ALLOCATOR, "zbud_alloc.part.0", "zswap_store")),
    (20, 0, -1, ()),
]


@pytest.mark.parametrize(
    ("span", "told"),
    [
        (Span(0, 8), None),
        (Span(11, 12), (1, 5_000_000_000, 5_000_000_000, "new_slab")),
        (Span(12, 16), None),
        (Span(8, 18), (3, 1_500_000_000, 5_000_000_000, "zbud_alloc")),
        (Span(17, 40), (2, 2_500_000_000, 2_500_000_000, "zbud_alloc")),
        (Span(20, 21), (1, None, None, None)),
        (Span(21, 40), None),
    ],
)
def test_a_range_has_the_allocations_that_have_a_frame_in_it(span, told):
    found = taken_in(allocations_of(ROWS), span)
    shown = found and (found.nr_allocations, found.first_ns, found.last_ns, found.function)
    assert shown == told


def test_nobody_recorded_anything():
    assert taken_in(None, Span(0, 1)) is None
    assert taken_in(allocations_of([]), Span(0, 1)) is None
    text = as_text(frames_of(machine_of([["slab"]]), Span(0, 2)))
    assert "since      nobody recorded when they were taken" in text
    assert "taken by" not in text


def test_a_stack_of_the_allocator_alone_still_names_a_function():
    assert asker_of(ALLOCATOR) == ALLOCATOR[-1]
    assert asker_of(()) is None


@pytest.fixture
def snapshot():
    recorded = machine_of([["slab"] * 12 + ["zbud"] * 8])
    return evolve(recorded, allocations=allocations_of(ROWS))


def test_frames_say_since_when_and_through_what(snapshot):
    one = frames_of(snapshot, Span(9, 10))
    text = as_text(one)
    assert "since      5.000 s after boot, 1 allocation\n" in text
    assert "asked by   not said, order 2" in text
    assert "< new_slab" in text
    assert as_json(one)["allocation"]["at_ns"] == 5_000_000_000
    many = as_text(frames_of(snapshot, Span(8, 20)))
    assert "since      1.500 to 5.000 s after boot, 3 allocations" in many
    assert "1.500..2.500" in many
    assert "asked by" not in many


def test_times_are_no_names_and_stay_when_a_recording_is_redacted(snapshot):
    silent = frames_of(redacted(snapshot), Span(9, 10))
    assert silent.taken.first_ns == 5_000_000_000
    assert silent.taken.function is None
    assert small_recording().allocations is None
