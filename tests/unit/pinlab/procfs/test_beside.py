"""page_owner beside a machine that is being recorded: taken, left out, stopped, or refused."""

import itertools

import pytest

from pinlab.procfs.beside import OwnersBeside
from pinlab.procfs.capture import record
from pinlab.procfs.survey import PROC, Folder
from pinlab.snapshot.classes import FrameClass
from pinlab.sources.source import open_source
from pinpage.errors import PinpageError
from tests.kit.pinlab.proc_folder import machine
from tests.kit.pinlab.source_texts import Asked, owner_text

MINE = range(582, 612)
"""Frames that flags are silent about, and that a ring has by its stack."""


@pytest.fixture
def copies(tmp_path):
    machine(slab=((512, 582),)).write(tmp_path / "proc")
    records = [Asked(pfn=pfn, stack=("my_ring",)) for pfn in MINE]
    (tmp_path / "proc" / "who").write_text(owner_text(records))
    (tmp_path / "mine.toml").write_text('[[owner]]\nname = "ring"\nfunctions = ["my_ring"]\n')
    return tmp_path / "proc"


def recorded(copies, **options):
    more = OwnersBeside(owners_table=copies.parent / "mine.toml", **options)
    return record(copies.parent / "a.npz", proc_directory=copies, more=more), more


def test_a_recording_has_what_page_owner_says(copies):
    snapshot, more = recorded(copies)
    assert more.said == "page_owner: 30 records, which told whose 30 frames are"
    assert snapshot.nr_frames_of(FrameClass.LABELLED) == 30
    assert snapshot.allocations.of(MINE[0]).command == "bash"
    assert snapshot.reading["records"] == 30
    whole = open_source(copies, owners_table=copies.parent / "mine.toml")
    assert (snapshot.klass == whole.klass).all()
    assert snapshot.labels == whole.labels


def test_no_time_for_it_leaves_it_out(copies):
    snapshot, more = recorded(copies, most_seconds=0)
    assert more.said == ""
    assert not snapshot.reading
    assert not snapshot.nr_frames_of(FrameClass.LABELLED)


def test_a_table_that_was_not_used_is_told(copies):
    (copies / "who").unlink()
    assert recorded(copies)[1].said == "page_owner: there is none, so the owners table was not used"


def test_it_is_left_at_the_end_of_a_record_when_time_is_over(copies):
    second = 1_000_000_000
    snapshot, more = recorded(copies, most_seconds=3, now_ns=itertools.count(0, second).__next__)
    assert snapshot.reading["records"] == snapshot.nr_frames_of(FrameClass.LABELLED) == 3
    assert snapshot.reading["texts_left_early"] == 1
    assert not snapshot.reading.get("records_cut", 0)
    assert more.said.endswith("; time was over before its end")


def test_a_text_without_records_is_left_too(copies):
    (copies / "who").write_text(owner_text([Asked(pfn=600)]).rstrip() + "\nnoise" * 20_000)
    _, more = recorded(copies, most_seconds=1, now_ns=itertools.count(0, 10**9).__next__)
    assert more.said.endswith("; time was over before its end")


def test_what_cannot_be_taken_is_said_and_the_rest_recorded(copies):
    (copies / "who").write_text("Page allocated via order 0, mask 0x0()\nPFN what\n\n")
    snapshot, more = recorded(copies)
    assert more.said.startswith(f"page_owner was not taken: {copies / 'who'}: page_owner: has no")
    assert snapshot.nr_frames == 16384
    assert (copies.parent / "a.npz").is_file()


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan"), 1e9])
def test_time_that_is_none_is_refused(seconds):
    with pytest.raises(PinpageError, match="most_seconds="):
        OwnersBeside(most_seconds=seconds)


def test_a_running_kernel_shows_it_in_debugfs():
    assert str(Folder(PROC).place("page_owner")) == "/sys/kernel/debug/page_owner"
