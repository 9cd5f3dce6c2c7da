"""Two recordings taken apart: who let go, and which places are clear by then."""

import pytest

from pinlab.diagnose.diagnosis import diagnose
from pinlab.diagnose.show import as_text
from pinpage.errors import PinpageError
from pinpage.units import PAGE_SIZE
from tests.kit.pinlab.blocks import machine_of


def again(first, later):
    return diagnose(machine_of(first), order=9, again=machine_of(later)).again


def test_who_let_go_is_told_from_who_still_holds():
    told = again([["gup"] * 4, ["slab"], ["slab", "gup"]], [[], ["slab"], ["slab"]])
    assert {o.owner: (o.nr_pages, o.nr_held) for o in told.owners} == {
        "gup": (5, 0), "slab": (2, 2),
    }  # fmt: skip
    assert (told.nr_stuck, told.nr_clear) == (3, 1)


def test_a_frame_that_is_somebody_else_s_by_then_was_let_go_of():
    told = again([["gup"]], [["slab"]])
    assert (told.owners[0].owner, told.owners[0].nr_held, told.nr_clear) == ("gup", 0, 0)


def test_labels_are_told_apart_by_name():
    assert [owner.nr_held for owner in again([["a"]], [["b"]]).owners] == [0]
    assert [owner.nr_held for owner in again([["b"]], [["b"], []][:1]).owners] == [1]


def test_frames_outside_of_the_places_do_not_count():
    told = again([["slab"], []], [["slab"], ["slab"]])
    assert (told.owners[0].nr_pages, told.nr_stuck) == (1, 1)


def test_whether_it_helps_is_said():
    first, later = machine_of([["gup"], ["slab"]]), machine_of([[], ["slab"]])
    text = as_text(diagnose(first, order=9, again=later), PAGE_SIZE)
    assert "Asking again helps." in text
    assert "for a moment" in text
    assert "for long" in text
    text = as_text(diagnose(first, order=9, again=first), PAGE_SIZE)
    assert "Asking again does not help." in text


def test_a_recording_of_another_machine_is_refused():
    with pytest.raises(PinpageError, match=r"has 1,024 frames, not 512"):
        again([["slab"]], [["slab"], []])
