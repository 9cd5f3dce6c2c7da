"""Every view of every invented machine: other page sizes, other pageblocks, zones, holes."""

import json

import numpy as np
import pytest
from attrs import evolve

from pinlab.diagnose import diagnosis
from pinlab.diagnose.show import as_text as diagnosis_text
from pinlab.procfs.capture import capture
from pinlab.report import blocks, fragmentation, frames, taint
from pinlab.snapshot.facts import Provenance
from pinlab.snapshot.holdings import holdings_of
from pinlab.whatif import answer, show
from pinpage.units import Span
from tests.kit.pinlab.blocks import machine_of
from tests.kit.pinlab.proc_folder import MACHINES


@pytest.fixture(params=MACHINES)
def snapshot(request, tmp_path):
    return capture(MACHINES[request.param].write(tmp_path))


def told(snapshot):
    """(plain values, text) of each view."""
    found = blocks.blocks_of(snapshot, 9)
    yield blocks.as_json(found), blocks.as_text(found)
    for look, words in (
        (taint.owners_of, taint.show_owners),
        (taint.taint_of, taint.show_taint),
        (taint.pins_of, taint.show_pins),
    ):
        yield taint.plain(look(snapshot)), words(look(snapshot))
    free = fragmentation.fragmentation_of(snapshot)
    yield fragmentation.as_json(free), fragmentation.as_text(free)
    some = frames.frames_of(snapshot, Span(0, min(4096, snapshot.nr_frames)))
    yield frames.as_json(some), frames.as_text(some)
    asked = answer.what_if(snapshot, want=3)
    yield answer.as_json(asked), show.as_text(asked)
    page_nr_bytes = snapshot.geometry.page_nr_bytes
    for order in (3, 9, 10):
        why = diagnosis.diagnose(snapshot, order=order, again=snapshot)
        yield diagnosis.as_json(why), diagnosis_text(why, page_nr_bytes)


def test_each_view_is_narrow_text_and_plain_values(snapshot):
    for plain, text in told(snapshot):
        assert max(map(len, text.splitlines())) < 80, text
        json.dumps(plain, allow_nan=False)


def test_every_frame_is_counted_once(snapshot):
    units = holdings_of(snapshot)
    total = units.nr_frames.sum(axis=1) + units.nr_free + units.nr_unknown + units.nr_never
    assert (total == units.nr_pages).all()
    assert np.array_equal(units.at(11).nr_free, holdings_of(snapshot, 11).nr_free)


def test_a_long_name_is_wrapped():
    snapshot = machine_of([["slab", "zbud"], ["unknown"], []])
    named = evolve(snapshot, provenance=Provenance(source="a test", scenario="x" * 300))
    for _, text in told(named):
        assert max(map(len, text.splitlines())) < 80, text
