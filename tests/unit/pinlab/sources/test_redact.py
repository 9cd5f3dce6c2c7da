"""A redacted snapshot has no string of its original, and gives the same answers."""

import json
import re
import zipfile

import numpy as np
import pytest
from attrs import evolve

from pinlab.compare.compare import compare, default_runs
from pinlab.report import trust
from pinlab.requests.report import RequestOptions
from pinlab.requests.run import run_request
from pinlab.snapshot import image
from pinlab.snapshot.classes import FrameClass
from pinlab.snapshot.labels import labelled_as
from pinlab.snapshot.open import open_snapshot
from pinlab.sources.redact import redacted
from tests.kit.pinlab.proc_folder import MACHINES
from tests.kit.pinlab.recordings import IN_TESTS
from tests.kit.pinlab.small import small_recording
from tests.kit.pinlab.source_texts import Asked, owner_text

WORD = re.compile(r"[^\W\d_][\w.$-]{2,}")
TELLING = ("swordfish", "sekret", "mallory", "wintermute", "camera", "acme")


@pytest.fixture
def original(tmp_path):
    """Told by everything that can hold somebody's words."""
    path = MACHINES["two areas"].write(tmp_path / "sekret-folder")
    (path / "version").write_text("Linux version 6.1.21-acme (mallory@wintermute) #1\n")
    records = [
        Asked(pfn=512 + i, flags="slab", stack=("acme_alloc", "allocate_slab"), command="mallory")
        for i in range(100)
    ] + [Asked(pfn=3 * 512 + i, stack=("acme_ring_grow",), command="sekretd") for i in range(9)]
    (path / "pasted").write_text(owner_text(records))
    snapshot = open_snapshot(path)
    snapshot = labelled_as(snapshot, ("wintermute=0x200-0x20f", "acme=0x220-0x22f"))
    facts = evolve(
        snapshot.provenance,
        command_line="secret=swordfish",
        scenario="acme-web",
        variant="wintermute",
        date="2031-01-01",
        parameters={"host": "mallory", "seed": 3},
    )
    zones = tuple(
        evolve(zone, name="acme-zone", nr_blocks_of_type={**zone.nr_blocks_of_type, "acme": 1})
        for zone in snapshot.zones
    )
    return evolve(
        snapshot,
        provenance=facts,
        zones=zones,
        workload={**snapshot.workload, "acme_counter": 4},
        reading={**snapshot.reading, "acme": 1},
        unknown_fields=(*snapshot.unknown_fields, "mallory"),
        guessed_fields=(*snapshot.guessed_fields, "mallory"),
    )


def strings_of(value):
    if isinstance(value, dict):
        return {s for pair in value.items() for item in pair for s in strings_of(item)}
    if isinstance(value, list | tuple):
        return {s for item in value for s in strings_of(item)}
    return {value} if isinstance(value, str) else set()


def words_in(path):
    """Every word in any member of a file, however it is packed there."""
    with zipfile.ZipFile(path) as archive:
        return b"\n".join(archive.read(name) for name in archive.namelist())


def test_no_string_of_the_original_is_left(original, tmp_path):
    image.save(original, tmp_path / "a.npz")
    image.save(redacted(original), tmp_path / "b.npz")
    before, after = words_in(tmp_path / "a.npz"), words_in(tmp_path / "b.npz")
    for word in TELLING[:1] + TELLING[2:]:
        assert word.encode() in before, "the original has it, or this shows nothing"
        assert word.encode() not in after
    allocations = original.allocations
    for text in (*allocations.symbols, *allocations.commands):
        assert text.encode() in before
        assert text.encode() not in after


def test_what_is_left_of_a_recording_is_out_of_our_own_list():
    """Nothing in the header of a redacted file comes from the recording's own words."""
    own = strings_of(json.loads(json.dumps(redacted(made_of({})).to_form()[0])))
    telling = made_of({f"word{n}-{text}": 1 for n, text in enumerate(TELLING)})
    left = strings_of(json.loads(json.dumps(redacted(telling).to_form()[0])))
    assert left <= own


def made_of(more):
    snapshot = IN_TESTS["zbud-cmphuge-seed1"]()
    measured = snapshot.measured
    texts = dict.fromkeys(more, "hostname")
    return evolve(
        snapshot,
        workload={**snapshot.workload, **more},
        reading=dict(more),
        provenance=evolve(snapshot.provenance, parameters={**more, **texts}, source=str(more)),
        measured=evolve(
            measured,
            vmstat_delta={**measured.vmstat_delta, **dict.fromkeys(more, more)},
            steps={
                name: {**step, **texts, "rc": step.get("rc", 0)}
                for name, step in measured.steps.items()
            },
        ),
    )


def test_columns_are_the_same_and_rows_of_allocations_too(original):
    found = redacted(original)
    found.check()
    for column in ("state", "klass", "order", "flags", "refcount", "mapcount", "zone", "gfp"):
        assert np.array_equal(getattr(found, column), getattr(original, column))
    before, after = original.allocations, found.allocations
    assert np.array_equal(before.pfn, after.pfn)
    assert np.array_equal(before.at_ns, after.at_ns)
    asked = after.of(512)
    assert (asked.pid, asked.command, asked.stack) == (None, "", ())
    assert list(found.labels.values()) == [original.labels[n] for n in sorted(original.labels)]
    assert [area.span for area in found.geometry.cma_areas] == [
        area.span for area in original.geometry.cma_areas
    ]
    assert found.provenance.kernel_release == "6.1.21"


def told(snapshot):
    """What reports say, save the name of the recording."""
    report = trust.as_json(trust.trust_of(snapshot))
    return {name: value for name, value in report.items() if name != "recording"}


def test_the_same_trust(original):
    assert told(redacted(original)) == told(original)


def test_compare_and_request_give_the_same_answers():
    snapshot = small_recording()
    found = redacted(snapshot)
    assert found.name != snapshot.name
    rows = [
        compare(each, default_runs(each)[-1:], layout_only=True).rows for each in (snapshot, found)
    ]
    assert rows[0] == rows[1]
    reports = [
        run_request("huge2m", each, RequestOptions(), contents="none").as_json()
        for each in (snapshot, found)
    ]
    for report in reports:
        del report["recording"]
    assert reports[0] == reports[1]


def test_what_the_kernel_gave_is_kept():
    snapshot = IN_TESTS["zbud-cmphuge-seed1"]()
    found = redacted(snapshot)
    for name in ("huge_pages", "nr_requested", "pgmigrate_success", "compact_free_scanned"):
        assert getattr(found.measured, name) == getattr(snapshot.measured, name)
    for counter in ("pgmigrate_success", "compact_migrate_scanned"):
        before = snapshot.measured.during("compact", counter)
        assert found.measured.during("compact", counter) == before
    assert found.workload["swap_size_kb"] == snapshot.workload["swap_size_kb"]
    assert found.nr_frames_of(FrameClass.ZBUD) == snapshot.nr_frames_of(FrameClass.ZBUD)
