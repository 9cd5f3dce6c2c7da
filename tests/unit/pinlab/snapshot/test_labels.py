"""Frames that are somebody's by name: which may be, who holds them in a replay, what is kept."""

import numpy as np
import pytest
from attrs import evolve

from mm.state.frames import FrameState
from mm.state.reasons import HOME
from pinlab.compare.compare import compare
from pinlab.compare.results import Run
from pinlab.procfs.capture import capture
from pinlab.replay.corpus import Corpus
from pinlab.replay.owners import OPAQUE_OWNERS, movable_owners
from pinlab.replay.replay import class_counts, replay
from pinlab.snapshot import image
from pinlab.snapshot.classes import FrameClass
from pinlab.snapshot.errors import SnapshotError
from pinlab.snapshot.labels import labelled, labelled_as, parse_label
from pinpage.errors import PinpageError
from pinpage.units import Span
from tests.kit.pinlab.proc_folder import machine

BLOCK = 512
MINE = (Span(20 * BLOCK, 21 * BLOCK), Span(22 * BLOCK, 22 * BLOCK + 5))


@pytest.fixture
def snapshot(tmp_path):
    """Pageblocks 20 to 24 are of unknown use."""
    anon = ((2 * BLOCK, 8 * BLOCK),)
    return capture(machine(anon=anon).write(tmp_path / "proc"))


def test_a_labelled_frame_is_in_use_and_its_owner_s(snapshot, tmp_path):
    mine = labelled(snapshot, "mine", MINE)
    assert mine.nr_frames_of(FrameClass.LABELLED) == BLOCK + 5
    assert (mine.state[20 * BLOCK : 21 * BLOCK] == FrameState.USED).all()
    assert (snapshot.klass[20 * BLOCK] == FrameClass.UNKNOWN).all()
    image.save(mine, tmp_path / "a.npz")
    assert image.load(tmp_path / "a.npz").labels == {"mine": MINE}


def test_a_label_is_an_owner_of_a_replay_with_its_own_pages(snapshot):
    mine = labelled(labelled(snapshot, "mine", MINE), "yours", (Span(23 * BLOCK, 24 * BLOCK),))
    assert {"mine", "yours"} <= set(movable_owners(mine))
    replayed = replay(mine, Corpus.build())
    assert replayed.opaque["mine"].pfn_of(np.arange(BLOCK + 5)).tolist() == [
        pfn for span in MINE for pfn in range(span.start, span.stop)
    ]
    assert replayed.opaque["yours"].nr_objects == BLOCK
    assert class_counts(replayed)[20, FrameClass.LABELLED] == BLOCK


def test_what_is_labelled_stays_unless_it_is_declared_movable(tmp_path):
    """Thirty pageblocks are free but for a frame in each of four: 29 can be emptied, or 26."""
    blocks = range(20, 24)
    free = ((2 * BLOCK, 20 * BLOCK), (24 * BLOCK, 32 * BLOCK))
    free += tuple((nth * BLOCK + 1, (nth + 1) * BLOCK) for nth in blocks)
    few = capture(machine(anon=(), free=free).write(tmp_path))
    few = labelled(few, "mine", tuple(Span(nth * BLOCK, nth * BLOCK + 1) for nth in blocks))
    runs = [Run("registry", (), "plan"), Run("registry", ("mine",), "plan")]
    stays, moves = compare(few, runs).rows
    assert (stays.bound, moves.bound) == (26, 29)
    assert (stays.pages_moved, moves.pages_moved > 0) == (0, True)
    assert stays.bytes_lost == moves.bytes_lost == 0


def test_labels_change_nothing_for_those_who_are_not_labelled(snapshot):
    before = replay(snapshot, Corpus.build()).expected.spaces
    after = replay(labelled(snapshot, "mine", MINE), Corpus.build()).expected.spaces
    assert [serials.tolist() for _, serials in before] == [serials.tolist() for _, serials in after]


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("mine=7", (Span(7, 8),)),
        ("mine=0x10-0x1f,8", (Span(8, 9), Span(16, 32))),
        ("mine=5 3\n4", (Span(3, 4), Span(4, 5), Span(5, 6))),
    ],
)
def test_the_forms_of_a_label(text, spans):
    assert parse_label(text) == ("mine", spans)


def test_a_label_from_a_file(tmp_path):
    (tmp_path / "pfns").write_text("0x10-0x11\n9\n")
    assert parse_label(f"mine=@{tmp_path / 'pfns'}") == ("mine", (Span(9, 10), Span(16, 18)))
    with pytest.raises(PinpageError, match="No such file"):
        parse_label(f"mine=@{tmp_path / 'nothing'}")


@pytest.mark.parametrize(
    ("text", "words"), [("", "is empty"), ("\n \n", "is empty"), ("7\nx", "'x' is no pfn")]
)
def test_what_is_wrong_in_a_file_names_the_file(tmp_path, text, words):
    path = tmp_path / "pfns"
    path.write_text(text)
    with pytest.raises(PinpageError, match=f"^label mine: {path}: {words}"):
        parse_label(f"mine=@{path}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mine", "give NAME=PFNS"),
        ("=7", "give NAME=PFNS"),
        ("slab=7", "a name of one's own"),
        ("free=7", "is what pinpage calls frames itself"),
        ("Mine=7", "small letters"),
        ("mine=", "is no pfn"),
        ("mine=9-8", "'9-8' is no pfn"),
        ("mine=x", "'x' is no pfn"),
        ("mine=3-9,5", "names pfn 0x5 twice"),
    ],
)
def test_what_is_no_label(text, words):
    with pytest.raises(PinpageError, match=words):
        parse_label(text)


def test_no_label_is_called_as_a_row_or_a_holder_is():
    """Every word that a table or an outcome has for holders of its own."""
    words = {klass.name.lower() for klass in FrameClass} | {*OPAQUE_OWNERS.values()}
    words |= {HOME, "all", "kernel", "none", "unknown", "free", "reserved", "hole"}
    for word in words:
        with pytest.raises(PinpageError, match=f"^label '{word}'.* a name of one's own"):
            parse_label(f"{word}=7")


def test_frames_that_are_nobody_s_to_label(snapshot):
    for spans, words in (
        ((Span(8 * BLOCK, 8 * BLOCK + 3),), r"3 of 3 frames .* first pfn 0x1000 \(free\)"),
        ((Span(2 * BLOCK, 2 * BLOCK + 1),), "anon"),
        ((Span(0, 1),), "reserved"),
        ((Span(1 << 20, 1 + (1 << 20)),), "beyond the 16,384 frames"),
    ):
        with pytest.raises(PinpageError, match=words):
            labelled(snapshot, "mine", spans)
    with pytest.raises(PinpageError, match="labelled"):
        labelled_as(snapshot, ("mine=10240", "yours=10240"))
    with pytest.raises(PinpageError, match="taken"):
        labelled_as(snapshot, ("mine=10240", "mine=10241"))


def test_a_file_whose_labels_and_frames_differ_is_refused(snapshot):
    mine = labelled(snapshot, "mine", MINE)
    for labels, words in (
        ({"mine": MINE[:1]}, "SN12 is not what the labels say"),
        ({"mine": MINE, "yours": MINE[1:]}, "another label's"),
        ({"slab": MINE}, "no name for an owner"),
    ):
        with pytest.raises(SnapshotError, match=words):
            evolve(mine, labels=labels).check()
