"""The design kit: broken designs fail with the right sentence, honest ones pass."""

import pytest

from mm.designs.rfc2013 import Rfc2013Design
from pinlab.design_kit.check import check_design
from pinlab.design_kit.lab import DesignLab
from pinlab.design_kit.promises import Promise
from pinlab.replay.designs import DESIGNS
from pinpage.errors import PinpageError
from tests.kit.pinlab.broken_designs import BROKEN

DETAILS = {
    Promise.D1: "claims, ask and holders about",
    Promise.D2: "went, and nobody had registered it",
    Promise.D3: "stayed, and is not as it was",
    Promise.D4: "is MOVED, and still in use",
    Promise.D5: "reads other bytes in its",
    Promise.D6: "it said two things",
}


@pytest.mark.parametrize(("make", "promise"), list(zip(BROKEN, Promise, strict=True)))
def test_a_broken_design_is_told_its_promise(make, promise):
    report = check_design(make, nr_examples=3)
    assert not report.kept
    assert report.finding.promise is promise
    assert DETAILS[promise] in report.finding.detail
    assert promise.title in str(report)
    assert promise.meaning in str(report)


def honest(name):
    def make(lab):
        DESIGNS[name].put_in_force(lab.machine, lab.pools)
        return lab.machine.design

    return make


@pytest.mark.parametrize("name", DESIGNS)
def test_every_design_of_the_table_keeps_every_promise(name):
    report = check_design(honest(name), nr_examples=2, seed=1)
    assert report.kept, str(report)
    assert report.design == name
    capable = DESIGNS[name].kind.capabilities
    assert not capable.moves or report.nr_moved > 0
    assert "keeps every promise" in str(report)


def test_what_is_no_design_is_one_line():
    with pytest.raises(PinpageError, match="that is no design: it has no claims, ask"):
        check_design(lambda lab: object())
    with pytest.raises(PinpageError, match="nr_examples=0"):
        check_design(honest("registry"), nr_examples=0)


def test_the_patch_says_moved_of_what_was_not_and_the_design_looks_again():
    lab = DesignLab(1)
    design = Rfc2013Design(lab.registry, lab.machine.mover, lab.machine)
    check_design(lambda _: design, nr_examples=1)
    lab.machine.design = design
    lab.machine.compact("scan")
    assert design.nr_false_successes > 0
    assert lab.lost() is None
